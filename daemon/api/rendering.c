#include "api/rendering.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/reply.h"
#include "base/json.h"
#include "client/protocol.h"

struct rendered {
        struct MHD_Response *response;
        mono_t until; /* the seconds left are one less from here on */
};

struct rendering {
        struct rendered text, json;
};

static void rendering_free(void *p) {
        struct rendering *r = p;

        if (r->text.response)
                MHD_destroy_response(r->text.response);
        if (r->json.response)
                MHD_destroy_response(r->json.response);
        free(r);
}

static bool rendering_add_number(struct MHD_Response *response, const char *name, int64_t n) {
        char text[24];

        (void) snprintf(text, sizeof(text), "%" PRId64, n);
        return MHD_add_response_header(response, name, text) == MHD_YES;
}

static struct MHD_Response *rendering_make_text(struct token *t, int64_t left_s) {
        struct MHD_Response *response = reply_response(secret_ref(t->value),
                                                       "text/plain; charset=utf-8");
        bool ok;

        if (!response)
                return NULL;
        ok = MHD_add_response_header(response, PROTOCOL_HEADER_FINGERPRINT, t->fingerprint) ==
             MHD_YES;
        if (!t->never_expires)
                ok = ok && rendering_add_number(response, PROTOCOL_HEADER_EXPIRES_IN, left_s) &&
                     rendering_add_number(response, PROTOCOL_HEADER_EXPIRES_AT, t->expires_at.s);
        if (!ok) {
                MHD_destroy_response(response);
                return NULL;
        }
        return response;
}

static struct MHD_Response *rendering_make_json(struct token *t, int64_t left_s) {
        AUTO(json_wipep) struct json_object *o = json_object_new_object();
        struct secret *body;
        int r = 0;

        if (!o)
                return NULL;
        r |= json_object_object_add(o, "access_token",
                                    json_object_new_string(secret_text(t->value)));
        r |= json_object_object_add(o, "token_type", json_object_new_string("Bearer"));
        if (!t->never_expires) {
                r |= json_object_object_add(o, "expires_in", json_object_new_int64(left_s));
                r |= json_object_object_add(o, "expires_at",
                                            json_object_new_int64(t->expires_at.s));
        }
        r |= json_object_object_add(o, "credential", json_object_new_string(t->credential));
        r |= json_object_object_add(o, "subject", json_object_new_string(t->subject));
        r |= json_object_object_add(o, "fingerprint", json_object_new_string(t->fingerprint));
        if (r < 0 || json_to_secret(o, &body) < 0)
                return NULL;
        return reply_response(body, "application/json");
}

struct MHD_Response *rendering_make(struct token *t, bool as_text, mono_t now) {
        const int64_t left_s = token_left(t, now) / US_PER_S;

        return as_text ? rendering_make_text(t, left_s) : rendering_make_json(t, left_s);
}

struct MHD_Response *rendering_get(struct token *t, bool as_text, mono_t now) {
        struct rendering *r = t->rendered;
        struct rendered *form;

        if (!r) {
                r = calloc(1, sizeof(*r));
                if (!r)
                        return NULL;
                t->rendered_free = rendering_free;
                t->rendered = r;
        }
        form = as_text ? &r->text : &r->json;
        if (!form->response || !mono_before(now, form->until)) {
                if (form->response) /* connections that still send it hold it, too */
                        MHD_destroy_response(form->response);
                form->response = rendering_make(t, as_text, now);
                form->until = t->never_expires ? MONO_NEVER
                                               : mono_add(now, token_left(t, now) % US_PER_S + 1);
        }
        return form->response;
}
