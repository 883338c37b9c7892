#include "api/unit.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"

#ifndef SO_PEERPIDFD
#        define SO_PEERPIDFD 77 /* not in Debian 12's headers */
#endif

#define UNIT_FILE_MAX 4096 /* of /proc/self/fdinfo/N and /proc/PID/cgroup */

static bool unit_has_suffix(const char *name, size_t len, const char *suffix) {
        size_t n = strlen(suffix);

        return len > n && memcmp(name + len - n, suffix, n) == 0;
}

static bool unit_is_name(const char *name, size_t len) {
        static const char *const suffixes[] = { ".service", ".scope", ".socket", ".mount",
                                                ".swap" };

        for (size_t i = 0; i < N_ELEMENTS(suffixes); i++)
                if (unit_has_suffix(name, len, suffixes[i]))
                        return true;
        return false;
}

int unit_of_cgroup(const char *path, char **ret) {
        char *unit;

        if (*path != '/' || strncmp(path, "/..", 3) == 0) /* outside of our cgroup namespace */
                return -ENODATA;
        for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
                size_t len = strcspn(path, "/");

                if (!unit_has_suffix(path, len, ".slice")) {
                        if (!unit_is_name(path, len))
                                return -ENODATA;
                        unit = strndup(path, len);
                        if (!unit)
                                return RAISE(-ENOMEM);
                        *ret = unit;
                        return 0;
                }
                path += len;
        }
        return -ENODATA;
}

/* The value of the line that begins with `key`, in a small file of /proc; NULL if there is none. */
static char *unit_read_line(const char *file, const char *key, char buf[UNIT_FILE_MAX]) {
        AUTO(auto_closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, buf, UNIT_FILE_MAX - 1);
        char *line, *next;

        if (n <= 0)
                return NULL;
        buf[n] = '\0';
        for (line = buf; line; line = next) {
                next = strchr(line, '\n');
                if (next)
                        *next++ = '\0';
                if (strncmp(line, key, strlen(key)) == 0)
                        return line + strlen(key);
        }
        return NULL;
}

static int unit_peer_pidfd(int fd) {
        int pidfd = -1;
        socklen_t len = sizeof(pidfd);

        return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) < 0 ? -1 : pidfd;
}

int unit_of_peer(int fd, char **ret) {
        AUTO(auto_closep) int pidfd = unit_peer_pidfd(fd);
        AUTO(auto_freep) char *unit = NULL;
        char path[64], buf[UNIT_FILE_MAX];
        char *value;
        long pid;
        int r;

        if (pidfd < 0)
                return -ENODATA;
        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
        value = unit_read_line(path, "Pid:", buf);
        pid = value ? strtol(value, NULL, 10) : 0;
        if (pid <= 0) /* 0: in a PID namespace we do not see; -1: gone */
                return -ENODATA;
        (void) snprintf(path, sizeof(path), "/proc/%ld/cgroup", pid);
        value = unit_read_line(path, "0::", buf);
        if (!value)
                return -ENODATA;
        r = unit_of_cgroup(value, &unit);
        if (r < 0)
                return PASS(r);
        /* only now: what was read is that process's if it is still there */
        if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 && errno != EPERM)
                return -ENODATA;
        *ret = TAKE(unit);
        return 0;
}
