#pragma once
/*
 * Random names: tokens, codes and secrets
 *
 * Threading: any thread.
 */

#include <stddef.h>

#define RANDOM_TOKEN_SIZE                                                                          \
        80 /* bytes: a prefix of up to 8, 64 letters and digits, NUL; some to spare */

/* `n` characters of the alphabet and a NUL. */
void random_text(const char *alphabet, size_t n, char *ret);

/* The prefix and 64 letters and digits: the shape of Coze's tokens. */
void random_token(const char *prefix, char ret[RANDOM_TOKEN_SIZE]);
