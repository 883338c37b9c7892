#include "conf/oauth_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "conf/nearest.h"
#include "conf/option.h"
#include "conf/url.h"
#include "conf/value.h"

static const struct {
        const char *client_type;
        enum credential_type type;
} oauth_config_types[] = {
        { "web", CREDENTIAL_AUTHORIZATION_CODE },
        { "pkce", CREDENTIAL_PKCE },
        { "device", CREDENTIAL_DEVICE_CODE },
        { "jwt", CREDENTIAL_JWT },
};

#define WEB OPTION_TYPE(CREDENTIAL_AUTHORIZATION_CODE)
#define JWT OPTION_TYPE(CREDENTIAL_JWT)
#define ALL (~0u)

static const struct {
        const char *name;
        unsigned required; /* by which types */
} oauth_config_members[] = {
        { "client_type", ALL }, { "client_id", ALL },     { "client_secret", WEB },
        { "private_key", JWT }, { "public_key_id", JWT }, { "coze_api_base", ALL },
        { "coze_www_base", 0 },
};

/* A copy in which line breaks within a string are escaped: keys get pasted so. A byte order mark
 * goes. */
static struct secret *oauth_config_mend(const char *text, size_t len) {
        AUTO(secret_unrefp) struct secret *copy = secret_new_reserved(2 * len);
        bool in_string = false;

        if (!copy)
                return NULL;
        if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
                text += 3;
                len -= 3;
        }
        for (size_t i = 0; i < len; i++) {
                size_t n = in_string && text[i] == '\\' && i + 1 < len ? 2 : 1;

                if (text[i] == '"')
                        in_string = !in_string;
                if (in_string && (text[i] == '\n' || text[i] == '\r' || text[i] == '\t'))
                        (void) secret_append(copy, "\\n", 2);
                else
                        (void) secret_append(copy, text + i, n); /* it holds twice all of it */
                i += n - 1;
        }
        return TAKE(copy);
}

static int oauth_config_read_type(struct json_object *o, struct why *why,
                                  enum credential_type *ret) {
        const char *word = json_get_text(o, "client_type");
        struct nearest near = { .word = word };
        char hint[NEAREST_HINT_MAX];

        if (!word)
                return why_set(
                        why, RAISE(-EBADMSG),
                        "client_type is missing, or no string: \"web\", \"pkce\", \"device\" or "
                        "\"jwt\"; download the file again from the app's page in Coze's console");
        for (size_t i = 0; i < N_ELEMENTS(oauth_config_types); i++) {
                if (strcmp(word, oauth_config_types[i].client_type) == 0) {
                        *ret = oauth_config_types[i].type;
                        return 0;
                }
                nearest_try(&near, oauth_config_types[i].client_type);
        }
        return why_set(why, RAISE(-EBADMSG),
                       "client_type must be \"web\", \"pkce\", \"device\" or \"jwt\"%s",
                       nearest_hint(&near, hint));
}

/* Tells all members that are missing or of the wrong kind at once. */
static int oauth_config_check_members(struct json_object *o, enum credential_type type,
                                      struct why *why) {
        char missing[WHY_MAX / 4] = "", wrong[WHY_MAX / 4] = "";
        size_t n_missing = 0, n_wrong = 0;

        for (size_t i = 0; i < N_ELEMENTS(oauth_config_members); i++) {
                const char *name = oauth_config_members[i].name, *text = json_get_text(o, name);
                struct json_object *value = NULL;

                if (text && *text)
                        continue;
                if (!text && json_object_object_get_ex(o, name, &value) && value)
                        n_wrong += (size_t) snprintf(wrong + n_wrong, sizeof(wrong) - n_wrong,
                                                     "%s%s", n_wrong ? ", " : "", name);
                else if (oauth_config_members[i].required & OPTION_TYPE(type))
                        n_missing += (size_t) snprintf(missing + n_missing,
                                                       sizeof(missing) - n_missing, "%s%s",
                                                       n_missing ? ", " : "", name);
        }
        if (n_wrong > 0)
                return why_set(why, RAISE(-EBADMSG),
                               "must be a JSON string, in double quotes: %s%s%s", wrong,
                               n_missing ? "; missing: " : "", missing);
        if (n_missing > 0)
                return why_set(why, RAISE(-EBADMSG),
                               "missing for this client_type: %s; download the file again from the "
                               "app's page in Coze's console",
                               missing);
        return 0;
}

