#include "conf/option.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "conf/nearest.h"

const char *const credential_type_names[CREDENTIAL_TYPE_MAX] = {
        [CREDENTIAL_PAT] = "pat",
        [CREDENTIAL_SAT] = "sat",
        [CREDENTIAL_AUTHORIZATION_CODE] = "authorization_code",
        [CREDENTIAL_PKCE] = "pkce",
        [CREDENTIAL_DEVICE_CODE] = "device_code",
        [CREDENTIAL_JWT] = "jwt",
};

const char *const application_names[APPLICATION_MAX] = {
        [APPLICATION_DEVELOPER] = "developer",
        [APPLICATION_CHANNEL] = "channel",
        [APPLICATION_ENTERPRISE] = "enterprise",
};

const char *const plan_names[PLAN_MAX] = {
        [PLAN_UNSET] = "",
        [PLAN_PERSONAL] = "personal",
        [PLAN_ENTERPRISE] = "enterprise",
};

const char *const role_names[ROLE_MAX] = {
        [ROLE_UNSET] = "",
        [ROLE_ADMIN] = "admin",
        [ROLE_MEMBER] = "member",
};

const char *const keep_fresh_names[KEEP_FRESH_MAX] = {
        [KEEP_FRESH_WHILE_USED] = "while-used",
        [KEEP_FRESH_ALWAYS] = "always",
        [KEEP_FRESH_NEVER] = "never",
};

const char *const socket_protocol_names[SOCKET_PROTOCOL_MAX] = {
        [SOCKET_HTTP] = "http",
        [SOCKET_SYSTEMD_CREDENTIAL] = "systemd-credential",
};

const char *const audit_mode_names[AUDIT_MODE_MAX] = {
        [AUDIT_ALL] = "all",
        [AUDIT_REFUSALS] = "refusals",
        [AUDIT_OFF] = "off",
};

static const char *const option_dialects[] = { "coze" };

#define PAT    OPTION_TYPE(CREDENTIAL_PAT)
#define SAT    OPTION_TYPE(CREDENTIAL_SAT)
#define CODE   OPTION_TYPE(CREDENTIAL_AUTHORIZATION_CODE)
#define PKCE   OPTION_TYPE(CREDENTIAL_PKCE)
#define DEVICE OPTION_TYPE(CREDENTIAL_DEVICE_CODE)
#define JWT    OPTION_TYPE(CREDENTIAL_JWT)
#define STATIC (PAT | SAT)
#define PEOPLE (CODE | PKCE | DEVICE)
#define OAUTH  (PEOPLE | JWT)
#define EVERY  (~0u)

#define NONE            TARGET_NONE, 0
#define CONF(f)         TARGET_CONF, offsetof(struct conf, f)
#define PROVIDER(f)     TARGET_PROVIDER, offsetof(struct conf_provider, f)
#define CREDENTIAL(f)   TARGET_CREDENTIAL, offsetof(struct conf_credential, f)
#define SOCKET(f)       TARGET_SOCKET, offsetof(struct conf_socket, f)
#define CHOICE(names)   .words = (names), .n_words = N_ELEMENTS(names)
#define RANGE(low, top) .min = (low), .max = (top)

