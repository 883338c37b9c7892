#pragma once
/*
 * Events: reads /v1/events, as it comes
 *
 * One connection, and the last id that came through it, so that the next one goes on behind that. On libc alone; asks in
 * HTTP/1.0, whose answer is the stream itself, without chunks.
 *
 * Errors:    negative errno, listed at each function.
 * Threading: one thread to a reader.
 * Sources:   WHATWG HTML section 9.2 (server-sent events); bearerd(8), Events.
 */

#include <stddef.h>

#include "client/wire.h"

#define EVENTS_ID_SIZE   64
#define EVENTS_TYPE_SIZE 64
#define EVENTS_LINE_MAX  (32 * 1024 * 1024) /* bytes: a state of all credentials there may be */
#define EVENTS_SILENCE_S 60                 /* the daemon says something every 15 s */

struct events {
        int fd;                  /* -1: not connected */
        int status;              /* of the answer's head; 0: none yet */
        char id[EVENTS_ID_SIZE]; /* of the last event; "": none yet */
        char *buffer;            /* what has come and is not read yet */
        size_t begin, used, capacity;
        int64_t heard; /* seconds of CLOCK_BOOTTIME: when something came last */
};

#define EVENTS_NONE ((struct events){ .fd = -1 })

/* Connects and asks. 0; what wire_connect() said; -EINVAL: a path that is none. */
int events_open(struct events *e, const char *socket_path, const struct wire_path *path);

/* Closes the connection; the id stays. */
void events_close(struct events *e);
void events_done(struct events *e); /* that, and the memory */

/* Waits for the next event, and copies its type. *ret_data is its JSON, valid until the next call. 0; -ETIMEDOUT: not within
 * `timeout_ms`, ask again; -ECONNRESET: the stream has ended, or is silent for EVENTS_SILENCE_S; -EPROTO: the answer is no
 * stream: see `status`; *ret_data is its body then; -EBADMSG; -ENOMEM; what the kernel said. */
int events_next(struct events *e, int timeout_ms, char ret_type[EVENTS_TYPE_SIZE],
                const char **ret_data);
