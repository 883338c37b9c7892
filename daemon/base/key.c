/*
 * Private keys arrive damaged: through environment variables, JSON, web forms and YAML.
 * Everything that is certain to be noise (white space, escapes, text around the markers) is
 * dropped and the key is read from what stands between them; everything else is reported in words
 * an operator can act on. A key that parses but cannot verify its own signature is refused here,
 * not by the provider at night.
 */
#include "base/key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define KEY_DASHES "-----"
#define KEY_BEGIN  "-----BEGIN"
#define KEY_END    "-----END"

#define KEY_HOW                                                                                    \
        "give the private_key.pem that was downloaded when the key was made in Coze's console"

struct key {
        atomic_uint refs;
        EVP_PKEY *pkey;
};

/* What can stand between the markers; labels without their blanks. No sentence: a key we can
 * read. */
static const struct {
        const char *label, *sentence;
} key_kinds[] = {
        { "PRIVATEKEY", NULL },
        { "RSAPRIVATEKEY", NULL },
        { "ENCRYPTEDPRIVATEKEY",
          "it is encrypted with a passphrase: decrypt it with openssl pkey -in FILE -out NEWFILE" },
        { "PUBLICKEY", "it is a public key, the private one is needed: " KEY_HOW },
        { "RSAPUBLICKEY", "it is a public key, the private one is needed: " KEY_HOW },
        { "CERTIFICATE", "it is a certificate, a private key is needed: " KEY_HOW },
        { "CERTIFICATEREQUEST", "it is a certificate request, a private key is needed: " KEY_HOW },
        { "ECPRIVATEKEY", "it is an EC key, an RSA key is needed (RS256): " KEY_HOW },
        { "ECPARAMETERS", "it is an EC key, an RSA key is needed (RS256): " KEY_HOW },
        { "DSAPRIVATEKEY", "it is a DSA key, an RSA key is needed (RS256): " KEY_HOW },
        { "OPENSSHPRIVATEKEY", "it is an OpenSSH key, one in PKCS#8 is needed: " KEY_HOW },
};

static void key_pkey_freep(EVP_PKEY **p) {
        EVP_PKEY_free(*p);
}

static void key_md_ctx_freep(EVP_MD_CTX **p) {
        EVP_MD_CTX_free(*p);
}

static bool key_is_blank(char c) {
        return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A copy without escapes: PEM has no backslash, so each run of them is one; "\n" in any depth of
 * quoting is a line break, "\/" a slash. */
static struct secret *key_unescape(const char *pem, size_t len) {
        AUTO(secret_unrefp) struct secret *copy = secret_new_reserved(len);

        if (!copy)
                return NULL;
        for (size_t i = 0; i < len; i++) {
                bool escaped = pem[i] == '\\';

                while (i < len && pem[i] == '\\')
                        i++;
                if (i == len)
                        break;
                if (escaped && (pem[i] == 'n' || pem[i] == 'r' || pem[i] == 't'))
                        (void) secret_append(copy, "\n", 1); /* it holds all of `len` */
                else
                        (void) secret_append(copy, pem + i, 1);
        }
        return TAKE(copy);
}

/* One BEGIN and what follows it; pointers into the text that was searched. */
struct key_block {
        const char *label, *label_end;
        const char *body;
        const char *end; /* of the text */
};

/* Finds the next block in [p, end). False: there is none. */
static bool key_next_block(const char *p, const char *end, struct key_block *ret) {
        const char *begin, *dashes;

        begin = memmem(p, (size_t) (end - p), KEY_BEGIN, strlen(KEY_BEGIN));
        if (!begin)
                return false;
        begin += strlen(KEY_BEGIN);
        dashes = memmem(begin, (size_t) (end - begin), KEY_DASHES, strlen(KEY_DASHES));
        if (!dashes)
                return false;
        *ret = (struct key_block){ begin, dashes, dashes + strlen(KEY_DASHES), end };
        return true;
}

static bool key_block_is(const struct key_block *block, const char *label) {
        for (const char *p = block->label; p < block->label_end; p++) {
                if (key_is_blank(*p))
                        continue;
                if (!*label || *p != *label) /* the text may have a NUL where the label ends */
                        return false;
                label++;
        }
        return !*label;
}

/* The first block that may be an RSA private key; else the sentence on the first block of all. */
static int key_find_block(const char *text, size_t len, struct why *why, struct key_block *ret) {
        const char *p = text, *end = text + len, *sentence = NULL;
        struct key_block block;
        bool any = false;

        for (; key_next_block(p, end, &block); p = block.body) {
                const char *objection = "the kind that its BEGIN line names is not known: " KEY_HOW;

                for (size_t i = 0; i < N_ELEMENTS(key_kinds); i++)
                        if (key_block_is(&block, key_kinds[i].label))
                                objection = key_kinds[i].sentence;
                if (!objection) {
                        *ret = block;
                        return 0;
                }
                if (!any)
                        sentence = objection;
                any = true;
        }
        if (any)
                return why_set(why, RAISE(-EBADMSG), "not usable as a private key: %s", sentence);
        if (len > 1 && text[0] == 0x30 && (text[1] & 0x80))
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is in DER, PEM is needed: convert it with "
                               "openssl pkey -inform DER -in FILE -out NEWFILE");
        if (memmem(text, len, KEY_BEGIN, strlen(KEY_BEGIN)))
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is cut short within its BEGIN line: " KEY_HOW);
        return why_set(why, RAISE(-EBADMSG),
                       "no PEM here: the line -----BEGIN PRIVATE KEY----- is missing: " KEY_HOW);
}

