#pragma once
/*
 * Eligibility: which editions and roles Coze lets have which kind of credential
 *
 * Threading: pure function.
 * Sources:   coze-oauth.md section 2.1.
 */

#include <stdbool.h>

#include "conf/conf.h"

/* Refuses only what no value of an unset plan or role could make right; a role implies an
 * enterprise unless the plan says otherwise. `application` counts for jwt, `collaboration` for
 * the interactive types. 0, or -EPERM with a sentence that names the row and who is allowed. */
int eligibility_check(enum credential_type type, enum application application, bool collaboration,
                      enum plan plan, enum role role, struct why *why);
