#include "api/unit_socket.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "api/audit.h"
#include "api/caller.h"
#include "api/parameter.h"
#include "base/err.h"
#include "base/text.h"
#include "client/protocol.h"
#include "conf/difference.h"

/*
 * A connection is accepted, judged at once by whom it comes from, and parked with the broker. While
 * it is parked nobody looks at it: a service manager that has given up is found out by the write.
 */

#define UNIT_RANDOM_MAX 16 /* hex digits of 64 bits */

struct unit_door { /* one listening socket */
        struct unit_sockets *sockets;
        const struct conf_socket *conf;
        sd_event_source *io; /* NULL: speaks another protocol */
        sd_event_source *pause;
};

struct unit_visit { /* one connection */
        struct unit_sockets *sockets;
        struct list_link link;
        int fd;
        struct unit_address address;
        pid_t pid;                        /* of the service manager's helper */
        const struct conf_socket *socket; /* NULL: it is no more */
        const struct conf_credential *credential;
        struct variant variant; /* plain */
        struct ask ask;
        struct secret *token; /* to be written; NULL: parked */
        size_t written;
        bool is_told; /* what became of it, by the audit */
        sd_event_source *io;
        sd_event_source *deadline;
};

struct unit_sockets {
        struct unit_sockets_parts parts;
        struct unit_door *doors; /* one for each socket of the configuration */
        struct list_link visits;
        size_t n_visits;
        bool stopped;
};

/* --- the address --- */

/* Moves *p behind `n` bytes and copies them; `ret` has room for an address. */
static void unit_take(const char **p, size_t n, char *ret) {
        memcpy(ret, *p, n);
        ret[n] = '\0';
        *p += n;
}

static int unit_parse_id(const char *id, struct unit_address *ret) {
        const char *at = strchrnul(id, '@');
        const char *subject = *at ? at + 1 : at;

        unit_take(&id, (size_t) (at - id), ret->credential);
        if (!text_is_name(ret->credential))
                return -EINVAL;
        if (*at && (!*subject || parameter_check_subject(subject, strlen(subject))))
                return -EINVAL;
        strcpy(ret->subject, subject); /* no longer than the address */
        return 0;
}

