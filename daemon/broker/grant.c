#include "broker/grant.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "broker/cache.h"
#include "sched/backoff.h"

#define GRANT_WRITE_RETRY_US (10 * US_PER_S) /* a full disk is asked again this often */
#define GRANT_DUE_PART       5               /* refreshed when a fifth of its life is left ... */
#define GRANT_DUE_SPREAD_US                                                                        \
        US_PER_D /* ... or up to this earlier, so that many do not come at once */

struct grants {
        struct grants_parts parts;
        struct table table; /* struct grant by key */
        size_t *count;      /* by credential index */
        size_t n_count;
        size_t n_rotations, n_unsaved;
};

enum rotation_phase {
        ROTATION_MARK,   /* the intent is on its way to the disk */
        ROTATION_SENT,   /* it is with the provider */
        ROTATION_COMMIT, /* the successor is on its way to the disk */
};

struct rotation {
        struct grants *book;
        struct grant *grant; /* NULL: it has been replaced or forgotten meanwhile */
        struct upstream *upstream;
        enum rotation_phase phase;
        struct upstream_call *call;
        struct secret *presented;
        struct secret *successor;
        bool repeated; /* the one retry after a transport failure has been used */
        struct exchange_result result;
        grant_done_fn *done; /* NULL: nobody wants to know */
        void *user;
};

static void grant_timer(struct timer *t);

/* --- the book --- */

int grants_new(const struct grants_parts *parts, struct grants **ret) {
        struct grants *gs = calloc(1, sizeof(*gs));
        int r;

        if (!gs)
                return RAISE(-ENOMEM);
        gs->parts = *parts;
        r = table_init(&gs->table, parts->random);
        if (r < 0) {
                free(gs);
                return PASS(r);
        }
        *ret = gs;
        return 0;
}

static struct rotation *rotation_free(struct rotation *ro) {
        if (!ro)
                return NULL;
        ro->book->n_rotations--;
        if (ro->grant)
                ro->grant->rotation = NULL;
        upstream_cancel(ro->call);
        secret_unref(ro->presented);
        secret_unref(ro->successor);
        exchange_result_done(&ro->result);
        free(ro);
        return NULL;
}

static void grant_drop_unsaved(struct grant *g) {
        if (!g->unsaved)
                return;
        g->unsaved = secret_unref(g->unsaved);
        g->book->n_unsaved--;
}

static void grant_free(struct grant *g) {
        table_remove(&g->book->table, &g->node);
        g->book->count[g->credential->index]--;
        grant_drop_unsaved(g);
        timer_disarm(g->book->parts.timers, &g->timer);
        timers_release(g->book->parts.timers);
        free(g);
}

struct grants *grants_free(struct grants *gs) {
        struct table_node *node;

        if (!gs)
                return NULL;
        while ((node = table_next(&gs->table, NULL))) {
                struct grant *g = table_entry(node, struct grant, node);

                rotation_free(g->rotation);
                grant_free(g);
        }
        table_done(&gs->table);
        free(gs->count);
        free(gs);
        return NULL;
}

size_t grants_busy(const struct grants *gs) {
        return gs->n_rotations + gs->n_unsaved;
}

struct grant *grants_find(const struct grants *gs, const char *key) {
        struct table_node *node = table_find(&gs->table, key);

        return node ? table_entry(node, struct grant, node) : NULL;
}

size_t grants_count(const struct grants *gs, const struct conf_credential *c) {
        return c->index < gs->n_count ? gs->count[c->index] : 0;
}

static int grants_count_for(struct grants *gs, const struct conf_credential *c) {
        size_t *count;

        if (c->index < gs->n_count)
                return 0;
        count = reallocarray(gs->count, c->index + 1, sizeof(*count));
        if (!count)
                return RAISE(-ENOMEM);
        memset(count + gs->n_count, 0, (c->index + 1 - gs->n_count) * sizeof(*count));
        gs->count = count;
        gs->n_count = c->index + 1;
        return 0;
}

