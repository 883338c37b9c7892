#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_main.h"

/* Each test is a process of its own: Check forks. What is given up does not come back. */

static char top[] = "/tmp/bearerd-sandbox-XXXXXX";
static char path[128];

static void make_top(void) {
        ck_assert_ptr_nonnull(mkdtemp(top));
}

static const char *in(const char *directory, const char *name) {
        (void) snprintf(path, sizeof(path), "%s%s%s", top, directory, name);
        return path;
}

static void clean_up(void) {
        (void) unlink(in("", "/link"));
        (void) rmdir(in("", "/allowed"));
        (void) rmdir(in("", "/other"));
}

static void drop_top(void) {
        clean_up();
        ck_assert_int_eq(rmdir(top), 0);
}

static int try_to_write(const char *file) {
        int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), r = fd < 0 ? -errno : 0;

        if (fd >= 0)
                (void) close(fd);
        (void) unlink(file);
        return r;
}

START_TEST(writing_is_limited)
{
        char allowed[64];
        const char *directories[] = { allowed };
        int r;

        (void) snprintf(allowed, sizeof(allowed), "%s/allowed", top);
        clean_up();
        ck_assert_int_eq(mkdir(allowed, 0700), 0);
        ck_assert_int_eq(mkdir(in("", "/other"), 0700), 0);
        ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        ck_assert_int_eq(symlink(allowed, in("", "/link")), 0);
        ck_assert_int_eq(try_to_write(in("/other", "/file")), 0);
        ck_assert(sandbox_may_write(in("/other", "/file")));
        r = sandbox_limit_writing(directories, 1);
        ck_assert_int_ge(r, 0);
        if (r > 0) { /* else the kernel has no Landlock */
                ck_assert_int_eq(try_to_write(in("/other", "/file")), -EACCES);
                ck_assert_int_eq(mkdir(in("/other", "/directory"), 0700), -1);
                ck_assert_int_eq(try_to_write(in("/allowed", "/file")), 0);
                ck_assert_int_eq(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0, 0);
                ck_assert_int_eq(open("/dev/null", O_WRONLY | O_CLOEXEC) < 0, 0);
                ck_assert(sandbox_may_write(in("/allowed", "/file")));
                ck_assert(sandbox_may_write(in("/allowed", "/not/there/yet")));
                ck_assert(!sandbox_may_write(in("/other", "/file")));
                ck_assert(!sandbox_may_write(in("", "/allowed"))); /* not the directory itself */
                ck_assert(!sandbox_may_write("/file"));
                ck_assert(sandbox_may_write(in("/link", "/file"))); /* it leads there */
        }
}
END_TEST

START_TEST(what_is_not_there_yet_can_be_made)
{
        char missing[64];
        const char *directories[] = { missing };

        (void) snprintf(missing, sizeof(missing), "%s/allowed", top);
        clean_up();
        ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        ck_assert_int_ge(sandbox_limit_writing(directories, 1), 0);
        ck_assert_int_eq(mkdir(missing, 0700), 0);
        ck_assert_int_eq(try_to_write(in("/allowed", "/file")), 0);
}
END_TEST

static void *in_a_thread(void *unused) {
        (void) unused;
        return unshare(CLONE_NEWUTS) < 0 && errno == EPERM ? top : NULL;
}

START_TEST(calls_are_refused)
{
        pthread_t thread;
        void *refused = NULL;

        ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        ck_assert_int_eq(sandbox_limit_calls(), 0);
#ifndef __SANITIZE_ADDRESS__
        ck_assert_int_eq((int) ptrace(PTRACE_TRACEME, 0, NULL, NULL), -1);
        ck_assert_int_eq(errno, EPERM);
#endif
        ck_assert_int_eq(pthread_create(&thread, NULL, in_a_thread, NULL), 0);
        ck_assert_int_eq(pthread_join(thread, &refused), 0);
        ck_assert_ptr_nonnull(refused); /* threads made later are bound, too */
        ck_assert_int_eq(getpid() > 0, 1);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_unchecked_fixture(tc, make_top, drop_top);
        tcase_add_test(tc, writing_is_limited);
        tcase_add_test(tc, what_is_not_there_yet_can_be_made);
        tcase_add_test(tc, calls_are_refused);
}

CHECK_MAIN("sandbox", add)
