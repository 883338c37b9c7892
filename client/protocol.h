#pragma once
/*
 * What both ends of the socket agree on: design.md section 4
 *
 * Paths, header names, JSON keys and limits; no code. Shared by daemon/api and by everything in client/.
 */

#define PROTOCOL_SOCKET_SYSTEM "/run/bearerd/bearerd.sock"
#define PROTOCOL_SOCKET_USER   "bearerd/bearerd.sock" /* below $XDG_RUNTIME_DIR */
#define PROTOCOL_SOCKET_ENV    "BEARERD_SOCKET"

#define PROTOCOL_PATH_TOKEN          "/v1/token/"
#define PROTOCOL_PATH_CREDENTIALS    "/v1/credentials"
#define PROTOCOL_PATH_AUTHORIZATIONS "/v1/authorizations"
#define PROTOCOL_PATH_CALLBACK       "/v1/callback"
#define PROTOCOL_PATH_EVENTS         "/v1/events"
#define PROTOCOL_PATH_RELOAD         "/v1/reload"
#define PROTOCOL_PATH_HEALTHZ        "/healthz"
#define PROTOCOL_PATH_READYZ         "/readyz"
#define PROTOCOL_PATH_METRICS        "/metrics"

#define PROTOCOL_HEADER_EXPIRES_AT                                                                 \
        "Bearer-Expires-At" /* UNIX time; absent when the token never expires */
#define PROTOCOL_HEADER_EXPIRES_IN                                                                 \
        "Bearer-Expires-In" /* seconds left, cut; absent as above: no clock has to agree */
#define PROTOCOL_HEADER_FINGERPRINT   "Bearer-Fingerprint" /* 16 hex digits */
#define PROTOCOL_HEADER_LAST_EVENT_ID "Last-Event-ID"

#define PROTOCOL_MIN_TTL_DEFAULT_S 60
#define PROTOCOL_WAIT_DEFAULT_S    30
#define PROTOCOL_WAIT_MAX_S        120
#define PROTOCOL_WATCH_MAX_S       60    /* of one long poll for an authorization */
#define PROTOCOL_BODY_MAX          65536 /* bytes of a request body */
#define PROTOCOL_TOKEN_MAX         16384 /* bytes of a token */
#define PROTOCOL_SUBJECT_MAX       256   /* bytes */
#define PROTOCOL_NAME_MAX          64    /* bytes of a credential's name */

/* The values of `error` in an answer that is not 2xx. */
#define PROTOCOL_INVALID_REQUEST         "invalid_request"
#define PROTOCOL_INVALID_SCOPE           "invalid_scope"
#define PROTOCOL_ACCESS_DENIED           "access_denied"
#define PROTOCOL_NOT_FOUND               "not_found"
#define PROTOCOL_AUTHORIZATION_REQUIRED  "authorization_required"
#define PROTOCOL_SLOW_DOWN               "slow_down"
#define PROTOCOL_UPSTREAM_ERROR          "upstream_error"
#define PROTOCOL_TEMPORARILY_UNAVAILABLE "temporarily_unavailable"
#define PROTOCOL_UPSTREAM_TIMEOUT        "upstream_timeout"
#define PROTOCOL_SERVER_ERROR            "server_error" /* 500: our own fault, say no memory */
