#include "http/date.h"

#include <errno.h>

#include "check_main.h"

static const struct {
        const char *in;
        int ret;
        int64_t s;
} dates[] = {
        { "Sun, 06 Nov 1994 08:49:37 GMT", 0, 784111777 }, /* the three of RFC 9110 */
        { "Sunday, 06-Nov-94 08:49:37 GMT", 0, 784111777 },
        { "Sun Nov  6 08:49:37 1994", 0, 784111777 },
        { "Sun Nov 16 08:49:37 1994", 0, 784975777 },
        { "Thu, 01 Jan 1970 00:00:00 GMT", 0, 0 },
        { "Thu, 29 Feb 2024 23:59:59 GMT", 0, 1709251199 },
        { "Tue, 29 Feb 2000 12:00:00 GMT", 0, 951825600 }, /* divisible by 400 */
        { "Tue, 19 Jan 2038 03:14:08 GMT", 0, INT64_C(2147483648) },
        { "Fri, 31 Dec 9999 23:59:59 GMT", 0, INT64_C(253402300799) },
        { "Saturday, 31-Dec-16 23:59:60 GMT", 0, 1483228800 }, /* a leap second */
        { "Thursday, 01-Jan-70 00:00:00 GMT", 0, 0 },
        { "Tuesday, 01-Jan-69 00:00:00 GMT", 0, INT64_C(3124224000) }, /* 2069 */
        { "Wed, 29 Feb 2023 00:00:00 GMT", -EINVAL, 0 },
        { "Thu, 29 Feb 2100 00:00:00 GMT", -EINVAL, 0 },
        { "Wed, 31 Apr 2024 00:00:00 GMT", -EINVAL, 0 },
        { "Wed, 00 Apr 2024 00:00:00 GMT", -EINVAL, 0 },
        { "Wed, 06 Nov 1969 08:49:37 GMT", -EINVAL, 0 },
        { "Sun, 06 Nov 1994 24:00:00 GMT", -EINVAL, 0 },
        { "Sun, 06 Nov 1994 08:60:37 GMT", -EINVAL, 0 },
        { "Sun, 06 Nov 1994 08:49:61 GMT", -EINVAL, 0 },
        { "Sun, 06 Nov 1994 08:49:37 CET", -EINVAL, 0 },
        { "Sun, 06 Nov 1994 08:49:37 GMT ", -EINVAL, 0 },
        { "Sun, 06 Nov 1994 08:49:37 GM", -EINVAL, 0 },
        { "Sun, 06 Nov 1994 08:49:37", -EINVAL, 0 },
        { "Sun, 6 Nov 1994 08:49:37 GMT", -EINVAL, 0 },
        { "Sun, 06 nov 1994 08:49:37 GMT", -EINVAL, 0 },
        { "06 Nov 1994 08:49:37 GMT", -EINVAL, 0 },
        { "Sun, 06 Nov 1994", -EINVAL, 0 },
        { "1994-11-06T08:49:37Z", -EINVAL, 0 },
        { "784111777", -EINVAL, 0 },
        { "Sun", -EINVAL, 0 },
        { "", -EINVAL, 0 },
};

START_TEST(date)
{
        wall_t t = { -1 };

        ck_assert_int_eq(date_parse(dates[_i].in, &t), dates[_i].ret);
        ck_assert_int_eq(t.s, dates[_i].ret ? -1 : dates[_i].s); /* untouched on failure */
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_loop_test(tc, date, 0, N_ELEMENTS(dates));
}

CHECK_MAIN("date", add_tests)
