#pragma once
/*
 * Queue: whose turn it is to ask a provider
 *
 * One for each provider. Whoever wants to send something takes a turn first, and waits for it
 * when the provider is down (breaker.h), or enough is under way, or too much was sent just now.
 *
 * A lane is one credential at this provider. Turns for somebody who waits go before those of the
 * background; among these, what ends first goes first. Lanes take turns, so that one with a
 * hundred thousand subjects does not keep another waiting, and no lane gets all that may be under
 * way. A lane has a breaker of its own: what fails for one application is not held against
 * another, until two of them fail.
 *
 * While the provider is down, the next turn is the probe; of those that wait, one that loses
 * nothing if its answer is lost (jwt) is preferred, but not twice in a row the same lane.
 *
 * Threading: loop thread only. ready() and held_up() are called from a timer or from
 *            queue_go_on(), never from within turn_take() and turn_drop().
 */

#include "base/list.h"
#include "provider/dialect.h"
#include "sched/breaker.h"
#include "sched/timer.h"

#define QUEUE_ACTIVE_MAX 8  /* turns under way at one provider; it bounds what an outage costs */
#define QUEUE_LANE_MAX   6  /* ... of one lane */
#define QUEUE_RATE       50 /* turns a second, unless configured; twice as many after a pause */

struct queue {
        struct timers *timers;
        const struct clock *clock;
        const struct random *random;
        int64_t interval_us; /* between turns, on average */
        struct breaker breaker;
        struct list_link lanes; /* all of them; the next to get a turn is first */
        struct timer timer;
        mono_t sent_until;  /* what was sent counts as spread evenly until then: GCRA */
        size_t n_active;    /* turns held */
        size_t n_waiting;   /* turns that wait */
        int64_t n_arrivals; /* of turns for somebody who waits */
        int64_t tell_until; /* arrivals before this have to be told that it is open */
        unsigned doubts;    /* failures since the last answer that may be of one lane only ... */
        const struct lane *suspect; /* ... this one; NULL: there were two */
        const struct lane *prober;  /* the lane of the last probe */
};

struct lane {
        struct queue *queue;
        struct list_link link;
        struct breaker breaker;
        struct timers *order; /* of what waits: the heap of deadlines serves for urgency, too */
        size_t n_active;
        bool harmless;          /* a lost answer loses nothing */
        struct refusal trouble; /* what last failed there; kind REFUSAL_NONE: nothing */
};

enum turn_state {
        TURN_NONE,
        TURN_WAITS,
        TURN_HELD,
};

enum turn_outcome {
        TURN_ANSWERED,    /* sensibly, whatever it said */
        TURN_REFUSED,     /* sensibly; this credential is of no use for now */
        TURN_FAILED,      /* a server's fault, or nonsense */
        TURN_UNREACHABLE, /* no answer */
        TURN_LIMITED,     /* too many requests, from all of us */
        TURN_CURBED,      /* too many requests, of this credential */
};

struct turn { /* embedded in what wants to send */
        struct lane *lane;
        struct timer order;
        enum turn_state state;
        bool probe, lane_probe;
        bool lent;
        void (*ready)(struct turn *t); /* it is held now: use it, or drop it */
        /* One that somebody waits for cannot be had soon: the provider, or this credential there,
         * has just failed again. It is not in the queue any more. */
        void (*held_up)(struct turn *t);
};

/* `rate`: turns a second; 0: QUEUE_RATE. 0, -ENOMEM. */
int queue_init(struct queue *q, size_t rate, struct timers *timers, const struct clock *clock,
               const struct random *random);
void queue_set_rate(struct queue *q, size_t rate); /* turns a second; 0: QUEUE_RATE */
void queue_done(struct queue *q);                  /* no lane is left */

int lane_init(struct lane *l, struct queue *q, bool harmless); /* 0, -ENOMEM */
void lane_done(struct lane *l); /* no turn is left; fine if it was never made */

int turn_init(struct turn *t, struct lane *l, void (*ready)(struct turn *t),
              void (*held_up)(struct turn *t)); /* 0, -ENOMEM */
void turn_done(struct turn *t);                 /* fine if it was never made */

/* True: it is held. False: it waits, at `urgency` if nobody does for it; one that waits already
 * is moved. */
bool turn_take(struct turn *t, bool interactive, mono_t urgency);

/* For the same once more, right after a turn that has ended: whatever the pace. True: it is held.
 * False: it cannot be had at once. */
bool turn_retake(struct turn *t);

/* The holder waits for something else than the provider: others get its place. Its lane, which the
 * same may hold up, gets no more. */
void turn_lend(struct turn *t);

/* Wants to send now. True: it is held as before; fine if it was not lent. False: nothing may be
 * sent for now, drop it. */
bool turn_resume(struct turn *t);

/* Leaves the queue, or gives back what is held and was not used. */
void turn_drop(struct turn *t);

/* What came of a held turn. Others get theirs by queue_go_on(), or from the timer. */
void turn_end(struct turn *t, enum turn_outcome outcome, int64_t retry_after_us);

/* Gives turns to those who wait, as far as may be. */
void queue_go_on(struct queue *q);

/* Nothing can be sent before this: now or earlier if it can. MONO_NEVER: a probe is under way, and
 * nobody knows. */
mono_t lane_opens(const struct lane *l);
