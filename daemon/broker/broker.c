#include "broker/broker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "broker/state.h"

#define BROKER_TOLD_US US_PER_MIN /* a fallback that serves many is told of this often */

static const struct variant broker_plain; /* nothing but what the configuration says */

static void broker_pass_on(struct broker *b, struct ask *ask);

static void broker_discard(struct entry_pool *pool, struct entry *e) {
        struct credential *c = list_entry(pool, struct credential, pool);

        table_remove(&c->broker->entries, &e->node);
        entry_free(e);
}

static int broker_fall_back(struct entry_pool *pool, struct ask *ask) {
        struct credential *c = list_entry(pool, struct credential, pool);
        const struct conf_credential *fallback = c->pool.credential->fallback;
        mono_t now = clock_mono(c->broker->parts.clock);

        if (*ask->subject && !fallback->subjects)
                return RAISE(-EOPNOTSUPP);
        if (!mono_before(now, c->told)) {
                log_warning("credential=%s event=fallback fallback=%s", ask->credential->name,
                            fallback->name);
                c->told = mono_add(now, BROKER_TOLD_US);
        }
        ask->credential = fallback;
        ask->variant =
                &broker_plain; /* another application: nothing but its own configuration fits */
        broker_pass_on(c->broker,
                       ask); /* who has waited for the one need not wait as long for the other */
        return 0;
}

/* --- jwt: a token for an assertion --- */

static void broker_assertion_done(void *user, struct exchange_result *result) {
        struct entry *e = user;

        e->obtain = NULL;
        entry_obtained(e, result);
}

static int broker_assert(struct entry_pool *pool, struct entry *e, struct refusal *refusal) {
        struct credential *c = list_entry(pool, struct credential, pool);
        const struct conf_credential *conf = pool->credential;
        const struct variant *v = &e->variant;
        const struct exchange x = {
                .kind = EXCHANGE_JWT_BEARER,
                .credential = conf,
                .duration_s = v->duration_s ? v->duration_s : conf->token_lifetime_us / US_PER_S,
                .session_name = *e->subject ? e->subject : conf->session_name,
                .session_context = v->session_context ? v->session_context : conf->session_context,
                .scope = v->scope ? v->scope : conf->scope,
        };
        struct upstream_call *call;
        int r;

        (void) refusal; /* the errno says all */
        r = upstream_begin(c->upstream, &e->turn, &x, broker_assertion_done, e, &call);
        if (r < 0)
                return PASS(r);
        e->obtain = call;
        return 0;
}

static void broker_abandon_assertion(struct entry_pool *pool, struct entry *e) {
        (void) pool;
        e->obtain = upstream_cancel(e->obtain);
}

/* --- interactive types: a token for a refresh token --- */

static void broker_is_quiet(void *user) {
        struct broker *b = user;
        void (*quiet)(void *quiet_user) = b->quiet;

        if (!quiet || grants_busy(b->grants) > 0)
                return;
        b->quiet = NULL;
        quiet(b->quiet_user);
}

static void broker_forgotten(void *user, int r) {
        (void) user;
        if (r < 0)
                log_error("event=not_forgotten error=\"%s\"", strerror(-r));
}

/* The provider has refused the grant clearly: it is over. */
static void broker_end_grant(struct broker *b, struct grant *g, const struct refusal *f) {
        char message[REFUSAL_MESSAGE_MAX];

        log_error(
                "credential=%s event=authorization_required status=%d error=%s message=%s logid=%s",
                g->credential->name, f->http_status, f->code[0] ? f->code : "-",
                log_quote(f->message, message, sizeof(message)), f->logid[0] ? f->logid : "-");
        if (grant_forget(g, broker_forgotten, b) < 0)
                log_error("credential=%s event=not_forgotten error=\"out of memory\"",
                          g->credential->name);
}

