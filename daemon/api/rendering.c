#include "api/rendering.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/reply.h"
#include "base/json.h"
#include "client/protocol.h"

struct rendering {
        struct MHD_Response *text;
        struct MHD_Response *json;
        mono_t json_until; /* expires_in is one less from here on */
};

static void rendering_free(void *p) {
        struct rendering *r = p;

        if (r->text)
                MHD_destroy_response(r->text);
        if (r->json)
                MHD_destroy_response(r->json);
        free(r);
}

static struct MHD_Response *rendering_make_text(struct token *t) {
        struct MHD_Response *response = reply_response(secret_ref(t->value),
                                                       "text/plain; charset=utf-8");
        char number[24];
        bool ok;

        if (!response)
                return NULL;
        (void) snprintf(number, sizeof(number), "%" PRId64, t->expires_at.s);
        ok = MHD_add_response_header(response, PROTOCOL_HEADER_FINGERPRINT, t->fingerprint) ==
             MHD_YES;
        if (!t->never_expires)
                ok = ok && MHD_add_response_header(response, PROTOCOL_HEADER_EXPIRES_AT, number) ==
                                   MHD_YES;
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
        return as_text ? rendering_make_text(t)
                       : rendering_make_json(t, token_left(t, now) / US_PER_S);
}

struct MHD_Response *rendering_get(struct token *t, bool as_text, mono_t now) {
        struct rendering *r = t->rendered;

        if (!r) {
                r = calloc(1, sizeof(*r));
                if (!r)
                        return NULL;
                t->rendered_free = rendering_free;
                t->rendered = r;
        }
        if (as_text) {
                if (!r->text)
                        r->text = rendering_make(t, true, now);
                return r->text;
        }
        if (!r->json || !mono_before(now, r->json_until)) {
                int64_t left = token_left(t, now);

                if (r->json)
                        MHD_destroy_response(
                                r->json); /* connections that still send it hold it, too */
                r->json = rendering_make(t, false, now);
                r->json_until = t->never_expires ? MONO_NEVER : mono_add(now, left % US_PER_S + 1);
        }
        return r->json;
}
