#include <microhttpd.h>

#include "api/handlers.h"
#include "api/server.h"
#include "base/json.h"

/*
 * /healthz and /readyz
 *
 * Both go through the loop: a daemon whose loop hangs is not alive, even if it still accepts connections.
 */

static struct json_object *health_object(const char *status) {
        struct json_object *o = json_object_new_object();

        if (o && json_object_object_add(o, "status", json_object_new_string(status)) < 0)
                o = json_wipe(o);
        return o;
}

static void health_live_work(struct call *call, struct broker *broker) {
        (void) broker;
        call_return(call, reply_json(MHD_HTTP_OK, health_object("ok")));
}

static struct reply health_cross(struct call *call,
                                 void (*work)(struct call *call, struct broker *broker)) {
        struct reply reply;

        if (handler_refuse_query(call, &reply) < 0)
                return reply;
        call_cross(call, work);
        return HANDLER_CROSSED;
}

struct reply health_live(struct call *call) {
        return health_cross(call, health_live_work);
}

/* Names the credentials that are not good, but only those that the caller may know of. */
static void health_ready_work(struct call *call, struct broker *broker) {
        const struct conf *conf = server_parts(call->server)->conf;
        struct json_object *o, *missing = json_object_new_array();
        bool ready = true;
        int r = 0;

        for (size_t i = 0; i < conf->n_credentials; i++) {
                const struct conf_credential *c = conf->credentials[i];

                if (broker_is_fresh(broker, c))
                        continue;
                ready = false;
                if (caller_may_use(call->caller, c))
                        r |= json_object_array_add(missing, json_object_new_string(c->name));
        }
        o = health_object(ready ? "ready" : "not ready");
        if (ready)
                json_object_put(missing);
        else
                r |= json_object_object_add(o, "missing", missing);
        call_return(call, reply_json(ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                                     r < 0 ? json_wipe(o) : o));
}

struct reply health_ready(struct call *call) {
        return health_cross(call, health_ready_work);
}
