#pragma once
/*
 * Reload: from one configuration to the next, whole or not at all
 *
 * All that can fail is done first, with nothing changed: the files are read and checked, on a thread made for that, since the
 * name service may take its time to know a user; then new sockets are opened, and every part gets ready. Then the serving thread takes the new configuration over, and the loop follows when it has done so: no call is
 * ever judged by one configuration and answered by another. Requests that come meanwhile are for the next round, since files
 * may have changed after they were read.
 *
 * Threading: loop thread only, but for reload_read(), which any thread may call.
 */

#include "api/loopback.h"
#include "api/server.h"
#include "api/sockets.h"
#include "api/unit_socket.h"

struct reload;

struct reload_parts {     /* all borrowed */
        const char *file; /* of the configuration; NULL: the default */
        enum conf_scope scope;
        struct conf **conf; /* in force; replaced */
        int **fds;          /* of its sockets; replaced */
        struct inbox *loop;
        struct sockets *sockets;
        struct server *server;
        struct broker *broker;
        struct loopback *loopback;
        struct unit_sockets *unit_sockets;
        /* The broker is about to take this over, and to tell of what comes of it. */
        void (*change)(void *user, const struct conf *conf);
        /* Something is beginning (outcome NULL), or has ended. */
        void (*tell)(void *user, const struct reload_outcome *outcome);
        void *user;
};

/* Reads the files, and makes what the dialects need of them. As conf_load(), or conf_look(). */
int reload_read(const char *file, enum conf_scope scope, struct conf_report *report,
                struct conf **ret);
int reload_look(const char *file, enum conf_scope scope, struct conf_report *report,
                struct conf **ret);

int reload_new(const struct reload_parts *parts, struct reload **ret); /* 0, -ENOMEM */
struct reload *reload_free(
        struct reload *r); /* when the server has stopped; waits for files that are being read */

/* done() may be NULL; without memory it is called from within. */
void reload_request(struct reload *r, reload_done_fn *done, void *user);

void reload_stop(struct reload *r); /* refuses what comes from now on */
