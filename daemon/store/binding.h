#pragma once
/*
 * Binding: which key a database is sealed under
 *
 * The table `meta` holds a salt and the check value of the key that fits (seal.h), so a wrong key
 * is told before any row is opened.
 *
 * A change of the key (rekey.c) ends with the new key taking the old one's place as key_file. If
 * that was cut short, the database says which of the two fits, and the next opening tidies up.
 *
 * Threading: any, one connection at a time; blocks on the disk, so only at start.
 */

#include <sqlite3.h>

#include "base/secret.h"
#include "base/why.h"
#include "store/seal.h"

struct binding {
        uint8_t salt[SEAL_SALT_SIZE];
        uint8_t check[SEAL_CHECK_SIZE];
};

/* Binds to `key` with a new salt, in memory. 0, -ENOMEM, -EIO, with a sentence. */
int binding_make(const struct secret *key, struct why *why, struct binding *ret,
                 struct seal **ret_seal);

/* Writes it, within the caller's transaction. 0, or what the disk said, with a sentence. */
int binding_write(sqlite3 *db, const struct binding *b, struct why *why);

/* Whether this is the key that the database is sealed under. 0; -EBADMSG: the binding is damaged;
 * -ENOMEM, -EIO; each with a sentence. */
int binding_fits(sqlite3 *db, const struct secret *key, struct why *why, bool *ret);

/* Finds the key, which is made when there is none and nothing can be lost by it, and brings the
 * database of that schema version (db_open()) up to date.
 * 0, the caller owns *ret; -ENOKEY: key_file is missing but rows are sealed under it; -EBADMSG: it
 * does not fit, or the binding is damaged; -EPERM: others can read it; -EINVAL: it is no key; what
 * the disk said otherwise; each with a sentence. */
int binding_unlock(sqlite3 *db, int version, const char *key_file, struct why *why,
                   struct seal **ret);
