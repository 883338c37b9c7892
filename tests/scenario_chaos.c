#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "stage.h"

/*
 * Anything, in any order: callers, logins, logouts, crashes, trouble at the provider and at the
 * disk, as dice have it; and what must hold all the time.
 */

#define CHAOS_EVENTS  400
#define CHAOS_PEOPLE  2
#define CHAOS_CALLERS 6

static const char *const people[CHAOS_PEOPLE] = { "alice", "bob" };

struct logout {
        unsigned person, number; /* tokens up to this one are forgotten */
};

static struct chaos { /* one for each process, that is, for each test */
        struct stage s;
        struct fake_random dice;
        bool bad_disk;
        struct caller callers[CHAOS_CALLERS];
        struct logout logouts[CHAOS_EVENTS];
        size_t n_logouts;
        unsigned forgotten[CHAOS_PEOPLE];         /* tokens up to this one must not be shown ... */
        unsigned durably_forgotten[CHAOS_PEOPLE]; /* ... not even after a crash */
        bool doubt[CHAOS_PEOPLE]; /* a successor has been made that we may not know of */
} chaos;

static unsigned chaos_below(unsigned n) {
        return (unsigned) random_below(&chaos.dice.seam, n);
}

static unsigned chaos_person(const char *name) {
        return strcmp(name, people[0]) == 0 ? 0 : 1;
}

/* Whoever sees a token sees one that is durable, and whose grant nobody has forgotten. */
static void chaos_answered(struct caller *c) {
        unsigned person = chaos_person(c->ask.subject), number;

        if (c->kind != ANSWER_TOKEN)
                return;
        number = (unsigned) strtoul(strrchr(c->value, '.') + 1, NULL, 10);
        ck_assert_int_eq(strncmp(c->value + 3, people[person], strlen(people[person])), 0);
        ck_assert_uint_gt(number, chaos.forgotten[person]);
        if (!chaos.bad_disk)
                ck_assert_uint_ge(stage_row(&chaos.s, people[person]).number, number);
}

static void chaos_ask(void) {
        struct caller *c = &chaos.callers[chaos_below(CHAOS_CALLERS)];

        if (c->kind == ANSWER_KIND_MAX && c->world)
                return; /* still waiting */
        caller_ask(&chaos.s.w, c, SITE, people[chaos_below(CHAOS_PEOPLE)],
                   chaos_below(4) ? -1 : 880, 1 + chaos_below(30),
                   chaos_below(3) ? NULL : c->fingerprint);
}

/* True: the oldest request brings a code. */
static bool chaos_is_code(void) {
        return strstr(secret_text(fake_transport_oldest(chaos.s.w.transport)->body),
                      "authorization_code");
}

static void chaos_answer_code(void) {
        const char *body = secret_text(fake_transport_oldest(chaos.s.w.transport)->body);
        unsigned person = strstr(body, "code-alice") ? 0 : 1;
        struct provider *p = stage_provider(&chaos.s, people[person]);

        if (chaos_below(5) == 0) {
                fake_transport_fail(chaos.s.w.transport,
                                    chaos_below(2) ? HTTP_UNKNOWN : HTTP_NOT_SENT);
                return;
        }
        p->number = (p->number / 100 + 1) * 100;
        p->revoked = false;
        chaos.doubt[person] = false;
        stage_give(&chaos.s, p, true);
}

static void chaos_answer(void) {
        static const enum act acts[] = {
                GIVES,      GIVES,   GIVES,       GIVES,   GIVES,
                LOSES,      LOSES,   HANGS_UP,    LIMITS,  IS_UNREACHABLE,
                SENDS_HTML, IS_BUSY, DEACTIVATES, REFUSES, GIVES_NO_NEW_ONE
        };
        enum act act = acts[chaos_below(N_ELEMENTS(acts))];
        unsigned number, person;
        struct provider *p;

        if (stage_waiting(&chaos.s) == 0)
                return;
        if (chaos_is_code()) {
                chaos_answer_code();
                return;
        }
        p = stage_presented(&chaos.s, &number);
        person = chaos_person(p->subject);
        ck_assert(number >= p->number || chaos.doubt[person]);
        chaos.doubt[person] = chaos.doubt[person] || (act == LOSES && !p->revoked);
        stage_answer(&chaos.s, act);
}

static void chaos_forgotten(void *user, int r) {
        const struct logout *l = user;

        if (r == 0)
                chaos.durably_forgotten[l->person] = l->number;
}

static void chaos_forget(void) {
        unsigned person = chaos_below(CHAOS_PEOPLE);
        struct logout *l = &chaos.logouts[chaos.n_logouts++];
        int r;

        *l = (struct logout){ person, stage_provider(&chaos.s, people[person])->number };
        r = broker_forget(chaos.s.w.broker, chaos.s.w.credentials[SITE], people[person],
                          chaos_forgotten, l);
        ck_assert(r == 0 || r == BROKER_E_ABSENT);
        chaos.forgotten[person] = l->number;
        ck_assert(!stage_has_token(&chaos.s, people[person]));
}

static void chaos_started(void *user, struct authorization *a) {
        struct authorization **ret = user;

        *ret = a;
}

