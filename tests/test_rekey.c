/*
 * Changing the key: what is stored opens under the new one and under no other, whatever the key
 * file, the disk or a crash does in between. test_store_crash.py kills it at each system call.
 */
#include "store/rekey.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_main.h"
#include "store/sqlite.h"
#include "store_rig.h"

#define ROWS 40

static char staged[176];  /* key.new */
static char new_key[128]; /* a file for --new-key */
static size_t rekeyed;

static void start(void) {
        set_up();
        (void) snprintf(staged, sizeof(staged), "%s.new", key);
        (void) snprintf(new_key, sizeof(new_key), "%s/new-key", top);
        rekeyed = SIZE_MAX;
}

static int rekey_with(const char *new_key_file) {
        int r;

        why.text[0] = '\0';
        r = store_sqlite_rekey(state, key, new_key_file, &why, &rekeyed);
        if (r != 0) {
                ck_assert_int_lt(r, 0);
                ck_assert_str_ne(why.text, "");
                ck_assert_uint_eq(rekeyed, SIZE_MAX); /* untouched on failure */
        }
        return r;
}

static int rekey(void) {
        return rekey_with(NULL);
}

static void describe(int i, char subject[16], char text[32]) {
        (void) snprintf(subject, 16, "user-%d", i);
        (void) snprintf(text, 32, "LBEP-%d-%d", i, i * i);
}

/* A closed store with rows of both kinds, some of them in doubt. */
static void fill(void) {
        open_store();
        for (int i = 0; i < ROWS; i++) {
                char subject[16], text[32];
                struct record record = {
                        .credential = i % 2 ? "site" : "bot",
                        .subject = subject,
                        .kind = i % 2 ? RECORD_GRANT : RECORD_STATIC_TOKEN,
                        .obtained_at = { i },
                        .expires_at = { i % 5 ? i + 100 : INT64_MAX },
                        .in_doubt = i % 3 == 0,
                };

                describe(i, subject, text);
                record.secret = secret_new(text, i % 7 ? strlen(text) : 0);
                ck_assert_int_eq(store->put(store->self, &record, NULL, NULL), 0);
                record.secret = secret_unref(record.secret);
        }
        store = store_sqlite_close(store);
}

static void expect_all(void) {
        ck_assert_int_eq(count_rows(), ROWS);
        for (int i = 0; i < ROWS; i++) {
                char subject[16], text[32];
                struct record record;
                int r;

                describe(i, subject, text);
                r = get_row(i % 2 ? "site" : "bot", subject, &record);
                ck_assert_msg(r == 0, "%s: %d %s", subject, r, why.text);
                ck_assert_uint_eq(record.kind, i % 2 ? RECORD_GRANT : RECORD_STATIC_TOKEN);
                ck_assert_str_eq(secret_text(record.secret), i % 7 ? text : "");
                ck_assert_int_eq(record.obtained_at.s, i);
                ck_assert_int_eq(record.expires_at.s, i % 5 ? i + 100 : INT64_MAX);
                ck_assert_int_eq(record.in_doubt, i % 3 == 0);
                record.secret = secret_unref(record.secret);
        }
}

/* Opens, finds everything as it was, and that it can be written to, and closes. */
static void expect_good(void) {
        open_store();
        expect_all();
        ck_assert_int_eq(put_row("later", "", "x"), 0);
        expect_row("later", "", "x");
        ck_assert_int_eq(store->remove(store->self, "later", "", NULL, NULL), 0);
        store = store_sqlite_close(store);
        ck_assert_int_eq(access(staged, F_OK), -1); /* and tidied up */
}

static char *read_key(const char *path) {
        size_t len;
        char *bytes = read_all(path, &len);

        ck_assert_uint_eq(len, 32);
        return bytes;
}

static bool key_is(const char *bytes) {
        AUTO(auto_freep) char *now = read_key(key);

        return memcmp(now, bytes, 32) == 0;
}

/* --- done ------------------------------------------------------------------------------------- */

START_TEST(new_key_old_rows)
{
        AUTO(auto_freep) char *first = NULL;

        fill();
        first = read_key(key);
        for (int i = 0; i < 3; i++) {
                AUTO(auto_freep) char *before = read_key(key);

                ck_assert_int_eq(rekey(), 0);
                ck_assert_uint_eq(rekeyed, ROWS);
                ck_assert(!key_is(before));
                ck_assert_uint_eq(mode_of(state, "bearerd.key"), 0600);
                ck_assert_int_eq(access(staged, F_OK), -1);
                expect_good();
        }
        write_all(key, first, 32, 0600);
        ck_assert_int_eq(try_open(), -EBADMSG);
        says("not the key");
}
END_TEST

