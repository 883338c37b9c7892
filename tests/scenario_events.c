#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/feed.h"
#include "api/server.h"
#include "api/stream.h"
#include "check_main.h"
#include "fake_clock.h"
#include "fake_store.h"
#include "fake_transport.h"

/*
 * Readers of events: the real server on real sockets, with a clock that goes on only when the test says so. So what is told
 * without the clock is told at once, and no heartbeat has brought it up.
 */

#define PATIENCE_MS 20000 /* before a test gives up */
#define SLICE_MS    10

#define NOW 1800000000

static struct conf_provider provider = { .name = (char *) "coze.cn",
                                         .dialect = (char *) "coze",
                                         .api_url = (char *) "https://api.coze.cn",
                                         .www_url = (char *) "https://www.coze.cn" };
static struct conf_credential pat = { .name = (char *) "pat",
                                      .type = CREDENTIAL_PAT,
                                      .provider = &provider };
static struct conf_provider *providers[] = { &provider };
static struct conf_credential *credentials[] = { &pat };
static struct conf_socket main_socket = { .name = (char *) "", .path = (char *) "/main" };
static struct conf_socket *sockets[] = { &main_socket };
static struct conf conf = { .providers = providers,
                            .n_providers = 1,
                            .credentials = credentials,
                            .n_credentials = 1,
                            .sockets = sockets,
                            .n_sockets = 1,
                            .connections_per_user = 64,
                            .authorizations_per_user = 16,
                            .waiting_per_user = 64,
                            .request_timeout_us = 30 * US_PER_S,
                            .idle_timeout_us = US_PER_H };

static struct fake_random random_;
static struct fake_transport *transport;
static struct fake_store *store;
static struct timers *timers;
static struct cache *cache;
static struct broker *broker;
static struct feed *feed;
static struct server *server;
static struct inbox *loop;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static socklen_t address_len = sizeof(sa_family_t);
static int listening;
static atomic_int_fast64_t now_us; /* the server's thread reads it, too */

static mono_t read_mono(void *self) {
        (void) self;
        return (mono_t){ atomic_load(&now_us) };
}

static wall_t read_wall(void *self) {
        (void) self;
        return (wall_t){ NOW };
}

static struct clock clock_ = { read_mono, read_wall, NULL };

/* --- the loop: this thread --- */

static void turn(void) {
        struct pollfd p = { .fd = inbox_fd(loop), .events = POLLIN };

        if (poll(&p, 1, SLICE_MS) > 0)
                inbox_run(loop);
}

#define await(condition)                                                                           \
        do {                                                                                       \
                for (int i_ = 0; !(condition) && i_ < PATIENCE_MS / SLICE_MS; i_++)                \
                        turn();                                                                    \
                ck_assert(condition);                                                              \
        } while (0)

static struct message signalled;
static bool has_come;

static void come(struct message *m) {
        (void) m;
        has_come = true;
}

/* The server has seen all that came before, and what time it is. */
static void settle(void) {
        for (int i = 0; i < 2; i++) { /* what it resumes, it runs in the same turn or the next */
                has_come = false;
                signalled.run = come;
                server_ping(server, &signalled);
                await(has_come);
        }
}

static void pass(int64_t us) {
        atomic_fetch_add(&now_us, us);
        settle();
}

static void make_broker(void) {
        transport = fake_transport_new();
        store = fake_store_new();
        timers = timers_new();
        ck_assert_int_eq(conf_index(&conf), 0);
        ck_assert_int_eq(cache_new(&random_.seam, &cache), 0);
        ck_assert_int_eq(
                broker_new(&(struct broker_parts){ .conf = &conf,
                                                   .transport = fake_transport_seam(transport),
                                                   .clock = &clock_,
                                                   .random = &random_.seam,
                                                   .timers = timers,
                                                   .store = fake_store_seam(store),
                                                   .cache = cache },
                           &broker),
                0);
        ck_assert_int_eq(broker_start(broker, NULL), 0);
}

