#pragma once
/*
 * Reach: what is on the way to the providers
 *
 * Name, connection, TLS, answer and clock of each provider that a credential uses; for one with
 * interactive credentials, the host that people's browsers are sent to, too. Nothing is asked that
 * changes anything: a GET without a token, which every API refuses in its own words.
 *
 * Threading: blocks, for CHECK_PATIENCE_US and a little more.
 */

#include <stdio.h>

#include "base/clock.h"
#include "conf/conf.h"

#define CHECK_PATIENCE_US (5 * US_PER_S) /* for one answer; less if the provider's timeout is */
#define REACH_PATH        "/v1/users/me" /* the cheapest call of the API: coze-oauth.md section 7.2 */

struct reach {
        bool reached;   /* its API has answered, in JSON */
        int64_t skew_s; /* its clock minus ours, as far as it is known */
};

/* The time for one answer of this provider. */
int64_t reach_patience(const struct conf_provider *p);

/* Tells facts, and how it went for the conf->n_providers providers, in their order, in *ret (to be
 * freed). 0; -ENOMEM; as fact_tell(). */
int reach_providers(const struct conf *conf, const struct clock *clock, FILE *out,
                    struct reach **ret);
