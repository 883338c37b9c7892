#include "call.h"

#include <stdarg.h>
#include <strings.h>

#include "memory.h"
#include "object.h"
#include "scope.h"

#define DIGITS       "0123456789"
#define WORD         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#define DURATION_S   900
#define DURATION_MAX 86399

static const struct route routes[] = {
        { "POST", "/api/permission/oauth2/token", NULL, FAULT_AT_TOKEN, NULL, false },
        { "POST", "/api/permission/oauth2/account/", "/token", FAULT_AT_TOKEN, DIGITS, false },
        { "POST", "/api/permission/oauth2/enterprise_id/", "/token", FAULT_AT_TOKEN, WORD, true },
        { "POST", "/api/permission/oauth2/device/code", NULL, FAULT_AT_DEVICE, NULL, false },
        { "POST", "/api/permission/oauth2/workspace_id/", "/device/code", FAULT_AT_DEVICE, DIGITS,
          false },
        { "GET", "/api/permission/oauth2/authorize", NULL, FAULT_AT_AUTHORIZE, NULL, false },
        { "GET", "/api/permission/oauth2/workspace_id/", "/authorize", FAULT_AT_AUTHORIZE, DIGITS,
          false },
        { "GET", "/v1/users/me", NULL, FAULT_AT_USERS_ME, NULL, false },
};

/* Refusals */

/* A deviation: recorded each time; the first one is the answer. Always false. */
__attribute__((format(printf, 4, 5))) static bool call_refuse(struct call *c, unsigned status,
                                                              const char *error, const char *format,
                                                              ...) {
        char message[CALL_MESSAGE_MAX];
        va_list ap;

        va_start(ap, format);
        vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        authority_violation(c->authority, c->rq->path, "%s", message);
        if (c->status)
                return false;
        c->status = status;
        c->error = error;
        memcpy(c->message, message, sizeof(c->message));
        return false;
}

static bool call_invalid(struct call *c, const char *what, const char *detail) {
        return call_refuse(c, 400, "invalid_request", "invalid request: %s%s%s", what,
                           *detail ? " " : "", detail);
}

/* The operator has switched the application off; no fault of the client. */
static void call_check_active(struct call *c) {
        if (c->status || !c->app->deactivated)
                return;
        c->status = 400;
        c->error = "access_deny";
        snprintf(c->message, sizeof(c->message), "app: %s is currently deactivated by the owner",
                 c->app->name);
}

/* The envelope: what every request has */

static bool route_matches(const struct route *route, const char *path, char ret_id[ID_SIZE]) {
        size_t prefix = strlen(route->prefix), suffix, size = strlen(path);

        if (!route->suffix)
                return strcmp(path, route->prefix) == 0;
        suffix = strlen(route->suffix);
        if (size <= prefix + suffix || size - prefix - suffix >= ID_SIZE ||
            strncmp(path, route->prefix, prefix) != 0 ||
            strcmp(path + size - suffix, route->suffix) != 0)
                return false;
        memcpy(ret_id, path + prefix, size - prefix - suffix);
        ret_id[size - prefix - suffix] = '\0';
        if (ret_id[strspn(ret_id, route->id)] == '\0')
                return true;
        ret_id[0] = '\0';
        return false;
}

static void call_find_route(struct call *c) {
        for (size_t i = 0; i < N_ELEMENTS(routes) && !c->route; i++) {
                if (route_matches(&routes[i], c->rq->path, c->id))
                        c->route = &routes[i];
        }
}

static bool host_is_ours(const struct call *c, const char *host) {
        const char *port = strchr(authority_directory(c->authority)->host, ':');
        static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };

        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                size_t n = strlen(names[i]);

                if (strncmp(host, names[i], n) == 0 && strcmp(host + n, port) == 0)
                        return true;
        }
        return false;
}

static void call_check_headers(struct call *c) {
        const struct fields *headers = &c->rq->headers;
        const char *duplicate = fields_duplicate(headers);
        const char *host = fields_find(headers, "Host"), *expect = fields_find(headers, "Expect");

        if (strcmp(c->rq->version, "HTTP/1.1") != 0)
                call_invalid(c, c->rq->version, "instead of HTTP/1.1");
        if (headers->n > SERVER_FIELDS_MAX || c->rq->query.n > SERVER_FIELDS_MAX)
                call_invalid(c, "too many headers or parameters", "");
        if (duplicate)
                call_invalid(c, "duplicate header", duplicate);
        for (size_t i = 0; i < headers->n && i < SERVER_FIELDS_MAX; i++) {
                if (!*headers->field[i].value)
                        call_invalid(c, "empty header", headers->field[i].name);
        }
        if (!host || !host_is_ours(c, host))
                call_invalid(c, "Host", "is another");
        if (expect && strcasecmp(expect, "100-continue") != 0)
                call_invalid(c, "unknown Expect", expect);
}