static void drop_broker(void) {
        broker_stop(broker, NULL, NULL);
        broker_free(broker);
        cache_free(cache);
        timers_free(timers);
        fake_store_free(store);
        fake_transport_free(transport);
        table_done(&conf.names);
}

static void begin(void) {
        struct server_parts parts = { .conf = &conf, .clock = &clock_ };

        atomic_store(&now_us, 1000 * US_PER_S);
        fake_random_init(&random_, 1);
        make_broker();
        listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_eq(bind(listening, (struct sockaddr *) &address, sizeof(sa_family_t)), 0);
        address_len = sizeof(address);
        ck_assert_int_eq(getsockname(listening, (struct sockaddr *) &address, &address_len), 0);
        ck_assert_int_eq(listen(listening, 16), 0);
        ck_assert_int_eq(inbox_new(&loop), 0);
        ck_assert_int_eq(feed_new(&random_.seam, &clock_, &feed), 0);
        parts.broker = broker;
        parts.cache = cache;
        parts.feed = feed;
        parts.loop = loop;
        parts.fds = &listening;
        ck_assert_int_eq(server_start(&parts, &server), 0);
}

static void end(void) {
        has_come = false;
        signalled.run = come;
        server_stop(server, &signalled);
        await(has_come);
        server_free(server);
        inbox_free(loop);
        feed_free(feed);
        (void) close(listening);
        drop_broker();
}

/* --- readers --- */

struct reader {
        int fd;
        char text[65536];
        size_t len;
};

/* What is there. False: it has ended. */
static bool take(struct reader *r) {
        ssize_t n = 1;

        while (n > 0 && r->len < sizeof(r->text) - 1) {
                n = recv(r->fd, r->text + r->len, sizeof(r->text) - 1 - r->len, MSG_DONTWAIT);
                r->len += n > 0 ? (size_t) n : 0;
        }
        r->text[r->len] = '\0';
        return n != 0;
}

static bool has(struct reader *r, const char *text) {
        (void) take(r);
        return strstr(r->text, text);
}

static void forget(struct reader *r) {
        r->len = 0;
        r->text[0] = '\0';
}

static size_t n_readers(void) {
        return atomic_load(&server_streams(server)->n);
}

