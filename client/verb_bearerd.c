#include "client/bearerd.h"

/*
 * rekey, and how bearerd is found: what only it can do
 *
 * It reads keys, knows every rule and opens the store, so it does the work: the one that was
 * installed with this program, so that an old one further down in PATH does not judge a new
 * configuration.
 */

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "client/message.h"

#define BEARERD_PROGRAM "bearerd"

/* "/usr/bin/bearerd" for "/usr/bin/bearerctl". False: unknown, or too long. */
static bool bearerd_find_sibling(char ret[PATH_MAX]) {
        ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
        char *slash;

        if (n < 0)
                return false;
        ret[n] = '\0';
        slash = strrchr(ret, '/');
        if (!slash || (size_t) (slash + 1 - ret) + sizeof(BEARERD_PROGRAM) > PATH_MAX)
                return false;
        strcpy(slash + 1, BEARERD_PROGRAM);
        return true;
}

int bearerd_become(const struct call *call, const char *what) {
        const char *arguments[] = { BEARERD_PROGRAM, what, NULL, NULL, NULL, NULL, NULL };
        char sibling[PATH_MAX];
        size_t n = 2;

        if (call->file) {
                arguments[n++] = "--config";
                arguments[n++] = call->file;
        }
        if (call->user)
                arguments[n++] = "--user";
        if (call->offline)
                arguments[n++] = "--offline";
        errno = ENOENT;
        if (bearerd_find_sibling(sibling))
                (void) execv(sibling, (char *const *) arguments);
        if (errno == ENOENT)
                (void) execv(BEARERD_BINDIR "/" BEARERD_PROGRAM, (char *const *) arguments);
        if (errno == ENOENT)
                (void) execvp(BEARERD_PROGRAM, (char *const *) arguments);
        say(_("cannot run %s: %s; it was looked for beside bearerctl, in %s and in PATH: install it there"),
            BEARERD_PROGRAM, message_errno(errno), BEARERD_BINDIR);
        return EXIT_FAILED;
}

int verb_rekey(const struct call *call) {
        return bearerd_become(call, "--rekey");
}
