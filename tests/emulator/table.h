#pragma once
/*
 * Table: what the authority remembers, by name, until it expires
 *
 * A hash table of flat entries in the order they came. Each new entry pushes out the oldest ones
 * that have expired, and the oldest of all beyond TABLE_MAX, so a benchmark that runs for hours
 * does not grow it without bound.
 *
 * Threading: the owner locks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_MAX 1000000 /* entries */

struct table_entry { /* embed as the first member */
        struct table_entry *chain, *older, *newer;
        char *key;
        int64_t expires; /* UNIX seconds */
};

struct table {
        struct table_entry **buckets;
        size_t n_buckets, n;
        struct table_entry *oldest, *newest;
};

/* A zeroed entry of `size` bytes that begins with struct table_entry; the table frees it. */
void *table_put(struct table *t, const char *key, size_t size, int64_t expires, int64_t now);

/* The entry, or NULL if there is none or it has expired. Valid until the next call that
 * changes the table. */
void *table_find(const struct table *t, const char *key, int64_t now);

void table_remove(struct table *t, void *entry);
void table_clear(struct table *t); /* of all entries; also releases the table's own memory */
