#include "authority.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>

#include "memory.h"
#include "object.h"
#include "table.h"

#define ACCESS_S          900 /* an access token, unless a JWT asks for another lifetime */
#define REFRESH_S         (30L * 24 * 3600)
#define CODE_S            600
#define DEVICE_S          300
#define INTERVAL_S        5
#define INTERVAL_STEP_S   5    /* RFC 8628 section 3.5: slow_down adds five seconds */
#define INTERVAL_SLACK_MS 10   /* a client's timer may round down */
#define DEVICE_REMEMBER_S 3600 /* after it has expired, so that it is still told so */
#define HANG_MS           300000

const char *const consent_names[CONSENT_MAX] = {
        [CONSENT_APPROVE] = "approve",
        [CONSENT_DENY] = "deny",
        [CONSENT_HOLD] = "hold",
};

static const char *const count_names[COUNT_MAX] = {
        [COUNT_TOKEN] = "token",
        [COUNT_JWT] = "jwt",
        [COUNT_REFRESH] = "refresh",
        [COUNT_AUTHORIZATION_CODE] = "authorization_code",
        [COUNT_DEVICE_POLL] = "device_poll",
        [COUNT_DEVICE_START] = "device_start",
        [COUNT_AUTHORIZE] = "authorize",
        [COUNT_USERS_ME] = "users_me",
};

struct access_entry {
        struct table_entry entry;
        const struct application *app; /* NULL: a static token */
        uint64_t grant;                /* 0: none stands behind it */
};

struct refresh_entry {
        struct table_entry entry;
        const struct application *app;
        uint64_t grant;
        bool spent;
};

struct code_entry {
        struct table_entry entry;
        const struct application *app;
        bool spent;
        char challenge[64], redirect_uri[REDIRECT_URI_MAX];
};

enum device_state {
        DEVICE_PENDING,
        DEVICE_APPROVED,
        DEVICE_DENIED,
        DEVICE_EXPIRED,
        DEVICE_SPENT,
};

struct device_entry {
        struct table_entry entry;
        const struct application *app;
        enum device_state state;
        char user_code[16];
        int64_t ends, interval_s;
        int64_t polled_ms; /* CLOCK_MONOTONIC; 0: not yet */
};

struct authority {
        struct directory directory;
        pthread_mutex_t lock;
        pthread_cond_t changed;

        /* guarded by the lock */
        struct table access, statics, refresh, codes, devices, jtis;
        struct fault_list faults;
        struct json_object *violations, *last;
        uint64_t counts[COUNT_MAX], n_violations, n_spent, n_issued, n_logids, n_grants;
        uint64_t clearings; /* of faults: ends every hang */
        int64_t offset_s, access_s, refresh_s, device_s, interval_s; /* lifetimes; 0: default */
        enum consent consent;
        bool stopping;
};

/* Time */

static int64_t clock_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static int64_t locked_now(const struct authority *a) {
        return (int64_t) time(NULL) + a->offset_s;
}

int64_t authority_now(struct authority *a) {
        int64_t now;

        pthread_mutex_lock(&a->lock);
        now = locked_now(a);
        pthread_mutex_unlock(&a->lock);
        return now;
}

static void authority_wait(struct authority *a, int64_t ms, bool until_cleared) {
        int64_t end = clock_ms() + ms;
        struct timespec at = { end / 1000, end % 1000 * 1000000 };
        uint64_t clearings;

        pthread_mutex_lock(&a->lock);
        clearings = a->clearings;
        while (!a->stopping && (!until_cleared || clearings == a->clearings)) {
                if (pthread_cond_timedwait(&a->changed, &a->lock, &at) == ETIMEDOUT)
                        break;
        }
        pthread_mutex_unlock(&a->lock);
}

void authority_delay(struct authority *a, int64_t ms) {
        authority_wait(a, ms, false);
}

void authority_hang(struct authority *a) {
        authority_wait(a, HANG_MS, true);
}

void authority_stop(struct authority *a) {
        pthread_mutex_lock(&a->lock);
        a->stopping = true;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
}

/* Life of the authority */

