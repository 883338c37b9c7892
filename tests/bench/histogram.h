#pragma once
/*
 * A histogram of latencies
 *
 * Buckets whose width grows with the value: 64 to each power of two, so a quantile is at most 1.6 %
 * too high. Recording is a few instructions and never allocates.
 *
 * Units: nanoseconds.
 */

#include <stdint.h>

#define HISTOGRAM_FINE_BITS 6 /* 64 buckets to each power of two */
#define HISTOGRAM_BUCKETS   ((64 - HISTOGRAM_FINE_BITS + 1) << HISTOGRAM_FINE_BITS)

struct histogram {
        uint64_t count;
        uint64_t max_ns;
        uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t ns);

/* The value that `fraction` (0 to 1) of all recorded values do not exceed; 0 when there are none. */
uint64_t histogram_quantile(const struct histogram *h, double fraction);
