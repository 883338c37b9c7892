#include "api/feed.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "fake_clock.h"

#define NOW 1800000000

static struct conf_credential bot = { .name = (char *) "bot" };
static struct fake_clock clock_;
static struct fake_random random_;
static struct feed *feed;

static void begin(void) {
        fake_clock_init(&clock_, NOW);
        fake_random_init(&random_, 1);
        ck_assert_int_eq(feed_new(&random_.seam, &clock_.seam, &feed), 0);
}

static void end(void) {
        feed = feed_free(feed);
        ck_assert_ptr_null(feed);
}

static void put(const char *subject) {
        const struct change c = { .kind = CHANGE_AUTHORIZATION_REQUIRED,
                                  .credential = &bot,
                                  .subject = subject,
                                  .reason = "log in" };

        feed_put(feed, &c);
}

/* The subject of what follows this number; "": nothing yet; NULL: it is lost. */
static const char *next(uint64_t number) {
        static char subject[64];
        struct feed_event *e;
        bool lost = false;

        e = feed_next(feed, number, &lost);
        ck_assert(!e || !lost);
        if (e)
                ck_assert_uint_eq(e->number, number + 1);
        (void) snprintf(subject, sizeof(subject), "%s", e ? e->subject : "");
        feed_release(feed, e);
        return lost ? NULL : subject;
}

static int find(uint64_t number, uint64_t *ret) {
        char id[FEED_ID_SIZE];

        return feed_find(feed, feed_id(feed, number, id), ret);
}

START_TEST(one_after_the_other)
{
        begin();
        ck_assert_uint_eq(feed_last(feed), 0);
        ck_assert_str_eq(next(0), "");
        put("a");
        put("b");
        ck_assert_uint_eq(feed_last(feed), 2);
        ck_assert_str_eq(next(0), "a");
        ck_assert_str_eq(next(1), "b");
        ck_assert_str_eq(next(2), "");
        ck_assert_ptr_null(next(3)); /* of the future: not ours */
        end();
}
END_TEST

START_TEST(the_ring_is_bounded)
{
        uint64_t number = 4711;

        begin();
        for (int i = 0; i < FEED_EVENTS_MAX; i++)
                put("x");
        ck_assert_str_eq(next(0), "x"); /* all are still there */
        ck_assert_int_eq(find(0, &number), 0);
        ck_assert_uint_eq(number, 0);
        put("y");
        ck_assert_ptr_null(next(0));
        number = 4711;
        ck_assert_int_eq(find(0, &number), -ESTALE);
        ck_assert_uint_eq(number, 4711);
        ck_assert_str_eq(next(1), "x");
        ck_assert_str_eq(next(FEED_EVENTS_MAX), "y");
        end();
}
END_TEST

/* Who has it goes on sending it, however many come after. */
START_TEST(an_event_lives_as_long_as_its_reader)
{
        struct feed_event *e;
        bool lost;

        begin();
        put("first");
        e = feed_next(feed, 0, &lost);
        for (int i = 0; i < FEED_EVENTS_MAX + 1; i++)
                put("x");
        ck_assert_str_eq(e->subject, "first");
        ck_assert_str_eq(e->credential, "bot");
        ck_assert_uint_eq(strlen(e->text), e->len);
        ck_assert_ptr_null(feed_release(feed, e));
        end();
}
END_TEST

START_TEST(start_over)
{
        uint64_t number;

        begin();
        put("old");
        feed_start_over(feed);
        ck_assert_ptr_null(next(0 + 1)); /* also for who had all there was */
        ck_assert_int_eq(find(1, &number), -ESTALE);
        ck_assert_str_eq(next(feed_last(feed)), "");
        ck_assert_int_eq(find(feed_last(feed), &number), 0);
        put("new");
        ck_assert_str_eq(next(2), "new");
        ck_assert_str_eq(next(0), "old"); /* and behind that nothing: */
        ck_assert_ptr_null(next(1));
        end();
}
END_TEST

