#pragma once
/*
 * Builder: makes the struct conf of the settings, section by section
 *
 * Providers first, then the credentials that name them, then the sockets that name those.
 *
 * Errors: 0 or -ENOMEM; mistakes are in the report, and what a mistake left incomplete is kept,
 *         so that later sections can refer to it without a second complaint. A conf with a
 *         mistake is never used.
 */

#include "conf/conf.h"
#include "conf/report.h"
#include "conf/settings.h"

struct builder {
        enum conf_scope scope;
        bool look; /* conf_look() */
        const struct settings *settings;
        struct report *report;
        struct conf *conf;
};

int builder_add_providers(struct builder *b);
int builder_add_credentials(struct builder *b);
int builder_add_sockets(struct builder *b); /* the main one of [daemon] first */

struct conf_provider *conf_provider_free(struct conf_provider *p);
struct conf_credential *conf_credential_free(struct conf_credential *c);
struct conf_socket *conf_socket_free(struct conf_socket *s);
AUTO_DEFINE(struct conf_provider, conf_provider_free)
AUTO_DEFINE(struct conf_credential, conf_credential_free)
AUTO_DEFINE(struct conf_socket, conf_socket_free)

/* NULL if there is none of that name. */
struct conf_provider *builder_find_provider(const struct builder *b, const char *name);

/* The number of sections of that kind. */
size_t builder_count(const struct builder *b, enum section_kind kind);

/* The credential of that name, or NULL after a report that names the nearest. */
const struct conf_credential *builder_refer(const struct builder *b, const struct section *s,
                                            const struct setting *setting, const char *name);

/* The word of a choice, from the section or the default; valid as long as the settings. NULL:
 * none, or none of the option's words. */
const char *builder_get_choice(const struct section *s, const char *key, unsigned *ret);
