#include "client/libbearer/bearer.h"

/*
 * The daemon plays a script: each question gets the next row, whichever connection it comes by. When there is no
 * row any more the daemon is silent.
 *
 * The library's time passes here as the test wants it, and connect() fails when it is told to: both stand in
 * this program, where the linker finds them first.
 */

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check_main.h"
#include "client/libbearer/client.h"
#include "client/libbearer/json.h"

#define ROWS_MAX        32
#define CONNECTIONS_MAX 64

enum how {
        WHOLE = 0,
        BYTEWISE = 1,
        CLOSE = 2,
        GATED = 4, /* when the test opens the gate */
        CUT = 8,   /* without its end */
};

struct row {
        const char *head; /* NULL: hangs up unasked */
        const char *body;
        unsigned how;
};

static struct daemon {
        char dir[32], path[64];
        int listener;
        pthread_t thread, threads[CONNECTIONS_MAX];
        int fds[CONNECTIONS_MAX];
        const struct row *rows;
        int n_rows;
        atomic_int next, asked, connections;
        sem_t gate;
        char requests[ROWS_MAX][1024];
} daemon_;

#define FP1           "Bearer-Fingerprint: 1111111111111111\r\n"
#define FP2           "Bearer-Fingerprint: 2222222222222222\r\n"
#define OK            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
#define ERROR(status) "HTTP/1.1 " status " X\r\nContent-Type: application/json\r\n"

static _Atomic int64_t passed_s; /* more than really has */
static atomic_int denials;       /* so many calls of connect() fail */

int clock_gettime(clockid_t clock, struct timespec *ret) {
        long r = syscall(SYS_clock_gettime, clock, ret);

        if (clock == CLOCK_BOOTTIME)
                ret->tv_sec += passed_s;
        return (int) r;
}

int connect(int fd, const struct sockaddr *address, socklen_t len) {
        if (atomic_load(&denials) > 0) {
                atomic_fetch_sub(&denials, 1);
                errno = EACCES;
                return -1;
        }
        return (int) syscall(SYS_connect, fd, address, len);
}

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

static void answer(int fd, const struct row *row) {
        char text[16384];
        size_t len = (size_t) snprintf(text, sizeof(text), "%sContent-Length: %zu\r\n\r\n%s",
                                       row->head, strlen(row->body), row->body),
               step;

        if (row->how & CUT)
                len -= 2;
        step = row->how & BYTEWISE ? 1 : len;
        if (row->how & GATED)
                while (sem_wait(&daemon_.gate) < 0)
                        ;
        for (size_t k = 0; k < len; k += step)
                if (send(fd, text + k, step, MSG_NOSIGNAL) < 0)
                        break;
}

/* One connection. What is claimed is not given back. */
static void *serve(void *arg) {
        const int fd = *(int *) arg;
        char request[1024];

        for (;;) {
                int i = atomic_load(&daemon_.next);

                if (i < daemon_.n_rows && !daemon_.rows[i].head) {
                        atomic_store(&daemon_.next, i + 1);
                        break;
                }
                if (!read_request(fd, request, sizeof(request)))
                        break;
                i = atomic_fetch_add(&daemon_.next, 1);
                if (i >= daemon_.n_rows)
                        continue;
                strcpy(daemon_.requests[i], request);
                atomic_fetch_add(&daemon_.asked, 1);
                answer(fd, &daemon_.rows[i]);
                if (daemon_.rows[i].how & (CLOSE | CUT))
                        break;
        }
        (void) shutdown(fd, SHUT_RDWR);
        return NULL;
}

