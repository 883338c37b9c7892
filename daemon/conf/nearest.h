#pragma once
/*
 * "Did you mean": the nearest of several words
 *
 * Threading: pure functions.
 */

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define NEAREST_LIMIT    3 /* letters that may differ */
#define NEAREST_HINT_MAX 160

struct nearest {
        const char *word;
        const char *best;   /* NULL: nothing is near */
        const char *second; /* as near as `best`, or NULL: of two, neither is preferred */
        unsigned distance;
};

static inline void nearest_try(struct nearest *n, const char *candidate) {
        unsigned d = text_distance(n->word, candidate, NEAREST_LIMIT);

        if (d > NEAREST_LIMIT || d >= strlen(candidate) || (n->best && d > n->distance))
                return;
        if (n->best && d == n->distance) {
                n->second = candidate;
                return;
        }
        n->best = candidate;
        n->second = NULL;
        n->distance = d;
}

/* Writes `; did you mean "X"?`, or `"X" or "Y"`, or nothing. Returns `ret`. */
static inline const char *nearest_hint(const struct nearest *n, char ret[NEAREST_HINT_MAX]) {
        ret[0] = '\0';
        if (n->best)
                snprintf(ret, NEAREST_HINT_MAX, "; did you mean \"%.64s\"%s%.64s%s?", n->best,
                         n->second ? " or \"" : "", n->second ? n->second : "",
                         n->second ? "\"" : "");
        return ret;
}
