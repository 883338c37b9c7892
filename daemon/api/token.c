#include <assert.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "api/audit.h"
#include "api/handlers.h"
#include "api/parameter.h"
#include "api/rendering.h"
#include "api/server.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"
#include "broker/cache.h"
#include "client/protocol.h"

/*
 * GET and POST /v1/token/{credential}
 *
 * A GET whose token is cached is answered from token_get_fast(): nothing is allocated but what libmicrohttpd needs to queue
 * a shared response, nothing waits, and the loop does not hear of it. Whatever does not fit there, mistakes
 * included, takes the long way through a call.
 */

struct token_query {         /* all borrowed from the request */
        const char *subject; /* "" for none */
        int64_t min_ttl_us;  /* -1: the default */
        int64_t wait_us;
        const char *rejected; /* NULL: none */
        unsigned seen;        /* bit i: parameter i has come */
        const char *problem;  /* NULL: none yet */
        const char *problem_key;
};

static const char *token_set_subject(struct token_query *q, const char *value, size_t len) {
        q->subject = value;
        return parameter_check_subject(value, len);
}

static const char *token_set_min_ttl(struct token_query *q, const char *value, size_t len) {
        return parameter_parse_seconds(value, len, INT64_MAX / US_PER_S, &q->min_ttl_us);
}

static const char *token_set_wait(struct token_query *q, const char *value, size_t len) {
        return parameter_parse_seconds(value, len, PROTOCOL_WAIT_MAX_S, &q->wait_us);
}

static const char *token_set_rejected(struct token_query *q, const char *value, size_t len) {
        if (len != SECRET_FINGERPRINT_SIZE - 1 || strspn(value, "0123456789abcdef") != len)
                return "must be a fingerprint: 16 lower-case hex digits";
        q->rejected = value;
        return NULL;
}

static const struct {
        const char *key;
        const char *(*set)(struct token_query *q, const char *value,
                           size_t len); /* NULL, or what is wrong */
} token_parameters[] = {
        { "subject", token_set_subject },
        { "min_ttl", token_set_min_ttl },
        { "wait", token_set_wait },
        { "rejected", token_set_rejected },
};

static void token_set(struct token_query *q, const char *key, size_t key_len, const char *value,
                      size_t len) {
        if (q->problem)
                return;
        for (size_t i = 0; i < N_ELEMENTS(token_parameters); i++) {
                if (strlen(token_parameters[i].key) != key_len ||
                    memcmp(token_parameters[i].key, key, key_len) != 0)
                        continue;
                if (q->seen & (1U << i))
                        q->problem = "is given twice";
                else if (!value)
                        q->problem = "has no value";
                else
                        q->problem = token_parameters[i].set(q, value, len);
                q->seen |= 1U << i;
                q->problem_key = token_parameters[i].key;
                return;
        }
        q->problem = "is not known here; possible: subject, min_ttl, wait, rejected";
        q->problem_key = key;
}

static enum MHD_Result token_iterate(void *cls, enum MHD_ValueKind kind, const char *key,
                                     size_t key_len, const char *value, size_t len) {
        (void) kind;
        token_set(cls, key ? key : "", key_len, value, len);
        return MHD_YES;
}

static struct token_query token_query_read(struct MHD_Connection *connection) {
        struct token_query q = { .subject = "",
                                 .min_ttl_us = -1,
                                 .wait_us = PROTOCOL_WAIT_DEFAULT_S * US_PER_S };

        (void) MHD_get_connection_values_n(connection, MHD_GET_ARGUMENT_KIND, token_iterate, &q);
        return q;
}

/* JSON, unless text/plain is named and application/json is not named before it. */
static bool token_wants_text(struct MHD_Connection *connection) {
        const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                                         MHD_HTTP_HEADER_ACCEPT);
        const char *text, *json;

        if (!accept || strcmp(accept, "text/plain") == 0)
                return accept != NULL;
        text = strstr(accept, "text/plain");
        json = text ? strstr(accept, "application/json") : NULL;
        return text && (!json || text < json);
}

/* --- the short way --- */

static bool token_is_due(struct token *t, mono_t now) {
        return !mono_before(now, t->renews) &&
               !atomic_exchange_explicit(&t->nudged, true, memory_order_relaxed);
}

