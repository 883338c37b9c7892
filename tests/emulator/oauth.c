#include "oauth.h"

#include <stdarg.h>
#include <time.h>

#include "call.h"
#include "memory.h"
#include "object.h"

#define HUGE_SIZE (10 * 1024 * 1024)

static const char html502[] =
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
        "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>"
        "\r\n</body>\r\n</html>\r\n";
static const char html200[] = "<!DOCTYPE html><html><head><title>Welcome</title></head><body>"
                              "<form action=\"/login\">Accept the terms to use this network.</form>"
                              "</body></html>";
static const char consent_page[] = "<!DOCTYPE html><html><head><title>Consent</title></head><body>"
                                   "A person who never decides is looking at this page.</body>"
                                   "</html>";

/* What a verdict that is not good is called on the wire, and whether the client is to blame. */
static const struct {
        unsigned status;
        const char *error, *message;
        bool violation;
} verdicts[VERDICT_MAX] = {
        [VERDICT_UNKNOWN] = { 400, "invalid_grant", "the grant is unknown, revoked or expired",
                              false },
        [VERDICT_SPENT] = { 400, "invalid_grant", "the grant was used before", true },
        [VERDICT_CLIENT] = { 400, "invalid_grant", "the grant belongs to another client_id", true },
        [VERDICT_REDIRECT_URI] = { 400, "invalid_request", "invalid request: redirect_uri", true },
        [VERDICT_VERIFIER] = { 400, "invalid_request", "invalid request: code_verifier", true },
        [VERDICT_PENDING] = { 400, "authorization_pending", "the person has not decided yet",
                              false },
        [VERDICT_SLOW_DOWN] = { 400, "slow_down", "polled too fast", true },
        [VERDICT_DENIED] = { 400, "access_denied", "the person refused", false },
        [VERDICT_EXPIRED] = { 400, "expired_token", "the device code has expired", false },
};

/* The answers of the token endpoint */

static struct json_object *pair_object(const struct pair *pair, const struct fault_hit *hit) {
        struct json_object *o = must(json_object_new_object());
        int64_t expires = pair->now + pair->lifetime_s;

        if (fault_alters(hit, FAULT_EXPIRED_TOKEN))
                expires = pair->now - 60;
        else if (fault_alters(hit, FAULT_RELATIVE_EXPIRES_IN))
                expires = pair->lifetime_s;
        if (!fault_alters(hit, FAULT_NO_ACCESS_TOKEN))
                object_add_string(o, "access_token", pair->access);
        if (fault_alters(hit, FAULT_NULL_EXPIRES_IN))
                json_object_object_add(o, "expires_in", NULL);
        else
                object_add_integer(o, "expires_in", expires);
        if (*pair->refresh && !fault_alters(hit, FAULT_NO_REFRESH_TOKEN))
                object_add_string(o, "refresh_token", pair->refresh);
        if (fault_alters(hit, FAULT_TOKEN_TYPE))
                object_add_string(o, "token_type", "Bearer");
        return o;
}

/* Members that say nothing: a client must neither stumble over them nor take them for an
 * error. */
static void add_extra_members(struct json_object *o) {
        struct json_object *nested = must(json_object_new_object());

        object_add_string(nested, "logid", "not of interest");
        json_object_object_add(o, "detail", nested);
        object_add_integer(o, "code", 0);
        object_add_string(o, "msg", "");
        object_add_string(o, "error", "");
        object_add_string(o, "error_code", "");
        json_object_object_add(o, "error_message", NULL);
        object_add_integer(o, "issued_at", 1);
}

static void answer_good(struct answer *ret, struct json_object *o, const struct fault_hit *hit) {
        if (fault_alters(hit, FAULT_EXTRA_MEMBERS))
                add_extra_members(o);
        answer_json(ret, 200, o);
}

