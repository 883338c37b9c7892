/*
 * What a refusal means is known from documents, SDKs and pasted answers that disagree on status
 * and spelling (coze-oauth.md sections 5 to 7). So the status decides only what is certain (rate
 * limit, server fault), then names and texts do, in tables, and only at the end the status again.
 * A grant is given up for nothing but a refusal in the provider's own words: never for a page of
 * a gateway, never for a number of the resource API.
 */
#include <stdio.h>
#include <string.h>

#include "base/auto.h"
#include "provider/coze.h"

#define COZE_REGION "check the region first (coze.cn and coze.com share nothing)"
#define COZE_LOGIN  "the authorization is not accepted any more: authorize again (bearerctl login)"

/* Anything but these from a poll is what it would be elsewhere. */
static const struct {
        const char *name;
        enum refusal_kind kind;
        const char *advice;
} coze_polls[] = {
        { "authorization_pending", REFUSAL_PENDING, "" },
        { "slow_down", REFUSAL_SLOW_DOWN, "" },
        { "access_denied", REFUSAL_DENIED,
          "the person refused: start again if that was a mistake" },
        { "expired_token", REFUSAL_EXPIRED, "the code ran out before it was entered: start again" },
};

/* The first row that fits counts. NULL fits all; a text is searched for in any case of letters. */
static const struct {
        const char *name, *text;
        enum refusal_kind kind;
        const char *advice;
} coze_rules[] = {
        { "internal_error", NULL, REFUSAL_TRANSIENT, "" },
        { "server_error", NULL, REFUSAL_TRANSIENT, "" },
        { "temporarily_unavailable", NULL, REFUSAL_TRANSIENT, "" },
        { "slow_down", NULL, REFUSAL_RATE_LIMIT, "" },
        { "rate_limit", NULL, REFUSAL_RATE_LIMIT, "" },
        { "rate_limited", NULL, REFUSAL_RATE_LIMIT, "" },
        { "rate_limit_exceeded", NULL, REFUSAL_RATE_LIMIT, "" },
        { "too_many_requests", NULL, REFUSAL_RATE_LIMIT, "" },
        { NULL, "kid not been regist", REFUSAL_CONFIGURATION,
          COZE_REGION ", then public_key_id (the fingerprint shown beside the key) and client_id; "
                      "a key made just now takes some seconds to be accepted" },
        { NULL, "connector app should bind connector", REFUSAL_CONFIGURATION,
          "a channel application must be bound to a channel in Coze's console; if it is of that "
          "type by mistake make a normal one, the type cannot be changed" },
        { NULL, "verify jwt empty", REFUSAL_CONFIGURATION,
          "the provider saw no assertion: does a proxy remove the Authorization header, and is the "
          "application's client type service, as type = jwt needs?" },
        { NULL, "deactivated", REFUSAL_DEACTIVATED,
          "its owner switched the application off in Coze's console: switched on again, "
          "everything works as before" },
        { NULL, "login session invalid", REFUSAL_GRANT, COZE_LOGIN },
        { NULL, "invalid app type", REFUSAL_CONFIGURATION,
          "a channel application cannot be used this way: make a normal application, the type of "
          "an existing one cannot be changed" },
        { "access_deny", NULL, REFUSAL_CONFIGURATION,
          "look at the application in Coze's console: is it switched on, installed, and of the "
          "right type?" },
        { "invalid_request", "client_secret", REFUSAL_CONFIGURATION,
          "a client secret is wanted: the application's client type is probably web backend, which "
          "is type = authorization_code with client_secret_file" },
        { "invalid_request", NULL, REFUSAL_CONFIGURATION,
          "a parameter was refused: compare client_id, redirect_uri (to the letter), "
          "token_lifetime, scope and ids with the application in Coze's console" },
        { "invalid_client", NULL, REFUSAL_CONFIGURATION,
          COZE_REGION ", then client_id and the key or client secret: they must belong to one "
                      "application" },
        { "unauthorized_client", NULL, REFUSAL_CONFIGURATION,
          COZE_REGION ", then whether the application's client type allows this type" },
        { "unsupported_grant_type", NULL, REFUSAL_CONFIGURATION,
          "the application's client type does not allow this type: compare the two in Coze's "
          "console" },
        { "invalid_scope", NULL, REFUSAL_CONFIGURATION,
          "compare permissions, bot_ids, workspace_ids and workflow_ids with what the application "
          "was granted; a scope works for channel applications only" },
        { "invalid_grant", NULL, REFUSAL_GRANT, COZE_LOGIN },
        { "invalid_token", NULL, REFUSAL_GRANT, COZE_LOGIN },
        { "unauthorized", NULL, REFUSAL_GRANT, COZE_LOGIN },
        { "expired_token", NULL, REFUSAL_GRANT, COZE_LOGIN },
};

