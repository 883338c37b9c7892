#pragma once
/*
 * Random bytes: the kernel's, nothing else (getrandom(2))
 *
 * A seam like the clock: dialects and the scheduler are given bytes, or one of these, so that
 * scenarios replay exactly.
 */

#include <stddef.h>
#include <stdint.h>

struct random {
        void (*fill)(void *self, void *bytes, size_t n);
        void *self;
};

/* The kernel's generator. Cannot fail once the machine has booted; aborts rather than go on without. Any thread. */
extern const struct random random_system;

static inline void random_fill(const struct random *r, void *bytes, size_t n) {
        r->fill(r->self, bytes, n);
}

/* Uniform in [0, bound); 0 for a bound of 0. */
uint64_t random_below(const struct random *r, uint64_t bound);
