#pragma once
/*
 * Routes: which path and method leads where
 *
 * Threading: serving thread.
 */

#include <stdbool.h>

#include "api/call.h"

/* Loop: may the call still be made, under another configuration? Moves call->credential there. False: *ret_reply says why
 * not. */
bool route_judge_again(struct call *call, const struct conf *conf, struct reply *ret_reply);

/* A request for a token that is in the cache is answered here and now, without a call: true, and *ret_done is what
 * libmicrohttpd wants to hear. False: it takes route_call(). */
bool route_fast(struct server *s, struct MHD_Connection *connection, struct caller *caller,
                const char *method, const char *path, enum MHD_Result *ret_done);

/* The request is complete: answers it (CALL_ANSWERED) or sends it across (CALL_CROSSED). */
void route_call(struct call *call, const char *method, const char *path);
