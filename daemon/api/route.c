#include "api/route.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/audit.h"
#include "api/handlers.h"
#include "api/parameter.h"
#include "api/server.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"
#include "client/protocol.h"
#include "policy/policy.h"

enum right {
        RIGHT_NONE, /* whoever can connect */
        RIGHT_USE,  /* of the credential in the path, if there is one */
        RIGHT_ADMIN,
        RIGHT_FORGET, /* `use` where people authorize, else `admin` */
};

static const struct route {
        const char *method;
        const char *path; /* "*" stands for a credential's name, "#" for an authorization's id */
        enum right right;
        bool has_body;
        struct reply (*handle)(struct call *call);
} routes[] = {
        { "GET", "/v1/token/*", RIGHT_USE, false, token_get },
        { "POST", "/v1/token/*", RIGHT_USE, true, token_post },
        { "GET", "/v1/credentials", RIGHT_NONE, false, credentials_list },
        { "GET", "/v1/credentials/*", RIGHT_USE, false, credentials_get },
        { "GET", "/v1/credentials/*/access", RIGHT_NONE, false, access_get },
        { "PUT", "/v1/credentials/*/secret", RIGHT_ADMIN, true, credentials_put_secret },
        { "DELETE", "/v1/credentials/*/grant", RIGHT_FORGET, false, grants_delete },
        { "GET", "/v1/credentials/*/subjects", RIGHT_ADMIN, false, grants_subjects },
        { "POST", "/v1/credentials/*/authorizations", RIGHT_USE, true, authorizations_post },
        { "GET", "/v1/authorizations", RIGHT_NONE, false, authorizations_list },
        { "GET", "/v1/authorizations/#", RIGHT_NONE, false, authorizations_get },
        { "DELETE", "/v1/authorizations/#", RIGHT_NONE, false, authorizations_delete },
        { "POST", "/v1/callback", RIGHT_NONE, true, authorizations_callback },
        { "GET", "/v1/events", RIGHT_NONE, false, events_get },
        { "GET", "/metrics", RIGHT_NONE, false, metrics_get },
        { "POST", "/v1/reload", RIGHT_ADMIN, false, reload_post },
        { "GET", "/healthz", RIGHT_NONE, false, health_live },
        { "GET", "/readyz", RIGHT_NONE, false, health_ready },
};

/* Does the path fit? Writes the part that "*" or "#" stands for, if there is one; a part too long to be a name fits nothing. */
static bool route_fits(const char *pattern, const char *path, char name[PROTOCOL_NAME_MAX + 1]) {
        const char *star = strpbrk(pattern, "*#");
        size_t before = star ? (size_t) (star - pattern) : strlen(pattern);
        size_t len;

        if (strncmp(pattern, path, before) != 0)
                return false;
        if (!star)
                return path[before] == '\0';
        len = strcspn(path + before, "/");
        if (len == 0 || len > PROTOCOL_NAME_MAX || strcmp(path + before + len, star + 1) != 0)
                return false;
        memcpy(name, path + before, len);
        name[len] = '\0';
        return true;
}

static const struct route *route_find(const char *method, const char *path,
                                      char name[PROTOCOL_NAME_MAX + 1], struct reply *ret_problem) {
        char clean[128], allow[64] = "";

        for (size_t i = 0; i < N_ELEMENTS(routes); i++) {
                if (!route_fits(routes[i].path, path, name))
                        continue;
                if (strcmp(routes[i].method, method) == 0)
                        return &routes[i];
                (void) snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s",
                                *allow ? ", " : "", routes[i].method);
        }
        why_clean(path, strlen(path), clean, sizeof(clean));
        if (*allow)
                *ret_problem = reply_method_not_allowed(method, clean, allow);
        else
                *ret_problem = reply_error(MHD_HTTP_NOT_FOUND, PROTOCOL_NOT_FOUND,
                                           "no such path: %s. The API is described in bearerd(8)",
                                           clean);
        return NULL;
}

static bool route_is_json(struct call *call) {
        const char *type = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND,
                                                       MHD_HTTP_HEADER_CONTENT_TYPE);
        static const char json[] = "application/json";

        if (!type || strncasecmp(type, json, strlen(json)) != 0)
                return false;
        type += strlen(json);
        type += strspn(type, " \t");
        return *type == '\0' || *type == ';';
}

