#include "api/crowd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct crowd_user {
        struct table_node node;
        char key[12];
        uint32_t uid;
        size_t n;         /* guests that count, the surplus not among them */
        size_t n_surplus; /* those */
        size_t n_refs;    /* guests that point here, whatever their phase */
        size_t held;      /* bytes */
        struct list_link resting;
        mono_t told;
};

void crowd_limit(struct crowd *c, size_t max_per_user, int64_t request_us, int64_t idle_us) {
        const size_t share = c->max / 2 > 0 ? c->max / 2 : 1;

        c->max_per_user = max_per_user < share ? max_per_user : share;
        c->patience_us[GUEST_ARRIVED] = c->patience_us[GUEST_ACTIVE] = request_us;
        c->patience_us[GUEST_IDLE] = idle_us;
}

int crowd_init(struct crowd *c, size_t max, size_t max_per_user, int64_t request_us,
               int64_t idle_us, const struct random *random) {
        c->max = max;
        c->n = 0;
        for (size_t i = 0; i < GUEST_PHASE_MAX; i++) {
                list_init(&c->phases[i]);
                c->patience_us[i] = INT64_MAX;
        }
        c->patience_us[GUEST_SURPLUS] = CROWD_SURPLUS_US;
        crowd_limit(c, max_per_user, request_us, idle_us);
        return PASS(table_init(&c->users, random));
}

void crowd_done(struct crowd *c) {
        table_done(&c->users);
}

/* --- users --- */

static struct crowd_user *crowd_user(struct crowd *c, uint32_t uid) {
        struct crowd_user *u;
        struct table_node *node;
        char key[sizeof(u->key)];

        (void) snprintf(key, sizeof(key), "%" PRIu32, uid);
        node = table_find(&c->users, key);
        if (node)
                return table_entry(node, struct crowd_user, node);
        u = calloc(1, sizeof(*u));
        if (!u)
                return NULL;
        memcpy(u->key, key, sizeof(key));
        u->node.key = u->key;
        u->uid = uid;
        u->told = (mono_t){ INT64_MIN };
        list_init(&u->resting);
        table_insert(&c->users, &u->node);
        return u;
}

static void crowd_user_drop(struct crowd *c, struct crowd_user *u) {
        if (u->n_refs > 0)
                return;
        table_remove(&c->users, &u->node);
        free(u);
}

bool crowd_hold(struct guest *g, size_t n) {
        if (n > CROWD_HELD_MAX - g->user->held)
                return false;
        g->user->held += n;
        return true;
}

void crowd_release(struct guest *g, size_t n) {
        g->user->held -= n;
}

uint32_t guest_uid(const struct guest *g) {
        return g->user->uid;
}

size_t guest_peers(const struct guest *g) {
        return g->user->n;
}

bool guest_is_news(struct guest *g, mono_t now) {
        if (mono_before(now, mono_add(g->user->told, CROWD_TOLD_US)))
                return false;
        g->user->told = now;
        return true;
}

/* --- phases --- */

static bool guest_rests(const struct guest *g) {
        return g->phase == GUEST_ARRIVED || g->phase == GUEST_IDLE;
}

static void guest_enter_phase(struct crowd *c, struct guest *g, enum guest_phase phase,
                              mono_t now) {
        g->phase = phase;
        g->since = now;
        list_append(&c->phases[phase], &g->of_phase);
        if (guest_rests(g))
                list_append(&g->user->resting, &g->of_user_resting);
}

static void guest_leave_phase(struct guest *g) {
        list_remove(&g->of_phase);
        list_remove(&g->of_user_resting);
}

static void guest_go(struct crowd *c, struct guest *g) {
        guest_leave_phase(g);
        if (g->phase == GUEST_SURPLUS) {
                g->user->n_surplus--;
        } else {
                g->user->n--;
                c->n--;
        }
        g->phase = GUEST_GONE;
}

void crowd_move(struct crowd *c, struct guest *g, enum guest_phase phase, mono_t now) {
        if (g->phase == GUEST_SURPLUS || g->phase == GUEST_GONE)
                return;
        guest_leave_phase(g);
        guest_enter_phase(c, g, phase, now);
}

static struct guest *crowd_head(const struct crowd *c, enum guest_phase phase) {
        const struct list_link *head = &c->phases[phase];

        return list_is_empty(head) ? NULL : list_entry(head->next, struct guest, of_phase);
}

mono_t crowd_next(const struct crowd *c) {
        mono_t next = MONO_NEVER;

        for (enum guest_phase i = 0; i < GUEST_PHASE_MAX; i++) {
                const struct guest *g = crowd_head(c, i);
                mono_t end = g ? mono_add(g->since, c->patience_us[i]) : MONO_NEVER;

                if (mono_before(end, next))
                        next = end;
        }
        return next;
}

struct guest *crowd_overdue(struct crowd *c, mono_t now, enum guest_phase *ret_phase) {
        for (enum guest_phase i = 0; i < GUEST_PHASE_MAX; i++) {
                struct guest *g = crowd_head(c, i);

                if (!g || mono_before(now, mono_add(g->since, c->patience_us[i])))
                        continue;
                *ret_phase = i;
                guest_go(c, g);
                return g;
        }
        return NULL;
}

struct guest *crowd_oldest(struct crowd *c, mono_t since) {
        struct guest *arrived = crowd_head(c, GUEST_ARRIVED), *idle = crowd_head(c, GUEST_IDLE);
        struct guest *g = !idle || (arrived && mono_before(arrived->since, idle->since)) ? arrived
                                                                                         : idle;

        if (!g || !mono_before(g->since, since))
                return NULL;
        guest_go(c, g);
        return g;
}

static struct guest *crowd_oldest_of(struct crowd *c, struct crowd_user *u) {
        struct guest *g;

        if (list_is_empty(&u->resting))
                return NULL;
        g = list_entry(u->resting.next, struct guest, of_user_resting);
        guest_go(c, g);
        return g;
}

/* --- coming and going --- */

int crowd_enter(struct crowd *c, struct guest *g, uint32_t uid, mono_t now,
                struct guest **ret_leaver) {
        struct crowd_user *u = crowd_user(c, uid);
        struct guest *leaver = NULL;
        bool fits = true;

        if (!u)
                return RAISE(-ENOMEM);
        if (u->n >= c->max_per_user) {
                leaver = crowd_oldest_of(c, u);
                fits = leaver != NULL;
        } else if (c->n >= c->max) {
                leaver = crowd_oldest(c, MONO_NEVER);
                fits = leaver != NULL;
        }
        if (!fits && u->n_surplus >= CROWD_SURPLUS_MAX) {
                crowd_user_drop(c, u);
                return CROWD_E_REFUSED;
        }
        *ret_leaver = leaver;
        list_init(&g->of_phase);
        list_init(&g->of_user_resting);
        g->user = u;
        u->n_refs++;
        guest_enter_phase(c, g, fits ? GUEST_ARRIVED : GUEST_SURPLUS, now);
        if (!fits) {
                u->n_surplus++;
                return CROWD_E_SURPLUS;
        }
        u->n++;
        c->n++;
        return 0;
}

void crowd_leave(struct crowd *c, struct guest *g) {
        struct crowd_user *u = g->user;

        if (!u)
                return;
        if (g->phase != GUEST_GONE)
                guest_go(c, g);
        g->user = NULL;
        u->n_refs--;
        crowd_user_drop(c, u);
}
