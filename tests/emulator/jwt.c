#include "jwt.h"

#include <stdarg.h>

#include "memory.h"
#include "object.h"

#define JWT_MAX        16384
#define SKEW_MAX_S     300
#define LIFETIME_MAX_S 86400
#define JTI_MIN        32

__attribute__((format(printf, 2, 3))) static bool jwt_refuse(char why[JWT_WHY_MAX],
                                                             const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vsnprintf(why, JWT_WHY_MAX, format, ap);
        va_end(ap);
        return false;
}

static int base64url_digit(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* RFC 7515 section 2: no padding, no line breaks, and no stray bits at the end. False if it is
 * none. */
static bool base64url_decode(const char *text, size_t n, unsigned char *ret, size_t *ret_size) {
        unsigned bits = 0, n_bits = 0;
        size_t size = 0;

        for (size_t i = 0; i < n; i++) {
                int digit = base64url_digit(text[i]);

                if (digit < 0)
                        return false;
                bits = bits << 6 | (unsigned) digit;
                n_bits += 6;
                if (n_bits >= 8) {
                        n_bits -= 8;
                        ret[size++] = (unsigned char) (bits >> n_bits);
                        bits &= (1U << n_bits) - 1;
                }
        }
        *ret_size = size;
        return n_bits < 6 && bits == 0;
}

static struct json_object *jwt_part(const char *text, size_t n) {
        unsigned char decoded[JWT_MAX];
        size_t size;

        if (!base64url_decode(text, n, decoded, &size))
                return NULL;
        return object_parse((char *) decoded, size);
}

static bool jwt_check_header(struct authority *a, struct jwt *jwt, char why[JWT_WHY_MAX]) {
        static const char *const members[] = { "alg", "typ", "kid", NULL };
        const char *unknown = object_unknown(jwt->header, members);
        const char *alg = object_string(jwt->header, "alg");
        const char *typ = object_string(jwt->header, "typ");
        const char *kid = object_string(jwt->header, "kid");

        if (unknown)
                return jwt_refuse(why, "unknown header member %s", unknown);
        if (!alg || strcmp(alg, "RS256") != 0)
                return jwt_refuse(why, "alg is not RS256");
        if (!typ || strcmp(typ, "JWT") != 0)
                return jwt_refuse(why, "typ is not JWT");
        if (!kid)
                return jwt_refuse(why, "kid is missing");
        jwt->app = authority_find_key(a, kid);
        if (!jwt->app)
                return jwt_refuse(why, "kid not been registred");
        return true;
}

static bool jwt_check_signature(const struct jwt *jwt, const char *text, size_t signed_size,
                                const char *signature_text) {
        unsigned char signature[1024];
        size_t n = strlen(signature_text), size;
        EVP_MD_CTX *context;
        bool good;

        if (n > sizeof(signature) || !base64url_decode(signature_text, n, signature, &size))
                return false;
        context = must(EVP_MD_CTX_new());
        good = EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, jwt->app->key) == 1 &&
               EVP_DigestVerify(context, signature, size, (const unsigned char *) text,
                                signed_size) == 1;
        EVP_MD_CTX_free(context);
        return good;
}

static bool jwt_check_times(int64_t iat, int64_t exp, int64_t now, char why[JWT_WHY_MAX]) {
        if (iat < now - SKEW_MAX_S || iat > now + SKEW_MAX_S)
                return jwt_refuse(why, "iat is more than 5 minutes from the server's time");
        if (exp <= now)
                return jwt_refuse(why, "exp is not in the future");
        if (exp <= iat)
                return jwt_refuse(why, "exp is not after iat");
        if (exp - iat > LIFETIME_MAX_S)
                return jwt_refuse(why, "exp is more than a day after iat");
        return true;
}

static bool jwt_check_session(struct json_object *claims, char why[JWT_WHY_MAX]) {
        struct json_object *value;

        if (json_object_object_get_ex(claims, "session_name", &value) && !object_text(value))
                return jwt_refuse(why, "session_name is no text");
        if (json_object_object_get_ex(claims, "session_context", &value) &&
            !json_object_is_type(value, json_type_object))
                return jwt_refuse(why, "session_context is no object");
        return true;
}

static bool jwt_check_claims(struct authority *a, const struct jwt *jwt, char why[JWT_WHY_MAX]) {
        static const char *const members[] = {
                "iss", "aud", "iat", "exp", "jti", "session_name", "session_context", NULL
        };
        const char *unknown = object_unknown(jwt->claims, members);
        const char *iss = object_string(jwt->claims, "iss");
        const char *aud = object_string(jwt->claims, "aud");
        const char *jti = object_string(jwt->claims, "jti");
        int64_t iat, exp;

        if (unknown)
                return jwt_refuse(why, "unknown claim %s", unknown);
        if (!iss || strcmp(iss, jwt->app->client_id) != 0)
                return jwt_refuse(why, "iss is not the application of this kid");
        if (!aud || strcmp(aud, authority_directory(a)->host) != 0)
                return jwt_refuse(why, "aud is not the text %s", authority_directory(a)->host);
        if (!object_integer(jwt->claims, "iat", &iat))
                return jwt_refuse(why, "iat is no integer");
        if (!object_integer(jwt->claims, "exp", &exp))
                return jwt_refuse(why, "exp is no integer");
        if (!jwt_check_times(iat, exp, authority_now(a), why) ||
            !jwt_check_session(jwt->claims, why))
                return false;
        if (!jti || strlen(jti) < JTI_MIN)
                return jwt_refuse(why, "jti is no text of at least %d characters", JTI_MIN);
        if (!authority_spend_jti(a, jti, exp))
                return jwt_refuse(why, "jti was used before");
        return true;
}

bool jwt_accept(struct authority *a, const char *text, struct jwt *ret, char why[JWT_WHY_MAX]) {
        const char *first = strchr(text, '.'), *second = first ? strchr(first + 1, '.') : NULL;

        *ret = (struct jwt){ 0 };
        if (!second || strchr(second + 1, '.') || strlen(text) > JWT_MAX)
                return jwt_refuse(why, "it has not three parts");
        ret->header = jwt_part(text, (size_t) (first - text));
        if (!ret->header)
                return jwt_refuse(why, "the header is no base64url of a JSON object");
        if (!jwt_check_header(a, ret, why))
                return false;
        ret->claims = jwt_part(first + 1, (size_t) (second - first - 1));
        if (!ret->claims)
                return jwt_refuse(why, "the claims are no base64url of a JSON object");
        if (!jwt_check_signature(ret, text, (size_t) (second - text), second + 1))
                return jwt_refuse(why, "the signature does not verify");
        return jwt_check_claims(a, ret, why);
}

void jwt_done(struct jwt *jwt) {
        json_object_put(jwt->header);
        json_object_put(jwt->claims);
        *jwt = (struct jwt){ 0 };
}
