#pragma once
/*
 * Faults: what the server does wrong on purpose
 *
 * A fault is added by the control interface for one kind of endpoint and a number of requests. A
 * request takes all that apply to it: at most one that decides the answer (the first added), and
 * every one that only alters it.
 *
 * Threading: the owner locks; a struct fault_hit belongs to its request.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum fault {
        /* Decide the answer; the request has no effect. */
        FAULT_STATUS,
        FAULT_HTML502,
        FAULT_HTML200,
        FAULT_EMPTY200,
        FAULT_RATE_LIMIT,
        FAULT_INTERNAL_ERROR,
        FAULT_INVALID_CLIENT,
        FAULT_INVALID_GRANT,
        FAULT_DEACTIVATED,
        FAULT_NUMERIC_CODE_200,
        FAULT_ERROR_OBJECT,
        FAULT_RFC_ERROR,
        FAULT_REDIRECT_LOOP,
        FAULT_HANG,
        FAULT_DROP_BEFORE,
        /* Decide the answer after the request was carried out. */
        FAULT_DROP_AFTER_COMMIT,
        FAULT_TRUNCATED,
        FAULT_TRUNCATED_LENGTH,
        FAULT_HUGE_BODY,
        /* Alter the answer. */
        FAULT_NO_ACCESS_TOKEN,
        FAULT_NULL_EXPIRES_IN,
        FAULT_EXPIRED_TOKEN,
        FAULT_RELATIVE_EXPIRES_IN,
        FAULT_ABSOLUTE_DEVICE_EXPIRES_IN,
        FAULT_DATE_OFFSET,
        FAULT_NO_DATE,
        FAULT_LATENCY,
        FAULT_NO_REFRESH_TOKEN,
        FAULT_REUSE_REVOKES_ALL,
        FAULT_SAME_REFRESH_TOKEN,
        FAULT_DEVICE_STYLE,
        FAULT_STRING_USER_CODE,
        FAULT_NUMBER_USER_CODE,
        FAULT_TOKEN_TYPE,
        FAULT_EXTRA_MEMBERS,
        FAULT_MAX,
};

enum fault_endpoint {
        FAULT_AT_TOKEN,
        FAULT_AT_DEVICE,
        FAULT_AT_AUTHORIZE,
        FAULT_AT_USERS_ME,
        FAULT_AT_ANY,
        FAULT_AT_MAX,
};

struct fault_list {
        struct active_fault *first;
};

/* The faults that one request meets. */
struct fault_hit {
        enum fault decides; /* FAULT_MAX: none */
        uint64_t alters;    /* a bit for each */
        int64_t status;     /* 0: the fault's own */
        char *body, *content_type, *error;
        int64_t retry_after_s; /* -1: no such header */
        bool retry_after_date;
        int64_t date_offset_s, latency_ms;
        char style; /* of a pending device poll: 'a', 'b' or 'c' */
};

/* Adds the fault that the object describes. NULL, or what is wrong with it, valid until the
 * next call. */
const char *fault_add(struct fault_list *list, struct json_object *description);

/* Takes the faults that apply to a request at this endpoint, and counts them off. */
void fault_take(struct fault_list *list, enum fault_endpoint endpoint, struct fault_hit *ret);

static inline bool fault_alters(const struct fault_hit *hit, enum fault fault) {
        return hit->alters >> fault & 1;
}

void fault_hit_done(struct fault_hit *hit);
void fault_clear(struct fault_list *list);
void fault_help(FILE *f); /* one paragraph for each */
