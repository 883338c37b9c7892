#include "client/verb.h"

/*
 * check: the daemon's own eyes on the configuration
 *
 * Only bearerd can read keys and knows every rule, so it does the work: the one that was installed
 * with this program, so that an old one further down in PATH does not judge a new configuration.
 */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHECK_PROGRAM "bearerd"

/* "/usr/bin/bearerd" for "/usr/bin/bearerctl". False: unknown, or too long. */
static bool check_find_sibling(char ret[PATH_MAX]) {
        ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
        char *slash;

        if (n < 0)
                return false;
        ret[n] = '\0';
        slash = strrchr(ret, '/');
        if (!slash || (size_t) (slash + 1 - ret) + sizeof(CHECK_PROGRAM) > PATH_MAX)
                return false;
        strcpy(slash + 1, CHECK_PROGRAM);
        return true;
}

int verb_check(const struct call *call) {
        const char *arguments[] = { CHECK_PROGRAM, "--check", NULL, NULL, NULL, NULL };
        char sibling[PATH_MAX];
        size_t n = 2;

        if (call->file) {
                arguments[n++] = "--config";
                arguments[n++] = call->file;
        }
        if (call->user)
                arguments[n++] = "--user";
        errno = ENOENT;
        if (check_find_sibling(sibling))
                (void) execv(sibling, (char *const *) arguments);
        if (errno == ENOENT)
                (void) execv(BEARERD_BINDIR "/" CHECK_PROGRAM, (char *const *) arguments);
        if (errno == ENOENT)
                (void) execvp(CHECK_PROGRAM, (char *const *) arguments);
        say("cannot run " CHECK_PROGRAM
            ": %s; it was looked for beside bearerctl, in " BEARERD_BINDIR
            " and in PATH: install it there",
            strerror(errno));
        return EXIT_FAILED;
}
