#pragma once
/*
 * A client: a socket, the tokens that came from there, the questions under way
 *
 * Threading: bearer_lock, for everything here but client->number and client->timeout_ms.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/libbearer/bearer.h"
#include "client/libbearer/exchange.h"
#include "client/libbearer/request.h"
#include "client/libbearer/thread.h"
#include "client/libbearer/token.h"

#define CLIENT_BUCKETS     256
#define CLIENT_ENTRIES_MAX 4096 /* tokens of one client in memory; the oldest goes */

struct entry {
        struct entry *next;
        uint32_t hash;
        struct body *body;                /* NULL: none that is of use */
        char rejected[TOKEN_FINGERPRINT]; /* to be said to the daemon; "" */
        uint64_t rejections;              /* so far */
        int64_t since_us;
        char key[]; /* credential and request_key() */
};

struct bearer_call {
        struct bearer_call *next;
        struct bearer *client;
        struct flight *flight; /* NULL: ready */
        bearer_callback *callback;
        void *user;
        struct failure failure;
        struct bearer_token *token;
        uint64_t round; /* of bearer_process(), after which it is called back */
};

#define WATCH_PATH_SIZE    128
#define WATCH_ID_SIZE      64
#define WATCH_REQUEST_SIZE 512

struct bearer_watch {
        struct bearer_watch *next;
        struct bearer *client;
        unsigned refs;
        bearer_watch_callback *callback; /* NULL: cancelled */
        void *user;
        int fd; /* -1: not connected */
        bool over;
        struct wire_reading reading;
        int64_t wakes_us; /* connected: the daemon is silent for too long then; else: connects then */
        int64_t pause_us;
        char path[WATCH_PATH_SIZE], last_id[WATCH_ID_SIZE];
};

struct bearer {
        uint64_t number;
        atomic_int timeout_ms;
        struct bearer *next, **link_to_me; /* all of them */
        struct link link;
        struct entry *buckets[CLIENT_BUCKETS];
        size_t n_entries;
        struct flight *flights;
        struct bearer_call *ready, **ready_end;
        uint64_t round; /* of bearer_process() */
        struct bearer_watch *watches;
        struct bearer_event *events; /* to be told */
        int epoll_fd, timer_fd;      /* -1 until asked for */
};

#define CLIENT_DESCRIPTION_SIZE 512

/* What the daemon says of an answer that is no success. */
void client_describe(const struct wire_answer *a, char text[CLIENT_DESCRIPTION_SIZE]);

struct key client_key(const struct bearer *client, const char *name,
                      const struct bearer_request *rq);
struct entry *client_entry(struct bearer *client, const struct key *k); /* borrowed; or NULL */
struct entry *client_entry_make(struct bearer *client, const struct key *k, int64_t now_us);
void client_drop_body(struct bearer *client, struct entry *e);        /* nobody gets it any more */
struct body *client_find(struct bearer *client, const struct key *k); /* borrowed; or NULL */
int64_t client_limit_us(const struct bearer *client, const struct bearer_request *rq);

/* Something has happened to the token `name` + `rest` in memory: it is asked for anew at its next use,
 * unless it has this fingerprint. */
void client_make_due(struct bearer *client, const char *name, const char *rest,
                     const char *fingerprint);

/* loop.c */
int loop_open(struct bearer *client);   /* 0 or a negative errno */
void loop_close(struct bearer *client); /* in the child of a fork, and at the end */
void loop_arm(struct bearer *client);   /* the timer, for whatever is due first */

/* watch.c */
void watch_step(struct bearer_watch *w);
void watch_hang_up(struct bearer_watch *w);
void watch_drop_all(struct bearer *client);
int watch_call_back(
        struct bearer *client); /* the number of callbacks; releases the lock meanwhile */
