#include "broker/cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct cache {
        pthread_mutex_t mtx;
        /* guarded by mtx */
        struct table tokens;
};

int cache_new(const struct random *random, struct cache **ret) {
        struct cache *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return RAISE(-ENOMEM);
        r = table_init(&c->tokens, random);
        if (r < 0) {
                free(c);
                return PASS(r);
        }
        (void) pthread_mutex_init(&c->mtx, NULL); /* a plain mutex; glibc's cannot fail */
        *ret = c;
        return 0;
}

struct cache *cache_free(struct cache *c) {
        struct table_node *node, *next;

        if (!c)
                return NULL;
        for (node = table_next(&c->tokens, NULL); node; node = next) {
                next = table_next(&c->tokens, node);
                token_unref(table_entry(node, struct token, node));
        }
        table_done(&c->tokens);
        (void) pthread_mutex_destroy(&c->mtx);
        free(c);
        return NULL;
}

char *cache_key(const char *credential, const char *subject, const char *variant,
                char ret[CACHE_KEY_SIZE]) {
        const char *const parts[] = { credential, subject, variant };
        char *p = ret;

        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                size_t len = strlen(parts[i]);

                assert(len < (size_t) (ret + CACHE_KEY_SIZE - p));
                p = mempcpy(p, parts[i], len);
                *p++ = '\n'; /* in neither a name nor a subject */
        }
        p[-1] = '\0';
        return ret;
}

static struct token *cache_find(struct cache *c, const char *key) {
        struct table_node *node = table_find(&c->tokens, key);

        return node ? table_entry(node, struct token, node) : NULL;
}

struct token *cache_get(struct cache *c, const char *key) {
        struct token *t;

        (void) pthread_mutex_lock(&c->mtx);
        t = cache_find(c, key);
        if (t)
                token_ref(t);
        (void) pthread_mutex_unlock(&c->mtx);
        return t;
}

void cache_put(struct cache *c, struct token *t) {
        struct token *old;

        token_ref(t);
        (void) pthread_mutex_lock(&c->mtx);
        old = cache_find(c, t->key);
        if (old)
                table_remove(&c->tokens, &old->node);
        table_insert(&c->tokens, &t->node);
        (void) pthread_mutex_unlock(&c->mtx);
        token_unref(
                old); /* outside the lock: it may be the last reference, and wiping takes its time */
}

void cache_remove(struct cache *c, const char *key) {
        struct token *old;

        (void) pthread_mutex_lock(&c->mtx);
        old = cache_find(c, key);
        if (old)
                table_remove(&c->tokens, &old->node);
        (void) pthread_mutex_unlock(&c->mtx);
        token_unref(old);
}
