#include <microhttpd.h>
#include <string.h>

#include "api/handlers.h"
#include "api/parameter.h"
#include "api/server.h"
#include "base/err.h"
#include "base/json.h"
#include "client/protocol.h"

/*
 * Grants: DELETE /v1/credentials/{credential}/grant, GET /v1/credentials/{credential}/subjects
 */

#define GRANTS_PAGE_DEFAULT 100
#define GRANTS_PAGE_MAX     1000

/* --- DELETE /v1/credentials/{credential}/grant?subject= --- */

static void grants_forgotten(void *user, int r) {
        struct call *call = user;
        struct reply reply;

        if (r == 0)
                reply = reply_empty(MHD_HTTP_NO_CONTENT);
        else
                reply = reply_error(
                        MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR,
                        "the grant is not used any more, but its row could not be removed from state_dir: %s",
                        strerror(-r));
        call_return(call, reply);
}

static void grants_delete_work(struct call *call, struct broker *broker) {
        int r = broker_forget(broker, call->credential, call->subject, grants_forgotten, call);

        if (r == BROKER_E_ABSENT)
                call_return(call,
                            reply_error(MHD_HTTP_NOT_FOUND, PROTOCOL_NOT_FOUND,
                                        "credential \"%s\" has nothing to forget for this subject",
                                        call->credential->name));
        else if (r < 0)
                grants_forgotten(call, r);
}

struct reply grants_delete(struct call *call) {
        const struct conf_credential *c = call->credential;
        struct parameter subject = { .key = "subject" };
        const char *problem = NULL;
        struct reply reply;

        if (c->type == CREDENTIAL_JWT)
                return reply_error(
                        MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                        "credential \"%s\" is of type jwt and has no grant: nothing is kept of it",
                        c->name);
        if (handler_read_query(call, &subject, 1, &reply) < 0)
                return reply;
        if (subject.value)
                problem = parameter_check_subject(subject.value, subject.len);
        if (problem)
                return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST, "subject %s",
                                   problem);
        if (subject.value)
                strcpy(call->subject, subject.value); /* its length was checked */
        call_cross(call, grants_delete_work);
        return HANDLER_CROSSED;
}

/* --- GET /v1/credentials/{credential}/subjects?after=&limit= --- */

struct grants_page {
        struct broker *broker;
        const struct conf_credential *credential;
        struct json_object *list;
        char last[PROTOCOL_SUBJECT_MAX + 1];
        size_t n;
        int r;
};

static int grants_page_row(void *user, const struct grant_view *v) {
        struct grants_page *page = user;
        struct json_object *o = json_object_new_object();

        page->n++;
        strcpy(page->last, v->subject);
        page->r |= json_object_object_add(o, "subject", json_object_new_string(v->subject));
        page->r |= json_object_object_add(o, "state",
                                          json_object_new_string(credential_state_names[v->state]));
        page->r |= json_object_object_add(o, "grant_expires_at",
                                          json_object_new_int64(v->grant_expires_at.s));
        if (v->fingerprint[0])
                page->r |= json_object_object_add(o, "fingerprint",
                                                  json_object_new_string(v->fingerprint));
        if (v->has_expires_at)
                page->r |= json_object_object_add(o, "expires_at",
                                                  json_object_new_int64(v->expires_at.s));
        page->r |= json_object_array_add(page->list, o);
        return page->r < 0 ? -ENOMEM : 0;
}

static void grants_page_work(struct call *call, struct broker *broker) {
        struct grants_page page = { .broker = broker, .credential = call->credential };
        struct json_object *o = json_object_new_object();
        struct why why = { "" };
        int r;

        page.list = json_object_new_array();
        r = broker_page(broker, call->credential, call->from_first ? NULL : call->subject,
                        call->limit, grants_page_row, &page, &why);
        if (r < 0) {
                json_object_put(page.list);
                json_object_put(o);
                call_return(call, reply_error(MHD_HTTP_INTERNAL_SERVER_ERROR, PROTOCOL_SERVER_ERROR,
                                              "the subjects of \"%s\" could not be read: %s",
                                              call->credential->name,
                                              why.text[0] ? why.text : strerror(-r)));
                return;
        }
        page.r |= json_object_object_add(o, "subjects", page.list);
        if (page.n == call->limit)
                page.r |= json_object_object_add(o, "next", json_object_new_string(page.last));
        call_return(call, reply_json(MHD_HTTP_OK, page.r < 0 ? json_wipe(o) : o));
}

struct reply grants_subjects(struct call *call) {
        struct parameter query[] = { { .key = "after" }, { .key = "limit" } };
        int64_t limit = GRANTS_PAGE_DEFAULT;
        const char *problem = NULL;
        struct reply reply;

        if (handler_read_query(call, query, N_ELEMENTS(query), &reply) < 0)
                return reply;
        if (query[0].value)
                problem = parameter_check_subject(query[0].value, query[0].len);
        if (problem)
                return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST, "after %s",
                                   problem);
        if (query[1].value)
                problem = parameter_parse_number(query[1].value, query[1].len, 1, GRANTS_PAGE_MAX,
                                                 &limit);
        if (problem)
                return reply_error(MHD_HTTP_BAD_REQUEST, PROTOCOL_INVALID_REQUEST,
                                   "limit %s (1 to %d)", problem, GRANTS_PAGE_MAX);
        if (query[0].value)
                strcpy(call->subject, query[0].value); /* its length was checked */
        call->from_first = !query[0].value;            /* what comes after "" is another page */
        call->limit = (size_t) limit;
        call_cross(call, grants_page_work);
        return HANDLER_CROSSED;
}
