#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check_main.h"
#include "fake_store.h"
#include "store_rig.h"

/* --- what was put is there -------------------------------------------------------------------- */

static const char long_subject[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab"
        "cdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567"
        "89abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static const struct {
        const char *credential, *subject;
        enum record_kind kind;
        const char *secret;
        int64_t obtained_at, expires_at;
        bool in_doubt;
} rows[] = {
        { "bot", "", RECORD_STATIC_TOKEN, "pat_plain", 1, 2, false },
        { "site", "", RECORD_GRANT, "LBEP-refresh", 1700000000, 1702592000, false },
        { "site", "user-1", RECORD_GRANT, "LBEP-other", 1700000000, INT64_MAX, true },
        { "site", "USER-1", RECORD_GRANT, "LBEP-case", -1, 0, false }, /* names differ by case */
        { "site", "user-1 ", RECORD_GRANT, "LBEP-blank", 0, 0, false },
        { "site", "\xe6\x89\xa3\xe5\xad\x90", RECORD_GRANT, "LBEP-\xe5\xad\x90", 5, 6, false },
        { "site", "'; DROP TABLE record; --", RECORD_GRANT, "LBEP-quote", 7, 8, false },
        { "site", long_subject, RECORD_GRANT, "", INT64_MIN, INT64_MAX, true },
        { "sit", "e", RECORD_GRANT, "a", 1, 1, false },
};

static int match_row(void *user, const struct record *metadata) {
        unsigned *seen = user;

        ck_assert_ptr_null(metadata->secret);
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                if (strcmp(rows[i].credential, metadata->credential) != 0 ||
                    strcmp(rows[i].subject, metadata->subject) != 0)
                        continue;
                ck_assert_uint_eq(metadata->kind, rows[i].kind);
                ck_assert_int_eq(metadata->obtained_at.s, rows[i].obtained_at);
                ck_assert_int_eq(metadata->expires_at.s, rows[i].expires_at);
                ck_assert_int_eq(metadata->in_doubt, rows[i].in_doubt);
                ck_assert_uint_eq(*seen & 1U << i, 0);
                *seen |= 1U << i;
                return 0;
        }
        ck_abort_msg("unknown row %s/%s", metadata->credential, metadata->subject);
        return 0;
}

START_TEST(rows_survive)
{
        unsigned seen = 0;

        open_store();
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                struct record record = {
                        rows[i].credential,
                        rows[i].subject,
                        rows[i].kind,
                        secret_new(rows[i].secret, strlen(rows[i].secret)),
                        { rows[i].obtained_at },
                        { rows[i].expires_at },
                        rows[i].in_doubt,
                };
                ck_assert_int_eq(store->put(store->self, &record, NULL, NULL), 0);
                record.secret = secret_unref(record.secret);
        }
        settle();
        for (int pass = 0; pass < 2; pass++) {
                for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                        struct record record;

                        ck_assert_int_eq(get_row(rows[i].credential, rows[i].subject, &record), 0);
                        ck_assert_ptr_eq(record.credential, rows[i].credential);
                        ck_assert_ptr_eq(record.subject, rows[i].subject);
                        ck_assert_uint_eq(record.kind, rows[i].kind);
                        ck_assert_str_eq(secret_text(record.secret), rows[i].secret);
                        ck_assert_int_eq(record.obtained_at.s, rows[i].obtained_at);
                        ck_assert_int_eq(record.expires_at.s, rows[i].expires_at);
                        ck_assert_int_eq(record.in_doubt, rows[i].in_doubt);
                        record.secret = secret_unref(record.secret);
                }
                expect_no_row("site", "user-2");
                expect_no_row("", "");
                seen = 0;
                ck_assert_int_eq(store->each(store->self, match_row, &seen, &why), 0);
                ck_assert_uint_eq(seen, (1U << N_ELEMENTS(rows)) - 1);
                reopen_store();
        }
}
END_TEST

START_TEST(replace_and_remove)
{
        int result = 1;

        open_store();
        ck_assert_int_eq(put_row("site", "u", "first"), 0);
        ck_assert_int_eq(put_row("site", "u", "second"), 0);
        expect_row("site", "u", "second");
        ck_assert_int_eq(count_rows(), 1);
        ck_assert_int_eq(put_row("site", "v", "other"), 0);
        ck_assert_int_eq(store->remove(store->self, "site", "u", note_result, &result), 0);
        settle();
        ck_assert_int_eq(result, 0);
        expect_no_row("site", "u");
        expect_row("site", "v", "other");
        result = 1; /* what is not there is gone already */
        ck_assert_int_eq(store->remove(store->self, "site", "u", note_result, &result), 0);
        settle();
        ck_assert_int_eq(result, 0);
        reopen_store();
        expect_no_row("site", "u");
        expect_row("site", "v", "other");
}
END_TEST

static int stop_at_second(void *user, const struct record *metadata) {
        (void) metadata;
        return ++*(int *) user == 2 ? -ECANCELED : 0;
}

START_TEST(walk_ends_early)
{
        int n = 0;

        open_store();
        for (int i = 0; i < 5; i++) {
                char subject[8];

                (void) snprintf(subject, sizeof(subject), "%d", i);
                ck_assert_int_eq(put_row("site", subject, "x"), 0);
        }
        ck_assert_int_eq(store->each(store->self, stop_at_second, &n, &why), -ECANCELED);
        ck_assert_int_eq(n, 2);
        ck_assert_int_eq(count_rows(), 5); /* the next walk starts at the beginning */
}
END_TEST

START_TEST(too_long)
{
        AUTO(auto_freep) char *text = malloc(STORE_SECRET_MAX + 2);
        int result = 1;

        memset(text, 'x', STORE_SECRET_MAX + 1);
        text[STORE_SECRET_MAX + 1] = '\0';
        open_store();
        ck_assert_int_eq(give(store, "site", "", text, note_result, &result), -EFBIG);
        ck_assert_uint_eq(store_sqlite_pending(store), 0);
        text[STORE_SECRET_MAX] = '\0';
        ck_assert_int_eq(put_row("site", "", text), 0);
        expect_row("site", "", text);
        ck_assert_int_eq(result, 1);
}
END_TEST

/* --- marks ------------------------------------------------------------------------------------- */

static bool is_in_doubt(const char *credential, const char *subject) {
        struct record record;
        int r = get_row(credential, subject, &record);

        ck_assert_msg(r == 0, "%s/%s: %d %s", credential, subject, r, why.text);
        record.secret = secret_unref(record.secret);
        return record.in_doubt;
}

/* Marks and waits; what done() said. */
static int mark_row(const char *credential, const char *subject) {
        int result = 1;

        ck_assert_int_eq(store->mark(store->self, credential, subject, note_result, &result), 0);
        ck_assert_int_eq(result, 1); /* never from within mark() */
        settle();
        ck_assert_int_le(result, 0);
        return result;
}

