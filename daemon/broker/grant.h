#pragma once
/*
 * Grant: one consent that somebody gave, and how it is kept
 *
 * A grant is a refresh token, which is single use: each refresh spends it and brings its
 * successor. So a refresh goes like this:
 *
 *      mark in doubt (durable) -> send -> the successor is durable, and no longer in doubt
 *      -> the access token is shown
 *
 * Whatever dies on the way, the row tells what may have happened: a grant in doubt is tried once
 * when we start again, with the token we have; if that is refused, its successor had been made
 * and never reached us: lost in rotation. Only a clear refusal ends a grant. When the disk does
 * not take the successor, it is kept in memory, used, and written as soon as there is room. A
 * new authorization makes a new grant, whose rotation begins at its last step; what was under
 * way for the one it replaces is dropped.
 *
 * Refresh tokens stay sealed in the store and are opened for the one call that needs them; what
 * is in memory of an idle grant is its name and its dates.
 *
 * Units:     dates of a grant are wall_t by our clock, since they outlive the machine's uptime.
 * Threading: loop thread only.
 * Sources:   RFC 6749 section 6, RFC 9700 section 4.14; coze-oauth.md sections 0 (4), 2.3, 7.1.
 */

#include "base/list.h"
#include "base/random.h"
#include "base/table.h"
#include "base/why.h"
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
        bool is_told;      /* the operator knows that the disk does not take it */
        struct conf
                *retired;   /* the conf of a credential that is not configured any more, or NULL */
        bool is_gone;       /* forgotten or replaced; waits for what the store still has to say */
        unsigned n_changes; /* that are with the store */
        struct list_link link; /* among those that are gone */
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
        /* The grant is about to end unused, in so long: it should be refreshed. */
        void (*due)(void *user, struct grant *g, int64_t in_us);
        /* grants_busy() has become 0. */
        void (*quiet)(void *user);
        void *user;
};

int grants_new(const struct grants_parts *parts, struct grants **ret); /* 0, -ENOMEM */

/* Drops what is under way, see grants_busy(). The store must not call back any more. */
struct grants *grants_free(struct grants *gs);

/* Refreshes that have been begun and are not over, and refresh tokens that are not on the disk.
 * A daemon that ends while there are any leaves them in doubt. */
size_t grants_busy(const struct grants *gs);

/* Makes room for so many credentials. 0, -ENOMEM. */
int grants_reserve(struct grants *gs, size_t n_credentials);

/* From here on this configuration, for which there is room, is in force. Grants of credentials that
 * are not in it leave memory, with nobody told, when their refresh tokens are on the disk. */
void grants_adopt(struct grants *gs, const struct conf *conf);

/* A row that was found at start; one that is known already is left alone. 0, -ENOMEM. After the
 * last one, grants_plan(): how soon one is due depends on how many there are. */
int grants_take_up(struct grants *gs, const struct conf_credential *c,
                   const struct record *metadata);
void grants_plan(struct grants *gs);

struct grant *grants_find(const struct grants *gs,
                          const char *key); /* cache_key(); NULL: there is none */
size_t grants_count(const struct grants *gs, const struct conf_credential *c);

/* Begins a refresh, in a turn that is held; one at a time. done() is never called from within, and not at all when the
 * grant is forgotten or replaced first. 0; -EBADMSG with a sentence: the refresh token cannot be
 * read; -ENOMEM, -EIO. */
int grant_refresh(struct grant *g, struct upstream *u, struct turn *turn, grant_done_fn *done,
                  void *user, struct why *why);

/* A new authorization, which has a refresh token: that one from now on, whatever was before.
 * Takes over what is in `result`, and gives it to done() when the refresh token is durable, or
 * kept in memory because the disk does not take it; not from within, and not at all when the
 * grant is forgotten or replaced first. 0; -ENOMEM: nothing has changed. */
int grants_set(struct grants *gs, const struct conf_credential *c, const char *subject,
               struct exchange_result *result, grant_done_fn *done, void *user);

/* Forgets the grant, durably when done() is called; never from within. The pointer is void after
 * this. 0; -ENOMEM, -ESHUTDOWN: nothing has changed. */
int grant_forget(struct grant *g, store_done_fn *done, void *user);
