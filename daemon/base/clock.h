#pragma once
/*
 * Time, in two kinds that do not mix
 *
 * mono_t is CLOCK_BOOTTIME: deadlines and back-off; it runs through a suspend and never jumps.
 * wall_t is CLOCK_REALTIME: JWT iat and exp, stored and shown expiry, nowhere else.
 * Only clock.c asks the kernel; everyone else is given a struct clock, so that scenarios and the
 * simulation live on a clock of their own.
 */

#include <stdbool.h>
#include <stdint.h>

#define US_PER_S   INT64_C(1000000)
#define US_PER_MS  INT64_C(1000)
#define US_PER_MIN (60 * US_PER_S)
#define US_PER_H   (60 * US_PER_MIN)
#define US_PER_D   (24 * US_PER_H)

typedef struct {
        int64_t us;
} mono_t;

typedef struct {
        int64_t s;
} wall_t;

#define MONO_NEVER ((mono_t){ INT64_MAX })
#define WALL_NEVER ((wall_t){ INT64_MAX })

struct clock {
        mono_t (*mono)(void *self);
        wall_t (*wall)(void *self);
        void *self;
};

/* The kernel's clocks. Any thread. */
extern const struct clock clock_system;

/* Does somebody keep the wall clock right: an NTP client, or the host of a virtual machine? False
 * also where that cannot be told. */
bool clock_is_synchronized(void);

static inline mono_t clock_mono(const struct clock *c) {
        return c->mono(c->self);
}

static inline wall_t clock_wall(const struct clock *c) {
        return c->wall(c->self);
}

/* Saturates instead of overflowing: a span of INT64_MAX gives MONO_NEVER. */
static inline mono_t mono_add(mono_t a, int64_t us) {
        mono_t sum;

        if (__builtin_add_overflow(a.us, us, &sum.us))
                sum.us = us > 0 ? INT64_MAX : INT64_MIN;
        return sum;
}

static inline int64_t mono_until(mono_t from, mono_t to) {
        int64_t d;

        if (__builtin_sub_overflow(to.us, from.us, &d))
                d = to.us > from.us ? INT64_MAX : INT64_MIN;
        return d;
}

static inline bool mono_before(mono_t a, mono_t b) {
        return a.us < b.us;
}
