#include "hook/command.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"

#define COMMAND_VARIABLES_MAX 16

struct command_job {
        struct list_link link;
        char *subject;
        char *variables[COMMAND_VARIABLES_MAX + 1]; /* the last is NULL */
        size_t n;
};

struct command {
        struct command_parts parts;
        const char *key; /* of the configuration, for the log */
        const struct conf_credential *credential;
        const struct conf_list *words;
        struct list_link waiting; /* struct command_job */
        size_t n_waiting;
        bool dropped; /* one, and it has been said; since the last one has begun that waited */
        pid_t pid;    /* 0: none runs; the leader of a process group */
        int pidfd;
        sd_event_source *ended;
        struct timer limit;
};

/* --- jobs --- */

static struct command_job *command_job_free(struct command_job *j) {
        if (!j)
                return NULL;
        for (size_t i = 0; i < j->n; i++)
                free(j->variables[i]);
        free(j->subject);
        free(j);
        return NULL;
}
AUTO_DEFINE(struct command_job, command_job_free)

/* NULL values are left out. 0, -ENOMEM. */
static int command_job_set(struct command_job *j, const char *name, const char *value) {
        if (!value || j->n == COMMAND_VARIABLES_MAX)
                return 0;
        if (asprintf(&j->variables[j->n], "%s=%s", name, value) < 0) {
                j->variables[j->n] = NULL;
                return RAISE(-ENOMEM);
        }
        j->n++;
        return 0;
}

/* Never the token: whoever wants it asks, as bearerctl does. */
static struct command_job *command_job_new(const struct change *change) {
        static const char *const kept[] = {
                "HOME",    "USER",           "LANG", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
                "DISPLAY", "WAYLAND_DISPLAY"
        };
        AUTO(command_job_freep) struct command_job *j = calloc(1, sizeof(*j));
        const struct conf *conf = change->credential->conf;
        const char *path = getenv("PATH");
        int r = 0;

        if (!j)
                return NULL;
        list_init(&j->link);
        j->subject = strdup(change->subject);
        r |= command_job_set(j, "PATH", path ? path : "/usr/local/bin:/usr/bin:/bin");
        for (size_t i = 0; i < N_ELEMENTS(kept); i++)
                r |= command_job_set(j, kept[i], getenv(kept[i]));
        if (conf && conf->n_sockets > 0) /* of this daemon: that of [daemon] is the first */
                r |= command_job_set(j, "BEARERD_SOCKET", conf->sockets[0]->path);
        r |= command_job_set(j, "BEARERD_EVENT", change_kind_names[change->kind]);
        r |= command_job_set(j, "BEARERD_CREDENTIAL", change->credential->name);
        r |= command_job_set(j, "BEARERD_SUBJECT", change->subject);
        r |= command_job_set(j, "BEARERD_FINGERPRINT",
                             change->token ? change->token->fingerprint : NULL);
        r |= command_job_set(j, "BEARERD_REASON", change->reason);
        return r < 0 || !j->subject ? NULL : TAKE(j);
}

/* --- running --- */

static void command_next(struct command *c);

static void command_log(const struct command *c, const char *event, const char *detail) {
        char quoted[256];

        log_warning("credential=%s event=%s hook=%s command=%s %s", c->credential->name, event,
                    c->key, log_quote(c->words->words[0], quoted, sizeof(quoted)), detail);
}

static void command_forget(struct command *c) {
        c->ended = sd_event_source_unref(c->ended);
        timer_disarm(c->parts.timers, &c->limit);
        if (c->pidfd >= 0)
                (void) close(c->pidfd);
        c->pidfd = -1;
        c->pid = 0;
}