static void chaos_authorize(void) {
        unsigned person = chaos_below(CHAOS_PEOPLE);
        struct authorization *a = NULL;

        ck_assert_int_eq(authorization_start(broker_authorizations(chaos.s.w.broker),
                                             chaos.s.w.credentials[SITE], people[person], 0,
                                             chaos_started, &a),
                         0);
        ck_assert_int_eq(authorization_deliver(a, person ? "code-bob" : "code-alice", NULL, NULL),
                         0);
}

static void chaos_crash(void) {
        world_crash(&chaos.s.w, (int64_t) chaos_below(100) * US_PER_S);
        for (unsigned i = 0; i < CHAOS_PEOPLE; i++) {
                const struct row row = stage_row(&chaos.s, people[i]);

                chaos.forgotten[i] = chaos.durably_forgotten[i];
                if (row.exists && row.number != stage_provider(&chaos.s, people[i])->number)
                        chaos.doubt[i] = true;
        }
}

static void chaos_pass(void) {
        static const int64_t spans[] = {
                0,          US_PER_S,       US_PER_S,        3 * US_PER_S,
                US_PER_MIN, 5 * US_PER_MIN, 14 * US_PER_MIN, 20 * US_PER_D
        };

        world_pass(&chaos.s.w, spans[chaos_below(N_ELEMENTS(spans))]);
}

static void chaos_event(void) {
        switch (chaos_below(40)) {
        case 0:
                chaos_crash();
                break;
        case 1:
                chaos_forget();
                break;
        case 2:
        case 3:
                chaos_authorize();
                break;
        case 4:
                if (chaos.bad_disk)
                        fake_store_fail(chaos.s.w.store, chaos_below(4), -ENOSPC);
                break;
        case 5:
                broker_nudge(chaos.s.w.broker, "site\nalice\n");
                break;
        case 6 ... 12:
                chaos_pass();
                break;
        case 13 ... 20:
                chaos_ask();
                break;
        case 21 ... 30:
                chaos_answer();
                break;
        default:
                (void) fake_store_complete(chaos.s.w.store, 1 + chaos_below(2));
        }
}

/* No refresh token is with the provider twice, and no two of one person. */
static void chaos_check_requests(void) {
        unsigned refreshes[CHAOS_PEOPLE] = { 0 };

        for (size_t i = 0; i < stage_waiting(&chaos.s); i++) {
                const char *body = secret_text(fake_transport_at(chaos.s.w.transport, i)->body);

                if (strstr(body, "authorization_code"))
                        continue;
                ck_assert_uint_eq(++refreshes[strstr(body, "rt.alice.") ? 0 : 1], 1);
        }
}

/* Everything works again: so must every grant that can. */
static void chaos_settle(void) {
        fake_store_fail(chaos.s.w.store, 0, 0);
        for (unsigned i = 0; i < 200; i++) {
                stage_store(&chaos.s);
                while (stage_waiting(&chaos.s) > 0)
                        if (chaos_is_code())
                                chaos_answer_code();
                        else
                                stage_answer(&chaos.s, GIVES);
                world_pass(&chaos.s.w, 10 * US_PER_S);
        }
        for (unsigned i = 0; i < CHAOS_CALLERS; i++)
                ck_assert(!chaos.callers[i].world || chaos.callers[i].answers == 1);
        for (unsigned i = 0; i < CHAOS_PEOPLE; i++) {
                const struct provider *p = stage_provider(&chaos.s, people[i]);
                struct caller c = { 0 };
                enum answer_kind kind = stage_get(&chaos.s, &c, people[i]);
                const struct row row = stage_row(&chaos.s, people[i]);

                /* a row may be left that a bad disk did not let go of */
                ck_assert(kind == ANSWER_TOKEN || kind == ANSWER_AUTHORIZATION_REQUIRED);
                ck_assert(row.exists == (kind == ANSWER_TOKEN) || chaos.bad_disk);
                if (kind == ANSWER_TOKEN) {
                        ck_assert(!p->revoked);
                        ck_assert_uint_eq(row.number, p->number);
                        ck_assert(!row.in_doubt);
                }
        }
}

static void chaos_quiet(void *user) {
        bool *quiet = user;

        *quiet = true;
}

START_TEST(anything_in_any_order)
{
        bool quiet = false;

        chaos = (struct chaos){ .bad_disk = _i % 2 };
        fake_random_init(&chaos.dice, (uint64_t) _i);
        world_init(&chaos.s.w);
        chaos.s.w.credential[KEPT].keep_fresh = KEEP_FRESH_NEVER;
        chaos.s.w.answered = chaos_answered;
        for (unsigned i = 0; i < CHAOS_PEOPLE; i++)
                stage_add_row(&chaos.s, people[i], (wall_t){ NOW }, false);
        world_keep_log();
        ck_assert_int_eq(broker_start(chaos.s.w.broker, NULL), 0);
        for (unsigned i = 0; i < CHAOS_EVENTS; i++) {
                chaos_event();
                chaos_check_requests();
        }
        chaos_settle();
        broker_stop(chaos.s.w.broker, chaos_quiet, &quiet);
        ck_assert(quiet); /* nothing is left over that would hold up a stop */
        stage_done(&chaos.s);
}
END_TEST

static void add(TCase *tc) {
        world_prepare();
        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, anything_in_any_order, 0, 300);
}

CHECK_MAIN("chaos", add)
