#include "client/words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/message.h"

#define WORDS_LENGTH_MAX 32 /* longer words are never near another */

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

/* Spans */

/* TRANSLATORS: days, hours, minutes and seconds, as in "3d 4h" */
static const char *const words_shown_units[] = { N_("d"), N_("h"), N_("min"), N_("s") };

static const struct {
        const char *name;
        int64_t ms;
} words_units[] = {
        /* words_span() counts in the first four; all can be typed */
        { "d", 86400000 },    { "h", 3600000 },      { "min", 60000 },       { "s", 1000 },
        { "ms", 1 },          { "w", 604800000 },    { "m", 60000 },         { "hr", 3600000 },
        { "sec", 1000 },      { "second", 1000 },    { "seconds", 1000 },    { "minute", 60000 },
        { "minutes", 60000 }, { "hour", 3600000 },   { "hours", 3600000 },   { "day", 86400000 },
        { "days", 86400000 }, { "week", 604800000 }, { "weeks", 604800000 },
};

static int64_t words_unit_ms(const char *text, size_t len) {
        for (size_t i = 0; i < N_ELEMENTS(words_units); i++)
                if (strlen(words_units[i].name) == len &&
                    strncmp(words_units[i].name, text, len) == 0)
                        return words_units[i].ms;
        return 0;
}

int words_parse_span(const char *text, int64_t *ret_s) {
        const char *p = text + strspn(text, " ");
        int64_t total_ms = 0;

        if (!*p)
                return -EINVAL;
        while (*p) {
                int64_t n, unit_ms, part_ms;
                size_t len;
                char *end;

                if (*p < '0' || *p > '9')
                        return -EINVAL;
                errno = 0;
                n = strtoimax(p, &end, 10);
                if (errno == ERANGE)
                        return -ERANGE;
                p = end + strspn(end, " ");
                len = strspn(p, "abcdefghijklmnopqrstuvwxyz");
                unit_ms = words_unit_ms(p, len);
                if (unit_ms == 0)
                        return -EINVAL;
                if (__builtin_mul_overflow(n, unit_ms, &part_ms) ||
                    __builtin_add_overflow(total_ms, part_ms, &total_ms))
                        return -ERANGE;
                p += len;
                p += strspn(p, " ");
        }
        *ret_s = total_ms / 1000 + (total_ms % 1000 > 0);
        return 0;
}

/* "3d" and "4h"; "1d", but never "1d 12s". How many parts there are. */
static int words_split_span(int64_t s, bool typed, char ret[2][WORDS_SPAN_SIZE / 2]) {
        int parts = 0;

        for (size_t i = 0; i < N_ELEMENTS(words_shown_units) && parts < 2; i++) {
                int64_t unit_s = words_units[i].ms / 1000, n = s / unit_s;
                const bool last = i + 1 == N_ELEMENTS(words_shown_units);

                if (n <= 0 && parts > 0)
                        break;
                if (n <= 0 && !last)
                        continue;
                (void) snprintf(ret[parts++], sizeof(ret[0]), "%" PRId64 "%s", n > 0 ? n : 0,
                                typed ? words_units[i].name : _(words_shown_units[i]));
                s -= n * unit_s;
        }
        return parts;
}

char *words_span(int64_t s, char ret[WORDS_SPAN_SIZE]) {
        char parts[2][WORDS_SPAN_SIZE / 2];

        if (words_split_span(s, false, parts) == 2)
                /* TRANSLATORS: the two parts of "3d 4h" */
                (void) snprintf(ret, WORDS_SPAN_SIZE, _("%s %s"), parts[0], parts[1]);
        else
                strcpy(ret, parts[0]);
        return ret;
}

char *words_span_typed(int64_t s, char ret[WORDS_SPAN_SIZE]) {
        char parts[2][WORDS_SPAN_SIZE / 2];

        if (words_split_span(s, true, parts) == 2)
                (void) snprintf(ret, WORDS_SPAN_SIZE, "%s %s", parts[0], parts[1]);
        else
                strcpy(ret, parts[0]);
        return ret;
}

char *words_when(int64_t instant, int64_t now, char ret[WORDS_SPAN_SIZE]) {
        char span[WORDS_SPAN_SIZE];
        int64_t s;

        if (__builtin_sub_overflow(instant, now, &s))
                s = INT64_MAX;
        if (s == 0)
                (void) snprintf(ret, WORDS_SPAN_SIZE, "%s", _("now"));
        else if (s > 0)
                (void) snprintf(ret, WORDS_SPAN_SIZE, _("in %s"), words_span(s, span));
        else
                (void) snprintf(ret, WORDS_SPAN_SIZE, _("%s ago"), words_span(-s, span));
        return ret;
}

/* Dates */

static int words_parse_unix(const char *text, int64_t *ret) {
        intmax_t v;

        errno = 0;
        v = strtoimax(text, NULL, 10);
        if (errno == ERANGE)
                return -ERANGE;
        *ret = v;
        return 0;
}

/* Reads exactly `n` digits. NULL: there are not so many. */
static const char *words_digits(const char *p, int n, int *ret) {
        *ret = 0;
        for (; n > 0; n--, p++) {
                if (*p < '0' || *p > '9')
                        return NULL;
                *ret = *ret * 10 + (*p - '0');
        }
        return p;
}

