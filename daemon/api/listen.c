#include "api/listen.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

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

/* Nobody can connect before listen(2): so the mode may follow, whatever the umask is. */
static int listen_bind(int fd, const struct conf_socket *socket) {
        const struct sockaddr_un sun = listen_address(socket);
        int r;

        if (bind(fd, (const struct sockaddr *) &sun, sizeof(sun)) < 0)
                return -errno;
        if (chmod(socket->path, socket->mode) == 0)
                return 0;
        r = -errno;
        (void) unlink(socket->path); /* it was made a moment ago */
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
        if (r == -EACCES || r == -EPERM || r == -EROFS)
                return why_set(
                        why, RAISE(r),
                        "cannot listen on %s: %s; user %u has to be able to write in its directory",
                        socket->path, strerror(-r), (unsigned) geteuid());
        if (r < 0)
                return why_set(why, RAISE(r), "cannot listen on %s: %s", socket->path,
                               strerror(-r));
        return 0;
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
        int r;

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
