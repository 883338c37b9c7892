#include "stage.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

struct provider *stage_provider(struct stage *s, const char *subject) {
        for (size_t i = 0; i < s->n; i++)
                if (strcmp(s->providers[i].subject, subject) == 0)
                        return &s->providers[i];
        ck_abort_msg("no such subject: %s", subject);
}

static void stage_set_row(struct stage *s, const char *credential, const char *subject,
                          wall_t obtained_at, bool in_doubt) {
        char text[64];
        int len = snprintf(text, sizeof(text), "rt.%s.1", subject);
        AUTO(secret_unrefp) struct secret *token = secret_new(text, (size_t) len);
        const struct record record = {
                .credential = credential,
                .subject = subject,
                .kind = RECORD_GRANT,
                .secret = token,
                .obtained_at = obtained_at,
                .expires_at = { obtained_at.s + 30 * 86400 },
                .in_doubt = in_doubt,
        };

        fake_store_set(s->w.store, &record);
}

void stage_add_row(struct stage *s, const char *subject, wall_t obtained_at, bool in_doubt) {
        stage_set_row(s, "site", subject, obtained_at, in_doubt);
        if (s->n < SUBJECTS_MAX)
                s->providers[s->n++] = (struct provider){ subject, 1, false };
}

void stage_add_grant(struct stage *s, const char *credential, const char *subject) {
        stage_set_row(s, credential, subject, (wall_t){ NOW }, false);
}

void stage_start(struct stage *s) {
        *s = (struct stage){ 0 };
        world_init(&s->w);
        s->w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        stage_add_row(s, "alice", (wall_t){ NOW }, false);
        ck_assert_int_eq(broker_start(s->w.broker, NULL), 0);
}

void stage_done(struct stage *s) {
        world_done(&s->w);
}

/* --- what the disk has --- */

struct row stage_row(const struct stage *s, const char *subject) {
        const struct store *store = fake_store_seam(s->w.store);
        struct record record;
        struct row row = { 0 };
        const char *dot;

        if (store->get(store->self, "site", subject, NULL, &record) != 0)
                return row;
        row.exists = true;
        row.in_doubt = record.in_doubt;
        dot = strrchr(secret_text(record.secret), '.');
        row.number = (unsigned) strtoul(dot + 1, NULL, 10);
        secret_unref(record.secret);
        return row;
}

size_t stage_store(struct stage *s) {
        return fake_store_complete_all(s->w.store);
}

/* --- what the provider does --- */

struct provider *stage_presented(struct stage *s, unsigned *ret_number) {
        const struct http_request *req = fake_transport_oldest(s->w.transport);
        struct json_object *body = NULL;
        char subject[64], *dot;

        ck_assert_str_eq(req->url, "https://api.coze.cn/api/permission/oauth2/token");
        ck_assert_int_eq(json_parse(secret_text(req->body), secret_len(req->body), &body), 0);
        ck_assert_str_eq(json_get_text(body, "grant_type"), "refresh_token");
        ck_assert_int_eq(strncmp(json_get_text(body, "refresh_token"), "rt.", 3), 0);
        (void) snprintf(subject, sizeof(subject), "%s", json_get_text(body, "refresh_token") + 3);
        json_object_put(body);
        dot = strrchr(subject, '.');
        *ret_number = (unsigned) strtoul(dot + 1, NULL, 10);
        *dot = '\0';
        return stage_provider(s, subject);
}

void stage_reply(struct stage *s, int status, const char *body) {
        fake_transport_answer(s->w.transport, status, body, s->w.clock.wall.s, -1);
}

void stage_give(struct stage *s, const struct provider *p, bool new_one) {
        char body[256], refresh[96] = "";

        if (new_one)
                (void) snprintf(refresh, sizeof(refresh), ",\"refresh_token\":\"rt.%s.%u\"",
                                p->subject, p->number);
        (void) snprintf(body, sizeof(body),
                        "{\"access_token\":\"at.%s.%u\",\"expires_in\":%" PRId64 "%s}", p->subject,
                        p->number, s->w.clock.wall.s + 900, refresh);
        stage_reply(s, 200, body);
}

static void stage_refuse(struct stage *s) {
        stage_reply(s, 400, "{\"error_code\":\"invalid_grant\",\"error_message\":\"spent\"}");
}

void stage_answer(struct stage *s, enum act act) {
        unsigned number;
        struct provider *p = stage_presented(s, &number);
        bool good = number == p->number && !p->revoked;

        s->refreshes++;
        s->last = number;
        s->spent += number < p->number;
        switch (act) {
        case GIVES:
        case GIVES_NO_NEW_ONE:
                if (!good) {
                        stage_refuse(s);
                        return;
                }
                p->number += act == GIVES;
                stage_give(s, p, act == GIVES);
                return;
        case LOSES:
                p->number += good;
                fake_transport_fail(s->w.transport, HTTP_UNKNOWN);
                return;
        case HANGS_UP:
                fake_transport_fail(s->w.transport, HTTP_UNKNOWN);
                return;
        case IS_UNREACHABLE:
                fake_transport_fail(s->w.transport, HTTP_NOT_SENT);
                return;
        case IS_BUSY:
                stage_reply(s, 503, "{\"code\":5000,\"msg\":\"busy\"}");
                return;
        case SENDS_HTML:
                stage_reply(s, 502, "<html>");
                return;
        case LIMITS:
                stage_reply(s, 429, "{}");
                return;
        case DEACTIVATES:
                stage_reply(s, 400,
                            "{\"error_code\":\"access_deny\",\"error_message\":\"app: x is "
                            "currently deactivated by the owner\"}");
                return;
        case WANTS_ANOTHER_KEY:
                stage_reply(s, 401, "{\"error_code\":\"invalid_client\"}");
                return;
        case FAILS_INSIDE:
                stage_reply(s, 500, "{\"error_code\":\"internal_error\"}");
                return;
        case BABBLES:
                stage_reply(s, 200, "{\"hello\":\"world\"}");
                return;
        case REFUSES:
                p->revoked = true;
                stage_refuse(s);
                return;
        }
}

void stage_ask(struct stage *s, struct caller *c, const char *subject) {
        caller_ask(&s->w, c, SITE, subject, -1, 30, NULL);
}

size_t stage_waiting(const struct stage *s) {
        return fake_transport_waiting(s->w.transport);
}

size_t stage_sent(const struct stage *s) {
        return fake_transport_sent(s->w.transport);
}

bool stage_has_token(const struct stage *s, const char *subject) {
        char key[CACHE_KEY_SIZE];
        struct token *t = cache_get(s->w.cache, cache_key("site", subject, "", key));

        token_unref(t);
        return t;
}

enum answer_kind stage_get(struct stage *s, struct caller *c, const char *subject) {
        stage_ask(s, c, subject);
        for (unsigned i = 0; c->answers == 0 && i < 100; i++) {
                stage_store(s);
                if (stage_waiting(s) > 0)
                        stage_answer(s, GIVES);
                else if (c->answers == 0)
                        world_pass(&s->w, US_PER_S);
        }
        stage_store(s);
        ck_assert_uint_eq(c->answers, 1);
        return c->kind;
}
