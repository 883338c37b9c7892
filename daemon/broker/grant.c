#include "broker/grant.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "broker/cache.h"

#define GRANT_WRITE_RETRY_US (10 * US_PER_S) /* a full disk is asked again this often */
#define GRANT_MARK_US                                                                              \
        US_PER_S /* a disk that takes longer holds up no credential that has nothing on it */
#define GRANT_DUE_PART 5 /* refreshed when a fifth of its life is left ... */
#define GRANT_DUE_SPREAD_US                                                                        \
        US_PER_D /* ... or up to this earlier, so that many do not come at once */
#define GRANT_DUE_PACE_US                                                                          \
        (100 * US_PER_MS)      /* of all grants, when they are due at once, one in this time */
#define GRANT_LOOK_US US_PER_D /* dates are looked at this often: the clock may have been set */

struct grants {
        struct grants_parts parts;
        struct table table;    /* struct grant by key */
        struct list_link gone; /* struct grant */
        size_t *count;         /* by credential index */
        size_t n_count;
        size_t n_rotations, n_unsaved;
};

struct rotation { /* dies with its grant */
        struct grant *grant;
        struct upstream *upstream;
        struct turn *turn;
        struct upstream_call *call;
        struct secret *presented;
        struct exchange_result result;
        bool is_marking; /* the disk has not answered yet */
        int error;       /* the successor was not even given to the disk: grant_timer() ends it */
        grant_done_fn *done;
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
        list_init(&gs->gone);
        r = table_init(&gs->table, parts->random);
        if (r < 0) {
                free(gs);
                return PASS(r);
        }
        *ret = gs;
        return 0;
}

static struct rotation *rotation_new(grant_done_fn *done, void *user) {
        struct rotation *ro = calloc(1, sizeof(*ro));

        if (!ro)
                return NULL;
        ro->done = done;
        ro->user = user;
        return ro;
}

static void rotation_attach(struct rotation *ro, struct grant *g) {
        assert(!g->rotation);
        ro->grant = g;
        g->rotation = ro;
        g->book->n_rotations++;
}

static struct rotation *rotation_free(struct rotation *ro) {
        if (!ro)
                return NULL;
        if (ro->grant) {
                ro->grant->book->n_rotations--;
                ro->grant->rotation = NULL;
        }
        upstream_cancel(ro->call);
        upstream_free(ro->upstream);
        secret_unref(ro->presented);
        exchange_result_done(&ro->result);
        free(ro);
        return NULL;
}
AUTO_DEFINE(struct rotation, rotation_free)

size_t grants_busy(const struct grants *gs) {
        return gs->n_rotations + gs->n_unsaved;
}

static void grants_tell_quiet(const struct grants *gs) {
        if (grants_busy(gs) == 0)
                gs->parts.quiet(gs->parts.user);
}

static void grant_drop_unsaved(struct grant *g) {
        if (!g->unsaved)
                return;
        g->unsaved = secret_unref(g->unsaved);
        g->book->n_unsaved--;
}

/* Takes it out of the book, and drops what is under way for it; its memory goes when the store
 * has answered for it. */
static void grant_detach(struct grant *g) {
        struct grants *gs = g->book;

        rotation_free(g->rotation);
        grant_drop_unsaved(g);
        timer_disarm(gs->parts.timers, &g->timer);
        timers_release(gs->parts.timers);
        table_remove(&gs->table, &g->node);
        if (!g->retired)
                gs->count[g->credential->index]--;
        g->retired = conf_free(g->retired);
        g->is_gone = true;
        if (g->n_changes > 0)
                list_append(&gs->gone, &g->link);
        else
                free(g);
}

/* A retired one stays until its refresh token is safe. True: it is, and the pointer is void. */
static bool grant_settle(struct grant *g) {
        struct grants *gs = g->book;

        if (!g->retired || g->rotation || g->unsaved)
                return false;
        grant_detach(g);
        grants_tell_quiet(gs);
        return true;
}

/* The store has answered for a change. True: nobody needs to know, and the grant is void. */
static bool grant_was_gone(struct grant *g) {
        g->n_changes--;
        if (!g->is_gone)
                return false;
        if (g->n_changes == 0) {
                list_remove(&g->link);
                free(g);
        }
        return true;
}

