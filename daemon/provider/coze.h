#pragma once
/*
 * Inside the Coze dialect: what its files share
 *
 * coze.c makes requests, coze_answer.c understands answers, coze_refusal.c says what a refusal
 * means.
 */

#include <json-c/json.h>

#include "provider/dialect.h"

/* The URL an exchange is sent to; the caller frees *ret. 0 or -ENOMEM. */
int coze_url(const struct exchange *x, char **ret);

/* The dialect's decode(). */
int coze_decode(const struct exchange *x, const struct http_response *resp, wall_t sent,
                wall_t received, struct exchange_result *ret);

/* What a provider's answer says has failed (coze-oauth.md section 6). */
struct coze_error {
        const char *name; /* first non-empty text of error_code, error; or NULL */
        const char *text; /* the same of error_message, error_description, msg; or NULL */
        int64_t number;   /* of code, or of error_code when that is a number; 0: none */
        bool any;         /* some error field is set */
};

/* Kind and advice of a refusal whose status and texts are known; `error` is NULL for an answer
 * that is no JSON object. */
void coze_classify(const struct exchange *x, const struct http_response *resp,
                   const struct coze_error *error, struct refusal *refusal);
