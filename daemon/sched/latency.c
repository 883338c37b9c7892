#include "sched/latency.h"

#include "base/clock.h"

const int64_t latency_bounds_us[LATENCY_BUCKETS] = {
        5 * US_PER_MS,    10 * US_PER_MS,   25 * US_PER_MS,    50 * US_PER_MS,
        100 * US_PER_MS,  250 * US_PER_MS,  500 * US_PER_MS,   1000 * US_PER_MS,
        2500 * US_PER_MS, 5000 * US_PER_MS, 10000 * US_PER_MS,
};

void latency_add(struct latency *l, int64_t us) {
        l->n++;
        l->sum_us += us;
        for (size_t i = 0; i < LATENCY_BUCKETS; i++)
                if (us <= latency_bounds_us[i]) {
                        l->buckets[i]++;
                        return;
                }
}
