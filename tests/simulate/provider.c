#include "provider.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "law.h"
#include "machine.h"

#define TOKENS      65536 /* the last ones that are remembered */
#define OBO_LIFE    (900 * US_PER_S)
#define REFRESH_END (30 * US_PER_D)
#define JWT_SKEW_S  300 /* that the provider tolerates in iat */
#define HOUR_MAX    4096
#define STORM_S     10
#define STORM_MAX   620 /* requests to one provider in STORM_S: 50 a second, and a burst of 100 */
#define DOUBTED_US  (12 * US_PER_MIN) /* the longest min_ttl that callers must get */
#define RECOVERY_US (7 * US_PER_MIN)  /* a probe comes in up to 5, and a few tries after it */

const char *const weather_names[WEATHER_MAX] = { "fine",    "slow",     "flaky",    "lossy",
                                                 "lying",   "limiting", "refusing", "black_hole",
                                                 "hanging", "busy",     "gateway",  "portal" };

enum grant_type {
        JWT,
        CODE,
        REFRESH,
        DEVICE_START,
        DEVICE_POLL
};

struct request {
        struct list_link link;
        struct timer timer;
        bool arrives; /* next: it arrives; else it is answered */
        bool orphan;  /* nobody waits for the answer any more */
        struct http_request *req;
        http_done_fn *done;
        void *user;
        unsigned provider;
        mono_t sent, gives_up;
        struct consent *presents; /* whose refresh token */
        unsigned number;
        /* the answer */
        enum http_outcome outcome;
        int status;
        char body[512];
        const char *type;
        bool has_date;
        int64_t date;
        int64_t retry_after_us;
        bool too_large;
        struct consent *gives; /* a readable refresh token of this number */
        unsigned gives_number;
        bool refuses; /* clearly */
};

struct provider_state providers[PROVIDERS];
struct consent consents[CREDENTIALS][SUBJECTS];
unsigned provider_budget;
bool fault_single_line, fault_presents_first;
unsigned fault_repeats;

static struct {
        const struct conf *conf;
        struct transport transport;
        struct list_link requests;
        struct token_truth tokens[TOKENS];
        unsigned n_tokens;
        mono_t hour[PROVIDERS][HOUR_MAX]; /* requests of this outage, a ring */
        unsigned n_hour[PROVIDERS], worst_hour;
        unsigned long n_requests;
        int64_t second; /* that the newest slot counts */
        unsigned per_s[PROVIDERS][64];
} net;

static struct {
        struct consent *consent;
        mono_t ends;
        int decided; /* 0: not yet, 1: yes, -1: no */
} devices[256];
static unsigned n_devices;

unsigned provider_of(const struct conf_credential *c) {
        return (unsigned) c->index / TYPES;
}

/* --- trouble --- */

void provider_trouble(unsigned p, int64_t for_us) {
        mono_t until = mono_add(sim_now, for_us);

        if (mono_before(providers[p].calm_from, until))
                providers[p].calm_from = until;
}

void all_trouble(int64_t for_us) {
        for (unsigned p = 0; p < PROVIDERS; p++)
                provider_trouble(p, for_us);
}

bool provider_is_calm(unsigned p) {
        return providers[p].weather == FINE && !providers[p].deactivated &&
               mono_before(mono_add(providers[p].calm_from, RECOVERY_US), sim_now);
}

void provider_set_weather(unsigned p, enum weather w) {
        struct provider_state *s = &providers[p];

        sim_note("weather", weather_names[w], p, 0);
        provider_trouble(p, 0);
        s->weather = w;
        if (w < LIMITING) {
                s->outage_from = MONO_NEVER;
        } else if (s->outage_from.us == INT64_MAX) {
                s->outage_from = sim_now;
                net.n_hour[p] = 0;
        }
}

/* --- consents and tokens --- */

struct consent *consent_find(const char *credential, const char *subject) {
        const struct conf_credential *c = conf_find_credential(net.conf, credential);
        unsigned n = *subject == 's' ? (unsigned) strtoul(subject + 1, NULL, 10) : SUBJECTS;

        return c && n < SUBJECTS && c->type != CREDENTIAL_JWT ? &consents[c->index][n] : NULL;
}

struct consent *refresh_token_parse(const char *text, unsigned *ret_number) {
        char credential[32], subject[16];

