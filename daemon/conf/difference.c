#include "conf/difference.h"

#include <string.h>

bool conf_text_equal(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

static bool difference_secret(const struct secret *a, const struct secret *b) {
        return a == b || (a && b && secret_equal(a, b));
}

static bool difference_rule(const struct conf_rule *a, const struct conf_rule *b) {
        return a->n_uids == b->n_uids && a->n_gids == b->n_gids &&
               (a->n_uids == 0 || memcmp(a->uids, b->uids, a->n_uids * sizeof(uid_t)) == 0) &&
               (a->n_gids == 0 || memcmp(a->gids, b->gids, a->n_gids * sizeof(gid_t)) == 0) &&
               conf_list_equal(&a->units, &b->units);
}

bool conf_provider_is_same(const struct conf_provider *a, const struct conf_provider *b) {
        return strcmp(a->name, b->name) == 0 && conf_text_equal(a->dialect, b->dialect) &&
               conf_text_equal(a->api_url, b->api_url) && conf_text_equal(a->www_url, b->www_url) &&
               conf_text_equal(a->audience, b->audience);
}

enum conf_change conf_compare_providers(const struct conf_provider *a,
                                        const struct conf_provider *b) {
        if (!conf_provider_is_same(a, b))
                return CONF_RENEWED;
        return conf_text_equal(a->ca_file, b->ca_file) && a->allow_http == b->allow_http &&
                               a->timeout_us == b->timeout_us &&
                               a->requests_per_second == b->requests_per_second
                       ? CONF_SAME
                       : CONF_TUNED;
}

bool conf_is_same_kind(const struct conf_credential *a, const struct conf_credential *b) {
        return credential_type_is_static(a->type) == credential_type_is_static(b->type) &&
               credential_type_is_interactive(a->type) == credential_type_is_interactive(b->type);
}

/* What a token is made of. */
static bool difference_in_tokens(const struct conf_credential *a, const struct conf_credential *b) {
        return a->type == b->type && a->application == b->application &&
               conf_provider_is_same(a->provider, b->provider) &&
               conf_text_equal(a->client_id, b->client_id) &&
               difference_secret(a->client_secret, b->client_secret) &&
               conf_text_equal(a->public_key_id, b->public_key_id) &&
               key_equal(a->private_key, b->private_key) &&
               conf_text_equal(a->session_name, b->session_name) &&
               conf_text_equal(a->session_context, b->session_context) &&
               conf_text_equal(a->scope, b->scope) &&
               conf_text_equal(a->workspace_id, b->workspace_id) &&
               conf_text_equal(a->account_id, b->account_id) &&
               conf_text_equal(a->enterprise_id, b->enterprise_id) &&
               difference_secret(a->token, b->token) && a->has_expires_at == b->has_expires_at &&
               a->expires_at.s == b->expires_at.s;
}

enum conf_change conf_compare_credentials(const struct conf_credential *a,
                                          const struct conf_credential *b) {
        if (!difference_in_tokens(a, b))
                return CONF_RENEWED;
        return conf_text_equal(a->redirect_uri, b->redirect_uri) &&
                               a->warn_before_us == b->warn_before_us &&
                               a->token_lifetime_us == b->token_lifetime_us &&
                               a->token_changed_at.s == b->token_changed_at.s &&
                               a->subjects == b->subjects && a->restricted == b->restricted &&
                               difference_rule(&a->allow, &b->allow) && a->plan == b->plan &&
                               conf_text_equal(a->token_file_out, b->token_file_out) &&
                               a->token_file_mode == b->token_file_mode &&
                               a->token_file_group == b->token_file_group &&
                               conf_list_equal(&a->on_change, &b->on_change) &&
                               conf_list_equal(&a->on_authorization_required,
                                               &b->on_authorization_required) &&
                               a->remind_every_us == b->remind_every_us && a->role == b->role &&
                               a->keep_fresh == b->keep_fresh &&
                               conf_text_equal(a->fallback ? a->fallback->name : NULL,
                                               b->fallback ? b->fallback->name : NULL)
                       ? CONF_SAME
                       : CONF_TUNED;
}

enum conf_change conf_compare_sockets(const struct conf_socket *a, const struct conf_socket *b) {
        if (a->mode != b->mode || a->owner != b->owner || a->group != b->group ||
            a->protocol != b->protocol || a->restricted != b->restricted ||
            a->n_credentials != b->n_credentials)
                return CONF_TUNED;
        for (size_t i = 0; i < a->n_credentials; i++)
                if (strcmp(a->credentials[i]->name, b->credentials[i]->name) != 0)
                        return CONF_TUNED;
        return CONF_SAME;
}

const struct conf_provider *conf_find_provider(const struct conf *c, const char *name) {
        for (size_t i = 0; i < c->n_providers; i++)
                if (strcmp(c->providers[i]->name, name) == 0)
                        return c->providers[i];
        return NULL;
}

const struct conf_socket *conf_find_socket(const struct conf *c, const char *path) {
        for (size_t i = 0; i < c->n_sockets; i++)
                if (strcmp(c->sockets[i]->path, path) == 0)
                        return c->sockets[i];
        return NULL;
}
