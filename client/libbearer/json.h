#pragma once
/*
 * As much of JSON as a client needs on libc alone: one text of an object, and whether a text is an
 * object at all
 *
 * Threading: pure functions.
 * Sources:   RFC 8259.
 */

#include <stdbool.h>
#include <stddef.h>

#define JSON_DEPTH_MAX 32

/* True if the text is one JSON object and nothing else. */
bool json_is_object(const char *text);

/* Copies the text member `key` of the object, decoded, and cut to `size` - 1 bytes. False: there is
 * none, or the object is broken before it; *ret is "" then. */
bool json_member(const char *object, const char *key, char *ret, size_t size);

/* Writes `text` quoted, at most 6 bytes for each of it and 3 more. Returns the end, a NUL. */
char *json_quote(const char *text, char *ret);
