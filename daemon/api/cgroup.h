#pragma once
/*
 * A control group by its id
 *
 * Where /proc does not show the processes of others (ProtectProc=invisible), the kernel still tells the id of a peer's
 * cgroup, and that is the inode number of its directory. An id is never given twice, and a cgroup of version 2 is never
 * renamed, so that what was found once is remembered: the tree is walked once for each unit, not for each caller. Below a
 * unit, where its user may make directories, only so many are looked at.
 *
 * Threading: any.
 */

#include <stddef.h>
#include <stdint.h>

/* The path of the cgroup below `mount`, beginning with "/". 0; -ENOENT: it is not there, or too far
 * down in the tree, or there is no memory; -ENAMETOOLONG. */
int cgroup_path(const char *mount, uint64_t id, char *ret, size_t size);