struct grants *grants_free(struct grants *gs) {
        struct table_node *node, *next;

        if (!gs)
                return NULL;
        for (node = table_next(&gs->table, NULL); node; node = next) {
                next = table_next(&gs->table, node);
                grant_detach(table_entry(node, struct grant, node));
        }
        while (!list_is_empty(&gs->gone)) {
                struct grant *g = list_entry(gs->gone.next, struct grant, link);

                list_remove(&g->link);
                free(g);
        }
        table_done(&gs->table);
        free(gs->count);
        free(gs);
        return NULL;
}

struct grant *grants_find(const struct grants *gs, const char *key) {
        struct table_node *node = table_find(&gs->table, key);

        return node ? table_entry(node, struct grant, node) : NULL;
}

size_t grants_count(const struct grants *gs, const struct conf_credential *c) {
        return c->index < gs->n_count ? gs->count[c->index] : 0;
}

int grants_reserve(struct grants *gs, size_t n_credentials) {
        size_t *count;

        if (n_credentials <= gs->n_count)
                return 0;
        count = reallocarray(gs->count, n_credentials, sizeof(*count));
        if (!count)
                return RAISE(-ENOMEM);
        memset(count + gs->n_count, 0, (n_credentials - gs->n_count) * sizeof(*count));
        gs->count = count;
        gs->n_count = n_credentials;
        return 0;
}

/* In the place of what is under its key now. 0; -ENOMEM: nothing has changed. */
static int grants_add(struct grants *gs, const struct conf_credential *c, const char *subject,
                      struct grant **ret) {
        char key[CACHE_KEY_SIZE];
        struct grant *g, *old;
        int r;

        old = grants_find(gs, cache_key(c->name, subject, "", key));
        r = grants_reserve(gs, c->index + 1);
        if (r < 0)
                return PASS(r);
        r = timers_reserve(gs->parts.timers);
        if (r < 0)
                return PASS(r);
        g = calloc(1, sizeof(*g) + strlen(key) + 1 + strlen(subject) + 1);
        if (!g) {
                timers_release(gs->parts.timers);
                return RAISE(-ENOMEM);
        }
        g->book = gs;
        g->credential = c;
        g->node.key = strcpy(g->key, key);
        g->subject = strcpy(g->key + strlen(key) + 1, subject);
        g->timer.fn = grant_timer;
        if (old)
                grant_detach(old);
        table_insert(&gs->table, &g->node);
        gs->count[c->index]++;
        *ret = g;
        return 0;
}

/* --- dates --- */

/* What rows say is taken with care. */
static int64_t grant_span_us(wall_t from, wall_t to) {
        int64_t s;

        if (to.s <= from.s)
                return 0;
        if (__builtin_sub_overflow(to.s, from.s, &s) || s > GRANT_MEMORY_MAX_S)
                s = GRANT_MEMORY_MAX_S;
        return s * US_PER_S;
}

/* How long until the refresh token should be used for its own sake: when a fifth of its life is
 * left. 0: now. */
static int64_t grant_rest_us(const struct grant *g) {
        wall_t now = clock_wall(g->book->parts.clock);
        int64_t margin = grant_span_us(g->obtained_at, g->expires_at) / GRANT_DUE_PART;
        int64_t spread = (int64_t) (g->node.hash % GRANT_DUE_SPREAD_US);
        int64_t rest = grant_span_us(now, g->expires_at) - margin - spread;

        if (g->obtained_at.s > now.s + US_PER_D / US_PER_S)
                return 0; /* the clock was wrong then, or is now: new dates are wanted */
        return rest > 0 ? rest : 0;
}

/* For one that is due: long enough to spread all of them, short enough to come in time. */
static int64_t grant_pause_us(const struct grant *g) {
        const struct grants_parts *p = &g->book->parts;
        int64_t left = grant_span_us(clock_wall(p->clock), g->expires_at);
        int64_t pause = (int64_t) g->book->table.n * GRANT_DUE_PACE_US;

        if (pause < US_PER_MIN)
                pause = US_PER_MIN;
        if (left > 0 && pause > left / 2)
                pause = left / 2;
        return (int64_t) random_below(p->random, (uint64_t) pause);
}

