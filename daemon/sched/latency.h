#pragma once
/*
 * Latency: how long a provider takes to answer, as a histogram
 *
 * Units:     bounds are int64_t *_us.
 * Threading: loop thread only.
 */

#include <stddef.h>
#include <stdint.h>

#define LATENCY_BUCKETS 11

extern const int64_t latency_bounds_us[LATENCY_BUCKETS]; /* upper ones, rising */

struct latency {
        uint64_t buckets
                [LATENCY_BUCKETS]; /* answers that took as long as the bound, or less: not summed up */
        uint64_t n;                /* of all, those beyond the last bound included */
        int64_t sum_us;
};

void latency_add(struct latency *l, int64_t us);
