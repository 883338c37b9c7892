#include "check/credentials.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "check/fact.h"
#include "conf/difference.h"
#include "conf/hint.h"
#include "http/probe.h"
#include "provider/dialect.h"

#define CREDENTIALS_AT_ONCE 32 /* requests; as many as the transport sends to one host */

/* One question about one credential. */
struct question {
        const struct conf_credential *credential;
        struct conf_credential twin; /* the same, of the other region */
        struct reach *reach;
        struct exchange exchange;
        const struct dialect *dialect;
        const struct clock *clock;
        wall_t sent;
        bool asked, pending, answered;
        struct exchange_result result;  /* when answered */
        char problem[HTTP_PROBLEM_MAX]; /* when not */
        int r;
};

struct inquiry {
        const struct credentials_parts *parts;
        struct question *first,
                *second;     /* by credential; the second one goes to the other region */
        struct probe *whose; /* of static tokens ... */
        size_t *whose_of;    /* ... which one, by credential; n: none was asked */
        size_t n;
};

static struct reach *inquiry_reach(const struct inquiry *q, const struct conf_provider *p) {
        const struct conf *conf = q->parts->conf;

        for (size_t i = 0; q->parts->reaches && i < conf->n_providers; i++)
                if (conf->providers[i] == p)
                        return &q->parts->reaches[i];
        return NULL;
}

/* --- jwt: a token is asked for --- */

static void question_done(void *user, const struct http_response *resp) {
        struct question *q = user;

        q->pending = false;
        if (resp->outcome != HTTP_ANSWERED) {
                memcpy(q->problem, resp->problem, sizeof(q->problem));
                q->reach->reached = false; /* who is next does not wait for it, too */
                return;
        }
        q->r = q->dialect->decode(&q->exchange, resp, q->sent, clock_wall(q->clock), &q->result);
        q->answered = q->r == 0;
}

static int question_send(struct question *q, const struct credentials_parts *parts) {
        AUTO(http_request_freep) struct http_request *req = NULL;
        uint8_t random[DIALECT_RANDOM_SIZE];
        int r;

        q->clock = parts->clock;
        q->sent = clock_wall(parts->clock);
        random_fill(parts->random, random, sizeof(random));
        r = q->dialect->encode(&q->exchange, (wall_t){ q->sent.s + q->reach->skew_s }, random,
                               &req);
        if (r < 0)
                return PASS(r);
        req->timeout_us = reach_patience(q->exchange.credential->provider);
        q->asked = q->pending = true;
        r = parts->transport->send(parts->transport->self, TAKE(req), question_done, q);
        if (r < 0)
                q->pending = false;
        return PASS(r);
}

static int questions_wait(struct question *questions, size_t n, sd_event *event) {
        for (;;) {
                bool pending = false;
                int r;

                for (size_t i = 0; i < n; i++)
                        pending = pending || questions[i].pending;
                if (!pending)
                        return 0;
                r = sd_event_run(event, UINT64_MAX); /* the transport has a time-out for each */
                if (r < 0)
                        return RAISE(r);
        }
}

static int questions_wait_until(mono_t end, const struct credentials_parts *parts) {
        for (;;) {
                int64_t left_us = mono_until(clock_mono(parts->clock), end);
                int r;

                if (left_us <= 0)
                        return 0;
                r = sd_event_run(parts->event, (uint64_t) left_us);
                if (r < 0)
                        return RAISE(r);
        }
}

/* requests_per_second of the provider that allows the least. */
static size_t questions_rate(const struct question *questions, size_t n) {
        size_t rate = INT32_MAX; /* there is none to ask */

        for (size_t i = 0; i < n; i++)
                if (questions[i].dialect &&
                    questions[i].exchange.credential->provider->requests_per_second < rate)
                        rate = questions[i].exchange.credential->provider->requests_per_second;
        return rate;
}

/* Asks those that have a dialect, some at a time, and no more in a second than there may be. */
static int questions_ask(struct question *questions, size_t n,
                         const struct credentials_parts *parts) {
        const size_t rate = questions_rate(questions, n);
        const size_t at_once = rate < CREDENTIALS_AT_ONCE ? rate : CREDENTIALS_AT_ONCE;
        const int64_t span_us = US_PER_S * (int64_t) at_once / (int64_t) rate;
        mono_t end = clock_mono(parts->clock);
        size_t sent = 0;
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                if (!questions[i].dialect || !questions[i].reach || !questions[i].reach->reached)
                        continue;
                if (sent == at_once) {
                        r = questions_wait(questions, n, parts->event);
                        if (r == 0)
                                r = questions_wait_until(end, parts);
                        sent = 0;
                }
                if (sent++ == 0)
                        end = mono_add(clock_mono(parts->clock), span_us);
                if (r == 0)
                        r = question_send(&questions[i], parts);
        }
        if (r == 0)
                r = questions_wait(questions, n, parts->event);
        for (size_t i = 0; i < n && r == 0; i++)
                r = questions[i].r;
        return PASS(r);
}

