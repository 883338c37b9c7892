#include "client/qr.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "check_main.h"
#include "client/letters.h"
#include "client/pixels.h"

/* What is drawn, as text. */
static char *drawn(const struct pixels *p, const char *before, const char *behind) {
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);

        ck_assert_ptr_nonnull(f);
        pixels_draw(p, before, behind, f);
        ck_assert_int_eq(fclose(f), 0);
        return text;
}

static const struct {
        int width, height;
        const char *on; /* row by row, '#' is on */
        const char *drawn;
} pictures[] = {
        { 1, 1, "#", "<▀>\n" },
        { 1, 1, " ", "< >\n" },
        { 4, 2,
          "# # "
          "##  ",
          "<█▄▀ >\n" },
        { 2, 3,
          "# "
          " #"
          " #",
          "<▀▄>\n< ▀>\n" }, /* below the last row everything is off */
        { 2, 4,
          "##"
          "##"
          "  "
          "  ",
          "<██>\n<  >\n" },
};

START_TEST(draw)
{
        struct pixels *p = pixels_new(pictures[_i].width, pictures[_i].height);
        char *text;

        ck_assert_ptr_nonnull(p);
        for (int y = 0; y < p->height; y++)
                for (int x = 0; x < p->width; x++)
                        pixels_set(p, x, y, pictures[_i].on[y * p->width + x] == '#');
        text = drawn(p, "<", ">");
        ck_assert_str_eq(text, pictures[_i].drawn);
        ck_assert_int_eq(pixels_lines(p), (p->height + 1) / 2);
        free(text);
        ck_assert_ptr_null(pixels_free(p));
}
END_TEST

static const struct {
        int width, height;
        bool good;
} sizes[] = {
        { 1, 1, true },
        { PIXELS_SIDE_MAX, PIXELS_SIDE_MAX, true },
        { 0, 1, false },
        { 1, 0, false },
        { -1, 1, false },
        { 1, -1, false },
        { PIXELS_SIDE_MAX + 1, 1, false },
        { 1, PIXELS_SIDE_MAX + 1, false },
};

START_TEST(size)
{
        struct pixels *p = pixels_new(sizes[_i].width, sizes[_i].height);

        ck_assert_int_eq(p != NULL, sizes[_i].good);
        if (p)
                for (int y = 0; y < p->height; y++)
                        for (int x = 0; x < p->width; x++)
                                ck_assert(!pixels_get(p, x, y));
        ck_assert_ptr_null(pixels_free(p));
}
END_TEST

START_TEST(outside)
{
        struct pixels *p = pixels_new(2, 2);

        ck_assert_ptr_nonnull(p);
        for (int i = 0; i < 4; i++)
                pixels_set(p, i % 2, i / 2, true);
        for (int y = -1; y <= 2; y++)
                for (int x = -1; x <= 2; x++)
                        ck_assert_int_eq(pixels_get(p, x, y), x >= 0 && x < 2 && y >= 0 && y < 2);
        pixels_set(p, 1, 0, false);
        ck_assert(!pixels_get(p, 1, 0));
        pixels_free(p);
}
END_TEST

static const struct {
        const char *text;
        const char *drawn; /* NULL: there are no such letters */
} letters[] = {
        { "A", " ▄▀▀▀▄\n █▄▄▄█\n █   █\n ▀   ▀\n" },
        { "-", "      \n ▄▄▄▄▄\n      \n      \n" },
        { "L0", " █     ▄▀▀▀▄\n █     █ ▄▀█\n █     █▀  █\n ▀▀▀▀▀  ▀▀▀ \n" },
        { "", NULL },
        { "a", NULL },
        { "A B", NULL },
        { "A_", NULL },
        { "\xff", NULL },
        { "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL }, /* wider than a picture may be */
};

START_TEST(letter)
{
        struct pixels *p = letters_make(letters[_i].text);
        char *text;

        ck_assert_int_eq(p != NULL, letters[_i].drawn != NULL);
        if (!p)
                return;
        text = drawn(p, " ", "");
        ck_assert_str_eq(text, letters[_i].drawn);
        free(text);
        pixels_free(p);
}
END_TEST

/* None is missing, and no two can be taken for each other. */
START_TEST(alphabet)
{
        static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
        char *texts[sizeof(all) - 1];

        for (size_t i = 0; all[i]; i++) {
                struct pixels *p = letters_make((const char[]){ all[i], '\0' });

                ck_assert_msg(p != NULL, "%c", all[i]);
                ck_assert_int_eq(p->width, 5);
                ck_assert_int_eq(p->height, 7);
                texts[i] = drawn(p, "", "");
                for (size_t k = 0; k < i; k++)
                        ck_assert_msg(strcmp(texts[i], texts[k]) != 0, "%c is %c", all[i], all[k]);
                pixels_free(p);
        }
        for (size_t i = 0; all[i]; i++)
                free(texts[i]);
}
END_TEST

/* Found in three corners: dark, light, dark around the middle. */
static bool is_finder(const struct pixels *p, int left, int top) {
        for (int y = 0; y < 7; y++)
                for (int x = 0; x < 7; x++) {
                        int dx = abs(x - 3), dy = abs(y - 3), ring = dx > dy ? dx : dy;

                        if (pixels_get(p, left + x, top + y) != (ring != 2))
                                return false;
                }
        return true;
}

static const struct {
        size_t len;
        int version; /* at level L, in bytes; 0: it is too much */
} codes[] = {
        { 1, 1 }, { 17, 1 }, { 18, 2 }, { 78, 4 }, { 79, 5 }, { 2953, 40 }, { 2954, 0 },
};

START_TEST(code)
{
        char text[3000];
        struct pixels *p;
        int side, far;

        if (!dlopen("libqrencode.so.4", RTLD_NOW)) {
                ck_assert_ptr_null(qr_make("x")); /* and that is all that can be said */
                return;
        }
        memset(text, 'x', codes[_i].len);
        text[codes[_i].len] = '\0';
        p = qr_make(text);
        ck_assert_int_eq(p != NULL, codes[_i].version > 0);
        if (!p)
                return;
        side = 17 + 4 * codes[_i].version + 2 * QR_QUIET;
        far = side - QR_QUIET - 7;
        ck_assert_int_eq(p->width, side);
        ck_assert_int_eq(p->height, side);
        ck_assert(is_finder(p, QR_QUIET, QR_QUIET));
        ck_assert(is_finder(p, far, QR_QUIET));
        ck_assert(is_finder(p, QR_QUIET, far));
        ck_assert(!is_finder(p, far, far));
        for (int i = 0; i < side; i++)
                for (int k = 0; k < QR_QUIET; k++)
                        ck_assert(!pixels_get(p, i, k) && !pixels_get(p, k, i) &&
                                  !pixels_get(p, i, side - 1 - k) &&
                                  !pixels_get(p, side - 1 - k, i));
        pixels_free(p);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, draw, 0, N_ELEMENTS(pictures));
        tcase_add_loop_test(tc, size, 0, N_ELEMENTS(sizes));
        tcase_add_test(tc, outside);
        tcase_add_loop_test(tc, letter, 0, N_ELEMENTS(letters));
        tcase_add_test(tc, alphabet);
        tcase_add_loop_test(tc, code, 0, N_ELEMENTS(codes));
}

CHECK_MAIN("pictures", add)
