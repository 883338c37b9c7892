#include "api/server.h"

#include <fcntl.h>
#include <malloc.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/call.h"
#include "api/caller.h"
#include "api/crowd.h"
#include "api/route.h"
#include "api/stream.h"
#include "base/err.h"
#include "base/log.h"
#include "base/random.h"
#include "client/protocol.h"
#include "policy/policy.h"

#define SERVER_EVENTS         16
#define SERVER_PEAK_MIN       128          /* connections; fewer are not worth the trouble */
#define SERVER_MMAP_THRESHOLD (128 * 1024) /* glibc's own; see M_MMAP_THRESHOLD in mallopt(3) */
#define SERVER_SPARE_FDS      128          /* descriptors that the rest of the daemon needs */
#define SERVER_MARGIN         128 /* connections that are being closed, or told that they are too many */
#define SERVER_GIVE_WAY       16 /* connections that make room when there are no descriptors left */
#define SERVER_RETRY_US       (250 * US_PER_MS) /* before another try to accept then */
#define SERVER_STOP_US        (2 * US_PER_S)    /* for callers to take their last answers */

struct listener { /* one socket of the configuration */
        struct list_link link;
        struct server *server;
        const struct conf_socket *socket; /* NULL: removed; it goes with its last connection */
        int fd;                           /* borrowed; -1: nobody new is accepted */
        struct MHD_Daemon *daemon;
        int epoll_fd;         /* libmicrohttpd's */
        size_t n_connections; /* that libmicrohttpd has open */
        bool resumed;         /* a connection of it has been resumed: it has something to do */
        bool troubled;        /* libmicrohttpd has complained: of a lack of descriptors? */
        bool starved;         /* it has none to accept with */
        bool unwatched;       /* so that the connections that wait to be accepted wake nobody */
};

struct server_change { /* to another configuration */
        struct message message;
        struct server *server;
        const struct conf *conf;
        struct listener **listeners; /* as conf->sockets; NULL: not of ours, or taken */
        atomic_uint_fast64_t *handed_out;
        struct message *switched;
};

struct connection {
        struct list_link link;
        struct guest guest;
        bool is_busy; /* a request has begun, and is not completed */
        struct caller *caller;
        int fd;     /* libmicrohttpd's */
        bool asked; /* a request has come on it */
};

struct server {
        struct server_parts parts;
        pthread_t thread;
        bool thread_runs;
        int epoll_fd;
        struct inbox *inbox;

        /* owned by the loop */
        struct list_link calls;              /* struct call that have crossed */
        const atomic_uint_fast64_t *counted; /* handed_out, as the loop's configuration has it */

        /* owned by the serving thread, and read by the loop as long as it changes nothing */
        const struct conf *conf;
        struct caller_needs needs;
        unsigned generation;          /* of conf */
        struct list_link listeners;   /* struct listener */
        struct server_change *change; /* that was taken last; the loop's */

        /* owned by the serving thread */
        struct list_link connections; /* struct connection */
        size_t n_connections, peak;   /* `peak` since memory was last given back */
        bool many;                    /* connections: each has pages of its own */
        size_t n_suspended;           /* connections */
        size_t n_requests;            /* begun and not completed */
        size_t n_unheard;             /* connections whose first request has not come */
        struct crowd crowd;
        mono_t now;   /* when this turn of the loop began */
        mono_t retry; /* for those starved; MONO_NEVER: nobody is */
        bool stopping;
        struct streams streams;
        atomic_uint_fast64_t *handed_out; /* tokens, by credential index; read by all */
        mono_t stop_by;                   /* answers that nobody reads are given up then */

        /* set by server_stop() before it posts `stop` */
        struct message stop;
        struct message *stopped;

        /* the same of server_ping() */
        struct message ping;
        struct message *pong;
};

/* In an epoll event; else the address of a listener, plus one, or that of a stream. */
#define SERVER_EVENT_INBOX UINT64_MAX

#define for_each_listener(l, s) for (struct listener *l = NULL; (l = server_next_listener((s), l));)

static struct listener *server_next_listener(const struct server *s, const struct listener *l) {
        const struct list_link *next = l ? l->link.next : s->listeners.next;

        return next == &s->listeners ? NULL : list_entry(next, struct listener, link);
}

const struct conf *server_conf(const struct server *s) {
        return s->conf;
}

struct list_link *server_calls(struct server *s) {
        return &s->calls;
}

bool server_is_stopping(const struct server *s) {
        return s->stopping;
}

const struct server_parts *server_parts(const struct server *s) {
        return &s->parts;
}

/* --- calls between the threads --- */

