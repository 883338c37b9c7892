#include "client/libbearer/flight.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/libbearer/client.h"
#include "client/protocol.h"

#define FLIGHT_SOFT_US INT64_C(2000000)
#define FLIGHT_RECHECK_US                                                                          \
        INT64_C(5000000) /* after a question that failed, while the token is good */
#define FLIGHT_RETRY_MAX_S 86400

void flight_free(struct flight *f) {
        exchange_done(&f->x);
        free(f->name);
        (void) bearer_request_free(f->rq);
        free(f);
}

/* Microseconds, far from where they would overflow. */
static int64_t flight_us(int64_t s) {
        const int64_t most_s = INT64_MAX / 4 / 1000000;

        return (s > most_s ? most_s : s) * 1000000;
}

struct flight *flight_find(struct bearer *client, const struct key *k,
                           const struct bearer_request *rq, bool loop) {
        struct entry *e = client_entry(client, k);
        const uint64_t rejections = e ? e->rejections : 0;

        for (struct flight *f = client->flights; f; f = f->next)
                if (f->loop == loop && f->rq->min_ttl_s == rq->min_ttl_s &&
                    f->rq->wait_s == rq->wait_s && strcmp(f->name, k->name) == 0 &&
                    strcmp(f->rq->key, k->rest) == 0 && f->rejections == rejections)
                        return f;
        return NULL;
}

/* The daemon's answer should come before we give up: it says more. */
static int flight_wait_s(const struct bearer_request *rq, int64_t limit_us) {
        int64_t s = (limit_us + 999999) / 1000000;

        if (s > 1)
                s--;
        if (s < 0)
                s = 0;
        return s < rq->wait_s ? (int) s : rq->wait_s;
}

/* Asks, also anew. 0, -ENOMEM, -EINVAL. */
static int flight_ask(struct flight *f, const struct key *k, int64_t now_us) {
        struct entry *e = client_entry(f->client, k);
        int64_t until_us = f->until_us;
        size_t len;
        char *text;
        int r;

        if (f->soft && until_us > now_us + FLIGHT_SOFT_US)
                until_us = now_us + FLIGHT_SOFT_US;
        f->rejections = e ? e->rejections : 0;
        r = request_format(f->name, f->rq, e ? e->rejected : "",
                           flight_wait_s(f->rq, until_us - now_us), &text, &len);
        if (r < 0)
                return r;
        exchange_done(&f->x);
        exchange_begin(&f->x, &f->client->link, text, len, now_us, until_us, !f->soft);
        return 0;
}

int flight_new(struct bearer *client, const struct key *k, const struct bearer_request *rq,
               int64_t now_us, int64_t until_us, bool soft, bool loop, struct flight **ret) {
        struct flight *f = calloc(1, sizeof(*f));
        int r;

        if (!f)
                return -ENOMEM;
        f->client = client;
        f->refs = 1;
        f->x.fd = -1;
        f->until_us = until_us;
        f->soft = soft;
        f->loop = loop;
        f->failure.retry_after_s = -1;
        pthread_cond_init(&f->ended, NULL);
        f->name = strdup(k->name);
        f->rq = request_copy(rq);
        r = f->name && f->rq ? flight_ask(f, k, now_us) : -ENOMEM;
        if (r < 0) {
                flight_free(f);
                return r;
        }
        f->next = client->flights;
        client->flights = f;
        *ret = f;
        return 0;
}

struct flight *flight_unref(struct flight *f) {
        if (--f->refs == 0)
                flight_free(f);
        return NULL;
}

static const struct {
        int status, r;
} flight_statuses[] = {
        { 400, -EINVAL },    { 403, -EACCES },    { 404, -ENOENT },
        { 409, -ENOKEY },    { 429, -EBUSY },     { 500, -EIO },
        { 502, -EREMOTEIO }, { 503, -EHOSTDOWN }, { 504, -ETIMEDOUT },
};

/* Each notes what went wrong and returns the code of it. */

static int flight_fail(struct flight *f, int r, const char *what) {
        f->failure.r = r;
        (void) snprintf(f->failure.text, sizeof(f->failure.text), "%s: %s", f->name, what);
        return r;
}

static int flight_fail_by_system(struct flight *f, int r) {
        const char *path = f->client->link.path;
        char text[512];

        switch (r) {
        case -ECONNREFUSED:
                (void) snprintf(text, sizeof(text), "no daemon at %s", path);
                break;
        case -EACCES:
                (void) snprintf(text, sizeof(text),
                                "you may not connect to %s: join the group that owns it", path);
                break;
        case -ETIMEDOUT:
                (void) snprintf(text, sizeof(text), "the daemon at %s did not answer in time",
                                path);
                break;
        case -ECONNRESET:
                (void) snprintf(text, sizeof(text), "the daemon at %s hung up: see its log", path);
                break;
        case -EPROTO:
                (void) snprintf(
                        text, sizeof(text),
                        "what came from %s is not an answer of bearerd: is that its socket?", path);
                break;
        default:
                (void) snprintf(text, sizeof(text), "%s", bearer_strerror(r));
        }
        f->failure.retry_after_s = -1;
        return flight_fail(f, r, text);
}

