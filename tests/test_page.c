#include "api/page.h"

#include <string.h>

#include "base/why.h"
#include "check_main.h"

static const unsigned statuses[PAGE_MAX] = {
        [PAGE_SUCCEEDED] = 200, [PAGE_WORKING] = 202,    [PAGE_DENIED] = 403,
        [PAGE_EXPIRED] = 410,   [PAGE_FAILED] = 502,     [PAGE_CANCELLED] = 410,
        [PAGE_OVER] = 404,      [PAGE_INCOMPLETE] = 400, [PAGE_ADDRESS] = 400,
        [PAGE_ABSENT] = 404,    [PAGE_METHOD] = 405,
};

static const struct {
        const char *name, *value;
} headers[] = {
        { "Content-Type", "text/html; charset=utf-8" },
        { "Cache-Control", "no-store" },
        { "Connection", "close" },
        { "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'" },
        { "Referrer-Policy", "no-referrer" },
        { "X-Content-Type-Options", "nosniff" },
};

START_TEST(page)
{
        struct reply reply = page_make((enum page) _i, "detail");

        ck_assert_uint_eq(reply.status, statuses[_i]);
        ck_assert_ptr_nonnull(reply.response);
        for (size_t i = 0; i < N_ELEMENTS(headers); i++)
                ck_assert_pstr_eq(MHD_get_response_header(reply.response, headers[i].name),
                                  headers[i].value);
        ck_assert_pstr_eq(MHD_get_response_header(reply.response, "Allow"),
                          _i == PAGE_METHOD ? "GET" : NULL);
        MHD_destroy_response(reply.response);
}
END_TEST

/* What takes most room fits, what is longer is cut, and nothing is fine, too. */
START_TEST(detail)
{
        char longest[2 * WHY_MAX];
        const char *const details[] = { NULL, "", longest };

        memset(longest, '"', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = '\0';
        for (size_t i = 0; i < N_ELEMENTS(details); i++) {
                struct reply reply = page_make((enum page) _i, details[i]);

                ck_assert_ptr_nonnull(reply.response);
                MHD_destroy_response(reply.response);
        }
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, page, 0, PAGE_MAX);
        tcase_add_loop_test(tc, detail, 0, PAGE_MAX);
}

CHECK_MAIN("page", add)
