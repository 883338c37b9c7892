#include "api/loopback.h"

#include <assert.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/page.h"
#include "api/redirect.h"
#include "api/target.h"
#include "base/err.h"
#include "base/log.h"

/*
 * Each address that a redirect_uri names has a door: one instance of libmicrohttpd on one socket,
 * made when somebody is expected. A door whose socket is closed stays on the list until the last
 * page is taken; meanwhile its address may get a new one.
 *
 * libmicrohttpd has no thread here. The loop watches its epoll descriptor, and before each wait
 * asks it when it wants to run next: a resumed connection or an idle one is nothing that a
 * descriptor tells.
 */

#define LOOPBACK_BACKLOG 16

struct loopback_address { /* one for each that some target has */
        struct loopback *loopback;
        struct target_address target;
        size_t pending;             /* authorizations that need it */
        struct loopback_door *door; /* NULL: closed */
        int error;                  /* why it is, though it is needed */
};

struct loopback_door {
        struct list_link link;
        struct loopback_address *address;
        int fd; /* listening; -1: closed, and only there for who has come before */
        struct MHD_Daemon *daemon;
        sd_event_source *io, *timer, *end;
        size_t n_connections;
        bool eager; /* it has something to do that no descriptor tells */
};

struct loopback_use { /* where the redirect_uri of one credential leads */
        struct target target;
        struct loopback_address *addresses[TARGET_ADDRESSES_MAX]; /* as the target's */
        size_t pending;
};

struct loopback {
        struct loopback_parts parts;
        struct loopback_use *uses;           /* as conf->credentials */
        struct loopback_address **addresses; /* of all configurations: doors outlive theirs */
        size_t n_addresses;
        struct list_link doors;
};

struct loopback_uses { /* as one configuration has them */
        const struct conf *conf;
        struct loopback_use *uses;
};

enum visit_progress {
        VISIT_BEGUN,
        VISIT_READ,    /* its headers */
        VISIT_WAITS,   /* for the end of an authorization; suspended */
        VISIT_ANSWERED /* or about to be */
};

struct visit { /* one request of a browser */
        struct loopback_door *door;
        struct MHD_Connection *connection;
        enum visit_progress progress;
        bool complete; /* `back` has all that it takes */
        struct redirect back;
        struct authorization_watch watch;
        struct reply reply;
};

/* --- visits --- */

static void visit_free(struct visit *v) {
        assert(v->progress != VISIT_WAITS);
        redirect_wipe(&v->back);
        if (v->reply.response)
                MHD_destroy_response(v->reply.response);
        free(v);
}

/* Sees the request line before anybody else, reads the query and wipes it, so that libmicrohttpd
 * keeps no copy of the code. Returns the visit, which will be req_cls; NULL: out of memory. */
static void *visit_begin(void *cls, const char *uri, struct MHD_Connection *connection) {
        char *query = uri ? strchr((char *) (uintptr_t) uri, '?') : NULL; /* it may be written to */
        struct visit *v = calloc(1, sizeof(*v));

        if (v) {
                v->door = cls;
                v->connection = connection;
                v->complete = query && redirect_parse(query, &v->back) &&
                              redirect_is_complete(&v->back);
        }
        if (query)
                secret_wipe(query + 1, strlen(query + 1));
        return v;
}

/* The path is compared as it was sent. */
static size_t visit_keep_escapes(void *cls, struct MHD_Connection *connection, char *text) {
        (void) cls;
        (void) connection;
        return strlen(text);
}

static bool visit_is_for(const struct visit *v, const struct loopback_use *use, const char *host,
                         const char *path) {
        if (!target_has_host(&use->target, host) || (path && !target_has_path(&use->target, path)))
                return false;
        for (size_t i = 0; i < use->target.n_addresses; i++)
                if (use->addresses[i] == v->door->address)
                        return true;
        return false;
}

/* Is there a credential whose redirect_uri leads here? NULL: whatever the path. */
static bool visit_is_expected(const struct visit *v, const char *host, const char *path) {
        const struct loopback *l = v->door->address->loopback;

        for (size_t i = 0; i < l->parts.conf->n_credentials; i++)
                if (visit_is_for(v, &l->uses[i], host, path))
                        return true;
        return false;
}

