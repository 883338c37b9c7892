#pragma once
/*
 * Upstream: one provider, as we get on with it
 *
 * Carries an exchange through the provider's dialect and the transport and brings back its result. Keeps what
 * is learnt about the provider: how far its clock is from ours (from the Date header), which corrects the
 * next assertion's `iat`.
 *
 * Threading: loop thread only.
 */

#include "base/clock.h"
#include "base/random.h"
#include "provider/dialect.h"
#include "sched/latency.h"

struct upstream;
struct upstream_call;

/* Called once, from the loop. `result` may be emptied with TAKE(); the rest is released after the call. */
typedef void upstream_done_fn(void *user, struct exchange_result *result);

/* `provider` is borrowed. 0, -ENOMEM. */
int upstream_new(const struct conf_provider *provider, const struct transport *transport,
                 const struct clock *clock, const struct random *random, struct upstream **ret);
struct upstream *upstream_free(
        struct upstream *u); /* all calls must be done or cancelled; returns NULL */

/* How long its answers took, those that never came left out. Valid as long as it is. */
const struct latency *upstream_latency(const struct upstream *u);

/* Begins an exchange. What `x` points at must live until done() or cancel. done() is never called from within.
 * 0 and *ret; -ENOMEM, -EIO (signing): nothing was sent. */
int upstream_begin(struct upstream *u, const struct exchange *x, upstream_done_fn *done, void *user,
                   struct upstream_call **ret);

/* done() is not called any more. NULL is fine. Returns NULL. */
struct upstream_call *upstream_cancel(struct upstream_call *call);
