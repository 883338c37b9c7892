#include <stdio.h>
#include <string.h>

#include "broker/variant.h"
#include "check_main.h"
#include "stage.h"

/*
 * What the listener hears of a credential, and in which order: everything a reader of events or a hook relies on
 */

#define TOLD_MAX 32

static struct {
        char what[64]; /* "failing bot/alice" */
        char reason[WHY_MAX];
        char fingerprint[SECRET_FINGERPRINT_SIZE];
        bool on_purpose, refused;
        int upstream_status;
        int64_t retry_us;
} told[TOLD_MAX];
static size_t n_told, n_read;

static void hear(struct world *w, const struct change *c) {
        (void) w;
        ck_assert_uint_lt(n_told, TOLD_MAX);
        ck_assert_int_eq(!c->token,
                         c->kind == CHANGE_FAILING || c->kind == CHANGE_AUTHORIZATION_REQUIRED);
        ck_assert_int_eq(!c->token, c->reason != NULL);
        (void) snprintf(told[n_told].what, sizeof(told[0].what), "%s %s%s%s",
                        change_kind_names[c->kind], c->credential->name, *c->subject ? "/" : "",
                        c->subject);
        (void) snprintf(told[n_told].reason, sizeof(told[0].reason), "%s",
                        c->reason ? c->reason : "");
        (void) snprintf(told[n_told].fingerprint, sizeof(told[0].fingerprint), "%s",
                        c->token ? c->token->fingerprint : "");
        told[n_told].on_purpose = c->on_purpose;
        told[n_told].refused = c->refused;
        told[n_told].upstream_status = c->upstream ? c->upstream->http_status : -1;
        told[n_told].retry_us = c->retry_us;
        n_told++;
}

/* The next one, in the order in which they were told. */
#define assert_told(what_)                                                                         \
        do {                                                                                       \
                ck_assert_uint_lt(n_read, n_told);                                                 \
                ck_assert_str_eq(told[n_read++].what, (what_));                                    \
        } while (0)
#define assert_no_more() ck_assert_uint_eq(n_read, n_told)

static struct world w;

static void begin(void) {
        n_told = n_read = 0;
        world_start(&w);
        w.told = hear;
}

static void refuse(int status) {
        fake_transport_answer(w.transport, status, "{\"code\":5000,\"msg\":\"x\"}", w.clock.wall.s,
                              -1);
}

START_TEST(a_token_is_told_once)
{
        struct caller c[3];

        begin();
        for (size_t i = 0; i < N_ELEMENTS(c); i++)
                caller_ask(&w, &c[i], BOT, "", -1, 30, NULL);
        assert_no_more(); /* not before there is one */
        world_grant(&w, 900);
        assert_told("token bot");
        ck_assert_str_eq(told[0].fingerprint, c[0].fingerprint);
        caller_ask(&w, &c[0], BOT, "", -1, 30, NULL);
        assert_no_more(); /* it is the same */
        caller_ask(&w, &c[0], BOT, "alice", -1, 30, NULL);
        world_grant(&w, 900);
        assert_told("token bot/alice");
        caller_ask(&w, &c[0], BOT, "", -1, 30, c[1].fingerprint);
        world_grant(&w, 900);
        assert_told("token bot");
        ck_assert_str_ne(told[2].fingerprint, told[0].fingerprint);
        assert_no_more();
        world_done(&w);
}
END_TEST

/* Of another lifetime or scope: the affair of who asked for it. */
START_TEST(a_variant_is_not_told)
{
        char first[SECRET_FINGERPRINT_SIZE];
        struct caller c;

        begin();
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        world_grant(&w, 900);
        assert_told("token bot");
        memcpy(first, c.fingerprint, sizeof(first));
        ck_assert_int_eq(variant_make(w.credentials[BOT], 600, NULL, NULL, NULL, &c.variant), 0);
        broker_ask(w.broker, &c.ask);
        world_grant(&w, 600);
        ck_assert_uint_eq(c.answers, 2);
        ck_assert_str_ne(c.fingerprint, first);
        assert_no_more();
        variant_done(&c.variant);
        world_done(&w);
}
END_TEST

