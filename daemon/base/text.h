#pragma once
/*
 * Small text functions that libc does not have
 *
 * Threading: pure functions, any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length (1 to 4) of the well-formed UTF-8 character at `p`, or 0. */
size_t text_utf8_length(const char *p, size_t len);

/* True if all `len` bytes are well-formed UTF-8 without control characters (NUL included). */
bool text_is_printable_utf8(const char *p, size_t len);

/* True for the name of a credential, provider or socket: 1 to 64 of [A-Za-z0-9._-], not led by '.' or '-'. */
bool text_is_name(const char *p);

/* True for a token as RFC 6750 section 2.1 allows it in a header, a little wider: 1 or more
 * printable ASCII characters without space, quote and backslash. */
bool text_is_bearer_token(const char *p, size_t len);

/* Parses a whole decimal int64 ("-5", "42"). 0, -EINVAL (not a number), -ERANGE. `ret` untouched on failure. */
int text_parse_int64(const char *p, int64_t *ret);

/* Parses a time span with a unit: "90s", "15min", "12h", "30d", also "ms" and "w", also sums ("1h 30min").
 * Result in microseconds. 0, -EINVAL (no number, no or unknown unit), -ERANGE. Source: systemd.time(7). */
int text_parse_span(const char *p, int64_t *ret_us);

/* Writes a span for people, rounded to two units: "3d 4h", "14min 59s", "0s". Returns `buf`. */
char *text_format_span(int64_t us, char *buf, size_t size);

/* Edit distance for "did you mean": how many letters to insert, delete, replace or swap; `limit` + 1 if above it. */
unsigned text_distance(const char *a, const char *b, unsigned limit);

/* Writes 2 * n hex digits and a NUL. */
void text_hex(const uint8_t *bytes, size_t n, char *ret);
