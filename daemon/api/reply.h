#pragma once
/*
 * Reply: an answer that is made for one request
 *
 * JSON in UTF-8, Cache-Control: no-store on all of them. Errors follow RFC 6749 section 5.2; the description says what
 * to do next (design.md section 4).
 */

#include <json-c/json.h>
#include <microhttpd.h>
#include <stdint.h>

#include "base/secret.h"
#include "base/why.h"
#include "provider/dialect.h"

struct reply {
        unsigned status;
        struct MHD_Response *response; /* NULL: out of memory; the connection is closed then */
};

/* A response with this body, which is taken over and wiped with it; also when it fails (NULL: out of memory). */
struct MHD_Response *reply_response(struct secret *body, const char *content_type);

/* Takes over `o`. */
struct reply reply_json(unsigned status, struct json_object *o);

struct reply reply_empty(unsigned status);

struct reply reply_error(unsigned status, const char *error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* With what the provider said (NULL: nothing) and Retry-After in whole seconds, rounded up (-1: none). */
struct reply reply_upstream_error(unsigned status, const char *error, const char *description,
                                  const struct refusal *upstream, int64_t retry_after_us);

/* 405 with the Allow header. */
struct reply reply_method_not_allowed(const char *method, const char *path, const char *allow);

/* {"error":...,"message":...,"status":...,"logid":...} of a refusal; NULL: out of memory. */
struct json_object *reply_refusal(const struct refusal *f);
