#include "conf/value.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "conf/nearest.h"
#include "conf/option.h"
#include "conf/url.h"

#define VALUE_OVERFLOW_ID 65534 /* what the kernel says for an id it cannot map: matches no rule */

/* Replaces the text in a field. Takes over `text`; NULL: out of memory. */
static int value_keep(void *field, char *text) {
        char **p = field;

        if (!text)
                return RAISE(-ENOMEM);
        free(*p);
        *p = text;
        return 0;
}

int value_bool(const struct option *option, const char *value, struct why *why, void *ret) {
        static const char *const words[2][4] = { { "no", "false", "off", "0" },
                                                 { "yes", "true", "on", "1" } };

        (void) option;
        for (size_t i = 0; i < 2; i++)
                for (size_t k = 0; k < N_ELEMENTS(words[i]); k++)
                        if (strcasecmp(value, words[i][k]) == 0) {
                                *(bool *) ret = i == 1;
                                return 0;
                        }
        return why_set(why, RAISE(-EINVAL), "must be yes or no");
}

int value_mode(const struct option *option, const char *value, struct why *why, void *ret) {
        size_t n = strlen(value);

        (void) option;
        if (n < 3 || n > 4 || strspn(value, "01234567") != n || (n == 4 && *value != '0'))
                return why_set(why, RAISE(-EINVAL),
                               "must be an octal mode from 0000 to 0777, as in 0660");
        *(mode_t *) ret = (mode_t) strtoul(value, NULL, 8);
        return 0;
}

int value_span(const struct option *option, const char *value, struct why *why, void *ret) {
        int64_t us = 0, min = 0, max = INT64_MAX;
        int r;

        if (option->min)
                (void) text_parse_span(option->min, &min); /* a test reads every row */
        if (option->max)
                (void) text_parse_span(option->max, &max);
        r = text_parse_span(value, &us);
        if (r == -EINVAL && *value && strspn(value, "0123456789") == strlen(value))
                return why_set(why, RAISE(-EINVAL),
                               "needs a unit: %.20ss, %.20smin, %.20sh or %.20sd", value, value,
                               value, value);
        if (r == -EINVAL)
                return why_set(why, RAISE(-EINVAL),
                               "must be a time span, as in 90s, 15min, 12h, 30d or 1h 30min");
        if (r < 0 || us < min || us > max)
                return why_set(why, RAISE(-EINVAL), "must lie between %s and %s", option->min,
                               option->max);
        if (us % US_PER_S)
                return why_set(why, RAISE(-EINVAL), "must be whole seconds");
        *(int64_t *) ret = us;
        return 0;
}

int value_count(const struct option *option, const char *value, struct why *why, void *ret) {
        const unsigned long min = strtoul(option->min, NULL, 10),
                            max = strtoul(option->max, NULL, 10);
        const size_t len = strlen(value);
        unsigned long n;

        if (len == 0 || strspn(value, "0123456789") != len)
                return why_set(why, RAISE(-EINVAL), "must be a whole number from %s to %s",
                               option->min, option->max);
        n = strtoul(value, NULL, 10); /* ULONG_MAX when it is too large for that */
        if (n < min || n > max)
                return why_set(why, RAISE(-EINVAL), "must lie between %s and %s", option->min,
                               option->max);
        *(size_t *) ret = n;
        return 0;
}

int value_choice(const struct option *option, const char *value, struct why *why, void *ret) {
        struct nearest near = { .word = value };
        char hint[NEAREST_HINT_MAX], list[WHY_MAX / 2] = "";
        size_t len = 0;

        for (unsigned i = 0; i < option->n_words; i++) {
                const char *word = option->words[i];

                if (!*word)
                        continue; /* the one that stands for unset */
                if (strcmp(value, word) == 0) {
                        *(unsigned *) ret = i;
                        return 0;
                }
                nearest_try(&near, word);
                len += (size_t) snprintf(list + len, sizeof(list) - len, "%s%s", *list ? ", " : "",
                                         word);
        }
        return why_set(why, RAISE(-EINVAL), "must be one of %s%s", list, nearest_hint(&near, hint));
}

