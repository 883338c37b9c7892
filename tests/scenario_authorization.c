#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "check_main.h"
#include "provider/pkce.h"
#include "world.h"

#define GRANT                                                                                      \
        "{\"access_token\":\"czu_token\",\"expires_in\":900,\"refresh_token\":\"LBEPrefresh\"}"

/* Somebody who logs in, and sees what becomes of it. */
struct login {
        struct world *world;
        struct authorization *a;
        unsigned started;
        enum authorization_state state; /* when it was started */
        struct authorization_watch watch;
        unsigned told;
        enum authorization_state seen; /* when it was told */
        char reason[WHY_MAX];
};

static void login_started(void *user, struct authorization *a) {
        struct login *l = user;

        l->a = a;
        l->state = a->state;
        l->started++;
}

static void login_told(struct authorization_watch *w, const struct authorization *a) {
        struct login *l = list_entry(w, struct login, watch);

        l->told++;
        l->seen = a->state;
        memcpy(l->reason, a->reason.text, sizeof(l->reason));
}

static struct authorizations *world_book(const struct world *w) {
        return broker_authorizations(w->broker);
}

static int login_try_as(struct world *w, struct login *l, int which, const char *subject,
                        uid_t uid) {
        *l = (struct login){ .world = w, .watch = { .changed = login_told } };
        return authorization_start(world_book(w), w->credentials[which], subject, uid,
                                   login_started, l);
}

static int login_try(struct world *w, struct login *l, int which, const char *subject) {
        return login_try_as(w, l, which, subject, 0);
}

static void login_watch(struct login *l, int64_t wait_us) {
        ck_assert_int_eq(authorization_watch(l->a, &l->watch, wait_us), 0);
}

/* Starts one for the browser, and watches it to its end. */
static void login_start(struct world *w, struct login *l, int which, const char *subject) {
        ck_assert_int_eq(login_try(w, l, which, subject), 0);
        ck_assert_uint_eq(l->started, 1);
        ck_assert_int_eq(l->state, AUTHORIZATION_PENDING);
        login_watch(l, US_PER_D);
        ck_assert_uint_eq(l->told, 0);
}

static void world_reply(struct world *w, int status, const char *body) {
        fake_transport_answer(w->transport, status, body, w->clock.wall.s, -1);
}

/* A member of the oldest request's body; "" if there is none. */
static const char *world_posted(const struct world *w, const char *key) {
        const struct http_request *req = fake_transport_oldest(w->transport);
        struct json_object *body = NULL;
        static char value[256];
        const char *text;

        ck_assert_int_eq(json_parse(secret_text(req->body), secret_len(req->body), &body), 0);
        text = json_get_text(body, key);
        (void) snprintf(value, sizeof(value), "%s", text ? text : "");
        json_object_put(body);
        return value;
}

/* A parameter of the authorization's URL. */
static const char *login_parameter(const struct login *l, const char *key) {
        static char value[256];
        char needle[64];
        const char *at;

        (void) snprintf(needle, sizeof(needle), "%s=", key);
        for (at = l->a->url; (at = strstr(at, needle)); at++)
                if (at[-1] == '?' || at[-1] == '&')
                        break;
        ck_assert_ptr_nonnull(at);
        at += strlen(needle);
        (void) snprintf(value, sizeof(value), "%.*s", (int) strcspn(at, "&"), at);
        return value;
}

/* Finds it by its state, as a callback does. NULL: nobody waits for that. */
static struct authorization *login_find(const struct login *l, const char *state) {
        return authorizations_find_state(world_book(l->world), state);
}

static void login_deliver(struct login *l) {
        char state[128];

        (void) snprintf(state, sizeof(state), "%s", login_parameter(l, "state"));
        ck_assert_ptr_eq(login_find(l, state), l->a);
        ck_assert_int_eq(authorization_deliver(l->a, "code_1", NULL, NULL), 0);
}

static bool world_has_row(const struct world *w, const char *credential, const char *subject) {
        const struct store *store = fake_store_seam(w->store);
        struct record record;

        if (store->get(store->self, credential, subject, NULL, &record) != 0)
                return false;
        secret_unref(record.secret);
        return true;
}

/* --- browser --- */

START_TEST(from_the_click_to_the_token)
{
        struct world w;
        struct login l;
        struct caller c;

        world_start(&w);
        login_start(&w, &l, _i ? APP : SITE, "alice");
        ck_assert_uint_eq(w.pending, 1);
        ck_assert_int_eq(
                strncmp(l.a->url, "https://www.coze.cn/api/permission/oauth2/authorize?", 52), 0);
        ck_assert_str_eq(login_parameter(&l, "response_type"), "code");
        ck_assert_uint_ge(strlen(login_parameter(&l, "state")), 64);
        login_deliver(&l);
        ck_assert_str_eq(world_posted(&w, "grant_type"), "authorization_code");
        ck_assert_str_eq(world_posted(&w, "code"), "code_1");
        ck_assert_str_eq(world_posted(&w, "redirect_uri"),
                         w.credentials[_i ? APP : SITE]->redirect_uri);
        ck_assert_int_eq(fake_transport_oldest(w.transport)->authorization == NULL, _i);
        caller_ask(&w, &c, _i ? APP : SITE, "alice", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED); /* nothing yet */
        world_reply(&w, 200, GRANT);
        ck_assert_uint_eq(l.told, 0); /* not before it is durable */
        caller_ask(&w, &c, _i ? APP : SITE, "alice", -1, 30, NULL);
        ck_assert_uint_eq(c.answers, 0);
        ck_assert_uint_eq(fake_store_complete_all(w.store), 1);
        ck_assert_uint_eq(l.told, 1);
        ck_assert_int_eq(l.seen, AUTHORIZATION_SUCCEEDED);
        ck_assert_str_eq(c.value, "czu_token");
        ck_assert(world_has_row(&w, _i ? "app" : "site", "alice"));
        ck_assert_uint_eq(w.pending, 0);
        ck_assert_ptr_null(l.a->url); /* nothing secret is kept of what is over */
        ck_assert_ptr_null(l.a->code);
        ck_assert_ptr_null(l.a->verifier);
        ck_assert_ptr_null(l.a->state_parameter);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        caller_ask(&w, &c, _i ? APP : SITE, "bob", -1, 30, NULL); /* subjects are apart */
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        caller_ask(&w, &c, _i ? SITE : APP, "alice", -1, 30, NULL); /* credentials, too */
        ck_assert_int_eq(c.kind, ANSWER_AUTHORIZATION_REQUIRED);
        world_done(&w);
}
END_TEST

