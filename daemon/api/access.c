#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/audit.h"
#include "api/handlers.h"
#include "api/parameter.h"
#include "api/process.h"
#include "api/server.h"
#include "base/err.h"
#include "base/json.h"
#include "client/protocol.h"
#include "policy/policy.h"

/*
 * GET /v1/credentials/{credential}/access?pid=
 *
 * Which rule lets a process in or keeps it out, in words for people. Whoever can connect may ask about itself; about another
 * process, administrators. The values of rules are told only where they match.
 */

static const char *const access_rules[POLICY_MATCH_MAX] = {
        [POLICY_NOTHING] = "none",  [POLICY_USER] = "users",   [POLICY_GROUP] = "groups",
        [POLICY_UNIT] = "units",    [POLICY_NO_RULE] = "open", [POLICY_ROOT] = "root",
        [POLICY_OWN_USER] = "self",
};

/* "allow_users and allow_units", of a rule's keys that are set. */
static void access_keys(const struct conf_rule *rule, const char *prefix, char *ret, size_t size) {
        const struct {
                const char *name;
                size_t n;
        } keys[] = { { "users", rule->n_uids },
                     { "groups", rule->n_gids },
                     { "units", rule->units.n } };
        size_t len = 0;

        *ret = '\0';
        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                if (keys[i].n > 0 && len < size)
                        len += (size_t) snprintf(ret + len, size - len, "%s%s_%s", len ? ", " : "",
                                                 prefix, keys[i].name);
}

static void access_say_no(const struct conf_rule *rule, const char *prefix, const struct peer *peer,
                          struct why *why) {
        const char *unknown = rule->units.n > 0 ? peer_unit_reasons[peer->unit_is] : NULL;
        char keys[128];

        access_keys(rule, prefix, keys, sizeof(keys));
        if (!*keys)
                (void) why_set(why, 0,
                               "no %s key is set, and it is neither root nor bearerd's user",
                               prefix);
        else if (peer->uid == PEER_OVERFLOW_ID)
                (void) why_set(
                        why, 0,
                        "nothing in %s matches it: its user is one of another user namespace, which no "
                        "rule can name",
                        keys);
        else
                (void) why_set(why, 0, "nothing in %s matches it%s%s", keys,
                               unknown ? "; its unit is unknown: " : "", unknown ? unknown : "");
}

static void access_say(struct policy_verdict v, const struct conf_rule *rule, const char *prefix,
                       const struct peer *peer, struct why *why) {
        switch (v.match) {
        case POLICY_NOTHING:
                access_say_no(rule, prefix, peer, why);
                break;
        case POLICY_USER:
                (void) why_set(why, 0, "%s_users has its user, %u", prefix, v.id);
                break;
        case POLICY_GROUP:
                (void) why_set(why, 0, "%s_groups has a group of its, %u", prefix, v.id);
                break;
        case POLICY_UNIT:
                (void) why_set(why, 0, "%s_units has %s, which its unit matches", prefix, v.unit);
                break;
        case POLICY_NO_RULE:
                (void) why_set(why, 0, "no allow key is set: whoever can connect may");
                break;
        case POLICY_ROOT:
                (void) why_set(why, 0, "root always is");
                break;
        case POLICY_OWN_USER:
                (void) why_set(why, 0, "it is of the user that bearerd runs as");
                break;
        case POLICY_MATCH_MAX:
                break;
        }
}

static int access_add(struct json_object *o, const char *key, bool allowed, const char *rule,
                      const char *explanation) {
        struct json_object *part = json_object_new_object();
        int r = 0;

        r |= json_object_object_add(part, "allowed", json_object_new_boolean(allowed));
        if (rule)
                r |= json_object_object_add(part, "rule", json_object_new_string(rule));
        r |= json_object_object_add(part, "explanation", json_object_new_string(explanation));
        return r | json_object_object_add(o, key, part);
}

static int access_add_right(struct json_object *o, const char *key, struct policy_verdict v,
                            const struct conf_rule *rule, const char *prefix,
                            const struct peer *peer) {
        struct why why = { "" };

        access_say(v, rule, prefix, peer, &why);
        return access_add(o, key, policy_allows(v), access_rules[v.match], why.text);
}

