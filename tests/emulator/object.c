#include "object.h"

#include <limits.h>
#include <string.h>

#include "memory.h"

struct json_object *object_parse(const char *text, size_t size) {
        struct json_tokener *tokener = must(json_tokener_new());
        struct json_object *object;

        if (size == 0 || size > INT_MAX) {
                json_tokener_free(tokener);
                return NULL;
        }
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        object = json_tokener_parse_ex(tokener, text, (int) size);
        if (object && (json_tokener_get_parse_end(tokener) != size ||
                       !json_object_is_type(object, json_type_object))) {
                json_object_put(object);
                object = NULL;
        }
        json_tokener_free(tokener);
        return object;
}

const char *object_unknown(struct json_object *object, const char *const *allowed) {
        json_object_object_foreach(object, name, value) {
                const char *const *known = allowed;

                (void) value; /* only the name matters */
                while (*known && strcmp(*known, name) != 0)
                        known++;
                if (!*known)
                        return name;
        }
        return NULL;
}

const char *object_null(struct json_object *object) {
        json_object_object_foreach(object, name, value) {
                if (!value)
                        return name;
        }
        return NULL;
}

const char *object_text(struct json_object *value) {
        const char *text;

        if (!json_object_is_type(value, json_type_string))
                return NULL;
        text = json_object_get_string(value);
        if (!*text || strlen(text) != (size_t) json_object_get_string_len(value))
                return NULL;
        return text;
}

const char *object_string(struct json_object *object, const char *name) {
        return object_text(json_object_object_get(object, name));
}

bool object_integer(struct json_object *object, const char *name, int64_t *ret) {
        struct json_object *value = json_object_object_get(object, name);

        if (!json_object_is_type(value, json_type_int))
                return false;
        *ret = json_object_get_int64(value);
        return true;
}

void object_add_string(struct json_object *object, const char *name, const char *value) {
        json_object_object_add(object, name, must(json_object_new_string(value)));
}

void object_add_integer(struct json_object *object, const char *name, int64_t value) {
        json_object_object_add(object, name, must(json_object_new_int64(value)));
}
