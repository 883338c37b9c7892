#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"

static void world_get_first(struct world *w, struct caller *c) {
        caller_ask(w, c, BOT, "", -1, 30, NULL);
        world_grant(w, 900);
        ck_assert_int_eq(c->kind, ANSWER_TOKEN);
}

/* --- asking --- */

START_TEST(single_flight)
{
        struct world w;
        struct caller callers[60];

        world_start(&w);
        for (size_t i = 0; i < N_ELEMENTS(callers); i++)
                caller_ask(&w, &callers[i], BOT, "", -1, 30, NULL);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_grant(&w, 900);
        for (size_t i = 0; i < N_ELEMENTS(callers); i++) {
                ck_assert_uint_eq(callers[i].answers, 1);
                ck_assert_str_eq(callers[i].value, "czs_token1");
        }
        caller_ask(&w, &callers[0], BOT, "", -1, 30, NULL); /* cached from now on */
        ck_assert_str_eq(callers[0].value, "czs_token1");
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_done(&w);
}
END_TEST

START_TEST(subjects_are_apart)
{
        struct world w;
        struct caller a, b;

        world_start(&w);
        caller_ask(&w, &a, BOT, "alice", -1, 30, NULL);
        caller_ask(&w, &b, BOT, "bob", -1, 30, NULL);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_grant(&w, 900);
        world_grant(&w, 900);
        ck_assert_str_eq(a.value, "czs_token1");
        ck_assert_str_eq(b.value, "czs_token2");
        world_done(&w);
}
END_TEST

START_TEST(waits_have_their_own_deadlines)
{
        struct world w;
        struct caller none, brief, patient;

        world_start(&w);
        caller_ask(&w, &patient, BOT, "", -1, 30, NULL);
        caller_ask(&w, &brief, BOT, "", -1, 5, NULL);
        caller_ask(&w, &none, BOT, "", -1, 0, NULL);
        world_pass(&w, 0);
        ck_assert_int_eq(none.kind, ANSWER_TIMEOUT);
        ck_assert_uint_eq(brief.answers, 0);
        world_pass(&w, 5 * US_PER_S);
        ck_assert_int_eq(brief.kind, ANSWER_TIMEOUT);
        ck_assert_uint_eq(patient.answers, 0);
        world_grant(&w, 900);
        ck_assert_int_eq(patient.kind, ANSWER_TOKEN);
        ck_assert_uint_eq(brief.answers, 1);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_done(&w);
}
END_TEST

START_TEST(impossible_min_ttl)
{
        struct world w;
        struct caller c;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", 901, 30,
                   NULL); /* more than was configured: known before asking */
        ck_assert_int_eq(c.kind, ANSWER_INVALID_REQUEST);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 0);
        caller_ask(&w, &c, BOT, "", 900, 30, NULL); /* just possible */
        world_grant(&w, 900);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        world_pass(&w, US_PER_S);
        caller_ask(&w, &c, BOT, "", 900, 30, NULL); /* a second later it takes a new one */
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_grant(&w,
                    600); /* the provider gives less than was asked for: told once, then known */
        ck_assert_int_eq(c.kind, ANSWER_INVALID_REQUEST);
        caller_ask(&w, &c, BOT, "", 700, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_INVALID_REQUEST);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_done(&w);
}
END_TEST

START_TEST(short_tokens_have_a_short_min_ttl)
{
        struct world w;
        struct caller c;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        world_grant(&w, 20);
        ck_assert_int_eq(
                c.kind,
                ANSWER_TOKEN); /* 20 s is under the default of 60, yet half of it is promised */
        world_pass(&w, 9 * US_PER_S);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert(c.left_us >= 10 * US_PER_S);
        world_done(&w);
}
END_TEST