static void *play(void *arg) {
        sigset_t all;

        (void) arg;
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_BLOCK, &all, NULL); /* those are for the library */
        for (;;) {
                int fd = accept(daemon_.listener, NULL, NULL), n;

                if (fd < 0)
                        return NULL;
                n = atomic_load(&daemon_.connections);
                ck_assert_int_lt(n, CONNECTIONS_MAX);
                daemon_.fds[n] = fd;
                atomic_store(&daemon_.connections, n + 1);
                ck_assert_int_eq(pthread_create(&daemon_.threads[n], NULL, serve, &daemon_.fds[n]),
                                 0);
        }
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
        atomic_store(&daemon_.next, 0);
        atomic_store(&daemon_.asked, 0);
        atomic_store(&daemon_.connections, 0);
        atomic_store(&passed_s, 0);
        atomic_store(&denials, 0);
        ck_assert_int_eq(sem_init(&daemon_.gate, 0, 0), 0);
        ck_assert_int_eq(pthread_create(&daemon_.thread, NULL, play, NULL), 0);
        ck_assert_int_eq(bearer_new(&client, daemon_.path), 0);
}

static void vanish(void) {
        shutdown(daemon_.listener, SHUT_RDWR);
        pthread_join(daemon_.thread, NULL);
        unlink(daemon_.path);
        rmdir(daemon_.dir);
        for (int i = 0; i < atomic_load(&daemon_.connections); i++) {
                shutdown(daemon_.fds[i], SHUT_RDWR);
                pthread_join(daemon_.threads[i], NULL);
                close(daemon_.fds[i]);
        }
        close(daemon_.listener);
}

static void finish(void) {
        client = bearer_free(client);
        vanish();
}

#define START(rows) start(rows, (int) N_ELEMENTS(rows))

static void wait_until_asked(int n) {
        while (atomic_load(&daemon_.asked) < n)
                sched_yield();
}

static void check_token(const char *value, const struct bearer_request *rq) {
        struct bearer_token *token;

        ck_assert_int_eq(bearer_get(client, "bot", rq, &token), 0);
        ck_assert_str_eq(bearer_token_value(token), value);
        ck_assert(bearer_token_unref(token) == NULL);
}

START_TEST(one_round_trip)
{
        static const struct row rows[] = { { OK FP1 "Bearer-Expires-At: 4000000000\r\n", "czs_one",
                                             WHOLE } };
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
                  WHOLE },
                { OK FP2 "Bearer-Expires-At: 4000000000\r\nBearer-Expires-In: 10\r\n", "czs_two",
                  WHOLE },
                { OK FP1 "Bearer-Expires-In: 9223372036854775807\r\n", "czs_three", WHOLE },
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
        static const struct row rows[] = { { OK FP1, "czs_one", BYTEWISE },
                                           { OK FP2, "czs_two", BYTEWISE } };
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
        static const struct row rows[] = { { OK FP1, "a", WHOLE },
                                           { OK FP2, "b", WHOLE },
                                           { OK FP1, "c", WHOLE } };
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
        const struct row row = { refusals[_i].head, refusals[_i].body, CLOSE };
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
                { NULL, NULL, WHOLE },
                { NULL, NULL, WHOLE },
                { ERROR("503"), "{\"error_description\":\"bearerd is stopping\"}", WHOLE },
                { OK FP1, "one", CLOSE }, /* closes after it */
                { OK FP2, "two", BYTEWISE },
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
        char path[109] = "";
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
        memset(path, '/', sizeof(path) - 1);
        ck_assert_int_eq(bearer_new(&client, path), -EINVAL);
        ck_assert_str_eq(bearer_error_text(), "the socket's path must have 1 to 107 bytes");
        path[sizeof(path) - 2] = '\0';
        ck_assert_int_eq(bearer_new(&client, path), 0);
        bearer_free(client);
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

struct asker {
        const struct bearer_request *rq;
        const char *value;
        int r;
        const char *text;
};

static void *get_in_thread(void *arg) {
        struct asker *a = arg;

        check_token(a ? a->value : "czs_one", a ? a->rq : NULL);
        return NULL;
}