START_TEST(the_verifier_fits_its_challenge)
{
        AUTO(secret_unrefp) struct secret *verifier = NULL;
        char challenge[PKCE_CHALLENGE_SIZE];
        const char *posted;
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, APP, "");
        ck_assert_str_eq(login_parameter(&l, "code_challenge_method"), "S256");
        (void) snprintf(challenge, sizeof(challenge), "%s", login_parameter(&l, "code_challenge"));
        ck_assert_uint_eq(strlen(challenge), 43);
        login_deliver(&l);
        posted = world_posted(&w, "code_verifier");
        ck_assert_uint_eq(strlen(posted), 64);
        verifier = secret_new(posted, strlen(posted));
        {
                char expected[PKCE_CHALLENGE_SIZE];

                ck_assert_int_eq(pkce_challenge(verifier, expected), 0);
                ck_assert_str_eq(challenge, expected);
        }
        world_done(&w);
}
END_TEST

START_TEST(states_and_verifiers_are_new_each_time)
{
        char state[4][128], challenge[4][128];
        struct login l[4];
        struct world w;

        world_start(&w);
        for (size_t i = 0; i < 4; i++) {
                static const char *const names[] = { "a", "b", "c", "d" };

                login_start(&w, &l[i], APP, names[i]);
                strcpy(state[i], login_parameter(&l[i], "state"));
                strcpy(challenge[i], login_parameter(&l[i], "code_challenge"));
                for (size_t j = 0; j < i; j++) {
                        ck_assert_str_ne(state[i], state[j]);
                        ck_assert_str_ne(challenge[i], challenge[j]);
                        ck_assert_str_ne(l[i].a->id, l[j].a->id);
                }
                ck_assert_str_ne(state[i], challenge[i]);
        }
        for (size_t i = 0; i < 4; i++)
                ck_assert_ptr_eq(login_find(&l[i], state[i]), l[i].a);
        world_done(&w);
}
END_TEST

START_TEST(a_state_is_used_once)
{
        char state[128], wrong[128];
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, SITE, "");
        (void) snprintf(state, sizeof(state), "%s", login_parameter(&l, "state"));
        strcpy(wrong, state);
        wrong[strlen(wrong) - 1] ^= 1;
        ck_assert_ptr_null(login_find(&l, wrong));
        ck_assert_ptr_null(login_find(&l, ""));
        wrong[strlen(wrong) - 1] = '\0'; /* a prefix is not enough */
        ck_assert_ptr_null(login_find(&l, wrong));
        login_deliver(&l);
        ck_assert_ptr_null(login_find(&l, state));
        ck_assert_int_eq(authorization_deliver(l.a, "code_2", NULL, NULL), -EALREADY);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
        ck_assert_str_eq(world_posted(&w, "code"), "code_1");
        world_reply(&w, 200, GRANT);
        ck_assert_int_eq(authorization_deliver(l.a, "code_2", NULL, NULL), -EALREADY);
        (void) fake_store_complete_all(w.store);
        ck_assert_int_eq(authorization_deliver(l.a, "code_2", NULL, NULL), -EALREADY);
        ck_assert_int_eq(l.seen, AUTHORIZATION_SUCCEEDED);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 1);
        world_done(&w);
}
END_TEST

START_TEST(nobody_comes)
{
        char state[128];
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, SITE, "");
        (void) snprintf(state, sizeof(state), "%s", login_parameter(&l, "state"));
        world_pass(&w, AUTHORIZATION_LIFETIME_US - 1);
        ck_assert_uint_eq(l.told, 0);
        ck_assert_ptr_nonnull(login_find(&l, state));
        world_pass(&w, 1);
        ck_assert_uint_eq(l.told, 1);
        ck_assert_int_eq(l.seen, AUTHORIZATION_EXPIRED);
        ck_assert_ptr_nonnull(strstr(l.reason, "start again"));
        ck_assert_ptr_null(login_find(&l, state)); /* a late callback finds nothing */
        ck_assert_int_eq(authorization_deliver(l.a, "late", NULL, NULL), -EALREADY);
        ck_assert_uint_eq(w.pending, 0);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 0);
        world_pass(&w, AUTHORIZATION_MEMORY_US - 1);
        ck_assert_ptr_nonnull(authorizations_next(world_book(&w), NULL));
        world_pass(&w, 1);
        ck_assert_ptr_null(authorizations_next(world_book(&w), NULL)); /* forgotten */
        world_done(&w);
}
END_TEST

START_TEST(a_code_that_came_in_time_counts)
{
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, SITE, "");
        world_pass(&w, AUTHORIZATION_LIFETIME_US - US_PER_S);
        login_deliver(&l);
        world_pass(&w, 10 * US_PER_S); /* the provider is slow ... */
        ck_assert_uint_eq(l.told, 0);
        world_reply(&w, 200, GRANT);
        world_pass(&w, US_PER_MIN); /* ... and so is the disk */
        ck_assert_uint_eq(l.told, 0);
        (void) fake_store_complete_all(w.store);
        ck_assert_int_eq(l.seen, AUTHORIZATION_SUCCEEDED);
        world_done(&w);
}
END_TEST

