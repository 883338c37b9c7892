#include <stdio.h>
#include <string.h>

#include "broker/entry.h"
#include "check_main.h"
#include "stage.h"

/*
 * A provider that is down, slow, or overrun: what it costs, whom it holds up, how it ends
 */

#define CROWD  200 /* subjects of BOT whose callers ask again and again */
#define GRANTS 300 /* of SITE, which are due */

enum trouble {
        NO_CONNECTION,
        NO_ANSWER, /* after 15 s */
        GATEWAY_PAGE,
        SERVER_ERROR,
        TOO_MANY,
        LOGIN_PAGE, /* of a captive portal */
        TROUBLE_MAX,
};

static void world_fail(struct world *w, enum trouble trouble) {
        switch (trouble) {
        case NO_CONNECTION:
                fake_transport_fail(w->transport, HTTP_NOT_SENT);
                break;
        case NO_ANSWER:
                fake_transport_fail(w->transport, HTTP_UNKNOWN);
                break;
        case GATEWAY_PAGE:
                fake_transport_answer(w->transport, 502, "<html>", 0, -1);
                break;
        case SERVER_ERROR:
                fake_transport_answer(w->transport, 500, "{\"code\":5000,\"msg\":\"x\"}",
                                      w->clock.wall.s, -1);
                break;
        case TOO_MANY:
                fake_transport_answer(w->transport, 429, "{}", w->clock.wall.s, -1);
                break;
        case LOGIN_PAGE:
                fake_transport_answer(w->transport, 200, "<html>", 0, -1);
                break;
        case TROUBLE_MAX:
                break;
        }
}

static struct outage {
        struct stage s;
        struct caller crowd[CROWD];
        char names[CROWD][8];
        char grants[GRANTS][8];
} outage;

static void outage_start(struct outage *o) {
        *o = (struct outage){ 0 };
        world_init(&o->s.w);
        for (unsigned i = 0; i < GRANTS; i++) {
                (void) snprintf(o->grants[i], sizeof(o->grants[i]), "g%u", i);
                stage_add_row(&o->s, o->grants[i], (wall_t){ NOW - 26 * 86400 }, i % 3 == 0);
                o->s.n = 0;
        }
        for (unsigned i = 0; i < CROWD; i++)
                (void) snprintf(o->names[i], sizeof(o->names[i]), "s%u", i);
        ck_assert_int_eq(broker_start(o->s.w.broker, NULL), 0);
}

/* Everybody who is not waiting asks again. */
static void outage_ask(struct outage *o) {
        for (unsigned i = 0; i < CROWD; i++)
                if (o->crowd[i].kind != ANSWER_KIND_MAX || !o->crowd[i].world)
                        caller_ask(&o->s.w, &o->crowd[i], BOT, o->names[i], -1, 30, NULL);
}

static void outage_answer(struct outage *o) {
        struct world *w = &o->s.w;
        const char *body = secret_text(fake_transport_oldest(w->transport)->body);

        if (strstr(body, "refresh_token"))
                stage_reply(&o->s, 200,
                            "{\"access_token\":\"at\",\"expires_in\":900,"
                            "\"refresh_token\":\"rt.x.1\"}");
        else
                world_grant(w, 900);
}

