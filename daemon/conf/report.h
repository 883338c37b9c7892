#pragma once
/*
 * The report: every mistake that was found, one line each
 *
 * Reading goes on after a mistake, so that all of them are told at once. A message names the place
 * and what is allowed; it never quotes a value that might be a secret in the wrong place.
 *
 * Errors: none are returned; `failed` says that there was a mistake, `oom` that memory ran out.
 */

#include <stdbool.h>

#include "conf/conf.h"

#define REPORT_MAX 100 /* lines; a file of another kind would give one for each of its lines */

struct section;
struct setting;

struct report {
        struct conf_report *out;
        bool failed;
        bool oom;
};

/* About a line of a file; `line` 0: about the file. */
void report_file(struct report *r, const char *file, int line, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* About a setting of a section; `setting` NULL: about the section as a whole. */
void report_error(struct report *r, const struct section *section, const struct setting *setting,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
void report_warning(struct report *r, const struct section *section, const struct setting *setting,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The same for a key, whether it is set or not. */
void report_key(struct report *r, bool is_error, const struct section *section, const char *key,
                const char *format, ...) __attribute__((format(printf, 5, 6)));