START_TEST(watchers_have_their_own_deadlines)
{
        struct world w;
        struct login l, other;

        world_start(&w);
        login_start(&w, &l, SITE, "");
        other = l;
        login_watch(&other, 30 * US_PER_S);
        world_pass(&w, 30 * US_PER_S);
        ck_assert_uint_eq(other.told, 1);
        ck_assert_int_eq(other.seen, AUTHORIZATION_PENDING);
        ck_assert_uint_eq(l.told, 0);
        login_watch(&other, 0); /* only wants to know */
        ck_assert_uint_eq(other.told, 2);
        login_watch(&other, 60 * US_PER_S);
        authorization_cancel(l.a, "for this test");
        ck_assert_uint_eq(other.told, 3);
        ck_assert_int_eq(other.seen, AUTHORIZATION_CANCELLED);
        ck_assert_uint_eq(l.told, 1);
        login_watch(&other, 60 * US_PER_S); /* over: told at once */
        ck_assert_uint_eq(other.told, 4);
        world_pass(&w, US_PER_H);
        ck_assert_uint_eq(other.told, 4);
        world_done(&w);
}
END_TEST

static const struct {
        const char *error, *description;
        enum authorization_state state;
        const char *says;
} redirects[] = {
        { "access_denied", NULL, AUTHORIZATION_DENIED, "access_denied" },
        { "access_denied", "the user said no", AUTHORIZATION_DENIED, "the user said no" },
        { "server_error", "try\tagain\n", AUTHORIZATION_FAILED, "try?again?" },
        { "invalid_scope", NULL, AUTHORIZATION_FAILED, "invalid_scope" },
        { "", "", AUTHORIZATION_FAILED, "no reason given" },
};

START_TEST(the_browser_brings_an_error)
{
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, SITE, "");
        ck_assert_int_eq(
                authorization_deliver(l.a, NULL, redirects[_i].error, redirects[_i].description),
                0);
        ck_assert_uint_eq(l.told, 1);
        ck_assert_int_eq(l.seen, redirects[_i].state);
        ck_assert_ptr_nonnull(strstr(l.reason, redirects[_i].says));
        ck_assert_uint_eq(fake_transport_sent(w.transport), 0);
        world_done(&w);
}
END_TEST

/* What comes of the attempts to exchange a code, one after the other. */
enum attempt {
        NOT_SENT,
        NOT_EVEN_TRIED, /* the transport refuses it */
        LIMITED,
        UNKNOWN,
        BUSY,
        HTML,
        NO_REFRESH_TOKEN,
        REFUSED,
        GIVEN,
};

static const struct {
        enum attempt attempts[4];
        size_t n; /* of these, no more */
        enum authorization_state state;
} exchanges[] = {
        { { GIVEN }, 1, AUTHORIZATION_SUCCEEDED },
        { { NOT_SENT, GIVEN }, 2, AUTHORIZATION_SUCCEEDED },
        { { NOT_SENT, NOT_SENT, GIVEN }, 3, AUTHORIZATION_SUCCEEDED },
        { { NOT_SENT, NOT_SENT, NOT_SENT }, 3, AUTHORIZATION_FAILED },
        { { NOT_EVEN_TRIED, GIVEN }, 2, AUTHORIZATION_SUCCEEDED },
        { { NOT_EVEN_TRIED, NOT_EVEN_TRIED, NOT_EVEN_TRIED }, 3, AUTHORIZATION_FAILED },
        { { NOT_EVEN_TRIED, NOT_SENT, LIMITED }, 3, AUTHORIZATION_FAILED },
        { { LIMITED, GIVEN }, 2, AUTHORIZATION_SUCCEEDED },
        { { UNKNOWN }, 1, AUTHORIZATION_FAILED }, /* the code may have been spent */
        { { NOT_SENT, UNKNOWN }, 2, AUTHORIZATION_FAILED },
        { { BUSY }, 1, AUTHORIZATION_FAILED },
        { { HTML }, 1, AUTHORIZATION_FAILED },
        { { NO_REFRESH_TOKEN }, 1, AUTHORIZATION_FAILED },
        { { REFUSED }, 1, AUTHORIZATION_FAILED },
};

static void world_attempt(struct world *w, enum attempt attempt) {
        switch (attempt) {
        case NOT_SENT:
                fake_transport_fail(w->transport, HTTP_NOT_SENT);
                break;
        case UNKNOWN:
                fake_transport_fail(w->transport, HTTP_UNKNOWN);
                break;
        case LIMITED:
                fake_transport_answer(w->transport, 429, "{}", w->clock.wall.s, 20 * US_PER_S);
                break;
        case BUSY:
                world_reply(w, 503, "{\"code\":5000}");
                break;
        case HTML:
                world_reply(w, 502, "<html>");
                break;
        case NO_REFRESH_TOKEN:
                world_reply(w, 200, "{\"access_token\":\"czu_token\",\"expires_in\":900}");
                break;
        case REFUSED:
                world_reply(w, 400, "{\"error_code\":\"invalid_grant\"}");
                break;
        case GIVEN:
                world_reply(w, 200, GRANT);
                break;
        case NOT_EVEN_TRIED:
                break; /* it was refused when it was to be sent */
        }
}

START_TEST(a_code_is_sent_again_only_if_it_was_not_sent)
{
        size_t sent = 0;
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, APP, "alice");
        for (size_t i = 0; i < exchanges[_i].n; i++) {
                enum attempt attempt = exchanges[_i].attempts[i];

                ck_assert_uint_eq(l.told, 0);
                if (attempt == NOT_EVEN_TRIED)
                        fake_transport_refuse_next(w.transport, -ENOMEM);
                if (i == 0)
                        login_deliver(&l);
                else
                        world_pass(&w, exchanges[_i].attempts[i - 1] == LIMITED ? 25 * US_PER_S
                                                                                : 2 * US_PER_S);
                sent += attempt != NOT_EVEN_TRIED;
                ck_assert_uint_eq(fake_transport_sent(w.transport), sent);
                if (attempt != NOT_EVEN_TRIED) {
                        ck_assert_str_eq(world_posted(&w, "code"), "code_1");
                        ck_assert_uint_eq(strlen(world_posted(&w, "code_verifier")), 64);
                }
                world_attempt(&w, attempt);
        }
        (void) fake_store_complete_all(w.store);
        ck_assert_uint_eq(l.told, 1);
        ck_assert_int_eq(l.seen, exchanges[_i].state);
        ck_assert_int_eq(world_has_row(&w, "app", "alice"),
                         exchanges[_i].state == AUTHORIZATION_SUCCEEDED);
        world_pass(&w, US_PER_MIN);
        ck_assert_uint_eq(fake_transport_sent(w.transport), sent);
        world_done(&w);
}
END_TEST

