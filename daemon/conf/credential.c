#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/file.h"
#include "base/text.h"
#include "conf/builder.h"
#include "conf/eligibility.h"
#include "conf/hint.h"
#include "conf/nearest.h"
#include "conf/oauth_config.h"
#include "conf/option.h"

#define CREDENTIAL_SECRET_MAX 16384 /* bytes of a token or client secret in its file */

struct conf_credential *conf_credential_free(struct conf_credential *c) {
        if (!c)
                return NULL;
        free(c->name);
        free(c->client_id);
        free(c->redirect_uri);
        free(c->public_key_id);
        free(c->session_name);
        free(c->session_context);
        free(c->scope);
        free(c->workspace_id);
        free(c->account_id);
        free(c->enterprise_id);
        free(c->token_file_out);
        conf_list_done(&c->on_change);
        conf_list_done(&c->on_authorization_required);
        conf_list_done(&c->permissions);
        conf_list_done(&c->bot_ids);
        conf_list_done(&c->workspace_ids);
        conf_list_done(&c->workflow_ids);
        conf_rule_done(&c->allow);
        c->client_secret = secret_unref(c->client_secret);
        c->private_key = key_unref(c->private_key);
        c->token = secret_unref(c->token);
        free(c);
        return NULL;
}

/* One [credential] on its way. */
struct credential_draft {
        struct builder *b;
        const struct section *s;
        struct conf_credential *c;
        struct oauth_config *file; /* of config_file, or NULL */
        bool has_type;
};

/* A file with a secret could not be used. When only looking, one that is for the service alone is no
 * mistake. */
static void credential_report_file(const struct credential_draft *d, const char *key,
                                   const char *path, int r, const struct why *why) {
        if (d->b->look && file_is_systemd_credential(path) && (r == -ENOENT || r == -EACCES)) {
                report_warning(
                        d->b->report, d->s, section_get(d->s, key),
                        "cannot be checked from here: systemd gives it to the service alone");
                d->c->unseen = true;
        } else if (r < 0)
                report_error(d->b->report, d->s, section_get(d->s, key), "%s", why->text);
}

static void credential_warn(const struct credential_draft *d, const char *key, const char *hint) {
        if (!hint)
                return;
        if (section_get(d->s, key))
                report_warning(d->b->report, d->s, section_get(d->s, key), "%s", hint);
        else
                report_warning(d->b->report, d->s, section_get(d->s, "config_file"), "%s %s", key,
                               hint);
}

/* The path that `key` names; NULL when it is not set or not right, which is reported elsewhere. */
static char *credential_path(const struct credential_draft *d, const char *key) {
        const struct setting *setting = section_get(d->s, key);
        char *path = NULL;

        if (setting && value_path(NULL, setting->value, NULL, &path) == -ENOMEM)
                d->b->report->oom = true;
        return path;
}

/* Reads what config_file names and finds out the type. */
static void credential_read_type(struct credential_draft *d) {
        const struct setting *type = section_get(d->s, "type");
        const struct setting *file = section_get(d->s, "config_file");
        AUTO(auto_freep) char *path = credential_path(d, "config_file");
        struct why why = { "" };
        unsigned index;
        int r;

        if (type && builder_get_choice(d->s, "type", &index)) {
                d->c->type = (enum credential_type) index;
                d->has_type = true;
        }
        if (!type && !file)
                report_key(
                        d->b->report, true, d->s, "type",
                        "is required: one of pat, sat, authorization_code, pkce, device_code, jwt; "
                        "or config_file, which tells it");
        if (!path || (d->has_type && credential_type_is_static(d->c->type)))
                return; /* where it does not belong, it is not read */
        r = oauth_config_read(path, &why, &d->file);
        if (r == -ENOMEM)
                d->b->report->oom = true;
        else
                credential_report_file(d, "config_file", path, r, &why);
        if (!d->file)
                return;
        if (d->has_type && d->file->type != d->c->type)
                report_error(d->b->report, d->s, type,
                             "is not what client_type in config_file says: %s; drop one of the two",
                             credential_type_names[d->file->type]);
        if (!type) {
                d->c->type = d->file->type;
                d->has_type = true;
        }
}

static void credential_check_types(const struct credential_draft *d) {
        unsigned own = OPTION_TYPE(d->c->type);
        char types[OPTION_TYPES_MAX];

        for (const struct option *o = NULL; (o = option_next(o));) {
                const struct setting *setting = section_get(d->s, o->key);

                if (o->section != SECTION_CREDENTIAL)
                        continue;
                if (setting && o->types && !(o->types & own))
                        report_error(d->b->report, d->s, setting,
                                     "does not belong to type %s, only to %s",
                                     credential_type_names[d->c->type],
                                     option_types(o->types, types));
                if (setting || !o->types || !(o->required & own))
                        continue;
                if (o->flags & OPTION_IN_CONFIG_FILE && section_get(d->s, "config_file"))
                        continue;
                report_key(d->b->report, true, d->s, o->key, "is required for type %s%s",
                           credential_type_names[d->c->type],
                           o->flags & OPTION_IN_CONFIG_FILE ? ", or config_file, which has it"
                                                            : "");
        }
}

