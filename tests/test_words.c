#include "client/words.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "check_main.h"

static const struct {
        const char *text;
        int ret;
        int64_t s;
} spans[] = {
        { "90s", 0, 90 },
        { "15min", 0, 900 },
        { "12h", 0, 43200 },
        { "30d", 0, 2592000 },
        { "2w", 0, 1209600 },
        { "1h30min", 0, 5400 },
        { " 1h 30 min ", 0, 5400 },
        { "2 days", 0, 172800 },
        { "0s", 0, 0 },
        { "1ms", 0, 1 }, /* rounded up: never less than was asked for */
        { "1000ms", 0, 1 },
        { "1001ms", 0, 2 },
        { "", -EINVAL, 0 },
        { " ", -EINVAL, 0 },
        { "5", -EINVAL, 0 }, /* a bare number has no unit */
        { "s", -EINVAL, 0 },
        { "-5s", -EINVAL, 0 },
        { "+5s", -EINVAL, 0 },
        { "5S", -EINVAL, 0 },
        { "5 parsecs", -EINVAL, 0 },
        { "5s,", -EINVAL, 0 },
        { "1.5h", -EINVAL, 0 },
        { "5s 5", -EINVAL, 0 },
        { "9223372036854775807w", -ERANGE, 0 },
        { "9223372036854775807ms 1ms", -ERANGE, 0 },
        { "99999999999999999999s", -ERANGE, 0 },
};

START_TEST(span)
{
        int64_t s = -1;

        ck_assert_int_eq(words_parse_span(spans[_i].text, &s), spans[_i].ret);
        ck_assert_int_eq(s, spans[_i].ret ? -1 : spans[_i].s); /* untouched on failure */
}
END_TEST

static const struct {
        const char *zone, *text;
        int ret;
        int64_t at;
} dates[] = {
        { "UTC", "0", 0, 0 },
        { "UTC", "1795400000", 0, 1795400000 },
        { "UTC", "99999999999999999999", -ERANGE, 0 },
        { "UTC", "2027-01-31", 0, 1801353600 },
        { "CST-8", "2027-01-31", 0, 1801324800 }, /* China: eight hours earlier */
        { "CST-8", "2027-01-31T00:00Z", 0, 1801353600 },
        { "UTC", "2027-01-31 18:30", 0, 1801420200 },
        { "UTC", "2027-01-31T18:30:05", 0, 1801420205 },
        { "CST-8", "2027-01-31 18:30:05+00:00", 0, 1801420205 },
        { "UTC", "2027-01-31 18:30:05+08:00", 0, 1801391405 },
        { "UTC", "2027-01-31 18:30:05-0330", 0, 1801432805 },
        { "UTC", "2028-02-29", 0, 1835395200 },
        { "UTC", "", -EINVAL, 0 },
        { "UTC", "-1", -EINVAL, 0 },
        { "UTC", "soon", -EINVAL, 0 },
        { "UTC", "2027-02-29", -EINVAL, 0 },
        { "UTC", "2027-13-01", -EINVAL, 0 },
        { "UTC", "2027-00-01", -EINVAL, 0 },
        { "UTC", "2027-01-00", -EINVAL, 0 },
        { "UTC", "2027-1-31", -EINVAL, 0 },
        { "UTC", "27-01-31", -EINVAL, 0 },
        { "UTC", "31.01.2027", -EINVAL, 0 },
        { "UTC", "2027-01-31 ", -EINVAL, 0 },
        { "UTC", "2027-01-31x", -EINVAL, 0 },
        { "UTC", "2027-01-31 24:00", -EINVAL, 0 },
        { "UTC", "2027-01-31 23:60", -EINVAL, 0 },
        { "UTC", "2027-01-31 23:59:60", -EINVAL, 0 },
        { "UTC", "2027-01-31 2359", -EINVAL, 0 },
        { "UTC", "2027-01-31T10:00+15:00", -EINVAL, 0 },
        { "UTC", "2027-01-31T10:00+8", -EINVAL, 0 },
        { "UTC", "2027-01-31T10:00Zulu", -EINVAL, 0 },
};

START_TEST(date)
{
        int64_t at = -99;

        setenv("TZ", dates[_i].zone, 1);
        tzset();
        ck_assert_int_eq(words_parse_date(dates[_i].text, &at), dates[_i].ret);
        ck_assert_int_eq(at, dates[_i].ret ? -99 : dates[_i].at);
}
END_TEST

static const struct {
        int64_t s;
        const char *span;
} shown[] = {
        { 0, "0s" },          { -1, "0s" },
        { 59, "59s" },        { 60, "1min" },
        { 899, "14min 59s" }, { 3600, "1h" },
        { 3605, "1h" },       { 86399, "23h 59min" },
        { 86400, "1d" },      { 86400 + 59 * 60, "1d" },
        { 273600, "3d 4h" },  { INT64_MAX, "106751991167300d 15h" },
};

START_TEST(span_shown)
{
        char text[WORDS_SPAN_SIZE];

        ck_assert_str_eq(words_span(shown[_i].s, text), shown[_i].span);
}
END_TEST

