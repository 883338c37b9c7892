#pragma once
/*
 * The configuration: design.md section 3
 *
 * Read by conf_load(), complete and checked, then immutable; a reload makes a new one, and whatever
 * keeps a pointer into the old one beyond the change holds a reference to it. Every text is owned by
 * the struct conf and lives as long as it. This header is the one noun of a room
 * above that other rooms may include: it is plain data and drags nothing in but base/.
 *
 * Units:     durations are int64_t *_us.
 * Threading: immutable after conf_load(); any thread may read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/key.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/table.h"
#include "base/why.h"

#define CONF_TOKEN_LIFETIME_DEFAULT_US (15 * US_PER_MIN)
#define CONF_TOKEN_LIFETIME_MAX_US                                                                 \
        (86399 * US_PER_S) /* coze-oauth.md section 4: duration_seconds */

enum credential_type { /* values as in the configuration: "pat", "sat", "authorization_code" ... */
        CREDENTIAL_PAT,
        CREDENTIAL_SAT,
        CREDENTIAL_AUTHORIZATION_CODE,
        CREDENTIAL_PKCE,
        CREDENTIAL_DEVICE_CODE,
        CREDENTIAL_JWT,
        CREDENTIAL_TYPE_MAX,
};
extern const char *const credential_type_names[CREDENTIAL_TYPE_MAX];

static inline bool credential_type_is_static(enum credential_type t) {
        return t == CREDENTIAL_PAT || t == CREDENTIAL_SAT;
}

static inline bool credential_type_is_interactive(enum credential_type t) {
        return t == CREDENTIAL_AUTHORIZATION_CODE || t == CREDENTIAL_PKCE ||
               t == CREDENTIAL_DEVICE_CODE;
}

enum application { /* of type jwt; coze-oauth.md section 2.1 */
        APPLICATION_DEVELOPER,
        APPLICATION_CHANNEL,
        APPLICATION_ENTERPRISE,
        APPLICATION_MAX,
};
extern const char *const application_names[APPLICATION_MAX];

enum plan {
        PLAN_UNSET,
        PLAN_PERSONAL,
        PLAN_ENTERPRISE,
        PLAN_MAX,
};
extern const char *const plan_names[PLAN_MAX]; /* [PLAN_UNSET] is "" */

enum role {
        ROLE_UNSET,
        ROLE_ADMIN,
        ROLE_MEMBER,
        ROLE_MAX,
};
extern const char *const role_names[ROLE_MAX];

enum keep_fresh {
        KEEP_FRESH_WHILE_USED, /* the default */
        KEEP_FRESH_ALWAYS,
        KEEP_FRESH_NEVER,
        KEEP_FRESH_MAX,
};
extern const char *const keep_fresh_names[KEEP_FRESH_MAX];

enum socket_protocol {
        SOCKET_HTTP,
        SOCKET_SYSTEMD_CREDENTIAL,
        SOCKET_PROTOCOL_MAX,
};
extern const char *const socket_protocol_names[SOCKET_PROTOCOL_MAX];

enum audit_mode {
        AUDIT_ALL, /* the default: tokens handed out, and refusals */
        AUDIT_REFUSALS,
        AUDIT_OFF,
        AUDIT_MODE_MAX,
};
extern const char *const audit_mode_names[AUDIT_MODE_MAX];

struct conf_list { /* of words; `words` may be NULL when n is 0 */
        char **words;
        size_t n;
};

struct conf_rule { /* who matches: any of them; all empty: see the field that uses it */
        uid_t *uids;
        size_t n_uids;
        gid_t *gids;
        size_t n_gids;
        struct conf_list units; /* systemd unit names, with shell patterns */
};

struct conf_provider {
        const struct conf *conf; /* that it is part of: conf_index() */
        char *name;
        char *dialect;  /* "coze" */
        char *api_url;  /* no slash at the end */
        char *www_url;  /* the same */
        char *audience; /* JWT aud: host, and port if not the scheme's own, of api_url unless set */
        char *ca_file;  /* NULL: the system's */
        bool allow_http;
        int64_t timeout_us; /* of one exchange */
        size_t requests_per_second;
};