/* One row, one key; the keys of a section in the order in which a person meets them. */
/* clang-format off */
static const struct option options[] = {
        { SECTION_DAEMON, "socket", value_path, SOCKET(path), "/run/bearerd/bearerd.sock",
          .standard_user = "$XDG_RUNTIME_DIR/bearerd/bearerd.sock",
          .help = "The Unix socket to serve. It shows every credential." },
        { SECTION_DAEMON, "socket_mode", value_mode, SOCKET(mode), "0660", .standard_user = "0600",
          .help = "Mode of the socket: who can connect at all." },
        { SECTION_DAEMON, "socket_user", value_user, SOCKET(owner),
          .help = "Owner of the socket. Default: the user bearerd runs as." },
        { SECTION_DAEMON, "socket_group", value_group, SOCKET(group), "bearerd",
          .standard_user = "", .flags = OPTION_DEFAULT_MAY_FAIL,
          .help = "Group of the socket." },
        { SECTION_DAEMON, "state_dir", value_path, CONF(state_dir), "/var/lib/bearerd",
          .standard_user = "$XDG_STATE_HOME/bearerd",
          .help = "Directory of the database of grants, which survive a restart there." },
        { SECTION_DAEMON, "key_file", value_path, CONF(key_file),
          .help = "The 32 bytes that seal the database. "
                  "Default: bearerd.key in state_dir, made on first start." },
        { SECTION_DAEMON, "admin_users", value_users, CONF(admin),
          .help = "Users with the right to administer, besides root and bearerd's own." },
        { SECTION_DAEMON, "admin_groups", value_groups, CONF(admin),
          .help = "Groups with the right to administer." },
        { SECTION_DAEMON, "admin_units", value_units, CONF(admin),
          .help = "Systemd units with the right to administer; shell patterns are allowed. "
                  "Linux 6.5 or newer." },
        { SECTION_DAEMON, "connections_per_user", value_count, CONF(connections_per_user), "4096",
          RANGE("1", "16384"),
          .help = "Connections that one user may have open; more are answered with 429." },
        { SECTION_DAEMON, "request_timeout", value_span, CONF(request_timeout_us), "30s",
          RANGE("1s", "10min"),
          .help = "A request must be complete within this long, and so must be its answer." },
        { SECTION_DAEMON, "idle_timeout", value_span, CONF(idle_timeout_us), "10min",
          RANGE("1s", "1d"),
          .help = "Close a connection on which nothing has been asked for this long." },
        { SECTION_DAEMON, "authorizations_per_user", value_count, CONF(authorizations_per_user),
          "256", RANGE("1", "1024"),
          .help = "Authorizations that one user may have, those just over included." },
        { SECTION_DAEMON, "waiting_per_user", value_count, CONF(waiting_per_user), "1024",
          RANGE("1", "65536"),
          .help = "Callers of one user that may wait for tokens; more are answered with 429." },
        { SECTION_DAEMON, "sandbox", value_bool, CONF(sandbox), "yes",
          .help = "Give up what a broker never needs: writing elsewhere, dangerous system calls." },
        { SECTION_DAEMON, "log_level", value_choice, CONF(log_level), "info",
          CHOICE(log_level_names),
          .help = "The least important messages to log." },
        { SECTION_DAEMON, "audit", value_choice, CONF(audit), "all", CHOICE(audit_mode_names),
          .help = "What to log of who is given a token: all, refusals only, or nothing (off)." },

        { SECTION_PROVIDER, "dialect", value_choice, NONE, "coze", CHOICE(option_dialects),
          .help = "How the provider speaks OAuth." },
        { SECTION_PROVIDER, "api_url", value_base_url, PROVIDER(api_url), .required = EVERY,
          .help = "Where tokens are requested. Built in for coze.cn and coze.com." },
        { SECTION_PROVIDER, "www_url", value_base_url, PROVIDER(www_url), .required = EVERY,
          .help = "Where people authorize. Built in for coze.cn and coze.com." },
        { SECTION_PROVIDER, "audience", value_word, PROVIDER(audience),
          .help = "The aud of a JWT. "
                  "Default: the host of api_url, with its port unless it is the scheme's own." },
        { SECTION_PROVIDER, "ca_file", value_path, PROVIDER(ca_file),
          .help = "Authorities, in PEM, that sign the provider's certificate. "
                  "Default: the system's." },
        { SECTION_PROVIDER, "allow_http", value_bool, PROVIDER(allow_http), "no",
          .help = "Allow http: URLs, to a loopback address only." },
        { SECTION_PROVIDER, "timeout", value_span, PROVIDER(timeout_us), "15s",
          RANGE("1s", "2min"),
          .help = "Give up on one request to the provider after this long." },
        { SECTION_PROVIDER, "requests_per_second", value_count, PROVIDER(requests_per_second), "50",
          RANGE("1", "10000"),
          .help = "Begin so many requests in a second; after a pause, twice as many at once." },

        { SECTION_CREDENTIAL, "provider", value_name, NONE, .required = EVERY,
          .help = "coze.cn, coze.com or the name of a [provider] section. "
                  "The region is never guessed." },
        { SECTION_CREDENTIAL, "type", value_choice, NONE, CHOICE(credential_type_names),
          .required = EVERY, .flags = OPTION_IN_CONFIG_FILE,
          .help = "What kind of credential it is." },
        { SECTION_CREDENTIAL, "config_file", value_path, NONE, .types = OAUTH,
          .help = "coze_oauth_config.json as Coze's console hands it out: "
                  "it gives type, client_id, secret and key." },
        { SECTION_CREDENTIAL, "token_file", value_path, NONE, .types = STATIC,
          .help = "File with the token. Default: none, the token is set at run time." },
        { SECTION_CREDENTIAL, "expires_at", value_date, CREDENTIAL(expires_at), .types = STATIC,
          .help = "When the token of token_file ends: a date, a date with time (UTC), or "
                  "UNIX seconds. Default: unknown." },
        { SECTION_CREDENTIAL, "warn_before", value_span, CREDENTIAL(warn_before_us), "7d",
          RANGE("0s", "90d"), .types = STATIC,
          .help = "Warn this long before a token with a known end runs out." },
        { SECTION_CREDENTIAL, "application", value_choice, CREDENTIAL(application), "developer",
          CHOICE(application_names), .types = JWT,
          .help = "What kind of service app it is." },
        { SECTION_CREDENTIAL, "client_id", value_word, CREDENTIAL(client_id), .types = OAUTH,
          .required = OAUTH, .flags = OPTION_IN_CONFIG_FILE,
          .help = "The app's client id; of a service app, the app id in the console's list." },
        { SECTION_CREDENTIAL, "client_secret_file", value_path, NONE, .types = CODE,
          .required = CODE, .flags = OPTION_IN_CONFIG_FILE,
          .help = "File with the app's client secret." },
        { SECTION_CREDENTIAL, "redirect_uri", value_redirect_uri, CREDENTIAL(redirect_uri),
          .types = CODE | PKCE, .required = CODE | PKCE,
          .help = "Where the browser returns to, exactly as it is registered with the app." },
        { SECTION_CREDENTIAL, "public_key_id", value_word, CREDENTIAL(public_key_id),
          .types = JWT, .required = JWT, .flags = OPTION_IN_CONFIG_FILE,
          .help = "The fingerprint that the console shows beside the public key (the kid)." },
        { SECTION_CREDENTIAL, "private_key_file", value_path, NONE,
          .types = JWT, .required = JWT, .flags = OPTION_IN_CONFIG_FILE,
          .help = "File with the private key, RSA, in PEM." },
        { SECTION_CREDENTIAL, "token_lifetime", value_span, CREDENTIAL(token_lifetime_us), "15min",
          RANGE("1s", "86399s"), .types = JWT,
          .help = "Lifetime to ask for (duration_seconds)." },
        { SECTION_CREDENTIAL, "session_name", value_text, CREDENTIAL(session_name), .types = JWT,
          .help = "Session of tokens without a subject. Default: none." },
        { SECTION_CREDENTIAL, "session_context", value_json_object, CREDENTIAL(session_context),
          .types = JWT,
          .help = "A JSON object that goes into the JWT. Default: none." },
        { SECTION_CREDENTIAL, "permissions", value_words, CREDENTIAL(permissions), .types = JWT,
          .help = "Permissions to ask for; Coze heeds them for channel apps. "
                  "Default: all that the app has." },
        { SECTION_CREDENTIAL, "bot_ids", value_words, CREDENTIAL(bot_ids), .types = JWT,
          .help = "Bots that tokens are limited to. Default: no limit." },
        { SECTION_CREDENTIAL, "workspace_ids", value_words, CREDENTIAL(workspace_ids), .types = JWT,
          .help = "Workspaces that tokens are limited to. Default: no limit." },
        { SECTION_CREDENTIAL, "workflow_ids", value_words, CREDENTIAL(workflow_ids), .types = JWT,
          .help = "Workflows that tokens are limited to. Default: no limit." },
        { SECTION_CREDENTIAL, "workspace_id", value_id, CREDENTIAL(workspace_id), .types = PEOPLE,
          .help = "Collaboration: the one workspace to be authorized for. Default: none." },
        { SECTION_CREDENTIAL, "account_id", value_digits, CREDENTIAL(account_id), .types = JWT,
          .help = "Another account or organisation to get tokens of; excludes enterprise_id. "
                  "Default: none." },
        { SECTION_CREDENTIAL, "enterprise_id", value_id, CREDENTIAL(enterprise_id), .types = JWT,
          .help = "The enterprise, which application = enterprise requires; excludes account_id. "
                  "Default: none." },
        { SECTION_CREDENTIAL, "subjects", value_bool, CREDENTIAL(subjects),
          .help = "May callers name subjects? "
                  "Default: no for pat and sat, which have none; yes otherwise." },
        { SECTION_CREDENTIAL, "allow_users", value_users, CREDENTIAL(allow),
          .flags = OPTION_LIMITS,
          .help = "Users who may use it. Default: whoever can connect, if no allow key is set." },
        { SECTION_CREDENTIAL, "allow_groups", value_groups, CREDENTIAL(allow),
          .flags = OPTION_LIMITS,
          .help = "Groups that may use it." },
        { SECTION_CREDENTIAL, "allow_units", value_units, CREDENTIAL(allow),
          .flags = OPTION_LIMITS,
          .help = "Systemd units that may use it; shell patterns are allowed. "
                  "Linux 6.5 or newer." },
        { SECTION_CREDENTIAL, "plan", value_choice, CREDENTIAL(plan), CHOICE(plan_names),
          .help = "Edition of Coze the account has, to check the type against what Coze allows. "
                  "Default: not checked." },
        { SECTION_CREDENTIAL, "role", value_choice, CREDENTIAL(role), CHOICE(role_names),
          .help = "Role in an enterprise, for the same check. Default: not checked." },
        { SECTION_CREDENTIAL, "keep_fresh", value_choice, CREDENTIAL(keep_fresh), "while-used",
          CHOICE(keep_fresh_names),
          .help = "When to renew in the background; readiness waits for those with always." },
        { SECTION_CREDENTIAL, "token_file_out", value_path, CREDENTIAL(token_file_out),
          .help = "A file that always holds the token, for programs that read it from one. "
                  "Default: none." },
        { SECTION_CREDENTIAL, "token_file_mode", value_mode, CREDENTIAL(token_file_mode), "0600",
          .help = "Mode of token_file_out." },
        { SECTION_CREDENTIAL, "token_file_group", value_group, CREDENTIAL(token_file_group),
          .help = "Group of token_file_out. Default: the daemon's." },
        { SECTION_CREDENTIAL, "on_change", value_command, CREDENTIAL(on_change),
          .help = "A command to run when there is a new token. Default: none." },
        { SECTION_CREDENTIAL, "on_authorization_required", value_command,
          CREDENTIAL(on_authorization_required),
          .help = "A command to run when a person has to act. Default: none." },
        { SECTION_CREDENTIAL, "remind_every", value_span, CREDENTIAL(remind_every_us), "1d",
          RANGE("1min", "30d"),
          .help = "Run that command again after this long, as long as nobody has." },
        { SECTION_CREDENTIAL, "fallback", value_name, NONE,
          .help = "Another credential to try when this one is refused upstream. Default: none." },

        { SECTION_SOCKET, "path", value_path, SOCKET(path), .required = EVERY,
          .help = "The Unix socket to serve." },
        { SECTION_SOCKET, "credentials", value_words, NONE, .flags = OPTION_LIMITS,
          .help = "The credentials that exist on this socket. Default: all." },
        { SECTION_SOCKET, "protocol", value_choice, SOCKET(protocol), "http",
          CHOICE(socket_protocol_names),
          .help = "What is spoken there; systemd-credential: for LoadCredential= in units." },
        { SECTION_SOCKET, "mode", value_mode, SOCKET(mode),
          .help = "Mode of the socket. Default: socket_mode of [daemon]." },
        { SECTION_SOCKET, "user", value_user, SOCKET(owner),
          .help = "Owner of the socket. Default: socket_user of [daemon]." },
        { SECTION_SOCKET, "group", value_group, SOCKET(group),
          .help = "Group of the socket. Default: socket_group of [daemon]." },
};
/* clang-format on */