int unit_address_parse(const struct sockaddr_un *address, socklen_t len, struct unit_address *ret) {
        static const char infix[] = "/unit/";
        const size_t head = offsetof(struct sockaddr_un, sun_path) + 1; /* and the leading NUL */
        struct unit_address parsed;
        char text[UNIT_ADDRESS_MAX];
        const char *p = text;
        size_t n;

        if (len <= head || len > sizeof(*address) || address->sun_family != AF_UNIX ||
            address->sun_path[0] != '\0' || memchr(address->sun_path + 1, '\0', len - head))
                return -EINVAL;
        memcpy(text, address->sun_path + 1, len - head);
        text[len - head] = '\0';

        n = strspn(p, "0123456789abcdef");
        if (n < 1 || n > UNIT_RANDOM_MAX || strncmp(p + n, infix, strlen(infix)) != 0)
                return -EINVAL;
        p += n + strlen(infix);
        n = strspn(p, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:-_.\\@");
        if (n < 1 || p[n] != '/')
                return -EINVAL;
        unit_take(&p, n, parsed.unit);
        p++;
        if (strchr(p, '/') || unit_parse_id(p, &parsed) < 0)
                return -EINVAL;
        *ret = parsed;
        return 0;
}

/* --- connections --- */

static void unit_door_set(struct unit_door *door, bool open) {
        if (door->io)
                /* fails only for a source of another loop, or of one that has ended */
                (void) sd_event_source_set_enabled(door->io, open ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* Open unless there are as many visits as may be. */
static void unit_doors_update(struct unit_sockets *s) {
        for (size_t i = 0; i < s->parts.conf->n_sockets; i++) {
                struct unit_door *door = &s->doors[i];

                if (!door->pause)
                        unit_door_set(door,
                                      !s->stopped && s->n_visits < UNIT_SOCKET_CONNECTIONS_MAX);
        }
}

static void unit_visit_free(struct unit_visit *v) {
        struct unit_sockets *s = v->sockets;

        sd_event_source_disable_unref(v->io); /* before its descriptor goes */
        sd_event_source_disable_unref(v->deadline);
        if (v->fd >= 0)
                (void) close(v->fd); /* nothing useful can be done about a failure here */
        secret_unref(v->token);
        list_remove(&v->link);
        free(v);
        s->n_visits--;
        unit_doors_update(s);
}

/* The manager asks, on behalf of the unit. */
static void unit_visit_audit(struct unit_visit *v, enum audit_outcome outcome,
                             const char *fingerprint) {
        struct caller caller = {
                .peer = { .pid = v->pid, .unit_is = PEER_UNIT_KNOWN, .unit = v->address.unit },
                .fd = -1,
        };

        audit_record(v->sockets->parts.audit, outcome, &caller, v->address.credential,
                     v->address.subject, fingerprint);
        v->is_told = audit_tells(v->sockets->parts.audit, outcome);
}

/* Says for whom there is nothing, and why, unless the audit has; and ends it. */
static void unit_visit_refuse(struct unit_visit *v, const char *reason) {
        const struct unit_address *a = &v->address;
        char subject[4 * UNIT_ADDRESS_MAX], quoted[WHY_MAX + 3];

        if (!v->is_told)
                log_warning("credential=%s subject=%s unit=%s event=unit_refused reason=%s",
                            a->credential, log_quote(a->subject, subject, sizeof(subject)), a->unit,
                            log_quote(reason, quoted, sizeof(quoted)));
        unit_visit_free(v);
}

/* 0: all is written; -EAGAIN: the socket is full; what send(2) said. */
static int unit_visit_send(struct unit_visit *v) {
        const char *text = secret_text(v->token);
        size_t len = secret_len(v->token);

        while (v->written < len) {
                ssize_t n = send(v->fd, text + v->written, len - v->written, MSG_NOSIGNAL);

                if (n >= 0)
                        v->written += (size_t) n;
                else if (errno != EINTR)
                        return -errno;
        }
        return 0;
}

static int unit_visit_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata);

static int unit_visit_on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) source;
        (void) usec;
        unit_visit_refuse(userdata, "it has not read the token in time");
        return 0;
}

static int unit_visit_watch(struct unit_visit *v) {
        sd_event *event = v->sockets->parts.event;
        int r;

        if (v->io)
                return 0;
        r = sd_event_add_io(event, &v->io, v->fd, EPOLLOUT, unit_visit_on_io, v);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &v->deadline, CLOCK_BOOTTIME,
                                               UNIT_SOCKET_WRITE_US, 0, unit_visit_on_deadline, v);
        return r < 0 ? RAISE(r) : 0;
}

/* Writes what the socket takes, and goes on when it takes more. */
static void unit_visit_write(struct unit_visit *v) {
        char fingerprint[SECRET_FINGERPRINT_SIZE], subject[4 * UNIT_ADDRESS_MAX];
        const struct unit_address *a = &v->address;
        struct why why;
        int r = unit_visit_send(v);

        if (r == -EAGAIN)
                r = unit_visit_watch(v);
        if (r < 0) {
                (void) why_set(&why, 0, "cannot write the token: %s", strerror(-r));
                unit_visit_refuse(v, why.text);
        } else if (v->written == secret_len(v->token)) {
                secret_fingerprint(v->token, fingerprint);
                log_debug("credential=%s subject=%s unit=%s event=unit_served fingerprint=%s",
                          a->credential, log_quote(a->subject, subject, sizeof(subject)), a->unit,
                          fingerprint);
                unit_visit_audit(v, AUDIT_HANDED_OUT, fingerprint);
                unit_visit_free(v);
        }
}

static int unit_visit_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void) source;
        (void) fd;
        (void) revents;
        unit_visit_write(userdata);
        return 0;
}

static void unit_visit_answered(struct ask *ask, const struct answer *a) {
        struct unit_visit *v = list_entry(ask, struct unit_visit, ask);

        if (a->kind != ANSWER_TOKEN) {
                unit_visit_refuse(v, a->why.text);
                return;
        }
        v->token = secret_ref(a->token->value);
        unit_visit_write(v);
}

/* --- who it is --- */

