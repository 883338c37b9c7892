#pragma once
/*
 * Is a secret still in memory?
 *
 * Counts how often a canary stands in the heap and anonymous memory of this process, also in what
 * has been released. The canary is kept masked, so that the program itself does not hold what it
 * looks for.
 */

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#define MEMORY_MASK          0x55
#define MEMORY_CANARY_LENGTH 24
#define MEMORY_CANARY_SIZE   (MEMORY_CANARY_LENGTH + 1)

#ifdef __has_feature
#        define ADDRESS_SANITIZER __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#        define ADDRESS_SANITIZER 1
#else
#        define ADDRESS_SANITIZER 0
#endif

/* Under ASan and valgrind the memory map is theirs, and too large to be searched. */
static inline bool memory_is_searchable(void) {
        const char *preload = getenv("LD_PRELOAD");

        return !ADDRESS_SANITIZER && !(preload && strstr(preload, "vgpreload"));
}

/* Appends the canary as it is looked for. */
static inline void memory_unmask(const char *canary, struct secret *ret) {
        for (size_t i = 0; i < MEMORY_CANARY_LENGTH; i++) {
                char c = (char) (canary[i] ^ MEMORY_MASK);

                ck_assert_int_eq(secret_append(ret, &c, 1), 0);
        }
}

static inline int memory_count_in(const volatile char *p, size_t len, const char *canary) {
        int n = 0;

        for (size_t i = 0; i + MEMORY_CANARY_LENGTH <= len; i++) {
                size_t k = 0;

                while (k < MEMORY_CANARY_LENGTH && (char) (p[i + k] ^ MEMORY_MASK) == canary[k])
                        k++;
                n += k == MEMORY_CANARY_LENGTH;
        }
        return n;
}

static inline int memory_count(const char *canary) {
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[512];
        int n = 0;

        ck_assert_ptr_nonnull(maps);
        while (fgets(line, sizeof(line), maps)) {
                unsigned long from, to;
                char rights[8], name[256] = "";

                if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %255s", &from, &to, rights, name) < 3)
                        continue;
                if (strcmp(rights, "rw-p") == 0 && (!*name || strcmp(name, "[heap]") == 0))
                        n += memory_count_in((const volatile char *) from, to - from, canary);
        }
        ck_assert_int_eq(fclose(maps), 0);
        return n;
}
