#pragma once
/*
 * The database file: recognised before it is touched, brought to this version's schema, never
 * guessed at
 *
 * A connection is used by one thread at a time. A file that is not ours, damaged, or from a newer
 * version is refused with its bytes as they were.
 *
 * Threading: see above; blocks on the disk.
 * Errors:    negative errno, of the disk where the disk is to blame.
 */

#include <sqlite3.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/why.h"

#define DB_FILE "bearerd.db" /* in state_dir */
#define DB_APPLICATION_ID                                                                          \
        0x62726472 /* "brdr", in the file's header: file(1) and we know it by that */

sqlite3 *db_close(sqlite3 *db);
AUTO_DEFINE(sqlite3, db_close)

sqlite3_stmt *db_finalize(sqlite3_stmt *stmt);
AUTO_DEFINE(sqlite3_stmt, db_finalize)

/* Opens the file for writing (an empty one is made, mode 0600) and recognises it; nothing is
 * changed. `ret_version` is 0 when there is no schema yet. 0; -EBADMSG: damaged, not a database,
 * another program's, or a newer bearerd's; what the disk said otherwise; each with a sentence. */
int db_open(const char *path, struct why *why, int *ret_version, sqlite3 **ret);

/* What is to be done in one transaction. 0, or a negative errno with a sentence, which undoes it
 * all. */
typedef int db_change_fn(sqlite3 *db, void *user, struct why *why);

/* One transaction: durable when this returns 0. A negative errno with a sentence: undone, but for a
 * commit that failed on the disk, of which the next opening shows what became of it. */
int db_change(sqlite3 *db, db_change_fn *change, void *user, struct why *why);

/* Sets up write-ahead logging with a sync for each commit, and applies the missing migrations in
 * one transaction together with `also`, which may be NULL. All that is then seen is durable. */
int db_upgrade(sqlite3 *db, int version, db_change_fn *also, void *user, struct why *why);

/* Copies the log into the database file and syncs both: what this connection sees is on the disk,
 * even if the program that wrote it was killed before its sync. */
int db_fold(sqlite3 *db, struct why *why);

/* A second connection that only reads. */
int db_open_reader(const char *path, struct why *why, sqlite3 **ret);

int db_exec(sqlite3 *db, const char *sql);
int db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret);

/* Runs a statement that returns no rows, and resets it. */
int db_run(sqlite3_stmt *stmt);

/* What SQLite's result `rc`, just returned on this connection, is called elsewhere. */
int db_errno(sqlite3 *db, int rc);

/* The sentence for `r`, which the last call on this connection gave: what is wrong with the file
 * and what to do. Returns `r`. */
int db_explain(sqlite3 *db, int r, struct why *why);
