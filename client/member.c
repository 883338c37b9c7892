#include "client/member.h"

#include <string.h>

const char *member_text(struct json_object *o, const char *key) {
        struct json_object *v;

        if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
                return NULL;
        return json_object_get_string(v);
}

bool member_is(struct json_object *o, const char *key, const char *value) {
        const char *text = member_text(o, key);

        return text && strcmp(text, value) == 0;
}

bool member_get_number(struct json_object *o, const char *key, int64_t *ret) {
        struct json_object *v;

        if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
                return false;
        *ret = json_object_get_int64(v);
        return true;
}

int64_t member_number(struct json_object *o, const char *key) {
        int64_t n = -1;

        (void) member_get_number(o, key, &n);
        return n;
}

struct json_object *member_array(struct json_object *o, const char *key) {
        struct json_object *v;

        return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_array)
                       ? v
                       : NULL;
}

bool member_is_true(struct json_object *o, const char *key) {
        struct json_object *v;

        return json_object_object_get_ex(o, key, &v) && json_object_get_boolean(v);
}
