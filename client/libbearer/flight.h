#pragma once
/*
 * A flight: one question to the daemon, and all who wait for what it brings
 *
 * Threads wait for another thread's flight; callbacks hang on one of the loop's. A flight of a thread is
 * never waited for by the loop, nor the other way round: the thread of the loop may be the one that waits.
 *
 * Units:     instants are microseconds of CLOCK_BOOTTIME.
 * Threading: bearer_lock.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/libbearer/bearer.h"
#include "client/libbearer/exchange.h"
#include "client/libbearer/request.h"
#include "client/libbearer/thread.h"

struct flight {
        struct flight *next;
        struct bearer *client;
        unsigned refs;
        struct exchange x;
        char *name;                /* owned */
        struct bearer_request *rq; /* owned: a copy */
        int64_t until_us;
        uint64_t rejections; /* of the entry, when it asked */
        bool soft;           /* the token is good, it was time to ask */
        bool loop;           /* driven by bearer_process() */
        bool done;
        bool final;             /* the daemon has answered: it holds for all who wait */
        struct failure failure; /* failure.r: 0 or how it ended */
        pthread_cond_t ended;   /* never destroyed: in a forked child nobody leaves it any more */
        struct bearer_call *calls; /* of a flight of the loop */
};

/* One under way that brings the same, and waits as long for it; or NULL. */
struct flight *flight_find(struct bearer *client, const struct key *k,
                           const struct bearer_request *rq, bool loop);
int flight_new(struct bearer *client, const struct key *k, const struct bearer_request *rq,
               int64_t now_us, int64_t until_us, bool soft, bool loop,
               struct flight **ret); /* 0, -ENOMEM, -EINVAL */
struct flight *flight_unref(struct flight *f);
void flight_free(struct flight *f); /* also one that is waited for, by threads that are no more */

/* An exchange is over: `r` is 1 with *answer, which it releases, or a negative errno. True: the flight is
 * over, too. What came is kept, or the failure noted, and those who wait are woken. False: the answer is of
 * no use any more, and it has asked anew. */
bool flight_end(struct flight *f, int r, struct wire_answer *answer);
