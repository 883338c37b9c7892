#pragma once
/*
 * Grant: one consent that somebody gave, and how it is kept
 *
 * A grant is a refresh token, which is single use: each refresh spends it and brings its successor. So a refresh goes like this:
 *
 *      mark in doubt (durable) -> send -> the successor is durable, no longer in doubt -> the access token is shown
 *
 * Whatever dies on the way, the row tells what may have happened: a grant in doubt is tried once when we start again, with
 * the token we have; if that is refused, its successor had been made and never reached us: lost in rotation. Only a clear
 * refusal ends a grant. When the disk does not take the successor, it is kept in memory, used, and written as soon as
 * there is room.
 *
 * Refresh tokens stay sealed in the store and are opened for the one call that needs them; what is in memory of an idle grant is
 * its name and its dates.
 *
 * Units:     dates of a grant are wall_t by our clock, since they outlive the machine's uptime.
 * Threading: loop thread only.
 * Sources:   RFC 6749 section 6, RFC 9700 section 4.14; coze-oauth.md sections 0 (4), 2.3, 7.1.
 */

#include "base/random.h"
#include "base/table.h"
#include "conf/conf.h"
#include "sched/timer.h"
#include "sched/upstream.h"
#include "store/store.h"

#define GRANT_LIFETIME_S   (INT64_C(30) * 86400)   /* of a refresh token, which no answer tells */
#define GRANT_MEMORY_MAX_S (INT64_C(3650) * 86400) /* no date of a row is believed beyond this */

struct grants;
struct rotation;

struct grant {
        struct grants *book;
        struct table_node node;
        const struct conf_credential *credential;
        const char *subject; /* behind the key */
        wall_t obtained_at;
        wall_t expires_at; /* of the refresh token, as far as is known */
        bool in_doubt;     /* a refresh may have been sent whose answer we do not have */
        struct timer
                timer; /* the next of: refresh it before it ends unused, write it to the disk */
        struct secret *unsaved;    /* the refresh token, as long as the disk has not taken it */
        struct rotation *rotation; /* the refresh that is under way, or NULL */
        char key[];
};

/* How a refresh ended. `result` may be emptied with TAKE(). */
typedef void grant_done_fn(void *user, struct exchange_result *result);

struct grants_parts { /* all borrowed */
        struct store *store;
        struct timers *timers;
        const struct clock *clock;
        const struct random *random;
        /* The grant is about to end unused: it should be refreshed. */
        void (*due)(void *user, struct grant *g);
        void *user;
};

int grants_new(const struct grants_parts *parts, struct grants **ret); /* 0, -ENOMEM */
struct grants *grants_free(struct grants *gs); /* drops what is under way; see grants_busy() */

/* Refreshes that have been begun and are not over, and successors that are not on the disk. A daemon that ends while there are any
 * leaves them in doubt. */
size_t grants_busy(const struct grants *gs);

/* A row that was found at start. 0, -ENOMEM. */
int grants_take_up(struct grants *gs, const struct conf_credential *c,
                   const struct record *metadata);

struct grant *grants_find(const struct grants *gs,
                          const char *key); /* cache_key(); NULL: there is none */
size_t grants_count(const struct grants *gs, const struct conf_credential *c);

/* Begins a refresh; one at a time. done() is never called from within. 0, -ENOMEM. */
int grant_refresh(struct grant *g, struct upstream *u, grant_done_fn *done, void *user);

/* done() is not called any more; a refresh that was sent goes on, so that its successor is kept. */
void grant_disregard(struct grant *g);

/* A new authorization: this refresh token from now on, whatever was before. A reference to `token` is taken. `done` is called
 * when it is durable, or kept in memory because the disk does not take it; never from within. 0, -ENOMEM. */
int grants_set(struct grants *gs, const struct conf_credential *c, const char *subject,
               struct secret *token, store_done_fn *done, void *user);

/* Forgets the grant, durably when done() is called. The pointer is void after this. 0, -ENOMEM. */
int grant_forget(struct grant *g, store_done_fn *done, void *user);
