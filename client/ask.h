#pragma once
/*
 * One question to the daemon, on behalf of a person
 *
 * wire.h with a connection of its own for each question, and with an explanation of everything
 * that can go wrong: what happened, to what, and what to do next.
 */

#include <json-c/json.h>
#include <sys/uio.h>

#include "client/member.h"
#include "client/verb.h"
#include "client/wire.h"

#define ASK_TIMEOUT_S     10 /* for an answer that does not wait for the provider */
#define ASK_CONNECT_US    INT64_C(5000000)
#define ASK_SENTENCE_SIZE 1024               /* bytes of a description that are shown */
#define ASK_SHOWN_SIZE    2112               /* of any other text: room for two descriptions */
#define ASK_LIST_MAX      (32 * 1024 * 1024) /* bytes of a list of all there is */

/* A struct wire_request: GET `path_text`, which is borrowed; JSON that the daemon has at hand. */
#define ASK_GET(path_text)                                                                         \
        {                                                                                          \
                .method = "GET", .path = (path_text), .accept = "application/json",                \
                .answer_max = ASK_LIST_MAX, .timeout_us = ASK_TIMEOUT_S * INT64_C(1000000)         \
        }

/* EXIT_DONE, with *ret a 2xx answer: wire_answer_done(). Otherwise an exit code, and it has been
 * said why. */
int ask(const struct call *call, const struct wire_request *request, struct wire_answer *ret);

/* The same, with an answer of any status. */
int ask_any(const struct call *call, const struct wire_request *request, struct wire_answer *ret);

/* "bearerctl VERB bot --subject alice", fit for a shell. Returns `ret`. */
char *ask_command(const struct call *call, const char *verb, char ret[ASK_SENTENCE_SIZE]);

/* What `error` and `error_description` come to, for who reads another language than the daemon's, and
 * the verb that helps, or NULL. NULL: there is nothing else to say; English is. Both valid for ever. */
const char *ask_translate(struct json_object *o, const char **ret_verb);

/* Says what an answer that is not 2xx means. The exit code for it. */
int ask_explain(const struct call *call, const struct wire_answer *answer);

/* Without a word, whatever the status. 0 or a negative errno. */
int ask_quietly(const struct call *call, const struct wire_request *request,
                struct wire_answer *ret);

/* The two halves of ask_quietly(), for who has more to wait for: between them *ret_fd becomes
 * readable. ask_end() closes it. 0 or a negative errno. */
int ask_begin(const struct call *call, const struct wire_request *request, int *ret_fd);
int ask_end(int fd, const struct wire_request *request, struct wire_answer *ret);

/* The JSON object in the answer, or NULL if it holds something else. json_object_put(). */
struct json_object *ask_json(const struct wire_answer *answer);

/* The text, fit for a terminal; "-" when it is absent. Returns `ret`. */
char *ask_shown(struct json_object *o, const char *key, char ret[ASK_SHOWN_SIZE]);

/* The array `key` of `o`, borrowed. False: it has been said that there is none. */
bool ask_list(struct json_object *o, const char *key, struct json_object **ret);

/* `o` as one line of JSON, valid until it changes. */
const char *ask_line(struct json_object *o);

/* JSON for a program: the object as it came and a newline, with a member "version" before the others.
 * What that promises is in bearerctl(1). Borrowed pieces, for writev(). False: it is no object. */
#define ASK_JSON_VERSION "1"
#define ASK_JSON_PIECES  3
bool ask_json_pieces(const char *json, size_t len, struct iovec ret[ASK_JSON_PIECES]);

/* Prints them, and flushes. An exit code. */
int ask_print_json(const char *json, size_t len);
int ask_print_object(struct json_object *o);

/* What the provider said, from the members `status`, `error`, `message` and `logid`:
 * "HTTP 401 invalid_client: bad kid; logid 2024..."; "" if there are none. Returns `ret`. */
char *ask_refusal(struct json_object *o, char ret[ASK_SENTENCE_SIZE]);

static inline void ask_json_putp(struct json_object **o) {
        json_object_put(*o);
}