static void open_reader(struct reader *r, int room) {
        static const char request[] = "GET /v1/events HTTP/1.0\r\nHost: x\r\n\r\n";

        r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        r->len = 0;
        if (room > 0)
                ck_assert_int_eq(setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
        ck_assert_int_eq(connect(r->fd, (struct sockaddr *) &address, address_len), 0);
        ck_assert_int_eq(send(r->fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
        await(has(r, "event: state\n") && has(r, "\n\n"));
        settle();
        forget(r);
}

static void put(int number) {
        char reason[512];
        const struct change c = { .kind = CHANGE_AUTHORIZATION_REQUIRED,
                                  .credential = &pat,
                                  .subject = "",
                                  .reason = reason };

        (void) snprintf(reason, sizeof(reason), "%0400d", number);
        feed_put(feed, &c);
        server_news(server);
}

/* --- */

START_TEST(an_event_comes_without_the_clock)
{
        struct reader r;

        begin();
        open_reader(&r, 0);
        put(1);
        await(has(&r, "event: authorization_required\n"));
        ck_assert_uint_eq(n_readers(), 1);
        (void) close(r.fd);
        end();
}
END_TEST

START_TEST(a_hang_up_is_seen_without_the_clock)
{
        struct reader r[4];

        begin();
        for (size_t i = 0; i < N_ELEMENTS(r); i++)
                open_reader(&r[i], 0);
        ck_assert_uint_eq(n_readers(), 4);
        (void) close(r[0].fd);
        (void) close(r[2].fd);
        await(n_readers() == 2);
        put(1); /* the others have noticed nothing */
        await(has(&r[1], "event: authorization_required\n") &&
              has(&r[3], "event: authorization_required\n"));
        (void) shutdown(r[1].fd, SHUT_RDWR);
        await(n_readers() == 1);
        (void) close(r[1].fd);
        (void) close(r[3].fd);
        end();
}
END_TEST

/* However the two cross. */
START_TEST(a_hang_up_while_an_event_is_on_its_way)
{
        struct reader r[3];

        begin();
        for (int i = 0; i < 20; i++) {
                for (size_t k = 0; k < N_ELEMENTS(r); k++)
                        open_reader(&r[k], 0);
                put(i);
                for (size_t k = 0; k < N_ELEMENTS(r); k++)
                        (void) close(r[k].fd);
                await(n_readers() == 0);
        }
        end();
}
END_TEST

START_TEST(a_comment_comes_when_nothing_else_does)
{
        struct reader r;

        begin();
        open_reader(&r, 0);
        pass(STREAM_BEAT_US - 1);
        ck_assert(!has(&r, ":"));
        pass(1);
        await(has(&r, ":\n\n"));
        forget(&r);
        for (int i = 0; i < 3; i++) { /* and again, for as long as it takes */
                pass(STREAM_BEAT_US);
                await(has(&r, ":\n\n"));
                forget(&r);
        }
        (void) close(r.fd);
        end();
}
END_TEST

/* Neither is one who has read everything cut, whatever the limits of requests. */
START_TEST(a_reader_who_keeps_up_stays_for_ever)
{
        struct reader r;

        begin();
        open_reader(&r, 0);
        for (int i = 0; i < 100; i++) {
                pass(10 * US_PER_S);
                if (i % 10 == 0)
                        put(i);
        }
        ck_assert(take(&r));
        ck_assert_uint_eq(n_readers(), 1);
        (void) close(r.fd);
        end();
}
END_TEST

/* One who has stopped reading costs a socket's buffer for request_timeout, and not more. */
START_TEST(a_reader_who_has_stopped_is_cut)
{
        struct reader idle, good;

        begin();
        open_reader(&idle, 4096);
        open_reader(&good, 0);
        for (int i = 0; i < 4 * FEED_EVENTS_MAX; i++) {
                put(i);
                if (i % 64 == 0) {
                        settle();
                        (void) take(&good);
                        forget(&good);
                }
        }
        settle();
        pass(29 * US_PER_S);
        ck_assert_uint_eq(n_readers(), 2);
        (void) take(&good);
        settle();
        pass(2 * US_PER_S);
        await(n_readers() == 1);
        forget(&good);
        put(4711);
        await(has(&good, "4711"));
        (void) close(idle.fd);
        (void) close(good.fd);
        end();
}
END_TEST

/* One who comes late finds events gone, is told so, and goes on from the state. */
START_TEST(a_reader_who_is_late_is_told)
{
        struct reader r;

        begin();
        open_reader(&r, 4096);
        for (int i = 0; i < 4 * FEED_EVENTS_MAX; i++)
                put(i);
        for (int i = 0; i < PATIENCE_MS / SLICE_MS && !has(&r, "\"reason\":\"lost\""); i++) {
                if (r.len > sizeof(r.text) / 2)
                        forget(&r); /* its own are no more than its socket holds */
                turn();
        }
        ck_assert(has(&r, "\"reason\":\"lost\""));
        put(4711);
        await(has(&r, "4711"));
        (void) close(r.fd);
        end();
}
END_TEST

static void add(TCase *tc) {
        tcase_set_timeout(tc, 60);
        tcase_add_test(tc, an_event_comes_without_the_clock);
        tcase_add_test(tc, a_hang_up_is_seen_without_the_clock);
        tcase_add_test(tc, a_hang_up_while_an_event_is_on_its_way);
        tcase_add_test(tc, a_comment_comes_when_nothing_else_does);
        tcase_add_test(tc, a_reader_who_keeps_up_stays_for_ever);
        tcase_add_test(tc, a_reader_who_has_stopped_is_cut);
        tcase_add_test(tc, a_reader_who_is_late_is_told);
}

CHECK_MAIN("events", add)
