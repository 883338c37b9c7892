#pragma once
/*
 * Streams: connections that read events as they happen
 *
 * A stream keeps no queue: it knows the number of the last event it has had, sends one piece at a time, and takes the next
 * one from the feed when its connection has room. One that reads too slowly, or comes back too late, finds the next event
 * gone from the feed, and is sent the state of its credentials instead. After a reload every stream gets the state under the
 * new configuration, or ends if that has nothing for it: from the switch on nothing is sent that the old one allowed. While there is nothing to send its connection is
 * suspended; every STREAM_BEAT_US it gets a comment, and a peer that hangs up is seen at once (libmicrohttpd does not see
 * it on a suspended connection).
 *
 * Threading: serving thread, but for streams_news() and what says otherwise.
 */

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "api/caller.h"
#include "api/feed.h"
#include "base/inbox.h"
#include "base/list.h"
#include "base/secret.h"
#include "client/protocol.h"

#define STREAM_BEAT_US  (15 * US_PER_S)
#define STREAMS_PER_UID 32 /* at once */

struct broker;
struct server;
struct stream;

struct streams { /* of one server */
        struct server *server;
        struct feed *feed;
        struct list_link list;
        mono_t next_beat;
        bool stopping;
        atomic_size_t n;         /* changed by the serving thread */
        struct message news;     /* of the loop to the serving thread ... */
        atomic_bool news_posted; /* ... which has not been read yet */
};

/* Why a reader gets the state: `reason` of a state event. */
#define STREAM_CONNECTED "connected" /* it asked for it, by naming no event */
#define STREAM_LOST      "lost"      /* the events that follow the last one it had are gone */
#define STREAM_RELOADED  "reloaded"  /* the configuration is another one */

void streams_init(struct streams *ss, struct server *server, struct feed *feed);

/* The feed has a new event. Any thread; costs nothing when nobody reads. */
void streams_news(struct streams *ss);

/* When somebody reads, at ss->next_beat. */
void streams_beat(struct streams *ss, mono_t now); /* if it is time */

/* The peer of what `what` was has hung up; no effect if that is no stream any more. */
void streams_hung_up(struct streams *ss, const void *what);

/* The server has taken another configuration: each goes on with the state under that, or ends. */
void streams_reloaded(struct streams *ss);

/* Ends all streams, cleanly: each after the piece that it is sending. */
void streams_stop(struct streams *ss);

struct stream_filter {
        const char *credential; /* NULL: all that the caller may use */
        const char *subject;    /* NULL: all, for an administrator; else the credential's own */
};

/* A stream that begins behind the event `last_id`; NULL: with the state. Copies the filter. 0; -ENOMEM; -EUSERS: this user
 * has STREAMS_PER_UID; what epoll_ctl(2) said. */
int stream_new(struct streams *ss, const struct caller *caller, struct MHD_Connection *connection,
               const struct stream_filter *filter, const char *last_id, struct stream **ret);
struct stream *stream_free(struct stream *s);

/* On the loop, while its call is there: gets what the stream begins with, and makes its response, which is not asked for
 * more once the request is completed. NULL: out of memory. */
struct MHD_Response *stream_open(struct stream *s, const struct broker *broker);
