/*
 * The Coze dialect, row by row of coze-oauth.md sections 2.2 and 5 to 8.
 */
#include "provider/coze.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "check_main.h"
#include "memory_search.h"
#include "rsa_key.h"

#define NOW 1790000000 /* our clock when the answer comes; the request left 2 s earlier */

#define CLIENT_SECRET "hDQPTzkGqJ0u8LxWcH4vS2aYm1NfEr9B"
#define REFRESH_TOKEN "LBEPq7d2VYxS0mWc9TnKf4RzJ1uGhAo8"
#define CODE          "code_8d1fKq2WmZ7xTcVbN3sLpR5yHgJ0aQe4"
#define DEVICE_CODE   "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS"

static struct conf_provider provider = {
        .name = (char *) "coze.cn",
        .dialect = (char *) "coze",
        .api_url = (char *) "https://api.coze.cn",
        .www_url = (char *) "https://www.coze.cn",
        .audience = (char *) "api.coze.cn",
        .ca_file = (char *) "/etc/ca.pem",
        .timeout_us = 7 * US_PER_S,
};

static struct conf_credential credential;
static struct secret *client_secret, *refresh_token, *code, *verifier, *device_code;
static struct key *key;

static struct secret *secret_of(const char *text) {
        return secret_new(text, strlen(text));
}

static void start(void) {
        client_secret = secret_of(CLIENT_SECRET);
        refresh_token = secret_of(REFRESH_TOKEN);
        code = secret_of(CODE);
        verifier = secret_of("v3r1f13r-of-sufficient-length-0123456789abcdef");
        device_code = secret_of(DEVICE_CODE);
        credential = (struct conf_credential){
                .name = (char *) "bot",
                .provider = &provider,
                .client_id = (char *) "1127900106117",
                .public_key_id = (char *) "_v0VjcMlLdQc3tRTD3jC5Xz29TUnKQOhtuD5k-gpyf4",
                .redirect_uri = (char *) "http://127.0.0.1:8080/callback",
        };
}

static void stop(void) {
        secret_unref(client_secret);
        secret_unref(refresh_token);
        secret_unref(code);
        secret_unref(verifier);
        secret_unref(device_code);
        key = key_unref(key);
}

static struct exchange exchange_of(enum exchange_kind kind) {
        struct exchange x = { .kind = kind, .credential = &credential };

        credential.type = kind == EXCHANGE_JWT_BEARER ? CREDENTIAL_JWT
                          : kind == EXCHANGE_DEVICE_START || kind == EXCHANGE_DEVICE_POLL
                                  ? CREDENTIAL_DEVICE_CODE
                                  : CREDENTIAL_AUTHORIZATION_CODE;
        credential.client_secret = credential.type == CREDENTIAL_AUTHORIZATION_CODE ? client_secret
                                                                                    : NULL;
        x.code = kind == EXCHANGE_AUTHORIZATION_CODE ? code : NULL;
        x.refresh_token = kind == EXCHANGE_REFRESH_TOKEN ? refresh_token : NULL;
        x.device_code = kind == EXCHANGE_DEVICE_POLL ? device_code : NULL;
        return x;
}

/* ---- encode() ---- */

#define T "https://api.coze.cn/api/permission/oauth2/token"

static const struct {
        enum exchange_kind kind;
        enum credential_type type;
        bool verifier;
        int64_t duration_s;
        const char *scope, *workspace_id, *account_id, *enterprise_id;
        const char *url, *authorization, *body; /* authorization: NULL none; "JWT" */
} requests[] = {
        { EXCHANGE_JWT_BEARER, CREDENTIAL_JWT, false, 0, NULL, NULL, NULL, NULL, T, "JWT",
          "{\"grant_type\":\"urn:ietf:params:oauth:grant-type:jwt-bearer\"}" },
        { EXCHANGE_JWT_BEARER, CREDENTIAL_JWT, false, 86399, NULL, NULL, NULL, NULL, T, "JWT",
          "{\"grant_type\":\"urn:ietf:params:oauth:grant-type:jwt-bearer\","
          "\"duration_seconds\":86399}" },
        { EXCHANGE_JWT_BEARER, CREDENTIAL_JWT, false, 900,
          "{\"account_permission\":{\"permission_list\":[\"Connector.botChat\"]}}", NULL, NULL,
          NULL, T, "JWT",
          "{\"grant_type\":\"urn:ietf:params:oauth:grant-type:jwt-bearer\","
          "\"duration_seconds\":900,"
          "\"scope\":{\"account_permission\":{\"permission_list\":[\"Connector.botChat\"]}}}" },
        { EXCHANGE_JWT_BEARER, CREDENTIAL_JWT, false, 0, NULL, NULL, "7361000000000000001", NULL,
          "https://api.coze.cn/api/permission/oauth2/account/7361000000000000001/token", "JWT",
          "{\"grant_type\":\"urn:ietf:params:oauth:grant-type:jwt-bearer\"}" },
        { EXCHANGE_JWT_BEARER, CREDENTIAL_JWT, false, 0, NULL, NULL, NULL, "volcano_210195/../x y",
          "https://api.coze.cn/api/permission/oauth2/enterprise_id/"
          "volcano_210195%2F..%2Fx%20y/token",
          "JWT", "{\"grant_type\":\"urn:ietf:params:oauth:grant-type:jwt-bearer\"}" },
        { EXCHANGE_JWT_BEARER, CREDENTIAL_JWT, false, 0, NULL, "73", NULL, NULL, T, "JWT",
          "{\"grant_type\":\"urn:ietf:params:oauth:grant-type:jwt-bearer\"}" },

        { EXCHANGE_AUTHORIZATION_CODE, CREDENTIAL_AUTHORIZATION_CODE, false, 0, NULL, NULL, NULL,
          NULL, T, "Bearer " CLIENT_SECRET,
          "{\"grant_type\":\"authorization_code\",\"client_id\":\"1127900106117\","
          "\"redirect_uri\":\"http://127.0.0.1:8080/callback\",\"code\":\"" CODE "\"}" },
        { EXCHANGE_AUTHORIZATION_CODE, CREDENTIAL_PKCE, true, 0, NULL, NULL, NULL, NULL, T, NULL,
          "{\"grant_type\":\"authorization_code\",\"client_id\":\"1127900106117\","
          "\"redirect_uri\":\"http://127.0.0.1:8080/callback\",\"code\":\"" CODE "\","
          "\"code_verifier\":\"v3r1f13r-of-sufficient-length-0123456789abcdef\"}" },
        { EXCHANGE_AUTHORIZATION_CODE, CREDENTIAL_PKCE, true, 0, NULL, "7361", NULL, NULL, T, NULL,
          "{\"grant_type\":\"authorization_code\",\"client_id\":\"1127900106117\","
          "\"redirect_uri\":\"http://127.0.0.1:8080/callback\",\"code\":\"" CODE "\","
          "\"code_verifier\":\"v3r1f13r-of-sufficient-length-0123456789abcdef\"}" },

        { EXCHANGE_REFRESH_TOKEN, CREDENTIAL_AUTHORIZATION_CODE, false, 0, NULL, NULL, NULL, NULL,
          T, "Bearer " CLIENT_SECRET,
          "{\"grant_type\":\"refresh_token\",\"client_id\":\"1127900106117\","
          "\"refresh_token\":\"" REFRESH_TOKEN "\"}" },
        { EXCHANGE_REFRESH_TOKEN, CREDENTIAL_PKCE, false, 0, NULL, "7361", NULL, NULL, T, NULL,
          "{\"grant_type\":\"refresh_token\",\"client_id\":\"1127900106117\","
          "\"refresh_token\":\"" REFRESH_TOKEN "\"}" },
        { EXCHANGE_REFRESH_TOKEN, CREDENTIAL_DEVICE_CODE, false, 0, NULL, NULL, NULL, NULL, T, NULL,
          "{\"grant_type\":\"refresh_token\",\"client_id\":\"1127900106117\","
          "\"refresh_token\":\"" REFRESH_TOKEN "\"}" },

        { EXCHANGE_DEVICE_START, CREDENTIAL_DEVICE_CODE, false, 0, NULL, NULL, NULL, NULL,
          "https://api.coze.cn/api/permission/oauth2/device/code", NULL,
          "{\"client_id\":\"1127900106117\"}" },
        { EXCHANGE_DEVICE_START, CREDENTIAL_DEVICE_CODE, false, 0, NULL, "7361", NULL, NULL,
          "https://api.coze.cn/api/permission/oauth2/workspace_id/7361/device/code", NULL,
          "{\"client_id\":\"1127900106117\"}" },
        { EXCHANGE_DEVICE_POLL, CREDENTIAL_DEVICE_CODE, false, 0, NULL, "7361", NULL, NULL, T, NULL,
          "{\"grant_type\":\"urn:ietf:params:oauth:grant-type:device_code\","
          "\"client_id\":\"1127900106117\",\"device_code\":\"" DEVICE_CODE "\"}" },
};

