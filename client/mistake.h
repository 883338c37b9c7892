#pragma once
/*
 * Mistakes in the configuration, in the reader's language
 *
 * The daemon words them, in English. Their sentences are known here with {1}, {2} ... for what differs, and so are their
 * translations. What is not known stays as it is.
 */

#include <stddef.h>

/* "FILE:LINE: [credential bot] type: must be ...", or a sentence alone: cut to `size` bytes. Returns `ret`. */
char *mistake_translate(const char *text, char *ret, size_t size);
