#include "store/statedir.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/text.h"
#include "store/disk.h"

#define STATEDIR_LOCK "bearerd.lock"

int statedir_sync_parent(const char *path) {
        AUTO(auto_closep) int fd = -1;
        AUTO(auto_freep) char *parent = strdup(path);
        char *end;

        if (!parent)
                return RAISE(-ENOMEM);
        end = parent + strlen(parent);
        while (end > parent && end[-1] == '/')
                *--end = '\0';
        end = strrchr(parent, '/');
        if (end)
                end[end == parent] = '\0'; /* the root keeps its slash */
        fd = open(end ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return RAISE(-errno);
        return 0;
}

static int statedir_make_one(const char *path) {
        int r;

        if (mkdir(path, 0700) == 0)
                return statedir_sync_parent(path);
        r = -errno;
        /* a parent that exists on a read-only or forbidden part of the tree answers EROFS or
         * EACCES */
        if (r == -EEXIST || access(path, F_OK) == 0)
                return 0;
        return RAISE(r);
}

static int statedir_make(const char *path, struct why *why) {
        AUTO(auto_freep) char *partial = strdup(path);
        int r;

        if (!partial)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        for (char *p = partial + 1; p[-1]; p++) {
                char c = *p;

                if (c != '/' && c != '\0')
                        continue;
                *p = '\0';
                r = statedir_make_one(partial);
                if (r < 0)
                        return why_set(why, PASS(r),
                                       "state_dir %s: cannot make the directory %s: %s; %s", path,
                                       partial, strerror(-r), disk_advice(r));
                *p = c;
                if (c == '\0')
                        break;
        }
        return 0;
}

static int statedir_check(int fd, const char *path, struct why *why) {
        struct stat st;

        if (fstat(fd, &st) < 0) {
                int r = -errno;

                return why_set(why, RAISE(r), "cannot examine state_dir %s: %s; %s", path,
                               strerror(-r), disk_advice(r));
        }
        if (st.st_mode & 022)
                return why_set(
                        why, RAISE(-EPERM),
                        "state_dir %s can be written to by other users (mode %04o): chmod 700 %s, or name a "
                        "directory below it, which bearerd makes",
                        path, (unsigned) st.st_mode & 07777, path);
        if (st.st_uid != 0 && st.st_uid != geteuid())
                return why_set(
                        why, RAISE(-EPERM),
                        "state_dir %s belongs to user %u, and this is user %u: run bearerd as its "
                        "owner, or chown it to the user bearerd runs as",
                        path, (unsigned) st.st_uid, (unsigned) geteuid());
        return 0;
}

/* The lock says that somebody has the directory; who, only the text in the file can say. */
static int statedir_busy(int fd, const char *path, struct why *why) {
        char text[24] = "";
        int64_t pid;
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

        text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
        if (text_parse_int64(text, &pid) < 0)
                return why_set(why, RAISE(-EBUSY),
                               "another bearerd uses state_dir %s: stop it first, or set another "
                               "state_dir",
                               path);
        return why_set(
                why, RAISE(-EBUSY),
                "another bearerd (pid %lld) uses state_dir %s: stop it first, or set another "
                "state_dir",
                (long long) pid, path);
}

static int statedir_lock(int dir, const char *path, struct why *why, int *ret) {
        AUTO(auto_closep) int fd = -1;
        struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int r;

        fd = openat(dir, STATEDIR_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                    0600);
        if (fd < 0) {
                r = -errno;
                return why_set(why, RAISE(r), "cannot open %s/%s: %s; %s", path, STATEDIR_LOCK,
                               strerror(-r), disk_advice(r));
        }
        if (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
                r = -errno;
                if (r == -EAGAIN || r == -EACCES)
                        return statedir_busy(fd, path, why);
                return why_set(why, RAISE(r),
                               "cannot lock %s/%s: %s; state_dir must be on a file system that "
                               "knows locks",
                               path, STATEDIR_LOCK, strerror(-r));
        }
        /* only for the sentence above: a full disk leaves it empty, and the lock holds all the
         * same */
        if (ftruncate(fd, 0) == 0)
                (void) dprintf(fd, "%lld\n", (long long) getpid());
        *ret = fd;
        fd = -1;
        return 0;
}

int statedir_claim(const char *path, struct why *why, int *ret) {
        AUTO(auto_closep) int dir = -1;
        int r;

        if (!*path)
                return why_set(why, RAISE(-ENOENT), "state_dir is empty: name a directory");
        r = statedir_make(path, why);
        if (r < 0)
                return PASS(r);
        dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0) {
                r = -errno;
                return why_set(why, RAISE(r), "cannot open state_dir %s: %s; %s", path,
                               strerror(-r), disk_advice(r));
        }
        r = statedir_check(dir, path, why);
        if (r < 0)
                return PASS(r);
        return statedir_lock(dir, path, why, ret);
}