START_TEST(marks)
{
        struct record record = { 0 };

        open_store();
        ck_assert_int_eq(mark_row("site", "u"), -ENOENT);
        expect_no_row("site", "u"); /* it made none */
        ck_assert_int_eq(put_row("site", "u", "first"), 0);
        ck_assert_int_eq(put_row("site", "v", "other"), 0);
        ck_assert(!is_in_doubt("site", "u"));
        ck_assert_int_eq(mark_row("site", "u"), 0);
        ck_assert_int_eq(mark_row("site", "u"), 0); /* twice is no different */
        ck_assert_int_eq(mark_row("site", "U"), -ENOENT);
        reopen_store();
        ck_assert(is_in_doubt("site", "u"));
        ck_assert(!is_in_doubt("site", "v"));
        ck_assert_int_eq(get_row("site", "u", &record), 0); /* and it is else what it was */
        ck_assert_str_eq(secret_text(record.secret), "first");
        ck_assert_int_eq(record.obtained_at.s, 1700000000);
        ck_assert_int_eq(record.expires_at.s, 1702592000);
        record.secret = secret_unref(record.secret);
        ck_assert_int_eq(put_row("site", "u", "second"), 0);
        ck_assert(!is_in_doubt("site", "u"));
        expect_row("site", "u", "second");
}
END_TEST

/* Marks keep their place between the other changes, whether or not these share a commit. */
START_TEST(marks_in_order)
{
        enum {
                N = 7
        };
        static int results[N];
        static const int expected[N] = { -ENOENT, 0, 0, 0, -ENOENT, 0, 0 };
        sqlite3 *other;

        open_store();
        other = outside_open();
        outside_run(other, "BEGIN IMMEDIATE"); /* so that they gather */
        for (int i = 0; i < N; i++)
                results[i] = 1;
        (void) store->mark(store->self, "site", "u", note_result, &results[0]);
        (void) give(store, "site", "u", "1", note_result, &results[1]);
        (void) store->mark(store->self, "site", "u", note_result, &results[2]);
        (void) store->remove(store->self, "site", "u", note_result, &results[3]);
        (void) store->mark(store->self, "site", "u", note_result, &results[4]);
        (void) give(store, "site", "u", "2", note_result, &results[5]);
        (void) give(store, "site", "v", "3", NULL, NULL);
        (void) store->mark(store->self, "site", "v", note_result, &results[6]);
        outside_run(other, "ROLLBACK");
        (void) sqlite3_close(other);
        settle();
        for (int i = 0; i < N; i++)
                ck_assert_int_eq(results[i], expected[i]);
        ck_assert(!is_in_doubt("site", "u"));
        ck_assert(is_in_doubt("site", "v"));
        ck_assert_uint_le(store_sqlite_commits(store), 2);
}
END_TEST

START_TEST(mark_after_sync)
{
        open_store();
        for (int i = 0; i < 5; i++) {
                int before;

                ck_assert_int_eq(put_row("site", "u", "x"), 0);
                before = atomic_load(&syncs);
                ck_assert_int_eq(mark_row("site", "u"), 0);
                ck_assert_int_gt(atomic_load(&syncs), before);
        }
}
END_TEST

/* The log of a daemon that was killed may not have been synced: what the next one finds in it, it
 * makes durable, since a mark that is set already would not. */
START_TEST(left_log_is_synced)
{
        int status, before;
        pid_t pid = fork();

        if (pid == 0) {
                event = NULL;
                if (sd_event_new(&event) < 0)
                        _exit(EXIT_FAILURE);
                open_store();
                (void) put_row("site", "u", "x");
                if (mark_row("site", "u") == 0)
                        (void) raise(SIGSTOP); /* until it is killed */
                _exit(EXIT_FAILURE);
        }
        ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
        ck_assert(WIFSTOPPED(status));
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        before = atomic_load(&syncs);
        open_store();
        ck_assert_int_gt(atomic_load(&syncs), before);
        ck_assert(is_in_doubt("site", "u"));
        store = store_sqlite_close(store);
        atomic_store(&syncs_to_fail, 1000);
        ck_assert_int_eq(try_open(), -EIO);
        ck_assert_ptr_nonnull(strstr(why.text, "bearerd.db-wal"));
        atomic_store(&syncs_to_fail, 0);
        open_store();
        ck_assert(is_in_doubt("site", "u"));
}
END_TEST

/* --- when done() is called ----------------------------------------------------------------------- */

static int order[1000], n_order;

static void note_order(void *user, int r) {
        ck_assert_int_eq(r, 0);
        order[n_order++] = *(int *) user;
}

START_TEST(done_in_order)
{
        static int index[N_ELEMENTS(order)];

        open_store();
        for (int i = 0; i < (int) N_ELEMENTS(index); i++) {
                char text[16];

                index[i] = i;
                (void) snprintf(text, sizeof(text), "%d", i);
                if (i % 3 == 2)
                        ck_assert_int_eq(
                                store->remove(store->self, "site", "u", note_order, &index[i]), 0);
                else
                        ck_assert_int_eq(give(store, "site", "u", text, note_order, &index[i]), 0);
        }
        settle();
        ck_assert_int_eq(n_order, N_ELEMENTS(index));
        for (int i = 0; i < n_order; i++)
                ck_assert_int_eq(order[i], i);
        expect_row("site", "u", "999"); /* the last put, after the last remove */
}
END_TEST

static void check_synced(void *user, int r) {
        ck_assert_int_eq(r, 0);
        ck_assert_int_gt(atomic_load(&syncs), *(int *) user);
        *(int *) user = -1;
}

START_TEST(done_after_sync)
{
        open_store();
        for (int i = 0; i < 20; i++) {
                int before = atomic_load(&syncs);
                char text[8];

                (void) snprintf(text, sizeof(text), "%d", i);
                ck_assert_int_eq(give(store, "site", "", text, check_synced, &before), 0);
                settle();
                ck_assert_int_eq(before, -1);
        }
}
END_TEST

/* While somebody else holds the database nothing can be written: then nothing is reported, nor
 * read. */
START_TEST(many_share_a_commit)
{
        sqlite3 *other;

        open_store();
        other = outside_open();
        outside_run(other, "BEGIN IMMEDIATE");
        for (int i = 0; i < 500; i++) {
                char subject[16];

                (void) snprintf(subject, sizeof(subject), "user-%d", i);
                ck_assert_int_eq(give(store, "site", subject, "x", NULL, NULL), 0);
        }
        ck_assert_int_eq(sd_event_run(event, 0), 0);
        ck_assert_uint_eq(store_sqlite_pending(store), 500);
        ck_assert_uint_eq(store_sqlite_commits(store), 0);
        expect_no_row("site", "user-0");
        outside_run(other, "ROLLBACK");
        (void) sqlite3_close(other);
        settle();
        ck_assert_int_eq(count_rows(), 500);
        ck_assert_uint_ge(store_sqlite_commits(store), 1);
        ck_assert_uint_le(store_sqlite_commits(store), 2); /* what the thread had, and the rest */
}
END_TEST