static void locked_add_statics(struct authority *a) {
        const char *tokens[] = { a->directory.pat, a->directory.sat };

        for (size_t i = 0; i < N_ELEMENTS(tokens); i++)
                table_put(&a->statics, tokens[i], sizeof(struct access_entry), INT64_MAX, 0);
}

struct authority *authority_new(const char *directory) {
        struct authority *a = must(calloc(1, sizeof(*a)));
        pthread_condattr_t attributes;

        pthread_mutex_init(&a->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&a->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        a->violations = must(json_object_new_array());
        directory_open(&a->directory, directory);
        locked_add_statics(a);
        return a;
}

struct authority *authority_free(struct authority *a) {
        table_clear(&a->access);
        table_clear(&a->statics);
        table_clear(&a->refresh);
        table_clear(&a->codes);
        table_clear(&a->devices);
        table_clear(&a->jtis);
        fault_clear(&a->faults);
        json_object_put(a->violations);
        json_object_put(a->last);
        directory_done(&a->directory);
        pthread_cond_destroy(&a->changed);
        pthread_mutex_destroy(&a->lock);
        free(a);
        return NULL;
}

struct directory *authority_directory(struct authority *a) {
        return &a->directory;
}

static struct application *find_client(struct authority *a, const char *client_id) {
        for (size_t i = 0; i < APPLICATION_MAX; i++) {
                if (strcmp(a->directory.applications[i].client_id, client_id) == 0)
                        return &a->directory.applications[i];
        }
        return NULL;
}

const struct application *authority_find_client(struct authority *a, const char *client_id) {
        return find_client(a, client_id);
}

const struct application *authority_find_key(struct authority *a, const char *key_id) {
        for (size_t i = 0; i < APPLICATION_MAX; i++) {
                const struct application *app = &a->directory.applications[i];

                if (app->key && strcmp(app->key_id, key_id) == 0)
                        return app;
        }
        return NULL;
}

/* Book-keeping */

void authority_logid(struct authority *a, char ret[40]) {
        time_t now = (time_t) authority_now(a);
        struct tm tm;
        uint64_t n;

        pthread_mutex_lock(&a->lock);
        n = ++a->n_logids;
        pthread_mutex_unlock(&a->lock);
        gmtime_r(&now, &tm);
        strftime(ret, 40, "%Y%m%d%H%M%S", &tm);
        snprintf(ret + strlen(ret), 40 - strlen(ret), "%020llX", (unsigned long long) n);
}

void authority_count(struct authority *a, enum count count) {
        pthread_mutex_lock(&a->lock);
        a->counts[count]++;
        pthread_mutex_unlock(&a->lock);
}

static void locked_violation(struct authority *a, const char *path, const char *what) {
        struct json_object *violation;

        if (a->n_violations++ >= VIOLATIONS_MAX)
                return;
        violation = must(json_object_new_object());
        object_add_string(violation, "path", path);
        object_add_string(violation, "what", what);
        json_object_array_add(a->violations, violation);
}

void authority_violation(struct authority *a, const char *path, const char *format, ...) {
        char what[256];
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof(what), format, ap);
        va_end(ap);
        pthread_mutex_lock(&a->lock);
        locked_violation(a, path, what);
        pthread_mutex_unlock(&a->lock);
}

void authority_remember(struct authority *a, struct json_object *view) {
        struct json_object *forgotten;

        pthread_mutex_lock(&a->lock);
        forgotten = a->last;
        a->last = view;
        pthread_mutex_unlock(&a->lock);
        json_object_put(forgotten);
}

void authority_take_faults(struct authority *a, enum fault_endpoint endpoint,
                           struct fault_hit *ret) {
        pthread_mutex_lock(&a->lock);
        fault_take(&a->faults, endpoint, ret);
        pthread_mutex_unlock(&a->lock);
}

/* Tokens */

static void locked_issue_access(struct authority *a, const struct application *app, uint64_t grant,
                                const char *prefix, int64_t lifetime_s, struct pair *ret) {
        struct access_entry *e;

        ret->now = locked_now(a);
        ret->lifetime_s = lifetime_s;
        random_token(prefix, ret->access);
        e = table_put(&a->access, ret->access, sizeof(*e), ret->now + lifetime_s, ret->now);
        e->app = app;
        e->grant = grant;
        a->n_issued++;
}

