#include "base/wipe.h"

#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/*
 * Freed memory is wiped memory
 *
 * What libcurl, libmicrohttpd, json-c, OpenSSL and SQLite copied of a secret lies in memory that they release as it is: buffers
 * of requests and answers, header lines, parsed strings. So the allocator's free() is ours, for all of the process: it wipes
 * the whole block, then releases it. realloc() that has to move a block leaves no copy behind either.
 *
 * glibc's M_PERTURB does not do: what its thread cache keeps is not overwritten (as of 2.36). Under a sanitizer or valgrind, which
 * bring an allocator of their own, this file is not compiled in (see the option wipe_freed_memory).
 */

#ifdef WIPE_FREED_MEMORY

extern void __libc_free(void *p);

static void wipe(void *p, size_t len) {
        (void) memset(p, 0, len);
        __asm__ volatile("" : : "r"(p) : "memory"); /* it is not for nothing */
}

void free(void *p) {
        if (!p)
                return;
        wipe(p, malloc_usable_size(p));
        __libc_free(p);
}

void *realloc(void *p, size_t size) {
        size_t had;
        void *q;

        if (!p)
                return malloc(size);
        if (size == 0) {
                free(p);
                return NULL;
        }
        had = malloc_usable_size(p);
        if (size <= had && size >= had / 2)
                return p;
        q = malloc(size);
        if (!q)
                return NULL;
        (void) memcpy(q, p, size < had ? size : had);
        free(p);
        return q;
}

bool wipe_is_on(void) {
        return true;
}

#else

bool wipe_is_on(void) {
        return false;
}

#endif
