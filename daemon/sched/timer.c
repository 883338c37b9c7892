#include "sched/timer.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"

struct timers {
        struct timer **heap;
        size_t n;        /* armed */
        size_t reserved; /* objects that may arm theirs */
        size_t capacity;
};

struct timers *timers_new(void) {
        return calloc(1, sizeof(struct timers));
}

struct timers *timers_free(struct timers *ts) {
        if (!ts)
                return NULL;
        free(ts->heap);
        free(ts);
        return NULL;
}

int timers_reserve(struct timers *ts) {
        if (ts->reserved == ts->capacity) {
                size_t capacity = ts->capacity ? 2 * ts->capacity : 16;
                struct timer **heap = reallocarray(ts->heap, capacity, sizeof(*heap));

                if (!heap)
                        return RAISE(-ENOMEM);
                ts->heap = heap;
                ts->capacity = capacity;
        }
        ts->reserved++;
        return 0;
}

void timers_release(struct timers *ts) {
        assert(ts->reserved > 0);
        ts->reserved--;
}

static void timer_place(struct timers *ts, struct timer *t, size_t i) {
        ts->heap[i] = t;
        t->slot = i + 1;
}

static void timer_sift_up(struct timers *ts, struct timer *t, size_t i) {
        while (i > 0 && mono_before(t->at, ts->heap[(i - 1) / 2]->at)) {
                timer_place(ts, ts->heap[(i - 1) / 2], i);
                i = (i - 1) / 2;
        }
        timer_place(ts, t, i);
}

static void timer_sift_down(struct timers *ts, struct timer *t, size_t i) {
        for (;;) {
                size_t child = 2 * i + 1;

                if (child + 1 < ts->n && mono_before(ts->heap[child + 1]->at, ts->heap[child]->at))
                        child++;
                if (child >= ts->n || !mono_before(ts->heap[child]->at, t->at))
                        break;
                timer_place(ts, ts->heap[child], i);
                i = child;
        }
        timer_place(ts, t, i);
}

void timer_disarm(struct timers *ts, struct timer *t) {
        struct timer *last;
        size_t i;

        if (!t->slot)
                return;
        i = t->slot - 1;
        t->slot = 0;
        last = ts->heap[--ts->n];
        if (last == t)
                return;
        if (i > 0 && mono_before(last->at, ts->heap[(i - 1) / 2]->at))
                timer_sift_up(ts, last, i);
        else
                timer_sift_down(ts, last, i);
}

void timer_arm(struct timers *ts, struct timer *t, mono_t at) {
        timer_disarm(ts, t);
        assert(ts->n < ts->reserved);
        t->at = at;
        timer_sift_up(ts, t, ts->n++);
}

mono_t timers_next(const struct timers *ts) {
        return ts->n > 0 ? ts->heap[0]->at : MONO_NEVER;
}

struct timer *timers_first(const struct timers *ts) {
        return ts->n > 0 ? ts->heap[0] : NULL;
}

void timers_run(struct timers *ts, mono_t now) {
        /* no more than are armed now: one that arms itself again for `now` must not keep us here */
        for (size_t budget = ts->n; budget > 0 && ts->n > 0; budget--) {
                struct timer *t = ts->heap[0];

                if (mono_before(now, t->at))
                        break;
                timer_disarm(ts, t);
                t->fn(t);
        }
}
