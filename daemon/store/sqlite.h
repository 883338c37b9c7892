#pragma once
/*
 * The store in SQLite: design.md section 6
 *
 * Threading: loop thread only; inside, one thread writes (writer.h).
 */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/auto.h"
#include "base/why.h"
#include "store/store.h"

/* Opens (makes, if there is none) state_dir/bearerd.db and reads the key, which is made on first
 * start, 32 random bytes, mode 0600. Takes the lock that keeps a second daemon off the directory.
 * Delivers done() from `event`.
 * 0; -EBUSY: another daemon has the directory; -EBADMSG: the key is not the one the database was
 * sealed under, or the file is damaged, another program's or a newer version's (nothing is
 * overwritten); -ENOKEY: the key is missing but rows are sealed under it; -EPERM: the key can be
 * read, or the directory written to, by others; what the disk said otherwise; each with a
 * sentence. */
int store_sqlite_open(const char *state_dir, const char *key_file, sd_event *event, struct why *why,
                      struct store **ret);

/* Waits until everything given is written, calls every done() still owed, then closes; so close the
 * store before what those callbacks refer to. put() and remove() answer -ESHUTDOWN meanwhile. Not
 * from within a done(). Returns NULL. */
struct store *store_sqlite_close(struct store *store);
AUTO_DEFINE(struct store, store_sqlite_close)

/* Changes given whose done() is still owed. */
size_t store_sqlite_pending(const struct store *store);

/* Transactions committed by put() and remove() so far; at most as many as changes, far fewer under
 * load. */
uint64_t store_sqlite_commits(const struct store *store);
