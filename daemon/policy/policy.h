#pragma once
/*
 * Policy: who may ask for what
 *
 * Two rights, `use` (a credential's allow_* keys) and `admin` (the daemon's admin_* keys). A rule matches when any of its
 * entries does. Unknown values and the overflow id match nothing.
 *
 * Threading: pure functions of peer and rule, any thread.
 * Sources:   design.md section 7.
 */

#include <stdbool.h>

#include "conf/conf.h"
#include "policy/peer.h"

bool policy_matches(const struct conf_rule *rule, const struct peer *peer);

/* May the peer use the credential (have its tokens, see its state)? Without allow_* keys: whoever can connect. */
bool policy_may_use(const struct conf_credential *c, const struct peer *peer);

/* root, `own_uid` and whom admin_* names. */
bool policy_is_admin(const struct conf *conf, uid_t own_uid, const struct peer *peer);
