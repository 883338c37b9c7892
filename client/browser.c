#include "client/browser.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>

#define BROWSER_PROGRAM "xdg-open"

static bool browser_is_set(const char *variable) {
        const char *value = getenv(variable);

        return value && *value;
}

bool browser_is_near(void) {
        return (browser_is_set("DISPLAY") || browser_is_set("WAYLAND_DISPLAY")) &&
               !browser_is_set("SSH_CONNECTION");
}

/* In a session of its own, so that Ctrl-C for us is not for the browser; without our terminal, our
 * blocked signals, and any descriptor of ours. The child is reaped when we end. */
bool browser_open(const char *url) {
        const char *arguments[] = { BROWSER_PROGRAM, url, NULL };
        posix_spawn_file_actions_t files;
        posix_spawnattr_t how;
        sigset_t none, all;
        pid_t pid;
        int r;

        if (posix_spawn_file_actions_init(&files) != 0)
                return false;
        if (posix_spawnattr_init(&how) != 0) {
                (void) posix_spawn_file_actions_destroy(&files); /* fails nowhere */
                return false;
        }
        (void) sigemptyset(&none); /* neither can fail: the arguments are valid */
        (void) sigfillset(&all);
        r = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDWR, 0);
        for (int fd = STDOUT_FILENO; r == 0 && fd <= STDERR_FILENO; fd++)
                r = posix_spawn_file_actions_adddup2(&files, STDIN_FILENO, fd);
        if (r == 0)
                r = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                           POSIX_SPAWN_SETSIGDEF);
        if (r == 0)
                r = posix_spawnattr_setsigmask(&how, &none);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(&how, &all);
        if (r == 0)
                r = posix_spawnp(&pid, BROWSER_PROGRAM, &files, &how, (char *const *) arguments,
                                 environ);
        (void) posix_spawnattr_destroy(&how);
        (void) posix_spawn_file_actions_destroy(&files);
        return r == 0;
}