static int grant_new(struct grants *gs, const struct conf_credential *c, const char *subject,
                     struct grant **ret) {
        char key[CACHE_KEY_SIZE];
        struct grant *g;
        int r;

        (void) cache_key(c->name, subject, "", key);
        r = grants_count_for(gs, c);
        if (r < 0)
                return PASS(r);
        g = calloc(1, sizeof(*g) + strlen(key) + 1 + strlen(subject) + 1);
        if (!g)
                return RAISE(-ENOMEM);
        r = timers_reserve(gs->parts.timers);
        if (r < 0) {
                free(g);
                return PASS(r);
        }
        g->book = gs;
        g->credential = c;
        g->node.key = strcpy(g->key, key);
        g->subject = strcpy(g->key + strlen(key) + 1, subject);
        g->timer.fn = grant_timer;
        table_insert(&gs->table, &g->node);
        gs->count[c->index]++;
        *ret = g;
        return 0;
}

/* --- dates --- */

static int64_t grant_left_us(const struct grant *g) {
        wall_t now = clock_wall(g->book->parts.clock);
        int64_t left_s = g->expires_at.s - now.s;

        if (left_s > GRANT_MEMORY_MAX_S)
                left_s = GRANT_MEMORY_MAX_S;
        return left_s > 0 ? left_s * US_PER_S : 0;
}

/* When the refresh token should be used for its own sake; a fifth of its life before its end. */
static mono_t grant_due(const struct grant *g) {
        const struct grants_parts *p = &g->book->parts;
        int64_t margin = (g->expires_at.s - g->obtained_at.s) * US_PER_S / GRANT_DUE_PART;
        int64_t in = grant_left_us(g) - margin -
                     (int64_t) random_below(p->random, GRANT_DUE_SPREAD_US);

        return mono_add(clock_mono(p->clock),
                        in > 0 ? in : (int64_t) random_below(p->random, US_PER_MIN));
}

static void grant_plan(struct grant *g) {
        mono_t at = grant_due(g);

        if (g->unsaved && !g->rotation)
                at = mono_add(clock_mono(g->book->parts.clock), GRANT_WRITE_RETRY_US);
        timer_arm(g->book->parts.timers, &g->timer, at);
}

/* --- the disk --- */

static struct record grant_record(const struct grant *g, struct secret *token) {
        return (struct record){
                .credential = g->credential->name,
                .subject = g->subject,
                .kind = RECORD_GRANT,
                .secret = token,
                .obtained_at = g->obtained_at,
                .expires_at = g->expires_at,
        };
}

/* What the disk did not take stays in memory; grant_timer() tries again. */
static void grant_keep_unsaved(struct grant *g, struct secret *token, int r) {
        if (!g->unsaved) {
                g->book->n_unsaved++;
                log_error(
                        "credential=%s event=not_stored error=\"%s\" advice=\"the new refresh token is only in memory: make "
                        "room in state_dir, and do not stop bearerd before it says event=stored\"",
                        g->credential->name, strerror(-r));
        }
        if (g->unsaved != token) {
                secret_unref(g->unsaved);
                g->unsaved = secret_ref(token);
        }
}

struct grant_write { /* a retry on its way; the grant may be gone when it comes back */
        struct grants *book;
        struct secret *token;
        char key[CACHE_KEY_SIZE];
};

static void grant_written(void *user, int r) {
        struct grant_write *w = user;
        struct grant *g = grants_find(w->book, w->key);

        if (g && g->unsaved == w->token && r == 0) {
                grant_drop_unsaved(g);
                log_info("credential=%s event=stored", g->credential->name);
        }
        if (g)
                grant_plan(g);
        secret_unref(w->token);
        free(w);
}

static void grant_write_again(struct grant *g) {
        const struct record record = grant_record(g, g->unsaved);
        struct store *store = g->book->parts.store;
        struct grant_write *w = calloc(1, sizeof(*w));

        if (!w)
                return;
        w->book = g->book;
        w->token = secret_ref(g->unsaved);
        strcpy(w->key, g->key);
        if (store->put(store->self, &record, grant_written, w) == 0)
                return; /* planned again when it is done */
        secret_unref(w->token);
        free(w);
}

static void grant_timer(struct timer *t) {
        struct grant *g = list_entry(t, struct grant, timer);

        if (g->unsaved && !g->rotation)
                grant_write_again(g);
        else
                g->book->parts.due(g->book->parts.user, g);
        if (!timer_is_armed(&g->timer))
                grant_plan(g);
}

/* --- rotation --- */