static void grant_plan(struct grant *g) {
        const struct grants_parts *p = &g->book->parts;
        int64_t in = grant_rest_us(g);

        if (g->unsaved)
                in = GRANT_WRITE_RETRY_US;
        else if (in == 0)
                in = grant_pause_us(g);
        else if (in > GRANT_LOOK_US)
                in = GRANT_LOOK_US;
        timer_arm(p->timers, &g->timer, mono_add(clock_mono(p->clock), in));
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
                .in_doubt = g->in_doubt,
        };
}

/* The store will call done(g, r). 0, or a negative errno. */
static int grant_put(struct grant *g, const struct record *record, store_done_fn *done) {
        struct store *store = g->book->parts.store;
        int r = store->put(store->self, record, done, g);

        if (r < 0)
                return PASS(r);
        g->n_changes++;
        return 0;
}

/* What became of g->unsaved. */
static void grant_note(struct grant *g, int r) {
        if (r == 0 && g->is_told)
                log_info("credential=%s event=stored", g->credential->name);
        if (r < 0 && !g->is_told)
                log_error(
                        "credential=%s event=not_stored error=\"%s\" advice=\"the new refresh token is only in memory: make "
                        "room in state_dir, and do not stop bearerd before it says event=stored\"",
                        g->credential->name, strerror(-r));
        g->is_told = r < 0;
        if (r == 0)
                grant_drop_unsaved(g);
}

static void grant_written(void *user, int r) {
        struct grant *g = user;

        if (grant_was_gone(g))
                return;
        grant_note(g, r);
        if (grant_settle(g))
                return;
        if (!g->rotation)
                grant_plan(g);
        grants_tell_quiet(g->book);
}

/* A row that nothing was sent for after all need not be tried when we start again. Should this
 * be lost, it is, and no harm done. */
static void grant_clear_doubt(const struct grant *g, struct secret *token) {
        const struct record record = grant_record(g, token);
        struct store *store = g->book->parts.store;

        if (!g->unsaved && !g->in_doubt)
                (void) store->put(store->self, &record, NULL, NULL);
}

/* --- rotation --- */

/* The end: tells whoever wants to know. */
static void rotation_finish(struct rotation *ro) {
        struct exchange_result result = ro->result;
        struct grants *gs = ro->grant->book;
        grant_done_fn *done = ro->done;
        struct grant *g = ro->grant;
        const bool retired = g->retired;
        void *user = ro->user;
        char key[CACHE_KEY_SIZE];

        ro->result = (struct exchange_result){ 0 };
        rotation_free(ro);
        grant_plan(g);
        (void) strcpy(key, g->key);
        done(user, &result); /* may be the end of the grant */
        if (retired && grants_find(gs, key) == g)
                (void) grant_settle(g);
        exchange_result_done(&result);
        grants_tell_quiet(gs);
}

static void rotation_end_commit(struct rotation *ro, int r) {
        grant_note(ro->grant, r);
        rotation_finish(ro);
}

static void rotation_committed(void *user, int r) {
        struct grant *g = user;

        if (!grant_was_gone(g))
                rotation_end_commit(g->rotation, r);
}

static void rotation_commit(struct rotation *ro) {
        const struct grants_parts *p = &ro->grant->book->parts;
        struct secret *successor = ro->result.refresh_token ? ro->result.refresh_token
                                                            : ro->presented;
        struct grant *g = ro->grant;
        struct record record;

        g->in_doubt = false;
        g->obtained_at = clock_wall(p->clock);
        g->expires_at = (wall_t){ g->obtained_at.s + GRANT_LIFETIME_S };
        grant_drop_unsaved(g);
        g->unsaved = secret_ref(successor);
        g->book->n_unsaved++;
        record = grant_record(g, successor);
        ro->error = grant_put(g, &record, rotation_committed);
        if (ro->error < 0)
                timer_arm(p->timers, &g->timer, clock_mono(p->clock));
}

static void rotation_send(struct rotation *ro);

