#include "provider/jwt.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "check_main.h"
#include "provider/base64url.h"
#include "provider/form.h"
#include "provider/pkce.h"
#include "rsa_key.h"

static EVP_PKEY *pkey; /* its own for each process of check */
static struct key *key;

static void make_key(void) {
        BIO *bio = BIO_new_mem_buf(RSA_KEY, -1);
        struct why why = { "" };

        pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        ck_assert_ptr_nonnull(pkey);
        ck_assert_msg(key_parse(RSA_KEY, strlen(RSA_KEY), &why, &key) == 0, "%s", why.text);
        BIO_free(bio);
}

static void drop_key(void) {
        key = key_unref(key);
        EVP_PKEY_free(pkey);
}

/* The other direction, by a library that is not ours. */
static size_t decode(const char *text, size_t len, uint8_t *ret) {
        char padded[4096];
        size_t n = 0;
        int out;

        for (; n < len; n++)
                padded[n] = text[n] == '-' ? '+' : text[n] == '_' ? '/' : text[n];
        while (n % 4)
                padded[n++] = '=';
        out = EVP_DecodeBlock(ret, (const unsigned char *) padded, (int) n);
        ck_assert_int_ge(out, 0);
        return (size_t) out - (n - len);
}

static const struct {
        const char *bytes;
        size_t len;
        const char *text;
} encodings[] = {
        { "", 0, "" },
        { "f", 1, "Zg" },
        { "fo", 2, "Zm8" },
        { "foo", 3, "Zm9v" },
        { "foob", 4, "Zm9vYg" },
        { "fooba", 5, "Zm9vYmE" },
        { "foobar", 6, "Zm9vYmFy" }, /* RFC 4648 section 10 */
        { "\xff\xff\xfe", 3, "___-" },
        { "\0\0\0", 3, "AAAA" },
        { "\x14\xfb\x9c\x03\xd9\x7e", 6, "FPucA9l-" },
};

START_TEST(encoding)
{
        char text[16];

        base64url(encodings[_i].bytes, encodings[_i].len, text);
        ck_assert_str_eq(text, encodings[_i].text);
        ck_assert_uint_eq(strlen(text), BASE64URL_LENGTH(encodings[_i].len));
}
END_TEST

static const struct {
        const char *session_name, *session_context;
        const char *rest; /* of the payload, behind the jti */
} claims[] = {
        { NULL, NULL, "" },
        { "user-7", NULL, ",\"session_name\":\"user-7\"" },
        { "\"\\/\n\x7f\xe6\x89\xa3", "{\"device_info\":{\"device_id\":\"1\"}}",
          ",\"session_name\":\"\\\"\\\\/\\u000a\x7f\xe6\x89\xa3\","
          "\"session_context\":{\"device_info\":{\"device_id\":\"1\"}}" },
};

static void verify(const char *signed_part, size_t len, const uint8_t *signature, size_t n) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();

        ck_assert_int_eq(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
        ck_assert_int_eq(
                EVP_DigestVerify(ctx, signature, n, (const unsigned char *) signed_part, len), 1);
        EVP_MD_CTX_free(ctx);
}

