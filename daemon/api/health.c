#include <microhttpd.h>

#include "api/handlers.h"
#include "api/server.h"
#include "base/json.h"
#include "client/protocol.h"

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

/* Names the credentials that are not good, but only those that the caller may know of. NULL: all are. */
static struct json_object *health_missing(const struct call *call, const struct broker *broker) {
        const struct conf *conf = broker_conf(broker);
        struct json_object *missing = NULL;

        for (size_t i = 0; i < conf->n_credentials; i++) {
                const struct conf_credential *c = conf->credentials[i];

                if (broker_is_fresh(broker, c))
                        continue;
                if (!missing)
                        missing = json_object_new_array();
                if (caller_may_use(call->caller, c))
                        (void) json_object_array_add(
                                missing,
                                json_object_new_string(c->name)); /* then one is not named */
        }
        return missing;
}

static void health_ready_work(struct call *call, struct broker *broker) {
        struct json_object *missing = health_missing(call, broker), *o;
        struct reply reply;
        int r;

        if (!missing) {
                call_return(call, reply_json(MHD_HTTP_OK, health_object("ready")));
                return;
        }
        o = health_object("not ready");
        r = json_object_object_add(o, "missing", missing);
        r |= json_object_object_add(o, "error",
                                    json_object_new_string(PROTOCOL_TEMPORARILY_UNAVAILABLE));
        r |= json_object_object_add(
                o, "error_description",
                json_object_new_string(
                        "not every credential with keep_fresh = always has a good token "
                        "now: bearerctl status says why"));
        reply = reply_json(MHD_HTTP_SERVICE_UNAVAILABLE, r < 0 ? json_wipe(o) : o);
        call_return(call, reply);
}

struct reply health_ready(struct call *call) {
        return health_cross(call, health_ready_work);
}