/* What was under way for a credential that is not configured any more is home; it goes with the last one. */
static bool broker_leave(struct entry *e) {
        struct credential *c = list_entry(e->pool, struct credential, pool);

        if (!c->conf)
                return false;
        e->obtaining = false;
        entry_free(e);
        if (list_is_empty(&c->leaving))
                broker_free_credential(c);
        return true;
}

static void broker_refreshed(void *user, struct exchange_result *result) {
        struct entry *e = user;
        struct broker *b = list_entry(e->pool, struct credential, pool)->broker;

        if (result->refusal.kind == REFUSAL_GRANT) {
                broker_end_grant(b, grants_find(b->grants, e->key), &result->refusal);
                e->outdated = false; /* whatever has changed meanwhile: there is no other try */
        }
        if (broker_leave(e))
                return;
        entry_obtained(e, result);
        if (grants_find(b->grants, e->key))
                return;
        entry_dismiss(e, ANSWER_AUTHORIZATION_REQUIRED,
                      "the grant has ended while this call waited: see bearerctl login");
        broker_discard(e->pool, e); /* and with it the token */
}

static int broker_refresh(struct entry_pool *pool, struct entry *e, struct refusal *refusal) {
        struct credential *c = list_entry(pool, struct credential, pool);
        struct grant *g = grants_find(c->broker->grants, e->key);
        struct why why = { "" };
        int r;

        if (!g) { /* it has ended in what was begun before the credential was away for a while */
                refusal->kind = REFUSAL_GRANT;
                (void) snprintf(refusal->message, sizeof(refusal->message), "it has ended");
                return RAISE(-ENOENT);
        }
        if (g->rotation)
                return RAISE(-EBUSY); /* begun before the credential was away for a while */
        r = grant_refresh(g, c->upstream, &e->turn, broker_refreshed, e, &why);
        if (r == -EBADMSG)
                refusal->kind = REFUSAL_GRANT; /* only a new authorization helps, or a backup */
        if (r < 0)
                (void) why_clean(why.text, strlen(why.text), refusal->message,
                                 sizeof(refusal->message));
        return PASS(r);
}

/* --- credentials --- */

static struct upstream *broker_find_upstream(const struct broker *b,
                                             const struct conf_provider *provider) {
        for (size_t i = 0; i < b->parts.conf->n_providers; i++)
                if (b->parts.conf->providers[i] == provider)
                        return b->upstreams[i];
        assert(!"a credential's provider is one of the configuration's");
        return NULL;
}

void broker_view_provider(const struct broker *b, const struct conf_provider *provider,
                          struct upstream_view *ret) {
        upstream_view(broker_find_upstream(b, provider), ret);
}

int broker_make_credential(struct broker *b, const struct conf_credential *conf, struct upstream *u,
                           struct credential **ret) {
        struct credential *c = calloc(1, sizeof(*c));
        const struct broker_parts *p = &b->parts;
        int r = 0;

        if (!c)
                return RAISE(-ENOMEM);
        c->broker = b;
        c->upstream = u;
        c->pool = (struct entry_pool){
                .credential = conf,
                .cache = p->cache,
                .timers = p->timers,
                .clock = p->clock,
                .random = p->random,
                .listener = &b->parts.listener,
                .lane = &c->lane,
                .upstream = u,
                .changes = &b->changes,
                .waiting = &b->waiting,
                .obtain = credential_type_is_interactive(conf->type) ? broker_refresh
                                                                     : broker_assert,
                .abandon = credential_type_is_interactive(conf->type) ? NULL /* grants do */
                                                                      : broker_abandon_assertion,
                .fall_back = broker_fall_back,
                .discard = broker_discard,
        };
        if (credential_type_is_static(conf->type))
                r = static_token_init(&c->static_token, conf, p->cache, p->timers, p->clock,
                                      &p->listener);
        else
                r = lane_init(&c->lane, upstream_queue(u), conf->type == CREDENTIAL_JWT);
        if (r < 0) {
                free(c);
                return PASS(r);
        }
        (void) upstream_ref(u);
        list_init(&c->link);
        list_init(&c->leaving);
        c->static_token.changes = &b->changes;
        *ret = c;
        return 0;
}

