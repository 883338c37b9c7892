#include "check/reach.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "check/fact.h"
#include "conf/url.h"
#include "http/probe.h"

#define REACH_SKEW_S       30 /* that matters to somebody who checks iat and exp */
#define REACH_SOON_S       (7 * INT64_C(86400)) /* a certificate that ends within this is told of */
#define REACH_PER_PROVIDER 2

/* A host on the way. */
struct stop {
        const struct conf_provider *provider;
        struct reach *reach; /* NULL: not the API's */
        struct url url;
        char *target;
        struct probe *probe;
};

struct trip {
        const struct clock *clock;
        FILE *out;
        struct stop *stops;
        struct probe *probes;
        size_t n;
};

int64_t reach_patience(const struct conf_provider *p) {
        return p->timeout_us < CHECK_PATIENCE_US ? p->timeout_us : CHECK_PATIENCE_US;
}

static bool reach_is_json(const struct secret *body) {
        struct json_object *o = NULL;
        bool is_object;

        if (json_parse(secret_text(body), secret_len(body), &o) < 0)
                return false;
        is_object = json_object_is_type(o, json_type_object);
        json_wipe(o);
        return is_object;
}

static void stop_begin(const struct stop *s, struct fact *f, const char *check,
                       enum fact_result result) {
        fact_begin(f, check, result);
        fact_text(f, "provider", s->provider->name);
        fact_text(f, "host", s->url.host);
        fact_number(f, "port", (int64_t) s->url.port);
        fact_text(f, "url", s->reach ? s->provider->api_url : s->provider->www_url);
        fact_true(f, "own_ca", s->provider->ca_file != NULL);
        fact_text(f, "proxy", s->probe->proxy);
        fact_text(f, "proxy_variable", s->probe->proxy_variable);
}

static void stop_add_problem(const struct stop *s, struct fact *f) {
        fact_text(f, "problem", probe_problem_names[s->probe->problem]);
        fact_text(f, "detail", s->probe->detail);
        if (s->probe->problem == PROBE_TIMEOUT)
                fact_number(f, "waited_s", reach_patience(s->provider) / US_PER_S);
        if (s->probe->problem == PROBE_PROXY_REFUSED && s->probe->status > 0)
                fact_number(f, "status", s->probe->status);
}

static int stop_tell_name(const struct stop *s, FILE *out) {
        bool good = s->probe->step > PROBE_NAME;
        struct fact f;

        stop_begin(s, &f, "name", good ? FACT_OK : FACT_FAIL);
        if (!good)
                stop_add_problem(s, &f);
        else if (!s->probe->proxy[0]) /* else it is the proxy's, which does the rest */
                fact_text(&f, "address", s->probe->address);
        return fact_tell(&f, out);
}

static int stop_tell_connection(const struct stop *s, FILE *out) {
        bool good = s->probe->step > PROBE_CONNECT;
        struct fact f;

        stop_begin(s, &f, "connection", good ? FACT_OK : FACT_FAIL);
        fact_text(&f, "address", s->probe->address);
        if (!good)
                stop_add_problem(s, &f);
        return fact_tell(&f, out);
}

static int stop_tell_tls(const struct stop *s, wall_t now, FILE *out) {
        const struct probe *p = s->probe;
        bool good = p->step > PROBE_TLS;
        bool soon = good && s->provider->ca_file &&
                    p->has_certificate && /* else not the reader's */
                    p->not_after.s - now.s < REACH_SOON_S;
        struct fact f;

        stop_begin(s, &f, "tls", !good ? FACT_FAIL : soon ? FACT_WARN : FACT_OK);
        if (!good)
                stop_add_problem(s, &f);
        else if (soon)
                fact_text(&f, "problem", "expires_soon");
        fact_text(&f, "ca_file", s->provider->ca_file);
        if (p->has_certificate) {
                fact_text(&f, "subject", p->subject);
                fact_text(&f, "issuer", p->issuer);
                fact_text(&f, "names", p->names);
                fact_number(&f, "not_before", p->not_before.s);
                fact_number(&f, "not_after", p->not_after.s);
                fact_number(&f, "now", now.s);
                fact_true(&f, "synchronized", clock_is_synchronized());
        }
        return fact_tell(&f, out);
}

/* "www.coze.cn" where the API is meant. */
static bool stop_is_swapped(const struct stop *s) {
        return strncmp(s->url.host, "www.", 4) == 0;
}

