#pragma once
/*
 * The bearerd that was installed with this program
 */

#include "client/verb.h"

/* Becomes "bearerd WHAT" with the file, --user and --offline of the call. Returns only if there is none
 * that can be run: EXIT_FAILED, and it has been said. */
int bearerd_become(const struct call *call, const char *what);
