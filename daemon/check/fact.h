#pragma once
/*
 * Fact: one thing that was found, as a line of JSON
 *
 *     {"check":"clock","result":"warn","provider":"coze.cn","skew_s":-320}
 *
 * `check` is what was looked at, `result` how it is, and the other members are what there is to know; a
 * problem has a word in `problem`. What it means to a person, and what to do about it, is said by who
 * reads it: bearerctl, in the person's language.
 *
 * Errors: what there was no memory for is noted; fact_tell() returns it.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum fact_result {
        FACT_OK,
        FACT_WARN, /* works, or may work, and deserves a look */
        FACT_FAIL,
        FACT_SKIP, /* could not be looked at from here */
        FACT_RESULT_MAX,
};
extern const char *const fact_result_names[FACT_RESULT_MAX];

struct fact {
        struct json_object *o;
        bool oom;
};

void fact_begin(struct fact *f, const char *check, enum fact_result result);
void fact_text(struct fact *f, const char *key, const char *value); /* NULL and "": left out */
void fact_number(struct fact *f, const char *key, int64_t value);
void fact_true(struct fact *f, const char *key, bool value); /* false: left out */

/* Writes the line, at once, and releases the fact. 0; -ENOMEM; -EPIPE, -ENOSPC ...: `out` took it not. */
int fact_tell(struct fact *f, FILE *out);
