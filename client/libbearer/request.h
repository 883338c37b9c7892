#pragma once
/*
 * What is asked for: the options of a request, and the bytes they make
 *
 * Options that make another token of it (subject, duration, scope, session context) are its key: text
 * that goes behind the credential's name. How good and how soon (min_ttl, wait) are not part of it.
 *
 * Threading: read by any number of threads while none changes it.
 */

#include <stddef.h>
#include <stdint.h>

#include "client/libbearer/bearer.h"

struct bearer_request {
        char *subject, *scope, *session_context; /* never NULL */
        int duration_s;                          /* 0: as configured */
        int wait_s;
        int64_t min_ttl_s; /* -1: the default */
        char *key;         /* "" when all of these are the default */
        uint32_t hash;     /* of the key */
};

#define REQUEST_HASH_SEED 2166136261U /* FNV-1a */

static inline uint32_t request_hash(uint32_t h, char c) {
        return (h ^ (unsigned char) c) * 16777619U;
}

/* The one of a caller who has no options. */
extern const struct bearer_request request_default;

struct bearer_request *request_copy(const struct bearer_request *rq); /* NULL: out of memory */

/* The HTTP request for it: `rejected` is a fingerprint or "", wait_s what there is time for. 0, with
 * *ret on the heap; -ENOMEM; -EINVAL: too long. */
int request_format(const char *credential, const struct bearer_request *rq, const char *rejected,
                   int wait_s, char **ret, size_t *ret_len);