/* The base64 of a block without white space and padding. */
static int key_extract_base64(const struct key_block *block, struct why *why, struct secret **ret) {
        AUTO(secret_unrefp) struct secret *base64 = NULL;
        const char *stop;
        size_t padding = 0;

        stop = memmem(block->body, (size_t) (block->end - block->body), KEY_END, strlen(KEY_END));
        if (!stop)
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is cut short: BEGIN without END: " KEY_HOW);
        if (memmem(block->body, (size_t) (stop - block->body), KEY_BEGIN, strlen(KEY_BEGIN)))
                return why_set(
                        why, RAISE(-EBADMSG),
                        "the private key is cut short: a second BEGIN before its END: " KEY_HOW);
        if (memmem(block->body, (size_t) (stop - block->body), "Proc-Type:", 10))
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is encrypted with a passphrase: decrypt it with "
                               "openssl pkey -in FILE -out NEWFILE");
        base64 = secret_new_reserved((size_t) (stop - block->body));
        if (!base64)
                return RAISE(-ENOMEM);
        for (const char *p = block->body; p < stop; p++) {
                if (key_is_blank(*p))
                        continue;
                if (*p == '=' && padding < 2) {
                        padding++;
                        continue;
                }
                if (padding > 0 || !*p ||
                    !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", *p))
                        return why_set(why, RAISE(-EBADMSG),
                                       "the private key is damaged: there is something that is not "
                                       "base64 between BEGIN and END: " KEY_HOW);
                (void) secret_append(base64, p, 1); /* it holds the whole block */
        }
        if (secret_len(base64) == 0)
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is empty: nothing between BEGIN and END: " KEY_HOW);
        if (secret_len(base64) % 4 == 1)
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is damaged: its base64 lacks characters: " KEY_HOW);
        *ret = TAKE(base64);
        return 0;
}

/* Padding that was lost is not missed. NULL: out of memory. */
static struct secret *key_decode_base64(const struct secret *base64) {
        const char *text = secret_text(base64);
        size_t len = secret_len(base64);
        AUTO(secret_unrefp) struct secret *der = secret_new_reserved(len);

        if (!der)
                return NULL;
        for (size_t i = 0; i < len; i += 4) {
                size_t n = len - i < 4 ? len - i : 4;
                unsigned char in[4] = { '=', '=', '=', '=' }, out[3];

                memcpy(in, text + i, n);
                (void) EVP_DecodeBlock(out, in, 4); /* every character was checked */
                (void) secret_append(der, out, n - 1);
                secret_wipe(in, sizeof(in));
                secret_wipe(out, sizeof(out));
        }
        return TAKE(der);
}

static int key_check_kind(EVP_PKEY *pkey, struct why *why) {
        int bits = EVP_PKEY_get_bits(pkey);

        if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC)
                return why_set(why, RAISE(-EBADMSG),
                               "not usable as a private key: it is an EC key, an RSA key is needed "
                               "(RS256): " KEY_HOW);
        if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA)
                return why_set(why, RAISE(-EBADMSG),
                               "not usable as a private key: an RSA key is needed (RS256), this is "
                               "of another kind: " KEY_HOW);
        if (bits < KEY_BITS_MIN)
                return why_set(
                        why, RAISE(-EBADMSG),
                        "the private key is too small: %d bits, at least %d are needed: make "
                        "a new one in Coze's console",
                        bits, KEY_BITS_MIN);
        if (bits > KEY_BITS_MAX)
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is too large: %d bits, at most %d are of use", bits,
                               KEY_BITS_MAX);
        return 0;
}

