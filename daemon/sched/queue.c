#include "sched/queue.h"

#include <assert.h>

#include "base/err.h"

static void queue_timer(struct timer *t);

void queue_set_rate(struct queue *q, size_t rate) {
        q->interval_us = US_PER_S / (int64_t) (rate > 0 ? rate : QUEUE_RATE);
}

int queue_init(struct queue *q, size_t rate, struct timers *timers, const struct clock *clock,
               const struct random *random) {
        *q = (struct queue){ .timers = timers, .clock = clock, .random = random };
        queue_set_rate(q, rate);
        q->timer.fn = queue_timer;
        list_init(&q->lanes);
        return timers_reserve(timers);
}

void queue_done(struct queue *q) {
        assert(list_is_empty(&q->lanes));
        timer_disarm(q->timers, &q->timer);
        timers_release(q->timers);
}

int lane_init(struct lane *l, struct queue *q, bool harmless) {
        *l = (struct lane){ .queue = q, .harmless = harmless };
        l->order = timers_new();
        if (!l->order) {
                l->queue = NULL;
                return RAISE(-ENOMEM);
        }
        list_append(&q->lanes, &l->link);
        return 0;
}

void lane_done(struct lane *l) {
        if (!l->queue)
                return;
        if (l->queue->suspect == l)
                l->queue->suspect = NULL;
        if (l->queue->prober == l)
                l->queue->prober = NULL;
        list_remove(&l->link);
        l->order = timers_free(l->order);
        l->queue = NULL;
}

int turn_init(struct turn *t, struct lane *l, void (*ready)(struct turn *t),
              void (*held_up)(struct turn *t)) {
        int r = timers_reserve(l->order);

        if (r < 0)
                return PASS(r);
        *t = (struct turn){ .lane = l, .ready = ready, .held_up = held_up };
        return 0;
}

void turn_done(struct turn *t) {
        if (!t->lane)
                return;
        turn_drop(t);
        timers_release(t->lane->order);
        t->lane = NULL;
}

/* --- may it be? --- */

/* So far ahead of an even pace it may be: two seconds' turns at once. */
static int64_t queue_slack_us(const struct queue *q) {
        return 2 * US_PER_S - q->interval_us;
}

/* The first moment at which the pace allows one more. */
static mono_t queue_pace(const struct queue *q) {
        return mono_add(q->sent_until, -queue_slack_us(q));
}

/* Each failure in a row takes a place away, until it is clear what is the matter. */
static bool queue_has_room(const struct queue *q) {
        return q->n_active + q->breaker.failures + q->doubts < QUEUE_ACTIVE_MAX;
}

static bool queue_allows(const struct queue *q, mono_t now) {
        if (!breaker_allows(&q->breaker, now))
                return false;
        return q->breaker.state == BREAKER_OPEN ||
               (queue_has_room(q) && !mono_before(now, queue_pace(q)));
}

static bool lane_allows(const struct lane *l, mono_t now) {
        return l->n_active < QUEUE_LANE_MAX && breaker_allows(&l->breaker, now);
}

mono_t lane_opens(const struct lane *l) {
        const struct breaker *breakers[] = { &l->queue->breaker, &l->breaker };
        mono_t at = { 0 };

        for (size_t i = 0; i < N_ELEMENTS(breakers); i++) {
                if (breakers[i]->state == BREAKER_HALF_OPEN)
                        return MONO_NEVER;
                if (breakers[i]->state == BREAKER_OPEN && mono_before(at, breakers[i]->retry_at))
                        at = breakers[i]->retry_at;
        }
        return at;
}

/* --- turns --- */

static void turn_leave(struct turn *t) {
        if (t->state != TURN_WAITS)
                return;
        timer_disarm(t->lane->order, &t->order);
        t->lane->queue->n_waiting--;
        t->state = TURN_NONE;
}

/* It counts as under way. */
static void turn_enter(struct turn *t) {
        struct queue *q = t->lane->queue;

        q->n_active++;
        t->probe = breaker_sent(&q->breaker);
        t->lane_probe = breaker_sent(&t->lane->breaker);
        if (t->probe)
                q->prober = t->lane;
}

static void turn_hold(struct turn *t, mono_t now) {
        struct queue *q = t->lane->queue;
        struct lane *l = t->lane;

        turn_leave(t);
        t->state = TURN_HELD;
        l->n_active++;
        turn_enter(t);
        if (mono_before(q->sent_until, now))
                q->sent_until = now;
        q->sent_until = mono_add(q->sent_until, q->interval_us);
        list_remove(&l->link);
        list_append(&q->lanes, &l->link);
}

static bool turn_is_interactive(const struct turn *t) {
        return t->order.at.us < 0;
}

static void queue_plan(struct queue *q);

bool turn_retake(struct turn *t) {
        struct queue *q = t->lane->queue;
        mono_t now = clock_mono(q->clock);

        assert(t->state == TURN_NONE);
        if (q->breaker.state != BREAKER_CLOSED || !queue_has_room(q) || !lane_allows(t->lane, now))
                return false;
        turn_hold(t, now);
        return true;
}