/* NULL: may have the token; or why not. */
static const char *unit_visit_judge(struct unit_visit *v, const struct conf *conf) {
        const struct caller caller = {
                .peer = { .uid = PEER_OVERFLOW_ID,
                          .gid = PEER_OVERFLOW_ID,
                          .unit = v->address.unit }, /* the unit alone counts, not that root asks */
                .socket = v->socket,
        };

        v->credential = caller_find_credential(&caller, conf, v->address.credential);
        if (!v->credential) {
                if (conf_find_credential(conf, v->address.credential))
                        unit_visit_audit(v, AUDIT_NOT_SHOWN, "");
                return "there is no such credential on this socket";
        }
        if (!caller_may_use(&caller, v->credential)) {
                unit_visit_audit(v, AUDIT_USE_DENIED, "");
                return "the unit may not use it: add it to allow_units of the credential";
        }
        if (*v->address.subject && !v->credential->subjects)
                return "the credential takes no subjects (subjects = no)";
        return NULL;
}

/* True, and the address, if root is there and comes from one that a service manager would take. */
static bool unit_visit_is_manager(int fd, struct unit_address *ret, pid_t *ret_pid) {
        struct sockaddr_un address = { 0 };
        struct ucred cred = { .uid = PEER_OVERFLOW_ID };
        socklen_t len = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.uid != 0) {
                log_warning("event=unit_unknown uid=%u reason=\"only root is believed here\"",
                            cred.uid);
                return false;
        }
        len = sizeof(address);
        if (getpeername(fd, (struct sockaddr *) &address, &len) < 0 ||
            unit_address_parse(&address, len, ret) < 0) {
                log_warning("event=unit_unknown uid=0 reason=\"its address names no unit and "
                            "credential: this socket is for LoadCredential= in a unit\"");
                return false;
        }
        *ret_pid = cred.pid;
        return true;
}

/* Takes over `fd`. */
static void unit_door_visit(struct unit_door *door, int fd) {
        struct unit_sockets *s = door->sockets;
        AUTO(auto_closep) int owned = fd;
        struct unit_address address;
        struct unit_visit *v;
        const char *problem;
        pid_t pid;

        if (!unit_visit_is_manager(fd, &address, &pid))
                return;
        v = calloc(1, sizeof(*v));
        if (!v) {
                log_error("credential=%s unit=%s event=unit_refused reason=\"out of memory\"",
                          address.credential, address.unit);
                return;
        }
        v->sockets = s;
        v->fd = owned;
        owned = -1;
        v->address = address;
        v->pid = pid;
        list_append(&s->visits, &v->link);
        s->n_visits++;
        unit_doors_update(s);
        v->socket = door->conf;
        problem = unit_visit_judge(v, v->sockets->parts.conf);
        if (problem) {
                unit_visit_refuse(v, problem);
                return;
        }
        v->ask = (struct ask){
                .credential = v->credential,
                .subject = v->address.subject,
                .variant = &v->variant,
                .uid = 0, /* unit_visit_is_manager() */
                .min_ttl_us = -1,
                .wait_us = PROTOCOL_WAIT_DEFAULT_S * US_PER_S,
                .answer = unit_visit_answered,
        };
        broker_ask(s->parts.broker, &v->ask);
}

/* --- doors --- */

static int unit_door_on_pause(sd_event_source *source, uint64_t usec, void *userdata) {
        struct unit_door *door = userdata;

        (void) source;
        (void) usec;
        door->pause = sd_event_source_disable_unref(door->pause);
        unit_doors_update(door->sockets);
        return 0;
}

/* Out of descriptors, say: the connection stays where it is, and would wake us at once again. */
static void unit_door_pause(struct unit_door *door, int error) {
        log_error("event=unit_accept_failed socket=%s error=\"%s\"", door->conf->path,
                  strerror(-error));
        if (sd_event_add_time_relative(door->sockets->parts.event, &door->pause, CLOCK_BOOTTIME,
                                       UNIT_SOCKET_PAUSE_US, 0, unit_door_on_pause, door) >= 0)
                unit_door_set(door, false);
}

static int unit_door_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct unit_door *door = userdata;
        int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        (void) source;
        (void) revents;
        if (peer >= 0)
                unit_door_visit(door, peer);
        else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                unit_door_pause(door, -errno);
        return 0;
}