static int more;

static void put_again(void *user, int r) {
        ck_assert_int_eq(r, 0);
        expect_row("site", "u", user); /* what done() reports can be read from within it */
        if (more-- > 0)
                ck_assert_int_eq(give(store, "site", "u", user, put_again, user), 0);
}

START_TEST(done_may_put)
{
        static char text[] = "again";

        open_store();
        more = 5;
        ck_assert_int_eq(give(store, "site", "u", text, put_again, text), 0);
        settle();
        ck_assert_int_eq(more, -1);
        ck_assert_uint_eq(store_sqlite_commits(store), 6);
}
END_TEST

static int n_closed;

static void put_when_closed(void *user, int r) {
        (void) user;
        ck_assert_int_eq(r, 0);
        ck_assert_int_eq(give(store, "late", "", "x", note_result, NULL), -ESHUTDOWN);
        n_closed++;
}

START_TEST(close_writes_all)
{
        open_store();
        for (int i = 0; i < 100; i++) {
                char subject[16];

                (void) snprintf(subject, sizeof(subject), "user-%d", i);
                ck_assert_int_eq(give(store, "site", subject, "x", put_when_closed, NULL), 0);
        }
        reopen_store();
        ck_assert_int_eq(n_closed, 100);
        ck_assert_int_eq(count_rows(), 100);
        expect_no_row("late", "");
}
END_TEST

/* Far more than a checkpoint's worth of log; the log is folded in and stays bounded. */
START_TEST(log_is_folded_in)
{
        AUTO(auto_freep) char *text = malloc(20001);
        char wal[176];
        struct stat st;

        memset(text, 'x', 20000);
        text[20000] = '\0';
        (void) snprintf(wal, sizeof(wal), "%s-wal", db);
        open_store();
        for (int i = 0; i < 800; i++) {
                char subject[16];

                (void) snprintf(subject, sizeof(subject), "user-%d", i % 20);
                text[0] = (char) ('a' + i % 26);
                ck_assert_int_eq(put_row("site", subject, text), 0);
        }
        ck_assert_int_eq(stat(wal, &st), 0);
        ck_assert_int_lt(st.st_size, 8 << 20); /* 16 MB went through it */
        ck_assert_int_eq(count_rows(), 20);
        store = store_sqlite_close(store);
        ck_assert_int_eq(stat(wal, &st), -1); /* a clean end leaves one file */
        open_store();
        ck_assert_int_eq(count_rows(), 20);
}
END_TEST

/* --- pages ------------------------------------------------------------------------------------- */

/* In the order in which they were put. */
static const struct {
        const char *credential, *subject;
} members[] = {
        { "site", "b" },        { "site", "" },  { "site", "ab" },           { "site", "B" },
        { "sit", "eb" },        { "site", "a" }, { "site", "\xe6\x89\xa3" }, { "site", "a\x7f" },
        { "site", "\xc3\xa9" }, { "other", "" }, { "site", "10" },           { "site", "9" },
        { "sites", "a" },
};

static const struct {
        const char *credential, *after;
        size_t limit;
        const char *shown; /* each followed by a comma */
} pages[] = {
        { "site", NULL, 99, ",10,9,B,a,ab,a\x7f,b,\xc3\xa9,\xe6\x89\xa3," },
        { "site", NULL, SIZE_MAX, ",10,9,B,a,ab,a\x7f,b,\xc3\xa9,\xe6\x89\xa3," },
        { "site", NULL, 1, "," },
        { "site", NULL, 0, "" },
        { "site", "", 3, "10,9,B," },
        { "site", "B", 3, "a,ab,a\x7f," },
        { "site", "a\x7f", 3, "b,\xc3\xa9,\xe6\x89\xa3," },
        { "site", "a", 0, "" },
        { "site", "aa", 1, "ab," }, /* a subject that is gone meanwhile */
        { "site", "\xe6\x89\xa3", 9, "" },
        { "site", "zzz", 1, "\xc3\xa9," },
        { "other", NULL, 9, "," },
        { "other", "", 9, "" },
        { "sit", NULL, 9, "eb," },
        { "SITE", NULL, 9, "" },
        { "", NULL, 9, "" },
};

static void put_members(void) {
        for (size_t i = 0; i < N_ELEMENTS(members); i++)
                ck_assert_int_eq(
                        give(store, members[i].credential, members[i].subject, "x", NULL, NULL), 0);
}

static int show_member(void *user, const struct record *metadata) {
        char *shown = user;

        ck_assert_ptr_null(metadata->secret);
        ck_assert_int_eq(metadata->expires_at.s, 1702592000);
        strcat(strcat(shown, metadata->subject), ",");
        return 0;
}

static void expect_pages(void) {
        for (size_t i = 0; i < N_ELEMENTS(pages); i++) {
                char shown[128] = "";
                int r = store->page(store->self, pages[i].credential, pages[i].after,
                                    pages[i].limit, show_member, shown, &why);

                ck_assert_msg(r == 0, "%s", why.text);
                ck_assert_str_eq(shown, pages[i].shown);
        }
}

static int stop_at_b(void *user, const struct record *metadata) {
        ++*(int *) user;
        return strcmp(metadata->subject, "B") == 0 ? -ECANCELED : 0;
}

static void expect_page_ends_early(void) {
        int n = 0;

        ck_assert_int_eq(store->page(store->self, "site", "", 9, stop_at_b, &n, &why), -ECANCELED);
        ck_assert_int_eq(n, 3);
}

START_TEST(pages_of_sqlite)
{
        open_store();
        put_members();
        settle();
        expect_pages();
        expect_page_ends_early();
        expect_pages();
}
END_TEST

START_TEST(pages_of_fake)
{
        AUTO(fake_store_freep) struct fake_store *f = fake_store_new();

        store = fake_store_seam(f);
        put_members();
        (void) fake_store_complete_all(f);
        expect_pages();
        expect_page_ends_early();
        store = NULL;
}
END_TEST

static sqlite3 *connections[8];
static size_t n_connections;

static int note_connection(sqlite3 *c) {
        if (n_connections < N_ELEMENTS(connections))
                connections[n_connections++] = c;
        return SQLITE_OK;
}