static void answer_poll_error(struct answer *ret, enum verdict verdict, char style) {
        struct json_object *o = must(json_object_new_object());

        if (style == 'c') {
                object_add_string(o, "error", verdicts[verdict].error);
                object_add_string(o, "error_description", verdicts[verdict].message);
        } else {
                object_add_string(o, "error_code", verdicts[verdict].error);
                object_add_string(o, "error_message", verdicts[verdict].message);
        }
        if (style == 'a')
                object_add_string(o, "error", verdicts[verdict].error);
        answer_json(ret, style == 'b' ? 200 : verdicts[verdict].status, o);
}

static void answer_verdict(struct call *c, enum verdict verdict, const struct pair *pair,
                           struct answer *ret) {
        if (verdict == VERDICT_GOOD) {
                answer_good(ret, pair_object(pair, &c->hit), &c->hit);
                return;
        }
        if (verdict == VERDICT_SPENT && c->grant == GRANT_REFRESH_TOKEN)
                authority_violation(c->authority, c->rq->path, "spent refresh token presented");
        else if (verdicts[verdict].violation)
                authority_violation(c->authority, c->rq->path, "%s", verdicts[verdict].message);
        if (c->grant == GRANT_DEVICE_CODE)
                answer_poll_error(ret, verdict, c->hit.style);
        else
                answer_error(ret, verdicts[verdict].status, verdicts[verdict].error,
                             verdicts[verdict].message);
}

static void carry_out_token(struct call *c, struct answer *ret) {
        enum verdict verdict = VERDICT_GOOD;
        struct pair pair = { 0 };

        switch (c->grant) {
        case GRANT_JWT:
                authority_issue_service(c->authority, c->app, c->duration_s, &pair);
                break;
        case GRANT_AUTHORIZATION_CODE:
                verdict = authority_redeem_code(c->authority, c->app, c->code, c->redirect_uri,
                                                c->verifier, &pair);
                break;
        case GRANT_REFRESH_TOKEN:
                verdict = authority_refresh(c->authority, c->app, c->refresh_token, &c->hit, &pair);
                break;
        case GRANT_DEVICE_CODE:
                verdict = authority_poll_device(c->authority, c->app, c->device_code, &pair);
                break;
        case GRANT_MAX:
                break;
        }
        answer_verdict(c, verdict, &pair, ret);
}

/* The other endpoints */

static void carry_out_device(struct call *c, struct answer *ret) {
        bool number = fault_alters(&c->hit, FAULT_NUMBER_USER_CODE);
        AUTO(freep)
        char *uri = must_printf("%s/oauth/device-activation",
                                authority_directory(c->authority)->url);
        struct json_object *o = must(json_object_new_object());
        struct device device;

        authority_start_device(c->authority, c->app, number,
                               fault_alters(&c->hit, FAULT_STRING_USER_CODE), &device);
        object_add_string(o, "device_code", device.device_code);
        if (number)
                object_add_integer(o, "user_code", strtol(device.user_code, NULL, 10));
        else
                object_add_string(o, "user_code", device.user_code);
        object_add_string(o, "verification_uri", uri);
        object_add_integer(
                o, "expires_in",
                device.lifetime_s +
                        (fault_alters(&c->hit, FAULT_ABSOLUTE_DEVICE_EXPIRES_IN) ? device.now : 0));
        object_add_integer(o, "interval", device.interval_s);
        answer_good(ret, o, &c->hit);
}

/* RFC 3986 section 2.3: all but the unreserved characters. */
static char *percent_encode(const char *s) {
        char *encoded = must(malloc(3 * strlen(s) + 1)), *end = encoded;

        for (; *s; s++) {
                if (strchr(UNRESERVED, *s))
                        *end++ = *s;
                else
                        end += sprintf(end, "%%%02X", (unsigned char) *s);
        }
        *end = '\0';
        return encoded;
}

