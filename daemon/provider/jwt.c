#include "provider/jwt.h"

#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "provider/base64url.h"
#include "provider/form.h"

#define JWT_CHUNK                                                                                  \
        48 /* bytes encoded at a time; a multiple of 3, so that the pieces join without padding */

static struct secret *jwt_header(const struct jwt *jwt) {
        AUTO(form_freep) struct form *f = form_new(3, strlen(jwt->key_id) + 32);

        if (!f)
                return NULL;
        form_text(f, "alg", "RS256");
        form_text(f, "typ", "JWT");
        form_text(f, "kid", jwt->key_id);
        return form_take(f);
}

static struct secret *jwt_payload(const struct jwt *jwt) {
        AUTO(form_freep) struct form *f = NULL;
        char jti[2 * JWT_RANDOM_SIZE + 1];

        f = form_new(7, strlen(jwt->issuer) + strlen(jwt->audience) + sizeof(jti) + 64 +
                                (jwt->session_name ? strlen(jwt->session_name) : 0) +
                                (jwt->session_context ? strlen(jwt->session_context) : 0));
        if (!f)
                return NULL;
        text_hex(jwt->random, JWT_RANDOM_SIZE, jti);
        form_text(f, "iss", jwt->issuer);
        form_text(f, "aud", jwt->audience);
        form_number(f, "iat", jwt->issued_at.s);
        form_number(f, "exp", jwt->issued_at.s + JWT_LIFETIME_S);
        form_text(f, "jti", jti);
        if (jwt->session_name)
                form_text(f, "session_name", jwt->session_name);
        if (jwt->session_context)
                form_json(f, "session_context", jwt->session_context);
        return form_take(f);
}

/* Appends the base64url form of the bytes. */
static int jwt_append(struct secret *jws, const void *bytes, size_t len) {
        char text[BASE64URL_LENGTH(JWT_CHUNK) + 1];
        const uint8_t *p = bytes;
        int r = 0;

        for (size_t i = 0; i < len && r == 0; i += JWT_CHUNK) {
                base64url(p + i, len - i < JWT_CHUNK ? len - i : JWT_CHUNK, text);
                r = secret_append_text(jws, text);
        }
        secret_wipe(text, sizeof(text));
        return PASS(r);
}

int jwt_sign(const struct jwt *jwt, const struct key *key, struct secret **ret) {
        AUTO(secret_unrefp) struct secret *header = jwt_header(jwt);
        AUTO(secret_unrefp) struct secret *payload = jwt_payload(jwt);
        AUTO(secret_unrefp) struct secret *jws = NULL;
        uint8_t signature[KEY_SIGNATURE_MAX];
        size_t len;
        int r;

        if (!header || !payload)
                return RAISE(-ENOMEM);
        jws = secret_new_reserved(BASE64URL_LENGTH(secret_len(header)) + 1 +
                                  BASE64URL_LENGTH(secret_len(payload)) + 1 +
                                  BASE64URL_LENGTH(sizeof(signature)));
        if (!jws)
                return RAISE(-ENOMEM);
        r = jwt_append(jws, secret_text(header), secret_len(header));
        if (r == 0)
                r = secret_append_text(jws, ".");
        if (r == 0)
                r = jwt_append(jws, secret_text(payload), secret_len(payload));
        if (r == 0)
                r = key_sign(key, secret_text(jws), secret_len(jws), signature, &len);
        if (r == 0)
                r = secret_append_text(jws, ".");
        if (r == 0)
                r = jwt_append(jws, signature, len);
        secret_wipe(signature, sizeof(signature));
        if (r < 0)
                return PASS(r);
        *ret = TAKE(jws);
        return 0;
}
