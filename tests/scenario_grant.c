#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "stage.h"

/* --- one rotation --- */

START_TEST(everything_is_durable_before_the_next_step)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        ck_assert_uint_eq(stage_sent(&s), 0); /* the intent first */
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 1);
        assert_row(&s, "alice", 1, false);
        stage_store(&s);
        assert_row(&s, "alice", 1, true);
        ck_assert_uint_eq(stage_waiting(&s), 1);
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 0);
        stage_answer(&s, GIVES);
        ck_assert_uint_eq(c.answers, 0); /* the successor first */
        ck_assert(!stage_has_token(&s, "alice"));
        assert_row(&s, "alice", 1, true);
        stage_store(&s);
        assert_row(&s, "alice", 2, false);
        ck_assert_str_eq(c.value, "at.alice.2");
        ck_assert(stage_has_token(&s, "alice"));
        stage_done(&s);
}
END_TEST

/* Everybody who could want a refresh wants one. */
static void stage_crowd(struct stage *s, struct caller *callers, size_t n, const char *rejected) {
        for (size_t i = 0; i < n; i++)
                caller_ask(&s->w, &callers[i], SITE, "alice", i % 3 == 0 ? 800 : -1, 60,
                           i % 2 ? rejected : NULL);
        broker_nudge(s->w.broker, "site\nalice\n");
        world_pass(&s->w, 10 * US_PER_S);
        ck_assert_uint_le(stage_waiting(s), 1);
}

START_TEST(never_two_refreshes_at_once)
{
        struct caller first, a[20], b[20], c[20], d[20];
        struct stage s;

        stage_start(&s);
        ck_assert_int_eq(stage_get(&s, &first, "alice"), ANSWER_TOKEN);
        world_pass(&s.w, 725 * US_PER_S); /* its time to be renewed */
        s.w.clock.wall.s += 27 * 86400;   /* and the grant is due, too */
        stage_crowd(&s, a, N_ELEMENTS(a), first.fingerprint);
        fake_store_complete(s.w.store, 1);
        stage_crowd(&s, b, N_ELEMENTS(b), first.fingerprint);
        ck_assert_uint_eq(stage_waiting(&s), 1);
        stage_answer(&s, GIVES);
        stage_crowd(&s, c, N_ELEMENTS(c), first.fingerprint);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        stage_store(&s);
        stage_crowd(&s, d, N_ELEMENTS(d), first.fingerprint);
        ck_assert_uint_eq(s.refreshes, 2);
        ck_assert_uint_eq(stage_sent(&s), 2);
        ck_assert_uint_eq(s.spent, 0);
        ck_assert_str_eq(a[0].value, "at.alice.3");
        ck_assert_str_eq(b[1].value, "at.alice.3");
        ck_assert_str_eq(c[3].value, "at.alice.3");
        ck_assert_str_eq(d[4].value, "at.alice.3");
        stage_done(&s);
}
END_TEST

static const struct {
        enum act act;
        enum answer_kind kind; /* of a caller who does not wait for a retry */
        bool in_doubt;         /* the row, afterwards */
        unsigned requests;
} ends[] = {
        { GIVES_NO_NEW_ONE, ANSWER_TOKEN, false, 1 },
        { HANGS_UP, ANSWER_TIMEOUT, true, 2 },
        { IS_UNREACHABLE, ANSWER_TIMEOUT, false, 1 },
        { IS_BUSY, ANSWER_TIMEOUT, true, 1 },
        { SENDS_HTML, ANSWER_TIMEOUT, true, 1 },
        { FAILS_INSIDE, ANSWER_TIMEOUT, true, 1 },
        { BABBLES, ANSWER_UPSTREAM_ERROR, true, 1 },
        { LIMITS, ANSWER_TIMEOUT, false, 1 },
        { DEACTIVATES, ANSWER_UPSTREAM_ERROR, false, 1 },
        { WANTS_ANOTHER_KEY, ANSWER_UPSTREAM_ERROR, false, 1 },
};

START_TEST(nothing_but_a_clear_refusal_ends_a_grant)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        caller_ask(&s.w, &c, SITE, "alice", -1, 0, NULL);
        stage_store(&s);
        while (stage_waiting(&s) > 0)
                stage_answer(&s, ends[_i].act);
        stage_store(&s);
        world_pass(&s.w, 0);
        ck_assert_uint_eq(s.refreshes, ends[_i].requests);
        ck_assert(c.kind == ends[_i].kind || c.kind == ANSWER_UNAVAILABLE);
        assert_row(&s, "alice", 1, ends[_i].in_doubt);
        for (unsigned day = 0; day < 10; day++) { /* however long it lasts */
                caller_ask(&s.w, &c, SITE, "alice", 800, 60, NULL);
                for (unsigned i = 0; i < 100 && c.answers == 0; i++) {
                        stage_store(&s);
                        while (stage_waiting(&s) > 0)
                                stage_answer(&s, ends[_i].act);
                        world_pass(&s.w, US_PER_S);
                }
                ck_assert_int_ne(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
                world_pass(&s.w, US_PER_D);
        }
        while (stage_waiting(&s) > 0)
                stage_answer(&s, ends[_i].act);
        world_pass(&s.w, US_PER_H);
        while (stage_waiting(&s) > 0)
                stage_answer(&s, ends[_i].act);
        world_pass(&s.w, US_PER_H);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN); /* and then it works again */
        ck_assert_uint_eq(s.spent, 0);
        assert_row(&s, "alice", 2, false);
        stage_done(&s);
}
END_TEST

START_TEST(a_clear_refusal_ends_this_grant_alone)
{
        struct credential_view v;
        struct caller alice, bob;
        struct stage s;

        stage_start(&s);
        stage_add_row(&s, "bob", (wall_t){ NOW }, false);
        world_crash(&s.w, 0);
        world_keep_log();
        ck_assert_int_eq(stage_get(&s, &alice, "alice"), ANSWER_TOKEN);
        ck_assert_int_eq(stage_get(&s, &bob, "bob"), ANSWER_TOKEN);
        caller_ask(&s.w, &alice, SITE, "alice", -1, 30, alice.fingerprint);
        stage_store(&s);
        stage_answer(&s, REFUSES);
        ck_assert_int_eq(alice.kind, ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert_int_eq(alice.upstream_status, 400);
        ck_assert_ptr_nonnull(strstr(alice.text, "bearerctl login site --subject 'alice'"));
        ck_assert(!stage_has_token(&s, "alice"));
        ck_assert(!world_logged("lost_in_rotation"));
        stage_store(&s);
        assert_no_row(&s, "alice");
        stage_ask(&s, &alice, "alice");
        ck_assert_int_eq(alice.kind, ANSWER_AUTHORIZATION_REQUIRED);

        stage_ask(&s, &bob, "bob");
        ck_assert_str_eq(bob.value, "at.bob.2");
        caller_ask(&s.w, &bob, SITE, "bob", -1, 30, bob.fingerprint);
        stage_store(&s);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_str_eq(bob.value, "at.bob.3");
        broker_view(s.w.broker, s.w.credentials[SITE], &v);
        ck_assert_uint_eq(v.subjects, 1);
        stage_done(&s);
}
END_TEST

START_TEST(a_lost_answer_is_asked_for_again_once)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        caller_ask(&s.w, &c, SITE, "alice", -1, 0, NULL);
        stage_store(&s);
        stage_answer(&s, HANGS_UP);
        ck_assert_uint_eq(stage_waiting(&s), 1); /* at once, with the old token */
        stage_answer(&s, HANGS_UP);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        ck_assert_uint_eq(s.last, 1);
        assert_row(&s, "alice", 1, true);
        for (unsigned i = 0; i < 5; i++) { /* then it backs off, one at a time */
                world_pass(&s.w, 10 * US_PER_MIN);
                caller_ask(&s.w, &c, SITE, "alice", -1, 0, NULL);
                stage_store(&s);
                ck_assert_uint_eq(stage_waiting(&s), 1);
                stage_answer(&s, HANGS_UP);
                ck_assert_uint_eq(stage_waiting(&s), 0);
                world_pass(&s.w, 0);
        }
        world_pass(&s.w, 10 * US_PER_MIN);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        assert_row(&s, "alice", 2, false);
        caller_ask(&s.w, &c, SITE, "alice", -1, 30, c.fingerprint); /* the doubt is over */
        stage_store(&s);
        stage_answer(&s, HANGS_UP);
        ck_assert_uint_eq(stage_waiting(&s), 1);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_str_eq(c.value, "at.alice.3");
        stage_done(&s);
}
END_TEST

