#include "conf/oauth_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "check_main.h"
#include "rsa_key.h"

static char escaped[16384];

static void make_key(void) {
        char *out = escaped;

        for (const char *p = RSA_KEY; *p; p++)
                out = *p == '\n' ? stpcpy(out, "\\n") : (*out = *p, out + 1);
}

/* Writes `in` with the key in place of "@KEY". */
static const char *with_key(const char *in, const char *key) {
        static char text[32768];
        const char *hit = strstr(in, "@KEY");

        if (!hit)
                return in;
        snprintf(text, sizeof(text), "%.*s%.16000s%s", (int) (hit - in), in, key, hit + 4);
        return text;
}

#define BASE "\"client_id\":\"123\",\"coze_api_base\":\"https://api.coze.cn\""
#define KID  "_v0VjcMlLdQc3tRTD3jC5Xz29TUnKQOhtuD5k-gpyf4"

static const struct {
        const char *text;
        enum credential_type type;
        const char *api_url, *www_url;
} good[] = {
        { "{\"client_type\":\"web\",\"client_secret\":\"s3cret\"," BASE "}",
          CREDENTIAL_AUTHORIZATION_CODE, "https://api.coze.cn", NULL },
        { "{\"client_type\":\"pkce\"," BASE ",\"coze_www_base\":\"https://www.coze.cn/\"}",
          CREDENTIAL_PKCE, "https://api.coze.cn", "https://www.coze.cn" },
        { "{\"client_type\":\"device\"," BASE ",\"coze_domain\":\"x\",\"app_id\":7}",
          CREDENTIAL_DEVICE_CODE, "https://api.coze.cn", NULL },
        { "{\"client_type\":\"jwt\",\"private_key\":\"@KEY\",\"public_key_id\":\"" KID "\"," BASE
          "}",
          CREDENTIAL_JWT, "https://api.coze.cn", NULL },
        /* what is not for the type is not looked at; empty is absent */
        { "\xef\xbb\xbf{\"client_type\":\"device\",\"client_secret\":\"\",\"private_key\":\"\","
          "\"public_key_id\":null,\"client_id\":\"123\","
          "\"coze_api_base\":\"HTTPS://API.coze.com:443/\"}\n",
          CREDENTIAL_DEVICE_CODE, "https://api.coze.com", NULL },
};

static void check_good(const char *text, size_t i) {
        AUTO(oauth_config_freep) struct oauth_config *c = NULL;
        struct why why = { "" };

        ck_assert_msg(oauth_config_parse(text, strlen(text), &why, &c) == 0, "%s", why.text);
        ck_assert_int_eq(c->type, good[i].type);
        ck_assert_str_eq(c->client_id, "123");
        ck_assert_str_eq(c->api_url, good[i].api_url);
        ck_assert_pstr_eq(c->www_url, good[i].www_url);
        ck_assert_int_eq(c->client_secret != NULL, c->type == CREDENTIAL_AUTHORIZATION_CODE);
        if (c->client_secret)
                ck_assert_str_eq(secret_text(c->client_secret), "s3cret");
        ck_assert_int_eq(c->private_key != NULL, c->type == CREDENTIAL_JWT);
        ck_assert_pstr_eq(c->public_key_id, c->type == CREDENTIAL_JWT ? KID : NULL);
        if (c->private_key)
                ck_assert_int_eq(key_bits(c->private_key), 2048);
}

START_TEST(accepts)
{
        check_good(with_key(good[_i].text, escaped), (size_t) _i);
        check_good(with_key(good[_i].text, RSA_KEY),
                   (size_t) _i); /* raw line breaks in the string */
}
END_TEST

#define JWT_MISSING "missing for this client_type: "