struct credential *broker_free_credential(struct credential *c) {
        if (!c)
                return NULL;
        static_token_done(&c->static_token);
        lane_done(&c->lane);
        upstream_free(c->upstream);
        conf_free(c->conf);
        list_remove(&c->link);
        free(c);
        return NULL;
}

static int broker_find_entry(struct broker *b, struct credential *c, const char *subject,
                             const struct variant *variant, struct entry **ret) {
        char key[CACHE_KEY_SIZE];
        struct table_node *node;
        struct entry *e;
        int r;

        (void) cache_key(c->pool.credential->name, subject, variant->digest, key);
        node = table_find(&b->entries, key);
        if (node) {
                *ret = table_entry(node, struct entry, node);
                return 0;
        }
        r = entry_new(&c->pool, key, subject, variant, &e);
        if (r < 0)
                return PASS(r);
        table_insert(&b->entries, &e->node);
        *ret = e;
        return 0;
}

/* A refresh token that nobody uses would end: use it in time. */
static void broker_grant_due(void *user, struct grant *g, int64_t in_us) {
        struct broker *b = user;
        struct entry *e;

        if (b->stopped || g->rotation)
                return;
        if (broker_find_entry(b, broker_credential(b, g->credential), g->subject, &broker_plain,
                              &e) == 0)
                entry_want(e, in_us);
}

static struct upstream *broker_upstream(void *user, const struct conf_credential *c,
                                        struct lane **ret_lane) {
        *ret_lane = &broker_credential(user, c)->lane;
        return broker_credential(user, c)->upstream;
}

static void broker_grant_stored(void *user, struct exchange_result *result) {
        struct entry *e = user;
        struct broker *b = list_entry(e->pool, struct credential, pool)->broker;

        if (broker_leave(e))
                return;
        entry_obtained(e, result);
        authorizations_stored(b->authorizations, e->pool->credential, e->subject);
}

static int broker_granted(void *user, struct authorization *a, struct exchange_result *result) {
        struct broker *b = user;
        struct entry *e;
        int r;

        r = broker_find_entry(b, broker_credential(b, a->credential), a->subject, &broker_plain,
                              &e);
        if (r == 0)
                r = grants_set(b->grants, a->credential, a->subject, result, broker_grant_stored,
                               e);
        if (r == 0)
                entry_expect(e);
        return PASS(r);
}

static void broker_authorizations_changed(void *user, const struct conf_credential *c) {
        struct broker *b = user;

        if (b->parts.pending)
                b->parts.pending(b->parts.pending_user, c,
                                 authorizations_pending(b->authorizations, c));
}

static int broker_new_books(struct broker *b) {
        const struct broker_parts *p = &b->parts;
        const struct grants_parts grants = { p->store,         p->timers,       p->clock, p->random,
                                             broker_grant_due, broker_is_quiet, b };
        const struct authorizations_parts authorizations = {
                p->conf->authorizations_per_user,
                p->timers,
                p->clock,
                p->random,
                broker_upstream,
                broker_granted,
                broker_authorizations_changed,
                b,
        };
        int r;

        r = grants_new(&grants, &b->grants);
        return r < 0 ? PASS(r) : authorizations_new(&authorizations, &b->authorizations);
}

int broker_new(const struct broker_parts *parts, struct broker **ret) {
        struct broker *b = calloc(1, sizeof(*b));
        const struct conf *conf = parts->conf;
        int r = 0;

        if (!b)
                return RAISE(-ENOMEM);
        b->parts = *parts;
        list_init(&b->leaving);
        b->upstreams = calloc(conf->n_providers + 1, sizeof(struct upstream *));
        b->credentials = calloc(conf->n_credentials + 1, sizeof(struct credential *));
        if (!b->upstreams || !b->credentials)
                r = RAISE(-ENOMEM);
        if (r == 0)
                r = table_init(&b->entries, parts->random);
        if (r == 0)
                r = waiting_init(
                        &b->waiting, WAITING_MAX,
                        &random_system); /* its order shows nowhere, so that replays stay exact */
        if (r == 0)
                r = broker_new_books(b);
        for (size_t i = 0; r == 0 && i < conf->n_providers; i++)
                r = upstream_new(conf->providers[i], parts->transport, parts->clock, parts->random,
                                 parts->timers, &b->upstreams[i]);
        for (size_t i = 0; r == 0 && i < conf->n_credentials; i++)
                r = broker_make_credential(b, conf->credentials[i],
                                           broker_find_upstream(b, conf->credentials[i]->provider),
                                           &b->credentials[i]);
        if (r < 0) {
                broker_free(b);
                return PASS(r);
        }
        *ret = b;
        return 0;
}