static struct connection *server_connection_of(struct MHD_Connection *connection) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
                connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

/* Of a request, so that its connection is known. */
static void server_move(struct server *s, struct MHD_Connection *connection,
                        enum guest_phase phase) {
        crowd_move(&s->crowd, &server_connection_of(connection)->guest, phase, s->now);
}

void server_suspend(struct server *s, struct MHD_Connection *connection) {
        s->n_suspended++;
        server_move(s, connection, GUEST_WAITING);
        MHD_suspend_connection(connection);
}

void server_resume(struct server *s, const struct caller *caller,
                   struct MHD_Connection *connection) {
        s->n_suspended--;
        s->stop_by = mono_add(clock_mono(s->parts.clock),
                              SERVER_STOP_US); /* to take this one, if it is the last */
        caller->listener->resumed = true;
        server_move(s, connection, GUEST_ACTIVE);
        MHD_resume_connection(connection);
}

bool server_hold(struct MHD_Connection *connection, size_t n) {
        return crowd_hold(&server_connection_of(connection)->guest, n);
}

void server_release(struct MHD_Connection *connection, size_t n) {
        crowd_release(&server_connection_of(connection)->guest, n);
}

void server_post(struct server *s, struct message *m) {
        inbox_post(s->inbox, m);
}

struct streams *server_streams(struct server *s) {
        return &s->streams;
}

/* Only one thread counts, so that this need be no atomic addition. */
void server_count(struct server *s, const struct conf_credential *c) {
        atomic_uint_fast64_t *n = &s->handed_out[c->index];

        atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                              memory_order_relaxed);
}

uint64_t server_counted(const struct server *s, const struct conf_credential *c) {
        return atomic_load_explicit(&s->counted[c->index], memory_order_relaxed);
}

void server_news(struct server *s) {
        streams_news(&s->streams);
}

struct server_nudge {
        struct message message;
        struct broker *broker;
        char key[];
};

static void server_nudge_run(struct message *m) {
        struct server_nudge *n = (struct server_nudge *) (void *) m;

        broker_nudge(n->broker, n->key);
        free(n);
}

void server_nudge(struct server *s, const char *key) {
        struct server_nudge *n = malloc(sizeof(*n) + strlen(key) + 1);

        if (!n)
                return; /* then the token is renewed when it no longer lasts for min_ttl */
        n->message.run = server_nudge_run;
        n->broker = s->parts.broker;
        strcpy(n->key, key);
        inbox_post(s->parts.loop, &n->message);
}

/* --- what libmicrohttpd calls --- */

/* Their addresses stand in req_cls as long as there is no call. */
static char server_odd_path; /* only the request line has been seen, and its path was odd */
static char server_seen;     /* the headers have been seen */
static char server_seen_odd; /* the same, after an odd path */

/* Decoded, "%00" would end the path and "%2f" divide it: odd, and nothing of ours. */
static void *server_look_at_line(void *cls, const char *uri, struct MHD_Connection *connection) {
        struct listener *l = cls;
        struct connection *c = server_connection_of(connection);

        if (c)
                crowd_move(&l->server->crowd, &c->guest, GUEST_ACTIVE, l->server->now);
        if (!strchr(uri, '%'))
                return NULL;
        for (; *uri && *uri != '?'; uri++)
                if (*uri == '%' && (strncmp(uri, "%00", 3) == 0 || strncasecmp(uri, "%2f", 3) == 0))
                        return &server_odd_path;
        return NULL;
}

static enum MHD_Result server_queue(struct call *call) {
        if (!call->reply.response)
                return MHD_NO; /* out of memory: close */
        if (call->server->stopping || !call->caller->socket)
                /* fails without memory only: then the connection ends without notice */
                (void) MHD_add_response_header(call->reply.response, MHD_HTTP_HEADER_CONNECTION,
                                               "close");
        if (call->gives_token && call->generation == call->server->generation && call->credential)
                server_count(call->server, call->credential);
        return MHD_queue_response(call->connection, call->reply.status, call->reply.response);
}

/* Given at once it closes the connection, whatever else would come on it. */
static enum MHD_Result server_tell_surplus(struct MHD_Connection *connection,
                                           const struct guest *guest) {
        struct reply reply;
        struct why why;
        enum MHD_Result done;

        (void) why_set(&why, 0,
                       "user %u has too many connections to bearerd with a request under way: "
                       "close some, or raise connections_per_user in bearerd.conf(5)",
                       (unsigned) guest_uid(guest));
        reply = reply_upstream_error(MHD_HTTP_TOO_MANY_REQUESTS, PROTOCOL_SLOW_DOWN, why.text, NULL,
                                     US_PER_S);
        if (!reply.response)
                return MHD_NO;
        done = MHD_queue_response(connection, reply.status, reply.response);
        MHD_destroy_response(reply.response);
        return done;
}

