#pragma once
/*
 * A small black and white picture, and how to draw it with letters
 *
 * A character cell is about twice as high as it is wide, so the half blocks of Unicode make two
 * square pixels of it.
 */

#include <stdbool.h>
#include <stdio.h>

#define PIXELS_SIDE_MAX 200

struct pixels {
        int width, height;
        bool on[]; /* row by row */
};

/* All off. NULL: out of memory, or a side is not 1 to PIXELS_SIDE_MAX. */
struct pixels *pixels_new(int width, int height);

/* Returns NULL. */
struct pixels *pixels_free(struct pixels *p);

/* False outside. */
bool pixels_get(const struct pixels *p, int x, int y);
void pixels_set(struct pixels *p, int x, int y, bool on);

/* Lines of text that it takes. */
int pixels_lines(const struct pixels *p);

/* Draws it in UTF-8, each line between `before` and `behind`. */
void pixels_draw(const struct pixels *p, const char *before, const char *behind, FILE *to);

static inline void pixels_freep(struct pixels **p) {
        *p = pixels_free(*p);
}
