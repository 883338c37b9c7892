#include "base/json.h"

#include <errno.h>
#include <string.h>

#include "check_main.h"

static const struct {
        const char *text;
        int ret;
        const char *canonical;
} texts[] = {
        { "{}", 0, "{}" },
        { " {\"b\":1,\"a\":[true,null,\"x\"]} \n", 0, "{\"a\":[true,null,\"x\"],\"b\":1}" },
        { "{\"z\":{\"d\":1,\"c\":2},\"a\":1}", 0, "{\"a\":1,\"z\":{\"c\":2,\"d\":1}}" },
        { "[\"a/b\"]", 0, "[\"a/b\"]" },
        { "[42,-1.5]", 0, "[42,-1.5]" },
        { "{\"e\":\"\\u00e9\"}", 0, "{\"e\":\"\xc3\xa9\"}" },
        { "{\"q\":\"\\\"/NaN\"}", 0, "{\"q\":\"\\\"/NaN\"}" },
        { "", -EBADMSG, NULL },
        { "{\"a\":1,\"a\":1}", -EBADMSG, NULL },
        { "{\"a\":1,\"\\u0061\":1}", -EBADMSG, NULL }, /* the same name in other letters */
        { "{\"o\":{\"a\":1,\"a\":2}}", -EBADMSG, NULL },
        { "{\"o\":{\"a\":\":\"},\"p\":{\"a\":2}}", 0, "{\"o\":{\"a\":\":\"},\"p\":{\"a\":2}}" },
        { "42", -EBADMSG, NULL },
        { "\"text\"", -EBADMSG, NULL },
        { "null", -EBADMSG, NULL },
        { "[-Infinity]", -EBADMSG, NULL },
        { "{", -EBADMSG, NULL },
        { "{\"a\":1}}", -EBADMSG, NULL },
        { "{\"a\":1} x", -EBADMSG, NULL },
        { "{\"a\":1,}", -EBADMSG, NULL },
        { "{'a':1}", -EBADMSG, NULL },
        { "{\"a\":NaN}", -EBADMSG, NULL },
        { "/* c */ {}", -EBADMSG, NULL },
        { "{\"a\":\"\xff\"}", -EBADMSG, NULL },
        { "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", -EBADMSG, NULL }, /* too deep */
};

START_TEST(parse)
{
        AUTO(json_wipep) struct json_object *o = NULL;
        AUTO(auto_freep) char *canonical = NULL;

        ck_assert_int_eq(json_parse(texts[_i].text, strlen(texts[_i].text), &o), texts[_i].ret);
        if (texts[_i].ret < 0) {
                ck_assert_ptr_null(o);
                return;
        }
        ck_assert_int_eq(json_canonical(o, &canonical), 0);
        ck_assert_str_eq(canonical, texts[_i].canonical);
}
END_TEST

START_TEST(a_nul_inside_is_not_text)
{
        AUTO(json_wipep) struct json_object *o = NULL;
        static const char text[] = "{\"a\":\"x\\u0000y\",\"b\":\"z\",\"c\":1}";

        ck_assert_int_eq(json_parse(text, strlen(text), &o), 0);
        ck_assert_ptr_null(json_get_text(o, "a"));
        ck_assert_str_eq(json_get_text(o, "b"), "z");
        ck_assert_ptr_null(json_get_text(o, "c"));
        ck_assert_ptr_null(json_get_text(o, "d"));
}
END_TEST

static const struct {
        const char *text;
        int lenient, ret;
        int64_t value;
} numbers[] = {
        { "{\"n\":9223372036854775808}", 0, -ERANGE, 0 },
        { "{\"n\":-99999999999999999999}", 0, -ERANGE, 0 },
        { "{\"n\":5}", 0, 0, 5 },
        { "{\"n\":\"5\"}", 1, 0, 5 },
        { "{\"n\":\"5\"}", 0, -EINVAL, 0 },
        { "{\"n\":5.5}", 1, -EINVAL, 0 },
        { "{\"n\":null}", 1, -ENOENT, 0 },
        { "{}", 1, -ENOENT, 0 },
        { "{\"n\":true}", 1, -EINVAL, 0 },
        { "{\"n\":[]}", 1, -EINVAL, 0 },
};

START_TEST(number)
{
        AUTO(json_wipep) struct json_object *o = NULL;
        int64_t n = -99;

        ck_assert_int_eq(json_parse(numbers[_i].text, strlen(numbers[_i].text), &o), 0);
        ck_assert_int_eq(json_get_int64(o, "n", numbers[_i].lenient, &n), numbers[_i].ret);
        ck_assert_int_eq(n, numbers[_i].ret ? -99 : numbers[_i].value);
}
END_TEST

START_TEST(strings_are_overwritten)
{
        struct json_object *o = json_tokener_parse(
                "{\"a\":[\"canary-in-a-string-that-is-long-enough-for-the-heap\"]}");
        struct json_object *s = json_object_array_get_idx(json_object_object_get(o, "a"), 0);
        const char *bytes = json_object_get_string(s);

        (void) json_object_get(s); /* outlives the rest, so that its memory may be read */
        (void) json_wipe(o);
        for (size_t i = 0; i < strlen("canary-in-a-string-that-is-long-enough-for-the-heap"); i++)
                ck_assert_int_eq(bytes[i], 0);
        json_object_put(s);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, parse, 0, N_ELEMENTS(texts));
        tcase_add_test(tc, a_nul_inside_is_not_text);
        tcase_add_loop_test(tc, number, 0, N_ELEMENTS(numbers));
        tcase_add_test(tc, strings_are_overwritten);
}

CHECK_MAIN("json", add)
