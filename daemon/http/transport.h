#pragma once
/*
 * Transport: one HTTP exchange with a provider
 *
 * A seam. http/curl.c fills it in over libcurl's multi interface; tests/fake_transport.c plays
 * the provider. It knows TLS, time-outs and size limits, and nothing of OAuth.
 *
 * Threading: loop thread only; done() is called from the loop, never from within send() or
 *            cancel().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/secret.h"

#define HTTP_BODY_MAX           65536 /* bytes of a response; more is HTTP_TOO_LARGE */
#define HTTP_TIMEOUT_US         (15 * US_PER_S)
#define HTTP_CONNECT_US         (5 * US_PER_S)
#define HTTP_RETRY_AFTER_MAX_US US_PER_D
#define HTTP_LOGID_MAX          96
#define HTTP_TYPE_MAX           96
#define HTTP_PROBLEM_MAX        192

/* A POST with a JSON body is all that Coze's token endpoints know. A request is presented once
 * at most: refresh tokens, codes and assertions are single use, so a transport never repeats
 * one by itself. */
struct http_request {
        char *url;
        struct secret *authorization; /* the value of the Authorization header, or NULL for none */
        struct secret *body;          /* application/json */
        const char *ca_file; /* borrowed from the configuration; NULL: the system's bundle */
        bool allow_http; /* plain http: to a loopback address, as the provider's allow_http says */
        int64_t timeout_us; /* of the whole exchange; 0: HTTP_TIMEOUT_US */
};

struct http_request *http_request_free(struct http_request *req);
AUTO_DEFINE(struct http_request, http_request_free)

enum http_outcome {
        HTTP_ANSWERED, /* an answer came, whatever its status */
        HTTP_NOT_SENT, /* no byte of the body was sent: nothing can have come of it */
        HTTP_UNKNOWN,  /* failed after the body was begun: the provider may have acted on it */
        HTTP_OUTCOME_MAX,
};

struct http_response {
        enum http_outcome outcome;
        int status;          /* HTTP_ANSWERED only */
        struct secret *body; /* never NULL when answered; at most HTTP_BODY_MAX bytes */
        bool too_large;      /* the body was cut because it exceeded HTTP_BODY_MAX */
        char content_type[HTTP_TYPE_MAX]; /* "" if absent */
        char logid[HTTP_LOGID_MAX];       /* X-Tt-Logid, cleaned; "" if absent */
        bool has_date;
        wall_t date;            /* the Date header: the provider's clock */
        int64_t retry_after_us; /* at most HTTP_RETRY_AFTER_MAX_US; -1 if absent */
        char problem
                [HTTP_PROBLEM_MAX]; /* when not answered: one line for people, no secret in it */
};

/* `resp` is borrowed for the length of the call. */
typedef void http_done_fn(void *user, const struct http_response *resp);

struct transport {
        /* Takes over `req`, also on failure. 0: done(user, ...) will be called exactly once,
         * unless cancelled. A negative errno: nothing was sent and done() is not called;
         * -EINVAL: the authorization cannot stand in a header. */
        int (*send)(void *self, struct http_request *req, http_done_fn *done, void *user);
        /* done() is not called for this `user` any more. Unknown: no effect. */
        void (*cancel)(void *self, void *user);
        void *self;
};
