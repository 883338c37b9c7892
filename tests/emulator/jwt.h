#pragma once
/*
 * JWT: checks an assertion as the strictest reading of Coze's documents would
 *
 * RS256 with a registered key, exactly the documented header and claims, times that make sense,
 * and a jti never seen before.
 *
 * Threading: any thread.
 * Sources:   coze-oauth.md section 4; RFC 7515 section 5.2; RFC 7523 section 3.
 */

#include <json-c/json.h>
#include <stdbool.h>

#include "authority.h"

#define JWT_WHY_MAX 160

struct jwt {
        struct json_object *header, *claims; /* NULL when it did not come that far */
        const struct application *app;
};

/* Whether the authority accepts the JWT; else `why` says what is wrong. *ret is filled as far
 * as it could be read; release it with jwt_done() in both cases. */
bool jwt_accept(struct authority *a, const char *text, struct jwt *ret, char why[JWT_WHY_MAX]);

void jwt_done(struct jwt *jwt);
