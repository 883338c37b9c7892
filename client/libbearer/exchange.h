#pragma once
/*
 * Exchange: one question to the daemon, and its answer, without waiting
 *
 * exchange_step() does what can be done now, and says what to wait for. It takes a kept connection
 * where there is one, makes a new one where that has gone stale, and tries again while the daemon is
 * being restarted: every question that the library has may be asked twice.
 *
 * Units:     instants are microseconds of CLOCK_BOOTTIME.
 * Threading: bearer_lock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/wire.h"

#define LINK_KEPT_MAX 4 /* idle connections of one client */

/* Where the daemon is, and the connections that are kept to it. */
struct link {
        char path[WIRE_SOCKET_MAX];
        int kept[LINK_KEPT_MAX];
        int n_kept;
        bool reached; /* there has been an answer from there */
};

void link_close(struct link *l);

/* Takes a descriptor, and moves it away from where standard input and output belong: a program that has
 * closed them must not print into ours, nor close it with its dup2(). As it came if negative. */
int link_lift(int fd);                           /* the descriptor, or -1 with errno */
int link_connect(const char *path, int *ret_fd); /* 0 or a negative errno; never waits */

enum exchange_state {
        EXCHANGE_CONNECT,
        EXCHANGE_SEND,
        EXCHANGE_RECEIVE
};

struct exchange {
        struct link *link;
        enum exchange_state state;
        char *text; /* owned: the request */
        size_t len, sent;
        int fd; /* -1: none */
        bool kept;
        struct wire_reading reading;
        int64_t asked_us;    /* when the connection was there to ask: an answer is not older */
        int64_t until_us;    /* then it is over */
        int64_t patience_us; /* a refused connection is tried again until then */
        int64_t again_us;    /* not before */
        int64_t pause_us;
        unsigned hang_ups, denials;
        int refusal;  /* what connect() said last; 0 */
        int epoll_fd; /* -1; else where `fd` is registered if `watched` */
        bool watched;
};

/* Takes `text`. */
void exchange_begin(struct exchange *x, struct link *link, char *text, size_t len, int64_t now_us,
                    int64_t until_us, bool patient);
void exchange_done(struct exchange *x);

/* 1: *ret is the answer; 0: call again when x->fd is ready for exchange_events(), or at
 * exchange_wakes(); negative errno: -ECONNREFUSED, -ECONNRESET, -ETIMEDOUT, -EACCES, -EPROTO, and
 * what the system says. */
int exchange_step(struct exchange *x, int64_t now_us, struct wire_answer *ret);
short exchange_events(const struct exchange *x); /* POLLIN, POLLOUT, or 0: time alone */
int64_t exchange_wakes(const struct exchange *x);