START_TEST(interactive_types_need_a_person)
{
        struct world w;
        struct caller c;

        world_start(&w);
        caller_ask(&w, &c, SITE, "alice", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert_ptr_nonnull(strstr(c.text, "bearerctl login site --subject 'alice'"));
        ck_assert_uint_eq(fake_transport_sent(w.transport), 0);
        world_done(&w);
}
END_TEST

/* --- rejection --- */

START_TEST(rejections_share_one_renewal)
{
        struct world w;
        struct caller first, callers[20];

        world_start(&w);
        world_get_first(&w, &first);
        for (size_t i = 0; i < N_ELEMENTS(callers); i++)
                caller_ask(&w, &callers[i], BOT, "", -1, 30, first.fingerprint);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_grant(&w, 900);
        for (size_t i = 0; i < N_ELEMENTS(callers); i++)
                ck_assert_str_eq(callers[i].value, "czs_token2");
        caller_ask(&w, &callers[0], BOT, "", -1, 30,
                   first.fingerprint); /* late: it is not the current one any more */
        ck_assert_str_eq(callers[0].value, "czs_token2");
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_done(&w);
}
END_TEST

START_TEST(rejections_are_five_seconds_apart)
{
        struct world w;
        struct caller first, second, third;

        world_start(&w);
        world_get_first(&w, &first);
        caller_ask(&w, &second, BOT, "", -1, 30, first.fingerprint);
        world_grant(&w, 900);
        caller_ask(&w, &third, BOT, "", -1, 30, second.fingerprint);
        world_pass(&w, 4999 * US_PER_MS);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        ck_assert_uint_eq(third.answers, 0);
        world_pass(&w, US_PER_MS);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 3);
        world_grant(&w, 900);
        ck_assert_str_eq(third.value, "czs_token3");
        world_done(&w);
}
END_TEST

START_TEST(a_rejection_takes_nothing_from_others)
{
        struct world w;
        struct caller first, rejecting, other;

        world_start(&w);
        world_get_first(&w, &first);
        caller_ask(&w, &rejecting, BOT, "", -1, 30, first.fingerprint);
        caller_ask(&w, &other, BOT, "", -1, 30, NULL);
        ck_assert_str_eq(other.value, "czs_token1");
        fake_transport_answer(w.transport, 500, "{}", w.clock.wall.s, -1);
        caller_ask(&w, &other, BOT, "", -1, 30, NULL);
        ck_assert_str_eq(other.value, "czs_token1");
        world_done(&w);
}
END_TEST

/* --- renewal --- */

START_TEST(renewed_in_the_background_while_used)
{
        struct world w;
        struct caller c;

        world_start(&w);
        world_get_first(&w, &c);
        world_pass(&w, 670 * US_PER_S);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_pass(&w, 50 * US_PER_S); /* 80 % is 720 s, less at most 45 s of jitter */
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL); /* the old one meanwhile */
        ck_assert_str_eq(c.value, "czs_token1");
        world_grant(&w, 900);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, "czs_token2");
        world_done(&w);
}
END_TEST

START_TEST(unused_tokens_lapse)
{
        struct world w;
        struct caller c;

        world_start(&w);
        world_get_first(&w, &c);
        world_pass(&w, 720 * US_PER_S);
        world_grant(&w, 900); /* renewed, as the first one was used; nobody uses this one */
        world_pass(&w, US_PER_D);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        ck_assert_ptr_null(cache_get(w.cache, "bot\n\n"));
        world_done(&w);
}
END_TEST

START_TEST(a_late_use_renews)
{
        struct world w;
        struct caller c;

        world_start(&w);
        world_get_first(&w, &c);
        world_pass(&w, 720 * US_PER_S);
        world_grant(&w, 900);
        world_pass(&w, 730 * US_PER_S); /* the time to renew has passed unused */
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        broker_nudge(w.broker, "bot\n\n");
        ck_assert_uint_eq(fake_transport_sent(w.transport), 3);
        world_done(&w);
}
END_TEST

START_TEST(never_keeps_nothing_fresh)
{
        struct world w;
        struct caller c;

        world_start(&w);
        w.credential[BOT].keep_fresh = KEEP_FRESH_NEVER;
        world_get_first(&w, &c);
        world_pass(&w, 850 * US_PER_S);
        broker_nudge(w.broker, "bot\n\n");
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL); /* 50 s are less than min_ttl */
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_done(&w);
}
END_TEST

START_TEST(always_is_fetched_at_start_and_for_ever)
{
        struct world w;

        world_init(&w);
        ck_assert(!broker_is_fresh(w.broker, w.credentials[KEPT]));
        ck_assert_int_eq(broker_start(w.broker, NULL), 0);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
        world_grant(&w, 900);
        ck_assert(broker_is_fresh(w.broker, w.credentials[KEPT]));
        for (unsigned i = 0; i < 100; i++) { /* nobody asks */
                world_pass(&w, 670 * US_PER_S);
                ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
                world_pass(&w, 50 * US_PER_S);
                ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
                world_grant(&w, 900);
                ck_assert(broker_is_fresh(w.broker, w.credentials[KEPT]));
        }
        world_done(&w);
}
END_TEST