/* The start of sealed secrets: 29 bytes of each, which is what sealing adds. */
static int read_sealed(char ret[][29], int max) {
        sqlite3 *c = outside_open();
        sqlite3_stmt *stmt;
        int n = 0;

        ck_assert_int_eq(sqlite3_prepare_v2(c, "SELECT sealed FROM record", -1, &stmt, NULL),
                         SQLITE_OK);
        for (; n < max && sqlite3_step(stmt) == SQLITE_ROW; n++)
                memcpy(ret[n], sqlite3_column_blob(stmt, 0), 29);
        (void) sqlite3_finalize(stmt);
        (void) sqlite3_close(c);
        return n;
}

/* What the old key can open is nowhere in the directory any more. */
START_TEST(nothing_left_under_old_key)
{
        char sealed[ROWS][29];
        int files;

        fill();
        ck_assert_int_eq(read_sealed(sealed, ROWS), ROWS);
        for (int i = 0; i < ROWS; i++) /* the search does search */
                ck_assert_int_eq(find_in_files(sealed[i], 29, &files), 1);
        ck_assert_int_eq(rekey(), 0);
        for (int i = 0; i < ROWS; i++)
                ck_assert_int_eq(find_in_files(sealed[i], 29, &files), 0);
        ck_assert_int_eq(files, 3); /* key, lock, database */
}
END_TEST

START_TEST(rekey_without_rows)
{
        open_store();
        store = store_sqlite_close(store);
        ck_assert_int_eq(rekey(), 0);
        ck_assert_uint_eq(rekeyed, 0);
        open_store();
        ck_assert_int_eq(put_row("site", "", "x"), 0);
        reopen_store();
        expect_row("site", "", "x");
}
END_TEST

START_TEST(rekey_of_version_1)
{
        make_version_1();
        ck_assert_int_eq(rekey(), 0);
        ck_assert_uint_eq(rekeyed, 3);
        open_store();
        for (int i = 0; i < 3; i++) {
                char subject[16], text[32];

                (void) snprintf(subject, sizeof(subject), "user-%d", i);
                (void) snprintf(text, sizeof(text), "LBEP-secret-%d", i);
                expect_row("site", subject, text);
        }
}
END_TEST

/* --- a key_file that is left alone --------------------------------------------------------------- */

START_TEST(key_made_elsewhere)
{
        AUTO(auto_freep) char *old = NULL;
        AUTO(auto_freep) char *made = NULL;

        fill();
        old = read_key(key);
        ck_assert_int_eq(rekey_with(new_key), 0); /* there is none: it is made */
        ck_assert_uint_eq(rekeyed, ROWS);
        ck_assert(key_is(old));
        ck_assert_uint_eq(mode_of(top, "new-key"), 0600);
        ck_assert_int_eq(try_open(), -EBADMSG);
        made = read_key(new_key);
        write_all(key, made, 32, 0600);
        expect_good();

        write_all(new_key, "a key that is made by other hand", 32, 0600);
        ck_assert_int_eq(rekey_with(new_key), 0);
        ck_assert_int_eq(rename(new_key, key), 0);
        expect_good();
}
END_TEST

static void spoil_new_same(void) {
        AUTO(auto_freep) char *bytes = read_key(key);

        write_all(new_key, bytes, 32, 0600);
}

static void spoil_new_itself(void) {
        (void) strcpy(new_key, key);
}

static void spoil_new_short(void) {
        write_all(new_key, "31 bytes are no key, 32 are one", 31, 0600);
}

static void spoil_new_long(void) {
        write_all(new_key, "33 bytes are no key either, or so", 33, 0600);
}

static void spoil_new_mode(void) {
        write_all(new_key, "a key that the world may look at", 32, 0604);
}

static void spoil_new_dir(void) {
        ck_assert_int_eq(mkdir(new_key, 0700), 0);
}

static void spoil_new_nowhere(void) {
        (void) strcat(new_key, "/below/key");
}