static void make_key(void) {
        ck_assert_int_eq(key_parse(RSA_KEY, strlen(RSA_KEY), NULL, &key), 0);
}

/* "Bearer ", then three parts, the second with what is looked for; test_jwt.c verifies the
 * rest. */
static void check_assertion(const char *authorization) {
        const char *payload, *signature;
        unsigned char bytes[2048] = { 0 };
        char padded[2048] = "";

        ck_assert_int_eq(strncmp(authorization, "Bearer eyJ", 10), 0);
        payload = strchr(authorization, '.') + 1;
        signature = strchr(payload, '.');
        memcpy(padded, payload, (size_t) (signature - payload));
        for (char *p = padded; *p; p++)
                *p = (char) (*p == '-' ? '+' : *p == '_' ? '/' : *p);
        while (strlen(padded) % 4)
                (void) strcat(padded, "=");
        ck_assert_int_ge(EVP_DecodeBlock(bytes, (unsigned char *) padded, (int) strlen(padded)), 0);
        ck_assert_ptr_nonnull(strstr((char *) bytes, "\"iss\":\"1127900106117\","
                                                     "\"aud\":\"api.coze.cn\",\"iat\":1790000123,"
                                                     "\"exp\":1790000723,\"jti\":\"0102"));
        ck_assert_ptr_null(strstr((char *) bytes, "session_"));
}

START_TEST(encode)
{
        struct exchange x = exchange_of(requests[_i].kind);
        uint8_t random[DIALECT_RANDOM_SIZE] = { 1, 2 };
        struct http_request *req = NULL;

        if (requests[_i].type == CREDENTIAL_JWT) {
                make_key();
                credential.private_key = key;
        }
        credential.type = requests[_i].type;
        credential.workspace_id = (char *) (uintptr_t) requests[_i].workspace_id;
        credential.account_id = (char *) (uintptr_t) requests[_i].account_id;
        credential.enterprise_id = (char *) (uintptr_t) requests[_i].enterprise_id;
        x.verifier = requests[_i].verifier ? verifier : NULL;
        x.duration_s = requests[_i].duration_s;
        x.scope = requests[_i].scope;
        x.session_name = ""; /* the same as none */
        ck_assert_int_eq(dialect_coze.encode(&x, (wall_t){ 1790000123 }, random, &req), 0);
        ck_assert_str_eq(req->url, requests[_i].url);
        ck_assert_str_eq(secret_text(req->body), requests[_i].body);
        ck_assert_str_eq(req->ca_file, "/etc/ca.pem");
        ck_assert_int_eq(req->timeout_us, 7 * US_PER_S);
        ck_assert(!req->allow_http);
        if (!requests[_i].authorization)
                ck_assert_ptr_null(req->authorization);
        else if (strcmp(requests[_i].authorization, "JWT") == 0)
                check_assertion(secret_text(req->authorization));
        else
                ck_assert_str_eq(secret_text(req->authorization), requests[_i].authorization);
        http_request_free(req);
}
END_TEST

static const struct {
        const char *client_id, *redirect_uri, *workspace_id, *state, *challenge, *url;
} pages[] = {
        { "8173.app.coze", "http://127.0.0.1:8080/callback", NULL, "s-1", NULL,
          "https://www.coze.cn/api/permission/oauth2/authorize?response_type=code"
          "&client_id=8173.app.coze&redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fcallback"
          "&state=s-1" },
        { "8173", "https://a.example/cb?x=1&y=2#frag", "73/61", "a b+c&d=\xe6\x89\xa3~_.-",
          "73oehA2tBul5grZPhXUGQwNAjxh69zNES8bu2bVD0EM",
          "https://www.coze.cn/api/permission/oauth2/workspace_id/73%2F61/authorize"
          "?response_type=code&client_id=8173"
          "&redirect_uri=https%3A%2F%2Fa.example%2Fcb%3Fx%3D1%26y%3D2%23frag"
          "&state=a%20b%2Bc%26d%3D%E6%89%A3~_.-"
          "&code_challenge=73oehA2tBul5grZPhXUGQwNAjxh69zNES8bu2bVD0EM"
          "&code_challenge_method=S256" },
};

START_TEST(authorize_url)
{
        AUTO(auto_freep) char *url = NULL;

        credential.client_id = (char *) (uintptr_t) pages[_i].client_id;
        credential.redirect_uri = (char *) (uintptr_t) pages[_i].redirect_uri;
        credential.workspace_id = (char *) (uintptr_t) pages[_i].workspace_id;
        ck_assert_int_eq(
                dialect_coze.authorize_url(&credential, pages[_i].state, pages[_i].challenge, &url),
                0);
        ck_assert_str_eq(url, pages[_i].url);
}
END_TEST

/* ---- decode(): successes ---- */

static void decode(const struct exchange *x, int status, const char *type, const char *body,
                   int64_t date, struct exchange_result *ret) {
        struct http_response resp = { .outcome = HTTP_ANSWERED,
                                      .status = status,
                                      .retry_after_us = -1,
                                      .has_date = date >= 0,
                                      .date = { date } };

        resp.body = secret_of(body);
        (void) stpcpy(resp.content_type, type);
        ck_assert_int_eq(dialect_coze.decode(x, &resp, (wall_t){ NOW - 2 }, (wall_t){ NOW }, ret),
                         0);
        secret_unref(resp.body);
}

#define JSON_TYPE "application/json"