        if (sscanf(text, "rt.%31[^.].%15[^.].%u", credential, subject, ret_number) != 3)
                return NULL;
        return consent_find(credential, subject);
}

bool consent_is_alive(const struct consent *c) {
        return c->issued > 0 && !c->over && c->delivered >= c->issued && c->forgotten < c->issued &&
               mono_before(sim_now, c->ends);
}

static struct token_truth *token_truth_new(const struct conf_credential *c, const char *subject,
                                           int64_t life_us, char ret[32]) {
        unsigned i = net.n_tokens++;
        struct token_truth *t = &net.tokens[i % TOKENS];

        *t = (struct token_truth){ .credential = c, .expires = mono_add(sim_now, life_us) };
        (void) snprintf(t->subject, sizeof(t->subject), "%s", subject);
        (void) snprintf(ret, 32, "at.%u", i);
        return t;
}

const struct token_truth *token_truth_find(const char *value) {
        unsigned long i = strtoul(value + 3, NULL, 10);

        return i < net.n_tokens ? &net.tokens[i % TOKENS] : NULL;
}

/* --- reading requests --- */

static const struct conf_credential *credential_of_client(const char *id) {
        unsigned long n = strtoul(id, NULL, 10);

        return n >= 100 && n < 100 + CREDENTIALS ? net.conf->credentials[n - 100] : NULL;
}

static bool member(const char *text, const char *name, char *ret, size_t size) {
        const char *at = strstr(text, name), *end;

        if (!at)
                return false;
        at += strlen(name);
        end = at + strcspn(at, "\"");
        if ((size_t) (end - at) >= size)
                return false;
        memcpy(ret, at, (size_t) (end - at));
        ret[end - at] = '\0';
        return true;
}

static void decode_base64url(const char *in, char *out, size_t size) {
        unsigned v = 0, bits = 0;
        size_t n = 0;

        for (; *in && *in != '.' && n + 1 < size; in++) {
                unsigned c = (unsigned char) *in;

                v = v << 6 | (c >= 'a'   ? c - 'a' + 26
                              : c == '_' ? 63
                              : c >= 'A' ? c - 'A'
                              : c == '-' ? 62
                                         : c - '0' + 52);
                bits += 6;
                if (bits >= 8)
                        out[n++] = (char) (v >> (bits -= 8));
        }
        out[n] = '\0';
}

static enum grant_type grant_type_of(const struct http_request *req) {
        const char *body = secret_text(req->body), *at;

        if (strstr(req->url, "/device/code"))
                return DEVICE_START;
        at = strstr(body, "\"grant_type\":\"");
        law(LAW_RIGHT_OWNER, at, "a request without a grant type");
        at += strlen("\"grant_type\":\"");
        return *at == 'r'                 ? REFRESH
               : *at == 'a'               ? CODE
               : strstr(at, "jwt-bearer") ? JWT
                                          : DEVICE_POLL;
}

static unsigned provider_of_url(const char *url) {
        return (unsigned) (url[strlen("https://api")] - '0'); /* https://apiN.example */
}

/* --- the provider acts --- */

static int64_t provider_clock(unsigned p) {
        return SIM_EPOCH + sim_now.us / US_PER_S + providers[p].offset_s;
}

static void refuse(struct request *x, int status, const char *code, const char *message) {
        x->status = status;
        (void) snprintf(x->body, sizeof(x->body),
                        "{\"error_code\":\"%s\",\"error_message\":\"%s\"}", code, message);
}

/* What is written as expires_in, and in the Date, when the provider lies. No lie makes a token
 * look as if it lived longer than a jwt was asked to: such a lie nobody could find out. */
static void lie(struct request *x, bool jwt, int64_t *expires_in) {
        switch (dice_below(7)) {
        case 0:
                x->date += dice_between(60, 4000);
                providers[x->provider].leaps_back = true;
                break;
        case 1:
                if (jwt)
                        x->date -= dice_between(60, 86400);
                break;
        case 2:
                *expires_in = -5;
                break;
        case 3:
                *expires_in *= 1000;
                break;
        case 4:
                *expires_in -= dice_between(1, 2000);
                break;
        case 5:
                *expires_in = 0;
                break;
        default:
                break;
        }
}