START_TEST(an_hour_costs_few_requests)
{
        enum trouble trouble = (enum trouble) _i;
        struct outage *o = &outage;
        struct world *w = &o->s.w;
        struct upstream_view v;
        size_t sent, before;
        unsigned served = 0, seconds = 0;

        outage_start(o);
        for (int64_t s = 0; s < 3600; s++) {
                outage_ask(o);
                stage_store(&o->s);
                while (fake_transport_waiting(w->transport) > 0 &&
                       (trouble != NO_ANSWER || s % 15 == 0)) {
                        world_fail(w, trouble);
                        stage_store(&o->s);
                }
                world_pass(w, US_PER_S);
        }
        sent = fake_transport_sent(w->transport);
        ck_assert_uint_le(sent, 30);
        ck_assert_uint_ge(sent, 12);
        broker_view_provider(w->broker, &w->provider, &v);
        ck_assert_int_ne(v.state, BREAKER_CLOSED);
        ck_assert_uint_eq(v.counters.requests, sent);
        ck_assert_ptr_nonnull(v.last_error);
        for (unsigned i = 0; i < CROWD; i++) { /* nobody waits for what cannot come soon */
                ck_assert_uint_ge(o->crowd[i].answers, 1);
                ck_assert(o->crowd[i].kind == ANSWER_UNAVAILABLE ||
                          o->crowd[i].kind == ANSWER_UPSTREAM_ERROR);
                ck_assert_int_ge(o->crowd[i].retry_after_us, 0);
        }

        for (; seconds < 600 && served < CROWD; seconds++) { /* it is back */
                before = fake_transport_sent(w->transport);
                outage_ask(o);
                stage_store(&o->s);
                while (fake_transport_waiting(w->transport) > 0) {
                        outage_answer(o);
                        stage_store(&o->s);
                }
                world_pass(w, US_PER_S);
                ck_assert_uint_le(fake_transport_sent(w->transport) - before, 2 * QUEUE_RATE);
                for (unsigned i = served = 0; i < CROWD; i++)
                        served += o->crowd[i].kind == ANSWER_TOKEN;
        }
        ck_assert_uint_eq(served, CROWD);
        ck_assert_uint_lt(seconds, 330);
        broker_view_provider(w->broker, &w->provider, &v);
        ck_assert_int_eq(v.state, BREAKER_CLOSED);
        ck_assert_ptr_null(v.last_error);
        world_done(w);
}
END_TEST

START_TEST(a_grant_in_the_queue_is_not_in_doubt)
{
        struct caller bot, c;
        struct stage s;

        stage_start(&s);
        stage_add_row(&s, "bob", (wall_t){ NOW - 26 * 86400 }, false); /* due, within minutes */
        world_crash(&s.w, 0);
        caller_ask(&s.w, &bot, BOT, "", -1, 30, NULL);
        fake_transport_answer(s.w.transport, 429, "{}", s.w.clock.wall.s, US_PER_H);
        stage_ask(&s, &c, "bob");
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        ck_assert_int_ge(c.retry_after_us, US_PER_H);
        world_pass(&s.w, 59 * US_PER_MIN);
        stage_ask(&s, &c, "alice");
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 0); /* not even a mark */
        assert_row(&s, "bob", 1, false);
        ck_assert_uint_eq(stage_sent(&s), 1);
        world_pass(&s.w, 2 * US_PER_MIN); /* its turn comes: it is the probe */
        stage_store(&s);
        assert_row(&s, "bob", 1, true);
        stage_answer(&s, GIVES);
        stage_store(&s);
        assert_row(&s, "bob", 2, false);
        stage_done(&s);
}
END_TEST

/* Three applications at one provider; the first fails by itself, and goes on to. */
START_TEST(what_fails_alone_holds_up_nobody)
{
        struct upstream_view v;
        struct caller bad, good;
        struct world w;
        char subject[8];

        world_start(&w);
        for (unsigned i = 0; i < 20; i++) {
                (void) snprintf(subject, sizeof(subject), "s%u", i);
                caller_ask(&w, &bad, BOT, subject, -1, 0, NULL);
                if (fake_transport_waiting(w.transport) > 0)
                        world_fail(&w, SERVER_ERROR);
        }
        ck_assert_uint_eq(fake_transport_sent(w.transport), BREAKER_FAILURES);
        broker_view_provider(w.broker, &w.provider, &v);
        ck_assert_int_eq(v.state, BREAKER_CLOSED);
        caller_ask(&w, &bad, BOT, "another", -1, 30, NULL);
        ck_assert_int_eq(bad.kind, ANSWER_UNAVAILABLE);
        ck_assert_int_eq(bad.upstream_status, 500);
        caller_ask(&w, &good, KEPT, "", -1, 30, NULL);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
        world_grant(&w, 900);
        ck_assert_int_eq(good.kind, ANSWER_TOKEN);
        world_done(&w);
}
END_TEST