/* All statements of the store but the walk over everything find their rows by the index. */
START_TEST(no_scans)
{
        AUTO(auto_freep) char *shown = calloc(1, 4096);
        int found = 0;

        ck_assert_int_eq(sqlite3_auto_extension((void (*)(void)) note_connection), SQLITE_OK);
        open_store();
        (void) sqlite3_reset_auto_extension();
        for (int i = 0; i < 300; i++) {
                char subject[16];

                (void) snprintf(subject, sizeof(subject), "%d", i);
                ck_assert_int_eq(give(store, "site", subject, "x", NULL, NULL), 0);
                ck_assert_int_eq(store->mark(store->self, "site", subject, NULL, NULL), 0);
                if (i % 2)
                        (void) store->remove(store->self, "site", subject, NULL, NULL);
        }
        settle();
        expect_row("site", "200", "x");
        ck_assert_int_eq(store->page(store->self, "site", "100", 3, show_member, shown, &why), 0);
        ck_assert_str_eq(shown, "102,104,106,");
        for (size_t i = 0; i < n_connections; i++) {
                sqlite3_stmt *stmt = NULL;

                while ((stmt = sqlite3_next_stmt(connections[i], stmt))) {
                        const char *sql = sqlite3_sql(stmt);
                        int steps = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 0);
                        int runs = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_RUN, 0);

                        found += runs > 0 && strstr(sql, "record") != NULL;
                        ck_assert_msg(steps <= 150 * runs, "%d steps in %d runs: %s", steps, runs,
                                      sql);
                        ck_assert_msg(
                                sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0) == 0,
                                "%s", sql);
                        ck_assert_msg(sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_SORT, 0) == 0,
                                      "%s", sql);
                }
        }
        ck_assert_int_eq(found, 5); /* put, mark, remove, get, page */
}
END_TEST

/* --- from one schema to the next --------------------------------------------------------------- */

START_TEST(version_1)
{
        make_version_1();
        open_store();
        for (int pass = 0; pass < 2; pass++) {
                ck_assert_int_eq(count_rows(), 3);
                expect_row("site", "user-0", "LBEP-secret-0");
                expect_row("site", "user-1", "LBEP-secret-1");
                expect_row("site", "user-2", "LBEP-secret-2");
                ck_assert(!is_in_doubt("site", "user-0"));
                ck_assert_int_eq(is_in_doubt("site", "user-1"), pass);
                ck_assert_int_eq(mark_row("site", "user-1"), 0);
                reopen_store();
        }
}
END_TEST

static void break_key(void) {
        write_all(key, "another key, also of 32 bytes...", 32, 0600);
}

static void break_column(void) {
        outside("ALTER TABLE record ADD COLUMN in_doubt");
}

static const struct {
        void (*spoil)(void);
        int r;
} unmigrated[] = { { break_key, -EBADMSG }, { break_column, -EIO } };

/* A version that cannot be taken up stays what it was. */
START_TEST(version_1_refused)
{
        sqlite3_stmt *stmt;
        sqlite3 *c;

        make_version_1();
        unmigrated[_i].spoil();
        ck_assert_int_eq(try_open(), unmigrated[_i].r);
        c = outside_open();
        ck_assert_int_eq(sqlite3_prepare_v2(c, "PRAGMA user_version", -1, &stmt, NULL), SQLITE_OK);
        ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
        ck_assert_int_eq(sqlite3_column_int(stmt, 0), 1);
        (void) sqlite3_finalize(stmt);
        (void) sqlite3_close(c);
}
END_TEST

/* --- what stands on the disk --------------------------------------------------------------------- */

START_TEST(modes)
{
        (void) umask(0);
        open_store();
        ck_assert_int_eq(put_row("site", "", "x"), 0);
        ck_assert_uint_eq(mode_of(top, "a"), 0700);
        ck_assert_uint_eq(mode_of(state, "."), 0700);
        ck_assert_uint_eq(mode_of(state, "bearerd.key"), 0600);
        ck_assert_uint_eq(mode_of(state, "bearerd.lock"), 0600);
        ck_assert_uint_eq(mode_of(state, "bearerd.db"), 0600);
        ck_assert_uint_eq(mode_of(state, "bearerd.db-wal"), 0600);
        ck_assert_uint_eq(mode_of(state, "bearerd.db-shm"), 0600);
        store = store_sqlite_close(store);
        ck_assert_int_eq(chmod(db, 0644), 0); /* by a careless restore */
        open_store();
        ck_assert_uint_eq(mode_of(state, "bearerd.db"), 0600);
}
END_TEST

#define CANARY "canary-QmVhcmVyIHRva2Vu"

START_TEST(secrets_are_sealed)
{
        int files;

        open_store();
        ck_assert_int_eq(put_row("site", "shown-subject", CANARY "-1"), 0);
        ck_assert_int_eq(put_row("site", "shown-subject", CANARY "-2"), 0);
        ck_assert_int_eq(find_in_files("shown-subject", 13, &files),
                         1);        /* the search does search */
        ck_assert_int_eq(files, 5); /* key, lock, database, log, index of the log */
        ck_assert_int_eq(find_in_files(CANARY, strlen(CANARY), &files), 0);
        store = store_sqlite_close(store);
        ck_assert_int_eq(find_in_files("shown-subject", 13, &files), 1);
        ck_assert_int_eq(find_in_files(CANARY, strlen(CANARY), &files), 0);
}
END_TEST

/* Altered by somebody who can write to the database but has no key. */
static const struct {
        const char *sql;
        const char *refused, *intact; /* subjects */
} tampers[] = {
        { "UPDATE record SET sealed = (SELECT sealed FROM record WHERE subject = 'b') WHERE subject = 'a'",
          "a", "b" },
        { "UPDATE record SET subject = 'c' WHERE subject = 'a'", "c", "b" },
        { "UPDATE record SET credential = 'other' WHERE subject = 'a';"
          "UPDATE record SET credential = 'site', subject = 'x' WHERE subject = 'a'",
          "x", "b" },
        { "UPDATE record SET expires_at = expires_at + 1 WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET obtained_at = 0 WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET kind = 0 WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET kind = 257 WHERE subject = 'a'", "a", "b" }, /* 1 in a byte */
        { "UPDATE record SET kind = 4294967297 WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET kind = -255 WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET sealed = x'' WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET sealed = 'text' WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET sealed = 5 WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET sealed = substr(sealed, 1, 20) WHERE subject = 'a'", "a", "b" },
        { "UPDATE record SET sealed = sealed || x'00' WHERE subject = 'a'", "a", "b" },
};

START_TEST(tampered_row)
{
        struct record record = { 0 };

        open_store();
        ck_assert_int_eq(put_row("site", "a", "LBEP-a"), 0);
        ck_assert_int_eq(put_row("site", "b", "LBEP-b"), 0);
        outside(tampers[_i].sql);
        ck_assert_int_eq(get_row("site", tampers[_i].refused, &record), -EBADMSG);
        ck_assert_ptr_null(record.secret);
        ck_assert_str_ne(why.text, "");
        expect_row("site", tampers[_i].intact, "LBEP-b");
        ck_assert_int_eq(put_row("site", tampers[_i].refused, "LBEP-new"),
                         0); /* and it can be mended */
        expect_row("site", tampers[_i].refused, "LBEP-new");
}
END_TEST

