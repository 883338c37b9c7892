#include "http/date.h"

#include <string.h>

#include "base/auto.h"
#include "base/err.h"

#define DATE_YEAR_MAX 9999

static const char *const date_months[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
};

struct date {
        int year, month, day, hour, minute, second;
};

/*
 * One letter of a form reads one field: D day, M the month's name, Y year, y year of two digits,
 * H time of day. '_' is a day with a blank for its first digit, '*' a word (the day of the week);
 * all else, and GMT, is itself.
 */
static const char *const date_forms[] = {
        "*, D M Y H GMT", /* IMF-fixdate */
        "*, D-M-y H GMT", /* RFC 850 */
        "* M _ H Y",      /* asctime(3) */
};

/* Exactly `n` digits. */
static int date_digits(const char **p, int n, int *ret) {
        int value = 0;

        for (; n > 0; n--, (*p)++) {
                if (**p < '0' || **p > '9')
                        return -EINVAL;
                value = value * 10 + (**p - '0');
        }
        *ret = value;
        return 0;
}

static int date_month(const char **p, int *ret) {
        for (size_t i = 0; i < N_ELEMENTS(date_months); i++)
                if (strncmp(*p, date_months[i], 3) == 0) {
                        *p += 3;
                        *ret = (int) i + 1;
                        return 0;
                }
        return -EINVAL;
}

static int date_time(const char **p, struct date *ret) {
        if (date_digits(p, 2, &ret->hour) < 0 || *(*p)++ != ':')
                return -EINVAL;
        if (date_digits(p, 2, &ret->minute) < 0 || *(*p)++ != ':')
                return -EINVAL;
        return date_digits(p, 2, &ret->second);
}

static int date_word(const char **p) {
        size_t n = 0;

        while (((*p)[n] >= 'A' && (*p)[n] <= 'Z') || ((*p)[n] >= 'a' && (*p)[n] <= 'z'))
                n++;
        *p += n;
        return n > 0 ? 0 : -EINVAL;
}

static int date_year_of_two(const char **p, int *ret) {
        int year;

        if (date_digits(p, 2, &year) < 0)
                return -EINVAL;
        *ret = year + (year < 70 ? 2000 : 1900);
        return 0;
}

static int date_field(char form, const char **p, struct date *ret) {
        switch (form) {
        case 'D':
                return date_digits(p, 2, &ret->day);
        case '_':
                if (**p != ' ')
                        return date_digits(p, 2, &ret->day);
                (*p)++;
                return date_digits(p, 1, &ret->day);
        case 'M':
                return date_month(p, &ret->month);
        case 'Y':
                return date_digits(p, 4, &ret->year);
        case 'y':
                return date_year_of_two(p, &ret->year);
        case 'H':
                return date_time(p, ret);
        case '*':
                return date_word(p);
        default:
                return *(*p)++ == form ? 0 : -EINVAL;
        }
}

static int date_read(const char *form, const char *text, struct date *ret) {
        for (; *form; form++) {
                /* no field, though M is one elsewhere */
                if (strcmp(form, "GMT") == 0)
                        return strcmp(text, "GMT") == 0 ? 0 : -EINVAL;
                if (date_field(*form, &text, ret) < 0)
                        return -EINVAL;
        }
        return *text ? -EINVAL : 0;
}

static int date_days_in_month(int year, int month) {
        static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

        return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01, Gregorian; for the count a year begins in March. */
static int64_t date_days(int year, int month, int day) {
        int64_t y = month > 2 ? year : year - 1;
        int64_t m = month > 2 ? month - 3 : month + 9;

        return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

int date_parse(const char *text, wall_t *ret) {
        for (size_t i = 0; i < N_ELEMENTS(date_forms); i++) {
                struct date d = { 0 };

                if (date_read(date_forms[i], text, &d) < 0)
                        continue;
                if (d.year < 1970 || d.year > DATE_YEAR_MAX || d.day < 1 ||
                    d.day > date_days_in_month(d.year, d.month) || d.hour > 23 || d.minute > 59 ||
                    d.second > 60) /* 60: a leap second */
                        return RAISE(-EINVAL);
                ret->s = date_days(d.year, d.month, d.day) * 86400 + d.hour * 3600 + d.minute * 60 +
                         d.second;
                return 0;
        }
        return RAISE(-EINVAL);
}