static void give(struct request *x, const struct conf_credential *c, const char *subject,
                 struct consent *g, bool with_refresh_token, int64_t life_us, unsigned context) {
        int64_t expires_in = provider_clock(x->provider) + life_us / US_PER_S;
        char token[32], refresh[96] = "";
        struct token_truth *t = token_truth_new(c, subject, life_us, token);

        x->status = 200;
        if (providers[x->provider].weather == LYING)
                lie(x, !g, &expires_in);
        t->context = context;
        if (g) {
                t->number = g->issued;
                if (with_refresh_token)
                        (void) snprintf(refresh, sizeof(refresh),
                                        ",\"refresh_token\":\"rt.%s.%s.%u\"", c->name, g->subject,
                                        g->issued);
                x->gives = g;
                x->gives_number = g->issued;
        }
        (void) snprintf(x->body, sizeof(x->body),
                        "{\"access_token\":\"%s\",\"expires_in\":%" PRId64 "%s}", token, expires_in,
                        refresh);
        sim_note("gives", c->name, (int64_t) t->number, expires_in);
}

static void act_jwt(struct request *x) {
        const char *payload = strchr(secret_text(x->req->authorization), '.');
        const char *duration = strstr(secret_text(x->req->body), "\"duration_seconds\":");
        char text[1024], id[32], subject[16] = "", context[16] = "0";
        const struct conf_credential *c;
        int64_t iat;

        decode_base64url(payload + 1, text, sizeof(text));
        (void) member(text, "\"iss\":\"", id, sizeof(id));
        (void) member(text, "\"session_name\":\"", subject, sizeof(subject));
        (void) member(text, "\"device_id\":\"", context, sizeof(context));
        c = credential_of_client(id);
        iat = strtoll(strstr(text, "\"iat\":") + 6, NULL, 10);
        if (llabs(iat - provider_clock(x->provider)) > JWT_SKEW_S)
                refuse(x, 401, "invalid_client", "invalid jwt: iat");
        else
                give(x, c, subject, NULL, false, strtoll(duration + 19, NULL, 10) * US_PER_S,
                     (unsigned) strtoul(context, NULL, 10));
}

static void issue(struct consent *g) {
        g->issued++;
        g->ends = mono_add(sim_now, REFRESH_END);
        g->over = false;
}

static void act_refresh(struct request *x) {
        struct consent *g = x->presents;

        if (g->over || x->number != g->issued || !mono_before(sim_now, g->ends)) {
                g->over = true;
                x->refuses = true;
                refuse(x, 400, "invalid_grant", "the refresh token is spent");
                return;
        }
        if (dice_one_in(20)) { /* the old one stays good */
                g->ends = mono_add(sim_now, REFRESH_END);
                give(x, g->credential, g->subject, g, false, OBO_LIFE, 0);
                x->gives = NULL;
                return;
        }
        issue(g);
        give(x, g->credential, g->subject, g, true, OBO_LIFE, 0);
}

static void act_code(struct request *x) {
        char code[64], credential[32], subject[16];
        struct consent *g;

        (void) member(secret_text(x->req->body), "\"code\":\"", code, sizeof(code));
        law(LAW_RIGHT_OWNER, sscanf(code, "code.%31[^.].%15[^.]", credential, subject) == 2,
            "a code that nobody made");
        g = consent_find(credential, subject);
        issue(g);
        give(x, g->credential, g->subject, g, true, OBO_LIFE, 0);
}

static void act_device_start(struct request *x) {
        unsigned i = n_devices++ % 256;

        /* who it is for is told by whoever decides: the one that is logging in */
        devices[i].consent = NULL;
        devices[i].decided = 0;
        devices[i].ends = mono_add(sim_now, 300 * US_PER_S);
        x->status = 200;
        (void) snprintf(x->body, sizeof(x->body),
                        "{\"device_code\":\"dc.%u\",\"user_code\":\"AB-%u\",\"verification_uri\":"
                        "\"https://www.example/device\",\"expires_in\":300,\"interval\":5}",
                        i, i);
}

void device_decide(const struct consent *c, bool yes) {
        unsigned i = (n_devices - 1) % 256; /* one person at a time logs in by a device */

        if (n_devices == 0)
                return;
        devices[i].consent = &consents[c->credential->index][strtoul(c->subject + 1, NULL, 10)];
        devices[i].decided = yes ? 1 : -1;
}