/* "2026-12-20" and what may follow it. False: no such date. */
static bool value_calendar_date(const char *value, int64_t *ret) {
        static const char *const formats[] = { "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ" };
        static const size_t lengths[] = { 10, 20 };

        for (size_t i = 0; i < N_ELEMENTS(formats); i++) {
                struct tm tm = { 0 }, normal;
                const char *end;
                time_t t;

                if (strlen(value) != lengths[i])
                        continue;
                end = strptime(value, formats[i], &tm);
                if (!end || *end)
                        continue;
                normal = tm;
                t = timegm(&normal);
                /* timegm() makes the 3rd of March of a 31st of February */
                if (normal.tm_mday != tm.tm_mday || normal.tm_sec != tm.tm_sec || t <= 0)
                        continue;
                *ret = t;
                return true;
        }
        return false;
}

int value_date(const struct option *option, const char *value, struct why *why, void *ret) {
        int64_t s;

        (void) option;
        if (!value_calendar_date(value, &s) &&
            /* nine digits end in 2001, thirteen are milliseconds */
            (text_parse_int64(value, &s) < 0 || s < INT64_C(1000000000) ||
             s >= INT64_C(100000000000)))
                return why_set(
                        why, RAISE(-EINVAL),
                        "must be a date, as in 2026-12-20 or 2026-12-20T10:00:00Z (UTC), or a "
                        "UNIX time in seconds");
        ((wall_t *) ret)->s = s;
        return 0;
}

int value_name(const struct option *option, const char *value, struct why *why, void *ret) {
        (void) option;
        if (!text_is_name(value))
                return why_set(why, RAISE(-EINVAL),
                               "must be a name: 1 to 64 letters, digits, '.', '_', '-'");
        return value_keep(ret, strdup(value));
}

int value_word(const struct option *option, const char *value, struct why *why, void *ret) {
        (void) option;
        if (strlen(value) > VALUE_WORD_MAX)
                return why_set(why, RAISE(-EINVAL), "is longer than %d bytes", VALUE_WORD_MAX);
        if (!text_is_bearer_token(value, strlen(value)))
                return why_set(why, RAISE(-EINVAL),
                               "must be one word of ASCII without blanks, quotes and backslashes");
        return value_keep(ret, strdup(value));
}

static bool value_is_made_of(const char *value, const char *set) {
        size_t n = strlen(value);

        return n > 0 && n <= VALUE_WORD_MAX && strspn(value, set) == n;
}

