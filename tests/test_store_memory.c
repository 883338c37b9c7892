/*
 * Memory that runs out at each allocation in turn, once or for good: the store refuses with a
 * sentence, loses nothing that it had or has reported, and leaks nothing (run it under ASan).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "failing_malloc.h"
#include "store/rekey.h"
#include "store/sqlite.h"
#include "store_rig.h"

/* libcrypto does not say what it lacks. */
static bool is_memory(int r) {
        return r == 0 || r == -ENOMEM || r == -EIO;
}

/* --- at start: nothing in here may ask Check, which allocates, too ------------------------------ */

static int open_and_close(void) {
        int r = store_sqlite_open(state, key, event, &why, &store);

        if (r == 0)
                store = store_sqlite_close(store);
        return r;
}

static int rekey(void) {
        size_t rows;
        int r = store_sqlite_rekey(state, key, NULL, &why, &rows);

        return r == 0 && rows != 2 ? -EPROTO : r;
}

static const struct {
        int (*act)(void);
        bool for_good;
} acts[] = {
        { open_and_close, false },
        { open_and_close, true },
        { rekey, false },
        { rekey, true },
};

START_TEST(at_start)
{
        bool reached = true;

        open_store();
        ck_assert_int_eq(put_row("site", "old", "LBEP-old"), 0);
        ck_assert_int_eq(put_row("site", "other", "LBEP-other"), 0);
        store = store_sqlite_close(store);
        for (size_t n = 1; reached; n++) {
                int r;

                why.text[0] = '\0';
                failing_malloc_at(n, acts[_i].for_good);
                r = acts[_i].act();
                reached = failing_malloc_reached();
                failing_malloc_at(0, false);
                ck_assert_msg(is_memory(r), "%zu: %d %s", n, r, why.text);
                ck_assert_msg(r == 0 || *why.text, "%zu: %d without a sentence", n, r);
                open_store();
                expect_row("site", "old", "LBEP-old");
                expect_row("site", "other", "LBEP-other");
                store = store_sqlite_close(store);
                ck_assert_uint_lt(n, 100000);
        }
}
END_TEST

/* --- in use ----------------------------------------------------------------------------------- */

enum {
        PUT,
        MARK,
        REMOVE,
        N_CHANGES
};

static struct {
        struct record put, got;
        int given[N_CHANGES], done[N_CHANGES]; /* done: 1 when it was not called */
        int get, each, page;
        size_t seen_each, seen_page;
} use;

static int see_row(void *user, const struct record *metadata) {
        (void) metadata;
        ++*(size_t *) user;
        return 0;
}

/* Nothing in here may ask Check. */
static void use_store(void) {
        void *self = store->self;

        use.given[PUT] = store->put(self, &use.put, note_result, &use.done[PUT]);
        use.given[MARK] = store->mark(self, "site", "old", note_result, &use.done[MARK]);
        use.given[REMOVE] = store->remove(self, "site", "gone", note_result, &use.done[REMOVE]);
        use.get = store->get(self, "site", "old", &why, &use.got);
        use.each = store->each(self, see_row, &use.seen_each, &why);
        use.page = store->page(self, "site", NULL, 2, see_row, &use.seen_page, &why);
        while (store_sqlite_pending(store) > 0)
                if (sd_event_run(event, UINT64_MAX) < 0)
                        abort();
}

static void expect_used(void) {
        struct record record;

        if (use.done[PUT] == 0)
                expect_row("site", "new", "LBEP-new");
        else
                expect_no_row("site", "new");
        if (use.done[REMOVE] == 0)
                expect_no_row("site", "gone");
        else
                expect_row("site", "gone", "x");
        expect_row("site", "other", "LBEP-other");
        ck_assert_int_eq(get_row("site", "old", &record), 0);
        ck_assert_int_eq(record.in_doubt, use.done[MARK] == 0);
        ck_assert_str_eq(secret_text(record.secret), "LBEP-old");
        record.secret = secret_unref(record.secret);
}

static void check_results(void) {
        for (int i = 0; i < N_CHANGES; i++) {
                ck_assert(is_memory(use.given[i]));
                ck_assert(use.given[i] == 0 ? is_memory(use.done[i]) : use.done[i] == 1);
        }
        ck_assert_msg(is_memory(use.get), "%s", why.text);
        ck_assert_msg(is_memory(use.each), "%s", why.text);
        ck_assert_msg(is_memory(use.page), "%s", why.text);
        /* "gone" may have gone already, and "new" never have come */
        ck_assert(use.each < 0 || use.seen_each >= 2);
        ck_assert(use.page < 0 || use.seen_page == 2);
        if (use.get < 0)
                return;
        ck_assert_str_eq(secret_text(use.got.secret), "LBEP-old");
        use.got.secret = secret_unref(use.got.secret);
}

START_TEST(in_use)
{
        bool reached = true;

        for (size_t n = 1; reached; n++) {
                open_store();
                (void) store->remove(store->self, "site", "new", NULL, NULL);
                ck_assert_int_eq(put_row("site", "other", "LBEP-other"), 0);
                ck_assert_int_eq(put_row("site", "old", "LBEP-old"), 0);
                ck_assert_int_eq(put_row("site", "gone", "x"), 0);
                memset(&use, 0, sizeof(use));
                use.put = (struct record){ .credential = "site", .subject = "new" };
                use.put.secret = secret_new("LBEP-new", 8);
                for (int i = 0; i < N_CHANGES; i++)
                        use.done[i] = 1;
                failing_malloc_at(n, _i);
                use_store();
                reached = failing_malloc_reached();
                failing_malloc_at(0, false);
                use.put.secret = secret_unref(use.put.secret);
                check_results();
                expect_used();
                reopen_store();
                expect_used();
                store = store_sqlite_close(store);
                ck_assert_uint_lt(n, 100000);
        }
}
END_TEST

static void start(void) {
        failing_malloc_adopt_libraries();
        set_up();
        open_store(); /* what the libraries allocate once is not asked for again */
        store = store_sqlite_close(store);
}

static void add(TCase *tc) {
        tcase_add_checked_fixture(tc, start, tear_down);
        tcase_set_timeout(tc, 300);
        tcase_add_loop_test(tc, at_start, 0, N_ELEMENTS(acts));
        tcase_add_loop_test(tc, in_use, false, true + 1);
}

CHECK_MAIN("store_memory", add)
