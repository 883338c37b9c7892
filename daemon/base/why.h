#pragma once
/*
 * The sentence that goes with an error
 *
 * A function that can fail for a reason a person can mend takes a struct why * last but for its
 * ret_* parameters, and fills it when it fails: what happened, to what, and what to do next. It holds no secret.
 */

#include <stdarg.h>
#include <stddef.h>

#define WHY_MAX 512

struct why {
        char text[WHY_MAX];
};

/* Formats the sentence (cut at WHY_MAX - 1 bytes; `why` may be NULL). Returns `r` for use in a return. */
int why_set(struct why *why, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Copies text from outside (a provider, a file) for use in messages: control characters become
 * '?', bytes that are not UTF-8 too, at most size - 1 bytes. Returns `ret`. */
char *why_clean(const char *text, size_t len, char *ret, size_t size);
