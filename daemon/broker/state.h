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
        struct lane lane;         /* at its provider; not for static types */
        bool stays;               /* while the configuration changes: it has a successor */
        struct conf *conf;        /* of one that is not configured any more; a reference */
        struct list_link link;    /* among those */
        struct list_link leaving; /* struct entry of those, until what is under way is home */
        struct entry_pool pool;   /* jwt */
        struct static_token static_token; /* pat, sat */
        mono_t told;                      /* that its fallback stands in */
};

struct broker {
        struct broker_parts parts;
        struct upstream **upstreams;     /* as conf->providers */
        struct credential **credentials; /* as conf->credentials; each stays where it is */
        struct table entries;            /* struct entry by key */
        struct waiting waiting;          /* callers, in entries of all credentials */
        struct list_link leaving;        /* struct credential that are not configured any more */
        struct grants *grants;
        struct authorizations *authorizations;
        unsigned changes; /* of what may show in a state */
        bool stopped;
        void (*quiet)(void *user);
        void *quiet_user;
};

static inline struct credential *broker_credential(const struct broker *b,
                                                   const struct conf_credential *c) {
        assert(c->index < b->parts.conf->n_credentials &&
               b->parts.conf->credentials[c->index] == c);
        return b->credentials[c->index];
}

/* For adopt.c, which does for one credential what a start does for all. */
int broker_make_credential(struct broker *b, const struct conf_credential *conf, struct upstream *u,
                           struct credential **ret); /* 0, -ENOMEM */
struct credential *broker_free_credential(struct credential *c);
int broker_begin(struct broker *b, const struct conf_credential *c, struct why *why);
