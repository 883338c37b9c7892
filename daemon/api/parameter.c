#include "api/parameter.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "client/protocol.h"

const char *parameter_check_subject(const char *value, size_t len) {
        if (len > PROTOCOL_SUBJECT_MAX)
                return "must be at most 256 bytes";
        if (!text_is_printable_utf8(value, len))
                return "must be UTF-8 without control characters";
        return NULL;
}

const char *parameter_parse_number(const char *value, size_t len, int64_t min, int64_t max,
                                   int64_t *ret) {
        int64_t n;

        if (len != strlen(value) || text_parse_int64(value, &n) < 0)
                return "must be a whole number";
        if (n < min || n > max)
                return "is out of range";
        *ret = n;
        return NULL;
}

const char *parameter_parse_seconds(const char *value, size_t len, int64_t max_s, int64_t *ret_us) {
        int64_t s;

        if (parameter_parse_number(value, len, 0, INT64_MAX, &s))
                return "must be a whole number of seconds, 0 or more";
        if (s > max_s)
                return max_s == PROTOCOL_WAIT_MAX_S ? "must be at most 120 seconds"
                                                    : "is too large";
        *ret_us = s * US_PER_S;
        return NULL;
}
