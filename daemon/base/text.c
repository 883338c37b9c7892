#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/err.h"

#define TEXT_NAME_MAX     64
#define TEXT_DISTANCE_MAX 64 /* longer words are never near */

size_t text_utf8_length(const char *p, size_t len) {
        const unsigned char *u = (const unsigned char *) p;

        if (len == 0)
                return 0;
        if (u[0] < 0x80)
                return 1;
        if (u[0] < 0xc2)
                return 0; /* a continuation byte, or an overlong pair */
        if (u[0] < 0xe0)
                return len >= 2 && (u[1] & 0xc0) == 0x80 ? 2 : 0;
        if (u[0] < 0xf0) {
                if (len < 3 || (u[1] & 0xc0) != 0x80 || (u[2] & 0xc0) != 0x80)
                        return 0;
                if (u[0] == 0xe0 && u[1] < 0xa0)
                        return 0; /* overlong */
                if (u[0] == 0xed && u[1] >= 0xa0)
                        return 0; /* surrogate */
                return 3;
        }
        if (u[0] < 0xf5) {
                if (len < 4 || (u[1] & 0xc0) != 0x80 || (u[2] & 0xc0) != 0x80 ||
                    (u[3] & 0xc0) != 0x80)
                        return 0;
                if (u[0] == 0xf0 && u[1] < 0x90)
                        return 0; /* overlong */
                if (u[0] == 0xf4 && u[1] >= 0x90)
                        return 0; /* beyond U+10FFFF */
                return 4;
        }
        return 0;
}

bool text_is_printable_utf8(const char *p, size_t len) {
        for (size_t i = 0; i < len;) {
                size_t n = text_utf8_length(p + i, len - i);

                if (n == 0 || (n == 1 && ((unsigned char) p[i] < 0x20 || p[i] == 0x7f)))
                        return false;
                if (n == 2 && (unsigned char) p[i] == 0xc2 && (unsigned char) p[i + 1] < 0xa0)
                        return false; /* the C1 controls, U+0080 to U+009F */
                i += n;
        }
        return true;
}

bool text_is_name(const char *p) {
        size_t n = strlen(p);

        if (n == 0 || n > TEXT_NAME_MAX || p[0] == '.' || p[0] == '-')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!(p[i] >= 'a' && p[i] <= 'z') && !(p[i] >= 'A' && p[i] <= 'Z') &&
                    !(p[i] >= '0' && p[i] <= '9') && !strchr("._-", p[i]))
                        return false;
        return true;
}

bool text_is_bearer_token(const char *p, size_t len) {
        for (size_t i = 0; i < len; i++)
                if (p[i] <= 0x20 || p[i] >= 0x7f || p[i] == '"' || p[i] == '\\')
                        return false;
        return len > 0;
}

int text_parse_int64(const char *p, int64_t *ret) {
        char *end;
        long long v;

        if (!(*p >= '0' && *p <= '9') && !(*p == '-' && p[1] >= '0' && p[1] <= '9'))
                return RAISE(-EINVAL);
        errno = 0;
        v = strtoll(p, &end, 10);
        if (*end)
                return RAISE(-EINVAL);
        if (errno == ERANGE)
                return RAISE(-ERANGE);
        *ret = v;
        return 0;
}

static const struct {
        const char *name;
        int64_t us;
} text_units[] = {
        /* the order matters to text_format_span(): largest first, one short spelling each */
        { "w", 7 * INT64_C(86400000000) },
        { "d", INT64_C(86400000000) },
        { "h", INT64_C(3600000000) },
        { "min", 60000000 },
        { "s", 1000000 },
        { "ms", 1000 },
        /* further spellings */
        { "day", INT64_C(86400000000) },
        { "days", INT64_C(86400000000) },
        { "hour", INT64_C(3600000000) },
        { "hours", INT64_C(3600000000) },
        { "hr", INT64_C(3600000000) },
        { "m", 60000000 },
        { "minute", 60000000 },
        { "minutes", 60000000 },
        { "sec", 1000000 },
        { "second", 1000000 },
        { "seconds", 1000000 },
        { "week", 7 * INT64_C(86400000000) },
        { "weeks", 7 * INT64_C(86400000000) },
};

