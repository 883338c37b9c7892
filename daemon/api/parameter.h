#pragma once
/*
 * Parameters: what callers may write into a query or a body, and what is wrong with it
 *
 * Threading: pure functions.
 */

#include <stddef.h>
#include <stdint.h>

/* NULL if it is good; else what is wrong, to be put behind the parameter's name. */
const char *parameter_check_subject(const char *value, size_t len);

/* A whole number of seconds from 0 to `max_s`, in microseconds. NULL, or what is wrong (`ret_us` is untouched then). */
const char *parameter_parse_seconds(const char *value, size_t len, int64_t max_s, int64_t *ret_us);

/* The same for a plain number. */
const char *parameter_parse_number(const char *value, size_t len, int64_t min, int64_t max,
                                   int64_t *ret);