static void *fail_in_thread(void *arg) {
        struct asker *a = arg;
        struct bearer_token *token;

        ck_assert_int_eq(bearer_get(client, "bot", a->rq, &token), a->r);
        ck_assert_str_eq(bearer_error_text(), a->text);
        return NULL;
}

/* The daemon's answer breaks off: it has died, and the next one answers. */
START_TEST(cut_off)
{
        static const struct row rows[] = { { OK FP1, "czs_one", CUT },
                                           { OK FP1, "czs_one", CUT },
                                           { OK FP2, "czs_two", BYTEWISE } };

        START(rows);
        check_token("czs_two", NULL);
        finish();
}
END_TEST

START_TEST(endless_head)
{
        static char head[9000] = OK "X: ";
        const struct row row = { head, "czs_one", CLOSE };
        struct bearer_token *token;

        memset(head + strlen(head), 'x', sizeof(head) - strlen(head) - 3);
        (void) strcpy(head + sizeof(head) - 3, "\r\n");
        start(&row, 1);
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), -EPROTO);
        finish();
}
END_TEST

/* "Ask again", until there is no time left: then that is what the caller is told. */
START_TEST(always_stopping)
{
        static const struct row rows[] = {
                { ERROR("503"), "{\"error_description\":\"stopping\"}", WHOLE },
                { ERROR("503"), "{\"error_description\":\"still stopping\"}", GATED },
        };
        struct asker a = { .r = -EHOSTDOWN, .text = "bot: still stopping" };
        pthread_t thread;

        START(rows);
        ck_assert_int_eq(pthread_create(&thread, NULL, fail_in_thread, &a), 0);
        wait_until_asked(2);
        passed_s += 100;
        sem_post(&daemon_.gate);
        pthread_join(thread, NULL);
        finish();
}
END_TEST

/* A daemon that starts makes its socket, and then says whose it is. */
START_TEST(socket_not_ours_yet)
{
        static const struct row rows[] = { { OK FP1, "czs_one", CLOSE },
                                           { OK FP2, "czs_two", CLOSE } };
        struct bearer_request *rq;
        struct bearer_token *token;

        START(rows);
        atomic_store(&denials, 1);
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), -EACCES); /* never reached */
        check_token("czs_one", NULL);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        ck_assert_int_eq(bearer_request_set_subject(rq, "x"), 0);
        atomic_store(&denials, 3);
        check_token("czs_two", rq);
        ck_assert_int_eq(atomic_load(&denials), 0);
        bearer_request_free(rq);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        ck_assert_int_eq(bearer_request_set_subject(rq, "y"), 0);
        atomic_store(&denials, 1000);
        ck_assert_int_eq(bearer_get(client, "bot", rq, &token), -EACCES);
        bearer_request_free(rq);
        finish();
}
END_TEST

/* A token that came a minute ago is asked for again, and is good meanwhile. */
START_TEST(asks_after_a_minute)
{
        static const struct row rows[] = {
                { OK FP1 "Bearer-Expires-In: 1000\r\n", "czs_one", WHOLE },
                { ERROR("504"), "{}", WHOLE },
                { OK FP2 "Bearer-Expires-In: 500\r\n", "czs_two", WHOLE },
                { ERROR("403"), "{\"error_description\":\"not any more\"}", CLOSE },
        };
        struct bearer_token *token;

        START(rows);
        check_token("czs_one", NULL);
        passed_s += 59;
        check_token("czs_one", NULL);
        ck_assert_int_eq(atomic_load(&daemon_.asked), 1);
        passed_s += 2;
        ck_assert_int_eq(bearer_get_cached(client, "bot", NULL, &token), -EAGAIN);
        check_token("czs_one", NULL); /* which is no reason not to use it */
        ck_assert_int_eq(atomic_load(&daemon_.asked), 2);
        check_token("czs_one", NULL);
        ck_assert_int_eq(atomic_load(&daemon_.asked), 2);
        passed_s += 6;
        check_token("czs_two", NULL);
        passed_s += 61;
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), -EACCES);
        ck_assert_int_eq(bearer_get_cached(client, "bot", NULL, &token), -EAGAIN);
        finish();
}
END_TEST

