#pragma once
/*
 * A verb of bearerctl
 *
 * bearerctl.c turns the command line into a struct call, checked and complete, and runs the verb;
 * the verb returns the exit code. What a person must know it has said on standard error by then.
 */

#include <stdbool.h>
#include <stdint.h>

#define AUTO(fn) __attribute__((cleanup(fn)))

enum { /* exit codes: design.md section 8 */
        EXIT_DONE = 0,
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_UNREACHABLE = 3,
        EXIT_DENIED = 4,
        EXIT_AUTHORIZE = 5,
        EXIT_UPSTREAM = 6,
        EXIT_NOT_EXECUTABLE = 126, /* exec: as env(1) and nohup(1) have it */
        EXIT_NO_COMMAND = 127,
};

enum form { /* how a token or a state is printed */
        FORM_PLAIN,
        FORM_HEADER, /* Authorization: Bearer ... */
        FORM_ENV,    /* COZE_API_TOKEN=... */
        FORM_JSON,   /* for a program */
};

struct call {
        const char *socket;   /* NULL: wire_find_socket() */
        const char *name;     /* a valid name, or NULL where the verb allows it */
        const char *file;     /* check, rekey; NULL: the default */
        char **command;       /* exec; NULL-terminated, at least one word */
        const char *subject;  /* NULL: the credential itself */
        const char *rejected; /* a fingerprint, or NULL */
        int64_t pid;          /* explain; 0: its own */
        const char *cancel;   /* authorizations; an id, or NULL */
        int64_t min_ttl_s;    /* -1: the daemon's default */
        int64_t wait_s;       /* the same; login: to the end */
        int64_t expires_at;   /* set; UNIX seconds, -1: not given */
        enum form form;
        bool user;       /* check, rekey: the configuration of bearerd --user */
        bool offline;    /* check: ask nobody */
        bool subjects;   /* status: of the credential, not itself */
        bool no_browser; /* login */
};

int verb_get(const struct call *call);
int verb_exec(const struct call *call);
int verb_set(const struct call *call);
int verb_list(const struct call *call);
int verb_status(const struct call *call);
int verb_watch(const struct call *call);
int verb_login(const struct call *call);
int verb_logout(const struct call *call);
int verb_authorizations(const struct call *call);
int verb_check(const struct call *call);
int verb_reload(const struct call *call);
int verb_rekey(const struct call *call);
int verb_explain(const struct call *call);
int verb_health(const struct call *call);

/* "bearerctl: ..." on standard error, one line, one write. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Flushes standard output, which may be a full disk. EXIT_DONE, or it has been said what failed. */
int finish(void);
