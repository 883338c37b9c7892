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

#define SERVER_CONNECTION_MEMORY 8192  /* bytes for each; performance.md section 3 */
#define SERVER_CONNECTIONS_MAX   16384 /* at once, or as many as there are descriptors for */

struct audit;
struct feed;
struct loopback;
struct server;
struct streams;

struct server_parts { /* all borrowed until the server has stopped */
        const struct conf *conf;
        struct broker *broker;           /* only touched on the loop */
        const struct loopback *loopback; /* the same */
        struct cache *cache;
        struct audit *audit;
        struct feed *feed;
        const struct clock *clock;
        struct inbox *loop; /* where calls cross to */
        const int *fds; /* listening, one for each of conf->sockets; only those of http are used */
};

/* 0; -ENOMEM; what the system said. */
int server_start(const struct server_parts *parts, struct server **ret);

/* Takes no more connections, answers what is under way, and posts `stopped` to the loop when the last answer is out.
 * The broker must have been stopped before. */
void server_stop(struct server *s, struct message *stopped);

/* The feed has a new event. Any thread. */
void server_news(struct server *s);

/* After `stopped` has run. Returns NULL. */
struct server *server_free(struct server *s);

/* --- for the rest of api/ --- */

const struct server_parts *server_parts(const struct server *s);
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