/* Nobody is there any more: the token is used until its end, and not longer. */
START_TEST(daemon_is_gone)
{
        static const struct row rows[] = { { OK FP1 "Bearer-Expires-In: 200\r\n", "czs_one",
                                             CLOSE } };
        struct bearer_token *token;

        START(rows);
        check_token("czs_one", NULL);
        vanish();
        ck_assert_int_eq(bearer_set_timeout(client, 30), 0);
        passed_s += 130;
        check_token("czs_one", NULL);
        passed_s += 20;
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), -ECONNREFUSED);
        bearer_free(client);
}
END_TEST

/* The machine sleeps, or the process is stopped, while the answer is on its way. */
START_TEST(ended_on_its_way)
{
        static const struct row rows[] = {
                { OK FP1 "Bearer-Expires-At: 4000000000\r\nBearer-Expires-In: 900\r\n", "czs_one",
                  GATED },
                { OK FP2 "Bearer-Expires-In: 900\r\n", "czs_two", WHOLE },
        };
        struct asker a = { .value = "czs_two" };
        pthread_t thread;

        START(rows);
        ck_assert_int_eq(bearer_set_timeout(client, 3600 * 1000), 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, get_in_thread, &a), 0);
        wait_until_asked(1);
        passed_s += 1000;
        sem_post(&daemon_.gate);
        pthread_join(thread, NULL);
        finish();
}
END_TEST

/* What was not urgent becomes so while it is asked for. */
START_TEST(ended_meanwhile)
{
        static const struct row rows[] = {
                { OK FP1 "Bearer-Expires-In: 100\r\n", "czs_one", WHOLE },
                { ERROR("502"), "{}", GATED },
                { OK FP2, "czs_two", WHOLE },
        };
        struct bearer_request *rq;
        struct asker a = { .value = "czs_two" };
        pthread_t thread;

        START(rows);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        ck_assert_int_eq(bearer_request_set_min_ttl(rq, 0), 0);
        a.rq = rq;
        check_token("czs_one", rq);
        passed_s += 90;
        ck_assert_int_eq(pthread_create(&thread, NULL, get_in_thread, &a), 0);
        wait_until_asked(2);
        passed_s += 11;
        sem_post(&daemon_.gate);
        pthread_join(thread, NULL);
        bearer_request_free(rq);
        finish();
}
END_TEST

/* The API refuses a token while it is being asked for anew, and the daemon does not know yet. */
static const struct row rejected_meanwhile_rows[] = {
        { OK FP1 "Bearer-Expires-In: 100\r\n", "czs_one", WHOLE },
        { OK FP1 "Bearer-Expires-In: 100\r\n", "czs_one", GATED },
        { OK FP2, "czs_two", WHOLE },
};

static struct bearer_request *rejected_meanwhile(struct bearer_token **ret) {
        struct bearer_request *rq;

        START(rejected_meanwhile_rows);
        ck_assert_int_eq(bearer_get(client, "bot", NULL, ret), 0);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        ck_assert_int_eq(bearer_request_set_min_ttl(rq, 200), 0);
        return rq;
}

START_TEST(rejected_while_asking)
{
        struct bearer_token *token;
        struct bearer_request *rq = rejected_meanwhile(&token);
        struct asker a = { .rq = rq, .value = "czs_two" };
        pthread_t thread;

        ck_assert_int_eq(pthread_create(&thread, NULL, get_in_thread, &a), 0);
        wait_until_asked(2);
        ck_assert_int_eq(bearer_reject(client, token), 0);
        bearer_token_unref(token);
        sem_post(&daemon_.gate);
        pthread_join(thread, NULL);
        ck_assert_ptr_nonnull(
                strstr(daemon_.requests[2], "?min_ttl=200&rejected=1111111111111111 "));
        bearer_request_free(rq);
        finish();
}
END_TEST