static enum MHD_Result token_queue(struct server *s, struct MHD_Connection *connection,
                                   const struct conf_credential *credential, struct token *t,
                                   mono_t now) {
        const bool last = server_is_stopping(s), text = token_wants_text(connection);
        struct MHD_Response *response = last ? rendering_make(t, text, now)
                                             : rendering_get(t, text, now);
        enum MHD_Result done;

        if (!response)
                return MHD_NO;
        if (!atomic_load_explicit(&t->used, memory_order_relaxed))
                atomic_store_explicit(&t->used, true, memory_order_relaxed);
        if (token_is_due(t, now))
                server_nudge(s, t->key);
        server_count(s, credential);
        if (last) /* on this connection: one of its own, since the others do not end theirs */
                (void) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
        done = MHD_queue_response(connection, MHD_HTTP_OK, response);
        if (last)
                MHD_destroy_response(response);
        return done;
}

bool token_get_fast(struct server *s, struct MHD_Connection *connection, struct caller *caller,
                    const char *name, enum MHD_Result *ret_done) {
        const struct server_parts *p = server_parts(s);
        const struct conf_credential *credential = caller_find_credential(caller, server_conf(s),
                                                                          name);
        AUTO(token_unrefp) struct token *t = NULL;
        struct token_query q;
        char key[CACHE_KEY_SIZE];
        mono_t now;

        if (!credential || !caller_may_use(caller, credential))
                return false;
        q = token_query_read(connection);
        if (q.problem || (*q.subject && !credential->subjects))
                return false;
        t = cache_get(p->cache, cache_key(credential->name, q.subject, "", key));
        if (!t)
                return false;
        now = clock_mono(p->clock);
        if (!token_is_good(t, now, q.min_ttl_us) ||
            (q.rejected && strcmp(q.rejected, t->fingerprint) == 0))
                return false;
        *ret_done = token_queue(s, connection, credential, t, now);
        audit_record(p->audit, AUDIT_HANDED_OUT, caller, credential->name, q.subject,
                     t->fingerprint);
        return true;
}

/* --- the long way --- */

static const struct {
        unsigned status;
        const char *error;
} token_answers[ANSWER_KIND_MAX] = {
        [ANSWER_INVALID_REQUEST] = { MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST },
        [ANSWER_AUTHORIZATION_REQUIRED] = { MHD_HTTP_CONFLICT, PROTOCOL_AUTHORIZATION_REQUIRED },
        [ANSWER_UPSTREAM_ERROR] = { MHD_HTTP_BAD_GATEWAY, PROTOCOL_UPSTREAM_ERROR },
        [ANSWER_UNAVAILABLE] = { MHD_HTTP_SERVICE_UNAVAILABLE, PROTOCOL_TEMPORARILY_UNAVAILABLE },
        [ANSWER_TIMEOUT] = { MHD_HTTP_GATEWAY_TIMEOUT, PROTOCOL_UPSTREAM_TIMEOUT },
        [ANSWER_SLOW_DOWN] = { MHD_HTTP_TOO_MANY_REQUESTS, PROTOCOL_SLOW_DOWN },
        [ANSWER_NO_MEMORY] = { MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR },
};

static struct reply token_reply(struct call *call, struct token *t) {
        struct reply reply = { .status = MHD_HTTP_OK };

        call->gives_token = true;
        /* a response of its own: the shared one in the token belongs to the serving thread */
        reply.response = rendering_make(t, call->as_text,
                                        clock_mono(server_parts(call->server)->clock));
        return reply;
}

static void token_answered(struct ask *ask, const struct answer *a) {
        struct call *call = list_entry(ask, struct call, ask);
        struct reply reply;

        if (a->kind == ANSWER_TOKEN) {
                reply = token_reply(call, a->token);
                audit_record(server_parts(call->server)->audit, AUDIT_HANDED_OUT, call->caller,
                             call->credential->name, call->subject, a->token->fingerprint);
        } else
                reply = reply_upstream_error(token_answers[a->kind].status,
                                             token_answers[a->kind].error, a->why.text, a->upstream,
                                             a->kind == ANSWER_UNAVAILABLE ||
                                                             a->kind == ANSWER_SLOW_DOWN
                                                     ? a->retry_after_us
                                                     : -1);
        call_return(call, reply);
}

static void token_withdraw(struct call *call, struct broker *broker) {
        broker_withdraw(broker, &call->ask);
}

static void token_work(struct call *call, struct broker *broker) {
        broker_ask(broker, &call->ask);
}

static struct reply token_problem(const struct token_query *q) {
        char clean[64];

        return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST, "%s %s",
                           why_clean(q->problem_key, strlen(q->problem_key), clean, sizeof(clean)),
                           q->problem);
}

