#include "sched/backoff.h"

#define BACKOFF_DOUBLINGS_MAX 20 /* 2^20 s is beyond every cap */
#define BACKOFF_MARGIN_US     (60 * US_PER_S)

int64_t backoff_delay(unsigned failures, int64_t base_us, int64_t retry_after_us,
                      const struct random *random) {
        unsigned doublings = failures > 1 ? failures - 1 : 0;
        int64_t ceiling, delay;

        if (doublings > BACKOFF_DOUBLINGS_MAX)
                doublings = BACKOFF_DOUBLINGS_MAX;
        ceiling = base_us << doublings;
        if (ceiling > BACKOFF_MAX_US)
                ceiling = BACKOFF_MAX_US;
        delay = (int64_t) random_below(random, (uint64_t) ceiling + 1);
        if (retry_after_us > BACKOFF_RETRY_AFTER_US)
                retry_after_us = BACKOFF_RETRY_AFTER_US;
        if (retry_after_us >= 0)
                /* all of it, and the jitter on top: everyone who was told the same comes back spread out */
                return retry_after_us + delay / 4;
        return delay;
}

int64_t backoff_renewal(int64_t lifetime_us, const struct random *random) {
        int64_t at = lifetime_us / 5 * 4;

        if (at > lifetime_us - BACKOFF_MARGIN_US)
                at = lifetime_us - BACKOFF_MARGIN_US;
        if (at < lifetime_us / 2)
                at = lifetime_us / 2;
        return at - (int64_t) random_below(random, (uint64_t) lifetime_us / 20 + 1);
}