static int route_check_body(const struct route *route, struct call *call,
                            struct reply *ret_problem) {
        if (call->has_no_room)
                *ret_problem = reply_upstream_error(
                        MHD_HTTP_TOO_MANY_REQUESTS, PROTOCOL_SLOW_DOWN,
                        "this user is sending too many requests with long bodies at once", NULL,
                        US_PER_S);
        else if (call->body_over > 0)
                *ret_problem = reply_error(MHD_HTTP_CONTENT_TOO_LARGE, PROTOCOL_INVALID_REQUEST,
                                           "the body is larger than %d bytes", PROTOCOL_BODY_MAX);
        else if (!route->has_body && call->body)
                *ret_problem = reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                           "%s %s takes no body", route->method, route->path);
        else if (route->has_body && !route_is_json(call))
                *ret_problem = reply_error(MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                           PROTOCOL_INVALID_REQUEST,
                                           "send the body with Content-Type: application/json");
        else
                return 0;
        return -EINVAL;
}

/* Nobody has looked at the body yet. */
static void route_refused(struct call *call, enum audit_outcome outcome, const char *credential) {
        const char *subject = MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND,
                                                          "subject");
        AUTO(json_wipep) struct json_object *o = NULL;

        if (call->body && json_parse(secret_text(call->body), secret_len(call->body), &o) == 0 &&
            json_object_is_type(o, json_type_object))
                subject = json_get_text(o, "subject");
        if (!subject || parameter_check_subject(subject, strlen(subject)))
                subject = "";
        audit_record(server_parts(call->server)->audit, outcome, call->caller, credential, subject,
                     "");
}

struct reply route_no_credential(struct call *call, const char *name) {
        if (conf_find_credential(server_conf(call->server), name))
                route_refused(call, AUDIT_NOT_SHOWN, name);
        return reply_error(MHD_HTTP_NOT_FOUND, PROTOCOL_NOT_FOUND,
                           "no credential is called \"%s\"; bearerctl list shows those you may use",
                           text_is_name(name) ? name : "?");
}

struct reply route_may_not_use(struct call *call, const char *name) {
        route_refused(call, AUDIT_USE_DENIED, name);
        return reply_error(MHD_HTTP_FORBIDDEN, PROTOCOL_ACCESS_DENIED,
                           "user %u may not use credential \"%s\": see allow_users, allow_groups "
                           "and allow_units in bearerd.conf(5)",
                           (unsigned) call->caller->peer.uid, name);
}

static int route_check_right(const struct route *route, struct call *call, const char *name,
                             const struct conf *conf, struct reply *ret_problem) {
        enum right right;

        if (strchr(route->path, '#')) {
                if (strlen(name) >= sizeof(call->id))
                        name = ""; /* no id is that long */
                strcpy(call->id, name);
        } else if (*name) {
                call->credential = caller_find_credential(call->caller, conf, name);
                if (!call->credential) {
                        *ret_problem = route_no_credential(call, name);
                        return -ENOENT;
                }
        }
        right = route->right;
        if (right == RIGHT_FORGET)
                right = credential_type_is_interactive(call->credential->type) ? RIGHT_USE
                                                                               : RIGHT_ADMIN;
        if (right == RIGHT_ADMIN && !call->caller->is_admin) {
                route_refused(call, AUDIT_ADMIN_DENIED, name);
                *ret_problem = reply_error(
                        MHD_HTTP_FORBIDDEN, PROTOCOL_ACCESS_DENIED,
                        "user %u is not an administrator of bearerd: see admin_users and admin_groups "
                        "in bearerd.conf(5)",
                        (unsigned) call->caller->peer.uid);
                return -EACCES;
        }
        if (right == RIGHT_USE && !caller_may_use(call->caller, call->credential)) {
                *ret_problem = route_may_not_use(call, name);
                return -EACCES;
        }
        return 0;
}

static struct reply route_answer(struct call *call, const char *method, const char *path) {
        char name[PROTOCOL_NAME_MAX + 1] = "";
        struct reply reply = { 0 };
        /* an odd path is none of ours, and none of ours fits "%" */
        const struct route *route = route_find(method, call->path_is_odd ? "%" : path, name,
                                               &reply);

