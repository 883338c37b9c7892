#pragma once
/*
 * Circuit breaker: whether it makes sense to ask
 *
 * One for each provider, and one for each credential there.
 *
 *      CLOSED    --failed so often in a row--> OPEN
 *      OPEN      --a probe is sent-----------> HALF_OPEN
 *      HALF_OPEN --it failed-----------------> OPEN        (for longer)
 *      any       --answered------------------> CLOSED
 *
 * While it is open nothing is sent but one probe at a time. The pause between probes doubles from
 * BREAKER_PAUSE_US to BREAKER_PAUSE_MAX_US, less up to a quarter: far enough apart that an hour of
 * outage costs no more than BREAKER_PROBES_H of them, near enough that its end is noticed.
 *
 * Threading: pure, given the random source.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/random.h"

#define BREAKER_FAILURES     3 /* in a row */
#define BREAKER_PAUSE_US     (5 * US_PER_S)
#define BREAKER_PAUSE_MAX_US (5 * US_PER_MIN)
#define BREAKER_PROBES_H     20 /* in an hour, whatever the dice say; tests count */

enum breaker_state {
        BREAKER_CLOSED,
        BREAKER_OPEN,
        BREAKER_HALF_OPEN,
        BREAKER_STATE_MAX,
};
extern const char *const breaker_state_names[BREAKER_STATE_MAX];

struct breaker { /* zeroed: closed */
        enum breaker_state state;
        unsigned failures; /* in a row; while open: probes that failed */
        mono_t retry_at;   /* OPEN: no probe before this */
        mono_t since;      /* not CLOSED: when it ceased to be */
};

/* May something be sent now? While it is half open, nothing may. */
bool breaker_allows(const struct breaker *b, mono_t now);

/* It is sent. True: it is the probe, which breaker_failed() and breaker_let_go() want to know. */
bool breaker_sent(struct breaker *b);

/* The other side has answered sensibly. True: it was not closed before. */
bool breaker_answered(struct breaker *b);

/* It has not. `at_once`: one such failure is enough. `retry_after_us` is -1 if not given. True: it
 * is open now, and was not, or its probe has failed. What was under way when it opened counts for
 * nothing more, but for the pause that it asks for. */
bool breaker_failed(struct breaker *b, bool probe, bool at_once, int64_t retry_after_us, mono_t now,
                    const struct random *random);

/* What was sent has been given up: nothing is known. */
void breaker_let_go(struct breaker *b, bool probe, mono_t now);
