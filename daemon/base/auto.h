#pragma once
/*
 * Scope-bound ownership
 *
 * AUTO(x_freep) releases a local when its scope ends; TAKE() moves ownership out of it, so that the
 * release finds NULL. AUTO_DEFINE(type, x_free) makes x_freep from an x_free that returns NULL.
 */

#include <stdlib.h>
#include <unistd.h>

#define AUTO(fn) __attribute__((cleanup(fn)))

#define AUTO_DEFINE(type, fn)                                                                      \
        static inline void fn##p(type **p) {                                                       \
                if (*p)                                                                            \
                        *p = fn(*p);                                                               \
        }

#define TAKE(p)                                                                                    \
        __extension__({                                                                            \
                __typeof__(p) taken_ = (p);                                                        \
                (p) = NULL;                                                                        \
                taken_;                                                                            \
        })

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

/* For char * and other plain heap memory that holds no secret. */
static inline void auto_freep(void *p) {
        free(*(void **) p);
}

static inline void auto_closep(int *fd) {
        if (*fd >= 0)
                (void) close(*fd); /* nothing useful can be done about it here */
}