/* Reads member `name` as a value of that kind. Absent or empty: *ret stays NULL. */
static int oauth_config_take(struct json_object *o, const char *name, value_fn *parse,
                             struct why *why, char **ret) {
        const char *text = json_get_text(o, name);
        struct why end = { "" };
        int r;

        if (!text || !*text)
                return 0;
        r = parse(NULL, text, &end, ret);
        if (r == -EINVAL)
                return why_set(why, RAISE(-EBADMSG), "%s %s", name, end.text);
        return PASS(r);
}

static int oauth_config_take_secrets(struct json_object *o, struct why *why,
                                     struct oauth_config *c) {
        const char *text = json_get_text(o, "client_secret");
        struct why end = { "" };
        int r;

        if (c->type == CREDENTIAL_AUTHORIZATION_CODE) {
                if (!text_is_bearer_token(text, strlen(text)))
                        return why_set(
                                why, RAISE(-EBADMSG),
                                "client_secret has blanks or other characters that no secret "
                                "has: copy it again from Coze's console");
                c->client_secret = secret_new(text, strlen(text));
                if (!c->client_secret)
                        return RAISE(-ENOMEM);
        }
        if (c->type != CREDENTIAL_JWT)
                return 0;
        text = json_get_text(o, "private_key");
        r = key_parse(text, strlen(text), &end, &c->private_key);
        if (r == -EBADMSG)
                return why_set(why, r, "private_key: %.400s", end.text);
        return PASS(r);
}

static int oauth_config_fill(struct json_object *o, struct why *why, struct oauth_config *c) {
        int r;

        r = oauth_config_take(o, "client_id", value_word, why, &c->client_id);
        if (r == 0)
                r = oauth_config_take(o, "coze_api_base", value_base_url, why, &c->api_url);
        if (r == 0)
                r = oauth_config_take(o, "coze_www_base", value_base_url, why, &c->www_url);
        if (r == 0 && c->type == CREDENTIAL_JWT)
                r = oauth_config_take(o, "public_key_id", value_word, why, &c->public_key_id);
        if (r == 0)
                r = oauth_config_take_secrets(o, why, c);
        return PASS(r);
}

int oauth_config_parse(const char *text, size_t len, struct why *why, struct oauth_config **ret) {
        AUTO(oauth_config_freep) struct oauth_config *c = calloc(1, sizeof(*c));
        AUTO(secret_unrefp) struct secret *mended = oauth_config_mend(text, len);
        AUTO(json_wipep) struct json_object *o = NULL;
        int r;

        if (!c || !mended)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        r = json_parse(secret_text(mended), secret_len(mended), &o);
        if (r == -ENOMEM)
                return why_set(why, r, "out of memory");
        if (r < 0 || !json_object_is_type(o, json_type_object))
                return why_set(
                        why, RAISE(-EBADMSG),
                        "not a JSON object: coze_oauth_config.json of Coze's console is meant");
        r = oauth_config_read_type(o, why, &c->type);
        if (r == 0)
                r = oauth_config_check_members(o, c->type, why);
        if (r == 0)
                r = oauth_config_fill(o, why, c);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(c);
        return 0;
}

int oauth_config_read(const char *path, struct why *why, struct oauth_config **ret) {
        AUTO(secret_unrefp) struct secret *text = NULL;
        struct why end = { "" };
        int r;

        r = file_read_secret(path, OAUTH_CONFIG_MAX, why, &text);
        if (r < 0)
                return PASS(r);
        r = oauth_config_parse(secret_text(text), secret_len(text), &end, ret);
        if (r < 0)
                return why_set(why, r, "%.120s: %s", path, end.text);
        return 0;
}

struct oauth_config *oauth_config_free(struct oauth_config *c) {
        if (!c)
                return NULL;
        free(c->client_id);
        free(c->public_key_id);
        free(c->api_url);
        free(c->www_url);
        c->client_secret = secret_unref(c->client_secret);
        c->private_key = key_unref(c->private_key);
        free(c);
        return NULL;
}