static enum MHD_Result server_count_lengths(void *cls, enum MHD_ValueKind kind, const char *key,
                                            const char *value) {
        size_t *n = cls;

        (void) kind;
        (void) value;
        *n += strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 ||
              strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
        return MHD_YES;
}

/* Where does the body end? libmicrohttpd takes the first word for it, a proxy on the way perhaps the last (RFC 9112 section 6.3). */
static bool server_is_ambiguous(struct MHD_Connection *connection) {
        size_t n = 0;

        if (!MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                         MHD_HTTP_HEADER_CONTENT_LENGTH))
                return false;
        (void) MHD_get_connection_values(connection, MHD_HEADER_KIND, server_count_lengths, &n);
        return n > 1;
}

/* Before the body: so the connection ends with it. */
static enum MHD_Result server_tell_ambiguous(struct MHD_Connection *connection) {
        struct reply reply = reply_error(
                MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                "the length of the body is given more than once: send one Content-Length, or Transfer-Encoding");
        enum MHD_Result done;

        if (!reply.response)
                return MHD_NO;
        done = MHD_queue_response(connection, reply.status, reply.response);
        MHD_destroy_response(reply.response);
        return done;
}

/* What a caller may is looked up for each connection, and again when the configuration has changed. */
static int server_know(const struct server *s, struct caller *caller) {
        int r;

        r = caller_renew(caller, caller->listener->socket, s->needs);
        if (r < 0)
                return PASS(r);
        caller->is_admin = policy_allows(policy_admin(s->conf, geteuid(), &caller->peer));
        caller->generation = s->generation;
        return 0;
}

bool server_knows(const struct server *s, const struct caller *caller) {
        struct caller *known = (struct caller *) (uintptr_t) caller; /* it is the server's */

        return caller->generation == s->generation || server_know(s, known) == 0;
}

/* Its request has come, or it goes without one. */
static void server_hear(struct server *s, struct connection *c) {
        if (!c->asked)
                s->n_unheard--;
        c->asked = true;
}

static enum MHD_Result server_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                     const char *method, const char *version,
                                     const char *upload_data, size_t *upload_size, void **req_cls) {
        struct listener *l = cls;
        struct server *s = l->server;
        struct connection *known = server_connection_of(connection);
        struct caller *caller;
        struct call *call;

        (void) version;
        if (!known)
                return MHD_NO; /* nobody knows who that is, or it was refused */
        caller = known->caller;
        /* not while its call is with the loop: that looks by itself */
        if (caller->generation != s->generation && !known->is_busy && server_know(s, caller) < 0)
                return MHD_NO;
        if (!*req_cls || *req_cls == &server_odd_path) {
                /* an answer now would be taken for an early one and close the connection (performance.md section 3) */
                *req_cls = *req_cls ? &server_seen_odd : &server_seen;
                s->n_requests++;
                server_hear(s, known);
                known->is_busy = true;
                if (known->guest.phase == GUEST_SURPLUS)
                        return server_tell_surplus(connection, &known->guest);
                return server_is_ambiguous(connection) ? server_tell_ambiguous(connection)
                                                       : MHD_YES;
        }
        if (*req_cls == &server_seen && *upload_size == 0) {
                enum MHD_Result done;

                if (route_fast(s, connection, caller, method, url, &done))
                        return done;
        }
        if (*req_cls == &server_seen || *req_cls == &server_seen_odd) {
                call = call_new(s, connection, caller);
                if (!call)
                        return MHD_NO;
                call->generation = s->generation;
                call->path_is_odd = *req_cls == &server_seen_odd;
                *req_cls = call;
        }
        call = *req_cls;
        if (*upload_size > 0) {
                size_t len = *upload_size;

                *upload_size = 0;
                return call_take_body(call, upload_data, len) < 0 ? MHD_NO : MHD_YES;
        }
        if (call->progress == CALL_READING)
                route_call(call, method, url);
        return call->progress == CALL_ANSWERED ? server_queue(call) : MHD_YES;
}

static void server_completed(void *cls, struct MHD_Connection *connection, void **req_cls,
                             enum MHD_RequestTerminationCode code) {
        struct listener *l = cls;
        struct connection *c = server_connection_of(connection);

        (void) code;
        if (c) {
                crowd_move(&l->server->crowd, &c->guest, GUEST_IDLE, l->server->now);
                c->is_busy = false;
        }
        if (!*req_cls || *req_cls == &server_odd_path)
                return;
        l->server->n_requests--;
        if (*req_cls != &server_seen && *req_cls != &server_seen_odd)
                call_free(*req_cls);
        *req_cls = NULL;
}