static const struct {
        enum act acts[2];
        bool lost;
} refusals[] = {
        { { LOSES, GIVES }, true },     { { HANGS_UP, REFUSES }, true },
        { { IS_BUSY, REFUSES }, true }, { { IS_UNREACHABLE, REFUSES }, false },
        { { LIMITS, REFUSES }, false }, { { DEACTIVATES, REFUSES }, false },
};

/* The old one is spent, so the new one counts, whatever is wrong with the rest of the answer. */
START_TEST(a_successor_counts_in_an_answer_that_is_nonsense)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        stage_provider(&s, "alice")->number = 2;
        stage_reply(&s, 200,
                    "{\"access_token\":\"at.alice.2\",\"refresh_token\":\"rt.alice.2\","
                    "\"expires_in\":-1}");
        stage_store(&s);
        assert_row(&s, "alice", 2, false);
        world_pass(&s.w, US_PER_MIN);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        ck_assert_uint_eq(s.spent, 0);
        stage_done(&s);
}
END_TEST

START_TEST(lost_in_rotation_is_told_when_it_may_be_so)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        world_keep_log();
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        stage_answer(&s, refusals[_i].acts[0]);
        for (unsigned i = 0; stage_waiting(&s) == 0 && i < 600; i++) {
                world_pass(&s.w, US_PER_S);
                if (c.answers > 0 && i % 60 == 59)
                        stage_ask(&s, &c, "alice");
                stage_store(&s);
        }
        stage_answer(&s, refusals[_i].acts[1]);
        stage_store(&s);
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert_int_eq(world_logged("event=lost_in_rotation"), refusals[_i].lost);
        assert_no_row(&s, "alice");
        stage_done(&s);
}
END_TEST

START_TEST(a_send_that_fails_at_once_is_no_doubt)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        fake_transport_refuse_next(s.w.transport, -ENOMEM);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        assert_row(&s, "alice", 1, false);
        ck_assert_uint_eq(c.answers, 0);
        world_pass(&s.w, US_PER_S);
        stage_store(&s);
        stage_answer(&s, HANGS_UP); /* and when it is the repetition that fails ... */
        ck_assert_uint_eq(stage_waiting(&s), 1);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_str_eq(c.value, "at.alice.2");

        caller_ask(&s.w, &c, SITE, "alice", -1, 30, c.fingerprint);
        stage_store(&s);
        fake_transport_refuse_next(s.w.transport, -ENOMEM);
        stage_answer(&s, HANGS_UP);
        stage_store(&s);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        assert_row(&s, "alice", 2, true); /* ... the doubt stays */
        stage_done(&s);
}
END_TEST

START_TEST(a_store_that_takes_no_intent_means_no_refresh)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        fake_store_refuse_next(s.w.store, -ENOMEM);
        stage_ask(&s, &c, "alice");
        ck_assert_uint_eq(stage_sent(&s), 0);
        ck_assert_uint_eq(c.answers, 0);
        world_pass(&s.w, US_PER_S);
        stage_store(&s);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_str_eq(c.value, "at.alice.2");
        stage_done(&s);
}
END_TEST

/* Everybody has long gone, the old token with them; what is under way is not forgotten. */
START_TEST(nobody_waits_for_a_slow_disk)
{
        struct caller first, c;
        struct stage s;

        stage_start(&s);
        if (_i)
                ck_assert_int_eq(stage_get(&s, &first, "alice"), ANSWER_TOKEN);
        caller_ask(&s.w, &c, SITE, "alice", -1, 1, _i ? first.fingerprint : NULL);
        world_pass(&s.w, 20 * US_PER_MIN);
        ck_assert_int_eq(c.kind, ANSWER_TIMEOUT);
        ck_assert(!stage_has_token(&s, "alice"));
        stage_store(&s);
        world_pass(&s.w, 20 * US_PER_MIN);
        stage_answer(&s, GIVES);
        world_pass(&s.w, 10 * US_PER_MIN); /* of the 15 that it lives */
        stage_store(&s);
        assert_row(&s, "alice", 2 + (unsigned) _i, false);
        ck_assert(stage_has_token(&s, "alice"));
        ck_assert_uint_eq(stage_sent(&s), 1 + (unsigned) _i);
        stage_done(&s);
}
END_TEST

/* --- crashes --- */

/* A rotation, step by step; each leaves the stage as it is just before the next. */
enum phase {
        PHASE_NOTHING,
        PHASE_MARKING,    /* asked; the intent is on its way to the disk */
        PHASE_SENT,       /* with the provider, who has not acted */
        PHASE_ACTED,      /* the provider has acted; the answer is on its way */
        PHASE_COMMITTING, /* the successor is on its way to the disk */
        PHASE_OVER,
        PHASE_MAX,
};

/* Brings a rotation that somebody or nobody asked for to this phase. PHASE_ACTED cannot be told
 * from PHASE_SENT by us; the provider knows. */
static void stage_bring_to(struct stage *s, enum phase phase) {
        struct provider *p = stage_provider(s, "alice");
        unsigned number;

        if (phase >= PHASE_SENT)
                stage_store(s);
        if (phase == PHASE_ACTED) {
                ck_assert_ptr_eq(stage_presented(s, &number), p);
                s->spent += number < p->number;
                p->number += number == p->number;
        }
        if (phase >= PHASE_COMMITTING)
                stage_answer(s, GIVES);
        if (phase >= PHASE_OVER)
                stage_store(s);
}