/* The sentence for a secret file whose content cannot be sent as Authorization: Bearer, or NULL. */
static const char *credential_judge_secret(const char *text, size_t len) {
        if (len == 0)
                return "is empty";
        if (text_is_bearer_token(text, len))
                return NULL;
        if (memchr(text, '\n', len))
                return "has more than one line: it must hold the secret and nothing else";
        if (strncmp(text, "Bearer ", 7) == 0)
                return "begins with \"Bearer\": it must hold the token and nothing else";
        if (*text == '"' || *text == '\'')
                return "has quotes around it: it must hold the secret and nothing else";
        return "has blanks or characters that no secret has: copy it from Coze's console again";
}

/* Reads one word from the file that `key` names, without what is blank behind it. */
static struct secret *credential_read_word(const struct credential_draft *d, const char *key) {
        AUTO(auto_freep) char *path = credential_path(d, key);
        AUTO(secret_unrefp) struct secret *s = NULL;
        struct why why = { "" };
        const char *judgement;
        size_t len;
        int r;

        if (!path)
                return NULL;
        r = file_read_secret(path, CREDENTIAL_SECRET_MAX, &why, &s);
        if (r == -ENOMEM)
                d->b->report->oom = true;
        else
                credential_report_file(d, key, path, r, &why);
        if (r < 0)
                return NULL;
        for (len = secret_len(s); len > 0 && strchr(" \t\r\n", secret_text(s)[len - 1]);)
                len--;
        secret_truncate(s, len);
        judgement = credential_judge_secret(secret_text(s), len);
        if (judgement) {
                report_error(d->b->report, d->s, section_get(d->s, key), "%.200s %s", path,
                             judgement);
                return NULL;
        }
        return TAKE(s);
}

static void credential_read_key(const struct credential_draft *d) {
        AUTO(auto_freep) char *path = credential_path(d, "private_key_file");
        AUTO(secret_unrefp) struct secret *pem = NULL;
        struct why why = { "" }, end = { "" };
        int r;

        if (!path)
                return;
        r = file_read_secret(path, KEY_FILE_MAX, &why, &pem);
        if (r == 0) {
                r = key_parse(secret_text(pem), secret_len(pem), &end, &d->c->private_key);
                if (r < 0)
                        (void) why_set(&why, r, "%.120s: %s", path, end.text);
        }
        if (r == -ENOMEM)
                d->b->report->oom = true;
        else
                credential_report_file(d, "private_key_file", path, r, &why);
}

static void credential_read_token(const struct credential_draft *d) {
        AUTO(auto_freep) char *path = credential_path(d, "token_file");
        struct stat st;

        d->c->token = credential_read_word(d, "token_file");
        if (!d->c->token)
                return;
        if (stat(path, &st) == 0) /* else as if it were old: a token set at run time is preferred */
                d->c->token_changed_at.s = st.st_mtim.tv_sec;
        credential_warn(d, "token_file", hint_static_token(d->c->type, secret_text(d->c->token)));
}

static void credential_read_secrets(const struct credential_draft *d) {
        switch (d->c->type) {
        case CREDENTIAL_PAT:
        case CREDENTIAL_SAT:
                credential_read_token(d);
                break;
        case CREDENTIAL_AUTHORIZATION_CODE:
                d->c->client_secret = credential_read_word(d, "client_secret_file");
                break;
        case CREDENTIAL_JWT:
                credential_read_key(d);
                break;
        case CREDENTIAL_PKCE:
        case CREDENTIAL_DEVICE_CODE:
        case CREDENTIAL_TYPE_MAX:
                break;
        }
}

static void credential_find_provider(const struct credential_draft *d) {
        const struct setting *setting = section_get(d->s, "provider");
        const struct conf *conf = d->b->conf;
        struct nearest near = { .word = setting ? setting->value : "" };
        char hint[NEAREST_HINT_MAX];

        if (!setting)
                report_key(
                        d->b->report, true, d->s, "provider",
                        "is required: the region is never guessed; coze.cn, coze.com or the name "
                        "of a [provider] section");
        if (!setting || !text_is_name(setting->value))
                return;
        d->c->provider = builder_find_provider(d->b, setting->value);
        if (d->c->provider)
                return;
        for (size_t i = 0; i < conf->n_providers; i++)
                nearest_try(&near, conf->providers[i]->name);
        report_error(
                d->b->report, d->s, setting,
                "there is no provider %s: coze.cn, coze.com or the name of a [provider] section%s",
                setting->value, nearest_hint(&near, hint));
}

