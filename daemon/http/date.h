#pragma once
/*
 * HTTP's dates
 *
 * The form of today (IMF-fixdate) and the two obsolete ones that a recipient must still accept.
 *
 * Threading: pure function, any thread.
 * Sources:   RFC 9110 section 5.6.7.
 */

#include <stddef.h>

#include "base/clock.h"

/* Parses a whole date: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT" (a
 * year below 70 is of this century) or "Sun Nov  6 08:49:37 1994". The name of the day is
 * read, not checked. 0 or -EINVAL; `ret` untouched on failure. */
int date_parse(const char *text, wall_t *ret);
