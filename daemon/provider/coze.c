#include "provider/coze.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "provider/form.h"
#include "provider/jwt.h"

#define COZE_PATH "/api/permission/oauth2/"

#define COZE_JWT_BEARER  "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define COZE_DEVICE_CODE "urn:ietf:params:oauth:grant-type:device_code"

#define COZE_URL_EXTRA  192 /* bytes of an URL besides base and values: paths and parameter names */
#define COZE_BODY_EXTRA 256 /* bytes of a body besides its values: names, grant type, number */

static size_t coze_length(const char *text) {
        return text ? strlen(text) : 0;
}

static size_t coze_secret_length(const struct secret *s) {
        return s ? secret_len(s) : 0;
}

/* Appends at `p`, percent-encoding all but RFC 3986's unreserved characters. Returns the end. */
static char *coze_put_encoded(char *p, const char *text) {
        static const char digits[] = "0123456789ABCDEF";

        for (; *text; text++) {
                unsigned char c = (unsigned char) *text;

                if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    strchr("-._~", c)) {
                        *p++ = *text;
                        continue;
                }
                *p++ = '%';
                *p++ = digits[c >> 4];
                *p++ = digits[c & 0xf];
        }
        *p = '\0';
        return p;
}

/* BASE/api/permission/oauth2/[KIND/ID/]LEAF. Returns the end. */
static char *coze_put_path(char *p, const char *base, const char *kind, const char *id,
                           const char *leaf) {
        p = stpcpy(stpcpy(p, base), COZE_PATH);
        if (id) {
                p = stpcpy(stpcpy(p, kind), "/");
                p = stpcpy(coze_put_encoded(p, id), "/");
        }
        return stpcpy(p, leaf);
}

int coze_url(const struct exchange *x, char **ret) {
        const struct conf_credential *c = x->credential;
        const char *kind = NULL, *id = NULL, *leaf = "token";
        char *url;

        if (x->kind == EXCHANGE_DEVICE_START) {
                kind = "workspace_id";
                id = c->workspace_id;
                leaf = "device/code";
        } else if (x->kind == EXCHANGE_JWT_BEARER) {
                kind = c->account_id ? "account" : "enterprise_id";
                id = c->account_id ? c->account_id : c->enterprise_id;
        }
        url = malloc(strlen(c->provider->api_url) + 3 * coze_length(id) + COZE_URL_EXTRA);
        if (!url)
                return RAISE(-ENOMEM);
        (void) coze_put_path(url, c->provider->api_url, kind, id, leaf);
        *ret = url;
        return 0;
}

static int coze_authorize_url(const struct conf_credential *c, const char *state,
                              const char *challenge, char **ret) {
        char *url, *p;

        url = malloc(strlen(c->provider->www_url) + COZE_URL_EXTRA +
                     3 * (coze_length(c->workspace_id) + strlen(c->client_id) +
                          coze_length(c->redirect_uri) + strlen(state) + coze_length(challenge)));
        if (!url)
                return RAISE(-ENOMEM);
        p = coze_put_path(url, c->provider->www_url, "workspace_id", c->workspace_id, "authorize");
        p = coze_put_encoded(stpcpy(p, "?response_type=code&client_id="), c->client_id);
        p = coze_put_encoded(stpcpy(p, "&redirect_uri="), c->redirect_uri ? c->redirect_uri : "");
        p = coze_put_encoded(stpcpy(p, "&state="), state);
        if (challenge) {
                p = coze_put_encoded(stpcpy(p, "&code_challenge="), challenge);
                p = stpcpy(p, "&code_challenge_method=S256");
        }
        *ret = url;
        return 0;
}

/* The body's members, for each kind in the order of coze-oauth.md section 2.2. NULL: out of
 * memory. */
static struct secret *coze_body(const struct exchange *x) {
        const struct conf_credential *c = x->credential;
        AUTO(form_freep) struct form *f = NULL;

