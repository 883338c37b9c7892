#include "api/cgroup.h"

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "check_main.h"

#define CROWD 300 /* directories of a user who makes many */

static char root[] = "/tmp/bearerd-cgroup-XXXXXX";

static uint64_t make(const char *path) {
        char full[256];
        struct stat st;

        (void) snprintf(full, sizeof(full), "%s%s", root, path);
        ck_assert_int_eq(mkdir(full, 0700), 0);
        ck_assert_int_eq(stat(full, &st), 0);
        return st.st_ino;
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) st;
        (void) type;
        (void) ftw;
        return remove(path);
}

static void set_up(void) {
        strcpy(root, "/tmp/bearerd-cgroup-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
}

static void tear_down(void) {
        ck_assert_int_eq(nftw(root, drop, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static bool finds(uint64_t id, const char *path) {
        char found[512];
        int r = cgroup_path(root, id, found, sizeof(found));

        if (r == 0)
                ck_assert_str_eq(found, path);
        else
                ck_assert_int_eq(r, -ENOENT);
        return r == 0;
}

START_TEST(by_id)
{
        const uint64_t slice = make("/a.slice"), unit = make("/a.slice/x.service"),
                       inner = make("/a.slice/x.service/y.slice"),
                       deep = make("/a.slice/x.service/y.slice/z.service"),
                       init = make("/init.scope");
        char small[8];

        ck_assert(finds(slice, "/a.slice"));
        ck_assert(finds(unit, "/a.slice/x.service"));
        ck_assert(finds(inner, "/a.slice/x.service/y.slice"));
        ck_assert(finds(deep, "/a.slice/x.service/y.slice/z.service"));
        ck_assert(finds(init, "/init.scope"));
        ck_assert(finds(deep, "/a.slice/x.service/y.slice/z.service")); /* remembered */
        ck_assert_int_eq(cgroup_path(root, deep, small, sizeof(small)), -ENAMETOOLONG);
        ck_assert(!finds(UINT64_MAX, NULL));
}
END_TEST

/* However many directories somebody makes in a unit of theirs, few are looked at, and others are found all the same. */
START_TEST(one_crowd_costs_others_nothing)
{
        static uint64_t ids[CROWD];
        uint64_t victim;
        char path[64];
        size_t n = 0;

        (void) make("/u.slice");
        (void) make("/u.slice/user@1.service");
        (void) make("/u.slice/user@2.service");
        for (size_t i = 0; i < CROWD; i++) {
                (void) snprintf(path, sizeof(path), "/u.slice/user@1.service/%zu", i);
                ids[i] = make(path);
        }
        victim = make("/u.slice/user@2.service/app.service");
        for (size_t i = 0; i < CROWD; i++) {
                (void) snprintf(path, sizeof(path), "/u.slice/user@1.service/%zu", i);
                n += finds(ids[i], path);
        }
        ck_assert_uint_eq(n, 128);
        ck_assert(finds(victim, "/u.slice/user@2.service/app.service"));
}
END_TEST

static void add(TCase *tc) {
        (void) unsetenv("CK_FORK"); /* what is remembered lasts as long as the process */
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, by_id);
        tcase_add_test(tc, one_crowd_costs_others_nothing);
}

CHECK_MAIN("cgroup", add)