/* The row was good, or a refusal must follow; in both cases it is clear without any caller. */
static void stage_check_after_crash(struct stage *s) {
        const struct row row = stage_row(s, "alice");
        bool good = row.exists && row.number == stage_provider(s, "alice")->number;
        struct caller c;

        ck_assert_uint_eq(fake_store_waiting(s->w.store), row.in_doubt); /* tried by itself */
        ck_assert(good || row.in_doubt || !row.exists);
        if (row.in_doubt) {
                stage_store(s);
                ck_assert_uint_eq(stage_waiting(s), 1);
                stage_answer(s, GIVES);
                stage_store(s);
        }
        ck_assert_uint_eq(stage_waiting(s), 0);
        ck_assert_int_eq(stage_get(s, &c, "alice"),
                         good ? ANSWER_TOKEN : ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert_int_eq(stage_row(s, "alice").exists, good);
        ck_assert_int_eq(stage_row(s, "alice").in_doubt, false);
}

START_TEST(a_crash_at_every_point_of_a_rotation)
{
        enum phase first = (enum phase)(_i / PHASE_MAX), second = (enum phase)(_i % PHASE_MAX);
        bool lost = first == PHASE_ACTED || first == PHASE_COMMITTING;
        struct caller c, d;
        struct stage s;

        stage_start(&s);
        world_keep_log();
        if (first >= PHASE_MARKING)
                stage_ask(&s, &c, "alice");
        stage_bring_to(&s, first);
        world_crash(&s.w, 60 * US_PER_S);
        /* and a second one, in what the start began, or in what somebody asked for again */
        if (second >= PHASE_MARKING && !stage_row(&s, "alice").in_doubt)
                stage_ask(&s, &d, "alice");
        if (!lost || second < PHASE_COMMITTING)
                stage_bring_to(&s, second);
        lost = lost || second == PHASE_ACTED || second == PHASE_COMMITTING;
        world_crash(&s.w, 60 * US_PER_S);
        stage_check_after_crash(&s);
        ck_assert_int_eq(world_logged("event=lost_in_rotation"), lost);
        ck_assert_uint_le(s.spent, 2); /* once after each crash */
        stage_done(&s);
}
END_TEST

START_TEST(what_was_shown_is_good_after_a_crash)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        for (unsigned i = 2; i < 20; i++) {
                char value[32];

                (void) snprintf(value, sizeof(value), "at.alice.%u", i);
                caller_ask(&s.w, &c, SITE, "alice", -1, 30, i > 2 ? c.fingerprint : NULL);
                stage_store(&s);
                stage_answer(&s, GIVES);
                fake_store_complete(s.w.store, 1);
                ck_assert_str_eq(c.value, value);
                world_crash(&s.w, US_PER_S);
        }
        ck_assert_uint_eq(s.spent, 0);
        stage_done(&s);
}
END_TEST

START_TEST(a_start_touches_nothing_that_is_clear)
{
        static const char *const names[] = { "a", "b", "c", "d" };
        struct stage s = { 0 };

        world_init(&s.w);
        for (size_t i = 0; i < N_ELEMENTS(names); i++)
                stage_add_row(&s, names[i], (wall_t){ NOW - (int64_t) i * 86400 }, i == 2);
        s.w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        ck_assert_int_eq(broker_start(s.w.broker, NULL), 0);
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 1); /* the one in doubt */
        stage_store(&s);
        ck_assert_uint_eq(stage_waiting(&s), 1);
        stage_answer(&s, GIVES);
        stage_store(&s);
        world_pass(&s.w, US_PER_D);
        ck_assert_uint_eq(stage_sent(&s), 1);
        assert_row(&s, "a", 1, false);
        assert_row(&s, "c", 2, false);
        stage_done(&s);
}
END_TEST

/* Tried at the start while the provider is away: nothing is lost by that. */
START_TEST(a_doubt_outlives_an_outage)
{
        struct stage s = { 0 };
        struct caller c;

        world_init(&s.w);
        stage_add_row(&s, "alice", (wall_t){ NOW }, true);
        s.w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        ck_assert_int_eq(broker_start(s.w.broker, NULL), 0);
        stage_store(&s);
        stage_answer(&s, IS_UNREACHABLE);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        stage_store(&s);
        assert_row(&s, "alice", 1, true);
        world_pass(&s.w, US_PER_D);
        ck_assert_uint_eq(stage_sent(&s), 1);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        assert_row(&s, "alice", 2, false);
        stage_done(&s);
}
END_TEST

/* --- disks --- */

static const struct {
        int error;
        size_t good, bad; /* so many changes work, and then so many do not */
} disks[] = {
        { -ENOSPC, 0, 1 }, { -ENOSPC, 1, 1 }, { -ENOSPC, 0, 2 }, { -EIO, 0, 1 },
        { -EIO, 1, 1 },    { -EIO, 0, 2 },    { -EROFS, 0, 1 },  { -EROFS, 1, 1 },
        { -EROFS, 0, 2 },  { -ENOSPC, 0, 9 },
};

START_TEST(a_disk_that_fails_costs_no_grant)
{
        bool unsaved = disks[_i].good + disks[_i].bad > 1;
        struct stage s;
        struct caller c;

        stage_start(&s);
        world_keep_log();
        stage_ask(&s, &c, "alice");
        fake_store_complete(s.w.store, disks[_i].good);
        fake_store_fail(s.w.store, disks[_i].bad, disks[_i].error);
        stage_store(&s);
        ck_assert_uint_eq(stage_waiting(&s), 1);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_str_eq(c.value, "at.alice.2"); /* served all the same */
        ck_assert_int_eq(world_logged("event=not_stored"), unsaved);
        ck_assert_uint_eq(stage_row(&s, "alice").number, unsaved ? 1 : 2);

        caller_ask(&s.w, &c, SITE, "alice", -1, 30, c.fingerprint);
        stage_store(&s);
        stage_answer(&s, GIVES); /* the newer one is presented, never the spent one */
        ck_assert_uint_eq(s.last, 2);
        stage_store(&s);
        ck_assert_str_eq(c.value, "at.alice.3");
        for (unsigned i = 0; i < 9; i++) {
                world_pass(&s.w, 10 * US_PER_S);
                stage_store(&s);
        }
        assert_row(&s, "alice", 3, false); /* written as soon as there is room */
        ck_assert_uint_eq(stage_waiting(&s), 0);
        ck_assert_int_eq(world_logged("event=stored"), unsaved);
        world_crash(&s.w, 0);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        ck_assert_uint_eq(s.spent, 0);
        stage_done(&s);
}
END_TEST

START_TEST(a_full_disk_for_a_day)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        fake_store_fail(s.w.store, SIZE_MAX, -ENOSPC);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        for (unsigned i = 0; i < 96; i++) {
                world_pass(&s.w, 15 * US_PER_MIN);
                while (stage_store(&s) > 0 || stage_waiting(&s) > 0)
                        if (stage_waiting(&s) > 0)
                                stage_answer(&s, GIVES);
                ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        }
        assert_row(&s, "alice", 1, false);
        ck_assert_uint_gt(s.refreshes, 90);
        ck_assert_uint_eq(s.spent, 0);
        fake_store_fail(s.w.store, 0, 0);
        world_pass(&s.w, 10 * US_PER_S);
        stage_store(&s);
        assert_row(&s, "alice", stage_provider(&s, "alice")->number, false);
        stage_done(&s);
}
END_TEST

/* The store itself refuses the successor: as if the disk had. */
START_TEST(a_store_that_takes_no_successor)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        fake_store_refuse_next(s.w.store, -ENOMEM);
        stage_answer(&s, GIVES);
        world_pass(&s.w, 0);
        ck_assert_str_eq(c.value, "at.alice.2");
        assert_row(&s, "alice", 1, true);
        world_pass(&s.w, 10 * US_PER_S);
        stage_store(&s);
        assert_row(&s, "alice", 2, false);
        stage_done(&s);
}
END_TEST

/* A token that only memory has is sent, and no answer comes: written late, it must be in doubt. */
START_TEST(a_late_write_keeps_the_doubt)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        fake_store_fail(s.w.store, SIZE_MAX, -ENOSPC);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_str_eq(c.value, "at.alice.2");
        caller_ask(&s.w, &c, SITE, "alice", -1, 0, c.fingerprint);
        stage_store(&s);
        stage_answer(&s, LOSES);
        stage_answer(&s, HANGS_UP);
        stage_store(&s);
        fake_store_fail(s.w.store, 0, 0);
        world_pass(&s.w, 10 * US_PER_S);
        fake_store_complete(s.w.store, 1);
        assert_row(&s, "alice", 2, true);
        world_crash(&s.w, 0);
        world_keep_log();
        stage_store(&s);
        ck_assert_uint_eq(stage_waiting(&s), 1);
        stage_answer(&s, GIVES);
        ck_assert(world_logged("event=lost_in_rotation"));
        stage_done(&s);
}
END_TEST

