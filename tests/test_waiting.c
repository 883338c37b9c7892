#include "broker/waiting.h"

#include "check_main.h"
#include "fake_clock.h"

#define MAX   8
#define SHARE 3

static struct waiting waiting;

static void begin(void) {
        static struct fake_random random;

        fake_random_init(&random, 7);
        ck_assert_int_eq(waiting_init(&waiting, MAX, &random.seam), 0);
}

static void end(void) {
        ck_assert_uint_eq(waiting.n, 0);
        ck_assert_uint_eq(waiting.users.n, 0);
        waiting_done(&waiting);
}

static struct waiting_user *come(uint32_t uid, size_t share) {
        struct waiting_user *place = NULL;

        ck_assert_int_eq(waiting_enter(&waiting, uid, share, &place), 0);
        ck_assert_ptr_nonnull(place);
        return place;
}

static int refused(uint32_t uid, size_t share) {
        struct waiting_user *place = NULL;
        int r = waiting_enter(&waiting, uid, share, &place);

        ck_assert_ptr_null(place);
        return r;
}

START_TEST(a_user_has_a_share)
{
        struct waiting_user *mine[SHARE], *other;

        begin();
        for (size_t i = 0; i < SHARE; i++)
                mine[i] = come(1000, SHARE);
        ck_assert_int_eq(refused(1000, SHARE), WAITING_E_USER);
        other = come(UINT32_MAX - 1, SHARE);
        waiting_leave(&waiting, mine[0]);
        mine[0] = come(1000, SHARE);
        ck_assert_int_eq(refused(1000, SHARE), WAITING_E_USER);
        ck_assert_uint_eq(waiting.n, SHARE + 1);
        for (size_t i = 0; i < SHARE; i++)
                waiting_leave(&waiting, mine[i]);
        ck_assert_uint_eq(waiting.users.n, 1);
        waiting_leave(&waiting, other);
        end();
}
END_TEST

START_TEST(root_has_no_more)
{
        struct waiting_user *place;

        begin();
        place = come(0, 1);
        ck_assert_int_eq(refused(0, 1), WAITING_E_USER);
        waiting_leave(&waiting, place);
        end();
}
END_TEST

START_TEST(nobody_has_more_than_half)
{
        struct waiting_user *mine[MAX / 2], *other;

        begin();
        for (size_t i = 0; i < MAX / 2; i++)
                mine[i] = come(1000, MAX);
        ck_assert_int_eq(refused(1000, MAX), WAITING_E_USER);
        ck_assert_uint_eq(waiting_share(&waiting, MAX), MAX / 2);
        other = come(1001, MAX);
        for (size_t i = 0; i < MAX / 2; i++)
                waiting_leave(&waiting, mine[i]);
        waiting_leave(&waiting, other);
        end();
}
END_TEST

START_TEST(there_is_an_end_to_all)
{
        struct waiting_user *places[MAX];

        begin();
        for (uint32_t i = 0; i < MAX; i++)
                places[i] = come(1000 + i, SHARE);
        ck_assert_int_eq(refused(1, SHARE), WAITING_E_ALL);
        ck_assert_uint_eq(waiting.users.n, MAX); /* who was refused has left nothing behind */
        for (size_t i = 0; i < MAX; i++)
                waiting_leave(&waiting, places[i]);
        end();
}
END_TEST

START_TEST(a_smaller_share_is_for_those_to_come)
{
        struct waiting_user *mine[SHARE];

        begin();
        for (size_t i = 0; i < SHARE; i++)
                mine[i] = come(1000, SHARE);
        waiting_leave(&waiting, mine[0]);
        ck_assert_int_eq(refused(1000, 2), WAITING_E_USER);
        waiting_leave(&waiting, mine[1]);
        mine[0] = come(1000, 2);
        waiting_leave(&waiting, mine[0]);
        waiting_leave(&waiting, mine[2]);
        end();
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, a_user_has_a_share);
        tcase_add_test(tc, root_has_no_more);
        tcase_add_test(tc, nobody_has_more_than_half);
        tcase_add_test(tc, there_is_an_end_to_all);
        tcase_add_test(tc, a_smaller_share_is_for_those_to_come);
}

CHECK_MAIN("waiting", add)
