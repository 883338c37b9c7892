#pragma once
/*
 * Dialect: how one kind of provider speaks OAuth
 *
 * A seam, and pure: bytes in, bytes out. The time and the random bytes it needs are arguments, so
 * it can be fuzzed and replayed. One file each: coze.c.
 *
 * Units:     lifetimes are int64_t *_us from the moment the answer was received; a provider's
 *            `expires_in` ends here.
 * Threading: pure functions, any thread.
 * Sources:   coze-oauth.md sections 2.2, 4 to 8; RFC 6749 section 5; RFC 7523 section 2.1; RFC
 *            8628 section 3.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/secret.h"
#include "base/why.h"
#include "conf/conf.h"
#include "http/transport.h"

#define DIALECT_RANDOM_SIZE 32 /* bytes; a JWT's jti */
#define REFUSAL_CODE_MAX    64
#define REFUSAL_MESSAGE_MAX 256

enum exchange_kind {
        EXCHANGE_JWT_BEARER,         /* RFC 7523 */
        EXCHANGE_AUTHORIZATION_CODE, /* RFC 6749 section 4.1.3; a verifier: RFC 7636 */
        EXCHANGE_REFRESH_TOKEN,      /* RFC 6749 section 6 */
        EXCHANGE_DEVICE_START,       /* RFC 8628 section 3.1 */
        EXCHANGE_DEVICE_POLL,        /* RFC 8628 section 3.4 */
        EXCHANGE_KIND_MAX,
};

/* What is asked of the provider. All pointers are borrowed. */
struct exchange {
        enum exchange_kind kind;
        const struct conf_credential *credential;
        int64_t duration_s;                   /* jwt: duration_seconds; 0: leave it out */
        const char *session_name;             /* jwt: or NULL */
        const char *session_context;          /* jwt: canonical JSON object, or NULL */
        const char *scope;                    /* jwt: canonical JSON object, or NULL */
        const struct secret *code, *verifier; /* authorization code */
        const struct secret *refresh_token;
        const struct secret *device_code;
};

enum refusal_kind {
        REFUSAL_NONE,
        REFUSAL_TRANSPORT,     /* nothing was answered; set by the broker, not by a dialect */
        REFUSAL_TRANSIENT,     /* 5xx, internal_error, a gateway's error page: try again later */
        REFUSAL_RATE_LIMIT,    /* 429: not before retry_after */
        REFUSAL_CONFIGURATION, /* the operator must change something: key, region, app type */
        REFUSAL_DEACTIVATED,   /* the application is switched off for now; may heal by itself */
        REFUSAL_GRANT,         /* refresh token or code refused: a person must authorize again */
        REFUSAL_NONSENSE,      /* makes no sense: HTML at 200, no token, already expired ... */
        REFUSAL_PENDING,       /* device: authorization_pending */
        REFUSAL_SLOW_DOWN,     /* device: slow_down */
        REFUSAL_DENIED,        /* device: the person said no */
        REFUSAL_EXPIRED,       /* device: the code ran out */
        REFUSAL_KIND_MAX,
};
extern const char *const refusal_kind_names[REFUSAL_KIND_MAX];

/* A provider's refusal is data. Texts are cleaned and cut; none of them holds a secret. */
struct refusal {
        enum refusal_kind kind;
        int http_status; /* 0: no answer */
        char code[REFUSAL_CODE_MAX];
        char message[REFUSAL_MESSAGE_MAX];
        char logid[HTTP_LOGID_MAX];
        char advice[REFUSAL_MESSAGE_MAX]; /* what to do next; "" if nothing is known */
        int64_t retry_after_us;           /* -1: not given */
        bool region; /* the provider says so to a credential of another region, too */
};

struct exchange_result {
        struct refusal refusal; /* kind REFUSAL_NONE: the exchange succeeded */
        struct secret *access_token;
        struct secret *refresh_token; /* NULL: the answer had none; also with a REFUSAL_NONSENSE */
        int64_t lifetime_us;          /* of the access token, from the moment of receipt; > 0 */
        mono_t received;              /* set by sched/upstream: that moment */
        int64_t lifetime_dated_us; /* the same, if it hangs on the Date header, and not cut to what was
                                    * asked for; 0: it does not */
        int64_t lifetime_requested_us; /* jwt: asked for, or the default; else 0 */
        bool maybe_done; /* set by sched/upstream: no clear answer, yet it may have been acted on */
        bool misdated; /* set by sched/upstream: refused for a date that the next one will not have */
        bool has_skew;
        int64_t skew_s; /* the provider's clock minus ours, from its Date header */
        /* EXCHANGE_DEVICE_START */
        struct secret *device_code;
        char user_code[64];
        char verification_uri[512];
        char verification_uri_complete[640];
        int64_t interval_us;
};

void exchange_result_done(struct exchange_result *result); /* wipes; safe on a zeroed struct */

struct dialect {
        const char *name;

        /* Makes the request. `provider_now` is our idea of the provider's clock (ours plus the
         * learnt skew). 0; -ENOMEM; -EIO: signing failed. The caller owns *ret. */
        int (*encode)(const struct exchange *x, wall_t provider_now,
                      const uint8_t random[DIALECT_RANDOM_SIZE], struct http_request **ret);

        /* Understands the answer (outcome HTTP_ANSWERED). `sent` and `received` are our wall
         * clock then. 0, with *ret filled (release with exchange_result_done); -ENOMEM. A
         * refusal is a result, not an error. */
        int (*decode)(const struct exchange *x, const struct http_response *resp, wall_t sent,
                      wall_t received, struct exchange_result *ret);

        /* The URL a person opens (RFC 6749 section 4.1.1); `challenge` is the S256 code
         * challenge or NULL. `url` is wiped by the caller. 0, -ENOMEM. */
        int (*authorize_url)(const struct conf_credential *credential, const char *state,
                             const char *challenge, char **ret_url);
};

extern const struct dialect dialect_coze;

/* The dialect of that name, or NULL. */
const struct dialect *dialect_find(const char *name);