bool turn_take(struct turn *t, bool interactive, mono_t urgency) {
        struct queue *q = t->lane->queue;
        mono_t now = clock_mono(q->clock);

        assert(t->state != TURN_HELD);
        if (queue_allows(q, now) && lane_allows(t->lane, now)) {
                turn_hold(t, now);
                return true;
        }
        if (t->state == TURN_WAITS && interactive && turn_is_interactive(t))
                return false; /* keeps its place */
        if (t->state == TURN_NONE)
                q->n_waiting++;
        t->state = TURN_WAITS;
        if (interactive)
                urgency = (mono_t){ INT64_MIN + q->n_arrivals++ };
        timer_arm(t->lane->order, &t->order, urgency);
        queue_plan(q);
        return false;
}

static void turn_give_back(struct turn *t) {
        t->state = TURN_NONE;
        t->lane->n_active--;
        if (!t->lent)
                t->lane->queue->n_active--;
        t->lent = false;
}

/* Nothing is sent by this one, if it is the probe; others may want to. */
static void turn_let_go(struct turn *t) {
        struct queue *q = t->lane->queue;
        mono_t now = clock_mono(q->clock);

        breaker_let_go(&q->breaker, t->probe, now);
        breaker_let_go(&t->lane->breaker, t->lane_probe, now);
        t->probe = t->lane_probe = false;
        if (q->n_waiting > 0)
                timer_arm(q->timers, &q->timer, now);
}

void turn_drop(struct turn *t) {
        if (!t->lane)
                return;
        turn_leave(t);
        if (t->state != TURN_HELD)
                return;
        turn_give_back(t);
        turn_let_go(t);
}

void turn_lend(struct turn *t) {
        assert(t->state == TURN_HELD);
        if (t->lent)
                return;
        t->lent = true;
        t->lane->queue->n_active--;
        turn_let_go(t);
}

bool turn_resume(struct turn *t) {
        struct queue *q = t->lane->queue;
        mono_t now = clock_mono(q->clock);

        assert(t->state == TURN_HELD);
        if (!t->lent)
                return true;
        if (!breaker_allows(&q->breaker, now) || !breaker_allows(&t->lane->breaker, now) ||
            (q->breaker.state == BREAKER_CLOSED && !queue_has_room(q)))
                return false;
        t->lent = false;
        turn_enter(t);
        return true;
}

/* --- outcomes --- */

/* The provider is back: lanes that failed with it are tried at once, and no faster than the pace
 * allows without a burst. */
static void queue_recover(struct queue *q, mono_t now) {
        struct list_link *link;

        for (link = q->lanes.next; link != &q->lanes; link = link->next) {
                struct breaker *b = &list_entry(link, struct lane, link)->breaker;

                if (b->state != BREAKER_OPEN)
                        continue;
                b->failures = 0;
                b->retry_at = now;
        }
        q->sent_until = mono_add(now, queue_slack_us(q));
}

static void queue_answered(struct queue *q, mono_t now) {
        q->doubts = 0;
        q->suspect = NULL;
        if (breaker_answered(&q->breaker))
                queue_recover(q, now);
}

static void queue_failed(struct queue *q, bool probe, bool at_once, int64_t retry_after_us,
                         mono_t now) {
        if (!breaker_failed(&q->breaker, probe, at_once, retry_after_us, now, q->random))
                return;
        q->doubts = 0;
        q->suspect = NULL;
        q->tell_until = INT64_MIN + q->n_arrivals;
}

/* A lane has known for long what is only now held against the provider: it goes on from there,
 * or an hour of outage would be paid for twice. */
static void queue_inherit(struct queue *q) {
        for (struct list_link *l = q->lanes.next; l != &q->lanes; l = l->next) {
                const struct breaker *b = &list_entry(l, struct lane, link)->breaker;

                if (b->state != BREAKER_CLOSED && b->failures > q->breaker.failures)
                        q->breaker.failures = b->failures;
        }
}

/* A failure that may be this lane's own affair: held against the provider when it is not the only
 * one. */
static void queue_doubt(struct queue *q, const struct turn *t, int64_t retry_after_us, mono_t now) {
        if (q->breaker.state != BREAKER_CLOSED) {
                queue_failed(q, t->probe, false, retry_after_us, now);
                return;
        }
        if (q->doubts == 0)
                q->suspect = t->lane;
        else if (q->suspect != t->lane)
                q->suspect = NULL;
        q->doubts++;
        if (q->doubts < BREAKER_FAILURES || q->suspect)
                return;
        queue_failed(q, false, true, retry_after_us, now);
        queue_inherit(q);
}

static void lane_failed(struct turn *t, bool at_once, int64_t retry_after_us, mono_t now) {
        struct queue *q = t->lane->queue;

        if (breaker_failed(&t->lane->breaker, t->lane_probe, at_once, retry_after_us, now,
                           q->random))
                q->tell_until = INT64_MIN + q->n_arrivals;
        if (q->suspect == t->lane && t->lane->breaker.state != BREAKER_CLOSED)
                q->doubts = 1; /* its own breaker holds it back: the others get their room */
}

