#include "client/columns.h"

#include <locale.h>
#include <string.h>

#include "check_main.h"

static const struct {
        const char *text;
        int columns;
} texts[] = {
        { "", 0 },
        { "bot", 3 },
        { "扣子", 4 },
        { "é", 1 },
        { "e\u0301", 1 }, /* a combining accent */
        { "😀", 2 },
        { "한", 2 },
        { "，", 2 },
        { "a扣b", 4 },
        { "\xff", 1 },         /* no UTF-8 */
        { "\xe6\x89", 2 },     /* cut within a character */
        { "\xe6\x89\x41", 3 }, /* a byte, a byte, a letter */
};

START_TEST(count)
{ ck_assert_int_eq(columns_count(texts[_i].text, strlen(texts[_i].text)), texts[_i].columns); }
END_TEST

/* Whatever the program's own locale is. */
START_TEST(count_in_ascii)
{
        ck_assert_ptr_nonnull(setlocale(LC_ALL, "C"));
        ck_assert_int_eq(columns_count("扣子", 6), 4);
        ck_assert_str_eq(setlocale(LC_CTYPE, NULL), "C");
}
END_TEST

static const struct {
        const char *text;
        int columns;
        const char *fits;
} fits[] = {
        { "abc", 3, "abc" }, { "abc", 2, "ab" },           { "abc", 0, "" },
        { "abc", -1, "" },   { "扣子", 4, "扣子" },        { "扣子", 3, "扣" },
        { "扣子", 1, "" },   { "e\u0301x", 1, "e\u0301" }, { "", 5, "" },
};

START_TEST(fit)
{ ck_assert_uint_eq(columns_fit(fits[_i].text, fits[_i].columns), strlen(fits[_i].fits)); }
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, count, 0, N_ELEMENTS(texts));
        tcase_add_test(tc, count_in_ascii);
        tcase_add_loop_test(tc, fit, 0, N_ELEMENTS(fits));
}

CHECK_MAIN("columns", add)
