/*
 * libinih splits "key = value ; comment" and nothing else here. As Debian builds it, it cuts
 * section names at 49 bytes and lines at 199, says nothing of empty sections, and tells only the
 * first line it does not understand, without the file going on to be checked. So the reader that
 * feeds it counts lines, reads section headers, refuses what is no text, and notices when a line
 * that should have made a pair did not.
 */
#include "conf/settings.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "conf/nearest.h"

#define SETTINGS_DIRECTORY "conf.d"
#define SETTINGS_SUFFIX    ".conf"

const char *const section_kind_names[SECTION_KIND_MAX] = {
        [SECTION_DAEMON] = "daemon",
        [SECTION_PROVIDER] = "provider",
        [SECTION_CREDENTIAL] = "credential",
        [SECTION_SOCKET] = "socket",
};

/* One file on its way through libinih. */
struct settings_reader {
        struct settings *settings;
        struct report *report;
        const char *file;
        const char *p, *end;
        int line;
        struct section *section; /* NULL: none yet, or one that was refused */
        bool in_section;         /* some header was seen */
        bool awaits_pair;        /* the line given to libinih has to come back as a pair */
        int r;
};

/* Makes room for one more; sizes grow by doubling. 0 or -ENOMEM. */
static int settings_grow(void *array, size_t n, size_t size) {
        void **p = array, *grown;

        if (n & (n - 1))
                return 0; /* not a power of two: there is room up to the next one */
        if (n >= SETTINGS_MAX)
                return RAISE(-ENOMEM);
        grown = realloc(*p, (n ? 2 * n : 1) * size);
        if (!grown)
                return RAISE(-ENOMEM);
        *p = grown;
        return 0;
}

struct section *settings_find(const struct settings *s, enum section_kind kind, const char *name) {
        for (size_t i = 0; i < s->n_sections; i++)
                if (s->sections[i]->kind == kind && strcmp(s->sections[i]->name, name) == 0)
                        return s->sections[i];
        return NULL;
}

static struct section *section_free(struct section *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_settings; i++) {
                free(s->settings[i].key);
                secret_wipe(s->settings[i].value, strlen(s->settings[i].value));
                free(s->settings[i].value);
        }
        free(s->settings);
        free(s->name);
        free(s);
        return NULL;
}
AUTO_DEFINE(struct section, section_free)

static int settings_add(struct settings *s, enum section_kind kind, const char *name,
                        const char *file, int line, struct section **ret) {
        AUTO(section_freep) struct section *section = calloc(1, sizeof(*section));
        int r;

        if (!section)
                return RAISE(-ENOMEM);
        section->kind = kind;
        section->file = file;
        section->line = line;
        section->name = strdup(name);
        if (!section->name)
                return RAISE(-ENOMEM);
        r = settings_grow(&s->sections, s->n_sections, sizeof(struct section *));
        if (r < 0)
                return PASS(r);
        s->sections[s->n_sections++] = section;
        *ret = TAKE(section);
        return 0;
}

static struct setting *section_find(const struct section *s, const char *key) {
        for (size_t i = 0; i < s->n_settings; i++)
                if (strcmp(s->settings[i].key, key) == 0)
                        return &s->settings[i];
        return NULL;
}

const struct setting *section_get(const struct section *s, const char *key) {
        const struct setting *setting = section_find(s, key);

        return setting && *setting->value ? setting : NULL;
}

char *section_title(const struct section *s, char ret[SECTION_TITLE_MAX]) {
        snprintf(ret, SECTION_TITLE_MAX, "[%s%s%.64s]", section_kind_names[s->kind],
                 *s->name ? " " : "", s->name);
        return ret;
}

/* A new setting, or the one of an earlier file under a new value. */
static int section_set(struct section *s, const char *key, const char *value, const char *file,
                       int line) {
        AUTO(auto_freep) char *copy = strdup(value);
        struct setting *setting = section_find(s, key);
        int r;

        if (!copy)
                return RAISE(-ENOMEM);
        if (!setting) {
                r = settings_grow(&s->settings, s->n_settings, sizeof(*setting));
                if (r < 0)
                        return PASS(r);
                setting = &s->settings[s->n_settings];
                setting->key = strdup(key);
                if (!setting->key)
                        return RAISE(-ENOMEM);
                s->n_settings++;
        } else {
                secret_wipe(setting->value, strlen(setting->value));
                free(setting->value);
        }
        setting->value = TAKE(copy);
        setting->file = file;
        setting->line = line;
        return 0;
}

/* The kind that `word` names; SECTION_KIND_MAX: none, and the report says so. */
static enum section_kind reader_kind(struct settings_reader *in, const char *word) {
        struct nearest near = { .word = word };
        char hint[NEAREST_HINT_MAX];

