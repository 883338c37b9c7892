#pragma once
/*
 * base64url without padding (RFC 7515 section 2)
 */

#include <stddef.h>

/* Characters that `n` bytes become. */
#define BASE64URL_LENGTH(n) (((n) *4 + 2) / 3)

/* Writes BASE64URL_LENGTH(len) characters and a NUL. */
void base64url(const void *bytes, size_t len, char *ret);
