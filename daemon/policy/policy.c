#include "policy/policy.h"

#include <fnmatch.h>

static bool policy_matches_group(const struct conf_rule *rule, gid_t gid) {
        if (gid == PEER_OVERFLOW_ID)
                return false;
        for (size_t i = 0; i < rule->n_gids; i++)
                if (rule->gids[i] == gid)
                        return true;
        return false;
}

bool policy_matches(const struct conf_rule *rule, const struct peer *peer) {
        if (peer->uid != PEER_OVERFLOW_ID)
                for (size_t i = 0; i < rule->n_uids; i++)
                        if (rule->uids[i] == peer->uid)
                                return true;
        if (policy_matches_group(rule, peer->gid))
                return true;
        for (size_t i = 0; i < peer->n_groups; i++)
                if (policy_matches_group(rule, peer->groups[i]))
                        return true;
        if (peer->unit)
                for (size_t i = 0; i < rule->units.n; i++)
                        if (fnmatch(rule->units.words[i], peer->unit, FNM_NOESCAPE) == 0)
                                return true;
        return false;
}

bool policy_may_use(const struct conf_credential *c, const struct peer *peer) {
        return !c->restricted || policy_matches(&c->allow, peer);
}

bool policy_is_admin(const struct conf *conf, uid_t own_uid, const struct peer *peer) {
        if (peer->uid == PEER_OVERFLOW_ID)
                return false;
        return peer->uid == 0 || peer->uid == own_uid || policy_matches(&conf->admin, peer);
}