static const struct {
        enum exchange_kind kind;
        int64_t duration_s;
        int64_t date; /* -1: none */
        const char *body;
        const char *token, *refresh; /* token NULL: nonsense */
        int64_t lifetime_s, requested_s;
        const char *message; /* part of it, when nonsense */
} tokens[] = {
        /* absolute, by our clock and by the provider's */
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"czu_a\",\"expires_in\":1790000900,\"refresh_token\":\"r\"}", "czu_a",
          "r", 900, 0, NULL },
        { EXCHANGE_REFRESH_TOKEN, 0, NOW, "{\"access_token\":\"czu_a\",\"expires_in\":1790000900}",
          "czu_a", NULL, 900, 0, NULL },
        /* a clock ahead of ours: the date may have been written as soon as we had sent */
        { EXCHANGE_REFRESH_TOKEN, 0, NOW + 300,
          "{\"access_token\":\"czu_a\",\"expires_in\":1790001200}", "czu_a", NULL, 898, 0, NULL },
        { EXCHANGE_REFRESH_TOKEN, 0, NOW - 302,
          "{\"access_token\":\"czu_a\",\"expires_in\":1790000600}", "czu_a", NULL, 900, 0, NULL },
        { EXCHANGE_REFRESH_TOKEN, 0, NOW + 2, /* the same clock, but for a rounding */
          "{\"access_token\":\"czu_a\",\"expires_in\":1790000900}", "czu_a", NULL, 900, 0, NULL },
        { EXCHANGE_REFRESH_TOKEN, 0, NOW - 4,
          "{\"access_token\":\"czu_a\",\"expires_in\":1790000900}", "czu_a", NULL, 900, 0, NULL },
        { EXCHANGE_REFRESH_TOKEN, 0, NOW + 3,
          "{\"access_token\":\"czu_a\",\"expires_in\":1790000900}", "czu_a", NULL, 895, 0, NULL },

        /* the new refresh token counts, whatever is wrong with the rest: the old one is spent */
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"czu_a\",\"refresh_token\":\"r\"}",
          NULL, "r", 0, 0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"czu_a\",\"expires_in\":1790000900000,\"refresh_token\":\"r\"}", NULL,
          "r", 0, 0, "neither seconds" },

        /* relative to when the request was sent; no clock matters */
        { EXCHANGE_REFRESH_TOKEN, 0, NOW + 300, "{\"access_token\":\"a\",\"expires_in\":3600}", "a",
          NULL, 3598, 0, NULL },
        { EXCHANGE_AUTHORIZATION_CODE, 0, -1, "{\"access_token\":\"a\",\"expires_in\":999999999}",
          "a", NULL, 999999997, 0, NULL },
        { EXCHANGE_AUTHORIZATION_CODE, 0, -1, "{\"access_token\":\"a\",\"expires_in\":1000000000}",
          NULL, NULL, 0, 0, "expired already" },

        /* spellings of a number */
        { EXCHANGE_DEVICE_POLL, 0, -1, "{\"access_token\":\"a\",\"expires_in\":\"1790000900\"}",
          "a", NULL, 900, 0, NULL },
        { EXCHANGE_DEVICE_POLL, 0, -1, "{\"access_token\":\"a\",\"expires_in\":1790000900.75}", "a",
          NULL, 900, 0, NULL },
        { EXCHANGE_DEVICE_POLL, 0, -1, "{\"access_token\":\"a\",\"expires_in\":\"3600.5\"}", "a",
          NULL, 3598, 0, NULL },
        { EXCHANGE_DEVICE_POLL, 0, -1, "{\"access_token\":\"a\",\"expires_in\":3.6e3}", "a", NULL,
          3598, 0, NULL },

        /* a JWT's token never counts for longer than was asked for; from when we asked, if a clock
         * is off */
        { EXCHANGE_JWT_BEARER, 3600, -1, "{\"access_token\":\"czs_a\",\"expires_in\":1790003600}",
          "czs_a", NULL, 3600, 3600, NULL },
        { EXCHANGE_JWT_BEARER, 3600, -1, "{\"access_token\":\"czs_a\",\"expires_in\":1790009999}",
          "czs_a", NULL, 3598, 3600, NULL },
        { EXCHANGE_JWT_BEARER, 3600, -1, "{\"access_token\":\"czs_a\",\"expires_in\":1790000900}",
          "czs_a", NULL, 900, 3600, NULL },
        { EXCHANGE_JWT_BEARER, 0, -1, "{\"access_token\":\"czs_a\",\"expires_in\":1790003600}",
          "czs_a", NULL, 898, 900, NULL },
        { EXCHANGE_JWT_BEARER, 0, -1,
          "{\"access_token\":\"czs_a\",\"expires_in\":600,\"refresh_token\":\"r\"}", "czs_a", NULL,
          598, 900, NULL },

        /* empty error fields are none; unknown members are nothing */
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"a\",\"expires_in\":900,\"refresh_token\":\"\",\"token_type\":\"\","
          "\"error\":\"\",\"error_code\":\"\",\"error_message\":\"\",\"code\":0,\"msg\":\"ok\","
          "\"detail\":{\"logid\":\"L\"},\"error_description\":null}",
          "a", NULL, 898, 0, NULL },
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"a\",\"expires_in\":900,\"error\":null,\"error_code\":0,"
          "\"code\":\"0\",\"token_type\":null}",
          "a", NULL, 898, 0, NULL },
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"a\",\"expires_in\":900,\"error\":{},\"token_type\":\"bEARER\"}", "a",
          NULL, 898, 0, NULL },
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"a\",\"expires_in\":900,\"refresh_token\":7}", "a", NULL, 898, 0,
          NULL },

        /* nonsense */
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"expires_in\":900}", NULL, NULL, 0, 0,
          "no access_token" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"\",\"expires_in\":900}", NULL, NULL,
          0, 0, "no access_token" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":null,\"expires_in\":900}", NULL, NULL,
          0, 0, "no access_token" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":{},\"expires_in\":900}", NULL, NULL, 0,
          0, "no access_token" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a b\",\"expires_in\":900}", NULL,
          NULL, 0, 0, "no access_token" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"a\\r\\nSet-Cookie: x\",\"expires_in\":900}", NULL, NULL, 0, 0,
          "no access_token" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\\u0000b\",\"expires_in\":900}",
          NULL, NULL, 0, 0, "no access_token" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\"}", NULL, NULL, 0, 0,
          "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":0}", NULL, NULL, 0,
          0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":-900}", NULL, NULL,
          0, 0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":\"soon\"}", NULL,
          NULL, 0, 0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":\"\"}", NULL, NULL,
          0, 0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":\"1.2.3\"}", NULL,
          NULL, 0, 0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":1e300}", NULL,
          NULL, 0, 0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":true}", NULL, NULL,
          0, 0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":[900]}", NULL,
          NULL, 0, 0, "no expires_in" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":1790000000}", NULL,
          NULL, 0, 0, "expired already" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":2}", NULL, NULL, 0,
          0, "expired already" },
        { EXCHANGE_REFRESH_TOKEN, 0, NOW + 900,
          "{\"access_token\":\"a\",\"expires_in\":1790000900}", NULL, NULL, 0, 0,
          "expired already" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1, "{\"access_token\":\"a\",\"expires_in\":1790000900000}",
          NULL, NULL, 0, 0, "neither seconds nor a UNIX time" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"a\",\"expires_in\":9223372036854775806}", NULL, NULL, 0, 0,
          "neither seconds nor a UNIX time" },
        { EXCHANGE_REFRESH_TOKEN, 0, -1,
          "{\"access_token\":\"a\",\"expires_in\":900,\"token_type\":\"mac\"}", NULL, NULL, 0, 0,
          "token_type is not Bearer" },
};