struct conf_credential {
        const struct conf *conf; /* that it is part of: conf_index() */
        size_t index;            /* in conf.credentials */
        struct table_node node;  /* in conf.names */
        char *name;
        const struct conf_provider *provider;
        enum credential_type type;
        enum application application;
        char *client_id;
        struct secret *client_secret;
        char *redirect_uri;
        char *public_key_id;
        struct key *private_key;
        struct secret *token;    /* of token_file, for pat and sat; NULL: set at run time */
        wall_t token_changed_at; /* when token_file was last written */
        bool has_expires_at;     /* of that token */
        wall_t expires_at;
        int64_t warn_before_us; /* warn this long before a static token ends */
        int64_t token_lifetime_us;
        char *session_name;    /* for the empty subject; NULL: none */
        char *session_context; /* canonical JSON object, or NULL */
        char *scope;           /* canonical JSON made of permissions and the id lists; NULL: none */
        struct conf_list permissions, bot_ids, workspace_ids, workflow_ids;
        bool subjects;
        bool restricted; /* some allow_* key is set; then `allow` must match */
        struct conf_rule allow;
        enum plan plan;
        enum role role;
        enum keep_fresh keep_fresh;
        char *token_file_out; /* NULL: none */
        mode_t token_file_mode;
        gid_t token_file_group;                                /* (gid_t) -1: unchanged */
        struct conf_list on_change, on_authorization_required; /* commands; n 0: none */
        int64_t remind_every_us;
        const struct conf_credential *fallback; /* NULL: none; never a cycle */
        char *workspace_id;                     /* collaboration, interactive types */
        char *account_id;                       /* jwt: another account or organisation */
        char *enterprise_id;                    /* jwt, application = enterprise */
        bool unseen; /* conf_look(): a file with a secret of it is for the service alone */
};

struct conf_socket {
        char *name; /* "" for the main one of [daemon] */
        char *path;
        mode_t mode;
        uid_t owner; /* (uid_t) -1: unchanged */
        gid_t group; /* (gid_t) -1: unchanged */
        enum socket_protocol protocol;
        bool restricted; /* `credentials` is set: only these exist on this socket */
        const struct conf_credential **credentials;
        size_t n_credentials;
};

enum conf_scope {
        CONF_SYSTEM, /* /etc/bearerd, /run/bearerd, /var/lib/bearerd */
        CONF_USER,   /* the XDG directories */
};

struct conf {
        unsigned refs; /* besides the owner's; loop thread only */
        enum conf_scope scope;
        char *state_dir;
        char *key_file; /* expanded; state_dir/bearerd.key unless set */
        enum log_level log_level;
        enum audit_mode audit;
        bool sandbox;
        size_t connections_per_user;
        int64_t request_timeout_us; /* for a request to be complete, and for its answer to be taken */
        int64_t idle_timeout_us;
        size_t authorizations_per_user;
        size_t waiting_per_user;
        struct conf_rule admin; /* besides root and the daemon's own uid */
        struct conf_provider **providers;
        size_t n_providers;
        struct conf_credential **credentials; /* in the order of the files */
        size_t n_credentials;
        struct table names;           /* of credentials: conf_index() */
        struct conf_socket **sockets; /* [0] is the main one */
        size_t n_sockets;
};

/* What was found, in order; errors stop a start, warnings do not. */
struct conf_problem {
        bool is_error;
        char text[WHY_MAX]; /* "FILE:LINE: [section] key: what is wrong, what is allowed" */
};

struct conf_report {
        struct conf_problem *problems;
        size_t n;
};

void conf_report_done(struct conf_report *report);

/* One more warning, cut if it is too long. 0, -ENOMEM. */
int conf_report_warn(struct conf_report *report, const char *text);

/* Borrowed from the report; NULL: there is no error in it. */
const char *conf_report_first_error(const struct conf_report *report);

/* The same words in the same order? */
bool conf_list_equal(const struct conf_list *a, const struct conf_list *b);

/* A hook of it is a command. */
bool conf_runs_commands(const struct conf_credential *c);

/* The default file of a scope: /etc/bearerd/bearerd.conf or
 * $XDG_CONFIG_HOME/bearerd/bearerd.conf. The caller frees *ret. 0, -ENOMEM, -ENXIO: neither
 * XDG_CONFIG_HOME nor HOME is set. */
int conf_default_path(enum conf_scope scope, char **ret);

/* Reads `path` and conf.d/ *.conf beside it. A missing file is an empty one when `path` is NULL
 * (the default file). 0; -EINVAL: the report has at least one error, all that were found;
 * -ENOMEM. `report` is filled in both cases (warnings), and released by conf_report_done(). */
int conf_load(const char *path, enum conf_scope scope, struct conf_report *report,
              struct conf **ret);

/* The same for who only looks, which must not take its parts for complete: where the service has
 * its files in $CREDENTIALS_DIRECTORY, this process has none. That variable is to name the service's own
 * directory, and what cannot be read there is a warning, and `unseen`. */
int conf_look(const char *path, enum conf_scope scope, struct conf_report *report,
              struct conf **ret);

/* One reference less; the last one releases it. Returns NULL. */
struct conf *conf_free(struct conf *c);
AUTO_DEFINE(struct conf, conf_free)

/* One reference more, to be given back with conf_free(). Returns `c`, which may be NULL. */
struct conf *conf_ref(const struct conf *c);

/* Makes the credentials findable by name, and lets all parts know of which conf they are; done by conf_load(). 0 or -ENOMEM. */
int conf_index(struct conf *c);

/* NULL if there is none of that name. In constant time. */
const struct conf_credential *conf_find_credential(const struct conf *c, const char *name);
