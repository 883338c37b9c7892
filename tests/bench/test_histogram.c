#include "histogram.h"

#include "check_main.h"

static struct histogram h;

/* A quantile is never too low and at most 1/64 too high, from the smallest value to the largest. */
START_TEST(precision)
{
        for (uint64_t v = 1; v < UINT64_MAX / 3; v = v * 3 + 1) {
                uint64_t q;

                histogram_clear(&h);
                histogram_record(&h, v);
                histogram_record(&h, UINT64_MAX);
                q = histogram_quantile(&h, 0.25);
                ck_assert_uint_ge(q, v);
                ck_assert_uint_le(q - v, v / 64);
                ck_assert_uint_eq(histogram_quantile(&h, 1), UINT64_MAX);
        }
}
END_TEST

/* Every value up to a million goes where the one before went, or behind it. */
START_TEST(order)
{
        uint64_t last = 0;

        for (uint64_t v = 0; v < 1000000; v += 7) {
                uint64_t q;

                histogram_clear(&h);
                histogram_record(&h, v);
                histogram_record(&h, UINT64_MAX);
                q = histogram_quantile(&h, 0);
                ck_assert_uint_ge(q, last);
                last = q;
        }
}
END_TEST

static const struct {
        double fraction;
        uint64_t ns;
} quantiles[] = {
        /* of the values 1 to 60, which have a bucket each */
        { 0, 1 }, { 0.5, 31 }, { 0.9, 55 }, { 0.99, 60 }, { 1, 60 },
};

START_TEST(quantile)
{
        histogram_clear(&h);
        ck_assert_uint_eq(histogram_quantile(&h, quantiles[_i].fraction), 0); /* empty */
        for (uint64_t v = 60; v > 0; v--)
                histogram_record(&h, v);
        ck_assert_uint_eq(h.count, 60);
        ck_assert_uint_eq(h.max_ns, 60);
        ck_assert_uint_eq(histogram_quantile(&h, quantiles[_i].fraction), quantiles[_i].ns);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, precision);
        tcase_add_test(tc, order);
        tcase_add_loop_test(tc, quantile, 0, N_ELEMENTS(quantiles));
}

CHECK_MAIN("histogram", add)
