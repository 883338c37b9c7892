#pragma once
/*
 * Columns: how wide text is on a terminal
 *
 * Text is UTF-8, as all that comes from the daemon is, also in a C locale; only where the locale has
 * another encoding of many bytes, as GBK, it is in that one, as translations are. East Asian characters
 * take two columns, combining ones none; what cannot be decoded takes one a byte.
 *
 * Threading: one thread.
 * Sources:   Unicode Standard Annex 11, by wcwidth(3).
 */

#include <stddef.h>

/* The width of the character at the beginning of `text`, which is not empty; *ret_len becomes its bytes. */
int columns_next(const char *text, size_t len, size_t *ret_len);

/* The width of `len` bytes. */
int columns_count(const char *text, size_t len);

/* How many bytes fit into so many columns: whole characters, with what combines with them. */
size_t columns_fit(const char *text, int columns);