/* The credential of `Authorization: Bearer …`; NULL when it was refused. */
static const char *call_bearer(struct call *c, unsigned status, const char *error,
                               const char *missing) {
        const char *value = fields_find(&c->rq->headers, "Authorization");

        if (!value) {
                call_refuse(c, status, error, "%s: Authorization is missing", missing);
                return NULL;
        }
        if (strncmp(value, "Bearer ", 7) != 0 || !value[7] || strpbrk(value + 7, " \t,")) {
                call_refuse(c, status, error, "%s: Authorization is no Bearer and one word",
                            missing);
                return NULL;
        }
        return value + 7;
}

static void call_check_unauthorized(struct call *c) {
        if (fields_find(&c->rq->headers, "Authorization"))
                call_invalid(c, "Authorization", "where none is due");
}

/* The body */

static bool media_type_is_json(const char *value) {
        static const char json[] = "application/json";

        if (!value || strncasecmp(value, json, sizeof(json) - 1) != 0)
                return false;
        value += sizeof(json) - 1;
        value += strspn(value, " ");
        if (*value == '\0')
                return true;
        if (*value++ != ';')
                return false;
        value += strspn(value, " ");
        return strcasecmp(value, "charset=utf-8") == 0;
}

static bool call_read_body(struct call *c) {
        const char *type = fields_find(&c->rq->headers, "Content-Type"), *null;

        if (c->rq->query.n > 0)
                call_invalid(c, "a query on a POST endpoint", "");
        if (!media_type_is_json(type))
                return call_invalid(c, "Content-Type is not application/json but",
                                    type ? type : "missing");
        if (c->rq->too_large)
                return call_invalid(c, "the body is too large", "");
        c->body = object_parse(c->rq->body, c->rq->size);
        if (!c->body)
                return call_invalid(c, "the body is no JSON object", "");
        null = object_null(c->body);
        if (null)
                return call_invalid(c, null, "is null");
        return true;
}

static bool call_check_members(struct call *c, const char *const *allowed) {
        const char *unknown = object_unknown(c->body, allowed);

        if (!unknown)
                return true;
        return call_invalid(c, "unknown member", unknown);
}

static bool call_text(struct call *c, const char *name, const char **ret) {
        *ret = object_string(c->body, name);
        if (*ret)
                return true;
        return call_invalid(c, name, "");
}

/* Who asks: client_id, and the secret when the application has one. */
static bool call_check_client(struct call *c, const char *client_id) {
        const char *secret;

        c->app = authority_find_client(c->authority, client_id);
        if (!c->app)
                return call_refuse(c, 401, "invalid_client", "unknown client_id");
        if (c->app->key)
                return call_refuse(c, 400, "access_deny", "invalid app type");
        if (!c->app->secret) {
                call_check_unauthorized(c);
                return !c->status;
        }
        secret = call_bearer(c, 400, "invalid_request", "invalid request: client_secret");
        if (!secret)
                return false;
        if (strcmp(secret, c->app->secret) != 0)
                return call_refuse(c, 401, "invalid_client", "the client secret is wrong");
        return true;
}

/* Token endpoint: one check for each grant */

static void call_check_jwt(struct call *c) {
        struct json_object *scope = json_object_object_get(c->body, "scope");
        const char *text = call_bearer(c, 401, "invalid_client", "verify jwt empty error");
        char why[JWT_WHY_MAX];

        c->duration_s = DURATION_S;
        if (json_object_object_get_ex(c->body, "duration_seconds", NULL) &&
            (!object_integer(c->body, "duration_seconds", &c->duration_s) || c->duration_s < 1 ||
             c->duration_s > DURATION_MAX))
                call_invalid(c, "duration_seconds", "is no integer from 1 to 86399");
        if (scope && !scope_check(scope, why, sizeof(why)))
                call_invalid(c, "scope:", why);
        if (!text)
                return;
        if (!jwt_accept(c->authority, text, &c->jwt, why)) {
                call_refuse(c, 401, "invalid_client", "invalid jwt: %s", why);
                return;
        }
        c->app = c->jwt.app;
        if ((c->app->kind == APPLICATION_ENTERPRISE) != c->route->enterprise)
                call_refuse(c, 400, "access_deny", "invalid app type");
        else if (c->route->enterprise && strcmp(c->id, ENTERPRISE_ID) != 0)
                call_refuse(c, 400, "access_deny", "the app is not installed in this enterprise");
}

