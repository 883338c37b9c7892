#pragma once
/*
 * The scope object of a jwt application: coze-oauth.md section 4.1
 *
 * A JSON object, not RFC 6749's list of words. Compared as sets: one scope lies within another when every list
 * of it does. Threading: pure functions.
 */

#include <json-c/json.h>

#include "base/why.h"
#include "conf/conf.h"

/* Makes the scope of a credential's permissions and id lists. *ret is NULL when there are none; else canonical
 * JSON the caller frees. 0 or -ENOMEM. */
int scope_build(const struct conf_list *permissions, const struct conf_list *bot_ids,
                const struct conf_list *workspace_ids, const struct conf_list *workflow_ids,
                char **ret);

/* Checks a requested scope object and makes it canonical. `configured` is canonical JSON or NULL (anything goes).
 * 0; -EINVAL: not a scope object; -EPERM: wider than the configured one; each with a sentence; -ENOMEM. */
int scope_narrow(const char *configured, struct json_object *requested, struct why *why,
                 char **ret);
