#pragma once
/*
 * Timers: what is due when
 *
 * A binary heap of deadlines on CLOCK_BOOTTIME. A struct timer is embedded in what it wakes; there may be a
 * hundred thousand. Somebody else (main's event loop, or a simulation) looks at timers_next() and calls timers_run() then.
 *
 * Threading: loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/clock.h"

struct timer;
typedef void timer_fn(struct timer *t);

struct timer {
        mono_t at;
        size_t slot; /* place in the heap + 1; 0: not armed */
        timer_fn *fn;
};

struct timers;

struct timers *timers_new(void); /* NULL: out of memory */
struct timers *timers_free(struct timers *ts);
AUTO_DEFINE(struct timers, timers_free)

/* Makes room for one more armed timer, for the life of an object that embeds one: 0 or -ENOMEM. */
int timers_reserve(struct timers *ts);
void timers_release(struct timers *ts); /* gives that room back */

/* Arms, or moves an armed one. Cannot fail: its room was reserved. */
void timer_arm(struct timers *ts, struct timer *t, mono_t at);
void timer_disarm(struct timers *ts, struct timer *t);

static inline bool timer_is_armed(const struct timer *t) {
        return t->slot != 0;
}

/* The earliest deadline, or MONO_NEVER. */
mono_t timers_next(const struct timers *ts);

/* What has it, or NULL. */
struct timer *timers_first(const struct timers *ts);

/* Runs all that is due at `now`, earliest first; each is disarmed before its function is called. A timer armed
 * meanwhile for `now` or before waits for the next call, so that this one ends. */
void timers_run(struct timers *ts, mono_t now);
