#include "failing_malloc.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/auto.h"

static atomic_size_t count, fail_at, mapped;
static atomic_bool for_good_;

static bool is_refused(void) {
        size_t at = atomic_load(&fail_at), n = atomic_fetch_add(&count, 1) + 1;

        if (at == 0 || (n != at && !(n > at && atomic_load(&for_good_))))
                return false;
        errno = ENOMEM;
        return true;
}

void failing_malloc_at(size_t n, bool for_good) {
        atomic_store(&fail_at, 0);
        atomic_store(&count, 0);
        atomic_store(&for_good_, for_good);
        atomic_store(&fail_at, n);
}

bool failing_malloc_reached(void) {
        return atomic_load(&count) >= atomic_load(&fail_at);
}

size_t failing_malloc_mapped(void) {
        return atomic_load(&mapped);
}

/* --- ours ------------------------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_asprintf(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));

void *__wrap_malloc(size_t size) {
        return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
        return is_refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size) {
        return is_refused() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text) {
        return is_refused() ? NULL : __real_strdup(text);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
        return is_refused() ? NULL : __real_aligned_alloc(alignment, size);
}

void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
        if (is_refused())
                return MAP_FAILED;
        atomic_fetch_add(&mapped, 1);
        return __real_mmap64(at, size, protection, flags, fd, offset);
}

int __wrap_asprintf(char **ret, const char *format, ...) {
        va_list ap;
        int n;

        if (is_refused()) {
                *ret = (char *) 1; /* undefined, says the manual: nobody may free it */
                return -1;
        }
        va_start(ap, format);
        n = vasprintf(ret, format, ap);
        va_end(ap);
        return n;
}

/* --- theirs ----------------------------------------------------------------------------------- */

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size) {
        return is_refused() ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *p, int size) {
        return is_refused() ? NULL : sqlite_memory.xRealloc(p, size);
}

static void *crypto_malloc(size_t size, const char *file, int line) {
        (void) file, (void) line;
        return is_refused() ? NULL : __real_malloc(size);
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line) {
        (void) file, (void) line;
        return is_refused() ? NULL : __real_realloc(p, size);
}

static void crypto_free(void *p, const char *file, int line) {
        (void) file, (void) line;
        free(p);
}

void failing_malloc_adopt_libraries(void) {
        sqlite3_mem_methods failing;

        if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
                abort();
        failing = sqlite_memory;
        failing.xMalloc = sqlite_malloc;
        failing.xRealloc = sqlite_realloc;
        if (sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) != SQLITE_OK ||
            CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1)
                abort();
}
