#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "conf/difference.h"
#include "stage.h"

/*
 * Another configuration while tokens, grants, back-offs and callers are there: what is the same
 * stays, what is not is had anew, and no grant is lost on the way.
 */

struct next { /* the configuration that comes */
        struct conf conf;
        struct conf_provider provider, *providers[1];
        struct conf_credential credential[N_CREDENTIALS], *credentials[N_CREDENTIALS];
};

/* The one in force, without credential `without` (N_CREDENTIALS: with all). */
static void next_init(struct next *n, const struct world *w, int without) {
        size_t k = 0;

        *n = (struct next){ .conf = w->conf, .provider = w->provider };
        n->conf.names = (struct table){ 0 };
        n->providers[0] = &n->provider;
        n->conf.providers = n->providers;
        n->conf.credentials = n->credentials;
        for (int i = 0; i < N_CREDENTIALS; i++) {
                n->credential[i] = *w->credentials[i];
                n->credential[i].provider = &n->provider;
                if (i == without)
                        continue;
                n->credential[i].index = k;
                n->credentials[k++] = &n->credential[i];
        }
        n->conf.n_credentials = k;
        ck_assert_int_eq(conf_index(&n->conf), 0);
}

static void next_adopt(struct next *n, struct world *w) {
        struct broker_change *change;
        struct why why = { "" };

        ck_assert_int_eq(broker_prepare(w->broker, &n->conf, &why, &change), 0);
        ck_assert_str_eq(why.text, "");
        broker_adopt(w->broker, change);
        ck_assert_ptr_eq(broker_conf(w->broker), &n->conf);
        for (int i = 0; i < N_CREDENTIALS; i++)
                w->credentials[i] = &n->credential[i];
}

static void next_done(struct next *n) { /* after the broker */
        table_done(&n->conf.names);
}

static void get_bot(struct world *w, struct caller *c, const char *subject) {
        caller_ask(w, c, BOT, subject, -1, 30, NULL);
        if (fake_transport_waiting(w->transport) > 0)
                world_grant(w, 900);
        ck_assert_int_eq(c->kind, ANSWER_TOKEN);
}

START_TEST(what_is_the_same_stays)
{
        struct caller before, after;
        struct next n;
        struct world w;

        world_start(&w);
        get_bot(&w, &before, "alice");
        next_init(&n, &w, N_CREDENTIALS);
        next_adopt(&n, &w);
        get_bot(&w, &after, "alice");
        ck_assert_str_eq(after.value, before.value);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_done(&w);
        next_done(&n);
}
END_TEST

START_TEST(nothing_has_changed_until_it_is_adopted)
{
        struct broker_change *change;
        struct caller before, after;
        struct next n;
        struct world w;

        world_start(&w);
        get_bot(&w, &before, "");
        next_init(&n, &w, BOT);
        ck_assert_int_eq(broker_prepare(w.broker, &n.conf, NULL, &change), 0);
        broker_change_free(change);
        ck_assert_ptr_eq(broker_conf(w.broker), &w.conf);
        get_bot(&w, &after, "");
        ck_assert_str_eq(after.value, before.value);
        world_done(&w);
        next_done(&n);
}
END_TEST

static void restrict_use(struct conf_credential *c) {
        c->restricted = !c->restricted;
}

static void keep_always(struct conf_credential *c) {
        c->keep_fresh = KEEP_FRESH_ALWAYS;
}

static void want_longer(struct conf_credential *c) {
        c->token_lifetime_us *= 2;
}

static void be_another_application(struct conf_credential *c) {
        c->client_id = (char *) "2";
}

static void be_another_key(struct conf_credential *c) {
        c->public_key_id = (char *) "another";
}

static void have_a_session(struct conf_credential *c) {
        c->session_name = (char *) "s";
}

static void ask_for_less(struct conf_credential *c) {
        c->scope = (char *) "{\"account_permission\":{\"permission_list\":[]}}";
}

static const struct {
        void (*change)(struct conf_credential *c);
        enum conf_change is;
} changes[] = {
        { restrict_use, CONF_TUNED },     { keep_always, CONF_TUNED },
        { want_longer, CONF_TUNED },      { be_another_application, CONF_RENEWED },
        { be_another_key, CONF_RENEWED }, { have_a_session, CONF_RENEWED },
        { ask_for_less, CONF_RENEWED },
};

