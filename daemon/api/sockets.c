#include "api/sockets.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "api/listen.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "conf/difference.h"

#define SOCKETS_MAIN       "bearerd" /* what [daemon]'s is called */
#define SOCKETS_MAIN_UNIT  "bearerd.socket"
#define SOCKETS_STORED     "stored." /* before the name of one that an earlier bearerd has left */
#define SOCKETS_NAME_SIZE  256
#define SOCKETS_STATE_SIZE (SOCKETS_NAME_SIZE + 32)

struct sockets_one {
        struct list_link link;
        int fd;
        char name[SOCKETS_NAME_SIZE];
        char path[sizeof(((struct sockaddr_un *) NULL)->sun_path) + 1]; /* "" for none */
        bool is_own;    /* made by a bearerd: mode and owner are its business */
        bool is_stored; /* with the service manager */
        bool is_used;   /* by the configuration in force */
        bool is_wanted; /* by the one that is being prepared */
};

struct sockets {
        struct list_link all;
};

#define for_each_one(one, s) for (struct sockets_one *one = NULL; (one = sockets_next((s), one));)

static struct sockets_one *sockets_next(const struct sockets *s, const struct sockets_one *one) {
        const struct list_link *next = one ? one->link.next : s->all.next;

        return next == &s->all ? NULL : list_entry(next, struct sockets_one, link);
}

static const char *sockets_name(const struct conf_socket *socket) {
        return *socket->name ? socket->name : SOCKETS_MAIN;
}

static void sockets_drop(struct sockets_one *one) {
        list_remove(&one->link);
        (void) close(one->fd); /* nothing useful can be done about a failure here */
        free(one);
}

/* Tells the service manager to forget it. */
static void sockets_unstore(struct sockets_one *one) {
        char state[SOCKETS_STATE_SIZE];

        if (!one->is_stored)
                return;
        (void) snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=" SOCKETS_STORED "%.200s",
                        one->name);
        (void) sd_notify(0, state); /* nobody may be listening */
        one->is_stored = false;
}

static int sockets_add(struct sockets *s, int fd, const char *name, struct sockets_one **ret) {
        struct sockets_one *one = calloc(1, sizeof(*one));
        struct sockaddr_un sun = { 0 };
        socklen_t len = sizeof(sun);

        if (!one)
                return RAISE(-ENOMEM);
        one->fd = fd;
        (void) snprintf(one->name, sizeof(one->name), "%s", name);
        if (getsockname(fd, (struct sockaddr *) &sun, &len) == 0)
                memcpy(one->path, sun.sun_path, sizeof(sun.sun_path));
        list_append(&s->all, &one->link);
        *ret = one;
        return 0;
}

static int sockets_inherit(struct sockets *s, int fd, const char *name, struct why *why) {
        struct sockets_one *one;
        struct stat st;
        int r;

        if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0)
                return why_set(
                        why, RAISE(-EINVAL),
                        "descriptor %d (\"%.64s\"), which the service manager hands over, is no "
                        "listening Unix stream socket: ListenStream= takes a path here",
                        fd, name);
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
                r = -errno;
                return why_set(why, RAISE(r), "cannot use descriptor %d: %s", fd, strerror(-r));
        }
        r = sockets_add(s, fd, name, &one);
        if (r < 0)
                return why_set(why, PASS(r), "out of memory");
        if (strncmp(name, SOCKETS_STORED, strlen(SOCKETS_STORED)) == 0) {
                (void) snprintf(one->name, sizeof(one->name), "%s", name + strlen(SOCKETS_STORED));
                one->is_own = one->is_stored = true;
                if (lstat(one->path, &st) < 0) { /* nobody can reach it any more */
                        sockets_unstore(one);
                        sockets_drop(one);
                }
        }
        return 0;
}

int sockets_new(struct why *why, struct sockets **ret) {
        struct sockets *s = calloc(1, sizeof(*s));
        char **names = NULL; /* each freed */
        int n, r = 0;

        if (!s)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        list_init(&s->all);
        n = sd_listen_fds_with_names(1, &names);
        if (n < 0)
                r = why_set(why, RAISE(n), "cannot read LISTEN_FDS: %s", strerror(-n));
        for (int i = 0; r == 0 && i < n; i++)
                r = sockets_inherit(s, SD_LISTEN_FDS_START + i, names ? names[i] : "", why);
        for (int i = 0; names && names[i]; i++)
                free(names[i]);
        free(names);
        if (r < 0) {
                sockets_free(s);
                return PASS(r);
        }
        *ret = s;
        return 0;
}

struct sockets *sockets_free(struct sockets *s) {
        if (!s)
                return NULL;
        while (!list_is_empty(&s->all)) {
                struct sockets_one *one = sockets_next(s, NULL);

                if (one->is_own && !one->is_stored)
                        (void) unlink(
                                one->path); /* a later daemon would take it over all the same */
                sockets_drop(one);
        }
        free(s);
        return NULL;
}

