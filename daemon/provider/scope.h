#pragma once
/*
 * The scope object of a jwt application: coze-oauth.md section 4.1
 *
 * A JSON object, not RFC 6749's list of words. Compared as sets: one scope lies within another
 * when every list of it does, and when it keeps the other's attribute_constraint, which takes
 * away where the other parts give.
 *
 * Threading: pure functions.
 */

#include <json-c/json.h>

#include "base/why.h"
#include "conf/conf.h"

/* Makes the scope of a credential's permissions and id lists. *ret is NULL when there are
 * none; else canonical JSON the caller frees. The permissions are those of the account and of
 * each workspace and workflow named; ids without permissions stand for Connector.botChat, as
 * in Coze's SDKs. 0 or -ENOMEM. */
int scope_build(const struct conf_list *permissions, const struct conf_list *bot_ids,
                const struct conf_list *workspace_ids, const struct conf_list *workflow_ids,
                char **ret);

/* Checks a requested scope object and makes it canonical (members and lists sorted, nothing
 * twice). `configured` is canonical JSON or NULL (anything goes). account_permission is
 * required and no list may be empty: either may mean "everything" to Coze. 0; -EINVAL: not a
 * scope object; -EPERM: wider than the configured one; each with a sentence; -ENOMEM. */
int scope_narrow(const char *configured, struct json_object *requested, struct why *why,
                 char **ret);
