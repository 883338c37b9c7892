#pragma once
/*
 * Policy: who may ask for what
 *
 * Two rights, `use` (a credential's allow_* keys) and `admin` (the daemon's admin_* keys). A rule matches when any of its
 * entries does. Unknown values and the overflow id match nothing. A verdict says which entry it was.
 *
 * Threading: pure functions of peer and rule, any thread.
 * Sources:   design.md section 7.
 */

#include <stdbool.h>

#include "conf/conf.h"
#include "policy/peer.h"

enum policy_match {
        POLICY_NOTHING, /* none of the entries: refused */
        POLICY_USER,
        POLICY_GROUP,
        POLICY_UNIT,
        POLICY_NO_RULE,  /* use: no allow_* key is set */
        POLICY_ROOT,     /* admin */
        POLICY_OWN_USER, /* admin: bearerd's own */
        POLICY_MATCH_MAX,
};

struct policy_verdict {
        enum policy_match match;
        id_t id;          /* of POLICY_USER and POLICY_GROUP */
        const char *unit; /* the pattern of POLICY_UNIT; valid as long as the rule */
};

static inline bool policy_allows(struct policy_verdict v) {
        return v.match != POLICY_NOTHING;
}

struct policy_verdict policy_match(const struct conf_rule *rule, const struct peer *peer);

/* May the peer use the credential (have its tokens, see its state)? Without allow_* keys: whoever can connect. */
struct policy_verdict policy_use(const struct conf_credential *c, const struct peer *peer);

/* root, `own_uid` and whom admin_* names. */
struct policy_verdict policy_admin(const struct conf *conf, uid_t own_uid, const struct peer *peer);

/* Does a file of this owner, group and mode give the peer a right of S_IRWXO (to connect to a socket, S_IWOTH; to pass
 * through a directory, S_IXOTH)? By the first class that fits, as in path_resolution(7); root needs none. */
bool policy_has_permission(uid_t owner, gid_t group, mode_t mode, mode_t right,
                           const struct peer *peer);
