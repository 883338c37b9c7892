#include "base/secret.h"

#include <errno.h>
#include <string.h>

#include "check_main.h"

static const char canary[] = "canary-0123456789-abcdefghijklmnopqrstuvwxyz";
static char released[256];
static size_t released_len;

static void forget(void) {
        released_len = 0;
        secret_release_hook = NULL;
}

static void remember(const void *bytes, size_t capacity) {
        released_len = capacity < sizeof(released) ? capacity : sizeof(released);
        memcpy(released, bytes, released_len);
}

static bool is_wiped(void) {
        for (size_t i = 0; i < released_len; i++)
                if (released[i])
                        return false;
        return released_len > 0;
}

START_TEST(nothing_of_it_is_left)
{
        struct secret *s = secret_new(canary, strlen(canary));

        secret_release_hook = remember;
        ck_assert_str_eq(secret_text(s), canary);
        ck_assert_ptr_null(secret_unref(s));
        ck_assert_uint_eq(released_len, strlen(canary) + 1);
        ck_assert(is_wiped());
}
END_TEST

START_TEST(what_was_cut_off_is_gone_too)
{
        struct secret *s = secret_new_reserved(100);

        secret_release_hook = remember;
        ck_assert_int_eq(secret_append_text(s, canary), 0);
        secret_truncate(s, 6);
        ck_assert_str_eq(secret_text(s), "canary");
        ck_assert_ptr_null(memmem(secret_text(s), 100, "0123", 4));
        ck_assert_int_eq(secret_append_text(s, "-again"), 0);
        ck_assert_str_eq(secret_text(s), "canary-again");
        secret_unref(s);
        ck_assert_uint_eq(released_len, 101);
        ck_assert(is_wiped());
}
END_TEST

START_TEST(it_never_grows)
{
        AUTO(secret_unrefp) struct secret *s = secret_new_reserved(8);

        ck_assert_int_eq(secret_append(s, "1234567", 7), 0);
        ck_assert_int_eq(secret_append(s, "89", 2), -ENOBUFS);
        ck_assert_str_eq(secret_text(s), "1234567"); /* untouched on failure */
        ck_assert_int_eq(secret_append(s, "8", 1), 0);
        ck_assert_uint_eq(secret_len(s), 8);
}
END_TEST

START_TEST(it_lives_until_the_last_reference)
{
        struct secret *s = secret_new("x", 1), *other = secret_ref(s);

        secret_release_hook = remember;
        secret_unref(s);
        ck_assert_uint_eq(released_len, 0);
        ck_assert_str_eq(secret_text(other), "x");
        secret_unref(other);
        ck_assert_uint_eq(released_len, 2);
        ck_assert_ptr_null(secret_ref(NULL));
        ck_assert_ptr_null(secret_unref(NULL));
}
END_TEST

static const struct {
        const char *a, *b;
        bool equal;
} pairs[] = {
        { "", "", true },     { "a", "a", true },   { "a", "b", false },
        { "a", "ab", false }, { "ab", "a", false },
};

START_TEST(equality)
{
        AUTO(secret_unrefp) struct secret *a = secret_new(pairs[_i].a, strlen(pairs[_i].a));
        AUTO(secret_unrefp) struct secret *b = secret_new(pairs[_i].b, strlen(pairs[_i].b));

        ck_assert_int_eq(secret_equal(a, b), pairs[_i].equal);
}
END_TEST

START_TEST(fingerprint)
{
        AUTO(secret_unrefp) struct secret *s = secret_new("test", 4);
        char fp[SECRET_FINGERPRINT_SIZE];

        secret_fingerprint(s, fp);
        ck_assert_str_eq(fp, "9f86d081884c7d65"); /* of sha256sum(1) */
}
END_TEST

static void add(TCase *tc) {
        tcase_add_checked_fixture(tc, forget, forget);
        tcase_add_test(tc, nothing_of_it_is_left);
        tcase_add_test(tc, what_was_cut_off_is_gone_too);
        tcase_add_test(tc, it_never_grows);
        tcase_add_test(tc, it_lives_until_the_last_reference);
        tcase_add_loop_test(tc, equality, 0, N_ELEMENTS(pairs));
        tcase_add_test(tc, fingerprint);
}

CHECK_MAIN("secret", add)
