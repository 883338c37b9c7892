#include "api/unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "check_main.h"

static const struct {
        const char *path;
        const char *unit; /* NULL: unknown */
} paths[] = {
        { "/system.slice/app.service", "app.service" },
        { "/system.slice/system-app.slice/app@3.service", "app@3.service" },
        { "/system.slice/app.service/worker", "app.service" },
        { "/user.slice/user-1001.slice/user@1001.service/app.slice/victim.service",
          "user@1001.service" },
        { "/user.slice/user-1001.slice/session-2.scope", "session-2.scope" },
        { "/machine.slice/libpod-0123.scope/container", "libpod-0123.scope" },
        { "/init.scope", "init.scope" },
        { "/", NULL },
        { "", NULL },
        { "/system.slice", NULL },
        { "/../system.slice/app.service", NULL },
        { "/docker/0123", NULL },      /* no unit of systemd's */
        { "/mine/app.service", NULL }, /* made by whoever owns /mine */
        { "/.slice/app.service", NULL },
        { "/.service", NULL },
};

START_TEST(of_cgroup)
{
        char *unit = NULL;

        ck_assert_int_eq(unit_of_cgroup(paths[_i].path, &unit), paths[_i].unit ? 0 : -ENODATA);
        if (paths[_i].unit)
                ck_assert_str_eq(unit, paths[_i].unit);
        else
                ck_assert_ptr_null(unit);
        free(unit);
}
END_TEST

START_TEST(of_what_is_no_peer)
{
        char *unit = NULL;
        int fds[2];

        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(unit_of_peer(fds[0], &unit), -ENODATA);
        ck_assert_int_eq(unit_of_peer(-1, &unit), -ENODATA);
        ck_assert_ptr_null(unit);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, of_cgroup, 0, N_ELEMENTS(paths));
        tcase_add_test(tc, of_what_is_no_peer);
}

CHECK_MAIN("unit", add)