START_TEST(always_recovers_after_an_outage)
{
        struct world w;
        size_t before;

        world_init(&w);
        ck_assert_int_eq(broker_start(w.broker, NULL), 0);
        for (int64_t s = 0; s < 3600; s++) {
                while (fake_transport_waiting(w.transport) > 0)
                        fake_transport_fail(w.transport, HTTP_NOT_SENT);
                world_pass(&w, US_PER_S);
        }
        ck_assert(!broker_is_fresh(w.broker, w.credentials[KEPT]));
        before = fake_transport_sent(w.transport);
        ck_assert_uint_lt(before, 60); /* backed off: a minute apart at least, on average */
        world_pass(&w, 5 * US_PER_MIN);
        if (fake_transport_waiting(w.transport) == 0)
                world_pass(&w, 5 * US_PER_MIN);
        world_grant(&w, 900);
        ck_assert(broker_is_fresh(w.broker, w.credentials[KEPT]));
        world_done(&w);
}
END_TEST

/* --- failure --- */

START_TEST(a_blip_is_hidden_from_callers)
{
        struct world w;
        struct caller c;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        fake_transport_fail(w.transport, HTTP_NOT_SENT);
        ck_assert_uint_eq(c.answers, 0);
        world_pass(&w, US_PER_S);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_grant(&w, 900);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        world_done(&w);
}
END_TEST

START_TEST(an_outage_is_told)
{
        struct world w;
        struct caller c, late;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        for (unsigned i = 0; i < 10 && c.answers == 0; i++) {
                fake_transport_answer(w.transport, 503, "{\"code\":5000,\"msg\":\"busy\"}",
                                      w.clock.wall.s, -1);
                if (c.answers == 0)
                        world_pass(&w, 2 * US_PER_S);
        }
        ck_assert_uint_le(fake_transport_sent(w.transport), 3);
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        ck_assert_int_eq(c.upstream_status, 503);
        ck_assert_ptr_nonnull(strstr(c.text, "bot"));
        caller_ask(&w, &late, BOT, "", -1, 30,
                   NULL); /* during the back-off: told at once, nothing is sent */
        ck_assert_int_eq(late.kind, ANSWER_UNAVAILABLE);
        ck_assert_int_ge(late.retry_after_us, 0);
        ck_assert_uint_le(fake_transport_sent(w.transport), 3);
        world_done(&w);
}
END_TEST

START_TEST(retry_after_is_honoured)
{
        struct world w;
        struct caller c;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        fake_transport_answer(w.transport, 429, "{}", w.clock.wall.s, 100 * US_PER_S);
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        ck_assert_int_ge(c.retry_after_us, 100 * US_PER_S);
        world_pass(&w, 95 * US_PER_S);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_pass(&w, 30 * US_PER_S);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_done(&w);
}
END_TEST

START_TEST(a_refusal_is_told_at_once)
{
        struct world w;
        struct caller c;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        fake_transport_answer(
                w.transport, 401,
                "{\"error_code\":\"invalid_client\",\"error_message\":\"invalid jwt: kid not been registred\"}",
                w.clock.wall.s, -1);
        ck_assert_int_eq(c.kind, ANSWER_UPSTREAM_ERROR);
        ck_assert_int_eq(c.upstream_status, 401);
        ck_assert_ptr_nonnull(strstr(c.text, "region")); /* the likeliest cause */
        world_done(&w);
}
END_TEST

START_TEST(a_good_token_is_served_through_an_outage)
{
        struct world w;
        struct caller c;

        world_start(&w);
        world_get_first(&w, &c);
        world_pass(&w, 720 * US_PER_S);
        for (unsigned i = 0; i < 6; i++) {
                while (fake_transport_waiting(w.transport) > 0)
                        fake_transport_answer(w.transport, 502, "<html>", w.clock.wall.s, -1);
                caller_ask(&w, &c, BOT, "", -1, 30, NULL);
                ck_assert_str_eq(c.value, "czs_token1");
                world_pass(&w, 20 * US_PER_S);
        }
        world_pass(&w, 61 * US_PER_S);
        caller_ask(&w, &c, BOT, "", 0, 0, NULL); /* but never a dead one */
        world_pass(&w, 0);
        ck_assert_int_ne(c.kind, ANSWER_TOKEN);
        world_done(&w);
}
END_TEST

