#pragma once
/*
 * Cache: the tokens that can be handed out at once
 *
 * The one thing the loop and the serving thread share. The loop puts tokens in and takes them out; the serving
 * thread looks them up. The lock is held for a hash look-up and a reference, never for anything that waits.
 *
 * The key is made of the credential's name, the subject and the variant, which is "" for what the configuration asks for
 * and else the digest of duration, scope and session context (variant.h).
 *
 * Threading: any thread.
 */

#include <stddef.h>

#include "base/random.h"
#include "broker/token.h"
#include "client/protocol.h"

#define CACHE_VARIANT_MAX 64 /* bytes: hex of SHA-256 */
#define CACHE_KEY_SIZE    (PROTOCOL_NAME_MAX + PROTOCOL_SUBJECT_MAX + CACHE_VARIANT_MAX + 3)

struct cache;

int cache_new(const struct random *random, struct cache **ret); /* 0 or -ENOMEM */
struct cache *cache_free(struct cache *c);
AUTO_DEFINE(struct cache, cache_free)

/* Writes the key; the parts are within their limits. Returns `ret`. */
char *cache_key(const char *credential, const char *subject, const char *variant,
                char ret[CACHE_KEY_SIZE]);

/* A new reference, or NULL. */
struct token *cache_get(struct cache *c, const char *key);

/* Puts the token under its key, in place of what was there. Takes its own reference. */
void cache_put(struct cache *c, struct token *t);

void cache_remove(struct cache *c, const char *key);
