#pragma once
/*
 * Change: what has become of a credential, for whoever wants to hear of it
 *
 * The broker tells one listener of each change to the token that the configuration asks for, of a credential or of
 * one of its subjects; tokens of another lifetime or scope are the affair of who asked for them.
 *
 * Threading: loop thread only. The listener is called from within the broker: it may look at the change, and calls nothing
 * of the broker.
 */

#include <stdbool.h>
#include <stdint.h>

#include "broker/token.h"
#include "conf/conf.h"
#include "provider/dialect.h"

enum change_kind {
        CHANGE_TOKEN,                  /* there is a new token */
        CHANGE_AUTHORIZATION_REQUIRED, /* a person has to act before there is one again */
        CHANGE_FAILING,                /* no renewal for now, or for another reason than before */
        CHANGE_RECOVERED,              /* the end of that; comes after the token */
        CHANGE_KIND_MAX,
};
extern const char
        *const change_kind_names[CHANGE_KIND_MAX]; /* "token", ... : design.md section 4 */

struct change { /* all borrowed */
        enum change_kind kind;
        const struct conf_credential *credential;
        const char *subject;
        const struct token *token; /* token, recovered */

        /* authorization_required, failing */
        const char *reason;             /* what happened, and what to do next */
        bool on_purpose;                /* it was forgotten because somebody said so */
        bool refused;                   /* failing: it was the provider's clear word */
        const struct refusal *upstream; /* what the provider said, or NULL */
        int64_t retry_us;               /* failing: until the next try */
};

struct change_listener {
        void (*tell)(void *user, const struct change *change); /* NULL: nobody listens */
        void *user;
};

static inline void change_tell(const struct change_listener *l, const struct change *change) {
        if (l->tell)
                l->tell(l->user, change);
}
