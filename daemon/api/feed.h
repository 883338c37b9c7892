#pragma once
/*
 * Feed: the last events, for those who read along
 *
 * A ring of the last FEED_EVENTS_MAX changes, each rendered once as an event of text/event-stream. Readers keep nothing of
 * it but the number of the last event they had; who comes too late for the next one is told so, and starts over from the
 * state. An event's id is "EPOCH-NUMBER": the epoch is drawn when the feed is made, so that an id of an earlier daemon is
 * known as such.
 *
 * Threading: feed_put() and feed_start_over() on the loop; all else from any thread. The lock is held for as long as a pointer takes.
 * Sources:   WHATWG HTML section 9.2 (server-sent events).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/random.h"
#include "broker/change.h"

#define FEED_EVENTS_MAX 1024 /* of about half a kilobyte each */
#define FEED_ID_SIZE    48

struct feed;

struct feed_event {    /* immutable */
        unsigned refs; /* guarded by the feed's lock */
        uint64_t number;
        const char *credential, *subject; /* behind the text */
        size_t len;
        char text[];
};

int feed_new(const struct random *random, const struct clock *clock, struct feed **ret);
struct feed *feed_free(struct feed *f);

void feed_put(struct feed *f, const struct change *change);

/* There are other credentials now: whatever event a reader has had, what follows is not there, and the state has to tell. */
void feed_start_over(struct feed *f);

uint64_t feed_last(struct feed *f); /* the number of the last event; 0: there was none yet */

/* The id of the event of this number, or of the time before the first one (0). Returns `ret`. */
char *feed_id(const struct feed *f, uint64_t number, char ret[FEED_ID_SIZE]);

/* What follows the event of this id is still there: 0 and its number; -ESTALE: not any more, or it is none of ours. */
int feed_find(struct feed *f, const char *id, uint64_t *ret_number);

/* The event that follows that number; NULL: none yet, or *ret_lost is true and it is gone. Owned by the caller:
 * feed_release(). */
struct feed_event *feed_next(struct feed *f, uint64_t number, bool *ret_lost);
struct feed_event *feed_release(struct feed *f, struct feed_event *e); /* returns NULL */
