#include "store_rig.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store/sqlite.h"
#include "store_version_1.h"

/* --- the disk -------------------------------------------------------------------------------- */

atomic_int syncs;
atomic_int syncs_to_fail;

int fdatasync(int fd) {
        atomic_fetch_add(&syncs, 1);
        if (atomic_load(&syncs_to_fail) > 0) {
                atomic_fetch_sub(&syncs_to_fail, 1);
                errno = EIO;
                return -1;
        }
        return (int) syscall(SYS_fdatasync, fd);
}

static atomic_int write_errno;

static ssize_t failing_pwrite(int fd, const void *bytes, size_t n, off_t at) {
        errno = atomic_load(&write_errno);
        return errno ? -1 : (ssize_t) syscall(SYS_pwrite64, fd, bytes, n, at);
}

void disk_fail_writes(int error) {
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
        const char *const calls[] = { "pwrite", "pwrite64" };

        atomic_store(&write_errno, error);
        for (size_t i = 0; i < N_ELEMENTS(calls); i++)
                if (vfs->xGetSystemCall(vfs, calls[i]))
                        ck_assert_int_eq(vfs->xSetSystemCall(vfs, calls[i],
                                                             (sqlite3_syscall_ptr) failing_pwrite),
                                         SQLITE_OK);
}

/* --- a directory and a store in it ----------------------------------------------------------- */

char top[64];    /* made for each test, removed after it */
char state[128]; /* does not exist yet: top/a/state */
char key[160], db[160];
sd_event *event;
struct store *store;
struct why why;

void set_up(void) {
        (void) snprintf(top, sizeof(top), "/tmp/bearerd-test-store-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(top));
        (void) snprintf(state, sizeof(state), "%s/a/state", top);
        (void) snprintf(key, sizeof(key), "%s/bearerd.key", state);
        (void) snprintf(db, sizeof(db), "%s/bearerd.db", state);
        ck_assert_int_ge(sd_event_new(&event), 0);
}

void remove_tree(const char *path) {
        DIR *dir = opendir(path);
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                char below[512];

                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                (void) snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
                if (unlink(below) < 0)
                        remove_tree(below);
        }
        if (dir)
                (void) closedir(dir);
        (void) rmdir(path);
}

void tear_down(void) {
        store = store_sqlite_close(store);
        event = sd_event_unref(event);
        remove_tree(top);
}

int try_open(void) {
        struct store *none = (struct store *) &why;
        int r;

        why.text[0] = '\0';
        store = none;
        r = store_sqlite_open(state, key, event, &why, &store);
        if (r != 0) {
                ck_assert_ptr_eq(store, none); /* untouched on failure */
                ck_assert_str_ne(why.text, "");
                store = NULL;
        }
        return r;
}

void says(const char *what) {
        ck_assert_msg(strstr(why.text, what) != NULL, "\"%s\" is not in: %s", what, why.text);
}

void open_store(void) {
        int r = try_open();

        ck_assert_msg(r == 0, "%s (%s)", why.text, strerror(-r));
}

void reopen_store(void) {
        store = store_sqlite_close(store);
        open_store();
}

void settle(void) {
        while (store_sqlite_pending(store) > 0)
                ck_assert_int_ge(sd_event_run(event, UINT64_MAX), 0);
}

int give(struct store *to, const char *credential, const char *subject, const char *text,
         store_done_fn *done, void *user) {
        struct record record = {
                .credential = credential,
                .subject = subject,
                .kind = RECORD_GRANT,
                .secret = secret_new(text, strlen(text)),
                .obtained_at = { 1700000000 },
                .expires_at = { 1702592000 },
        };
        int r = to->put(to->self, &record, done, user);

        record.secret = secret_unref(record.secret);
        return r;
}

void note_result(void *user, int r) {
        *(int *) user = r;
}

/* Puts and waits; what done() said. */
int put_row(const char *credential, const char *subject, const char *text) {
        int result = 1;

        ck_assert_int_eq(give(store, credential, subject, text, note_result, &result), 0);
        ck_assert_int_eq(result, 1); /* never from within put() */
        settle();
        ck_assert_int_le(result, 0); /* it was called */
        return result;
}

