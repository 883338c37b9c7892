#pragma once
/*
 * Settings: what the files say, before anybody has thought about it
 *
 * Reads bearerd.conf and conf.d/ *.conf beside it into sections of key and value, with the place
 * of each. A later file may add sections, and replaces values of an earlier one; within one file
 * nothing may be said twice. Splitting a line is left to libinih; the rest of its duties it does
 * not do as we need it (see settings.c).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "conf/report.h"

#define SETTINGS_FILE_MAX 262144 /* bytes */
#define SETTINGS_LINE_MAX 8192   /* bytes, with the line break */
#define SETTINGS_MAX      65536  /* files, sections; and keys of a section */

enum section_kind {
        SECTION_DAEMON,
        SECTION_PROVIDER,
        SECTION_CREDENTIAL,
        SECTION_SOCKET,
        SECTION_KIND_MAX,
};
extern const char *const section_kind_names[SECTION_KIND_MAX];

struct setting {
        const char *file; /* of struct settings */
        int line;
        char *key;
        char *value; /* "": set to nothing, which means the default */
};

struct section {
        enum section_kind kind;
        char *name;       /* "" for [daemon] */
        const char *file; /* where it was seen last */
        int line;
        struct setting *settings;
        size_t n_settings;
};

struct settings {
        char **files;
        size_t n_files;
        struct section **sections; /* [0] is [daemon], whether the files have one or not */
        size_t n_sections;
};

/* Reads `path` and the directory beside it. A missing `path` is a mistake unless `may_lack`.
 * 0 or -ENOMEM; mistakes are in the report. The caller owns *ret. */
int settings_read(const char *path, bool may_lack, struct report *report, struct settings **ret);

struct settings *settings_free(
        struct settings *s); /* wipes the values: one may be a secret in the wrong place */
AUTO_DEFINE(struct settings, settings_free)

/* NULL if there is none. */
struct section *settings_find(const struct settings *s, enum section_kind kind, const char *name);

/* The setting of that key with a value, or NULL. */
const struct setting *section_get(const struct section *s, const char *key);

#define SECTION_TITLE_MAX 88 /* "[credential ", a name and "]", NUL included */

/* Writes "[kind name]". Returns `ret`. */
char *section_title(const struct section *s, char ret[SECTION_TITLE_MAX]);
