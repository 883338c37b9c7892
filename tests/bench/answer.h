#pragma once
/*
 * The framing of one HTTP/1.1 answer
 *
 * Strict, because a benchmark of wrong answers is worth nothing: a status line, header lines that end
 * in CRLF, one Content-Length, and exactly that many bytes behind the blank line. Chunked answers
 * and anything after the body are broken: nobody asked for them.
 *
 * Sources: RFC 9112 sections 4, 5 and 6.
 */

#include <stdbool.h>
#include <stddef.h>

enum answer_state {
        ANSWER_PARTIAL, /* well-formed so far, more must come */
        ANSWER_COMPLETE,
        ANSWER_BROKEN,
};

struct answer {
        int status;
        size_t head; /* bytes up to and including the blank line */
        size_t body;
        bool closes; /* "Connection: close" */
};

/* Looks at all that has come so far; `ret` is written when the answer is complete. */
enum answer_state answer_parse(const char *bytes, size_t len, struct answer *ret);