/* False, and the sentence, if the modes on the way to the socket keep the peer out, or cannot be read. */
static bool access_reaches(const char *path, const struct peer *peer, struct why *why) {
        char part[256]; /* a socket has 107 bytes at most */
        size_t len = strlen(path);
        struct stat st;

        for (size_t i = 1; i <= len && len < sizeof(part); i++) {
                if (i < len && path[i] != '/')
                        continue;
                memcpy(part, path, i);
                part[i] = '\0';
                if (stat(part, &st) < 0) {
                        (void) why_set(why, 0, "cannot look at %s: %s", part, strerror(errno));
                        return false;
                }
                if (policy_has_permission(st.st_uid, st.st_gid, st.st_mode,
                                          i < len ? S_IXOTH : S_IWOTH, peer))
                        continue;
                (void) why_set(why, 0, "%s has mode %04o, user %u and group %u", part,
                               st.st_mode & 07777, st.st_uid, st.st_gid);
                return false;
        }
        (void) why_set(why, 0, "the modes on the way to %s allow it", path);
        return true;
}

static int access_add_process(struct json_object *o, const struct peer *peer) {
        struct json_object *groups = json_object_new_array();
        int r = 0;

        r |= json_object_object_add(o, "pid", json_object_new_int64(peer->pid));
        r |= json_object_object_add(o, "uid", json_object_new_int64(peer->uid));
        r |= json_object_object_add(o, "gid", json_object_new_int64(peer->gid));
        for (size_t i = 0; i < peer->n_groups; i++)
                r |= json_object_array_add(groups, json_object_new_int64(peer->groups[i]));
        r |= json_object_object_add(o, "groups", groups);
        if (peer->unit)
                r |= json_object_object_add(o, "unit", json_object_new_string(peer->unit));
        else if (peer_unit_reasons[peer->unit_is])
                r |= json_object_object_add(
                        o, "unit_unknown",
                        json_object_new_string(peer_unit_reasons[peer->unit_is]));
        return r;
}

/* `is_connected`: it is the caller itself. */
static struct reply access_explain(const struct call *call, const struct peer *peer,
                                   bool is_connected) {
        const struct conf *conf = server_conf(call->server);
        const struct conf_credential *c = call->credential;
        struct json_object *o = json_object_new_object();
        struct why why = { "it is connected" };
        bool reaches = is_connected || access_reaches(call->caller->socket->path, peer, &why);
        int r = 0;

        r |= json_object_object_add(o, "credential", json_object_new_string(c->name));
        r |= json_object_object_add(o, "socket",
                                    json_object_new_string(call->caller->socket->path));
        r |= access_add_process(o, peer);
        r |= access_add(o, "connect", reaches, NULL, why.text);
        r |= access_add_right(o, "use", policy_use(c, peer), &c->allow, "allow", peer);
        r |= access_add_right(o, "admin", policy_admin(conf, geteuid(), peer), &conf->admin,
                              "admin", peer);
        return reply_json(MHD_HTTP_OK, r < 0 ? json_wipe(o) : o);
}

static struct reply access_no_memory(void) {
        return reply_error(MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR, "out of memory");
}

static struct reply access_own(struct call *call, uid_t view) {
        const struct caller_needs all = { .groups = true, .units = true, .view = view };
        AUTO(caller_freep) struct caller *self = NULL;

        if (caller_new(call->caller->fd, call->caller->socket, all, &self) < 0)
                return access_no_memory();
        return access_explain(call, &self->peer, true);
}

static struct reply access_of(const struct call *call, pid_t pid, uid_t view) {
        struct reply reply;
        struct peer peer;
        int r = process_peer(pid, view, &peer);

        if (r == 0)
                reply = access_explain(call, &peer, false);
        else if (r == -ENOMEM)
                reply = access_no_memory();
        else
                reply = reply_error(
                        MHD_HTTP_NOT_FOUND, PROTOCOL_NOT_FOUND,
                        r == -EACCES
                                ? "/proc does not show process %d to bearerd: let it ask itself, with bearerctl explain"
                        : r == -ESRCH ? "there is no process %d"
                                      : "%d is a thread, no process",
                        pid);
        peer_done(&peer);
        return reply;
}

struct reply access_get(struct call *call) {
        const struct conf *conf = server_conf(call->server);
        const uid_t view = caller_needs_of(conf).view;
        struct parameter pid = { .key = "pid" };
        int64_t n = call->caller->peer.pid;
        const char *problem = NULL;
        struct reply reply;

        if (handler_read_query(call, &pid, 1, &reply) < 0)
                return reply;
        if (pid.value)
                problem = parameter_parse_number(pid.value, pid.len, 1, INT32_MAX, &n);
        if (problem)
                return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST, "pid %s",
                                   problem);
        if (n == call->caller->peer.pid)
                return access_own(call, view);
        if (!call->caller->is_admin) {
                audit_record(server_parts(call->server)->audit, AUDIT_ADMIN_DENIED, call->caller,
                             call->credential->name, "", "");
                return reply_error(
                        MHD_HTTP_FORBIDDEN, PROTOCOL_ACCESS_DENIED,
                        "only administrators may ask about other processes than their own");
        }
        return access_of(call, (pid_t) n, view);
}