/* --- asking --- */

static void broker_answer(struct ask *ask, struct answer *a) {
        a->retry_after_us = -1;
        ask->entry = NULL;
        ask->answer(ask, a);
}

static bool broker_has_grant(const struct broker *b, const struct conf_credential *c,
                             const char *subject) {
        char key[CACHE_KEY_SIZE];

        return grants_find(b->grants, cache_key(c->name, subject, "", key)) != NULL;
}

static void broker_answer_unauthorized(struct ask *ask) {
        struct answer a = { .kind = ANSWER_AUTHORIZATION_REQUIRED };
        const char *name = ask->credential->name;

        if (*ask->subject)
                (void) why_set(
                        &a.why, 0,
                        "subject \"%s\" has not authorized credential \"%s\": bearerctl login %s --subject '%s'",
                        ask->subject, name, name, ask->subject);
        else
                (void) why_set(&a.why, 0,
                               "nobody has authorized credential \"%s\": bearerctl login %s", name,
                               name);
        broker_answer(ask, &a);
}

/* Callers name subjects and variants as they like; each costs memory until its token has ended. */
static bool broker_has_room(const struct broker *b, const struct credential *c,
                            const struct ask *ask) {
        char key[CACHE_KEY_SIZE];
        size_t n = 0;

        if (c->pool.credential->type != CREDENTIAL_JWT)
                return true; /* the grants are the limit */
        for (size_t i = 0; i < ENTRY_STATE_MAX; i++)
                n += c->pool.count[i];
        return n < ENTRIES_MAX ||
               table_find(&b->entries, cache_key(c->pool.credential->name, ask->subject,
                                                 ask->variant->digest, key));
}

static void broker_answer_crowded(struct ask *ask) {
        struct answer a = { .kind = ANSWER_SLOW_DOWN, .retry_after_us = US_PER_MIN };

        (void) why_set(&a.why, 0,
                       "credential \"%s\" has %d tokens for subjects, scopes and contexts already: "
                       "ask again when some of them have ended, or use fewer",
                       ask->credential->name, ENTRIES_MAX);
        ask->entry = NULL;
        ask->answer(ask, &a);
}

static void broker_ask_static(struct credential *c, struct ask *ask) {
        if (static_token_serves(&c->static_token, ask) || !ask->credential->fallback ||
            broker_fall_back(&c->pool, ask) < 0)
                static_token_ask(&c->static_token, ask);
}

static void broker_pass_on(struct broker *b, struct ask *ask) {
        struct credential *c = broker_credential(b, ask->credential);
        const struct conf_credential *conf = ask->credential;
        struct answer a = { 0 };
        struct entry *e;

        if (b->stopped) {
                a.kind = ANSWER_UNAVAILABLE;
                (void) why_set(&a.why, 0, "bearerd is stopping; ask for \"%s\" again", conf->name);
                broker_answer(ask, &a);
        } else if (credential_type_is_static(conf->type)) {
                broker_ask_static(c, ask);
        } else if (credential_type_is_interactive(conf->type) &&
                   !broker_has_grant(b, conf, ask->subject)) {
                broker_answer_unauthorized(ask);
        } else if (!broker_has_room(b, c, ask)) {
                broker_answer_crowded(ask);
        } else if (broker_find_entry(b, c, ask->subject, ask->variant, &e) < 0) {
                a.kind = ANSWER_NO_MEMORY;
                (void) why_set(&a.why, 0, "out of memory while fetching \"%s\"", conf->name);
                broker_answer(ask, &a);
        } else {
                entry_ask(e, ask);
        }
}

