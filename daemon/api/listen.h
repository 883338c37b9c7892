#pragma once
/*
 * Listening sockets
 *
 * Made with their mode and owner from the first moment. The file of a daemon that is gone is taken over, that of a living
 * one is not touched. A socket that the service manager has opened at the same path (systemd.socket(5)) is used as it is:
 * it keeps its mode and owner, and its file stays when the daemon goes, so that callers wait instead of failing.
 *
 * Threading: at start, before there are others (the umask is changed for a moment).
 */

#include "base/why.h"
#include "conf/conf.h"

/* 0; -EADDRINUSE: somebody listens there; what the system said; each with a sentence. */
int listen_open(const struct conf_socket *socket, struct why *why, int *ret_fd);

/* Logs what the service manager has handed over and is none of these. */
void listen_warn_of_others(const int *fds, size_t n);

/* Removes the file, unless the service manager made it, if it still is this socket's, and closes. */
void listen_close(const struct conf_socket *socket, int fd);