/* A user's tokens: both new. */
static void locked_issue_pair(struct authority *a, const struct application *app, uint64_t grant,
                              struct pair *ret) {
        struct refresh_entry *e;

        locked_issue_access(a, app, grant, "czu_", a->access_s ? a->access_s : ACCESS_S, ret);
        random_token("", ret->refresh);
        e = table_put(&a->refresh, ret->refresh, sizeof(*e),
                      ret->now + (a->refresh_s ? a->refresh_s : REFRESH_S), ret->now);
        e->app = app;
        e->grant = grant;
}

bool authority_spend_jti(struct authority *a, const char *jti, int64_t expires) {
        int64_t now;
        bool is_new;

        pthread_mutex_lock(&a->lock);
        now = locked_now(a);
        is_new = !table_find(&a->jtis, jti, now);
        if (is_new)
                table_put(&a->jtis, jti, sizeof(struct table_entry), expires, now);
        pthread_mutex_unlock(&a->lock);
        return is_new;
}

void authority_issue_service(struct authority *a, const struct application *app, int64_t duration_s,
                             struct pair *ret) {
        pthread_mutex_lock(&a->lock);
        ret->refresh[0] = '\0';
        if (a->access_s && duration_s > a->access_s)
                duration_s = a->access_s;
        locked_issue_access(a, app, 0, "czs_", duration_s, ret);
        pthread_mutex_unlock(&a->lock);
}

bool authority_knows_token(struct authority *a, const char *token, const char **ret_name) {
        const struct access_entry *e;
        bool live;

        pthread_mutex_lock(&a->lock);
        e = table_find(&a->statics, token, 0);
        if (!e)
                e = table_find(&a->access, token, locked_now(a));
        live = e && !(e->app && e->app->deactivated);
        if (live)
                *ret_name = e->app ? e->app->name : "static";
        pthread_mutex_unlock(&a->lock);
        return live;
}

/* Authorization codes */

bool authority_knows_redirect(struct authority *a, const struct application *app, const char *uri) {
        bool known = false;

        pthread_mutex_lock(&a->lock);
        for (size_t i = 0; i < REDIRECT_URIS_MAX; i++)
                known |= strcmp(app->redirect_uris[i], uri) == 0;
        pthread_mutex_unlock(&a->lock);
        return known;
}

enum consent authority_consent(struct authority *a) {
        enum consent consent;

        pthread_mutex_lock(&a->lock);
        consent = a->consent;
        pthread_mutex_unlock(&a->lock);
        return consent;
}

void authority_issue_code(struct authority *a, const struct application *app,
                          const char *redirect_uri, const char *challenge,
                          char ret[RANDOM_TOKEN_SIZE]) {
        struct code_entry *e;
        int64_t now;

        pthread_mutex_lock(&a->lock);
        now = locked_now(a);
        random_token("code_", ret);
        e = table_put(&a->codes, ret, sizeof(*e), now + CODE_S, now);
        e->app = app;
        snprintf(e->challenge, sizeof(e->challenge), "%s", challenge);
        snprintf(e->redirect_uri, sizeof(e->redirect_uri), "%s", redirect_uri);
        pthread_mutex_unlock(&a->lock);
}

/* RFC 7636 section 4.6, method S256: the challenge has 43 characters, as a verifier's hash
 * does. */
static bool challenge_matches(const char *challenge, const char *verifier) {
        unsigned char digest[SHA256_DIGEST_LENGTH], text[48];

        SHA256((const unsigned char *) verifier, strlen(verifier), digest);
        EVP_EncodeBlock(text, digest, sizeof(digest));
        for (size_t i = 0; i < 43; i++) {
                int c = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];

                if (challenge[i] != c)
                        return false;
        }
        return challenge[43] == '\0';
}

