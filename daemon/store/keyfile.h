#pragma once
/*
 * key_file: the 32 random bytes that everything stored is sealed under
 *
 * Threading: any; blocks on the disk, so only at start.
 */

#include "base/secret.h"
#include "base/why.h"

/* Reads the key under the rules of file_read_secret(). The caller owns *ret.
 * KEYFILE_E_ABSENT: there is none (no sentence: what that means depends on the database); -EINVAL:
 * not 32 bytes; -EPERM: others can read it; what the disk said otherwise; each with a sentence. */
#define KEYFILE_E_ABSENT 1
int keyfile_read(const char *path, struct why *why, struct secret **ret);

/* Makes a new key, mode 0600, durable when this returns. Appears whole or not at all and replaces
 * nothing.
 * 0; -EEXIST: there is one by now; what the disk said otherwise; each with a sentence. */
int keyfile_make(const char *path, struct why *why, struct secret **ret);

/* --- a key that is to follow the one in `path`: it lies beside it, as path.new --- */

/* Makes one, mode 0600, durable when this returns, when `path` can be replaced by it: -EROFS,
 * -EACCES ... as the directory said, -EOPNOTSUPP: `path` is a symbolic link or a mounted file; each
 * with a sentence. */
int keyfile_stage(const char *path, struct why *why, struct secret **ret);

/* 0, or KEYFILE_E_ABSENT: there is none, or what is there is no key of ours. */
int keyfile_read_staged(const char *path, struct secret **ret);

/* Gives it the name `path`, durably. What the disk said, with a sentence. */
int keyfile_promote(const char *path, struct why *why);

/* Removes it, if it is there and can be: it is of no use. */
void keyfile_drop_staged(const char *path);