/* An answer to a question from before the token was refused, which comes after the next one's. */
START_TEST(rejected_and_late)
{
        static const struct row rows[] = {
                { OK FP1 "Bearer-Expires-In: 100\r\n", "czs_one", WHOLE },
                { OK FP1 "Bearer-Expires-In: 100\r\n", "czs_one", GATED },
                { OK FP2 "Bearer-Expires-In: 900\r\n", "czs_two", WHOLE },
                { OK FP2 "Bearer-Expires-In: 900\r\n", "czs_two", WHOLE },
        };
        struct bearer_request *rq;
        struct bearer_token *token;
        struct asker a = { .value = "czs_two" };
        pthread_t thread;

        START(rows);
        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), 0);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        ck_assert_int_eq(bearer_request_set_min_ttl(rq, 200), 0);
        a.rq = rq;
        ck_assert_int_eq(pthread_create(&thread, NULL, get_in_thread, &a), 0);
        wait_until_asked(2);
        ck_assert_int_eq(bearer_reject(client, token), 0);
        bearer_token_unref(token);
        check_token("czs_two", NULL);
        sem_post(&daemon_.gate);
        pthread_join(thread, NULL);
        check_token("czs_two", NULL);
        bearer_request_free(rq);
        finish();
}
END_TEST

/* Who waits for the provider does not keep those who will not, nor are they told that the time is over. */
START_TEST(impatient)
{
        static const struct row rows[] = { { OK FP1, "czs_one", GATED },
                                           { ERROR("504"), "{}", WHOLE } };
        struct bearer_request *rq;
        struct bearer_token *token;
        pthread_t thread;

        START(rows);
        ck_assert_int_eq(bearer_request_new(&rq), 0);
        ck_assert_int_eq(bearer_request_set_wait(rq, 0), 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, get_in_thread, NULL), 0);
        wait_until_asked(1);
        ck_assert_int_eq(bearer_get(client, "bot", rq, &token), -ETIMEDOUT);
        ck_assert_str_eq(bearer_error_text(), "bot: HTTP 504 from the daemon");
        sem_post(&daemon_.gate);
        pthread_join(thread, NULL);
        bearer_request_free(rq);
        finish();
}
END_TEST

/* Whoever cancels a thread does not cancel what the others wait for, nor keeps them from asking. */
static void *get_and_be_cancelled(void *arg) {
        struct bearer_token *token;
        int r = bearer_get(client, "bot", NULL, &token);

        (void) pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        ck_assert_int_eq(r, 0);
        bearer_token_unref(token);
        return arg;
}

START_TEST(cancelled)
{
        static const struct row rows[] = { { OK FP1, "czs_one", GATED } };
        pthread_t threads[2];
        void *ended;

        START(rows);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, get_and_be_cancelled, &threads),
                                 0);
        wait_until_asked(1);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                ck_assert_int_eq(pthread_cancel(threads[i]), 0);
        sem_post(&daemon_.gate);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                ck_assert(pthread_join(threads[i], &ended) == 0 && ended == &threads);
        check_token("czs_one", NULL);
        ck_assert_int_eq(atomic_load(&daemon_.asked), 1);
        finish();
}
END_TEST

/* Signals whose handler lets system calls fail with EINTR. */

static atomic_int signals;

static void signalled(int n) {
        (void) n;
        if (atomic_fetch_add(&signals, 1) == 10)
                sem_post(&daemon_.gate);
}

