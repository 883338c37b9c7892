#include "fault.h"

#include "memory.h"
#include "object.h"

struct active_fault {
        struct active_fault *next;
        enum fault fault;
        enum fault_endpoint endpoint;
        int64_t left; /* requests; -1: until it is cleared */
        struct json_object *description;
};

static const struct {
        const char *name;
        enum fault_endpoint endpoint; /* unless the description names another */
        const char *parameters[4];
        const char *help;
} faults[FAULT_MAX] = {
        [FAULT_STATUS] = { "status",
                           FAULT_AT_TOKEN,
                           { "status", "body", "content_type" },
                           "answers with this status, body and content type" },
        [FAULT_HTML502] = { "html502",
                            FAULT_AT_TOKEN,
                            { 0 },
                            "a gateway's error page, status 502" },
        [FAULT_HTML200] = { "html200",
                            FAULT_AT_TOKEN,
                            { 0 },
                            "a captive portal's page, status 200" },
        [FAULT_EMPTY200] = { "empty200", FAULT_AT_TOKEN, { 0 }, "no body, status 200" },
        [FAULT_RATE_LIMIT] = { "rate_limit",
                               FAULT_AT_TOKEN,
                               { "retry_after", "retry_after_date" },
                               "status 429; retry_after: seconds (absent: no header), retry_after_date: "
                               "true for the form with a date" },
        [FAULT_INTERNAL_ERROR] = { "internal_error",
                                   FAULT_AT_TOKEN,
                                   { "status" },
                                   "error_code internal_error, status 500 unless given" },
        [FAULT_INVALID_CLIENT] = { "invalid_client",
                                   FAULT_AT_TOKEN,
                                   { "status" },
                                   "error_code invalid_client, status 401 unless given" },
        [FAULT_INVALID_GRANT] = { "invalid_grant",
                                  FAULT_AT_TOKEN,
                                  { "status" },
                                  "error_code invalid_grant, status 400 unless given" },
        [FAULT_DEACTIVATED] = { "deactivated",
                                FAULT_AT_TOKEN,
                                { "status" },
                                "error_code access_deny, as of a deactivated application, status "
                                "400 unless given" },
        [FAULT_NUMERIC_CODE_200] = { "numeric_code_200",
                                     FAULT_AT_TOKEN,
                                     { 0 },
                                     "code 4100 and msg, status 200" },
        [FAULT_ERROR_OBJECT] = { "error_object",
                                 FAULT_AT_TOKEN,
                                 { "status" },
                                 "code, msg and error as an object, status 401 unless given" },
        [FAULT_RFC_ERROR] = { "rfc_error",
                              FAULT_AT_TOKEN,
                              { "status", "error" },
                              "error (invalid_request unless given) and error_description alone, "
                              "status 400 unless given" },
        [FAULT_REDIRECT_LOOP] = { "redirect_loop", FAULT_AT_TOKEN, { 0 }, "status 302 to itself" },
        [FAULT_HANG] = { "hang",
                         FAULT_AT_TOKEN,
                         { 0 },
                         "never answers, until faults are cleared or 300 s have passed" },
        [FAULT_DROP_BEFORE] = { "drop_before",
                                FAULT_AT_TOKEN,
                                { 0 },
                                "closes the connection; the request has no effect" },
        [FAULT_DROP_AFTER_COMMIT] = { "drop_after_commit",
                                      FAULT_AT_TOKEN,
                                      { 0 },
                                      "carries the request out, then closes the connection" },
        [FAULT_TRUNCATED] = { "truncated", FAULT_AT_TOKEN, { 0 }, "half of the good answer" },
        [FAULT_TRUNCATED_LENGTH] = { "truncated_length",
                                     FAULT_AT_TOKEN,
                                     { 0 },
                                     "promises a longer body than it sends, then closes" },
        [FAULT_HUGE_BODY] = { "huge_body",
                              FAULT_AT_TOKEN,
                              { 0 },
                              "the good answer with 10 MB more in it" },
        [FAULT_NO_ACCESS_TOKEN] = { "no_access_token",
                                    FAULT_AT_TOKEN,
                                    { 0 },
                                    "the answer lacks access_token" },
        [FAULT_NULL_EXPIRES_IN] = { "null_expires_in",
                                    FAULT_AT_TOKEN,
                                    { 0 },
                                    "expires_in is null" },
        [FAULT_EXPIRED_TOKEN] = { "expired_token",
                                  FAULT_AT_TOKEN,
                                  { 0 },
                                  "expires_in lies a minute in the past" },
        [FAULT_RELATIVE_EXPIRES_IN] = { "relative_expires_in",
                                        FAULT_AT_TOKEN,
                                        { 0 },
                                        "expires_in counts from now" },
        [FAULT_ABSOLUTE_DEVICE_EXPIRES_IN] = { "absolute_device_expires_in",
                                               FAULT_AT_DEVICE,
                                               { 0 },
                                               "expires_in of a device start is a UNIX time" },
        [FAULT_DATE_OFFSET] = { "date_offset",
                                FAULT_AT_ANY,
                                { "seconds" },
                                "the Date header, and nothing else, is wrong by this much" },
        [FAULT_NO_DATE] = { "no_date", FAULT_AT_ANY, { 0 }, "no Date header" },
        [FAULT_LATENCY] = { "latency", FAULT_AT_TOKEN, { "ms" }, "begins this much later" },
        [FAULT_NO_REFRESH_TOKEN] = { "no_refresh_token",
                                     FAULT_AT_TOKEN,
                                     { 0 },
                                     "the answer lacks refresh_token" },
        [FAULT_REUSE_REVOKES_ALL] = { "reuse_revokes_all",
                                      FAULT_AT_TOKEN,
                                      { 0 },
                                      "a spent refresh token kills every token of its grant" },
        [FAULT_SAME_REFRESH_TOKEN] = { "same_refresh_token",
                                       FAULT_AT_TOKEN,
                                       { 0 },
                                       "a refresh does not rotate the refresh token" },
        [FAULT_DEVICE_STYLE] = { "device_style",
                                 FAULT_AT_TOKEN,
                                 { "style" },
                                 "a device poll is refused as a: status 400, error_code and error; "
                                 "b: status 200, error_code; c: status 400, RFC 6749" },
        [FAULT_STRING_USER_CODE] = { "string_user_code",
                                     FAULT_AT_DEVICE,
                                     { 0 },
                                     "user_code looks like VIK-AZC-ZTV" },
        [FAULT_NUMBER_USER_CODE] = { "number_user_code",
                                     FAULT_AT_DEVICE,
                                     { 0 },
                                     "user_code is a JSON number" },
        [FAULT_TOKEN_TYPE] = { "token_type", FAULT_AT_TOKEN, { 0 }, "adds token_type Bearer" },
        [FAULT_EXTRA_MEMBERS] = { "extra_members",
                                  FAULT_AT_TOKEN,
                                  { 0 },
                                  "adds members no client knows, and empty error members" },
};

