#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/journal.h"
#include "base/why.h"

#define LOG_LINE_MAX 2048

const char *const log_level_names[LOG_LEVEL_MAX] = { "error", "warning", "info", "debug" };
static const int log_priorities[LOG_LEVEL_MAX] = { 3, 4, 6, 7 }; /* of syslog(3) */
static atomic_int log_level = LOG_LEVEL_INFO;
static pthread_once_t log_once = PTHREAD_ONCE_INIT;
static bool log_has_journal;

void log_set_level(enum log_level level) {
        atomic_store_explicit(&log_level, (int) level, memory_order_relaxed);
}

bool log_enabled(enum log_level level) {
        return (int) level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static void log_look(void) {
        log_has_journal = journal_is_behind(STDERR_FILENO);
}

/* The beginning of a line on standard error: time and level, or what sd-daemon(3) has for the journal. */
static size_t log_prefix(enum log_level level, char *line, size_t size) {
        struct timespec ts;
        struct tm tm;
        size_t n;

        if (log_has_journal)
                return (size_t) snprintf(line, size, "<%d>", log_priorities[level]);
        (void) clock_gettime(CLOCK_REALTIME, &ts); /* a stamp for people; decides nothing */
        n = strftime(line, size, "%Y-%m-%dT%H:%M:%SZ ", gmtime_r(&ts.tv_sec, &tm));
        return n + (size_t) snprintf(line + n, size - n, "%s ", log_level_names[level]);
}

void log_write(enum log_level level, const char *format, ...) {
        char line[LOG_LINE_MAX];
        size_t prefix, n;
        va_list ap;
        int w;

        if (!log_enabled(level))
                return;
        (void) pthread_once(&log_once, log_look);
        prefix = log_prefix(level, line, sizeof(line));
        va_start(ap, format);
        w = vsnprintf(line + prefix, sizeof(line) - prefix, format, ap);
        va_end(ap);
        if (w < 0)
                return;
        if (log_has_journal && journal_send(log_priorities[level], line + prefix) >= 0)
                return;
        n = prefix + (size_t) w < sizeof(line) - 1 ? prefix + (size_t) w : sizeof(line) - 2;
        line[n++] = '\n';
        if (write(STDERR_FILENO, line, n) < 0)
                return; /* nowhere left to say so */
}

char *log_quote(const char *text, char *ret, size_t size) {
        if (size < 3)
                return ret;
        ret[0] = '"';
        why_clean(text, strlen(text), ret + 1, size - 2);
        for (char *p = ret + 1; *p; p++)
                if (*p == '"')
                        *p = '\'';
        strcat(ret, "\"");
        return ret;
}
