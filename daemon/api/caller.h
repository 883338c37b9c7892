#pragma once
/*
 * Caller: one connection and who is at its other end
 *
 * Asked of the kernel once, when the connection is accepted, and kept with it. What no rule asks for is not looked up:
 * /proc costs more than an answer does (performance.md section 8).
 *
 * Threading: serving thread.
 * Sources:   unix(7), SO_PEERCRED; design.md section 7.
 */

#include "api/unit.h"
#include "base/auto.h"
#include "conf/conf.h"
#include "policy/peer.h"

struct caller {
        struct peer peer;
        const struct conf_socket *socket; /* the one it came in by; NULL: it was removed */
        bool is_admin;
        unsigned generation;       /* of the configuration that `socket` and `is_admin` follow */
        struct listener *listener; /* the server's */
        int fd;                    /* of the connection, which lives longer; -1: none */
        uid_t view;                /* see unit.h */
};

/* What the rules of a configuration need to know about a caller besides uid and gid, which cost nothing. */
struct caller_needs {
        bool groups; /* some rule names a group */
        bool units;  /* some rule names a unit */
        uid_t view;  /* see unit.h */
};

struct caller_needs caller_needs_of(const struct conf *conf);

/* Asks the kernel about the peer of `fd`. 0, -ENOMEM, or what getsockopt(2) said. */
int caller_new(int fd, const struct conf_socket *socket, struct caller_needs needs,
               struct caller **ret);
/* Asks again, since other rules may need to know more. On failure nothing has changed. */
int caller_renew(struct caller *c, const struct conf_socket *socket, struct caller_needs needs);
struct caller *caller_free(struct caller *c);

/* Looks up the unit, if no rule has asked for it. By whoever has the connection: the serving thread, or the loop while it is
 * suspended. */
void caller_learn_unit(struct caller *c);

AUTO_DEFINE(struct caller, caller_free)

/* The credential of this name, if the caller's socket shows it; else NULL. */
const struct conf_credential *caller_find_credential(const struct caller *c,
                                                     const struct conf *conf, const char *name);

/* Does the caller's socket show this credential, and may the caller use it? */
bool caller_may_use(const struct caller *c, const struct conf_credential *credential);