/* The intent of a token that only memory has carries the token itself to the disk. */
START_TEST(an_intent_writes_what_was_not_stored)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        fake_store_fail(s.w.store, 1, -ENOSPC);
        stage_answer(&s, GIVES);
        stage_store(&s);
        assert_row(&s, "alice", 1, true);
        caller_ask(&s.w, &c, SITE, "alice", -1, 30, c.fingerprint);
        stage_store(&s);
        assert_row(&s, "alice", 2, true);
        world_crash(&s.w, 0); /* nothing had been sent */
        stage_store(&s);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_uint_eq(s.spent, 0);
        assert_row(&s, "alice", 3, false);
        stage_done(&s);
}
END_TEST

static int keep_view(void *user, const struct grant_view *v) {
        struct grant_view *ret = user;

        *ret = *v;
        return 0;
}

START_TEST(a_damaged_row_is_told_and_left_alone)
{
        struct grant_view v = { .state = CREDENTIAL_STATE_MAX };
        struct caller alice, bob;
        struct stage s = { 0 };

        world_init(&s.w);
        s.w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        stage_add_row(&s, "alice", (wall_t){ NOW }, _i);
        stage_add_row(&s, "bob", (wall_t){ NOW }, false);
        fake_store_damage(s.w.store, "site", "alice");
        ck_assert_int_eq(broker_start(s.w.broker, NULL), 0); /* the others are served */
        for (unsigned i = 0; i < 3; i++) {
                stage_ask(&s, &alice, "alice");
                ck_assert_int_eq(alice.kind, ANSWER_AUTHORIZATION_REQUIRED);
                ck_assert_ptr_nonnull(strstr(alice.text, "altered"));
                ck_assert_ptr_nonnull(strstr(alice.text, "bearerctl login site --subject 'alice'"));
                ck_assert_ptr_null(strstr(alice.text, "coze.cn"));
                ck_assert_int_eq(broker_page(s.w.broker, s.w.credentials[SITE], NULL, 1, keep_view,
                                             &v, NULL),
                                 0);
                ck_assert_int_eq(v.state, CREDENTIAL_AUTHORIZATION_REQUIRED);
                world_pass(&s.w, US_PER_D);
        }
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 0); /* not even a mark */
        ck_assert_uint_eq(fake_store_rows(s.w.store), 2);
        ck_assert_int_eq(stage_get(&s, &bob, "bob"), ANSWER_TOKEN);
        stage_done(&s);
}
END_TEST

/* --- unused grants --- */

static const struct {
        int64_t off_us;
        bool due;
} absences[] = {
        { 0, false },
        { 22 * US_PER_D, false },
        { 25 * US_PER_D, true },
        { 30 * US_PER_D - 2 * US_PER_H, true },
        { 31 * US_PER_D, true }, /* too late by our own count; it may be wrong */
        { 300 * US_PER_D, true },
};

START_TEST(a_machine_that_was_off_comes_back_in_time)
{
        struct stage s;

        stage_start(&s);
        world_crash(&s.w, absences[_i].off_us);
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 0); /* not in doubt: not at once */
        for (unsigned i = 0; i < 60; i++) {
                world_pass(&s.w, US_PER_S);
                stage_store(&s);
        }
        ck_assert_uint_eq(stage_sent(&s), absences[_i].due);
        if (absences[_i].due) {
                stage_answer(&s, GIVES);
                stage_store(&s);
                assert_row(&s, "alice", 2, false);
        }
        world_pass(&s.w, US_PER_D);
        ck_assert_uint_eq(stage_sent(&s), absences[_i].due); /* once */
        stage_done(&s);
}
END_TEST

START_TEST(an_unused_grant_lives_for_years)
{
        struct stage s;
        struct caller c;
        int64_t before;

        stage_start(&s);
        before = s.w.clock.wall.s;
        for (unsigned h = 0; h < 3 * 365 * 24; h++) {
                world_pass(&s.w, US_PER_H);
                stage_store(&s);
                if (stage_waiting(&s) == 0)
                        continue;
                ck_assert_int_ge(s.w.clock.wall.s - before, 22 * 86400);
                ck_assert_int_le(s.w.clock.wall.s - before, 25 * 86400);
                before = s.w.clock.wall.s;
                stage_answer(&s, GIVES);
                stage_store(&s);
        }
        ck_assert_uint_ge(s.refreshes, 3 * 365 / 25);
        ck_assert_uint_eq(s.spent, 0);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        stage_done(&s);
}
END_TEST

/* Its refresh token is on its way to the disk for a while: an access token lives on meanwhile. */
START_TEST(a_slow_disk_makes_no_token_live_longer)
{
        struct caller c, later;
        struct stage s;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        stage_answer(&s, GIVES); /* for 900 s */
        world_pass(&s.w, 20 * US_PER_S);
        stage_store(&s);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert_int_eq(c.left_us, 880 * US_PER_S);
        world_pass(&s.w, 870 * US_PER_S); /* no keep_fresh for the next */

        caller_ask(&s.w, &c, SITE, "alice", 60, 1, NULL);
        stage_store(&s);
        stage_answer(&s, GIVES);
        world_pass(&s.w, 1000 * US_PER_S); /* it is dead before it is shown */
        caller_ask(&s.w, &later, SITE, "alice", 60, 30, NULL);
        stage_store(&s);
        ck_assert_uint_eq(later.answers, 0);
        ck_assert(!stage_has_token(&s, "alice"));
        world_pass(&s.w, US_PER_S);
        stage_store(&s);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_int_eq(later.kind, ANSWER_TOKEN);
        ck_assert_int_eq(later.left_us, 900 * US_PER_S);
        ck_assert_uint_eq(s.spent, 0);
        stage_done(&s);
}
END_TEST

START_TEST(a_due_grant_is_tried_until_it_works)
{
        struct stage s;

        stage_start(&s);
        world_crash(&s.w, 26 * US_PER_D);
        for (unsigned i = 0; i < 24 * 60; i++) {
                world_pass(&s.w, US_PER_MIN);
                stage_store(&s);
                if (stage_waiting(&s) > 0)
                        stage_answer(&s, i % 2 ? IS_UNREACHABLE : IS_BUSY);
        }
        ck_assert_uint_gt(s.refreshes, 100);
        ck_assert_uint_lt(s.refreshes, 24 * 60);
        for (unsigned i = 0; i < 10; i++) {
                world_pass(&s.w, US_PER_MIN);
                stage_store(&s);
                if (stage_waiting(&s) > 0)
                        stage_answer(&s, GIVES);
        }
        stage_store(&s);
        assert_row(&s, "alice", 2, false);
        stage_done(&s);
}
END_TEST

#define MANY 1000

static void stage_add_many(struct stage *s, char names[MANY][8]) {
        *s = (struct stage){ 0 };
        world_init(&s->w);
        s->w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        for (unsigned i = 0; i < MANY; i++) {
                (void) snprintf(names[i], sizeof(names[i]), "s%u", i);
                stage_add_row(s, names[i], (wall_t){ NOW }, false);
                s->n = 0; /* no provider that counts */
        }
}