static struct reply visit_outcome(const struct authorization *a) {
        static const enum page pages[AUTHORIZATION_STATE_MAX] = {
                [AUTHORIZATION_PENDING] = PAGE_WORKING, [AUTHORIZATION_SUCCEEDED] = PAGE_SUCCEEDED,
                [AUTHORIZATION_DENIED] = PAGE_DENIED,   [AUTHORIZATION_EXPIRED] = PAGE_EXPIRED,
                [AUTHORIZATION_FAILED] = PAGE_FAILED,   [AUTHORIZATION_CANCELLED] = PAGE_CANCELLED,
        };
        char name[WHY_MAX];

        if (a->reason.text[0])
                return page_make(pages[a->state], a->reason.text);
        (void) snprintf(name, sizeof(name), "%s%s%s", a->credential->name, *a->subject ? " / " : "",
                        a->subject);
        return page_make(pages[a->state], name);
}

static void visit_changed(struct authorization_watch *w, const struct authorization *a) {
        struct visit *v = list_entry(w, struct visit, watch);

        v->progress = VISIT_ANSWERED;
        v->reply = visit_outcome(a);
        v->door->eager = true;
        MHD_resume_connection(v->connection);
}

static struct reply visit_deliver(struct visit *v, struct authorization *a) {
        int r = authorization_deliver(a, v->back.code[0] ? v->back.code : NULL, v->back.error,
                                      v->back.description);

        redirect_wipe(&v->back);
        if (r < 0)
                return page_make(PAGE_FAILED, strerror(-r));
        v->watch.changed = visit_changed;
        if (a->state != AUTHORIZATION_PENDING ||
            authorization_watch(a, &v->watch, LOOPBACK_WAIT_US) < 0)
                return visit_outcome(a);
        v->progress = VISIT_WAITS;
        MHD_suspend_connection(v->connection);
        return (struct reply){ 0 };
}

static struct reply visit_refuse(const struct visit *v, enum page page, const char *wrong) {
        log_debug("event=loopback_refused address=%s wrong=%s", v->door->address->target.name,
                  wrong);
        return page_make(page, NULL);
}

/* An empty reply: the visit waits. */
static struct reply visit_answer(struct visit *v, const char *method, const char *path) {
        const struct loopback *l = v->door->address->loopback;
        const char *host = MHD_lookup_connection_value(v->connection, MHD_HEADER_KIND,
                                                       MHD_HTTP_HEADER_HOST);
        struct authorization *a;

        if (!visit_is_expected(v, host, NULL))
                return visit_refuse(v, PAGE_ADDRESS, "host"); /* maybe a rebound name */
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
                return visit_refuse(v, PAGE_METHOD, "method");
        if (!visit_is_expected(v, host, path))
                return visit_refuse(v, PAGE_ABSENT, "path");
        if (!v->complete)
                return visit_refuse(v, PAGE_INCOMPLETE, "parameters");
        a = authorizations_find_state(l->parts.authorizations, v->back.state);
        if (!a)
                return visit_refuse(v, PAGE_OVER, "state");
        if (!visit_is_for(v, &l->uses[a->credential->index], host, path))
                return visit_refuse(v, PAGE_ABSENT, "path"); /* another credential's */
        return visit_deliver(v, a);
}

static enum MHD_Result visit_handle(void *cls, struct MHD_Connection *connection, const char *path,
                                    const char *method, const char *version,
                                    const char *upload_data, size_t *upload_size, void **req_cls) {
        struct visit *v = *req_cls;

        (void) cls;
        (void) version;
        (void) upload_data;
        if (!v)
                return MHD_NO;
        if (v->progress == VISIT_BEGUN) {
                v->progress = VISIT_READ; /* an answer now would be taken for an early one */
                return MHD_YES;
        }
        if (*upload_size > 0) {
                *upload_size = 0; /* nobody wants it */
                return MHD_YES;
        }
        if (v->progress == VISIT_READ) {
                v->reply = visit_answer(v, method, path);
                if (v->progress == VISIT_WAITS)
                        return MHD_YES;
                v->progress = VISIT_ANSWERED;
        }
        if (!v->reply.response)
                return MHD_NO; /* out of memory: close */
        return MHD_queue_response(connection, v->reply.status, v->reply.response);
}

