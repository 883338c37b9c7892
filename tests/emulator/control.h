#pragma once
/*
 * Control: how a test steers the emulator, below /emulator/
 *
 * JSON in, JSON out; a mistake is answered with 400 and {"error": what is wrong}. Nothing here is
 * counted or recorded.
 *
 * Threading: any thread.
 */

#include <stdbool.h>

#include "answer.h"
#include "authority.h"
#include "server.h"

bool control_owns(const char *path);
void control_handle(struct authority *a, const struct request *rq, struct answer *ret);