START_TEST(a_pause_that_was_asked_for_is_kept)
{
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, SITE, "");
        login_deliver(&l);
        world_attempt(&w, LIMITED);
        world_pass(&w, 20 * US_PER_S - 1);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
        world_pass(&w, 5 * US_PER_S + 1); /* and the jitter on top */
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
        fake_transport_answer(w.transport, 429, "{}", w.clock.wall.s, US_PER_H);
        world_pass(&w, AUTHORIZATION_LIFETIME_US); /* longer than anybody waits */
        ck_assert_int_eq(l.seen, AUTHORIZATION_EXPIRED);
        world_done(&w);
}
END_TEST

/* --- cancel, overtake --- */

START_TEST(cancelled_at_every_point)
{
        char state[128];
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, SITE, "");
        (void) snprintf(state, sizeof(state), "%s", login_parameter(&l, "state"));
        if (_i >= 1)
                login_deliver(&l);
        if (_i == 2)
                world_attempt(&w, NOT_SENT); /* waits for its repetition */
        if (_i == 3)
                world_attempt(&w, GIVEN);
        authorization_cancel(l.a, "for this test");
        if (_i < 3) {
                ck_assert_int_eq(l.seen, AUTHORIZATION_CANCELLED);
                ck_assert_str_eq(l.reason, "for this test");
                ck_assert_uint_eq(l.told, 1);
                ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
                ck_assert_ptr_null(login_find(&l, state));
                ck_assert_int_eq(authorization_deliver(l.a, "late", NULL, NULL), -EALREADY);
        } else { /* too late: the grant is there */
                ck_assert_uint_eq(l.told, 0);
                (void) fake_store_complete_all(w.store);
                ck_assert_int_eq(l.seen, AUTHORIZATION_SUCCEEDED);
        }
        authorization_cancel(l.a, "again");
        ck_assert_uint_eq(l.told, 1);
        world_pass(&w, US_PER_MIN);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
        world_done(&w);
}
END_TEST

START_TEST(the_later_one_wins)
{
        struct login first, second, bobs, others;
        struct world w;
        struct caller c;

        world_start(&w);
        login_start(&w, &bobs, SITE, "bob");
        login_start(&w, &others, APP, "alice");
        login_start(&w, &first, SITE, "alice");
        if (_i >= 1)
                login_deliver(&first);
        if (_i == 2)
                world_attempt(&w, NOT_SENT);
        login_start(&w, &second, SITE, "alice");
        ck_assert_int_eq(first.seen, AUTHORIZATION_CANCELLED);
        ck_assert_ptr_nonnull(strstr(first.reason, "later authorization"));
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
        ck_assert_uint_eq(second.told + bobs.told + others.told, 0);
        world_pass(&w, US_PER_MIN);
        login_deliver(&second);
        world_attempt(&w, GIVEN);
        (void) fake_store_complete_all(w.store);
        ck_assert_int_eq(second.seen, AUTHORIZATION_SUCCEEDED);
        caller_ask(&w, &c, SITE, "alice", -1, 30, NULL);
        ck_assert_int_eq(c.kind, ANSWER_TOKEN);
        ck_assert_uint_eq(first.told, 1);
        ck_assert_uint_eq(bobs.told + others.told, 0);
        world_done(&w);
}
END_TEST

static void world_give(struct world *w, const char *name) {
        char body[160];

        (void) snprintf(body, sizeof(body),
                        "{\"access_token\":\"czu_%s\",\"expires_in\":900,\"refresh_token\":\"%s\"}",
                        name, name);
        world_reply(w, 200, body);
}

/* The grant of the first is on its way to the disk when the second begins, and even when the grant
 * of the second is there. */
START_TEST(the_later_one_wins_on_the_disk)
{
        struct login first, second;
        struct world w;
        struct caller c;

        world_start(&w);
        login_start(&w, &first, SITE, "alice");
        login_deliver(&first);
        world_give(&w, "first");
        login_start(&w, &second, SITE, "alice");
        ck_assert_uint_eq(first.told, 0); /* it is not too late for that one */
        if (_i == 0) {
                (void) fake_store_complete_all(w.store);
                ck_assert_int_eq(first.seen, AUTHORIZATION_SUCCEEDED);
        }
        login_deliver(&second);
        world_give(&w, "second");
        if (_i == 1) {
                ck_assert_int_eq(first.seen, AUTHORIZATION_CANCELLED);
                ck_assert_ptr_nonnull(strstr(first.reason, "later authorization"));
                caller_ask(&w, &c, SITE, "alice", -1, 30, NULL);
                (void) fake_store_complete(w.store, 1);
                ck_assert_uint_eq(c.answers, 0);
                ck_assert_uint_eq(second.told, 0);
        }
        (void) fake_store_complete_all(w.store);
        ck_assert_int_eq(second.seen, AUTHORIZATION_SUCCEEDED);
        ck_assert_uint_eq(first.told, 1);
        caller_ask(&w, &c, SITE, "alice", -1, 30, NULL);
        ck_assert_str_eq(c.value, "czu_second");
        world_crash(&w, 0);
        caller_ask(&w, &c, SITE, "alice", -1, 30, NULL);
        (void) fake_store_complete_all(w.store);
        ck_assert_str_eq(world_posted(&w, "refresh_token"), "second");
        world_done(&w);
}
END_TEST

/* --- devices --- */

#define DEVICE                                                                                     \
        "{\"device_code\":\"the-device-code\",\"user_code\":\"VIK-AZC-ZTV\",\"verification_uri\":" \
        "\"https://www.coze.cn/oauth/device-activation\",\"expires_in\":%d,\"interval\":%d}"