/* The file names the server it is for: the commonest mistake of all is to use it with the other
 * region's. */
static void credential_check_region(const struct credential_draft *d) {
        const struct conf_provider *p = d->c->provider, *other = NULL;
        const struct conf *conf = d->b->conf;

        if (!p || !p->api_url || !p->www_url)
                return;
        if (strcmp(d->file->api_url, p->api_url) == 0) {
                if (d->file->www_url && strcmp(d->file->www_url, p->www_url) != 0)
                        report_warning(
                                d->b->report, d->s, section_get(d->s, "config_file"),
                                "coze_www_base is not the www_url of provider %s, which is used",
                                p->name);
                return;
        }
        for (size_t i = 0; i < conf->n_providers; i++)
                if (conf->providers[i]->api_url &&
                    strcmp(d->file->api_url, conf->providers[i]->api_url) == 0)
                        other = conf->providers[i];
        report_error(d->b->report, d->s, section_get(d->s, "provider"),
                     "the region is wrong: config_file is for %.100s, %s is %.100s; %s%s",
                     d->file->api_url, p->name, p->api_url,
                     other ? "it matches provider = "
                           : "no provider matches it: add a [provider] section with that api_url",
                     other ? other->name : "");
}

/* What the section does not say comes from config_file. */
static void credential_merge(const struct credential_draft *d) {
        struct conf_credential *c = d->c;
        struct oauth_config *file = d->file;

        if (!file || file->type != c->type)
                return;
        if (c->client_id && strcmp(c->client_id, file->client_id) != 0)
                report_error(d->b->report, d->s, section_get(d->s, "client_id"),
                             "is not the client_id in config_file: drop one of the two");
        if (!c->client_id)
                c->client_id = TAKE(file->client_id);
        if (!section_get(d->s, "public_key_id"))
                c->public_key_id = TAKE(file->public_key_id);
        if (!section_get(d->s, "client_secret_file"))
                c->client_secret = TAKE(file->client_secret);
        if (!section_get(d->s, "private_key_file"))
                c->private_key = TAKE(file->private_key);
        credential_check_region(d);
}

static void credential_check_jwt(const struct credential_draft *d) {
        const struct conf_credential *c = d->c;
        const struct setting *enterprise = section_get(d->s, "enterprise_id");
        const struct setting *account = section_get(d->s, "account_id");

        if (enterprise && account)
                report_error(
                        d->b->report, d->s, enterprise,
                        "excludes account_id: the one is for application = enterprise, the other "
                        "for the rest; drop one of the two");
        if (c->application == APPLICATION_ENTERPRISE && !enterprise)
                report_key(d->b->report, true, d->s, "enterprise_id",
                           "is required for application = enterprise");
        if (c->application == APPLICATION_ENTERPRISE && account && !enterprise)
                report_error(
                        d->b->report, d->s, account,
                        "does not belong to application = enterprise, which has enterprise_id");
        if (c->application != APPLICATION_ENTERPRISE && enterprise && !account)
                report_error(d->b->report, d->s, enterprise,
                             "belongs to application = enterprise only");
        if (c->public_key_id)
                credential_warn(d, "public_key_id", hint_public_key_id(c->public_key_id));
}

static void credential_check_static(const struct credential_draft *d) {
        const struct setting *expires = section_get(d->s, "expires_at");
        const struct setting *subjects = section_get(d->s, "subjects");

        if (d->c->subjects)
                report_error(d->b->report, d->s, subjects,
                             "must be no for type %s: its one token is the same for everybody",
                             credential_type_names[d->c->type]);
        if (expires && !section_get(d->s, "token_file"))
                report_error(
                        d->b->report, d->s, expires,
                        "needs token_file: the end of a token set at run time is told with it");
}

/* A token for a file has nobody who asks for it. */
static void credential_check_file(const struct credential_draft *d) {
        const struct setting *file = section_get(d->s, "token_file_out");
        const struct setting *kept = section_get(d->s, "keep_fresh");

        if (!file)
                return;
        if (kept && d->c->keep_fresh != KEEP_FRESH_ALWAYS)
                report_error(d->b->report, d->s, kept,
                             "must be always with token_file_out, or left out");
        d->c->keep_fresh = KEEP_FRESH_ALWAYS;
}