static void visit_end(void *cls, struct MHD_Connection *connection, void **req_cls,
                      enum MHD_RequestTerminationCode code) {
        (void) cls;
        (void) connection;
        (void) code;
        if (*req_cls)
                visit_free(*req_cls);
        *req_cls = NULL;
}

/* --- doors --- */

static void loopback_door_count(void *cls, struct MHD_Connection *connection, void **context,
                                enum MHD_ConnectionNotificationCode code) {
        struct loopback_door *door = cls;

        (void) connection;
        (void) context;
        if (code == MHD_CONNECTION_NOTIFY_STARTED)
                door->n_connections++;
        else
                door->n_connections--;
}

/* Frees the address. Whoever is in the middle of a page goes on. */
static void loopback_door_shut(struct loopback_door *door) {
        if (door->fd < 0)
                return;
        (void) MHD_quiesce_daemon(door->daemon); /* the descriptor is ours from here on */
        (void) close(door->fd); /* nothing useful can be done about a failure here */
        door->fd = -1;
        door->address->door = NULL;
}

static void loopback_door_free(struct loopback_door *door) {
        sd_event_source_disable_unref(door->io); /* before its descriptor goes */
        sd_event_source_disable_unref(door->timer);
        sd_event_source_disable_unref(door->end);
        if (door->daemon) {
                loopback_door_shut(door);
                if (door->eager)
                        (void) MHD_run(door->daemon); /* the resumed get their page */
                MHD_stop_daemon(door->daemon);
        }
        if (door->fd >= 0)
                (void) close(door->fd);
        list_remove(&door->link);
        free(door);
}

static int loopback_door_run(struct loopback_door *door) {
        door->eager = false;
        (void) MHD_run(door->daemon); /* fails only for a daemon with a thread of its own */
        if (door->fd < 0 && door->n_connections == 0)
                loopback_door_free(door);
        return 0;
}

static int loopback_door_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void) source;
        (void) fd;
        (void) revents;
        return loopback_door_run(userdata);
}

static int loopback_door_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) source;
        (void) usec;
        return loopback_door_run(userdata);
}

static int loopback_door_on_end(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) source;
        (void) usec;
        loopback_door_free(userdata);
        return 0;
}

static int loopback_door_before_wait(sd_event_source *source, void *userdata) {
        struct loopback_door *door = userdata;
        MHD_UNSIGNED_LONG_LONG ms = 0;
        int r;

        (void) source;
        if (!door->eager && MHD_get_timeout(door->daemon, &ms) != MHD_YES)
                return sd_event_source_set_enabled(door->timer, SD_EVENT_OFF);
        r = sd_event_source_set_time_relative(door->timer, ms * (uint64_t) US_PER_MS);
        return r < 0 ? r : sd_event_source_set_enabled(door->timer, SD_EVENT_ONESHOT);
}

static int loopback_bind(const struct loopback_address *a, int *ret_fd) {
        AUTO(auto_closep) int fd = -1;
        const int on = 1;
        socklen_t len = a->target.at.any.sa_family == AF_INET ? sizeof(a->target.at.v4)
                                                              : sizeof(a->target.at.v6);
        int r;

        fd = socket(a->target.at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        /* SO_REUSEADDR: the last authorization's connections may linger; listeners it lets be */
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
            bind(fd, &a->target.at.any, len) < 0 || listen(fd, LOOPBACK_BACKLOG) < 0) {
                r = -errno;
                return RAISE(r);
        }
        *ret_fd = fd;
        fd = -1;
        return 0;
}

static int loopback_door_watch(struct loopback_door *door) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(door->daemon,
                                                               MHD_DAEMON_INFO_EPOLL_FD);
        sd_event *event = door->address->loopback->parts.event;
        int r;

        if (!info)
                return RAISE(-EOPNOTSUPP);
        r = sd_event_add_io(event, &door->io, info->epoll_fd, EPOLLIN, loopback_door_on_io, door);
        if (r >= 0)
                r = sd_event_source_set_prepare(door->io, loopback_door_before_wait);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &door->timer, CLOCK_BOOTTIME, 0, 1,
                                               loopback_door_on_timer, door);
        return r < 0 ? RAISE(r) : 0;
}

