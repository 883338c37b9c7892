#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/random.h"
#include "conf/builder.h"
#include "conf/option.h"

#define CONF_PATH_SYSTEM "/etc/bearerd/bearerd.conf"
#define CONF_PATH_USER   "$XDG_CONFIG_HOME/bearerd/bearerd.conf"

static void conf_report_donep(struct conf_report *report) {
        conf_report_done(report);
}

void conf_report_done(struct conf_report *report) {
        free(report->problems);
        *report = (struct conf_report){ 0 };
}

int conf_report_warn(struct conf_report *report, const char *text) {
        struct conf_problem *problems = reallocarray(report->problems, report->n + 1,
                                                     sizeof(*problems));

        if (!problems)
                return RAISE(-ENOMEM);
        report->problems = problems;
        problems[report->n] = (struct conf_problem){ 0 };
        (void) snprintf(problems[report->n++].text, sizeof(problems->text), "%s", text);
        return 0;
}

const char *conf_report_first_error(const struct conf_report *report) {
        for (size_t i = 0; i < report->n; i++)
                if (report->problems[i].is_error)
                        return report->problems[i].text;
        return NULL;
}

bool conf_list_equal(const struct conf_list *a, const struct conf_list *b) {
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (strcmp(a->words[i], b->words[i]) != 0)
                        return false;
        return true;
}

bool conf_runs_commands(const struct conf_credential *c) {
        return c->on_change.n > 0 || c->on_authorization_required.n > 0;
}

int conf_default_path(enum conf_scope scope, char **ret) {
        char *path = NULL;
        int r;

        r = value_path(NULL, scope == CONF_USER ? CONF_PATH_USER : CONF_PATH_SYSTEM, NULL, &path);
        if (r == -EINVAL)
                return RAISE(-ENXIO);
        if (r < 0)
                return PASS(r);
        *ret = path;
        return 0;
}

int conf_index(struct conf *c) {
        int r;

        for (size_t i = 0; i < c->n_providers; i++)
                c->providers[i]->conf = c;
        r = table_init(&c->names, &random_system);
        for (size_t i = 0; r == 0 && i < c->n_credentials; i++) {
                c->credentials[i]->conf = c;
                c->credentials[i]->node.key = c->credentials[i]->name;
                table_insert(&c->names, &c->credentials[i]->node);
        }
        return PASS(r);
}

const struct conf_credential *conf_find_credential(const struct conf *c, const char *name) {
        struct table_node *node = table_find(&c->names, name);

        return node ? table_entry(node, struct conf_credential, node) : NULL;
}

struct conf *conf_ref(const struct conf *c) {
        struct conf *counted = (struct conf *) (uintptr_t) c; /* the count is nobody's to see */

        if (counted)
                counted->refs++;
        return counted;
}

struct conf *conf_free(struct conf *c) {
        if (!c)
                return NULL;
        if (c->refs > 0) {
                c->refs--;
                return NULL;
        }
        for (size_t i = 0; i < c->n_sockets; i++)
                conf_socket_free(c->sockets[i]);
        for (size_t i = 0; i < c->n_credentials; i++)
                conf_credential_free(c->credentials[i]);
        for (size_t i = 0; i < c->n_providers; i++)
                conf_provider_free(c->providers[i]);
        table_done(&c->names);
        conf_rule_done(&c->admin);
        free(c->sockets);
        free(c->credentials);
        free(c->providers);
        free(c->state_dir);
        free(c->key_file);
        free(c);
        return NULL;
}

static int conf_add_daemon(struct builder *b) {
        struct conf *c = b->conf;

        option_apply(b->settings->sections[0], TARGET_CONF, c, b->scope, b->report);
        if (!c->key_file && c->state_dir &&
            asprintf(&c->key_file, "%s/bearerd.key", c->state_dir) < 0) {
                c->key_file = NULL;
                return RAISE(-ENOMEM);
        }
        return 0;
}

static int conf_build(struct builder *b) {
        int r;

        r = conf_add_daemon(b);
        if (r == 0)
                r = builder_add_providers(b);
        if (r == 0)
                r = builder_add_credentials(b);
        if (r == 0)
                r = builder_add_sockets(b);
        return PASS(r);
}

static int conf_read(const char *path, enum conf_scope scope, bool look, struct conf_report *report,
                     struct conf **ret) {
        AUTO(conf_report_donep) struct conf_report found = { 0 };
        AUTO(settings_freep) struct settings *settings = NULL;
        AUTO(conf_freep) struct conf *conf = calloc(1, sizeof(*conf));
        AUTO(auto_freep) char *standard = NULL;
        struct report lines = { .out = &found };
        struct builder b = { .scope = scope, .look = look, .report = &lines, .conf = conf };
        int r;

        if (!conf)
                return RAISE(-ENOMEM);
        conf->scope = scope;
        r = path ? 0 : conf_default_path(scope, &standard);
        if (r == -ENXIO)
                report_file(&lines, "bearerd.conf", 0,
                            "cannot tell where it is: neither XDG_CONFIG_HOME nor HOME is set");
        else if (r < 0)
                return PASS(r);
        if (r == 0)
                r = settings_read(path ? path : standard, !path, &lines, &settings);
        if (r == 0) {
                b.settings = settings;
                r = conf_build(&b);
        }
        if (r == -ENOMEM || lines.oom)
                return RAISE(-ENOMEM);
        *report = found;
        found = (struct conf_report){ 0 };
        if (lines.failed)
                return RAISE(-EINVAL);
        *ret = TAKE(conf);
        return 0;
}

int conf_load(const char *path, enum conf_scope scope, struct conf_report *report,
              struct conf **ret) {
        return PASS(conf_read(path, scope, false, report, ret));
}

int conf_look(const char *path, enum conf_scope scope, struct conf_report *report,
              struct conf **ret) {
        return PASS(conf_read(path, scope, true, report, ret));
}