static void spoil_key_link(void) {
        char target[128];

        (void) snprintf(target, sizeof(target), "%s/real-key", top);
        ck_assert_int_eq(rename(key, target), 0);
        ck_assert_int_eq(symlink(target, key), 0);
        new_key[0] = '\0';
}

static void spoil_row(void) {
        outside("UPDATE record SET expires_at = 5 WHERE subject = 'user-17'");
        new_key[0] = '\0';
}

static void spoil_kind(void) {
        outside("UPDATE record SET kind = 257 WHERE subject = 'user-17'");
        new_key[0] = '\0';
}

/* A subject that goes on behind a NUL, with the secret of the one that does not. */
static void spoil_name(void) {
        outside("UPDATE record SET subject = 'user-17' || x'0041' WHERE subject = 'user-17'");
        new_key[0] = '\0';
}

static void spoil_binding(void) {
        outside("DELETE FROM meta WHERE name = 'salt'");
        new_key[0] = '\0';
}

static void spoil_key(void) {
        write_all(key, "another key, also of 32 bytes...", 32, 0600);
        new_key[0] = '\0';
}

static void spoil_key_gone(void) {
        ck_assert_int_eq(unlink(key), 0);
        new_key[0] = '\0';
}

static void spoil_key_mode(void) {
        ck_assert_int_eq(chmod(key, 0644), 0);
        new_key[0] = '\0';
}

static void spoil_database(void) {
        write_all(db, "my notes, which I keep in a strange place", 41, 0600);
        new_key[0] = '\0';
}

static void spoil_newer(void) {
        outside("PRAGMA user_version = 9999");
        new_key[0] = '\0';
}

/* An empty `new_key` asks for the key in key_file to be replaced. */
static const struct {
        void (*spoil)(void);
        int r;
        const char *says;
} refusals[] = {
        { spoil_new_same, -EINVAL, "in use" },
        { spoil_new_itself, -EINVAL, "in use" },
        { spoil_new_short, -EINVAL, "31 bytes" },
        { spoil_new_long, -EFBIG, "32 bytes" },
        { spoil_new_mode, -EPERM, "chmod 600" },
        { spoil_new_dir, -EISDIR, "directory" },
        { spoil_new_nowhere, -ENOENT, "/below/key" },
        { spoil_key_link, -EOPNOTSUPP, "--new-key" },
        { spoil_row, -EBADMSG, "user-17" },
        { spoil_kind, -EBADMSG, "altered" },
        { spoil_name, -EBADMSG, "altered" },
        { spoil_binding, -EBADMSG, "mark of its key" },
        { spoil_key, -EBADMSG, "not the key" },
        { spoil_key_gone, -ENOKEY, "is missing" },
        { spoil_key_mode, -EPERM, "chmod 600" },
        { spoil_database, -EBADMSG, "not a database" },
        { spoil_newer, -EBADMSG, "newer bearerd" },
};

/* Twice the same refusal, and the rows are still sealed as they were. */
START_TEST(refused)
{
        char sealed[1][29];
        int files;

        fill();
        ck_assert_int_eq(read_sealed(sealed, 1), 1);
        refusals[_i].spoil();
        for (int i = 0; i < 2; i++) {
                int r = rekey_with(*new_key ? new_key : NULL);

                ck_assert_msg(r == refusals[_i].r, "%d: %s", r, why.text);
                says(refusals[_i].says);
        }
        if (refusals[_i].spoil != spoil_database)
                ck_assert_int_eq(find_in_files(sealed[0], 29, &files), 1);
}
END_TEST

START_TEST(refused_while_running)
{
        AUTO(auto_freep) char *old = NULL;
        struct store *running;

        open_store();
        running = store;
        old = read_key(key);
        ck_assert_int_eq(rekey(), -EBUSY);
        says("stop bearerd first");
        says(state);
        ck_assert(key_is(old));
        ck_assert_int_eq(access(staged, F_OK), -1);
        ck_assert_int_eq(put_row("site", "", "x"), 0);
        store = store_sqlite_close(running);
        ck_assert_int_eq(rekey(), 0);
}
END_TEST

START_TEST(refused_without_database)
{
        char parent[128];

        ck_assert_int_eq(rekey(), -ENOENT);
        says(db);
        (void) snprintf(parent, sizeof(parent), "%s/a", top);
        ck_assert_int_eq(access(parent, F_OK), -1); /* it made nothing */
        open_store();
        store = store_sqlite_close(store);
        write_all(db, "", 0, 0600);
        ck_assert_int_eq(rekey(), -ENOENT);
}
END_TEST

