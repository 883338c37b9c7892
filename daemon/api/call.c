#include "api/call.h"

#include <stdlib.h>
#include <string.h>

#include "api/redirect.h"
#include "api/server.h"
#include "api/stream.h"
#include "base/err.h"
#include "client/protocol.h"

#define CALL_BODY_PATIENCE                                                                         \
        (16 * PROTOCOL_BODY_MAX) /* read and thrown away, so that the caller gets to see its 413 */

struct call *call_new(struct server *server, struct MHD_Connection *connection,
                      struct caller *caller) {
        struct call *call = calloc(1, sizeof(*call));

        if (!call)
                return NULL;
        call->server = server;
        call->connection = connection;
        call->caller = caller;
        return call;
}

struct call *call_free(struct call *call) {
        if (!call)
                return NULL;
        if (call->reply.response)
                MHD_destroy_response(call->reply.response);
        stream_free(call->stream);
        secret_unref(call->body);
        if (call->body_room > 0)
                server_release(call->connection, call->body_room);
        secret_unref(call->token);
        variant_done(&call->variant);
        if (call->redirect)
                redirect_wipe(call->redirect);
        free(call->redirect);
        free(call);
        return NULL;
}

static size_t call_body_room(struct call *call) {
        const char *length = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND,
                                                         MHD_HTTP_HEADER_CONTENT_LENGTH);
        unsigned long n = length ? strtoul(length, NULL, 10) : PROTOCOL_BODY_MAX;

        return n < PROTOCOL_BODY_MAX ? n : PROTOCOL_BODY_MAX;
}

/* It is all reserved at once: a secret does not grow. 0, -ENOMEM. */
static int call_make_room(struct call *call) {
        const size_t room = call_body_room(call);

        call->has_no_room = !server_hold(call->connection, room);
        if (call->has_no_room)
                return 0;
        call->body_room = room;
        call->body = secret_new_reserved(room);
        return call->body ? 0 : RAISE(-ENOMEM);
}

static size_t call_body_over(struct call *call, size_t len) {
        size_t room = PROTOCOL_BODY_MAX - (call->body ? secret_len(call->body) : 0);

        return len > room ? len - room : 0;
}

int call_take_body(struct call *call, const char *bytes, size_t len) {
        int r = call->body || call->has_no_room ? 0 : call_make_room(call);

        if (r < 0)
                return PASS(r);
        call->body_over += call_body_over(call, len);
        if (call->has_no_room || call->body_over > 0)
                return call->body_over > CALL_BODY_PATIENCE ? RAISE(-EFBIG) : 0;
        return secret_append(call->body, bytes, len);
}

static void call_run_on_loop(struct message *m) {
        struct call *call = list_entry(m, struct call, message);

        list_append(server_calls(call->server), &call->link);
        call->work(call, server_parts(call->server)->broker);
}

void call_cross(struct call *call, void (*work)(struct call *call, struct broker *broker)) {
        call->progress = CALL_CROSSED;
        call->work = work;
        call->message.run = call_run_on_loop;
        server_suspend(call->server, call->connection);
        inbox_post(server_parts(call->server)->loop, &call->message);
}

static void call_run_on_server(struct message *m) {
        struct call *call = list_entry(m, struct call, message);

        call->progress = CALL_ANSWERED;
        server_resume(call->server, call->caller, call->connection);
}

void call_return(struct call *call, struct reply reply) {
        list_remove(&call->link);
        call->reply = reply;
        call->message.run = call_run_on_server;
        server_post(call->server, &call->message);
}
