#pragma once
/*
 * Options: one table, many uses
 *
 * Every key there is, with its section, its kind of value, default, limits and the credential
 * types it is for. The parser, the checks, conf/bearerd.conf and bearerd.conf(5) all follow it;
 * tests hold the latter two against it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "conf/settings.h"
#include "conf/value.h"

enum option_target { /* the struct that an option's field is in */
        TARGET_NONE, /* a name or file that is resolved later: only its form is checked */
        TARGET_CONF,
        TARGET_PROVIDER,
        TARGET_CREDENTIAL,
        TARGET_SOCKET,
        TARGET_MAX,
};

#define OPTION_IN_CONFIG_FILE                                                                      \
        1u /* coze_oauth_config.json can hold it: required only without config_file */
#define OPTION_DEFAULT_MAY_FAIL                                                                    \
        2u               /* a default that this machine does not have leaves the field as it was */
#define OPTION_LIMITS 4u /* set to nothing it lets everybody in: worth a warning */

struct option {
        enum section_kind section;
        const char *key;
        value_fn *parse;
        enum option_target target;
        size_t field;
        const char *standard;      /* the default as text; NULL: none, or one that `help` tells */
        const char *standard_user; /* with --user; NULL: the same */
        const char *min, *max;     /* of a time span or a count */
        const char *const *words;  /* of a choice */
        unsigned n_words;
        unsigned types;    /* of credentials that may have it: OPTION_TYPE() bits; 0: all */
        unsigned required; /* of credentials that must; all bits set: every section of this kind */
        unsigned flags;
        const char *help;
};

#define OPTION_TYPE(type) (1u << (type))

/* The rows in order; NULL ends the walk. `previous` NULL: the first one. */
const struct option *option_next(const struct option *previous);

/* NULL if there is none. */
const struct option *option_find(enum section_kind section, const char *key);

/* The default of that scope, or NULL. */
const char *option_standard(const struct option *o, enum conf_scope scope);

/* Writes "pat, sat" for a set of types. Returns `ret`. */
#define OPTION_TYPES_MAX 80
char *option_types(unsigned types, char ret[OPTION_TYPES_MAX]);

/* Reports every key of the section that is not in the table. */
void option_check_keys(const struct section *s, struct report *report);

/* Fills all fields of `target` from the section and the defaults; what is wrong is reported and
 * left as it was. */
void option_apply(const struct section *s, enum option_target target, void *object,
                  enum conf_scope scope, struct report *report);