START_TEST(a_dead_application_is_not_asked_for_each_subject)
{
        struct caller c;
        struct world w;
        char subject[8];

        world_start(&w);
        for (unsigned i = 0; i < 100; i++) {
                (void) snprintf(subject, sizeof(subject), "s%u", i);
                caller_ask(&w, &c, BOT, subject, -1, 0, NULL);
                if (fake_transport_waiting(w.transport) > 0)
                        fake_transport_answer(w.transport, 401,
                                              "{\"error_code\":\"invalid_client\"}", w.clock.wall.s,
                                              -1);
                ck_assert_int_eq(c.kind, ANSWER_UPSTREAM_ERROR);
                ck_assert_int_eq(c.upstream_status, 401);
        }
        ck_assert_uint_eq(fake_transport_sent(w.transport), BREAKER_FAILURES);
        world_done(&w);
}
END_TEST

START_TEST(a_slow_credential_leaves_room_for_others)
{
        static struct caller crowd[CROWD];
        struct caller other;
        struct world w;
        char names[CROWD][8];

        world_start(&w);
        for (unsigned i = 0; i < CROWD; i++) {
                (void) snprintf(names[i], sizeof(names[i]), "s%u", i);
                caller_ask(&w, &crowd[i], BOT, names[i], -1, 120, NULL);
        }
        ck_assert_uint_eq(fake_transport_waiting(w.transport), QUEUE_LANE_MAX); /* none answered */
        caller_ask(&w, &other, KEPT, "", -1, 120, NULL);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), QUEUE_LANE_MAX + 1);
        for (unsigned i = 0; i <= QUEUE_LANE_MAX; i++)
                world_grant(&w, 900);
        ck_assert_int_eq(other.kind, ANSWER_TOKEN);
        for (unsigned s = 0; s < 10; s++, world_pass(&w, US_PER_S))
                while (fake_transport_waiting(w.transport) > 0)
                        world_grant(&w, 900);
        for (unsigned i = 0; i < CROWD; i++)
                ck_assert_int_eq(crowd[i].kind, ANSWER_TOKEN);
        world_done(&w);
}
END_TEST

static size_t count_jwt(const struct world *w) {
        size_t n = 0;

        for (size_t i = 0; i < fake_transport_waiting(w->transport); i++)
                n += fake_transport_at(w->transport, i)->authorization != NULL;
        return n;
}

/* Refreshes wait for a disk that has stopped to write, and take no place of what needs none. */
START_TEST(a_disk_that_hangs_holds_up_no_jwt)
{
        static struct caller crowd[2 * QUEUE_LANE_MAX];
        char names[2 * QUEUE_LANE_MAX][8];
        struct caller c;
        struct stage s;

        stage_start(&s);
        for (unsigned i = 0; i < N_ELEMENTS(crowd); i++) {
                (void) snprintf(names[i], sizeof(names[i]), "s%u", i);
                if (i % 2)
                        stage_add_grant(&s, "app", names[i]);
                else
                        stage_add_row(&s, names[i], (wall_t){ NOW }, false);
        }
        world_crash(&s.w, 0);
        for (unsigned i = 0; i < N_ELEMENTS(crowd); i++)
                caller_ask(&s.w, &crowd[i], i % 2 ? APP : SITE, names[i], -1, 60, NULL);
        ck_assert_uint_eq(stage_sent(&s), 0);
        caller_ask(&s.w, &c, BOT, "", -1, 30, NULL);
        world_pass(&s.w, 2 * US_PER_S);
        ck_assert_uint_eq(count_jwt(&s.w), 1);
        world_grant(&s.w, 900);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);

        for (unsigned i = 0; i < 30; i++) { /* it writes again: all get theirs */
                stage_store(&s);
                ck_assert_uint_le(stage_waiting(&s), QUEUE_ACTIVE_MAX);
                while (stage_waiting(&s) > 0) {
                        stage_reply(&s, 200,
                                    "{\"access_token\":\"at\",\"expires_in\":900,"
                                    "\"refresh_token\":\"rt.x.1\"}");
                        stage_store(&s);
                }
                world_pass(&s.w, US_PER_S);
        }
        for (unsigned i = 0; i < N_ELEMENTS(crowd); i++)
                ck_assert_int_eq(crowd[i].kind, ANSWER_TOKEN);
        stage_done(&s);
}
END_TEST