static int loopback_door_open(struct loopback_door *door) {
        int r = loopback_bind(door->address, &door->fd);

        if (r < 0)
                return PASS(r);
        door->daemon = MHD_start_daemon(
                MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, visit_handle, NULL,
                MHD_OPTION_LISTEN_SOCKET, door->fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                (size_t) LOOPBACK_CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
                (unsigned) LOOPBACK_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                (unsigned) LOOPBACK_IDLE_S, MHD_OPTION_NOTIFY_CONNECTION, loopback_door_count, door,
                MHD_OPTION_NOTIFY_COMPLETED, visit_end, NULL, MHD_OPTION_URI_LOG_CALLBACK,
                visit_begin, door, MHD_OPTION_UNESCAPE_CALLBACK, visit_keep_escapes, NULL,
                MHD_OPTION_END);
        return door->daemon ? loopback_door_watch(door) : RAISE(-ENOMEM);
}

static int loopback_door_new(struct loopback_address *a, struct loopback_door **ret) {
        struct loopback_door *door = calloc(1, sizeof(*door));
        int r;

        if (!door)
                return RAISE(-ENOMEM);
        door->address = a;
        door->fd = -1;
        list_append(&a->loopback->doors, &door->link);
        r = loopback_door_open(door);
        if (r < 0) {
                loopback_door_free(door);
                return PASS(r);
        }
        *ret = door;
        return 0;
}

/* --- addresses --- */