static int command_on_end(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct command *c = userdata;
        char detail[64];
        int status = 0;

        (void) source;
        (void) fd;
        (void) revents;
        if (waitpid(c->pid, &status, WNOHANG) == 0)
                return 0;
        (void) snprintf(detail, sizeof(detail), WIFSIGNALED(status) ? "signal=%d" : "code=%d",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        if (status != 0)
                command_log(c, "hook_failed", detail);
        command_forget(c);
        command_next(c);
        return 0;
}

/* The number is not given to another group before its leader has been waited for. */
static void command_kill(const struct command *c) {
        (void) kill(-c->pid, SIGKILL); /* it may have ended just now */
}

static void command_on_limit(struct timer *t) {
        struct command *c = list_entry(t, struct command, limit);

        command_log(c, "hook_killed",
                    "advice=\"it ran for a minute; let it start a unit for more\"");
        command_kill(c);
}

/* The daemon blocks signals and ignores one; a program expects neither. Its output goes where our log goes. */
static int command_spawn(const struct command *c, const struct command_job *j, char **argv,
                         pid_t *ret_pid) {
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        sigset_t none, usual;
        int r;

        (void) sigemptyset(&none);
        (void) sigemptyset(&usual);
        (void) sigaddset(&usual, SIGPIPE);
        r = posix_spawn_file_actions_init(&files);
        if (r != 0)
                return -r;
        r = posix_spawnattr_init(&attributes);
        if (r == 0) {
                r = posix_spawnattr_setflags(&attributes,
                                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                     POSIX_SPAWN_SETPGROUP); /* its own */
                r = r ? r : posix_spawnattr_setsigmask(&attributes, &none);
                r = r ? r : posix_spawnattr_setsigdefault(&attributes, &usual);
                r = r ? r : posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
                r = r ? r : posix_spawn_file_actions_adddup2(&files, 2, 1);
                r = r ? r
                      : posix_spawn(ret_pid, c->words->words[0], &files, &attributes, argv,
                                    (char **) (uintptr_t) j->variables);
                (void) posix_spawnattr_destroy(&attributes);
        }
        (void) posix_spawn_file_actions_destroy(&files);
        return -r;
}

static int command_begin(struct command *c, const struct command_job *j) {
        AUTO(auto_freep) char **argv = calloc(c->words->n + 1, sizeof(char *));
        int r;

        if (!argv)
                return RAISE(-ENOMEM);
        for (size_t i = 0; i < c->words->n; i++)
                argv[i] = c->words->words[i];
        r = command_spawn(c, j, argv, &c->pid);
        if (r < 0) {
                c->pid = 0;
                return RAISE(r);
        }
        c->pidfd = pidfd_open(c->pid,
                              0); /* it is our child, not waited for: the number is its own */
        r = c->pidfd < 0 ? -errno
                         : sd_event_add_io(c->parts.event, &c->ended, c->pidfd, EPOLLIN,
                                           command_on_end, c);
        if (r < 0) { /* nobody would wait for it */
                command_kill(c);
                (void) waitpid(c->pid, NULL, 0);
                command_forget(c);
                return RAISE(r);
        }
        timer_arm(c->parts.timers, &c->limit,
                  mono_add(clock_mono(c->parts.clock), COMMAND_LIMIT_US));
        return 0;
}

static void command_next(struct command *c) {
        while (c->pid == 0 && !list_is_empty(&c->waiting)) {
                AUTO(command_job_freep)
                struct command_job *j = list_entry(c->waiting.next, struct command_job, link);
                char detail[96];
                int r;

                list_remove(&j->link);
                c->n_waiting--;
                r = command_begin(c, j);
                (void) snprintf(detail, sizeof(detail), "error=\"%s\"", strerror(-r));
                if (r < 0)
                        command_log(c, "hook_failed", detail);
        }
        c->dropped = c->dropped && !list_is_empty(&c->waiting);
}

void command_run(struct command *c, const struct change *change) {
        struct command_job *j = command_job_new(change);
        struct list_link *l, *next;

        for (l = c->waiting.next; l != &c->waiting; l = next) {
                struct command_job *old = list_entry(l, struct command_job, link);

                next = l->next;
                if (strcmp(old->subject, change->subject) != 0)
                        continue;
                list_remove(l);
                c->n_waiting--;
                command_job_free(old);
        }
        if (!j || c->n_waiting >= COMMAND_WAITING_MAX) {
                if (!c->dropped)
                        command_log(c, "hook_dropped",
                                    j ? "error=\"too many wait\"" : "error=\"no memory\"");
                c->dropped = true;
                command_job_free(j);
                return;
        }
        list_append(&c->waiting, &j->link);
        c->n_waiting++;
        command_next(c);
}

pid_t command_pid(const struct command *c) {
        return c->pid;
}

int command_new(const struct command_parts *parts, const char *key,
                const struct conf_credential *credential, const struct conf_list *words,
                struct command **ret) {
        struct command *c = calloc(1, sizeof(*c));

        if (!c || timers_reserve(parts->timers) < 0) {
                free(c);
                return RAISE(-ENOMEM);
        }
        *c = (struct command){ .parts = *parts,
                               .key = key,
                               .credential = credential,
                               .words = words,
                               .pidfd = -1,
                               .limit = { .fn = command_on_limit } };
        list_init(&c->waiting);
        *ret = c;
        return 0;
}

void command_adopt(struct command *c, const struct conf_credential *credential,
                   const struct conf_list *words) {
        c->credential = credential;
        c->words = words;
}

struct command *command_free(struct command *c) {
        if (!c)
                return NULL;
        if (c->pid > 0) {
                command_kill(c);
                (void) waitpid(c->pid, NULL, 0);
        }
        command_forget(c);
        timers_release(c->parts.timers);
        while (!list_is_empty(&c->waiting)) {
                struct command_job *j = list_entry(c->waiting.next, struct command_job, link);

                list_remove(&j->link);
                command_job_free(j);
        }
        free(c);
        return NULL;
}