START_TEST(token)
{
        struct exchange x = exchange_of(tokens[_i].kind);
        struct exchange_result result = { 0 };

        x.duration_s = tokens[_i].duration_s;
        decode(&x, 200, JSON_TYPE, tokens[_i].body, tokens[_i].date, &result);
        ck_assert_int_eq(result.has_skew, tokens[_i].date >= 0);
        if (!tokens[_i].token) {
                ck_assert_int_eq(result.refusal.kind, REFUSAL_NONSENSE);
                ck_assert_msg(strstr(result.refusal.message, tokens[_i].message), "%s",
                              result.refusal.message);
                ck_assert_str_ne(result.refusal.advice, "");
                ck_assert_ptr_null(result.access_token);
                ck_assert_pstr_eq(result.refresh_token ? secret_text(result.refresh_token) : NULL,
                                  tokens[_i].refresh);
                exchange_result_done(&result);
                return;
        }
        ck_assert_msg(result.refusal.kind == REFUSAL_NONE, "%s", result.refusal.message);
        ck_assert_str_eq(secret_text(result.access_token), tokens[_i].token);
        ck_assert_pstr_eq(result.refresh_token ? secret_text(result.refresh_token) : NULL,
                          tokens[_i].refresh);
        ck_assert_int_eq(result.lifetime_us, tokens[_i].lifetime_s * US_PER_S);
        ck_assert_int_eq(result.lifetime_requested_us, tokens[_i].requested_s * US_PER_S);
        exchange_result_done(&result);
        ck_assert_ptr_null(result.access_token);
}
END_TEST

static const struct {
        int64_t date, skew_s;
} skews[] = {
        { NOW, 0 },     { NOW - 1, 0 },   { NOW - 2, 0 },        { NOW - 3, -1 },
        { NOW + 1, 1 }, { NOW + 61, 61 }, { NOW - 3602, -3600 }, { 0, -(NOW - 2) },
};

START_TEST(skew)
{
        struct exchange x = exchange_of(EXCHANGE_REFRESH_TOKEN);
        struct exchange_result result = { 0 };

        decode(&x, 200, JSON_TYPE, "{\"access_token\":\"a\",\"expires_in\":900}", skews[_i].date,
               &result);
        ck_assert(result.has_skew);
        ck_assert_int_eq(result.skew_s, skews[_i].skew_s);
        exchange_result_done(&result);
}
END_TEST

/* Our own clock was set back while the request was under way. */
START_TEST(clock_set_back)
{
        struct exchange x = exchange_of(EXCHANGE_REFRESH_TOKEN);
        struct exchange_result result = { 0 };
        struct http_response resp = { .outcome = HTTP_ANSWERED, .status = 200 };

        resp.body = secret_of("{\"access_token\":\"a\",\"expires_in\":900}");
        ck_assert_int_eq(
                dialect_coze.decode(&x, &resp, (wall_t){ NOW }, (wall_t){ NOW - 5000 }, &result),
                0);
        ck_assert_int_eq(result.lifetime_us, 900 * US_PER_S);
        exchange_result_done(&result);
        secret_unref(resp.body);
}
END_TEST

/* ---- decode(): the start of a device authorization ---- */

#define PAGE "https://www.coze.cn/oauth/device-activation"

static const struct {
        const char *body;
        const char *user_code; /* NULL: nonsense */
        const char *uri, *complete;
        int64_t lifetime_s, interval_s;
} devices[] = {
        { "{\"device_code\":\"d\",\"user_code\":\"WDJB-MJHT\",\"verification_uri\":\"" PAGE "\","
          "\"expires_in\":300,\"interval\":5}",
          "WDJB-MJHT", PAGE, PAGE "?user_code=WDJB-MJHT", 298, 5 },
        { "{\"device_code\":\"d\",\"user_code\":12345678,\"verification_uri\":\"" PAGE "?a=1\","
          "\"expires_in\":\"1800\"}",
          "12345678", PAGE "?a=1", PAGE "?a=1&user_code=12345678", 1798, 5 },
        { "{\"device_code\":\"d\",\"user_code\":\"A+B\",\"verification_uri\":\"" PAGE "\","
          "\"verification_uri_complete\":\"" PAGE "/x\",\"expires_in\":300,\"interval\":10}",
          "A+B", PAGE, PAGE "/x", 298, 10 },
        { "{\"device_code\":\"d\",\"user_code\":\"A+B\",\"verification_uri\":\"" PAGE "\","
          "\"verification_uri_complete\":\"javascript:x\",\"expires_in\":300,\"interval\":1}",
          "A+B", PAGE, PAGE "?user_code=A%2BB", 298, 5 },
        { "{\"device_code\":\"d\",\"user_code\":\"A\",\"verification_uri\":\"" PAGE "\","
          "\"expires_in\":1790000300,\"interval\":99999999}", /* an absolute time, too */
          "A", PAGE, PAGE "?user_code=A", 300, 3600 },
        { "{\"user_code\":\"A\",\"verification_uri\":\"" PAGE "\",\"expires_in\":300}", NULL, NULL,
          NULL, 0, 0 },
        { "{\"device_code\":\"\",\"user_code\":\"A\",\"verification_uri\":\"" PAGE "\","
          "\"expires_in\":300}",
          NULL, NULL, NULL, 0, 0 },
        { "{\"device_code\":\"d\",\"verification_uri\":\"" PAGE "\",\"expires_in\":300}", NULL,
          NULL, NULL, 0, 0 },
        { "{\"device_code\":\"d\",\"user_code\":\"A\\u001b[2J\",\"verification_uri\":\"" PAGE "\","
          "\"expires_in\":300}",
          NULL, NULL, NULL, 0, 0 },
        { "{\"device_code\":\"d\",\"user_code\":\"A\",\"expires_in\":300}", NULL, NULL, NULL, 0,
          0 },
        { "{\"device_code\":\"d\",\"user_code\":\"A\",\"verification_uri\":\"javascript:alert(1)\","
          "\"expires_in\":300}",
          NULL, NULL, NULL, 0, 0 },
        { "{\"device_code\":\"d\",\"user_code\":\"A\",\"verification_uri\":\"" PAGE "\"}", NULL,
          NULL, NULL, 0, 0 },
        { "{\"device_code\":\"d\",\"user_code\":"
          "\"0123456789012345678901234567890123456789012345678901234567890123\","
          "\"verification_uri\":\"" PAGE "\",\"expires_in\":300}", /* longer than there is room */
          NULL, NULL, NULL, 0, 0 },
};

START_TEST(device)
{
        struct exchange x = exchange_of(EXCHANGE_DEVICE_START);
        struct exchange_result result = { 0 };

        decode(&x, 200, JSON_TYPE, devices[_i].body, -1, &result);
        if (!devices[_i].user_code) {
                ck_assert_int_eq(result.refusal.kind, REFUSAL_NONSENSE);
                ck_assert_ptr_null(result.device_code);
                exchange_result_done(&result);
                return;
        }
        ck_assert_msg(result.refusal.kind == REFUSAL_NONE, "%s", result.refusal.message);
        ck_assert_str_eq(secret_text(result.device_code), "d");
        ck_assert_str_eq(result.user_code, devices[_i].user_code);
        ck_assert_str_eq(result.verification_uri, devices[_i].uri);
        ck_assert_str_eq(result.verification_uri_complete, devices[_i].complete);
        ck_assert_int_eq(result.lifetime_us, devices[_i].lifetime_s * US_PER_S);
        ck_assert_int_eq(result.interval_us, devices[_i].interval_s * US_PER_S);
        exchange_result_done(&result);
        ck_assert_str_eq(result.user_code, ""); /* wiped */
}
END_TEST

/* ---- decode(): refusals ---- */

enum {
        JWT = EXCHANGE_JWT_BEARER,
        EXCHANGE = EXCHANGE_AUTHORIZATION_CODE,
        REFRESH = EXCHANGE_REFRESH_TOKEN,
        START = EXCHANGE_DEVICE_START,
        POLL = EXCHANGE_DEVICE_POLL
};

