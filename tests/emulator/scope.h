#pragma once
/*
 * Scope: the JSON object that limits a JWT application's token
 *
 * Threading: pure functions.
 * Sources:   coze-oauth.md section 4.1.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether it has the documented shape and says something; else `why` says what is wrong. */
bool scope_check(struct json_object *scope, char *why, size_t size);