        for (unsigned i = 0; i < SECTION_KIND_MAX; i++) {
                if (strcmp(word, section_kind_names[i]) == 0)
                        return (enum section_kind) i;
                nearest_try(&near, section_kind_names[i]);
        }
        report_file(in->report, in->file, in->line,
                    "no such section: there are [daemon], [provider NAME], [credential NAME] and "
                    "[socket NAME]%s",
                    nearest_hint(&near, hint));
        return SECTION_KIND_MAX;
}

static int reader_open_section(struct settings_reader *in, enum section_kind kind,
                               const char *name) {
        struct section *section = settings_find(in->settings, kind, name);

        if (section && section->line > 0 && section->file == in->file) {
                report_file(in->report, in->file, in->line,
                            "[%s%s%s] is here twice, the first is in line %d: %s",
                            section_kind_names[kind], *name ? " " : "", name, section->line,
                            kind == SECTION_DAEMON ? "join the two"
                                                   : "join the two, or rename one");
                return 0;
        }
        if (!section)
                return settings_add(in->settings, kind, name, in->file, in->line, &in->section);
        section->file = in->file;
        section->line = in->line;
        in->section = section;
        return 0;
}

/* Reads "[kind name]"; `text` is one line without blanks at either end, and is changed. */
static int reader_header(struct settings_reader *in, char *text) {
        char *close = strchr(text, ']'), *word = text + 1, *name;
        enum section_kind kind;

        in->in_section = true;
        in->section = NULL;
        if (!close) {
                report_file(in->report, in->file, in->line,
                            "the ] that ends the section's name is missing");
                return 0;
        }
        *close = '\0';
        close += 1 + strspn(close + 1, " ");
        if (*close && *close != ';' && *close != '#') {
                report_file(in->report, in->file, in->line,
                            "there is something behind the ]: a key has a line of its own");
                return 0;
        }
        word += strspn(word, " ");
        name = word + strcspn(word, " ");
        if (*name)
                *name++ = '\0';
        name += strspn(name, " ");
        for (size_t n = strlen(name); n > 0 && name[n - 1] == ' '; n--)
                name[n - 1] = '\0';
        kind = reader_kind(in, word);
        if (kind == SECTION_KIND_MAX)
                return 0;
        if (kind == SECTION_DAEMON && *name) {
                report_file(in->report, in->file, in->line,
                            "there is one daemon: write [daemon], without a name");
                return 0;
        }
        if (kind != SECTION_DAEMON && !text_is_name(name)) {
                report_file(in->report, in->file, in->line,
                            "[%s NAME] needs a name: 1 to 64 letters, digits, '.', '_', '-', the "
                            "first of them no '.' or '-'",
                            section_kind_names[kind]);
                return 0;
        }
        return reader_open_section(in, kind, name);
}

static int reader_pair(void *user, const char *section_name, const char *key, const char *value) {
        struct settings_reader *in = user;
        const struct setting *before;

        (void) section_name; /* cut by libinih: in->section is the true one */
        in->awaits_pair = false;
        if (!*key) {
                report_file(in->report, in->file, in->line, "there is no key before the =");
                return 1;
        }
        if (!in->section) {
                if (!in->in_section)
                        report_file(in->report, in->file, in->line,
                                    "a key outside of any section: put [daemon], or the section it "
                                    "belongs to, above it");
                return 1; /* else its section was refused already */
        }
        before = section_find(in->section, key);
        if (before && before->file == in->file) {
                report_error(in->report, in->section,
                             &(struct setting){ in->file, in->line, before->key, NULL },
                             "is here twice, the first is in line %d: keep one", before->line);
                return 1;
        }
        if (in->r == 0)
                in->r = section_set(in->section, key, value, in->file, in->line);
        return 1;
}

/* What a line is, once it is known to be text: blank, comment and header end here. */
static bool reader_is_for_inih(struct settings_reader *in, char *line) {
        line += strspn(line, " ");
        if (!*line || *line == '#' || *line == ';')
                return false;
        if (*line == '[') {
                if (in->r == 0)
                        in->r = reader_header(in, line);
                return false;
        }
        return true;
}

/* Copies the next line to `ret`, tabs as blanks, without its line break. False: the report says
 * why not. */