#define HTML "<html><title>502</title></html>"

static const struct {
        int exchange;
        int status;
        const char *type, *body;
        enum refusal_kind kind;
        const char *code, *message, *advice; /* parts of the latter two */
} refusals[] = {
        /* section 5: every spelling of a poll's answer, at every status that was seen */
        { POLL, 400, JSON_TYPE,
          "{\"error_code\":\"authorization_pending\",\"error\":\"authorization_pending\","
          "\"error_message\":\"wait\"}",
          REFUSAL_PENDING, "authorization_pending", "wait", "" },
        { POLL, 200, JSON_TYPE, "{\"error_code\":\"authorization_pending\"}", REFUSAL_PENDING,
          "authorization_pending", "", "" },
        { POLL, 400, JSON_TYPE, "{\"error\":\"authorization_pending\",\"error_description\":\"x\"}",
          REFUSAL_PENDING, "authorization_pending", "x", "" },
        { POLL, 200, JSON_TYPE, "{\"error\":\"slow_down\"}", REFUSAL_SLOW_DOWN, "slow_down", "",
          "" },
        { POLL, 429, JSON_TYPE, "{\"error_code\":\"slow_down\"}", REFUSAL_SLOW_DOWN, "slow_down",
          "", "" },
        { POLL, 403, JSON_TYPE, "{\"error_code\":\"access_denied\"}", REFUSAL_DENIED,
          "access_denied", "", "start again" },
        { POLL, 200, JSON_TYPE, "{\"error_code\":\"expired_token\",\"error\":{\"logid\":\"L\"}}",
          REFUSAL_EXPIRED, "expired_token", "", "start again" },
        { POLL, 400, JSON_TYPE, "{\"error_code\":\"invalid_grant\"}", REFUSAL_GRANT,
          "invalid_grant", "", "authorize again" },
        { POLL, 500, "text/html", HTML, REFUSAL_TRANSIENT, "", "HTTP 500", "" },
        { POLL, 400, JSON_TYPE,
          "{\"error_code\":\"access_deny\",\"error_message\":\"app: x is currently deactivated by "
          "the owner\"}",
          REFUSAL_DEACTIVATED, "access_deny", "deactivated", "" },

        /* those names elsewhere */
        { JWT, 400, JSON_TYPE, "{\"error\":\"slow_down\"}", REFUSAL_RATE_LIMIT, "slow_down", "",
          "" },
        { REFRESH, 400, JSON_TYPE, "{\"error\":\"expired_token\"}", REFUSAL_GRANT, "expired_token",
          "", "" },
        { START, 400, JSON_TYPE, "{\"error\":\"authorization_pending\"}", REFUSAL_CONFIGURATION,
          "authorization_pending", "", "" },

        /* section 7.1, row by row */
        { EXCHANGE, 400, JSON_TYPE,
          "{\"error_code\":\"invalid_request\",\"error_message\":\"invalid request: "
          "redirect_uri\"}",
          REFUSAL_CONFIGURATION, "invalid_request", "invalid request: redirect_uri",
          "redirect_uri (to the letter)" },
        { REFRESH, 400, JSON_TYPE,
          "{\"error_code\":\"invalid_request\",\"error_message\":\"invalid request: client_id\"}",
          REFUSAL_CONFIGURATION, "invalid_request", "client_id", "" },
        { EXCHANGE, 400, JSON_TYPE,
          "{\"error_code\":\"invalid_request\",\"error_message\":\"invalid request: "
          "client_secret\"}",
          REFUSAL_CONFIGURATION, "invalid_request", "client_secret", "web backend" },
        { JWT, 401, JSON_TYPE,
          "{\"error_code\":\"invalid_client\",\"error\":\"invalid_client\","
          "\"error_message\":\"invalid jwt: kid not been registred\"}",
          REFUSAL_CONFIGURATION, "invalid_client", "kid not been registred",
          "check the region first" },
        { JWT, 401, JSON_TYPE,
          "{\"error_code\":\"invalid_client\",\"error_message\":\"Invalid JWT: kid not been "
          "registered\"}",
          REFUSAL_CONFIGURATION, "invalid_client", "registered", "public_key_id" },
        { REFRESH, 401, JSON_TYPE, "{\"error_code\":\"invalid_client\"}", REFUSAL_CONFIGURATION,
          "invalid_client", T " answered HTTP 401", "client secret" },
        { REFRESH, 400, JSON_TYPE,
          "{\"error_code\":\"unsupported_grant_type\",\"error_message\":\"not supported grant "
          "type: x\"}",
          REFUSAL_CONFIGURATION, "unsupported_grant_type", "not supported", "client type" },
        { REFRESH, 403, JSON_TYPE,
          "{\"error_code\":\"access_deny\",\"error_message\":\"app: My Bot is currently "
          "deactivated by the owner\"}",
          REFUSAL_DEACTIVATED, "access_deny", "app: My Bot is currently", "switched" },
        { JWT, 200, JSON_TYPE,
          "{\"error_code\":\"access_deny\",\"error_message\":\"app: x is currently deactivated by "
          "the owner\"}",
          REFUSAL_DEACTIVATED, "access_deny", "deactivated", "" },
        { EXCHANGE, 403, JSON_TYPE,
          "{\"error_code\":\"access_deny\",\"error_message\":\"invalid app type\"}",
          REFUSAL_CONFIGURATION, "access_deny", "invalid app type", "normal application" },
        { REFRESH, 401, JSON_TYPE,
          "{\"error_code\":\"access_deny\",\"error_message\":\"login session invalid\"}",
          REFUSAL_GRANT, "access_deny", "login session invalid", "authorize again" },
        { JWT, 401, JSON_TYPE,
          "{\"error_code\":\"access_deny\",\"error_message\":\"login session invalid\"}",
          REFUSAL_CONFIGURATION, "access_deny", "login session invalid", "region" },
        { REFRESH, 403, JSON_TYPE,
          "{\"error_code\":\"access_deny\",\"error_message\":\"for a new reason\"}",
          REFUSAL_CONFIGURATION, "access_deny", "for a new reason", "" },
        { REFRESH, 400, JSON_TYPE,
          "{\"error_code\":\"internal_error\",\"error_message\":\"Service internal error.\"}",
          REFUSAL_TRANSIENT, "internal_error", "Service internal error.", "" },
        { REFRESH, 200, JSON_TYPE, "{\"error_code\":\"internal_error\"}", REFUSAL_TRANSIENT,
          "internal_error", "", "" },
        { REFRESH, 400, JSON_TYPE, "{\"error\":\"invalid_grant\"}", REFUSAL_GRANT, "invalid_grant",
          "", "authorize again" },
        { EXCHANGE, 400, JSON_TYPE,
          "{\"error\":\"invalid_grant\",\"error_description\":\"code used\"}", REFUSAL_GRANT,
          "invalid_grant", "code used", "" },
        { REFRESH, 200, JSON_TYPE, "{\"error_code\":\"invalid_grant\"}", REFUSAL_GRANT,
          "invalid_grant", "", "" },
        { JWT, 400, JSON_TYPE, "{\"error\":\"invalid_grant\"}", REFUSAL_CONFIGURATION,
          "invalid_grant", "", "region" },
        { REFRESH, 401, JSON_TYPE, "{\"error\":\"invalid_token\"}", REFUSAL_GRANT, "invalid_token",
          "", "" },
        { REFRESH, 401, JSON_TYPE, "{\"error\":\"unauthorized\"}", REFUSAL_GRANT, "unauthorized",
          "", "" },
        { JWT, 401, JSON_TYPE, "{\"error\":\"unauthorized\"}", REFUSAL_CONFIGURATION,
          "unauthorized", "", "" },
        { JWT, 400, JSON_TYPE, "{\"error_message\":\"connector app should bind connector id\"}",
          REFUSAL_CONFIGURATION, "", "connector app", "channel" },
        { JWT, 400, JSON_TYPE, "{\"code\":1,\"msg\":\"verify jwt empty error\"}",
          REFUSAL_CONFIGURATION, "1", "verify jwt empty", "Authorization header" },

        /* codes that nobody has written down */
        { REFRESH, 400, JSON_TYPE, "{\"error_code\":\"refresh_token_reused\"}", REFUSAL_GRANT,
          "refresh_token_reused", "", "authorize again" },
        { EXCHANGE, 403, JSON_TYPE, "{\"error\":\"access_denied\"}", REFUSAL_GRANT, "access_denied",
          "", "" },
        { REFRESH, 404, JSON_TYPE, "{\"error\":\"no_such_path\"}", REFUSAL_CONFIGURATION,
          "no_such_path", "", "" },
        { REFRESH, 415, JSON_TYPE, "{\"error\":\"media\"}", REFUSAL_CONFIGURATION, "media", "",
          "" },
        { JWT, 400, JSON_TYPE, "{\"error_code\":\"brand_new\"}", REFUSAL_CONFIGURATION, "brand_new",
          "", "" },
        { START, 400, JSON_TYPE, "{\"error_code\":\"brand_new\"}", REFUSAL_CONFIGURATION,
          "brand_new", "", "" },
        { REFRESH, 200, JSON_TYPE, "{\"error_code\":\"brand_new\"}", REFUSAL_NONSENSE, "brand_new",
          "", "" },
        { REFRESH, 400, JSON_TYPE, "{\"error_message\":\"something\"}", REFUSAL_CONFIGURATION, "",
          "something", "" },

        /* section 6: an error beside a token is an error */
        { REFRESH, 200, JSON_TYPE,
          "{\"access_token\":\"a\",\"expires_in\":900,\"error_code\":\"internal_error\"}",
          REFUSAL_TRANSIENT, "internal_error", "", "" },
        { REFRESH, 200, JSON_TYPE, "{\"access_token\":\"a\",\"expires_in\":900,\"code\":5000}",
          REFUSAL_TRANSIENT, "5000", "", "" },
        { REFRESH, 200, JSON_TYPE,
          "{\"access_token\":\"a\",\"expires_in\":900,\"error_message\":\"no\"}", REFUSAL_NONSENSE,
          "", "no", "" },
        { REFRESH, 400, JSON_TYPE, "{\"access_token\":\"a\",\"expires_in\":900}", REFUSAL_NONSENSE,
          "", "HTTP 400", "" },
        { REFRESH, 500, JSON_TYPE, "{\"access_token\":\"a\",\"expires_in\":900}", REFUSAL_TRANSIENT,
          "", "HTTP 500", "" },

        /* section 7.2: numbers, also as strings and in error_code; never the end of a grant */
        { JWT, 200, JSON_TYPE, "{\"code\":4000,\"msg\":\"bad\"}", REFUSAL_CONFIGURATION, "4000",
          "bad", "" },
        { JWT, 400, JSON_TYPE, "{\"code\":4008,\"msg\":\"limit\"}", REFUSAL_RATE_LIMIT, "4008",
          "limit", "" },
        { JWT, 200, JSON_TYPE, "{\"code\":4009}", REFUSAL_TRANSIENT, "4009", "", "" },
        { JWT, 400, JSON_TYPE, "{\"code\":4011}", REFUSAL_CONFIGURATION, "4011", "", "balance" },
        { JWT, 400, JSON_TYPE, "{\"code\":4013}", REFUSAL_RATE_LIMIT, "4013", "", "" },
        { JWT, 400, JSON_TYPE, "{\"code\":4015}", REFUSAL_CONFIGURATION, "4015", "", "" },
        { JWT, 400, JSON_TYPE, "{\"code\":4016}", REFUSAL_TRANSIENT, "4016", "", "" },
        { JWT, 400, JSON_TYPE, "{\"code\":4019}", REFUSAL_CONFIGURATION, "4019", "", "Volcano" },
        { JWT, 400, JSON_TYPE, "{\"code\":4020}", REFUSAL_RATE_LIMIT, "4020", "", "" },
        { JWT, 401, JSON_TYPE, "{\"code\":4100,\"msg\":\"authentication is invalid\"}",
          REFUSAL_CONFIGURATION, "4100", "invalid", "check the region first" },
        { REFRESH, 401, JSON_TYPE, "{\"code\":4100,\"msg\":\"authentication is invalid\"}",
          REFUSAL_CONFIGURATION, "4100", "invalid", "check the region first" },
        { JWT, 200, JSON_TYPE,
          "{\"code\":4101,\"msg\":\"The token you entered is incorrect\","
          "\"error\":{\"logid\":\"L\"}}",
          REFUSAL_CONFIGURATION, "4101", "incorrect", "check the region first" },
        { REFRESH, 403, JSON_TYPE, "{\"code\":4102}", REFUSAL_RATE_LIMIT, "4102", "",
          "risk control" },
        { JWT, 404, JSON_TYPE, "{\"code\":4200}", REFUSAL_CONFIGURATION, "4200", "", "api_url" },
        { REFRESH, 200, JSON_TYPE, "{\"code\":\"5000\"}", REFUSAL_TRANSIENT, "5000", "", "" },
        { REFRESH, 401, JSON_TYPE, "{\"code\":700012006,\"msg\":\"login verification invalid\"}",
          REFUSAL_CONFIGURATION, "700012006", "login verification", "authorize again" },
        { REFRESH, 401, JSON_TYPE, "{\"code\":123456}", REFUSAL_CONFIGURATION, "123456", "", "" },
        { REFRESH, 200, JSON_TYPE, "{\"error_code\":4009}", REFUSAL_TRANSIENT, "4009", "", "" },
        { REFRESH, 200, JSON_TYPE, "{\"error_code\":\"4009\"}", REFUSAL_TRANSIENT, "4009", "", "" },

        /* the status says it all */
        { REFRESH, 429, JSON_TYPE, "{\"error\":\"invalid_grant\"}", REFUSAL_RATE_LIMIT,
          "invalid_grant", "", "" },
        { REFRESH, 429, "", "", REFUSAL_RATE_LIMIT, "", "HTTP 429", "" },
        { REFRESH, 408, "text/html", HTML, REFUSAL_TRANSIENT, "", "HTTP 408", "" },
        { REFRESH, 425, "", "", REFUSAL_TRANSIENT, "", "HTTP 425", "" },
        { REFRESH, 500, JSON_TYPE, "{\"error\":\"invalid_grant\"}", REFUSAL_TRANSIENT,
          "invalid_grant", "", "" },
        { REFRESH, 502, "text/html", HTML, REFUSAL_TRANSIENT, "", "HTTP 502 with text/html", "" },
        { REFRESH, 503, JSON_TYPE, "{}", REFUSAL_TRANSIENT, "", "HTTP 503", "" },

        /* not the token endpoint's own words */
        { REFRESH, 403, "text/html", HTML, REFUSAL_TRANSIENT, "", "HTTP 403 with text/html",
          "firewall" },
        { REFRESH, 401, "text/html", HTML, REFUSAL_TRANSIENT, "", "HTTP 401", "" },
        { REFRESH, 400, "text/html", HTML, REFUSAL_TRANSIENT, "", "HTTP 400", "" },
        { REFRESH, 403, JSON_TYPE, "[\"invalid_grant\"]", REFUSAL_TRANSIENT, "", "HTTP 403", "" },
        { REFRESH, 400, JSON_TYPE, "{\"error\":\"invalid_grant\"", REFUSAL_TRANSIENT, "",
          "HTTP 400", "" }, /* cut short */
        { REFRESH, 400, JSON_TYPE, "{}", REFUSAL_NONSENSE, "", "which says nothing", "" },
        { REFRESH, 404, "text/html", HTML, REFUSAL_NONSENSE, "", T " answered HTTP 404",
          "api_url" },
        { REFRESH, 405, "", "", REFUSAL_NONSENSE, "", "no content type, empty", "www_url" },
        { REFRESH, 200, "text/html; charset=utf-8", HTML, REFUSAL_NONSENSE, "",
          T " answered HTTP 200 with text/html; charset=utf-8, not a JSON object", "www_url" },
        { JWT, 200, "", "", REFUSAL_NONSENSE, "", "empty", "" },
        { JWT, 204, "", "", REFUSAL_NONSENSE, "", "HTTP 204", "" },
        { JWT, 200, JSON_TYPE, "{\"access_token\":\"czs_abc", REFUSAL_NONSENSE, "",
          "not a JSON object", "" },
        { JWT, 200, JSON_TYPE, "null", REFUSAL_NONSENSE, "", "not a JSON object", "" },
        { JWT, 200, JSON_TYPE, "[]", REFUSAL_NONSENSE, "", "not a JSON object", "" },
        { JWT, 200, JSON_TYPE, "{}", REFUSAL_NONSENSE, "", "which says nothing", "" },
        { JWT, 200, JSON_TYPE, "{\"access_token\":\"a\",\"expires_in\":900}{}", REFUSAL_NONSENSE,
          "", "not a JSON object", "" },
        { REFRESH, 302, "text/html", "", REFUSAL_NONSENSE, "", "HTTP 302", "" },
        { REFRESH, 302, JSON_TYPE, "{\"error\":\"invalid_grant\"}", REFUSAL_NONSENSE,
          "invalid_grant", "", "" },

        /* what a person sees is clean */
        { REFRESH, 400, JSON_TYPE,
          "{\"error\":\"a\\u001b[2Jb\",\"error_description\":\"l1\\nl2\\u0007\"}", REFUSAL_GRANT,
          "a?[2Jb", "l1?l2?", "" },
};