START_TEST(interrupted)
{
        static const struct row rows[] = { { OK FP1, "czs_one", BYTEWISE | GATED } };
        const struct sigaction action = { .sa_handler = signalled };
        const struct itimerval often = { { 0, 10000 }, { 0, 10000 } },
                               never = { { 0, 0 }, { 0, 0 } };

        START(rows);
        atomic_store(&signals, 0);
        ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
        ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
        check_token("czs_one", NULL);
        ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
        ck_assert_int_eq(atomic_load(&daemon_.asked), 1);
        finish();
}
END_TEST

/* Runs in a process of its own, whose descriptors it may spoil. */
static void in_child(int (*run)(void)) {
        int status;
        pid_t pid = fork();

        if (pid == 0)
                _exit(run());
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
}

static int without_standard_descriptors(void) {
        struct bearer_token *token;

        close(STDIN_FILENO), close(STDOUT_FILENO), close(STDERR_FILENO);
        if (bearer_fd(client) <= STDERR_FILENO || bearer_get(client, "bot", NULL, &token) < 0)
                return 1;
        bearer_token_unref(token);
        for (int fd = 0; fd <= STDERR_FILENO; fd++)
                if (fcntl(fd, F_GETFD) >= 0)
                        return 2;
        return 0;
}

/* What a program prints to a standard output that is closed must not reach the daemon. */
START_TEST(standard_descriptors_are_closed)
{
        static const struct row rows[] = { { OK FP1, "czs_one", WHOLE } };

        START(rows);
        in_child(without_standard_descriptors);
        finish();
}
END_TEST

static int without_descriptors(void) {
        struct rlimit limit, none;
        struct bearer_token *token;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 1;
        none = limit;
        none.rlim_cur = 0;
        if (setrlimit(RLIMIT_NOFILE, &none) < 0 || bearer_fd(client) != -EMFILE ||
            bearer_get(client, "bot", NULL, &token) != -EMFILE)
                return 2;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || bearer_fd(client) < 0 ||
            bearer_get(client, "bot", NULL, &token) < 0)
                return 3;
        bearer_token_unref(token);
        return 0;
}

START_TEST(no_descriptor_is_left)
{
        static const struct row rows[] = { { OK FP1, "czs_one", WHOLE } };

        START(rows);
        in_child(without_descriptors);
        finish();
}
END_TEST

/* A hit takes no lock and writes to nothing that another thread uses: all of that is locked away here. */

static pthread_barrier_t together;

static void *hit_in_thread(void *arg) {
        struct bearer_token *token;

        (void) arg;
        check_token("czs_one", NULL);
        pthread_barrier_wait(&together);
        pthread_barrier_wait(&together); /* locked */
        for (int i = 0; i < 100; i++) {
                ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), 0);
                ck_assert_str_eq(bearer_token_value(token), "czs_one");
                bearer_token_unref(token);
        }
        pthread_barrier_wait(&together);
        pthread_barrier_wait(
                &together); /* unlocked: a thread releases what is its own at its end */
        return NULL;
}

START_TEST(hit_writes_to_nothing_shared)
{
        static const struct row rows[] = { { OK FP1 "Bearer-Expires-In: 900\r\n", "czs_one",
                                             WHOLE } };
        const size_t size = (sizeof(*client) + 65535) & ~(size_t) 65535;
        struct bearer *locked, *ours;
        struct bearer_token *token;
        pthread_t threads[16];
        struct body *body;

        START(rows);
        ours = client;
        ck_assert_int_eq(pthread_barrier_init(&together, NULL, N_ELEMENTS(threads) + 1), 0);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, hit_in_thread, NULL), 0);
        pthread_barrier_wait(&together);

        ck_assert_int_eq(bearer_get(client, "bot", NULL, &token), 0);
        body = token_body(token);
        locked = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(locked, MAP_FAILED);
        *locked = *client;
        client = locked;
        ck_assert_int_eq(mprotect(locked, size, PROT_READ), 0);
        ck_assert_int_eq(mprotect(body, body->mapped, PROT_READ), 0);
        ck_assert_int_eq(pthread_mutex_lock(&bearer_lock), 0);
        pthread_barrier_wait(&together);
        pthread_barrier_wait(&together); /* they have got their tokens, without any of it */
        ck_assert_int_eq(pthread_mutex_unlock(&bearer_lock), 0);
        ck_assert_int_eq(mprotect(body, body->mapped, PROT_READ | PROT_WRITE), 0);
        pthread_barrier_wait(&together);

        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                pthread_join(threads[i], NULL);
        bearer_token_unref(token);
        client = ours;
        (void) munmap(locked, size);
        finish();
}
END_TEST

