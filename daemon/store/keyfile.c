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
#include "store/disk.h"
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

static int keyfile_write_all(int fd, const struct secret *key) {
        for (size_t at = 0; at < secret_len(key);) {
                ssize_t n = write(fd, secret_text(key) + at, secret_len(key) - at);

                if (n < 0 && errno != EINTR)
                        return RAISE(-errno);
                at += n > 0 ? (size_t) n : 0;
        }
        return 0;
}

/* A file of that name, with the key in it and on the disk, or no file. */
static int keyfile_write(const char *path, const struct secret *key) {
        AUTO(auto_closep) int fd = -1;
        int r;

        /* what a crash of ours left behind holds no key that is in use */
        if (unlink(path) < 0 && errno != ENOENT)
                return RAISE(-errno);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return RAISE(-errno);
        r = keyfile_write_all(fd, key);
        if (r == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0))
                r = RAISE(-errno);
        if (r < 0)
                (void) unlink(path); /* it was never in use */
        return PASS(r);
}

static char *keyfile_staged_name(const char *path) {
        char *name;

        return asprintf(&name, "%s.new", path) < 0 ? NULL : name;
}

/* A new key in a file beside `path`, whose name the caller frees. */
static int keyfile_write_new(const char *path, char **ret_name, struct secret **ret) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        AUTO(auto_freep) char *name = NULL;
        uint8_t bytes[SEAL_KEY_SIZE];
        int r;

        random_fill(&random_system, bytes, sizeof(bytes));
        key = secret_new(bytes, sizeof(bytes));
        secret_wipe(bytes, sizeof(bytes));
        name = keyfile_staged_name(path);
        if (!key || !name)
                return RAISE(-ENOMEM);
        r = keyfile_write(name, key);
        if (r < 0)
                return PASS(r);
        *ret_name = TAKE(name);
        *ret = TAKE(key);
        return 0;
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
        int r;

        r = keyfile_write_new(path, &temporary, &key);
        if (r == 0)
                r = keyfile_publish(temporary, path);
        if (r < 0)
                return why_set(why, PASS(r),
                               "cannot make key_file %s: %s; %s, or put 32 random bytes there",
                               path, strerror(-r), disk_advice(r));
        *ret = TAKE(key);
        return 0;
}

/* What rename(2) would refuse, or not mean, when it is too late to turn back. */
static int keyfile_check_replaceable(const char *path, struct why *why) {
        struct statx st;

        if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) < 0) {
                int r = -errno;

                return why_set(why, RAISE(r), "cannot examine key_file %s: %s; %s", path,
                               strerror(-r), disk_advice(r));
        }
        if (S_ISLNK(st.stx_mode) || (st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
                return why_set(why, RAISE(-EOPNOTSUPP),
                               "key_file %s is %s, which cannot be replaced here: make the new key "
                               "elsewhere with --new-key FILE, then put that file in its place",
                               path, S_ISLNK(st.stx_mode) ? "a symbolic link" : "a mounted file");
        return 0;
}

int keyfile_stage(const char *path, struct why *why, struct secret **ret) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        AUTO(auto_freep) char *name = NULL;
        int r;

        r = keyfile_check_replaceable(path, why);
        if (r < 0)
                return PASS(r);
        r = keyfile_write_new(path, &name, &key);
        if (r == 0)
                r = statedir_sync_parent(path);
        if (r < 0)
                return why_set(why, PASS(r),
                               "cannot put a new key beside key_file %s: %s; %s, or make the new "
                               "key elsewhere with --new-key FILE, then put that file in its place",
                               path, strerror(-r), disk_advice(r));
        *ret = TAKE(key);
        return 0;
}

int keyfile_read_staged(const char *path, struct secret **ret) {
        AUTO(auto_freep) char *name = keyfile_staged_name(path);

        if (!name || keyfile_read(name, NULL, ret) != 0)
                return KEYFILE_E_ABSENT;
        return 0;
}

int keyfile_promote(const char *path, struct why *why) {
        AUTO(auto_freep) char *name = keyfile_staged_name(path);
        int r = 0;

        if (!name)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        if (rename(name, path) < 0)
                r = RAISE(-errno);
        if (r == 0)
                r = statedir_sync_parent(path);
        if (r < 0)
                return why_set(why, PASS(r),
                               "the new key, %s, is in use but cannot take the place of key_file "
                               "%s: %s; %s, or rename it by hand: what is stored needs it",
                               name, path, strerror(-r), disk_advice(r));
        return 0;
}

void keyfile_drop_staged(const char *path) {
        AUTO(auto_freep) char *name = keyfile_staged_name(path);

        if (name)
                (void) unlink(name); /* where nothing can be removed it stays, and does no harm */
}