static void device_start(struct world *w, struct login *l, int expires_in, int interval) {
        char body[256];

        ck_assert_int_eq(login_try(w, l, TV, "alice"), 0);
        ck_assert_uint_eq(l->started, 0); /* nothing to show yet */
        (void) snprintf(body, sizeof(body), DEVICE, expires_in, interval);
        world_reply(w, 200, body);
        ck_assert_uint_eq(l->started, 1);
        ck_assert_int_eq(l->state, AUTHORIZATION_PENDING);
        login_watch(l, US_PER_D);
}

/* Passes so much time, and expects a poll at its end and not before. */
static void device_expect_poll(struct world *w, int64_t us) {
        ck_assert_uint_eq(fake_transport_waiting(w->transport), 0);
        world_pass(w, us - 1);
        ck_assert_uint_eq(fake_transport_waiting(w->transport), 0);
        world_pass(w, 1);
        ck_assert_uint_eq(fake_transport_waiting(w->transport), 1);
        ck_assert_str_eq(world_posted(w, "device_code"), "the-device-code");
}

static void device_reply(struct world *w, const char *name) {
        char body[128];

        (void) snprintf(body, sizeof(body), "{\"error_code\":\"%s\",\"error\":\"%s\"}", name, name);
        world_reply(w, 400, body);
}

START_TEST(a_device_from_start_to_token)
{
        struct world w;
        struct login l;
        struct caller c;

        world_start(&w);
        device_start(&w, &l, 300, 7);
        ck_assert_str_eq(secret_text(l.a->user_code), "VIK-AZC-ZTV");
        ck_assert_str_eq(l.a->verification_uri, "https://www.coze.cn/oauth/device-activation");
        ck_assert_str_eq(l.a->verification_uri_complete,
                         "https://www.coze.cn/oauth/device-activation?user_code=VIK-AZC-ZTV");
        ck_assert_int_eq(l.a->expires_at.s, w.clock.wall.s + 300);
        ck_assert_ptr_null(l.a->url);
        ck_assert_uint_eq(w.pending, 1);
        for (unsigned i = 0; i < 10; i++) {
                device_expect_poll(&w, 7 * US_PER_S);
                device_reply(&w, "authorization_pending");
        }
        device_expect_poll(&w, 7 * US_PER_S);
        world_reply(&w, 200, GRANT);
        ck_assert_uint_eq(l.told, 0);
        (void) fake_store_complete_all(w.store);
        ck_assert_int_eq(l.seen, AUTHORIZATION_SUCCEEDED);
        ck_assert_ptr_null(l.a->device_code);
        ck_assert_ptr_null(l.a->user_code);
        ck_assert_ptr_null(l.a->verification_uri_complete);
        caller_ask(&w, &c, TV, "alice", -1, 30, NULL);
        ck_assert_str_eq(c.value, "czu_token");
        world_pass(&w, US_PER_MIN);
        ck_assert_uint_eq(fake_transport_sent(w.transport), 12);
        world_done(&w);
}
END_TEST

static const struct {
        int interval;
        int64_t us;
} intervals[] = {
        { 0, 5 * US_PER_S },
        { 1, 5 * US_PER_S },
        { 5, 5 * US_PER_S },
        { 12, 12 * US_PER_S },
};

START_TEST(an_interval_is_honoured_and_grows_for_good)
{
        int64_t us = intervals[_i].us;
        struct world w;
        struct login l;

        world_start(&w);
        device_start(&w, &l, 900, intervals[_i].interval);
        device_expect_poll(&w, us);
        device_reply(&w, "slow_down");
        device_expect_poll(&w, us + 5 * US_PER_S);
        device_reply(&w, "authorization_pending");
        device_expect_poll(&w, us + 5 * US_PER_S);
        device_reply(&w, "slow_down");
        device_expect_poll(&w, us + 10 * US_PER_S);
        fake_transport_fail(w.transport, HTTP_UNKNOWN);
        device_expect_poll(&w, us + 10 * US_PER_S);
        fake_transport_answer(w.transport, 429, "{}", w.clock.wall.s, 100 * US_PER_S);
        world_pass(&w, 100 * US_PER_S - 1);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
        world_pass(&w, 5 * US_PER_S + 1); /* and the jitter on top */
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
        device_reply(&w, "authorization_pending");
        fake_transport_refuse_next(w.transport, -ENOMEM); /* one poll cannot be made */
        world_pass(&w, us + 10 * US_PER_S);
        device_expect_poll(&w, us + 10 * US_PER_S);
        ck_assert_uint_eq(l.told, 0);
        world_done(&w);
}
END_TEST

/* Sources disagree on status and member: all must do. */
static const struct {
        int status;
        const char *format;
} spellings[] = {
        { 400, "{\"error_code\":\"%s\",\"error\":\"%s\",\"error_message\":\"said so\"}" },
        { 200, "{\"error_code\":\"%s\"}" },
        { 400, "{\"error\":\"%s\",\"error_description\":\"said so\"}" },
        { 401, "{\"error_code\":\"%s\",\"error_message\":\"said so\"}" },
};

static const struct {
        const char *name;
        enum authorization_state state; /* pending: the next poll succeeds */
} polls[] = {
        { "authorization_pending", AUTHORIZATION_PENDING },
        { "slow_down", AUTHORIZATION_PENDING },
        { "access_denied", AUTHORIZATION_DENIED },
        { "expired_token", AUTHORIZATION_EXPIRED },
};