int get_row(const char *credential, const char *subject, struct record *ret) {
        why.text[0] = '\0';
        return store->get(store->self, credential, subject, &why, ret);
}

void expect_row(const char *credential, const char *subject, const char *text) {
        struct record record;
        int r = get_row(credential, subject, &record);

        ck_assert_msg(r == 0, "%s/%s: %d %s", credential, subject, r, why.text);
        ck_assert_str_eq(secret_text(record.secret), text);
        record.secret = secret_unref(record.secret);
}

void expect_no_row(const char *credential, const char *subject) {
        struct record record;

        memset(&record, 0x5a, sizeof(record));
        ck_assert_int_eq(get_row(credential, subject, &record), STORE_E_ABSENT);
        for (size_t i = 0; i < sizeof(record); i++)
                ck_assert_int_eq(((const char *) &record)[i], 0x5a); /* untouched */
}

static int count_row(void *user, const struct record *metadata) {
        ck_assert_ptr_null(metadata->secret);
        ++*(int *) user;
        return 0;
}

int count_rows(void) {
        int n = 0;

        ck_assert_int_eq(store->each(store->self, count_row, &n, &why), 0);
        return n;
}

/* --- the outside ----------------------------------------------------------------------------- */

sqlite3 *outside_open(void) {
        sqlite3 *c;

        ck_assert_int_eq(sqlite3_open_v2(db, &c, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
        return c;
}

void outside_run(sqlite3 *c, const char *sql) {
        char *message = NULL;
        int rc = sqlite3_exec(c, sql, NULL, NULL, &message);

        ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, message);
}

void outside(const char *sql) {
        sqlite3 *c = outside_open();

        outside_run(c, sql);
        (void) sqlite3_close(c);
}

char *read_all(const char *path, size_t *ret_len) {
        FILE *f = fopen(path, "re");
        char *bytes = NULL;
        size_t len = 0, n;

        ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
        do {
                bytes = realloc(bytes, len + 65536 + 1);
                ck_assert_ptr_nonnull(bytes);
                n = fread(bytes + len, 1, 65536, f);
                len += n;
        } while (n > 0);
        (void) fclose(f);
        bytes[len] = '\0';
        *ret_len = len;
        return bytes;
}

void write_all(const char *path, const void *bytes, size_t len, mode_t mode) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fchmod(fd, mode), 0);
        ck_assert_int_eq(write(fd, bytes, len), (ssize_t) len);
        (void) close(fd);
}

mode_t mode_of(const char *dir, const char *name) {
        char path[512];
        struct stat st;

        (void) snprintf(path, sizeof(path), "%s/%s", dir, name);
        ck_assert_msg(stat(path, &st) == 0, "%s: %s", path, strerror(errno));
        return st.st_mode & 07777;
}

/* Returns in how many files of the directory `bytes` occur. */
int find_in_files(const char *bytes, size_t len, int *ret_files) {
        DIR *dir = opendir(state);
        struct dirent *entry;
        int found = 0;

        *ret_files = 0;
        while ((entry = readdir(dir))) {
                AUTO(auto_freep) char *content = NULL;
                char path[512];
                size_t n;

                if (entry->d_name[0] == '.')
                        continue;
                (void) snprintf(path, sizeof(path), "%s/%s", state, entry->d_name);
                content = read_all(path, &n);
                ++*ret_files;
                found += memmem(content, n, bytes, len) != NULL;
        }
        (void) closedir(dir);
        return found;
}

void skip(const char *what) {
        (void) fprintf(stderr, "SKIPPED: %s\n", what);
}

bool mount_tmpfs(const char *path, const char *options) {
        return unshare(CLONE_NEWNS) == 0 &&
               mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("rig", path, "tmpfs", 0, options) == 0;
}

void make_version_1(void) {
        sqlite3 *c;
        char parent[128];

        (void) snprintf(parent, sizeof(parent), "%s/a", top);
        ck_assert_int_eq(mkdir(parent, 0700), 0);
        ck_assert_int_eq(mkdir(state, 0700), 0);
        write_all(key, version_1_key, sizeof(version_1_key), 0600);
        ck_assert_int_eq(sqlite3_open(db, &c), SQLITE_OK);
        outside_run(c, version_1_sql);
        (void) sqlite3_close(c);
}
