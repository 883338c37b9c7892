#include "broker/waiting.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct waiting_user {
        struct table_node node;
        char key[12];
        size_t n;
};

int waiting_init(struct waiting *w, size_t max, const struct random *random) {
        *w = (struct waiting){ .max = max };
        return PASS(table_init(&w->users, random));
}

void waiting_done(struct waiting *w) {
        assert(w->n == 0 && w->users.n == 0);
        table_done(&w->users);
}

size_t waiting_share(const struct waiting *w, size_t max_per_user) {
        const size_t half = w->max / 2 > 0 ? w->max / 2 : 1;

        return max_per_user < half ? max_per_user : half;
}

static struct waiting_user *waiting_user_new(struct waiting *w, const char *key) {
        struct waiting_user *u = calloc(1, sizeof(*u));

        if (!u)
                return NULL;
        strcpy(u->key, key);
        u->node.key = u->key;
        table_insert(&w->users, &u->node);
        return u;
}

int waiting_enter(struct waiting *w, uint32_t uid, size_t max_per_user,
                  struct waiting_user **ret_place) {
        struct table_node *node;
        struct waiting_user *u;
        char key[sizeof(u->key)];

        (void) snprintf(key, sizeof(key), "%" PRIu32, uid);
        node = table_find(&w->users, key);
        u = node ? table_entry(node, struct waiting_user, node) : NULL;
        if ((u ? u->n : 0) >= waiting_share(w, max_per_user))
                return WAITING_E_USER;
        if (w->n >= w->max)
                return WAITING_E_ALL;
        if (!u)
                u = waiting_user_new(w, key);
        if (!u)
                return RAISE(-ENOMEM);
        u->n++;
        w->n++;
        *ret_place = u;
        return 0;
}

void waiting_leave(struct waiting *w, struct waiting_user *place) {
        assert(place->n > 0 && w->n > 0);
        w->n--;
        if (--place->n > 0)
                return;
        table_remove(&w->users, &place->node);
        free(place);
}