START_TEST(every_spelling_of_a_poll)
{
        size_t spelling = (size_t) _i / N_ELEMENTS(polls), poll = (size_t) _i % N_ELEMENTS(polls);
        char body[160], *out = body;
        struct world w;
        struct login l;

        world_start(&w);
        device_start(&w, &l, 300, 5);
        world_pass(&w, 5 * US_PER_S);
        for (const char *in = spellings[spelling].format; *in; in++) /* %s, as often as it stands */
                if (in[0] == '%') {
                        out = stpcpy(out, polls[poll].name);
                        in++;
                } else {
                        *out++ = *in;
                }
        *out = '\0';
        world_reply(&w, spellings[spelling].status, body);
        if (polls[poll].state == AUTHORIZATION_PENDING) {
                ck_assert_uint_eq(l.told, 0);
                world_pass(&w, 10 * US_PER_S);
                world_reply(&w, 200, GRANT);
                (void) fake_store_complete_all(w.store);
                ck_assert_int_eq(l.seen, AUTHORIZATION_SUCCEEDED);
        } else {
                ck_assert_uint_eq(l.told, 1);
                ck_assert_int_eq(l.seen, polls[poll].state);
        }
        world_pass(&w, US_PER_MIN);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
        world_done(&w);
}
END_TEST

static const struct {
        int status; /* 0: no answer */
        const char *body;
        bool goes_on;
} troubles[] = {
        { 0, NULL, true },
        { 503, "{\"code\":5000}", true },
        { 502, "<html>", true },
        { 500, "{\"error_code\":\"internal_error\"}", true },
        { 429, "{}", true },
        { 200, "", true },
        { 401, "{\"error_code\":\"invalid_client\"}", false },
        { 400, "{\"error_code\":\"invalid_request\"}", false },
        { 400, "{\"error_code\":\"invalid_grant\"}", false },
        { 400, "{\"error_code\":\"never_heard_of\"}", false },
        { 400, "{\"error_code\":\"access_deny\",\"error_message\":\"deactivated\"}", false },
        { 200, "{\"access_token\":\"czu_token\",\"expires_in\":900}", false },
};

/* The next poll, later and later while the provider is down. */
static void device_await_poll(struct world *w) {
        world_pass(w, 5 * US_PER_S);
        for (unsigned i = 0; i < 60 && fake_transport_waiting(w->transport) == 0; i++)
                world_pass(w, US_PER_S);
        ck_assert_uint_eq(fake_transport_waiting(w->transport), 1);
}

START_TEST(polling_goes_on_through_trouble_that_may_pass)
{
        struct world w;
        struct login l;

        world_start(&w);
        device_start(&w, &l, 300, 5);
        for (unsigned i = 0; i < 5 && l.told == 0; i++) {
                device_await_poll(&w);
                if (troubles[_i].status)
                        world_reply(&w, troubles[_i].status, troubles[_i].body);
                else
                        fake_transport_fail(w.transport, HTTP_UNKNOWN);
                ck_assert_uint_eq(l.told, !troubles[_i].goes_on);
        }
        if (troubles[_i].goes_on) {
                device_await_poll(&w);
                world_reply(&w, 200, GRANT);
                (void) fake_store_complete_all(w.store);
                ck_assert_int_eq(l.seen, AUTHORIZATION_SUCCEEDED);
        } else {
                ck_assert_int_eq(l.seen, AUTHORIZATION_FAILED);
        }
        world_done(&w);
}
END_TEST

START_TEST(a_device_code_runs_out)
{
        struct world w;
        struct login l;

        world_start(&w);
        device_start(&w, &l, 62, 5);
        for (unsigned i = 0; i < 12; i++) {
                device_expect_poll(&w, 5 * US_PER_S);
                device_reply(&w, "authorization_pending");
        }
        if (_i == 0) { /* 2 s are left */
                world_pass(&w, 2 * US_PER_S - 1);
                ck_assert_uint_eq(l.told, 0);
                world_pass(&w, 1);
                ck_assert_int_eq(l.seen, AUTHORIZATION_EXPIRED);
        }
        world_done(&w);

        world_start(&w); /* what was sent in time counts, however late the answer */
        device_start(&w, &l, 62, 61);
        device_expect_poll(&w, 61 * US_PER_S);
        world_pass(&w, 10 * US_PER_S);
        ck_assert_uint_eq(l.told, 0);
        if (_i == 0) {
                world_reply(&w, 200, GRANT);
                (void) fake_store_complete_all(w.store);
                ck_assert_int_eq(l.seen, AUTHORIZATION_SUCCEEDED);
        } else {
                device_reply(&w, "authorization_pending");
                world_pass(&w, 0);
                ck_assert_int_eq(l.seen, AUTHORIZATION_EXPIRED);
        }
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
        world_done(&w);
}
END_TEST

static const struct {
        int status; /* 0: no answer */
        const char *body;
        enum refusal_kind kind;
} device_failures[] = {
        { 0, NULL, REFUSAL_TRANSPORT },
        { 503, "{}", REFUSAL_TRANSIENT },
        { 429, "{}", REFUSAL_RATE_LIMIT },
        { 401, "{\"error_code\":\"invalid_client\"}", REFUSAL_CONFIGURATION },
        { 200, "{}", REFUSAL_NONSENSE },
        { 200, "{\"device_code\":\"x\",\"user_code\":\"y\",\"expires_in\":300}", REFUSAL_NONSENSE },
};

START_TEST(a_device_that_cannot_start)
{
        struct world w;
        struct login l;

        world_start(&w);
        ck_assert_int_eq(login_try(&w, &l, TV, "alice"), 0);
        if (device_failures[_i].status)
                world_reply(&w, device_failures[_i].status, device_failures[_i].body);
        else
                fake_transport_fail(w.transport, HTTP_NOT_SENT);
        ck_assert_uint_eq(l.started, 1);
        ck_assert_int_eq(l.state, AUTHORIZATION_FAILED);
        ck_assert_int_eq(l.a->refusal.kind, device_failures[_i].kind);
        ck_assert(l.a->reason.text[0]);
        ck_assert_uint_eq(w.pending, 0);
        world_pass(&w, US_PER_MIN);
        fake_transport_refuse_next(w.transport, -ENOMEM);
        ck_assert_int_eq(login_try(&w, &l, TV, "alice"), -ENOMEM);
        ck_assert_uint_eq(l.started, 0);
        world_pass(&w, US_PER_H);
        ck_assert_ptr_null(authorizations_next(world_book(&w), NULL));
        world_done(&w);
}
END_TEST

