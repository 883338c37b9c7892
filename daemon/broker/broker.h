#pragma once
/*
 * Broker: all credentials, and the tokens that are wanted of them
 *
 * Takes asks, finds or makes the entry for each, and answers. Knows what every credential is doing.
 *
 * Units:     durations are int64_t *_us.
 * Threading: loop thread only, but for the cache, which is shared with the serving thread.
 * Errors:    negative errno; what a caller has to be told comes in a struct answer.
 * Sources:   design.md sections 4 and 5.
 */

#include "base/inbox.h"
#include "broker/ask.h"
#include "broker/authorization.h"
#include "broker/cache.h"
#include "broker/change.h"
#include "http/transport.h"
#include "sched/timer.h"
#include "sched/upstream.h"
#include "store/store.h"

struct broker;

struct broker_parts { /* all borrowed for the life of the broker */
        const struct conf *conf;
        const struct transport *transport;
        const struct clock *clock;
        const struct random *random;
        struct timers *timers;
        struct store *store;
        struct cache *cache;
        /* So many authorizations of this credential wait for a person now. May be NULL. */
        void (*pending)(void *user, const struct conf_credential *c, size_t n);
        void *pending_user;
        struct change_listener listener;
};

int broker_new(const struct broker_parts *parts, struct broker **ret); /* 0, -ENOMEM */

/* Takes up what the store has, and begins to fetch what is to be kept fresh always. 0; what the
 * store said, with a sentence. */
int broker_start(struct broker *b, struct why *why);

/* Answers everyone who waits with ANSWER_UNAVAILABLE, cancels authorizations and takes no more.
 * quiet() is called (from within, if so it is) when no refresh is under way any more and every
 * refresh token is on the disk: to end before that leaves grants in doubt. `quiet` may be NULL. */
void broker_stop(struct broker *b, void (*quiet)(void *user), void *user);
struct broker *broker_free(struct broker *b); /* after broker_stop(); returns NULL */

/* Answers by ask->answer(), at once or later. ask->credential is one of the configuration's. */
void broker_ask(struct broker *b, struct ask *ask);

/* Takes an ask back that has not been answered: answer() is not called any more. */
void broker_withdraw(struct broker *b, struct ask *ask);

/* The configuration in force. */
const struct conf *broker_conf(const struct broker *b);

struct broker_change;

/* Gets ready for another configuration; nothing changes yet. `conf` is borrowed as that of
 * broker_parts, until the next one. 0; -ENOMEM, what the store said, with a sentence. */
int broker_prepare(struct broker *b, const struct conf *conf, struct why *why,
                   struct broker_change **ret);

/* From here on it is in force: tokens, grants, back-offs and callers of credentials that are what
 * they were stay; those of changed ones are made anew; nothing is lost on the disk. Takes over
 * `change`. Nothing of the old configuration is used any more, but for what is under way, which
 * holds a reference. */
void broker_adopt(struct broker *b, struct broker_change *change);
struct broker_change *broker_change_free(struct broker_change *change); /* not adopted */

/* A token was handed out after its time to be renewed. */
void broker_nudge(struct broker *b, const char *key);

enum credential_state { /* design.md section 4 */
        CREDENTIAL_READY,
        CREDENTIAL_IDLE,
        CREDENTIAL_RENEWING,
        CREDENTIAL_AUTHORIZATION_REQUIRED,
        CREDENTIAL_FAILING,
        CREDENTIAL_EXPIRED,
        CREDENTIAL_STATE_MAX,
};
extern const char *const credential_state_names[CREDENTIAL_STATE_MAX];

struct credential_view { /* what may be told of a credential; never a secret */
        const struct conf_credential *credential;
        enum credential_state state;
        char fingerprint[SECRET_FINGERPRINT_SIZE]; /* "" if there is no token */
        bool has_expires_at, has_renews_at, has_grant_expires_at;
        wall_t expires_at, renews_at, grant_expires_at;
        const struct refusal *last_error; /* borrowed until the broker's next call; NULL: none */
        wall_t last_error_at;
        size_t subjects;
        bool has_warning;
        struct why warning;
        size_t waiting;           /* callers */
        const uint64_t *outcomes; /* of exchanges since the start, by refusal_kind; borrowed */
        /* Should the provider go down now: how long its own token is good. Not known of one that
         * only its subjects use. */
        bool has_survives, survives_for_ever;
        int64_t survives_us;
        struct upstream_view provider;
};

/* How long the answers of conf->providers[index] took. Borrowed. */
const struct latency *broker_latency(const struct broker *b, size_t index);

struct grant_view { /* what may be told of one subject of an interactive credential */
        const char *subject;
        enum credential_state state;
        wall_t grant_expires_at;
        char fingerprint[SECRET_FINGERPRINT_SIZE]; /* "" if there is no token now */
        bool has_expires_at;
        wall_t expires_at;
};

/* Shows up to `limit` subjects after `after` (NULL: from the first), in order. Anything but 0 from
 * row() ends it and is returned; or what the store said, with a sentence. */
int broker_page(const struct broker *b, const struct conf_credential *c, const char *after,
                size_t limit, int (*row)(void *user, const struct grant_view *v), void *user,
                struct why *why);

void broker_view(const struct broker *b, const struct conf_credential *c,
                 struct credential_view *ret);

/* `provider` is one of the configuration's. */
void broker_view_provider(const struct broker *b, const struct conf_provider *provider,
                          struct upstream_view *ret);
/* Goes up whenever a state may have changed. */
unsigned broker_changes(const struct broker *b);

/* Sets the static token of a pat or sat. Durable, and handed out, when done(user, 0) is called;
 * done(user, -errno): the disk did not take it and nothing has changed. done() is not called
 * from within. 0 or -ENOMEM (then done() is not called). */
int broker_set_static_token(struct broker *b, const struct conf_credential *c, struct secret *value,
                            wall_t expires_at, store_done_fn *done, void *user);

/* The authorizations of interactive credentials. */
struct authorizations *broker_authorizations(struct broker *b);

/* Forgets the grant of a subject (interactive types), or the static token that was set at run
 * time, and what was made of it: durably when done(user, 0) is called, never from within. 0;
 * BROKER_E_ABSENT: there is none; -ENOMEM: done() is not called. */
#define BROKER_E_ABSENT 1
int broker_forget(struct broker *b, const struct conf_credential *c, const char *subject,
                  store_done_fn *done, void *user);

/* Is the token of a keep_fresh = always credential good now? True for all others. */
bool broker_is_fresh(const struct broker *b, const struct conf_credential *c);
