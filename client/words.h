#pragma once
/*
 * Words that people type, and words they read
 *
 * Options and operands of bearerctl in, spans and clean text out. The daemon has its own in
 * base/text.h: a client stands on libc and protocol.h alone.
 *
 * Threading: pure functions, but for the time zone that words_parse_date() reads.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORDS_SPAN_SIZE 64

/* A span with a unit ("90s", "15min", "1h 30min", "250ms"), in seconds, rounded up.
 * 0; -EINVAL: no number, no or unknown unit; -ERANGE. *ret_s is untouched on failure. */
int words_parse_span(const char *text, int64_t *ret_s);

/* An instant: UNIX seconds, or "2027-01-31", optionally with "T" or a blank and "23:59" or
 * "23:59:59", and "Z" or "+08:00" behind it; without a zone it is local time, a day alone its
 * beginning. 0; -EINVAL: no such date; -ERANGE. *ret is untouched on failure. */
int words_parse_date(const char *text, int64_t *ret);

/* True for a token that can stand in an Authorization header (RFC 6750 section 2.1, a little
 * wider): printable ASCII without blank, quote and backslash. */
bool words_is_token(const char *text, size_t len);

/* True for the fingerprint of a token: 16 hex digits, lower case. */
bool words_is_fingerprint(const char *text);

/* "3d 4h", "14min 59s", "0s": rounded down to two units. For people, in their language. Returns `ret`. */
char *words_span(int64_t s, char ret[WORDS_SPAN_SIZE]);

/* The same as words_parse_span() takes it, whatever the language. Returns `ret`. */
char *words_span_typed(int64_t s, char ret[WORDS_SPAN_SIZE]);

/* "in 3d 4h", "2d ago", "now". For people. Returns `ret`. */
char *words_when(int64_t instant, int64_t now, char ret[WORDS_SPAN_SIZE]);

/* Copies text from outside for a terminal: control characters become blanks, also those that turn the
 * direction of writing (UAX 9) or end a line; at most size - 1 bytes. Returns `ret`. */
char *words_clean(const char *text, char *ret, size_t size);

/* `text` as one word of a POSIX shell, quoted only if it must be. NULL: out of memory. The caller
 * wipes and frees it. */
char *words_quote(const char *text);

/* How many letters to insert, delete, replace or swap to make `b` of `a`; for "did you mean". */
unsigned words_distance(const char *a, const char *b);
