#include "client/libbearer/json.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *json_blank(const char *p) {
        return p + strspn(p, " \t\r\n");
}

static int json_hex4(const char *p) {
        int v = 0;

        for (int i = 0; i < 4; i++) {
                const char *digits = "0123456789abcdef0123456789ABCDEF", *d;

                d = p[i] ? strchr(digits, p[i]) : NULL;
                if (!d)
                        return -1;
                v = v * 16 + (int) ((d - digits) % 16);
        }
        return v;
}

/* Where a text that begins at the quote `p` is copied to. A character is copied whole or not. */
struct json_copy {
        char *to;
        size_t room;
};

static void json_put(struct json_copy *copy, const char *bytes, size_t n) {
        if (!copy)
                return;
        if (n > copy->room) {
                copy->room = 0;
                return;
        }
        memcpy(copy->to, bytes, n);
        copy->to += n;
        copy->room -= n;
}

static void json_put_rune(struct json_copy *copy, uint32_t c) {
        char u[4];
        size_t n;

        if (c < 0x80) {
                u[0] = (char) c;
                n = 1;
        } else if (c < 0x800) {
                u[0] = (char) (0xc0 | c >> 6);
                u[1] = (char) (0x80 | (c & 63));
                n = 2;
        } else if (c < 0x10000) {
                u[0] = (char) (0xe0 | c >> 12);
                u[1] = (char) (0x80 | (c >> 6 & 63));
                u[2] = (char) (0x80 | (c & 63));
                n = 3;
        } else {
                u[0] = (char) (0xf0 | c >> 18);
                u[1] = (char) (0x80 | (c >> 12 & 63));
                u[2] = (char) (0x80 | (c >> 6 & 63));
                u[3] = (char) (0x80 | (c & 63));
                n = 4;
        }
        json_put(copy, u, n);
}

/* Each returns what follows, or NULL: broken. */

static const char *json_escape(const char *p, struct json_copy *copy) {
        static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
        const char *l;
        int high, low;

        if (*p == 'u') {
                high = json_hex4(p + 1);
                if (high <= 0)
                        return NULL; /* NUL cannot be said in a C string */
                p += 5;
                if (high < 0xd800 || high > 0xdfff) {
                        json_put_rune(copy, (uint32_t) high);
                        return p;
                }
                low = high < 0xdc00 && p[0] == '\\' && p[1] == 'u' ? json_hex4(p + 2) : -1;
                if (low < 0xdc00 || low > 0xdfff)
                        return NULL;
                json_put_rune(copy, 0x10000 + (((uint32_t) high & 0x3ff) << 10) +
                                            ((uint32_t) low & 0x3ff));
                return p + 6;
        }
        l = *p ? strchr(letters, *p) : NULL;
        if (!l)
                return NULL;
        json_put(copy, &meanings[l - letters], 1);
        return p + 1;
}

static const char *json_text(const char *p, struct json_copy *copy) {
        if (*p++ != '"')
                return NULL;
        for (;;) {
                size_t n = 0;

                while ((unsigned char) p[n] >= 0x20 && p[n] != '"' && p[n] != '\\' &&
                       (n == 0 || (p[n] & 0xc0) == 0x80)) /* one character with what continues it */
                        n++;
                if (n > 0) {
                        json_put(copy, p, n);
                        p += n;
                } else if (*p == '"') {
                        return p + 1;
                } else if (*p == '\\') {
                        p = json_escape(p + 1, copy);
                        if (!p)
                                return NULL;
                } else {
                        return NULL;
                }
        }
}

static const char *json_digits(const char *p) {
        size_t n = strspn(p, "0123456789");

        return n > 0 ? p + n : NULL;
}

static const char *json_number(const char *p) {
        if (*p == '-')
                p++;
        p = *p == '0' ? p + 1 : json_digits(p);
        if (p && *p == '.')
                p = json_digits(p + 1);
        if (p && (*p == 'e' || *p == 'E')) {
                p++;
                p = json_digits(*p == '+' || *p == '-' ? p + 1 : p);
        }
        return p;
}

static const char *json_value(const char *p, int depth);

/* The members of an object or the elements of an array, behind its bracket. */
static const char *json_items(const char *p, char close, int depth) {
        p = json_blank(p);
        if (*p == close)
                return p + 1;
        for (;;) {
                if (close == '}') {
                        p = json_text(json_blank(p), NULL);
                        if (!p)
                                return NULL;
                        p = json_blank(p);
                        if (*p++ != ':')
                                return NULL;
                }
                p = json_value(p, depth + 1);
                if (!p)
                        return NULL;
                p = json_blank(p);
                if (*p == close)
                        return p + 1;
                if (*p++ != ',')
                        return NULL;
        }
}

static const char *json_value(const char *p, int depth) {
        static const char *const words[] = { "true", "false", "null" };

        if (depth > JSON_DEPTH_MAX)
                return NULL;
        p = json_blank(p);
        if (*p == '"')
                return json_text(p, NULL);
        if (*p == '{' || *p == '[')
                return json_items(p + 1, *p == '{' ? '}' : ']', depth);
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
                if (strncmp(p, words[i], strlen(words[i])) == 0)
                        return p + strlen(words[i]);
        return json_number(p);
}

bool json_is_object(const char *text) {
        const char *end;

        text = json_blank(text);
        end = *text == '{' ? json_value(text, 0) : NULL;
        return end && *json_blank(end) == '\0';
}

bool json_member(const char *object, const char *key, char *ret, size_t size) {
        const char *p = json_blank(object);

        *ret = '\0';
        if (*p++ != '{')
                return false;
        for (;;) {
                char name[64];
                struct json_copy to_name = { name, sizeof(name) - 1 };

                p = json_text(json_blank(p), &to_name);
                if (!p)
                        return false;
                *to_name.to = '\0';
                p = json_blank(p);
                if (*p++ != ':')
                        return false;
                p = json_blank(p);
                if (*p == '"' && strcmp(name, key) == 0) {
                        struct json_copy to_ret = { ret, size - 1 };
                        const bool ok = json_text(p, &to_ret) != NULL;

                        *(ok ? to_ret.to : ret) = '\0';
                        return ok;
                }
                p = json_value(p, 0);
                if (!p)
                        return false;
                p = json_blank(p);
                if (*p++ != ',')
                        return false;
        }
}

char *json_quote(const char *text, char *ret) {
        *ret++ = '"';
        for (; *text; text++) {
                const unsigned char c = (unsigned char) *text;

                if (c < 0x20) {
                        ret += sprintf(ret, "\\u%04x", c);
                        continue;
                }
                if (c == '"' || c == '\\')
                        *ret++ = '\\';
                *ret++ = *text;
        }
        *ret++ = '"';
        *ret = '\0';
        return ret;
}
