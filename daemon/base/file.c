#include "base/file.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"

static int file_open(const char *path, size_t max, struct why *why, struct stat *ret_st,
                     int *ret_fd) {
        AUTO(auto_closep) int fd = -1;

        /* non-blocking, so that a FIFO by that name cannot hold us up; regular files do not care */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0) {
                int r = -errno;

                return why_set(why, RAISE(r), "cannot open %s: %s", path, strerror(-r));
        }
        if (fstat(fd, ret_st) < 0) {
                int r = -errno;

                return why_set(why, RAISE(r), "cannot examine %s: %s", path, strerror(-r));
        }
        if (S_ISDIR(ret_st->st_mode))
                return why_set(why, RAISE(-EISDIR), "%s is a directory, a file is needed", path);
        if (!S_ISREG(ret_st->st_mode))
                return why_set(why, RAISE(-EINVAL), "%s is not a regular file", path);
        if ((uintmax_t) ret_st->st_size > max)
                return why_set(why, RAISE(-EFBIG),
                               "%s is larger than %zu bytes: not the file that is meant here", path,
                               max);
        *ret_fd = fd;
        fd = -1;
        return 0;
}

static int file_slurp(int fd, const char *path, size_t max, struct why *why, struct secret **ret) {
        AUTO(secret_unrefp) struct secret *s = NULL;
        char buf[4096];

        s = secret_new_reserved(max);
        if (!s)
                return why_set(why, RAISE(-ENOMEM), "out of memory while reading %s", path);
        for (;;) {
                ssize_t n = read(fd, buf, sizeof(buf));
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        r = -errno;
                        return why_set(why, RAISE(r), "cannot read %s: %s", path, strerror(-r));
                }
                if (n == 0)
                        break;
                r = secret_append(s, buf, (size_t) n);
                secret_wipe(buf, (size_t) n);
                if (r < 0)
                        return why_set(why, RAISE(-EFBIG),
                                       "%s grew beyond %zu bytes while it was read", path, max);
        }
        *ret = TAKE(s);
        return 0;
}

int file_read(const char *path, size_t max, struct why *why, struct secret **ret) {
        AUTO(auto_closep) int fd = -1;
        struct stat st;
        int r;

        r = file_open(path, max, why, &st, &fd);
        if (r < 0)
                return PASS(r);
        return file_slurp(fd, path, max, why, ret);
}

bool file_is_systemd_credential(const char *path) {
        const char *dir = getenv("CREDENTIALS_DIRECTORY");
        size_t n = dir ? strlen(dir) : 0;

        return n > 0 && strncmp(path, dir, n) == 0 && path[n] == '/' && !strstr(path + n, "/../");
}

int file_read_secret(const char *path, size_t max, struct why *why, struct secret **ret) {
        AUTO(auto_closep) int fd = -1;
        struct stat st;
        int r;

        r = file_open(path, max, why, &st, &fd);
        if (r < 0)
                return PASS(r);
        if (!file_is_systemd_credential(path)) {
                if (st.st_mode & 077)
                        return why_set(
                                why, RAISE(-EPERM),
                                "%s holds a secret but others can read it (mode %04o): chmod 600 %s",
                                path, (unsigned) st.st_mode & 07777, path);
                if (st.st_uid != 0 && st.st_uid != geteuid())
                        return why_set(
                                why, RAISE(-EPERM),
                                "%s holds a secret but belongs to user %u: chown it to the user bearerd runs as",
                                path, (unsigned) st.st_uid);
        }
        return file_slurp(fd, path, max, why, ret);
}

int file_expand(const char *path, struct why *why, char **ret) {
        const char *dir;
        char *joined;

        if (strncmp(path, "%d", 2) != 0 || (path[2] && path[2] != '/')) {
                joined = strdup(path);
        } else {
                dir = getenv("CREDENTIALS_DIRECTORY");
                if (!dir || !*dir)
                        return why_set(
                                why, RAISE(-ENXIO),
                                "%s: %%d stands for $CREDENTIALS_DIRECTORY, which is not set: start bearerd "
                                "as a systemd service with LoadCredential=, or give a full path",
                                path);
                joined = malloc(strlen(dir) + strlen(path) + 1);
                if (joined)
                        strcat(strcpy(joined, dir), path + 2);
        }
        if (!joined)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        *ret = joined;
        return 0;
}