START_TEST(ids)
{
        static const char *const foreign[] = { "", "-", "x", "0000000000000000-1" };
        char id[FEED_ID_SIZE], other[FEED_ID_SIZE], bad[2 * FEED_ID_SIZE];
        struct feed *again;
        uint64_t number;

        begin();
        put("a");
        ck_assert_int_eq(feed_find(feed, feed_id(feed, 1, id), &number), 0);
        ck_assert_uint_eq(number, 1);
        for (size_t i = 0; i < N_ELEMENTS(foreign); i++)
                ck_assert_int_eq(feed_find(feed, foreign[i], &number), -ESTALE);
        (void) snprintf(bad, sizeof(bad), "%s0000000000000000000000", id);
        ck_assert_int_eq(feed_find(feed, bad, &number), -ESTALE);
        (void) snprintf(bad, sizeof(bad), "%s ", id);
        ck_assert_int_eq(feed_find(feed, bad, &number), -ESTALE);
        (void) snprintf(bad, sizeof(bad), "%.17s-1", id);
        ck_assert_int_eq(feed_find(feed, bad, &number), -ESTALE);

        /* the next run counts from the beginning, and its ids are others */
        ck_assert_int_eq(feed_new(&random_.seam, &clock_.seam, &again), 0);
        ck_assert_str_ne(feed_id(again, 1, other), id);
        ck_assert_int_eq(feed_find(again, id, &number), -ESTALE);
        feed_free(again);
        end();
}
END_TEST

static struct json_object *rendered(const struct change *c, const char *kind) {
        uint64_t number = feed_last(feed);
        char head[128], id[FEED_ID_SIZE];
        struct feed_event *e;
        struct json_object *o;
        bool lost;

        feed_put(feed, c);
        e = feed_next(feed, number, &lost);
        ck_assert_ptr_nonnull(e);
        (void) snprintf(head, sizeof(head),
                        "id: %s\nevent: %s\ndata: ", feed_id(feed, number + 1, id), kind);
        ck_assert_int_eq(strncmp(e->text, head, strlen(head)), 0);
        ck_assert_ptr_eq(strchr(e->text + strlen(head), '\n'), e->text + e->len - 2);
        ck_assert_str_eq(e->text + e->len - 2, "\n\n");
        o = json_tokener_parse(e->text + strlen(head));
        ck_assert_ptr_nonnull(o);
        ck_assert_str_eq(json_object_get_string(json_object_object_get(o, "event")), kind);
        ck_assert_int_eq(json_object_get_int64(json_object_object_get(o, "at")), NOW);
        feed_release(feed, e);
        return o;
}

static const char *member(struct json_object *o, const char *key) {
        return json_object_get_string(json_object_object_get(o, key));
}

START_TEST(rendering)
{
        struct token token = { .fingerprint = "0123456789abcdef", .expires_at = { NOW + 60 } };
        struct change c = {
                .kind = CHANGE_TOKEN, .credential = &bot, .subject = "a\"\n\\", .token = &token
        };
        struct json_object *o;

        begin();
        o = rendered(&c, "token");
        ck_assert_str_eq(member(o, "subject"), "a\"\n\\"); /* on one line all the same */
        ck_assert_str_eq(member(o, "fingerprint"), "0123456789abcdef");
        ck_assert_int_eq(json_object_get_int64(json_object_object_get(o, "expires_at")), NOW + 60);
        json_object_put(o);
        token.never_expires = true;
        o = rendered(&c, "token");
        ck_assert_ptr_null(json_object_object_get(o, "expires_at"));
        json_object_put(o);
        c = (struct change){ .kind = CHANGE_FAILING,
                             .credential = &bot,
                             .subject = "",
                             .reason = "busy",
                             .retry_us = 1 };
        o = rendered(&c, "failing");
        ck_assert_str_eq(member(o, "error"), "temporarily_unavailable");
        ck_assert_int_eq(json_object_get_int64(json_object_object_get(o, "retry_at")), NOW + 1);
        ck_assert_ptr_null(json_object_object_get(o, "fingerprint"));
        json_object_put(o);
        c.refused = true;
        o = rendered(&c, "failing");
        ck_assert_str_eq(member(o, "error"), "upstream_error");
        json_object_put(o);
        c.kind = CHANGE_AUTHORIZATION_REQUIRED;
        o = rendered(&c, "authorization_required");
        ck_assert_str_eq(member(o, "error"), "authorization_required");
        ck_assert_str_eq(member(o, "error_description"), "busy");
        ck_assert_ptr_null(json_object_object_get(o, "retry_at"));
        json_object_put(o);
        end();
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, one_after_the_other);
        tcase_add_test(tc, the_ring_is_bounded);
        tcase_add_test(tc, an_event_lives_as_long_as_its_reader);
        tcase_add_test(tc, start_over);
        tcase_add_test(tc, ids);
        tcase_add_test(tc, rendering);
}

CHECK_MAIN("feed", add)
