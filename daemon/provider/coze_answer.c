/*
 * An answer counts as a success only when it is one in every respect (coze-oauth.md section 6):
 * servers have been seen to answer 200 with an error, and an error page with 200. Lifetimes are
 * reckoned by the provider's own clock, as its Date header shows it; a JWT's token never counts
 * for longer than what was asked for, so that a clock that is off cannot stretch it.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/json.h"
#include "base/text.h"
#include "provider/coze.h"

#define COZE_ABSOLUTE_S     INT64_C(1000000000)      /* expires_in: from here on a UNIX time */
#define COZE_LIFETIME_MAX_S (INT64_C(36525) * 86400) /* a hundred years */
#define COZE_JWT_DEFAULT_S  900                      /* section 4: duration_seconds */
#define COZE_SKEW_IGNORED_S 2     /* as near as a header in whole seconds can tell */
#define COZE_SKEW_TOLD_S    60    /* a 401 may come from a clock that is off by more */
#define COZE_TOKEN_MAX      16384 /* bytes */
#define COZE_INTERVAL_MIN_S 5     /* section 5: the default */
#define COZE_INTERVAL_MAX_S 3600
#define COZE_ECHO_MIN       16 /* bytes of a secret that are not shown, at its start */
#define COZE_PREFIXED_MIN   16 /* letters behind "pat_" and the like that make a token of it */
#define COZE_COPY_MAX       (REFUSAL_MESSAGE_MAX + 4) /* bytes; what is cut there is not shown */
#define COZE_REDACTED       "[redacted]"

/* What all steps of one decode() work on. */
struct coze_answer {
        const struct exchange *x;
        const struct http_response *resp;
        wall_t sent, received;
        struct json_object *body; /* NULL: not a JSON object */
        struct coze_error error;
        struct exchange_result *result;
};

