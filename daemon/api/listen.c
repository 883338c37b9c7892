#include "api/listen.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "base/err.h"
#include "base/log.h"

#define LISTEN_BACKLOG 4096 /* the kernel lowers it to net.core.somaxconn */

static struct sockaddr_un listen_address(const struct conf_socket *socket) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };

        strncpy(sun.sun_path, socket->path,
                sizeof(sun.sun_path) - 1); /* the configuration has checked its length */
        return sun;
}

/* Makes the directory the socket lies in, if it is not there; others may pass through it if they may use the socket. */
static int listen_make_directory(const struct conf_socket *socket, struct why *why) {
        char dir[sizeof(((struct sockaddr_un *) NULL)->sun_path)];
        mode_t mode = socket->mode & 077 ? 0755 : 0700;
        char *slash;
        int r;

        strncpy(dir, socket->path, sizeof(dir) - 1);
        dir[sizeof(dir) - 1] = '\0';
        slash = strrchr(dir, '/');
        if (!slash || slash == dir)
                return 0;
        *slash = '\0';
        if (mkdir(dir, mode) == 0 && chmod(dir, mode) == 0) /* whatever the umask is */
                return 0;
        if (errno == EEXIST)
                return 0;
        r = -errno;
        return why_set(why, RAISE(r), "cannot make %s for the socket: %s", dir, strerror(-r));
}

/* Is anybody listening at this address? A socket file whose owner is gone refuses the connection. */
static bool listen_is_alive(const struct sockaddr_un *sun) {
        AUTO(auto_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return true; /* cannot tell */
        return connect(fd, (const struct sockaddr *) sun, sizeof(*sun)) == 0 ||
               errno != ECONNREFUSED;
}

static int listen_bind(int fd, const struct conf_socket *socket) {
        const struct sockaddr_un sun = listen_address(socket);
        mode_t before = umask(0777 & ~socket->mode);
        int r = bind(fd, (const struct sockaddr *) &sun, sizeof(sun)) < 0 ? -errno : 0;

        (void) umask(before);
        return r;
}

static int listen_bind_or_take_over(int fd, const struct conf_socket *socket, struct why *why) {
        const struct sockaddr_un sun = listen_address(socket);
        struct stat st;
        int r = listen_bind(fd, socket);

        if (r == -EADDRINUSE) {
                if (lstat(socket->path, &st) == 0 && !S_ISSOCK(st.st_mode))
                        return why_set(
                                why, RAISE(r),
                                "%s is in the way: it is not a socket; remove it, or choose another path",
                                socket->path);
                if (listen_is_alive(&sun))
                        return why_set(
                                why, RAISE(r),
                                "somebody is listening on %s already: is another bearerd running? "
                                "(bearerctl --socket %s health)",
                                socket->path, socket->path);
                if (unlink(socket->path) == 0 || errno == ENOENT)
                        r = listen_bind(fd, socket);
        }
        if (r < 0)
                return why_set(why, RAISE(r), "cannot listen on %s: %s", socket->path,
                               strerror(-r));
        return 0;
}

/* --- sockets that the service manager has opened: it knows them by where they are, and so do we --- */

static bool listen_is_inherited(int fd) {
        return fd >= SD_LISTEN_FDS_START && fd < SD_LISTEN_FDS_START + sd_listen_fds(0);
}

/* The descriptor of the socket at `path`; -1 if there is none. Its mode and owner are the socket unit's. */
static int listen_inherit(const char *path) {
        for (int fd = SD_LISTEN_FDS_START; listen_is_inherited(fd); fd++)
                if (sd_is_socket_unix(fd, SOCK_STREAM, 1, path, 0) > 0 &&
                    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0)
                        return fd;
        return -1;
}

void listen_warn_of_others(const int *fds, size_t n) {
        for (int fd = SD_LISTEN_FDS_START; listen_is_inherited(fd); fd++) {
                struct sockaddr_un sun = { .sun_family = AF_UNIX };
                socklen_t len = sizeof(sun) - 1; /* a NUL stays behind the path */
                bool is_known = false;

                for (size_t i = 0; i < n; i++)
                        is_known = is_known || fds[i] == fd;
                if (is_known)
                        continue;
                if (getsockname(fd, (struct sockaddr *) &sun, &len) < 0 ||
                    sun.sun_family != AF_UNIX)
                        sun.sun_path[0] = '\0';
                log_warning(
                        "event=socket_unknown path=\"%s\" advice=\"a socket unit listens there, and the "
                        "configuration has no socket at that path: callers there get no answer\"",
                        sun.sun_path);
        }
}

/* What is so already needs no chown(2), which a sandbox may refuse. */
static bool listen_has_owner(const struct conf_socket *conf) {
        struct stat st;

        return lstat(conf->path, &st) == 0 &&
               (conf->owner == (uid_t) -1 || conf->owner == st.st_uid) &&
               (conf->group == (gid_t) -1 || conf->group == st.st_gid);
}

int listen_open(const struct conf_socket *conf, struct why *why, int *ret_fd) {
        AUTO(auto_closep) int fd = -1;
        int inherited = listen_inherit(conf->path), r;

        if (inherited >= 0) {
                *ret_fd = inherited;
                return 0;
        }
        r = listen_make_directory(conf, why);
        if (r < 0)
                return PASS(r);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
                r = -errno;
                return why_set(why, RAISE(r), "cannot make a socket: %s", strerror(-r));
        }
        r = listen_bind_or_take_over(fd, conf, why);
        if (r < 0)
                return PASS(r);
        if (!listen_has_owner(conf) && lchown(conf->path, conf->owner, conf->group) < 0) {
                r = -errno;
                (void) unlink(conf->path);
                return why_set(why, RAISE(r), "cannot give %s to its owner and group: %s",
                               conf->path, strerror(-r));
        }
        if (listen(fd, LISTEN_BACKLOG) < 0) {
                r = -errno;
                (void) unlink(conf->path);
                return why_set(why, RAISE(r), "cannot listen on %s: %s", conf->path, strerror(-r));
        }
        *ret_fd = fd;
        fd = -1;
        return 0;
}

void listen_close(const struct conf_socket *socket, int fd) {
        struct sockaddr_un sun;
        socklen_t len = sizeof(sun);

        if (fd < 0)
                return;
        if (!listen_is_inherited(fd) && getsockname(fd, (struct sockaddr *) &sun, &len) == 0 &&
            strcmp(sun.sun_path, socket->path) == 0)
                (void) unlink(socket->path); /* a later daemon would take it over all the same */
        (void) close(fd);
}