START_TEST(a_failing_send_is_a_failure_like_others)
{
        struct world w;
        struct caller c;

        world_start(&w);
        fake_transport_refuse_next(w.transport, -ENOMEM);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_uint_eq(c.answers, 0);
        world_pass(&w, US_PER_S);
        world_grant(&w, 900);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        world_done(&w);
}
END_TEST

START_TEST(the_fallback_answers_for_the_refused)
{
        struct world w;
        struct caller c;

        world_start(&w);
        w.credential[BOT].fallback = &w.credential[KEPT];
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        fake_transport_answer(w.transport, 401, "{\"error_code\":\"invalid_client\"}",
                              w.clock.wall.s, -1);
        ck_assert_uint_eq(c.answers, 0);
        world_grant(&w, 900);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert_ptr_eq(c.ask.credential, &w.credential[KEPT]);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL); /* at once, while the first one is left alone */
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_done(&w);
}
END_TEST

/* --- clocks --- */

static const int64_t steps[] = { -31536000, -3600, 3600, 31536000 };

START_TEST(a_stepped_clock_changes_nothing)
{
        struct world w;
        struct caller c;

        world_start(&w);
        world_get_first(&w, &c);
        w.clock.wall.s += steps[_i];
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, "czs_token1");
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_done(&w);
}
END_TEST

static const int64_t skews[] = { -86400, -300, -1, 0, 1, 300, 86400 };

START_TEST(the_providers_clock_counts)
{
        struct world w;
        struct caller c;
        char body[160];

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        (void) snprintf(body, sizeof(body),
                        "{\"access_token\":\"czs_x\",\"expires_in\":%" PRId64 "}",
                        w.clock.wall.s + skews[_i] + 900);
        fake_transport_answer(w.transport, 200, body, w.clock.wall.s + skews[_i], -1);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert_int_ge(c.left_us, 899 * US_PER_S);
        ck_assert_int_le(c.left_us, 901 * US_PER_S);
        world_done(&w);
}
END_TEST

START_TEST(a_long_sleep_hands_out_nothing_dead)
{
        struct world w;
        struct caller c;

        world_start(&w);
        world_get_first(&w, &c);
        w.clock.mono = mono_add(w.clock.mono, US_PER_D); /* asleep: no timer ran */
        w.clock.wall.s += 86400;
        caller_ask(&w, &c, BOT, "", 0, 30, NULL);
        ck_assert_uint_eq(c.answers, 0);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        world_grant(&w, 900);
        ck_assert_str_eq(c.value, "czs_token2");
        world_done(&w);
}
END_TEST

/* --- static tokens --- */

static int last_stored;

static void stored(void *user, int r) {
        (void) user;
        last_stored = r;
}

static void world_set_pat(struct world *w, const char *token, wall_t expires_at) {
        AUTO(secret_unrefp) struct secret *s = secret_new(token, strlen(token));

        last_stored = 1;
        ck_assert_int_eq(broker_set_static_token(w->broker, w->credentials[PAT], s, expires_at,
                                                 stored, NULL),
                         0);
}

START_TEST(a_static_token_is_durable_before_it_is_shown)
{
        struct world w;
        struct caller c;

        world_start(&w);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        world_set_pat(&w, "pat_1", WALL_NEVER);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED); /* not on the disk yet */
        ck_assert_uint_eq(fake_store_complete_all(w.store), 1);
        ck_assert_int_eq(last_stored, 0);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, "pat_1");

        fake_store_fail(w.store, 1, -ENOSPC);
        world_set_pat(&w, "pat_2", WALL_NEVER);
        (void) fake_store_complete_all(w.store);
        ck_assert_int_eq(last_stored, -ENOSPC);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, "pat_1"); /* nothing has changed */

        world_crash(&w, 0);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, "pat_1"); /* after a restart */
        world_done(&w);
}
END_TEST

