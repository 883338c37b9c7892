#include "sched/upstream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"

#define UPSTREAM_SKEW_NOTEWORTHY_S 60
#define UPSTREAM_SKEW_MATTERS_S    30 /* to somebody who checks iat and exp */

struct upstream {
        unsigned refs;
        struct conf *conf; /* of `provider`; a reference */
        const struct conf_provider *provider;
        const struct dialect *dialect;
        const struct transport *transport;
        const struct clock *clock;
        const struct random *random;
        struct queue queue;
        bool has_skew;
        int64_t skew_s;         /* the provider's clock minus ours, when it was learnt */
        wall_t date;            /* the provider's clock ... */
        mono_t date_mono;       /* ... at this moment: ours may be set meanwhile */
        struct refusal trouble; /* kind REFUSAL_NONE: the provider answers */
        wall_t trouble_at;
        struct upstream_counters counters;
        struct latency latency;
};

struct upstream_call {
        struct conf *conf; /* of the credential; a reference */
        struct upstream *upstream;
        struct exchange exchange;
        struct turn *turn;
        wall_t dated; /* the provider's clock then, as far as we knew */
        mono_t begun;
        upstream_done_fn *done;
        void *user;
};

int upstream_new(const struct conf_provider *provider, const struct transport *transport,
                 const struct clock *clock, const struct random *random, struct timers *timers,
                 struct upstream **ret) {
        const struct dialect *dialect = dialect_find(provider->dialect);
        struct upstream *u;
        int r;

        if (!dialect)
                return RAISE(-EINVAL); /* the configuration has checked it */
        u = calloc(1, sizeof(*u));
        if (!u)
                return RAISE(-ENOMEM);
        *u = (struct upstream){
                .refs = 1,
                .provider = provider,
                .dialect = dialect,
                .transport = transport,
                .clock = clock,
                .random = random,
        };
        r = queue_init(&u->queue, provider->requests_per_second, timers, clock, random);
        if (r < 0) {
                free(u);
                return PASS(r);
        }
        u->conf = conf_ref(provider->conf);
        *ret = u;
        return 0;
}

struct upstream *upstream_ref(struct upstream *u) {
        u->refs++;
        return u;
}

struct upstream *upstream_free(struct upstream *u) {
        if (!u || --u->refs > 0)
                return NULL;
        queue_done(&u->queue);
        conf_free(u->conf);
        free(u);
        return NULL;
}

void upstream_adopt(struct upstream *u, const struct conf_provider *provider) {
        struct conf *old = u->conf;

        u->conf = conf_ref(provider->conf);
        u->provider = provider;
        queue_set_rate(&u->queue, provider->requests_per_second);
        conf_free(old);
}

/* Gives back what it holds. */
static void upstream_call_free(struct upstream_call *call) {
        upstream_free(call->upstream);
        conf_free(call->conf);
        free(call);
}

struct queue *upstream_queue(struct upstream *u) {
        return &u->queue;
}

const struct refusal *upstream_trouble(const struct upstream *u, const struct lane *lane) {
        static const struct refusal unknown = { .kind = REFUSAL_TRANSIENT,
                                                .message = "it does not answer",
                                                .retry_after_us = -1 };
        const struct refusal *f = u->queue.breaker.state == BREAKER_CLOSED ? &lane->trouble
                                                                           : &u->trouble;

        return f->kind != REFUSAL_NONE ? f : &unknown;
}

void upstream_view(const struct upstream *u, struct upstream_view *ret) {
        const struct breaker *b = &u->queue.breaker;
        const mono_t now = clock_mono(u->clock);
        int64_t until = mono_until(now, b->retry_at);

        *ret = (struct upstream_view){
                .state = b->state,
                .has_retry_at = b->state == BREAKER_OPEN,
                .retry_at = { clock_wall(u->clock).s +
                              (until > 0 ? (until + US_PER_S - 1) / US_PER_S : 0) },
                .down_since = { clock_wall(u->clock).s - mono_until(b->since, now) / US_PER_S },
                .last_error = u->trouble.kind != REFUSAL_NONE ? &u->trouble : NULL,
                .last_error_at = u->trouble_at,
                .active = u->queue.n_active,
                .waiting = u->queue.n_waiting,
                .has_skew = u->has_skew,
                .skew_s = u->skew_s,
                .counters = u->counters,
        };
}

/* --- the provider's clock --- */

/* By what it last told; ours, before it has told anything. */
static wall_t upstream_now(const struct upstream *u) {
        if (!u->has_skew)
                return clock_wall(u->clock);
        return (wall_t){ u->date.s + mono_until(u->date_mono, clock_mono(u->clock)) / US_PER_S };
}