static enum verdict code_verdict(const struct code_entry *e, const struct application *app,
                                 const char *redirect_uri, const char *verifier) {
        if (!e)
                return VERDICT_UNKNOWN;
        if (e->app != app)
                return VERDICT_CLIENT;
        if (e->spent)
                return VERDICT_SPENT;
        if (strcmp(e->redirect_uri, redirect_uri) != 0)
                return VERDICT_REDIRECT_URI;
        if (*e->challenge && !challenge_matches(e->challenge, verifier))
                return VERDICT_VERIFIER;
        return VERDICT_GOOD;
}

enum verdict authority_redeem_code(struct authority *a, const struct application *app,
                                   const char *code, const char *redirect_uri, const char *verifier,
                                   struct pair *ret) {
        struct code_entry *e;
        enum verdict verdict;

        pthread_mutex_lock(&a->lock);
        e = table_find(&a->codes, code, locked_now(a));
        verdict = code_verdict(e, app, redirect_uri, verifier);
        if (e)
                e->spent = true; /* also by an attempt that fails */
        if (verdict == VERDICT_GOOD)
                locked_issue_pair(a, app, ++a->n_grants, ret);
        pthread_mutex_unlock(&a->lock);
        return verdict;
}

/* Refresh tokens */

static void locked_revoke_grant(struct authority *a, uint64_t grant) {
        struct table_entry *next;

        for (struct table_entry *e = a->access.oldest; e; e = next) {
                next = e->newer;
                if (((struct access_entry *) e)->grant == grant)
                        table_remove(&a->access, e);
        }
        for (struct table_entry *e = a->refresh.oldest; e; e = next) {
                const struct refresh_entry *refresh = (struct refresh_entry *) e;

                next = e->newer;
                if (refresh->grant == grant && !refresh->spent)
                        table_remove(&a->refresh, e);
        }
}

static enum verdict locked_refresh(struct authority *a, struct refresh_entry *e,
                                   const struct application *app, const struct fault_hit *hit,
                                   struct pair *ret) {
        if (!e)
                return VERDICT_UNKNOWN;
        if (e->app != app)
                return VERDICT_CLIENT;
        if (e->spent) {
                a->n_spent++;
                if (fault_alters(hit, FAULT_REUSE_REVOKES_ALL))
                        locked_revoke_grant(a, e->grant);
                return VERDICT_SPENT;
        }
        if (fault_alters(hit, FAULT_SAME_REFRESH_TOKEN)) {
                locked_issue_access(a, app, e->grant, "czu_", a->access_s ? a->access_s : ACCESS_S,
                                    ret);
                snprintf(ret->refresh, sizeof(ret->refresh), "%s", e->entry.key);
                return VERDICT_GOOD;
        }
        e->spent = true;
        locked_issue_pair(a, app, e->grant, ret);
        return VERDICT_GOOD;
}

enum verdict authority_refresh(struct authority *a, const struct application *app,
                               const char *refresh_token, const struct fault_hit *hit,
                               struct pair *ret) {
        enum verdict verdict;

        pthread_mutex_lock(&a->lock);
        verdict = locked_refresh(a, table_find(&a->refresh, refresh_token, locked_now(a)), app, hit,
                                 ret);
        pthread_mutex_unlock(&a->lock);
        return verdict;
}

/* Devices */

static void user_code_make(bool number, bool three_parts, char ret[16]) {
        static const char letters[] = "BCDFGHJKLMNPQRSTVWXZ"; /* RFC 8628 section 6.1 */

        if (number) {
                random_text("123456789", 8, ret);
                return;
        }
        random_text(letters, three_parts ? 11 : 9, ret);
        ret[three_parts ? 3 : 4] = '-';
        if (three_parts)
                ret[7] = '-';
}

void authority_start_device(struct authority *a, const struct application *app, bool number,
                            bool three_parts, struct device *ret) {
        struct device_entry *e;

        pthread_mutex_lock(&a->lock);
        ret->now = locked_now(a);
        ret->lifetime_s = a->device_s ? a->device_s : DEVICE_S;
        ret->interval_s = a->interval_s ? a->interval_s : INTERVAL_S;
        random_token("", ret->device_code);
        user_code_make(number, three_parts, ret->user_code);
        e = table_put(&a->devices, ret->device_code, sizeof(*e),
                      ret->now + ret->lifetime_s + DEVICE_REMEMBER_S, ret->now);
        e->app = app;
        e->ends = ret->now + ret->lifetime_s;
        e->interval_s = ret->interval_s;
        strcpy(e->user_code, ret->user_code);
        pthread_mutex_unlock(&a->lock);
}

