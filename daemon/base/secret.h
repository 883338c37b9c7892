#pragma once
/*
 * A secret
 *
 * Tokens, client secrets, codes, verifiers, private keys and the requests that carry them. Opaque,
 * so that printing one is a compiler warning. The memory has a fixed capacity, is never moved, and
 * all of it is wiped when the last reference goes. What may be shown is the fingerprint
 * (the first 16 hex digits of SHA-256), and that only of tokens, which are long and random.
 *
 * Threading: the bytes are set by the thread that makes the secret; after that it is immutable
 * and may be shared between threads. The reference count is atomic.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"

#define SECRET_FINGERPRINT_SIZE 17 /* 16 hex digits and the NUL */

struct secret;

/* A copy of `len` bytes, a NUL behind them. NULL: out of memory. */
struct secret *secret_new(const void *bytes, size_t len);

/* An empty secret with room for `capacity` bytes, to be filled with secret_append(). NULL: out of memory. */
struct secret *secret_new_reserved(size_t capacity);

/* Appends; 0, or -ENOBUFS when the capacity does not hold it (nothing is written then). */
int secret_append(struct secret *s, const void *bytes, size_t len);
int secret_append_text(struct secret *s, const char *text);

/* Drops what stands after `len` bytes and wipes it. */
void secret_truncate(struct secret *s, size_t len);

struct secret *secret_ref(struct secret *s);   /* NULL gives NULL */
struct secret *secret_unref(struct secret *s); /* wipes at the last one; returns NULL */
AUTO_DEFINE(struct secret, secret_unref)

/* Borrowed; valid while the caller holds a reference. The text has a NUL behind secret_len() bytes. */
const char *secret_text(const struct secret *s);
size_t secret_len(const struct secret *s);

/* In constant time for secrets of equal length. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* The fingerprint of design.md section 2; of tokens only, never of anything short. */
void secret_fingerprint(const struct secret *s, char ret[SECRET_FINGERPRINT_SIZE]);

/* Wipes memory that a library or a stack frame filled with a secret; not optimised away. */
void secret_wipe(void *p, size_t len);

/* Called with every block just before it is released, after the wipe: for the test that reads it. NULL: off. */
extern void (*secret_release_hook)(const void *bytes, size_t capacity);