static bool reader_next_line(struct settings_reader *in, char *ret, size_t size) {
        const char *p = in->p, *stop = memchr(p, '\n', (size_t) (in->end - p));
        size_t n;

        if (!stop)
                stop = in->end;
        in->p = stop < in->end ? stop + 1 : stop;
        in->line++;
        if (in->line == 1 && stop - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
                p += 3; /* a byte order mark */
        n = (size_t) (stop - p);
        if (n > 0 && p[n - 1] == '\r')
                n--;
        if (n + 2 > size) {
                report_file(in->report, in->file, in->line, "this line is longer than %d bytes",
                            SETTINGS_LINE_MAX - 2);
                return false;
        }
        for (size_t i = 0; i < n; i++)
                ret[i] = p[i] == '\t' ? ' ' : p[i];
        ret[n] = '\0';
        if (!text_is_printable_utf8(ret, n)) {
                report_file(in->report, in->file, in->line,
                            "this line is not text in UTF-8, or has a control character in it");
                return false;
        }
        return true;
}

static void reader_check_pair(struct settings_reader *in) {
        if (in->awaits_pair)
                report_file(in->report, in->file, in->line,
                            "this line is neither [section] nor key = value nor a comment");
        in->awaits_pair = false;
}

/* libinih's fgets(): one line, or an empty one in place of what is none of its business. */
static char *reader_gets(char *str, int num, void *stream) {
        struct settings_reader *in = stream;

        reader_check_pair(in);
        if (in->p >= in->end) {
                secret_wipe(str, (size_t) num); /* libinih releases it as it is */
                return NULL;
        }
        if (reader_next_line(in, str, (size_t) num) && reader_is_for_inih(in, str))
                in->awaits_pair = true;
        else
                str[0] = '\0';
        strcat(str, "\n");
        return str;
}

static int settings_read_text(struct settings *s, struct report *report, const char *file,
                              const struct secret *text) {
        struct settings_reader in = {
                .settings = s,
                .report = report,
                .file = file,
                .p = secret_text(text),
                .end = secret_text(text) + secret_len(text),
        };

        /* how the library was built differs from one distribution to the next */
        ini_use_stack = false;
        ini_initial_alloc = SETTINGS_LINE_MAX;
        ini_max_line = SETTINGS_LINE_MAX;
        ini_allow_realloc = false;
        ini_allow_multiline = false;
        ini_allow_inline_comments = true;
        ini_allow_no_value = false;
        ini_stop_on_first_error = false;
        if (ini_parse_stream(reader_gets, &in, reader_pair, &in) == -2)
                return RAISE(-ENOMEM);
        return PASS(in.r);
}

/* Takes over `file`, also when it fails. */
static int settings_read_file(struct settings *s, struct report *report, char *file,
                              bool may_lack) {
        AUTO(auto_freep) char *owned = file;
        AUTO(secret_unrefp) struct secret *text = NULL;
        struct why why = { "" };
        int r;

        r = settings_grow(&s->files, s->n_files, sizeof(char *));
        if (r < 0)
                return PASS(r);
        s->files[s->n_files++] = TAKE(owned);
        r = file_read(file, SETTINGS_FILE_MAX, &why, &text);
        if (r == -ENOMEM)
                return PASS(r);
        if (r == -ENOENT && may_lack)
                return 0;
        if (r < 0) {
                report_file(report, file, 0, "%s", why.text);
                return 0;
        }
        return settings_read_text(s, report, file, text);
}

static int settings_is_drop_in(const struct dirent *entry) {
        size_t n = strlen(entry->d_name), suffix = strlen(SETTINGS_SUFFIX);

        return entry->d_name[0] != '.' && n > suffix &&
               strcmp(entry->d_name + n - suffix, SETTINGS_SUFFIX) == 0;
}

static int settings_compare(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name); /* byte order, whatever the locale */
}

static int settings_read_directory(struct settings *s, struct report *report, const char *path) {
        struct dirent **entries = NULL;
        int n, r = 0;

        n = scandir(path, &entries, settings_is_drop_in, settings_compare);
        if (n < 0) {
                if (errno == ENOMEM)
                        return RAISE(-ENOMEM);
                if (errno != ENOENT && errno != ENOTDIR)
                        report_file(report, path, 0, "cannot read this directory: %s",
                                    strerror(errno));
                return 0;
        }
        for (int i = 0; i < n; i++) {
                char *file = NULL;

                if (r == 0 && asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0)
                        r = RAISE(-ENOMEM);
                if (r == 0)
                        r = settings_read_file(s, report, file, false);
                free(entries[i]);
        }
        free(entries);
        return PASS(r);
}

int settings_read(const char *path, bool may_lack, struct report *report, struct settings **ret) {
        AUTO(settings_freep) struct settings *s = calloc(1, sizeof(*s));
        AUTO(auto_freep) char *file = strdup(path), *directory = NULL;
        const char *slash = strrchr(path, '/');
        struct section *daemon;
        int r;

        if (!s || !file ||
            asprintf(&directory, "%.*s" SETTINGS_DIRECTORY, slash ? (int) (slash + 1 - path) : 0,
                     path) < 0)
                return RAISE(-ENOMEM);
        r = settings_add(s, SECTION_DAEMON, "", file, 0, &daemon);
        if (r < 0)
                return PASS(r);
        daemon->file = file;
        r = settings_read_file(s, report, TAKE(file), may_lack);
        if (r == 0)
                r = settings_read_directory(s, report, directory);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(s);
        return 0;
}

struct settings *settings_free(struct settings *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_sections; i++)
                section_free(s->sections[i]);
        for (size_t i = 0; i < s->n_files; i++)
                free(s->files[i]);
        free(s->sections);
        free(s->files);
        free(s);
        return NULL;
}