/* --- refusals at the door ------------------------------------------------------------------------ */

START_TEST(second_daemon)
{
        struct store *first, *second = NULL;
        char pid[32];

        open_store();
        first = store;
        ck_assert_int_eq(put_row("site", "", "x"), 0);
        ck_assert_int_eq(store_sqlite_open(state, key, event, &why, &second), -EBUSY);
        ck_assert_ptr_null(second);
        (void) snprintf(pid, sizeof(pid), "(pid %d)", (int) getpid());
        ck_assert_ptr_nonnull(strstr(why.text, pid));
        ck_assert_ptr_nonnull(strstr(why.text, state));
        store = first;
        ck_assert_int_eq(put_row("site", "", "y"), 0); /* the first is none the worse for it */
        reopen_store();
        expect_row("site", "", "y");
}
END_TEST

static void spoil_dir_mode(void) {
        ck_assert_int_eq(chmod(state, 0770), 0);
}

static void spoil_key_mode(void) {
        ck_assert_int_eq(chmod(key, 0640), 0);
}

static void spoil_key_short(void) {
        ck_assert_int_eq(truncate(key, 31), 0);
}

static void spoil_key_empty(void) {
        ck_assert_int_eq(truncate(key, 0), 0);
}

static void spoil_key_long(void) {
        ck_assert_int_eq(truncate(key, 33), 0);
}

static void spoil_key_wrong(void) {
        write_all(key, "another key, also of 32 bytes...", 32, 0600);
}

static void spoil_key_missing(void) {
        ck_assert_int_eq(unlink(key), 0);
}

static void spoil_key_dangling(void) {
        ck_assert_int_eq(unlink(key), 0);
        ck_assert_int_eq(symlink("/nonexistent/key", key), 0);
}

static void spoil_text(void) {
        write_all(db, "my notes, which I keep in a strange place", 41, 0600);
}

static void spoil_tiny(void) {
        write_all(db, "xy", 2, 0600);
}

/* What SQLite itself takes for an empty database. */
static void spoil_one_byte(void) {
        write_all(db, "x", 1, 0600);
}

static void spoil_zeros(void) {
        static const char zeros[65536];

        write_all(db, zeros, sizeof(zeros), 0600);
}

static void spoil_half(void) {
        struct stat st;

        ck_assert_int_eq(stat(db, &st), 0);
        ck_assert_int_gt(st.st_size, 8 * 4096);
        ck_assert_int_eq(truncate(db, st.st_size / 2), 0);
}

/* Only the header is left: enough for SQLite to believe in it. */
static void spoil_header_only(void) {
        ck_assert_int_eq(truncate(db, 100), 0);
}

static void spoil_page(void) {
        int fd = open(db, O_WRONLY | O_CLOEXEC);
        char junk[4096];

        memset(junk, 0xd5, sizeof(junk));
        for (off_t page = 3; page < 8; page++)
                ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), page * 4096), sizeof(junk));
        (void) close(fd);
}

static void spoil_newer(void) {
        outside("PRAGMA user_version = 9999");
}