START_TEST(a_static_token_warns_and_ends)
{
        char fingerprint[SECRET_FINGERPRINT_SIZE];
        struct credential_view v;
        struct world w;
        struct caller c;

        world_start(&w);
        world_set_pat(&w, "pat_1", (wall_t){ NOW + 30 * 86400 });
        (void) fake_store_complete_all(w.store);
        broker_view(w.broker, w.credentials[PAT], &v);
        ck_assert(!v.has_warning);
        world_pass(&w, 23 * US_PER_D + US_PER_H);
        broker_view(w.broker, w.credentials[PAT], &v);
        ck_assert(v.has_warning);
        ck_assert_ptr_nonnull(strstr(v.warning.text, "expires in 6d"));
        ck_assert_int_eq(v.state, CREDENTIAL_READY);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        memcpy(fingerprint, c.fingerprint, sizeof(fingerprint));
        caller_ask(&w, &c, PAT, "", -1, 30,
                   fingerprint); /* the API refuses it: only a person can help */
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        world_pass(&w, 7 * US_PER_D);
        broker_view(w.broker, w.credentials[PAT], &v);
        ck_assert_int_eq(v.state, CREDENTIAL_EXPIRED);
        caller_ask(&w, &c, PAT, "", 0, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert_ptr_null(cache_get(w.cache, "pat\n\n"));
        world_set_pat(&w, "pat_2", WALL_NEVER);
        (void) fake_store_complete_all(w.store);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, "pat_2");
        world_done(&w);
}
END_TEST

static const struct {
        int64_t file_s, stored_s; /* when each was written; 0: not there */
        const char *wins;
} sources[] = {
        { NOW - 100, 0, "pat_file" },
        { 0, NOW - 100, "pat_stored" },
        { NOW - 100, NOW - 50, "pat_stored" },
        { NOW - 50, NOW - 100, "pat_file" },
};

START_TEST(the_newer_static_token_counts)
{
        AUTO(secret_unrefp)
        struct secret *file = secret_new("pat_file", 8), *set = secret_new("pat_stored", 10);
        const struct record record = {
                .credential = "pat",
                .subject = "",
                .kind = RECORD_STATIC_TOKEN,
                .secret = set,
                .obtained_at = { sources[_i].stored_s },
                .expires_at = WALL_NEVER,
        };
        struct world w;
        struct caller c;

        world_init(&w);
        if (sources[_i].file_s) {
                w.credential[PAT].token = file;
                w.credential[PAT].token_changed_at.s = sources[_i].file_s;
        }
        if (sources[_i].stored_s)
                fake_store_set(w.store, &record);
        ck_assert_int_eq(broker_start(w.broker, NULL), 0);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, sources[_i].wins);
        world_done(&w);
}
END_TEST

START_TEST(a_damaged_row_stops_the_start)
{
        AUTO(secret_unrefp) struct secret *set = secret_new("pat_stored", 10);
        const struct record record = {
                .credential = "pat",
                .subject = "",
                .kind = RECORD_STATIC_TOKEN,
                .secret = set,
                .obtained_at = { NOW - 1 },
                .expires_at = WALL_NEVER,
        };
        struct why why = { "" };
        struct world w;

        world_init(&w);
        fake_store_set(w.store, &record);
        fake_store_damage(w.store, "pat", "");
        ck_assert_int_eq(broker_start(w.broker, &why), -EBADMSG);
        world_done(&w);
}
END_TEST

/* --- the end --- */

START_TEST(stopping_answers_everyone)
{
        struct world w;
        struct caller parked, late;

        world_start(&w);
        caller_ask(&w, &parked, BOT, "", -1, 120, NULL);
        broker_stop(w.broker, NULL, NULL);
        ck_assert_int_eq(parked.kind, ANSWER_UNAVAILABLE);
        caller_ask(&w, &late, BOT, "", -1, 120, NULL);
        ck_assert_int_eq(late.kind, ANSWER_UNAVAILABLE);
        world_done(&w);
}
END_TEST

