#include "api/unit.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/cgroup.h"
#include "base/auto.h"
#include "base/err.h"

/* What follows is younger than Debian 12's headers. */
#ifndef SO_PEERPIDFD
#        define SO_PEERPIDFD 77
#endif

#define UNIT_INFO_PID      (1U << 0)
#define UNIT_INFO_CGROUPID (1U << 2)

struct unit_info { /* struct pidfd_info of linux/pidfd.h, in its first size */
        __u64 mask;
        __u64 cgroupid;
        __u32 pid, tgid, ppid;
        __u32 ids[8];
        __s32 exit_code;
};
_Static_assert(sizeof(struct unit_info) == 64, "PIDFD_INFO_SIZE_VER0");

#define UNIT_GET_INFO _IOWR(0xFF, 11, struct unit_info)

#define UNIT_FILE_MAX 8192 /* of /proc/self/fdinfo/N and /proc/PID/cgroup */
#define UNIT_TRIES    3    /* for a process that is moved while we look */

/* Where the tree that "0::" names may be mounted; the second in what systemd calls hybrid mode. */
static const char *const unit_cgroup_mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

/* --- the path --- */

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

/* The first component after the slices. */
static int unit_after_slices(const char *path, struct peer *peer) {
        for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
                size_t len = strcspn(path, "/");

                if (!unit_has_suffix(path, len, ".slice")) {
                        if (!unit_is_name(path, len))
                                break;
                        peer->unit = strndup(path, len);
                        if (!peer->unit)
                                return RAISE(-ENOMEM);
                        peer->unit_is = PEER_UNIT_KNOWN;
                        return 0;
                }
                path += len;
        }
        peer->unit_is = PEER_UNIT_NONE;
        return 0;
}

/* What is behind the slice of the user, and behind its manager if the process is below that; NULL: it is elsewhere. Only
 * the system's manager makes these two names. */
static const char *unit_of_user(const char *path, uid_t user) {
        char slice[64], manager[64];
        size_t n = (size_t) snprintf(slice, sizeof(slice), "/user.slice/user-%u.slice/", user);
        size_t m = (size_t) snprintf(manager, sizeof(manager), "user@%u.service/", user);

        if (strncmp(path, slice, n) != 0)
                return NULL;
        path += n;
        return strncmp(path, manager, m) == 0 ? path + m : path;
}

int unit_of_cgroup(const char *path, uid_t view, struct peer *peer) {
        if (*path != '/' || strncmp(path, "/..", 3) == 0) { /* outside of our cgroup namespace */
                peer->unit_is = PEER_UNIT_FOREIGN;
                return 0;
        }
        if (view != UNIT_VIEW_SYSTEM) {
                path = unit_of_user(path, view);
                if (!path) {
                        peer->unit_is = PEER_UNIT_OF_OTHERS;
                        return 0;
                }
        }
        return unit_after_slices(path, peer);
}

/* --- the process --- */

/* The value of the line that begins with `key`, in a small file of /proc. NULL: there is none, or -errno in *ret_r. */
static char *unit_read_line(const char *file, const char *key, char buf[UNIT_FILE_MAX],
                            int *ret_r) {
        AUTO(auto_closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, buf, UNIT_FILE_MAX - 1);
        char *line, *end;

        *ret_r = n < 0 ? -errno : 0;
        if (n <= 0)
                return NULL;
        buf[n] = '\0';
        for (line = buf; (end = strchr(line, '\n'));
             line = end + 1) { /* a line cut short is none */
                *end = '\0';
                if (strncmp(line, key, strlen(key)) == 0)
                        return line + strlen(key);
        }
        return NULL;
}

struct unit_process {
        pid_t pid;       /* in our PID namespace; 0: not seen from here; -1: gone */
        uint64_t cgroup; /* its id, or 0: this kernel does not tell */
};

static struct unit_process unit_process_of(int pidfd) {
        struct unit_info info = { .mask = UNIT_INFO_PID | UNIT_INFO_CGROUPID };
        struct unit_process p = { 0 };
        char path[64], buf[UNIT_FILE_MAX];
        const char *value;
        int r;

        if (ioctl(pidfd, UNIT_GET_INFO, &info) == 0 && info.pid > 0) {
                p.pid = (pid_t) info.pid;
                p.cgroup = info.mask & UNIT_INFO_CGROUPID ? info.cgroupid : 0;
                return p;
        }
        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
        value = unit_read_line(path, "Pid:", buf, &r);
        p.pid = value ? (pid_t) strtol(value, NULL, 10) : 0;
        return p;
}

static bool unit_is_there(int pidfd) {
        return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0 || errno == EPERM;
}

