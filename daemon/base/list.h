#pragma once
/*
 * Doubly linked lists inside the structs they link
 *
 * A head is a struct list_link of its own, made by list_init(); list_entry() goes from a link back to its struct.
 */

#include <stdbool.h>
#include <stddef.h>

struct list_link {
        struct list_link *prev, *next;
};

#define list_entry(link, type, member) ((type *) (void *) ((char *) (link) -offsetof(type, member)))

static inline void list_init(struct list_link *head) {
        head->prev = head->next = head;
}

static inline bool list_is_empty(const struct list_link *head) {
        return head->next == head;
}

static inline void list_append(struct list_link *head, struct list_link *link) {
        link->prev = head->prev;
        link->next = head;
        head->prev->next = link;
        head->prev = link;
}

/* The link becomes a list of its own: removing it again does no harm. */
static inline void list_remove(struct list_link *link) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
        list_init(link);
}

/* Moves all links of `from` to the empty list `to`. */
static inline void list_move_all(struct list_link *from, struct list_link *to) {
        list_init(to);
        if (list_is_empty(from))
                return;
        *to = *from;
        to->prev->next = to;
        to->next->prev = to;
        list_init(from);
}
