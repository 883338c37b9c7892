#pragma once
/*
 * Peer: who is at the other end of a connection, as the kernel says
 *
 * Plain data, filled by api/caller.c. What the kernel could not say is unknown and matches no rule.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PEER_OVERFLOW_ID                                                                           \
        65534 /* an id from a user namespace that does not map to ours: could be anyone */

struct peer {
        uid_t uid;
        gid_t gid;
        pid_t pid;     /* 0: unknown (a process in another PID namespace) */
        gid_t *groups; /* supplementary; owned */
        size_t n_groups;
        char *unit; /* the systemd unit, or NULL: unknown; owned */
};