static struct caller *server_meet(struct listener *l, int fd) {
        struct server *s = l->server;
        struct caller *caller = NULL;
        int r;

        r = caller_new(fd, l->socket, s->needs, &caller);
        if (r < 0) {
                log_warning("event=caller_unknown error=\"%s\" advice=\"the connection is closed\"",
                            strerror(-r));
                return NULL;
        }
        caller->is_admin = policy_allows(policy_admin(s->conf, geteuid(), &caller->peer));
        caller->generation = s->generation;
        caller->listener = l;
        return caller;
}

/* libmicrohttpd sees that it is over, and closes it. */
static void server_cut(struct guest *guest) {
        (void) shutdown(list_entry(guest, struct connection, guest)->fd,
                        SHUT_RDWR); /* fails when the peer was faster */
}

static struct connection *connection_free(struct connection *c) {
        list_remove(&c->link);
        caller_free(c->caller);
        free(c);
        return NULL;
}

/* NULL: it is closed, and nobody waits for its request. */
static struct connection *server_welcome(struct listener *l, struct MHD_Connection *connection) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
                connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct connection *c = calloc(1, sizeof(*c));
        struct server *s = l->server;
        struct guest *leaver = NULL;
        int r = -ENOMEM;

        if (c) {
                c->fd = info->connect_fd;
                list_append(&s->connections, &c->link);
                c->caller = server_meet(l, c->fd);
        }
        if (c && c->caller)
                r = crowd_enter(&s->crowd, &c->guest, c->caller->peer.uid, s->now, &leaver);
        if (leaver)
                server_cut(leaver);
        if (r == CROWD_E_SURPLUS && guest_is_news(&c->guest, s->now))
                log_warning(
                        "event=too_many_connections uid=%u connections=%zu advice=\"more are answered "
                        "with 429: see connections_per_user in bearerd.conf(5)\"",
                        (unsigned) guest_uid(&c->guest), guest_peers(&c->guest));
        if (r == 0 || r == CROWD_E_SURPLUS) {
                s->n_unheard++;
                return c;
        }
        (void) shutdown(info->connect_fd, SHUT_RDWR);
        return c ? connection_free(c) : NULL;
}

static void server_part(struct server *s, struct connection *c) {
        if (!c)
                return;
        server_hear(s, c);
        crowd_leave(&s->crowd, &c->guest);
        connection_free(c);
}

/* The memory of many connections that have gone stays in the heap, and locked memory cannot be given back from the middle of
 * it. So beyond so many each has pages of its own, which cost some microseconds; what is in the heap is trimmed if it can be. */
static void server_mind_memory(struct server *s) {
        const bool many = s->n_connections >= (s->many ? SERVER_PEAK_MIN / 2 : SERVER_PEAK_MIN);

        if (many != s->many) /* it cannot fail for these */
                (void) mallopt(M_MMAP_THRESHOLD,
                               many ? SERVER_CONNECTION_MEMORY : SERVER_MMAP_THRESHOLD);
        s->many = many;
        if (s->n_connections > s->peak)
                s->peak = s->n_connections;
        if (s->peak < SERVER_PEAK_MIN || s->n_connections > s->peak / 4)
                return;
        s->peak = s->n_connections;
        (void) malloc_trim(0);
}

static void server_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                              enum MHD_ConnectionNotificationCode code) {
        struct listener *l = cls;
        struct server *s = l->server;

        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                l->n_connections++;
                *socket_context = server_welcome(l, connection);
                s->n_connections++;
        } else {
                server_part(s, *socket_context);
                *socket_context = NULL;
                l->n_connections--;
                s->n_connections--;
        }
        server_mind_memory(s);
}

__attribute__((format(printf, 2, 0))) static void server_log(void *cls, const char *format,
                                                             va_list ap) {
        char text[256], quoted[256];
        struct listener *l = cls;

        l->troubled = true;
        (void) vsnprintf(text, sizeof(text), format, ap);
        text[strcspn(text, "\n")] = '\0';
        log_debug("event=http message=%s", log_quote(text, quoted, sizeof(quoted)));
}

/* --- the thread --- */

/* Says to idle connections that nothing more is read from them: what is sent after this fails at once, so that nobody waits
 * for an answer that does not come. What has been sent is read, and answered with "Connection: close". (To libmicrohttpd the
 * end of what can be read is the end of a request that is under way, too.) */
