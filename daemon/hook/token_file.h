#pragma once
/*
 * Token file: the token of a credential, for programs that read it from a file
 *
 * Replaced as a whole, so that a reader finds the old token or the new one, and only when it is another; removed when a
 * person has to act before there is one again. One that has run out because the provider fails stays: no token would
 * help its reader no more.
 *
 * Threading: loop thread; writes a few bytes and waits for the disk. Below /run that is memory.
 */

#include "base/secret.h"
#include "base/why.h"
#include "conf/conf.h"

/* Writes it to c->token_file_out with its mode and group. 0; what the system said, with a sentence. */
int token_file_write(const struct conf_credential *c, const struct secret *value, struct why *why);

/* 0, also if there is none. */
int token_file_remove(const struct conf_credential *c, struct why *why);
