#pragma once
/*
 * Tokens, and the references to them
 *
 * A struct body holds one token that came from the daemon, in memory of its own that core dumps
 * leave out and that is wiped. What callers hold is a struct bearer_token: a handle of one thread on a
 * body. Each thread has handles of its own, kept in its slots (thread.h), so that threads which get and
 * release the same token write to no memory in common.
 *
 * The handle's count holds the references of callers, and two marks of the slot: TOKEN_SLOT, this
 * handle may be handed out again; TOKEN_PINNED, the slot points here. Any thread may take TOKEN_SLOT
 * away, which is how a token is withdrawn from all threads. With the last reference and TOKEN_SLOT the
 * body goes, and with TOKEN_PINNED the handle. TOKEN_SLOT never comes back, so each happens once.
 *
 * Units: instants are microseconds of CLOCK_BOOTTIME. Threading: any.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/libbearer/bearer.h"

#define TOKEN_NEVER       INT64_MAX
#define TOKEN_FINGERPRINT 17 /* bytes with the NUL */

struct body {
        atomic_uint refs;
        _Atomic int64_t
                due_us;     /* from here on ask the daemon again, while it is good all the same */
        int64_t expires_us; /* TOKEN_NEVER */
        int64_t default_end_us; /* good for the default min_ttl until then */
        int64_t expires_at;     /* UNIX time; -1: never */
        char fingerprint[TOKEN_FINGERPRINT];
        size_t mapped; /* bytes of this mapping */
        size_t name_len;
        const char *key;    /* the credential's name, and request_key() behind it */
        const char *header; /* "Authorization: Bearer ..." */
        const char *value;
};

/* `expires_in_us` from now on; TOKEN_NEVER. NULL: out of memory. */
struct body *body_new(const char *name, const char *rest, const char *value, size_t len,
                      const char *fingerprint, int64_t expires_at, int64_t expires_in_us,
                      int64_t now_us);
struct body *body_ref(struct body *b);
struct body *body_unref(struct body *b);

bool body_is(const struct body *b, const char *name, size_t name_len, const char *rest);
bool body_is_good(const struct body *b, int64_t now_us, int64_t min_ttl_us);
bool body_is_due(const struct body *b, int64_t now_us);

/* A handle with one reference, in a slot if `slot`. Takes a reference on the body. NULL: no memory. */
struct bearer_token *token_new(struct body *b, bool slot);
struct body *token_body(const struct bearer_token *t);

bool token_reuse(struct bearer_token *t);    /* a reference more, unless it was withdrawn */
void token_withdraw(struct bearer_token *t); /* takes TOKEN_SLOT away; by any thread */
void token_unpin(struct bearer_token *t);    /* the slot does not point here any more */

/* Sees every body's memory just after the wipe: for the test that reads it. */
extern void (*body_release_hook)(const void *bytes, size_t len);

int64_t token_now_us(void);
