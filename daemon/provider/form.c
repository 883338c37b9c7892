#include "provider/form.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FORM_ESCAPE_MAX 6 /* bytes of "\u0000", the longest escape of one byte */
#define FORM_MEMBER_MAX                                                                            \
        32 /* bytes around a member: quotes, colon, comma, or the digits of a number */

struct form {
        struct secret *text;
};

struct form *form_new(size_t n, size_t len) {
        AUTO(form_freep) struct form *f = calloc(1, sizeof(*f));

        if (!f)
                return NULL;
        f->text = secret_new_reserved(2 + n * FORM_MEMBER_MAX + len * FORM_ESCAPE_MAX);
        if (!f->text)
                return NULL;
        return TAKE(f);
}

struct form *form_free(struct form *f) {
        if (f)
                secret_unref(f->text);
        free(f);
        return NULL;
}

static void form_append(struct form *f, const char *bytes, size_t len) {
        int r = secret_append(f->text, bytes, len);

        assert(r == 0);
        (void) r;
}

static void form_key(struct form *f, const char *key) {
        form_append(f, secret_len(f->text) == 0 ? "{\"" : ",\"", 2);
        form_append(f, key, strlen(key));
        form_append(f, "\":", 2);
}

static void form_string(struct form *f, const char *p, size_t len) {
        char escape[FORM_ESCAPE_MAX + 1];

        form_append(f, "\"", 1);
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char) p[i];

                if (c == '"' || c == '\\')
                        form_append(f, "\\", 1);
                if (c >= 0x20) {
                        form_append(f, p + i, 1);
                        continue;
                }
                (void) snprintf(escape, sizeof(escape), "\\u%04x", c);
                form_append(f, escape, FORM_ESCAPE_MAX);
        }
        form_append(f, "\"", 1);
}

void form_text(struct form *f, const char *key, const char *value) {
        form_key(f, key);
        form_string(f, value, strlen(value));
}

void form_secret(struct form *f, const char *key, const struct secret *value) {
        form_key(f, key);
        form_string(f, secret_text(value), secret_len(value));
}

void form_number(struct form *f, const char *key, int64_t value) {
        char digits[24];
        int n = snprintf(digits, sizeof(digits), "%" PRId64, value);

        form_key(f, key);
        form_append(f, digits, (size_t) n);
}

void form_json(struct form *f, const char *key, const char *json) {
        form_key(f, key);
        form_append(f, json, strlen(json));
}

struct secret *form_take(struct form *f) {
        if (secret_len(f->text) == 0)
                form_append(f, "{", 1);
        form_append(f, "}", 1);
        return TAKE(f->text);
}
