#pragma once
/*
 * What all parts of a simulation share: true time, the agenda, the dice and the trace
 *
 * One process simulates one seed, so the parts are the process's own and need no pointer to find
 * each other. All that happens comes from the agenda or from the daemon's own timers, and all
 * chance from the dice: a seed replays exactly.
 *
 * Units:     sim_now is true time, microseconds since the simulation began; no clock that the
 *            daemon can read shows it.
 * Threading: one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "sched/timer.h"

#define SIM_EPOCH 1800000000 /* the true wall clock, UNIX seconds, when a simulation begins */

extern mono_t sim_now;

void sim_begin(uint64_t seed, bool trace);

/* An event to come. Its room on the agenda is made once for each timer. */
void agenda_add(struct timer *t, timer_fn *fn);
void agenda_set(struct timer *t, int64_t in_us); /* from now; moves one that is set */
void agenda_remove(struct timer *t);             /* and its room */
mono_t agenda_next(void);
void agenda_run(void);

uint64_t dice_below(uint64_t n); /* uniform in [0, n) */
int64_t dice_between(int64_t low, int64_t high);
bool dice_one_in(uint64_t n);
int64_t dice_span(int64_t mean_us); /* uniform around the mean: from nothing to twice that */

/* One line of the trace, which makes the hash; printed when the trace is on. */
void sim_note(const char *what, const char *who, int64_t a, int64_t b);
uint64_t sim_hash(void);
const char *sim_when(void); /* true time for people; valid until the next call */