static void server_close_idle(const struct server *s) {
        struct list_link *link;
        char byte;

        for (link = s->connections.next; link != &s->connections; link = link->next) {
                const struct connection *c = list_entry(link, struct connection, link);

                if ((s->stopping ? c->asked : !c->caller->listener->socket) && !c->is_busy &&
                    recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
                        (void) shutdown(c->fd, SHUT_RD); /* it may be gone already */
        }
}

static void listener_stop(struct listener *l) {
        if (l->fd >= 0)
                (void) MHD_quiesce_daemon(l->daemon); /* the descriptor is main's */
        l->fd = -1;
}

static struct listener *listener_free(struct listener *l) {
        if (l->daemon) {
                listener_stop(l);
                MHD_stop_daemon(l->daemon);
        }
        list_remove(&l->link);
        free(l);
        return NULL;
}

static void server_stop_run(struct message *m) {
        struct server *s = list_entry(m, struct server, stop);

        s->stopping = true;
        s->stop_by = mono_add(clock_mono(s->parts.clock), SERVER_STOP_US);
        for_each_listener(l, s) listener_stop(l);
        server_close_idle(s);
        streams_stop(&s->streams);
}

/* Has a listener something to do that epoll does not tell? */
static bool server_is_busy(struct listener *l) {
        MHD_UNSIGNED_LONG_LONG ms;

        return l->resumed || (MHD_get_timeout(l->daemon, &ms) == MHD_YES && ms == 0);
}

/* --- no descriptors left ---
 *
 * libmicrohttpd then stops to accept until one of the connections of that instance has ended, or, if there is none, tries again
 * and again. We make room, take the listener out of our epoll if nothing else is to be heard of there, and try from time to time:
 * a connection that ends at once makes libmicrohttpd accept again.
 */

static int server_watch(struct server *s, int fd, uint32_t events, uint64_t what) {
        struct epoll_event ev = { .events = events, .data.u64 = what };
        int r;

        if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
                r = -errno;
                return RAISE(r);
        }
        return 0;
}

static bool server_has_descriptors(struct listener *l) {
        int fd = fcntl(l->epoll_fd, F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
                return false;
        (void) close(fd);
        return true;
}

static void server_starve(struct listener *l) {
        struct server *s = l->server;
        const mono_t just_now = mono_add(s->now, -US_PER_S);
        struct guest *g;

        l->troubled = false;
        if (server_has_descriptors(l))
                return; /* it has complained of something else */
        if (!l->starved)
                log_warning("event=no_descriptors error=\"%s\" connections=%zu "
                            "advice=\"callers wait; raise the limit of open files (LimitNOFILE=)\"",
                            strerror(errno), s->n_connections);
        l->starved = true;
        s->retry = mono_add(s->now, SERVER_RETRY_US);
        for (size_t i = 0; i < SERVER_GIVE_WAY && (g = crowd_oldest(&s->crowd, just_now)); i++)
                server_cut(g);
        if (l->n_connections == 0 && !l->unwatched)
                l->unwatched = epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, l->epoll_fd, NULL) == 0;
}

/* True: libmicrohttpd will try. */
static bool server_knock(struct listener *l) {
        int pair[2];

        if (l->n_connections == 0)
                return server_has_descriptors(l); /* nothing keeps it */
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return false;
        (void) close(pair[1]);
        /* closes its end in any case */
        return MHD_add_connection(l->daemon, pair[0], &(struct sockaddr){ .sa_family = AF_UNIX },
                                  sizeof(struct sockaddr)) == MHD_YES;
}

static void server_run(struct listener *l) {
        l->resumed = false;
        (void) MHD_run(l->daemon); /* fails only for a daemon with a thread of its own */
        if (l->troubled)
                server_starve(l);
}

static void server_retry(struct server *s) {
        if (mono_before(s->now, s->retry))
                return;
        s->retry = MONO_NEVER;
        for_each_listener(l, s) {
                if (!l->starved)
                        continue;
                if (s->stopping || server_knock(l)) {
                        l->starved = false;
                        if (l->unwatched)
                                l->unwatched = server_watch(s, l->epoll_fd, EPOLLIN,
                                                            (uintptr_t) l + 1) < 0;
                        server_run(l); /* sees the end of that connection */
                        server_run(l); /* and listens again */
                } else {
                        s->retry = mono_add(s->now, SERVER_RETRY_US);
                }
        }
}

