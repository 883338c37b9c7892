#pragma once
/*
 * A table for people, at most 80 columns wide
 *
 * Rows are measured first, then printed: nothing is stored. Text from outside comes clean
 * (words_clean()).
 */

#include <stddef.h>

#include "client/screen.h"

#define TABLE_WIDTH       80
#define TABLE_COLUMNS_MAX 5

struct table {
        int columns;
        int widths[TABLE_COLUMNS_MAX];
};

/* Who gives way when a row is too wide, and down to which width. */
struct table_yield {
        int column, least;
};

/* Makes every column as wide as the widest cell so far. */
void table_measure(struct table *table, const char *const *cells);

/* When all rows are measured: the columns give way, in this order, until they fit. */
void table_fit(struct table *table, const struct table_yield *yielding, size_t n);

/* Prints a row; a cell that is too wide is cut, with a "~". `coloured` is the column with a
 * colour. */
void table_print(const struct table *table, const char *const *cells, int coloured,
                 enum colour colour);

/* How many columns the first `len` bytes of UTF-8 take, near enough: a character, a column. */
int table_columns(const char *text, size_t len);

/* Prints words from column `at` on, further lines from column `indent` on, and ends the line. */
void table_wrap(const char *text, int at, int indent);
