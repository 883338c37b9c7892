#include "client/libbearer/bearer.h"

/*
 * The daemon is a thread that plays a script: for each connection that is made, one row after the other.
 */

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check_main.h"
#include "client/libbearer/json.h"
#include "client/libbearer/token.h"

#define ROWS_MAX 16

struct row {
        const char *head; /* NULL: hangs up unasked */
        const char *body;
        bool bytewise, close;
};

static struct daemon {
        char dir[32], path[64];
        int listener;
        pthread_t thread;
        const struct row *rows;
        int n_rows;
        atomic_int asked, connections;
        char requests[ROWS_MAX][1024];
} daemon_;

#define FP1           "Bearer-Fingerprint: 1111111111111111\r\n"
#define FP2           "Bearer-Fingerprint: 2222222222222222\r\n"
#define OK            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
#define ERROR(status) "HTTP/1.1 " status " X\r\nContent-Type: application/json\r\n"

static bool read_request(int fd, char *text, size_t size) {
        size_t len = 0;
        char *end, *length;

        for (;;) {
                ssize_t n = read(fd, text + len, size - 1 - len);

                if (n <= 0)
                        return false;
                len += (size_t) n;
                text[len] = '\0';
                end = strstr(text, "\r\n\r\n");
                if (!end)
                        continue;
                length = strstr(text, "Content-Length: ");
                if (len >= (size_t) (end + 4 - text) + (length ? (size_t) atoi(length + 16) : 0))
                        return true;
        }
}

static void *play(void *arg) {
        int i = 0;

        (void) arg;
        while (i < daemon_.n_rows) {
                int fd = accept(daemon_.listener, NULL, NULL);

                if (fd < 0)
                        return NULL;
                atomic_fetch_add(&daemon_.connections, 1);
                while (i < daemon_.n_rows) {
                        const struct row *row = &daemon_.rows[i];
                        char answer[8192];
                        size_t len, step;

                        if (!row->head) {
                                i++;
                                break;
                        }
                        if (!read_request(fd, daemon_.requests[i], sizeof(daemon_.requests[i])))
                                break;
                        atomic_fetch_add(&daemon_.asked, 1);
                        len = (size_t) snprintf(answer, sizeof(answer),
                                                "%sContent-Length: %zu\r\n\r\n%s", row->head,
                                                strlen(row->body), row->body);
                        step = row->bytewise ? 1 : len;
                        for (size_t k = 0; k < len; k += step)
                                if (send(fd, answer + k, step, MSG_NOSIGNAL) < 0)
                                        break;
                        i++;
                        if (row->close)
                                break;
                }
                close(fd);
        }
        return NULL;
}

static struct bearer *client;