void broker_ask(struct broker *b, struct ask *ask) {
        ask->deadline = mono_add(clock_mono(b->parts.clock), ask->wait_us);
        broker_pass_on(b, ask);
}

void broker_nudge(struct broker *b, const char *key) {
        struct table_node *node = table_find(&b->entries, key);

        if (node && !b->stopped)
                entry_nudge(table_entry(node, struct entry, node));
}

/* --- forgetting --- */

struct authorizations *broker_authorizations(struct broker *b) {
        return b->authorizations;
}

static void broker_drop_entry(struct broker *b, const char *key) {
        struct table_node *node = table_find(&b->entries, key);
        struct entry *e;

        if (!node)
                return;
        e = table_entry(node, struct entry, node);
        entry_dismiss(e, ANSWER_AUTHORIZATION_REQUIRED,
                      "the grant was forgotten (bearerctl logout) while this call waited");
        broker_discard(e->pool, e);
}

/* A grant whose row the disk would not remove is gone from memory only, and can be forgotten
 * again. */
static int broker_forget_row(struct broker *b, const struct conf_credential *c, const char *subject,
                             store_done_fn *done, void *user) {
        struct store *store = b->parts.store;
        struct record record;
        int r;

        r = store->get(store->self, c->name, subject, NULL, &record);
        if (r == STORE_E_ABSENT)
                return BROKER_E_ABSENT;
        if (r == 0)
                secret_unref(record.secret);
        return PASS(store->remove(store->self, c->name, subject, done, user));
}

static void broker_tell_forgotten(const struct broker *b, const struct conf_credential *c,
                                  const char *subject) {
        const char *quote = *subject ? "'" : "";
        struct why why;
        const struct change change = {
                .kind = CHANGE_AUTHORIZATION_REQUIRED,
                .credential = c,
                .subject = subject,
                .reason = why.text,
                .on_purpose = true,
        };

        (void) why_set(&why, 0,
                       "the grant of \"%s\" was forgotten (bearerctl logout); a new one: "
                       "bearerctl login %s%s%s%s%s",
                       c->name, c->name, *subject ? " --subject " : "", quote, subject, quote);
        change_tell(&b->parts.listener, &change);
}

static int broker_forget_grant(struct broker *b, const struct conf_credential *c,
                               const char *subject, store_done_fn *done, void *user) {
        char key[CACHE_KEY_SIZE];
        struct grant *g = grants_find(b->grants, cache_key(c->name, subject, "", key));
        int r;

        if (!g)
                return broker_forget_row(b, c, subject, done, user);
        r = grant_forget(g, done, user);
        if (r < 0)
                return PASS(r);
        broker_drop_entry(b, key);
        authorizations_withdraw(b->authorizations, c, subject,
                                "the grant was forgotten (bearerctl logout) before it was stored");
        broker_tell_forgotten(b, c, subject);
        return 0;
}

struct broker_forgetting {
        struct broker *broker;
        store_done_fn *done;
        void *user;
        char name[];
};

/* The token of that name, unless a reload has taken the credential away meanwhile. */
static struct static_token *broker_static_token(struct broker *b, const char *name) {
        const struct conf_credential *c = conf_find_credential(b->parts.conf, name);

        return c && credential_type_is_static(c->type) ? &broker_credential(b, c)->static_token
                                                       : NULL;
}

static void broker_token_forgotten(void *user, int r) {
        struct broker_forgetting *f = user;
        struct static_token *token = broker_static_token(f->broker, f->name);

        if (r == 0 && token)
                static_token_forget(token);
        f->done(f->user, r);
        free(f);
}

