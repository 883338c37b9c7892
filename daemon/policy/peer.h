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

enum peer_unit {
        PEER_UNIT_NOT_ASKED,  /* no rule names a unit */
        PEER_UNIT_KNOWN,      /* the only one with a name */
        PEER_UNIT_NONE,       /* it is in no unit of systemd's */
        PEER_UNIT_OF_OTHERS,  /* and this is a user's own daemon */
        PEER_UNIT_FOREIGN,    /* in a PID or cgroup namespace that we do not see into */
        PEER_UNIT_GONE,       /* the process has ended, or was moved while we looked */
        PEER_UNIT_HIDDEN,     /* /proc does not show other users' processes */
        PEER_UNIT_OLD_KERNEL, /* no SO_PEERPIDFD */
        PEER_UNIT_MAX,
};

/* Why the unit is unknown, as the rest of a sentence that begins with "its unit is unknown: "; NULL if it is known. */
extern const char *const peer_unit_reasons[PEER_UNIT_MAX];

struct peer {
        uid_t uid; /* effective, as are all of these, when it connected */
        gid_t gid;
        pid_t pid;     /* 0: unknown (a process in another PID namespace) */
        gid_t *groups; /* supplementary; owned */
        size_t n_groups;
        enum peer_unit unit_is;
        char *unit; /* the systemd unit, or NULL: unknown; owned */
};

/* Frees what it owns. */
void peer_done(struct peer *peer);