/* Numeric codes of the resource API (section 7.2), should a token endpoint answer with one. */
static const struct {
        int64_t number;
        enum refusal_kind kind;
        const char *advice;
} coze_numbers[] = {
        { 4000, REFUSAL_CONFIGURATION, "a parameter was refused: see the message" },
        { 4008, REFUSAL_RATE_LIMIT, "" },
        { 4009, REFUSAL_TRANSIENT, "" },
        { 4011, REFUSAL_CONFIGURATION, "the balance of the Coze account is used up" },
        { 4013, REFUSAL_RATE_LIMIT, "" },
        { 4016, REFUSAL_TRANSIENT, "" },
        { 4019, REFUSAL_CONFIGURATION, "the balance of the Volcano Engine account is used up" },
        { 4020, REFUSAL_RATE_LIMIT, "" },
        { 4100, REFUSAL_CONFIGURATION, COZE_REGION ", then client_id and the key or secret" },
        { 4101, REFUSAL_CONFIGURATION, COZE_REGION ", then what the application was granted" },
        { 4102, REFUSAL_RATE_LIMIT, "Coze's risk control blocks the calls: wait" },
        { 4200, REFUSAL_CONFIGURATION,
          "not found: check api_url and the ids in the configuration" },
        { 5000, REFUSAL_TRANSIENT, "" },
        { 700012006, REFUSAL_CONFIGURATION,
          COZE_REGION ", then authorize again (bearerctl login)" },
};

/* An exchange that presents what a person's authorization left behind. */
static bool coze_presents_grant(const struct exchange *x) {
        return x->kind == EXCHANGE_AUTHORIZATION_CODE || x->kind == EXCHANGE_REFRESH_TOKEN ||
               x->kind == EXCHANGE_DEVICE_POLL;
}

static void coze_set(struct refusal *refusal, enum refusal_kind kind, const char *advice) {
        static const char region[] = "check the region first"; /* COZE_REGION */

        refusal->kind = kind;
        refusal->region = strncmp(advice, region, sizeof(region) - 1) == 0;
        (void) snprintf(refusal->advice, sizeof(refusal->advice), "%s", advice); /* cut is fine */
}

static bool coze_fits(const char *pattern, const char *name) {
        return !pattern || (name && strcmp(pattern, name) == 0);
}

static bool coze_set_by_poll(const struct exchange *x, const struct coze_error *error,
                             struct refusal *refusal) {
        if (x->kind != EXCHANGE_DEVICE_POLL || !error || !error->name)
                return false;
        for (size_t i = 0; i < N_ELEMENTS(coze_polls); i++)
                if (strcmp(coze_polls[i].name, error->name) == 0) {
                        coze_set(refusal, coze_polls[i].kind, coze_polls[i].advice);
                        return true;
                }
        return false;
}

/* What a status says for certain, whatever the body. */
static bool coze_set_by_status(int status, struct refusal *refusal) {
        if (status == 429)
                coze_set(refusal, REFUSAL_RATE_LIMIT, "");
        else if (status == 408 || status == 425 || status >= 500)
                coze_set(refusal, REFUSAL_TRANSIENT, "");
        else
                return false;
        return true;
}

static bool coze_set_by_name(const struct coze_error *error, struct refusal *refusal) {
        for (size_t i = 0; i < N_ELEMENTS(coze_rules); i++) {
                if (!coze_fits(coze_rules[i].name, error->name))
                        continue;
                if (coze_rules[i].text &&
                    (!error->text || !strcasestr(error->text, coze_rules[i].text)))
                        continue;
                coze_set(refusal, coze_rules[i].kind, coze_rules[i].advice);
                return true;
        }
        return false;
}

static bool coze_set_by_number(int64_t number, struct refusal *refusal) {
        for (size_t i = 0; i < N_ELEMENTS(coze_numbers); i++)
                if (coze_numbers[i].number == number) {
                        coze_set(refusal, coze_numbers[i].kind, coze_numbers[i].advice);
                        return true;
                }
        return false;
}

/* Statuses that speak of the URL or of the form of the request, not of what it presents. */
static bool coze_is_about_request(int status) {
        return status == 404 || status == 405 || status == 406 ||
               (status >= 410 && status <= 417) || status == 431;
}

/* An answer that is no JSON object: not from the token endpoint. */
static void coze_set_by_page(const struct http_response *resp, struct refusal *refusal) {
        if (resp->too_large || resp->status < 400 || coze_is_about_request(resp->status))
                coze_set(refusal, REFUSAL_NONSENSE,
                         "check api_url and www_url of the provider: swapped, misspelt, or "
                         "answered by a proxy or login page?");
        else
                coze_set(refusal, REFUSAL_TRANSIENT,
                         "not Coze's own answer: a proxy, gateway or firewall on the way?");
}

/* An error that no table knows. */
static void coze_set_by_rest(const struct exchange *x, const struct http_response *resp,
                             const struct coze_error *error, struct refusal *refusal) {
        if (!error->any || resp->status < 400)
                coze_set(refusal, REFUSAL_NONSENSE,
                         "check api_url of the provider: is this the API of Coze?");
        else if (error->name && coze_presents_grant(x) && !coze_is_about_request(resp->status))
                coze_set(refusal, REFUSAL_GRANT, COZE_LOGIN);
        else
                coze_set(refusal, REFUSAL_CONFIGURATION,
                         COZE_REGION ", then the application's settings in Coze's console");
}

void coze_classify(const struct exchange *x, const struct http_response *resp,
                   const struct coze_error *error, struct refusal *refusal) {
        if (coze_set_by_poll(x, error, refusal) || coze_set_by_status(resp->status, refusal))
                return;
        if (!error || resp->too_large || (resp->status >= 300 && resp->status < 400))
                coze_set_by_page(resp, refusal);
        else if (!coze_set_by_name(error, refusal) && !coze_set_by_number(error->number, refusal))
                coze_set_by_rest(x, resp, error, refusal);
        if (refusal->kind == REFUSAL_GRANT && !coze_presents_grant(x))
                coze_set(refusal, REFUSAL_CONFIGURATION,
                         COZE_REGION ", then client_id, key and ids of the credential");
}
