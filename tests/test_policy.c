#include "policy/policy.h"

#include "check_main.h"

static uid_t alice[] = { 1000 }, overflow[] = { PEER_OVERFLOW_ID };
static gid_t staff[] = { 50 }, overflow_group[] = { PEER_OVERFLOW_ID };
static char *web_units[] = { (char *) "web@*.service", (char *) "site.service" };
static gid_t groups[] = { 7, 50 }, overflow_groups[] = { PEER_OVERFLOW_ID };

static const struct conf_rule by_user = { .uids = alice, .n_uids = 1 };
static const struct conf_rule by_group = { .gids = staff, .n_gids = 1 };
static const struct conf_rule by_unit = { .units = { web_units, 2 } };
static const struct conf_rule by_any = { alice, 1, staff, 1, { web_units, 2 } };
static const struct conf_rule by_overflow = { overflow, 1, overflow_group, 1, { NULL, 0 } };
static const struct conf_rule by_nobody = { 0 };

static const struct {
        const struct conf_rule *rule;
        struct peer peer;
        bool matches;
} rows[] = {
        { &by_user, { .uid = 1000, .gid = 1 }, true },
        { &by_user, { .uid = 1001, .gid = 1 }, false },
        { &by_user,
          { .uid = 0, .gid = 0 },
          false }, /* root is no exception: it has `admin`, not `use` */
        { &by_group, { .uid = 1, .gid = 50 }, true },
        { &by_group, { .uid = 1, .gid = 1, .groups = groups, .n_groups = 2 }, true },
        { &by_group, { .uid = 50, .gid = 1, .groups = groups, .n_groups = 1 }, false },
        { &by_unit, { .uid = 1, .gid = 1, .unit = (char *) "web@3.service" }, true },
        { &by_unit, { .uid = 1, .gid = 1, .unit = (char *) "site.service" }, true },
        { &by_unit, { .uid = 1, .gid = 1, .unit = (char *) "site.service.evil" }, false },
        { &by_unit, { .uid = 1, .gid = 1 }, false }, /* unknown */
        { &by_any, { .uid = 1, .gid = 1, .unit = (char *) "site.service" }, true },
        { &by_any, { .uid = 1, .gid = 50 }, true },
        { &by_any, { .uid = 1, .gid = 1 }, false },
        { &by_overflow, { .uid = PEER_OVERFLOW_ID, .gid = 1 }, false },
        { &by_overflow, { .uid = 1, .gid = PEER_OVERFLOW_ID }, false },
        { &by_overflow, { .uid = 1, .gid = 1, .groups = overflow_groups, .n_groups = 1 }, false },
        { &by_nobody, { .uid = 1000, .gid = 50 }, false },
};

START_TEST(matches)
{
        struct conf_credential c = { .restricted = true, .allow = *rows[_i].rule };
        struct conf conf = { .admin = *rows[_i].rule };

        ck_assert_int_eq(policy_matches(rows[_i].rule, &rows[_i].peer), rows[_i].matches);
        ck_assert_int_eq(policy_may_use(&c, &rows[_i].peer), rows[_i].matches);
        ck_assert_int_eq(policy_is_admin(&conf, 999, &rows[_i].peer),
                         rows[_i].matches || rows[_i].peer.uid == 0);
        c.restricted = false; /* no allow_* key: whoever can connect */
        ck_assert(policy_may_use(&c, &rows[_i].peer));
}
END_TEST

START_TEST(administrators)
{
        const struct conf conf = { 0 };

        ck_assert(policy_is_admin(&conf, 999, &(struct peer){ .uid = 0 }));
        ck_assert(policy_is_admin(&conf, 999, &(struct peer){ .uid = 999 }));
        ck_assert(!policy_is_admin(&conf, 999, &(struct peer){ .uid = 1000 }));
        ck_assert(!policy_is_admin(&conf, PEER_OVERFLOW_ID,
                                   &(struct peer){ .uid = PEER_OVERFLOW_ID }));
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, matches, 0, N_ELEMENTS(rows));
        tcase_add_test(tc, administrators);
}

CHECK_MAIN("policy", add)