/* False only if the tree is there to be looked at, and the cgroup of this path is another one. */
static bool unit_is_cgroup(const char *path, uint64_t cgroup) {
        char file[UNIT_FILE_MAX + 32];
        struct statfs fs;
        struct stat st;

        if (cgroup == 0)
                return true;
        for (size_t i = 0; i < N_ELEMENTS(unit_cgroup_mounts); i++) {
                if (statfs(unit_cgroup_mounts[i], &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
                        continue;
                (void) snprintf(file, sizeof(file), "%s%s", unit_cgroup_mounts[i], path);
                return stat(file, &st) < 0 || st.st_ino == cgroup;
        }
        return true;
}

/* The path of the cgroup with this id, for where /proc hides the process. False: it cannot be told. */
static bool unit_path_of_id(uint64_t cgroup, char buf[UNIT_FILE_MAX]) {
        struct statfs fs;

        for (size_t i = 0; cgroup != 0 && i < N_ELEMENTS(unit_cgroup_mounts); i++)
                if (statfs(unit_cgroup_mounts[i], &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
                        return cgroup_path(unit_cgroup_mounts[i], cgroup, buf, UNIT_FILE_MAX) == 0;
        return false;
}

/* One look; PEER_UNIT_GONE may become something else at the next. */
static int unit_look(int pidfd, uid_t view, struct peer *peer) {
        const struct unit_process process = unit_process_of(pidfd);
        struct peer found = { .unit_is = PEER_UNIT_NONE };
        char path[64], buf[UNIT_FILE_MAX];
        const char *cgroup;
        int r;

        if (process.pid <= 0) {
                peer->unit_is = process.pid == 0 ? PEER_UNIT_FOREIGN : PEER_UNIT_GONE;
                return 0;
        }
        (void) snprintf(path, sizeof(path), "/proc/%d/cgroup", process.pid);
        cgroup = unit_read_line(path, "0::", buf, &r);
        if (!cgroup && r < 0 && unit_path_of_id(process.cgroup, buf))
                cgroup = buf;
        if (cgroup && unit_of_cgroup(cgroup, view, &found) < 0)
                return RAISE(-ENOMEM);
        if (!cgroup && r < 0)
                found.unit_is = PEER_UNIT_HIDDEN;
        /* only now: what was read is that process's if it is still there */
        if (!unit_is_there(pidfd) || (cgroup && !unit_is_cgroup(cgroup, process.cgroup))) {
                peer_done(&found);
                found.unit_is = PEER_UNIT_GONE;
        }
        peer->unit = found.unit;
        peer->unit_is = found.unit_is;
        return 0;
}

int unit_of_pidfd(int pidfd, uid_t view, struct peer *peer) {
        int r = 0;

        for (int i = 0; i < UNIT_TRIES; i++) {
                r = unit_look(pidfd, view, peer);
                if (r < 0 || peer->unit_is != PEER_UNIT_GONE || !unit_is_there(pidfd))
                        break;
        }
        return PASS(r);
}

int unit_of_peer(int fd, uid_t view, struct peer *peer) {
        AUTO(auto_closep) int pidfd = -1;
        socklen_t len = sizeof(pidfd);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) < 0) {
                pidfd = -1;
                /* where the kernel knows of it, it fails only for a process that is gone */
                peer->unit_is = errno == ENOPROTOOPT ? PEER_UNIT_OLD_KERNEL : PEER_UNIT_GONE;
                return 0;
        }
        return unit_of_pidfd(pidfd, view, peer);
}

enum peer_unit unit_trouble(void) {
        AUTO(auto_closep) int a = -1;
        AUTO(auto_closep) int b = -1;
        AUTO(auto_closep) int pidfd = -1;
        struct peer self = { 0 };
        char buf[UNIT_FILE_MAX];
        enum peer_unit unit_is;
        socklen_t len = sizeof(int);
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return PEER_UNIT_KNOWN; /* cannot tell */
        a = fds[0];
        b = fds[1];
        if (unit_of_peer(a, UNIT_VIEW_SYSTEM, &self) < 0)
                return PEER_UNIT_KNOWN;
        unit_is = self.unit_is;
        peer_done(&self);
        if (unit_is == PEER_UNIT_OLD_KERNEL)
                return unit_is;
        if (access("/proc/1/cgroup", R_OK) == 0)
                return PEER_UNIT_KNOWN;
        if (getsockopt(a, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) < 0)
                return PEER_UNIT_HIDDEN;
        return unit_path_of_id(unit_process_of(pidfd).cgroup, buf) ? PEER_UNIT_KNOWN
                                                                   : PEER_UNIT_HIDDEN;
}