/* Keys that people write a secret behind; the value is never shown. */
static const struct {
        const char *key, *instead;
} option_secrets[] = {
        { "client_secret", "client_secret_file" },
        { "private_key", "private_key_file" },
        { "token", "token_file" },
        { "access_token", "token_file" },
        { "pat", "token_file" },
        { "secret", "client_secret_file" },
};

const struct option *option_next(const struct option *previous) {
        const struct option *o = previous ? previous + 1 : options;

        return o < options + N_ELEMENTS(options) ? o : NULL;
}

const struct option *option_find(enum section_kind section, const char *key) {
        for (const struct option *o = NULL; (o = option_next(o));)
                if (o->section == section && strcmp(o->key, key) == 0)
                        return o;
        return NULL;
}

const char *option_standard(const struct option *o, enum conf_scope scope) {
        const char *text = scope == CONF_USER && o->standard_user ? o->standard_user : o->standard;

        return text && *text ? text : NULL;
}

char *option_types(unsigned types, char ret[OPTION_TYPES_MAX]) {
        size_t len = 0;

        ret[0] = '\0';
        for (unsigned i = 0; i < CREDENTIAL_TYPE_MAX; i++)
                if (types & OPTION_TYPE(i))
                        len += (size_t) snprintf(ret + len, OPTION_TYPES_MAX - len, "%s%s",
                                                 len ? ", " : "", credential_type_names[i]);
        return ret;
}