static void start(const struct row *rows, int n) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        strcpy(daemon_.dir, "/tmp/bearer-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(daemon_.dir));
        (void) snprintf(daemon_.path, sizeof(daemon_.path), "%s/s", daemon_.dir);
        strcpy(address.sun_path, daemon_.path);
        daemon_.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(daemon_.listener, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(listen(daemon_.listener, 16), 0);
        daemon_.rows = rows;
        daemon_.n_rows = n;
        atomic_store(&daemon_.asked, 0);
        atomic_store(&daemon_.connections, 0);
        ck_assert_int_eq(pthread_create(&daemon_.thread, NULL, play, NULL), 0);
        ck_assert_int_eq(bearer_new(&client, daemon_.path), 0);
}

static void finish(void) {
        client = bearer_free(client);
        shutdown(daemon_.listener, SHUT_RDWR);
        pthread_join(daemon_.thread, NULL);
        close(daemon_.listener);
        unlink(daemon_.path);
        rmdir(daemon_.dir);
}

#define START(rows) start(rows, (int) N_ELEMENTS(rows))

static void check_token(const char *value, const struct bearer_request *rq) {
        struct bearer_token *token;

        ck_assert_int_eq(bearer_get(client, "bot", rq, &token), 0);
        ck_assert_str_eq(bearer_token_value(token), value);
        ck_assert(bearer_token_unref(token) == NULL);
}

START_TEST(one_round_trip)
{
        static const struct row rows[] = { { OK FP1 "Bearer-Expires-At: 4000000000\r\n", "czs_one",
                                             false, false } };
        struct bearer_token *token;

        START(rows);
        ck_assert_int_eq(bearer_get_cached(client, "bot", NULL, &token), -EAGAIN);
        for (int i = 0; i < 1000; i++)
                check_token("czs_one", NULL);
        ck_assert_int_eq(bearer_get_cached(client, "bot", NULL, &token), 0);
        ck_assert_str_eq(bearer_token_header(token), "Authorization: Bearer czs_one");
        ck_assert_str_eq(bearer_token_fingerprint(token), "1111111111111111");
        ck_assert_int_eq(bearer_token_expires_at(token), 4000000000);
        ck_assert_int_gt(bearer_token_expires_in(token), 1000000);
        ck_assert_int_eq(atomic_load(&daemon_.asked), 1);
        ck_assert(strstr(daemon_.requests[0], "GET /v1/token/bot HTTP/1.1\r\n") ==
                  daemon_.requests[0]);
        finish();
        ck_assert_str_eq(bearer_token_value(token), "czs_one"); /* outlives its client */
        bearer_token_unref(token);
}
END_TEST

/* The clock was set to another time between the daemon's answer and our reading of it. */
START_TEST(clock_was_set)
{
        static const struct row rows[] = {
                { OK FP1 "Bearer-Expires-At: 1000000000\r\nBearer-Expires-In: 100\r\n", "czs_one",
                  false, false },
                { OK FP2 "Bearer-Expires-At: 4000000000\r\nBearer-Expires-In: 10\r\n", "czs_two",
                  false, false },
                { OK FP1 "Bearer-Expires-In: 9223372036854775807\r\n", "czs_three", false, false },
        };
        struct bearer_request *rq;
        struct bearer_token *token;

        START(rows);
        check_token("czs_one", NULL);
        ck_assert_int_eq(bearer_get_cached(client, "bot", NULL, &token), 0);
        ck_assert_int_le(bearer_token_expires_in(token), 100);
        ck_assert_int_gt(bearer_token_expires_in(token), 50);
        ck_assert_int_eq(bearer_token_expires_at(token), 1000000000); /* as the daemon said */
        bearer_token_unref(token);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        ck_assert_int_eq(bearer_request_set_subject(rq, "x"), 0);
        ck_assert_int_eq(bearer_request_set_min_ttl(rq, 50), 0);
        check_token("czs_two", rq);
        ck_assert_int_eq(bearer_get_cached(client, "bot", rq, &token), -EAGAIN);
        check_token("czs_three", rq);
        check_token("czs_three", rq);
        bearer_request_free(rq);
        finish();
}
END_TEST

START_TEST(rejected)
{
        static const struct row rows[] = { { OK FP1, "czs_one", true, false },
                                           { OK FP2, "czs_two", true, false } };
        struct bearer_token *token;

        START(rows);
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), 0);
        ck_assert_int_eq(bearer_token_expires_at(token), -1);
        ck_assert_int_eq(bearer_token_expires_in(token), -1);
        ck_assert_int_eq(bearer_reject(client, token), 0);
        check_token("czs_two", NULL);
        ck_assert_int_eq(bearer_reject(client, token), 0); /* of no interest any more */
        check_token("czs_two", NULL);
        ck_assert_str_eq(bearer_token_value(token), "czs_one"); /* it is still ours */
        bearer_token_unref(token);
        ck_assert_ptr_nonnull(strstr(daemon_.requests[1], "?rejected=1111111111111111 "));
        ck_assert_int_eq(atomic_load(&daemon_.connections), 1);
        finish();
}
END_TEST

