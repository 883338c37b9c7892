#pragma once
/*
 * All credentials at a glance
 *
 * A table of them; below it how their providers are, how long the tokens last without, and what needs
 * attention, with the command that mends it.
 */

#include <json-c/json.h>
#include <stdint.h>

/* Prints it, of an array of /v1/credentials that is not empty. */
void overview_print(struct json_object *list, int64_t now);
