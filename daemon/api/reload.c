#include <microhttpd.h>

#include "api/handlers.h"
#include "api/server.h"
#include "base/json.h"
#include "client/protocol.h"
#include "conf/difference.h"

/*
 * POST /v1/reload: what has changed, or every reason why nothing has
 */

struct reload_part { /* of the answer: names by what became of them */
        struct json_object *added, *changed, *removed;
        int r;
};

static void reload_add(struct reload_part *p, struct json_object *list, const char *name) {
        p->r |= json_object_array_add(list, json_object_new_string(*name ? name : "[daemon]"));
}

static struct reload_part reload_part_new(void) {
        return (struct reload_part){ json_object_new_array(), json_object_new_array(),
                                     json_object_new_array(), 0 };
}

static struct json_object *reload_part_object(struct reload_part *p) {
        struct json_object *o = json_object_new_object();

        p->r |= json_object_object_add(o, "added", p->added);
        p->r |= json_object_object_add(o, "changed", p->changed);
        p->r |= json_object_object_add(o, "removed", p->removed);
        return p->r < 0 ? json_wipe(o) : o;
}

static struct json_object *reload_credentials(const struct conf *before, const struct conf *after) {
        struct reload_part p = reload_part_new();

        for (size_t i = 0; i < after->n_credentials; i++) {
                const struct conf_credential *c = after->credentials[i];
                const struct conf_credential *old = conf_find_credential(before, c->name);

                if (!old)
                        reload_add(&p, p.added, c->name);
                else if (conf_compare_credentials(old, c) != CONF_SAME)
                        reload_add(&p, p.changed, c->name);
        }
        for (size_t i = 0; i < before->n_credentials; i++)
                if (!conf_find_credential(after, before->credentials[i]->name))
                        reload_add(&p, p.removed, before->credentials[i]->name);
        return reload_part_object(&p);
}

static struct json_object *reload_sockets(const struct conf *before, const struct conf *after) {
        struct reload_part p = reload_part_new();

        for (size_t i = 0; i < after->n_sockets; i++) {
                const struct conf_socket *socket = after->sockets[i];
                const struct conf_socket *old = conf_find_socket(before, socket->path);

                if (!old)
                        reload_add(&p, p.added, socket->path);
                else if (conf_compare_sockets(old, socket) != CONF_SAME)
                        reload_add(&p, p.changed, socket->path);
        }
        for (size_t i = 0; i < before->n_sockets; i++)
                if (!conf_find_socket(after, before->sockets[i]->path))
                        reload_add(&p, p.removed, before->sockets[i]->path);
        return reload_part_object(&p);
}

static struct json_object *reload_providers(const struct conf *before, const struct conf *after) {
        struct reload_part p = reload_part_new();

        for (size_t i = 0; i < after->n_providers; i++) {
                const struct conf_provider *old = conf_find_provider(before,
                                                                     after->providers[i]->name);

                if (!old)
                        reload_add(&p, p.added, after->providers[i]->name);
                else if (conf_compare_providers(old, after->providers[i]) != CONF_SAME)
                        reload_add(&p, p.changed, after->providers[i]->name);
        }
        for (size_t i = 0; i < before->n_providers; i++)
                if (!conf_find_provider(after, before->providers[i]->name))
                        reload_add(&p, p.removed, before->providers[i]->name);
        return reload_part_object(&p);
}

/* Errors or warnings of the report. */
static struct json_object *reload_problems(const struct conf_report *report, bool errors) {
        struct json_object *list = json_object_new_array();

        for (size_t i = 0; report && i < report->n; i++)
                if (report->problems[i].is_error == errors)
                        (void) json_object_array_add(
                                list, json_object_new_string(report->problems[i].text));
        return list;
}

static struct reply reload_refused(const struct reload_outcome *outcome) {
        struct json_object *o = json_object_new_object();
        struct why why;
        int r = 0;

        (void) why_set(&why, 0,
                       "the configuration was not taken, the old one stays in force: %.400s",
                       outcome->why);
        r |= json_object_object_add(o, "error", json_object_new_string(PROTOCOL_INVALID_REQUEST));
        r |= json_object_object_add(o, "error_description", json_object_new_string(why.text));
        r |= json_object_object_add(o, "problems", reload_problems(outcome->report, true));
        return reply_json(MHD_HTTP_BAD_REQUEST, r < 0 ? json_wipe(o) : o);
}

static void reload_done(void *user, const struct reload_outcome *outcome) {
        const struct conf *before = outcome->before, *after = outcome->after;
        struct json_object *o;
        struct call *call = user;
        int r = 0;

        if (outcome->r < 0) {
                call_return(call, reload_refused(outcome));
                return;
        }
        o = json_object_new_object();
        r |= json_object_object_add(o, "credentials", reload_credentials(before, after));
        r |= json_object_object_add(o, "sockets", reload_sockets(before, after));
        r |= json_object_object_add(o, "providers", reload_providers(before, after));
        r |= json_object_object_add(o, "warnings", reload_problems(outcome->report, false));
        call_return(call, reply_json(MHD_HTTP_OK, r < 0 ? json_wipe(o) : o));
}

static void reload_work(struct call *call, struct broker *broker) {
        const struct server_parts *p = server_parts(call->server);

        (void) broker;
        p->reload(p->reload_user, reload_done, call);
}

struct reply reload_post(struct call *call) {
        struct reply reply;

        if (handler_refuse_query(call, &reply) < 0)
                return reply;
        call_cross(call, reload_work);
        return HANDLER_CROSSED;
}
