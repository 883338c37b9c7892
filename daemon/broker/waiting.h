#pragma once
/*
 * Waiting: how many callers wait for a token, of each user and in all
 *
 * While a provider is down callers pile up. Each costs memory, so there is an end to them; and none of
 * one user's takes a place from another user, who always finds half of all places free of the first.
 *
 * Threading: none of its own.
 * Sources:   design.md section 4 (slow_down).
 */

#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "base/table.h"

#define WAITING_MAX 131072 /* in all: twice the most that waiting_per_user allows */

struct waiting_user;

struct waiting {
        size_t max;
        size_t n;
        struct table users; /* those of whom somebody waits */
};

/* 0, -ENOMEM. */
int waiting_init(struct waiting *w, size_t max, const struct random *random);
void waiting_done(struct waiting *w); /* when nobody waits; one that is zeroed, too */

#define WAITING_E_USER 1 /* so many of this user wait already */
#define WAITING_E_ALL  2 /* so many of all users do */

/* A caller of `uid` begins to wait. `max_per_user` counts as half of all places at most. 0 and a place to be given
 * back; one of the above; -ENOMEM. */
int waiting_enter(struct waiting *w, uint32_t uid, size_t max_per_user,
                  struct waiting_user **ret_place);
void waiting_leave(struct waiting *w, struct waiting_user *place);

/* The most of one user that may wait. */
size_t waiting_share(const struct waiting *w, size_t max_per_user);
