#include "histogram.h"

#include <string.h>

#define FINE (UINT64_C(1) << HISTOGRAM_FINE_BITS)

/* Values below FINE have a bucket of their own; above, the bits that follow the leading one choose. */
static unsigned histogram_bucket(uint64_t ns) {
        unsigned shift;

        if (ns < FINE)
                return (unsigned) ns;
        shift = 63 - (unsigned) __builtin_clzll(ns) - HISTOGRAM_FINE_BITS;
        return ((shift + 1) << HISTOGRAM_FINE_BITS) + (unsigned) ((ns >> shift) - FINE);
}

/* The largest value that falls into `bucket`. */
static uint64_t histogram_top(unsigned bucket) {
        unsigned shift;

        if (bucket < FINE)
                return bucket;
        shift = (bucket >> HISTOGRAM_FINE_BITS) - 1;
        return (((bucket & (FINE - 1)) + FINE) << shift) + ((UINT64_C(1) << shift) - 1);
}

void histogram_clear(struct histogram *h) {
        memset(h, 0, sizeof(*h));
}

void histogram_record(struct histogram *h, uint64_t ns) {
        h->count++;
        h->buckets[histogram_bucket(ns)]++;
        if (ns > h->max_ns)
                h->max_ns = ns;
}

uint64_t histogram_quantile(const struct histogram *h, double fraction) {
        uint64_t rank = (uint64_t) (fraction * (double) h->count);
        uint64_t seen = 0;
        uint64_t top;

        if (rank >= h->count)
                return h->max_ns;
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
                seen += h->buckets[i];
                if (seen > rank) {
                        top = histogram_top(i);
                        return top < h->max_ns ? top : h->max_ns;
                }
        }
        return h->max_ns;
}