static void carry_out_authorize(struct call *c, struct answer *ret) {
        enum consent consent = authority_consent(c->authority);
        AUTO(freep) char *state = percent_encode(c->state);
        char joint = strchr(c->redirect_uri, '?') ? '&' : '?';
        char code[RANDOM_TOKEN_SIZE];

        if (consent == CONSENT_HOLD) {
                answer_text(ret, 200, "text/html; charset=utf-8", consent_page);
                return;
        }
        answer_text(ret, 302, "text/plain", "");
        if (consent == CONSENT_DENY) {
                ret->location = must_printf("%s%cerror=access_denied&error_description=%s&state=%s",
                                            c->redirect_uri, joint, "the%20person%20refused",
                                            state);
                return;
        }
        authority_issue_code(c->authority, c->app, c->redirect_uri, c->challenge, code);
        ret->location = must_printf("%s%ccode=%s&state=%s", c->redirect_uri, joint, code, state);
}

static void carry_out_users_me(struct call *c, struct answer *ret) {
        struct json_object *o, *data;
        const char *name;

        if (!authority_knows_token(c->authority, c->access_token, &name)) {
                answer_code(ret, 401, 4100, "authentication is invalid");
                return;
        }
        o = must(json_object_new_object());
        data = must(json_object_new_object());
        object_add_string(data, "user_id", "2101950000000001");
        object_add_string(data, "user_name", name);
        object_add_string(data, "nick_name", name);
        object_add_string(data, "avatar_url", "");
        object_add_integer(o, "code", 0);
        json_object_object_add(o, "data", data);
        object_add_string(o, "msg", "");
        answer_good(ret, o, &c->hit);
}

static void carry_out(struct call *c, struct answer *ret) {
        static void (*const endpoints[FAULT_AT_MAX])(struct call *, struct answer *) = {
                [FAULT_AT_TOKEN] = carry_out_token,
                [FAULT_AT_DEVICE] = carry_out_device,
                [FAULT_AT_AUTHORIZE] = carry_out_authorize,
                [FAULT_AT_USERS_ME] = carry_out_users_me,
        };

        if (!c->status) {
                endpoints[c->route->endpoint](c, ret);
                return;
        }
        if (c->route && c->route->endpoint == FAULT_AT_USERS_ME && c->status == 401)
                answer_code(ret, 401, 4100, "authentication is invalid");
        else
                answer_error(ret, c->status, c->error, c->message);
        if (c->status == 405)
                ret->allow = must_strdup(c->route->method);
}

/* Faults */

static void answer_rate_limit(struct call *c, struct answer *ret) {
        const struct fault_hit *hit = &c->hit;
        time_t at = (time_t) (authority_now(c->authority) + hit->retry_after_s);
        char date[64];
        struct tm tm;

        answer_error(ret, 429, "rate_limit_exceeded", "too many requests");
        if (hit->retry_after_s < 0)
                return;
        gmtime_r(&at, &tm);
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        ret->retry_after = hit->retry_after_date
                                   ? must_strdup(date)
                                   : must_printf("%lld", (long long) hit->retry_after_s);
}

static void answer_error_object(struct answer *ret, unsigned status) {
        struct json_object *o = must(json_object_new_object());
        struct json_object *error = must(json_object_new_object());

        object_add_string(error, "logid", "20240716210000000000000000000000");
        object_add_string(error, "detail", "the token is invalid");
        object_add_string(error, "help_doc", "https://www.coze.cn/docs/developer_guides");
        object_add_integer(o, "code", 4100);
        object_add_string(o, "msg", "authentication is invalid");
        json_object_object_add(o, "error", error);
        answer_json(ret, status, o);
}

static void answer_rfc_error(struct answer *ret, unsigned status, const char *error) {
        struct json_object *o = must(json_object_new_object());

        object_add_string(o, "error", error);
        object_add_string(o, "error_description", "refused by a fault of the emulator");
        answer_json(ret, status, o);
}