static size_t stage_answer_all(struct stage *s) {
        size_t n = 0;

        for (stage_store(s); stage_waiting(s) > 0; stage_store(s), n++)
                stage_reply(s, 200,
                            "{\"access_token\":\"at\",\"expires_in\":900,"
                            "\"refresh_token\":\"rt\"}");
        return n;
}

START_TEST(many_that_are_due_at_once_are_spread)
{
        static char names[MANY][8];
        size_t n, total = 0;
        struct stage s;

        stage_add_many(&s, names);
        world_crash(&s.w, _i ? 31 * US_PER_D : 25 * US_PER_D);
        for (unsigned i = 0; i < 101; i++) {
                world_pass(&s.w, US_PER_S);
                n = stage_answer_all(&s);
                total += n;
                ck_assert_uint_le(n, 40); /* ten a second, more or less */
        }
        ck_assert_uint_eq(total, MANY);
        stage_done(&s);
}
END_TEST

START_TEST(many_that_have_a_minute_left_come_in_time)
{
        static char names[MANY][8];
        size_t total = 0;
        struct stage s;

        stage_add_many(&s, names);
        world_crash(&s.w, 30 * US_PER_D - US_PER_MIN);
        for (unsigned i = 0; i < 40; i++) {
                world_pass(&s.w, US_PER_S);
                total += stage_answer_all(&s);
        }
        ck_assert_uint_eq(total, MANY);
        stage_done(&s);
}
END_TEST

START_TEST(many_that_were_made_at_once_are_spread)
{
        static char names[MANY][8];
        size_t n, total = 0;
        struct stage s;

        stage_add_many(&s, names);
        ck_assert_int_eq(broker_start(s.w.broker, NULL), 0);
        for (unsigned i = 0; i < 24 * 24; i++) {
                world_pass(&s.w, US_PER_H);
                n = stage_answer_all(&s);
                total += n;
                ck_assert_uint_le(n, MANY / 10); /* a twenty-fourth, more or less */
        }
        ck_assert_uint_ge(total, MANY * 99 / 100);
        stage_done(&s);
}
END_TEST

static const struct {
        int64_t obtained_s, expires_s;
        bool due; /* within an hour */
} dates[] = {
        { NOW, NOW + 30 * 86400, false },
        { NOW + 3600, NOW + 3600 + 30 * 86400, false }, /* a clock that was a little off */
        { NOW + 10 * 86400, NOW + 40 * 86400, true },   /* and one that was not set at all */
        { 0, 30 * 86400, true },
        { NOW, NOW, true },
        { NOW, NOW - 1, true },
        { NOW, INT64_MAX, false },
        { INT64_MIN, INT64_MAX, false },
        { INT64_MAX, INT64_MAX, true },
        { INT64_MIN, INT64_MIN, true },
        { INT64_MAX, INT64_MIN, true },
};

START_TEST(whatever_the_dates_of_a_row)
{
        AUTO(secret_unrefp) struct secret *token = secret_new("rt.alice.1", 10);
        const struct record record = {
                .credential = "site",
                .subject = "alice",
                .kind = RECORD_GRANT,
                .secret = token,
                .obtained_at = { dates[_i].obtained_s },
                .expires_at = { dates[_i].expires_s },
        };
        struct stage s;

        stage_start(&s);
        fake_store_set(s.w.store, &record);
        world_crash(&s.w, 0);
        world_pass(&s.w, US_PER_H);
        stage_store(&s);
        ck_assert_uint_eq(stage_waiting(&s), dates[_i].due);
        stage_done(&s);
}
END_TEST

/* A machine without a clock of its own starts in 1970, and learns the time later. */
START_TEST(a_clock_that_is_set_late_costs_nothing)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        s.w.clock.wall.s = 100;
        world_crash(&s.w, 0);
        world_pass(&s.w, US_PER_MIN);
        stage_store(&s);
        while (stage_waiting(&s) > 0) /* dates of the future: looked at, in vain for now */
                stage_answer(&s, IS_UNREACHABLE);
        s.w.clock.wall.s = NOW + 29 * 86400;
        for (unsigned i = 0; i < 24 && s.refreshes < 2; i++) {
                world_pass(&s.w, US_PER_H);
                stage_store(&s);
                while (stage_waiting(&s) > 0)
                        stage_answer(&s, GIVES);
        }
        stage_store(&s);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        assert_row(&s, "alice", stage_provider(&s, "alice")->number, false);
        stage_done(&s);
}
END_TEST

/* As that of a virtual machine that was stopped for weeks: no time has passed for the timers. */
START_TEST(a_clock_that_leaps_is_noticed)
{
        struct stage s;

        stage_start(&s);
        s.w.clock.wall.s += 28 * 86400;
        world_pass(&s.w, US_PER_D + US_PER_MIN);
        stage_store(&s);
        ck_assert_uint_eq(stage_waiting(&s), 1);
        stage_done(&s);
}
END_TEST

/* --- keep_fresh = always --- */

START_TEST(always_is_kept_fresh_without_callers)
{
        struct credential_view v;
        struct stage s = { 0 };
        struct caller c;

        world_init(&s.w);
        s.w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        s.w.credential[SITE].keep_fresh = KEEP_FRESH_ALWAYS;
        stage_add_row(&s, "", (wall_t){ NOW }, false);
        stage_add_row(&s, "alice", (wall_t){ NOW }, false);
        ck_assert(!broker_is_fresh(s.w.broker, s.w.credentials[SITE]));
        ck_assert_int_eq(broker_start(s.w.broker, NULL), 0);
        for (unsigned i = 0; i < 1000; i++) {
                stage_store(&s);
                if (stage_waiting(&s) > 0)
                        stage_answer(&s, GIVES);
                stage_store(&s);
                ck_assert(broker_is_fresh(s.w.broker, s.w.credentials[SITE]));
                world_pass(&s.w, US_PER_MIN);
        }
        ck_assert_uint_gt(s.refreshes, 1000 * 60 / 900);
        assert_row(&s, "alice", 1, false); /* subjects are not */
        broker_view(s.w.broker, s.w.credentials[SITE], &v);
        ck_assert_int_eq(v.state, CREDENTIAL_READY);
        ck_assert(v.has_grant_expires_at);

        caller_ask(&s.w, &c, SITE, "", 899, 30, NULL);
        stage_store(&s);
        stage_answer(&s, REFUSES);
        stage_store(&s);
        world_keep_log();
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert(!broker_is_fresh(s.w.broker, s.w.credentials[SITE]));
        world_pass(&s.w, US_PER_D);
        ck_assert(!world_logged("failing")); /* nothing to be kept: no attempts that must fail */
        ck_assert_uint_eq(stage_waiting(&s), 0);
        stage_done(&s);
}
END_TEST

/* --- logout --- */

static unsigned forgotten;
static int forgotten_r;

static void on_forgotten(void *user, int r) {
        (void) user;
        forgotten++;
        forgotten_r = r;
}

static int stage_forget(struct stage *s, const char *subject) {
        return broker_forget(s->w.broker, s->w.credentials[SITE], subject, on_forgotten, NULL);
}

