#pragma once
/*
 * Upstream: one provider, as we get on with it
 *
 * Carries an exchange through the provider's dialect and the transport and brings back its result.
 * Who may send when, the queue says (queue.h); what comes of it is told to the queue here. Keeps what is learnt
 * about the provider: its clock (from the Date header), which an assertion's `iat` goes by whatever becomes of
 * ours; what it last did wrong; and counts of all that.
 *
 * Threading: loop thread only.
 */

#include "base/clock.h"
#include "base/random.h"
#include "provider/dialect.h"
#include "sched/latency.h"
#include "sched/queue.h"

struct upstream;
struct upstream_call;

/* Called once, from the loop. `result` may be emptied with TAKE(); the rest is released after the call. */
typedef void upstream_done_fn(void *user, struct exchange_result *result);

/* All but the timers, which are the loop's, are borrowed as well, but for a reference to the configuration of `provider`. 0,
 * -ENOMEM. */
int upstream_new(const struct conf_provider *provider, const struct transport *transport,
                 const struct clock *clock, const struct random *random, struct timers *timers,
                 struct upstream **ret);
struct upstream *upstream_ref(struct upstream *u);

/* One reference less; calls under way hold theirs. No lane may be left at the last one. Returns NULL. */
struct upstream *upstream_free(struct upstream *u);

/* The same server, as another configuration has it. */
void upstream_adopt(struct upstream *u, const struct conf_provider *provider);

/* How long its answers took, those that never came left out. Valid as long as it is. */
const struct latency *upstream_latency(const struct upstream *u);

struct queue *upstream_queue(struct upstream *u);

/* Begins an exchange in a turn that is held, and is over when done() is called. What `x` points at must live until
 * done() or cancel. done() is never called from within. 0 and *ret; -ENOMEM, -EIO (signing): nothing was sent, and
 * the turn is still held. */
int upstream_begin(struct upstream *u, struct turn *turn, const struct exchange *x,
                   upstream_done_fn *done, void *user, struct upstream_call **ret);

/* done() is not called any more, and the turn is given back. NULL is fine. Returns NULL. */
struct upstream_call *upstream_cancel(struct upstream_call *call);

struct upstream_counters {                /* since the start */
        uint64_t requests;                /* that were sent */
        uint64_t ended[REFUSAL_KIND_MAX]; /* by what came of them; REFUSAL_NONE: success */
};

struct upstream_view { /* what may be told of a provider */
        enum breaker_state state;
        bool has_retry_at; /* OPEN: nothing is sent before */
        wall_t retry_at;
        wall_t down_since;                /* not CLOSED */
        const struct refusal *last_error; /* of the provider as such; NULL: none, or it is over.
                                           * Borrowed until the loop goes on */
        wall_t last_error_at;
        size_t active, waiting; /* turns */
        bool has_skew;
        int64_t skew_s; /* the provider's clock minus ours */
        struct upstream_counters counters;
};

void upstream_view(const struct upstream *u, struct upstream_view *ret);

/* Why nothing is sent in this lane for now: the provider's trouble, or its own. */
const struct refusal *upstream_trouble(const struct upstream *u, const struct lane *lane);