static int broker_forget_token(struct broker *b, const struct conf_credential *c,
                               store_done_fn *done, void *user) {
        struct static_token *token = &broker_credential(b, c)->static_token;
        struct broker_forgetting *f;
        int r;

        if (!token->token && !token->ended)
                return BROKER_E_ABSENT;
        f = malloc(sizeof(*f) + strlen(c->name) + 1);
        if (!f)
                return RAISE(-ENOMEM);
        *f = (struct broker_forgetting){ b, done, user };
        strcpy(f->name, c->name);
        r = b->parts.store->remove(b->parts.store->self, c->name, "", broker_token_forgotten, f);
        if (r < 0)
                free(f);
        return PASS(r);
}

int broker_forget(struct broker *b, const struct conf_credential *c, const char *subject,
                  store_done_fn *done, void *user) {
        if (credential_type_is_interactive(c->type))
                return broker_forget_grant(b, c, subject, done, user);
        if (credential_type_is_static(c->type))
                return broker_forget_token(b, c, done, user);
        return BROKER_E_ABSENT;
}

/* --- static tokens --- */

struct broker_setting { /* a static token on its way to the disk */
        struct broker *broker;
        struct secret *value;
        wall_t expires_at;
        store_done_fn *done;
        void *user;
        char name[];
};

static void broker_static_token_stored(void *user, int r) {
        struct broker_setting *s = user;

        struct static_token *token = broker_static_token(s->broker, s->name);

        if (r == 0 && token)
                r = static_token_set(token, s->value, s->expires_at);
        if (r < 0)
                log_error("credential=%s event=not_stored error=\"%s\"", s->name, strerror(-r));
        s->done(s->user, r);
        secret_unref(s->value);
        free(s);
}

int broker_set_static_token(struct broker *b, const struct conf_credential *c, struct secret *value,
                            wall_t expires_at, store_done_fn *done, void *user) {
        struct broker_setting *s = malloc(sizeof(*s) + strlen(c->name) + 1);
        const struct record record = {
                .credential = c->name,
                .subject = "",
                .kind = RECORD_STATIC_TOKEN,
                .secret = value,
                .obtained_at = clock_wall(b->parts.clock),
                .expires_at = expires_at,
        };
        int r;

        if (!s)
                return RAISE(-ENOMEM);
        *s = (struct broker_setting){ b, secret_ref(value), expires_at, done, user };
        strcpy(s->name, c->name);
        r = b->parts.store->put(b->parts.store->self, &record, broker_static_token_stored, s);
        if (r < 0) {
                secret_unref(s->value);
                free(s);
                return PASS(r);
        }
        return 0;
}

/* What was set at run time counts, unless token_file was written after that. */
static int broker_load_static_token(struct broker *b, const struct conf_credential *c,
                                    struct why *why) {
        struct static_token *s = &broker_credential(b, c)->static_token;
        AUTO(secret_unrefp) struct secret *owned = NULL;
        struct record record;
        int r;

        r = b->parts.store->get(b->parts.store->self, c->name, "", why, &record);
        if (r < 0)
                return PASS(r);
        if (r == 0) {
                owned = record.secret;
                if (record.kind == RECORD_STATIC_TOKEN &&
                    (!c->token || record.obtained_at.s >= c->token_changed_at.s))
                        return static_token_set(s, record.secret, record.expires_at);
        }
        if (c->token)
                return static_token_set(s, c->token,
                                        c->has_expires_at ? c->expires_at : WALL_NEVER);
        static_token_clear(s); /* a reload may have taken it away */
        return 0;
}

/* --- start and end --- */

/* What the store has, and what was under way when we died: those are tried at once, before
 * anybody asks. */
struct broker_start_walk {
        struct broker *broker;
        size_t strangers; /* rows of credentials not configured (any more); they are kept */
};