/* Cuts who is too slow. */
static void server_hurry(struct server *s) {
        enum guest_phase phase;
        struct guest *g;

        while ((g = crowd_overdue(&s->crowd, s->now, &phase))) {
                if (phase == GUEST_ACTIVE || phase == GUEST_ARRIVED)
                        log_debug(
                                "event=too_slow uid=%u advice=\"see request_timeout in bearerd.conf(5)\"",
                                (unsigned) guest_uid(g));
                server_cut(g);
        }
}

/* Milliseconds until something is to be done that no event tells; -1: nothing. */
static int server_patience(const struct server *s) {
        mono_t next = crowd_next(&s->crowd);
        mono_t beat = list_is_empty(&s->streams.list) ? MONO_NEVER : s->streams.next_beat;
        int64_t us;

        if (mono_before(s->retry, next))
                next = s->retry;
        if (mono_before(beat, next))
                next = beat;
        if (s->stopping)
                return (int) (SERVER_STOP_US / US_PER_MS / 10);
        if (next.us == INT64_MAX)
                return -1;
        us = mono_until(clock_mono(s->parts.clock), next);
        return us <= 0          ? 0
               : us >= US_PER_H ? (int) (US_PER_H / US_PER_MS)
                                : (int) (us / US_PER_MS) + 1;
}

static void server_take_event(struct server *s, uint64_t what) {
        if (what == SERVER_EVENT_INBOX)
                inbox_run(s->inbox);
        else if (what % 2 == 1)
                server_run((struct listener *) (uintptr_t) (what - 1));
        else
                streams_hung_up(&s->streams, (const void *) (uintptr_t) what);
}

/* Those that were removed, and whose last connection has ended. */
static void server_reap(struct server *s) {
        struct list_link *link, *next;

        for (link = s->listeners.next; link != &s->listeners; link = next) {
                struct listener *l = list_entry(link, struct listener, link);

                next = link->next;
                if (l->socket || l->n_connections > 0)
                        continue;
                (void) epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, l->epoll_fd,
                                 NULL); /* it may be out already */
                listener_free(l);
        }
}

static void server_turn(struct server *s) {
        struct epoll_event events[SERVER_EVENTS];
        bool busy = false;
        int n;

        for_each_listener(l, s) busy = busy || server_is_busy(l);
        n = epoll_wait(s->epoll_fd, events, SERVER_EVENTS, busy ? 0 : server_patience(s));
        s->now = clock_mono(s->parts.clock);
        for (int i = 0; i < n; i++)
                server_take_event(s, events[i].data.u64);
        if (atomic_load(&s->streams.n) > 0)
                streams_beat(&s->streams, s->now);
        /* who hung up just as the last answer ended, libmicrohttpd sees when it runs, and nothing else tells it to */
        for_each_listener(l, s) if (s->stopping || server_is_busy(l)) server_run(l);
        server_hurry(s);
        server_retry(s);
        server_reap(s);
}

/* A suspended connection must be resumed before libmicrohttpd may stop. Who has connected in time is heard: the next daemon
 * may be on its way, but that connection is ours. Who neither asks nor reads need not be waited for. */
static bool server_is_done(const struct server *s) {
        if (!s->stopping || s->n_suspended > 0)
                return false;
        return (s->n_requests == 0 && s->n_unheard == 0 && s->n_connections == 0) ||
               !mono_before(clock_mono(s->parts.clock), s->stop_by);
}

static void *server_main(void *arg) {
        struct server *s = arg;

        (void) pthread_setname_np(pthread_self(), "bearerd-serve");
        while (!server_is_done(s))
                server_turn(s);
        inbox_post(s->parts.loop, s->stopped);
        return NULL;
}

/* --- start and stop --- */

/* As many connections as descriptors allow; the soft limit goes up to the hard one. */
static unsigned server_connection_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 512;
        if (limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &limit); /* then it stays what it is */
                (void) getrlimit(RLIMIT_NOFILE, &limit);
        }
        if (limit.rlim_cur >= SERVER_CONNECTIONS_MAX + SERVER_SPARE_FDS + SERVER_MARGIN)
                return SERVER_CONNECTIONS_MAX;
        return limit.rlim_cur > 2 * (SERVER_SPARE_FDS + SERVER_MARGIN)
                       ? (unsigned) limit.rlim_cur - SERVER_SPARE_FDS - SERVER_MARGIN
                       : SERVER_MARGIN;
}

int server_watch_peer(struct server *s, int fd, const void *what) {
        /* EPOLLHUP is told unasked, and nothing else is wanted */
        return PASS(server_watch(s, fd, 0, (uintptr_t) what));
}

void server_unwatch_peer(struct server *s, int fd) {
        (void) epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* it may have been done before */
}

