#include "base/key.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "rsa_key.h"

#define PEM_MAX (4 * KEY_FILE_MAX)

/* Keys are made here, once: none lies in the tree for somebody to use by mistake. */
static EVP_PKEY *rsa, *small, *ec, *ed25519;
static char pkcs8[PEM_MAX], pkcs1[PEM_MAX];

/* kind: '8' PKCS#8, '1' traditional, 'e' encrypted PKCS#8, 'E' encrypted traditional, 'p' public. */
static void write_pem(EVP_PKEY *pkey, char kind, char *ret) {
        unsigned char pass[] = "secret";
        BIO *bio = BIO_new(BIO_s_mem());
        int n, ok = 0;

        ck_assert_ptr_nonnull(bio);
        switch (kind) {
        case '8':
                ok = PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
                break;
        case '1':
                ok = PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL);
                break;
        case 'e':
                ok = PEM_write_bio_PKCS8PrivateKey(bio, pkey, EVP_aes_128_cbc(), (char *) pass, 6,
                                                   NULL, NULL);
                break;
        case 'E':
                ok = PEM_write_bio_PrivateKey_traditional(bio, pkey, EVP_aes_128_cbc(), pass, 6,
                                                          NULL, NULL);
                break;
        case 'p':
                ok = PEM_write_bio_PUBKEY(bio, pkey);
                break;
        }
        ck_assert_int_eq(ok, 1);
        n = BIO_read(bio, ret, PEM_MAX - 1);
        ck_assert_int_gt(n, 0);
        ret[n] = '\0';
        BIO_free(bio);
}

static EVP_PKEY *read_pem(const char *pem) {
        BIO *bio = BIO_new_mem_buf(pem, -1);
        EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

        BIO_free(bio);
        return pkey;
}

static void make_keys(void) {
        rsa = read_pem(RSA_KEY);
        small = read_pem(RSA_KEY_SMALL);
        ec = EVP_EC_gen("P-256");
        ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        ck_assert(rsa && small && ec && ed25519);
        write_pem(rsa, '8', pkcs8);
        write_pem(rsa, '1', pkcs1);
}

static void drop_keys(void) {
        EVP_PKEY_free(rsa);
        EVP_PKEY_free(small);
        EVP_PKEY_free(ec);
        EVP_PKEY_free(ed25519);
}

/* Writes `in` with each `from` replaced. */
static void replace(const char *in, const char *from, const char *to, char *ret) {
        const char *hit;
        char *out = ret;

        while ((hit = strstr(in, from))) {
                out = mempcpy(out, in, (size_t) (hit - in));
                out = stpcpy(out, to);
                in = hit + strlen(from);
        }
        strcpy(out, in);
}

/* Damage that is mended: what stands before the text, what its line breaks become, what follows. */
static const struct {
        const char *before, *line_break, *after;
} mendable[] = {
        { "", "\n", "" },
        { "", "\\n", "" },
        { "", "\\\\n", "" },
        { "\"", "\\n", "\"" },
        { "'", "\n", "'\n" },
        { "\"", "\\r\\n", "\"\r\n" },
        { "", "\r\n", "" },
        { "", "\r", "" },
        { "", "", "" },
        { "", " ", "" },
        { "", "\n    ", "\n" },
        { "", " \t\n", "" },
        { "", "\n\n", "" },
        { "\xef\xbb\xbf", "\n", "" },
        { "\n\n  ", "\n", "   \n" },
        { "Bag Attributes\n    friendlyName: bot\n", "\n", "\nlocalKeyID: 01\n" },
};

static void check_signs(const char *pem) {
        static const char text[] = "header.payload";
        AUTO(key_unrefp) struct key *k = NULL;
        uint8_t signature[KEY_SIGNATURE_MAX];
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        struct why why = { "" };
        size_t len = 0;

        ck_assert_msg(key_parse(pem, strlen(pem), &why, &k) == 0, "%s", why.text);
        ck_assert_int_eq(key_bits(k), 2048);
        ck_assert_int_eq(key_sign(k, text, strlen(text), signature, &len), 0);
        ck_assert_uint_eq(len, 256);
        ck_assert_int_eq(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, rsa), 1);
        ck_assert_int_eq(
                EVP_DigestVerify(ctx, signature, len, (const uint8_t *) text, strlen(text)), 1);
        EVP_MD_CTX_free(ctx);
}

START_TEST(mends)
{
        static char body[PEM_MAX], text[PEM_MAX];
        const char *pems[] = { pkcs8, pkcs1 };

        for (size_t i = 0; i < N_ELEMENTS(pems); i++) {
                replace(pems[i], "\n", mendable[_i].line_break, body);
                snprintf(text, sizeof(text), "%s%s%s", mendable[_i].before, body,
                         mendable[_i].after);
                check_signs(text);
        }
}
END_TEST