static int broker_take_up(void *user, const struct record *metadata) {
        struct broker_start_walk *walk = user;
        struct broker *b = walk->broker;
        const struct conf_credential *c = conf_find_credential(b->parts.conf, metadata->credential);
        struct entry *e;
        int r;

        if (!c || (metadata->kind == RECORD_GRANT) != credential_type_is_interactive(c->type)) {
                walk->strangers++;
                return 0;
        }
        if (metadata->kind != RECORD_GRANT)
                return 0;
        r = grants_take_up(b->grants, c, metadata);
        if (r < 0 || !metadata->in_doubt)
                return PASS(r);
        log_warning(
                "credential=%s event=in_doubt advice=\"a refresh was under way when bearerd ended; trying it now\"",
                c->name);
        r = broker_find_entry(b, broker_credential(b, c), metadata->subject, &broker_plain, &e);
        if (r == 0)
                entry_want(e, 0);
        return PASS(r);
}

/* keep_fresh = always is about the credential's own token. */
static int broker_keep_fresh(struct broker *b, const struct conf_credential *c) {
        struct entry *e;
        int r;

        if (c->keep_fresh != KEEP_FRESH_ALWAYS || !broker_has_grant(b, c, ""))
                return 0;
        r = broker_find_entry(b, broker_credential(b, c), "", &broker_plain, &e);
        if (r == 0 && !e->token)
                entry_want(e, 0);
        return PASS(r);
}

int broker_begin(struct broker *b, const struct conf_credential *c, struct why *why) {
        struct entry *e;
        int r;

        if (credential_type_is_static(c->type))
                return broker_load_static_token(b, c, why);
        if (credential_type_is_interactive(c->type))
                return broker_keep_fresh(b, c);
        r = broker_find_entry(b, broker_credential(b, c), "", &broker_plain, &e);
        if (r == 0 && c->keep_fresh == KEEP_FRESH_ALWAYS && !e->token)
                entry_want(e, 0);
        return PASS(r);
}

int broker_start(struct broker *b, struct why *why) {
        const struct conf *conf = b->parts.conf;
        struct broker_start_walk walk = { .broker = b };
        int r;

        r = b->parts.store->each(b->parts.store->self, broker_take_up, &walk, why);
        grants_plan(b->grants);
        for (size_t i = 0; r == 0 && i < conf->n_credentials; i++)
                r = broker_begin(b, conf->credentials[i], why);
        return PASS(r);
}

void broker_stop(struct broker *b, void (*quiet)(void *user), void *user) {
        struct table_node *node;

        b->stopped = true;
        b->quiet = quiet;
        b->quiet_user = user;
        for (size_t i = 0; i < b->parts.conf->n_credentials; i++)
                b->credentials[i]->pool.stopped = true;
        authorizations_stop(b->authorizations,
                            "bearerd is stopping; start the authorization again");
        for (node = table_next(&b->entries, NULL); node; node = table_next(&b->entries, node))
                entry_dismiss(table_entry(node, struct entry, node), ANSWER_UNAVAILABLE,
                              "bearerd is stopping; ask again");
        broker_is_quiet(b);
}

struct broker *broker_free(struct broker *b) {
        struct table_node *node, *next;

        if (!b)
                return NULL;
        authorizations_free(b->authorizations);
        grants_free(b->grants); /* their refreshes are under way in turns of the entries */
        for (node = table_next(&b->entries, NULL); node; node = next) {
                next = table_next(&b->entries, node);
                entry_free(table_entry(node, struct entry, node));
        }
        for (size_t i = 0; b->credentials && i < b->parts.conf->n_credentials; i++)
                broker_free_credential(b->credentials[i]);
        while (!list_is_empty(&b->leaving)) {
                struct credential *c = list_entry(b->leaving.next, struct credential, link);

                while (!list_is_empty(&c->leaving))
                        entry_free(list_entry(c->leaving.next, struct entry, link));
                broker_free_credential(c);
        }
        for (size_t i = 0; b->upstreams && i < b->parts.conf->n_providers; i++)
                upstream_free(b->upstreams[i]);
        table_done(&b->entries);
        waiting_done(&b->waiting);
        free(b->credentials);
        free(b->upstreams);
        free(b);
        return NULL;
}