/* Too fast: RFC 8628 section 3.5. The first poll may come at once. */
static bool device_hurries(struct device_entry *e) {
        int64_t now = clock_ms(), before = e->polled_ms;

        e->polled_ms = now;
        if (!before || now - before >= e->interval_s * 1000 - INTERVAL_SLACK_MS)
                return false;
        e->interval_s += INTERVAL_STEP_S;
        return true;
}

static enum verdict locked_poll(struct authority *a, struct device_entry *e,
                                const struct application *app, struct pair *ret) {
        if (!e)
                return VERDICT_EXPIRED;
        if (e->app != app)
                return VERDICT_CLIENT;
        if (e->state == DEVICE_SPENT)
                return VERDICT_SPENT;
        if (device_hurries(e))
                return VERDICT_SLOW_DOWN;
        if (e->state == DEVICE_EXPIRED || e->ends <= locked_now(a))
                return VERDICT_EXPIRED;
        if (e->state == DEVICE_DENIED)
                return VERDICT_DENIED;
        if (e->state == DEVICE_PENDING)
                return VERDICT_PENDING;
        e->state = DEVICE_SPENT;
        locked_issue_pair(a, app, ++a->n_grants, ret);
        return VERDICT_GOOD;
}

enum verdict authority_poll_device(struct authority *a, const struct application *app,
                                   const char *device_code, struct pair *ret) {
        enum verdict verdict;

        pthread_mutex_lock(&a->lock);
        verdict = locked_poll(a, table_find(&a->devices, device_code, locked_now(a)), app, ret);
        pthread_mutex_unlock(&a->lock);
        return verdict;
}

/* Control */

struct json_object *authority_describe(struct authority *a) {
        struct json_object *o = must(json_object_new_object());
        struct json_object *requests = must(json_object_new_object());
        struct json_object *violations = NULL, *last = NULL;

        pthread_mutex_lock(&a->lock);
        for (size_t i = 0; i < COUNT_MAX; i++)
                object_add_integer(requests, count_names[i], (int64_t) a->counts[i]);
        json_object_deep_copy(a->violations, &violations, NULL);
        if (a->last)
                json_object_deep_copy(a->last, &last, NULL);
        json_object_object_add(o, "requests", requests);
        json_object_object_add(o, "violations", must(violations));
        object_add_integer(o, "violations_total", (int64_t) a->n_violations);
        object_add_integer(o, "spent_presented", (int64_t) a->n_spent);
        object_add_integer(o, "tokens", (int64_t) a->n_issued);
        json_object_object_add(o, "last", last);
        pthread_mutex_unlock(&a->lock);
        return o;
}

const char *authority_add_fault(struct authority *a, struct json_object *description) {
        const char *wrong;

        pthread_mutex_lock(&a->lock);
        wrong = fault_add(&a->faults, description);
        pthread_mutex_unlock(&a->lock);
        return wrong;
}

static void locked_clear_faults(struct authority *a) {
        fault_clear(&a->faults);
        a->clearings++;
        pthread_cond_broadcast(&a->changed);
}

void authority_clear_faults(struct authority *a) {
        pthread_mutex_lock(&a->lock);
        locked_clear_faults(a);
        pthread_mutex_unlock(&a->lock);
}

static void locked_revoke_all(struct authority *a) {
        table_clear(&a->access);
        table_clear(&a->statics);
}

void authority_revoke_all(struct authority *a) {
        pthread_mutex_lock(&a->lock);
        locked_revoke_all(a);
        pthread_mutex_unlock(&a->lock);
}

void authority_reset(struct authority *a) {
        pthread_mutex_lock(&a->lock);
        locked_clear_faults(a);
        locked_revoke_all(a);
        locked_add_statics(a);
        table_clear(&a->refresh);
        table_clear(&a->codes);
        table_clear(&a->devices);
        json_object_put(a->violations);
        a->violations = must(json_object_new_array());
        json_object_put(a->last);
        a->last = NULL;
        memset(a->counts, 0, sizeof(a->counts));
        a->n_violations = a->n_spent = a->n_issued = 0;
        pthread_mutex_unlock(&a->lock);
}

