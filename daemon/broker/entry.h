#pragma once
/*
 * Entry: one token that is wanted, from the first wish to the last renewal
 *
 * There is one for each (credential, subject, variant). It has at most one exchange under way,
 * whoever and however many ask (single flight), parks its callers, and plans its own renewal.
 * What is good to be handed out lies in the cache; the entry is how it gets there.
 *
 *      IDLE     --begin------> FETCHING ---token---> READY
 *      READY    --begin------> RENEWING ---token---> READY
 *      FETCHING --failed-----> FAILING  ---begin---> FETCHING
 *      RENEWING --failed-----> RETRYING ---begin---> RENEWING   (the old token is still good)
 *      READY    --expired----> IDLE
 *      RENEWING --expired----> FETCHING
 *      RETRYING --expired----> FAILING
 *
 * Threading: loop thread only.
 */

#include "base/table.h"
#include "broker/ask.h"
#include "broker/change.h"
#include "broker/waiting.h"
#include "sched/upstream.h"

#define ENTRIES_MAX                                                                                \
        16384 /* of one credential that are not grants: subjects and variants of a jwt */

enum entry_state {
        ENTRY_IDLE,     /* no token, nothing under way */
        ENTRY_FETCHING, /* no token, an exchange is under way */
        ENTRY_READY,    /* a good token */
        ENTRY_RENEWING, /* a good token, and an exchange is under way */
        ENTRY_RETRYING, /* a good token; its renewal failed, another try is due */
        ENTRY_FAILING,  /* no token; the last exchange failed */
        ENTRY_STATE_MAX,
};
extern const char *const entry_state_names[ENTRY_STATE_MAX];

/* What all entries of a credential share; embedded in struct credential. */
struct entry_pool {
        const struct conf_credential *credential;
        struct cache *cache;
        struct timers *timers;
        const struct clock *clock;
        const struct random *random;
        const struct change_listener *listener;
        size_t count[ENTRY_STATE_MAX];       /* of entries in each state */
        size_t n_subjects;                   /* of entries with a subject */
        size_t n_waiting;                    /* callers */
        struct waiting *waiting;             /* those of all credentials */
        uint64_t outcomes[REFUSAL_KIND_MAX]; /* of exchanges; REFUSAL_NONE: a token */
        struct refusal last_refusal;         /* kind REFUSAL_NONE: there was none, or it is over */
        wall_t last_refusal_at;

        unsigned *changes;         /* counts what may show in a state */
        struct lane *lane;         /* in the queue of its provider */
        struct upstream *upstream; /* which is that of this one */
        bool stopped;              /* nothing is begun any more */

        /* Begins to obtain a token; ends in entry_obtained(), never from within. 0; a negative
         * errno: nothing was begun, and *refusal, which stands at "transient", may say more. */
        int (*obtain)(struct entry_pool *pool, struct entry *e, struct refusal *refusal);
        void (*abandon)(struct entry_pool *pool,
                        struct entry *e); /* ... which is not called any more; may be NULL */

        /* Tries the fallback for an ask that was refused: 0 if it took it over. */
        int (*fall_back)(struct entry_pool *pool, struct ask *ask);
        /* The entry is of no further use and wants to be freed. */
        void (*discard)(struct entry_pool *pool, struct entry *e);
};

struct entry {
        struct entry_pool *pool;
        struct table_node node; /* by key, in the broker */
        char *key;              /* cache_key() */
        char *subject;
        struct variant variant;
        enum entry_state state;
        struct token *token; /* a good one, also in the cache; or NULL */
        struct turn turn;
        bool obtaining;
        void *obtain;             /* of pool->obtain() */
        struct list_link waiting; /* struct ask */
        struct timer timer;
        int64_t lifetime_us;     /* as last granted; 0: not known */
        mono_t forced_by;        /* when it has to be there; for `forced` */
        struct list_link link;   /* of one whose credential is not configured any more */
        bool outdated;           /* what is under way was begun under another configuration */
        bool forced;             /* an exchange is wanted, whether anybody waits or not */
        bool lapses;             /* the token is not going to be renewed unless somebody uses it */
        unsigned failures;       /* in a row */
        mono_t not_before;       /* no exchange before this: back-off */
        mono_t rejected_before;  /* no exchange because of a rejection before this */
        mono_t misdated_before;  /* a wrong date counts as a failure like others before this */
        struct refusal *refusal; /* the last one, until a token comes; NULL: there was none, or no
                                  * memory to keep it: entry_refusal() */
};

/* Copies subject and variant. 0, -ENOMEM. */
int entry_new(struct entry_pool *pool, const char *key, const char *subject,
              const struct variant *variant, struct entry **ret);

/* Nobody may be waiting. Takes its token out of the cache, cancels what is under way. Returns
 * NULL. */
struct entry *entry_free(struct entry *e);

/* Answers, now or later. */
void entry_ask(struct entry *e, struct ask *ask);

/* Fetches or renews as soon as back-off and queue allow, without a caller, once. `in_us`: what wants it
 * ends then. */
void entry_want(struct entry *e, int64_t in_us);

/* A token is on its way that was not asked for, and takes the place of what is: entry_obtained()
 * brings it. */
void entry_expect(struct entry *e);

/* What became of obtain(), or what was expected. `result` may be emptied with TAKE(). */
void entry_obtained(struct entry *e, struct exchange_result *result);

/* The credential has changed: the token and what was learnt are void, who waits gets a new one. */
void entry_renounce(struct entry *e);

/* keep_fresh or token_lifetime has changed: the token stays, and is planned for anew. */
void entry_retune(struct entry *e);

/* Takes an ask back that is parked, without an answer. */
void entry_withdraw(struct ask *ask);

/* What its last exchange brought; of use while there are `failures`. Valid until its next one. */
const struct refusal *entry_refusal(const struct entry *e);

/* Somebody has used the token after the time to renew it. */
void entry_nudge(struct entry *e);

/* Answers everyone who waits with `kind` and this sentence. */
void entry_dismiss(struct entry *e, enum answer_kind kind, const char *text);
