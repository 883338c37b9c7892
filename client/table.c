#include "client/table.h"

#include <stdio.h>
#include <string.h>

#include "client/columns.h"

#define TABLE_GAP        2  /* columns between two cells */
#define TABLE_LEAST      4  /* less of a cell says nothing */
#define TABLE_WRAP_WIDTH 80 /* longer lines are hard to read */
#define TABLE_WRAP_LEAST 20 /* as much is there, whatever the screen says */

void table_measure(struct table *table, const char *const *cells) {
        for (int c = 0; c < table->columns; c++) {
                int width = columns_count(cells[c], strlen(cells[c]));

                if (width > table->widths[c])
                        table->widths[c] = width;
        }
}

void table_fit(struct table *table, const struct screen *screen, const struct table_yield *yielding,
               size_t n) {
        int over = TABLE_GAP * (table->columns - 1) - screen->columns;

        for (int c = 0; c < table->columns; c++)
                over += table->widths[c];
        for (size_t i = 0; i < n && over > 0; i++) {
                int *width = &table->widths[yielding[i].column];
                int spare = *width - yielding[i].least, cut = spare < over ? spare : over;

                if (cut > 0 && yielding[i].least == 0 && *width - cut < TABLE_LEAST) {
                        over -= *width + TABLE_GAP;
                        *width = 0;
                } else if (cut > 0) {
                        *width -= cut;
                        over -= cut;
                }
        }
}

static void table_print_cell(const char *text, int width, bool last, enum colour colour) {
        int columns = columns_count(text, strlen(text));

        (void) fputs(screen_colour_on(colour), stdout);
        if (columns > width) {
                const size_t len = columns_fit(text, width - 1);

                (void) printf("%.*s~", (int) len, text);
                columns = columns_count(text, len) + 1;
        } else
                (void) fputs(text, stdout);
        (void) fputs(screen_colour_off(colour), stdout);
        if (last)
                (void) putchar('\n');
        else
                (void) printf("%*s", width - columns + TABLE_GAP, "");
}

void table_print(const struct table *table, const char *const *cells, int coloured,
                 enum colour colour) {
        int last = table->columns - 1;

        while (last > 0 && table->widths[last] == 0)
                last--;
        for (int c = 0; c <= last; c++)
                if (table->widths[c] > 0)
                        table_print_cell(cells[c], table->widths[c], c == last,
                                         c == coloured ? colour : COLOUR_NONE);
}

int table_print_label(const char *label, int width) {
        const int columns = columns_count(label, strlen(label)), gap = width - columns;

        (void) printf("%s%*s", label, gap > 0 ? gap : 1, "");
        return columns + (gap > 0 ? gap : 1);
}

/* Punctuation that belongs to what stands before it. */
static bool table_is_closing(const char *text) {
        static const char *const closing[] = { "、", "。", "，", "．", "：", "；", "！", "？",
                                               "）", "》", "」", "』", "】", "”",  "’" };

        for (size_t i = 0; i < sizeof(closing) / sizeof(closing[0]); i++)
                if (strncmp(text, closing[i], strlen(closing[i])) == 0)
                        return true;
        return false;
}

/* What stays together on a line from `text` on, which is not empty: its bytes. A word, or an East
 * Asian character with the punctuation behind it. */
static size_t table_unit(const char *text, int *ret_width) {
        size_t len = 0, n;

        for (*ret_width = 0; text[len] && text[len] != ' '; len += n) {
                const int width = columns_next(text + len, strlen(text + len), &n);

                if (width > 1 && len > 0 && !table_is_closing(text + len))
                        break;
                *ret_width += width;
                if (width > 1 && !table_is_closing(text + len + n)) {
                        len += n;
                        break;
                }
        }
        return len;
}

void table_wrap(const struct screen *screen, const char *text, int at, int indent) {
        int right = screen->columns < TABLE_WRAP_WIDTH ? screen->columns : TABLE_WRAP_WIDTH;
        bool fresh = true;

        if (right < TABLE_WRAP_LEAST)
                right = TABLE_WRAP_LEAST;
        for (;;) {
                const size_t blanks = strspn(text, " ");
                const bool gap = blanks > 0 && !fresh;
                size_t len;
                int width;

                text += blanks;
                if (!*text)
                        break;
                len = table_unit(text, &width);
                if (!fresh && at + gap + width > right) {
                        (void) printf("\n%*s%.*s", indent, "", (int) len, text);
                        at = indent + width;
                } else {
                        (void) printf("%s%.*s", gap ? " " : "", (int) len, text);
                        at += gap + width;
                }
                text += len;
                fresh = false;
        }
        (void) putchar('\n');
}