/* The end: tells whoever wants to know. */
static void rotation_finish(struct rotation *ro) {
        grant_done_fn *done = ro->done;
        struct exchange_result result = ro->result;
        struct grant *g = ro->grant;
        void *user = ro->user;

        ro->result = (struct exchange_result){ 0 };
        rotation_free(ro);
        if (g)
                grant_plan(g);
        if (done)
                done(user, &result);
        exchange_result_done(&result);
}

static void rotation_fail(struct rotation *ro, enum refusal_kind kind, const char *text) {
        exchange_result_done(&ro->result);
        ro->result = (struct exchange_result){ .refusal = { .kind = kind, .retry_after_us = -1 } };
        (void) why_clean(text, strlen(text), ro->result.refusal.message,
                         sizeof(ro->result.refusal.message));
        rotation_finish(ro);
}

static void rotation_committed(void *user, int r) {
        struct rotation *ro = user;
        struct grant *g = ro->grant;

        if (g && r < 0)
                grant_keep_unsaved(g, ro->successor, r);
        else if (g)
                grant_drop_unsaved(g);
        rotation_finish(ro);
}

static void rotation_commit(struct rotation *ro) {
        struct store *store = ro->book->parts.store;
        struct grant *g = ro->grant;
        struct record record;
        int r;

        ro->successor = ro->result.refresh_token ? TAKE(ro->result.refresh_token)
                                                 : secret_ref(ro->presented);
        ro->phase = ROTATION_COMMIT;
        g->in_doubt = false;
        g->obtained_at = clock_wall(ro->book->parts.clock);
        g->expires_at = (wall_t){ g->obtained_at.s + GRANT_LIFETIME_S };
        record = grant_record(g, ro->successor);
        r = store->put(store->self, &record, rotation_committed, ro);
        if (r < 0)
                rotation_committed(ro, r);
}

static void rotation_send(struct rotation *ro);

static bool rotation_is_refused(const struct rotation *ro) {
        return ro->result.refusal.kind == REFUSAL_GRANT;
}

static void rotation_answered(void *user, struct exchange_result *result) {
        struct rotation *ro = user;

        ro->call = NULL;
        ro->result = *result;
        *result = (struct exchange_result){ 0 };
        if (!ro->grant) { /* nobody needs what has come */
                rotation_free(ro);
        } else if (ro->result.refusal.kind == REFUSAL_NONE) {
                rotation_commit(ro);
        } else if (ro->result.refusal.kind == REFUSAL_TRANSPORT && ro->result.maybe_done &&
                   !ro->repeated) {
                ro->repeated = true;
                rotation_send(ro);
        } else {
                if (rotation_is_refused(ro) && (ro->grant->in_doubt || ro->repeated))
                        log_error(
                                "credential=%s event=lost_in_rotation advice=\"a refresh was sent whose answer never "
                                "came; the person has to authorize again\"",
                                ro->grant->credential->name);
                ro->grant->in_doubt = ro->grant->in_doubt || ro->repeated || ro->result.maybe_done;
                rotation_finish(ro);
        }
}

static void rotation_send(struct rotation *ro) {
        const struct exchange x = {
                .kind = EXCHANGE_REFRESH_TOKEN,
                .credential = ro->grant->credential,
                .refresh_token = ro->presented,
        };
        int r;

        exchange_result_done(&ro->result);
        ro->phase = ROTATION_SENT;
        r = upstream_begin(ro->upstream, &x, rotation_answered, ro, &ro->call);
        if (r < 0)
                rotation_fail(ro, REFUSAL_TRANSIENT, strerror(-r));
}

/* The intent is durable, or the disk does not take it: then what is in memory must do. */
static void rotation_marked(void *user, int r) {
        struct rotation *ro = user;
        struct store *store = ro->book->parts.store;
        struct grant *g = ro->grant;
        struct why why = { "the refresh token could not be read" };
        struct record record;

        if (!g) {
                rotation_free(ro);
                return;
        }
        if (r < 0)
                log_warning("credential=%s event=intent_not_stored error=\"%s\"",
                            g->credential->name, strerror(-r));
        if (g->unsaved) {
                ro->presented = secret_ref(g->unsaved);
        } else {
                r = store->get(store->self, g->credential->name, g->subject, &why, &record);
                if (r != 0 || record.kind != RECORD_GRANT) {
                        if (r == 0)
                                secret_unref(record.secret);
                        rotation_fail(ro, REFUSAL_CONFIGURATION, why.text);
                        return;
                }
                ro->presented = record.secret;
        }
        rotation_send(ro);
}