static void act_device_poll(struct request *x) {
        char code[32];
        unsigned i;

        (void) member(secret_text(x->req->body), "\"device_code\":\"dc.", code, sizeof(code));
        i = (unsigned) strtoul(code, NULL, 10) % 256;
        if (!mono_before(sim_now, devices[i].ends))
                refuse(x, 400, "expired_token", "");
        else if (devices[i].decided == 0)
                refuse(x, 400, "authorization_pending", "");
        else if (devices[i].decided < 0)
                refuse(x, 400, "access_denied", "");
        else {
                devices[i].ends = sim_now;
                issue(devices[i].consent);
                give(x, devices[i].consent->credential, devices[i].consent->subject,
                     devices[i].consent, true, OBO_LIFE, 0);
        }
}

static void act(struct request *x) {
        static void (*const acts[])(struct request *) = {
                [JWT] = act_jwt,
                [CODE] = act_code,
                [REFRESH] = act_refresh,
                [DEVICE_START] = act_device_start,
                [DEVICE_POLL] = act_device_poll,
        };

        if (providers[x->provider].deactivated)
                refuse(x, 400, "access_deny", "app: x is currently deactivated by the owner");
        else
                acts[grant_type_of(x->req)](x);
}

/* --- requests on their way --- */

/* A Date that goes back is doubted, and so is the lifetime that comes with it: for as long as such
 * a token lives, less is had than is asked for. */
static void provider_is_doubted(const struct request *x) {
        struct provider_state *s = &providers[x->provider];

        if (!s->leaps_back || x->outcome != HTTP_ANSWERED)
                return;
        provider_trouble(x->provider, DOUBTED_US);
        if (x->status == 200 && s->weather == FINE)
                s->leaps_back = false;
}

static void request_free(struct request *x) {
        agenda_remove(&x->timer);
        list_remove(&x->link);
        http_request_free(x->req);
        free(x);
}

static void request_finish(struct request *x) {
        AUTO(secret_unrefp) struct secret *body = NULL;
        struct http_response resp = { .outcome = x->outcome, .retry_after_us = -1 };

        if (x->orphan) {
                request_free(x);
                return;
        }
        if (x->outcome == HTTP_ANSWERED) {
                body = secret_new(x->body, strlen(x->body));
                resp.status = x->status;
                resp.body = body;
                resp.too_large = x->too_large;
                resp.has_date = x->has_date;
                resp.date = (wall_t){ x->date };
                resp.retry_after_us = x->retry_after_us;
                (void) snprintf(resp.content_type, sizeof(resp.content_type), "%s", x->type);
                if (x->gives && x->gives_number > x->gives->delivered)
                        x->gives->delivered = x->gives_number;
                if (x->refuses)
                        x->presents->refused = x->number;
        } else {
                (void) snprintf(resp.problem, sizeof(resp.problem), "%s",
                                x->outcome == HTTP_UNKNOWN ? "timed out" : "connection refused");
        }
        if (x->presents)
                x->presents->presented--; /* done() may present it once more */
        provider_is_doubted(x);
        sim_note("answer", x->outcome == HTTP_ANSWERED ? "answered" : resp.problem, x->provider,
                 x->status);
        x->done(x->user, &resp);
        request_free(x);
}

static void answer_in(struct request *x, int64_t us) {
        mono_t at = mono_add(sim_now, us);

        x->arrives = false;
        for (unsigned p = 0; fault_single_line && p < PROVIDERS; p++)
                if (p != x->provider && providers[p].weather >= LIMITING)
                        at = x->gives_up; /* behind what waits for that one */
        if (!mono_before(at, x->gives_up)) {
                at = x->gives_up;
                x->outcome = HTTP_UNKNOWN;
                x->gives = NULL;
        }
        agenda_set(&x->timer, mono_until(sim_now, at));
}

static void say(struct request *x, int status, const char *type, const char *body) {
        x->status = status;
        x->type = type;
        (void) snprintf(x->body, sizeof(x->body), "%s", body);
}