static void upstream_learn_clock(struct upstream *u, int64_t skew_s) {
        int64_t before = u->skew_s;
        char span[32];

        u->has_skew = true;
        u->skew_s = skew_s;
        u->date = (wall_t){ clock_wall(u->clock).s + skew_s };
        u->date_mono = clock_mono(u->clock);
        if (llabs(skew_s) < UPSTREAM_SKEW_NOTEWORTHY_S ||
            llabs(skew_s - before) < UPSTREAM_SKEW_NOTEWORTHY_S)
                return;
        log_warning(
                "provider=%s event=clock_skew skew_s=%" PRId64
                " advice=\"this machine's clock is %s %s the provider's: set it right, or let NTP "
                "do it (timedatectl set-ntp true); bearerd allows for it meanwhile\"",
                u->provider->name, skew_s,
                text_format_span(llabs(skew_s) * US_PER_S, span, sizeof(span)),
                skew_s > 0 ? "behind" : "ahead of");
}

/* An assertion was refused, and we learn that it was made by a wrong clock: the next one will not
 * be. */
static bool upstream_was_misdated(const struct upstream_call *call,
                                  const struct exchange_result *result) {
        return call->exchange.kind == EXCHANGE_JWT_BEARER && result->refusal.http_status == 401 &&
               result->refusal.kind == REFUSAL_CONFIGURATION && result->has_skew &&
               llabs(upstream_now(call->upstream).s - call->dated.s -
                     mono_until(call->begun, clock_mono(call->upstream->clock)) / US_PER_S) >=
                       UPSTREAM_SKEW_MATTERS_S;
}

/* --- what comes of it --- */

static void upstream_fill_transport_failure(const struct http_response *resp,
                                            struct refusal *refusal) {
        refusal->kind = REFUSAL_TRANSPORT;
        refusal->retry_after_us = -1;
        (void) snprintf(refusal->message, sizeof(refusal->message), "%s",
                        resp->problem); /* cut is fine */
}

static enum turn_outcome upstream_outcome(const struct refusal *f) {
        switch (f->kind) {
        case REFUSAL_TRANSPORT:
                return TURN_UNREACHABLE;
        case REFUSAL_RATE_LIMIT:
                return f->http_status == 429 ? TURN_LIMITED : TURN_CURBED;
        case REFUSAL_TRANSIENT:
        case REFUSAL_NONSENSE:
                return TURN_FAILED;
        case REFUSAL_DEACTIVATED:
                return TURN_REFUSED;
        case REFUSAL_CONFIGURATION: /* 401: the application is refused, not what it asked for */
                return f->http_status == 401 ? TURN_REFUSED : TURN_ANSWERED;
        case REFUSAL_NONE:
        case REFUSAL_GRANT:
        case REFUSAL_PENDING:
        case REFUSAL_SLOW_DOWN:
        case REFUSAL_DENIED:
        case REFUSAL_EXPIRED:
        case REFUSAL_KIND_MAX:
                break;
        }
        return TURN_ANSWERED;
}

static void upstream_log_state(const struct upstream *u, enum breaker_state before) {
        const struct breaker *b = &u->queue.breaker;
        char message[REFUSAL_MESSAGE_MAX], span[32];

        if (b->state == BREAKER_CLOSED && before != BREAKER_CLOSED)
                log_info("provider=%s event=provider_recovered waiting=%zu", u->provider->name,
                         u->queue.n_waiting);
        if (b->state == BREAKER_OPEN && before == BREAKER_CLOSED)
                log_warning(
                        "provider=%s event=provider_down kind=%s status=%d message=%s logid=%s retry_in=\"%s\" "
                        "advice=\"tokens that are still good are served; one probe at a time tells when it is back\"",
                        u->provider->name, refusal_kind_names[u->trouble.kind],
                        u->trouble.http_status,
                        log_quote(u->trouble.message, message, sizeof(message)),
                        u->trouble.logid[0] ? u->trouble.logid : "-",
                        text_format_span(mono_until(clock_mono(u->clock), b->retry_at), span,
                                         sizeof(span)));
}

/* Tells the queue, keeps the last trouble, and counts. */
static void upstream_judge(struct upstream_call *call, const struct exchange_result *result) {
        enum turn_outcome outcome = upstream_outcome(&result->refusal);
        struct upstream *u = call->upstream;
        enum breaker_state before = u->queue.breaker.state;

        u->counters.ended[result->refusal.kind]++;
        if (outcome == TURN_FAILED || outcome == TURN_UNREACHABLE || outcome == TURN_LIMITED) {
                u->trouble = result->refusal;
                u->trouble_at = clock_wall(u->clock);
        } else {
                u->trouble.kind = REFUSAL_NONE;
        }
        if (outcome == TURN_ANSWERED)
                call->turn->lane->trouble.kind = REFUSAL_NONE;
        else
                call->turn->lane->trouble = result->refusal;
        turn_end(call->turn, outcome, result->refusal.retry_after_us);
        upstream_log_state(u, before);
}

