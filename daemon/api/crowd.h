#pragma once
/*
 * Crowd: the connections that are open, and how much of them each user may have
 *
 * So that one user cannot take the service from another: nobody has more than a share, nobody is slow for ever, and when
 * it is full, connections on which nothing is under way give way to those that come. The crowd decides, the server acts:
 * it closes who is to leave.
 *
 *      ARRIVED  accepted, no request line yet           `request_us` from there
 *      ACTIVE   a request is read, or an answer taken   `request_us` for each
 *      WAITING  its request is with the loop            no limit here: `wait` has one
 *      IDLE     between two requests                    `idle_us`
 *      SURPLUS  beyond the share: is told so            CROWD_SURPLUS_US in all
 *      GONE     to be closed, or closed: counts no more
 *
 * Only ARRIVED and IDLE give way, the oldest first. A caller whose connection gave way has lost nothing but that.
 *
 * Threading: none of its own.
 */

#include "base/clock.h"
#include "base/list.h"
#include "base/random.h"
#include "base/table.h"

#define CROWD_SURPLUS_US  (2 * US_PER_S) /* to send its request and take the answer */
#define CROWD_SURPLUS_MAX 64             /* of one user; more are closed at once */
#define CROWD_HELD_MAX    8388608    /* bytes of what one user is sending, on all its connections */
#define CROWD_TOLD_US     US_PER_MIN /* one user is spoken of once in this */

enum guest_phase {
        GUEST_ARRIVED,
        GUEST_ACTIVE,
        GUEST_WAITING,
        GUEST_IDLE,
        GUEST_SURPLUS,
        GUEST_GONE,
        GUEST_PHASE_MAX,
};

struct crowd_user;

struct guest { /* one connection; embedded in what the server knows of it */
        struct crowd_user *user;
        enum guest_phase phase;
        mono_t since;                     /* in that phase */
        struct list_link of_phase;        /* oldest first */
        struct list_link of_user_resting; /* the same, while it can give way */
};

struct crowd {
        size_t max, max_per_user;
        int64_t patience_us[GUEST_PHASE_MAX]; /* INT64_MAX: for ever */
        struct list_link phases[GUEST_PHASE_MAX];
        struct table users; /* who has a connection */
        size_t n;           /* guests that count */
};

/* 0, -ENOMEM. `max_per_user` is at most half of `max`, whatever is asked for. */
int crowd_init(struct crowd *c, size_t max, size_t max_per_user, int64_t request_us,
               int64_t idle_us, const struct random *random);
/* From now on; who is here already stays. */
void crowd_limit(struct crowd *c, size_t max_per_user, int64_t request_us, int64_t idle_us);
void crowd_done(struct crowd *c); /* when the last guest has left */

#define CROWD_E_SURPLUS 1 /* it is beyond the user's share, and may stay to be told */
#define CROWD_E_REFUSED 2 /* and may not even that; it is no guest */

/* A connection of `uid` has come. *ret_leaver: who is to be closed for it, GONE already; or NULL. 0; one of the above;
 * -ENOMEM: it is no guest. */
int crowd_enter(struct crowd *c, struct guest *g, uint32_t uid, mono_t now,
                struct guest **ret_leaver);

/* Its connection is closed. Guests that have never entered, too, if they are zeroed. */
void crowd_leave(struct crowd *c, struct guest *g);

/* SURPLUS and GONE stay what they are. */
void crowd_move(struct crowd *c, struct guest *g, enum guest_phase phase, mono_t now);

/* When somebody's time will be up, unless they move: MONO_NEVER if nobody's will. */
mono_t crowd_next(const struct crowd *c);

/* Somebody whose time is up, GONE already, and the phase it was in; or NULL. */
struct guest *crowd_overdue(struct crowd *c, mono_t now, enum guest_phase *ret_phase);

/* The guest that has rested for the longest, GONE already; or NULL: nobody has since before `since`. */
struct guest *crowd_oldest(struct crowd *c, mono_t since);

/* So many bytes are kept for it, until crowd_release(). False: its user has CROWD_HELD_MAX already. */
bool crowd_hold(struct guest *g, size_t n);
void crowd_release(struct guest *g, size_t n);

uint32_t guest_uid(const struct guest *g);

/* Guests of its user. */
size_t guest_peers(const struct guest *g);

/* True once in CROWD_TOLD_US for each user: then it is worth a line in the log. */
bool guest_is_news(struct guest *g, mono_t now);