static void questions_end(struct question *questions, size_t n,
                          const struct credentials_parts *parts) {
        for (size_t i = 0; questions && i < n; i++) {
                if (questions[i].pending)
                        parts->transport->cancel(parts->transport->self, &questions[i]);
                exchange_result_done(&questions[i].result);
        }
}

static void question_prepare(struct question *q, const struct conf_credential *c,
                             const struct conf_credential *as, struct reach *reach) {
        q->credential = c;
        q->reach = reach;
        q->exchange = (struct exchange){
                .kind = EXCHANGE_JWT_BEARER,
                .credential = as,
                .duration_s = c->token_lifetime_us / US_PER_S,
                .session_name = c->session_name,
                .session_context = c->session_context,
                .scope = c->scope,
        };
        q->dialect = dialect_find(c->provider->dialect);
}

static void inquiry_prepare_first(struct inquiry *q) {
        for (size_t i = 0; i < q->n; i++) {
                const struct conf_credential *c = q->parts->conf->credentials[i];

                if (c->type == CREDENTIAL_JWT && c->private_key)
                        question_prepare(&q->first[i], c, c, inquiry_reach(q, c->provider));
        }
}

/* The two that everybody mixes up. */
static const struct conf_provider *inquiry_other_region(const struct inquiry *q,
                                                        const struct conf_provider *p) {
        const char *other = strcmp(p->name, "coze.cn") == 0    ? "coze.com"
                            : strcmp(p->name, "coze.com") == 0 ? "coze.cn"
                                                               : NULL;

        return other ? conf_find_provider(q->parts->conf, other) : NULL;
}

/* An assertion is of use nowhere but where its audience is, and holds no secret. */
static void inquiry_prepare_second(struct inquiry *q) {
        for (size_t i = 0; i < q->n; i++) {
                const struct question *first = &q->first[i];
                struct question *second = &q->second[i];
                const struct conf_provider *other;

                if (!first->dialect || (first->answered && !first->result.refusal.region))
                        continue; /* one that cannot be reached may be the wrong one, too */
                other = inquiry_other_region(q, first->credential->provider);
                if (!other)
                        continue;
                second->twin = *first->credential; /* its parts stay the original's */
                second->twin.provider = other;
                question_prepare(second, first->credential, &second->twin, inquiry_reach(q, other));
                if (second->reach)
                        second->reach->reached = true; /* or not: that is nobody's fault here */
        }
}

/* --- static tokens: whose is it? --- */

static bool credential_has_ended(const struct conf_credential *c, wall_t now) {
        return c->has_expires_at && c->expires_at.s <= now.s;
}

/* One that has ended is nobody's to see. */
static bool inquiry_may_ask_whose(const struct inquiry *q, const struct conf_credential *c) {
        const struct reach *reach = inquiry_reach(q, c->provider);

        return c->token && reach && reach->reached &&
               !credential_has_ended(c, clock_wall(q->parts->clock));
}

static int whose_prepare(const struct conf_credential *c, struct probe *ret) {
        struct secret *bearer = secret_new_reserved(strlen("Bearer ") + secret_len(c->token));
        char *url = NULL;

        if (!bearer || asprintf(&url, "%s%s", c->provider->api_url, REACH_PATH) < 0) {
                secret_unref(bearer);
                return RAISE(-ENOMEM);
        }
        (void) secret_append_text(bearer, "Bearer "); /* it fits */
        (void) secret_append(bearer, secret_text(c->token), secret_len(c->token));
        *ret = (struct probe){
                .url = url,
                .ca_file = c->provider->ca_file,
                .allow_http = c->provider->allow_http,
                .authorization = bearer,
                .timeout_us = reach_patience(c->provider),
        };
        return 0;
}

static int inquiry_ask_whose(struct inquiry *q) {
        const struct conf *conf = q->parts->conf;
        size_t n = 0;
        int r = 0;

        for (size_t i = 0; i < q->n && r == 0; i++) {
                q->whose_of[i] = q->n; /* nobody's */
                if (!inquiry_may_ask_whose(q, conf->credentials[i]))
                        continue;
                r = whose_prepare(conf->credentials[i], &q->whose[n]);
                if (r == 0)
                        q->whose_of[i] = n++;
        }
        if (r == 0)
                r = probe_run(q->whose, n, q->parts->clock);
        for (size_t i = 0; i < n; i++) {
                free((char *) (uintptr_t) q->whose[i].url);
                secret_unref((struct secret *) (uintptr_t) q->whose[i].authorization);
        }
        return PASS(r);
}

