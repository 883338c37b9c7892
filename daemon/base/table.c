#include "base/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define TABLE_BUCKETS_FIRST 64

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void table_sip_round(uint64_t v[4]) {
        v[0] += v[1];
        v[1] = ROTL(v[1], 13) ^ v[0];
        v[0] = ROTL(v[0], 32);
        v[2] += v[3];
        v[3] = ROTL(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = ROTL(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = ROTL(v[1], 17) ^ v[2];
        v[2] = ROTL(v[2], 32);
}

static uint64_t table_hash(const struct table *t, const char *key) {
        size_t len = strlen(key), left;
        uint64_t v[4] = { t->seed[0] ^ UINT64_C(0x736f6d6570736575),
                          t->seed[1] ^ UINT64_C(0x646f72616e646f6d),
                          t->seed[0] ^ UINT64_C(0x6c7967656e657261),
                          t->seed[1] ^ UINT64_C(0x7465646279746573) };
        uint64_t m;

        for (left = len; left >= 8; left -= 8, key += 8) {
                memcpy(&m, key, 8);
                v[3] ^= m;
                table_sip_round(v);
                v[0] ^= m;
        }
        m = 0;
        memcpy(&m, key, left);
        m |= (uint64_t) len << 56;
        v[3] ^= m;
        table_sip_round(v);
        v[0] ^= m;
        v[2] ^= 0xff;
        table_sip_round(v);
        table_sip_round(v);
        table_sip_round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int table_init(struct table *t, const struct random *random) {
        *t = (struct table){ .n_buckets = TABLE_BUCKETS_FIRST };
        t->buckets = calloc(t->n_buckets, sizeof(struct table_node *));
        if (!t->buckets)
                return RAISE(-ENOMEM);
        random_fill(random, t->seed, sizeof(t->seed));
        return 0;
}

void table_done(struct table *t) {
        free(t->buckets);
        *t = (struct table){ 0 };
}

static struct table_node **table_bucket(const struct table *t, uint64_t hash) {
        return &t->buckets[hash & (t->n_buckets - 1)];
}

struct table_node *table_find(const struct table *t, const char *key) {
        uint64_t hash = table_hash(t, key);

        for (struct table_node *node = *table_bucket(t, hash); node; node = node->next)
                if (node->hash == hash && strcmp(node->key, key) == 0)
                        return node;
        return NULL;
}

static void table_grow(struct table *t) {
        struct table grown = *t;

        grown.n_buckets = 2 * t->n_buckets;
        grown.buckets = calloc(grown.n_buckets, sizeof(struct table_node *));
        if (!grown.buckets)
                return; /* longer chains, no harm */
        for (size_t i = 0; i < t->n_buckets; i++) {
                struct table_node *node = t->buckets[i], *next;

                for (; node; node = next) {
                        struct table_node **bucket = table_bucket(&grown, node->hash);

                        next = node->next;
                        node->next = *bucket;
                        *bucket = node;
                }
        }
        free(t->buckets);
        *t = grown;
}

void table_insert(struct table *t, struct table_node *node) {
        struct table_node **bucket;

        if (t->n >= t->n_buckets)
                table_grow(t);
        node->hash = table_hash(t, node->key);
        bucket = table_bucket(t, node->hash);
        node->next = *bucket;
        *bucket = node;
        t->n++;
}

void table_remove(struct table *t, struct table_node *node) {
        struct table_node **p = table_bucket(t, node->hash);

        while (*p && *p != node)
                p = &(*p)->next;
        assert(*p == node);
        *p = node->next;
        t->n--;
}

struct table_node *table_next(const struct table *t, const struct table_node *node) {
        size_t i = 0;

        if (node) {
                if (node->next)
                        return node->next;
                i = (node->hash & (t->n_buckets - 1)) + 1;
        }
        for (; i < t->n_buckets; i++)
                if (t->buckets[i])
                        return t->buckets[i];
        return NULL;
}