static int text_parse_unit(const char *p, size_t len, int64_t *ret_us) {
        for (size_t i = 0; i < N_ELEMENTS(text_units); i++)
                if (strlen(text_units[i].name) == len && strncmp(text_units[i].name, p, len) == 0) {
                        *ret_us = text_units[i].us;
                        return 0;
                }
        return RAISE(-EINVAL);
}

int text_parse_span(const char *p, int64_t *ret_us) {
        int64_t total = 0;
        bool any = false;

        for (;;) {
                unsigned long long v;
                int64_t unit = 0, part;
                size_t len = 0;
                char *end;
                int r;

                p += strspn(p, " \t");
                if (!*p)
                        break;
                if (!(*p >= '0' && *p <= '9'))
                        return RAISE(-EINVAL);
                errno = 0;
                v = strtoull(p, &end, 10);
                if (errno == ERANGE || v > INT64_MAX)
                        return RAISE(-ERANGE);
                p = end + strspn(end, " \t");
                while (p[len] >= 'a' && p[len] <= 'z')
                        len++;
                r = text_parse_unit(p, len, &unit);
                if (r < 0)
                        return PASS(r);
                p += len;
                if (__builtin_mul_overflow((int64_t) v, unit, &part) ||
                    __builtin_add_overflow(total, part, &total))
                        return RAISE(-ERANGE);
                any = true;
        }
        if (!any)
                return RAISE(-EINVAL);
        *ret_us = total;
        return 0;
}

char *text_format_span(int64_t us, char *buf, size_t size) {
        size_t used = 0;
        unsigned parts = 0;

        if (us < 0)
                us = 0;
        if (size > 0)
                buf[0] = '\0';
        for (size_t i = 1; i <= 5 && parts < 2; i++) { /* days to milliseconds */
                int64_t n = us / text_units[i].us;
                int w;

                if (n == 0)
                        continue;
                if (text_units[i].us < 1000000 && parts > 0)
                        break; /* "3s 12ms" tells nobody more than "3s" */
                us -= n * text_units[i].us;
                w = snprintf(buf + used, size - used, "%s%" PRId64 "%s", parts ? " " : "", n,
                             text_units[i].name);
                if (w < 0 || (size_t) w >= size - used)
                        return buf;
                used += (size_t) w;
                parts++;
        }
        if (parts == 0)
                (void) snprintf(buf, size, "0s");
        return buf;
}

unsigned text_distance(const char *a, const char *b, unsigned limit) {
        size_t la = strlen(a), lb = strlen(b);
        unsigned row[3][TEXT_DISTANCE_MAX + 1];
        unsigned d;

        if (la > TEXT_DISTANCE_MAX || lb > TEXT_DISTANCE_MAX)
                return limit + 1;
        for (size_t j = 0; j <= lb; j++)
                row[0][j] = (unsigned) j;
        for (size_t i = 1; i <= la; i++) {
                unsigned *cur = row[i % 3], *prev = row[(i + 2) % 3], *prev2 = row[(i + 1) % 3];

                cur[0] = (unsigned) i;
                for (size_t j = 1; j <= lb; j++) {
                        unsigned best = prev[j - 1] + (a[i - 1] != b[j - 1]);

                        if (prev[j] + 1 < best)
                                best = prev[j] + 1;
                        if (cur[j - 1] + 1 < best)
                                best = cur[j - 1] + 1;
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                            prev2[j - 2] + 1 < best)
                                best = prev2[j - 2] + 1;
                        cur[j] = best;
                }
        }
        d = row[la % 3][lb];
        return d > limit ? limit + 1 : d;
}

void text_hex(const uint8_t *bytes, size_t n, char *ret) {
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < n; i++) {
                ret[2 * i] = digits[bytes[i] >> 4];
                ret[2 * i + 1] = digits[bytes[i] & 15];
        }
        ret[2 * n] = '\0';
}