/* The probe after an outage is a refresh whose disk hangs: another takes its place. */
START_TEST(a_disk_that_hangs_is_no_outage)
{
        struct caller c, probe;
        struct stage s;

        stage_start(&s);
        caller_ask(&s.w, &c, KEPT, "", -1, 0, NULL);
        fake_transport_answer(s.w.transport, 429, "{}", s.w.clock.wall.s, US_PER_MIN);
        world_pass(&s.w, 66 * US_PER_S);
        stage_ask(&s, &probe, "alice");
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 1); /* its mark */
        caller_ask(&s.w, &c, BOT, "", -1, 30, NULL);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        world_pass(&s.w, 2 * US_PER_S);
        ck_assert_uint_eq(count_jwt(&s.w), 1);
        if (_i == 0) { /* that one is under way when the disk writes: nothing is sent beside it */
                stage_store(&s);
                ck_assert_uint_eq(stage_waiting(&s), 1);
        }
        world_grant(&s.w, 900);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        for (unsigned i = 0; i < 10 && probe.answers == 0; i++) {
                stage_store(&s);
                if (stage_waiting(&s) > 0)
                        stage_answer(&s, GIVES);
                stage_store(&s);
                world_pass(&s.w, US_PER_S);
        }
        ck_assert_int_eq(probe.kind, ANSWER_TOKEN);
        assert_row(&s, "alice", 2, false);
        stage_done(&s);
}
END_TEST

START_TEST(callers_go_first)
{
        struct outage *o = &outage;
        struct world *w = &o->s.w;
        struct caller c;
        unsigned n = 0;

        outage_start(o); /* a hundred in doubt are tried at once */
        caller_ask(w, &c, SITE, "g1", -1, 30, NULL);
        while (c.answers == 0 && n < GRANTS) {
                stage_store(&o->s);
                if (fake_transport_waiting(w->transport) > 0) {
                        outage_answer(o);
                        n++;
                }
        }
        stage_store(&o->s);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert_uint_le(n, QUEUE_ACTIVE_MAX + 1); /* only what was under way */
        world_done(w);
}
END_TEST