static const struct {
        int64_t at, now;
        const char *when;
} instants[] = {
        { 1000, 1000, "now" },
        { 1900, 1001, "in 14min 59s" },
        { 1001, 1900, "14min 59s ago" },
        { INT64_MAX, -5, "in 106751991167300d 15h" }, /* saturates */
        { 0, INT64_MAX, "106751991167300d 15h ago" },
};

START_TEST(when)
{
        char text[WORDS_SPAN_SIZE];

        ck_assert_str_eq(words_when(instants[_i].at, instants[_i].now, text), instants[_i].when);
}
END_TEST

static const struct {
        const char *text, *clean;
        size_t size;
} cleans[] = {
        { "plain", "plain", 64 },
        { "", "", 64 },
        { "a\tb\r\nc\x1b[2J\x7f", "a b  c [2J ", 64 },
        { "a\xc2\x9b"
          "b",
          "a b", 64 }, /* CSI as one character */
        { "bot\u202etxt\u2066.\u2069\u2028\u2010", "bot txt .  \u2010", 64 }, /* right to left */
        { "\xe2", "\xe2", 64 },
        { "\xe2\x80", "\xe2\x80", 64 },
        { "\xe6\x89\xa3\xe5\xad\x90", "\xe6\x89\xa3\xe5\xad\x90", 64 },
        { "\xe6\x89\xa3\xe5\xad\x90", "\xe6\x89\xa3\xe5\xad\x90", 7 },
        { "\xe6\x89\xa3\xe5\xad\x90", "\xe6\x89\xa3", 6 }, /* never half a character */
        { "\xe6\x89\xa3\xe5\xad\x90", "\xe6\x89\xa3", 5 },
        { "\xe6\x89\xa3\xe5\xad\x90", "\xe6\x89\xa3", 4 },
        { "\xe6\x89\xa3\xe5\xad\x90", "", 3 },
        { "abc", "ab", 3 },
        { "abc", "", 1 },
};

START_TEST(clean)
{
        char text[65];

        memset(text, '#', sizeof(text));
        ck_assert_str_eq(words_clean(cleans[_i].text, text, cleans[_i].size), cleans[_i].clean);
        ck_assert_int_eq(text[cleans[_i].size], '#');
}
END_TEST

static const struct {
        const char *text, *quoted;
} quotes[] = {
        { "pat_x-1.2:/@%+,=", "pat_x-1.2:/@%+,=" },
        { "", "''" },
        { "a b", "'a b'" },
        { "a'b", "'a'\\''b'" },
        { "''''", "''\\'''\\'''\\'''\\'''" },
        { "$HOME`id`", "'$HOME`id`'" },
        { "~", "'~'" },
};

START_TEST(quote)
{
        char *quoted = words_quote(quotes[_i].text);

        ck_assert_str_eq(quoted, quotes[_i].quoted);
        free(quoted);
}
END_TEST

static const struct {
        const char *text;
        bool token;
} tokens[] = {
        { "czs_abc.DEF-1~+/=", true },
        { "", false },
        { "a b", false },
        { "a\n", false },
        { "a\"", false },
        { "a\\", false },
        { "\x7f", false },
        { "\xe6\x89\xa3", false },
};

START_TEST(token)
{ ck_assert_int_eq(words_is_token(tokens[_i].text, strlen(tokens[_i].text)), tokens[_i].token); }
END_TEST

START_TEST(fingerprint)
{
        ck_assert(words_is_fingerprint("9f86d081884c7d65"));
        ck_assert(!words_is_fingerprint("9f86d081884c7d6"));
        ck_assert(!words_is_fingerprint("9f86d081884c7d655"));
        ck_assert(!words_is_fingerprint("9F86d081884c7d65"));
        ck_assert(!words_is_fingerprint("9f86d081884c7d6g"));
        ck_assert(!words_is_token("a\0b", 3));
}
END_TEST

static const struct {
        const char *a, *b;
        unsigned distance;
} distances[] = {
        { "status", "status", 0 },
        { "stauts", "status", 1 }, /* a swap is one slip */
        { "--heder", "--header", 1 },
        { "--min_ttl", "--min-ttl", 1 },
        { "lst", "list", 1 },
        { "gets", "get", 1 },
        { "", "abc", 3 },
        { "abc", "", 3 },
        { "kitten", "sitting", 3 },
        { "a string that is far longer than any verb", "get", 32 },
};

START_TEST(distance)
{ ck_assert_uint_eq(words_distance(distances[_i].a, distances[_i].b), distances[_i].distance); }
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, span, 0, N_ELEMENTS(spans));
        tcase_add_loop_test(tc, date, 0, N_ELEMENTS(dates));
        tcase_add_loop_test(tc, span_shown, 0, N_ELEMENTS(shown));
        tcase_add_loop_test(tc, when, 0, N_ELEMENTS(instants));
        tcase_add_loop_test(tc, clean, 0, N_ELEMENTS(cleans));
        tcase_add_loop_test(tc, quote, 0, N_ELEMENTS(quotes));
        tcase_add_loop_test(tc, token, 0, N_ELEMENTS(tokens));
        tcase_add_test(tc, fingerprint);
        tcase_add_loop_test(tc, distance, 0, N_ELEMENTS(distances));
}

CHECK_MAIN("words", add)
