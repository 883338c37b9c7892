#include "broker/variant.h"

#include <errno.h>
#include <string.h>

#include "check_main.h"

static const char configured_scope[] =
        "{\"account_permission\":{\"permission_list\":[\"a\",\"b\"]}}";
static const char configured_context[] = "{\"device_info\":{\"device_id\":\"1\"}}";

static struct conf_credential jwt = {
        .name = (char *) "bot",
        .type = CREDENTIAL_JWT,
        .token_lifetime_us = 900 * US_PER_S,
        .scope = (char *) configured_scope,
        .session_context = (char *) configured_context,
};
static struct conf_credential pat = { .name = (char *) "pat", .type = CREDENTIAL_PAT };

static const struct {
        const struct conf_credential *c;
        int64_t duration_s;
        const char *scope, *context;
        int ret;
        bool differs;
} rows[] = {
        { &jwt, 0, NULL, NULL, 0, false },
        { &jwt, 900, NULL, NULL, 0, false }, /* says what the configuration says */
        { &jwt, 0, configured_scope, NULL, 0, false },
        { &jwt, 0, "{\"account_permission\":{\"permission_list\":[\"b\",\"a\"]}}", NULL, 0, false },
        { &jwt, 0, NULL, configured_context, 0, false },
        { &jwt, 901, NULL, NULL, 0, true },
        { &jwt, 86399, NULL, NULL, 0, true },
        { &jwt, 86400, NULL, NULL, -EINVAL, false },
        { &jwt, -1, NULL, NULL, -EINVAL, false },
        { &jwt, 0, "{\"account_permission\":{\"permission_list\":[\"a\"]}}", NULL, 0, true },
        { &jwt, 0, "{\"account_permission\":{\"permission_list\":[\"a\",\"c\"]}}", NULL, -EPERM,
          false },
        { &jwt, 0, "{\"what\":1}", NULL, -EINVAL, false },
        { &jwt, 0, "[]", NULL, -EINVAL, false },
        { &jwt, 0, NULL, "{\"device_info\":{\"device_id\":\"2\"}}", 0, true },
        { &jwt, 0, NULL, "[]", -EINVAL, false },
        { &jwt, 0, NULL, "\"x\"", -EINVAL, false },
        { &pat, 0, NULL, NULL, 0, false },
        { &pat, 60, NULL, NULL, -EINVAL, false },
        { &pat, 0, "{}", NULL, -EINVAL, false },
};

static struct json_object *object(const char *text) {
        return text ? json_tokener_parse(text) : NULL;
}

START_TEST(make)
{
        struct json_object *scope = object(rows[_i].scope), *context = object(rows[_i].context);
        struct variant v = { .duration_s = -7 }, copy;
        struct why why = { "" };

        ck_assert_int_eq(variant_make(rows[_i].c, rows[_i].duration_s, scope, context, &why, &v),
                         rows[_i].ret);
        if (rows[_i].ret < 0) {
                ck_assert_int_eq(v.duration_s, -7); /* untouched on failure */
                ck_assert(why.text[0]);
        } else {
                ck_assert_int_eq(v.digest[0] != '\0', rows[_i].differs);
                ck_assert_int_eq(variant_copy(&v, &copy), 0);
                ck_assert_str_eq(copy.digest, v.digest);
                variant_done(&copy);
                variant_done(&v);
        }
        json_object_put(scope);
        json_object_put(context);
}
END_TEST

static const char *digest(int64_t duration_s, const char *context) {
        static char kept[8][CACHE_VARIANT_MAX + 1];
        static unsigned n;
        struct json_object *o = object(context);
        struct variant v;

        ck_assert_int_eq(variant_make(&jwt, duration_s, NULL, o, NULL, &v), 0);
        memcpy(kept[n], v.digest, sizeof(kept[n]));
        variant_done(&v);
        json_object_put(o);
        return kept[n++];
}

START_TEST(only_the_meaning_counts)
{
        ck_assert_str_eq(digest(60, "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}"),
                         digest(60, " {\"b\":{\"d\":3,\"c\":2}, \"a\":1}"));
        ck_assert_str_ne(digest(60, "{\"a\":1}"), digest(61, "{\"a\":1}"));
        ck_assert_str_ne(digest(60, "{\"a\":1}"), digest(60, "{\"a\":2}"));
        ck_assert_str_ne(digest(60, "{\"a\":1}"), digest(60, "{\"a\":\"1\"}"));
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, make, 0, N_ELEMENTS(rows));
        tcase_add_test(tc, only_the_meaning_counts);
}

CHECK_MAIN("variant", add)