static const char *const endpoints[FAULT_AT_MAX] = {
        [FAULT_AT_TOKEN] = "token",
        [FAULT_AT_DEVICE] = "device",
        [FAULT_AT_AUTHORIZE] = "authorize",
        [FAULT_AT_USERS_ME] = "users_me",
        [FAULT_AT_ANY] = "any",
};

static const struct {
        const char *name;
        enum json_type type;
} parameters[] = {
        { "status", json_type_int },
        { "body", json_type_string },
        { "content_type", json_type_string },
        { "retry_after", json_type_int },
        { "retry_after_date", json_type_boolean },
        { "seconds", json_type_int },
        { "ms", json_type_int },
        { "style", json_type_string },
        { "error", json_type_string },
};

static const char *fault_check_parameter(enum fault fault, const char *name,
                                         struct json_object *value) {
        static _Thread_local char why[128];
        bool known = false;

        for (size_t i = 0; i < N_ELEMENTS(faults[fault].parameters); i++)
                known |= faults[fault].parameters[i] &&
                         strcmp(faults[fault].parameters[i], name) == 0;
        if (!known) {
                snprintf(why, sizeof(why), "%s has no parameter %s", faults[fault].name, name);
                return why;
        }
        for (size_t i = 0; i < N_ELEMENTS(parameters); i++) {
                if (strcmp(parameters[i].name, name) == 0 &&
                    !json_object_is_type(value, parameters[i].type)) {
                        snprintf(why, sizeof(why), "%s is no %s", name,
                                 json_type_to_name(parameters[i].type));
                        return why;
                }
        }
        return NULL;
}

static const char *fault_check(enum fault fault, struct json_object *description) {
        const char *style = object_string(description, "style");
        int64_t status = 0;

        json_object_object_foreach(description, name, value) {
                const char *wrong;

                if (strcmp(name, "fault") == 0 || strcmp(name, "times") == 0 ||
                    strcmp(name, "endpoint") == 0)
                        continue;
                wrong = fault_check_parameter(fault, name, value);
                if (wrong)
                        return wrong;
        }
        if (object_integer(description, "status", &status) && (status < 200 || status > 599))
                return "status is not in 200 to 599";
        if (fault == FAULT_STATUS && status == 0)
                return "status is missing";
        if (fault == FAULT_DEVICE_STYLE && (!style || strlen(style) != 1 || !strchr("abc", *style)))
                return "style is not a, b or c";
        return NULL;
}

