#include "broker/variant.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/text.h"
#include "provider/scope.h"

void variant_done(struct variant *v) {
        free(v->scope);
        free(v->session_context);
        *v = (struct variant){ 0 };
}

/* Each part with its length before it, so that no two variants read the same. */
static int variant_digest(struct variant *v) {
        AUTO(auto_freep) char *text = NULL;
        uint8_t digest[EVP_MAX_MD_SIZE];
        const char *scope = v->scope ? v->scope : "",
                   *context = v->session_context ? v->session_context : "";
        int len;

        len = asprintf(&text, "%" PRId64 " %zu %s %zu %s", v->duration_s, strlen(scope), scope,
                       strlen(context), context);
        if (len < 0) {
                text = NULL;
                return RAISE(-ENOMEM);
        }
        if (EVP_Digest(text, (size_t) len, digest, NULL, EVP_sha256(), NULL) != 1)
                return RAISE(-ENOMEM);
        text_hex(digest, CACHE_VARIANT_MAX / 2, v->digest);
        return 0;
}

/* Drops what says the same as the configuration. */
static void variant_normalise(const struct conf_credential *c, struct variant *v) {
        if (v->duration_s == c->token_lifetime_us / US_PER_S)
                v->duration_s = 0;
        if (v->scope && c->scope && strcmp(v->scope, c->scope) == 0) {
                free(v->scope);
                v->scope = NULL;
        }
        if (v->session_context && c->session_context &&
            strcmp(v->session_context, c->session_context) == 0) {
                free(v->session_context);
                v->session_context = NULL;
        }
}

int variant_make(const struct conf_credential *c, int64_t duration_s, struct json_object *scope,
                 struct json_object *session_context, struct why *why, struct variant *ret) {
        AUTO(variant_done) struct variant v = { .duration_s = duration_s };
        int r;

        if ((duration_s || scope || session_context) && c->type != CREDENTIAL_JWT)
                return why_set(
                        why, RAISE(-EINVAL),
                        "duration_seconds, scope and session_context are for credentials of type jwt; \"%s\" is "
                        "of type %s",
                        c->name, credential_type_names[c->type]);
        if (duration_s < 0 || duration_s > CONF_TOKEN_LIFETIME_MAX_US / US_PER_S)
                return why_set(why, RAISE(-EINVAL), "duration_seconds must be from 1 to %" PRId64,
                               (int64_t) (CONF_TOKEN_LIFETIME_MAX_US / US_PER_S));
        if (session_context && !json_object_is_type(session_context, json_type_object))
                return why_set(why, RAISE(-EINVAL), "session_context must be a JSON object");
        if (scope) {
                r = scope_narrow(c->scope, scope, why, &v.scope);
                if (r < 0)
                        return PASS(r);
        }
        if (session_context) {
                r = json_canonical(session_context, &v.session_context);
                if (r < 0)
                        return why_set(why, PASS(r), "out of memory");
        }
        variant_normalise(c, &v);
        if (v.duration_s || v.scope || v.session_context) {
                r = variant_digest(&v);
                if (r < 0)
                        return why_set(why, PASS(r), "out of memory");
        }
        *ret = v;
        v = (struct variant){ 0 };
        return 0;
}

int variant_copy(const struct variant *v, struct variant *ret) {
        struct variant copy = *v;

        copy.scope = v->scope ? strdup(v->scope) : NULL;
        copy.session_context = v->session_context ? strdup(v->session_context) : NULL;
        if ((v->scope && !copy.scope) || (v->session_context && !copy.session_context)) {
                variant_done(&copy);
                return RAISE(-ENOMEM);
        }
        *ret = copy;
        return 0;
}
