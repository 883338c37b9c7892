#include "api/caller.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "api/unit.h"
#include "base/err.h"
#include "policy/policy.h"

#define CALLER_GROUPS_FIRST 32
#define CALLER_GROUPS_MAX   65536 /* NGROUPS_MAX of Linux */

static int caller_read_groups(int fd, struct peer *peer) {
        size_t room = CALLER_GROUPS_FIRST;

        for (;;) {
                socklen_t len = (socklen_t) (room * sizeof(gid_t));
                gid_t *groups = reallocarray(peer->groups, room, sizeof(gid_t));
                int r;

                if (!groups)
                        return RAISE(-ENOMEM);
                peer->groups = groups;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0) {
                        peer->n_groups = len / sizeof(gid_t);
                        return 0;
                }
                r = -errno;
                if (r != -ERANGE || len / sizeof(gid_t) > CALLER_GROUPS_MAX)
                        return RAISE(r);
                room = len / sizeof(gid_t); /* the kernel says how many there are */
        }
}

static void caller_need(struct caller_needs *needs, const struct conf_rule *rule) {
        needs->groups = needs->groups || rule->n_gids > 0;
        needs->units = needs->units || rule->units.n > 0;
}

struct caller_needs caller_needs_of(const struct conf *conf) {
        struct caller_needs needs = {
                .view = conf->scope == CONF_USER ? geteuid() : UNIT_VIEW_SYSTEM,
        };

        caller_need(&needs, &conf->admin);
        for (size_t i = 0; i < conf->n_credentials; i++)
                caller_need(&needs, &conf->credentials[i]->allow);
        return needs;
}

int caller_new(int fd, const struct conf_socket *socket, struct caller_needs needs,
               struct caller **ret) {
        AUTO(caller_freep) struct caller *c = NULL;
        struct ucred cred;
        socklen_t len = sizeof(cred);
        int r;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
                r = -errno;
                return RAISE(r);
        }
        c = calloc(1, sizeof(*c));
        if (!c)
                return RAISE(-ENOMEM);
        c->socket = socket;
        c->fd = fd;
        c->view = needs.view;
        c->peer.uid = cred.uid;
        c->peer.gid = cred.gid;
        c->peer.pid = cred.pid;
        if (needs.groups) {
                r = caller_read_groups(fd, &c->peer);
                if (r < 0)
                        return PASS(r);
        }
        if (needs.units) {
                r = unit_of_peer(fd, needs.view, &c->peer);
                if (r < 0)
                        return PASS(r);
        }
        *ret = TAKE(c);
        return 0;
}

void caller_learn_unit(struct caller *c) {
        if (c->peer.unit_is == PEER_UNIT_NOT_ASKED && c->fd >= 0)
                (void) unit_of_peer(c->fd, c->view, &c->peer); /* without memory it stays unknown */
}

int caller_renew(struct caller *c, const struct conf_socket *socket, struct caller_needs needs) {
        struct caller *again;
        struct peer peer;
        int r;

        r = caller_new(c->fd, socket, needs, &again);
        if (r < 0)
                return PASS(r);
        peer = c->peer;
        c->peer = again->peer;
        again->peer = peer;
        c->view = again->view;
        c->socket = socket;
        caller_free(again);
        return 0;
}

struct caller *caller_free(struct caller *c) {
        if (!c)
                return NULL;
        peer_done(&c->peer);
        free(c);
        return NULL;
}

static bool caller_is_shown(const struct caller *c, const struct conf_credential *credential) {
        if (!c->socket)
                return false; /* it was removed from the configuration */
        if (!c->socket->restricted)
                return true;
        for (size_t i = 0; i < c->socket->n_credentials; i++)
                if (c->socket->credentials[i] == credential)
                        return true;
        return false;
}

const struct conf_credential *caller_find_credential(const struct caller *c,
                                                     const struct conf *conf, const char *name) {
        const struct conf_credential *credential = conf_find_credential(conf, name);

        return credential && caller_is_shown(c, credential) ? credential : NULL;
}

bool caller_may_use(const struct caller *c, const struct conf_credential *credential) {
        return caller_is_shown(c, credential) && policy_allows(policy_use(credential, &c->peer));
}
