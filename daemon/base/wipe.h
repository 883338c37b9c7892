#pragma once
/*
 * Freed memory is wiped memory: see wipe.c
 *
 * Linked into the daemon alone; tests have allocators of their own.
 */

#include <stdbool.h>

bool wipe_is_on(void);
