#include "api/crowd.h"

#include <string.h>

#include "check_main.h"
#include "fake_clock.h"

#define MAX     20
#define SHARE   6
#define REQUEST 30
#define IDLE    600

static struct crowd crowd;
static struct guest guests[200], *leaver;
static size_t n_guests;

static void begin(void) {
        static struct fake_random random;

        fake_random_init(&random, 7);
        memset(guests, 0, sizeof(guests));
        n_guests = 0;
        ck_assert_int_eq(crowd_init(&crowd, MAX, SHARE, REQUEST, IDLE, &random.seam), 0);
}

static void end(void) {
        for (size_t i = 0; i < N_ELEMENTS(guests); i++)
                crowd_leave(&crowd, &guests[i]);
        ck_assert_uint_eq(crowd.n, 0);
        ck_assert_uint_eq(crowd.users.n, 0);
        crowd_done(&crowd);
}

static int come(uint32_t uid, int64_t now) {
        leaver = NULL;
        return crowd_enter(&crowd, &guests[n_guests++], uid, (mono_t){ now }, &leaver);
}

static void move(size_t i, enum guest_phase phase, int64_t now) {
        crowd_move(&crowd, &guests[i], phase, (mono_t){ now });
}

START_TEST(the_oldest_that_rests_gives_way)
{
        for (size_t i = 0; i < SHARE; i++) {
                ck_assert_int_eq(come(1, (int64_t) i), 0);
                ck_assert_ptr_null(leaver);
        }
        move(0, GUEST_ACTIVE, 10);
        move(1, GUEST_WAITING, 10);
        move(2, GUEST_ACTIVE, 10);
        move(2, GUEST_IDLE, 11); /* now the youngest of those that rest */
        ck_assert_int_eq(come(1, 12), 0);
        ck_assert_ptr_eq(leaver, &guests[3]);
        ck_assert_int_eq(leaver->phase, GUEST_GONE);
        ck_assert_int_eq(come(1, 12), 0);
        ck_assert_ptr_eq(leaver, &guests[4]);
        ck_assert_int_eq(come(2, 12), 0); /* has a share of its own */
        ck_assert_ptr_null(leaver);
        ck_assert_uint_eq(guest_peers(&guests[0]), SHARE);
}
END_TEST

START_TEST(who_is_busy_does_not)
{
        for (size_t i = 0; i < SHARE; i++) {
                ck_assert_int_eq(come(1, 0), 0);
                move(i, i % 2 ? GUEST_ACTIVE : GUEST_WAITING, 1);
        }
        for (size_t i = 0; i < CROWD_SURPLUS_MAX; i++) {
                ck_assert_int_eq(come(1, 2), CROWD_E_SURPLUS);
                ck_assert_ptr_null(leaver);
        }
        ck_assert_int_eq(come(1, 2), CROWD_E_REFUSED);
        ck_assert_ptr_null(guests[n_guests - 1].user);
        move(SHARE, GUEST_ACTIVE, 3); /* it stays what it is */
        ck_assert_int_eq(guests[SHARE].phase, GUEST_SURPLUS);
        crowd_leave(&crowd, &guests[SHARE]);
        ck_assert_int_eq(come(1, 2), CROWD_E_SURPLUS);
        crowd_leave(&crowd, &guests[0]);
        ck_assert_int_eq(come(1, 2), 0);
}
END_TEST

START_TEST(all_are_full_when_the_house_is)
{
        for (uint32_t i = 0; i < MAX; i++)
                ck_assert_int_eq(come(i / 5, i), 0);
        for (size_t i = 0; i < MAX; i++)
                move(i, GUEST_ACTIVE, 50);
        ck_assert_int_eq(come(99, 51), CROWD_E_SURPLUS);
        move(7, GUEST_IDLE, 52);
        move(3, GUEST_IDLE, 53);
        ck_assert_int_eq(come(99, 54), 0);
        ck_assert_ptr_eq(leaver, &guests[7]);
        ck_assert_ptr_null(crowd_oldest(&crowd, (mono_t){ 53 }));
        ck_assert_ptr_eq(crowd_oldest(&crowd, MONO_NEVER), &guests[3]);
        ck_assert_ptr_eq(crowd_oldest(&crowd, MONO_NEVER),
                         &guests[n_guests - 1]); /* has only arrived */
        ck_assert_ptr_null(crowd_oldest(&crowd, MONO_NEVER));
}
END_TEST