        if (!route || route_check_body(route, call, &reply) < 0 ||
            route_check_right(route, call, name, server_conf(call->server), &reply) < 0)
                return reply;
        call->route = route;
        return route->handle(call);
}

bool route_judge_again(struct call *call, const struct conf *conf, struct reply *ret_reply) {
        char name[PROTOCOL_NAME_MAX + 1] = "";

        if (call->credential)
                strcpy(name, call->credential->name); /* the configuration has checked its length */
        else if (strchr(call->route->path, '#'))
                strcpy(name, call->id);
        call->credential = NULL;
        return route_check_right(call->route, call, name, conf, ret_reply) == 0;
}

void route_call(struct call *call, const char *method, const char *path) {
        struct reply reply = route_answer(call, method, path);

        if (call->progress == CALL_CROSSED)
                return;
        call->reply = reply;
        call->progress = CALL_ANSWERED;
}

bool route_fast(struct server *s, struct MHD_Connection *connection, struct caller *caller,
                const char *method, const char *path, enum MHD_Result *ret_done) {
        static const char prefix[] = PROTOCOL_PATH_TOKEN;
        const size_t len = sizeof(prefix) - 1;

        /* what is behind it may be anything: then no credential is called so */
        return strcmp(method, MHD_HTTP_METHOD_GET) == 0 && strncmp(path, prefix, len) == 0 &&
               token_get_fast(s, connection, caller, path + len, ret_done);
}

/* --- what handlers share --- */

struct handler_query {
        struct parameter *parameters;
        size_t n;
        const char *problem;
        char key[64];
};

static enum MHD_Result handler_iterate(void *cls, enum MHD_ValueKind kind, const char *key,
                                       size_t key_len, const char *value, size_t len) {
        struct handler_query *q = cls;

        (void) kind;
        for (size_t i = 0; i < q->n; i++) {
                struct parameter *p = &q->parameters[i];

                if (strlen(p->key) != key_len || memcmp(p->key, key, key_len) != 0)
                        continue;
                if (p->value || !value)
                        q->problem = p->value ? "is given twice" : "has no value";
                why_clean(key, key_len, q->key, sizeof(q->key));
                p->value = value;
                p->len = len;
                return q->problem ? MHD_NO : MHD_YES;
        }
        q->problem = "is not known here";
        why_clean(key ? key : "", key ? key_len : 0, q->key, sizeof(q->key));
        return MHD_NO;
}

int handler_read_query(struct call *call, struct parameter *parameters, size_t n,
                       struct reply *ret_reply) {
        struct handler_query q = { .parameters = parameters, .n = n };

        (void) MHD_get_connection_values_n(call->connection, MHD_GET_ARGUMENT_KIND, handler_iterate,
                                           &q);
        if (!q.problem)
                return 0;
        *ret_reply = reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                 "query parameter %s %s", q.key, q.problem);
        return -EINVAL;
}

int handler_refuse_query(struct call *call, struct reply *ret_reply) {
        return handler_read_query(call, NULL, 0, ret_reply);
}

static bool handler_allows(const char *const allowed[], const char *key) {
        for (size_t i = 0; allowed[i]; i++)
                if (strcmp(allowed[i], key) == 0)
                        return true;
        return false;
}

int handler_parse_body(struct call *call, const char *const allowed[], struct reply *ret_reply,
                       struct json_object **ret) {
        AUTO(json_wipep) struct json_object *o = NULL;
        char clean[64];
        int r;

        r = handler_refuse_query(call, ret_reply);
        if (r < 0)
                return r;
        r = call->body ? json_parse(secret_text(call->body), secret_len(call->body), &o) : -EBADMSG;
        if (r < 0 || !json_object_is_type(o, json_type_object)) {
                *ret_reply = reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                         "the body is not a JSON object in UTF-8");
                return -EINVAL;
        }
        json_object_object_foreach(o, key, value) {
                (void) value;
                if (handler_allows(allowed, key))
                        continue;
                *ret_reply = reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                         "unknown member \"%s\" in the body",
                                         why_clean(key, strlen(key), clean, sizeof(clean)));
                return -EINVAL;
        }
        *ret = TAKE(o);
        return 0;
}
