#pragma once
/*
 * Back-off: how long to leave a provider alone after a failure
 *
 * Exponential with full jitter: a random time between nothing and base * 2^n, capped, so that many
 * callers that failed together do not come back together. A Retry-After is a floor: never earlier than the provider asks.
 * Threading: pure, given the random source.
 */

#include "base/clock.h"
#include "base/random.h"

#define BACKOFF_BASE_US US_PER_S /* what may heal by itself */
#define BACKOFF_MAX_US  (5 * US_PER_MIN)
#define BACKOFF_STUBBORN_US                                                                        \
        (10 * US_PER_S) /* what a person must mend: wrong key, deactivated application */
#define BACKOFF_RETRY_AFTER_US US_PER_H /* no Retry-After is believed beyond this */

/* `failures` counts those in a row, this one included (>= 1). `retry_after_us` is -1 if not given. */
int64_t backoff_delay(unsigned failures, int64_t base_us, int64_t retry_after_us,
                      const struct random *random);

/* When to renew a token of this lifetime, from the moment it was received: at 80 % of it, but at least 60 s before
 * its end and never before half of it is over, less a random twentieth, so that tokens got together are not renewed together. */
int64_t backoff_renewal(int64_t lifetime_us, const struct random *random);