static const struct {
        const char *text, *sentence;
} bad[] = {
        { "", "not a JSON object" },
        { "[]", "not a JSON object" },
        { "null", "not a JSON object" },
        { "{", "not a JSON object" },
        { "{} {}", "not a JSON object" },
        { "-----BEGIN PRIVATE KEY-----", "not a JSON object" },
        { "{\"client_type\":\"web\"", "not a JSON object" },
        { "{}", "client_type is missing" },
        { "{\"client_type\":null}", "client_type is missing" },
        { "{\"client_type\":7}", "client_type is missing, or no string" },
        { "{\"client_type\":\"JWT\"}", "client_type must be" },
        { "{\"client_type\":\"devise\"}", "did you mean \"device\"?" },
        { "{\"client_type\":\"we\\u0000b\"}", "client_type is missing, or no string" },
        { "{\"client_type\":\"pkce\"}", JWT_MISSING "client_id, coze_api_base;" },
        { "{\"client_type\":\"jwt\"}",
          JWT_MISSING "client_id, private_key, public_key_id, coze_api_base;" },
        { "{\"client_type\":\"web\"," BASE "}", JWT_MISSING "client_secret;" },
        { "{\"client_type\":\"web\",\"client_secret\":\"\"," BASE "}",
          JWT_MISSING "client_secret;" },
        { "{\"client_type\":\"pkce\",\"client_id\":123}",
          "must be a JSON string, in double quotes: client_id; missing: coze_api_base" },
        { "{\"client_type\":\"web\",\"client_secret\":[\"x\"]," BASE "}",
          "must be a JSON string, in double quotes: client_secret" },
        { "{\"client_type\":\"web\",\"client_secret\":\"a b\"," BASE "}",
          "client_secret has blanks" },
        { "{\"client_type\":\"pkce\",\"client_id\":\"a b\","
          "\"coze_api_base\":\"https://api.coze.cn\"}",
          "client_id must be one word" },
        { "{\"client_type\":\"pkce\",\"client_id\":\"1\",\"coze_api_base\":\"api.coze.cn\"}",
          "coze_api_base must be a URL" },
        { "{\"client_type\":\"pkce\",\"coze_www_base\":\"ftp://x\"," BASE "}",
          "coze_www_base must be a URL" },
        { "{\"client_type\":\"jwt\",\"private_key\":\"-----BEGIN PUBLIC KEY-----\\nAA\\n-----END "
          "PUBLIC KEY-----\",\"public_key_id\":\"" KID "\"," BASE "}",
          "private_key: not usable as a private key: it is a public key" },
        { "{\"client_type\":\"jwt\",\"private_key\":\"@KEY\",\"public_key_id\":\"a b\"," BASE "}",
          "public_key_id must be one word" },
};

START_TEST(refuses)
{
        struct oauth_config *const untouched = (struct oauth_config *) (uintptr_t) 8;
        const char *text = with_key(bad[_i].text, escaped);
        struct oauth_config *c = untouched;
        struct why why = { "" };

        ck_assert_int_eq(oauth_config_parse(text, strlen(text), &why, &c), -EBADMSG);
        ck_assert_msg(strstr(why.text, bad[_i].sentence), "\"%s\" is not in: %s", bad[_i].sentence,
                      why.text);
        ck_assert_ptr_eq(c, untouched);
}
END_TEST

/* Cut anywhere: refused, never a crash, never a byte read beyond the end. */
START_TEST(refuses_every_prefix)
{
        const char *text = with_key(good[3].text, escaped);
        size_t n = strlen(text);

        for (size_t len = 0; len < n; len++) {
                AUTO(auto_freep) char *exact = malloc(len + 1);
                struct oauth_config *c;

                memcpy(exact, text, len);
                exact[len] = '}';
                ck_assert_int_eq(oauth_config_parse(exact, len, NULL, &c), -EBADMSG);
        }
}
END_TEST

START_TEST(reads_a_guarded_file)
{
        char path[] = "/tmp/oauth_config.XXXXXX";
        AUTO(oauth_config_freep) struct oauth_config *c = NULL;
        int fd = mkstemp(path);
        struct why why = { "" };

        ck_assert_int_ge(fd, 0);
        ck_assert_int_gt(dprintf(fd, "%s", good[1].text), 0);
        ck_assert_int_eq(fchmod(fd, 0640), 0);
        ck_assert_int_eq(oauth_config_read(path, &why, &c), -EPERM);
        ck_assert_msg(strstr(why.text, "chmod 600 "), "%s", why.text);
        ck_assert_int_eq(fchmod(fd, 0600), 0);
        ck_assert_int_eq(oauth_config_read(path, &why, &c), 0);
        ck_assert_int_eq(c->type, CREDENTIAL_PKCE);
        c = oauth_config_free(c);
        ck_assert_int_eq(ftruncate(fd, 3), 0);
        ck_assert_int_eq(oauth_config_read(path, &why, &c), -EBADMSG);
        ck_assert_msg(strncmp(why.text, path, strlen(path)) == 0, "%s", why.text);
        close(fd);
        unlink(path);
        ck_assert_int_eq(oauth_config_read(path, &why, &c), -ENOENT);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_unchecked_fixture(tc, make_key, NULL);
        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, accepts, 0, N_ELEMENTS(good));
        tcase_add_loop_test(tc, refuses, 0, N_ELEMENTS(bad));
        tcase_add_test(tc, refuses_every_prefix);
        tcase_add_test(tc, reads_a_guarded_file);
}

CHECK_MAIN("oauth_config", add)