/* A second login while the first has not even got its code. */
START_TEST(a_device_is_overtaken_while_it_starts)
{
        struct login first, second;
        struct world w;

        world_start(&w);
        ck_assert_int_eq(login_try(&w, &first, TV, "alice"), 0);
        ck_assert_int_eq(login_try(&w, &second, TV, "alice"), 0);
        ck_assert_uint_eq(first.started, 1); /* its caller is answered */
        ck_assert_int_eq(first.state, AUTHORIZATION_CANCELLED);
        ck_assert_uint_eq(second.started, 0);
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 1);
        world_done(&w);
        ck_assert_uint_eq(second.started, 1); /* at the stop */
        ck_assert_int_eq(second.state, AUTHORIZATION_CANCELLED);
}
END_TEST

/* --- limits, the end --- */

START_TEST(there_is_room_for_a_thousand)
{
        static struct login logins[AUTHORIZATIONS_MAX];
        char subject[16];
        struct login l;
        struct world w;

        world_start(&w);
        for (unsigned i = 0; i < AUTHORIZATIONS_MAX; i++) {
                (void) snprintf(subject, sizeof(subject), "s%u", i);
                ck_assert_int_eq(login_try_as(&w, &logins[i], SITE, subject, i / 256), 0);
        }
        ck_assert_uint_eq(w.pending, AUTHORIZATIONS_MAX);
        ck_assert_int_eq(login_try_as(&w, &l, SITE, "one-more", 9), AUTHORIZATION_E_TOO_MANY);
        ck_assert_uint_eq(l.started, 0);
        authorization_cancel(logins[500].a, "for this test"); /* makes room, once it was told */
        ck_assert_int_eq(login_try_as(&w, &l, SITE, "one-more", 9), AUTHORIZATION_E_TOO_MANY);
        world_pass(&w, 1);
        for (unsigned i = 0; i < 3; i++) { /* of one subject only one can be pending */
                ck_assert_int_eq(login_try_as(&w, &l, SITE, "one-more", 9),
                                 i == 0 ? 0 : AUTHORIZATION_E_TOO_MANY);
        }
        world_done(&w);
}
END_TEST

START_TEST(one_user_cannot_use_up_the_room)
{
        static struct login logins[256], others[10];
        char subject[16];
        struct login l;
        struct world w;

        world_start(&w);
        ck_assert_int_eq(login_try_as(&w, &others[0], SITE, "bob", 2), 0);
        authorization_cancel(others[0].a, "for this test");
        world_pass(&w, 1);
        for (unsigned i = 0; i < N_ELEMENTS(logins); i++) {
                (void) snprintf(subject, sizeof(subject), "s%u", i);
                ck_assert_int_eq(login_try_as(&w, &logins[i], SITE, subject, 1), 0);
        }
        ck_assert_int_eq(login_try_as(&w, &l, SITE, "more", 1), AUTHORIZATION_E_TOO_MANY);
        for (unsigned i = 1; i < N_ELEMENTS(others); i++) { /* another user is not concerned */
                (void) snprintf(subject, sizeof(subject), "o%u", i);
                ck_assert_int_eq(login_try_as(&w, &others[i], SITE, subject, 2), 0);
        }
        authorization_cancel(logins[7].a, "for this test");
        world_pass(&w, 1);
        ck_assert_int_eq(login_try_as(&w, &l, SITE, "more", 1), 0); /* in the place of that */
        ck_assert_uint_eq(w.pending, 256 + 9);
        ck_assert_ptr_nonnull(
                authorizations_find(world_book(&w), others[0].a->id)); /* not of bob's */
        world_done(&w);
}
END_TEST

START_TEST(one_person_cannot_use_up_the_room)
{
        struct world w;
        struct login l;

        world_start(&w);
        for (unsigned i = 0; i < 3 * AUTHORIZATIONS_MAX; i++) {
                ck_assert_int_eq(login_try(&w, &l, SITE, "alice"), 0);
                world_pass(&w, US_PER_MS);
        }
        ck_assert_int_eq(login_try(&w, &l, SITE, "bob"), 0);
        ck_assert_uint_eq(w.pending, 2);
        world_done(&w);
}
END_TEST

START_TEST(a_stop_cancels_all_and_takes_no_more)
{
        struct login browser, exchanging, device, late;
        struct world w;

        world_start(&w);
        login_start(&w, &browser, SITE, "a");
        login_start(&w, &exchanging, SITE, "b");
        login_deliver(&exchanging);
        ck_assert_int_eq(login_try(&w, &device, TV, "c"), 0);
        broker_stop(w.broker, NULL, NULL);
        ck_assert_int_eq(browser.seen, AUTHORIZATION_CANCELLED);
        ck_assert_int_eq(exchanging.seen, AUTHORIZATION_CANCELLED);
        ck_assert_int_eq(device.state, AUTHORIZATION_CANCELLED);
        ck_assert_ptr_nonnull(strstr(browser.reason, "stopping"));
        ck_assert_uint_eq(fake_transport_waiting(w.transport), 0);
        ck_assert_int_eq(login_try(&w, &late, SITE, "d"), -ESHUTDOWN);
        ck_assert_uint_eq(late.started, 0);
        world_done(&w);
}
END_TEST

/* Nothing is used again after the end: for the sanitizers. */
START_TEST(freed_with_somebody_watching)
{
        struct world w;
        struct login l;

        world_start(&w);
        login_start(&w, &l, SITE, "alice");
        login_deliver(&l);
        world_attempt(&w, GIVEN);
        world_done(&w);
        ck_assert_uint_eq(l.told, 0); /* nobody is left to be told */
        ck_assert_ptr_null(l.watch.authorization);
}
END_TEST

/* Whoever is told may begin the next one at once. */
static struct login *next_login;

static void login_start_next(struct authorization_watch *watch, const struct authorization *a) {
        struct login *l = list_entry(watch, struct login, watch);

        login_told(watch, a);
        if (next_login) {
                struct login *next = next_login;

                next_login = NULL;
                ck_assert_int_eq(login_try(l->world, next, SITE, "alice"), 0);
        }
}