        f = form_new(6, COZE_BODY_EXTRA + coze_length(c->client_id) + coze_length(c->redirect_uri) +
                                coze_length(x->scope) + coze_secret_length(x->code) +
                                coze_secret_length(x->verifier) +
                                coze_secret_length(x->refresh_token) +
                                coze_secret_length(x->device_code));
        if (!f)
                return NULL;
        switch (x->kind) {
        case EXCHANGE_JWT_BEARER:
                form_text(f, "grant_type", COZE_JWT_BEARER);
                if (x->duration_s > 0)
                        form_number(f, "duration_seconds", x->duration_s);
                if (x->scope)
                        form_json(f, "scope", x->scope);
                break;
        case EXCHANGE_AUTHORIZATION_CODE:
                form_text(f, "grant_type", "authorization_code");
                form_text(f, "client_id", c->client_id);
                form_text(f, "redirect_uri", c->redirect_uri);
                form_secret(f, "code", x->code);
                if (x->verifier)
                        form_secret(f, "code_verifier", x->verifier);
                break;
        case EXCHANGE_REFRESH_TOKEN:
                form_text(f, "grant_type", "refresh_token");
                form_text(f, "client_id", c->client_id);
                form_secret(f, "refresh_token", x->refresh_token);
                break;
        case EXCHANGE_DEVICE_START:
                form_text(f, "client_id", c->client_id);
                break;
        case EXCHANGE_DEVICE_POLL:
                form_text(f, "grant_type", COZE_DEVICE_CODE);
                form_text(f, "client_id", c->client_id);
                form_secret(f, "device_code", x->device_code);
                break;
        case EXCHANGE_KIND_MAX:
                assert(false);
        }
        return form_take(f);
}

/* "Bearer " and the secret. NULL: out of memory. */
static struct secret *coze_bearer(const struct secret *credentials) {
        struct secret *s = secret_new_reserved(strlen("Bearer ") + secret_len(credentials));

        if (s) {
                (void) secret_append_text(s, "Bearer "); /* it fits */
                (void) secret_append(s, secret_text(credentials), secret_len(credentials));
        }
        return s;
}

static int coze_assertion(const struct exchange *x, wall_t provider_now, const uint8_t *random,
                          struct secret **ret) {
        const struct conf_credential *c = x->credential;
        struct jwt jwt = {
                .key_id = c->public_key_id,
                .issuer = c->client_id,
                .audience = c->provider->audience,
                .issued_at = provider_now,
                .random = random,
                .session_name = coze_length(x->session_name) > 0 ? x->session_name : NULL,
                .session_context = x->session_context,
        };

        assert(c->private_key && c->public_key_id && DIALECT_RANDOM_SIZE == JWT_RANDOM_SIZE);
        return PASS(jwt_sign(&jwt, c->private_key, ret));
}

/* The Authorization header; *ret stays NULL for an exchange that has none. */
static int coze_authorization(const struct exchange *x, wall_t provider_now, const uint8_t *random,
                              struct secret **ret) {
        const struct conf_credential *c = x->credential;
        AUTO(secret_unrefp) struct secret *assertion = NULL;
        const struct secret *credentials = NULL;
        int r;

        if (x->kind == EXCHANGE_JWT_BEARER) {
                r = coze_assertion(x, provider_now, random, &assertion);
                if (r < 0)
                        return PASS(r);
                credentials = assertion;
        } else if (c->type == CREDENTIAL_AUTHORIZATION_CODE) {
                credentials = c->client_secret;
        }
        if (!credentials)
                return 0;
        *ret = coze_bearer(credentials);
        return *ret ? 0 : RAISE(-ENOMEM);
}

static int coze_encode(const struct exchange *x, wall_t provider_now,
                       const uint8_t random[DIALECT_RANDOM_SIZE], struct http_request **ret) {
        const struct conf_provider *provider = x->credential->provider;
        AUTO(http_request_freep) struct http_request *req = calloc(1, sizeof(*req));
        int r;

        if (!req)
                return RAISE(-ENOMEM);
        req->ca_file = provider->ca_file;
        req->allow_http = provider->allow_http;
        req->timeout_us = provider->timeout_us;
        r = coze_url(x, &req->url);
        if (r < 0)
                return PASS(r);
        req->body = coze_body(x);
        if (!req->body)
                return RAISE(-ENOMEM);
        r = coze_authorization(x, provider_now, random, &req->authorization);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(req);
        return 0;
}

const struct dialect dialect_coze = {
        .name = "coze",
        .encode = coze_encode,
        .decode = coze_decode,
        .authorize_url = coze_authorize_url,
};
