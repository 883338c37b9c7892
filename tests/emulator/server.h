#pragma once
/*
 * Server: HTTP/1.1 on loopback, with or without TLS
 *
 * A thread for each connection, so that an answer which is late by design keeps nobody else
 * waiting. A request is read completely and handed to the handler as it came: every header, also
 * those that came twice.
 *
 * Units:     bodies in bytes, at most SERVER_BODY_MAX.
 * Threading: the handler is called from many threads.
 */

#include <stdbool.h>
#include <stddef.h>

#include "answer.h"

#define SERVER_BODY_MAX   1048576
#define SERVER_FIELDS_MAX 64 /* headers, and as many query parameters */

struct field {
        const char *name, *value; /* value: "" for none */
};

struct fields {
        struct field field[SERVER_FIELDS_MAX];
        size_t n; /* may be more than there is room for: those beyond were dropped */
};

/* Borrowed for the length of one call. */
struct request {
        const char *method, *path, *version;
        struct fields headers, query;
        const char *body; /* ends with a NUL that is not counted */
        size_t size;
        bool too_large;
};

struct server;
typedef void server_handle_fn(void *user, const struct request *rq, struct answer *ret);
typedef void server_complain_fn(void *user,
                                const char *what); /* of a request that could not be read */

struct server_settings {
        const char *key, *certificate; /* PEM; NULL: no TLS */
        server_handle_fn *handle;
        server_complain_fn *complain;
        void *user;
};

/* Takes an address of 127.0.0.1, port 0 being any: from now on connections queue up. Ends the
 * program when it cannot. */
struct server *server_bind(unsigned port, unsigned *ret_port);

/* Serves until server_free(). */
void server_start(struct server *s, const struct server_settings *settings);

struct server *server_free(struct server *s);

/* The value of the only field of that name (case does not matter), or NULL if there is none. */
const char *fields_find(const struct fields *fields, const char *name);

/* The name of a field that occurs more than once, or NULL. */
const char *fields_duplicate(const struct fields *fields);
