#include "answer.h"

#include "memory.h"
#include "object.h"

void answer_text(struct answer *a, unsigned status, const char *content_type, const char *body) {
        char *copy = must_strdup(body);

        free(a->body);
        free(a->content_type);
        a->status = status;
        a->body = copy;
        a->size = strlen(copy);
        a->content_type = must_strdup(content_type);
}

void answer_json(struct answer *a, unsigned status, struct json_object *body) {
        answer_text(a, status, "application/json; charset=utf-8",
                    json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN |
                                                                 JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(body);
}

void answer_error(struct answer *a, unsigned status, const char *code, const char *message) {
        struct json_object *body = must(json_object_new_object());

        object_add_string(body, "error_code", code);
        object_add_string(body, "error_message", message);
        object_add_string(body, "error", code);
        answer_json(a, status, body);
}

void answer_code(struct answer *a, unsigned status, int code, const char *message) {
        struct json_object *body = must(json_object_new_object());

        object_add_integer(body, "code", code);
        object_add_string(body, "msg", message);
        answer_json(a, status, body);
}

void answer_done(struct answer *a) {
        free(a->body);
        free(a->content_type);
        free(a->location);
        free(a->retry_after);
        free(a->allow);
        *a = (struct answer){ 0 };
}
