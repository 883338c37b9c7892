#pragma once
/*
 * Unit: the systemd unit that the process at the other end of a socket belongs to
 *
 * From the socket's pidfd to the process's cgroup, and then a look whether it still is that process: an id that
 * was given to another one meanwhile cannot lend it somebody's rights. What cannot be told is unknown.
 *
 * Threading: any; reads /proc.
 * Sources:   unix(7), SO_PEERPIDFD (Linux 6.5); design.md section 7.
 */

/* 0, *ret for the caller to free; -ENODATA: unknown (no systemd unit, another PID namespace, gone, an older kernel); -ENOMEM. */
int unit_of_peer(int fd, char **ret);

/* The unit in a cgroup path: the first component after the slices, never a later one, which its user could choose.
 * 0, -ENODATA, -ENOMEM. */
int unit_of_cgroup(const char *path, char **ret);