/* The provider's clock is suddenly far behind where it was, and a lifetime hangs on it: if only the
 * Date is wrong, the token is dead earlier than it says. If all of its clock is, the shorter
 * lifetime would be over already. */
static void upstream_doubt_date(const struct upstream *u, struct exchange_result *result) {
        int64_t leap_s = clock_wall(u->clock).s + result->skew_s - upstream_now(u).s;
        int64_t shorter_us;

        if (!u->has_skew || !result->has_skew || result->lifetime_dated_us == 0 ||
            leap_s > -UPSTREAM_SKEW_NOTEWORTHY_S ||
            __builtin_mul_overflow(leap_s, US_PER_S, &shorter_us))
                return;
        shorter_us += result->lifetime_dated_us;
        if (shorter_us > 0 && shorter_us < result->lifetime_us)
                result->lifetime_us = shorter_us;
}

/* An error page may be anybody's, and so may its date. */
static void upstream_take_date(struct upstream_call *call, struct exchange_result *result) {
        enum refusal_kind kind = result->refusal.kind;

        if (!result->has_skew || kind == REFUSAL_TRANSIENT || kind == REFUSAL_NONSENSE)
                return;
        upstream_doubt_date(call->upstream, result);
        upstream_learn_clock(call->upstream, result->skew_s);
        result->misdated = upstream_was_misdated(call, result);
        if (result->misdated)
                result->refusal.kind = REFUSAL_PENDING; /* an answer, for the queue */
}

/* When it was sent, by our clock as it is now: it may have been set meanwhile. */
static wall_t upstream_sent(const struct upstream_call *call) {
        const struct clock *clock = call->upstream->clock;
        int64_t us = mono_until(call->begun, clock_mono(clock));

        return (wall_t){ clock_wall(clock).s - (us + US_PER_S - 1) / US_PER_S };
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
                r = u->dialect->decode(&call->exchange, resp, upstream_sent(call),
                                       clock_wall(u->clock), &result);
                if (r < 0) {
                        result.refusal.kind = REFUSAL_TRANSIENT;
                        result.refusal.retry_after_us = -1;
                        (void) snprintf(result.refusal.message, sizeof(result.refusal.message),
                                        "the answer could not be read: %s", strerror(-r));
                }
                /* a gateway's 502, or half an answer, says nothing about what was done behind it */
                result.maybe_done = result.refusal.kind == REFUSAL_TRANSIENT ||
                                    result.refusal.kind == REFUSAL_NONSENSE;
                result.received = clock_mono(u->clock);
                upstream_take_date(call, &result);
        }
        upstream_judge(call, &result);
        if (result.misdated)
                result.refusal.kind = REFUSAL_TRANSIENT; /* soon again, with another date */
        call->done(call->user, &result);
        exchange_result_done(&result);
        queue_go_on(&u->queue);
        upstream_call_free(call);
}

const struct latency *upstream_latency(const struct upstream *u) {
        return &u->latency;
}

int upstream_begin(struct upstream *u, struct turn *turn, const struct exchange *x,
                   upstream_done_fn *done, void *user, struct upstream_call **ret) {
        AUTO(http_request_freep) struct http_request *req = NULL;
        AUTO(auto_freep) struct upstream_call *call = NULL;
        uint8_t random[DIALECT_RANDOM_SIZE];
        wall_t dated = upstream_now(u);
        int r;

        assert(turn->state == TURN_HELD);
        call = calloc(1, sizeof(*call));
        if (!call)
                return RAISE(-ENOMEM);
        *call = (struct upstream_call){
                .upstream = u,
                .exchange = *x,
                .turn = turn,
                .dated = dated,
                .begun = clock_mono(u->clock),
                .done = done,
                .user = user,
        };
        random_fill(u->random, random, sizeof(random));
        r = u->dialect->encode(x, dated, random, &req);
        if (r < 0)
                return PASS(r);
        r = u->transport->send(u->transport->self, TAKE(req), upstream_done, call);
        if (r < 0)
                return PASS(r);
        u->counters.requests++;
        call->conf = conf_ref(x->credential->conf);
        (void) upstream_ref(u);
        *ret = TAKE(call);
        return 0;
}

struct upstream_call *upstream_cancel(struct upstream_call *call) {
        const struct transport *t;

        if (!call)
                return NULL;
        t = call->upstream->transport;
        t->cancel(t->self, call);
        if (call->turn->probe) /* given up or failed: the next one has to wait */
                turn_end(call->turn, TURN_UNREACHABLE, -1);
        else
                turn_drop(call->turn);
        upstream_call_free(call);
        return NULL;
}
