#pragma once
/*
 * Sockets: those that are listened on, from whoever they came
 *
 * A service manager may hand them over (sd_listen_fds(3)): those of a socket unit, and those that an earlier bearerd has left
 * in the descriptor store. One belongs to the socket of the configuration that has its path; else to the one that has its
 * name, where [daemon]'s is called "bearerd", or "bearerd.socket", as the unit. What is not handed over is made. While a
 * restart goes on, callers wait in the backlog of a socket that was handed over, or stored; so it is not removed at the end.
 *
 * Threading: loop thread only.
 */

#include "base/why.h"
#include "conf/conf.h"

struct sockets;

/* Takes what was handed over. 0; -ENOMEM; -EINVAL: something else than a listening Unix socket; with a sentence. */
int sockets_new(struct why *why, struct sockets **ret);
struct sockets *sockets_free(
        struct sockets *s); /* removes those that were made, unless they are stored */

/* A descriptor for each socket of the configuration, in the caller's array; nothing that is listened on changes. 0; what
 * listen_open() said, with a sentence. */
int sockets_prepare(struct sockets *s, const struct conf *conf, struct why *why, int **ret_fds);

/* Closes and removes what was made for a configuration that is not taken. */
void sockets_abandon(struct sockets *s);

/* This configuration is in force: what it has no use for is closed and removed, mode and owner follow it. */
void sockets_adopt(struct sockets *s, const struct conf *conf);

/* Leaves those that were made with the service manager, if there is one, for the next bearerd. */
void sockets_store(struct sockets *s);