void turn_end(struct turn *t, enum turn_outcome outcome, int64_t retry_after_us) {
        struct queue *q = t->lane->queue;
        mono_t now = clock_mono(q->clock);

        assert(t->state == TURN_HELD && !t->lent);
        turn_give_back(t);
        switch (outcome) {
        case TURN_ANSWERED:
                queue_answered(q, now);
                (void) breaker_answered(&t->lane->breaker);
                break;
        case TURN_REFUSED:
                queue_answered(q, now);
                lane_failed(t, false, retry_after_us, now);
                break;
        case TURN_FAILED:
                queue_doubt(q, t, retry_after_us, now);
                lane_failed(t, false, retry_after_us, now);
                break;
        case TURN_UNREACHABLE:
                queue_failed(q, t->probe, false, retry_after_us, now);
                breaker_let_go(&t->lane->breaker, t->lane_probe, now);
                break;
        case TURN_LIMITED:
                queue_failed(q, t->probe, true, retry_after_us, now);
                breaker_let_go(&t->lane->breaker, t->lane_probe, now);
                break;
        case TURN_CURBED:
                queue_answered(q, now);
                lane_failed(t, true, retry_after_us, now);
                break;
        }
        queue_plan(q);
}

/* --- going on --- */

static struct turn *lane_first(const struct lane *l) {
        struct timer *first = timers_first(l->order);

        return first ? list_entry(first, struct turn, order) : NULL;
}

/* A lane whose first turn is of this kind, and may be given now. */
static struct turn *queue_find(const struct queue *q, bool interactive, mono_t now) {
        for (struct list_link *link = q->lanes.next; link != &q->lanes; link = link->next) {
                struct lane *l = list_entry(link, struct lane, link);
                struct turn *t = lane_first(l);

                if (t && turn_is_interactive(t) == interactive && lane_allows(l, now))
                        return t;
        }
        return NULL;
}

static struct turn *queue_find_probe(const struct queue *q, mono_t now) {
        struct turn *best = NULL;
        int best_rank = -1;

        for (struct list_link *link = q->lanes.next; link != &q->lanes; link = link->next) {
                struct lane *l = list_entry(link, struct lane, link);
                struct turn *t = lane_first(l);
                int rank = (l != q->prober) * 2 + l->harmless;

                if (t && lane_allows(l, now) && rank > best_rank) {
                        best = t;
                        best_rank = rank;
                }
        }
        return best;
}

static struct turn *queue_next(const struct queue *q, mono_t now) {
        struct turn *t;

        if (!queue_allows(q, now))
                return NULL;
        if (q->breaker.state == BREAKER_OPEN)
                return queue_find_probe(q, now);
        t = queue_find(q, true, now);
        return t ? t : queue_find(q, false, now);
}

/* Those for whom somebody waits, in lanes that are closed to them since. */
static struct turn *queue_find_held_up(const struct queue *q) {
        for (struct list_link *link = q->lanes.next; link != &q->lanes; link = link->next) {
                struct lane *l = list_entry(link, struct lane, link);
                struct turn *t = lane_first(l);

                if (t && t->order.at.us < q->tell_until && lane_opens(l).us != 0)
                        return t;
        }
        return NULL;
}

static void queue_tell(struct queue *q) {
        struct turn *t;

        if (q->tell_until == 0)
                return;
        while ((t = queue_find_held_up(q))) {
                turn_leave(t);
                t->held_up(t);
        }
        q->tell_until = 0;
}

/* The timer stands at the moment at which somebody who waits may get a turn without anything else
 * happening. */
static void queue_plan(struct queue *q) {
        mono_t now = clock_mono(q->clock), at = MONO_NEVER;

        for (struct list_link *link = q->lanes.next; q->n_waiting > 0 && link != &q->lanes;
             link = link->next) {
                struct lane *l = list_entry(link, struct lane, link);
                mono_t opens = lane_opens(l);

                if (lane_first(l) && l->n_active < QUEUE_LANE_MAX && mono_before(opens, at))
                        at = opens;
        }
        if (q->breaker.state == BREAKER_CLOSED && mono_before(at, queue_pace(q)))
                at = queue_pace(q);
        if (mono_before(at, now))
                at = now;
        if (at.us == INT64_MAX || (q->breaker.state == BREAKER_CLOSED && !queue_has_room(q)))
                timer_disarm(q->timers, &q->timer);
        else
                timer_arm(q->timers, &q->timer, at);
}

void queue_go_on(struct queue *q) {
        struct turn *t;

        queue_tell(q);
        while ((t = queue_next(q, clock_mono(q->clock)))) {
                turn_hold(t, clock_mono(q->clock));
                t->ready(t);
        }
        queue_plan(q);
}

static void queue_timer(struct timer *t) {
        queue_go_on(list_entry(t, struct queue, timer));
}
