#pragma once
/*
 * A credential, as the daemon tells of it
 *
 * One object of /v1/credentials (bearerd(8)), in words for a person. A subject's object has some of its
 * members, and may be told of in the same words.
 */

#include "client/ask.h"
#include "client/screen.h"
#include "client/words.h"

/* Its state, in a word; *ret_colour is none if it is not to be `coloured`. In `ret`, or constant. */
const char *credential_state(struct json_object *o, bool coloured, enum colour *ret_colour,
                             char ret[ASK_SHOWN_SIZE]);

/* When its token ends: "in 53min 2s", "never", "-": there is none. Returns `ret`. */
char *credential_expiry(struct json_object *o, int64_t now, char ret[WORDS_SPAN_SIZE]);

/* What last went wrong, or NULL: "HTTP 503: busy (2h ago). Wait." of an object, or a sentence. */
const char *credential_trouble(struct json_object *o, int64_t now, char ret[ASK_SHOWN_SIZE]);

/* The same for troubles that are, whenever they happened; "" without any. Not for people. Returns `ret`. */
char *credential_trouble_kind(struct json_object *o, char ret[ASK_SHOWN_SIZE]);

/* What a person should know or do, in a sentence, or NULL. */
const char *credential_advice(struct json_object *o, int64_t now, char ret[ASK_SHOWN_SIZE]);

/* What needs attention: the advice, for what needs a person; else what went wrong and is not over.
 * NULL: nothing. */
const char *credential_attention(struct json_object *o, int64_t now, char ret[ASK_SHOWN_SIZE]);

/* A person makes its tokens: it does without the provider. */
bool credential_is_static(struct json_object *o);

/* Its provider does not answer. False also of a daemon that does not tell. */
bool credential_is_down(struct json_object *o);

/* Of one that is down: "down for 12min, the next try is in 40s". Returns `ret`. */
char *credential_outage(struct json_object *o, int64_t now, char ret[ASK_SENTENCE_SIZE]);
