#pragma once
/*
 * Members of a JSON object that somebody else has made
 *
 * Threading: as json-c; the objects are the caller's.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* Borrowed from `o`; NULL: absent, or not a text. */
const char *member_text(struct json_object *o, const char *key);

bool member_is(struct json_object *o, const char *key, const char *value);

/* False: absent, or not a whole number; *ret is untouched. */
bool member_get_number(struct json_object *o, const char *key, int64_t *ret);

/* The same for what cannot be negative. -1: absent, or not a number. */
int64_t member_number(struct json_object *o, const char *key);

/* The array, borrowed; NULL: absent, or none. */
struct json_object *member_array(struct json_object *o, const char *key);

/* False: absent, too. */
bool member_is_true(struct json_object *o, const char *key);
