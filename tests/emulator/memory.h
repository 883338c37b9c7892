#pragma once
/*
 * Memory of the emulator
 *
 * A test tool that runs out of memory ends at once: nobody could trust its verdicts afterwards.
 * So allocation never fails here, which keeps every caller short. The emulator shares no code
 * with daemon/, on purpose: it is an independent reading of the protocol.
 */

#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AUTO(fn)      __attribute__((cleanup(fn))) /* released when the scope ends */
#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define TAKE(p)                                                                                    \
        __extension__({                                                                            \
                __typeof__(p) taken_ = (p);                                                        \
                (p) = NULL;                                                                        \
                taken_;                                                                            \
        })

static inline void *must(void *p) {
        if (!p) {
                fputs("emulator: out of memory\n", stderr);
                abort();
        }
        return p;
}

static inline char *must_strdup(const char *s) {
        return must(strdup(s));
}

__attribute__((format(printf, 1, 2))) static inline char *must_printf(const char *format, ...) {
        va_list ap;
        char *s = NULL;

        va_start(ap, format);
        if (vasprintf(&s, format, ap) < 0)
                s = NULL;
        va_end(ap);
        return must(s);
}

/* For AUTO(freep): a pointer to any kind of pointer. */
static inline void freep(void *p) {
        free(*(void **) p);
}

static inline void json_putp(struct json_object **p) {
        json_object_put(*p);
}