/* The mark of the newer version is still in its log: looking must not fold that in. */
static void spoil_newer_in_log(void) {
        sqlite3 *c = outside_open();

        (void) sqlite3_db_config(c, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        outside_run(c, "PRAGMA user_version = 9999");
        (void) sqlite3_close(c);
        ck_assert_uint_eq(mode_of(state, "bearerd.db-wal"), 0600);
}

static void spoil_other_program(void) {
        outside("PRAGMA application_id = 252006673"); /* Fossil's */
}

static void spoil_unmarked(void) {
        outside("PRAGMA application_id = 0; PRAGMA user_version = 0");
}

static void spoil_salt(void) {
        outside("UPDATE meta SET value = zeroblob(32) WHERE name = 'salt'");
}

static void spoil_no_salt(void) {
        outside("DELETE FROM meta WHERE name = 'salt'");
}

static void spoil_no_check(void) {
        outside("UPDATE meta SET value = substr(value, 2) WHERE name = 'check'");
}

static const struct {
        void (*spoil)(void);
        int r;
        const char *says[2];
} doors[] = {
        { spoil_dir_mode, -EPERM, { "chmod 700", "state_dir" } },
        { spoil_key_mode, -EPERM, { "chmod 600", "bearerd.key" } },
        { spoil_key_short, -EINVAL, { "31 bytes", "bearerd.key" } },
        { spoil_key_empty, -EINVAL, { "0 bytes", "bearerd.key" } },
        { spoil_key_long, -EFBIG, { "larger than 32 bytes", "bearerd.key" } },
        { spoil_key_wrong, -EBADMSG, { "not the key", "bearerd.key" } },
        { spoil_key_missing, -ENOKEY, { "is missing", "sealed under it" } },
        { spoil_key_dangling, -ENOKEY, { "is missing", "sealed under it" } },
        { spoil_text, -EBADMSG, { "not a database", "bearerd.db" } },
        { spoil_tiny, -EBADMSG, { "not a database", "bearerd.db" } },
        { spoil_one_byte, -EBADMSG, { "not a database", "bearerd.db" } },
        { spoil_zeros, -EBADMSG, { "not a database", "bearerd.db" } },
        { spoil_half, -EBADMSG, { "restore it from a backup", "bearerd.db" } },
        { spoil_header_only, -EBADMSG, { "restore it from a backup", "bearerd.db" } },
        { spoil_page, -EBADMSG, { "restore it from a backup", "bearerd.db" } },
        { spoil_newer, -EBADMSG, { "newer bearerd", "9999" } },
        { spoil_newer_in_log, -EBADMSG, { "newer bearerd", "9999" } },
        { spoil_other_program, -EBADMSG, { "another program", "bearerd.db" } },
        { spoil_unmarked, -EBADMSG, { "another program", "bearerd.db" } },
        { spoil_salt, -EBADMSG, { "not the key", "bearerd.db" } },
        { spoil_no_salt, -EBADMSG, { "mark of its key", "bearerd.db" } },
        { spoil_no_check, -EBADMSG, { "mark of its key", "bearerd.db" } },
};

/* Refused with the right sentence, and the files are byte for byte what they were; twice, as a
 * service is restarted. */
START_TEST(refused_unchanged)
{
        AUTO(auto_freep) char *db_before = NULL;
        AUTO(auto_freep) char *key_before = NULL;
        size_t db_len, key_len = 0;

        open_store();
        for (int i = 0; i < 500; i++) {
                char subject[16];

                (void) snprintf(subject, sizeof(subject), "user-%d", i);
                ck_assert_int_eq(give(store, "site", subject, "LBEP-refresh", NULL, NULL), 0);
        }
        store = store_sqlite_close(store);
        doors[_i].spoil();
        db_before = read_all(db, &db_len);
        if (access(key, F_OK) == 0)
                key_before = read_all(key, &key_len);

        for (int start = 0; start < 2; start++) {
                AUTO(auto_freep) char *after = NULL;
                size_t len;
                int r = try_open();

                ck_assert_msg(r == doors[_i].r, "%d: %s", r, why.text);
                for (size_t i = 0; i < N_ELEMENTS(doors[_i].says); i++)
                        ck_assert_msg(strstr(why.text, doors[_i].says[i]) != NULL,
                                      "\"%s\" is not in: %s", doors[_i].says[i], why.text);
                after = read_all(db, &len);
                ck_assert_uint_eq(len, db_len);
                ck_assert_int_eq(memcmp(after, db_before, len), 0);
                free(TAKE(after));
                if (!key_before) {
                        ck_assert_int_eq(access(key, F_OK), -1); /* none was made */
                        continue;
                }
                after = read_all(key, &len);
                ck_assert_uint_eq(len, key_len);
                ck_assert_int_eq(memcmp(after, key_before, len), 0);
        }
}
END_TEST

START_TEST(bad_directories)
{
        char file[128];

        (void) snprintf(file, sizeof(file), "%s/file", top);
        write_all(file, "x", 1, 0600);
        (void) snprintf(state, sizeof(state), "%s/file", top);
        ck_assert_int_eq(try_open(), -ENOTDIR);
        (void) snprintf(state, sizeof(state), "%s/file/below", top);
        ck_assert_int_eq(try_open(), -ENOTDIR);
        ck_assert_ptr_nonnull(strstr(why.text, state));
        state[0] = '\0';
        ck_assert_int_eq(try_open(), -ENOENT);
}
END_TEST

/* --- first starts that were cut short ------------------------------------------------------------ */

START_TEST(first_start_again)
{
        AUTO(auto_freep) char *first = NULL;
        AUTO(auto_freep) char *again = NULL;
        char leftover[176];
        size_t len;

        (void) snprintf(leftover, sizeof(leftover), "%s.new", key);
        open_store();
        first = read_all(key, &len);
        ck_assert_uint_eq(len, 32);
        store = store_sqlite_close(store);

        /* the key was made, the database was not */
        ck_assert_int_eq(unlink(db), 0);
        write_all(db, "", 0, 0600);
        open_store();
        again = read_all(key, &len);
        ck_assert_int_eq(memcmp(first, again, 32), 0);
        store = store_sqlite_close(store);

        /* half a key under the temporary name; and a key that is gone but had sealed nothing */
        write_all(leftover, "half", 4, 0600);
        ck_assert_int_eq(unlink(key), 0);
        open_store();
        ck_assert_int_eq(access(leftover, F_OK), -1);
        free(TAKE(again));
        again = read_all(key, &len);
        ck_assert_uint_eq(len, 32);
        ck_assert_int_ne(memcmp(first, again, 32), 0);
        ck_assert_int_eq(put_row("site", "", "x"), 0);
        reopen_store();
        expect_row("site", "", "x");
}
END_TEST

/* --- failing disks ------------------------------------------------------------------------------- */

static const struct {
        int disk, told;
} write_errors[] = {
        { EIO, -EIO },     { ENOSPC, -ENOSPC }, { EDQUOT, -EDQUOT },
        { EROFS, -EROFS }, { EFBIG, -EFBIG },
};

START_TEST(write_fails)
{
        open_store();
        ck_assert_int_eq(put_row("site", "u", "before"), 0);
        disk_fail_writes(write_errors[_i].disk);
        ck_assert_int_eq(put_row("site", "u", "during"), write_errors[_i].told);
        ck_assert_int_eq(put_row("site", "v", "during"), write_errors[_i].told);
        ck_assert_int_eq(mark_row("site", "u"), write_errors[_i].told);
        expect_row("site", "u", "before");
        expect_no_row("site", "v");
        ck_assert(!is_in_doubt("site", "u"));
        disk_fail_writes(0);
        ck_assert_int_eq(put_row("site", "u", "after"), 0);
        reopen_store();
        expect_row("site", "u", "after");
        expect_no_row("site", "v");
}
END_TEST

/* One failed sync is tried again; what stays unsynced is not reported as durable. */
START_TEST(sync_fails)
{
        open_store();
        ck_assert_int_eq(put_row("site", "u", "before"), 0);
        atomic_store(&syncs_to_fail, 1);
        ck_assert_int_eq(put_row("site", "u", "second try"), 0);
        ck_assert_int_eq(atomic_load(&syncs_to_fail), 0);
        expect_row("site", "u", "second try");
        atomic_store(&syncs_to_fail, 1000);
        ck_assert_int_eq(put_row("site", "u", "during"), -EIO);
        expect_row("site", "u", "second try");
        atomic_store(&syncs_to_fail, 0);
        ck_assert_int_eq(put_row("site", "u", "after"), 0);
        reopen_store();
        expect_row("site", "u", "after");
}
END_TEST

/* A change that cannot be written takes none of its batch with it. */
START_TEST(neighbours_of_a_failure)
{
        static int results[9], marked[2] = { 1, 1 };
        sqlite3 *other;

        open_store();
        outside("CREATE TRIGGER poison BEFORE INSERT ON record WHEN new.subject = 'u-4'"
                " BEGIN SELECT raise(ABORT, 'poison'); END");
        other = outside_open();
        outside_run(other, "BEGIN IMMEDIATE"); /* so that they gather */
        for (int i = 0; i < (int) N_ELEMENTS(results); i++) {
                char subject[8];

                results[i] = 1;
                (void) snprintf(subject, sizeof(subject), "u-%d", i);
                ck_assert_int_eq(give(store, "site", subject, "x", note_result, &results[i]), 0);
        }
        (void) store->mark(store->self, "site", "u-3", note_result, &marked[0]);
        (void) store->mark(store->self, "site", "u-4", note_result, &marked[1]);
        outside_run(other, "ROLLBACK");
        (void) sqlite3_close(other);
        settle();
        for (int i = 0; i < (int) N_ELEMENTS(results); i++)
                ck_assert_int_eq(results[i], i == 4 ? -EIO : 0);
        ck_assert_int_eq(marked[0], 0);
        ck_assert_int_eq(marked[1], -ENOENT);
        ck_assert(is_in_doubt("site", "u-3"));
        ck_assert_int_eq(count_rows(), (int) N_ELEMENTS(results) - 1);
        expect_no_row("site", "u-4");
}
END_TEST

START_TEST(full_disk)
{
        char text[8001];
        int stored = 0, r = 0;

        ck_assert_int_eq(mkdir(strcat(strcpy(state, top), "/full"), 0700), 0);
        if (!mount_tmpfs(state, "size=400k,mode=0700")) {
                skip("full_disk: no right to mount a tmpfs here");
                return;
        }
        (void) snprintf(key, sizeof(key), "%s/bearerd.key", state);
        open_store();
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        while (r == 0 && stored < 200) {
                char subject[16];

                (void) snprintf(subject, sizeof(subject), "user-%d", stored);
                r = put_row("site", subject, text);
                stored += r == 0;
        }
        ck_assert_int_eq(r, -ENOSPC);
        ck_assert_int_gt(stored, 0);
        ck_assert_int_eq(count_rows(), stored); /* what was reported is there, nothing else */
        for (int i = 0; i < stored; i++) {
                char subject[16];

                (void) snprintf(subject, sizeof(subject), "user-%d", i);
                expect_row("site", subject, text);
        }
        ck_assert_int_eq(mount("full", state, "tmpfs", MS_REMOUNT, "size=4m"), 0);
        ck_assert_int_eq(put_row("site", "room", text), 0); /* no restart is needed */
        reopen_store();
        ck_assert_int_eq(count_rows(), stored + 1);
        store = store_sqlite_close(store);
        ck_assert_int_eq(umount2(state, MNT_DETACH), 0);
}
END_TEST

/* --- disks that refuse at the door ------------------------------------------------------------- */

static void live_in(const char *dir) {
        (void) snprintf(state, sizeof(state), "%s", dir);
        (void) snprintf(key, sizeof(key), "%s/bearerd.key", dir);
        (void) snprintf(db, sizeof(db), "%s/bearerd.db", dir);
}

START_TEST(read_only_disk)
{
        char disk[80], dir[100];

        (void) snprintf(disk, sizeof(disk), "%s/disk", top);
        (void) snprintf(dir, sizeof(dir), "%s/state", disk);
        ck_assert_int_eq(mkdir(disk, 0700), 0);
        if (!mount_tmpfs(disk, "mode=0700")) {
                skip("read_only_disk: no right to mount a tmpfs here");
                return;
        }
        live_in(dir);
        open_store();
        ck_assert_int_eq(put_row("site", "", "x"), 0);
        store = store_sqlite_close(store);
        ck_assert_int_eq(mount("rig", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
        ck_assert_int_eq(try_open(), -EROFS);
        says(state);
        says("make it writable");
        (void) strcat(dir, "/new/one");
        live_in(dir);
        ck_assert_int_eq(try_open(), -EROFS);
        says("cannot make the directory");
        says("make it writable");
        ck_assert_int_eq(mount("rig", disk, "tmpfs", MS_REMOUNT, NULL), 0);
        dir[strlen(dir) - strlen("/new/one")] = '\0';
        live_in(dir);
        open_store();
        expect_row("site", "", "x");
        store = store_sqlite_close(store);
        ck_assert_int_eq(umount2(disk, MNT_DETACH), 0);
}
END_TEST

/* First starts with so little room that each of their steps in turn is the one that finds none. */
START_TEST(full_disk_at_start)
{
        static const char page[4096];
        char disk[80], dir[100], ballast[100];
        int started = 0, refused = 0;

        (void) snprintf(disk, sizeof(disk), "%s/disk", top);
        (void) snprintf(dir, sizeof(dir), "%s/state", disk);
        (void) snprintf(ballast, sizeof(ballast), "%s/ballast", disk);
        ck_assert_int_eq(mkdir(disk, 0700), 0);
        if (!mount_tmpfs(disk, "size=160k,mode=0700")) {
                skip("full_disk_at_start: no right to mount a tmpfs here");
                return;
        }
        live_in(dir);
        for (off_t room = 0; room < 40; room++) {
                int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), r;

                while (write(fd, page, sizeof(page)) > 0) /* the last one may be short of a page */
                        ;
                ck_assert_int_eq(ftruncate(fd, lseek(fd, 0, SEEK_END) - room * 4096), 0);
                (void) close(fd);
                r = try_open();
                ck_assert_msg(r == 0 || r == -ENOSPC, "%d: %s", r, why.text);
                if (r == 0)
                        started++;
                else
                        refused++, says("make room");
                ck_assert_int_eq(unlink(ballast), 0);
                if (r != 0)
                        open_store(); /* what the refusal left is no obstacle */
                ck_assert_int_eq(put_row("site", "", "x"), 0);
                store = store_sqlite_close(store);
                remove_tree(state);
        }
        ck_assert_int_ge(started, 5);
        ck_assert_int_ge(refused, 5);
        ck_assert_int_eq(umount2(disk, MNT_DETACH), 0);
}
END_TEST

START_TEST(failing_disk_at_start)
{
        disk_fail_writes(EIO);
        ck_assert_int_eq(try_open(), -EIO);
        says("look at the disk");
        disk_fail_writes(0);
        atomic_store(&syncs_to_fail, 1000);
        ck_assert_int_eq(try_open(), -EIO);
        says("look at the disk");
        atomic_store(&syncs_to_fail, 0);
        open_store();
        ck_assert_int_eq(put_row("site", "", "x"), 0);
}
END_TEST

/* --- kill -9 ------------------------------------------------------------------------------------- */

#define SUBJECTS  25
#define IN_FLIGHT 8

static int report_fd;
static uint32_t next_put;

static void crash_put(void);

static void crash_report(void *user, int r) {
        uint32_t n = (uint32_t) (uintptr_t) user;

        if (r != 0 || write(report_fd, &n, sizeof(n)) != sizeof(n))
                _exit(EXIT_FAILURE);
        crash_put();
}

static void crash_put(void) {
        char subject[16], text[32];
        uint32_t n = next_put++;

        (void) snprintf(subject, sizeof(subject), "user-%u", n % SUBJECTS);
        (void) snprintf(text, sizeof(text), "LBEP-%u", n);
        if (give(store, "site", subject, text, crash_report, (void *) (uintptr_t) n) < 0)
                _exit(EXIT_FAILURE);
}

/* Writes until it is killed, and reports each put whose done() was called. */
static pid_t crash_start(uint32_t first, int *ret_fd) {
        int fds[2];
        pid_t pid;

        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                (void) close(fds[0]);
                report_fd = fds[1];
                next_put = first;
                event = NULL; /* the parent's is of no use here */
                if (sd_event_new(&event) < 0 ||
                    store_sqlite_open(state, key, event, &why, &store) < 0)
                        _exit(EXIT_FAILURE);
                for (int i = 0; i < IN_FLIGHT; i++)
                        crash_put();
                (void) sd_event_loop(event);
                _exit(EXIT_FAILURE);
        }
        (void) close(fds[1]);
        *ret_fd = fds[0];
        return pid;
}

static const int kill_after[] = { 1, 2, 3, 7, 20, 100, 300, 1000, 5, 50 }; /* reports */

/* Every put that was reported is there, whole; one that was under way may be there, too. Nothing
 * else is. */
START_TEST(killed)
{
        uint32_t durable[SUBJECTS] = { 0 }, n, last = 0;

        for (size_t round = 0; round < N_ELEMENTS(kill_after); round++) {
                int fd, status;
                pid_t pid = crash_start(last + SUBJECTS, &fd);

                for (int i = 0; read(fd, &n, sizeof(n)) == sizeof(n); i++) {
                        if (i + 1 == kill_after[round])
                                ck_assert_int_eq(kill(pid, SIGKILL), 0);
                        durable[n % SUBJECTS] = n;
                        last = n;
                }
                (void) close(fd);
                ck_assert_int_eq(waitpid(pid, &status, 0), pid);
                ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

                open_store();
                for (uint32_t s = 0; s < SUBJECTS; s++) {
                        struct record record;
                        char subject[16];
                        uint32_t found;
                        int r;

                        (void) snprintf(subject, sizeof(subject), "user-%u", s);
                        r = get_row("site", subject, &record);
                        if (r == STORE_E_ABSENT && durable[s] == 0)
                                continue;
                        ck_assert_msg(r == 0, "%s: %d %s", subject, r, why.text);
                        ck_assert_int_eq(sscanf(secret_text(record.secret), "LBEP-%u", &found), 1);
                        ck_assert_uint_eq(found % SUBJECTS, s);
                        ck_assert_uint_ge(found, durable[s]);
                        ck_assert_uint_le(found, last + IN_FLIGHT);
                        durable[s] = found;
                        record.secret = secret_unref(record.secret);
                }
                store = store_sqlite_close(store);
        }
}
END_TEST

/* --- the fake keeps the same contract ------------------------------------------------------------ */

START_TEST(fake)
{
        AUTO(fake_store_freep) struct fake_store *f = fake_store_new();
        int results[3] = { 1, 1, 1 };

        store = fake_store_seam(f);
        ck_assert_int_eq(give(store, "site", "a", "1", note_result, &results[0]), 0);
        ck_assert_int_eq(give(store, "site", "b", "1", note_result, &results[1]), 0);
        ck_assert_int_eq(give(store, "site", "a", "2", note_result, &results[2]), 0);
        expect_no_row("site", "a"); /* not durable yet */
        ck_assert_uint_eq(fake_store_waiting(f), 3);

        ck_assert_uint_eq(fake_store_complete(f, 1), 1);
        ck_assert_int_eq(results[0], 0);
        ck_assert_int_eq(results[1], 1);
        expect_row("site", "a", "1");

        fake_store_fail(f, 1, -ENOSPC);
        ck_assert_uint_eq(fake_store_complete_all(f), 2);
        ck_assert_int_eq(results[1], -ENOSPC);
        ck_assert_int_eq(results[2], 0);
        expect_no_row("site", "b");
        expect_row("site", "a", "2");
        ck_assert_int_eq(count_rows(), 1);
        ck_assert_uint_eq(fake_store_rows(f), 1);

        ck_assert_int_eq(store->remove(store->self, "site", "a", note_result, &results[0]), 0);
        fake_store_crash(f);
        ck_assert_uint_eq(fake_store_complete_all(f), 0);
        expect_row("site", "a", "2");
        ck_assert_int_eq(store->remove(store->self, "site", "a", NULL, NULL), 0);
        ck_assert_uint_eq(fake_store_complete(f, 9), 1);
        expect_no_row("site", "a");

        fake_store_refuse_next(f, -ENOMEM);
        ck_assert_int_eq(give(store, "site", "a", "3", note_result, &results[0]), -ENOMEM);
        ck_assert_int_eq(give(store, "site", "a", "3", note_result, &results[0]), 0);
        ck_assert_uint_eq(fake_store_complete_all(f), 1);
        ck_assert_int_eq(store->mark(store->self, "site", "a", note_result, &results[0]), 0);
        ck_assert_int_eq(store->mark(store->self, "site", "b", note_result, &results[1]), 0);
        ck_assert(!is_in_doubt("site", "a"));
        ck_assert_uint_eq(fake_store_complete_all(f), 2);
        ck_assert_int_eq(results[0], 0);
        ck_assert_int_eq(results[1], -ENOENT);
        ck_assert(is_in_doubt("site", "a"));
        ck_assert_uint_eq(fake_store_rows(f), 1);
        fake_store_fail(f, 1, -EIO);
        ck_assert_int_eq(give(store, "site", "a", "4", note_result, &results[0]), 0);
        ck_assert_uint_eq(fake_store_complete_all(f), 1);
        ck_assert(is_in_doubt("site", "a"));
        ck_assert_int_eq(give(store, "site", "a", "4", note_result, &results[0]), 0);
        ck_assert_uint_eq(fake_store_complete_all(f), 1);
        ck_assert(!is_in_doubt("site", "a"));
        fake_store_damage(f, "site", "a");
        ck_assert_int_eq(get_row("site", "a", &(struct record){ 0 }), -EBADMSG);
        ck_assert_str_ne(why.text, "");
        store = NULL;
}
END_TEST

static void add(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_set_timeout(tc, 60);
        tcase_add_test(tc, rows_survive);
        tcase_add_test(tc, replace_and_remove);
        tcase_add_test(tc, walk_ends_early);
        tcase_add_test(tc, too_long);
        tcase_add_test(tc, marks);
        tcase_add_test(tc, marks_in_order);
        tcase_add_test(tc, mark_after_sync);
        tcase_add_test(tc, left_log_is_synced);
        tcase_add_test(tc, done_in_order);
        tcase_add_test(tc, done_after_sync);
        tcase_add_test(tc, many_share_a_commit);
        tcase_add_test(tc, done_may_put);
        tcase_add_test(tc, close_writes_all);
        tcase_add_test(tc, log_is_folded_in);
        tcase_add_test(tc, pages_of_sqlite);
        tcase_add_test(tc, pages_of_fake);
        tcase_add_test(tc, no_scans);
        tcase_add_test(tc, version_1);
        tcase_add_loop_test(tc, version_1_refused, 0, N_ELEMENTS(unmigrated));
        tcase_add_test(tc, modes);
        tcase_add_test(tc, secrets_are_sealed);
        tcase_add_loop_test(tc, tampered_row, 0, N_ELEMENTS(tampers));
        tcase_add_test(tc, second_daemon);
        tcase_add_loop_test(tc, refused_unchanged, 0, N_ELEMENTS(doors));
        tcase_add_test(tc, bad_directories);
        tcase_add_test(tc, first_start_again);
        tcase_add_loop_test(tc, write_fails, 0, N_ELEMENTS(write_errors));
        tcase_add_test(tc, sync_fails);
        tcase_add_test(tc, neighbours_of_a_failure);
        tcase_add_test(tc, full_disk);
        tcase_add_test(tc, read_only_disk);
        tcase_add_test(tc, full_disk_at_start);
        tcase_add_test(tc, failing_disk_at_start);
        tcase_add_test(tc, killed);
        tcase_add_test(tc, fake);
}

CHECK_MAIN("store", add)