static int stop_tell_answer(const struct stop *s, FILE *out) {
        const struct probe *p = s->probe;
        bool answered = p->step == PROBE_DONE, json = answered && reach_is_json(p->body);
        const char *problem = !answered                             ? NULL
                              : p->status == 407                    ? "proxy_refused"
                              : p->status >= 300 && p->status < 400 ? "redirected"
                              : !json                               ? "not_json"
                              : p->status >= 500                    ? "out_of_order"
                                                                    : NULL;
        struct fact f;

        stop_begin(s, &f, "answer", answered && !problem ? FACT_OK : FACT_FAIL);
        if (!answered)
                stop_add_problem(s, &f);
        fact_text(&f, "problem", problem);
        if (answered) {
                fact_number(&f, "status", p->status);
                fact_text(&f, "content_type", p->content_type);
                fact_text(&f, "logid", p->logid);
                fact_number(&f, "took_ms", p->took_us / US_PER_MS);
        }
        fact_true(&f, "swapped", stop_is_swapped(s));
        s->reach->reached = answered && !problem;
        return fact_tell(&f, out);
}

static int stop_tell_clock(const struct stop *s, FILE *out) {
        const struct probe *p = s->probe;
        int64_t skew_s = p->date.s - p->received.s;
        bool off = skew_s > REACH_SKEW_S || skew_s < -REACH_SKEW_S;
        struct fact f;

        s->reach->skew_s = skew_s;
        stop_begin(s, &f, "clock", off ? FACT_WARN : FACT_OK);
        fact_text(&f, "problem", !off ? NULL : skew_s > 0 ? "behind" : "ahead");
        fact_number(&f, "skew_s", skew_s);
        fact_number(&f, "now", p->received.s);
        fact_true(&f, "synchronized", clock_is_synchronized());
        return fact_tell(&f, out);
}

static int stop_tell(const struct stop *s, const struct trip *t) {
        const struct probe *p = s->probe;
        int r;

        r = stop_tell_name(s, t->out);
        if (r == 0 && p->step >= PROBE_CONNECT)
                r = stop_tell_connection(s, t->out);
        if (r == 0 && p->step >= PROBE_TLS && s->url.tls)
                r = stop_tell_tls(s, clock_wall(t->clock), t->out);
        if (r == 0 && p->step >= PROBE_ANSWER && s->reach)
                r = stop_tell_answer(s, t->out);
        if (r == 0 && p->step == PROBE_DONE && p->has_date && s->reach && s->reach->reached)
                r = stop_tell_clock(s, t->out);
        return PASS(r);
}

/* --- where to go --- */

static bool provider_has(const struct conf *conf, const struct conf_provider *p, bool interactive) {
        for (size_t i = 0; i < conf->n_credentials; i++)
                if (conf->credentials[i]->provider == p &&
                    (!interactive || credential_type_is_interactive(conf->credentials[i]->type)))
                        return true;
        return false;
}

static int trip_add(struct trip *t, const struct conf_provider *p, struct reach *reach) {
        const char *base = reach ? p->api_url : p->www_url;
        struct stop *s = &t->stops[t->n];

        *s = (struct stop){ .provider = p, .reach = reach, .probe = &t->probes[t->n] };
        if (url_parse(base, NULL, &s->url) < 0)
                return RAISE(-EINVAL); /* the configuration has checked it */
        if (asprintf(&s->target, "%s%s", base, reach ? REACH_PATH : "/") < 0) {
                s->target = NULL;
                return RAISE(-ENOMEM);
        }
        *s->probe = (struct probe){
                .url = s->target,
                .ca_file = p->ca_file,
                .allow_http = p->allow_http,
                .connect_only = !reach,
                .timeout_us = reach_patience(p),
        };
        t->n++;
        return 0;
}

static int trip_plan(struct trip *t, const struct conf *conf, struct reach *reaches) {
        int r = 0;

        for (size_t i = 0; i < conf->n_providers && r == 0; i++) {
                const struct conf_provider *p = conf->providers[i];

                if (!provider_has(conf, p, false))
                        continue;
                r = trip_add(t, p, &reaches[i]);
                if (r == 0 && provider_has(conf, p, true) && strcmp(p->api_url, p->www_url) != 0)
                        r = trip_add(t, p, NULL);
        }
        return PASS(r);
}

int reach_providers(const struct conf *conf, const struct clock *clock, FILE *out,
                    struct reach **ret) {
        const size_t max = REACH_PER_PROVIDER * conf->n_providers + 1;
        struct trip t = {
                .clock = clock,
                .out = out,
                .stops = calloc(max, sizeof(struct stop)),
                .probes = calloc(max, sizeof(struct probe)),
        };
        struct reach *reaches = calloc(conf->n_providers + 1, sizeof(*reaches));
        int r = t.stops && t.probes && reaches ? 0 : RAISE(-ENOMEM);

        if (r == 0)
                r = trip_plan(&t, conf, reaches);
        if (r == 0)
                r = probe_run(t.probes, t.n, clock);
        for (size_t i = 0; i < t.n && r == 0; i++)
                r = stop_tell(&t.stops[i], &t);
        for (size_t i = 0; i < t.n; i++) {
                probe_done(&t.probes[i]);
                free(t.stops[i].target);
        }
        free(t.stops);
        free(t.probes);
        if (r < 0) {
                free(reaches);
                return PASS(r);
        }
        *ret = reaches;
        return 0;
}