static void rotation_answered(void *user, struct exchange_result *result) {
        struct rotation *ro = user;
        struct grant *g = ro->grant;
        enum refusal_kind kind = result->refusal.kind;

        ro->call = NULL;
        ro->result = *result;
        *result = (struct exchange_result){ 0 };
        if (kind == REFUSAL_NONE || ro->result.refresh_token) { /* whatever else is wrong with it */
                rotation_commit(ro);
        } else if (kind == REFUSAL_TRANSPORT && ro->result.maybe_done && !g->in_doubt &&
                   turn_retake(ro->turn)) {
                g->in_doubt = true;
                rotation_send(ro); /* once, if the provider is not known to be down */
        } else {
                if (kind == REFUSAL_GRANT && g->in_doubt)
                        log_error(
                                "credential=%s event=lost_in_rotation advice=\"a refresh was sent whose answer never "
                                "came; the person has to authorize again\"",
                                g->credential->name);
                g->in_doubt = g->in_doubt || ro->result.maybe_done;
                grant_clear_doubt(g, ro->presented);
                rotation_finish(ro);
        }
}

/* Nothing was sent. */
static void rotation_give_up(struct rotation *ro, const char *reason) {
        struct refusal *refusal = &ro->result.refusal;

        *refusal = (struct refusal){ .kind = REFUSAL_TRANSIENT, .retry_after_us = -1 };
        (void) why_clean(reason, strlen(reason), refusal->message, sizeof(refusal->message));
        grant_clear_doubt(ro->grant, ro->presented);
        rotation_finish(ro);
}

static void rotation_send(struct rotation *ro) {
        const struct exchange x = {
                .kind = EXCHANGE_REFRESH_TOKEN,
                .credential = ro->grant->credential,
                .refresh_token = ro->presented,
        };
        int r;

        exchange_result_done(&ro->result);
        r = upstream_begin(ro->upstream, ro->turn, &x, rotation_answered, ro, &ro->call);
        if (r < 0)
                rotation_give_up(ro, strerror(-r));
}

/* The intent is durable, or the disk does not take it: callers are not made to wait for room on
 * a disk. */
static void rotation_marked(void *user, int r) {
        struct grant *g = user;

        if (grant_was_gone(g))
                return;
        if (r < 0)
                log_warning("credential=%s event=intent_not_stored error=\"%s\"",
                            g->credential->name, strerror(-r));
        else if (g->unsaved)
                grant_note(g, 0);
        g->rotation->is_marking = false;
        timer_disarm(g->book->parts.timers, &g->timer);
        if (turn_resume(g->rotation->turn))
                rotation_send(g->rotation);
        else
                rotation_give_up(g->rotation, "state_dir was too slow to write that it is asked");
}

/* Marks the row; one that the disk did not take is written now, if there is room. */
static int rotation_mark(struct rotation *ro) {
        struct grant *g = ro->grant;
        struct store *store = g->book->parts.store;
        struct record record;
        int r;

        if (g->unsaved) {
                record = grant_record(g, g->unsaved);
                record.in_doubt = true;
                return grant_put(g, &record, rotation_marked);
        }
        r = store->mark(store->self, g->credential->name, g->subject, rotation_marked, g);
        if (r < 0)
                return PASS(r);
        g->n_changes++;
        return 0;
}

/* The refresh token as it is now: opened for one call. 0; -EBADMSG; what the store said; each
 * with a sentence. */
static int grant_open(const struct grant *g, struct why *why, struct secret **ret) {
        struct store *store = g->book->parts.store;
        struct record record;
        int r;

        if (g->unsaved) {
                *ret = secret_ref(g->unsaved);
                return 0;
        }
        r = store->get(store->self, g->credential->name, g->subject, why, &record);
        if (r < 0)
                return PASS(r);
        if (r == STORE_E_ABSENT)
                return why_set(why, RAISE(-EBADMSG), "its row is gone from state_dir");
        if (record.kind != RECORD_GRANT) {
                secret_unref(record.secret);
                return why_set(why, RAISE(-EBADMSG), "its row in state_dir holds no grant");
        }
        *ret = record.secret;
        return 0;
}

int grant_refresh(struct grant *g, struct upstream *u, struct turn *turn, grant_done_fn *done,
                  void *user, struct why *why) {
        AUTO(rotation_freep) struct rotation *ro = rotation_new(done, user);
        int r;

        if (!ro)
                return RAISE(-ENOMEM);
        ro->upstream = upstream_ref(u);
        ro->turn = turn;
        r = grant_open(g, why, &ro->presented);
        if (r < 0)
                return PASS(r);
        rotation_attach(ro, g);
        r = rotation_mark(ro);
        if (r < 0)
                return PASS(r);
        ro->is_marking = true;
        ro = NULL; /* the grant's */
        timer_arm(g->book->parts.timers, &g->timer,
                  mono_add(clock_mono(g->book->parts.clock), GRANT_MARK_US));
        return 0;
}

