#include <microhttpd.h>
#include <string.h>

#include "api/audit.h"
#include "api/handlers.h"
#include "api/loopback.h"
#include "api/parameter.h"
#include "api/redirect.h"
#include "api/server.h"
#include "base/err.h"
#include "base/json.h"
#include "client/protocol.h"

/*
 * Authorizations: start, watch, cancel, and what the browser brings back
 *
 * Who may use a credential may see, cancel and complete its authorizations, and nobody else.
 */

#define AUTHORIZATIONS_CALLBACK_WAIT_US (30 * US_PER_S) /* for the provider to take the code */

static int authorizations_add_secret(struct json_object *o, const char *key,
                                     const struct secret *s) {
        return json_object_object_add(o, key, json_object_new_string(secret_text(s)));
}

/* Where the browser goes, and whether we wait for it where it ends. */
static int authorizations_add_browser(struct json_object *o, const struct loopback *loopback,
                                      const struct authorization *a) {
        struct why warning;
        bool listens = loopback_listens(loopback, a->credential, &warning);
        int r = 0;

        r |= json_object_object_add(o, "authorization_url", json_object_new_string(a->url));
        r |= json_object_object_add(o, "redirect_uri",
                                    json_object_new_string(a->credential->redirect_uri));
        r |= json_object_object_add(o, "loopback", json_object_new_boolean(listens));
        if (warning.text[0])
                r |= json_object_object_add(o, "warning", json_object_new_string(warning.text));
        return r;
}

static int authorizations_add_device(struct json_object *o, const struct authorization *a) {
        int r = 0;

        r |= authorizations_add_secret(o, "user_code", a->user_code);
        r |= json_object_object_add(o, "verification_uri",
                                    json_object_new_string(a->verification_uri));
        if (a->verification_uri_complete && *a->verification_uri_complete)
                r |= json_object_object_add(o, "verification_uri_complete",
                                            json_object_new_string(a->verification_uri_complete));
        return r | json_object_object_add(o, "interval",
                                          json_object_new_int64(a->interval_us / US_PER_S));
}

/* NULL: out of memory. */
static struct json_object *authorizations_object(const struct call *call,
                                                 const struct authorization *a) {
        struct json_object *o = json_object_new_object();
        int r = 0;

        if (!o)
                return NULL;
        r |= json_object_object_add(o, "id", json_object_new_string(a->id));
        r |= json_object_object_add(o, "credential", json_object_new_string(a->credential->name));
        r |= json_object_object_add(o, "subject", json_object_new_string(a->subject));
        r |= json_object_object_add(o, "state",
                                    json_object_new_string(authorization_state_names[a->state]));
        r |= json_object_object_add(o, "expires_at", json_object_new_int64(a->expires_at.s));
        if (a->state == AUTHORIZATION_PENDING && a->url)
                r |= authorizations_add_browser(o, server_parts(call->server)->loopback, a);
        if (a->state == AUTHORIZATION_PENDING && a->user_code)
                r |= authorizations_add_device(o, a);
        if (a->reason.text[0])
                r |= json_object_object_add(o, "reason", json_object_new_string(a->reason.text));
        if (a->refusal.kind != REFUSAL_NONE && a->refusal.http_status > 0)
                r |= json_object_object_add(o, "upstream", reply_refusal(&a->refusal));
        return r < 0 ? json_wipe(o) : o;
}

static void authorizations_return(struct call *call, unsigned status,
                                  const struct authorization *a) {
        call_return(call, reply_json(status, authorizations_object(call, a)));
}

/* --- POST /v1/credentials/{credential}/authorizations --- */

static void authorizations_started(void *user, struct authorization *a) {
        struct call *call = user;

        if (a->state == AUTHORIZATION_PENDING)
                authorizations_return(call, MHD_HTTP_CREATED, a);
        else if (a->refusal.kind == REFUSAL_TRANSPORT || a->refusal.kind == REFUSAL_TRANSIENT ||
                 a->refusal.kind == REFUSAL_RATE_LIMIT)
                call_return(call, reply_upstream_error(MHD_HTTP_SERVICE_UNAVAILABLE,
                                                       PROTOCOL_TEMPORARILY_UNAVAILABLE,
                                                       a->reason.text, &a->refusal,
                                                       a->refusal.retry_after_us > 0
                                                               ? a->refusal.retry_after_us
                                                               : US_PER_S));
        else
                call_return(call,
                            reply_upstream_error(MHD_HTTP_BAD_GATEWAY, PROTOCOL_UPSTREAM_ERROR,
                                                 a->reason.text, &a->refusal, -1));
}

