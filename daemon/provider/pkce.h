#pragma once
/*
 * Proof Key for Code Exchange (RFC 7636), method S256
 *
 * Threading: pure functions, any thread.
 * Sources:   RFC 7636 sections 4.1 and 4.2; coze-oauth.md section 3.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"
#include "provider/base64url.h"

#define PKCE_RANDOM_SIZE    32 /* bytes */
#define PKCE_CHALLENGE_SIZE (BASE64URL_LENGTH(32) + 1)

/* A verifier: the random bytes as 64 hex digits. NULL: out of memory. */
struct secret *pkce_verifier(const uint8_t random[PKCE_RANDOM_SIZE]);

/* base64url(SHA-256(verifier)). 0 or -EIO. */
int pkce_challenge(const struct secret *verifier, char ret[PKCE_CHALLENGE_SIZE]);