static void limit(struct request *x) {
        static const int64_t after[] = { -1, 1, 30, 600, 3600 };
        int64_t s = after[dice_below(N_ELEMENTS(after))];

        say(x, 429, "application/json", "{\"code\":4013,\"msg\":\"too many requests\"}");
        x->retry_after_us = s < 0 ? -1 : s * US_PER_S;
        provider_trouble(x->provider, s < 0 ? 0 : s * US_PER_S * 5 / 4);
}

static void request_arrives(struct request *x) {
        enum weather w = providers[x->provider].weather;

        x->outcome = HTTP_ANSWERED;
        x->type = "application/json";
        x->has_date = true;
        x->date = provider_clock(x->provider);
        x->retry_after_us = -1;
        if (w == FLAKY && dice_one_in(3))
                w = (enum weather)(LIMITING + dice_below(WEATHER_MAX - LIMITING));
        switch (w) {
        case LIMITING:
                limit(x);
                break;
        case REFUSING:
        case BLACK_HOLE:
        case HANGING:
                x->outcome = HTTP_UNKNOWN;
                break;
        case BUSY:
                say(x, 503, "application/json", "{\"code\":5000,\"msg\":\"busy\"}");
                if (dice_one_in(2))
                        x->retry_after_us = 20 * US_PER_S;
                break;
        case GATEWAY:
                if (dice_one_in(8))
                        act(x); /* behind the gateway it was done */
                x->gives = NULL;
                x->refuses = false;
                say(x, dice_one_in(2) ? 502 : 500, "text/html", "<html>bad gateway</html>");
                break;
        case PORTAL:
                x->too_large = dice_one_in(4);
                say(x,
                    dice_one_in(3)   ? 403
                    : dice_one_in(2) ? 302
                                     : 200,
                    "text/html", dice_one_in(3) ? "" : "<html>log in to the network</html>");
                break;
        case LOSSY:
                act(x);
                if (dice_one_in(3)) {
                        x->outcome = HTTP_UNKNOWN;
                        x->gives = NULL;
                        x->refuses = false;
                } else if (dice_one_in(6)) {
                        x->gives = NULL; /* cut short */
                        x->refuses = false;
                        x->body[strlen(x->body) / 2] = '\0';
                }
                break;
        case FINE:
        case SLOW:
        case FLAKY:
        case LYING:
        case WEATHER_MAX:
                act(x);
                break;
        }
        if (w == HANGING)
                answer_in(x, US_PER_H);
        else
                answer_in(x,
                          w == SLOW ? dice_between(0, 12 * US_PER_S) : dice_between(10000, 200000));
}

static void request_timer(struct timer *t) {
        struct request *x = list_entry(t, struct request, timer);
        mono_t wakes = machine_wakes();

        if (x->arrives) {
                request_arrives(x);
        } else if (mono_before(sim_now, wakes)) { /* a sleeping machine hears nothing */
                if (dice_one_in(2)) {
                        x->outcome = HTTP_UNKNOWN;
                        x->gives = NULL;
                        x->refuses = false;
                }
                agenda_set(t, mono_until(sim_now, wakes) + dice_between(0, US_PER_S));
        } else {
                request_finish(x);
        }
}

/* --- counting --- */

static void count_turn(void) {
        int64_t s = sim_now.us / US_PER_S;

        if (s - net.second >= 64)
                net.second = s - 64;
        while (net.second < s) {
                net.second++;
                for (unsigned p = 0; p < PROVIDERS; p++)
                        net.per_s[p][net.second % 64] = 0;
        }
}

static void count_request(unsigned p) {
        unsigned requests = 0, n;

        count_turn();
        net.n_requests++;
        net.per_s[p][net.second % 64]++;
        for (unsigned i = 0; i < STORM_S; i++)
                requests += net.per_s[p][(net.second - i) & 63];
        law(LAW_NO_STORM, requests <= STORM_MAX, "%u requests to provider %u in %d s", requests, p,
            STORM_S);
        if (providers[p].outage_from.us == INT64_MAX)
                return;
        net.hour[p][net.n_hour[p]++ % HOUR_MAX] = sim_now;
        for (n = 0; n < net.n_hour[p] && n < HOUR_MAX; n++)
                if (mono_until(net.hour[p][(net.n_hour[p] - 1 - n) % HOUR_MAX], sim_now) > US_PER_H)
                        break;
        if (n > net.worst_hour)
                net.worst_hour = n;
        law(LAW_WITHIN_BUDGET, provider_budget == 0 || n <= provider_budget,
            "%u requests to provider %u within an hour of outage (%s)", n, p,
            weather_names[providers[p].weather]);
}

