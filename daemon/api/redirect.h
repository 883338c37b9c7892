#pragma once
/*
 * Redirect: what a browser brings back from the authorization server
 *
 * Threading: pure functions.
 * Sources:   RFC 6749 sections 4.1.2 and 4.1.2.1.
 */

#include <stdbool.h>
#include <stddef.h>

#define REDIRECT_PART_MAX 2048 /* bytes of one parameter */

struct redirect { /* decoded; "" if absent */
        char state[REDIRECT_PART_MAX];
        char code[REDIRECT_PART_MAX];
        char error[REDIRECT_PART_MAX];
        char description[REDIRECT_PART_MAX];
};

/* Takes one decoded parameter; others than the four are ignored. False: too long, or given twice. */
bool redirect_set(struct redirect *r, const char *key, const char *value, size_t len);

/* Reads the query of a URL. False: malformed. */
bool redirect_parse(const char *url, struct redirect *ret);

/* Is there a state, and either a code or an error? */
bool redirect_is_complete(const struct redirect *r);

void redirect_wipe(struct redirect *r);
