#pragma once
/*
 * Fuzz targets: everything that reads what others have written
 *
 * Each target takes bytes and must come back: the sanitizers judge, and what the parser itself promises is checked. The
 * ordinary test replays the corpus, and mutations of it that follow from a seed:
 *
 *      parsers TARGET CORPUS [RUNS [SEED]]
 *
 * CORPUS has one input a line, with \n, \r, \t, \0, \\ and \xHH. For hours by hand, with clang and libFuzzer: -Dfuzz=true, then
 * tests/fuzz/fuzz_TARGET.
 */

#include <stddef.h>
#include <stdlib.h>

/* As assert(), but there in every build: what it looks at has effects. */
#define PROMISED(x)                                                                                \
        do {                                                                                       \
                if (!(x))                                                                          \
                        abort();                                                                   \
        } while (0)

struct fuzz_target {
        const char *name;
        void (*run)(const char *text, size_t len); /* a NUL follows the text */
};

extern const struct fuzz_target fuzz_targets[]; /* of this program; the last has no name */
