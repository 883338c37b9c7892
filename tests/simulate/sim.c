#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tests/fake_clock.h"

#define FNV_OFFSET UINT64_C(14695981039346656037)
#define FNV_PRIME  UINT64_C(1099511628211)

mono_t sim_now;

static struct {
        struct timers *agenda;
        struct fake_random dice;
        uint64_t hash;
        bool trace;
} sim;

void sim_begin(uint64_t seed, bool trace) {
        sim.agenda = timers_new();
        if (!sim.agenda)
                abort();
        fake_random_init(&sim.dice, seed);
        sim.hash = FNV_OFFSET;
        sim.trace = trace;
        sim_now = (mono_t){ 0 };
}

/* --- the agenda --- */

void agenda_add(struct timer *t, timer_fn *fn) {
        if (timers_reserve(sim.agenda) < 0)
                abort();
        *t = (struct timer){ .fn = fn };
}

void agenda_set(struct timer *t, int64_t in_us) {
        timer_arm(sim.agenda, t, mono_add(sim_now, in_us));
}

void agenda_remove(struct timer *t) {
        timer_disarm(sim.agenda, t);
        timers_release(sim.agenda);
}

mono_t agenda_next(void) {
        return timers_next(sim.agenda);
}

void agenda_run(void) {
        timers_run(sim.agenda, sim_now);
}

/* --- the dice --- */

uint64_t dice_below(uint64_t n) {
        uint64_t v;

        /* the remainder is not quite uniform, which no dice here are sensitive to */
        fake_random_fill(&sim.dice, &v, sizeof(v));
        return n ? v % n : 0;
}

int64_t dice_between(int64_t low, int64_t high) {
        return low + (int64_t) dice_below((uint64_t) (high - low) + 1);
}

bool dice_one_in(uint64_t n) {
        return dice_below(n) == 0;
}

int64_t dice_span(int64_t mean_us) {
        return (int64_t) dice_below((uint64_t) mean_us * 2) + 1;
}

/* --- the trace --- */

static void sim_mix(uint64_t v) {
        sim.hash = (sim.hash ^ v) * FNV_PRIME;
        sim.hash ^= sim.hash >> 29;
}

void sim_note(const char *what, const char *who, int64_t a, int64_t b) {
        sim_mix((uint64_t) sim_now.us);
        for (const char *p = what; *p; p++)
                sim_mix((unsigned char) *p);
        for (const char *p = who; *p; p++)
                sim_mix((unsigned char) *p);
        sim_mix((uint64_t) a);
        sim_mix((uint64_t) b);
        if (sim.trace)
                (void) printf("%s  %-14s %-14s %" PRId64 " %" PRId64 "\n", sim_when(), what, who, a,
                              b);
}

uint64_t sim_hash(void) {
        return sim.hash;
}

const char *sim_when(void) {
        static char text[40];
        int64_t us = sim_now.us;

        (void) snprintf(text, sizeof(text), "%3" PRId64 "d %02d:%02d:%02d.%06d", us / US_PER_D,
                        (int) (us / US_PER_H % 24), (int) (us / US_PER_MIN % 60),
                        (int) (us / US_PER_S % 60), (int) (us % US_PER_S));
        return text;
}

/* The daemon's log is part of the trace, and goes nowhere without one: thousands of weeks pass
 * here. */
void __wrap_log_write(enum log_level level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
void __wrap_log_write(enum log_level level, const char *format, ...) {
        va_list ap;

        if (!sim.trace)
                return;
        (void) printf("%s  log %-10s ", sim_when(), log_level_names[level]);
        va_start(ap, format);
        (void) vprintf(format, ap);
        va_end(ap);
        (void) putchar('\n');
}
