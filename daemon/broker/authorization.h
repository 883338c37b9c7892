#pragma once
/*
 * Authorization: a person is asked for a grant
 *
 * From the start (a URL for the browser, or a code for another device) to its end: succeeded,
 * denied, expired, failed or cancelled. What is over can be looked at for a while. Two at once
 * for one subject: the later one wins, the earlier is cancelled and told why. A person who has
 * to fetch an administrator first starts again without harm: nothing is changed before a grant
 * is there.
 *
 * The state parameter and the PKCE verifier are 256 random bits each, used once; states are
 * compared in constant time.
 *
 * Threading: loop thread only.
 * Sources:   RFC 6749 sections 4.1 and 10.12, RFC 7636, RFC 8628; coze-oauth.md sections 3 and
 *            5; design.md section 4.
 */

#include "base/list.h"
#include "base/random.h"
#include "base/why.h"
#include "conf/conf.h"
#include "sched/timer.h"
#include "sched/upstream.h"

#define AUTHORIZATION_ID_SIZE 33 /* 128 random bits in hex, and the NUL */
#define AUTHORIZATION_LIFETIME_US                                                                  \
        (15 * US_PER_MIN) /* for the browser; a device code brings its own */
#define AUTHORIZATION_MEMORY_US (10 * US_PER_MIN) /* how long one that is over can be looked at */
#define AUTHORIZATIONS_MAX      1024              /* at once, those that are over included */

enum authorization_state {
        AUTHORIZATION_PENDING,
        AUTHORIZATION_SUCCEEDED,
        AUTHORIZATION_DENIED,
        AUTHORIZATION_EXPIRED,
        AUTHORIZATION_FAILED,
        AUTHORIZATION_CANCELLED,
        AUTHORIZATION_STATE_MAX,
};
extern const char *const authorization_state_names[AUTHORIZATION_STATE_MAX];

struct authorizations;

struct authorization {
        struct authorizations *book;
        struct list_link link;
        char id[AUTHORIZATION_ID_SIZE];
        const struct conf_credential *credential;
        char *subject;
        uid_t uid; /* of the user that has begun it */
        enum authorization_state state;
        struct why reason; /* of an end that is not success: what happened and what to do next */
        struct refusal refusal; /* what the provider said, kind REFUSAL_NONE: nothing */
        wall_t expires_at;
        mono_t expires;
        struct timer timer; /* the next of: poll, expiry, end of memory */
        struct turn turn;   /* of the next call */
        struct upstream_call *call;
        bool storing;             /* the grant is there and on its way to the disk */
        struct list_link watches; /* struct authorization_watch */

        /* browser */
        char *url; /* wiped; NULL for a device */
        struct secret *state_parameter, *verifier;
        struct secret *code; /* while it is exchanged */
        bool delivered;      /* the browser has come back: the state cannot be used again */
        unsigned tries;      /* of the exchange */

        /* device */
        struct secret *device_code, *user_code;
        char *verification_uri,
                *verification_uri_complete; /* the latter holds the user code; wiped */
        int64_t interval_us;
        mono_t next_poll;

        /* who waits for the device's start */
        void (*started)(void *user, struct authorization *a);
        void *started_user;
};

/* Waits for the state to change. Embedded in whatever waits. */
struct authorization_watch {
        struct list_link link;
        struct authorization *authorization; /* NULL: not waiting */
        struct timer timer;
        void (*changed)(struct authorization_watch *w,
                        const struct authorization *a); /* or time is up */
};

struct authorizations_parts { /* all borrowed */
        size_t max_per_user;  /* those that are over included */
        struct timers *timers;
        const struct clock *clock;
        const struct random *random;
        /* ... and the credential's lane there. */
        struct upstream *(*upstream)(void *user, const struct conf_credential *c,
                                     struct lane **ret_lane);
        /* A grant has been given: keep it, then call authorizations_stored(), not from within.
         * `result` may be emptied. 0, or a negative errno. */
        int (*granted)(void *user, struct authorization *a, struct exchange_result *result);
        /* Something about the pending ones of this credential has changed: see
         * authorizations_pending(). */
        void (*changed)(void *user, const struct conf_credential *c);
        void *user;
};

int authorizations_new(const struct authorizations_parts *parts, struct authorizations **ret);
struct authorizations *authorizations_free(struct authorizations *as);

/* Cancels all that are pending, with this reason, and takes no more. One whose grant is on its
 * way to the disk succeeds. */
void authorizations_stop(struct authorizations *as, const char *reason);

#define AUTHORIZATION_E_TOO_MANY 1

/* Begins one, for the user `uid`: at the limit the oldest of that user that is over makes room. started(user, a) is called when there is something to show to the person, or it
 * has failed already (see its state); for the browser that is from within. `a` is valid until
 * the loop goes on. 0; AUTHORIZATION_E_TOO_MANY; -ENOMEM, -ESHUTDOWN: then started() is not
 * called. */
int authorization_start(struct authorizations *as, const struct conf_credential *c,
                        const char *subject, uid_t uid,
                        void (*started)(void *user, struct authorization *a), void *user);

struct authorization *authorizations_find(const struct authorizations *as,
                                          const char *id); /* NULL: none, or long over */

/* The one that waits for this state parameter (compared in constant time), or NULL. */
struct authorization *authorizations_find_state(const struct authorizations *as, const char *state);

/* Each in turn, oldest first: NULL begins, NULL ends. */
struct authorization *authorizations_next(const struct authorizations *as,
                                          const struct authorization *a);

size_t authorizations_pending(const struct authorizations *as, const struct conf_credential *c);

/* The browser has come back: with a code, or with an error (RFC 6749 section 4.1.2.1). Takes the
 * state out of use. 0; -EALREADY: it has been used; -ENOMEM. */
int authorization_deliver(struct authorization *a, const char *code, const char *error,
                          const char *description);

/* No effect when it is over, or its grant is on its way to the disk. */
void authorization_cancel(struct authorization *a, const char *reason);

/* From here on this configuration is in force. What was begun for a credential that is not in it any
 * more, or is another one, as `same` tells, is cancelled. */
void authorizations_adopt(struct authorizations *as, const struct conf *conf,
                          bool (*same)(const struct conf_credential *before,
                                       const struct conf_credential *after));

/* The grant that granted() was given for this subject is durable, or kept. */
void authorizations_stored(struct authorizations *as, const struct conf_credential *c,
                           const char *subject);

/* It is not any more: what gave it is cancelled, with this reason. */
void authorizations_withdraw(struct authorizations *as, const struct conf_credential *c,
                             const char *subject, const char *reason);

/* changed() is called when the state is not pending any more (at once if so), or at the
 * deadline. 0, -ENOMEM. */
int authorization_watch(struct authorization *a, struct authorization_watch *w, int64_t wait_us);