static void authorizations_start_work(struct call *call, struct broker *broker) {
        int r = authorization_start(broker_authorizations(broker), call->credential, call->subject,
                                    call->caller->peer.uid, authorizations_started, call);

        if (r == AUTHORIZATION_E_TOO_MANY)
                call_return(
                        call,
                        reply_upstream_error(
                                MHD_HTTP_TOO_MANY_REQUESTS, PROTOCOL_SLOW_DOWN,
                                "too many authorizations are under way: complete or cancel some "
                                "(bearerctl authorizations)",
                                NULL, US_PER_MIN));
        else if (r < 0)
                call_return(call, reply_error(MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR,
                                              "the authorization could not be started: %s",
                                              strerror(-r)));
}

struct reply authorizations_post(struct call *call) {
        static const char *const allowed[] = { "subject", NULL };
        AUTO(json_wipep) struct json_object *o = NULL;
        const struct conf_credential *c = call->credential;
        struct json_object *v;
        struct reply reply;
        const char *problem;

        if (!credential_type_is_interactive(c->type))
                return reply_error(
                        MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                        "credential \"%s\" is of type %s, which needs nobody to authorize it",
                        c->name, credential_type_names[c->type]);
        if (handler_parse_body(call, allowed, &reply, &o) < 0)
                return reply;
        if (json_object_object_get_ex(o, "subject", &v)) {
                if (!json_object_is_type(v, json_type_string))
                        return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                           "subject must be a string");
                problem = parameter_check_subject(json_object_get_string(v),
                                                  (size_t) json_object_get_string_len(v));
                if (problem)
                        return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                           "subject %s", problem);
                strcpy(call->subject, json_object_get_string(v)); /* its length was checked */
        }
        if (*call->subject && !c->subjects)
                return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                   "credential \"%s\" takes no subjects (subjects = no)", c->name);
        call_cross(call, authorizations_start_work);
        return HANDLER_CROSSED;
}

/* --- /v1/authorizations/{id} --- */

/* Who may not use the credential is told the same, so that nobody finds out what others do. */
static struct reply authorizations_absent(void) {
        return reply_error(
                MHD_HTTP_NOT_FOUND, PROTOCOL_NOT_FOUND,
                "no such authorization: it may be long over, or bearerd was restarted; start again");
}

static bool authorizations_is_allowed(struct call *call, const struct authorization *a) {
        if (!a || caller_may_use(call->caller, a->credential))
                return a;
        audit_record(server_parts(call->server)->audit, AUDIT_USE_DENIED, call->caller,
                     a->credential->name, a->subject, "");
        return false;
}

/* NULL: there is none that the caller may see; the call has been answered. */
static struct authorization *authorizations_of(struct call *call, struct broker *broker) {
        struct authorization *a = authorizations_find(broker_authorizations(broker), call->id);

        if (authorizations_is_allowed(call, a))
                return a;
        call_return(call, authorizations_absent());
        return NULL;
}

static void authorizations_changed(struct authorization_watch *w, const struct authorization *a) {
        authorizations_return(list_entry(w, struct call, watch), MHD_HTTP_OK, a);
}

static void authorizations_watch(struct call *call, struct authorization *a, int64_t wait_us) {
        call->watch.changed = authorizations_changed;
        if (authorization_watch(a, &call->watch, wait_us) < 0)
                authorizations_return(call, MHD_HTTP_OK, a); /* no memory to wait with */
}

static void authorizations_get_work(struct call *call, struct broker *broker) {
        struct authorization *a = authorizations_of(call, broker);

        if (a)
                authorizations_watch(call, a, call->ask.wait_us);
}

struct reply authorizations_get(struct call *call) {
        struct parameter wait = { .key = "wait" };
        const char *problem = NULL;
        struct reply reply;

