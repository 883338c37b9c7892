#include "api/redirect.h"

#include <string.h>

#include "base/secret.h"

static char *redirect_part(struct redirect *r, const char *key) {
        static const struct {
                const char *key;
                size_t offset;
        } parts[] = {
                { "state", offsetof(struct redirect, state) },
                { "code", offsetof(struct redirect, code) },
                { "error", offsetof(struct redirect, error) },
                { "error_description", offsetof(struct redirect, description) },
        };

        for (size_t i = 0; i < N_ELEMENTS(parts); i++)
                if (strcmp(parts[i].key, key) == 0)
                        return (char *) r + parts[i].offset;
        return NULL;
}

bool redirect_set(struct redirect *r, const char *key, const char *value, size_t len) {
        char *part = redirect_part(r, key);

        if (!part)
                return true;
        if (*part || len >= REDIRECT_PART_MAX || memchr(value, '\0', len))
                return false;
        memcpy(part, value, len);
        part[len] = '\0';
        return true;
}

static int redirect_hex(char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
}

/* Decodes the percent-encoding of a form; false: malformed or too long. */
static bool redirect_decode(const char *text, size_t len, char *ret, size_t *ret_len) {
        size_t out = 0;

        for (size_t i = 0; i < len; i++) {
                char c = text[i] == '+' ? ' ' : text[i];

                if (out + 1 >= REDIRECT_PART_MAX)
                        return false;
                if (c == '%') {
                        if (i + 2 >= len || redirect_hex(text[i + 1]) < 0 ||
                            redirect_hex(text[i + 2]) < 0)
                                return false;
                        c = (char) (redirect_hex(text[i + 1]) * 16 + redirect_hex(text[i + 2]));
                        i += 2;
                }
                ret[out++] = c;
        }
        ret[out] = '\0';
        *ret_len = out;
        return true;
}

static bool redirect_parse_pair(struct redirect *r, const char *pair, size_t len) {
        const char *equals = memchr(pair, '=', len);
        size_t key_len = equals ? (size_t) (equals - pair) : len, n, value_len = 0;
        char key[REDIRECT_PART_MAX], value[REDIRECT_PART_MAX] = "";
        bool good;

        good = redirect_decode(pair, key_len, key, &n) &&
               (!equals || redirect_decode(equals + 1, len - key_len - 1, value, &value_len)) &&
               redirect_set(r, key, value, value_len);
        secret_wipe(value, sizeof(value));
        return good;
}

bool redirect_parse(const char *url, struct redirect *ret) {
        const char *query = strchr(url, '?');
        size_t left;

        *ret = (struct redirect){ 0 };
        if (!query)
                return false;
        for (query++, left = strcspn(query, "#"); left > 0;) {
                const char *end = memchr(query, '&', left);
                size_t len = end ? (size_t) (end - query) : left;

                if (len > 0 && !redirect_parse_pair(ret, query, len)) {
                        redirect_wipe(ret);
                        return false;
                }
                query += len + (end ? 1 : 0);
                left -= len + (end ? 1 : 0);
        }
        return true;
}

bool redirect_is_complete(const struct redirect *r) {
        return r->state[0] && (r->code[0] || r->error[0]);
}

void redirect_wipe(struct redirect *r) {
        secret_wipe(r, sizeof(*r));
}