START_TEST(an_outage_is_told_once_and_its_end_after_the_token)
{
        struct caller c;

        begin();
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        refuse(500);
        assert_told("failing bot");
        ck_assert_int_eq(told[0].upstream_status, 500);
        ck_assert(!told[0].refused);
        ck_assert_int_gt(told[0].retry_us, 0);
        ck_assert_ptr_nonnull(strstr(told[0].reason, "coze.cn"));
        for (int i = 0; i < 20; i++) {
                world_pass(&w, US_PER_MIN);
                caller_ask(&w, &c, BOT, "", -1, 1, NULL);
                while (fake_transport_waiting(w.transport) > 0)
                        refuse(500);
        }
        assert_no_more(); /* the same trouble, however often it is tried */
        world_pass(&w, 10 * US_PER_MIN);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
        world_grant(&w, 900);
        assert_told("token bot");
        assert_told("recovered bot");
        ck_assert_str_eq(told[1].fingerprint, told[2].fingerprint);
        assert_no_more();
        world_done(&w);
}
END_TEST

START_TEST(another_reason_is_news)
{
        struct caller c;

        begin();
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        refuse(500);
        assert_told("failing bot");
        world_pass(&w, US_PER_MIN);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        fake_transport_answer(w.transport, 401,
                              "{\"error_code\":\"invalid_client\",\"error_message\":\"no\"}",
                              w.clock.wall.s, -1);
        assert_told("failing bot");
        ck_assert(told[1].refused);
        ck_assert_int_eq(told[1].upstream_status, 401);
        ck_assert_str_ne(told[0].reason, told[1].reason);
        assert_no_more();
        world_done(&w);
}
END_TEST

static void ignore_end(void *user, int r) {
        (void) user;
        (void) r;
}

START_TEST(a_static_token_comes_and_ends)
{
        AUTO(secret_unrefp) struct secret *value = secret_new("pat_0123456789", 14);
        const wall_t ends = { NOW + 2 * 3600 };

        begin();
        ck_assert_int_eq(broker_set_static_token(w.broker, w.credentials[PAT], value, ends,
                                                 ignore_end, NULL),
                         0);
        fake_store_complete_all(w.store);
        assert_told("token pat");
        assert_no_more();
        world_pass(&w, US_PER_H);
        assert_no_more(); /* that it ends soon is for the log */
        world_pass(&w, US_PER_H);
        assert_told("authorization_required pat");
        ck_assert(!told[1].on_purpose);
        ck_assert_ptr_nonnull(strstr(told[1].reason, "expired"));
        ck_assert_ptr_nonnull(strstr(told[1].reason, "bearerctl set pat"));
        world_pass(&w, 30 * US_PER_D);
        assert_no_more();
        world_done(&w);
}
END_TEST

/* --- grants --- */

static struct stage s;

static void begin_stage(void) {
        n_told = n_read = 0;
        stage_start(&s);
        s.w.told = hear;
}

START_TEST(a_refused_grant_says_how_to_log_in)
{
        struct caller c;

        begin_stage();
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        stage_answer(&s, REFUSES);
        stage_store(&s);
        assert_told("authorization_required site/alice");
        ck_assert(!told[0].on_purpose);
        ck_assert_ptr_nonnull(strstr(told[0].reason, "bearerctl login site --subject"));
        stage_ask(&s, &c, "alice");
        world_pass(&s.w, US_PER_D);
        assert_no_more();
        stage_done(&s);
}
END_TEST

START_TEST(a_token_is_told_when_its_grant_is_durable)
{
        struct caller c;

        begin_stage();
        stage_ask(&s, &c, "alice");
        stage_store(&s); /* the intent */
        stage_answer(&s, GIVES);
        assert_no_more();
        stage_store(&s);
        assert_told("token site/alice");
        assert_no_more();
        stage_done(&s);
}
END_TEST

START_TEST(a_logout_is_on_purpose)
{
        begin_stage();
        ck_assert_int_eq(
                broker_forget(s.w.broker, s.w.credentials[SITE], "alice", ignore_end, NULL), 0);
        stage_store(&s);
        assert_told("authorization_required site/alice");
        ck_assert(told[0].on_purpose);
        assert_no_more();
        stage_done(&s);
}
END_TEST

static void add(TCase *tc) {
        world_prepare();
        tcase_add_test(tc, a_token_is_told_once);
        tcase_add_test(tc, a_variant_is_not_told);
        tcase_add_test(tc, an_outage_is_told_once_and_its_end_after_the_token);
        tcase_add_test(tc, another_reason_is_news);
        tcase_add_test(tc, a_static_token_comes_and_ends);
        tcase_add_test(tc, a_refused_grant_says_how_to_log_in);
        tcase_add_test(tc, a_token_is_told_when_its_grant_is_durable);
        tcase_add_test(tc, a_logout_is_on_purpose);
}

CHECK_MAIN("changes", add)
