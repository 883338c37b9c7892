#include "policy/policy.h"

#include <sys/stat.h>

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
        enum policy_match match;
        id_t id;
        const char *unit;
} rows[] = {
        { &by_user, { .uid = 1000, .gid = 1 }, POLICY_USER, 1000, NULL },
        { &by_user, { .uid = 1001, .gid = 1 }, POLICY_NOTHING, 0, NULL },
        { &by_user, { .uid = 1, .gid = 1000 }, POLICY_NOTHING, 0, NULL },
        { &by_user,
          { .uid = 0, .gid = 0 },
          POLICY_NOTHING,
          0,
          NULL }, /* root is no exception: it has `admin`, not `use` */
        { &by_group, { .uid = 1, .gid = 50 }, POLICY_GROUP, 50, NULL },
        { &by_group,
          { .uid = 1, .gid = 1, .groups = groups, .n_groups = 2 },
          POLICY_GROUP,
          50,
          NULL },
        { &by_group,
          { .uid = 50, .gid = 1, .groups = groups, .n_groups = 1 },
          POLICY_NOTHING,
          0,
          NULL },
        { &by_unit,
          { .uid = 1, .gid = 1, .unit = (char *) "web@3.service" },
          POLICY_UNIT,
          0,
          "web@*.service" },
        { &by_unit,
          { .uid = 1, .gid = 1, .unit = (char *) "web@a\\x2db.service" },
          POLICY_UNIT,
          0,
          "web@*.service" },
        { &by_unit,
          { .uid = 1, .gid = 1, .unit = (char *) "site.service" },
          POLICY_UNIT,
          0,
          "site.service" },
        { &by_unit,
          { .uid = 1, .gid = 1, .unit = (char *) "site.service.evil" },
          POLICY_NOTHING,
          0,
          NULL },
        { &by_unit,
          { .uid = 1, .gid = 1, .unit = (char *) "web@3.service.scope" },
          POLICY_NOTHING,
          0,
          NULL },
        { &by_unit, { .uid = 1, .gid = 1 }, POLICY_NOTHING, 0, NULL }, /* unknown */
        { &by_any,
          { .uid = 1, .gid = 1, .unit = (char *) "site.service" },
          POLICY_UNIT,
          0,
          "site.service" },
        { &by_any, { .uid = 1, .gid = 50 }, POLICY_GROUP, 50, NULL },
        { &by_any, { .uid = 1000, .gid = 50 }, POLICY_USER, 1000, NULL },
        { &by_any, { .uid = 1, .gid = 1 }, POLICY_NOTHING, 0, NULL },
        { &by_overflow, { .uid = PEER_OVERFLOW_ID, .gid = 1 }, POLICY_NOTHING, 0, NULL },
        { &by_overflow, { .uid = 1, .gid = PEER_OVERFLOW_ID }, POLICY_NOTHING, 0, NULL },
        { &by_overflow,
          { .uid = 1, .gid = 1, .groups = overflow_groups, .n_groups = 1 },
          POLICY_NOTHING,
          0,
          NULL },
        { &by_nobody, { .uid = 1000, .gid = 50 }, POLICY_NOTHING, 0, NULL },
};

static void check(struct policy_verdict v, enum policy_match match, id_t id, const char *unit) {
        ck_assert_int_eq(v.match, match);
        ck_assert_int_eq(policy_allows(v), match != POLICY_NOTHING);
        ck_assert_uint_eq(v.id, id);
        if (unit)
                ck_assert_str_eq(v.unit, unit);
        else
                ck_assert_ptr_null(v.unit);
}

START_TEST(matches)
{
        struct conf_credential c = { .restricted = true, .allow = *rows[_i].rule };
        const struct conf conf = { .admin = *rows[_i].rule };
        const struct peer *peer = &rows[_i].peer;

        check(policy_match(rows[_i].rule, peer), rows[_i].match, rows[_i].id, rows[_i].unit);
        check(policy_use(&c, peer), rows[_i].match, rows[_i].id, rows[_i].unit);
        if (peer->uid == 0)
                check(policy_admin(&conf, 999, peer), POLICY_ROOT, 0, NULL);
        else
                check(policy_admin(&conf, 999, peer), rows[_i].match, rows[_i].id, rows[_i].unit);
        c.restricted = false; /* no allow_* key: whoever can connect */
        check(policy_use(&c, peer), POLICY_NO_RULE, 0, NULL);
}
END_TEST

START_TEST(administrators)
{
        const struct conf conf = { 0 };

        check(policy_admin(&conf, 999, &(struct peer){ .uid = 0 }), POLICY_ROOT, 0, NULL);
        check(policy_admin(&conf, 999, &(struct peer){ .uid = 999 }), POLICY_OWN_USER, 0, NULL);
        check(policy_admin(&conf, 999, &(struct peer){ .uid = 1000 }), POLICY_NOTHING, 0, NULL);
        check(policy_admin(&conf, PEER_OVERFLOW_ID, &(struct peer){ .uid = PEER_OVERFLOW_ID }),
              POLICY_NOTHING, 0, NULL);
}
END_TEST

static const struct {
        struct peer peer;
        mode_t mode; /* of a file of user 7, group 50 */
        bool may_connect;
} modes[] = {
        { { .uid = 0, .gid = 0 }, 0000, true },
        { { .uid = 7, .gid = 1 }, 0600, true },
        { { .uid = 7, .gid = 50 }, 0466, false }, /* the owner's class decides, and no other */
        { { .uid = 1, .gid = 50 }, 0660, true },
        { { .uid = 1, .gid = 1, .groups = groups, .n_groups = 2 }, 0020, true },
        { { .uid = 1, .gid = 50 }, 0646, false },
        { { .uid = 1, .gid = 1 }, 0660, false },
        { { .uid = 1, .gid = 1 }, 0666, true },
        { { .uid = 1, .gid = 1 }, 0005, false },
};

START_TEST(permissions)
{
        ck_assert_int_eq(policy_has_permission(7, 50, modes[_i].mode, S_IWOTH, &modes[_i].peer),
                         modes[_i].may_connect);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, matches, 0, N_ELEMENTS(rows));
        tcase_add_test(tc, administrators);
        tcase_add_loop_test(tc, permissions, 0, N_ELEMENTS(modes));
}

CHECK_MAIN("policy", add)
