#pragma once
/*
 * What the routes lead to
 *
 * A handler runs on the serving thread when the request is complete. It returns a reply (response set), or sends
 * the call to the loop with call_cross() and returns an empty one.
 */

#include "api/call.h"
#include "api/reply.h"

#define HANDLER_CROSSED ((struct reply){ 0 })

struct reply token_get(struct call *call); /* token.c */
struct reply token_post(struct call *call);
struct reply credentials_list(struct call *call); /* credentials.c */
struct reply credentials_get(struct call *call);
struct reply credentials_put_secret(struct call *call);
struct reply access_get(struct call *call);    /* access.c */
struct reply grants_delete(struct call *call); /* grants.c */
struct reply grants_subjects(struct call *call);
struct reply authorizations_post(struct call *call); /* authorizations.c */
struct reply authorizations_list(struct call *call);
struct reply authorizations_get(struct call *call);
struct reply authorizations_delete(struct call *call);
struct reply authorizations_callback(struct call *call);
struct reply events_get(struct call *call);  /* events.c */
struct reply metrics_get(struct call *call); /* metrics.c */
struct reply reload_post(struct call *call); /* reload.c */
struct reply health_live(struct call *call); /* health.c */
struct reply health_ready(struct call *call);

/* True, and MHD's answer in *ret_done, if the token was in the cache (token.c). */
bool token_get_fast(struct server *s, struct MHD_Connection *connection, struct caller *caller,
                    const char *name, enum MHD_Result *ret_done);

/* Parses the body as a JSON object with no other members than those in `allowed` (NULL at the end). 0 and *ret, which the
 * caller wipes; else -EINVAL and the reply to send. */
int handler_parse_body(struct call *call, const char *const allowed[], struct reply *ret_reply,
                       struct json_object **ret);

struct parameter {
        const char *key;
        const char *value; /* NULL: not given; borrowed from the request */
        size_t len;
};

/* Fills in the values of the query; -EINVAL and the reply to send if there is another parameter, or one twice. */
int handler_read_query(struct call *call, struct parameter *parameters, size_t n,
                       struct reply *ret_reply);

/* -EINVAL and the reply to send if the request has any query parameter. */
int handler_refuse_query(struct call *call, struct reply *ret_reply);

/* The answers to a credential that is not there, or not for this caller. */
struct reply route_no_credential(struct call *call, const char *name);
struct reply route_may_not_use(struct call *call, const char *name);