START_TEST(mends_markers_and_padding)
{
        static char a[PEM_MAX], b[PEM_MAX];

        replace(pkcs8, " PRIVATE ", "PRIVATE", a); /* all blanks lost */
        check_signs(a);
        replace(pkcs8, "/", "\\/", a); /* as some JSON writers do */
        check_signs(a);
        replace(pkcs1, "=", "", a);
        replace(a, "\n", "", b);
        check_signs(b);
        replace(pkcs1, "RSA PRIVATE", "PRIVATE", a); /* the wrong words around the right key */
        check_signs(a);
        strcpy(a, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        strcat(a, pkcs8); /* a key after something else */
        check_signs(a);
}
END_TEST

static void check_refused(const char *pem, size_t len, const char *sentence) {
        struct key *const untouched = (struct key *) (uintptr_t) 8;
        struct key *k = untouched;
        struct why why = { "" };

        ck_assert_int_eq(key_parse(pem, len, &why, &k), -EBADMSG);
        ck_assert_msg(strstr(why.text, sentence), "\"%s\" is not in: %s", sentence, why.text);
        ck_assert_ptr_eq(k, untouched);
        ck_assert_int_eq(key_parse(pem, len, NULL, &k), -EBADMSG); /* nobody need ask why */
}

#define END8 "\n-----END PRIVATE KEY-----\n"

static const struct {
        const char *pem, *sentence;
} refused[] = {
        { "", "is empty" },
        { " \r\n\t", "is empty" },
        { "hello", "no PEM" },
        { "\\", "no PEM" },
        { "\\\\\\", "no PEM" },
        { "AFtqRjRjXj6nyGyP", "BEGIN PRIVATE KEY----- is missing" },
        { "-----END PRIVATE KEY-----", "no PEM" },
        { "-----BEGIN", "within its BEGIN line" },
        { "-----BEGIN PRIVATE KEY", "within its BEGIN line" },
        { "-----BEGIN PRIVATE KEY-----", "BEGIN without END" },
        { "-----BEGIN PRIVATE KEY-----\nMIIE\n----END PRIVATE KEY-----", "BEGIN without END" },
        { "-----BEGIN PRIVATE KEY-----" END8, "nothing between" },
        { "-----BEGIN PRIVATE KEY-----\n==" END8, "nothing between" },
        { "-----BEGIN PRIVATE KEY-----\nMI*E" END8, "not base64" },
        { "-----BEGIN PRIVATE KEY-----\nMI==IE" END8, "not base64" },
        { "-----BEGIN PRIVATE KEY-----\nMIIE===" END8, "not base64" },
        { "-----BEGIN PRIVATE KEY-----\nMIIEA" END8, "lacks characters" },
        { "-----BEGIN PRIVATE KEY-----\nMIIE" END8, "no key" },
        { "-----BEGIN PRIVATE KEY-----\nAAAAAAAA" END8, "no key" },
        { "-----BEGIN PRIVATE KEY-----\nMIIE\n-----BEGIN PRIVATE KEY-----\nMIIE" END8,
          "second BEGIN" },
        { "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----", "a public key" },
        { "-----BEGIN RSA PUBLIC KEY-----\nMIIE\n-----END RSA PUBLIC KEY-----", "a public key" },
        { "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----", "a certificate" },
        { "-----BEGIN OPENSSH PRIVATE KEY-----\nMIIE\n-----END OPENSSH PRIVATE KEY-----",
          "OpenSSH" },
        { "-----BEGIN PGP MESSAGE-----\nMIIE\n-----END PGP MESSAGE-----", "is not known" },
        { "-----BEGIN PRIVATE KEY TOO-----\nMIIE" END8, "is not known" },
        { "\x30\x82\x04\xbd\x02", "in DER" },
};

START_TEST(refuses)
{ check_refused(refused[_i].pem, strlen(refused[_i].pem), refused[_i].sentence); }
END_TEST

START_TEST(refuses_other_keys)
{
        static char pem[PEM_MAX];

        write_pem(rsa, 'e', pem);
        check_refused(pem, strlen(pem), "encrypted");
        write_pem(rsa, 'E', pem);
        check_refused(pem, strlen(pem), "encrypted");
        write_pem(rsa, 'p', pem);
        check_refused(pem, strlen(pem), "public key");
        write_pem(ec, '8', pem);
        check_refused(pem, strlen(pem), "an EC key");
        write_pem(ec, '1', pem);
        check_refused(pem, strlen(pem), "an EC key");
        write_pem(ed25519, '8', pem);
        check_refused(pem, strlen(pem), "another kind");
        write_pem(small, '8', pem);
        check_refused(pem, strlen(pem), "1024 bits, at least 2048");
}
END_TEST

/* The text up to every length: never a crash, never a key, save where only the tail of END is
 * gone. */
START_TEST(refuses_every_prefix)
{
        size_t end = (size_t) (strstr(pkcs8, "-----END") - pkcs8) + strlen("-----END");

        for (size_t len = 0; len < end; len++) {
                AUTO(auto_freep)
                char *exact = malloc(len + 1); /* so that a byte too far is found */
                struct key *k = NULL;

                memcpy(exact, pkcs8, len);
                exact[len] = 'X';
                ck_assert_int_eq(key_parse(exact, len, NULL, &k), -EBADMSG);
        }
}
END_TEST

/* One base64 character changed anywhere: refused, or a key that signs as the true one does. */
START_TEST(refuses_flipped_characters)
{
        static const char text[] = "header.payload";
        char *begin = strstr(pkcs8, "-----\n") + 6, *end = strstr(pkcs8, "\n-----END");

        for (char *p = begin; p < end; p += 7) {
                AUTO(key_unrefp) struct key *k = NULL;
                uint8_t signature[KEY_SIGNATURE_MAX];
                EVP_MD_CTX *ctx = NULL;
                char old = *p;
                size_t len;
                int r;

                if (old == '\n')
                        continue;
                *p = old == 'A' ? 'B' : 'A';
                r = key_parse(pkcs8, strlen(pkcs8), NULL, &k);
                *p = old;
                if (r == 0) {
                        ctx = EVP_MD_CTX_new();
                        ck_assert_int_eq(key_sign(k, text, strlen(text), signature, &len), 0);
                        ck_assert_int_eq(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, rsa),
                                         1);
                        ck_assert_int_eq(EVP_DigestVerify(ctx, signature, len,
                                                          (const uint8_t *) text, strlen(text)),
                                         1);
                        EVP_MD_CTX_free(ctx);
                } else {
                        ck_assert_int_eq(r, -EBADMSG);
                }
        }
}
END_TEST