/* The one that is for this socket, or NULL. A path says more than a name. */
static struct sockets_one *sockets_find(const struct sockets *s, const struct conf *conf,
                                        const struct conf_socket *socket) {
        for_each_one(one,
                     s) if (!one->is_wanted && strcmp(one->path, socket->path) == 0) return one;
        for_each_one(
                one,
                s) if (!one->is_wanted && !one->is_own && !conf_find_socket(conf, one->path) &&
                       (strcmp(one->name, sockets_name(socket)) == 0 ||
                        (!*socket->name && strcmp(one->name, SOCKETS_MAIN_UNIT) == 0))) return one;
        return NULL;
}

static int sockets_open(struct sockets *s, const struct conf_socket *socket, struct why *why,
                        struct sockets_one **ret) {
        int fd, r;

        if (!sandbox_may_write(socket->path))
                return why_set(
                        why, RAISE(-EBUSY),
                        "%s needs a restart: since it has started, bearerd writes only where it did then "
                        "(sandbox); restart it (systemctl restart bearerd), or choose a directory that it uses already",
                        socket->path);
        r = listen_open(socket, why, &fd);
        if (r < 0)
                return PASS(r);
        r = sockets_add(s, fd, sockets_name(socket), ret);
        if (r < 0) {
                (void) unlink(socket->path); /* it was made a moment ago */
                (void) close(fd);
                return why_set(why, PASS(r), "out of memory");
        }
        (*ret)->is_own = true;
        return 0;
}

void sockets_abandon(struct sockets *s) {
        struct list_link *l, *next;

        for (l = s->all.next; l != &s->all; l = next) {
                struct sockets_one *one = list_entry(l, struct sockets_one, link);

                next = l->next;
                if (one->is_used || !one->is_own || one->is_stored)
                        continue;
                (void) unlink(one->path); /* it was made a moment ago */
                sockets_drop(one);
        }
}

int sockets_prepare(struct sockets *s, const struct conf *conf, struct why *why, int **ret_fds) {
        int *fds = malloc((conf->n_sockets + 1) * sizeof(int));
        int r = fds ? 0 : why_set(why, RAISE(-ENOMEM), "out of memory");

        sockets_abandon(s);
        for_each_one(one, s) one->is_wanted = false;
        for (size_t i = 0; r == 0 && i < conf->n_sockets; i++) {
                struct sockets_one *one = sockets_find(s, conf, conf->sockets[i]);

                if (!one)
                        r = sockets_open(s, conf->sockets[i], why, &one);
                if (r < 0)
                        continue;
                one->is_wanted = true;
                fds[i] = one->fd;
        }
        if (r < 0) {
                sockets_abandon(s);
                free(fds);
                return PASS(r);
        }
        *ret_fds = fds;
        return 0;
}

static void sockets_follow(const struct sockets_one *one, const struct conf_socket *socket) {
        struct stat st;

        if (!one->is_own || !socket || stat(one->path, &st) < 0)
                return;
        if ((st.st_mode & 0777) != socket->mode && chmod(one->path, socket->mode) < 0)
                log_error("event=socket_mode_failed socket=%s error=\"%s\"", one->path,
                          strerror(errno));
        if (((socket->owner != (uid_t) -1 && st.st_uid != socket->owner) ||
             (socket->group != (gid_t) -1 && st.st_gid != socket->group)) &&
            lchown(one->path, socket->owner, socket->group) < 0)
                log_error("event=socket_owner_failed socket=%s error=\"%s\"", one->path,
                          strerror(errno));
}

void sockets_adopt(struct sockets *s, const struct conf *conf) {
        struct list_link *l, *next;

        for (l = s->all.next; l != &s->all; l = next) {
                struct sockets_one *one = list_entry(l, struct sockets_one, link);

                next = l->next;
                one->is_used = one->is_wanted;
                sockets_follow(one, one->is_used ? conf_find_socket(conf, one->path) : NULL);
                if (one->is_used)
                        continue;
                if (!one->is_own) { /* who connects there waits in vain */
                        log_warning(
                                "event=socket_unused socket=%s name=%s advice=\"the service manager listens "
                                "there, and bearerd.conf has no [socket] of this path or name\"",
                                one->path, one->name);
                        continue;
                }
                sockets_unstore(one);
                (void) unlink(one->path); /* it leads nowhere */
                sockets_drop(one);
        }
}

void sockets_store(struct sockets *s) {
        char state[SOCKETS_STATE_SIZE];

        for_each_one(one, s) {
                if (!one->is_own || one->is_stored)
                        continue;
                (void) snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=" SOCKETS_STORED "%.200s",
                                one->name);
                one->is_stored = sd_pid_notify_with_fds(0, 0, state, &one->fd, 1) > 0;
        }
}
