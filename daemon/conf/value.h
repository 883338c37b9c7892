#pragma once
/*
 * Values: the text behind a key, read into a field
 *
 * One function for each kind of value. Each takes the option whose value it reads (for its limits
 * and words), and writes the field only when the value is right; what the field held before is
 * released.
 *
 * Errors:    0; -EINVAL with the end of a sentence ("must be ..."), which quotes nothing but
 *            names of users, groups and units; -ENOMEM.
 * Threading: any; value_user() and its kin ask the name service, so only while loading.
 */

#include "base/why.h"
#include "conf/conf.h"

#define VALUE_WORD_MAX 512 /* bytes */
#define VALUE_TEXT_MAX 256 /* bytes; session_name, as PROTOCOL_SUBJECT_MAX */

struct option;

typedef int value_fn(const struct option *option, const char *value, struct why *why, void *ret);

value_fn value_bool;   /* bool: yes, no, true, false, on, off, 1, 0 */
value_fn value_mode;   /* mode_t: octal */
value_fn value_span;   /* int64_t, microseconds: whole seconds between the option's min and max */
value_fn value_count;  /* size_t: a whole number between the option's min and max */
value_fn value_choice; /* an enum: one of the option's words */
value_fn value_date;   /* wall_t: 2026-12-20, 2026-12-20T10:00:00Z, or UNIX seconds */

value_fn value_name;         /* char *: the name of a provider or credential */
value_fn value_word;         /* char *: printable ASCII without blanks and quotes */
value_fn value_id;           /* char *: letters, digits, '.', '_', '-' */
value_fn value_digits;       /* char *: decimal digits */
value_fn value_text;         /* char *: any printable text */
value_fn value_path;         /* char *: an absolute path; see value.c for what is expanded */
value_fn value_base_url;     /* char *: url_parse_base() */
value_fn value_redirect_uri; /* char *: kept to the letter, as Coze compares it so */
value_fn value_json_object;  /* char *: in canonical form */

value_fn value_command; /* struct conf_list: a command line, as systemd splits it; a path first */
value_fn value_words;   /* struct conf_list: separated by commas or blanks */

value_fn value_users;  /* adds the uids to a struct conf_rule */
value_fn value_groups; /* adds the gids */
value_fn value_units;  /* adds the units, which may have shell patterns */
value_fn value_user;   /* uid_t */
value_fn value_group;  /* gid_t */

void conf_list_done(struct conf_list *list);
void conf_rule_done(struct conf_rule *rule);
