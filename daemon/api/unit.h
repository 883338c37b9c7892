#pragma once
/*
 * Unit: the systemd unit that a process belongs to
 *
 * From a pidfd to the process's cgroup, and then a look whether it still is that process: an id that was given to another
 * one meanwhile cannot lend it somebody's rights. Where the kernel tells which cgroup the pidfd's process is in, the
 * directory of that name must be this very cgroup. What cannot be told is unknown.
 *
 * The unit is the first component of the path after the slices, never a later one, which its user could choose. A user's
 * own daemon sees below its user@UID.service in the same way: there it is the user who chooses.
 *
 * Threading: any; reads /proc and /sys/fs/cgroup.
 * Sources:   unix(7), SO_PEERPIDFD (Linux 6.5); pidfd_open(2); ioctl PIDFD_GET_INFO (6.13, with the cgroup); design.md
 *            section 7.
 */

#include "policy/peer.h"

#define UNIT_VIEW_SYSTEM ((uid_t) -1) /* else: the user whose daemon this is */

/* Fills peer->unit and peer->unit_is for whoever has connected `fd`, or for the process of a pidfd. 0; -ENOMEM, and then
 * nothing is filled. */
int unit_of_peer(int fd, uid_t view, struct peer *peer);
int unit_of_pidfd(int pidfd, uid_t view, struct peer *peer);

/* The unit in a cgroup path. 0; -ENOMEM. */
int unit_of_cgroup(const char *path, uid_t view, struct peer *peer);

/* Why the units of callers cannot be known here at all, as one of peer_unit_reasons; PEER_UNIT_KNOWN if they can. */
enum peer_unit unit_trouble(void);