static void call_check_verifier(struct call *c) {
        size_t n;

        if (c->app->kind == APPLICATION_WEB) {
                if (json_object_object_get_ex(c->body, "code_verifier", NULL))
                        call_invalid(c, "unknown member", "code_verifier");
                return;
        }
        if (!call_text(c, "code_verifier", &c->verifier))
                return;
        n = strlen(c->verifier);
        if (n < 43 || n > 128 || c->verifier[strspn(c->verifier, UNRESERVED)] != '\0')
                call_invalid(c, "code_verifier", "is not 43 to 128 unreserved characters");
}

static void call_check_code(struct call *c) {
        if (c->app->kind == APPLICATION_DEVICE) {
                call_refuse(c, 400, "access_deny", "invalid app type");
                return;
        }
        call_text(c, "code", &c->code);
        call_text(c, "redirect_uri", &c->redirect_uri);
        call_check_verifier(c);
}

static void call_check_refresh(struct call *c) {
        call_text(c, "refresh_token", &c->refresh_token);
}

static void call_check_poll(struct call *c) {
        if (c->app->kind != APPLICATION_DEVICE)
                call_refuse(c, 400, "access_deny", "invalid app type");
        call_text(c, "device_code", &c->device_code);
}

static const struct {
        const char *type;
        enum count count;
        const char *members[6];
        void (*check)(struct call *c);
} grants[GRANT_MAX] = {
        [GRANT_JWT] = { "urn:ietf:params:oauth:grant-type:jwt-bearer",
                        COUNT_JWT,
                        { "grant_type", "duration_seconds", "scope", NULL },
                        call_check_jwt },
        [GRANT_AUTHORIZATION_CODE] = { "authorization_code",
                                       COUNT_AUTHORIZATION_CODE,
                                       { "grant_type", "client_id", "redirect_uri", "code",
                                         "code_verifier", NULL },
                                       call_check_code },
        [GRANT_REFRESH_TOKEN] = { "refresh_token",
                                  COUNT_REFRESH,
                                  { "grant_type", "client_id", "refresh_token", NULL },
                                  call_check_refresh },
        [GRANT_DEVICE_CODE] = { "urn:ietf:params:oauth:grant-type:device_code",
                                COUNT_DEVICE_POLL,
                                { "grant_type", "client_id", "device_code", NULL },
                                call_check_poll },
};

static void call_check_token(struct call *c) {
        const char *type, *client_id;

        authority_count(c->authority, COUNT_TOKEN);
        if (!call_read_body(c) || !call_text(c, "grant_type", &type))
                return;
        while (c->grant < GRANT_MAX && strcmp(grants[c->grant].type, type) != 0)
                c->grant++;
        if (c->grant == GRANT_MAX) {
                call_refuse(c, 400, "unsupported_grant_type", "not supported grant type: %.64s",
                            type);
                return;
        }
        authority_count(c->authority, grants[c->grant].count);
        call_check_members(c, grants[c->grant].members);
        if (c->grant == GRANT_JWT) {
                call_check_jwt(c);
                return;
        }
        if (*c->id)
                call_refuse(c, 400, "unsupported_grant_type", "not supported grant type: only jwt");
        if (call_text(c, "client_id", &client_id) && call_check_client(c, client_id))
                grants[c->grant].check(c);
}

/* The other endpoints */

static void call_check_device(struct call *c) {
        static const char *const members[] = { "client_id", NULL };
        const char *client_id;

        authority_count(c->authority, COUNT_DEVICE_START);
        if (!call_read_body(c))
                return;
        call_check_members(c, members);
        if (call_text(c, "client_id", &client_id) && call_check_client(c, client_id) &&
            c->app->kind != APPLICATION_DEVICE)
                call_refuse(c, 400, "access_deny", "invalid app type");
}

static bool call_parameter(struct call *c, const char *name, const char **ret) {
        *ret = fields_find(&c->rq->query, name);
        if (*ret && **ret)
                return true;
        return call_invalid(c, name, "");
}

static void call_check_challenge(struct call *c) {
        const char *method;

        if (c->app->kind == APPLICATION_WEB) {
                if (fields_find(&c->rq->query, "code_challenge") ||
                    fields_find(&c->rq->query, "code_challenge_method"))
                        call_invalid(c, "code_challenge", "of an application with a secret");
                return;
        }
        if (call_parameter(c, "code_challenge_method", &method) && strcmp(method, "S256") != 0)
                call_invalid(c, "code_challenge_method", "is not S256");
        if (call_parameter(c, "code_challenge", &c->challenge) &&
            (strlen(c->challenge) != 43 || c->challenge[strspn(c->challenge, WORD)] != '\0'))
                call_invalid(c, "code_challenge", "is not 43 base64url characters");
}

