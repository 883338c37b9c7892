#include "conf/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/settings.h"

static void report_write(struct report *r, bool is_error, const char *place, const char *format,
                         va_list ap) __attribute__((format(printf, 4, 0)));
static void report_place(struct report *r, bool is_error, const char *file, int line,
                         const struct section *section, const char *key, const char *format,
                         va_list ap) __attribute__((format(printf, 7, 0)));
static void report_setting(struct report *r, bool is_error, const struct section *section,
                           const struct setting *setting, const char *format, va_list ap)
        __attribute__((format(printf, 5, 0)));

static struct conf_problem *report_grow(struct report *r) {
        struct conf_report *out = r->out;
        struct conf_problem *problems;

        if (out->n % 8 == 0) {
                problems = realloc(out->problems, (out->n + 8) * sizeof(*problems));
                if (!problems)
                        return NULL;
                out->problems = problems;
        }
        return &out->problems[out->n++];
}

static void report_write(struct report *r, bool is_error, const char *place, const char *format,
                         va_list ap) {
        struct conf_problem *problem;
        int n;

        if (is_error)
                r->failed = true;
        if (r->out->n > REPORT_MAX)
                return;
        problem = report_grow(r);
        if (!problem) {
                r->oom = true;
                return;
        }
        if (r->out->n > REPORT_MAX) {
                problem->is_error = r->failed;
                strcpy(problem->text, "there is more than this; the rest is not shown");
                return;
        }
        problem->is_error = is_error;
        n = snprintf(problem->text, sizeof(problem->text), "%.*s: ", WHY_MAX / 2, place);
        /* cut is fine */
        (void) vsnprintf(problem->text + n, sizeof(problem->text) - (size_t) n, format, ap);
}

static void report_place(struct report *r, bool is_error, const char *file, int line,
                         const struct section *section, const char *key, const char *format,
                         va_list ap) {
        char place[WHY_MAX], number[16] = "", where[SECTION_TITLE_MAX + 1] = "";

        if (line > 0)
                snprintf(number, sizeof(number), ":%d", line);
        if (section) {
                where[0] = ' ';
                section_title(section, where + 1);
        }
        /* a path that is too long to show loses its head, the end tells more */
        if (strlen(file) > WHY_MAX / 4)
                file += strlen(file) - WHY_MAX / 4;
        snprintf(place, sizeof(place), "%s%s%s%s%s%s", file, number, section ? ":" : "", where,
                 key ? " " : "", key ? key : "");
        report_write(r, is_error, place, format, ap);
}

void report_file(struct report *r, const char *file, int line, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        report_place(r, true, file, line, NULL, NULL, format, ap);
        va_end(ap);
}

static void report_setting(struct report *r, bool is_error, const struct section *section,
                           const struct setting *setting, const char *format, va_list ap) {
        if (setting)
                report_place(r, is_error, setting->file, setting->line, section, setting->key,
                             format, ap);
        else
                report_place(r, is_error, section->file, section->line, section, NULL, format, ap);
}

void report_error(struct report *r, const struct section *section, const struct setting *setting,
                  const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        report_setting(r, true, section, setting, format, ap);
        va_end(ap);
}

void report_warning(struct report *r, const struct section *section, const struct setting *setting,
                    const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        report_setting(r, false, section, setting, format, ap);
        va_end(ap);
}

void report_key(struct report *r, bool is_error, const struct section *section, const char *key,
                const char *format, ...) {
        const struct setting *setting = section_get(section, key);
        va_list ap;

        va_start(ap, format);
        report_place(r, is_error, setting ? setting->file : section->file,
                     setting ? setting->line : section->line, section, key, format, ap);
        va_end(ap);
}