START_TEST(logout_at_every_phase)
{
        struct caller first, c, later;
        struct stage s;

        stage_start(&s);
        if (_i >= PHASE_MAX) /* the same with a token that is still good */
                ck_assert_int_eq(stage_get(&s, &first, "alice"), ANSWER_TOKEN);
        caller_ask(&s.w, &c, SITE, "alice", -1, 30, _i >= PHASE_MAX ? first.fingerprint : NULL);
        stage_bring_to(&s, (enum phase)(_i % PHASE_MAX));
        ck_assert_int_eq(stage_forget(&s, "alice"), 0);
        ck_assert_uint_eq(forgotten, 0); /* not from within */
        ck_assert(!stage_has_token(&s, "alice"));
        ck_assert_uint_eq(stage_waiting(&s), 0);
        ck_assert_uint_eq(c.answers, 1);
        if (_i % PHASE_MAX != PHASE_OVER)
                ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        stage_ask(&s, &later, "alice");
        ck_assert_int_eq(later.kind, ANSWER_AUTHORIZATION_REQUIRED);
        stage_store(&s);
        ck_assert_uint_eq(forgotten, 1);
        ck_assert_int_eq(forgotten_r, 0);
        assert_no_row(&s, "alice");
        ck_assert(!stage_has_token(&s, "alice"));
        ck_assert_uint_eq(c.answers, 1);
        world_pass(&s.w, US_PER_D);
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 0);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        ck_assert_int_eq(stage_forget(&s, "alice"), BROKER_E_ABSENT);
        world_crash(&s.w, 0);
        stage_ask(&s, &later, "alice");
        ck_assert_int_eq(later.kind, ANSWER_AUTHORIZATION_REQUIRED);
        stage_done(&s);
}
END_TEST

START_TEST(a_logout_that_the_disk_refuses_can_be_repeated)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        fake_store_fail(s.w.store, 1, -EROFS);
        ck_assert_int_eq(stage_forget(&s, "alice"), 0);
        stage_store(&s);
        ck_assert_int_eq(forgotten_r, -EROFS);
        stage_ask(&s, &c, "alice"); /* not used any more, whatever the disk says */
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        ck_assert_int_eq(stage_forget(&s, "alice"), 0);
        stage_store(&s);
        ck_assert_uint_eq(forgotten, 2);
        ck_assert_int_eq(forgotten_r, 0);
        assert_no_row(&s, "alice");
        ck_assert_int_eq(stage_forget(&s, "alice"), BROKER_E_ABSENT);
        fake_store_refuse_next(s.w.store, -ENOMEM);
        stage_add_row(&s, "bob", (wall_t){ NOW }, false);
        ck_assert_int_eq(stage_forget(&s, "bob"), -ENOMEM);
        stage_done(&s);
}
END_TEST

START_TEST(a_damaged_row_can_be_forgotten)
{
        struct stage s;

        stage_start(&s);
        fake_store_damage(s.w.store, "site", "alice");
        ck_assert_int_eq(stage_forget(&s, "alice"), 0);
        stage_store(&s);
        ck_assert_uint_eq(fake_store_rows(s.w.store), 0);
        stage_done(&s);
}
END_TEST

/* --- a new authorization --- */

static struct authorization *last_started;

static void on_started(void *user, struct authorization *a) {
        (void) user;
        last_started = a;
}

/* Alice authorizes again: her tokens begin at 100 now. The grant is on its way to the disk. */
static void stage_authorize(struct stage *s) {
        struct provider *p = stage_provider(s, "alice");
        size_t others = stage_waiting(s);

        ck_assert_int_eq(authorization_start(broker_authorizations(s->w.broker),
                                             s->w.credentials[SITE], "alice", 0, on_started, NULL),
                         0);
        ck_assert_int_eq(authorization_deliver(last_started, "a-code", NULL, NULL), 0);
        ck_assert_uint_eq(stage_waiting(s), others + 1);
        p->number = 100;
        p->revoked = false;
        if (others > 0) /* the old refresh is answered first, and must not count any more */
                return;
        stage_give(s, p, true);
}

START_TEST(a_new_authorization_at_every_phase)
{
        struct stage s;
        struct caller early, during, late;

        stage_start(&s);
        stage_ask(&s, &early, "alice");
        stage_bring_to(&s, (enum phase) _i);
        if (_i == PHASE_SENT || _i == PHASE_ACTED) {
                /* the code is exchanged while the refresh is still with the provider */
                stage_authorize(&s);
                stage_give(&s, &(struct provider){ "alice", 2, false }, true); /* the refresh */
                stage_give(&s, stage_provider(&s, "alice"), true);
        } else {
                stage_authorize(&s);
        }
        stage_ask(&s, &during, "alice");
        ck_assert_int_eq(last_started->state, AUTHORIZATION_PENDING); /* not durable yet */
        for (unsigned i = 0; i < 10 && fake_store_waiting(s.w.store) > 0; i++) {
                ck_assert(early.answers == 0 || strcmp(early.value, "at.alice.2") == 0);
                fake_store_complete(s.w.store, 1);
        }
        ck_assert_int_eq(last_started->state, AUTHORIZATION_SUCCEEDED);
        assert_row(&s, "alice", 100, false);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        stage_ask(&s, &late, "alice");
        ck_assert_str_eq(late.value, "at.alice.100");
        if (_i != PHASE_OVER) {
                ck_assert_str_eq(early.value, "at.alice.100");
                ck_assert_str_eq(during.value, "at.alice.100");
        }
        caller_ask(&s.w, &late, SITE, "alice", -1, 30, late.fingerprint);
        stage_store(&s);
        stage_answer(&s, GIVES);
        ck_assert_uint_eq(s.last, 100);
        stage_store(&s);
        ck_assert_str_eq(late.value, "at.alice.101");
        world_crash(&s.w, 0);
        ck_assert_int_eq(stage_get(&s, &late, "alice"), ANSWER_TOKEN);
        stage_done(&s);
}
END_TEST

/* The code was exchanged while the refresh was under way; the refresh is answered after the new
 * grant has begun its way to the disk. */
START_TEST(an_old_refresh_is_dropped_for_a_new_grant)
{
        struct provider *p;
        struct caller c;
        struct stage s;

        stage_start(&s);
        ck_assert_int_eq(authorization_start(broker_authorizations(s.w.broker),
                                             s.w.credentials[SITE], "alice", 0, on_started, NULL),
                         0);
        ck_assert_int_eq(authorization_deliver(last_started, "a-code", NULL, NULL), 0);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        ck_assert_uint_eq(stage_waiting(&s), 2); /* the code, then the refresh */
        p = stage_provider(&s, "alice");
        p->number = 100;
        stage_give(&s, p, true);
        ck_assert_uint_eq(stage_waiting(&s), 0); /* its answer is of no use any more */
        ck_assert_uint_eq(c.answers, 0);
        stage_store(&s);
        ck_assert_str_eq(c.value, "at.alice.100");
        assert_row(&s, "alice", 100, false);
        stage_done(&s);
}
END_TEST

START_TEST(a_crash_before_a_new_grant_is_durable)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_authorize(&s);
        stage_ask(&s, &c, "alice");
        ck_assert_uint_eq(c.answers, 0); /* nobody has seen what may be lost */
        stage_provider(&s, "alice")->number = 1;
        world_crash(&s.w, 0);
        ck_assert_int_eq(stage_get(&s, &c, "alice"), ANSWER_TOKEN);
        ck_assert_str_eq(c.value, "at.alice.2");
        stage_done(&s);
}
END_TEST

START_TEST(a_new_grant_that_the_disk_does_not_take)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        if (_i)
                fake_store_refuse_next(s.w.store, -EIO);
        else
                fake_store_fail(s.w.store, 1, -ENOSPC);
        stage_authorize(&s);
        ck_assert_int_eq(last_started->state, AUTHORIZATION_PENDING);
        stage_store(&s);
        world_pass(&s.w, 0);
        ck_assert_int_eq(last_started->state, AUTHORIZATION_SUCCEEDED);
        stage_ask(&s, &c, "alice");
        ck_assert_str_eq(c.value, "at.alice.100");
        assert_row(&s, "alice", 1, false);
        world_pass(&s.w, 10 * US_PER_S);
        stage_store(&s);
        assert_row(&s, "alice", 100, false);
        stage_done(&s);
}
END_TEST

