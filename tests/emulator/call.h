#pragma once
/*
 * Call: one request at an OAuth endpoint, and what is wrong with it
 *
 * call_begin() finds the route, counts, takes the faults and checks everything that does not
 * change the authority (but for a JWT's jti, which is spent by being shown). oauth.c then carries
 * it out.
 *
 * Threading: belongs to its request.
 * Sources:   coze-oauth.md sections 2.2, 3, 4.1 and 5.
 */

#include <json-c/json.h>
#include <stdint.h>

#include "authority.h"
#include "jwt.h"
#include "server.h"

#define CALL_MESSAGE_MAX 224
#define UNRESERVED       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

enum grant {
        GRANT_JWT,
        GRANT_AUTHORIZATION_CODE,
        GRANT_REFRESH_TOKEN,
        GRANT_DEVICE_CODE,
        GRANT_MAX,
};

struct route {
        const char *method, *prefix, *suffix; /* between them: an id, when there is a suffix */
        enum fault_endpoint endpoint;
        const char *id; /* characters of the id */
        bool enterprise;
};

struct call {
        struct authority *authority;
        const struct request *rq;
        const struct route *route; /* NULL: no such path */
        char id[ID_SIZE];          /* workspace, account or enterprise of the path; "": none */
        struct fault_hit hit;

        unsigned status; /* 0: good so far; else the first refusal */
        const char *error;
        char message[CALL_MESSAGE_MAX];

        struct json_object *body;
        struct jwt jwt;
        const struct application *app;
        enum grant grant;
        int64_t duration_s;
        /* Borrowed from the body, the query or the headers; "" or NULL where the grant has
         * none. */
        const char *code, *redirect_uri, *verifier, *refresh_token, *device_code, *challenge,
                *state, *access_token;
};

void call_begin(struct call *c, struct authority *a, const struct request *rq);
void call_end(struct call *c);
