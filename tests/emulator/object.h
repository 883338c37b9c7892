#pragma once
/*
 * JSON objects, read strictly
 *
 * What a lenient parser would let pass is refused: text after the object, comments, single
 * quotes, invalid UTF-8, strings with a NUL, numbers with a fraction where an integer is due.
 *
 * Threading: pure functions.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The object that `text` is, or NULL if it is anything else. The caller owns it. */
struct json_object *object_parse(const char *text, size_t size);

/* The first member whose name is not in the NULL-terminated list, or NULL. Borrowed from the
 * object. */
const char *object_unknown(struct json_object *object, const char *const *allowed);

/* The first member that is null, or NULL. */
const char *object_null(struct json_object *object);

/* The non-empty string under that name, or NULL. Borrowed from the object. */
const char *object_string(struct json_object *object, const char *name);

/* The same of a value: an element of an array. */
const char *object_text(struct json_object *value);

/* The integer under that name; false and *ret untouched if there is none. */
bool object_integer(struct json_object *object, const char *name, int64_t *ret);

/* Adds a string, an integer. The object takes its own copy. */
void object_add_string(struct json_object *object, const char *name, const char *value);
void object_add_integer(struct json_object *object, const char *name, int64_t value);
