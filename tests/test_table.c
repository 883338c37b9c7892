#include "base/table.h"

#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "fake_clock.h"

struct item {
        struct table_node node;
        char name[16];
        unsigned seen;
};

static struct item items[10000];

static void fill(struct table *t) {
        struct fake_random random;

        fake_random_init(&random, 7);
        ck_assert_int_eq(table_init(t, &random.seam), 0);
        for (size_t i = 0; i < N_ELEMENTS(items); i++) {
                (void) snprintf(items[i].name, sizeof(items[i].name), "item%zu", i);
                items[i].node.key = items[i].name;
                items[i].seen = 0;
                table_insert(t, &items[i].node);
        }
}

START_TEST(finds_what_is_in_it)
{
        struct table t;

        fill(&t);
        ck_assert_uint_eq(t.n, N_ELEMENTS(items));
        for (size_t i = 0; i < N_ELEMENTS(items); i++)
                ck_assert_ptr_eq(table_find(&t, items[i].name), &items[i].node);
        ck_assert_ptr_null(table_find(&t, "item10000"));
        ck_assert_ptr_null(table_find(&t, ""));
        table_done(&t);
}
END_TEST

START_TEST(forgets_what_is_removed)
{
        struct table t;

        fill(&t);
        for (size_t i = 0; i < N_ELEMENTS(items); i += 2)
                table_remove(&t, &items[i].node);
        for (size_t i = 0; i < N_ELEMENTS(items); i++)
                ck_assert_ptr_eq(table_find(&t, items[i].name), i % 2 ? &items[i].node : NULL);
        ck_assert_uint_eq(t.n, N_ELEMENTS(items) / 2);
        table_done(&t);
}
END_TEST

START_TEST(walks_over_each_once)
{
        struct table t;

        fill(&t);
        for (struct table_node *n = table_next(&t, NULL); n; n = table_next(&t, n))
                table_entry(n, struct item, node)->seen++;
        for (size_t i = 0; i < N_ELEMENTS(items); i++)
                ck_assert_uint_eq(items[i].seen, 1);
        table_done(&t);
}
END_TEST

START_TEST(churn_leaves_nothing_behind)
{
        struct fake_random random;
        struct table t;
        size_t buckets;

        fake_random_init(&random, 7);
        ck_assert_int_eq(table_init(&t, &random.seam), 0);
        buckets = t.n_buckets;
        for (size_t i = 0; i < 100000; i++) {
                struct item *item = &items[i % 8];

                if (i >= 8)
                        table_remove(&t, &item->node);
                (void) snprintf(item->name, sizeof(item->name), "churn%zu", i);
                item->node.key = item->name;
                table_insert(&t, &item->node);
        }
        ck_assert_uint_eq(t.n, 8);
        ck_assert_uint_eq(t.n_buckets, buckets);
        table_done(&t);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, finds_what_is_in_it);
        tcase_add_test(tc, forgets_what_is_removed);
        tcase_add_test(tc, walks_over_each_once);
        tcase_add_test(tc, churn_leaves_nothing_behind);
}

CHECK_MAIN("table", add)