START_TEST(idle_subjects_are_forgotten)
{
        struct credential_view v;
        struct world w;
        struct caller c;
        char subject[16];

        world_start(&w);
        for (unsigned i = 0; i < 100; i++) {
                (void) snprintf(subject, sizeof(subject), "s%u", i);
                caller_ask(&w, &c, BOT, subject, -1, 30, NULL);
                world_grant(&w, 900);
                world_pass(&w, 20 * US_PER_MS); /* fifty a second */
        }
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_uint_eq(v.subjects, 100);
        ck_assert_int_eq(v.state, CREDENTIAL_READY);
        for (unsigned i = 0; i < 40; i++) {
                world_pass(&w, US_PER_MIN);
                while (fake_transport_waiting(w.transport) > 0)
                        world_grant(&w, 900);
        }
        broker_view(w.broker, w.credentials[BOT], &v);
        ck_assert_uint_eq(v.subjects, 0);
        ck_assert_int_eq(v.state, CREDENTIAL_IDLE);
        world_done(&w);
}
END_TEST

START_TEST(a_static_token_has_a_fallback)
{
        struct caller c, again;
        struct world w;

        world_start(&w);
        w.credential[PAT].fallback = &w.credential[BOT];
        caller_ask(&w, &c, PAT, "", -1, 30, NULL); /* none was set */
        world_grant(&w, 900);
        ck_assert_str_eq(c.value, "czs_token1");
        world_set_pat(&w, "pat_mine", (wall_t){ w.clock.wall.s + 600 });
        (void) fake_store_complete_all(w.store);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, "pat_mine");
        caller_ask(&w, &again, PAT, "", -1, 30, c.fingerprint);
        ck_assert_str_eq(again.value, "czs_token1");
        caller_ask(&w, &again, PAT, "", 700, 30, NULL); /* it does not live as long */
        ck_assert_str_eq(again.value, "czs_token1");
        world_pass(&w, 601 * US_PER_S);
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_str_eq(c.value, "czs_token1");
        w.credential[PAT].fallback = NULL;
        caller_ask(&w, &c, PAT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        world_done(&w);
}
END_TEST

static void add(TCase *tc) {
        world_prepare();
        tcase_set_timeout(tc, 60); /* of a busy machine */
        tcase_add_test(tc, single_flight);
        tcase_add_test(tc, subjects_are_apart);
        tcase_add_test(tc, waits_have_their_own_deadlines);
        tcase_add_test(tc, impossible_min_ttl);
        tcase_add_test(tc, short_tokens_have_a_short_min_ttl);
        tcase_add_test(tc, interactive_types_need_a_person);
        tcase_add_test(tc, rejections_share_one_renewal);
        tcase_add_test(tc, rejections_are_five_seconds_apart);
        tcase_add_test(tc, a_rejection_takes_nothing_from_others);
        tcase_add_test(tc, renewed_in_the_background_while_used);
        tcase_add_test(tc, unused_tokens_lapse);
        tcase_add_test(tc, a_late_use_renews);
        tcase_add_test(tc, never_keeps_nothing_fresh);
        tcase_add_test(tc, always_is_fetched_at_start_and_for_ever);
        tcase_add_test(tc, always_recovers_after_an_outage);
        tcase_add_test(tc, a_blip_is_hidden_from_callers);
        tcase_add_test(tc, an_outage_is_told);
        tcase_add_test(tc, retry_after_is_honoured);
        tcase_add_test(tc, a_refusal_is_told_at_once);
        tcase_add_test(tc, a_good_token_is_served_through_an_outage);
        tcase_add_test(tc, a_failing_send_is_a_failure_like_others);
        tcase_add_test(tc, the_fallback_answers_for_the_refused);
        tcase_add_loop_test(tc, a_stepped_clock_changes_nothing, 0, N_ELEMENTS(steps));
        tcase_add_loop_test(tc, the_providers_clock_counts, 0, N_ELEMENTS(skews));
        tcase_add_test(tc, a_long_sleep_hands_out_nothing_dead);
        tcase_add_test(tc, a_static_token_is_durable_before_it_is_shown);
        tcase_add_test(tc, a_static_token_warns_and_ends);
        tcase_add_test(tc, a_static_token_has_a_fallback);
        tcase_add_loop_test(tc, the_newer_static_token_counts, 0, N_ELEMENTS(sources));
        tcase_add_test(tc, a_damaged_row_stops_the_start);
        tcase_add_test(tc, stopping_answers_everyone);
        tcase_add_test(tc, idle_subjects_are_forgotten);
}

CHECK_MAIN("broker", add)
