#include "conf/eligibility.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"

/* coze-oauth.md section 2.1, told a second time and independently. */
static const struct {
        enum credential_type type;
        enum application application;
        bool collaboration;
        const char *row;
        bool personal, admin, member;
} rows[] = {
        { CREDENTIAL_PAT, 0, false, "PAT", 1, 1, 1 },
        { CREDENTIAL_SAT, 0, false, "SAT", 1, 1, 0 },
        { CREDENTIAL_AUTHORIZATION_CODE, 0, false, "Authorization code", 1, 1, 0 },
        { CREDENTIAL_AUTHORIZATION_CODE, 0, true, "Authorization code, collaboration", 0, 1, 0 },
        { CREDENTIAL_PKCE, 0, false, "PKCE", 1, 1, 0 },
        { CREDENTIAL_PKCE, 0, true, "PKCE, collaboration", 0, 1, 0 },
        { CREDENTIAL_DEVICE_CODE, 0, false, "Device code", 1, 1, 0 },
        { CREDENTIAL_DEVICE_CODE, 0, true, "Device code, collaboration", 0, 1, 0 },
        { CREDENTIAL_JWT, APPLICATION_DEVELOPER, false, "JWT developer", 1, 1, 0 },
        { CREDENTIAL_JWT, APPLICATION_CHANNEL, false, "JWT channel", 1, 1, 0 },
        { CREDENTIAL_JWT, APPLICATION_ENTERPRISE, false, "JWT enterprise-privileged", 0, 1, 0 },
        /* what does not count for the type is not looked at */
        { CREDENTIAL_PAT, APPLICATION_ENTERPRISE, true, "PAT", 1, 1, 1 },
        { CREDENTIAL_JWT, APPLICATION_DEVELOPER, true, "JWT developer", 1, 1, 0 },
};

static void check(size_t i, enum plan plan, enum role role, bool allowed) {
        struct why why = { "untouched" };
        char quoted[64];
        int r;

        r = eligibility_check(rows[i].type, rows[i].application, rows[i].collaboration, plan, role,
                              &why);
        ck_assert_msg(r == (allowed ? 0 : -EPERM), "%s: plan \"%s\", role \"%s\": %d", rows[i].row,
                      plan_names[plan], role_names[role], r);
        if (allowed)
                return;
        snprintf(quoted, sizeof(quoted), "\"%s\"", rows[i].row);
        ck_assert_msg(strstr(why.text, quoted), "%s: %s", rows[i].row, why.text);
        ck_assert_msg(strstr(why.text, "it allows it to "), "%s", why.text);
        ck_assert_msg(!strstr(why.text, "personal accounts") == !rows[i].personal, "%s", why.text);
}

START_TEST(row)
{
        bool personal = rows[_i].personal, admin = rows[_i].admin, member = rows[_i].member;

        check((size_t) _i, PLAN_PERSONAL, ROLE_UNSET, personal);
        check((size_t) _i, PLAN_PERSONAL, ROLE_ADMIN, personal); /* a role has no meaning there */
        check((size_t) _i, PLAN_ENTERPRISE, ROLE_ADMIN, admin);
        check((size_t) _i, PLAN_ENTERPRISE, ROLE_MEMBER, member);
        /* unset: only what no value could make right is refused */
        check((size_t) _i, PLAN_UNSET, ROLE_UNSET, true);
        check((size_t) _i, PLAN_ENTERPRISE, ROLE_UNSET, admin || member);
        check((size_t) _i, PLAN_UNSET, ROLE_ADMIN, admin);
        check((size_t) _i, PLAN_UNSET, ROLE_MEMBER, member);
}
END_TEST

START_TEST(sentence)
{
        struct why why = { "" };

        ck_assert_int_eq(eligibility_check(CREDENTIAL_JWT, APPLICATION_ENTERPRISE, false,
                                           PLAN_PERSONAL, ROLE_UNSET, &why),
                         -EPERM);
        ck_assert_str_eq(why.text,
                         "Coze does not allow \"JWT enterprise-privileged\" to plan = personal; it "
                         "allows it to an enterprise's super-admins and admins of its default "
                         "organisation");
        ck_assert_int_eq(
                eligibility_check(CREDENTIAL_SAT, 0, false, PLAN_ENTERPRISE, ROLE_MEMBER, NULL),
                -EPERM);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, row, 0, N_ELEMENTS(rows));
        tcase_add_test(tc, sentence);
}

CHECK_MAIN("eligibility", add)