/* True for what may be shown of a key nobody knows: a line of a pasted PEM may look like a pair,
 * too. */
static bool option_is_like_a_key(const char *key) {
        return strlen(key) <= 32 && strspn(key, "abcdefghijklmnopqrstuvwxyz_-") == strlen(key);
}

static void option_report_unknown(const struct section *s, const struct setting *setting,
                                  struct report *report) {
        struct nearest near = { .word = setting->key };
        char hint[NEAREST_HINT_MAX];
        const char *kind = section_kind_names[s->kind];

        for (size_t i = 0; i < N_ELEMENTS(option_secrets); i++)
                if (s->kind == SECTION_CREDENTIAL &&
                    strcmp(setting->key, option_secrets[i].key) == 0) {
                        report_error(report, s, setting,
                                     "a secret does not stand in the configuration: write it to a "
                                     "file of mode 0600 and name that with %s",
                                     option_secrets[i].instead);
                        return;
                }
        if (!option_is_like_a_key(setting->key)) {
                report_file(report, setting->file, setting->line,
                            "no such key in a [%s] section (not shown, it may be part of a secret)",
                            kind);
                return;
        }
        for (const struct option *o = NULL; (o = option_next(o));) {
                if (o->section == s->kind)
                        nearest_try(&near, o->key);
                else if (strcmp(o->key, setting->key) == 0) {
                        report_error(report, s, setting, "belongs in a [%s] section",
                                     section_kind_names[o->section]);
                        return;
                }
        }
        report_error(report, s, setting, "no such key in a [%s] section%s", kind,
                     nearest_hint(&near, hint));
}

