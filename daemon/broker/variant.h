#pragma once
/*
 * Variant: what a caller wants to be different from the configuration
 *
 * Only jwt tokens have variants: another lifetime, a narrower scope, a session context. What equals the
 * configuration is dropped, so that the same token is never fetched twice under two names; what remains is
 * canonical JSON and part of the cache key by its digest.
 *
 * Threading: pure functions, any thread.
 * Sources:   coze-oauth.md sections 4 and 4.1.
 */

#include <json-c/json.h>
#include <stdint.h>

#include "base/why.h"
#include "broker/cache.h"
#include "conf/conf.h"

struct variant {
        int64_t duration_s;                 /* 0: as configured */
        char *scope;                        /* canonical JSON; NULL: as configured */
        char *session_context;              /* the same */
        char digest[CACHE_VARIANT_MAX + 1]; /* "" if nothing differs */
};

/* `duration_s` 0, `scope` NULL and `session_context` NULL mean: not asked for.
 * 0; -EINVAL: something is malformed or out of range; -EPERM: the scope is wider than the configured one; each with a
 * sentence; -ENOMEM. On success the caller owns what is in *ret: variant_done(). */
int variant_make(const struct conf_credential *c, int64_t duration_s, struct json_object *scope,
                 struct json_object *session_context, struct why *why, struct variant *ret);

int variant_copy(const struct variant *v, struct variant *ret); /* 0 or -ENOMEM */
void variant_done(struct variant *v);
