#pragma once
/*
 * Ask: one caller's wish for a token, and its answer
 *
 * Embedded in whatever waits for it; the broker links it into a queue, so that parking a caller
 * allocates nothing, but for the first of a user. From broker_ask() until answer() is called it belongs to the broker.
 *
 * Threading: loop thread only.
 */

#include <sys/types.h>

#include "base/list.h"
#include "base/why.h"
#include "broker/token.h"
#include "broker/variant.h"
#include "provider/dialect.h"
#include "sched/timer.h"

enum answer_kind {                     /* and its status and error in design.md section 4 */
        ANSWER_TOKEN,                  /* 200 */
        ANSWER_INVALID_REQUEST,        /* 400: min_ttl impossible */
        ANSWER_AUTHORIZATION_REQUIRED, /* 409 */
        ANSWER_UPSTREAM_ERROR,         /* 502 */
        ANSWER_UNAVAILABLE,            /* 503 */
        ANSWER_TIMEOUT,                /* 504 */
        ANSWER_SLOW_DOWN,              /* 429: too many callers wait, or tokens are there */
        ANSWER_NO_MEMORY,              /* 500 */
        ANSWER_KIND_MAX,
};

struct answer {
        enum answer_kind kind;
        struct token *token; /* ANSWER_TOKEN; borrowed */
        struct why why;      /* else: what happened, to which credential, what to do next */
        const struct refusal *upstream; /* what the provider said last, or NULL; borrowed */
        int64_t retry_after_us;         /* ANSWER_UNAVAILABLE, ANSWER_SLOW_DOWN; -1: not known */
};

struct ask {
        const struct conf_credential *credential; /* may become its fallback */
        const char *subject;           /* "" for the credential itself; borrowed until answered */
        const struct variant *variant; /* the same */
        uid_t uid;                     /* whose it is: see waiting.h */
        int64_t min_ttl_us;            /* -1: the default */
        int64_t wait_us;
        char rejected[SECRET_FINGERPRINT_SIZE]; /* "": none */
        /* May ask again; no other call of the broker is allowed from within. */
        void (*answer)(struct ask *ask, const struct answer *a);

        /* the broker's, while the ask is with it */
        struct entry *entry;        /* where it is parked, or NULL */
        struct waiting_user *place; /* then */
        struct list_link link;
        struct timer timer; /* its deadline */
        mono_t deadline;
};
