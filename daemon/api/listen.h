#pragma once
/*
 * Listening sockets
 *
 * Made with their mode and owner from the first moment. The file of a daemon that is gone is taken over, that of a living
 * one is not touched.
 *
 * Threading: at start, before there are others (the umask is changed for a moment).
 */

#include "base/why.h"
#include "conf/conf.h"

/* 0; -EADDRINUSE: somebody listens there; what the system said; each with a sentence. */
int listen_open(const struct conf_socket *socket, struct why *why, int *ret_fd);

/* Removes the file, if it still is this socket's, and closes. */
void listen_close(const struct conf_socket *socket, int fd);