START_TEST(refusal)
{
        struct exchange x = exchange_of((enum exchange_kind) refusals[_i].exchange);
        struct exchange_result result = { 0 };
        const struct refusal *r = &result.refusal;

        decode(&x, refusals[_i].status, refusals[_i].type, refusals[_i].body, -1, &result);
        ck_assert_msg(r->kind == refusals[_i].kind, "%s: %s", refusal_kind_names[r->kind],
                      r->message);
        ck_assert_int_eq(r->http_status, refusals[_i].status);
        ck_assert_str_eq(r->code, refusals[_i].code);
        ck_assert_msg(strstr(r->message, refusals[_i].message), "%s", r->message);
        ck_assert_str_ne(r->message, "");
        ck_assert_msg(strstr(r->advice, refusals[_i].advice), "%s", r->advice);
        ck_assert_uint_lt(strlen(r->advice), REFUSAL_MESSAGE_MAX - 1); /* not cut */
        ck_assert_ptr_null(result.access_token);
        ck_assert_ptr_null(result.refresh_token);
        ck_assert_int_eq(result.lifetime_us, 0);
        exchange_result_done(&result);
}
END_TEST

START_TEST(too_large)
{
        struct exchange x = exchange_of(EXCHANGE_REFRESH_TOKEN);
        struct exchange_result result = { 0 };
        struct http_response resp = { .outcome = HTTP_ANSWERED, .status = 200, .too_large = true };

        resp.body = secret_of("{\"access_token\":\"a\",\"expires_in\":900}"); /* whole by chance */
        ck_assert_int_eq(dialect_coze.decode(&x, &resp, (wall_t){ NOW }, (wall_t){ NOW }, &result),
                         0);
        ck_assert_int_eq(result.refusal.kind, REFUSAL_NONSENSE);
        ck_assert_ptr_nonnull(strstr(result.refusal.message, "more than can be read"));
        exchange_result_done(&result);
        secret_unref(resp.body);
}
END_TEST