START_TEST(options)
{
        static const struct row rows[] = { { OK FP1, "a", false, false },
                                           { OK FP2, "b", false, false },
                                           { OK FP1, "c", false, false } };
        struct bearer_request *rq;

        START(rows);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        check_token("a", rq);
        ck_assert_int_eq(bearer_request_set_subject(rq, "\"a b\"\n"), 0);
        ck_assert_int_eq(bearer_request_set_min_ttl(rq, 7), 0);
        ck_assert_int_eq(bearer_request_set_wait(rq, 9), 0);
        check_token("b", rq);
        check_token("b", rq);
        ck_assert_int_eq(bearer_request_set_duration(rq, 600), 0);
        ck_assert_int_eq(bearer_request_set_scope(rq, " {\"a\":[1]}"), 0);
        check_token("c", rq);
        check_token("c", rq);
        ck_assert_ptr_nonnull(strstr(daemon_.requests[1],
                                     "/v1/token/bot?subject=%22a%20b%22%0A&min_ttl=7&wait=9 "));
        ck_assert_ptr_nonnull(
                strstr(daemon_.requests[2],
                       "\r\n\r\n{\"wait\":9,\"subject\":\"\\\"a b\\\"\\u000a\",\"min_ttl\":7,"
                       "\"duration_seconds\":600,\"scope\": {\"a\":[1]}}"));
        ck_assert_int_eq(bearer_request_set_scope(rq, "{\"a\":1},\"wait\":0"), -EINVAL);
        ck_assert_int_eq(bearer_request_set_scope(rq, "[1]"), -EINVAL);
        ck_assert_int_eq(bearer_request_set_duration(rq, -1), -EINVAL);
        ck_assert_int_eq(bearer_request_set_wait(rq, 121), -EINVAL);
        check_token("c", rq); /* nothing has changed */
        bearer_request_free(rq);
        finish();
}
END_TEST

static const struct {
        const char *head, *body;
        int r, retry_after;
        const char *text;
} refusals[] = {
        { ERROR("400"), "{\"error\":\"invalid_request\",\"error_description\":\"no\"}", -EINVAL, -1,
          "bot: no" },
        { ERROR("403"), "{\"error_description\":\"\\u4e2d\\ud83d\\ude00\\n\"}", -EACCES, -1,
          "bot: \xe4\xb8\xad\xf0\x9f\x98\x80 " },
        { ERROR("404"),
          "{\"error\":1,\"x\":[{\"error_description\":\"y\"}],\"error_description\":\"z\"}",
          -ENOENT, -1, "bot: z" },
        { ERROR("409"), "{}", -ENOKEY, -1, "bot: HTTP 409 from the daemon" },
        { ERROR("429") "Retry-After: 7\r\n", "{\"error_description\":\"slow\"}", -EBUSY, 7,
          "bot: slow" },
        { ERROR("500"), "x", -EIO, -1, "bot: HTTP 500 from the daemon" },
        { ERROR("502"), "{\"error_description\":\"up\"}", -EREMOTEIO, -1, "bot: up" },
        { ERROR("503") "Retry-After: 9\r\n", "{\"error_description\":\"down\"}", -EHOSTDOWN, 9,
          "bot: down" },
        { ERROR("504"), "{\"error_description\":\"late\"", -ETIMEDOUT, -1, "bot: late" },
        { ERROR("302"), "", -EPROTO, -1, "bot: HTTP 302 from the daemon" },
        { OK, "no fingerprint", -EPROTO, -1, NULL },
        { OK FP1, "blank inside", -EPROTO, -1, NULL },
        { OK FP1, "", -EPROTO, -1, NULL },
        { "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" FP1, "{}", -EPROTO, -1, NULL },
        { "SSH-2.0-OpenSSH\r\n", "", -EPROTO, -1, NULL },
};

START_TEST(refusal)
{
        const struct row row = { refusals[_i].head, refusals[_i].body, false, true };
        struct bearer_token *token = (struct bearer_token *) 1;

        start(&row, 1);
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), refusals[_i].r);
        ck_assert_ptr_eq(token, (struct bearer_token *) 1);
        ck_assert_int_eq(bearer_error_retry_after(), refusals[_i].retry_after);
        if (refusals[_i].text)
                ck_assert_str_eq(bearer_error_text(), refusals[_i].text);
        ck_assert_str_ne(bearer_strerror(refusals[_i].r), "unknown error");
        finish();
}
END_TEST

