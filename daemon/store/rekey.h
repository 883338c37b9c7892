#pragma once
/*
 * A new key for everything stored
 *
 * Threading: none: for a program that does this alone, while no daemon runs on the directory.
 */

#include <stddef.h>

#include "base/why.h"

/* Seals all of state_dir/bearerd.db anew, under a new key, in one transaction.
 *
 * Without `new_key_file` a random key takes the place of key_file. Cut short at any instant, by a
 * kill or a power cut, the database is wholly under the one key or the other, both are there, and
 * the next opening (or rekey) finds the one that fits.
 *
 * With it, the key is read from that file, which is made if there is none, and key_file is left
 * alone: for a key_file where nothing can be written, as a systemd credential. The caller then has
 * to put the new file in its place before the daemon starts.
 *
 * The old key goes with everything that it can still open in this directory. A key_file that
 * several state directories share must be changed by `new_key_file`, one directory after the other.
 *
 * 0, with the number of rows; -EBUSY: a daemon is running; -ENOENT: there is no database; -EROFS,
 * -EACCES, ...: nothing can be written beside key_file; -EINVAL: the new key is the old one;
 * -EBADMSG: a row is damaged; otherwise as store_sqlite_open(). Each with a sentence. */
int store_sqlite_rekey(const char *state_dir, const char *key_file, const char *new_key_file,
                       struct why *why, size_t *ret_rows);
