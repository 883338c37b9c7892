#pragma once
/*
 * Listening sockets
 *
 * Made with their mode and owner before anybody can connect. The file of a daemon that is gone is taken over, that of a living
 * one is not touched.
 *
 * Threading: loop thread only.
 */

#include "base/why.h"
#include "conf/conf.h"

/* 0; -EADDRINUSE: somebody listens there; what the system said; each with a sentence. */
int listen_open(const struct conf_socket *socket, struct why *why, int *ret_fd);
