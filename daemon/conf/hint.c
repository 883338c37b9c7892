#include "conf/hint.h"

#include <string.h>

#include "conf/url.h"

#define HINT_FINGERPRINT_LENGTH 43 /* SHA-256 in base64url */
#define HINT_KEY_LENGTH         100
#define HINT_BASE64URL          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

static bool hint_begins(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

const char *hint_public_key_id(const char *id) {
        size_t n = strlen(id);

        if (n >= HINT_KEY_LENGTH || hint_begins(id, "-----BEGIN") || hint_begins(id, "MII"))
                return "looks like the key itself: the fingerprint that the console shows is meant";
        if (n != HINT_FINGERPRINT_LENGTH || strspn(id, HINT_BASE64URL) != n)
                return "does not look like a fingerprint of Coze's, which has 43 characters of "
                       "letters, digits, '-' and '_'";
        return NULL;
}

const char *hint_client_id(enum credential_type type, const char *id) {
        static const char web[] = ".app.coze";
        size_t n = strlen(id);

        if (type == CREDENTIAL_JWT && strspn(id, "0123456789") != n)
                return "does not look like a service app's, which has digits only: the app id "
                       "in the console's list is meant";
        if (type == CREDENTIAL_AUTHORIZATION_CODE &&
            (n <= strlen(web) || strcmp(id + n - strlen(web), web) != 0))
                return "does not look like the client id of a web app, which ends in .app.coze";
        return NULL;
}

/* What tokens begin with; coze-oauth.md section 9. */
static const struct {
        const char *prefix, *hint;
        enum credential_type own; /* the type it is right for; CREDENTIAL_TYPE_MAX: none */
} hint_prefixes[] = {
        { "pat_", "holds what looks like a personal access token: type = pat is meant",
          CREDENTIAL_PAT },
        { "sat_", "holds what looks like a service access token: type = sat is meant",
          CREDENTIAL_SAT },
        { "czu_",
          "holds what looks like the access token of an OAuth app, which ends within minutes: let "
          "bearerd get it, with a type of its own",
          CREDENTIAL_TYPE_MAX },
        { "czs_",
          "holds what looks like the access token of a service app, which ends within a day: let "
          "bearerd get it, with type = jwt",
          CREDENTIAL_TYPE_MAX },
        { "code_", "holds what looks like an authorization code, not a token",
          CREDENTIAL_TYPE_MAX },
        { "eyJ", "holds what looks like a JWT, not a token of Coze's", CREDENTIAL_TYPE_MAX },
};

const char *hint_static_token(enum credential_type type, const char *token) {
        for (size_t i = 0; i < N_ELEMENTS(hint_prefixes); i++)
                if (hint_begins(token, hint_prefixes[i].prefix))
                        return hint_prefixes[i].own == type ? NULL : hint_prefixes[i].hint;
        return type == CREDENTIAL_PAT
                       ? "holds a token that does not begin with pat_, as those of Coze do"
                       : "holds a token that does not begin with sat_, as those of Coze do";
}

const char *hint_redirect_uri(const char *uri) {
        struct url u;

        if (url_parse(uri, NULL, &u) == 0 && !u.tls && !url_is_loopback(&u))
                return "sends the authorization code over http: use https, or a loopback address";
        return NULL;
}