struct unit_doors { /* as one configuration has them */
        const struct conf *conf;
        const int *fds;
        struct unit_door *doors;
};

int unit_sockets_prepare(const struct conf *conf, const int *fds, struct unit_doors **ret) {
        struct unit_doors *ds = calloc(1, sizeof(*ds));

        if (ds) {
                *ds = (struct unit_doors){ conf, fds, calloc(conf->n_sockets, sizeof(*ds->doors)) };
                if (ds->doors) {
                        *ret = ds;
                        return 0;
                }
        }
        free(ds);
        return RAISE(-ENOMEM);
}

struct unit_doors *unit_doors_free(struct unit_doors *ds) {
        if (ds)
                free(ds->doors);
        free(ds);
        return NULL;
}

static void unit_doors_close(struct unit_sockets *s) {
        for (size_t i = 0; s->doors && i < s->parts.conf->n_sockets; i++) {
                s->doors[i].pause = sd_event_source_disable_unref(s->doors[i].pause);
                s->doors[i].io = sd_event_source_disable_unref(s->doors[i].io);
        }
        free(s->doors);
        s->doors = NULL;
}

static int unit_doors_open(struct unit_sockets *s, struct unit_doors *ds) {
        int r = 0;

        s->parts.conf = ds->conf;
        s->parts.fds = ds->fds;
        s->doors = TAKE(ds->doors);
        unit_doors_free(ds);
        for (size_t i = 0; r >= 0 && i < s->parts.conf->n_sockets; i++) {
                const struct conf_socket *socket = s->parts.conf->sockets[i];

                s->doors[i] = (struct unit_door){ .sockets = s, .conf = socket };
                if (socket->protocol == SOCKET_SYSTEMD_CREDENTIAL)
                        r = sd_event_add_io(s->parts.event, &s->doors[i].io, s->parts.fds[i],
                                            EPOLLIN, unit_door_on_io, &s->doors[i]);
        }
        return r < 0 ? RAISE(r) : 0;
}

void unit_sockets_adopt(struct unit_sockets *s, struct unit_doors *ds) {
        struct list_link *l, *next;
        int r;

        for (l = s->visits.next; l != &s->visits; l = next) {
                struct unit_visit *v = list_entry(l, struct unit_visit, link);
                const char *problem;

                next = l->next;
                v->socket = v->socket ? conf_find_socket(ds->conf, v->socket->path) : NULL;
                if (v->token)
                        continue; /* it was given while it might be */
                problem = unit_visit_judge(v, ds->conf);
                if (problem) {
                        broker_withdraw(s->parts.broker, &v->ask);
                        unit_visit_refuse(v, problem);
                }
        }
        unit_doors_close(s);
        r = unit_doors_open(s, ds);
        if (r < 0)
                log_error("event=unit_sockets_failed error=\"%s\" advice=\"restart bearerd\"",
                          strerror(-r));
        unit_doors_update(s);
}

int unit_sockets_new(const struct unit_sockets_parts *parts, struct unit_sockets **ret) {
        struct unit_sockets *s = calloc(1, sizeof(*s));
        struct unit_doors *ds;
        int r;

        if (!s)
                return RAISE(-ENOMEM);
        s->parts = *parts;
        list_init(&s->visits);
        r = unit_sockets_prepare(parts->conf, parts->fds, &ds);
        if (r == 0)
                r = unit_doors_open(s, ds);
        if (r < 0) {
                unit_sockets_free(s);
                return PASS(r);
        }
        *ret = s;
        return 0;
}

void unit_sockets_stop(struct unit_sockets *s) {
        s->stopped = true;
        unit_doors_update(s);
}

size_t unit_sockets_visits(const struct unit_sockets *s) {
        return s->n_visits;
}

struct unit_sockets *unit_sockets_free(struct unit_sockets *s) {
        if (!s)
                return NULL;
        s->stopped = true;
        while (!list_is_empty(&s->visits)) {
                struct unit_visit *v = list_entry(s->visits.next, struct unit_visit, link);

                assert(v->token); /* nobody is with the broker any more */
                unit_visit_refuse(v, "bearerd stops, and it has not read the token");
        }
        unit_doors_close(s);
        free(s);
        return NULL;
}
