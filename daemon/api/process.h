#pragma once
/*
 * Process: what the kernel would say of a process if it connected now
 *
 * For explanations only: who really connects is asked by its socket (caller.h).
 *
 * Threading: any; reads /proc.
 * Sources:   proc(5), /proc/PID/status; pidfd_open(2).
 */

#include "policy/peer.h"

/* Fills `peer`, for peer_done(), also when it fails. 0; -ESRCH: no such process, or it has ended meanwhile; -EINVAL: it is a
 * thread, no process; -EACCES: /proc does not show it; -ENOMEM. */
int process_peer(pid_t pid, uid_t view, struct peer *peer);