int value_id(const struct option *option, const char *value, struct why *why, void *ret) {
        (void) option;
        if (!value_is_made_of(value,
                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"))
                return why_set(why, RAISE(-EINVAL), "must be letters, digits, '.', '_', '-'");
        return value_keep(ret, strdup(value));
}

int value_digits(const struct option *option, const char *value, struct why *why, void *ret) {
        (void) option;
        if (!value_is_made_of(value, "0123456789"))
                return why_set(why, RAISE(-EINVAL), "must be a number of decimal digits");
        return value_keep(ret, strdup(value));
}

int value_text(const struct option *option, const char *value, struct why *why, void *ret) {
        (void) option;
        if (strlen(value) > VALUE_TEXT_MAX)
                return why_set(why, RAISE(-EINVAL), "is longer than %d bytes", VALUE_TEXT_MAX);
        return value_keep(ret, strdup(value)); /* settings.c lets only printable text through */
}

/* The XDG directories that may begin a path, and where below $HOME they are when not set. */
static const struct {
        const char *variable, *below_home;
} value_directories[] = {
        { "XDG_RUNTIME_DIR", NULL },
        { "XDG_STATE_HOME", "/.local/state" },
        { "XDG_CONFIG_HOME", "/.config" },
        { "HOME", "" },
};

/* Replaces one of these variables at the start of a path. */
static int value_expand(const char *path, struct why *why, char **ret) {
        char *joined = NULL;
        int n = -1;

        for (size_t i = 0; i < N_ELEMENTS(value_directories) && *path == '$'; i++) {
                const char *variable = value_directories[i].variable;
                const char *value = getenv(variable), *home = getenv("HOME"), *below = "";
                size_t len = strlen(variable);

                if (strncmp(path + 1, variable, len) != 0 || path[1 + len] != '/')
                        continue;
                if ((!value || *value != '/') && value_directories[i].below_home) {
                        value = home;
                        below = value_directories[i].below_home;
                }
                if (!value || *value != '/')
                        return why_set(why, RAISE(-EINVAL),
                                       "needs $%s, which is not set: set it, or "
                                       "give an absolute path",
                                       variable);
                n = asprintf(&joined, "%s%s%s", value, below, path + 1 + len);
                if (n < 0)
                        return RAISE(-ENOMEM);
                *ret = joined;
                return 0;
        }
        n = file_expand(path, why, &joined);
        if (n < 0)
                return n == -ENXIO ? -EINVAL : PASS(n);
        *ret = joined;
        return 0;
}

/* "%d", "$XDG_RUNTIME_DIR", "$XDG_STATE_HOME", "$XDG_CONFIG_HOME" and "$HOME" stand for
 * directories at its start. Slashes at the end and in a row go, so that two spellings of one path
 * are the same text. */
int value_path(const struct option *option, const char *value, struct why *why, void *ret) {
        AUTO(auto_freep) char *path = NULL;
        char *out;
        int r;

        (void) option;
        r = value_expand(value, why, &path);
        if (r < 0)
                return PASS(r);
        if (*path != '/')
                return why_set(why, RAISE(-EINVAL),
                               "must be an absolute path, which starts with / (or with %%d/, for "
                               "$CREDENTIALS_DIRECTORY)");
        out = path;
        for (const char *in = path; *in; in++)
                if (*in != '/' || (in[1] && in[1] != '/'))
                        *out++ = *in;
        *out = '\0';
        if (!*path)
                return why_set(why, RAISE(-EINVAL), "must be more than /");
        if (strstr(path, "/../") || strstr(path, "/./") || strcmp(out - 2, "/.") == 0 ||
            (out - path >= 3 && strcmp(out - 3, "/..") == 0))
                return why_set(why, RAISE(-EINVAL), "must be a path without . and ..");
        return value_keep(ret, TAKE(path));
}

int value_base_url(const struct option *option, const char *value, struct why *why, void *ret) {
        char *base;
        int r;

        (void) option;
        r = url_parse_base(value, why, &base);
        if (r < 0)
                return PASS(r);
        return value_keep(ret, base);
}

int value_redirect_uri(const struct option *option, const char *value, struct why *why, void *ret) {
        struct url u;
        int r;

        (void) option;
        r = url_parse(value, why, &u);
        if (r < 0)
                return PASS(r);
        return value_keep(ret, strdup(value));
}

int value_json_object(const struct option *option, const char *value, struct why *why, void *ret) {
        AUTO(json_wipep) struct json_object *o = NULL;
        char *text;
        int r;

        (void) option;
        r = json_parse(value, strlen(value), &o);
        if (r == -ENOMEM)
                return PASS(r);
        if (r < 0 || !json_object_is_type(o, json_type_object))
                return why_set(why, RAISE(-EINVAL),
                               "must be a JSON object, as in {\"device_info\":"
                               "{\"device_id\":\"1\"}}, without a blank before a ';'");
        r = json_canonical(o, &text);
        if (r < 0)
                return PASS(r);
        return value_keep(ret, text);
}

void conf_list_done(struct conf_list *list) {
        for (size_t i = 0; i < list->n; i++)
                free(list->words[i]);
        free(list->words);
        *list = (struct conf_list){ 0 };
}

static void conf_list_donep(struct conf_list *list) {
        conf_list_done(list);
}

void conf_rule_done(struct conf_rule *rule) {
        free(rule->uids);
        free(rule->gids);
        conf_list_done(&rule->units);
        *rule = (struct conf_rule){ 0 };
}

/* The words of `value`, in order, each once. */
static int value_split(const char *value, struct conf_list *ret) {
        AUTO(conf_list_donep) struct conf_list list = { 0 };

        list.words = calloc(strlen(value) / 2 + 1,
                            sizeof(char *)); /* a word and what parts it from the next */
        if (!list.words)
                return RAISE(-ENOMEM);
        for (size_t len; *value; value += len) {
                bool known = false;

                value += strspn(value, ", ");
                len = strcspn(value, ", ");
                for (size_t i = 0; i < list.n; i++)
                        if (strncmp(list.words[i], value, len) == 0 && !list.words[i][len])
                                known = true;
                if (len == 0 || known)
                        continue;
                list.words[list.n] = strndup(value, len);
                if (!list.words[list.n])
                        return RAISE(-ENOMEM);
                list.n++;
        }
        *ret = list;
        list = (struct conf_list){ 0 };
        return 0;
}

/* One word of a command line, from *p on, without its quotes, to `ret`. -EINVAL: a quote is not closed. */
static int value_take_word(const char **p, char *ret) {
        char quote = '\0';

        for (; **p && (quote || (**p != ' ' && **p != '\t')); (*p)++) {
                if (quote ? **p == quote : **p == '"' || **p == '\'')
                        quote = quote ? '\0' : **p;
                else
                        *ret++ = **p;
        }
        *ret = '\0';
        return quote ? -EINVAL : 0;
}

/* Split at blanks that no quotes guard; nothing is expanded, and there is no shell. */
int value_command(const struct option *option, const char *value, struct why *why, void *ret) {
        AUTO(conf_list_donep) struct conf_list list = { 0 };
        struct conf_list *field = ret;

        (void) option;
        list.words = calloc(strlen(value) / 2 + 1, sizeof(char *));
        if (!list.words)
                return RAISE(-ENOMEM);
        for (value += strspn(value, " \t"); *value; value += strspn(value, " \t")) {
                list.words[list.n] = malloc(strlen(value) + 1);
                if (!list.words[list.n])
                        return RAISE(-ENOMEM);
                if (value_take_word(&value, list.words[list.n++]) < 0)
                        return why_set(why, RAISE(-EINVAL), "has a quote that is not closed");
        }
        if (list.n > 0 && list.words[0][0] != '/')
                return why_set(why, RAISE(-EINVAL),
                               "must begin with the path of a program, as in /usr/bin/systemctl; "
                               "there is no shell: for one, /bin/sh -c '...'");
        conf_list_done(field);
        *field = list;
        list = (struct conf_list){ 0 };
        return 0;
}

int value_words(const struct option *option, const char *value, struct why *why, void *ret) {
        AUTO(conf_list_donep) struct conf_list list = { 0 };
        int r;

        (void) option;
        r = value_split(value, &list);
        if (r < 0)
                return PASS(r);
        for (size_t i = 0; i < list.n; i++)
                if (!text_is_bearer_token(list.words[i], strlen(list.words[i])) ||
                    *list.words[i] == '#')
                        return why_set(
                                why, RAISE(-EINVAL),
                                "must be words of ASCII without quotes and backslashes, with "
                                "commas or blanks between them");
        if (list.n == 0)
                return why_set(why, RAISE(-EINVAL), "has commas, but no word");
        conf_list_done(ret);
        *(struct conf_list *) ret = list;
        list = (struct conf_list){ 0 };
        return 0;
}

/* Asks the name service for the id of `name`; `what` is "user" or "group". */
static int value_look_up(const char *name, bool group, struct why *why, id_t *ret) {
        AUTO(auto_freep) char *buf = NULL;
        const char *what = group ? "group" : "user";
        int64_t number;

        if (text_parse_int64(name, &number) == 0) {
                if (number < 0 || number >= UINT32_MAX)
                        return why_set(why, RAISE(-EINVAL), "has a %s number out of range: %.40s",
                                       what, name);
                *ret = (id_t) number;
                return 0;
        }
        for (size_t size = 1024; size <= 1048576; size *= 4) {
                struct passwd pw, *user = NULL;
                struct group gr, *members = NULL;
                int r;

                free(buf);
                buf = malloc(size);
                if (!buf)
                        return RAISE(-ENOMEM);
                r = group ? getgrnam_r(name, &gr, buf, size, &members)
                          : getpwnam_r(name, &pw, buf, size, &user);
                if (r == ERANGE)
                        continue;
                if (r == ENOMEM)
                        return RAISE(-ENOMEM);
                if (r == EIO || r == EMFILE || r == ENFILE)
                        return why_set(why, RAISE(-EINVAL),
                                       "has a %s that cannot be looked up now: %.64s: %s", what,
                                       name, strerror(r));
                if (members)
                        *ret = gr.gr_gid;
                else if (user)
                        *ret = pw.pw_uid;
                else
                        break;
                return 0;
        }
        return why_set(why, RAISE(-EINVAL), "names a %s that does not exist here: %.64s", what,
                       name);
}

int value_user(const struct option *option, const char *value, struct why *why, void *ret) {
        (void) option;
        return value_look_up(value, false, why, ret);
}

int value_group(const struct option *option, const char *value, struct why *why, void *ret) {
        (void) option;
        return value_look_up(value, true, why, ret);
}

/* The ids of a list of users or groups that a rule names. The caller frees *ret. */
static int value_ids(const char *value, bool group, struct why *why, id_t **ret, size_t *ret_n) {
        AUTO(conf_list_donep) struct conf_list list = { 0 };
        AUTO(auto_freep) id_t *ids = NULL;
        int r;

        r = value_words(NULL, value, why, &list);
        if (r < 0)
                return PASS(r);
        ids = calloc(list.n, sizeof(*ids));
        if (!ids)
                return RAISE(-ENOMEM);
        for (size_t i = 0; i < list.n; i++) {
                r = value_look_up(list.words[i], group, why, &ids[i]);
                if (r < 0)
                        return PASS(r);
                if (ids[i] == VALUE_OVERFLOW_ID)
                        return why_set(
                                why, RAISE(-EINVAL),
                                "has %.64s (%d): the kernel gives that number to whom it does "
                                "not know, so it matches nobody",
                                list.words[i], VALUE_OVERFLOW_ID);
        }
        *ret = TAKE(ids);
        *ret_n = list.n;
        return 0;
}

_Static_assert(sizeof(id_t) == sizeof(uid_t) && sizeof(id_t) == sizeof(gid_t), "one kind of id");

int value_users(const struct option *option, const char *value, struct why *why, void *ret) {
        struct conf_rule *rule = ret;
        id_t *ids;
        size_t n;
        int r;

        (void) option;
        r = value_ids(value, false, why, &ids, &n);
        if (r < 0)
                return PASS(r);
        free(rule->uids);
        rule->uids = ids;
        rule->n_uids = n;
        return 0;
}

int value_groups(const struct option *option, const char *value, struct why *why, void *ret) {
        struct conf_rule *rule = ret;
        id_t *ids;
        size_t n;
        int r;

        (void) option;
        r = value_ids(value, true, why, &ids, &n);
        if (r < 0)
                return PASS(r);
        free(rule->gids);
        rule->gids = ids;
        rule->n_gids = n;
        return 0;
}

int value_units(const struct option *option, const char *value, struct why *why, void *ret) {
        AUTO(conf_list_donep) struct conf_list list = { 0 };
        struct conf_rule *rule = ret;
        int r;

        (void) option;
        r = value_split(value,
                        &list); /* systemd's own escapes have backslashes, so no value_words() */
        if (r < 0)
                return PASS(r);
        if (list.n == 0)
                return why_set(why, RAISE(-EINVAL), "has commas, but no unit");
        for (size_t i = 0; i < list.n; i++)
                if (!strpbrk(list.words[i], ".*?[") || strchr(list.words[i], '/'))
                        return why_set(why, RAISE(-EINVAL),
                                       "has %.64s, which is no unit: units end as in app.service",
                                       list.words[i]);
        conf_list_done(&rule->units);
        rule->units = list;
        list = (struct conf_list){ 0 };
        return 0;
}