/* This machine has no such address: that is nobody's fault. */
static bool loopback_is_missing(int error) {
        return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

static void loopback_explain(const struct loopback_address *a, struct why *why) {
        static const char rest[] = "paste the URL that the browser ended at: bearerctl login asks "
                                   "for it";
        unsigned port = ntohs(a->target.at.any.sa_family == AF_INET ? a->target.at.v4.sin_port
                                                                    : a->target.at.v6.sin6_port);

        if (a->error == -EADDRINUSE)
                (void) why_set(why, 0,
                               "cannot wait for the browser at %s: the port is in use by another "
                               "program (ss -ltnp sport = :%u): free it and start again, or %s",
                               a->target.name, port, rest);
        else if (a->error == -EACCES)
                (void) why_set(why, 0,
                               "cannot wait for the browser at %s: ports below 1024 need "
                               "CAP_NET_BIND_SERVICE: register a redirect_uri with a higher port, "
                               "or %s",
                               a->target.name, rest);
        else
                (void) why_set(why, 0, "cannot wait for the browser at %s: %s; %s", a->target.name,
                               strerror(-a->error), rest);
}

static void loopback_address_open(struct loopback_address *a) {
        char quoted[WHY_MAX + 3];
        struct why why;

        a->error = loopback_door_new(a, &a->door);
        if (a->error == 0) {
                log_info("event=loopback_open address=%s", a->target.name);
        } else if (loopback_is_missing(a->error)) {
                log_debug("event=loopback_missing address=%s", a->target.name);
        } else {
                loopback_explain(a, &why);
                log_error("event=loopback_failed address=%s reason=%s", a->target.name,
                          log_quote(why.text, quoted, sizeof(quoted)));
        }
}

static void loopback_address_close(struct loopback_address *a) {
        struct loopback_door *door = a->door;

        a->error = 0;
        if (!door)
                return;
        log_info("event=loopback_closed address=%s", a->target.name);
        loopback_door_shut(door);
        door->eager = true; /* it goes at its next turn, if nobody is there */
        /* if this fails, the idle limit does it */
        (void) sd_event_add_time_relative(a->loopback->parts.event, &door->end, CLOCK_BOOTTIME,
                                          LOOPBACK_LEAVE_US, 0, loopback_door_on_end, door);
}

void loopback_pending(struct loopback *l, const struct conf_credential *c, size_t n) {
        struct loopback_use *use = &l->uses[c->index];

        for (size_t i = 0; i < use->target.n_addresses; i++) {
                struct loopback_address *a = use->addresses[i];

                a->pending = a->pending - use->pending + n;
                if (a->pending == 0)
                        loopback_address_close(a);
                else if (!a->door)
                        loopback_address_open(a);
        }
        use->pending = n;
}

bool loopback_listens(const struct loopback *l, const struct conf_credential *c,
                      struct why *ret_warning) {
        const struct loopback_use *use = &l->uses[c->index];
        const struct loopback_address *failed = NULL;
        bool open = false;

        for (size_t i = 0; i < use->target.n_addresses; i++) {
                const struct loopback_address *a = use->addresses[i];

                open = open || a->door;
                if (a->error < 0 && (!failed || loopback_is_missing(failed->error)))
                        failed = a;
        }
        ret_warning->text[0] = '\0';
        if (failed && !(open && loopback_is_missing(failed->error)))
                loopback_explain(failed, ret_warning);
        return open;
}

/* --- start and stop --- */

/* The one of that name, made if there is none. NULL: out of memory. */
static struct loopback_address *loopback_find(struct loopback *l, const struct target_address *t) {
        struct loopback_address *a, **grown;

        for (size_t i = 0; i < l->n_addresses; i++)
                if (strcmp(l->addresses[i]->target.name, t->name) == 0)
                        return l->addresses[i];
        grown = reallocarray(l->addresses, l->n_addresses + 1, sizeof(struct loopback_address *));
        if (!grown)
                return NULL;
        l->addresses = grown;
        a = calloc(1, sizeof(*a));
        if (!a)
                return NULL;
        a->loopback = l;
        a->target = *t;
        l->addresses[l->n_addresses++] = a;
        return a;
}

static int loopback_add(struct loopback *l, struct loopback_use *use,
                        const struct conf_credential *c) {
        int r;

        if (!credential_type_is_interactive(c->type) || !c->redirect_uri)
                return 0;
        r = target_init(&use->target, c->redirect_uri);
        if (r < 0)
                return PASS(r);
        for (size_t i = 0; i < use->target.n_addresses; i++) {
                use->addresses[i] = loopback_find(l, &use->target.addresses[i]);
                if (!use->addresses[i])
                        return RAISE(-ENOMEM);
        }
        return 0;
}

struct loopback_uses *loopback_uses_free(struct loopback_uses *us) {
        if (!us)
                return NULL;
        for (size_t i = 0; us->uses && i < us->conf->n_credentials; i++)
                target_done(&us->uses[i].target);
        free(us->uses);
        free(us);
        return NULL;
}

int loopback_prepare(struct loopback *l, const struct conf *conf, struct loopback_uses **ret) {
        struct loopback_uses *us = calloc(1, sizeof(*us));
        int r = 0;

        if (!us)
                return RAISE(-ENOMEM);
        us->conf = conf;
        us->uses = calloc(conf->n_credentials + 1, sizeof(*us->uses));
        if (!us->uses)
                r = RAISE(-ENOMEM);
        for (size_t i = 0; r == 0 && i < conf->n_credentials; i++)
                r = loopback_add(l, &us->uses[i], conf->credentials[i]);
        if (r < 0) {
                loopback_uses_free(us);
                return PASS(r);
        }
        *ret = us;
        return 0;
}

void loopback_adopt(struct loopback *l, struct loopback_uses *us) {
        struct loopback_uses old = { l->parts.conf, l->uses };

        for (size_t i = 0; i < us->conf->n_credentials; i++) {
                const struct conf_credential *c = conf_find_credential(
                        old.conf, us->conf->credentials[i]->name);

                if (c) /* what waits has the same redirect_uri: see authorizations_adopt() */
                        us->uses[i].pending = old.uses[c->index].pending;
        }
        l->parts.conf = us->conf;
        l->uses = us->uses;
        *us = old;
        loopback_uses_free(us);
}

int loopback_new(const struct loopback_parts *parts, struct loopback **ret) {
        struct loopback *l = calloc(1, sizeof(*l));
        struct loopback_uses *us;
        int r;

        if (!l)
                return RAISE(-ENOMEM);
        l->parts = *parts;
        list_init(&l->doors);
        r = loopback_prepare(l, parts->conf, &us);
        if (r < 0) {
                loopback_free(l);
                return PASS(r);
        }
        l->uses = us->uses;
        free(us);
        *ret = l;
        return 0;
}

struct loopback *loopback_free(struct loopback *l) {
        if (!l)
                return NULL;
        while (!list_is_empty(&l->doors))
                loopback_door_free(list_entry(l->doors.next, struct loopback_door, link));
        for (size_t i = 0; l->uses && i < l->parts.conf->n_credentials; i++)
                target_done(&l->uses[i].target);
        free(l->uses);
        for (size_t i = 0; i < l->n_addresses; i++)
                free(l->addresses[i]);
        free(l->addresses);
        free(l);
        return NULL;
}
