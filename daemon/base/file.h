#pragma once
/*
 * Files that hold a secret, or configuration
 *
 * Threading: any; blocks on the disk, so only at start, on reload and in the store's thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/secret.h"
#include "base/why.h"

/* Reads a whole regular file of at most `max` bytes.
 * 0; -ENOENT, -EACCES, -EISDIR ...: what open(2) said; -EFBIG: larger than `max`; -EINVAL: not a regular file;
 * each with a sentence in `why`. */
int file_read(const char *path, size_t max, struct why *why, struct secret **ret);

/* The same for a secret, which must not be readable by others: -EPERM if group or others have any right
 * (the sentence names the chmod that mends it), or if it belongs to a user other than root and us. Files below
 * $CREDENTIALS_DIRECTORY are guarded by systemd and are exempt (systemd 257 gives them mode 0440 and an ACL). */
int file_read_secret(const char *path, size_t max, struct why *why, struct secret **ret);

/* True for a path below $CREDENTIALS_DIRECTORY. */
bool file_is_systemd_credential(const char *path);

/* The path with "%d" at its start replaced by $CREDENTIALS_DIRECTORY. The caller frees *ret.
 * -ENXIO: %d is used but the variable is not set; the sentence says to use LoadCredential=. */
int file_expand(const char *path, struct why *why, char **ret);
