#include "fuzz.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#ifdef FUZZ_TARGET
static const char *fuzz_name = FUZZ_TARGET;
#else
static const char *fuzz_name;
#endif

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
        char *text = malloc(len + 1); /* of just that size, so that a byte too far is noticed */

        PROMISED(text);
        if (len > 0)
                memcpy(text, bytes, len);
        text[len] = '\0';
        for (const struct fuzz_target *t = fuzz_targets; t->name; t++)
                if (strcmp(t->name, fuzz_name) == 0)
                        t->run(text, len);
        free(text);
        return 0;
}

#ifndef FUZZ_TARGET
static uint64_t seed;

static size_t below(size_t bound) { /* splitmix64 */
        uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return (size_t) ((z ^ (z >> 31)) % bound);
}

static size_t unescape(const char *line, uint8_t *ret) {
        static const char letters[] = "nrt0\\", meant[] = "\n\r\t\0\\";
        unsigned byte;
        size_t n = 0;

        for (; *line && *line != '\n' && n < INPUT_MAX; line++) {
                const char *letter = line[0] == '\\' && line[1] ? strchr(letters, line[1]) : NULL;

                if (letter) {
                        ret[n++] = (uint8_t) meant[letter - letters];
                        line++;
                } else if (sscanf(line, "\\x%2x", &byte) == 1) {
                        ret[n++] = (uint8_t) byte;
                        line += 3;
                } else {
                        ret[n++] = (uint8_t) *line;
                }
        }
        return n;
}

static size_t mutate(uint8_t *bytes, size_t len) {
        static const uint8_t odd[] = { 0,   '%', '/', ':', '?',  '#',  '"',  '\\',
                                       '{', '[', '-', '9', 0x80, 0xff, '\n', '@' };

        for (size_t n = 1 + below(4); n > 0; n--) {
                size_t at = len > 0 ? below(len) : 0;

                switch (below(5)) {
                case 0: /* another byte */
                        if (len > 0)
                                bytes[at] = (uint8_t) below(256);
                        break;
                case 1: /* an end too soon */
                        len = at;
                        break;
                case 2: /* a part again */
                        if (len > 0 && 2 * len < INPUT_MAX) {
                                memmove(bytes + at + (len - at), bytes + at, len - at);
                                len += len - at;
                        }
                        break;
                case 3: /* one of the odd ones, in between */
                        if (len + 1 < INPUT_MAX) {
                                memmove(bytes + at + 1, bytes + at, len - at);
                                bytes[at] = odd[below(sizeof(odd))];
                                len++;
                        }
                        break;
                default: /* one less */
                        if (len > 0) {
                                memmove(bytes + at, bytes + at + 1, len - at - 1);
                                len--;
                        }
                }
        }
        return len;
}

int main(int argc, char *argv[]) {
        static uint8_t input[INPUT_MAX], mutant[INPUT_MAX];
        static char line[INPUT_MAX];
        unsigned long runs = argc > 3 ? strtoul(argv[3], NULL, 10) : 0, inputs = 0;
        FILE *corpus = argc > 2 ? fopen(argv[2], "re") : NULL;

        if (!corpus) {
                (void) fprintf(stderr, "usage: parsers TARGET CORPUS [RUNS [SEED]]\n");
                return 2;
        }
        fuzz_name = argv[1];
        seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
        for (; fgets(line, sizeof(line), corpus); inputs++) {
                size_t len = unescape(line, input);

                (void) LLVMFuzzerTestOneInput(input, len);
                for (unsigned long i = 0; i < runs; i++) {
                        memcpy(mutant, input, len);
                        (void) LLVMFuzzerTestOneInput(mutant, mutate(mutant, len));
                }
        }
        (void) fclose(corpus);
        (void) printf("%s: %lu inputs, %lu mutants of each\n", fuzz_name, inputs, runs);
        return inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#endif