        if (handler_read_query(call, &wait, 1, &reply) < 0)
                return reply;
        if (wait.value)
                problem = parameter_parse_seconds(wait.value, wait.len, PROTOCOL_WAIT_MAX_S,
                                                  &call->ask.wait_us);
        if (problem)
                return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST, "wait %s",
                                   problem);
        call_cross(call, authorizations_get_work);
        return HANDLER_CROSSED;
}

static void authorizations_delete_work(struct call *call, struct broker *broker) {
        struct authorization *a = authorizations_of(call, broker);

        if (!a)
                return;
        authorization_cancel(a, "it was cancelled by a caller");
        authorizations_return(call, MHD_HTTP_OK, a);
}

struct reply authorizations_delete(struct call *call) {
        struct reply reply;

        if (handler_refuse_query(call, &reply) < 0)
                return reply;
        call_cross(call, authorizations_delete_work);
        return HANDLER_CROSSED;
}

static void authorizations_list_work(struct call *call, struct broker *broker) {
        struct json_object *o = json_object_new_object(), *list = json_object_new_array();
        struct authorization *a = NULL;
        int r = 0;

        while ((a = authorizations_next(broker_authorizations(broker), a)))
                if (caller_may_use(call->caller, a->credential))
                        r |= json_object_array_add(list, authorizations_object(call, a));
        r |= json_object_object_add(o, "authorizations", list);
        call_return(call, reply_json(MHD_HTTP_OK, r < 0 ? json_wipe(o) : o));
}

struct reply authorizations_list(struct call *call) {
        struct reply reply;

        if (handler_refuse_query(call, &reply) < 0)
                return reply;
        call_cross(call, authorizations_list_work);
        return HANDLER_CROSSED;
}

/* --- POST /v1/callback --- */

static void authorizations_callback_work(struct call *call, struct broker *broker) {
        const struct redirect *back = call->redirect;
        struct authorization *a = authorizations_find_state(broker_authorizations(broker),
                                                            back->state);
        int r;

        if (!authorizations_is_allowed(call, a)) {
                call_return(
                        call,
                        reply_error(
                                MHD_HTTP_NOT_FOUND, PROTOCOL_NOT_FOUND,
                                "no authorization waits for this state: it was used already, ran out or was "
                                "cancelled; start again"));
                return;
        }
        r = authorization_deliver(a, back->code[0] ? back->code : NULL, back->error,
                                  back->description);
        if (r < 0)
                call_return(call, reply_error(MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR,
                                              "the code could not be taken: %s", strerror(-r)));
        else
                authorizations_watch(call, a, AUTHORIZATIONS_CALLBACK_WAIT_US);
}

/* False: something is no string, too long, or twice there. */
static bool authorizations_read_callback(struct json_object *o, struct redirect *ret) {
        static const char *const members[] = { "code", "state", "error", "error_description" };
        struct json_object *v;

        for (size_t i = 0; i < N_ELEMENTS(members); i++) {
                if (!json_object_object_get_ex(o, members[i], &v))
                        continue;
                if (!json_object_is_type(v, json_type_string) ||
                    !redirect_set(ret, members[i], json_object_get_string(v),
                                  (size_t) json_object_get_string_len(v)))
                        return false;
        }
        return true;
}

struct reply authorizations_callback(struct call *call) {
        static const char *const allowed[] = { "url", "code", "state", "error", "error_description",
                                               NULL };
        AUTO(json_wipep) struct json_object *o = NULL;
        struct reply reply;
        const char *url;
        bool good;

        if (handler_parse_body(call, allowed, &reply, &o) < 0)
                return reply;
        call->redirect = calloc(1, sizeof(*call->redirect));
        if (!call->redirect)
                return (struct reply){ .status = MHD_HTTP_INTERNAL_SERVER_ERROR };
        url = json_get_text(o, "url");
        good = url ? json_object_object_length(o) == 1 && redirect_parse(url, call->redirect)
                   : authorizations_read_callback(o, call->redirect);
        if (!good || !redirect_is_complete(call->redirect))
                return reply_error(
                        MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                        "send {\"url\":...}, the whole URL the browser came back with, or {\"code\":...,"
                        "\"state\":...}");
        call_cross(call, authorizations_callback_work);
        return HANDLER_CROSSED;
}