void option_check_keys(const struct section *s, struct report *report) {
        for (size_t i = 0; i < s->n_settings; i++) {
                const struct option *o = option_find(s->kind, s->settings[i].key);

                if (!o)
                        option_report_unknown(s, &s->settings[i], report);
                else if (o->flags & OPTION_LIMITS && !*s->settings[i].value)
                        report_warning(report, s, &s->settings[i],
                                       "is set to nothing, which limits nothing");
        }
}

static bool option_is_quoted(const char *value) {
        size_t n = strlen(value);

        return n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value;
}

/* Only the form of a TARGET_NONE option is of interest here. */
static int option_check_form(const struct option *o, const char *value, struct why *why) {
        struct conf_list list = { 0 };
        char *text = NULL;
        unsigned word;
        int r;

        if (o->parse == value_choice)
                return o->parse(o, value, why, &word);
        if (o->parse == value_words) {
                r = o->parse(o, value, why, &list);
                conf_list_done(&list);
                return r;
        }
        r = o->parse(o, value, why, &text);
        free(text);
        return r;
}

static int option_parse(const struct option *o, const char *value, struct why *why, void *object) {
        if (o->target == TARGET_NONE)
                return option_check_form(o, value, why);
        return o->parse(o, value, why, (char *) object + o->field);
}

static void option_apply_setting(const struct option *o, const struct section *s,
                                 const struct setting *setting, void *object,
                                 struct report *report) {
        struct why why = { "" };
        int r;

        if (option_is_quoted(setting->value)) {
                report_error(report, s, setting, "values are written without quotes");
                return;
        }
        r = option_parse(o, setting->value, &why, object);
        if (r == -ENOMEM)
                report->oom = true;
        else if (r < 0)
                report_error(report, s, setting, "%s%s", why.text,
                             strstr(setting->value, " #")
                                     ? "; a comment behind a value starts with ';', not '#'"
                                     : "");
}

static void option_apply_standard(const struct option *o, const struct section *s,
                                  const char *standard, void *object, struct report *report) {
        struct why why = { "" };
        int r;

        r = option_parse(o, standard, &why, object);
        if (r == -ENOMEM)
                report->oom = true;
        else if (r < 0 && !(o->flags & OPTION_DEFAULT_MAY_FAIL))
                report_key(report, true, s, o->key, "the default, %s, %s", standard, why.text);
}

void option_apply(const struct section *s, enum option_target target, void *object,
                  enum conf_scope scope, struct report *report) {
        for (const struct option *o = NULL; (o = option_next(o));) {
                const struct setting *setting = section_get(s, o->key);
                const char *standard = option_standard(o, scope);

                if (o->section != s->kind || o->target != target)
                        continue;
                if (setting)
                        option_apply_setting(o, s, setting, object, report);
                else if (standard)
                        option_apply_standard(o, s, standard, object, report);
        }
}
