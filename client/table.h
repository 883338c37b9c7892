#pragma once
/*
 * A table for people, as wide as the screen
 *
 * Rows are measured first, then printed: nothing is stored. Text from outside comes clean
 * (words_clean()).
 */

#include <stddef.h>

#include "client/screen.h"

#define TABLE_COLUMNS_MAX 5

struct table {
        int columns;
        int widths[TABLE_COLUMNS_MAX]; /* 0: left out */
};

/* Who gives way when a row is too wide, and down to which width; 0: it goes altogether rather than
 * be too narrow to be read. */
struct table_yield {
        int column, least;
};

/* Makes every column as wide as the widest cell so far. */
void table_measure(struct table *table, const char *const *cells);

/* When all rows are measured: the columns give way, in this order, until they fit. */
void table_fit(struct table *table, const struct screen *screen, const struct table_yield *yielding,
               size_t n);

/* Prints a row; a cell that is too wide is cut, with a "~". `coloured` is the column with a
 * colour. */
void table_print(const struct table *table, const char *const *cells, int coloured,
                 enum colour colour);

/* Prints a label and blanks, so that it takes `width` columns; at least one blank. The columns. */
int table_print_label(const char *label, int width);

/* Prints words from column `at` on, further lines from column `indent` on, and ends the line. Lines
 * are broken at blanks, and beside East Asian characters, but not before their punctuation. */
void table_wrap(const struct screen *screen, const char *text, int at, int indent);