/* Said once: rules that can match nobody would look like rules that work. */
static void server_tell_units(const struct server *s) {
        enum peer_unit trouble = s->needs.units ? unit_trouble() : PEER_UNIT_KNOWN;

        if (trouble != PEER_UNIT_KNOWN)
                log_warning(
                        "event=units_unknown reason=\"%s\" advice=\"allow_units and admin_units match nobody who "
                        "calls by HTTP; use users and groups, or LoadCredential=\"",
                        peer_unit_reasons[trouble]);
}

/* Serves nobody until it is watched for. */
static int server_listen(struct server *s, int fd, unsigned limit, struct listener **ret) {
        struct listener *l = calloc(1, sizeof(*l));
        const union MHD_DaemonInfo *info;
        int r = 0;

        if (!l)
                return RAISE(-ENOMEM);
        list_init(&l->link);
        l->server = s;
        l->fd = fd;
        l->daemon = MHD_start_daemon(
                MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                server_handle, l, MHD_OPTION_EXTERNAL_LOGGER, server_log,
                l, /* first, so that it hears of the others */
                MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                (size_t) SERVER_CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT, limit,
                MHD_OPTION_NOTIFY_CONNECTION, server_connection, l, MHD_OPTION_NOTIFY_COMPLETED,
                server_completed, l, MHD_OPTION_URI_LOG_CALLBACK, server_look_at_line, l,
                MHD_OPTION_END);
        if (!l->daemon)
                r = RAISE(-ENOMEM);
        info = r == 0 ? MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
        if (info)
                l->epoll_fd = info->epoll_fd;
        if (r == 0)
                r = info ? server_watch(s, l->epoll_fd, 0, (uintptr_t) l + 1) : RAISE(-EOPNOTSUPP);
        if (r < 0) {
                listener_free(l);
                return PASS(r);
        }
        *ret = l;
        return 0;
}

/* --- another configuration --- */

static struct listener *server_find_listener(const struct server *s, int fd) {
        for_each_listener(l, s) if (l->socket && l->fd == fd) return l;
        return NULL;
}

int server_prepare(struct server *s, const struct conf *conf, const int *fds,
                   struct server_change **ret) {
        const unsigned limit = server_connection_limit() + SERVER_MARGIN;
        struct server_change *ch = calloc(1, sizeof(*ch));
        int r = 0;

        if (!ch)
                return RAISE(-ENOMEM);
        ch->server = s;
        ch->conf = conf;
        ch->listeners = calloc(conf->n_sockets, sizeof(struct listener *));
        ch->handed_out = calloc(conf->n_credentials + 1, sizeof(*ch->handed_out));
        if (!ch->listeners || !ch->handed_out)
                r = RAISE(-ENOMEM);
        for (size_t i = 0; r == 0 && i < conf->n_sockets; i++) {
                if (conf->sockets[i]->protocol != SOCKET_HTTP)
                        continue;
                ch->listeners[i] = server_find_listener(s, fds[i]);
                if (!ch->listeners[i])
                        r = server_listen(s, fds[i], limit, &ch->listeners[i]);
        }
        if (r < 0) {
                server_change_free(ch);
                return PASS(r);
        }
        *ret = ch;
        return 0;
}

struct server_change *server_change_free(struct server_change *ch) {
        if (!ch)
                return NULL;
        for (size_t i = 0; ch->listeners && i < ch->conf->n_sockets; i++)
                if (ch->listeners[i] && list_is_empty(&ch->listeners[i]->link))
                        listener_free(ch->listeners[i]);
        free(ch->listeners);
        free(ch->handed_out);
        free(ch);
        return NULL;
}

static void server_take_counts(struct server *s, struct server_change *ch) {
        atomic_uint_fast64_t *old = s->handed_out;

        for (size_t i = 0; old && i < ch->conf->n_credentials; i++) {
                const struct conf_credential *c = conf_find_credential(
                        s->conf, ch->conf->credentials[i]->name);

                if (c)
                        atomic_store(&ch->handed_out[i], atomic_load(&old[c->index]));
        }
        s->handed_out = ch->handed_out;
        ch->handed_out = old; /* which the loop may be reading */
}