START_TEST(refuses_nul_and_size)
{
        static char pem[PEM_MAX];
        size_t len = strlen(pkcs8);

        memcpy(pem, pkcs8, len);
        pem[200] = '\0';
        check_refused(pem, len, "not base64");
        memset(pem, ' ', sizeof(pem));
        memcpy(pem, pkcs8, len);
        check_refused(pem, KEY_FILE_MAX + 1, "larger than");
}
END_TEST

static size_t released, dirty;

static void look_at_release(const void *bytes, size_t capacity) {
        const char *p = bytes;

        released++;
        for (size_t i = 0; i < capacity; i++)
                if (p[i])
                        dirty++;
}

START_TEST(leaves_no_copy)
{
        AUTO(key_unrefp) struct key *k = NULL;

        secret_release_hook = look_at_release;
        ck_assert_int_eq(key_parse(pkcs8, strlen(pkcs8), NULL, &k), 0);
        secret_release_hook = NULL;
        ck_assert_uint_ge(released, 2);
        ck_assert_uint_eq(dirty, 0);
}
END_TEST

START_TEST(is_shared)
{
        struct key *k = NULL, *other;

        ck_assert_ptr_null(key_ref(NULL));
        ck_assert_ptr_null(key_unref(NULL));
        ck_assert_int_eq(key_parse(pkcs8, strlen(pkcs8), NULL, &k), 0);
        other = key_ref(k);
        k = key_unref(k);
        ck_assert_ptr_null(k);
        ck_assert_int_eq(key_bits(other), 2048);
        ck_assert_ptr_null(key_unref(other));
}
END_TEST

static void add(TCase *tc) {
        tcase_add_unchecked_fixture(tc, make_keys, drop_keys);
        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, mends, 0, N_ELEMENTS(mendable));
        tcase_add_test(tc, mends_markers_and_padding);
        tcase_add_loop_test(tc, refuses, 0, N_ELEMENTS(refused));
        tcase_add_test(tc, refuses_other_keys);
        tcase_add_test(tc, refuses_every_prefix);
        tcase_add_test(tc, refuses_flipped_characters);
        tcase_add_test(tc, refuses_nul_and_size);
        tcase_add_test(tc, leaves_no_copy);
        tcase_add_test(tc, is_shared);
}

CHECK_MAIN("key", add)
