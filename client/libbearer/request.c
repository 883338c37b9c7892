#include "client/libbearer/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/libbearer/json.h"
#include "client/libbearer/thread.h"
#include "client/protocol.h"
#include "client/wire.h"

#define REQUEST_DURATION_MAX_S 86399
#define REQUEST_OBJECT_MAX     16384 /* bytes of a scope or a session context */

static char request_nothing[1];

const struct bearer_request request_default = {
        .subject = request_nothing,
        .scope = request_nothing,
        .session_context = request_nothing,
        .wait_s = PROTOCOL_WAIT_DEFAULT_S,
        .min_ttl_s = -1,
        .key = request_nothing,
        .hash = 0,
};

static void request_wipe(char *text) {
        if (text)
                explicit_bzero(text, strlen(text)); /* a session context may be confidential */
        free(text);
}

struct bearer_request *bearer_request_free(struct bearer_request *rq) {
        if (!rq)
                return NULL;
        request_wipe(rq->subject);
        request_wipe(rq->scope);
        request_wipe(rq->session_context);
        request_wipe(rq->key);
        free(rq);
        return NULL;
}

struct bearer_request *request_copy(const struct bearer_request *rq) {
        struct bearer_request *copy = malloc(sizeof(*copy));

        if (!copy)
                return NULL;
        *copy = *rq;
        copy->subject = strdup(rq->subject);
        copy->scope = strdup(rq->scope);
        copy->session_context = strdup(rq->session_context);
        copy->key = strdup(rq->key);
        if (!copy->subject || !copy->scope || !copy->session_context || !copy->key)
                return bearer_request_free(copy);
        return copy;
}

int bearer_request_new(struct bearer_request **ret) {
        struct bearer_request *rq;

        if (!ret)
                return thread_fail(-EINVAL, "bearer_request_new: no place for what it makes");
        rq = request_copy(&request_default);
        if (!rq)
                return thread_fail(-ENOMEM, NULL);
        *ret = rq;
        return 0;
}

/* Changes one text and the key that is made of all, or nothing. */
static int request_change(struct bearer_request *rq, char **field, const char *text,
                          int duration_s) {
        struct bearer_request changed = *rq;
        char *copy = strdup(text), *key = NULL;
        uint32_t hash = 0;
        int n;

        if (!copy)
                return thread_fail(-ENOMEM, NULL);
        if (field == &rq->subject)
                changed.subject = copy;
        else if (field == &rq->scope)
                changed.scope = copy;
        else if (field == &rq->session_context)
                changed.session_context = copy;
        if (*changed.subject || *changed.scope || *changed.session_context || duration_s != 0) {
                n = asprintf(&key, "\n%s\n%d\n%s\n%s", changed.subject, duration_s, changed.scope,
                             changed.session_context);
                if (n < 0)
                        key = NULL;
        } else {
                key = strdup("");
        }
        if (!key) {
                request_wipe(copy);
                return thread_fail(-ENOMEM, NULL);
        }
        for (const char *p = key; *p; p++)
                hash = request_hash(hash, *p);
        if (field) {
                request_wipe(*field);
                *field = copy;
        } else {
                request_wipe(copy);
        }
        request_wipe(rq->key);
        rq->key = key;
        rq->hash = hash;
        rq->duration_s = duration_s;
        return 0;
}

int bearer_request_set_subject(struct bearer_request *rq, const char *subject) {
        if (!rq)
                return thread_fail(-EINVAL, "bearer_request_set_subject: no request");
        if (subject && strlen(subject) > PROTOCOL_SUBJECT_MAX)
                return thread_fail(-EINVAL, "the subject is longer than %d bytes",
                                   PROTOCOL_SUBJECT_MAX);
        return request_change(rq, &rq->subject, subject ? subject : "", rq->duration_s);
}

int bearer_request_set_min_ttl(struct bearer_request *rq, int64_t seconds) {
        if (!rq || seconds < -1 || seconds > INT32_MAX)
                return thread_fail(-EINVAL, "min_ttl must be -1 (the default) or a number of "
                                            "seconds");
        rq->min_ttl_s = seconds;
        return 0;
}

int bearer_request_set_wait(struct bearer_request *rq, int seconds) {
        if (!rq || seconds < 0 || seconds > PROTOCOL_WAIT_MAX_S)
                return thread_fail(-EINVAL, "wait must be from 0 to %d seconds",
                                   PROTOCOL_WAIT_MAX_S);
        rq->wait_s = seconds;
        return 0;
}

