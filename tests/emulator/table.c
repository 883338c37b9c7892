#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

static size_t table_hash(const char *key) { /* FNV-1a; the keys are random already */
        uint64_t h = 0xcbf29ce484222325;

        for (; *key; key++)
                h = (h ^ (unsigned char) *key) * 0x100000001b3;
        return (size_t) (h ^ h >> 32);
}

static struct table_entry **table_bucket(const struct table *t, const char *key) {
        return &t->buckets[table_hash(key) & (t->n_buckets - 1)];
}

static void table_grow(struct table *t) {
        free(t->buckets);
        t->n_buckets = t->n_buckets ? t->n_buckets * 2 : 64;
        t->buckets = must(calloc(t->n_buckets, sizeof(*t->buckets)));
        for (struct table_entry *e = t->oldest; e; e = e->newer) {
                struct table_entry **bucket = table_bucket(t, e->key);

                e->chain = *bucket;
                *bucket = e;
        }
}

void *table_put(struct table *t, const char *key, size_t size, int64_t expires, int64_t now) {
        struct table_entry *e = must(calloc(1, size)), **bucket;

        while (t->oldest && (t->oldest->expires <= now || t->n >= TABLE_MAX))
                table_remove(t, t->oldest);
        if (t->n >= t->n_buckets)
                table_grow(t);
        e->key = must_strdup(key);
        e->expires = expires;
        bucket = table_bucket(t, key);
        e->chain = *bucket;
        *bucket = e;
        e->older = t->newest;
        if (t->newest)
                t->newest->newer = e;
        else
                t->oldest = e;
        t->newest = e;
        t->n++;
        return e;
}

void *table_find(const struct table *t, const char *key, int64_t now) {
        if (t->n == 0)
                return NULL;
        for (struct table_entry *e = *table_bucket(t, key); e; e = e->chain) {
                if (strcmp(e->key, key) == 0)
                        return e->expires > now ? e : NULL;
        }
        return NULL;
}

void table_remove(struct table *t, void *entry) {
        struct table_entry *e = entry, **link = table_bucket(t, e->key);

        while (*link != e)
                link = &(*link)->chain;
        *link = e->chain;
        if (e->older)
                e->older->newer = e->newer;
        else
                t->oldest = e->newer;
        if (e->newer)
                e->newer->older = e->older;
        else
                t->newest = e->older;
        t->n--;
        free(e->key);
        free(e);
}

void table_clear(struct table *t) {
        while (t->oldest)
                table_remove(t, t->oldest);
        free(t->buckets);
        *t = (struct table){ 0 };
}
