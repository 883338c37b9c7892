#include "api/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check_main.h"

#define SYSTEM UNIT_VIEW_SYSTEM
#define USER   "/user.slice/user-1001.slice/"
#define OWN    USER "user@1001.service/"

static const struct {
        uid_t view;
        const char *path;
        enum peer_unit unit_is;
        const char *unit;
} paths[] = {
        { SYSTEM, "/system.slice/app.service", PEER_UNIT_KNOWN, "app.service" },
        { SYSTEM, "/system.slice/system-app.slice/app@3.service", PEER_UNIT_KNOWN,
          "app@3.service" },
        { SYSTEM, "/system.slice/app.service/worker", PEER_UNIT_KNOWN, "app.service" },
        { SYSTEM, OWN "app.slice/victim.service", PEER_UNIT_KNOWN, "user@1001.service" },
        { SYSTEM, USER "session-2.scope", PEER_UNIT_KNOWN, "session-2.scope" },
        { SYSTEM, "/machine.slice/libpod-0123.scope/container", PEER_UNIT_KNOWN,
          "libpod-0123.scope" },
        { SYSTEM, "/init.scope", PEER_UNIT_KNOWN, "init.scope" },
        { SYSTEM, "/", PEER_UNIT_NONE, NULL },
        { SYSTEM, "", PEER_UNIT_FOREIGN, NULL },
        { SYSTEM, "app.service", PEER_UNIT_FOREIGN, NULL },
        { SYSTEM, "/system.slice", PEER_UNIT_NONE, NULL },
        { SYSTEM, "/..", PEER_UNIT_FOREIGN, NULL },
        { SYSTEM, "/../system.slice/app.service", PEER_UNIT_FOREIGN, NULL },
        { SYSTEM, "/docker/0123", PEER_UNIT_NONE, NULL },      /* no unit of systemd's */
        { SYSTEM, "/mine/app.service", PEER_UNIT_NONE, NULL }, /* made by whoever owns /mine */
        { SYSTEM, "/.slice/app.service", PEER_UNIT_NONE, NULL },
        { SYSTEM, "/.service", PEER_UNIT_NONE, NULL },
        { SYSTEM, "/system.slice/app.service (deleted)", PEER_UNIT_NONE, NULL },

        /* a user's own daemon sees that user's units, and no others */
        { 1001, OWN "app.slice/app.service", PEER_UNIT_KNOWN, "app.service" },
        { 1001, OWN "app.slice/app-mine.slice/app@1.service/child", PEER_UNIT_KNOWN,
          "app@1.service" },
        { 1001, OWN "init.scope", PEER_UNIT_KNOWN, "init.scope" },
        { 1001, OWN "mine/app.service", PEER_UNIT_NONE, NULL },
        { 1001, USER "user@1001.service", PEER_UNIT_KNOWN, "user@1001.service" },
        { 1001, USER "session-2.scope", PEER_UNIT_KNOWN, "session-2.scope" },
        { 1001, "/system.slice/app.service", PEER_UNIT_OF_OTHERS, NULL },
        { 1001, "/system.slice" OWN "app.slice/app.service", PEER_UNIT_OF_OTHERS, NULL },
        { 100, OWN "app.slice/app.service", PEER_UNIT_OF_OTHERS, NULL },
        { 10010, OWN "app.slice/app.service", PEER_UNIT_OF_OTHERS, NULL },
        { 1001, "/user.slice/user-1001.slice/user@1002.service/app.service", PEER_UNIT_KNOWN,
          "user@1002.service" },
        { 1001, "/..", PEER_UNIT_FOREIGN, NULL },
};

START_TEST(of_cgroup)
{
        struct peer peer = { .uid = 7 };

        ck_assert_int_eq(unit_of_cgroup(paths[_i].path, paths[_i].view, &peer), 0);
        ck_assert_int_eq(peer.unit_is, paths[_i].unit_is);
        if (paths[_i].unit)
                ck_assert_str_eq(peer.unit, paths[_i].unit);
        else
                ck_assert_ptr_null(peer.unit);
        ck_assert_uint_eq(peer.uid, 7);
        peer_done(&peer);
}
END_TEST

START_TEST(of_what_is_no_peer)
{
        struct peer peer = { 0 };
        int fds[2];

        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(unit_of_peer(fds[0], SYSTEM, &peer), 0);
        ck_assert_int_eq(peer.unit_is, PEER_UNIT_GONE);
        ck_assert_int_eq(unit_of_peer(-1, SYSTEM, &peer), 0);
        ck_assert_int_eq(peer.unit_is, PEER_UNIT_GONE);
        ck_assert_int_eq(unit_of_pidfd(fds[0], SYSTEM, &peer), 0);
        ck_assert_ptr_null(peer.unit);
        (void) close(fds[0]);
        (void) close(fds[1]);
}
END_TEST

/* A process that has ended, and whose id may be another's by now, has no unit. */
START_TEST(of_a_process_that_is_gone)
{
        pid_t child = fork();
        struct peer peer = { 0 };
        int pidfd;

        if (child == 0)
                pause();
        pidfd = (int) syscall(SYS_pidfd_open, child, 0);
        if (pidfd < 0 && errno == ENOSYS) {
                (void) puts("NOT TESTED: no pidfd_open(2) here, as under valgrind");
                (void) kill(child, SIGKILL);
                (void) waitpid(child, NULL, 0);
                return;
        }
        ck_assert_int_ge(pidfd, 0);
        ck_assert_int_eq(unit_of_pidfd(pidfd, SYSTEM, &peer), 0);
        ck_assert_int_ne(peer.unit_is, PEER_UNIT_NOT_ASKED);
        ck_assert_int_ne(peer.unit_is, PEER_UNIT_GONE);
        peer_done(&peer);
        (void) kill(child, SIGKILL);
        (void) waitpid(child, NULL, 0);
        ck_assert_int_eq(unit_of_pidfd(pidfd, SYSTEM, &peer), 0);
        ck_assert_int_eq(peer.unit_is, PEER_UNIT_GONE);
        ck_assert_ptr_null(peer.unit);
        (void) close(pidfd);
}
END_TEST

START_TEST(every_unknown_has_a_reason)
{
        for (int i = 0; i < PEER_UNIT_MAX; i++)
                ck_assert_int_eq(peer_unit_reasons[i] != NULL, i != PEER_UNIT_KNOWN);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, of_cgroup, 0, N_ELEMENTS(paths));
        tcase_add_test(tc, of_what_is_no_peer);
        tcase_add_test(tc, of_a_process_that_is_gone);
        tcase_add_test(tc, every_unknown_has_a_reason);
}

CHECK_MAIN("unit", add)
