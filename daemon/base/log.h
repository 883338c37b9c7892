#pragma once
/*
 * The log
 *
 * One event, one line of key=value pairs with stable keys. The function that decides logs, once;
 * rooms below it return errors and stay silent. No secret is ever an argument; text from outside
 * goes through log_quote().
 *
 * Where standard error goes to systemd's journal, the line goes there by its own protocol, with its
 * pairs as fields (base/journal.h); elsewhere to standard error, behind a time stamp and the level's
 * name. Threading: any thread; each line is one datagram or one write(2).
 */

#include <stdbool.h>
#include <stddef.h>

enum log_level {
        LOG_LEVEL_ERROR,   /* somebody must act */
        LOG_LEVEL_WARNING, /* degraded, we retry */
        LOG_LEVEL_INFO,    /* something changed state */
        LOG_LEVEL_DEBUG,   /* everything but secrets */
        LOG_LEVEL_MAX,
};

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
        do {                                                                                       \
                if (log_enabled(LOG_LEVEL_DEBUG))                                                  \
                        log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                   \
        } while (0)

extern const char *const log_level_names[LOG_LEVEL_MAX]; /* "error", "warning", "info", "debug" */

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes `text` between double quotes, cleaned and cut to the size of `ret`. Returns `ret`. */
char *log_quote(const char *text, char *ret, size_t size);