static struct reply token_ask(struct call *call, const struct token_query *q) {
        const struct conf_credential *c = call->credential;

        if (q->problem)
                return token_problem(q);
        if (*q->subject && !c->subjects)
                return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                   "credential \"%s\" takes no subjects (subjects = no)", c->name);
        call->as_text = token_wants_text(call->connection);
        strcpy(call->subject, q->subject); /* its length was checked */
        call->ask = (struct ask){
                .credential = c,
                .subject = call->subject,
                .variant = &call->variant,
                .uid = call->caller->peer.uid,
                .min_ttl_us = q->min_ttl_us,
                .wait_us = q->wait_us,
                .answer = token_answered,
        };
        call->withdraw = token_withdraw;
        if (q->rejected)
                memcpy(call->ask.rejected, q->rejected, sizeof(call->ask.rejected));
        call_cross(call, token_work);
        return HANDLER_CROSSED;
}

struct reply token_get(struct call *call) {
        struct token_query q = token_query_read(call->connection);

        return token_ask(call, &q);
}

/* Members that are query parameters in a GET; numbers are numbers here. */
static void token_read_members(struct json_object *o, struct token_query *q, char numbers[2][24]) {
        static const char *const seconds[] = { "min_ttl", "wait" };
        static const char *const texts[] = { "subject", "rejected" };
        struct json_object *v;
        int64_t n;

        for (size_t i = 0; i < N_ELEMENTS(texts) && !q->problem; i++) {
                if (!json_object_object_get_ex(o, texts[i], &v))
                        continue;
                if (!json_object_is_type(v, json_type_string)) {
                        q->problem = "must be a string";
                        q->problem_key = texts[i];
                        return;
                }
                token_set(q, texts[i], strlen(texts[i]), json_object_get_string(v),
                          (size_t) json_object_get_string_len(v));
        }
        for (size_t i = 0; i < N_ELEMENTS(seconds) && !q->problem; i++) {
                if (!json_object_object_get_ex(o, seconds[i], &v))
                        continue;
                if (json_get_int64(o, seconds[i], 0, &n) < 0) {
                        q->problem = "must be a whole number of seconds";
                        q->problem_key = seconds[i];
                        return;
                }
                (void) snprintf(numbers[i], sizeof(numbers[i]), "%" PRId64, n);
                token_set(q, seconds[i], strlen(seconds[i]), numbers[i], strlen(numbers[i]));
        }
}

static int token_read_variant(struct call *call, struct json_object *o, struct reply *ret_reply) {
        struct json_object *scope = NULL, *context = NULL, *v;
        int64_t duration = 0;
        struct why why = { "" };
        int r = 0;

        if (json_object_object_get_ex(o, "duration_seconds", &v) &&
            (json_get_int64(o, "duration_seconds", 0, &duration) < 0 || duration < 1))
                r = why_set(&why, -EINVAL,
                            "duration_seconds must be a whole number from 1 to 86399");
        if (r == 0 && json_object_object_get_ex(o, "scope", &scope) && !scope)
                r = why_set(&why, -EINVAL, "scope must be a JSON object");
        if (r == 0 && json_object_object_get_ex(o, "session_context", &context) && !context)
                r = why_set(&why, -EINVAL, "session_context must be a JSON object");
        if (r == 0)
                r = variant_make(call->credential, duration, scope, context, &why, &call->variant);
        if (r == 0)
                return 0;
        if (r == -ENOMEM)
                *ret_reply = reply_error(MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR,
                                         "out of memory");
        else
                *ret_reply = reply_error(MHD_HTTP_BAD_REQUEST,
                                         r == -EPERM ? PROTOCOL_INVALID_SCOPE
                                                     : PROTOCOL_INVALID_REQUEST,
                                         "%s", why.text);
        return r;
}

struct reply token_post(struct call *call) {
        static const char *const allowed[] = {
                "subject", "min_ttl",         "wait", "rejected", "duration_seconds",
                "scope",   "session_context", NULL
        };
        struct token_query q = { .subject = "",
                                 .min_ttl_us = -1,
                                 .wait_us = PROTOCOL_WAIT_DEFAULT_S * US_PER_S };
        AUTO(json_wipep) struct json_object *o = NULL;
        char numbers[2][24];
        struct reply reply;

        if (handler_parse_body(call, allowed, &reply, &o) < 0)
                return reply;
        token_read_members(o, &q, numbers);
        if (q.problem)
                return token_problem(&q);
        if (token_read_variant(call, o, &reply) < 0)
                return reply;
        return token_ask(call, &q);
}
