#include "api/server.h"

#include <assert.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/call.h"
#include "api/caller.h"
#include "api/route.h"
#include "base/err.h"
#include "base/log.h"
#include "policy/policy.h"

#define SERVER_EVENTS 16
#define SERVER_ACCEPTS                                                                             \
        64 /* in one turn, so that a flood of connections does not starve those that are there */
#define SERVER_SPARE_FDS 64 /* descriptors that the rest of the daemon needs */
#define SERVER_ACCEPT_PAUSE_US                                                                     \
        US_PER_S /* without free descriptors: try again this late if no connection closes before */
#define SERVER_STOP_US (2 * US_PER_S) /* for callers to take their last answers */

struct server {
        struct server_parts parts;
        struct MHD_Daemon *daemon;
        pthread_t thread;
        bool thread_runs;
        int epoll_fd;
        struct inbox *inbox;
        bool want_groups;

        /* owned by the serving thread */
        struct caller *arriving; /* of the connection that is being added */
        size_t n_connections;
        size_t n_suspended; /* calls that are with the loop */
        size_t n_requests;  /* begun and not completed */
        bool accept_paused;
        mono_t accept_resumes;
        bool stopping;
        mono_t stop_by; /* answers that nobody reads are given up then */

        /* set by server_stop() before it posts `stop` */
        struct message stop;
        struct message *stopped;
};

/* What an epoll event is about: a listening socket's index, or one of these. */
enum {
        SERVER_EVENT_DAEMON = -1,
        SERVER_EVENT_INBOX = -2,
};

const struct server_parts *server_parts(const struct server *s) {
        return &s->parts;
}

/* --- calls between the threads --- */

void server_suspended(struct server *s, struct call *call) {
        s->n_suspended++;
        MHD_suspend_connection(call->connection);
}

void server_resume(struct server *s, struct call *call) {
        s->n_suspended--;
        MHD_resume_connection(call->connection);
}

void server_post(struct server *s, struct message *m) {
        inbox_post(s->inbox, m);
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

static char
        server_seen; /* its address in req_cls: the headers have been seen, there is no call yet */

static struct caller *server_caller(struct MHD_Connection *connection) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
                connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

static enum MHD_Result server_queue(struct call *call) {
        if (!call->reply.response)
                return MHD_NO; /* out of memory: close */
        return MHD_queue_response(call->connection, call->reply.status, call->reply.response);
}

static enum MHD_Result server_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                     const char *method, const char *version,
                                     const char *upload_data, size_t *upload_size, void **req_cls) {
        struct server *s = cls;
        struct caller *caller = server_caller(connection);
        struct call *call;

        (void) version;
        if (!*req_cls) {
                /* an answer now would be taken for an early one and close the connection (performance.md section 3) */
                *req_cls = &server_seen;
                s->n_requests++;
                return MHD_YES;
        }
        if (*req_cls == &server_seen && *upload_size == 0) {
                enum MHD_Result done;

                if (route_fast(s, connection, caller, method, url, &done))
                        return done;
        }
        if (*req_cls == &server_seen) {
                call = call_new(s, connection, caller);
                if (!call)
                        return MHD_NO;
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
        struct server *s = cls;

        (void) connection;
        (void) code;
        if (!*req_cls)
                return;
        s->n_requests--;
        if (*req_cls != &server_seen)
                call_free(*req_cls);
        *req_cls = NULL;
}

static void server_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                              enum MHD_ConnectionNotificationCode code) {
        struct server *s = cls;

        (void) connection;
        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                s->n_connections++;
                *socket_context = TAKE(s->arriving);
                return;
        }
        s->n_connections--;
        *socket_context = caller_free(*socket_context);
        s->accept_resumes = (mono_t){ 0 }; /* a descriptor is free again */
}

static void server_log(void *cls, const char *format, va_list ap) {
        char text[256], quoted[256];

        (void) cls;
        (void) vsnprintf(text, sizeof(text), format, ap);
        text[strcspn(text, "\n")] = '\0';
        log_debug("event=http message=%s", log_quote(text, quoted, sizeof(quoted)));
}

/* --- accepting --- */

static void server_watch_listeners(struct server *s, bool watch) {
        for (size_t i = 0; i < s->parts.conf->n_sockets; i++) {
                struct epoll_event ev = { .events = watch ? EPOLLIN : 0, .data.u64 = (uint64_t) i };

                if (s->parts.fds[i] >= 0)
                        /* fails only for a descriptor that is not there, which server_start() would have seen */
                        (void) epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->parts.fds[i], &ev);
        }
        s->accept_paused = !watch;
}

static void server_pause_accepting(struct server *s, const char *reason) {
        log_warning(
                "event=accept_paused connections=%zu reason=\"%s\" advice=\"raise LimitNOFILE=, or find who holds so "
                "many connections\"",
                s->n_connections, reason);
        server_watch_listeners(s, false);
        s->accept_resumes = mono_add(clock_mono(s->parts.clock), SERVER_ACCEPT_PAUSE_US);
}

