#include "sched/timer.h"

#include "base/list.h"
#include "check_main.h"
#include "fake_clock.h"

struct alarm {
        struct timer timer;
        unsigned rang;
};

static struct timers *timers;
static struct alarm *last;
static unsigned order_broken;

static void ring(struct timer *t) {
        struct alarm *a = list_entry(t, struct alarm, timer);

        if (last && mono_before(t->at, last->timer.at))
                order_broken++;
        last = a;
        a->rang++;
}

static void ring_again(struct timer *t) {
        ring(t);
        timer_arm(timers, t, t->at);
}

static struct alarm *alarms_new(size_t n, timer_fn *fn) {
        struct alarm *a = calloc(n, sizeof(*a));

        timers = timers_new();
        last = NULL;
        for (size_t i = 0; i < n; i++) {
                a[i].timer.fn = fn;
                ck_assert_int_eq(timers_reserve(timers), 0);
        }
        return a;
}

static void alarms_free(struct alarm *a) {
        timers_free(timers);
        free(a);
}

START_TEST(earliest_first_whatever_happens)
{
        struct fake_random random;
        const size_t n = 2000;
        struct alarm *a = alarms_new(n, ring);
        size_t armed = 0, rung = 0;

        fake_random_init(&random, 3);
        for (size_t i = 0; i < 20000; i++) {
                struct alarm *x = &a[random_below(&random.seam, n)];

                if (random_below(&random.seam, 3) == 0)
                        timer_disarm(timers, &x->timer);
                else
                        timer_arm(timers, &x->timer,
                                  (mono_t){ (int64_t) random_below(&random.seam, 1000) });
        }
        for (size_t i = 0; i < n; i++)
                armed += timer_is_armed(&a[i].timer);
        while (timers_next(timers).us != INT64_MAX)
                timers_run(timers, timers_next(timers));
        for (size_t i = 0; i < n; i++)
                rung += a[i].rang;
        ck_assert_uint_gt(armed, 0);
        ck_assert_uint_eq(rung, armed);
        ck_assert_uint_eq(order_broken, 0);
        alarms_free(a);
}
END_TEST

START_TEST(only_what_is_due)
{
        struct alarm *a = alarms_new(2, ring);

        timer_arm(timers, &a[0].timer, (mono_t){ 10 });
        timer_arm(timers, &a[1].timer, (mono_t){ 20 });
        ck_assert_int_eq(timers_next(timers).us, 10);
        timers_run(timers, (mono_t){ 9 });
        ck_assert_uint_eq(a[0].rang, 0);
        timers_run(timers, (mono_t){ 10 });
        ck_assert_uint_eq(a[0].rang, 1);
        ck_assert_uint_eq(a[1].rang, 0);
        ck_assert(!timer_is_armed(&a[0].timer));
        timer_arm(timers, &a[1].timer, (mono_t){ 5 }); /* moves */
        ck_assert_int_eq(timers_next(timers).us, 5);
        alarms_free(a);
}
END_TEST

START_TEST(one_that_arms_itself_does_not_keep_us)
{
        struct alarm *a = alarms_new(1, ring_again);

        timer_arm(timers, &a[0].timer, (mono_t){ 1 });
        timers_run(timers, (mono_t){ 5 });
        ck_assert_uint_eq(a[0].rang, 1);
        alarms_free(a);
}
END_TEST

START_TEST(saturation)
{
        ck_assert_int_eq(mono_add((mono_t){ 5 }, INT64_MAX).us, INT64_MAX);
        ck_assert_int_eq(mono_add((mono_t){ -5 }, INT64_MIN).us, INT64_MIN);
        ck_assert_int_eq(mono_until((mono_t){ INT64_MIN }, (mono_t){ INT64_MAX }), INT64_MAX);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, earliest_first_whatever_happens);
        tcase_add_test(tc, only_what_is_due);
        tcase_add_test(tc, one_that_arms_itself_does_not_keep_us);
        tcase_add_test(tc, saturation);
}

CHECK_MAIN("timer", add)
