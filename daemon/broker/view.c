#include "broker/state.h"

#include <string.h>

#include "base/err.h"

/*
 * What may be told of credentials and their subjects; never a secret
 */

const char *const credential_state_names[CREDENTIAL_STATE_MAX] = {
        "ready", "idle", "renewing", "authorization_required", "failing", "expired",
};

static void broker_view_token(const struct token *t, struct credential_view *v) {
        memcpy(v->fingerprint, t->fingerprint, sizeof(v->fingerprint));
        v->has_expires_at = !t->never_expires;
        v->expires_at = t->expires_at;
        v->has_renews_at = t->renews.us != INT64_MAX;
        /* as far before the shown end as the real one is: told twice, it is the same */
        v->renews_at = (wall_t){ t->expires_at.s - mono_until(t->renews, t->expires) / US_PER_S };
}

static const enum credential_state broker_states[ENTRY_STATE_MAX] = {
        [ENTRY_IDLE] = CREDENTIAL_IDLE,        [ENTRY_FETCHING] = CREDENTIAL_RENEWING,
        [ENTRY_READY] = CREDENTIAL_READY,      [ENTRY_RENEWING] = CREDENTIAL_RENEWING,
        [ENTRY_RETRYING] = CREDENTIAL_FAILING, [ENTRY_FAILING] = CREDENTIAL_FAILING,
};

/* A grant that cannot be used is no failure that a retry would help. One that waits for its turn
 * is on its way, unless the provider is down. */
static enum credential_state broker_entry_state(const struct entry *e) {
        if (e->turn.state == TURN_WAITS)
                return lane_opens(e->pool->lane).us == 0 ? CREDENTIAL_RENEWING : CREDENTIAL_FAILING;
        return e->state == ENTRY_FAILING && entry_refusal(e)->kind == REFUSAL_GRANT
                       ? CREDENTIAL_AUTHORIZATION_REQUIRED
                       : broker_states[e->state];
}

static void broker_view_survival(const struct token *t, mono_t now, struct credential_view *v) {
        v->has_survives = t || v->subjects == 0;
        v->survives_for_ever = t && t->never_expires;
        v->survives_us = t && !t->never_expires ? token_left(t, now) : 0;
}

static void broker_view_entries(const struct broker *b, const struct credential *c,
                                struct credential_view *v) {
        /* when the credential's own token is idle, what its subjects' tokens do, the worst first */
        static const enum entry_state order[] = { ENTRY_FAILING, ENTRY_RETRYING, ENTRY_FETCHING,
                                                  ENTRY_RENEWING, ENTRY_READY };
        char key[CACHE_KEY_SIZE];
        struct table_node *node = table_find(&b->entries,
                                             cache_key(c->pool.credential->name, "", "", key));
        struct entry *e = node ? table_entry(node, struct entry, node) : NULL;

        v->state = e ? broker_entry_state(e) : CREDENTIAL_IDLE;
        if (e && e->token)
                broker_view_token(e->token, v);
        for (size_t i = 0; v->state == CREDENTIAL_IDLE && i < N_ELEMENTS(order); i++)
                if (c->pool.count[order[i]] > 0)
                        v->state = broker_states[order[i]];
        v->subjects = c->pool.n_subjects;
        broker_view_survival(e ? e->token : NULL, clock_mono(b->parts.clock), v);
        if (c->pool.last_refusal.kind != REFUSAL_NONE) {
                v->last_error = &c->pool.last_refusal;
                v->last_error_at = c->pool.last_refusal_at;
        }
}

static void broker_view_grants(const struct broker *b, const struct conf_credential *c,
                               struct credential_view *v) {
        char key[CACHE_KEY_SIZE];
        const struct grant *g = grants_find(b->grants, cache_key(c->name, "", "", key));

        v->subjects = grants_count(b->grants, c) - (g ? 1 : 0);
        if (g) {
                v->has_grant_expires_at = true;
                v->grant_expires_at = g->expires_at;
        } else if (v->subjects == 0) {
                v->state = CREDENTIAL_AUTHORIZATION_REQUIRED;
        }
}

void broker_view(const struct broker *b, const struct conf_credential *conf,
                 struct credential_view *ret) {
        const struct credential *c = broker_credential(b, conf);
        const struct static_token *s = &c->static_token;
        struct credential_view v = { .credential = conf };

        if (credential_type_is_static(conf->type)) {
                v.state = s->token   ? CREDENTIAL_READY
                          : s->ended ? CREDENTIAL_EXPIRED
                                     : CREDENTIAL_AUTHORIZATION_REQUIRED;
                if (s->token) {
                        broker_view_token(s->token, &v);
                } else if (s->ended) {
                        v.has_expires_at = true;
                        v.expires_at = s->ended_at;
                }
                v.has_warning = static_token_warning(s, &v.warning);
                broker_view_survival(s->token, clock_mono(b->parts.clock), &v);
        } else {
                broker_view_entries(b, c, &v);
        }
        if (credential_type_is_interactive(conf->type))
                broker_view_grants(b, conf, &v);
        v.waiting = c->pool.n_waiting;
        v.outcomes = c->pool.outcomes;
        upstream_view(c->upstream, &v.provider);
        if (!v.last_error && !credential_type_is_static(conf->type) && v.provider.last_error &&
            v.state == CREDENTIAL_FAILING) {
                v.last_error = v.provider.last_error;
                v.last_error_at = v.provider.last_error_at;
        }
        *ret = v;
}

const struct latency *broker_latency(const struct broker *b, size_t index) {
        return upstream_latency(b->upstreams[index]);
}

struct broker_page_walk {
        const struct broker *broker;
        const struct conf_credential *credential;
        int (*row)(void *user, const struct grant_view *v);
        void *user;
};

static int broker_page_row(void *user, const struct record *metadata) {
        const struct broker_page_walk *walk = user;
        struct grant_view v = {
                .subject = metadata->subject,
                .state = CREDENTIAL_IDLE,
                .grant_expires_at = metadata->expires_at,
        };
        char key[CACHE_KEY_SIZE];
        struct table_node *node = table_find(
                &walk->broker->entries,
                cache_key(walk->credential->name, metadata->subject, "", key));
        const struct entry *e = node ? table_entry(node, struct entry, node) : NULL;

        if (e)
                v.state = broker_entry_state(e);
        if (e && e->token) {
                memcpy(v.fingerprint, e->token->fingerprint, sizeof(v.fingerprint));
                v.has_expires_at = true;
                v.expires_at = e->token->expires_at;
        }
        return walk->row(walk->user, &v);
}

int broker_page(const struct broker *b, const struct conf_credential *c, const char *after,
                size_t limit, int (*row)(void *user, const struct grant_view *v), void *user,
                struct why *why) {
        struct broker_page_walk walk = { b, c, row, user };
        struct store *store = b->parts.store;

        return store->page(store->self, c->name, after, limit, broker_page_row, &walk, why);
}

unsigned broker_changes(const struct broker *b) {
        return b->changes;
}

bool broker_is_fresh(const struct broker *b, const struct conf_credential *conf) {
        struct credential_view v;

        if (conf->keep_fresh != KEEP_FRESH_ALWAYS)
                return true;
        broker_view(b, conf, &v);
        return v.fingerprint[0] != '\0';
}
