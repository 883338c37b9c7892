#pragma once
/*
 * Diagnosis: what a fact means, and what to do about it
 *
 * bearerd --diagnose finds out what is so (daemon/check/fact.h) and judges nothing; here it becomes a
 * sentence and a list of causes, the likeliest first, each with what to do. Two tables say all of it: the
 * first row that fits a fact is its sentence, and every row that fits is a cause, in the order of the
 * table. What was found out about one cause (the key works in the other region) rules others out.
 *
 * Threading: as message.h.
 * Sources:   what users struggle with: coze-oauth.md sections 7 and 14.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define DIAGNOSIS_TEXT_SIZE  1536
#define DIAGNOSIS_CAUSES_MAX 8

enum diagnosis_result {
        DIAGNOSIS_OK,
        DIAGNOSIS_SKIP, /* could not be looked at from here */
        DIAGNOSIS_WARN,
        DIAGNOSIS_FAIL,
        DIAGNOSIS_RESULT_MAX,
};

struct diagnosis_cause {
        const char *id; /* for programs: never changes */
        char advice[DIAGNOSIS_TEXT_SIZE];
};

struct diagnosis {
        enum diagnosis_result result;
        bool upstream;     /* a failure that lies beyond the configuration */
        const char *title; /* what was looked at; valid as long as the fact */
        char found[DIAGNOSIS_TEXT_SIZE];
        struct diagnosis_cause causes[DIAGNOSIS_CAUSES_MAX];
        size_t n_causes;
};

/* Texts of the fact are fit for a terminal in *ret. False: it is no fact; *ret is untouched. */
bool diagnosis_make(struct json_object *fact, struct diagnosis *ret);
