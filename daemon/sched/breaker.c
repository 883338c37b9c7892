#include "sched/breaker.h"

#include "sched/backoff.h"

#define BREAKER_DOUBLINGS_MAX 16 /* far beyond BREAKER_PAUSE_MAX_US */

const char *const breaker_state_names[BREAKER_STATE_MAX] = { "closed", "open", "half_open" };

bool breaker_allows(const struct breaker *b, mono_t now) {
        return b->state == BREAKER_CLOSED ||
               (b->state == BREAKER_OPEN && !mono_before(now, b->retry_at));
}

bool breaker_sent(struct breaker *b) {
        if (b->state != BREAKER_OPEN)
                return false;
        b->state = BREAKER_HALF_OPEN;
        return true;
}

bool breaker_answered(struct breaker *b) {
        bool was_open = b->state != BREAKER_CLOSED;

        *b = (struct breaker){ 0 };
        return was_open;
}

/* Not earlier than the other side asks; else a pause that doubles. */
static int64_t breaker_pause(unsigned failed_probes, int64_t retry_after_us,
                             const struct random *random) {
        unsigned doublings = failed_probes < BREAKER_DOUBLINGS_MAX ? failed_probes
                                                                   : BREAKER_DOUBLINGS_MAX;
        int64_t pause = BREAKER_PAUSE_US << doublings;

        if (pause > BREAKER_PAUSE_MAX_US)
                pause = BREAKER_PAUSE_MAX_US;
        pause -= (int64_t) random_below(random, (uint64_t) pause / 4 + 1);
        if (retry_after_us > BACKOFF_RETRY_AFTER_US)
                retry_after_us = BACKOFF_RETRY_AFTER_US;
        if (retry_after_us > pause) /* all of it, and the jitter on top */
                return retry_after_us +
                       (int64_t) random_below(random, (uint64_t) BREAKER_PAUSE_US + 1);
        return pause;
}

/* What was under way when it opened has failed, too, and asks for a longer pause than the one
 * that opened it. */
static void breaker_defer(struct breaker *b, int64_t retry_after_us, mono_t now,
                          const struct random *random) {
        mono_t at = mono_add(now, breaker_pause(0, retry_after_us, random));

        if (b->state == BREAKER_OPEN && mono_before(b->retry_at, at))
                b->retry_at = at;
}

bool breaker_failed(struct breaker *b, bool probe, bool at_once, int64_t retry_after_us, mono_t now,
                    const struct random *random) {
        if (b->state != BREAKER_CLOSED && !probe) {
                if (retry_after_us > 0)
                        breaker_defer(b, retry_after_us, now, random);
                return false;
        }
        b->failures++;
        if (b->state == BREAKER_CLOSED) {
                if (b->failures < BREAKER_FAILURES && !at_once)
                        return false;
                b->failures = 0;
                b->since = now;
        }
        b->state = BREAKER_OPEN;
        b->retry_at = mono_add(now, breaker_pause(b->failures, retry_after_us, random));
        return true;
}

void breaker_let_go(struct breaker *b, bool probe, mono_t now) {
        if (!probe || b->state != BREAKER_HALF_OPEN)
                return;
        b->state = BREAKER_OPEN;
        b->retry_at = now;
}
