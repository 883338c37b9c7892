#include "control.h"

#include "memory.h"
#include "object.h"

static const char prefix[] = "/emulator/";

/* Each returns NULL when done, else what is wrong. */
static const char *control_add_fault(struct authority *a, struct json_object *o) {
        return authority_add_fault(a, o);
}

static const char *control_clear_faults(struct authority *a, struct json_object *o) {
        (void) o;
        authority_clear_faults(a);
        return NULL;
}

static const char *control_reset(struct authority *a, struct json_object *o) {
        (void) o;
        authority_reset(a);
        return NULL;
}

static const char *control_revoke(struct authority *a, struct json_object *o) {
        const char *token = object_string(o, "token");

        if (token)
                return authority_revoke(a, token);
        if (!json_object_get_boolean(json_object_object_get(o, "all")))
                return "neither token nor all is given";
        authority_revoke_all(a);
        return NULL;
}

static const char *control_device(struct authority *a, struct json_object *o) {
        const char *action = object_string(o, "action");
        struct json_object *user_code = json_object_object_get(o, "user_code");

        if (!action)
                return "action is missing";
        return authority_decide_device(a, user_code ? json_object_get_string(user_code) : NULL,
                                       action);
}

static const char *control_consent(struct authority *a, struct json_object *o) {
        const char *mode = object_string(o, "mode");

        return mode ? authority_set_consent(a, mode) : "mode is missing";
}

static const char *control_clock(struct authority *a, struct json_object *o) {
        int64_t offset;

        if (!object_integer(o, "offset", &offset) || offset < -INT32_MAX || offset > INT32_MAX)
                return "offset is no number of seconds";
        authority_set_clock(a, offset);
        return NULL;
}

static const char *control_lifetime(struct authority *a, struct json_object *o) {
        static const char *const names[] = { "access", "refresh", "device", "interval" };
        const int64_t *given[N_ELEMENTS(names)] = { 0 };
        int64_t seconds[N_ELEMENTS(names)];

        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                if (!json_object_object_get_ex(o, names[i], NULL))
                        continue;
                if (!object_integer(o, names[i], &seconds[i]) || seconds[i] < 0 ||
                    seconds[i] > INT32_MAX)
                        return "a lifetime is no number of seconds";
                given[i] = &seconds[i];
        }
        authority_set_lifetimes(a, given[0], given[1], given[2], given[3]);
        return NULL;
}

static const char *control_app(struct authority *a, struct json_object *o) {
        const char *client_id = object_string(o, "client_id"), *wrong = NULL;
        struct json_object *deactivated, *uris;

        if (!client_id)
                return "client_id is missing";
        if (json_object_object_get_ex(o, "deactivated", &deactivated))
                wrong = authority_set_deactivated(a, client_id,
                                                  json_object_get_boolean(deactivated));
        if (!wrong && json_object_object_get_ex(o, "redirect_uris", &uris))
                wrong = json_object_is_type(uris, json_type_array)
                                ? authority_set_redirects(a, client_id, uris)
                                : "redirect_uris is no list";
        return wrong;
}

static const struct {
        const char *method, *name;
        const char *members[5]; /* of the body; none: not checked here */
        bool body;
        const char *(*act)(struct authority *a, struct json_object *o);
} controls[] = {
        { "POST", "faults", { NULL }, true, control_add_fault },
        { "DELETE", "faults", { NULL }, false, control_clear_faults },
        { "POST", "reset", { NULL }, false, control_reset },
        { "POST", "revoke", { "token", "all" }, true, control_revoke },
        { "POST", "device", { "user_code", "action" }, true, control_device },
        { "POST", "consent", { "mode" }, true, control_consent },
        { "POST", "clock", { "offset" }, true, control_clock },
        { "POST",
          "lifetime",
          { "access", "refresh", "device", "interval" },
          true,
          control_lifetime },
        { "POST", "app", { "client_id", "deactivated", "redirect_uris" }, true, control_app },
};

bool control_owns(const char *path) {
        return strncmp(path, prefix, sizeof(prefix) - 1) == 0;
}

static void control_answer(struct answer *ret, unsigned status, const char *wrong) {
        struct json_object *o = must(json_object_new_object());

        if (wrong)
                object_add_string(o, "error", wrong);
        answer_json(ret, status, o);
}

static const char *control_act(struct authority *a, size_t control, const struct request *rq) {
        AUTO(json_putp) struct json_object *o = NULL;

        if (!controls[control].body)
                return controls[control].act(a, NULL);
        o = object_parse(rq->body, rq->size);
        if (!o)
                return "the body is no JSON object";
        if (controls[control].members[0] && object_unknown(o, controls[control].members))
                return "the body has an unknown member";
        return controls[control].act(a, o);
}

void control_handle(struct authority *a, const struct request *rq, struct answer *ret) {
        const char *name = rq->path + sizeof(prefix) - 1, *wrong;

        ret->date_s = authority_now(a);
        authority_logid(a, ret->logid);
        if (strcmp(rq->method, "GET") == 0 && strcmp(name, "state") == 0) {
                answer_json(ret, 200, authority_describe(a));
                return;
        }
        for (size_t i = 0; i < N_ELEMENTS(controls); i++) {
                if (strcmp(controls[i].method, rq->method) != 0 ||
                    strcmp(controls[i].name, name) != 0)
                        continue;
                wrong = control_act(a, i, rq);
                control_answer(ret, wrong ? 400 : 200, wrong);
                return;
        }
        control_answer(ret, 404, "no such control; emulator --help lists them");
}