START_TEST(single_flight)
{
        static const struct row rows[] = { { OK FP1, "czs_one", BYTEWISE } };
        pthread_t threads[100];

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
static struct bearer_request *for_subject;

static int get_in_child(void) {
        struct bearer_token *token;

        if (bearer_get_cached(client, "bot", NULL, &token) < 0)
                return 1;
        bearer_token_unref(token);
        if (bearer_get(client, "bot", for_subject, &token) < 0 ||
            strcmp(bearer_token_value(token), "czs_two") != 0)
                return 2;
        bearer_token_unref(token);
        bearer_request_free(for_subject);
        client = bearer_free(client);
        return 0;
}

START_TEST(forked)
{
        static const struct row rows[] = { { OK FP1, "czs_one", WHOLE },
                                           { OK FP2, "czs_two", WHOLE },
                                           { OK FP1, "czs_three", WHOLE } };

        START(rows);
        check_token("czs_one", NULL);
        ck_assert_int_eq(bearer_request_new(&for_subject), 0);
        ck_assert_int_eq(bearer_request_set_subject(for_subject, "x"), 0);
        in_child(get_in_child);
        check_token("czs_three", for_subject);
        ck_assert_int_eq(atomic_load(&daemon_.connections), 2);
        bearer_request_free(for_subject);
        finish();
}
END_TEST

/* What another thread has under way is the parent's; the child asks for itself. */
static int ask_in_child(void) {
        struct bearer_token *token;

        if (bearer_get_cached(client, "bot", NULL, &token) != -EAGAIN ||
            bearer_get(client, "bot", NULL, &token) < 0 ||
            strcmp(bearer_token_value(token), "czs_two") != 0)
                return 1;
        bearer_token_unref(token);
        client = bearer_free(client);
        return 0;
}

START_TEST(forked_while_asking)
{
        static const struct row rows[] = { { OK FP1, "czs_one", GATED },
                                           { OK FP2, "czs_two", WHOLE } };
        pthread_t thread;

        START(rows);
        ck_assert_int_eq(pthread_create(&thread, NULL, get_in_thread, NULL), 0);
        wait_until_asked(1);
        in_child(ask_in_child);
        sem_post(&daemon_.gate);
        pthread_join(thread, NULL);
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
        static const struct row rows[] = { { NULL, NULL, WHOLE },
                                           { OK FP1, "czs_one", BYTEWISE },
                                           { ERROR("409"), "{\"error_description\":\"log in\"}",
                                             BYTEWISE } };
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

START_TEST(loop_rejected_while_asking)
{
        struct bearer_token *token, *second = NULL;
        struct bearer_request *rq = rejected_meanwhile(&token);

        answers = 0;
        ck_assert_int_eq(bearer_get_async(client, "bot", rq, answered, &second, NULL), 0);
        wait_until_asked(2);
        ck_assert_int_eq(bearer_reject(client, token), 0);
        bearer_token_unref(token);
        sem_post(&daemon_.gate);
        run_loop(1);
        ck_assert_int_eq(last_r, 0);
        ck_assert_str_eq(bearer_token_value(second), "czs_two");
        bearer_token_unref(second);
        bearer_request_free(rq);
        finish();
}
END_TEST

/* Who asks again in the callback, for what is in memory, has its turn the next time. */
static void asks_on(void *user, int r, struct bearer_token *token) {
        (void) user, (void) token;
        answers++;
        last_r = r;
        ck_assert_int_eq(bearer_get_async(client, "bot", NULL, asks_on, NULL, NULL), 0);
}

START_TEST(loop_goes_round)
{
        static const struct row rows[] = { { OK FP1, "czs_one", WHOLE } };

        answers = 0;
        START(rows);
        check_token("czs_one", NULL);
        ck_assert_int_eq(bearer_get_async(client, "bot", NULL, asks_on, NULL, NULL), 0);
        for (int i = 1; i <= 3; i++) {
                run_loop(i);
                ck_assert_int_eq(answers, i);
        }
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
                  BYTEWISE | CLOSE },
                { STREAM, "event: failing\ndata: {\"credential\":\"bot\",\"subject\":\"x\"}\n\n",
                  CLOSE },
                { ERROR("404"), "{\"error_description\":\"no such credential\"}", CLOSE },
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
                { OK FP1, "czs_one", CLOSE },
                { STREAM,
                  "event: token\ndata: {\"credential\":\"bot\",\"subject\":\"\","
                  "\"fingerprint\":\"2222222222222222\"}\n\n",
                  CLOSE },
                { OK FP2, "czs_two", CLOSE },
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

/* The child of a fork has the watch, too, on a descriptor of its own. */
static int watch_in_child(void) {
        struct pollfd fd = { .fd = bearer_fd(client), .events = POLLIN };

        for (int n = 0; n == 0;) {
                if (poll(&fd, 1, 20000) != 1)
                        return 1;
                n = bearer_process(client);
                if (n < 0)
                        return 2;
        }
        return strcmp(story, "state / ;token bot/ ;") == 0 ? 0 : 3;
}

START_TEST(watch_over_fork)
{
        static const struct row rows[] = {
                { STREAM, "event: state\ndata: {}\n\n", CLOSE },
                { STREAM, "event: token\ndata: {\"credential\":\"bot\"}\n\n", CLOSE },
        };

        answers = 0;
        story[0] = '\0';
        START(rows);
        ck_assert_int_eq(bearer_watch(client, NULL, seen, NULL, NULL), 0);
        run_loop(1);
        in_child(watch_in_child);
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
        static const struct row rows[] = { { OK FP1, "czs_one", WHOLE } };

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
        tcase_add_test(tc, cut_off);
        tcase_add_test(tc, endless_head);
        tcase_add_test(tc, always_stopping);
        tcase_add_test(tc, socket_not_ours_yet);
        tcase_add_test(tc, asks_after_a_minute);
        tcase_add_test(tc, daemon_is_gone);
        tcase_add_test(tc, ended_on_its_way);
        tcase_add_test(tc, ended_meanwhile);
        tcase_add_test(tc, rejected_while_asking);
        tcase_add_test(tc, rejected_and_late);
        tcase_add_test(tc, impatient);
        tcase_add_test(tc, cancelled);
        tcase_add_test(tc, interrupted);
        tcase_add_test(tc, standard_descriptors_are_closed);
        tcase_add_test(tc, no_descriptor_is_left);
        tcase_add_test(tc, hit_writes_to_nothing_shared);
        tcase_add_test(tc, single_flight);
        tcase_add_test(tc, forked);
        tcase_add_test(tc, forked_while_asking);
        tcase_add_test(tc, loop);
        tcase_add_test(tc, loop_timeout);
        tcase_add_test(tc, loop_rejected_while_asking);
        tcase_add_test(tc, loop_goes_round);
        tcase_add_test(tc, events);
        tcase_add_test(tc, event_makes_due);
        tcase_add_test(tc, watch_over_fork);
        tcase_add_test(tc, wiped_with_the_client);
        tcase_add_loop_test(tc, object, 0, N_ELEMENTS(objects));
        tcase_add_test(tc, member);
}

CHECK_MAIN("bearer", add)
