#pragma once
/*
 * Memory that runs out at a chosen moment
 *
 * The linker sends the program's own calls of malloc() and its kin, and of mmap(), here (--wrap, see meson.build);
 * SQLite and libcrypto are told to ask here, too. Other libraries are not affected.
 *
 * Threading: allocations of all threads are counted together.
 */

#include <stdbool.h>
#include <stddef.h>

/* For SQLite and libcrypto: before anything of theirs is used. */
void failing_malloc_adopt_libraries(void);

/* Lets the n-th allocation from now on (the first is 1) fail, and with `for_good` all after it.
 * 0: none. */
void failing_malloc_at(size_t n, bool for_good);

/* How often mmap() was called and did not fail: no leak checker sees to those. */
size_t failing_malloc_mapped(void);

/* Whether the one to fail was reached. */
bool failing_malloc_reached(void);