START_TEST(nobody_is_slow_for_ever)
{
        enum guest_phase phase;

        ck_assert_int_eq(crowd_next(&crowd).us, INT64_MAX);
        ck_assert_int_eq(come(1, 5), 0);
        ck_assert_int_eq(crowd_next(&crowd).us, 5 + REQUEST);
        ck_assert_int_eq(come(1, 6), 0);
        ck_assert_int_eq(come(1, 7), 0);
        move(0, GUEST_ACTIVE, 10);
        move(1, GUEST_WAITING, 10);
        move(2, GUEST_IDLE, 10);
        ck_assert_int_eq(crowd_next(&crowd).us, 10 + REQUEST);
        ck_assert_ptr_null(crowd_overdue(&crowd, (mono_t){ 9 + REQUEST }, &phase));
        ck_assert_ptr_eq(crowd_overdue(&crowd, (mono_t){ 10 + REQUEST }, &phase), &guests[0]);
        ck_assert_int_eq(phase, GUEST_ACTIVE);
        ck_assert_int_eq(crowd_next(&crowd).us, 10 + IDLE);
        ck_assert_ptr_eq(crowd_overdue(&crowd, (mono_t){ 10 + IDLE }, &phase), &guests[2]);
        ck_assert_int_eq(phase, GUEST_IDLE);
        ck_assert_int_eq(crowd_next(&crowd).us, INT64_MAX); /* who waits has a deadline elsewhere */
        move(0, GUEST_IDLE, 99);                            /* what is gone does not come back */
        ck_assert_int_eq(guests[0].phase, GUEST_GONE);
        ck_assert_uint_eq(crowd.n, 1);
}
END_TEST

START_TEST(is_spoken_of_now_and_then)
{
        ck_assert_int_eq(come(1, 0), 0);
        ck_assert_int_eq(come(2, 0), 0);
        ck_assert(guest_is_news(&guests[0], (mono_t){ 5 }));
        ck_assert(!guest_is_news(&guests[0], (mono_t){ 4 + CROWD_TOLD_US }));
        ck_assert(guest_is_news(&guests[1], (mono_t){ 6 }));
        ck_assert(guest_is_news(&guests[0], (mono_t){ 5 + CROWD_TOLD_US }));
        ck_assert_uint_eq(guest_uid(&guests[1]), 2);
}
END_TEST

START_TEST(half_is_for_others)
{
        struct crowd small;

        ck_assert_int_eq(crowd_init(&small, 10, 4096, 1, 1, &random_system), 0);
        ck_assert_uint_eq(small.max_per_user, 5);
        crowd_done(&small);
}
END_TEST

START_TEST(holds_so_much_for_each)
{
        ck_assert_int_eq(come(1, 0), 0);
        ck_assert_int_eq(come(1, 0), 0);
        ck_assert_int_eq(come(2, 0), 0);
        ck_assert(crowd_hold(&guests[0], CROWD_HELD_MAX - 1));
        ck_assert(!crowd_hold(&guests[1], 2)); /* of the same user */
        ck_assert(crowd_hold(&guests[1], 1));
        ck_assert(!crowd_hold(&guests[0], 1));
        ck_assert(!crowd_hold(&guests[0], SIZE_MAX));
        ck_assert(crowd_hold(&guests[2], CROWD_HELD_MAX));
        crowd_release(&guests[0], CROWD_HELD_MAX - 1);
        ck_assert(crowd_hold(&guests[1], 2));
}
END_TEST

START_TEST(limits_may_change)
{
        enum guest_phase phase;

        for (size_t i = 0; i < SHARE; i++)
                ck_assert_int_eq(come(1, (int64_t) i), 0);
        crowd_limit(&crowd, 1, REQUEST / 2, IDLE);
        ck_assert_uint_eq(crowd.n, SHARE); /* nobody is sent away for it */
        ck_assert_int_eq(crowd_next(&crowd).us, REQUEST / 2);
        ck_assert_ptr_eq(crowd_overdue(&crowd, (mono_t){ REQUEST / 2 }, &phase), &guests[0]);
        for (size_t i = 1; i < SHARE; i++)
                move(i, GUEST_ACTIVE, 10);
        ck_assert_int_eq(come(1, 10), CROWD_E_SURPLUS);
        crowd_limit(&crowd, 4096, REQUEST, IDLE);
        ck_assert_uint_eq(crowd.max_per_user, MAX / 2);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_checked_fixture(tc, begin, end);
        tcase_add_test(tc, the_oldest_that_rests_gives_way);
        tcase_add_test(tc, who_is_busy_does_not);
        tcase_add_test(tc, all_are_full_when_the_house_is);
        tcase_add_test(tc, nobody_is_slow_for_ever);
        tcase_add_test(tc, is_spoken_of_now_and_then);
        tcase_add_test(tc, half_is_for_others);
        tcase_add_test(tc, limits_may_change);
        tcase_add_test(tc, holds_so_much_for_each);
}

CHECK_MAIN("crowd", add)
