#pragma once
/*
 * Static token: a personal or service access token
 *
 * Made by a person in Coze's console and never renewed by us: it comes from token_file or from the operator at run time,
 * is handed out until it ends, and we say in good time that it will. A 30-day token that nobody renewed is the
 * commonest cause of outages, so the warning comes at warn_before, and again at a day and at an hour.
 *
 * Threading: loop thread only.
 * Sources:   coze-oauth.md section 2.3.
 */

#include "broker/ask.h"
#include "broker/cache.h"
#include "broker/change.h"
#include "conf/conf.h"

struct static_token {
        const struct conf_credential *credential;
        struct cache *cache;
        struct timers *timers;
        const struct clock *clock;
        const struct change_listener *listener;
        unsigned *changes;   /* counts what may show in its state; may be NULL */
        struct token *token; /* NULL: none yet, or it ended */
        bool ended;          /* there was one, and it ran out */
        wall_t ended_at;
        struct timer timer; /* the next warning, or its end */
};

int static_token_init(struct static_token *s, const struct conf_credential *c, struct cache *cache,
                      struct timers *timers, const struct clock *clock,
                      const struct change_listener *listener); /* 0 or -ENOMEM */
void static_token_done(struct static_token *s);

/* Puts this token in the place of the last one; a reference to `value` is taken. `expires_at` may be WALL_NEVER, or
 * past: the token has ended then. 0 or -ENOMEM (nothing has changed). */
int static_token_set(struct static_token *s, struct secret *value, wall_t expires_at);

/* The same credential in another configuration; broker_begin() sets its token. */
void static_token_adopt(struct static_token *s, const struct conf_credential *c);

void static_token_clear(struct static_token *s);  /* it has none; nobody is told */
void static_token_forget(struct static_token *s); /* as if there had never been one */

/* Is there one that fits? */
bool static_token_serves(const struct static_token *s, const struct ask *ask);
void static_token_ask(struct static_token *s, struct ask *ask); /* answers at once */

/* Writes a sentence if it ends within warn_before or has ended. True if there is one. */
bool static_token_warning(const struct static_token *s, struct why *ret);