static int flight_fail_by_answer(struct flight *f, const struct wire_answer *a) {
        char text[CLIENT_DESCRIPTION_SIZE];
        int r = -EPROTO;

        for (size_t i = 0; i < sizeof(flight_statuses) / sizeof(flight_statuses[0]); i++)
                if (flight_statuses[i].status == a->status)
                        r = flight_statuses[i].r;
        client_describe(a, text);
        f->failure.retry_after_s = a->retry_after_s > FLIGHT_RETRY_MAX_S ? FLIGHT_RETRY_MAX_S
                                                                         : (int) a->retry_after_s;
        f->final = true;
        return flight_fail(f, r, text);
}

/* How long the token is good from now on. The seconds that the daemon counts are taken from when it was
 * asked: that is a little short, and right whatever the clock does, and whoever was stopped meanwhile.
 * A daemon that does not tell them has used the same machine's clock. */
static int64_t flight_left_us(const struct flight *f, const struct wire_answer *a, int64_t now_us) {
        struct timespec t;
        int64_t left_us;

        if (a->expires_in_s >= 0)
                return flight_us(a->expires_in_s) - (now_us - f->x.asked_us);
        if (a->expires_at < 0)
                return TOKEN_NEVER;
        (void) clock_gettime(CLOCK_REALTIME, &t);
        left_us = flight_us(a->expires_at - t.tv_sec);
        return left_us - t.tv_nsec / 1000;
}

static bool flight_answer_is_token(const struct wire_answer *a) {
        if (strcmp(a->content_type, "text/plain") != 0 || !*a->fingerprint || a->body_len == 0 ||
            a->body_len > PROTOCOL_TOKEN_MAX)
                return false;
        for (size_t i = 0; i < a->body_len; i++)
                if ((unsigned char) a->body[i] <= 0x20 || (unsigned char) a->body[i] >= 0x7f)
                        return false;
        return true;
}

/* Each: 0: there is a good token; 1: there is none, ask anew; negative: it has failed. */

static int flight_keep(struct flight *f, const struct key *k, const struct wire_answer *a,
                       int64_t now_us) {
        const int64_t left_us = flight_left_us(f, a, now_us);
        struct entry *e = client_entry(f->client, k);
        struct body *b;

        if (e && e->rejections != f->rejections)
                return 1; /* it may be the one that the API has refused since we asked */
        if (a->expires_in_s > 0 && left_us <= 0)
                return 1; /* ended on its way: this process was stopped */
        b = body_new(f->name, f->rq->key, a->body, a->body_len, a->fingerprint, a->expires_at,
                     left_us, now_us);
        e = b ? client_entry_make(f->client, k, now_us) : NULL;
        if (!e) {
                (void) body_unref(b);
                return flight_fail_by_system(f, -ENOMEM);
        }
        client_drop_body(f->client, e);
        e->rejected[0] = '\0';
        e->since_us = now_us;
        e->body = b;
        return 0;
}

static int flight_take(struct flight *f, const struct key *k, int r, const struct wire_answer *a,
                       int64_t now_us) {
        if (r < 0)
                return flight_fail_by_system(f, r);
        if (a->status != 200)
                return flight_fail_by_answer(f, a);
        if (!flight_answer_is_token(a))
                return flight_fail_by_system(f, -EPROTO);
        return flight_keep(f, k, a, now_us);
}

/* A question failed that was not urgent. A daemon that is away for a moment, or a provider that fails, is no
 * reason not to use a token that is good; if it no longer is, now it is urgent. */
static int flight_forgive(struct flight *f, const struct key *k, int64_t now_us) {
        struct entry *e = client_entry(f->client, k);
        const int r = f->failure.r;

        if (f->final && (r == -EINVAL || r == -EACCES || r == -ENOENT || r == -ENOKEY)) {
                if (e)
                        client_drop_body(f->client, e);
                return r;
        }
        f->soft = f->final = false;
        if (!e || !e->body || !body_is_good(e->body, now_us, k->min_ttl_us))
                return 1;
        atomic_store_explicit(&e->body->due_us, now_us + FLIGHT_RECHECK_US, memory_order_relaxed);
        return 0;
}

static int flight_again(struct flight *f, const struct key *k, int64_t now_us) {
        int r = now_us < f->until_us ? flight_ask(f, k, now_us) : -ETIMEDOUT;

        return r < 0 ? flight_fail_by_system(f, r) : 1;
}

bool flight_end(struct flight *f, int r, struct wire_answer *answer) {
        const struct key k = client_key(f->client, f->name, f->rq);
        const int64_t now_us = token_now_us(); /* not what it was when the exchange was looked at */
        struct flight **p;

        r = flight_take(f, &k, r, answer, now_us);
        wire_answer_done(answer);
        if (r < 0 && f->soft)
                r = flight_forgive(f, &k, now_us);
        if (r == 1)
                r = flight_again(f, &k, now_us);
        if (r == 1)
                return false;
        f->failure.r = r;
        for (p = &f->client->flights; *p != f; p = &(*p)->next)
                ;
        *p = f->next;
        f->done = true;
        pthread_cond_broadcast(&f->ended);
        return true;
}