/* ---- what else a refusal carries ---- */

static const struct {
        int status;
        int64_t date;
        const char *advice, *not_advice;
} clocks[] = {
        { 401, NOW + 312, "clock is 5min 12s behind the provider's", "#" },
        { 401, NOW - 3602, "clock is 1h ahead of the provider's", "#" },
        { 401, NOW + 61, "behind", "#" },
        { 401, NOW + 60, "region", "clock" },
        { 401, -1, "region", "clock" },
        { 400, NOW + 312, "region", "clock" },
};

START_TEST(skew_told)
{
        struct exchange x = exchange_of(EXCHANGE_JWT_BEARER);
        struct exchange_result result = { 0 };

        decode(&x, clocks[_i].status, JSON_TYPE, "{\"error\":\"invalid_client\"}", clocks[_i].date,
               &result);
        ck_assert_int_eq(result.refusal.kind, REFUSAL_CONFIGURATION);
        ck_assert_msg(strstr(result.refusal.advice, clocks[_i].advice), "%s",
                      result.refusal.advice);
        ck_assert_msg(!strstr(result.refusal.advice, clocks[_i].not_advice), "%s",
                      result.refusal.advice);
        exchange_result_done(&result);
}
END_TEST

static const struct {
        const char *header, *body, *logid;
} logids[] = {
        { "H1", "{\"error\":\"x\",\"detail\":{\"logid\":\"B1\"}}", "H1" },
        { "", "{\"error\":\"x\",\"detail\":{\"logid\":\"B1\"}}", "B1" },
        { "", "{\"code\":4100,\"error\":{\"logid\":\"B2\"}}", "B2" },
        { "", "{\"error\":\"x\",\"detail\":{\"logid\":7}}", "" },
        { "", "{\"error\":\"x\",\"detail\":\"B1\"}", "" },
        { "", "{\"error\":\"x\",\"detail\":{\"logid\":\"a\\nb\"}}", "a?b" },
};

START_TEST(logid)
{
        struct exchange x = exchange_of(EXCHANGE_JWT_BEARER);
        struct exchange_result result = { 0 };
        struct http_response resp = { .outcome = HTTP_ANSWERED,
                                      .status = 400,
                                      .retry_after_us = 17 * US_PER_S };

        (void) stpcpy(resp.logid, logids[_i].header);
        resp.body = secret_of(logids[_i].body);
        ck_assert_int_eq(dialect_coze.decode(&x, &resp, (wall_t){ NOW }, (wall_t){ NOW }, &result),
                         0);
        ck_assert_str_eq(result.refusal.logid, logids[_i].logid);
        ck_assert_int_eq(result.refusal.retry_after_us, 17 * US_PER_S);
        exchange_result_done(&result);
        secret_unref(resp.body);
}
END_TEST

