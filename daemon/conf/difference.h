#pragma once
/*
 * Difference: what one configuration has that another has not
 *
 * For a reload, which leaves alone what has not changed.
 *
 * Threading: pure functions.
 */

#include "conf/conf.h"

enum conf_change {
        CONF_SAME,
        CONF_TUNED,   /* who may use it, how it is kept: its tokens are what they were */
        CONF_RENEWED, /* tokens are to be had anew */
        CONF_CHANGE_MAX,
};

/* The same server, spoken to in the same way? */
bool conf_provider_is_same(const struct conf_provider *a, const struct conf_provider *b);
enum conf_change conf_compare_providers(const struct conf_provider *a,
                                        const struct conf_provider *b);
enum conf_change conf_compare_credentials(const struct conf_credential *a,
                                          const struct conf_credential *b);
enum conf_change conf_compare_sockets(const struct conf_socket *a, const struct conf_socket *b);

/* The same kind: static, interactive, or neither. A credential that changes its kind is another one. */
bool conf_is_same_kind(const struct conf_credential *a, const struct conf_credential *b);

const struct conf_provider *conf_find_provider(const struct conf *c,
                                               const char *name);                   /* or NULL */
const struct conf_socket *conf_find_socket(const struct conf *c, const char *path); /* or NULL */

bool conf_text_equal(const char *a, const char *b); /* both may be NULL */
