#include "scope.h"

#include "memory.h"
#include "object.h"

/* An object's members: either lists of texts, or one more object. */
struct shape {
        const char *name;
        const char *lists[3];
        const struct shape *inner;
};

static const struct shape bot_chat = { "connector_bot_chat_attribute", { "bot_id_list" }, NULL };
static const struct shape shapes[] = {
        { "account_permission", { "permission_list" }, NULL },
        { "attribute_constraint", { NULL }, &bot_chat },
        { "workspace_permission", { "workspace_id_list", "permission_list" }, NULL },
        { "workflow_permission", { "workflow_id_list", "permission_list" }, NULL },
};

static bool list_check(struct json_object *list) {
        size_t n;

        if (!json_object_is_type(list, json_type_array))
                return false;
        n = json_object_array_length(list);
        for (size_t i = 0; i < n; i++) {
                if (!object_text(json_object_array_get_idx(list, i)))
                        return false;
        }
        return n > 0;
}

static bool shape_check(const struct shape *shape, struct json_object *o, char *why, size_t size) {
        const char *inner[] = { shape->inner ? shape->inner->name : NULL, NULL };
        const char *const *members = shape->inner ? inner : shape->lists;
        const char *unknown;

        if (!json_object_is_type(o, json_type_object) || json_object_object_length(o) == 0) {
                snprintf(why, size, "%s is no object with members", shape->name);
                return false;
        }
        unknown = object_unknown(o, members);
        if (unknown) {
                snprintf(why, size, "unknown member %s in %s", unknown, shape->name);
                return false;
        }
        if (shape->inner)
                return shape_check(shape->inner, json_object_object_get(o, shape->inner->name), why,
                                   size);
        json_object_object_foreach(o, name, value) {
                if (!list_check(value)) {
                        snprintf(why, size, "%s is no list of texts", name);
                        return false;
                }
        }
        return true;
}

bool scope_check(struct json_object *scope, char *why, size_t size) {
        if (!json_object_is_type(scope, json_type_object) ||
            json_object_object_length(scope) == 0) {
                snprintf(why, size, "it is no object with members");
                return false;
        }
        json_object_object_foreach(scope, name, value) {
                size_t i = 0;

                while (i < N_ELEMENTS(shapes) && strcmp(shapes[i].name, name) != 0)
                        i++;
                if (i == N_ELEMENTS(shapes)) {
                        snprintf(why, size, "unknown member %s", name);
                        return false;
                }
                if (!shape_check(&shapes[i], value, why, size))
                        return false;
        }
        return true;
}
