#pragma once
/*
 * Credentials as they are shown
 *
 * Threading: loop thread.
 */

#include <json-c/json.h>

#include "api/caller.h"
#include "broker/broker.h"

/* What the credentials are doing that this caller may use, in the order of the configuration; with `only`, the one of this
 * name. NULL: out of memory. */
struct json_object *credentials_array(const struct broker *b, const struct conf *conf,
                                      const struct caller *caller, const char *only);
