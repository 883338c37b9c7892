#include "policy/policy.h"

#include <fnmatch.h>
#include <sys/stat.h>

static bool policy_has_group(const struct peer *peer, gid_t gid) {
        if (gid == PEER_OVERFLOW_ID)
                return false;
        if (peer->gid == gid)
                return true;
        for (size_t i = 0; i < peer->n_groups; i++)
                if (peer->groups[i] == gid)
                        return true;
        return false;
}

struct policy_verdict policy_match(const struct conf_rule *rule, const struct peer *peer) {
        if (peer->uid != PEER_OVERFLOW_ID)
                for (size_t i = 0; i < rule->n_uids; i++)
                        if (rule->uids[i] == peer->uid)
                                return (struct policy_verdict){ POLICY_USER, peer->uid, NULL };
        for (size_t i = 0; i < rule->n_gids; i++)
                if (policy_has_group(peer, rule->gids[i]))
                        return (struct policy_verdict){ POLICY_GROUP, rule->gids[i], NULL };
        if (peer->unit)
                for (size_t i = 0; i < rule->units.n; i++)
                        /* as systemctl(1) matches its patterns: names of units have backslashes */
                        if (fnmatch(rule->units.words[i], peer->unit, FNM_NOESCAPE) == 0)
                                return (struct policy_verdict){ POLICY_UNIT, 0,
                                                                rule->units.words[i] };
        return (struct policy_verdict){ .match = POLICY_NOTHING };
}

struct policy_verdict policy_use(const struct conf_credential *c, const struct peer *peer) {
        if (!c->restricted)
                return (struct policy_verdict){ .match = POLICY_NO_RULE };
        return policy_match(&c->allow, peer);
}

struct policy_verdict policy_admin(const struct conf *conf, uid_t own_uid,
                                   const struct peer *peer) {
        if (peer->uid == PEER_OVERFLOW_ID)
                return (struct policy_verdict){ .match = POLICY_NOTHING };
        if (peer->uid == 0)
                return (struct policy_verdict){ .match = POLICY_ROOT };
        if (peer->uid == own_uid)
                return (struct policy_verdict){ .match = POLICY_OWN_USER };
        return policy_match(&conf->admin, peer);
}

bool policy_has_permission(uid_t owner, gid_t group, mode_t mode, mode_t right,
                           const struct peer *peer) {
        if (peer->uid == 0)
                return true;
        if (peer->uid == owner)
                return mode & right << 6;
        if (policy_has_group(peer, group))
                return mode & right << 3;
        return mode & right;
}
