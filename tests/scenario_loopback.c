#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "api/loopback.h"
#include "check_main.h"
#include "world.h"

/*
 * The loopback listener with real sockets in a world whose time the test drives: what takes half a
 * minute or a quarter of an hour in life, and an end in the middle of a page.
 */

#define CODE "code_0123456789abcdef"

struct rig {
        struct world w;
        sd_event *event;
        struct loopback *loopback;
        struct conf_credential *credential;
        struct authorization *authorization;
        char host[32], uri[64];
        struct sockaddr_in at;
        char page[8192];
};

/* What the broker would have told: see world.h. */
static void rig_tell(struct rig *rig) {
        loopback_pending(
                rig->loopback, rig->credential,
                authorizations_pending(broker_authorizations(rig->w.broker), rig->credential));
}

static void rig_init(struct rig *rig) {
        struct loopback_parts parts = { 0 };
        socklen_t len = sizeof(rig->at);
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        *rig = (struct rig){ .at = { .sin_family = AF_INET,
                                     .sin_addr = { htonl(INADDR_LOOPBACK) } } };
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &rig->at, len), 0);
        ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &rig->at, &len), 0);
        ck_assert_int_eq(close(fd), 0);
        (void) snprintf(rig->host, sizeof(rig->host), "127.0.0.1:%u",
                        (unsigned) ntohs(rig->at.sin_port));
        (void) snprintf(rig->uri, sizeof(rig->uri), "http://%s/back", rig->host);
        world_start(&rig->w);
        rig->credential = &rig->w.credential[APP];
        rig->credential->redirect_uri = rig->uri;
        ck_assert_int_ge(sd_event_new(&rig->event), 0);
        parts.conf = &rig->w.conf;
        parts.authorizations = broker_authorizations(rig->w.broker);
        parts.event = rig->event;
        ck_assert_int_eq(loopback_new(&parts, &rig->loopback), 0);
}

/* As main.c does it. */
static void rig_done(struct rig *rig) {
        broker_stop(rig->w.broker, NULL, NULL);
        rig->loopback = loopback_free(rig->loopback);
        sd_event_unref(rig->event);
        world_done(&rig->w);
}

/* Everything that is to be done now. */
static void rig_run(struct rig *rig) {
        while (sd_event_run(rig->event, 0) > 0)
                ;
}

static bool rig_is_open(const struct rig *rig) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        bool open = connect(fd, (const struct sockaddr *) &rig->at, sizeof(rig->at)) == 0;

        ck_assert_int_eq(close(fd), 0);
        return open;
}

static void rig_started(void *user, struct authorization *a) {
        ((struct rig *) user)->authorization = a;
}

static void rig_begin(struct rig *rig) {
        ck_assert_int_eq(authorization_start(broker_authorizations(rig->w.broker), rig->credential,
                                             "alice", 0, rig_started, rig),
                         0);
        ck_assert_ptr_nonnull(rig->authorization);
        rig_tell(rig);
}

static int rig_connect(const struct rig *rig) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        ck_assert_int_eq(connect(fd, (const struct sockaddr *) &rig->at, sizeof(rig->at)), 0);
        return fd;
}

/* A browser comes back with a code. */
static int rig_visit(struct rig *rig) {
        char request[512];
        int fd = rig_connect(rig);
        int n = snprintf(request, sizeof(request),
                         "GET /back?code=" CODE "&state=%s HTTP/1.1\r\nHost: %s\r\n\r\n",
                         secret_text(rig->authorization->state_parameter), rig->host);

        ck_assert_int_eq(send(fd, request, (size_t) n, 0), n);
        return fd;
}

