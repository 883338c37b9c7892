#include "base/json.h"

#include <json-c/printbuf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

static void json_overwrite(struct json_object *o) {
        switch (json_object_get_type(o)) {
        case json_type_string:
                /* json-c hands out its own buffer; it is writable heap memory */
                secret_wipe((void *) (uintptr_t) json_object_get_string(o),
                            (size_t) json_object_get_string_len(o));
                break;
        case json_type_object: {
                json_object_object_foreach(o, key, value) {
                        (void) key;
                        json_overwrite(value);
                }
                break;
        }
        case json_type_array:
                for (size_t i = 0; i < json_object_array_length(o); i++)
                        json_overwrite(json_object_array_get_idx(o, i));
                break;
        case json_type_null:
        case json_type_boolean:
        case json_type_double:
        case json_type_int:
                break;
        }
}

static void json_tokenerp(json_tokener **t) {
        if (!*t)
                return;
        secret_wipe((*t)->pb->buf, (size_t) (*t)->pb->size); /* where it puts strings together */
        for (int i = 0; i <= (*t)->depth; i++)
                json_overwrite((*t)->stack[i].current); /* what there is of a text cut short */
        json_tokener_free(*t);
}

/* json-c skips comments and reads NaN, Infinity and single quotes, strict or not. Counts the
 * members by their colons: of two of the same name json-c keeps one. */
static bool json_is_plain(const char *text, size_t len, size_t *ret_members) {
        static const char foreign[] = "/NI'"; /* and NUL: not in JSON but in strings */
        bool in_string = false;
        size_t members = 0;

        for (size_t i = 0; i < len; i++)
                if (in_string && text[i] == '\\')
                        i++;
                else if (text[i] == '"')
                        in_string = !in_string;
                else if (!in_string && strchr(foreign, text[i]))
                        return false;
                else if (!in_string && text[i] == ':')
                        members++;
        *ret_members = members;
        return true;
}

static size_t json_count_members(struct json_object *o) {
        size_t n = 0;

        if (json_object_is_type(o, json_type_array))
                for (size_t i = 0; i < json_object_array_length(o); i++)
                        n += json_count_members(json_object_array_get_idx(o, i));
        if (json_object_is_type(o, json_type_object)) {
                json_object_object_foreach(o, key, value) {
                        (void) key;
                        n += 1 + json_count_members(value);
                }
        }
        return n;
}

int json_parse(const char *text, size_t len, struct json_object **ret) {
        AUTO(json_tokenerp) json_tokener *t = NULL;
        struct json_object *o;
        size_t members;

        if (len > INT32_MAX || !json_is_plain(text, len, &members))
                return RAISE(-EBADMSG);
        t = json_tokener_new_ex(JSON_DEPTH_MAX);
        if (!t)
                return RAISE(-ENOMEM);
        /* room for the longest string there can be: a buffer that grows leaves copies behind */
        if (printbuf_memset(t->pb, 0, 0, (int) len) < 0)
                return RAISE(-ENOMEM);
        printbuf_reset(t->pb);
        json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        o = json_tokener_parse_ex(t, text, (int) len);
        if ((!json_object_is_type(o, json_type_object) &&
             !json_object_is_type(o, json_type_array)) ||
            json_count_members(o) != members) {
                json_wipe(o);
                return RAISE(-EBADMSG);
        }
        for (size_t i = json_tokener_get_parse_end(t); i < len; i++)
                if (!strchr(" \t\r\n", text[i])) {
                        json_wipe(o);
                        return RAISE(-EBADMSG);
                }
        *ret = o;
        return 0;
}

struct json_object *json_wipe(struct json_object *o) {
        if (o) {
                json_overwrite(o);
                json_object_put(o);
        }
        return NULL;
}

const char *json_get_text(struct json_object *o, const char *key) {
        struct json_object *v;
        const char *text;

        if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
                return NULL;
        text = json_object_get_string(v);
        return strlen(text) == (size_t) json_object_get_string_len(v) ? text : NULL;
}

int json_get_int64(struct json_object *o, const char *key, int lenient, int64_t *ret) {
        struct json_object *v;

        if (!json_object_object_get_ex(o, key, &v) || !v)
                return -ENOENT;
        if (json_object_is_type(v, json_type_int)) {
                int64_t n = json_object_get_int64(v);

                if (n == INT64_MAX || n == INT64_MIN) /* what json-c makes of numbers beyond */
                        return RAISE(-ERANGE);
                *ret = n;
                return 0;
        }
        if (lenient && json_object_is_type(v, json_type_string))
                return text_parse_int64(json_object_get_string(v), ret);
        return RAISE(-EINVAL);
}

static int json_compare_keys(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* A copy with sorted members; json-c keeps the order of insertion. NULL stands for JSON's null: see *ret_r. */
static struct json_object *json_sorted(struct json_object *o, int *ret_r) {
        struct json_object *copy = NULL;

        if (json_object_is_type(o, json_type_object)) {
                size_t n = 0, max = (size_t) json_object_object_length(o);
                AUTO(auto_freep) const char **keys = calloc(max + 1, sizeof(*keys));

                copy = json_object_new_object();
                if (!keys || !copy) {
                        *ret_r = -ENOMEM;
                        return copy;
                }
                json_object_object_foreach(o, key, value) {
                        (void) value;
                        keys[n++] = key;
                }
                qsort(keys, n, sizeof(*keys), json_compare_keys);
                for (size_t i = 0; i < n; i++)
                        if (json_object_object_add(
                                    copy, keys[i],
                                    json_sorted(json_object_object_get(o, keys[i]), ret_r)) < 0)
                                *ret_r = -ENOMEM;
                return copy;
        }
        if (json_object_is_type(o, json_type_array)) {
                copy = json_object_new_array();
                for (size_t i = 0; copy && i < json_object_array_length(o); i++)
                        if (json_object_array_add(
                                    copy, json_sorted(json_object_array_get_idx(o, i), ret_r)) < 0)
                                *ret_r = -ENOMEM;
                if (!copy)
                        *ret_r = -ENOMEM;
                return copy;
        }
        return json_object_get(o);
}

int json_canonical(struct json_object *o, char **ret) {
        struct json_object *copy;
        char *text = NULL;
        int r = 0;

        copy = json_sorted(o, &r);
        if (r == 0) {
                const char *plain = json_object_to_json_string_ext(
                        copy, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

                text = plain ? strdup(plain) : NULL;
                if (!text)
                        r = -ENOMEM;
        }
        json_object_put(copy);
        if (r < 0)
                return RAISE(r);
        *ret = text;
        return 0;
}

int json_to_secret(struct json_object *o, struct secret **ret) {
        struct secret *s;
        size_t len;
        const char *text;

        text = json_object_to_json_string_length(
                o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
        if (!text)
                return RAISE(-ENOMEM);
        s = secret_new(text, len);
        secret_wipe((void *) (uintptr_t) text, len);
        if (!s)
                return RAISE(-ENOMEM);
        *ret = s;
        return 0;
}
