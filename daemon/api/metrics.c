#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/server.h"
#include "api/stream.h"
#include "base/err.h"
#include "client/protocol.h"

/*
 * GET /metrics
 *
 * OpenMetrics text; Prometheus' older format for who asks for text/plain and not for the other. Shows the credentials
 * that the socket shows, to whoever can connect: names, states and numbers, no subject and no fingerprint.
 */

struct metrics {
        struct call *call;
        const struct broker *broker;
        bool is_old; /* text/plain; version=0.0.4 */
        FILE *out;
        const struct conf_credential *credential; /* of the samples now ... */
        struct credential_view view;              /* ... and what it does */
};

static int64_t metrics_now(const struct metrics *m) {
        return clock_wall(server_parts(m->call->server)->clock).s;
}

__attribute__((format(printf, 3, 4))) static void metrics_sample(struct metrics *m,
                                                                 const char *name,
                                                                 const char *format, ...) {
        va_list ap;

        /* a name of the configuration holds nothing that would have to be escaped: text_is_name() */
        (void) fprintf(m->out, "bearerd_%s{credential=\"%s\"", name, m->credential->name);
        va_start(ap, format);
        (void) vfprintf(m->out, format, ap);
        va_end(ap);
}

static void metrics_state(struct metrics *m, const char *name) {
        for (size_t i = 0; i < CREDENTIAL_STATE_MAX; i++)
                metrics_sample(m, name, ",type=\"%s\",state=\"%s\"} %d\n",
                               credential_type_names[m->credential->type],
                               credential_state_names[i], m->view.state == i);
}

/* A token that has run out is told as that, not left out. */
static void metrics_token_left(struct metrics *m, const char *name) {
        if (m->view.has_expires_at)
                metrics_sample(m, name, "} %" PRId64 "\n", m->view.expires_at.s - metrics_now(m));
}

static void metrics_grant_left(struct metrics *m, const char *name) {
        if (m->view.has_grant_expires_at)
                metrics_sample(m, name, "} %" PRId64 "\n",
                               m->view.grant_expires_at.s - metrics_now(m));
}

static void metrics_grants(struct metrics *m, const char *name) {
        if (credential_type_is_interactive(m->credential->type))
                metrics_sample(m, name, "} %zu\n",
                               m->view.subjects + (m->view.has_grant_expires_at ? 1 : 0));
}

static const char *metrics_outcome(size_t kind) {
        return kind == REFUSAL_NONE ? "success" : refusal_kind_names[kind];
}

static void metrics_renewals(struct metrics *m, const char *name) {
        if (credential_type_is_static(m->credential->type))
                return;
        for (size_t i = 0; i < REFUSAL_KIND_MAX; i++) {
                if (i >= REFUSAL_PENDING)
                        break; /* of a device's polling, not of a renewal */
                metrics_sample(m, name, ",outcome=\"%s\"} %" PRIu64 "\n", metrics_outcome(i),
                               m->view.outcomes[i]);
        }
}

static void metrics_survives(struct metrics *m, const char *name) {
        if (m->view.survives_for_ever)
                metrics_sample(m, name, "} +Inf\n");
        else if (m->view.has_survives)
                metrics_sample(m, name, "} %" PRId64 "\n", m->view.survives_us / US_PER_S);
}

static void metrics_waiting(struct metrics *m, const char *name) {
        metrics_sample(m, name, "} %zu\n", m->view.waiting);
}

static void metrics_handed_out(struct metrics *m, const char *name) {
        metrics_sample(m, name, "} %" PRIu64 "\n", server_counted(m->call->server, m->credential));
}

struct metrics_family {
        const char *name; /* without "bearerd_" and "_total" */
        const char *type;
        const char *unit; /* NULL: none */
        const char *help;
};

/* Begins a family. `ret` is what its samples are called, and may be NULL. */
static void metrics_head(struct metrics *m, const struct metrics_family *f, char ret[64]) {
        const char *total = strcmp(f->type, "counter") == 0 ? "_total" : "";
        const char *head = m->is_old ? total : "";

        (void) fprintf(m->out, "# TYPE bearerd_%s%s %s\n", f->name, head, f->type);
        if (f->unit && !m->is_old)
                (void) fprintf(m->out, "# UNIT bearerd_%s %s\n", f->name, f->unit);
        (void) fprintf(m->out, "# HELP bearerd_%s%s %s\n", f->name, head, f->help);
        if (ret)
                (void) snprintf(ret, 64, "%s%s", f->name, total);
}

