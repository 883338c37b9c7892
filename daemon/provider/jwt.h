#pragma once
/*
 * The assertion of a service application: a JWT signed with RS256
 *
 * Threading: pure function, any thread.
 * Sources:   coze-oauth.md section 4; RFC 7515, RFC 7519, RFC 7523.
 */

#include <stdint.h>

#include "base/clock.h"
#include "base/key.h"
#include "base/secret.h"

#define JWT_LIFETIME_S  600 /* exp - iat: an assertion is used at once and accepted once */
#define JWT_RANDOM_SIZE 32  /* bytes; the jti is their hex digits */

/* What it says. All pointers are borrowed. */
struct jwt {
        const char *key_id;          /* kid */
        const char *issuer;          /* iss */
        const char *audience;        /* aud, a plain string */
        wall_t issued_at;            /* iat, by the provider's clock */
        const uint8_t *random;       /* JWT_RANDOM_SIZE bytes, never used before */
        const char *session_name;    /* or NULL */
        const char *session_context; /* a JSON object, or NULL */
};

/* 0; -ENOMEM; -EIO: signing failed. The caller owns *ret. */
int jwt_sign(const struct jwt *jwt, const struct key *key, struct secret **ret);