const char *authority_revoke(struct authority *a, const char *token) {
        struct table *t = &a->access;
        struct table_entry *e;

        pthread_mutex_lock(&a->lock);
        e = table_find(t, token, locked_now(a));
        if (!e) {
                t = &a->statics;
                e = table_find(t, token, 0);
        }
        if (e)
                table_remove(t, e);
        pthread_mutex_unlock(&a->lock);
        return e ? NULL : "no such access token";
}

static struct device_entry *locked_find_user_code(struct authority *a, const char *user_code) {
        struct table_entry *e = a->devices.newest;

        while (e && user_code && strcmp(((struct device_entry *) e)->user_code, user_code) != 0)
                e = e->older;
        return (struct device_entry *) e;
}

const char *authority_decide_device(struct authority *a, const char *user_code,
                                    const char *action) {
        static const struct {
                const char *action;
                enum device_state state;
        } actions[] = {
                { "approve", DEVICE_APPROVED },
                { "deny", DEVICE_DENIED },
                { "expire", DEVICE_EXPIRED },
        };
        const char *wrong = "action is not approve, deny or expire";
        struct device_entry *e;

        for (size_t i = 0; i < N_ELEMENTS(actions); i++) {
                if (strcmp(actions[i].action, action) != 0)
                        continue;
                pthread_mutex_lock(&a->lock);
                e = locked_find_user_code(a, user_code);
                if (e)
                        e->state = actions[i].state;
                pthread_mutex_unlock(&a->lock);
                wrong = e ? NULL : "no device waits with that user_code";
        }
        return wrong;
}

const char *authority_set_consent(struct authority *a, const char *mode) {
        for (size_t i = 0; i < CONSENT_MAX; i++) {
                if (strcmp(consent_names[i], mode) != 0)
                        continue;
                pthread_mutex_lock(&a->lock);
                a->consent = (enum consent) i;
                pthread_mutex_unlock(&a->lock);
                return NULL;
        }
        return "mode is not approve, deny or hold";
}

void authority_set_clock(struct authority *a, int64_t offset_s) {
        pthread_mutex_lock(&a->lock);
        a->offset_s = offset_s;
        pthread_mutex_unlock(&a->lock);
}

void authority_set_lifetimes(struct authority *a, const int64_t *access_s, const int64_t *refresh_s,
                             const int64_t *device_s, const int64_t *interval_s) {
        pthread_mutex_lock(&a->lock);
        a->access_s = access_s ? *access_s : a->access_s;
        a->refresh_s = refresh_s ? *refresh_s : a->refresh_s;
        a->device_s = device_s ? *device_s : a->device_s;
        a->interval_s = interval_s ? *interval_s : a->interval_s;
        pthread_mutex_unlock(&a->lock);
}

const char *authority_set_deactivated(struct authority *a, const char *client_id,
                                      bool deactivated) {
        struct application *app = find_client(a, client_id);

        if (!app)
                return "no application has that client_id";
        app->deactivated = deactivated;
        return NULL;
}

const char *authority_set_redirects(struct authority *a, const char *client_id,
                                    struct json_object *uris) {
        struct application *app = find_client(a, client_id);
        size_t n = json_object_array_length(uris);

        if (!app)
                return "no application has that client_id";
        if (n > REDIRECT_URIS_MAX)
                return "an application has at most 3 redirect URIs";
        for (size_t i = 0; i < n; i++) {
                const char *uri = object_text(json_object_array_get_idx(uris, i));

                if (!uri || strlen(uri) >= REDIRECT_URI_MAX)
                        return "a redirect URI is no text of at most 511 bytes";
        }
        pthread_mutex_lock(&a->lock);
        for (size_t i = 0; i < REDIRECT_URIS_MAX; i++)
                snprintf(app->redirect_uris[i], REDIRECT_URI_MAX, "%s",
                         i < n ? object_text(json_object_array_get_idx(uris, i)) : "");
        pthread_mutex_unlock(&a->lock);
        return NULL;
}