START_TEST(endless_subjects_have_an_end)
{
        struct caller c, known;
        struct world w;
        char subject[16];

        world_start(&w);
        caller_ask(&w, &known, BOT, "known", -1, 120, NULL);
        world_grant(&w, 900);
        caller_ask(&w, &c, KEPT, "", -1, 0, NULL);
        fake_transport_answer(w.transport, 429, "{}", w.clock.wall.s, US_PER_H);
        for (unsigned i = 0; i < ENTRIES_MAX; i++) { /* nothing is sent, yet all are remembered */
                (void) snprintf(subject, sizeof(subject), "s%u", i);
                caller_ask(&w, &c, BOT, subject, -1, 30, NULL);
        }
        ck_assert_int_eq(c.kind, ANSWER_SLOW_DOWN);
        ck_assert_int_gt(c.retry_after_us, 0);
        caller_ask(&w, &known, BOT, "known", -1, 30, NULL);
        ck_assert_int_eq(known.kind, ANSWER_TOKEN);
        world_pass(&w, 2 * US_PER_MIN); /* what nobody wants is forgotten */
        caller_ask(&w, &c, BOT, subject, -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        world_done(&w);
}
END_TEST

#define PLACES 5

enum end {
        GRANTED,
        FELL_BACK, /* and granted there */
        TIMED_OUT,
        WITHDRAWN,
        DISMISSED,
        END_MAX,
};

static void flood(struct world *w, struct caller callers[], const char *subject) {
        w->uid = 1000;
        for (unsigned i = 0; i < PLACES; i++) {
                caller_ask(w, &callers[i], BOT, subject, -1, 30, NULL);
                ck_assert_int_eq(callers[i].kind, ANSWER_KIND_MAX);
        }
}

static void assert_full(struct world *w, const char *subject) {
        struct caller c;

        w->uid = 1000;
        caller_ask(w, &c, BOT, subject, -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_SLOW_DOWN);
        ck_assert_uint_eq(c.answers, 1);
        ck_assert_int_gt(c.retry_after_us, 0);
        ck_assert_ptr_nonnull(strstr(c.text, "5 callers of uid 1000"));
        ck_assert_ptr_nonnull(strstr(c.text, "waiting_per_user"));
}

static void flood_end(struct world *w, enum end end, struct caller callers[], unsigned n) {
        switch (end) {
        case FELL_BACK:
                fake_transport_answer(w->transport, 401, "{\"error_code\":\"invalid_client\"}",
                                      w->clock.wall.s, -1);
                for (unsigned i = 0; i < n; i++)
                        ck_assert_int_eq(callers[i].kind, ANSWER_KIND_MAX);
                assert_full(w, ""); /* they wait elsewhere */
                world_grant(w, 900);
                break;
        case GRANTED:
                world_grant(w, 900);
                break;
        case TIMED_OUT:
                world_pass(w, 31 * US_PER_S);
                break;
        case WITHDRAWN:
                for (unsigned i = 0; i < n; i++)
                        broker_withdraw(w->broker, &callers[i].ask);
                return;
        case DISMISSED:
                broker_stop(w->broker, NULL, NULL);
                break;
        case END_MAX:
                break;
        }
        for (unsigned i = 0; i < n; i++) {
                ck_assert_uint_eq(callers[i].answers, 1);
                ck_assert_int_eq(callers[i].kind, end == TIMED_OUT   ? ANSWER_TIMEOUT
                                                  : end == DISMISSED ? ANSWER_UNAVAILABLE
                                                                     : ANSWER_TOKEN);
        }
}

/* The provider does not answer, and callers come. */
START_TEST(a_flood_takes_no_place_of_another_user)
{
        struct caller callers[PLACES + 1], again[PLACES];
        struct credential_view v;
        struct world w;

        world_start(&w);
        w.conf.waiting_per_user = PLACES;
        if (_i == FELL_BACK)
                w.credential[BOT].fallback = &w.credential[KEPT];
        flood(&w, callers, "");
        assert_full(&w, "surplus");
        w.uid = 1001;
        caller_ask(&w, &callers[PLACES], BOT, "", -1, 30, NULL);
        ck_assert_int_eq(callers[PLACES].kind, ANSWER_KIND_MAX);
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_uint_eq(v.waiting, PLACES + 1);
        flood_end(&w, (enum end) _i, callers, PLACES + 1);
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_uint_eq(v.waiting, 0);
        if (_i != DISMISSED && _i != FELL_BACK) { /* all places are free again, and no more */
                flood(&w, again, "again");
                assert_full(&w, "surplus");
        }
        world_done(&w); /* which sees whether anybody is still counted */
}
END_TEST

/* Whoever has waited for the one credential is not made to wait as long again for the other. */
START_TEST(a_fallback_takes_no_longer)
{
        struct caller c;
        struct world w;

        world_start(&w);
        w.credential[BOT].fallback = &w.credential[KEPT];
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        world_pass(&w, 10 * US_PER_S);
        fake_transport_answer(w.transport, 401, "{\"error_code\":\"invalid_client\"}",
                              w.clock.wall.s, -1);
        ck_assert_int_eq(c.kind, ANSWER_KIND_MAX); /* it waits there */
        world_pass(&w, 20 * US_PER_S);
        ck_assert_int_eq(c.kind, ANSWER_TIMEOUT);
        world_done(&w);
}
END_TEST

/* The token that an API has refused may be the fallback's. */
START_TEST(a_token_of_a_fallback_is_rejected)
{
        struct caller first, c;
        struct world w;

        world_start(&w);
        w.credential[BOT].fallback = &w.credential[KEPT];
        caller_ask(&w, &first, BOT, "", -1, 30, NULL);
        fake_transport_answer(w.transport, 401, "{\"error_code\":\"invalid_client\"}",
                              w.clock.wall.s, -1);
        world_grant(&w, 900);
        ck_assert_int_eq(first.kind, ANSWER_TOKEN);
        caller_ask(&w, &c, BOT, "", -1, 30, first.fingerprint);
        ck_assert_int_eq(c.kind, ANSWER_KIND_MAX);
        world_grant(&w, 900);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert_str_ne(c.fingerprint, first.fingerprint);
        world_done(&w);
}
END_TEST

START_TEST(who_need_not_wait_takes_no_place)
{
        struct caller crowd[PLACES], c;
        struct credential_view v;
        struct world w;

        world_start(&w);
        w.conf.waiting_per_user = PLACES;
        caller_ask(&w, &c, BOT, "known", -1, 30, NULL);
        world_grant(&w, 900);
        flood(&w, crowd, "");
        caller_ask(&w, &c, BOT, "known", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        assert_full(&w, "surplus");
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_uint_eq(v.subjects, 2);
        world_pass(&w, 3 * US_PER_MIN);
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_uint_eq(v.subjects, 1); /* the one that nobody waits for is forgotten */
        world_done(&w);
}
END_TEST

/* A clock that was wrong from the start: the first assertion is refused, and the refusal tells the
 * time. */
START_TEST(a_first_refusal_teaches_the_time)
{
        struct caller c;
        struct world w;

        world_start(&w);
        world_keep_log();
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        fake_transport_answer(w.transport, 401, "{\"error_code\":\"invalid_client\"}",
                              w.clock.wall.s + (_i ? 3600 : -3600), -1);
        ck_assert(world_logged(_i ? "clock is 1h behind the provider" : "clock is 1h ahead of"));
        ck_assert_uint_eq(c.answers, 0);
        world_pass(&w, US_PER_S);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        fake_transport_answer(w.transport, 401, "{\"error_code\":\"invalid_client\"}",
                              w.clock.wall.s + (_i ? 3600 : -3600), -1);
        ck_assert_int_eq(c.kind, ANSWER_UPSTREAM_ERROR); /* it was not the clock */
        world_done(&w);
}
END_TEST

static void answer_misdated(struct world *w, int64_t ahead_s) {
        fake_transport_answer(w->transport, 401, "{\"error_code\":\"invalid_client\"}",
                              w->clock.wall.s + ahead_s, -1);
}

/* Its clock has changed meanwhile: that the first assertion is refused is no reason to wait on. */
START_TEST(an_outage_ends_with_another_clock)
{
        struct caller c;
        struct world w;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        answer_misdated(&w, 0);
        for (int64_t s = 0; s < 3600; s++) {
                if (c.kind != ANSWER_KIND_MAX)
                        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
                if (fake_transport_waiting(w.transport) > 0)
                        world_fail(&w, NO_CONNECTION);
                world_pass(&w, US_PER_S);
        }
        while (fake_transport_waiting(w.transport) == 0) {
                caller_ask(&w, &c, BOT, "", -1, 30, NULL);
                world_pass(&w, US_PER_S);
        }
        answer_misdated(&w, 3600);
        ck_assert_int_eq(c.kind, ANSWER_KIND_MAX); /* it waits on */
        world_pass(&w, US_PER_S);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
        world_grant(&w, 900);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        world_done(&w);
}
END_TEST

START_TEST(a_clock_that_leaps_about_is_not_run_after)
{
        struct caller c;
        struct world w;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        for (int64_t s = 0; s < 3600; s++) {
                while (fake_transport_waiting(w.transport) > 0)
                        answer_misdated(&w, (int64_t) (fake_transport_sent(w.transport) % 7) * 600);
                if (c.kind != ANSWER_KIND_MAX)
                        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
                world_pass(&w, US_PER_S);
        }
        ck_assert_uint_gt(fake_transport_sent(w.transport), 12);
        ck_assert_uint_le(fake_transport_sent(w.transport), 12 * 12); /* some in each 5 min */
        world_done(&w);
}
END_TEST

static const struct {
        int64_t date_s, expires_s; /* from now on: what the provider says ... */
        int64_t left_s;            /* ... and what is believed */
} leaps[] = {
        { 0, 900, 900 },
        { -600, 300, 300 },          /* only the Date is behind */
        { -86400, 300, 300 },        /* ... by a day, and cut to what was asked for */
        { -600, 1200, 900 },         /* never more than was asked for */
        { -3600, -2700, 900 },       /* all of its clock is behind */
        { 3600, 4500, 900 },         /* or before */
        { -30, 870, 900 },           /* a little is no leap */
        { INT64_MIN / 4, 900, 900 }, /* not even a date */
};

START_TEST(a_leap_of_the_providers_clock)
{
        struct caller first, c;
        struct world w;
        char body[128];

        world_start(&w);
        caller_ask(&w, &first, BOT, "", -1, 30, NULL);
        world_grant(&w, 900);
        world_pass(&w, 100 * US_PER_S);
        caller_ask(&w, &c, BOT, "", 0, 30, first.fingerprint);
        (void) snprintf(body, sizeof(body), "{\"access_token\":\"czs_x\",\"expires_in\":%lld}",
                        (long long) (w.clock.wall.s + leaps[_i].expires_s));
        fake_transport_answer(w.transport, 200, body,
                              leaps[_i].date_s < -US_PER_S ? 0 : w.clock.wall.s + leaps[_i].date_s,
                              -1);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert_int_ge(c.left_us, (leaps[_i].left_s - 1) * US_PER_S);
        ck_assert_int_le(c.left_us, leaps[_i].left_s * US_PER_S);
        world_done(&w);
}
END_TEST

START_TEST(a_forecast)
{
        struct credential_view v;
        struct caller c;
        struct world w;

        world_start(&w);
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert(v.has_survives && !v.survives_for_ever);
        ck_assert_int_eq(v.survives_us, 0);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        world_grant(&w, 900);
        world_pass(&w, 100 * US_PER_S);
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_int_eq(v.survives_us, 800 * US_PER_S);
        ck_assert_int_eq(v.provider.state, BREAKER_CLOSED);
        caller_ask(&w, &c, KEPT, "", -1, 0, NULL);
        fake_transport_answer(w.transport, 429, "{}", w.clock.wall.s, 100 * US_PER_S);
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_int_eq(v.state, CREDENTIAL_READY);
        ck_assert_int_eq(v.provider.state, BREAKER_OPEN);
        ck_assert(v.provider.has_retry_at);
        ck_assert_int_ge(v.provider.retry_at.s, w.clock.wall.s + 100);
        ck_assert_int_eq(v.provider.down_since.s, w.clock.wall.s);
        world_pass(&w, 10 * US_PER_S);
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_int_eq(v.provider.down_since.s, w.clock.wall.s - 10);
        ck_assert_uint_eq(v.provider.counters.requests, 2);
        ck_assert_uint_eq(v.provider.counters.ended[REFUSAL_RATE_LIMIT], 1);
        world_done(&w);
}
END_TEST

static void add(TCase *tc) {
        world_prepare();
        tcase_set_timeout(tc, 60); /* of a busy machine */
        tcase_add_loop_test(tc, an_hour_costs_few_requests, 0, TROUBLE_MAX);
        tcase_add_test(tc, a_grant_in_the_queue_is_not_in_doubt);
        tcase_add_test(tc, what_fails_alone_holds_up_nobody);
        tcase_add_test(tc, a_dead_application_is_not_asked_for_each_subject);
        tcase_add_test(tc, a_slow_credential_leaves_room_for_others);
        tcase_add_test(tc, a_disk_that_hangs_holds_up_no_jwt);
        tcase_add_loop_test(tc, a_disk_that_hangs_is_no_outage, 0, 2);
        tcase_add_test(tc, callers_go_first);
        tcase_add_test(tc, endless_subjects_have_an_end);
        tcase_add_loop_test(tc, a_flood_takes_no_place_of_another_user, 0, END_MAX);
        tcase_add_test(tc, a_fallback_takes_no_longer);
        tcase_add_test(tc, a_token_of_a_fallback_is_rejected);
        tcase_add_test(tc, who_need_not_wait_takes_no_place);
        tcase_add_loop_test(tc, a_first_refusal_teaches_the_time, 0, 2);
        tcase_add_test(tc, an_outage_ends_with_another_clock);
        tcase_add_test(tc, a_clock_that_leaps_about_is_not_run_after);
        tcase_add_loop_test(tc, a_leap_of_the_providers_clock, 0, N_ELEMENTS(leaps));
        tcase_add_test(tc, a_forecast);
}

CHECK_MAIN("outage", add)
