#include "api/reply.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "client/protocol.h"

static void reply_free_body(void *body) {
        secret_unref(body);
}

struct MHD_Response *reply_response(struct secret *body, const char *content_type) {
        struct MHD_Response *response;

        if (!body)
                return NULL;
        response = MHD_create_response_from_buffer_with_free_callback_cls(
                secret_len(body), (void *) (uintptr_t) secret_text(body), reply_free_body, body);
        if (!response) {
                secret_unref(body);
                return NULL;
        }
        if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) !=
                    MHD_YES ||
            MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") !=
                    MHD_YES) {
                MHD_destroy_response(response);
                return NULL;
        }
        return response;
}

struct reply reply_json(unsigned status, struct json_object *o) {
        struct reply reply = { .status = status };
        struct secret *body;

        if (o && json_to_secret(o, &body) == 0)
                reply.response = reply_response(body, "application/json");
        json_wipe(o);
        return reply;
}

struct reply reply_empty(unsigned status) {
        struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *) (uintptr_t) "",
                                                                        MHD_RESPMEM_PERSISTENT);

        if (response && MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
                                                "no-store") != MHD_YES) {
                MHD_destroy_response(response);
                response = NULL;
        }
        return (struct reply){ status, response };
}

static struct json_object *reply_error_object(const char *error, const char *description) {
        struct json_object *o = json_object_new_object();

        if (!o || json_object_object_add(o, "error", json_object_new_string(error)) < 0 ||
            json_object_object_add(o, "error_description", json_object_new_string(description)) < 0)
                return json_wipe(o);
        return o;
}

struct reply reply_error(unsigned status, const char *error, const char *format, ...) {
        struct why why;
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(why.text, sizeof(why.text), format, ap); /* cut is fine */
        va_end(ap);
        return reply_json(status, reply_error_object(error, why.text));
}

struct json_object *reply_refusal(const struct refusal *f) {
        struct json_object *o = json_object_new_object();
        int r = 0;

        if (!o)
                return NULL;
        if (f->http_status > 0)
                r |= json_object_object_add(o, "status", json_object_new_int(f->http_status));
        if (f->code[0])
                r |= json_object_object_add(o, "error", json_object_new_string(f->code));
        if (f->message[0])
                r |= json_object_object_add(o, "message", json_object_new_string(f->message));
        if (f->logid[0])
                r |= json_object_object_add(o, "logid", json_object_new_string(f->logid));
        return r < 0 ? json_wipe(o) : o;
}

struct reply reply_upstream_error(unsigned status, const char *error, const char *description,
                                  const struct refusal *upstream, int64_t retry_after_us) {
        struct json_object *o = reply_error_object(error, description);
        struct reply reply;
        char seconds[24];

        if (o && upstream && upstream->http_status > 0 &&
            json_object_object_add(o, "upstream", reply_refusal(upstream)) < 0)
                o = json_wipe(o);
        reply = reply_json(status, o);
        if (!reply.response || retry_after_us < 0)
                return reply;
        (void) snprintf(seconds, sizeof(seconds), "%" PRId64,
                        (retry_after_us + US_PER_S - 1) / US_PER_S);
        if (MHD_add_response_header(reply.response, MHD_HTTP_HEADER_RETRY_AFTER, seconds) !=
            MHD_YES)
                return (struct reply){ .status = status };
        return reply;
}

struct reply reply_method_not_allowed(const char *method, const char *path, const char *allow) {
        struct reply reply = reply_error(MHD_HTTP_METHOD_NOT_ALLOWED, PROTOCOL_INVALID_REQUEST,
                                         "%.16s is not possible on %.128s; allowed: %s", method,
                                         path, allow);

        if (reply.response &&
            MHD_add_response_header(reply.response, MHD_HTTP_HEADER_ALLOW, allow) != MHD_YES)
                return (struct reply){ .status = reply.status };
        return reply;
}
