#pragma once
/*
 * What a broker is made of: for broker.c, which changes it, and view.c, which looks
 *
 * Threading: loop thread only.
 */

#include <assert.h>

#include "broker/broker.h"
#include "broker/entry.h"
#include "broker/grant.h"
#include "broker/static_token.h"

struct credential { /* what a struct conf_credential becomes at run time */
        struct broker *broker;
        struct upstream *upstream;
        struct lane lane;                 /* at its provider; not for static types */
        struct entry_pool pool;           /* jwt */
        struct static_token static_token; /* pat, sat */
};

struct broker {
        struct broker_parts parts;
        struct upstream **upstreams;    /* as conf->providers */
        struct credential *credentials; /* as conf->credentials */
        struct table entries;           /* struct entry by key */
        struct grants *grants;
        struct authorizations *authorizations;
        bool stopped;
        void (*quiet)(void *user);
        void *quiet_user;
};

static inline struct credential *broker_credential(const struct broker *b,
                                                   const struct conf_credential *c) {
        assert(c->index < b->parts.conf->n_credentials &&
               b->parts.conf->credentials[c->index] == c);
        return &b->credentials[c->index];
}
