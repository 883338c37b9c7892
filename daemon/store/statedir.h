#pragma once
/*
 * The state directory: made, checked, claimed
 *
 * Threading: any; blocks on the disk, so only at start.
 */

#include "base/why.h"

/* Makes `path` (mode 0700, missing parents too) and takes the lock file in it, which is held as
 * long as *ret stays open: a second daemon on the same directory would refresh the same grants, and
 * each refresh token works once.
 * 0, the caller closes *ret; -EBUSY: another bearerd has it; -EPERM: others could write to it;
 * -ENOTDIR; what the disk said otherwise; each with a sentence. */
int statedir_claim(const char *path, struct why *why, int *ret);

/* Makes the entry of a new file or directory `path` durable: fsync(2) of the directory it is in.
 * 0 or a negative errno. */
int statedir_sync_parent(const char *path);