static void answer_fault(struct call *c, struct answer *ret) {
        const struct fault_hit *hit = &c->hit;
        unsigned status = (unsigned) hit->status;

        switch ((int) hit->decides) { /* those that decide without effect */
        case FAULT_STATUS:
                answer_text(ret, status, hit->content_type ? hit->content_type : "text/plain",
                            hit->body ? hit->body : "");
                return;
        case FAULT_HTML502:
                answer_text(ret, 502, "text/html", html502);
                return;
        case FAULT_HTML200:
                answer_text(ret, 200, "text/html; charset=utf-8", html200);
                return;
        case FAULT_EMPTY200:
                answer_text(ret, 200, "application/json", "");
                return;
        case FAULT_RATE_LIMIT:
                answer_rate_limit(c, ret);
                return;
        case FAULT_INTERNAL_ERROR:
                answer_error(ret, status ? status : 500, "internal_error",
                             "Service internal error.");
                return;
        case FAULT_INVALID_CLIENT:
                answer_error(ret, status ? status : 401, "invalid_client",
                             "invalid jwt: kid not been registred");
                return;
        case FAULT_INVALID_GRANT:
                answer_error(ret, status ? status : 400, "invalid_grant",
                             "the grant is unknown, revoked or expired");
                return;
        case FAULT_DEACTIVATED:
                answer_error(ret, status ? status : 400, "access_deny",
                             "app: emulated is currently deactivated by the owner");
                return;
        case FAULT_NUMERIC_CODE_200:
                answer_code(ret, 200, 4100, "authentication is invalid");
                return;
        case FAULT_ERROR_OBJECT:
                answer_error_object(ret, status ? status : 401);
                return;
        case FAULT_RFC_ERROR:
                answer_rfc_error(ret, status ? status : 400,
                                 hit->error ? hit->error : "invalid_request");
                return;
        case FAULT_REDIRECT_LOOP:
                answer_text(ret, 302, "text/plain", "");
                ret->location = must_strdup(c->rq->path);
                return;
        case FAULT_HANG:
                authority_hang(c->authority);
                ret->delivery = ANSWER_NONE;
                return;
        default: /* FAULT_DROP_BEFORE */
                ret->delivery = ANSWER_NONE;
                return;
        }
}

/* Good JSON, and 10 MB of white space before its end. */
static void answer_inflate(struct answer *ret) {
        char *body = must(malloc(ret->size + HUGE_SIZE + 1));

        if (ret->size == 0) {
                free(body);
                return;
        }
        memcpy(body, ret->body, ret->size - 1);
        memset(body + ret->size - 1, ' ', HUGE_SIZE);
        body[ret->size + HUGE_SIZE - 1] = ret->body[ret->size - 1];
        body[ret->size + HUGE_SIZE] = '\0';
        free(ret->body);
        ret->body = body;
        ret->size += HUGE_SIZE;
}

static void answer_spoil(const struct fault_hit *hit, struct answer *ret) {
        if (hit->decides == FAULT_DROP_AFTER_COMMIT)
                ret->delivery = ANSWER_NONE;
        else if (hit->decides == FAULT_TRUNCATED)
                ret->size /= 2;
        else if (hit->decides == FAULT_TRUNCATED_LENGTH)
                ret->delivery = ANSWER_CUT;
        else if (hit->decides == FAULT_HUGE_BODY)
                answer_inflate(ret);
}

void oauth_handle(struct authority *a, const struct request *rq, struct answer *ret) {
        struct call call;

        call_begin(&call, a, rq);
        if (call.hit.latency_ms > 0)
                authority_delay(a, call.hit.latency_ms);
        if (call.hit.decides < FAULT_DROP_AFTER_COMMIT) {
                answer_fault(&call, ret);
        } else {
                carry_out(&call, ret);
                answer_spoil(&call.hit, ret);
        }
        ret->no_date = fault_alters(&call.hit, FAULT_NO_DATE);
        ret->date_s = authority_now(a) + call.hit.date_offset_s;
        authority_logid(a, ret->logid);
        call_end(&call);
}
