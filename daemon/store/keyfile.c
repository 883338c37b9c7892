#include "store/keyfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/file.h"
#include "base/random.h"
#include "store/seal.h"
#include "store/statedir.h"

int keyfile_read(const char *path, struct why *why, struct secret **ret) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        int r;

        if (access(path, F_OK) < 0 && errno == ENOENT)
                return KEYFILE_E_ABSENT;
        r = file_read_secret(path, SEAL_KEY_SIZE, why, &key);
        if (r < 0)
                return PASS(r);
        if (secret_len(key) != SEAL_KEY_SIZE)
                return why_set(why, RAISE(-EINVAL),
                               "key_file %s holds %zu bytes, a key has %d: restore the right file",
                               path, secret_len(key), SEAL_KEY_SIZE);
        *ret = TAKE(key);
        return 0;
}

/* A file of that name, with the key in it and on the disk, or no file. */
static int keyfile_write(const char *path, const struct secret *key) {
        AUTO(auto_closep) int fd = -1;
        int r = 0;

        /* what a crash of ours left behind holds no key that is in use */
        if (unlink(path) < 0 && errno != ENOENT)
                return RAISE(-errno);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return RAISE(-errno);
        for (size_t at = 0; r == 0 && at < secret_len(key);) {
                ssize_t n = write(fd, secret_text(key) + at, secret_len(key) - at);

                if (n > 0)
                        at += (size_t) n;
                else if (n < 0 && errno != EINTR)
                        r = -errno;
        }
        if (r == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0))
                r = -errno;
        if (r < 0)
                (void) unlink(path); /* it was never in use */
        return r < 0 ? RAISE(r) : 0;
}

/* link(2) rather than rename(2): it fails when the name is taken. */
static int keyfile_publish(const char *temporary, const char *path) {
        int r = link(temporary, path) < 0 ? -errno : 0;

        (void) unlink(temporary); /* if it stays, the next start removes it */
        if (r < 0)
                return RAISE(r);
        return statedir_sync_parent(path);
}

int keyfile_make(const char *path, struct why *why, struct secret **ret) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        AUTO(auto_freep) char *temporary = NULL;
        uint8_t bytes[SEAL_KEY_SIZE];
        int r;

        random_fill(&random_system, bytes, sizeof(bytes));
        key = secret_new(bytes, sizeof(bytes));
        secret_wipe(bytes, sizeof(bytes));
        if (!key || asprintf(&temporary, "%s.new", path) < 0) {
                temporary = NULL; /* asprintf(3) leaves it undefined */
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        }
        r = keyfile_write(temporary, key);
        if (r == 0)
                r = keyfile_publish(temporary, path);
        if (r < 0)
                return why_set(why, PASS(r),
                               "cannot make key_file %s: %s; make its directory writable for the "
                               "user bearerd runs as, or put 32 random bytes there",
                               path, strerror(-r));
        *ret = TAKE(key);
        return 0;
}
