#pragma once
/*
 * A store in memory, for scenarios
 *
 * Nothing becomes durable by itself: changes wait until the test completes them, in the order in
 * which they were given, with the result the test wants. get(), each() and page() see what is
 * durable, as with the real one.
 *
 * Threading: one thread.
 */

#include <stddef.h>

#include "base/auto.h"
#include "store/store.h"

struct fake_store;

struct fake_store *fake_store_new(void); /* aborts when out of memory */
struct fake_store *fake_store_free(
        struct fake_store *f); /* done() of what still waits is not called */
AUTO_DEFINE(struct fake_store, fake_store_free)

struct store *fake_store_seam(struct fake_store *f); /* valid as long as `f` */

/* A durable row, without any waiting: the state that a start finds. */
void fake_store_set(struct fake_store *f, const struct record *record);

/* get() of this row answers -EBADMSG from now on, as if it had been altered on the disk; put()
 * heals it. */
void fake_store_damage(struct fake_store *f, const char *credential, const char *subject);

/* The next put(), mark() or remove() itself answers `r`. */
void fake_store_refuse_next(struct fake_store *f, int r);

/* The next `n` changes to complete end with `r` and are not applied. */
void fake_store_fail(struct fake_store *f, size_t n, int r);

/* Completes the oldest `n` (or as many as there are) and calls their done(). Returns how many. */
size_t fake_store_complete(struct fake_store *f, size_t n);

/* Completes until none waits, also what a done() gives meanwhile. Returns how many. */
size_t fake_store_complete_all(struct fake_store *f);

/* The power goes: what waits is lost, its done() never called; what is durable stays. */
void fake_store_crash(struct fake_store *f);

/* The oldest `n` become durable, and nobody is told: the power goes just after a commit. */
void fake_store_tear(struct fake_store *f, size_t n);

size_t fake_store_waiting(const struct fake_store *f);
size_t fake_store_rows(const struct fake_store *f);
