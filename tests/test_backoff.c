#include "sched/backoff.h"

#include "check_main.h"
#include "fake_clock.h"

static const struct {
        unsigned failures;
        int64_t base_us, retry_after_us;
        int64_t at_least_us, at_most_us;
} delays[] = {
        { 1, US_PER_S, -1, 0, US_PER_S },
        { 2, US_PER_S, -1, 0, 2 * US_PER_S },
        { 5, US_PER_S, -1, 0, 16 * US_PER_S },
        { 10, US_PER_S, -1, 0, BACKOFF_MAX_US },
        { UINT32_MAX, BACKOFF_STUBBORN_US, -1, 0, BACKOFF_MAX_US },
        { 0, US_PER_S, -1, 0, US_PER_S },
        { 1, US_PER_S, 0, 0, US_PER_S / 4 },
        { 1, US_PER_S, 7 * US_PER_S, 7 * US_PER_S, 7 * US_PER_S + US_PER_S / 4 },
        { 1, US_PER_S, INT64_MAX, BACKOFF_RETRY_AFTER_US, BACKOFF_RETRY_AFTER_US + US_PER_S / 4 },
};

START_TEST(delay)
{
        struct fake_random random;
        int64_t least = INT64_MAX, most = 0;

        fake_random_init(&random, (uint64_t) _i);
        for (unsigned i = 0; i < 1000; i++) {
                int64_t us = backoff_delay(delays[_i].failures, delays[_i].base_us,
                                           delays[_i].retry_after_us, &random.seam);

                ck_assert_int_ge(us, delays[_i].at_least_us);
                ck_assert_int_le(us, delays[_i].at_most_us);
                least = us < least ? us : least;
                most = us > most ? us : most;
        }
        ck_assert_int_gt(most - least,
                         (delays[_i].at_most_us - delays[_i].at_least_us) / 2); /* full jitter */
}
END_TEST

static const struct {
        int64_t lifetime_us, at_least_us, at_most_us;
} renewals[] = {
        { 900 * US_PER_S, 675 * US_PER_S, 720 * US_PER_S },       /* 80 % */
        { 86399 * US_PER_S, 64799 * US_PER_S, 69120 * US_PER_S }, /* 80 % */
        { 200 * US_PER_S, 130 * US_PER_S, 140 * US_PER_S },       /* a minute before the end */
        { 100 * US_PER_S, 45 * US_PER_S, 50 * US_PER_S }, /* but not before half of it is over */
        { 4 * US_PER_S, 1800 * US_PER_MS, 2 * US_PER_S },         { 1, 0, 1 },
};

START_TEST(renewal)
{
        struct fake_random random;

        fake_random_init(&random, (uint64_t) _i);
        for (unsigned i = 0; i < 1000; i++) {
                int64_t us = backoff_renewal(renewals[_i].lifetime_us, &random.seam);

                ck_assert_int_ge(us, renewals[_i].at_least_us);
                ck_assert_int_le(us, renewals[_i].at_most_us);
        }
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, delay, 0, N_ELEMENTS(delays));
        tcase_add_loop_test(tc, renewal, 0, N_ELEMENTS(renewals));
}

CHECK_MAIN("backoff", add)