/* A provider that repeats what it was given. */
static const struct {
        int exchange;
        const char *text, *shown;
} echoes[] = {
        { REFRESH, "token " REFRESH_TOKEN " is unknown", "token [redacted] is unknown" },
        { REFRESH, REFRESH_TOKEN, "[redacted]" },
        { REFRESH, "x" REFRESH_TOKEN "y" REFRESH_TOKEN, "x[redacted]y[redacted]" },
        { REFRESH, "secret " CLIENT_SECRET, "secret [redacted]" },
        { REFRESH, "starts with LBEPq7d2VYxS0mWc9...", "starts with [redacted]..." },
        { REFRESH, "LBEPq7d2", "LBEPq7d2" }, /* too little to be of use */
        { EXCHANGE, "code=" CODE ", sorry", "code=[redacted], sorry" },
        { POLL, "device " DEVICE_CODE, "device [redacted]" },
        { JWT, "jwt eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0.c2ln-_x bad", "jwt [redacted] bad" },
        { JWT, "token czs_0123456789abcdefXYZ", "token [redacted]" },
        { JWT, "token pat_0123456789abcdefXYZ.", "token [redacted]." },
        { JWT, "invalid request: code_verifier, code_challenge_method",
          "invalid request: code_verifier, code_challenge_method" },
        { JWT, "kid _v0VjcMlLdQc3tRTD3jC5Xz29TUnKQOhtuD5k-gpyf4",
          "kid _v0VjcMlLdQc3tRTD3jC5Xz29TUnKQOhtuD5k-gpyf4" },
        { JWT, "", T " answered HTTP 400 with application/json, which says nothing" },
};

START_TEST(echo)
{
        struct exchange x = exchange_of((enum exchange_kind) echoes[_i].exchange);
        struct exchange_result result = { 0 };
        char body[512];

        (void) snprintf(body, sizeof(body), "{\"error\":\"x\",\"error_message\":\"%s\"}",
                        echoes[_i].text);
        decode(&x, 400, JSON_TYPE, body, -1, &result);
        ck_assert_str_eq(result.refusal.message, echoes[_i].shown);
        exchange_result_done(&result);

        if (!*echoes[_i].text)
                return;
        (void) snprintf(body, sizeof(body), "{\"error\":\"%s\"}", echoes[_i].text);
        decode(&x, 400, JSON_TYPE, body, -1, &result);
        ck_assert_str_eq(result.refusal.code, echoes[_i].shown);
        exchange_result_done(&result);
}
END_TEST

/* A long text is cut, and not through a secret or a character. */
START_TEST(echo_at_the_cut)
{
        struct exchange x = exchange_of(EXCHANGE_REFRESH_TOKEN);
        struct exchange_result result = { 0 };
        char body[1024];

        for (int before = 200; before < 270; before++) {
                (void) snprintf(body, sizeof(body),
                                "{\"error\":\"x\",\"error_message\":\"%0*d%s\xe6\x89\xa3\xe6\x89"
                                "\xa3\"}",
                                before, 0, REFRESH_TOKEN);
                decode(&x, 400, JSON_TYPE, body, -1, &result);
                ck_assert_ptr_null(strstr(result.refusal.message, "LBE"));
                ck_assert_uint_lt(strlen(result.refusal.message), REFUSAL_MESSAGE_MAX);
                ck_assert_ptr_null(strchr(result.refusal.message, '?'));
                exchange_result_done(&result);
        }
}
END_TEST

/* ---- nothing is left in memory ---- */

static const char canary[MEMORY_CANARY_SIZE] = "\x07\x10\x13\x07\x10\x06\x1d\x78\x01\x1a\x1e\x10"
                                               "\x1b\x78\x16\x14\x1b\x14\x07\x0c\x78\x64\x62\x6d";

/* Long enough for every buffer on the way to be enlarged. */
static struct secret *secret_of_canaries(const char *before, const char *behind) {
        struct secret *s = secret_new_reserved(4096);

        (void) secret_append_text(s, before);
        for (int i = 0; i < 50; i++)
                memory_unmask(canary, s);
        (void) secret_append_text(s, behind);
        return s;
}

START_TEST(encode_leaves_nothing)
{
        struct exchange x = exchange_of(EXCHANGE_REFRESH_TOKEN);
        struct secret *canaries = secret_of_canaries("", "");
        uint8_t random[DIALECT_RANDOM_SIZE] = { 0 };
        struct http_request *req = NULL;

        x.refresh_token = canaries;
        credential.client_secret = canaries;
        ck_assert_int_eq(dialect_coze.encode(&x, (wall_t){ NOW }, random, &req), 0);
        ck_assert_int_ge(memory_count(canary), 150); /* it can be found */
        http_request_free(req);
        secret_unref(canaries);
        ck_assert_int_eq(memory_count(canary), 0);
}
END_TEST

static const struct {
        int status;
        const char *before, *behind;
} leftovers[] = {
        { 200, "{\"access_token\":\"", "\",\"expires_in\":900}" },
        { 200, "{\"expires_in\":900,\"access_token\":\"a\",\"refresh_token\":\"", "\"}" },
        { 200, "{\"access_token\":\"", "\"" }, /* cut short */
        { 200, "{\"access_token\":\"", "\",\"expires_in\":0}" },
        { 400, "{\"error\":\"x\",\"access_token\":\"", "\"}" },
};

START_TEST(decode_leaves_nothing)
{
        struct exchange x = exchange_of(EXCHANGE_REFRESH_TOKEN);
        struct http_response resp = { .outcome = HTTP_ANSWERED, .status = leftovers[_i].status };
        struct exchange_result result = { 0 };

        resp.body = secret_of_canaries(leftovers[_i].before, leftovers[_i].behind);
        ck_assert_int_eq(dialect_coze.decode(&x, &resp, (wall_t){ NOW }, (wall_t){ NOW }, &result),
                         0);
        ck_assert_int_ge(memory_count(canary), 50);
        exchange_result_done(&result);
        secret_unref(resp.body);
        ck_assert_int_eq(memory_count(canary), 0);
}
END_TEST

START_TEST(names)
{
        ck_assert_ptr_eq(dialect_find("coze"), &dialect_coze);
        ck_assert_ptr_null(dialect_find("Coze"));
        ck_assert_ptr_null(dialect_find(""));
        for (int i = 0; i < REFUSAL_KIND_MAX; i++)
                ck_assert_ptr_nonnull(refusal_kind_names[i]);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, start, stop);
        tcase_add_loop_test(tc, encode, 0, N_ELEMENTS(requests));
        tcase_add_loop_test(tc, authorize_url, 0, N_ELEMENTS(pages));
        tcase_add_loop_test(tc, token, 0, N_ELEMENTS(tokens));
        tcase_add_loop_test(tc, skew, 0, N_ELEMENTS(skews));
        tcase_add_test(tc, clock_set_back);
        tcase_add_loop_test(tc, device, 0, N_ELEMENTS(devices));
        tcase_add_loop_test(tc, refusal, 0, N_ELEMENTS(refusals));
        tcase_add_test(tc, too_large);
        tcase_add_loop_test(tc, skew_told, 0, N_ELEMENTS(clocks));
        tcase_add_loop_test(tc, logid, 0, N_ELEMENTS(logids));
        tcase_add_loop_test(tc, echo, 0, N_ELEMENTS(echoes));
        tcase_add_test(tc, echo_at_the_cut);
        tcase_add_test(tc, names);
        if (!memory_is_searchable())
                return;
        tcase_add_test(tc, encode_leaves_nothing);
        tcase_add_loop_test(tc, decode_leaves_nothing, 0, N_ELEMENTS(leftovers));
}

CHECK_MAIN("coze", add_tests)