static const struct {
        struct metrics_family family;
        void (*write)(struct metrics *m, const char *name);
} metrics_of_credentials[] = {
        { { "credential_state", "gauge", NULL,
            "1 for the state that the credential is in, else 0." },
          metrics_state },
        { { "token_remaining_seconds", "gauge", "seconds",
            "Until the token ends; absent if it is not known to." },
          metrics_token_left },
        { { "grant_remaining_seconds", "gauge", "seconds",
            "Until the refresh token of the credential's own grant would end unused." },
          metrics_grant_left },
        { { "grants", "gauge", NULL, "Grants that are kept." }, metrics_grants },
        { { "renewals", "counter", NULL, "Attempts to obtain a token, by how they ended." },
          metrics_renewals },
        { { "survives_seconds", "gauge", "seconds",
            "How long its own token is good should the provider go down now." },
          metrics_survives },
        { { "callers_waiting", "gauge", NULL, "Callers who wait for a token." }, metrics_waiting },
        { { "tokens_handed_out", "counter", NULL, "Answers that were a token." },
          metrics_handed_out },
};

static void metrics_write_credentials(struct metrics *m, size_t what) {
        const struct conf *conf = broker_conf(m->broker);
        char sample[64];

        metrics_head(m, &metrics_of_credentials[what].family, sample);
        for (size_t i = 0; i < conf->n_credentials; i++) {
                m->credential = conf->credentials[i];
                if (!caller_find_credential(m->call->caller, conf, m->credential->name))
                        continue;
                broker_view(m->broker, m->credential, &m->view);
                metrics_of_credentials[what].write(m, sample);
        }
}

/* --- providers --- */

/* Only the providers of credentials that are shown. */
static bool metrics_shows(const struct metrics *m, const struct conf_provider *provider) {
        const struct conf *conf = broker_conf(m->broker);

        for (size_t i = 0; i < conf->n_credentials; i++)
                if (conf->credentials[i]->provider == provider &&
                    caller_find_credential(m->call->caller, conf, conf->credentials[i]->name))
                        return true;
        return false;
}

struct metrics_provider {
        const char *name;
        struct upstream_view view;
        const struct latency *latency;
};

static void metrics_breaker(struct metrics *m, const char *name, const struct metrics_provider *p) {
        for (size_t i = 0; i < BREAKER_STATE_MAX; i++)
                (void) fprintf(m->out, "bearerd_%s{provider=\"%s\",state=\"%s\"} %d\n", name,
                               p->name, breaker_state_names[i], p->view.state == i);
}

static void metrics_requests(struct metrics *m, const char *name,
                             const struct metrics_provider *p) {
        (void) fprintf(m->out, "bearerd_%s{provider=\"%s\"} %" PRIu64 "\n", name, p->name,
                       p->view.counters.requests);
}

static void metrics_results(struct metrics *m, const char *name, const struct metrics_provider *p) {
        for (size_t i = 0; i < REFUSAL_KIND_MAX; i++)
                (void) fprintf(m->out, "bearerd_%s{provider=\"%s\",outcome=\"%s\"} %" PRIu64 "\n",
                               name, p->name, metrics_outcome(i), p->view.counters.ended[i]);
}

static void metrics_active(struct metrics *m, const char *name, const struct metrics_provider *p) {
        (void) fprintf(m->out, "bearerd_%s{provider=\"%s\"} %zu\n", name, p->name, p->view.active);
}

static void metrics_queued(struct metrics *m, const char *name, const struct metrics_provider *p) {
        (void) fprintf(m->out, "bearerd_%s{provider=\"%s\"} %zu\n", name, p->name, p->view.waiting);
}

static void metrics_skew(struct metrics *m, const char *name, const struct metrics_provider *p) {
        if (p->view.has_skew)
                (void) fprintf(m->out, "bearerd_%s{provider=\"%s\"} %" PRId64 "\n", name, p->name,
                               p->view.skew_s);
}

/* A bound in seconds as OpenMetrics writes it: the same series, whoever writes it down. */
static void metrics_bound(struct metrics *m, int64_t us, char ret[32]) {
        (void) snprintf(ret, 32, "%g", (double) us / (double) US_PER_S);
        if (!m->is_old && !strchr(ret, '.'))
                strcat(ret, ".0");
}

static void metrics_duration(struct metrics *m, const char *name,
                             const struct metrics_provider *p) {
        const struct latency *l = p->latency;
        uint64_t sum = 0;
        char bound[32];

        for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
                sum += l->buckets[i];
                metrics_bound(m, latency_bounds_us[i], bound);
                (void) fprintf(m->out, "bearerd_%s_bucket{provider=\"%s\",le=\"%s\"} %" PRIu64 "\n",
                               name, p->name, bound, sum);
        }
        (void) fprintf(m->out,
                       "bearerd_%s_bucket{provider=\"%s\",le=\"+Inf\"} %" PRIu64 "\n"
                       "bearerd_%s_sum{provider=\"%s\"} %.6f\n"
                       "bearerd_%s_count{provider=\"%s\"} %" PRIu64 "\n",
                       name, p->name, l->n, name, p->name, (double) l->sum_us / (double) US_PER_S,
                       name, p->name, l->n);
}

