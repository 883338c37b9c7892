#pragma once
/*
 * Authority: what the emulated authorization server knows
 *
 * Applications, live tokens, grants, codes and devices; the clock; what clients did wrong. It
 * decides whether a code, a refresh token or a device code is good, and makes tokens; what a
 * request looks like on the wire is the business of oauth.c. All of it lives in memory.
 *
 * Units:     times are UNIX seconds on the authority's own clock, which control can move.
 * Threading: any thread; one lock inside. The applications are open data, constant but for what
 *            is atomic.
 * Sources:   coze-oauth.md sections 2.3, 2.4, 3 to 5 and 12.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "directory.h"
#include "fault.h"
#include "random.h"

#define VIOLATIONS_MAX 1000 /* remembered; all are counted */
#define ID_SIZE        64   /* bytes of a workspace, account or enterprise id, with NUL */

enum count {
        COUNT_TOKEN, /* every request at a token endpoint; the next four are part of it */
        COUNT_JWT,
        COUNT_REFRESH,
        COUNT_AUTHORIZATION_CODE,
        COUNT_DEVICE_POLL,
        COUNT_DEVICE_START,
        COUNT_AUTHORIZE,
        COUNT_USERS_ME,
        COUNT_MAX,
};

enum consent {
        CONSENT_APPROVE,
        CONSENT_DENY,
        CONSENT_HOLD, /* the person never finishes */
        CONSENT_MAX,
};
extern const char *const consent_names[CONSENT_MAX];

/* What the authority thinks of a grant that is presented. */
enum verdict {
        VERDICT_GOOD,
        VERDICT_UNKNOWN,      /* never issued, revoked or expired */
        VERDICT_SPENT,        /* single use, and used before */
        VERDICT_CLIENT,       /* issued to another application */
        VERDICT_REDIRECT_URI, /* not the one of the authorization request */
        VERDICT_VERIFIER,     /* does not match the code challenge */
        VERDICT_PENDING,      /* device: the person has not decided */
        VERDICT_SLOW_DOWN,    /* device: polled too fast */
        VERDICT_DENIED,       /* device: the person refused */
        VERDICT_EXPIRED,      /* device */
        VERDICT_MAX,
};

struct pair { /* what a token endpoint hands out */
        char access[RANDOM_TOKEN_SIZE];
        char refresh[RANDOM_TOKEN_SIZE]; /* "": none */
        int64_t lifetime_s, now;
};

struct device {
        char device_code[RANDOM_TOKEN_SIZE], user_code[16];
        int64_t lifetime_s, interval_s, now;
};

struct authority;

struct authority *authority_new(const char *directory);
struct authority *authority_free(struct authority *a);
struct directory *authority_directory(struct authority *a);

int64_t authority_now(struct authority *a);
void authority_logid(struct authority *a, char ret[40]); /* a new X-Tt-Logid */

/* The application of that client id, of that key; NULL if there is none. */
const struct application *authority_find_client(struct authority *a, const char *client_id);
const struct application *authority_find_key(struct authority *a, const char *key_id);

void authority_count(struct authority *a, enum count count);
__attribute__((format(printf, 3, 4))) void authority_violation(struct authority *a,
                                                               const char *path, const char *format,
                                                               ...);

/* Remembers what the last token request said; takes `view`. */
void authority_remember(struct authority *a, struct json_object *view);

void authority_take_faults(struct authority *a, enum fault_endpoint endpoint,
                           struct fault_hit *ret);

/* Waits; returns early when the emulator stops, and a hang also when faults are cleared. */
void authority_delay(struct authority *a, int64_t ms);
void authority_hang(struct authority *a);

/* JWT: true once for each jti, until `expires`. */
bool authority_spend_jti(struct authority *a, const char *jti, int64_t expires);
void authority_issue_service(struct authority *a, const struct application *app, int64_t duration_s,
                             struct pair *ret);

/* Authorization code. `challenge` is "" without PKCE, and so is `verifier`. */
bool authority_knows_redirect(struct authority *a, const struct application *app, const char *uri);
enum consent authority_consent(struct authority *a);
void authority_issue_code(struct authority *a, const struct application *app,
                          const char *redirect_uri, const char *challenge,
                          char ret[RANDOM_TOKEN_SIZE]);
enum verdict authority_redeem_code(struct authority *a, const struct application *app,
                                   const char *code, const char *redirect_uri, const char *verifier,
                                   struct pair *ret);

/* Refresh token. */
enum verdict authority_refresh(struct authority *a, const struct application *app,
                               const char *refresh_token, const struct fault_hit *hit,
                               struct pair *ret);

/* Device. A user code is made of letters and digits, with dashes; of digits alone when
 * `number`. */
void authority_start_device(struct authority *a, const struct application *app, bool number,
                            bool three_parts, struct device *ret);
enum verdict authority_poll_device(struct authority *a, const struct application *app,
                                   const char *device_code, struct pair *ret);

/* Whether an access token is live; a deactivated application's are not. *ret_name is who it
 * is. */
bool authority_knows_token(struct authority *a, const char *token, const char **ret_name);

/*
 * The person, the operator of the server, and the clock: for control.c. NULL when done, else what
 * is wrong.
 */
struct json_object *authority_describe(struct authority *a); /* the caller owns it */
const char *authority_add_fault(struct authority *a, struct json_object *description);
void authority_clear_faults(struct authority *a);
void authority_reset(struct authority *a);
void authority_revoke_all(struct authority *a);
const char *authority_revoke(struct authority *a, const char *token);
const char *authority_decide_device(struct authority *a, const char *user_code, const char *action);
const char *authority_set_consent(struct authority *a, const char *mode);
void authority_set_clock(struct authority *a, int64_t offset_s);
/* Seconds; 0: the default; NULL: unchanged. */
void authority_set_lifetimes(struct authority *a, const int64_t *access_s, const int64_t *refresh_s,
                             const int64_t *device_s, const int64_t *interval_s);
const char *authority_set_redirects(struct authority *a, const char *client_id,
                                    struct json_object *uris);
const char *authority_set_deactivated(struct authority *a, const char *client_id, bool deactivated);
void authority_stop(struct authority *a); /* no one waits any longer */