/* A login whose grant is on its way to the disk, a logout, and another login. */
START_TEST(a_forgotten_grant_is_not_taken_for_its_successor)
{
        struct authorization *first;
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_authorize(&s);
        first = last_started;
        ck_assert_int_eq(stage_forget(&s, "alice"), 0);
        ck_assert_int_eq(first->state, AUTHORIZATION_CANCELLED);
        ck_assert_ptr_nonnull(strstr(first->reason.text, "logout"));
        ck_assert_int_eq(authorization_start(broker_authorizations(s.w.broker),
                                             s.w.credentials[SITE], "alice", 0, on_started, NULL),
                         0);
        ck_assert_int_eq(authorization_deliver(last_started, "another-code", NULL, NULL), 0);
        stage_give(&s, &(struct provider){ "alice", 200, false }, true);
        stage_ask(&s, &c, "alice");
        fake_store_complete(s.w.store, 1); /* the first grant */
        ck_assert_uint_eq(c.answers, 0);
        ck_assert(!stage_has_token(&s, "alice"));
        fake_store_complete(s.w.store, 1); /* the logout */
        ck_assert_uint_eq(c.answers, 0);
        fake_store_complete(s.w.store, 1);
        ck_assert_str_eq(c.value, "at.alice.200");
        ck_assert_int_eq(last_started->state, AUTHORIZATION_SUCCEEDED);
        ck_assert_int_eq(first->state, AUTHORIZATION_CANCELLED);
        assert_row(&s, "alice", 200, false);
        stage_done(&s);
}
END_TEST

/* --- the end --- */

static unsigned quiet;

static void on_quiet(void *user) {
        (void) user;
        quiet++;
}

START_TEST(a_stop_waits_for_what_is_under_way)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_bring_to(&s, (enum phase) _i);
        broker_stop(s.w.broker, on_quiet, NULL);
        if (_i != PHASE_OVER)
                ck_assert_int_eq(c.kind, ANSWER_UNAVAILABLE);
        ck_assert_uint_eq(quiet, _i == PHASE_OVER);
        if (_i < PHASE_SENT) {
                stage_store(&s);
                ck_assert_uint_eq(quiet, 0);
        }
        if (_i < PHASE_COMMITTING) {
                stage_give(&s, &(struct provider){ "alice", 2, false }, true);
                ck_assert_uint_eq(quiet, 0);
        }
        stage_store(&s);
        ck_assert_uint_eq(quiet, 1);
        assert_row(&s, "alice", 2, false);
        world_pass(&s.w, 60 * US_PER_D);
        ck_assert_uint_eq(stage_waiting(&s), 0); /* nothing new is begun */
        ck_assert_uint_eq(quiet, 1);
        stage_done(&s);
}
END_TEST

START_TEST(a_stop_waits_for_room_on_the_disk)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        fake_store_fail(s.w.store, 4, -ENOSPC);
        stage_answer(&s, GIVES);
        stage_store(&s);
        ck_assert_str_eq(c.value, "at.alice.2");
        broker_stop(s.w.broker, on_quiet, NULL);
        for (unsigned i = 0; i < 3; i++) {
                world_pass(&s.w, 10 * US_PER_S);
                stage_store(&s);
                ck_assert_uint_eq(quiet, 0);
        }
        world_pass(&s.w, 10 * US_PER_S);
        ck_assert_uint_eq(quiet, 0);
        stage_store(&s);
        ck_assert_uint_eq(quiet, 1);
        assert_row(&s, "alice", 2, false);
        stage_done(&s);
}
END_TEST

START_TEST(a_stop_waits_for_a_new_grant)
{
        struct stage s;

        stage_start(&s);
        stage_authorize(&s);
        broker_stop(s.w.broker, on_quiet, NULL);
        ck_assert_uint_eq(quiet, 0);
        ck_assert_int_eq(last_started->state, AUTHORIZATION_PENDING);
        stage_store(&s);
        ck_assert_uint_eq(quiet, 1);
        ck_assert_int_eq(last_started->state, AUTHORIZATION_SUCCEEDED);
        stage_done(&s);
}
END_TEST

START_TEST(a_stop_does_not_wait_for_the_forgotten)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_bring_to(&s, (enum phase) _i);
        broker_stop(s.w.broker, on_quiet, NULL);
        ck_assert_uint_eq(quiet, _i == PHASE_OVER);
        ck_assert_int_eq(stage_forget(&s, "alice"), 0);
        ck_assert_uint_eq(quiet, 1);
        stage_store(&s);
        assert_no_row(&s, "alice");
        stage_done(&s);
}
END_TEST

START_TEST(an_outage_does_not_hold_up_a_stop)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        broker_stop(s.w.broker, on_quiet, NULL);
        stage_answer(&s, HANGS_UP);
        ck_assert_uint_eq(quiet, 0);
        stage_answer(&s, HANGS_UP);
        ck_assert_uint_eq(quiet, 1);
        assert_row(&s, "alice", 1, true);
        world_pass(&s.w, US_PER_H);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        stage_done(&s);
}
END_TEST

/* Neither what is kept fresh nor what is to be tried again. */
START_TEST(nothing_is_begun_after_a_stop)
{
        struct stage s = { 0 };

        world_init(&s.w);
        s.w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        s.w.credential[SITE].keep_fresh = KEEP_FRESH_ALWAYS;
        stage_add_row(&s, "", (wall_t){ NOW }, false);
        ck_assert_int_eq(broker_start(s.w.broker, NULL), 0);
        stage_store(&s);
        stage_answer(&s, _i == 0 ? GIVES : IS_BUSY);
        stage_store(&s);
        if (_i == 2) { /* under way at the stop */
                world_pass(&s.w, US_PER_S);
                stage_store(&s);
                ck_assert_uint_eq(stage_waiting(&s), 1);
        }
        broker_stop(s.w.broker, on_quiet, NULL);
        ck_assert_uint_eq(quiet, _i < 2);
        if (_i == 2)
                stage_answer(&s, IS_BUSY);
        ck_assert_uint_eq(quiet, 1);
        world_pass(&s.w, 60 * US_PER_D);
        ck_assert_uint_eq(fake_store_waiting(s.w.store), 0);
        ck_assert_uint_eq(stage_waiting(&s), 0);
        stage_done(&s);
}
END_TEST

/* Nothing leaks and nothing is used again, whatever is under way: for the sanitizers. */
START_TEST(freed_at_every_phase)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        stage_ask(&s, &c, "alice");
        stage_bring_to(&s, (enum phase)(_i % PHASE_MAX));
        if (_i / PHASE_MAX == 1)
                ck_assert_int_eq(stage_forget(&s, "alice"), 0);
        if (_i / PHASE_MAX == 2 && stage_waiting(&s) == 0)
                stage_authorize(&s);
        stage_done(&s);
}
END_TEST

/* --- callers that ask again from within --- */

static struct caller again;

static void ask_again(struct caller *c) {
        if (c != &again && again.world == NULL)
                caller_ask(c->world, &again, SITE, "alice", -1, 30, NULL);
}