/* --- what is told --- */

static void credential_begin(const struct conf_credential *c, struct fact *f,
                             enum fact_result result) {
        fact_begin(f, "credential", result);
        fact_text(f, "credential", c->name);
        if (!c->unseen) /* else it may stand in the file */
                fact_text(f, "type", credential_type_names[c->type]);
        fact_text(f, "provider", c->provider->name);
        fact_text(f, "client_id", c->client_id);
}

static void fact_add_refusal(struct fact *f, const struct refusal *refusal) {
        fact_text(f, "problem", "refused");
        fact_text(f, "kind", refusal_kind_names[refusal->kind]);
        fact_number(f, "status", refusal->http_status);
        fact_text(f, "error", refusal->code);
        fact_text(f, "message", refusal->message);
        fact_text(f, "logid", refusal->logid);
        fact_text(f, "advice", refusal->advice);
        fact_true(f, "region", refusal->region);
}

/* Who asks too often may have been us, just now. */
static enum fact_result refusal_result(const struct refusal *refusal) {
        return refusal->kind == REFUSAL_RATE_LIMIT ? FACT_WARN : FACT_FAIL;
}

static int credential_tell_skip(const struct conf_credential *c, const char *problem, FILE *out) {
        struct fact f;

        credential_begin(c, &f, FACT_SKIP);
        fact_text(&f, "problem", problem);
        return fact_tell(&f, out);
}

/* It has been answered so that the key must be known, whatever else is wrong. */
static bool question_is_known(const struct question *q) {
        const struct refusal *f = &q->result.refusal;

        return !f->region && (f->kind == REFUSAL_NONE || f->kind == REFUSAL_CONFIGURATION ||
                              f->kind == REFUSAL_DEACTIVATED);
}

/* What the other region makes of the key. */
static const char *question_verdict(const struct question *q) {
        return q->result.refusal.region ? "refused_at"
               : question_is_known(q)   ? "works_at"
                                        : "undecided_at";
}

static int credential_tell_jwt(const struct inquiry *q, size_t i) {
        const struct conf_credential *c = q->parts->conf->credentials[i];
        const struct question *first = &q->first[i], *second = &q->second[i];
        const struct refusal *refusal = &first->result.refusal;
        struct fact f;

        if (!first->answered) {
                bool elsewhere = second->answered && question_is_known(second);

                credential_begin(c, &f, first->asked || elsewhere ? FACT_FAIL : FACT_SKIP);
                fact_text(&f, "problem", first->asked ? "no_answer" : "unreachable");
                fact_text(&f, "detail", first->problem);
                fact_text(&f, "works_at", elsewhere ? second->twin.provider->name : NULL);
                return fact_tell(&f, q->parts->out);
        }
        if (refusal->kind == REFUSAL_NONE) {
                credential_begin(c, &f, FACT_OK);
                fact_number(&f, "lifetime_s", first->result.lifetime_us / US_PER_S);
                return fact_tell(&f, q->parts->out);
        }
        credential_begin(c, &f, refusal_result(refusal));
        fact_add_refusal(&f, refusal);
        fact_text(&f, "key_id", c->public_key_id);
        fact_true(&f, "key_id_odd", hint_public_key_id(c->public_key_id) != NULL);
        fact_true(&f, "client_id_odd", hint_client_id(c->type, c->client_id) != NULL);
        fact_text(&f, "audience", c->provider->audience);
        if (second->answered)
                fact_text(&f, question_verdict(second), second->twin.provider->name);
        return fact_tell(&f, q->parts->out);
}

/* The API's own words for a token: section 7.2 of coze-oauth.md. */
static int64_t whose_code(const struct probe *p) {
        AUTO(json_wipep) struct json_object *o = NULL;
        int64_t code = 0;

        if (json_parse(secret_text(p->body), secret_len(p->body), &o) < 0 ||
            !json_object_is_type(o, json_type_object))
                return -1;
        (void) json_get_int64(o, "code", true, &code); /* absent: no error */
        return p->status / 100 != 2 && code == 0 ? -1 : code;
}

/* What the dialect makes of it, as of any answer. */
static int whose_refusal(const struct conf_credential *c, const struct probe *p,
                         struct exchange_result *ret) {
        const struct exchange x = { .kind = EXCHANGE_JWT_BEARER, .credential = c };
        struct http_response resp = {
                .outcome = HTTP_ANSWERED, .status = p->status, .body = p->body, .retry_after_us = -1
        };

        memcpy(resp.content_type, p->content_type, sizeof(resp.content_type));
        memcpy(resp.logid, p->logid, sizeof(resp.logid));
        return dialect_find(c->provider->dialect)->decode(&x, &resp, p->received, p->received, ret);
}