static const struct {
        struct metrics_family family;
        void (*write)(struct metrics *m, const char *name, const struct metrics_provider *p);
} metrics_of_providers[] = {
        { { "provider_breaker", "gauge", NULL,
            "1 for the state that the provider's circuit breaker is in, else 0." },
          metrics_breaker },
        { { "provider_clock_skew_seconds", "gauge", "seconds",
            "The provider's clock minus this machine's; absent before its first answer." },
          metrics_skew },
        { { "upstream_requests", "counter", NULL, "Requests that were sent." }, metrics_requests },
        { { "upstream_results", "counter", NULL, "Requests that have ended, by how." },
          metrics_results },
        { { "upstream_active", "gauge", NULL, "Requests under way." }, metrics_active },
        { { "upstream_queued", "gauge", NULL, "Requests that wait for their turn." },
          metrics_queued },
        { { "upstream_duration_seconds", "histogram", "seconds",
            "How long a provider took to answer." },
          metrics_duration },
};

static void metrics_write_providers(struct metrics *m, size_t what) {
        const struct conf *conf = broker_conf(m->broker);
        char sample[64];

        metrics_head(m, &metrics_of_providers[what].family, sample);
        for (size_t i = 0; i < conf->n_providers; i++) {
                struct metrics_provider p = { .name = conf->providers[i]->name,
                                              .latency = broker_latency(m->broker, i) };

                if (!metrics_shows(m, conf->providers[i]))
                        continue;
                broker_view_provider(m->broker, conf->providers[i], &p.view);
                metrics_of_providers[what].write(m, sample, &p);
        }
}

/* --- all of it --- */

static const struct metrics_family metrics_build_info = { "build_info", "gauge", NULL,
                                                          "1; the version of bearerd." };
static const struct metrics_family metrics_configuration_refused = {
        "configuration_refused", "gauge", NULL,
        "1 if the last reload was refused: the files are not what is in force."
};
static const struct metrics_family metrics_event_readers = { "event_readers", "gauge", NULL,
                                                             "Connections that read events." };

static void metrics_write(struct metrics *m) {
        metrics_head(m, &metrics_build_info, NULL);
        (void) fprintf(m->out, "bearerd_build_info{version=\"%s\"} 1\n", BEARERD_VERSION);
        if (server_parts(m->call->server)->refused) {
                metrics_head(m, &metrics_configuration_refused, NULL);
                (void) fprintf(m->out, "bearerd_configuration_refused %d\n",
                               *server_parts(m->call->server)->refused);
        }
        metrics_head(m, &metrics_event_readers, NULL);
        (void) fprintf(m->out, "bearerd_event_readers %zu\n",
                       atomic_load(&server_streams(m->call->server)->n));
        for (size_t i = 0; i < N_ELEMENTS(metrics_of_credentials); i++)
                metrics_write_credentials(m, i);
        for (size_t i = 0; i < N_ELEMENTS(metrics_of_providers); i++)
                metrics_write_providers(m, i);
        if (!m->is_old)
                (void) fputs("# EOF\n", m->out);
}

static void metrics_work(struct call *call, struct broker *broker) {
        struct metrics m = { .call = call, .broker = broker, .is_old = call->as_text };
        struct reply reply = { .status = MHD_HTTP_OK };
        char *text = NULL;
        size_t len = 0;

        m.out = open_memstream(&text, &len);
        if (m.out) {
                metrics_write(&m);
                if (fclose(m.out) == 0) {
                        struct secret *body = secret_new(text,
                                                         len); /* none; what a reply is made of */

                        reply.response = reply_response(
                                body, m.is_old ? "text/plain; version=0.0.4; charset=utf-8"
                                               : "application/openmetrics-text; version=1.0.0; "
                                                 "charset=utf-8");
                }
                free(text);
        }
        call_return(call, reply);
}

struct reply metrics_get(struct call *call) {
        const char *accept = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND,
                                                         MHD_HTTP_HEADER_ACCEPT);
        struct reply reply;

        if (handler_refuse_query(call, &reply) < 0)
                return reply;
        call->as_text = accept && strstr(accept, "text/plain") &&
                        !strstr(accept, "application/openmetrics-text");
        call_cross(call, metrics_work);
        return HANDLER_CROSSED;
}