/* --- cut short: the states a crash leaves behind ------------------------------------------------- */

/* K0 is the key that the rows are sealed under, K1 another. */
static const struct {
        const char *key, *staged; /* NULL: no such file */
        mode_t mode;              /* of the staged one */
        int r;
        const char *kept; /* in key_file, afterwards */
} crashes[] = {
        { "K0", "K1", 0600, 0, "K0" },   /* before the commit */
        { "K1", "K0", 0600, 0, "K0" },   /* after it */
        { NULL, "K0", 0600, 0, "K0" },   /* never ours, but why not */
        { "K0", "K0", 0600, 0, "K0" },   /* the same */
        { "K0", "half", 0600, 0, "K0" }, /* while it was written */
        { "K0", "", 0600, 0, "K0" },
        { "K1", "K1", 0600, -EBADMSG, "K1" },
        { "K1", "half", 0600, -EBADMSG, "K1" },
        { "K1", "K0", 0644, -EBADMSG, "K1" }, /* others could read it: not ours */
        { "K1", NULL, 0600, -EBADMSG, "K1" },
        { NULL, "K1", 0600, -ENOKEY, NULL },
        { NULL, "half", 0600, -ENOKEY, NULL },
        { "half", "K0", 0600, -EINVAL, "half" }, /* never ours: renamed, it is whole */
};

static const char other[33] = "another key, also of 32 bytes...";

static void leave(const char *path, const char *what, const char *k0, mode_t mode) {
        if (!what)
                (void) unlink(path);
        else if (strcmp(what, "K0") == 0)
                write_all(path, k0, 32, mode);
        else if (strcmp(what, "K1") == 0)
                write_all(path, other, 32, mode);
        else
                write_all(path, what, strlen(what), mode);
}

static void expect_file(const char *path, const char *what, const char *k0) {
        AUTO(auto_freep) char *bytes = NULL;
        size_t len;

        if (!what) {
                ck_assert_int_eq(access(path, F_OK), -1);
                return;
        }
        bytes = read_all(path, &len);
        if (what[0] == 'K') {
                ck_assert_uint_eq(len, 32);
                ck_assert_int_eq(memcmp(bytes, what[1] == '0' ? k0 : other, 32), 0);
        } else {
                ck_assert_str_eq(bytes, what);
        }
}

START_TEST(cut_short)
{
        AUTO(auto_freep) char *k0 = NULL;

        fill();
        k0 = read_key(key);
        for (int again = 0; again < 2; again++) { /* by an opening, by a rekey */
                int r;

                leave(key, crashes[_i].key, k0, 0600);
                leave(staged, crashes[_i].staged, k0, crashes[_i].mode);
                r = again ? rekey() : try_open();
                ck_assert_msg(r == crashes[_i].r, "%d: %s", r, why.text);
                if (r < 0) {
                        expect_file(key, crashes[_i].kept, k0);
                        expect_file(staged, crashes[_i].staged, k0); /* may yet be needed */
                        continue;
                }
                if (!again)
                        expect_file(key, crashes[_i].kept, k0);
                store = again ? NULL : store_sqlite_close(store);
                expect_good();
        }
}
END_TEST

/* --- disks ------------------------------------------------------------------------------------ */

static const int errors[] = { EIO, ENOSPC, EROFS, EDQUOT };

START_TEST(write_fails)
{
        AUTO(auto_freep) char *old = NULL;

        fill();
        old = read_key(key);
        disk_fail_writes(errors[_i]);
        ck_assert_int_eq(rekey(), -errors[_i]);
        says("bearerd.db");
        disk_fail_writes(0);
        ck_assert(key_is(old));
        expect_good();
        ck_assert(key_is(old));
        ck_assert_int_eq(rekey(), 0);
        expect_good();
}
END_TEST

/* The commit is in the log, but is it on the disk? Whichever it is, there is a key for it. */
START_TEST(sync_fails)
{
        fill();
        for (int n = 1; n <= 4; n++) {
                atomic_store(&syncs_to_fail, n);
                (void) rekey();
                rekeyed = SIZE_MAX;
                atomic_store(&syncs_to_fail, 0);
                expect_good();
        }
        atomic_store(&syncs_to_fail, 1000);
        ck_assert_int_eq(rekey(), -EIO);
        atomic_store(&syncs_to_fail, 0);
        expect_good();
}
END_TEST

