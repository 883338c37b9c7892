#include "client/pixels.h"

#include <assert.h>
#include <stdlib.h>

struct pixels *pixels_new(int width, int height) {
        struct pixels *p;

        if (width < 1 || width > PIXELS_SIDE_MAX || height < 1 || height > PIXELS_SIDE_MAX)
                return NULL;
        p = calloc(1, sizeof(*p) + (size_t) width * (size_t) height * sizeof(p->on[0]));
        if (!p)
                return NULL;
        p->width = width;
        p->height = height;
        return p;
}

struct pixels *pixels_free(struct pixels *p) {
        free(p);
        return NULL;
}

static bool pixels_is_inside(const struct pixels *p, int x, int y) {
        return x >= 0 && x < p->width && y >= 0 && y < p->height;
}

bool pixels_get(const struct pixels *p, int x, int y) {
        return pixels_is_inside(p, x, y) && p->on[y * p->width + x];
}

void pixels_set(struct pixels *p, int x, int y, bool on) {
        assert(pixels_is_inside(p, x, y));
        p->on[y * p->width + x] = on;
}

int pixels_lines(const struct pixels *p) {
        return (p->height + 1) / 2;
}

void pixels_draw(const struct pixels *p, const char *before, const char *behind, FILE *to) {
        static const char *const blocks[2][2] = { { " ", "▄" }, { "▀", "█" } }; /* upper, lower */

        for (int y = 0; y < p->height; y += 2) {
                (void) fputs(before, to);
                for (int x = 0; x < p->width; x++)
                        (void) fputs(blocks[pixels_get(p, x, y)][pixels_get(p, x, y + 1)], to);
                (void) fprintf(to, "%s\n", behind);
        }
}