/* "31 23:59:59" and the like: digits between separators. NULL: it is something else. */
static const char *words_parse_day(const char *p, struct tm *tm) {
        if (!(p = words_digits(p, 4, &tm->tm_year)) || *p != '-' ||
            !(p = words_digits(p + 1, 2, &tm->tm_mon)) || *p != '-' ||
            !(p = words_digits(p + 1, 2, &tm->tm_mday)))
                return NULL;
        tm->tm_year -= 1900;
        tm->tm_mon -= 1;
        return p;
}

static const char *words_parse_clock(const char *p, struct tm *tm) {
        if (!(p = words_digits(p, 2, &tm->tm_hour)) || *p != ':' ||
            !(p = words_digits(p + 1, 2, &tm->tm_min)))
                return NULL;
        return *p == ':' ? words_digits(p + 1, 2, &tm->tm_sec) : p;
}

/* "Z", "+08:00" or "-0330"; *ret_s is what local time there is ahead of UTC. */
static const char *words_parse_zone(const char *p, int *ret_s) {
        int sign = *p == '-' ? -1 : 1, hours, minutes;

        *ret_s = 0;
        if (*p == 'Z')
                return p + 1;
        if (!(p = words_digits(p + 1, 2, &hours)))
                return NULL;
        if (!(p = words_digits(*p == ':' ? p + 1 : p, 2, &minutes)) || hours > 14 || minutes > 59)
                return NULL;
        *ret_s = sign * (hours * 3600 + minutes * 60);
        return p;
}

int words_parse_date(const char *text, int64_t *ret) {
        struct tm tm = { .tm_isdst = -1 }, made;
        bool zoned = false;
        int ahead_s = 0;
        const char *p;
        time_t t;

        if (*text && text[strspn(text, "0123456789")] == '\0')
                return words_parse_unix(text, ret);
        p = words_parse_day(text, &tm);
        if (p && (*p == 'T' || *p == ' '))
                p = words_parse_clock(p + 1, &tm);
        if (p && (*p == 'Z' || *p == '+' || *p == '-')) {
                zoned = true;
                p = words_parse_zone(p, &ahead_s);
        }
        if (!p || *p)
                return -EINVAL;

        made = tm; /* mktime() makes the 2nd of March of a 30th of February: no such date */
        t = zoned ? timegm(&made) : mktime(&made);
        if (made.tm_mday != tm.tm_mday || made.tm_mon != tm.tm_mon || tm.tm_hour > 23 ||
            tm.tm_min > 59 || tm.tm_sec > 59)
                return -EINVAL;
        *ret = (int64_t) t - ahead_s;
        return 0;
}

/* Tokens and text */

bool words_is_token(const char *text, size_t len) {
        for (size_t i = 0; i < len; i++)
                if (text[i] <= 0x20 || text[i] >= 0x7f || text[i] == '"' || text[i] == '\\')
                        return false;
        return len > 0;
}

bool words_is_fingerprint(const char *text) {
        return strlen(text) == 16 && text[strspn(text, "0123456789abcdef")] == '\0';
}

/* The bytes of a control character at `text`; 0: it begins with none. */
static size_t words_control(const char *text) {
        const unsigned char *c = (const unsigned char *) text;

        if (c[0] < 0x20 || c[0] == 0x7f)
                return 1;
        if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* C1 in UTF-8 */
                return 2;
        if (c[0] == 0xe2 && c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae) /* U+2028 to 202E */
                return 3;
        if (c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9) /* U+2066 to 2069 */
                return 3;
        return 0;
}

char *words_clean(const char *text, char *ret, size_t size) {
        size_t n = 0;

        while (*text && n + 1 < size) {
                const size_t control = words_control(text);

                ret[n++] = control > 0 ? ' ' : *text;
                text += control > 0 ? control : 1;
        }
        if (((unsigned char) *text & 0xc0) == 0x80) { /* cut within a character: drop its head */
                while (n > 0 && ((unsigned char) ret[n - 1] & 0xc0) == 0x80)
                        n--;
                n -= n > 0;
        }
        ret[n] = '\0';
        return ret;
}

char *words_quote(const char *text) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                    "_-.:/@%+,=";
        size_t len = strlen(text);
        char *quoted, *p;

        if (len > 0 && strspn(text, plain) == len)
                return strdup(text);
        p = quoted = malloc(4 * len + 3);
        if (!quoted)
                return NULL;
        *p++ = '\'';
        for (; *text; text++) {
                if (*text == '\'')
                        p = stpcpy(p, "'\\''");
                else
                        *p++ = *text;
        }
        strcpy(p, "'");
        return quoted;
}

unsigned words_distance(const char *a, const char *b) {
        size_t la = strlen(a), lb = strlen(b);
        unsigned row[3][WORDS_LENGTH_MAX + 1];

        if (la > WORDS_LENGTH_MAX || lb > WORDS_LENGTH_MAX)
                return WORDS_LENGTH_MAX;
        for (size_t i = 0; i <= la; i++) {
                unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];

                for (size_t j = 0; j <= lb; j++) {
                        unsigned best = (unsigned) (i +
                                                    j); /* at the edges: all inserted or deleted */

                        if (i > 0 && j > 0) {
                                best = before[j - 1] + (a[i - 1] != b[j - 1]);
                                if (before[j] + 1 < best)
                                        best = before[j] + 1;
                                if (now[j - 1] + 1 < best)
                                        best = now[j - 1] + 1;
                        }
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                            earlier[j - 2] + 1 < best)
                                best = earlier[j - 2] + 1;
                        now[j] = best;
                }
        }
        return row[la % 3][lb];
}
