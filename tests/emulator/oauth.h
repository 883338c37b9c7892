#pragma once
/*
 * OAuth: Coze's endpoints, read as strictly as its documents allow
 *
 * Every deviation from the wire format is refused in Coze's words and recorded as a violation.
 * What only a person, an operator or time has decided (not yet, no, expired, revoked,
 * deactivated) is refused without one.
 *
 * Threading: any thread.
 * Sources:   coze-oauth.md sections 2.2, 3, 4, 5, 6, 7 and 12.
 */

#include "answer.h"
#include "authority.h"
#include "server.h"

void oauth_handle(struct authority *a, const struct request *rq, struct answer *ret);
