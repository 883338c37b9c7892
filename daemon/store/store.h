#pragma once
/*
 * Store: what survives a restart
 *
 * A seam. store/sqlite.c keeps rows in state_dir/bearerd.db, their secrets sealed (seal.h);
 * tests/fake_store.c keeps them in memory. One row for each (credential, subject): a grant, or the
 * static token an operator has set.
 *
 * Writing is asynchronous, so that no disk ever holds up the loop and many changes share one
 * commit: put(), mark() and remove() return at once; done() says, from the loop, that the change is
 * durable (or why it is not). Changes are applied, and their done() is called, in the order in
 * which they were given. Reading sees what is durable, and may see it a moment before done() says
 * so.
 *
 * Units:     wall_t, seconds; INT64_MAX stands for never.
 * Threading: loop thread only. The SQLite store has a writer thread inside.
 * Errors:    -ENOSPC, -EIO, -EROFS ... as the disk said; -EBADMSG: the row is damaged, moved or
 *            sealed under another key.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/secret.h"
#include "base/why.h"

#define STORE_E_ABSENT   1     /* get(): there is no such row */
#define STORE_SECRET_MAX 65536 /* bytes; no answer of a provider is longer */

enum record_kind {
        RECORD_STATIC_TOKEN, /* `secret` is the pat or sat itself */
        RECORD_GRANT,        /* `secret` is the refresh token */
        RECORD_KIND_MAX,
};

struct record {
        const char *credential; /* borrowed on put() */
        const char *subject;    /* "" for the credential itself */
        enum record_kind kind;
        struct secret *secret; /* borrowed on put(); on get() the caller owns it; NULL in each() */
        wall_t obtained_at;    /* by our clock */
        wall_t expires_at;     /* of the secret, by our clock */
        bool in_doubt; /* a refresh may have been sent whose answer we do not have; not sealed */
};

/* `r` is 0 or a negative errno. */
typedef void store_done_fn(void *user, int r);

/* Sees one row's metadata, valid for the length of the call. Anything but 0 ends the walk. */
typedef int store_row_fn(void *user, const struct record *metadata);

struct store {
        /* Durable when done(user, 0) is called, once, never from within put(); copies what it
         * needs. `done` may be NULL.
         * 0; -ENOMEM, -EIO (sealing failed), -EFBIG (STORE_SECRET_MAX), -ESHUTDOWN: done() will not
         * be called. */
        int (*put)(void *self, const struct record *record, store_done_fn *done, void *user);

        /* The same for taking a row away; one that does not exist is gone already. */
        int (*remove)(void *self, const char *credential, const char *subject, store_done_fn *done,
                      void *user);

        /* Sets in_doubt of a row that exists, and leaves the rest of it alone: the intent that is
         * written before a refresh token is spent. Queued and durable as with put(); -ENOENT from
         * done(): there is no such row. 0; -ENOMEM, -ESHUTDOWN: done() will not be called. */
        int (*mark)(void *self, const char *credential, const char *subject, store_done_fn *done,
                    void *user);

        /* 0, with *ret filled: credential and subject are the caller's own pointers, `secret` is
         * the caller's.
         * STORE_E_ABSENT; -EBADMSG with a sentence. Less than a millisecond: for the call that
         * needs it, not in loops. */
        int (*get)(void *self, const char *credential, const char *subject, struct why *why,
                   struct record *ret);

        /* Walks all rows, in no particular order, and opens no secret: for start-up, where it finds
         * out what there is (100,000 rows in about a tenth of a second). row() may not start
         * another walk. 0, what row() returned, or a negative errno with a sentence. */
        int (*each)(void *self, store_row_fn *row, void *user, struct why *why);

        /* Shows the metadata of the first `limit` rows of one credential whose subject comes after
         * `after`, in the order of strcmp(); NULL: from the start, where the empty subject stands.
         * Finds its place by the index, so each page costs the same. row() may not ask for another
         * page. 0, what row() returned, or a negative errno with a sentence. */
        int (*page)(void *self, const char *credential, const char *after, size_t limit,
                    store_row_fn *row, void *user, struct why *why);

        void *self;
};