/* The sum over all parts of a key: flipped bits leave DER that parses and signatures that nobody
 * accepts. */
static int key_check_signature(const struct key *k, struct why *why) {
        AUTO(key_md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        static const char probe[] = "bearerd";
        uint8_t signature[KEY_SIGNATURE_MAX];
        size_t len = 0;

        if (!ctx)
                return RAISE(-ENOMEM);
        if (key_sign(k, probe, sizeof(probe), signature, &len) < 0 ||
            EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) != 1 ||
            EVP_DigestVerify(ctx, signature, len, (const uint8_t *) probe, sizeof(probe)) != 1)
                return why_set(
                        why, RAISE(-EBADMSG),
                        "the private key is damaged: its numbers do not fit together: " KEY_HOW);
        return 0;
}

static int key_from_der(const struct secret *der, struct why *why, struct key **ret) {
        AUTO(key_unrefp) struct key *k = NULL;
        AUTO(key_pkey_freep) EVP_PKEY *pkey = NULL;
        const unsigned char *p = (const unsigned char *) secret_text(der);
        const unsigned char *end = p + secret_len(der);
        int r;

        pkey = d2i_AutoPrivateKey(NULL, &p, (long) secret_len(der));
        if (!pkey || p != end)
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is cut or damaged: between BEGIN and END stands "
                               "base64, but no key: " KEY_HOW);
        r = key_check_kind(pkey, why);
        if (r < 0)
                return PASS(r);
        k = calloc(1, sizeof(*k));
        if (!k)
                return RAISE(-ENOMEM);
        atomic_init(&k->refs, 1);
        k->pkey = TAKE(pkey);
        r = key_check_signature(k, why);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(k);
        return 0;
}

static int key_parse_text(const char *pem, size_t len, struct why *why, struct key **ret) {
        AUTO(secret_unrefp) struct secret *text = NULL, *base64 = NULL, *der = NULL;
        struct key_block block = { 0 };
        size_t blank = 0;
        int r;

        while (blank < len && key_is_blank(pem[blank]))
                blank++;
        if (blank == len)
                return why_set(why, RAISE(-EBADMSG), "the private key is empty: " KEY_HOW);
        if (len > KEY_FILE_MAX)
                return why_set(why, RAISE(-EBADMSG),
                               "the private key is larger than %d bytes: " KEY_HOW, KEY_FILE_MAX);
        text = key_unescape(pem, len);
        if (!text)
                return RAISE(-ENOMEM);
        r = key_find_block(secret_text(text), secret_len(text), why, &block);
        if (r < 0)
                return PASS(r);
        r = key_extract_base64(&block, why, &base64);
        if (r < 0)
                return PASS(r);
        der = key_decode_base64(base64);
        if (!der)
                return RAISE(-ENOMEM);
        return key_from_der(der, why, ret);
}

int key_parse(const char *pem, size_t len, struct why *why, struct key **ret) {
        int r;

        r = key_parse_text(pem, len, why, ret);
        if (r == -ENOMEM)
                (void) why_set(why, r, "out of memory while reading a private key");
        ERR_clear_error(); /* what libcrypto left behind would be blamed on a later call */
        return PASS(r);
}

struct key *key_ref(struct key *k) {
        if (k)
                atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
        return k;
}

struct key *key_unref(struct key *k) {
        if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
                return NULL;
        EVP_PKEY_free(k->pkey);
        free(k);
        return NULL;
}

bool key_equal(const struct key *a, const struct key *b) {
        return a == b || (a && b && EVP_PKEY_eq(a->pkey, b->pkey) == 1);
}

int key_bits(const struct key *k) {
        return EVP_PKEY_get_bits(k->pkey);
}

int key_sign(const struct key *k, const void *bytes, size_t len, uint8_t *ret, size_t *ret_len) {
        AUTO(key_md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        size_t n = KEY_SIGNATURE_MAX;

        if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) != 1 ||
            EVP_DigestSign(ctx, ret, &n, bytes, len) != 1) {
                ERR_clear_error();
                return RAISE(-EIO);
        }
        *ret_len = n;
        return 0;
}
