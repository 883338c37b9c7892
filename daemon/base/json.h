#pragma once
/*
 * JSON, strictly
 *
 * A thin layer on json-c: the whole text must be one object or array, in UTF-8, without two members of one name, trailing bytes,
 * comments or NaN, at most JSON_DEPTH_MAX levels deep. Values that may hold a secret are released with
 * json_wipe(), which overwrites every string first.
 */

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/secret.h"

#define JSON_DEPTH_MAX 16

/* 0; -EBADMSG (not such a text); -ENOMEM. The caller owns *ret: json_wipe() or json_object_put(). */
int json_parse(const char *text, size_t len, struct json_object **ret);

/* Overwrites all strings of `o` and below, then drops the reference (it must be the only one). Returns NULL. */
struct json_object *json_wipe(struct json_object *o);
AUTO_DEFINE(struct json_object, json_wipe)

/* The member's text, or NULL when it is absent, not a string or holds a NUL. Valid as long as `o`. */
const char *json_get_text(struct json_object *o, const char *key);

/* 0 and the number; -ENOENT absent or null; -ERANGE beyond int64_t; -EINVAL not an integer (a string of digits counts as one when
 * `lenient`). `ret` untouched on failure. */
int json_get_int64(struct json_object *o, const char *key, int lenient, int64_t *ret);

/* Canonical form: members sorted by name at every level, no white space. For cache keys. The caller
 * frees *ret. 0 or -ENOMEM. */
int json_canonical(struct json_object *o, char **ret);

/* The text of `o` (plain, no slash escapes) as a secret; -ENOMEM. The copy inside json-c is overwritten. */
int json_to_secret(struct json_object *o, struct secret **ret);
