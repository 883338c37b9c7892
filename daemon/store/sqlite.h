#pragma once
/*
 * The store in SQLite: design.md section 6
 */

#include <systemd/sd-event.h>

#include "base/why.h"
#include "store/store.h"

/* Opens (makes, if there is none) state_dir/bearerd.db and reads the key, which is made on first start, 32 random bytes,
 * mode 0600. Takes the lock that keeps a second daemon off the directory. Delivers done() from `event`.
 * 0; -EBUSY: another daemon has the directory; -EBADMSG: the key is not the one the database was sealed under, or the
 * file is damaged (nothing is overwritten); -EPERM: the key can be read by others; what the disk said otherwise;
 * each with a sentence. */
int store_sqlite_open(const char *state_dir, const char *key_file, sd_event *event, struct why *why,
                      struct store **ret);

/* Waits until everything given is written, then closes. Returns NULL. */
struct store *store_sqlite_close(struct store *store);
