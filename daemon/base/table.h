#pragma once
/*
 * Hash table from a text to the struct that holds it
 *
 * Intrusive and chained, so that look-up, insertion and removal neither allocate nor leave anything behind,
 * however many keys come and go (json-c's table keeps a marker for each removed key). Keyed with SipHash-1-3 under a random
 * key, since the texts come from callers. It grows with its contents and never shrinks.
 *
 * Threading: none of its own.
 * Sources:   Aumasson, Bernstein: SipHash, a fast short-input PRF.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/random.h"

struct table_node {
        struct table_node *next;
        uint64_t hash;
        const char *
                key; /* belongs to the struct around this; must not change while it is in a table */
};

struct table {
        struct table_node **buckets;
        size_t n_buckets; /* a power of two */
        size_t n;
        uint64_t seed[2];
};

#define table_entry(node, type, member)                                                            \
        ((type *) (void *) ((char *) (node) -offsetof(type, member)))

int table_init(struct table *t, const struct random *random); /* 0 or -ENOMEM */
void table_done(struct table *t);                             /* the nodes are the caller's */

struct table_node *table_find(const struct table *t, const char *key); /* NULL: absent */

/* Inserts a node whose key is set and not in the table yet. Cannot fail: a table that finds no memory to grow gets slower. */
void table_insert(struct table *t, struct table_node *node);
void table_remove(struct table *t, struct table_node *node); /* must be in the table */

/* Walks all nodes in no order: table_next(t, NULL) is the first, NULL ends. The node may be removed once its successor is known. */
struct table_node *table_next(const struct table *t, const struct table_node *node);