static void server_take(struct server *s, struct server_change *ch) {
        server_take_counts(s, ch);
        s->conf = ch->conf;
        s->needs = caller_needs_of(ch->conf);
        s->generation++;
        crowd_limit(&s->crowd, ch->conf->connections_per_user, ch->conf->request_timeout_us,
                    ch->conf->idle_timeout_us);
        for_each_listener(l, s) l->socket = NULL;
        for (size_t i = 0; i < ch->conf->n_sockets; i++) {
                struct listener *l = ch->listeners[i];
                struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uintptr_t) l + 1 };

                ch->listeners[i] = NULL;
                if (!l)
                        continue;
                l->socket = ch->conf->sockets[i];
                if (!list_is_empty(&l->link))
                        continue;
                list_append(&s->listeners, &l->link);
                (void) epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, l->epoll_fd, &ev); /* it is there */
        }
        for_each_listener(l, s) if (!l->socket)
                listener_stop(l); /* the loop closes the descriptor now */
        server_close_idle(s);
        streams_reloaded(&s->streams);
        s->change = ch;
}

static void server_switch_run(struct message *m) {
        struct server_change *ch = list_entry(m, struct server_change, message);
        struct server *s = ch->server;

        if (!s->stopping)
                server_take(s, ch);
        else
                s->change = ch;
        inbox_post(s->parts.loop, ch->switched);
}

void server_switch(struct server *s, struct server_change *ch, struct message *switched) {
        ch->switched = switched;
        ch->message.run = server_switch_run;
        inbox_post(s->inbox, &ch->message);
}

/* The loop has the serving thread's configuration now. */
static void server_follow(struct server *s) {
        s->counted = s->handed_out;
        s->change = server_change_free(s->change);
}

void server_judge_again(struct server *s) {
        struct list_link *link, *next;

        server_follow(s);
        for (link = s->calls.next; link != &s->calls; link = next) {
                struct call *call = list_entry(link, struct call, link);
                struct caller *caller = (struct caller *) (uintptr_t)
                                                call->caller; /* suspended: ours */
                struct reply reply = { 0 };

                next = link->next;
                call->generation = s->generation;
                if (server_know(s, caller) == 0 && route_judge_again(call, s->conf, &reply))
                        continue;
                if (!call->withdraw) {
                        if (reply.response)
                                MHD_destroy_response(reply.response); /* it ends as it was begun */
                        continue;
                }
                call->withdraw(call, s->parts.broker);
                call_return(call, reply);
        }
}

static int server_open(struct server *s) {
        const struct conf *conf = s->parts.conf;
        struct server_change *ch;
        int r;

        r = crowd_init(&s->crowd, server_connection_limit(), conf->connections_per_user,
                       conf->request_timeout_us, conf->idle_timeout_us, &random_system);
        if (r == 0)
                r = server_watch(s, inbox_fd(s->inbox), EPOLLIN, SERVER_EVENT_INBOX);
        if (r == 0)
                r = server_prepare(s, conf, s->parts.fds, &ch);
        if (r < 0)
                return PASS(r);
        server_take(s, ch);
        server_follow(s);
        return 0;
}

int server_start(const struct server_parts *parts, struct server **ret) {
        struct server *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return RAISE(-ENOMEM);
        s->parts = *parts;
        s->needs = caller_needs_of(parts->conf);
        list_init(&s->calls);
        list_init(&s->connections);
        list_init(&s->listeners);
        server_tell_units(s);
        streams_init(&s->streams, s, parts->feed);
        s->retry = MONO_NEVER;
        s->now = clock_mono(parts->clock);
        s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        r = s->epoll_fd < 0 ? -errno : inbox_new(&s->inbox);
        if (r == 0)
                r = server_open(s);
        if (r == 0)
                r = -pthread_create(&s->thread, NULL, server_main, s);
        s->thread_runs = r == 0;
        if (r < 0) {
                server_free(s);
                return RAISE(r);
        }
        *ret = s;
        return 0;
}

static void server_ping_run(struct message *m) {
        struct server *s = list_entry(m, struct server, ping);

        inbox_post(s->parts.loop, s->pong);
}

void server_ping(struct server *s, struct message *pong) {
        s->ping.run = server_ping_run;
        s->pong = pong;
        inbox_post(s->inbox, &s->ping);
}

void server_stop(struct server *s, struct message *stopped) {
        s->stop.run = server_stop_run;
        s->stopped = stopped;
        inbox_post(s->inbox, &s->stop);
}

struct server *server_free(struct server *s) {
        if (!s)
                return NULL;
        if (s->thread_runs)
                (void) pthread_join(s->thread, NULL);
        while (!list_is_empty(&s->listeners))
                listener_free(list_entry(s->listeners.next, struct listener, link));
        server_change_free(s->change);
        crowd_done(&s->crowd);
        if (s->epoll_fd >= 0)
                (void) close(s->epoll_fd);
        inbox_free(s->inbox);
        free(s->handed_out);
        free(s);
        return NULL;
}