/* The key lies where nothing can be written, as a systemd credential does. */
START_TEST(read_only_key)
{
        char dir[128];

        (void) snprintf(dir, sizeof(dir), "%s/credentials", top);
        ck_assert_int_eq(mkdir(dir, 0700), 0);
        if (!mount_tmpfs(dir, "mode=0700")) {
                skip("read_only_key: no right to mount a tmpfs here");
                return;
        }
        (void) snprintf(key, sizeof(key), "%s/bearerd.key", dir);
        fill();
        ck_assert_int_eq(mount("rig", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
        ck_assert_int_eq(rekey(), -EROFS);
        says("--new-key");
        says(key);
        expect_good();
        ck_assert_int_eq(rekey_with(new_key), 0);
        (void) strcpy(key, new_key);
        expect_good();
        ck_assert_int_eq(umount2(dir, MNT_DETACH), 0);
}
END_TEST

/* A file that is mounted by itself, as a container's secret is, would not be replaced by a rename
 * but found out too late. */
START_TEST(mounted_key)
{
        AUTO(auto_freep) char *old = NULL;
        char file[128], dir[128];

        fill();
        old = read_key(key);
        (void) snprintf(dir, sizeof(dir), "%s/mnt", top);
        (void) snprintf(file, sizeof(file), "%s/secret", top);
        write_all(file, old, 32, 0600);
        ck_assert_int_eq(mkdir(dir, 0700), 0);
        if (!mount_tmpfs(dir, "mode=0700") || mount(file, key, "none", MS_BIND, NULL) < 0) {
                skip("mounted_key: no right to mount here");
                return;
        }
        ck_assert_int_eq(rekey(), -EOPNOTSUPP);
        says("a mounted file");
        says("--new-key");
        expect_good();
        ck_assert_int_eq(umount2(key, MNT_DETACH), 0);
        ck_assert_int_eq(umount2(dir, MNT_DETACH), 0);
        ck_assert_int_eq(rekey(), 0);
        expect_good();
}
END_TEST

/* Room for what there is, but not for all of it once more in the log. */
START_TEST(full_disk)
{
        AUTO(auto_freep) char *old = NULL;

        (void) snprintf(state, sizeof(state), "%s/full", top);
        (void) snprintf(key, sizeof(key), "%s/bearerd.key", state);
        (void) snprintf(db, sizeof(db), "%s/bearerd.db", state);
        ck_assert_int_eq(mkdir(state, 0700), 0);
        if (!mount_tmpfs(state, "size=2m,mode=0700")) {
                skip("full_disk: no right to mount a tmpfs here");
                return;
        }
        fill();
        old = read_key(key);
        ck_assert_int_eq(mount("rig", state, "tmpfs", MS_REMOUNT, "size=64k"), 0);
        ck_assert_int_eq(rekey(), -ENOSPC);
        says("make room");
        ck_assert_int_eq(mount("rig", state, "tmpfs", MS_REMOUNT, "size=2m"), 0);
        expect_good();
        ck_assert(key_is(old));
        ck_assert_int_eq(rekey(), 0);
        expect_good();
        ck_assert_int_eq(umount2(state, MNT_DETACH), 0);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_checked_fixture(tc, start, tear_down);
        tcase_set_timeout(tc, 60);
        tcase_add_test(tc, new_key_old_rows);
        tcase_add_test(tc, nothing_left_under_old_key);
        tcase_add_test(tc, rekey_without_rows);
        tcase_add_test(tc, rekey_of_version_1);
        tcase_add_test(tc, key_made_elsewhere);
        tcase_add_loop_test(tc, refused, 0, N_ELEMENTS(refusals));
        tcase_add_test(tc, refused_while_running);
        tcase_add_test(tc, refused_without_database);
        tcase_add_loop_test(tc, cut_short, 0, N_ELEMENTS(crashes));
        tcase_add_loop_test(tc, write_fails, 0, N_ELEMENTS(errors));
        tcase_add_test(tc, sync_fails);
        tcase_add_test(tc, read_only_key);
        tcase_add_test(tc, mounted_key);
        tcase_add_test(tc, full_disk);
}

CHECK_MAIN("rekey", add)