static bool coze_is_word(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static size_t coze_common(const char *text, const struct secret *s) {
        size_t n = 0;

        while (s && n < secret_len(s) && text[n] && text[n] == secret_text(s)[n])
                n++;
        return n;
}

/* How many bytes at `text` are one of the secrets of the exchange, or the start of one. */
static size_t coze_echo(const struct exchange *x, const char *text) {
        const struct secret *secrets[] = { x->code, x->verifier, x->refresh_token, x->device_code,
                                           x->credential->client_secret };
        size_t longest = 0;

        for (size_t i = 0; i < N_ELEMENTS(secrets); i++) {
                size_t n = coze_common(text, secrets[i]);

                if (n > longest && (n == secret_len(secrets[i]) || n >= COZE_ECHO_MIN))
                        longest = n;
        }
        return longest;
}

/* How many bytes at the start of a word look like a token (section 9) or an assertion. */
static size_t coze_token_shape(const char *text) {
        static const char *const prefixes[] = { "pat_", "sat_", "czu_", "czs_", "code_", "cztei_" };

        if (strncmp(text, "eyJ", 3) == 0)
                return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789-_.");
        for (size_t i = 0; i < N_ELEMENTS(prefixes); i++) {
                size_t n = strlen(prefixes[i]), start = n;

                if (strncmp(text, prefixes[i], n) != 0)
                        continue;
                while (coze_is_word(text[n]))
                        n++;
                return n - start >= COZE_PREFIXED_MIN ? n : 0;
        }
        return 0;
}

/* Copies a provider's text, without secrets that it may echo, cleaned and cut. */
static void coze_copy(const struct exchange *x, const char *text, char *ret, size_t size) {
        char plain[COZE_COPY_MAX + sizeof(COZE_REDACTED)];
        size_t out = 0;

        for (const char *p = text; *p && out < COZE_COPY_MAX;) {
                size_t n = coze_echo(x, p);

                if (n == 0 && (p == text || !coze_is_word(p[-1])))
                        n = coze_token_shape(p);
                if (n == 0) {
                        plain[out++] = *p++;
                        continue;
                }
                out = (size_t) (stpcpy(plain + out, COZE_REDACTED) - plain);
                p += n;
        }
        why_clean(plain, out, ret, size);
        secret_wipe(plain, sizeof(plain));
}

/* A finite number in whole seconds, also when it is written as a string or with a fraction. */
static bool coze_number(struct json_object *o, const char *key, int64_t *ret) {
        struct json_object *v;
        const char *text;
        double d = NAN;
        char *end;

        if (json_get_int64(o, key, true, ret) == 0)
                return true;
        if (!json_object_object_get_ex(o, key, &v))
                return false;
        text = json_get_text(o, key);
        if (json_object_is_type(v, json_type_double))
                d = json_object_get_double(v);
        else if (text && text[strspn(text, "0123456789.")] == '\0') {
                d = strtod(text, &end);
                if (end == text || *end)
                        return false;
        }
        if (!(fabs(d) < 1e15)) /* nor NaN */
                return false;
        *ret = (int64_t) d;
        return true;
}

/* The first of the members that is a text and not empty, or NULL. */
static const char *coze_first_text(struct json_object *o, const char *const keys[], size_t n) {
        for (size_t i = 0; i < n; i++) {
                const char *text = json_get_text(o, keys[i]);

                if (text && *text)
                        return text;
        }
        return NULL;
}

/* `error` as an object is the older shape of an API error; null, false and {} stand for
 * nothing. */
static bool coze_has_error_object(struct json_object *o) {
        struct json_object *error;

        return json_object_object_get_ex(o, "error", &error) &&
               ((json_object_is_type(error, json_type_object) &&
                 json_object_object_length(error) > 0) ||
                json_object_is_type(error, json_type_array) ||
                json_object_is_type(error, json_type_int) ||
                (json_object_is_type(error, json_type_boolean) && json_object_get_boolean(error)));
}

static void coze_read_error(struct json_object *o, struct coze_error *ret) {
        static const char *const names[] = { "error_code", "error" };
        static const char *const texts[] = { "error_message", "error_description", "msg" };

        *ret = (struct coze_error){
                .name = coze_first_text(o, names, N_ELEMENTS(names)),
                .text = coze_first_text(o, texts, N_ELEMENTS(texts)),
        };
        if (!coze_number(o, "code", &ret->number) || ret->number == 0)
                (void) coze_number(o, "error_code", &ret->number); /* stays 0 */
        if (ret->name && ret->number != 0 && strspn(ret->name, "0123456789") == strlen(ret->name))
                ret->name = NULL; /* that number as a string */
        ret->any = ret->name || ret->number != 0 || coze_has_error_object(o) ||
                   coze_first_text(o, texts, 2); /* msg alone may say "success" */
}

/* The support id in the body: detail.logid, of old error.logid. */
static const char *coze_body_logid(struct json_object *o) {
        static const char *const parents[] = { "detail", "error" };
        struct json_object *parent;

        for (size_t i = 0; i < N_ELEMENTS(parents); i++) {
                if (!json_object_object_get_ex(o, parents[i], &parent) ||
                    !json_object_is_type(parent, json_type_object))
                        continue;
                if (json_get_text(parent, "logid"))
                        return json_get_text(parent, "logid");
        }
        return NULL;
}

/* The smallest difference between the clocks that the Date header allows for. */
static int64_t coze_skew(const struct coze_answer *a) {
        wall_t sent = a->sent.s < a->received.s ? a->sent : a->received;

        if (a->resp->date.s < sent.s)
                return a->resp->date.s - sent.s;
        if (a->resp->date.s > a->received.s)
                return a->resp->date.s - a->received.s;
        return 0;
}

/* Seconds from the request to its answer. */
static int64_t coze_took(const struct coze_answer *a) {
        return a->received.s > a->sent.s ? a->received.s - a->sent.s : 0;
}

/* Seconds left of an `expires_in` at the moment of receipt. */
static int64_t coze_remaining(const struct coze_answer *a, int64_t expires_in) {
        int64_t skew = a->result->has_skew ? a->result->skew_s : 0;
        int64_t took = coze_took(a);

        if (expires_in < COZE_ABSOLUTE_S)
                return expires_in - took;
        if (skew > COZE_SKEW_IGNORED_S) /* the date may have been written as soon as we had sent */
                return expires_in - (a->resp->date.s + took);
        if (skew >= -COZE_SKEW_IGNORED_S && skew <= COZE_SKEW_IGNORED_S)
                skew = 0;
        return expires_in - (a->received.s + skew);
}

/* An answer that is no success and no refusal that could be understood. */
__attribute__((format(printf, 3, 4))) static void coze_nonsense(struct coze_answer *a,
                                                                const char *advice,
                                                                const char *format, ...) {
        struct refusal *refusal = &a->result->refusal;
        va_list ap;

        refusal->kind = REFUSAL_NONSENSE;
        va_start(ap, format);
        (void) vsnprintf(refusal->message, sizeof(refusal->message), format, ap); /* cut is fine */
        va_end(ap);
        (void) snprintf(refusal->advice, sizeof(refusal->advice), "%s", advice);
}

/* "URL answered HTTP 200 with text/html instead of JSON": for an answer that has no text of
 * its own. */
static int coze_describe(struct coze_answer *a) {
        const struct http_response *resp = a->resp;
        AUTO(auto_freep) char *url = NULL;
        char type[HTTP_TYPE_MAX];
        const char *what = resp->too_large               ? ", more than can be read"
                           : secret_len(resp->body) == 0 ? ", empty"
                           : a->body                     ? ", which says nothing"
                                                         : ", not a JSON object";
        int r;

        r = coze_url(a->x, &url);
        if (r < 0)
                return PASS(r);
        coze_copy(a->x, resp->content_type, type, sizeof(type));
        (void) snprintf(a->result->refusal.message, sizeof(a->result->refusal.message),
                        "%s answered HTTP %d with %s%s", url, resp->status,
                        *type ? type : "no content type", what); /* cut is fine */
        return 0;
}

/* A 401 of a provider whose clock differs: iat and exp of an assertion depend on it. */
static void coze_tell_skew(struct coze_answer *a) {
        struct exchange_result *result = a->result;
        int64_t s = result->skew_s;
        char span[32], rest[REFUSAL_MESSAGE_MAX];

        if (a->resp->status != 401 || !result->has_skew ||
            (s >= -COZE_SKEW_TOLD_S && s <= COZE_SKEW_TOLD_S))
                return;
        memcpy(rest, result->refusal.advice, sizeof(rest));
        text_format_span((s < 0 ? -s : s) * US_PER_S, span, sizeof(span));
        (void) snprintf(result->refusal.advice, sizeof(result->refusal.advice),
                        "this machine's clock is %s %s the provider's: correct it%s%s", span,
                        s > 0 ? "behind" : "ahead of", *rest ? "; else " : "", rest); /* as above */
}

static int coze_refuse(struct coze_answer *a) {
        struct refusal *refusal = &a->result->refusal;

        coze_classify(a->x, a->resp, a->body ? &a->error : NULL, refusal);
        if (a->error.name)
                coze_copy(a->x, a->error.name, refusal->code, sizeof(refusal->code));
        else if (a->error.number != 0)
                (void) snprintf(refusal->code, sizeof(refusal->code), "%" PRId64, a->error.number);
        coze_tell_skew(a);
        if (!a->error.text)
                return PASS(coze_describe(a));
        coze_copy(a->x, a->error.text, refusal->message, sizeof(refusal->message));
        return 0;
}

/* A lifetime of at least a second. False: refused as nonsense. */
static bool coze_read_lifetime(struct coze_answer *a) {
        int64_t expires_in = 0, left;

        if (!coze_number(a->body, "expires_in", &expires_in) || expires_in <= 0) {
                coze_nonsense(a, "check api_url of the provider: is this the API of Coze?",
                              "the answer has no expires_in that is a positive number");
                return false;
        }
        left = coze_remaining(a, expires_in);
        if (left <= 0) {
                coze_nonsense(a,
                              "compare the clocks of this machine and of the provider (its Date "
                              "header): one of them is wrong",
                              "the token has expired already: expires_in is %" PRId64
                              ", this machine's clock is at %" PRId64 "%s",
                              expires_in, a->received.s,
                              a->result->has_skew ? "" : " and the provider sends no Date");
                return false;
        }
        if (left > COZE_LIFETIME_MAX_S) {
                coze_nonsense(a, "check api_url of the provider: is this the API of Coze?",
                              "expires_in is %" PRId64 ": that is neither seconds nor a UNIX time",
                              expires_in);
                return false;
        }
        a->result->lifetime_us = left * US_PER_S;
        if (expires_in >= COZE_ABSOLUTE_S && a->result->has_skew)
                a->result->lifetime_dated_us = a->result->lifetime_us;
        return true;
}

static int coze_read_secret(struct json_object *o, const char *key, struct secret **ret) {
        const char *text = json_get_text(o, key);

        if (!text || !*text)
                return 0;
        *ret = secret_new(text, strlen(text));
        return *ret ? 0 : RAISE(-ENOMEM);
}

/* For how long the JWT's token was to live. */
static void coze_limit_lifetime(struct coze_answer *a) {
        struct exchange_result *result = a->result;
        int64_t limit;

        if (a->x->kind != EXCHANGE_JWT_BEARER)
                return;
        result->lifetime_requested_us = (a->x->duration_s > 0 ? a->x->duration_s
                                                              : COZE_JWT_DEFAULT_S) *
                                        US_PER_S;
        limit = result->lifetime_requested_us;
        if (result->lifetime_us > limit + COZE_SKEW_IGNORED_S * US_PER_S &&
            limit > coze_took(a) * US_PER_S)
                limit -= coze_took(a) * US_PER_S; /* a clock is off: it began when we had sent */
        if (result->lifetime_us > limit)
                result->lifetime_us = limit;
}

static int coze_read_tokens(struct coze_answer *a) {
        const char *token = json_get_text(a->body, "access_token");
        const char *type = json_get_text(a->body, "token_type");
        int r;

        /* first: it counts, whatever is wrong with the rest, since the one before it is spent */
        if (a->x->kind != EXCHANGE_JWT_BEARER) {
                r = coze_read_secret(a->body, "refresh_token", &a->result->refresh_token);
                if (r < 0)
                        return PASS(r);
        }
        if (!token || !text_is_bearer_token(token, strlen(token)) ||
            strlen(token) > COZE_TOKEN_MAX) {
                coze_nonsense(a, "check api_url of the provider: is this the API of Coze?",
                              "the answer has no access_token that could stand in a header");
                return 0;
        }
        if (type && *type && strcasecmp(type, "Bearer") != 0) {
                coze_nonsense(a, "only bearer tokens can be handed out",
                              "the answer's token_type is not Bearer");
                return 0;
        }
        if (!coze_read_lifetime(a))
                return 0;
        coze_limit_lifetime(a);
        return PASS(coze_read_secret(a->body, "access_token", &a->result->access_token));
}

/* A page that a person is sent to: an URL of the web, without anything that could fool a
 * terminal. */
static bool coze_is_page(const char *url) {
        return (strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0) &&
               text_is_bearer_token(url, strlen(url));
}

/* A text or a number, printable, as a text. False: absent, or does not fit. */
static bool coze_read_user_code(struct json_object *o, char *ret, size_t size) {
        const char *text = json_get_text(o, "user_code");
        int64_t number;

        if (!text && json_get_int64(o, "user_code", false, &number) == 0 && number >= 0)
                return snprintf(ret, size, "%" PRId64, number) < (int) size;
        if (!text || !text_is_bearer_token(text, strlen(text)) || strlen(text) >= size)
                return false;
        (void) stpcpy(ret, text);
        return true;
}

/* Coze sends none; its SDKs put it together in this way. */
static void coze_complete_uri(struct exchange_result *result, const char *given) {
        char *ret = result->verification_uri_complete;
        size_t size = sizeof(result->verification_uri_complete);
        bool query = strchr(result->verification_uri, '?');
        int n;

        if (given && *given && coze_is_page(given) && strlen(given) < size) {
                (void) stpcpy(ret, given);
                return;
        }
        n = snprintf(ret, size, "%s%suser_code=", result->verification_uri, query ? "&" : "?");
        for (const char *p = result->user_code; *p && n >= 0 && (size_t) n + 4 < size; p++)
                n += coze_is_word(*p) || strchr("-._~", *p)
                             ? snprintf(ret + n, size - (size_t) n, "%c", *p)
                             : snprintf(ret + n, size - (size_t) n, "%%%02X", (unsigned char) *p);
}

static int coze_read_device(struct coze_answer *a) {
        struct exchange_result *result = a->result;
        const char *code = json_get_text(a->body, "device_code");
        const char *uri = json_get_text(a->body, "verification_uri");
        int64_t interval = COZE_INTERVAL_MIN_S;

        if (!code || !*code ||
            !coze_read_user_code(a->body, result->user_code, sizeof(result->user_code)) || !uri ||
            !coze_is_page(uri) || strlen(uri) >= sizeof(result->verification_uri)) {
                coze_nonsense(a, "check api_url of the provider: is this the API of Coze?",
                              "the answer lacks a usable device_code, user_code or "
                              "verification_uri");
                return 0;
        }
        if (!coze_read_lifetime(a))
                return 0;
        (void) stpcpy(result->verification_uri, uri);
        coze_complete_uri(result, json_get_text(a->body, "verification_uri_complete"));
        (void) coze_number(a->body, "interval", &interval); /* optional */
        if (interval < COZE_INTERVAL_MIN_S)
                interval = COZE_INTERVAL_MIN_S;
        if (interval > COZE_INTERVAL_MAX_S)
                interval = COZE_INTERVAL_MAX_S;
        result->interval_us = interval * US_PER_S;
        return PASS(coze_read_secret(a->body, "device_code", &result->device_code));
}

static int coze_understand(struct coze_answer *a) {
        bool success = a->resp->status >= 200 && a->resp->status < 300 && !a->resp->too_large;

        if (!success || !a->body || a->error.any)
                return PASS(coze_refuse(a));
        if (json_object_object_length(a->body) == 0)
                return PASS(coze_refuse(a));
        return a->x->kind == EXCHANGE_DEVICE_START ? PASS(coze_read_device(a))
                                                   : PASS(coze_read_tokens(a));
}

int coze_decode(const struct exchange *x, const struct http_response *resp, wall_t sent,
                wall_t received, struct exchange_result *ret) {
        AUTO(json_wipep) struct json_object *body = NULL;
        struct exchange_result result = { .has_skew = resp->has_date };
        struct coze_answer a = {
                .x = x, .resp = resp, .sent = sent, .received = received, .result = &result
        };
        const char *logid = resp->logid;
        int r;

        assert(resp->outcome == HTTP_ANSWERED && resp->body);
        r = json_parse(secret_text(resp->body), secret_len(resp->body), &body);
        if (r == -ENOMEM)
                return PASS(r);
        if (json_object_is_type(body, json_type_object)) {
                a.body = body;
                coze_read_error(body, &a.error);
                if (!*logid && coze_body_logid(body))
                        logid = coze_body_logid(body);
        }
        if (result.has_skew)
                result.skew_s = coze_skew(&a);
        result.refusal.http_status = resp->status;
        result.refusal.retry_after_us = resp->retry_after_us;
        coze_copy(x, logid, result.refusal.logid, sizeof(result.refusal.logid));
        r = coze_understand(&a);
        if (r < 0) {
                exchange_result_done(&result);
                return PASS(r);
        }
        *ret = result;
        secret_wipe(&result, sizeof(result)); /* the user code */
        return 0;
}
