#include "sched/upstream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

#define UPSTREAM_SKEW_NOTEWORTHY_S 60

struct upstream {
        const struct conf_provider *provider;
        const struct dialect *dialect;
        const struct transport *transport;
        const struct clock *clock;
        const struct random *random;
        int64_t skew_s; /* the provider's clock minus ours */
        struct latency latency;
};

struct upstream_call {
        struct upstream *upstream;
        struct exchange exchange;
        wall_t sent;
        mono_t begun;
        upstream_done_fn *done;
        void *user;
};

int upstream_new(const struct conf_provider *provider, const struct transport *transport,
                 const struct clock *clock, const struct random *random, struct upstream **ret) {
        const struct dialect *dialect = dialect_find(provider->dialect);
        struct upstream *u;

        if (!dialect)
                return RAISE(-EINVAL); /* the configuration has checked it */
        u = calloc(1, sizeof(*u));
        if (!u)
                return RAISE(-ENOMEM);
        *u = (struct upstream){ .provider = provider,
                                .dialect = dialect,
                                .transport = transport,
                                .clock = clock,
                                .random = random };
        *ret = u;
        return 0;
}

struct upstream *upstream_free(struct upstream *u) {
        free(u);
        return NULL;
}

static void upstream_learn_skew(struct upstream *u, int64_t skew_s) {
        int64_t before = u->skew_s;

        u->skew_s = skew_s;
        if (llabs(skew_s) < UPSTREAM_SKEW_NOTEWORTHY_S ||
            llabs(skew_s - before) < UPSTREAM_SKEW_NOTEWORTHY_S)
                return;
        log_warning(
                "provider=%s event=clock_skew skew_s=%" PRId64
                " advice=\"this machine's clock and the provider's differ; check NTP (timedatectl). "
                "bearerd allows for it\"",
                u->provider->name, skew_s);
}

static void upstream_fill_transport_failure(const struct http_response *resp,
                                            struct refusal *refusal) {
        refusal->kind = REFUSAL_TRANSPORT;
        refusal->retry_after_us = -1;
        (void) snprintf(refusal->message, sizeof(refusal->message), "%s",
                        resp->problem); /* cut is fine */
}

static void upstream_done(void *user, const struct http_response *resp) {
        struct upstream_call *call = user;
        struct upstream *u = call->upstream;
        struct exchange_result result = { 0 };
        int r;

        if (resp->outcome != HTTP_ANSWERED) {
                upstream_fill_transport_failure(resp, &result.refusal);
                result.maybe_done = resp->outcome == HTTP_UNKNOWN;
        } else {
                latency_add(&u->latency, mono_until(call->begun, clock_mono(u->clock)));
                r = u->dialect->decode(&call->exchange, resp, call->sent, clock_wall(u->clock),
                                       &result);
                if (r < 0) {
                        result.refusal.kind = REFUSAL_TRANSIENT;
                        result.refusal.retry_after_us = -1;
                        (void) snprintf(result.refusal.message, sizeof(result.refusal.message),
                                        "the answer could not be read: %s", strerror(-r));
                }
                /* a gateway's 502, or half an answer, says nothing about what was done behind it */
                result.maybe_done = result.refusal.kind == REFUSAL_TRANSIENT ||
                                    result.refusal.kind == REFUSAL_NONSENSE;
                if (result.has_skew)
                        upstream_learn_skew(u, result.skew_s);
        }
        call->done(call->user, &result);
        exchange_result_done(&result);
        free(call);
}

const struct latency *upstream_latency(const struct upstream *u) {
        return &u->latency;
}

int upstream_begin(struct upstream *u, const struct exchange *x, upstream_done_fn *done, void *user,
                   struct upstream_call **ret) {
        AUTO(http_request_freep) struct http_request *req = NULL;
        AUTO(auto_freep) struct upstream_call *call = NULL;
        uint8_t random[DIALECT_RANDOM_SIZE];
        wall_t now = clock_wall(u->clock);
        int r;

        call = calloc(1, sizeof(*call));
        if (!call)
                return RAISE(-ENOMEM);
        *call = (struct upstream_call){ u, *x, now, clock_mono(u->clock), done, user };
        random_fill(u->random, random, sizeof(random));
        r = u->dialect->encode(x, (wall_t){ now.s + u->skew_s }, random, &req);
        if (r < 0)
                return PASS(r);
        r = u->transport->send(u->transport->self, TAKE(req), upstream_done, call);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(call);
        return 0;
}

struct upstream_call *upstream_cancel(struct upstream_call *call) {
        const struct transport *t;

        if (!call)
                return NULL;
        t = call->upstream->transport;
        t->cancel(t->self, call);
        free(call);
        return NULL;
}
