#pragma once
/*
 * Answer: what goes back to the client
 *
 * Threading: belongs to its request.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum answer_delivery {
        ANSWER_WHOLE,
        ANSWER_CUT,  /* Content-Length says more than is sent; then the connection is closed */
        ANSWER_NONE, /* the connection is closed */
};

struct answer {
        unsigned status;
        char *body;
        size_t size;
        char *content_type, *location, *retry_after, *allow; /* headers; NULL: none */
        char logid[40];                                      /* X-Tt-Logid */
        enum answer_delivery delivery;
        bool no_date;
        int64_t date_s; /* UNIX time for the Date header */
};

/* Each replaces what the answer was. */
void answer_json(struct answer *a, unsigned status, struct json_object *body); /* takes `body` */
void answer_text(struct answer *a, unsigned status, const char *content_type, const char *body);

/* An OAuth error as Coze words it: error_code, error_message, error. */
void answer_error(struct answer *a, unsigned status, const char *code, const char *message);

/* An error of the resource API: code and msg. */
void answer_code(struct answer *a, unsigned status, int code, const char *message);

void answer_done(struct answer *a);