static void server_accept(struct server *s, size_t i) {
        for (unsigned n = 0; n < SERVER_ACCEPTS; n++) {
                const struct sockaddr_un unnamed = { .sun_family = AF_UNIX };
                int fd = accept4(s->parts.fds[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                int r;

                if (fd < 0 &&
                    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
                        server_pause_accepting(s, strerror(errno));
                        return;
                }
                if (fd < 0 && errno == EINTR)
                        continue;
                if (fd < 0)
                        return; /* EAGAIN, or a connection that has gone already */
                r = caller_new(fd, s->parts.conf->sockets[i], s->want_groups, &s->arriving);
                if (r < 0) {
                        log_debug("event=caller_unknown error=\"%s\"", strerror(-r));
                        (void) close(fd);
                        continue;
                }
                s->arriving->is_admin = policy_is_admin(s->parts.conf, geteuid(),
                                                        &s->arriving->peer);
                /* closes fd when it fails (no memory, or the connection limit) */
                (void) MHD_add_connection(s->daemon, fd, (const struct sockaddr *) &unnamed,
                                          sizeof(sa_family_t));
                s->arriving = caller_free(s->arriving); /* NULL unless it failed */
        }
}

/* --- the thread --- */

static void server_stop_run(struct message *m) {
        struct server *s = list_entry(m, struct server, stop);

        s->stopping = true;
        s->stop_by = mono_add(clock_mono(s->parts.clock), SERVER_STOP_US);
        server_watch_listeners(s, false);
}

static int server_timeout_ms(struct server *s) {
        MHD_UNSIGNED_LONG_LONG ms;

        if (MHD_get_timeout(s->daemon, &ms) == MHD_YES && ms == 0)
                return 0; /* there is data in its buffers already */
        if (s->stopping)
                return (int) (SERVER_STOP_US / US_PER_MS / 10);
        if (s->accept_paused)
                return (int) (SERVER_ACCEPT_PAUSE_US / US_PER_MS);
        return -1;
}

static void server_turn(struct server *s) {
        struct epoll_event events[SERVER_EVENTS];
        int n = epoll_wait(s->epoll_fd, events, SERVER_EVENTS, server_timeout_ms(s));

        for (int i = 0; i < n; i++) {
                int what = (int) events[i].data.u64;

                if (what == SERVER_EVENT_INBOX)
                        inbox_run(s->inbox);
                else if (what >= 0 && !s->accept_paused)
                        server_accept(s, (size_t) what);
        }
        if (s->accept_paused && !s->stopping &&
            !mono_before(clock_mono(s->parts.clock), s->accept_resumes))
                server_watch_listeners(s, true);
        (void) MHD_run(s->daemon); /* fails only for a daemon with a thread of its own */
}

/* A suspended connection must be resumed before libmicrohttpd may stop; a reader that does not read need not be waited for. */
static bool server_is_done(const struct server *s) {
        if (!s->stopping || s->n_suspended > 0)
                return false;
        return s->n_requests == 0 || !mono_before(clock_mono(s->parts.clock), s->stop_by);
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

static int server_watch(struct server *s, int fd, int what) {
        struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uint64_t) what };
        int r;

        if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
                r = -errno;
                return RAISE(r);
        }
        return 0;
}

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
        if (limit.rlim_cur >= SERVER_CONNECTIONS_MAX + SERVER_SPARE_FDS)
                return SERVER_CONNECTIONS_MAX;
        return limit.rlim_cur > 2 * SERVER_SPARE_FDS ? (unsigned) limit.rlim_cur - SERVER_SPARE_FDS
                                                     : SERVER_SPARE_FDS;
}

static bool server_rules_name_groups(const struct conf *conf) {
        if (conf->admin.n_gids > 0)
                return true;
        for (size_t i = 0; i < conf->n_credentials; i++)
                if (conf->credentials[i]->allow.n_gids > 0)
                        return true;
        return false;
}

static int server_open(struct server *s) {
        const union MHD_DaemonInfo *info;
        int r;

        s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
                                             MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
                                     0, NULL, NULL, server_handle, s, MHD_OPTION_EXTERNAL_LOGGER,
                                     server_log, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                     (size_t) SERVER_CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
                                     server_connection_limit(), MHD_OPTION_NOTIFY_CONNECTION,
                                     server_connection, s, MHD_OPTION_NOTIFY_COMPLETED,
                                     server_completed, s, MHD_OPTION_END);
        if (!s->daemon)
                return RAISE(-ENOMEM);
        info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info)
                return RAISE(-EOPNOTSUPP);
        r = server_watch(s, info->epoll_fd, SERVER_EVENT_DAEMON);
        if (r == 0)
                r = server_watch(s, inbox_fd(s->inbox), SERVER_EVENT_INBOX);
        for (size_t i = 0; r == 0 && i < s->parts.conf->n_sockets; i++)
                if (s->parts.fds[i] >= 0)
                        r = server_watch(s, s->parts.fds[i], (int) i);
        return PASS(r);
}

int server_start(const struct server_parts *parts, struct server **ret) {
        struct server *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return RAISE(-ENOMEM);
        s->parts = *parts;
        s->want_groups = server_rules_name_groups(parts->conf);
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
        if (s->daemon)
                MHD_stop_daemon(s->daemon);
        if (s->epoll_fd >= 0)
                (void) close(s->epoll_fd);
        inbox_free(s->inbox);
        free(s);
        return NULL;
}
