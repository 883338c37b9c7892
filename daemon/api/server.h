#pragma once
/*
 * Server: HTTP/1.1 on Unix sockets, design.md section 4
 *
 * One thread serves all connections of all sockets. It drives libmicrohttpd, one instance for each socket, from an epoll
 * loop of its own, since the library's stalls when 128 events are ready at once (performance.md section 3). The library
 * does the accepting: of connections handed to it, it does not know that TCP's options are not for them. Cached tokens are answered right there; all else crosses to the loop.
 *
 * Threading: server_start() and server_stop() from the loop's thread.
 */

#include <microhttpd.h>

#include "api/caller.h"
#include "base/clock.h"
#include "base/inbox.h"
#include "broker/broker.h"
#include "broker/cache.h"
#include "conf/conf.h"

#define SERVER_CONNECTION_MEMORY                                                                   \
        8160 /* bytes for each; performance.md section 3; two pages with what malloc adds */
#define SERVER_CONNECTIONS_MAX 16384 /* at once, or as many as there are descriptors for */

struct audit;
struct feed;
struct loopback;
struct server;
struct streams;

struct reload_outcome { /* all borrowed */
        int r;          /* 0: taken; else `why` or the report says what is wrong */
        const struct conf_report *report;
        const char *why;
        const struct conf *before, *after; /* of what was taken */
};

typedef void reload_done_fn(void *user, const struct reload_outcome *outcome);

struct server_parts {                    /* all borrowed until the server has stopped */
        const struct conf *conf;         /* the first; server_prepare() brings others */
        struct broker *broker;           /* only touched on the loop */
        const struct loopback *loopback; /* the same */
        struct cache *cache;
        struct audit *audit;
        struct feed *feed;
        const struct clock *clock;
        /* Reloads the configuration; done() is called once, from the loop, perhaps from within. */
        void (*reload)(void *user, reload_done_fn *done, void *done_user);
        void *reload_user;
        const bool *refused; /* the last reload was; loop; NULL: nobody can tell */
        struct inbox *loop;  /* where calls cross to */
        const int *fds; /* listening, one for each of conf->sockets; only those of http are used */
};

/* 0; -ENOMEM; what the system said. */
int server_start(const struct server_parts *parts, struct server **ret);

struct server_change;

/* Gets ready for another configuration, whose sockets have these descriptors: a socket keeps its connections as long as it
 * keeps its descriptor. 0, -ENOMEM. */
int server_prepare(struct server *s, const struct conf *conf, const int *fds,
                   struct server_change **ret);

/* The serving thread takes it over, and posts `switched` to the loop: every call that comes before was judged by the old
 * configuration, every later one by the new. Takes over `change`; *conf is borrowed until the next one. */
void server_switch(struct server *s, struct server_change *change, struct message *switched);
struct server_change *server_change_free(struct server_change *change); /* not taken over */

/* After `switched`, before the broker takes over: judges the calls that are with the loop anew. */
void server_judge_again(struct server *s);

/* The serving thread posts `pong` to the loop, if it lives. One at a time. */
void server_ping(struct server *s, struct message *pong);

/* Takes no more connections, answers what is under way, and posts `stopped` to the loop when the last answer is out.
 * Who waits for the broker is answered by it. */
void server_stop(struct server *s, struct message *stopped);

/* The feed has a new event. Any thread. */
void server_news(struct server *s);

/* After `stopped` has run. Returns NULL. */
struct server *server_free(struct server *s);

/* --- for the rest of api/ --- */

const struct server_parts *server_parts(const struct server *s);
const struct conf *server_conf(const struct server *s); /* serving thread */
struct list_link *server_calls(struct server *s);       /* loop: struct call */
/* Serving thread: room for `n` bytes of a request, given back with server_release(). False: this user has no more. */
bool server_hold(struct MHD_Connection *connection, size_t n);
void server_release(struct MHD_Connection *connection, size_t n);
/* Serving thread, which has the connection: `caller` follows the configuration in force. False: it cannot be known. */
bool server_knows(const struct server *s, const struct caller *caller);
bool server_is_stopping(const struct server *s); /* serving thread */

struct streams *server_streams(struct server *s);
void server_post(struct server *s, struct message *m); /* to the serving thread; any thread */

/* Serving thread: nobody looks at a connection while it is suspended. */
void server_suspend(struct server *s, struct MHD_Connection *connection);
void server_resume(struct server *s, const struct caller *caller,
                   struct MHD_Connection *connection);

/* Serving thread: streams_hung_up(what) is called when the peer hangs up. 0, or what epoll_ctl(2) said. */
int server_watch_peer(struct server *s, int fd, const void *what);
void server_unwatch_peer(struct server *s, int fd);

/* A token of this credential was handed out. Serving thread. */
void server_count(struct server *s, const struct conf_credential *c);
uint64_t server_counted(const struct server *s, const struct conf_credential *c); /* any thread */

/* Tells the loop that a token was used after its time to be renewed. Serving thread. */
void server_nudge(struct server *s, const char *key);