/* --- time --- */

/* Writes it again; a retry is planned whatever comes of it. */
static void grant_write(struct grant *g) {
        const struct record record = grant_record(g, g->unsaved);

        if (grant_put(g, &record, grant_written) < 0)
                grant_plan(g);
}

static void grant_timer(struct timer *t) {
        struct grant *g = list_entry(t, struct grant, timer);
        const struct grants_parts *p = &g->book->parts;

        if (g->rotation) {
                if (g->rotation->is_marking)
                        turn_lend(g->rotation->turn);
                else if (g->rotation->error < 0)
                        rotation_end_commit(g->rotation, g->rotation->error);
        } else if (g->unsaved) {
                grant_write(g);
        } else {
                bool is_due = grant_rest_us(g) == 0;

                grant_plan(g);
                if (is_due)
                        p->due(p->user, g, grant_span_us(clock_wall(p->clock), g->expires_at));
        }
}

/* --- another configuration --- */

static void grant_adopt(struct grant *g, const struct conf_credential *c) {
        g->retired = conf_free(g->retired);
        g->credential = c;
        g->book->count[c->index]++;
}

void grants_adopt(struct grants *gs, const struct conf *conf) {
        struct table_node *node, *next;

        /* they are counted anew: no grant_detach() in between counts down */
        for (size_t i = 0; i < gs->n_count; i++)
                gs->count[i] = 0;
        for (node = table_next(&gs->table, NULL); node; node = table_next(&gs->table, node)) {
                struct grant *g = table_entry(node, struct grant, node);
                const struct conf_credential *c = conf_find_credential(conf, g->credential->name);

                if (c && credential_type_is_interactive(c->type))
                        grant_adopt(g, c);
                else if (!g->retired) /* its row stays, and what is under way comes home */
                        g->retired = conf_ref(g->credential->conf);
        }
        for (node = table_next(&gs->table, NULL); node; node = next) {
                struct grant *g = table_entry(node, struct grant, node);

                next = table_next(&gs->table, node);
                if (g->retired)
                        (void) grant_settle(g);
        }
}

/* --- beginning and end --- */

int grants_take_up(struct grants *gs, const struct conf_credential *c,
                   const struct record *metadata) {
        char key[CACHE_KEY_SIZE];
        struct grant *g;
        int r;

        if (grants_find(gs, cache_key(c->name, metadata->subject, "", key)))
                return 0; /* from before the credential was away */
        r = grants_add(gs, c, metadata->subject, &g);
        if (r < 0)
                return PASS(r);
        g->obtained_at = metadata->obtained_at;
        g->expires_at = metadata->expires_at;
        g->in_doubt = metadata->in_doubt;
        return 0;
}

void grants_plan(struct grants *gs) {
        for (struct table_node *node = NULL; (node = table_next(&gs->table, node));) {
                struct grant *g = table_entry(node, struct grant, node);

                if (!timer_is_armed(&g->timer) && !g->rotation)
                        grant_plan(g);
        }
}

int grants_set(struct grants *gs, const struct conf_credential *c, const char *subject,
               struct exchange_result *result, grant_done_fn *done, void *user) {
        AUTO(rotation_freep) struct rotation *ro = rotation_new(done, user);
        struct grant *g;
        int r;

        assert(result->refresh_token);
        if (!ro)
                return RAISE(-ENOMEM);
        r = grants_add(gs, c, subject, &g);
        if (r < 0)
                return PASS(r);
        rotation_attach(ro, g);
        ro->result = *result;
        *result = (struct exchange_result){ 0 };
        rotation_commit(TAKE(ro));
        return 0;
}

int grant_forget(struct grant *g, store_done_fn *done, void *user) {
        struct grants *gs = g->book;
        struct store *store = gs->parts.store;
        int r;

        r = store->remove(store->self, g->credential->name, g->subject, done, user);
        if (r < 0)
                return PASS(r);
        grant_detach(g);
        grants_tell_quiet(gs);
        return 0;
}