const char *fault_add(struct fault_list *list, struct json_object *description) {
        const char *name = object_string(description, "fault");
        const char *at = object_string(description, "endpoint");
        struct active_fault *f, **end = &list->first;
        int64_t times = 0;
        size_t fault = 0, endpoint = 0;
        const char *wrong;

        while (fault < FAULT_MAX && (!name || strcmp(faults[fault].name, name) != 0))
                fault++;
        if (fault == FAULT_MAX)
                return "no such fault; emulator --help lists them";
        while (at && endpoint < FAULT_AT_MAX && strcmp(endpoints[endpoint], at) != 0)
                endpoint++;
        if (endpoint == FAULT_AT_MAX)
                return "endpoint is not token, device, authorize, users_me or any";
        if (json_object_object_get_ex(description, "times", NULL) &&
            (!object_integer(description, "times", &times) || times < 0))
                return "times is no number of requests";
        wrong = fault_check((enum fault) fault, description);
        if (wrong)
                return wrong;

        f = must(calloc(1, sizeof(*f)));
        f->fault = (enum fault) fault;
        f->endpoint = at ? (enum fault_endpoint) endpoint : faults[fault].endpoint;
        f->left = times ? times : -1;
        f->description = json_object_get(description);
        while (*end)
                end = &(*end)->next;
        *end = f;
        return NULL;
}

static void fault_copy_string(struct json_object *description, const char *name, char **ret) {
        struct json_object *value = json_object_object_get(description, name);

        if (!value || *ret)
                return;
        *ret = must_strdup(json_object_get_string(value));
}

static void fault_copy(const struct active_fault *f, struct fault_hit *ret) {
        const char *style = object_string(f->description, "style");

        (void) object_integer(f->description, "status", &ret->status); /* or the default stays */
        (void) object_integer(f->description, "retry_after", &ret->retry_after_s);
        (void) object_integer(f->description, "seconds", &ret->date_offset_s);
        (void) object_integer(f->description, "ms", &ret->latency_ms);
        ret->retry_after_date |= json_object_get_boolean(
                json_object_object_get(f->description, "retry_after_date"));
        if (style)
                ret->style = *style;
        fault_copy_string(f->description, "body", &ret->body);
        fault_copy_string(f->description, "content_type", &ret->content_type);
        fault_copy_string(f->description, "error", &ret->error);
}

static void active_fault_free(struct active_fault *f) {
        json_object_put(f->description);
        free(f);
}

void fault_take(struct fault_list *list, enum fault_endpoint endpoint, struct fault_hit *ret) {
        *ret = (struct fault_hit){ .decides = FAULT_MAX, .retry_after_s = -1, .style = 'a' };
        for (struct active_fault **link = &list->first, *f; (f = *link);) {
                bool decides = f->fault < FAULT_NO_ACCESS_TOKEN;

                if ((f->endpoint != endpoint && f->endpoint != FAULT_AT_ANY) ||
                    (decides && ret->decides != FAULT_MAX)) {
                        link = &f->next;
                        continue;
                }
                if (decides)
                        ret->decides = f->fault;
                else
                        ret->alters |= UINT64_C(1) << f->fault;
                fault_copy(f, ret);
                if (f->left > 0 && --f->left == 0) {
                        *link = f->next;
                        active_fault_free(f);
                } else {
                        link = &f->next;
                }
        }
}

void fault_hit_done(struct fault_hit *hit) {
        free(hit->body);
        free(hit->content_type);
        free(hit->error);
}

void fault_clear(struct fault_list *list) {
        while (list->first) {
                struct active_fault *f = list->first;

                list->first = f->next;
                active_fault_free(f);
        }
}

void fault_help(FILE *f) {
        for (size_t i = 0; i < FAULT_MAX; i++) {
                fprintf(f, "  %s", faults[i].name);
                for (size_t j = 0; j < N_ELEMENTS(faults[i].parameters); j++) {
                        if (faults[i].parameters[j])
                                fprintf(f, " %s", faults[i].parameters[j]);
                }
                fprintf(f, " (%s)\n      %s\n", endpoints[faults[i].endpoint], faults[i].help);
        }
}
