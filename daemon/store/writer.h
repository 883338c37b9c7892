#pragma once
/*
 * The writer: one thread that owns the writing connection
 *
 * Takes all changes that wait, writes them in one transaction, and posts the results back to the
 * loop in the order in which the changes were given. It sees sealed bytes only, never a secret.
 *
 * Threading: all functions: loop thread only. done() is called from the loop, or from
 *            writer_stop().
 * Errors:    a change that fails reports its own errno and takes no other change with it.
 */

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/auto.h"
#include "base/inbox.h"
#include "store/store.h"

struct writer;

enum change_kind {
        CHANGE_PUT,
        CHANGE_MARK, /* of credential and subject alone, as is CHANGE_REMOVE */
        CHANGE_REMOVE,
};

struct change {
        struct message finished; /* first; its result, on the way to the loop */
        struct change *next;     /* while it waits */
        struct writer *writer;
        enum change_kind change;
        enum record_kind kind;
        bool in_doubt;
        wall_t obtained_at;
        wall_t expires_at;
        const char *credential; /* copies, behind this struct, as is `sealed` */
        const char *subject;
        uint8_t *sealed;
        size_t sealed_len;
        store_done_fn *done; /* may be NULL */
        void *user;
        int r; /* the result */
};

/* With room for `sealed_len` bytes. NULL: out of memory. */
struct change *change_new(const char *credential, const char *subject, size_t sealed_len);
struct change *change_free(struct change *change);
AUTO_DEFINE(struct change, change_free)

/* Takes over `db` (also on failure), which must be upgraded (db.h). 0 or a negative errno. */
int writer_new(sqlite3 *db, sd_event *event, struct writer **ret);

/* Writes what waits, ends the thread, calls every done() still owed; writer_give() answers
 * -ESHUTDOWN from then on. */
void writer_stop(struct writer *w);

/* Stops, then closes the connection, which folds in the log if no other is open. Returns NULL. */
struct writer *writer_free(struct writer *w);
AUTO_DEFINE(struct writer, writer_free)

/* Takes over `change`, on failure too. 0; -ESHUTDOWN: after writer_stop(). */
int writer_give(struct writer *w, struct change *change);

size_t writer_pending(const struct writer *w);   /* changes given whose done() is still owed */
uint64_t writer_commits(const struct writer *w); /* transactions so far */