unsigned provider_worst_hour(void) {
        return net.worst_hour;
}

unsigned long provider_requests(void) {
        return net.n_requests;
}

/* --- the transport --- */

static void present(struct request *x) {
        char token[96];
        struct consent *g;

        if (grant_type_of(x->req) != REFRESH)
                return;
        (void) member(secret_text(x->req->body), "\"refresh_token\":\"", token, sizeof(token));
        g = refresh_token_parse(token, &x->number);
        law(LAW_RIGHT_OWNER, g, "a refresh token that nobody made: %s", token);
        if (fault_presents_first)
                x->number = 1;
        law(LAW_ONE_REFRESH_AT_A_TIME, g->presented == 0, "two of %s.%s under way",
            g->credential->name, g->subject);
        law(LAW_NO_SPENT_TOKEN, x->number >= g->delivered, "%s, but %u had reached us", token,
            g->delivered);
        law(LAW_NO_SPENT_TOKEN, x->number > g->refused, "%s was refused before", token);
        g->presented++;
        x->presents = g;
}

static int network_send(void *self, struct http_request *req, http_done_fn *done, void *user) {
        struct request *x = calloc(1, sizeof(*x));
        enum weather w;

        (void) self;
        if (!x)
                abort();
        x->req = req;
        x->done = done;
        x->user = user;
        x->sent = sim_now;
        x->gives_up = mono_add(sim_now, req->timeout_us ? req->timeout_us : HTTP_TIMEOUT_US);
        x->provider = provider_of_url(req->url);
        agenda_add(&x->timer, request_timer);
        list_append(&net.requests, &x->link);
        sim_note("request", strrchr(req->url, '/'), x->provider, (int64_t) grant_type_of(req));
        present(x);
        count_request(x->provider);
        for (unsigned i = 0; i < fault_repeats; i++) {
                if (fault_repeats == 1)
                        present(x);
                count_request(x->provider);
        }
        w = providers[x->provider].weather;
        x->outcome = HTTP_NOT_SENT;
        if (w == REFUSING) {
                agenda_set(&x->timer, dice_between(500, 5000));
        } else if (w == BLACK_HOLE) {
                agenda_set(&x->timer, HTTP_CONNECT_US);
        } else {
                x->arrives = true;
                agenda_set(&x->timer,
                           w == SLOW ? dice_between(0, 8 * US_PER_S) : dice_between(10000, 200000));
        }
        return 0;
}

/* Nobody waits any more; what was sent may act all the same. */
static void request_orphan(struct request *x) {
        if (x->presents)
                x->presents->presented--;
        x->orphan = true;
        if (!x->arrives)
                request_free(x);
}

static void network_cancel(void *self, void *user) {
        (void) self;
        for (struct list_link *l = net.requests.next; l != &net.requests; l = l->next) {
                struct request *x = list_entry(l, struct request, link);

                if (x->user == user && !x->orphan) {
                        request_orphan(x);
                        return;
                }
        }
}

void provider_daemon_died(void) {
        for (struct list_link *l = net.requests.next, *next; l != &net.requests; l = next) {
                struct request *x = list_entry(l, struct request, link);

                next = l->next;
                if (!x->orphan)
                        request_orphan(x);
        }
        for (unsigned p = 0; p < PROVIDERS; p++)
                net.n_hour[p] = 0; /* a new life knows nothing of the outage */
}

struct transport *provider_transport(void) {
        return &net.transport;
}

void providers_begin(const struct conf *conf) {
        net.conf = conf;
        net.transport = (struct transport){ network_send, network_cancel, NULL };
        list_init(&net.requests);
        for (unsigned p = 0; p < PROVIDERS; p++)
                providers[p] = (struct provider_state){ .outage_from = MONO_NEVER };
        for (size_t i = 0; i < CREDENTIALS; i++)
                for (unsigned s = 0; s < SUBJECTS; s++) {
                        consents[i][s].credential = conf->credentials[i];
                        (void) snprintf(consents[i][s].subject, sizeof(consents[i][s].subject),
                                        "s%u", s);
                }
}
