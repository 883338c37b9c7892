#pragma once
/*
 * Errors: fatal or named
 *
 * 0 is success. A negative errno is fatal to the operation and is passed on unchanged. A positive
 * MODULE_E_* is a documented condition that the direct caller handles; it never travels further.
 *
 * RAISE() marks where an error is born, PASS() where it travels. Both return their argument; the
 * last birthplace is kept for each thread, so that the one place that logs can say where it was.
 */

#include <errno.h>

#define RAISE(r) err_note((r), __FILE__, __LINE__)
#define PASS(r)  (r)

/* Remembers where `r` (a negative errno) was raised. Returns `r`. Any thread. */
int err_note(int r, const char *file, int line);

/* "file.c:123" of the last RAISE in this thread, or "-". Valid until the next RAISE here. */
const char *err_origin(void);
