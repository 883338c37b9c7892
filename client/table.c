#include "client/table.h"

#include <stdio.h>
#include <string.h>

#define TABLE_GAP 2 /* columns between two cells */

int table_columns(const char *text, size_t len) {
        int n = 0;

        for (size_t i = 0; i < len; i++)
                n += ((unsigned char) text[i] & 0xc0) != 0x80;
        return n;
}

void table_measure(struct table *table, const char *const *cells) {
        for (int c = 0; c < table->columns; c++) {
                int width = table_columns(cells[c], strlen(cells[c]));

                if (width > table->widths[c])
                        table->widths[c] = width;
        }
}

void table_fit(struct table *table, const struct table_yield *yielding, size_t n) {
        int over = TABLE_GAP * (table->columns - 1) - TABLE_WIDTH;

        for (int c = 0; c < table->columns; c++)
                over += table->widths[c];
        for (size_t i = 0; i < n && over > 0; i++) {
                int *width = &table->widths[yielding[i].column];
                int spare = *width - yielding[i].least, cut = spare < over ? spare : over;

                if (cut > 0) {
                        *width -= cut;
                        over -= cut;
                }
        }
}

static void table_print_cell(const char *text, int width, bool last, enum colour colour) {
        int columns = table_columns(text, strlen(text));

        (void) fputs(screen_colour_on(colour), stdout);
        if (columns > width) {
                for (int n = 0; *text; text++) {
                        n += ((unsigned char) *text & 0xc0) != 0x80;
                        if (n == width)
                                break;
                        (void) putchar(*text);
                }
                (void) putchar('~');
        } else
                (void) fputs(text, stdout);
        (void) fputs(screen_colour_off(colour), stdout);
        if (last)
                (void) putchar('\n');
        else
                (void) printf("%*s", (columns > width ? 0 : width - columns) + TABLE_GAP, "");
}

void table_print(const struct table *table, const char *const *cells, int coloured,
                 enum colour colour) {
        for (int c = 0; c < table->columns; c++)
                table_print_cell(cells[c], table->widths[c], c + 1 == table->columns,
                                 c == coloured ? colour : COLOUR_NONE);
}

void table_wrap(const char *text, int at, int indent) {
        bool fresh = true;

        for (size_t len; *text; text += len) {
                int width;

                text += strspn(text, " ");
                len = strcspn(text, " ");
                width = table_columns(text, len);
                if (len == 0)
                        break;
                if (!fresh && at + 1 + width > TABLE_WIDTH) {
                        (void) printf("\n%*s", indent, "");
                        at = indent;
                        fresh = true;
                }
                at += printf("%s%.*s", fresh ? "" : " ", (int) len, text) - (int) len + width;
                fresh = false;
        }
        (void) putchar('\n');
}