START_TEST(a_token_stays_if_it_would_be_the_same)
{
        struct caller before, after;
        struct next n;
        struct world w;

        world_start(&w);
        get_bot(&w, &before, "");
        next_init(&n, &w, N_CREDENTIALS);
        changes[_i].change(&n.credential[BOT]);
        ck_assert_int_eq(conf_compare_credentials(&w.credential[BOT], &n.credential[BOT]),
                         changes[_i].is);
        next_adopt(&n, &w);
        get_bot(&w, &after, "");
        ck_assert_int_eq(strcmp(after.value, before.value) == 0, changes[_i].is == CONF_TUNED);
        ck_assert_uint_eq(fake_transport_sent(w.transport), changes[_i].is == CONF_TUNED ? 1 : 2);
        world_done(&w);
        next_done(&n);
}
END_TEST

START_TEST(who_waits_gets_a_token_of_the_new_application)
{
        struct caller c;
        struct next n;
        struct world w;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        next_init(&n, &w, N_CREDENTIALS);
        be_another_application(&n.credential[BOT]);
        next_adopt(&n, &w);
        world_pass(&w, US_PER_S);
        ck_assert_uint_eq(c.answers, 0);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 2);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1); /* the first is cancelled */
        world_grant(&w, 900);
        ck_assert_uint_eq(c.answers, 1);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        world_done(&w);
        next_done(&n);
}
END_TEST

START_TEST(who_waits_for_what_is_removed_is_told)
{
        struct caller c;
        struct next n;
        struct world w;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        next_init(&n, &w, BOT);
        next_adopt(&n, &w);
        ck_assert_uint_eq(c.answers, 1);
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
        world_pass(&w, US_PER_H);
        ck_assert_uint_eq(c.answers, 1);
        world_done(&w);
        next_done(&n);
}
END_TEST

/* Who waits keeps the place; the new limit is for those who come. */
START_TEST(who_waits_is_counted_through_a_reload)
{
        struct caller waiting[2], c;
        struct next n;
        struct world w;

        world_start(&w);
        w.conf.waiting_per_user = 2;
        w.uid = 1000;
        for (unsigned i = 0; i < 2; i++)
                caller_ask(&w, &waiting[i], BOT, "", -1, 30, NULL);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_SLOW_DOWN);
        next_init(&n, &w, N_CREDENTIALS);
        n.conf.waiting_per_user = 3;
        next_adopt(&n, &w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_KIND_MAX);
        broker_withdraw(w.broker, &c.ask);
        n.conf.waiting_per_user = 1;
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_SLOW_DOWN);
        world_grant(&w, 900);
        for (unsigned i = 0; i < 2; i++)
                ck_assert_int_eq(waiting[i].kind, ANSWER_TOKEN);
        caller_ask(&w, &c, BOT, "other", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_KIND_MAX);
        world_done(&w);
        next_done(&n);
}
END_TEST

