#include "base/err.h"

#include <stdio.h>
#include <string.h>

static _Thread_local char err_where[64];

int err_note(int r, const char *file, int line) {
        const char *slash = strrchr(file, '/');

        (void) snprintf(err_where, sizeof(err_where), "%s:%d", slash ? slash + 1 : file, line);
        return r;
}

const char *err_origin(void) {
        return err_where[0] ? err_where : "-";
}