START_TEST(answers_may_ask_again)
{
        struct stage s;
        struct caller c;

        stage_start(&s);
        s.w.answered = ask_again;
        stage_ask(&s, &c, "alice");
        stage_store(&s);
        switch (_i) {
        case 0:
                stage_answer(&s, GIVES);
                stage_store(&s);
                ck_assert_int_eq(again.kind, ANSWER_TOKEN);
                break;
        case 1:
                stage_answer(&s, REFUSES);
                ck_assert_int_eq(again.kind, ANSWER_AUTHORIZATION_REQUIRED);
                break;
        case 2:
                stage_answer(&s, WANTS_ANOTHER_KEY);
                ck_assert_int_eq(again.kind, ANSWER_UPSTREAM_ERROR);
                break;
        case 3:
                ck_assert_int_eq(stage_forget(&s, "alice"), 0);
                ck_assert_int_eq(again.kind, ANSWER_AUTHORIZATION_REQUIRED);
                break;
        case 4:
                broker_stop(s.w.broker, NULL, NULL);
                ck_assert_int_eq(again.kind, ANSWER_UNAVAILABLE);
                break;
        default:
                world_pass(&s.w, 30 * US_PER_S); /* a deadline */
                ck_assert_int_eq(c.kind, ANSWER_TIMEOUT);
                stage_answer(&s, GIVES);
                stage_store(&s);
                ck_assert_int_eq(again.kind, ANSWER_TOKEN);
        }
        ck_assert_uint_eq(c.answers, 1);
        ck_assert_uint_eq(again.answers, 1);
        stage_done(&s);
}
END_TEST

/* --- size --- */

#define SUBJECTS 100000

static int show_many(void *self, store_row_fn *row, void *user, struct why *why) {
        char subject[24];

        (void) self, (void) why;
        for (unsigned i = 0; i < SUBJECTS; i++) {
                const struct record metadata = {
                        .credential = "site",
                        .subject = subject,
                        .kind = RECORD_GRANT,
                        .obtained_at = { NOW },
                        .expires_at = { NOW + 30 * 86400 },
                };
                int r;

                (void) snprintf(subject, sizeof(subject), "user-%010u", i);
                r = row(user, &metadata);
                if (r != 0)
                        return r;
        }
        return 0;
}

START_TEST(an_idle_grant_is_small)
{
        struct credential_view v;
        size_t before, after;
        struct stage s = { 0 };

        world_init(&s.w);
        s.w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        fake_store_seam(s.w.store)->each = show_many;
        before = mallinfo2().uordblks + mallinfo2().hblkhd;
        ck_assert_int_eq(broker_start(s.w.broker, NULL), 0);
        after = mallinfo2().uordblks + mallinfo2().hblkhd;
        broker_view(s.w.broker, s.w.credentials[SITE], &v);
        ck_assert_uint_eq(v.subjects, SUBJECTS);
        ck_assert_uint_lt((after - before) / SUBJECTS, 320);
        stage_done(&s);
}
END_TEST

/* In one process the tests come one after another. */
static void forget(void) {
        forgotten = 0;
        quiet = 0;
        again = (struct caller){ 0 };
}

static void add(TCase *tc) {
        world_prepare();
        tcase_add_checked_fixture(tc, forget, NULL);
        tcase_set_timeout(tc, 60);
        tcase_add_test(tc, everything_is_durable_before_the_next_step);
        tcase_add_test(tc, never_two_refreshes_at_once);
        tcase_add_loop_test(tc, nothing_but_a_clear_refusal_ends_a_grant, 0, N_ELEMENTS(ends));
        tcase_add_test(tc, a_clear_refusal_ends_this_grant_alone);
        tcase_add_test(tc, a_lost_answer_is_asked_for_again_once);
        tcase_add_test(tc, a_successor_counts_in_an_answer_that_is_nonsense);
        tcase_add_loop_test(tc, lost_in_rotation_is_told_when_it_may_be_so, 0,
                            N_ELEMENTS(refusals));
        tcase_add_test(tc, a_send_that_fails_at_once_is_no_doubt);
        tcase_add_test(tc, a_store_that_takes_no_intent_means_no_refresh);
        tcase_add_loop_test(tc, nobody_waits_for_a_slow_disk, 0, 2);
        tcase_add_loop_test(tc, a_crash_at_every_point_of_a_rotation, 0, PHASE_MAX * PHASE_MAX);
        tcase_add_test(tc, what_was_shown_is_good_after_a_crash);
        tcase_add_test(tc, a_start_touches_nothing_that_is_clear);
        tcase_add_test(tc, a_doubt_outlives_an_outage);
        tcase_add_loop_test(tc, a_disk_that_fails_costs_no_grant, 0, N_ELEMENTS(disks));
        tcase_add_test(tc, a_full_disk_for_a_day);
        tcase_add_test(tc, a_store_that_takes_no_successor);
        tcase_add_test(tc, a_late_write_keeps_the_doubt);
        tcase_add_test(tc, an_intent_writes_what_was_not_stored);
        tcase_add_loop_test(tc, a_damaged_row_is_told_and_left_alone, 0, 2);
        tcase_add_loop_test(tc, a_machine_that_was_off_comes_back_in_time, 0, N_ELEMENTS(absences));
        tcase_add_test(tc, an_unused_grant_lives_for_years);
        tcase_add_test(tc, a_slow_disk_makes_no_token_live_longer);
        tcase_add_test(tc, a_due_grant_is_tried_until_it_works);
        tcase_add_loop_test(tc, many_that_are_due_at_once_are_spread, 0, 2);
        tcase_add_test(tc, many_that_have_a_minute_left_come_in_time);
        tcase_add_test(tc, many_that_were_made_at_once_are_spread);
        tcase_add_loop_test(tc, whatever_the_dates_of_a_row, 0, N_ELEMENTS(dates));
        tcase_add_test(tc, a_clock_that_is_set_late_costs_nothing);
        tcase_add_test(tc, a_clock_that_leaps_is_noticed);
        tcase_add_test(tc, always_is_kept_fresh_without_callers);
        tcase_add_loop_test(tc, logout_at_every_phase, 0, 2 * PHASE_MAX);
        tcase_add_test(tc, a_logout_that_the_disk_refuses_can_be_repeated);
        tcase_add_test(tc, a_damaged_row_can_be_forgotten);
        tcase_add_loop_test(tc, a_new_authorization_at_every_phase, 0, PHASE_MAX);
        tcase_add_test(tc, an_old_refresh_is_dropped_for_a_new_grant);
        tcase_add_test(tc, a_crash_before_a_new_grant_is_durable);
        tcase_add_loop_test(tc, a_new_grant_that_the_disk_does_not_take, 0, 2);
        tcase_add_test(tc, a_forgotten_grant_is_not_taken_for_its_successor);
        tcase_add_loop_test(tc, a_stop_waits_for_what_is_under_way, PHASE_MARKING, PHASE_MAX);
        tcase_add_test(tc, a_stop_waits_for_room_on_the_disk);
        tcase_add_test(tc, a_stop_waits_for_a_new_grant);
        tcase_add_loop_test(tc, a_stop_does_not_wait_for_the_forgotten, PHASE_MARKING, PHASE_MAX);
        tcase_add_test(tc, an_outage_does_not_hold_up_a_stop);
        tcase_add_loop_test(tc, nothing_is_begun_after_a_stop, 0, 3);
        tcase_add_loop_test(tc, freed_at_every_phase, 0, 3 * PHASE_MAX);
        tcase_add_loop_test(tc, answers_may_ask_again, 0, 6);
        tcase_add_test(tc, an_idle_grant_is_small);
}

CHECK_MAIN("grant", add)
