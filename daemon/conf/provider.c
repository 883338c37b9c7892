#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "conf/builder.h"
#include "conf/option.h"
#include "conf/url.h"

/* coze-oauth.md section 1 */
static const struct {
        const char *name, *api_url, *www_url;
} provider_builtin[] = {
        { "coze.cn", "https://api.coze.cn", "https://www.coze.cn" },
        { "coze.com", "https://api.coze.com", "https://www.coze.com" },
};

struct conf_provider *conf_provider_free(struct conf_provider *p) {
        if (!p)
                return NULL;
        free(p->name);
        free(p->dialect);
        free(p->api_url);
        free(p->www_url);
        free(p->audience);
        free(p->ca_file);
        free(p);
        return NULL;
}

struct conf_provider *builder_find_provider(const struct builder *b, const char *name) {
        for (size_t i = 0; i < b->conf->n_providers; i++)
                if (strcmp(b->conf->providers[i]->name, name) == 0)
                        return b->conf->providers[i];
        return NULL;
}

/* http: is for tests on this machine, and only when asked for. */
static void provider_check_url(const struct builder *b, const struct section *s,
                               const struct conf_provider *p, const char *key, const char *text) {
        const struct setting *setting = section_get(s, key);
        struct url u;

        if (!text) {
                if (!setting)
                        report_key(b->report, true, s, key,
                                   "is required; only coze.cn and coze.com have it built in");
                return;
        }
        if (url_parse(text, NULL, &u) < 0 || u.tls)
                return;
        if (!url_is_loopback(&u))
                report_error(b->report, s, setting,
                             "must be https: plain http is allowed to a loopback address only");
        else if (!p->allow_http)
                report_error(b->report, s, setting,
                             "must be https, or the section needs allow_http = yes, as in tests");
}

static void provider_check_ca_file(const struct builder *b, const struct section *s,
                                   const struct conf_provider *p) {
        if (p->ca_file && access(p->ca_file, R_OK) < 0)
                report_error(b->report, s, section_get(s, "ca_file"), "cannot read %.200s: %s",
                             p->ca_file, strerror(errno));
}

static int provider_set_audience(struct conf_provider *p) {
        struct url u;

        if (p->audience || !p->api_url || url_parse(p->api_url, NULL, &u) < 0)
                return 0;
        return url_authority(&u, &p->audience);
}

/* `api_url` and `www_url` are what is built in, or NULL. */
static int provider_build(struct builder *b, const struct section *s, const char *api_url,
                          const char *www_url) {
        AUTO(conf_provider_freep) struct conf_provider *p = calloc(1, sizeof(*p));
        const char *dialect;
        unsigned index;
        int r;

        if (!p)
                return RAISE(-ENOMEM);
        dialect = builder_get_choice(s, "dialect", &index);
        p->name = strdup(s->name);
        p->dialect = strdup(dialect ? dialect : "");
        p->api_url = api_url ? strdup(api_url) : NULL;
        p->www_url = www_url ? strdup(www_url) : NULL;
        if (!p->name || !p->dialect || (api_url && !p->api_url) || (www_url && !p->www_url))
                return RAISE(-ENOMEM);
        option_check_keys(s, b->report);
        option_apply(s, TARGET_NONE, NULL, b->scope, b->report);
        option_apply(s, TARGET_PROVIDER, p, b->scope, b->report);
        provider_check_url(b, s, p, "api_url", p->api_url);
        provider_check_url(b, s, p, "www_url", p->www_url);
        provider_check_ca_file(b, s, p);
        r = provider_set_audience(p);
        if (r < 0)
                return PASS(r);
        b->conf->providers[b->conf->n_providers++] = TAKE(p);
        return 0;
}

static bool provider_is_builtin(const char *name) {
        for (size_t i = 0; i < N_ELEMENTS(provider_builtin); i++)
                if (strcmp(name, provider_builtin[i].name) == 0)
                        return true;
        return false;
}

int builder_add_providers(struct builder *b) {
        size_t max = builder_count(b, SECTION_PROVIDER) + N_ELEMENTS(provider_builtin);

        b->conf->providers = calloc(max, sizeof(struct conf_provider *));
        if (!b->conf->providers)
                return RAISE(-ENOMEM);
        for (size_t i = 0; i < N_ELEMENTS(provider_builtin); i++) {
                char name[16];
                struct section none = { .kind = SECTION_PROVIDER,
                                        .name = name,
                                        .file = "built in" };
                const struct section *s;
                int r;

                strcpy(name, provider_builtin[i].name);
                s = settings_find(b->settings, SECTION_PROVIDER, name);
                r = provider_build(b, s ? s : &none, provider_builtin[i].api_url,
                                   provider_builtin[i].www_url);
                if (r < 0)
                        return PASS(r);
        }
        for (size_t i = 0; i < b->settings->n_sections; i++) {
                const struct section *s = b->settings->sections[i];
                int r;

                if (s->kind != SECTION_PROVIDER || provider_is_builtin(s->name))
                        continue;
                r = provider_build(b, s, NULL, NULL);
                if (r < 0)
                        return PASS(r);
        }
        return 0;
}
