#pragma once
/*
 * Token: one access token, as it is handed out
 *
 * Immutable once published in the cache, and shared between the loop and the serving thread by reference; two
 * marks in it say how it is used. The serving thread keeps what it has rendered of a token in the token itself,
 * so that a second caller costs nothing; the core never looks at that.
 *
 * Units:     instants are mono_t (CLOCK_BOOTTIME), shown expiry is wall_t.
 * Threading: references and marks are atomic; all else is set before token_new() returns.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/table.h"

struct token {
        atomic_uint refs;
        struct table_node node; /* in the cache; guarded by its lock */
        char *key;              /* see cache.h */
        char *credential;
        char *subject;
        struct secret *value;
        char fingerprint[SECRET_FINGERPRINT_SIZE];
        bool never_expires;
        mono_t obtained;
        mono_t expires; /* MONO_NEVER if it never does */
        wall_t expires_at;
        mono_t renews; /* from here on the core wants to hear of a use; MONO_NEVER: no renewal is possible */
        int64_t default_min_ttl_us;
        atomic_bool used;   /* handed out since it was obtained */
        atomic_bool nudged; /* the core has been told of a use after `renews` */

        /* owned by the serving thread */
        void *rendered;
        void (*rendered_free)(
                void *rendered); /* may be called by whoever drops the last reference */
};

struct token_properties {
        const char *key, *credential, *subject; /* copied */
        struct secret *value;                   /* a reference is taken */
        int64_t lifetime_us;                    /* from `obtained`; INT64_MAX: it never expires */
        mono_t obtained;
        wall_t expires_at;
        int64_t renews_us; /* after `obtained`; INT64_MAX: never */
};

struct token *token_new(const struct token_properties *p); /* NULL: out of memory */
struct token *token_ref(struct token *t);
struct token *token_unref(struct token *t);
AUTO_DEFINE(struct token, token_unref)

/* What is left of its life at `now`; 0 if it is over. INT64_MAX if it never ends. */
static inline int64_t token_left(const struct token *t, mono_t now) {
        if (t->never_expires)
                return INT64_MAX;
        return mono_before(now, t->expires) ? mono_until(now, t->expires) : 0;
}

/* Is it good for `min_ttl_us` more (-1: the default)? */
static inline bool token_is_good(const struct token *t, mono_t now, int64_t min_ttl_us) {
        int64_t left = token_left(t, now);

        return left > 0 && left >= (min_ttl_us < 0 ? t->default_min_ttl_us : min_ttl_us);
}
