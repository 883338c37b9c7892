#pragma once
/*
 * One question to the daemon, on behalf of a person
 *
 * wire.h with a connection of its own for each question, and with an explanation of everything
 * that can go wrong: what happened, to what, and what to do next.
 */

#include <json-c/json.h>

#include "client/verb.h"
#include "client/wire.h"

#define ASK_TIMEOUT_S     10 /* for an answer that does not wait for the provider */
#define ASK_CONNECT_US    INT64_C(5000000)
#define ASK_SENTENCE_SIZE 1024 /* bytes of a description that are shown */

/* EXIT_DONE, with *ret a 2xx answer: wire_answer_done(). Otherwise an exit code, and it has been
 * said why. */
int ask(const struct call *call, const struct wire_request *request, struct wire_answer *ret);

/* The same, with an answer of any status. */
int ask_any(const struct call *call, const struct wire_request *request, struct wire_answer *ret);

/* Says what an answer that is not 2xx means. The exit code for it. */
int ask_explain(const struct call *call, const struct wire_answer *answer);

/* Without a word, whatever the status. 0 or a negative errno. */
int ask_quietly(const struct call *call, const struct wire_request *request,
                struct wire_answer *ret);

/* The JSON object in the answer, or NULL if it holds something else. json_object_put(). */
struct json_object *ask_json(const struct wire_answer *answer);

/* Borrowed from `o`; NULL: absent, or not a text. */
const char *ask_text(struct json_object *o, const char *key);

/* -1: absent, or not a number. */
int64_t ask_number(struct json_object *o, const char *key);

/* What the provider said, from the members `status`, `error`, `message` and `logid`:
 * "HTTP 401 invalid_client: bad kid; logid 2024..."; "" if there are none. Returns `ret`. */
char *ask_refusal(struct json_object *o, char ret[ASK_SENTENCE_SIZE]);

static inline void ask_json_putp(struct json_object **o) {
        json_object_put(*o);
}