START_TEST(assertion)
{
        uint8_t random[JWT_RANDOM_SIZE], bytes[4096];
        char hex[2 * JWT_RANDOM_SIZE + 1], expected[1024];
        AUTO(secret_unrefp) struct secret *jws = NULL;
        struct jwt jwt = {
                .key_id = "_v0VjcMlLdQc3tRTD3jC5Xz29TUnKQOhtuD5k-gpyf4",
                .issuer = "1127900106117",
                .audience = "api.coze.cn",
                .issued_at = { 1790000000 },
                .random = random,
                .session_name = claims[_i].session_name,
                .session_context = claims[_i].session_context,
        };
        const char *text, *payload, *signature;
        size_t n;

        for (size_t i = 0; i < sizeof(random); i++)
                random[i] = (uint8_t) (i * 7 + 250);
        text_hex(random, sizeof(random), hex);
        ck_assert_int_eq(jwt_sign(&jwt, key, &jws), 0);
        text = secret_text(jws);
        payload = strchr(text, '.') + 1;
        signature = strchr(payload, '.') + 1;
        ck_assert_ptr_null(strchr(signature, '.'));
        ck_assert_ptr_null(strchr(text, '='));

        n = decode(text, (size_t) (payload - 1 - text), bytes);
        bytes[n] = '\0';
        ck_assert_str_eq((char *) bytes,
                         "{\"alg\":\"RS256\",\"typ\":\"JWT\","
                         "\"kid\":\"_v0VjcMlLdQc3tRTD3jC5Xz29TUnKQOhtuD5k-gpyf4\"}");
        n = decode(payload, (size_t) (signature - 1 - payload), bytes);
        bytes[n] = '\0';
        (void) snprintf(expected, sizeof(expected),
                        "{\"iss\":\"1127900106117\",\"aud\":\"api.coze.cn\",\"iat\":1790000000,"
                        "\"exp\":1790000600,\"jti\":\"%s\"%s}",
                        hex, claims[_i].rest);
        ck_assert_str_eq((char *) bytes, expected);
        n = decode(signature, strlen(signature), bytes);
        ck_assert_uint_eq(n, 256);
        verify(text, (size_t) (signature - 1 - text), bytes, n);
}
END_TEST

START_TEST(pkce)
{
        AUTO(secret_unrefp) struct secret *vector = secret_new("code_verifier", 13);
        AUTO(secret_unrefp) struct secret *rfc = NULL;
        AUTO(secret_unrefp) struct secret *made = NULL;
        uint8_t random[PKCE_RANDOM_SIZE] = { 0xff, 0x01 };
        char challenge[PKCE_CHALLENGE_SIZE];

        ck_assert_int_eq(pkce_challenge(vector, challenge), 0); /* of the Python SDK's tests */
        ck_assert_str_eq(challenge, "73oehA2tBul5grZPhXUGQwNAjxh69zNES8bu2bVD0EM");
        rfc = secret_new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", 43);
        ck_assert_int_eq(pkce_challenge(rfc, challenge), 0); /* RFC 7636 appendix B */
        ck_assert_str_eq(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        made = pkce_verifier(random);
        ck_assert_str_eq(secret_text(made), "ff01000000000000000000000000000000000000000000000000"
                                            "000000000000");
        ck_assert_uint_eq(secret_len(made), 64);
}
END_TEST

START_TEST(form)
{
        AUTO(form_freep) struct form *f = form_new(4, 64);
        AUTO(form_freep) struct form *nothing = form_new(0, 0);
        AUTO(secret_unrefp) struct secret *value = secret_new("a\0b", 3);
        AUTO(secret_unrefp) struct secret *text = NULL;
        AUTO(secret_unrefp) struct secret *empty = NULL;

        form_text(f, "quote", "\"\\\x01\x1f\t");
        form_secret(f, "nul", value);
        form_number(f, "number", INT64_MIN);
        form_json(f, "json", "{\"x\":[]}");
        text = form_take(f);
        ck_assert_str_eq(secret_text(text), "{\"quote\":\"\\\"\\\\\\u0001\\u001f\\u0009\","
                                            "\"nul\":\"a\\u0000b\","
                                            "\"number\":-9223372036854775808,"
                                            "\"json\":{\"x\":[]}}");
        empty = form_take(nothing);
        ck_assert_str_eq(secret_text(empty), "{}");
}
END_TEST

/* The largest values for which room was asked for. */
START_TEST(form_is_large_enough)
{
        char worst[33] = { 0 };
        AUTO(form_freep) struct form *f = form_new(2, 2 * 32 + 2 * 3);
        AUTO(secret_unrefp) struct secret *text = NULL;

        memset(worst, 1, 32);
        form_text(f, "one", worst);
        form_text(f, "two", worst);
        text = form_take(f);
        ck_assert_uint_eq(secret_len(text), 2 * (32 * 6 + strlen("{\"one\":\"\"")) + 1);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, make_key, drop_key);
        tcase_add_loop_test(tc, encoding, 0, N_ELEMENTS(encodings));
        tcase_add_loop_test(tc, assertion, 0, N_ELEMENTS(claims));
        tcase_add_test(tc, pkce);
        tcase_add_test(tc, form);
        tcase_add_test(tc, form_is_large_enough);
}

CHECK_MAIN("jwt", add_tests)