static int credential_tell_refused(const struct conf_credential *c, const struct probe *p,
                                   int64_t code, FILE *out) {
        struct exchange_result result = { 0 };
        struct fact f;
        int r;

        r = whose_refusal(c, p, &result);
        if (r < 0)
                return PASS(r);
        /* 4101 may mean the token, or that it may do other things than tell whose it is */
        credential_begin(c, &f, code == 4101 ? FACT_WARN : refusal_result(&result.refusal));
        fact_add_refusal(&f, &result.refusal);
        exchange_result_done(&result);
        return fact_tell(&f, out);
}

static bool credential_ends_soon(const struct conf_credential *c, wall_t now) {
        return c->has_expires_at && c->expires_at.s - now.s < c->warn_before_us / US_PER_S;
}

static int credential_tell_good(const struct conf_credential *c, wall_t now, FILE *out) {
        bool soon = credential_ends_soon(c, now);
        struct fact f;

        credential_begin(c, &f, soon ? FACT_WARN : FACT_OK);
        fact_text(&f, "problem", soon ? "expires_soon" : NULL);
        if (c->has_expires_at) {
                fact_number(&f, "expires_at", c->expires_at.s);
                fact_number(&f, "left_s", c->expires_at.s - now.s);
        }
        return fact_tell(&f, out);
}

static int credential_tell_static(const struct inquiry *q, size_t i) {
        const struct conf_credential *c = q->parts->conf->credentials[i];
        const struct probe *p;
        wall_t now = clock_wall(q->parts->clock);
        FILE *out = q->parts->out;
        int64_t code;
        struct fact f;

        if (!c->token)
                return credential_tell_skip(c, "set_at_run_time", out);
        if (credential_has_ended(c, now)) {
                credential_begin(c, &f, FACT_FAIL);
                fact_text(&f, "problem", "expired");
                fact_number(&f, "expires_at", c->expires_at.s);
                fact_number(&f, "left_s", c->expires_at.s - now.s);
                return fact_tell(&f, out);
        }
        if (!q->parts->reaches && !credential_ends_soon(c, now))
                return credential_tell_skip(c, "offline", out);
        if (!q->parts->reaches)
                return credential_tell_good(c, now, out);
        if (q->whose_of[i] == q->n)
                return credential_tell_skip(c, "unreachable", out);
        p = &q->whose[q->whose_of[i]];
        if (p->step != PROBE_DONE) {
                credential_begin(c, &f, FACT_FAIL);
                fact_text(&f, "problem", "no_answer");
                fact_text(&f, "detail", p->detail);
                return fact_tell(&f, out);
        }
        code = whose_code(p);
        if (code == 0)
                return credential_tell_good(c, now, out);
        return credential_tell_refused(c, p, code, out);
}

static int credential_tell(const struct inquiry *q, size_t i) {
        const struct conf_credential *c = q->parts->conf->credentials[i];

        if (c->unseen)
                return credential_tell_skip(c, "unseen", q->parts->out);
        if (credential_type_is_interactive(c->type))
                return credential_tell_skip(c, "needs_person", q->parts->out);
        if (credential_type_is_static(c->type))
                return credential_tell_static(q, i);
        if (!q->parts->reaches)
                return credential_tell_skip(c, "offline", q->parts->out);
        return credential_tell_jwt(q, i);
}

int credentials_check(const struct credentials_parts *parts) {
        const size_t n = parts->conf->n_credentials;
        struct inquiry q = {
                .parts = parts,
                .first = calloc(n + 1, sizeof(struct question)),
                .second = calloc(n + 1, sizeof(struct question)),
                .whose = calloc(n + 1, sizeof(struct probe)),
                .whose_of = calloc(n + 1, sizeof(size_t)),
                .n = n,
        };
        int r = q.first && q.second && q.whose && q.whose_of ? 0 : RAISE(-ENOMEM);

        if (r == 0 && parts->reaches) {
                inquiry_prepare_first(&q);
                r = questions_ask(q.first, n, parts);
                if (r == 0)
                        r = inquiry_ask_whose(&q);
                if (r == 0) {
                        inquiry_prepare_second(&q);
                        r = questions_ask(q.second, n, parts);
                }
        }
        for (size_t i = 0; i < n && r == 0; i++)
                r = credential_tell(&q, i);
        questions_end(q.first, n, parts);
        questions_end(q.second, n, parts);
        for (size_t i = 0; q.whose && i < n; i++)
                probe_done(&q.whose[i]);
        free(q.first);
        free(q.second);
        free(q.whose);
        free(q.whose_of);
        return PASS(r);
}