START_TEST(the_told_may_start_again)
{
        struct login first, second, third, other;
        struct world w;

        world_start(&w);
        login_start(&w, &first, SITE, "alice");
        first.watch.changed = login_start_next;
        next_login = &third;
        login_start(&w, &other, APP, "alice"); /* another credential: nothing happens */
        ck_assert_uint_eq(first.told, 0);
        ck_assert_int_eq(login_try(&w, &second, SITE, "alice"), 0);
        ck_assert_int_eq(first.seen, AUTHORIZATION_CANCELLED);
        ck_assert_int_eq(third.a->state, AUTHORIZATION_PENDING); /* the last to begin */
        ck_assert_int_eq(second.a->state, AUTHORIZATION_CANCELLED);
        ck_assert_uint_eq(second.started, 1);
        world_done(&w);
}
END_TEST

START_TEST(a_failed_login_changes_nothing)
{
        struct login good, bad;
        struct world w;
        struct caller c;

        world_start(&w);
        login_start(&w, &good, SITE, "alice");
        login_deliver(&good);
        world_give(&w, "good");
        (void) fake_store_complete_all(w.store);
        login_start(&w, &bad, SITE, "alice");
        if (_i >= 1)
                login_deliver(&bad);
        if (_i == 2)
                world_attempt(&w, REFUSED);
        else if (_i == 3)
                world_attempt(&w, NO_REFRESH_TOKEN);
        else
                authorization_cancel(bad.a, "for this test");
        ck_assert_int_ne(bad.seen, AUTHORIZATION_SUCCEEDED);
        ck_assert_uint_eq(bad.told, 1);
        caller_ask(&w, &c, SITE, "alice", -1, 30, NULL);
        ck_assert_str_eq(c.value, "czu_good");
        ck_assert_uint_eq(fake_store_waiting(w.store), 0);
        world_crash(&w, 0);
        caller_ask(&w, &c, SITE, "alice", -1, 30, NULL);
        (void) fake_store_complete_all(w.store);
        ck_assert_str_eq(world_posted(&w, "refresh_token"), "good");
        world_done(&w);
}
END_TEST

/* Kept fresh from the moment it is there. */
START_TEST(a_login_makes_always_fresh)
{
        struct login l;
        struct world w;

        world_start(&w);
        w.credential[APP].keep_fresh = KEEP_FRESH_ALWAYS;
        world_crash(&w, 0);
        ck_assert(!broker_is_fresh(w.broker, w.credentials[APP]));
        ck_assert_uint_eq(fake_store_waiting(w.store), 0);
        login_start(&w, &l, APP, "");
        login_deliver(&l);
        world_attempt(&w, GIVEN);
        ck_assert(!broker_is_fresh(w.broker, w.credentials[APP]));
        (void) fake_store_complete_all(w.store);
        ck_assert(broker_is_fresh(w.broker, w.credentials[APP]));
        for (unsigned i = 0; i < 10; i++) {
                world_pass(&w, 725 * US_PER_S);
                ck_assert_uint_eq(fake_store_complete_all(w.store), 1);
                world_reply(&w, 200, GRANT);
                (void) fake_store_complete_all(w.store);
                ck_assert(broker_is_fresh(w.broker, w.credentials[APP]));
        }
        world_done(&w);
}
END_TEST

static void add(TCase *tc) {
        world_prepare();
        tcase_set_timeout(tc, 60); /* of a busy machine */
        tcase_add_loop_test(tc, from_the_click_to_the_token, 0, 2);
        tcase_add_test(tc, the_verifier_fits_its_challenge);
        tcase_add_test(tc, states_and_verifiers_are_new_each_time);
        tcase_add_test(tc, a_state_is_used_once);
        tcase_add_test(tc, nobody_comes);
        tcase_add_test(tc, a_code_that_came_in_time_counts);
        tcase_add_test(tc, watchers_have_their_own_deadlines);
        tcase_add_loop_test(tc, the_browser_brings_an_error, 0, N_ELEMENTS(redirects));
        tcase_add_loop_test(tc, a_code_is_sent_again_only_if_it_was_not_sent, 0,
                            N_ELEMENTS(exchanges));
        tcase_add_test(tc, a_pause_that_was_asked_for_is_kept);
        tcase_add_loop_test(tc, cancelled_at_every_point, 0, 4);
        tcase_add_loop_test(tc, the_later_one_wins, 0, 3);
        tcase_add_loop_test(tc, the_later_one_wins_on_the_disk, 0, 2);
        tcase_add_test(tc, a_device_from_start_to_token);
        tcase_add_loop_test(tc, an_interval_is_honoured_and_grows_for_good, 0,
                            N_ELEMENTS(intervals));
        tcase_add_loop_test(tc, every_spelling_of_a_poll, 0,
                            N_ELEMENTS(spellings) * N_ELEMENTS(polls));
        tcase_add_loop_test(tc, polling_goes_on_through_trouble_that_may_pass, 0,
                            N_ELEMENTS(troubles));
        tcase_add_loop_test(tc, a_device_code_runs_out, 0, 2);
        tcase_add_loop_test(tc, a_device_that_cannot_start, 0, N_ELEMENTS(device_failures));
        tcase_add_test(tc, a_device_is_overtaken_while_it_starts);
        tcase_add_test(tc, there_is_room_for_a_thousand);
        tcase_add_test(tc, one_user_cannot_use_up_the_room);
        tcase_add_test(tc, one_person_cannot_use_up_the_room);
        tcase_add_test(tc, a_stop_cancels_all_and_takes_no_more);
        tcase_add_test(tc, freed_with_somebody_watching);
        tcase_add_test(tc, the_told_may_start_again);
        tcase_add_loop_test(tc, a_failed_login_changes_nothing, 0, 4);
        tcase_add_test(tc, a_login_makes_always_fresh);
}

CHECK_MAIN("authorization", add)