int bearer_request_set_duration(struct bearer_request *rq, int seconds) {
        if (!rq || seconds < 0 || seconds > REQUEST_DURATION_MAX_S)
                return thread_fail(-EINVAL,
                                   "a duration must be from 1 to %d seconds, or 0: as configured",
                                   REQUEST_DURATION_MAX_S);
        return request_change(rq, NULL, "", seconds);
}

static int request_set_object(struct bearer_request *rq, char **field, const char *what,
                              const char *json) {
        if (json && (strlen(json) > REQUEST_OBJECT_MAX || !json_is_object(json)))
                return thread_fail(-EINVAL, "a %s must be one JSON object of at most %d bytes",
                                   what, REQUEST_OBJECT_MAX);
        return request_change(rq, field, json ? json : "", rq->duration_s);
}

int bearer_request_set_scope(struct bearer_request *rq, const char *json) {
        if (!rq)
                return thread_fail(-EINVAL, "bearer_request_set_scope: no request");
        return request_set_object(rq, &rq->scope, "scope", json);
}

int bearer_request_set_session_context(struct bearer_request *rq, const char *json) {
        if (!rq)
                return thread_fail(-EINVAL, "bearer_request_set_session_context: no request");
        return request_set_object(rq, &rq->session_context, "session context", json);
}

/* The bytes */

static int request_make(const struct wire_request *http, char **ret, size_t *ret_len) {
        char head[WIRE_REQUEST_HEAD_MAX], *text;
        size_t len;
        int r;

        r = wire_format_head(http, head, &len);
        if (r < 0)
                return r;
        text = malloc(len + http->body_len + 1);
        if (!text)
                return -ENOMEM;
        memcpy(text, head, len);
        if (http->body)
                memcpy(text + len, http->body, http->body_len);
        *ret = text;
        *ret_len = len + http->body_len;
        return 0;
}

/* Only a body can say these. */
static char *request_body(const struct bearer_request *rq, const char *rejected, int wait_s) {
        char *body = malloc(256 + 6 * strlen(rq->subject) + strlen(rq->scope) +
                            strlen(rq->session_context)),
             *p = body;

        if (!body)
                return NULL;
        p += sprintf(p, "{\"wait\":%d", wait_s);
        if (*rq->subject)
                p = json_quote(rq->subject, stpcpy(p, ",\"subject\":"));
        if (rq->min_ttl_s >= 0)
                p += sprintf(p, ",\"min_ttl\":%" PRId64, rq->min_ttl_s);
        if (*rejected)
                p = json_quote(rejected, stpcpy(p, ",\"rejected\":"));
        if (rq->duration_s > 0)
                p += sprintf(p, ",\"duration_seconds\":%d", rq->duration_s);
        if (*rq->scope)
                p = stpcpy(stpcpy(p, ",\"scope\":"), rq->scope);
        if (*rq->session_context)
                p = stpcpy(stpcpy(p, ",\"session_context\":"), rq->session_context);
        (void) stpcpy(p, "}");
        return body;
}

int request_format(const char *credential, const struct bearer_request *rq, const char *rejected,
                   int wait_s, char **ret, size_t *ret_len) {
        struct wire_request http = { .method = "GET", .accept = "text/plain", .keep = true };
        struct wire_path path;
        char *body = NULL;
        int r;

        r = wire_path_begin(&path, PROTOCOL_PATH_TOKEN, credential, "");
        http.path = path.text;
        if (r == 0 && (rq->duration_s > 0 || *rq->scope || *rq->session_context)) {
                body = request_body(rq, rejected, wait_s);
                if (!body)
                        return -ENOMEM;
                http.method = "POST";
                http.body = body;
                http.body_len = strlen(body);
        } else if (r == 0) {
                if (*rq->subject)
                        r = wire_path_add(&path, "subject", rq->subject);
                if (r == 0 && rq->min_ttl_s >= 0)
                        r = wire_path_add_number(&path, "min_ttl", rq->min_ttl_s);
                if (r == 0 && wait_s != PROTOCOL_WAIT_DEFAULT_S)
                        r = wire_path_add_number(&path, "wait", wait_s);
                if (r == 0 && *rejected)
                        r = wire_path_add(&path, "rejected", rejected);
        }
        if (r < 0)
                return -EINVAL;
        r = request_make(&http, ret, ret_len);
        request_wipe(body);
        return r;
}