int grant_refresh(struct grant *g, struct upstream *u, grant_done_fn *done, void *user) {
        struct store *store = g->book->parts.store;
        struct rotation *ro;
        int r;

        assert(!g->rotation || !g->rotation->done);
        if (g->rotation) { /* begun for somebody who left: this one gets its result */
                g->rotation->done = done;
                g->rotation->user = user;
                return 0;
        }
        ro = calloc(1, sizeof(*ro));
        if (!ro)
                return RAISE(-ENOMEM);
        *ro = (struct rotation){
                .book = g->book, .grant = g, .upstream = u, .done = done, .user = user
        };
        r = store->mark(store->self, g->credential->name, g->subject, rotation_marked, ro);
        if (r < 0) {
                free(ro);
                return PASS(r);
        }
        g->rotation = ro;
        g->book->n_rotations++;
        return 0;
}

void grant_disregard(struct grant *g) {
        if (g->rotation)
                g->rotation->done = NULL;
}

/* --- beginning and end --- */

/* A refresh of what the grant was before must not touch what it is now. */
static void grant_detach(struct grant *g) {
        struct rotation *ro = g->rotation;

        if (!ro)
                return;
        g->rotation = NULL;
        ro->grant = NULL;
        ro->done = NULL;
        if (ro->phase == ROTATION_SENT)
                rotation_free(ro); /* the others come back from the disk */
}

int grants_take_up(struct grants *gs, const struct conf_credential *c,
                   const struct record *metadata) {
        struct grant *g;
        int r;

        r = grant_new(gs, c, metadata->subject, &g);
        if (r < 0)
                return PASS(r);
        g->obtained_at = metadata->obtained_at;
        g->expires_at = metadata->expires_at;
        g->in_doubt = metadata->in_doubt;
        grant_plan(g);
        return 0;
}

struct grant_setting { /* a new grant on its way to the disk */
        struct grants *book;
        struct secret *token;
        store_done_fn *done;
        void *user;
        char key[CACHE_KEY_SIZE];
};

static void grant_stored(void *user, int r) {
        struct grant_setting *s = user;
        struct grant *g = grants_find(s->book, s->key);

        if (g && r < 0) {
                grant_keep_unsaved(g, s->token, r);
                grant_plan(g);
        }
        s->done(s->user, 0);
        secret_unref(s->token);
        free(s);
}

int grants_set(struct grants *gs, const struct conf_credential *c, const char *subject,
               struct secret *token, store_done_fn *done, void *user) {
        struct grant_setting *s = calloc(1, sizeof(*s));
        struct record record;
        struct grant *g;
        int r = 0;

        if (!s)
                return RAISE(-ENOMEM);
        *s = (struct grant_setting){
                .book = gs, .token = secret_ref(token), .done = done, .user = user
        };
        g = grants_find(gs, cache_key(c->name, subject, "", s->key));
        if (!g)
                r = grant_new(gs, c, subject, &g);
        if (r < 0) {
                secret_unref(s->token);
                free(s);
                return PASS(r);
        }
        grant_detach(g);
        grant_drop_unsaved(g);
        g->in_doubt = false;
        g->obtained_at = clock_wall(gs->parts.clock);
        g->expires_at = (wall_t){ g->obtained_at.s + GRANT_LIFETIME_S };
        grant_plan(g);
        record = grant_record(g, token);
        r = gs->parts.store->put(gs->parts.store->self, &record, grant_stored, s);
        if (r < 0) {
                grant_keep_unsaved(g, token, r);
                grant_plan(g);
                secret_unref(s->token);
                free(s);
                return PASS(r);
        }
        return 0;
}

int grant_forget(struct grant *g, store_done_fn *done, void *user) {
        struct store *store = g->book->parts.store;
        int r;

        r = store->remove(store->self, g->credential->name, g->subject, done, user);
        if (r < 0)
                return PASS(r);
        grant_detach(g);
        grant_free(g);
        return 0;
}