/* Checks that take more than one key. */
static void credential_check(const struct credential_draft *d) {
        const struct conf_credential *c = d->c;
        struct why why = { "" };

        if (credential_type_is_static(c->type))
                credential_check_static(d);
        credential_check_file(d);
        if (c->type == CREDENTIAL_JWT)
                credential_check_jwt(d);
        if (c->client_id)
                credential_warn(d, "client_id", hint_client_id(c->type, c->client_id));
        if (c->redirect_uri)
                credential_warn(d, "redirect_uri", hint_redirect_uri(c->redirect_uri));
        if (c->plan == PLAN_PERSONAL && c->role != ROLE_UNSET)
                report_warning(d->b->report, d->s, section_get(d->s, "role"),
                               "has no meaning with plan = personal");
        if (eligibility_check(c->type, c->application, c->workspace_id, c->plan, c->role, &why) < 0)
                report_error(d->b->report, d->s, NULL, "%s", why.text);
}

static int credential_build(struct builder *b, const struct section *s) {
        AUTO(conf_credential_freep) struct conf_credential *c = calloc(1, sizeof(*c));
        struct credential_draft d = { .b = b, .s = s, .c = c };

        if (!c)
                return RAISE(-ENOMEM);
        c->index = b->conf->n_credentials;
        c->token_file_group = (gid_t) -1;
        c->name = strdup(s->name);
        if (!c->name)
                return RAISE(-ENOMEM);
        option_check_keys(s, b->report);
        option_apply(s, TARGET_NONE, NULL, b->scope, b->report);
        credential_read_type(&d);
        c->subjects = d.has_type && !credential_type_is_static(c->type);
        option_apply(s, TARGET_CREDENTIAL, c, b->scope, b->report);
        c->has_expires_at = section_get(s, "expires_at");
        c->restricted = section_get(s, "allow_users") || section_get(s, "allow_groups") ||
                        section_get(s, "allow_units");
        credential_find_provider(&d);
        if (d.has_type) {
                credential_check_types(&d);
                credential_read_secrets(&d);
                credential_merge(&d);
                credential_check(&d);
        }
        d.file = oauth_config_free(d.file);
        b->conf->credentials[b->conf->n_credentials++] = TAKE(c);
        return 0;
}

/* Fallbacks lead from one credential to the next; all of them are known now. */
static void credential_link(struct builder *b, struct conf_credential *c) {
        const struct section *s = settings_find(b->settings, SECTION_CREDENTIAL, c->name);
        const struct setting *setting = section_get(s, "fallback");

        if (!setting || !text_is_name(setting->value))
                return;
        if (strcmp(setting->value, c->name) == 0)
                report_error(b->report, s, setting, "must be another credential than this one");
        else
                c->fallback = builder_refer(b, s, setting, setting->value);
}

/* Reports a circle once, at the first credential that is part of it. */
static void credential_check_circle(struct builder *b, const struct conf_credential *c) {
        const struct section *s = settings_find(b->settings, SECTION_CREDENTIAL, c->name);
        const struct conf_credential *other = c->fallback;

        for (size_t i = 0; other && i < b->conf->n_credentials; i++, other = other->fallback) {
                if (other->index < c->index)
                        return; /* reported there, if it is a circle */
                if (other != c)
                        continue;
                report_error(b->report, s, section_get(s, "fallback"),
                             "goes round in a circle, back to %s: take one of the fallbacks out",
                             c->name);
                return;
        }
}

/* Two tokens in one file would take turns. */
static void credential_check_files(struct builder *b, const struct conf_credential *c) {
        const struct section *s = settings_find(b->settings, SECTION_CREDENTIAL, c->name);

        for (size_t i = 0; c->token_file_out && i < c->index; i++) {
                const struct conf_credential *other = b->conf->credentials[i];

                if (!other->token_file_out || strcmp(other->token_file_out, c->token_file_out) != 0)
                        continue;
                report_error(b->report, s, section_get(s, "token_file_out"),
                             "%s is that of [credential %s] already: take another file",
                             c->token_file_out, other->name);
                return;
        }
}

int builder_add_credentials(struct builder *b) {
        struct conf *conf = b->conf;
        int r;

        conf->credentials = calloc(builder_count(b, SECTION_CREDENTIAL) + 1,
                                   sizeof(struct conf_credential *));
        if (!conf->credentials)
                return RAISE(-ENOMEM);
        for (size_t i = 0; i < b->settings->n_sections; i++) {
                if (b->settings->sections[i]->kind != SECTION_CREDENTIAL)
                        continue;
                r = credential_build(b, b->settings->sections[i]);
                if (r < 0)
                        return PASS(r);
        }
        r = conf_index(conf);
        if (r < 0)
                return PASS(r);
        for (size_t i = 0; i < conf->n_credentials; i++)
                credential_link(b, conf->credentials[i]);
        for (size_t i = 0; i < conf->n_credentials; i++)
                credential_check_circle(b, conf->credentials[i]);
        for (size_t i = 0; i < conf->n_credentials; i++)
                credential_check_files(b, conf->credentials[i]);
        return 0;
}
