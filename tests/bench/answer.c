#include "answer.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#define STATUS_LINE_MIN (sizeof("HTTP/1.1 200 \r\n") - 1)
#define BODY_DIGITS_MAX 9

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* Parses the digits between `p` and `end`. False: not a number, or an absurd one. */
static bool answer_length(const char *p, const char *end, size_t *ret) {
        size_t n = 0;

        if (p == end || end - p > BODY_DIGITS_MAX)
                return false;
        for (; p < end; p++) {
                if (!is_digit(*p))
                        return false;
                n = n * 10 + (size_t) (*p - '0');
        }
        *ret = n;
        return true;
}

/* If the line is a header called `name`, returns where its value begins. */
static const char *answer_value(const char *line, const char *end, const char *name) {
        size_t n = strlen(name);

        if ((size_t) (end - line) <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
                return NULL;
        for (line += n + 1; line < end && *line == ' ';)
                line++;
        return line;
}

/* Reads the header lines between `p` and `end` (the blank line). */
static bool answer_headers(const char *p, const char *end, struct answer *a) {
        bool has_length = false;

        while (p < end) {
                const char *eol = memmem(p, (size_t) (end - p), "\r\n", 2);
                const char *value;

                if (!eol || eol == p)
                        return false;
                value = answer_value(p, eol, "Content-Length");
                if (value) {
                        if (has_length || !answer_length(value, eol, &a->body))
                                return false;
                        has_length = true;
                } else if (answer_value(p, eol, "Transfer-Encoding")) {
                        return false;
                } else {
                        value = answer_value(p, eol, "Connection");
                        if (value && eol - value == 5 && strncasecmp(value, "close", 5) == 0)
                                a->closes = true;
                        else if (!memchr(p, ':', (size_t) (eol - p)))
                                return false;
                }
                p = eol + 2;
        }
        return has_length;
}

static bool answer_status(const char *p, int *ret) {
        if (memcmp(p, "HTTP/1.1 ", 9) != 0)
                return false;
        p += 9;
        if (!is_digit(p[0]) || !is_digit(p[1]) || !is_digit(p[2]) || p[3] != ' ')
                return false;
        *ret = (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
        return true;
}

enum answer_state answer_parse(const char *bytes, size_t len, struct answer *ret) {
        struct answer a = { 0 };
        const char *line_end, *blank;

        if (memcmp(bytes, "HTTP/1.1 ", len < 9 ? len : 9) != 0)
                return ANSWER_BROKEN;
        if (len < STATUS_LINE_MIN)
                return ANSWER_PARTIAL;
        if (!answer_status(bytes, &a.status))
                return ANSWER_BROKEN;
        line_end = memmem(bytes, len, "\r\n", 2);
        if (!line_end)
                return ANSWER_PARTIAL;
        blank = memmem(line_end, len - (size_t) (line_end - bytes), "\r\n\r\n", 4);
        if (!blank)
                return ANSWER_PARTIAL;
        if (!answer_headers(line_end + 2, blank + 2, &a))
                return ANSWER_BROKEN;
        a.head = (size_t) (blank + 4 - bytes);
        if (len - a.head < a.body)
                return ANSWER_PARTIAL;
        if (len - a.head > a.body)
                return ANSWER_BROKEN;
        *ret = a;
        return ANSWER_COMPLETE;
}