/* What a restart looks like from here: stale connections, hang-ups, a daemon that says it is stopping. */
START_TEST(asks_again)
{
        static const struct row rows[] = {
                { NULL, NULL, false, false },
                { NULL, NULL, false, false },
                { ERROR("503"), "{\"error_description\":\"bearerd is stopping\"}", false, false },
                { OK FP1, "one", false, true }, /* closes after it */
                { OK FP2, "two", true, false },
        };
        struct bearer_request *rq;

        START(rows);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        check_token("one", NULL);
        ck_assert_int_eq(bearer_request_set_subject(rq, "x"), 0);
        check_token("two", rq);
        bearer_request_free(rq);
        finish();
}
END_TEST

START_TEST(no_daemon)
{
        struct bearer_token *token;

        ck_assert_int_eq(bearer_new(&client, "/nonexistent/socket"), 0);
        ck_assert_int_eq(bearer_set_timeout(client, 30), 0);
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), -ECONNREFUSED);
        ck_assert_str_eq(bearer_error_text(), "bot: no daemon at /nonexistent/socket");
        ck_assert_int_eq(bearer_get(client, "no name", NULL, &token), -EINVAL);
        ck_assert_int_eq(bearer_get(client, NULL, NULL, &token), -EINVAL);
        ck_assert_int_eq(bearer_set_timeout(client, -1), -EINVAL);
        bearer_free(client);
        ck_assert_int_eq(bearer_new(&client, ""), -EINVAL);
}
END_TEST

/* A daemon that takes the connection and says nothing. */
START_TEST(silence)
{
        struct bearer_token *token;

        start(NULL, 0);
        ck_assert_int_eq(bearer_set_timeout(client, 30), 0);
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), -ETIMEDOUT);
        finish();
}
END_TEST

static void *get_in_thread(void *arg) {
        (void) arg;
        check_token("czs_one", NULL);
        return NULL;
}

START_TEST(single_flight)
{
        static const struct row rows[] = { { OK FP1, "czs_one", true, false } };
        pthread_t threads[16];

        START(rows);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, get_in_thread, NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                pthread_join(threads[i], NULL);
        ck_assert_int_eq(atomic_load(&daemon_.asked), 1);
        finish();
}
END_TEST

