#include "base/text.h"

#include <errno.h>
#include <string.h>

#include "check_main.h"

static const struct {
        const char *in;
        int ret;
        int64_t us;
} spans[] = {
        { "5s", 0, 5000000 },
        { "15min", 0, 900000000 },
        { "12h", 0, INT64_C(43200000000) },
        { "30d", 0, INT64_C(2592000000000) },
        { "2w", 0, INT64_C(1209600000000) },
        { "1h 30min", 0, INT64_C(5400000000) },
        { "1h30min", 0, INT64_C(5400000000) },
        { " 90s ", 0, 90000000 },
        { "250ms", 0, 250000 },
        { "0s", 0, 0 },
        { "5", -EINVAL, 0 }, /* a bare number has no unit */
        { "", -EINVAL, 0 },
        { "s", -EINVAL, 0 },
        { "-5s", -EINVAL, 0 },
        { "5 parsecs", -EINVAL, 0 },
        { "5s,", -EINVAL, 0 },
        { "9223372036854h", -ERANGE, 0 },
        { "9223372036854775807ms", -ERANGE, 0 },
        { "99999999999999999999s", -ERANGE, 0 },
};

START_TEST(span)
{
        int64_t us = -1;

        ck_assert_int_eq(text_parse_span(spans[_i].in, &us), spans[_i].ret);
        ck_assert_int_eq(us, spans[_i].ret ? -1 : spans[_i].us); /* untouched on failure */
}
END_TEST

static const struct {
        int64_t us;
        const char *text;
} shown_spans[] = {
        { 0, "0s" },
        { -1, "0s" },
        { 12000, "12ms" },
        { 3012000, "3s" },
        { 899000000, "14min 59s" },
        { INT64_C(273600000000), "3d 4h" },
        { INT64_C(86400000000), "1d" },
};

START_TEST(span_shown)
{
        char buf[32];

        ck_assert_str_eq(text_format_span(shown_spans[_i].us, buf, sizeof(buf)),
                         shown_spans[_i].text);
}
END_TEST

static const struct {
        const char *text;
        size_t len; /* 0: strlen */
        bool printable;
} utf8s[] = {
        { "plain", 0, true },
        { "", 0, true },
        { "\xe6\x89\xa3\xe5\xad\x90", 0, true },
        { "\xf0\x9f\x98\x80", 0, true },
        { "a\0b", 3, false },
        { "tab\t", 0, false },
        { "\x7f", 0, false },
        { "\xc2\x85", 0, false },         /* a C1 control */
        { "\xc0\xaf", 0, false },         /* overlong */
        { "\xe0\x80\xaf", 0, false },     /* overlong */
        { "\xed\xa0\x80", 0, false },     /* surrogate */
        { "\xf4\x90\x80\x80", 0, false }, /* beyond Unicode */
        { "\xe6\x89", 0, false },         /* cut short */
        { "\xff", 0, false },
};

START_TEST(utf8)
{
        size_t len = utf8s[_i].len ? utf8s[_i].len : strlen(utf8s[_i].text);

        ck_assert_int_eq(text_is_printable_utf8(utf8s[_i].text, len), utf8s[_i].printable);
}
END_TEST

static const struct {
        const char *a, *b;
        unsigned distance;
} distances[] = {
        { "client_id", "client_id", 0 },
        { "clientid", "client_id", 1 },
        { "cleint_id", "client_id", 1 }, /* a swap is one slip */
        { "kepp_frsh", "keep_fresh", 2 },
        { "", "abc", 3 },
        { "abc", "", 3 },
        { "abc", "xyzuvw", 5 }, /* limit + 1 */
};

START_TEST(distance)
{ ck_assert_uint_eq(text_distance(distances[_i].a, distances[_i].b, 4), distances[_i].distance); }
END_TEST

static const struct {
        const char *text;
        bool ok;
} names[] = {
        { "bot", true },          { "coze.cn", true },       { "a_b-c.9", true }, { "", false },
        { ".hidden", false },     { "-x", false },           { "a/b", false },    { "a b", false },
        { "bot@subject", false }, { "\xe6\x89\xa3", false },
};

START_TEST(name)
{ ck_assert_int_eq(text_is_name(names[_i].text), names[_i].ok); }
END_TEST

static const struct {
        const char *in;
        int ret;
        int64_t value;
} numbers[] = {
        { "0", 0, 0 },
        { "-7", 0, -7 },
        { "9223372036854775807", 0, INT64_MAX },
        { "9223372036854775808", -ERANGE, 0 },
        { "", -EINVAL, 0 },
        { "-", -EINVAL, 0 },
        { "+1", -EINVAL, 0 },
        { " 1", -EINVAL, 0 },
        { "1x", -EINVAL, 0 },
};

START_TEST(number)
{
        int64_t v = -99;

        ck_assert_int_eq(text_parse_int64(numbers[_i].in, &v), numbers[_i].ret);
        ck_assert_int_eq(v, numbers[_i].ret ? -99 : numbers[_i].value);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, span, 0, N_ELEMENTS(spans));
        tcase_add_loop_test(tc, span_shown, 0, N_ELEMENTS(shown_spans));
        tcase_add_loop_test(tc, utf8, 0, N_ELEMENTS(utf8s));
        tcase_add_loop_test(tc, distance, 0, N_ELEMENTS(distances));
        tcase_add_loop_test(tc, name, 0, N_ELEMENTS(names));
        tcase_add_loop_test(tc, number, 0, N_ELEMENTS(numbers));
}

CHECK_MAIN("text", add)