static void call_check_authorize(struct call *c) {
        static const char *const known[] = { "response_type",  "client_id",
                                             "redirect_uri",   "state",
                                             "code_challenge", "code_challenge_method" };
        const struct fields *query = &c->rq->query;
        const char *type, *client_id, *duplicate = fields_duplicate(query);

        authority_count(c->authority, COUNT_AUTHORIZE);
        call_check_unauthorized(c);
        if (duplicate)
                call_invalid(c, "duplicate parameter", duplicate);
        for (size_t i = 0; i < query->n && i < SERVER_FIELDS_MAX; i++) {
                size_t j = 0;

                while (j < N_ELEMENTS(known) && strcmp(query->field[i].name, known[j]) != 0)
                        j++;
                if (j == N_ELEMENTS(known))
                        call_invalid(c, "unknown parameter", query->field[i].name);
        }
        if (call_parameter(c, "response_type", &type) && strcmp(type, "code") != 0)
                call_invalid(c, "response_type", "is not code");
        call_parameter(c, "state", &c->state);
        if (!call_parameter(c, "redirect_uri", &c->redirect_uri) ||
            !call_parameter(c, "client_id", &client_id))
                return;
        c->app = authority_find_client(c->authority, client_id);
        if (!c->app)
                call_refuse(c, 401, "invalid_client", "unknown client_id");
        else if (c->app->kind != APPLICATION_WEB && c->app->kind != APPLICATION_PKCE)
                call_refuse(c, 400, "access_deny", "invalid app type");
        else if (!authority_knows_redirect(c->authority, c->app, c->redirect_uri))
                call_invalid(c, "redirect_uri", "is not registered");
        else
                call_check_challenge(c);
}

static void call_check_users_me(struct call *c) {
        authority_count(c->authority, COUNT_USERS_ME);
        if (!fields_find(&c->rq->headers,
                         "Authorization")) { /* how one asks whether it is the API */
                c->access_token = "";
                return;
        }
        c->access_token = call_bearer(c, 401, "4100", "authentication is invalid");
}

/* All together */

/* A copy of the body in which every secret is but its length. Nothing is shared with the body:
 * json-c counts references without a lock, and the copy goes to other threads. */
static struct json_object *body_without_secrets(struct json_object *body) {
        static const char *const open[] = { "grant_type",       "client_id", "redirect_uri",
                                            "duration_seconds", "scope",     NULL };
        struct json_object *copy = must(json_object_new_object());

        json_object_object_foreach(body, name, value) {
                const char *const *known = open;
                struct json_object *own = NULL;

                while (*known && strcmp(*known, name) != 0)
                        known++;
                if (*known && value && json_object_deep_copy(value, &own, NULL) == 0)
                        json_object_object_add(copy, name, own);
                else
                        object_add_integer(copy, name, json_object_get_string_len(value));
        }
        return copy;
}

static void call_remember(struct call *c) {
        struct json_object *view = must(json_object_new_object());

        object_add_string(view, "path", c->rq->path);
        json_object_object_add(view, "header", json_object_get(c->jwt.header));
        json_object_object_add(view, "claims", json_object_get(c->jwt.claims));
        json_object_object_add(view, "body", c->body ? body_without_secrets(c->body) : NULL);
        jwt_done(&c->jwt); /* our references end before others can see the view */
        c->jwt.app = c->app;
        authority_remember(c->authority, view);
}

static void call_check(struct call *c) {
        static void (*const checks[FAULT_AT_MAX])(struct call *) = {
                [FAULT_AT_TOKEN] = call_check_token,
                [FAULT_AT_DEVICE] = call_check_device,
                [FAULT_AT_AUTHORIZE] = call_check_authorize,
                [FAULT_AT_USERS_ME] = call_check_users_me,
        };

        call_check_headers(c);
        if (!c->route)
                call_refuse(c, 404, "invalid_request", "no such path");
        else if (strcmp(c->rq->method, c->route->method) != 0)
                call_refuse(c, 405, "invalid_request", "%.16s is not the method of this path",
                            c->rq->method);
        else
                checks[c->route->endpoint](c);
}

void call_begin(struct call *c, struct authority *a, const struct request *rq) {
        *c = (struct call){
                .authority = a, .rq = rq, .verifier = "", .challenge = "", .state = ""
        };
        call_find_route(c);
        authority_take_faults(a, c->route ? c->route->endpoint : FAULT_AT_ANY, &c->hit);
        call_check(c);
        if (c->app)
                call_check_active(c);
        if (c->route && c->route->endpoint == FAULT_AT_TOKEN)
                call_remember(c);
}

void call_end(struct call *c) {
        fault_hit_done(&c->hit);
        jwt_done(&c->jwt);
        json_object_put(c->body);
}
