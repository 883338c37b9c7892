#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/parameter.h"
#include "api/server.h"
#include "api/stream.h"
#include "base/err.h"
#include "client/protocol.h"

/*
 * GET /v1/events: what happens to credentials, as it happens
 *
 * Checks what is asked for; what follows is a stream's.
 */

static void events_open_work(struct call *call, struct broker *broker) {
        call_return(call, (struct reply){ .status = MHD_HTTP_OK,
                                          .response = stream_open(call->stream, broker) });
}

/* The credential of the query, if there is one: as in a path. */
static int events_check_credential(struct call *call, const char *name, struct reply *ret_reply) {
        call->credential = caller_find_credential(call->caller, server_conf(call->server), name);
        if (!call->credential) {
                *ret_reply = route_no_credential(call, name);
                return -ENOENT;
        }
        if (!caller_may_use(call->caller, call->credential)) {
                *ret_reply = route_may_not_use(call, name);
                return -EACCES;
        }
        return 0;
}

static struct reply events_refuse(const struct call *call, int r) {
        char text[160];

        if (r != -EUSERS)
                return reply_error(MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR,
                                   "the events cannot be read now: %s", strerror(-r));
        (void) snprintf(text, sizeof(text),
                        "user %u reads events on %d connections already, as many as one user may: "
                        "close one",
                        (unsigned) call->caller->peer.uid, STREAMS_PER_UID);
        return reply_upstream_error(MHD_HTTP_TOO_MANY_REQUESTS, PROTOCOL_SLOW_DOWN, text, NULL,
                                    STREAM_BEAT_US);
}

struct reply events_get(struct call *call) {
        struct parameter q[] = { { .key = "credential" }, { .key = "subject" } };
        const char *last_id = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND,
                                                          PROTOCOL_HEADER_LAST_EVENT_ID);
        const char *problem;
        struct reply reply;
        int r;

        if (handler_read_query(call, q, N_ELEMENTS(q), &reply) < 0)
                return reply;
        if (q[0].value && events_check_credential(call, q[0].value, &reply) < 0)
                return reply;
        problem = q[1].value ? parameter_check_subject(q[1].value, q[1].len) : NULL;
        if (problem)
                return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST, "subject %s",
                                   problem);
        r = stream_new(server_streams(call->server), call->caller, call->connection,
                       &(struct stream_filter){ q[0].value, q[1].value }, last_id, &call->stream);
        if (r < 0)
                return events_refuse(call, r);
        call_cross(call, events_open_work);
        return HANDLER_CROSSED;
}
