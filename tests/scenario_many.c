#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "broker/entry.h"
#include "check_main.h"
#include "stage.h"

/*
 * A hundred thousand grants, all of them due, and a provider that is down for an hour: what that costs, and how it ends
 */

#define GRANTS   100000
#define IN_DOUBT 100 /* refreshes that were under way when the machine died */
#define CALLERS  20  /* who come when the provider is back */
#define BACK_S   120 /* that is looked at of the time after it */
#define MEMORY   512 /* bytes of each grant that waits, at most */

static struct many {
        struct stage s;
        struct caller callers[CALLERS];
        char names[CALLERS][16];
        unsigned char *refreshed; /* how often, by number */
        unsigned n_refreshed;
} many;

static size_t memory(void) {
        return mallinfo2().uordblks;
}

static void many_start(struct many *m) {
        char name[16];

        *m = (struct many){ 0 };
        m->refreshed = calloc(GRANTS, 1);
        ck_assert_ptr_nonnull(m->refreshed);
        world_init(&m->s.w);
        for (unsigned i = 0; i < GRANTS; i++) {
                (void) snprintf(name, sizeof(name), "g%u", i);
                stage_add_row(&m->s, name, (wall_t){ NOW - 26 * 86400 }, i < IN_DOUBT);
                m->s.n = 0;
        }
        ck_assert_int_eq(broker_start(m->s.w.broker, NULL), 0);
}

/* The number of the grant whose refresh token the oldest request presents. */
static unsigned many_presented(const struct many *m) {
        const struct http_request *req = fake_transport_oldest(m->s.w.transport);
        const char *at = strstr(secret_text(req->body), "\"rt.g");
        unsigned i, number;

        ck_assert_ptr_nonnull(at);
        ck_assert_int_eq(sscanf(at, "\"rt.g%u.%u\"", &i, &number), 2);
        ck_assert_uint_lt(i, GRANTS);
        ck_assert_uint_eq(number, 1); /* none is presented after it was spent */
        return i;
}

static void many_answer(struct many *m) {
        char body[128];
        unsigned i;

        if (!strstr(secret_text(fake_transport_oldest(m->s.w.transport)->body), "refresh_token")) {
                world_grant(&m->s.w, 900);
                return;
        }
        i = many_presented(m);
        m->refreshed[i]++;
        m->n_refreshed++;
        (void) snprintf(
                body, sizeof(body),
                "{\"access_token\":\"at.g%u\",\"expires_in\":900,\"refresh_token\":\"rt.g%u.2\"}",
                i, i);
        stage_reply(&m->s, 200, body);
}

static void many_go_on(struct many *m, bool is_back) {
        struct world *w = &m->s.w;

        stage_store(&m->s);
        while (fake_transport_waiting(w->transport) > 0) {
                if (is_back)
                        many_answer(m);
                else
                        fake_transport_fail(w->transport, HTTP_NOT_SENT);
                stage_store(&m->s);
        }
        world_pass(w, US_PER_S);
}

static void many_come(struct many *m) {
        for (unsigned i = 0; i < CALLERS; i++) {
                (void) snprintf(m->names[i], sizeof(m->names[i]), "g%u", GRANTS - 1 - 1000 * i);
                caller_ask(&m->s.w, &m->callers[i], i % 2 ? SITE : BOT, m->names[i], -1, 30, NULL);
        }
}

static unsigned many_served(const struct many *m) {
        unsigned n = 0;

        for (unsigned i = 0; i < CALLERS; i++)
                n += m->callers[i].kind == ANSWER_TOKEN;
        return n;
}

START_TEST(an_hour_without_a_provider)
{
        struct many *m = &many;
        struct world *w = &m->s.w;
        struct upstream_view v;
        size_t start, sent, before = 0;
        unsigned waited = 0;

        many_start(m);
        start = memory();
        for (int64_t s = 0; s < 3600; s++)
                many_go_on(m, false);
        sent = fake_transport_sent(w->transport);
        ck_assert_uint_le(sent, 30);
        ck_assert_uint_ge(sent, 12);
        broker_view_provider(w->broker, &w->provider, &v);
        ck_assert_uint_gt(v.waiting, GRANTS / 10);
        ck_assert_uint_lt(v.waiting, GRANTS / 2); /* ten a second become due, not all at once */
        ck_assert_uint_lt(memory() - start, v.waiting * MEMORY);

        while (v.state != BREAKER_CLOSED && waited++ < 330) { /* it is back, and found to be */
                before = fake_transport_sent(w->transport);
                many_go_on(m, true);
                broker_view_provider(w->broker, &w->provider, &v);
        }
        ck_assert_int_eq(v.state, BREAKER_CLOSED);
        many_come(m);
        m->n_refreshed = 0;
        for (unsigned s = 0; s < BACK_S; s++) {
                many_go_on(m, true);
                if (s == 0)
                        ck_assert_uint_eq(many_served(m), CALLERS); /* before all of those */
                ck_assert_uint_le(fake_transport_sent(w->transport) - before,
                                  1 + (s + 2) * QUEUE_RATE); /* the probe, and no burst */
        }
        ck_assert_uint_gt(m->n_refreshed, (BACK_S - 10) * QUEUE_RATE); /* nor slower */
        for (unsigned i = 0; i < GRANTS; i++)
                ck_assert_uint_le(m->refreshed[i], 1);
        world_done(w);
        free(m->refreshed);
}
END_TEST

static void add(TCase *tc) {
        world_prepare();
        tcase_set_timeout(tc, 120); /* of a busy machine */
        tcase_add_test(tc, an_hour_without_a_provider);
}

CHECK_MAIN("many", add)