START_TEST(a_back_off_stays)
{
        struct caller c;
        struct next n;
        struct world w;

        world_start(&w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        fake_transport_answer(w.transport, 429, "{}", w.clock.wall.s, 600 * US_PER_S);
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        next_init(&n, &w, N_CREDENTIALS);
        next_adopt(&n, &w);
        caller_ask(&w, &c, BOT, "", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        ck_assert_int_ge(c.retry_after_us, 500 * US_PER_S);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_done(&w);
        next_done(&n);
}
END_TEST

/* How far a refresh has come when its credential is removed. */
enum step {
        BEFORE_THE_MARK,
        BEFORE_THE_ANSWER,
        BEFORE_THE_SUCCESSOR_IS_STORED,
        STEP_MAX
};

static void stage_start_refresh(struct stage *s, struct caller *c, enum step step) {
        stage_start(s);
        stage_ask(s, c, "alice");
        if (step > BEFORE_THE_MARK)
                stage_store(s);
        if (step > BEFORE_THE_ANSWER)
                stage_answer(s, GIVES);
}

/* So many seconds in which the disk and the provider do their work; never two refreshes of one grant at once. */
static void stage_come_home(struct stage *s, int seconds) {
        for (int i = 0; i < seconds; i++) {
                stage_store(s);
                ck_assert_uint_le(stage_waiting(s), 1);
                if (stage_waiting(s) > 0)
                        stage_answer(s, GIVES);
                world_pass(&s->w, US_PER_S);
        }
}

START_TEST(a_grant_outlives_that_its_credential_is_removed)
{
        struct next without, with;
        struct caller c, again;
        struct stage s;

        stage_start_refresh(&s, &c, (enum step) _i);
        next_init(&without, &s.w, SITE);
        next_init(&with, &s.w, N_CREDENTIALS);
        next_adopt(&without, &s.w);
        ck_assert_uint_eq(c.answers, 1); /* at once */
        ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        stage_come_home(&s, 10);
        assert_row(&s, "alice", stage_provider(&s, "alice")->number, false);
        ck_assert(!stage_has_token(&s, "alice"));
        next_adopt(&with, &s.w);
        ck_assert_int_eq(stage_get(&s, &again, "alice"), ANSWER_TOKEN);
        assert_row(&s, "alice", stage_provider(&s, "alice")->number, false);
        ck_assert_uint_eq(s.spent, 0);
        stage_done(&s);
        next_done(&without);
        next_done(&with);
}
END_TEST

/* The same, and it is back before the refresh has come home. */
START_TEST(a_credential_that_is_back_at_once_waits_for_its_refresh)
{
        struct next without, with;
        struct caller c, again;
        struct stage s;

        stage_start_refresh(&s, &c, (enum step) _i);
        next_init(&without, &s.w, SITE);
        next_init(&with, &s.w, N_CREDENTIALS);
        next_adopt(&without, &s.w);
        next_adopt(&with, &s.w);
        stage_ask(&s, &again, "alice");
        stage_come_home(&s, 20);
        ck_assert_uint_eq(s.spent, 0);
        ck_assert_int_eq(stage_get(&s, &again, "alice"), ANSWER_TOKEN);
        assert_row(&s, "alice", stage_provider(&s, "alice")->number, false);
        ck_assert_uint_eq(s.spent, 0);
        stage_done(&s);
        next_done(&without);
        next_done(&with);
}
END_TEST

/* The application changes while a refresh is under way, and its answer is that the grant is over. */
START_TEST(a_grant_ends_in_a_refresh_of_before)
{
        struct caller c, again;
        struct stage s;
        struct next n;

        stage_start_refresh(&s, &c, BEFORE_THE_ANSWER);
        next_init(&n, &s.w, N_CREDENTIALS);
        be_another_application(&n.credential[SITE]);
        next_adopt(&n, &s.w);
        ck_assert_uint_eq(c.answers, 0);
        stage_answer(&s, REFUSES);
        ck_assert_uint_eq(c.answers, 1);
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        stage_store(&s);
        assert_no_row(&s, "alice");
        ck_assert_int_eq(stage_get(&s, &again, "alice"), ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert_uint_eq(stage_sent(&s), 1);
        stage_done(&s);
        next_done(&n);
}
END_TEST

/* Removed and back at once, and the refresh of before ends the grant. */
START_TEST(a_grant_ends_while_its_credential_is_away)
{
        struct next without, with;
        struct caller c, again;
        struct stage s;

        stage_start_refresh(&s, &c, BEFORE_THE_ANSWER);
        next_init(&without, &s.w, SITE);
        next_init(&with, &s.w, N_CREDENTIALS);
        next_adopt(&without, &s.w);
        next_adopt(&with, &s.w);
        stage_ask(&s, &again, "alice"); /* waits for that refresh to come home */
        stage_answer(&s, REFUSES);
        stage_store(&s);
        world_pass(&s.w, 5 * US_PER_S);
        ck_assert_int_eq(again.kind, ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert_uint_eq(again.answers, 1);
        assert_no_row(&s, "alice");
        ck_assert_uint_eq(stage_sent(&s), 1);
        stage_done(&s);
        next_done(&without);
        next_done(&with);
}
END_TEST

static void add(TCase *tc) {
        world_prepare();
        tcase_add_test(tc, what_is_the_same_stays);
        tcase_add_test(tc, nothing_has_changed_until_it_is_adopted);
        tcase_add_loop_test(tc, a_token_stays_if_it_would_be_the_same, 0, N_ELEMENTS(changes));
        tcase_add_test(tc, who_waits_gets_a_token_of_the_new_application);
        tcase_add_test(tc, who_waits_for_what_is_removed_is_told);
        tcase_add_test(tc, who_waits_is_counted_through_a_reload);
        tcase_add_test(tc, a_back_off_stays);
        tcase_add_loop_test(tc, a_grant_outlives_that_its_credential_is_removed, 0, STEP_MAX);
        tcase_add_test(tc, a_grant_ends_in_a_refresh_of_before);
        tcase_add_test(tc, a_grant_ends_while_its_credential_is_away);
        tcase_add_loop_test(tc, a_credential_that_is_back_at_once_waits_for_its_refresh, 0,
                            STEP_MAX);
}

CHECK_MAIN("reload", add)