static bool rig_is_answered(int fd) {
        char c;

        return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

/* To its end. */
static const char *rig_read(struct rig *rig, int fd) {
        size_t len = 0;
        ssize_t n;

        while ((n = recv(fd, rig->page + len, sizeof(rig->page) - 1 - len, 0)) > 0)
                len += (size_t) n;
        rig->page[len] = '\0';
        ck_assert_int_eq(close(fd), 0);
        ck_assert_ptr_null(strstr(rig->page, CODE));
        return rig->page;
}

/* The provider takes the code. */
static void rig_grant(struct rig *rig) {
        char body[160];

        (void) snprintf(body, sizeof(body),
                        "{\"access_token\":\"czu_token\",\"refresh_token\":\"czr_token\","
                        "\"expires_in\":%lld}",
                        (long long) rig->w.clock.wall.s + 900);
        fake_transport_answer(rig->w.transport, 200, body, rig->w.clock.wall.s, -1);
        fake_store_complete_all(rig->w.store);
}

START_TEST(succeeds)
{
        struct rig rig;
        int fd;

        rig_init(&rig);
        ck_assert(!rig_is_open(&rig));
        rig_begin(&rig);
        ck_assert(rig_is_open(&rig));
        fd = rig_visit(&rig);
        rig_run(&rig);
        ck_assert_uint_eq(fake_transport_waiting(rig.w.transport), 1);
        ck_assert(!rig_is_answered(fd));
        rig_grant(&rig);
        ck_assert_int_eq(rig.authorization->state, AUTHORIZATION_SUCCEEDED);
        rig_tell(&rig);
        ck_assert(!rig_is_open(&rig)); /* at once; the page is still to be taken */
        rig_run(&rig);
        ck_assert_ptr_nonnull(strstr(rig_read(&rig, fd), "HTTP/1.1 200"));
        ck_assert_ptr_nonnull(strstr(rig.page, "app / alice"));
        rig_done(&rig);
}
END_TEST

/* What the provider says is shown, but for the code in it. */
START_TEST(echoed)
{
        struct rig rig;
        int fd;

        rig_init(&rig);
        rig_begin(&rig);
        fd = rig_visit(&rig);
        rig_run(&rig);
        fake_transport_answer(rig.w.transport, 400,
                              "{\"error_code\":\"invalid_grant\","
                              "\"error_message\":\"no such code: " CODE ", <sorry>\"}",
                              rig.w.clock.wall.s, -1);
        rig_tell(&rig);
        rig_run(&rig);
        ck_assert_ptr_nonnull(strstr(rig_read(&rig, fd), "HTTP/1.1 502"));
        ck_assert_ptr_nonnull(strstr(rig.page, "no such code: [redacted], &lt;sorry&gt;"));
        rig_done(&rig);
}
END_TEST

/* The page does not wait longer than a person; the authorization does. */
START_TEST(still_working)
{
        struct rig rig;
        int fd;

        rig_init(&rig);
        rig_begin(&rig);
        fd = rig_visit(&rig);
        rig_run(&rig);
        world_pass(&rig.w, LOOPBACK_WAIT_US - 1);
        rig_run(&rig);
        ck_assert(!rig_is_answered(fd));
        world_pass(&rig.w, 1);
        rig_run(&rig);
        ck_assert_ptr_nonnull(strstr(rig_read(&rig, fd), "HTTP/1.1 202"));
        ck_assert_ptr_nonnull(strstr(rig.page, "Still working"));
        rig_tell(&rig);
        ck_assert(rig_is_open(&rig));
        rig_grant(&rig);
        ck_assert_int_eq(rig.authorization->state, AUTHORIZATION_SUCCEEDED);
        rig_tell(&rig);
        ck_assert(!rig_is_open(&rig));
        rig_done(&rig);
}
END_TEST

START_TEST(nobody_comes)
{
        struct rig rig;
        int fd;

        rig_init(&rig);
        rig_begin(&rig);
        fd = rig_connect(&rig); /* and says nothing */
        rig_run(&rig);
        world_pass(&rig.w, AUTHORIZATION_LIFETIME_US - 1);
        rig_tell(&rig);
        ck_assert(rig_is_open(&rig));
        world_pass(&rig.w, 1);
        ck_assert_int_eq(rig.authorization->state, AUTHORIZATION_EXPIRED);
        rig_tell(&rig);
        ck_assert(!rig_is_open(&rig));
        rig_run(&rig);
        ck_assert_int_eq(close(fd), 0);
        rig_done(&rig);
}
END_TEST

/* The daemon ends before the loop comes to the page. */
START_TEST(end_in_the_middle)
{
        struct rig rig;
        int fd;

        rig_init(&rig);
        rig_begin(&rig);
        fd = rig_visit(&rig);
        rig_run(&rig);
        ck_assert(!rig_is_answered(fd));
        rig_done(&rig);
        ck_assert_ptr_nonnull(strstr(rig_read(&rig, fd), "HTTP/1.1 410"));
        ck_assert_ptr_nonnull(strstr(rig.page, "bearerd is stopping"));
}
END_TEST

/* The port is opened anew while the last visitor of the old one is still there. */
START_TEST(again_at_once)
{
        struct rig rig;
        int first, second;

        rig_init(&rig);
        rig_begin(&rig);
        first = rig_visit(&rig);
        rig_run(&rig);
        rig_grant(&rig);
        rig_tell(&rig);
        rig_begin(&rig);
        second = rig_visit(&rig);
        rig_run(&rig);
        ck_assert_uint_eq(fake_transport_waiting(rig.w.transport), 1);
        ck_assert(!rig_is_answered(second));
        ck_assert_ptr_nonnull(strstr(rig_read(&rig, first), "HTTP/1.1 200"));
        rig_grant(&rig);
        rig_tell(&rig);
        rig_run(&rig);
        ck_assert_ptr_nonnull(strstr(rig_read(&rig, second), "HTTP/1.1 200"));
        ck_assert(!rig_is_open(&rig));
        rig_done(&rig);
}
END_TEST

/* Somebody has the port: callers are told as long as it matters. */
START_TEST(taken)
{
        struct why warning;
        struct rig rig;
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        rig_init(&rig);
        ck_assert(!loopback_listens(rig.loopback, rig.credential, &warning));
        ck_assert_str_eq(warning.text, "");
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &rig.at, sizeof(rig.at)), 0);
        ck_assert_int_eq(listen(fd, 1), 0);
        rig_begin(&rig);
        ck_assert(!loopback_listens(rig.loopback, rig.credential, &warning));
        ck_assert_ptr_nonnull(strstr(warning.text, rig.host));
        ck_assert_ptr_nonnull(strstr(warning.text, "in use"));
        ck_assert_int_eq(close(fd), 0);
        authorization_cancel(rig.authorization, "enough");
        rig_tell(&rig);
        ck_assert(!loopback_listens(rig.loopback, rig.credential, &warning));
        ck_assert_str_eq(warning.text, "");
        rig_begin(&rig);
        ck_assert(loopback_listens(rig.loopback, rig.credential, &warning));
        ck_assert_str_eq(warning.text, "");
        rig_done(&rig);
}
END_TEST

/* For another machine's nobody listens, however many wait. */
START_TEST(not_ours)
{
        struct why warning;
        struct rig rig;

        rig_init(&rig);
        loopback_pending(rig.loopback, &rig.w.credential[SITE], 3); /* https://app.example */
        ck_assert(!loopback_listens(rig.loopback, &rig.w.credential[SITE], &warning));
        ck_assert_str_eq(warning.text, "");
        loopback_pending(rig.loopback, &rig.w.credential[TV], 1); /* has none */
        ck_assert(!loopback_listens(rig.loopback, &rig.w.credential[TV], &warning));
        rig_done(&rig);
}
END_TEST

static void add(TCase *tc) {
        world_prepare();
        tcase_add_test(tc, succeeds);
        tcase_add_test(tc, echoed);
        tcase_add_test(tc, still_working);
        tcase_add_test(tc, nobody_comes);
        tcase_add_test(tc, end_in_the_middle);
        tcase_add_test(tc, again_at_once);
        tcase_add_test(tc, taken);
        tcase_add_test(tc, not_ours);
}

CHECK_MAIN("loopback", add)
