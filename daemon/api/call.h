#pragma once
/*
 * Call: one request that is not answered at once
 *
 * Collects the body, crosses to the loop and back as a message, and brings the reply to its connection. A cached token
 * needs none of this: see token.c.
 *
 * Threading: belongs to the serving thread; between call_cross() and call_return() to the loop, while its connection is
 * suspended, so that nobody else looks at either.
 */

#include <microhttpd.h>

#include "api/caller.h"
#include "api/reply.h"
#include "base/inbox.h"
#include "base/secret.h"
#include "broker/ask.h"
#include "broker/broker.h"

struct redirect;
struct route;
struct server;
struct stream;

enum call_progress {
        CALL_READING,  /* its request */
        CALL_CROSSED,  /* it is with the loop */
        CALL_ANSWERED, /* its reply is there, to be queued */
};

struct call {
        struct server *server;
        struct MHD_Connection *connection;
        struct caller *caller;
        enum call_progress progress;
        bool path_is_odd;
        struct reply reply;
        struct secret *body; /* NULL: none came */
        size_t body_over;    /* bytes that came beyond PROTOCOL_BODY_MAX */
        size_t body_room;    /* held for it */
        bool has_no_room;    /* its user has bodies enough under way */
        struct message message;
        unsigned generation;       /* of the configuration that it was judged by last */
        struct list_link link;     /* among those that are with the loop */
        const struct route *route; /* that was found for it */
        /* Loop: takes it back from where it waits, so that it can be answered; NULL: what it waits for cannot be stopped. */
        void (*withdraw)(struct call *call, struct broker *broker);
        void (*work)(struct call *call,
                     struct broker *broker); /* on the loop; ends in call_return() */

        /* what is asked for */
        const struct conf_credential *credential; /* NULL: none, or a reload has taken it away */
        char subject[PROTOCOL_SUBJECT_MAX + 1];
        struct variant variant;
        bool as_text;
        bool gives_token; /* its reply is a token */
        struct ask ask;
        struct secret *token; /* to be set */
        wall_t expires_at;
        size_t limit;                   /* of a page ... */
        bool from_first;                /* ... which does not come after `subject` */
        char id[AUTHORIZATION_ID_SIZE]; /* of an authorization */
        struct authorization_watch watch;
        struct stream *stream;     /* of events; owned, or NULL */
        struct redirect *redirect; /* what the browser came back with; owned, or NULL */
};

struct call *call_new(struct server *server, struct MHD_Connection *connection,
                      struct caller *caller);
struct call *call_free(struct call *call);
AUTO_DEFINE(struct call, call_free)

/* Takes a piece of the body; counts what is over PROTOCOL_BODY_MAX, and keeps nothing of it; nor of one for which its user has no room. 0; -ENOMEM; -EFBIG: so much over
 * that the connection is better closed. */
int call_take_body(struct call *call, const char *bytes, size_t len);

/* Serving thread: suspends the connection and gives the call to the loop, which runs `work`. */
void call_cross(struct call *call, void (*work)(struct call *call, struct broker *broker));

/* Loop: brings the reply back to the serving thread. */
void call_return(struct call *call, struct reply reply);
