#include "sched/breaker.h"

#include "check_main.h"
#include "fake_clock.h"
#include "sched/backoff.h"

static struct fake_random dice;

static bool failed(struct breaker *b, bool probe, int64_t retry_after_us, mono_t now) {
        return breaker_failed(b, probe, false, retry_after_us, now, &dice.seam);
}

START_TEST(opens_after_failures_in_a_row)
{
        mono_t now = { US_PER_H };
        struct breaker b = { 0 };

        for (unsigned i = 0; i < 10; i++) { /* never in a row */
                ck_assert(!failed(&b, false, -1, now));
                ck_assert(!failed(&b, false, -1, now));
                ck_assert(!breaker_answered(&b));
        }
        ck_assert(!failed(&b, false, -1, now));
        ck_assert(!failed(&b, false, -1, now));
        ck_assert(breaker_allows(&b, now));
        ck_assert(failed(&b, false, -1, now));
        ck_assert_int_eq(b.state, BREAKER_OPEN);
        ck_assert(!breaker_allows(&b, now));
        ck_assert(!failed(&b, false, -1, now)); /* was under way: nothing new */
        ck_assert(!breaker_allows(&b, (mono_t){ b.retry_at.us - 1 }));
        ck_assert(breaker_allows(&b, b.retry_at));
        ck_assert_int_eq(b.since.us, now.us);
}
END_TEST

START_TEST(one_probe_at_a_time)
{
        mono_t now = { US_PER_H };
        struct breaker b = { 0 };

        ck_assert(!breaker_sent(&b)); /* closed: no probe */
        ck_assert(breaker_failed(&b, false, true, -1, now, &dice.seam));
        now = b.retry_at;
        ck_assert(breaker_sent(&b));
        ck_assert_int_eq(b.state, BREAKER_HALF_OPEN);
        ck_assert(!breaker_allows(&b, (mono_t){ INT64_MAX }));
        ck_assert(!failed(&b, false, -1, now));
        ck_assert_int_eq(b.state, BREAKER_HALF_OPEN);
        breaker_let_go(&b, false, now);
        ck_assert_int_eq(b.state, BREAKER_HALF_OPEN);
        breaker_let_go(&b, true, now); /* given up: another one may */
        ck_assert(breaker_allows(&b, now));
        ck_assert(breaker_sent(&b));
        ck_assert(failed(&b, true, -1, now));
        ck_assert_int_eq(b.since.us, US_PER_H); /* it has been down all the time */
        ck_assert(!breaker_allows(&b, now));
        ck_assert(breaker_answered(&b));
        ck_assert(breaker_allows(&b, now));
        ck_assert_uint_eq(b.failures, 0);
}
END_TEST

START_TEST(an_hour_of_outage)
{
        mono_t now = { US_PER_H }, end;
        struct breaker b = { 0 };
        unsigned probes = 0;

        fake_random_init(&dice, (uint64_t) _i);
        ck_assert(breaker_failed(&b, false, true, -1, now, &dice.seam));
        end = mono_add(now, US_PER_H);
        for (now = b.retry_at; mono_before(now, end); now = b.retry_at, probes++) {
                ck_assert(breaker_sent(&b));
                ck_assert(failed(&b, true, -1, now));
                ck_assert_int_le(mono_until(now, b.retry_at), BREAKER_PAUSE_MAX_US);
        }
        ck_assert_uint_le(probes, BREAKER_PROBES_H);
        ck_assert_uint_ge(probes, 12); /* its end is noticed within five minutes */
}
END_TEST

static const struct {
        int64_t retry_after_us, at_least_us;
} pauses[] = {
        { -1, BREAKER_PAUSE_US * 3 / 4 },
        { 0, BREAKER_PAUSE_US * 3 / 4 },
        { US_PER_MIN, US_PER_MIN },
        { INT64_MAX, BACKOFF_RETRY_AFTER_US },
};

START_TEST(a_retry_after_is_kept)
{
        struct breaker b = { 0 };

        ck_assert(breaker_failed(&b, false, true, pauses[_i].retry_after_us, (mono_t){ 0 },
                                 &dice.seam));
        ck_assert_int_ge(b.retry_at.us, pauses[_i].at_least_us);
        ck_assert_int_le(b.retry_at.us, pauses[_i].at_least_us + BREAKER_PAUSE_US);
}
END_TEST

/* The other side asks for about as much as the pause would be, less the jitter. */
START_TEST(no_jitter_is_taken_off_a_retry_after)
{
        struct breaker b = { 0 };

        for (unsigned i = 0; i < 100; i++) {
                b = (struct breaker){ 0 };
                ck_assert(breaker_failed(&b, false, true, BREAKER_PAUSE_US, (mono_t){ 0 },
                                         &dice.seam));
                ck_assert_int_ge(b.retry_at.us, BREAKER_PAUSE_US);
        }
}
END_TEST

/* Several were under way; each of them is heard. */
START_TEST(the_longest_retry_after_is_kept)
{
        struct breaker b = { 0 };
        mono_t before;

        ck_assert(breaker_failed(&b, false, true, 10 * US_PER_S, (mono_t){ 0 }, &dice.seam));
        ck_assert(!breaker_failed(&b, false, true, US_PER_H, (mono_t){ US_PER_S }, &dice.seam));
        ck_assert_int_ge(b.retry_at.us, US_PER_H + US_PER_S);
        before = b.retry_at;
        ck_assert(!breaker_failed(&b, false, true, 1, (mono_t){ 2 * US_PER_S }, &dice.seam));
        ck_assert(!breaker_failed(&b, false, true, -1, (mono_t){ 2 * US_PER_S }, &dice.seam));
        ck_assert_int_eq(b.retry_at.us, before.us);
        ck_assert(breaker_sent(&b));
        ck_assert(!breaker_failed(&b, false, true, US_PER_H, before, &dice.seam));
        ck_assert_int_eq(b.state, BREAKER_HALF_OPEN); /* the probe is sent */
}
END_TEST

static void add(TCase *tc) {
        fake_random_init(&dice, 1);
        tcase_add_test(tc, opens_after_failures_in_a_row);
        tcase_add_test(tc, one_probe_at_a_time);
        tcase_add_loop_test(tc, an_hour_of_outage, 0, 50);
        tcase_add_loop_test(tc, a_retry_after_is_kept, 0, N_ELEMENTS(pauses));
        tcase_add_test(tc, no_jitter_is_taken_off_a_retry_after);
        tcase_add_test(tc, the_longest_retry_after_is_kept);
}

CHECK_MAIN("breaker", add)
