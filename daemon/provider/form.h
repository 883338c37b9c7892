#pragma once
/*
 * A JSON object written straight into a secret
 *
 * A JSON library leaves pieces of what it writes in memory that it has released. Requests carry
 * codes and refresh tokens, so they are put together here: members in the order in which they are
 * added, no white space, and nothing is left but the secret.
 *
 * Threading: pure functions, any thread.
 * Sources:   RFC 8259.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/secret.h"

struct form;

/* Room for `n` members whose names and values are together at most `len` bytes long. NULL: out
 * of memory. */
struct form *form_new(size_t n, size_t len);
struct form *form_free(struct form *f);
AUTO_DEFINE(struct form, form_free)

/* Add one member each; `key` needs no escape. More than there is room for is a bug. */
void form_text(struct form *f, const char *key, const char *value);
void form_secret(struct form *f, const char *key, const struct secret *value);
void form_number(struct form *f, const char *key, int64_t value);
void form_json(struct form *f, const char *key, const char *json); /* JSON already */

/* The finished text; the caller owns it, the form is empty afterwards. */
struct secret *form_take(struct form *f);