/* The child has the token, and a connection of its own. */
START_TEST(forked)
{
        static const struct row rows[] = { { OK FP1, "czs_one", false, false },
                                           { OK FP2, "czs_two", false, false } };
        struct bearer_request *rq;
        int status;
        pid_t pid;

        START(rows);
        check_token("czs_one", NULL);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        ck_assert_int_eq(bearer_request_set_subject(rq, "x"), 0);
        pid = fork();
        if (pid == 0) {
                struct bearer_token *token;
                int r = bearer_get_cached(client, "bot", NULL, &token);

                if (r == 0)
                        bearer_token_unref(token);
                bearer_set_timeout(client, 20);
                if (bearer_get(client, "bot", rq, &token) != -ETIMEDOUT)
                        r = -1; /* the one connection that is served is the parent's */
                bearer_free(client);
                bearer_request_free(rq);
                _exit(r == 0 ? 0 : 1);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
        check_token("czs_two", rq);
        ck_assert_int_eq(atomic_load(&daemon_.connections), 1);
        bearer_request_free(rq);
        finish();
}
END_TEST

/* The loop */

static int answers, last_r;

static void answered(void *user, int r, struct bearer_token *token) {
        answers++;
        last_r = r;
        if (r == 0 && user)
                *(struct bearer_token **) user = bearer_token_ref(token);
}

static void run_loop(int until) {
        struct pollfd fd = { .fd = bearer_fd(client), .events = POLLIN };

        while (answers < until) {
                ck_assert_int_eq(poll(&fd, 1, 20000), 1);
                ck_assert_int_ge(bearer_process(client), 0);
        }
}

START_TEST(loop)
{
        static const struct row rows[] = { { NULL, NULL, false, false },
                                           { OK FP1, "czs_one", true, false },
                                           { ERROR("409"), "{\"error_description\":\"log in\"}",
                                             true, false } };
        struct bearer_token *token = NULL;
        struct bearer_call *call;

        answers = 0;
        START(rows);
        ck_assert_int_eq(bearer_get_async(client, "bot", NULL, answered, &token, NULL), 0);
        ck_assert_int_eq(bearer_get_async(client, "bot", NULL, answered, NULL, NULL), 0);
        ck_assert_int_eq(bearer_get_async(client, "bot", NULL, answered, NULL, &call), 0);
        ck_assert(bearer_call_cancel(call) == NULL);
        run_loop(2);
        ck_assert_int_eq(atomic_load(&daemon_.asked), 1);
        ck_assert_str_eq(bearer_token_value(token), "czs_one");
        bearer_token_unref(token);
        ck_assert_int_eq(bearer_get_async(client, "bot", NULL, answered, NULL, NULL), 0);
        ck_assert_int_eq(answers, 2); /* from memory, and by the callback all the same */
        run_loop(3);
        ck_assert_int_eq(last_r, 0);
        ck_assert_int_eq(bearer_get_async(client, "other", NULL, answered, NULL, NULL), 0);
        run_loop(4);
        ck_assert_int_eq(last_r, -ENOKEY);
        ck_assert_str_eq(bearer_error_text(), "other: log in");
        ck_assert_int_eq(bearer_get_async(client, "bot", NULL, answered, NULL, &call), 0);
        bearer_call_cancel(call);
        ck_assert_int_eq(bearer_get_async(client, "third", NULL, answered, NULL, NULL),
                         0); /* left over */
        finish();
        ck_assert_int_eq(answers, 4);
}
END_TEST

START_TEST(loop_timeout)
{
        answers = 0;
        start(NULL, 0);
        ck_assert_int_eq(bearer_set_timeout(client, 30), 0);
        ck_assert_int_eq(bearer_get_async(client, "bot", NULL, answered, NULL, NULL), 0);
        run_loop(1);
        ck_assert_int_eq(last_r, -ETIMEDOUT);
        finish();
}
END_TEST

/* Events */

static char story[512];

static void seen(void *user, int r, const struct bearer_event *event) {
        (void) user;
        answers++;
        last_r = r;
        if (r < 0)
                (void) strcat(story, bearer_error_text());
        else
                (void) snprintf(story + strlen(story), sizeof(story) - strlen(story),
                                "%s %s/%s %s;", bearer_event_type(event),
                                bearer_event_credential(event), bearer_event_subject(event),
                                bearer_event_fingerprint(event));
}

#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

START_TEST(events)
{
        static const struct row rows[] = {
                { STREAM,
                  "id: 7-1\nevent: state\ndata: {\"event\":\"state\",\"credentials\":[]}\n\n: alive\n\n"
                  "id: 7-2\nevent: token\ndata: {\"credential\":\"bot\",\"subject\":\"\","
                  "\"fingerprint\":\"2222222222222222\"}\n\nid: 7-3\nevent: half",
                  true, true },
                { STREAM, "event: failing\ndata: {\"credential\":\"bot\",\"subject\":\"x\"}\n\n",
                  false, true },
                { ERROR("404"), "{\"error_description\":\"no such credential\"}", false, true },
        };
        struct bearer_watch *watch;

        answers = 0;
        story[0] = '\0';
        START(rows);
        ck_assert_int_eq(bearer_watch(client, "bot", seen, NULL, &watch), 0);
        run_loop(4);
        ck_assert_str_eq(story,
                         "state / ;token bot/ 2222222222222222;failing bot/x ;no such credential");
        ck_assert_int_eq(last_r, -ENOENT);
        ck_assert_ptr_nonnull(
                strstr(daemon_.requests[0], "GET /v1/events?credential=bot HTTP/1.1\r\n"));
        ck_assert_ptr_null(strstr(daemon_.requests[0], "Last-Event-ID"));
        ck_assert_ptr_nonnull(strstr(daemon_.requests[1], "\r\nLast-Event-ID: 7-2\r\n"));
        ck_assert(bearer_watch_cancel(watch) == NULL);
        finish();
}
END_TEST

/* A token that something has happened to is asked for anew. */
START_TEST(event_makes_due)
{
        static const struct row rows[] = {
                { OK FP1, "czs_one", false, true },
                { STREAM,
                  "event: token\ndata: {\"credential\":\"bot\",\"subject\":\"\","
                  "\"fingerprint\":\"2222222222222222\"}\n\n",
                  false, true },
                { OK FP2, "czs_two", false, true },
        };
        struct bearer_watch *watch;

        answers = 0;
        START(rows);
        check_token("czs_one", NULL);
        ck_assert_int_eq(bearer_watch(client, NULL, seen, NULL, &watch), 0);
        run_loop(1);
        bearer_watch_cancel(watch);
        check_token("czs_two", NULL);
        finish();
}
END_TEST

/* Wiping */

static int wiped, not_wiped;

static void look(const void *bytes, size_t len) {
        wiped++;
        not_wiped += memmem(bytes, len, "czs_", 4) != NULL;
}

/* With the client, also where another thread has used the token and is still there. */
START_TEST(wiped_with_the_client)
{
        static const struct row rows[] = { { OK FP1, "czs_one", false, false } };

        wiped = not_wiped = 0;
        START(rows);
        body_release_hook = look;
        check_token("czs_one", NULL);
        finish();
        body_release_hook = NULL;
        ck_assert_int_eq(wiped, 1);
        ck_assert_int_eq(not_wiped, 0);
}
END_TEST

/* JSON */

static const struct {
        const char *text;
        bool ok;
} objects[] = {
        { "{}", true },
        { " { \"a\" : [ 1 , -0.5e+3, true, false, null, \"\\u00e9\" , {} ] } \n", true },
        { "{\"a\":1,}", false },
        { "{\"a\" 1}", false },
        { "{\"a\":01}", false },
        { "{\"a\":\"\n\"}", false },
        { "{\"a\":\"\\x\"}", false },
        { "{\"a\":\"\\ud800\"}", false },
        { "{\"a\":\"\\u0000\"}", false },
        { "{\"a\":tru}", false },
        { "{", false },
        { "", false },
        { "[]", false },
        { "{}{}", false },
        { "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
          false },
};

START_TEST(object)
{ ck_assert_int_eq(json_is_object(objects[_i].text), objects[_i].ok); }
END_TEST

START_TEST(member)
{
        char text[6];

        ck_assert(json_member("{\"a\":{\"b\":\"no\"},\"b\":\"yes\"}", "b", text, sizeof(text)));
        ck_assert_str_eq(text, "yes");
        ck_assert(json_member("{\"b\":\"ab\xe4\xb8\xad\xe4\xb8\xad\"}", "b", text, sizeof(text)));
        ck_assert_str_eq(text, "ab\xe4\xb8\xad"); /* cut between characters */
        ck_assert(!json_member("{\"b\":\"ab", "b", text, sizeof(text)));
        ck_assert_str_eq(text, "");
        ck_assert(!json_member("{\"b\":1}", "b", text, sizeof(text)));
}
END_TEST

static void add(TCase *tc) {
        tcase_set_timeout(tc, 60);
        tcase_add_test(tc, one_round_trip);
        tcase_add_test(tc, clock_was_set);
        tcase_add_test(tc, rejected);
        tcase_add_test(tc, options);
        tcase_add_loop_test(tc, refusal, 0, N_ELEMENTS(refusals));
        tcase_add_test(tc, asks_again);
        tcase_add_test(tc, no_daemon);
        tcase_add_test(tc, silence);
        tcase_add_test(tc, single_flight);
        tcase_add_test(tc, forked);
        tcase_add_test(tc, loop);
        tcase_add_test(tc, loop_timeout);
        tcase_add_test(tc, events);
        tcase_add_test(tc, event_makes_due);
        tcase_add_test(tc, wiped_with_the_client);
        tcase_add_loop_test(tc, object, 0, N_ELEMENTS(objects));
        tcase_add_test(tc, member);
}

CHECK_MAIN("bearer", add)
