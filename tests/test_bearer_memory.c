#include "client/libbearer/bearer.h"

/*
 * libbearer when memory runs out: each allocation of a client's life fails once, and each from there on. A call
 * returns -ENOMEM then, or does without; nothing leaks, says the build with sanitizers; and the next life is as
 * if nothing had been.
 *
 * The daemon is a process of its own, whose allocations do not count.
 */

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check_main.h"
#include "client/libbearer/token.h"
#include "failing_malloc.h"

#define TOKEN                                                                                      \
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nBearer-Fingerprint: 1111111111111111\r\n"  \
        "Bearer-Expires-In: 900\r\nContent-Length: 7\r\n\r\nczs_one"
#define EVENT                                                                                      \
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"                               \
        "id: 1\nevent: token\ndata: {\"credential\":\"other\"}\n\n"

/* ck_assert() allocates. */
#define HOLDS(x)                                                                                   \
        do {                                                                                       \
                if (!(x)) {                                                                        \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

#define ROUNDS 4

static char dir[] = "/tmp/bearer-XXXXXX", path[64];
static int listener;
static pid_t daemon_;

static void *serve(void *arg) {
        int fd = (int) (intptr_t) arg;
        char request[4096];
        ssize_t n;

        while ((n = recv(fd, request, sizeof(request) - 1, 0)) > 0) { /* one at a time, and whole */
                request[n] = '\0';
                if (strstr(request, "Last-Event-ID: 1"))
                        continue; /* nothing has happened since */
                if (strstr(request, " /v1/events ")) {
                        (void) !send(fd, EVENT, strlen(EVENT), MSG_NOSIGNAL);
                        break;
                }
                (void) !send(fd, TOKEN, strlen(TOKEN), MSG_NOSIGNAL);
        }
        (void) close(fd);
        return NULL;
}

static void start(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        strcpy(dir, "/tmp/bearer-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(dir));
        (void) snprintf(path, sizeof(path), "%s/s", dir);
        strcpy(address.sun_path, path);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(listen(listener, 16), 0);
        daemon_ = fork();
        if (daemon_ != 0)
                return;
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
                int fd = accept(listener, NULL, NULL);
                pthread_t thread;

                if (pthread_create(&thread, NULL, serve, (void *) (intptr_t) fd) == 0)
                        (void) pthread_detach(thread);
        }
}

static void finish(void) {
        ck_assert_int_eq(kill(daemon_, SIGKILL), 0);
        close(listener);
        unlink(path);
        rmdir(dir);
}

static size_t released;

static void count_released(const void *bytes, size_t len) {
        (void) bytes, (void) len;
        released++;
}

static int answers;

static void answered(void *user, int r, struct bearer_token *token) {
        *(int *) user = r;
        answers++;
        if (r == 0)
                HOLDS(strcmp(bearer_token_value(token), "czs_one") == 0);
}

static void happened(void *user, int r, const struct bearer_event *event) {
        *(int *) user = r;
        answers++;
        HOLDS(strcmp(bearer_event_credential(event), "other") == 0);
}

/* The first failure of it, or 0. A watch tries again until there is memory; so there is some after a while. */
static int run_loop(struct bearer *client, int until) {
        int fd = bearer_fd(client), n = 0, rounds = 0;

        if (fd < 0)
                return fd;
        while (answers < until && n >= 0) {
                HOLDS(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 20000) == 1);
                n = bearer_process(client);
                if (++rounds == ROUNDS && failing_malloc_reached())
                        failing_malloc_at(0, false);
        }
        return n < 0 ? n : 0;
}

static int ask_by_loop(struct bearer *client) {
        int r, result = 0;

        answers = 0;
        r = bearer_get_async(client, "loop", NULL, answered, &result, NULL);
        if (r == 0)
                r = run_loop(client, 1);
        if (r == 0)
                r = bearer_watch(client, NULL, happened, &result, NULL);
        if (r == 0)
                r = run_loop(client, 2);
        return r < 0 ? r : result;
}

static int ask(struct bearer *client, const struct bearer_request *rq) {
        struct bearer_token *token;
        int r = bearer_get(client, "bot", rq, &token);

        if (r < 0)
                return r;
        HOLDS(strcmp(bearer_token_value(token), "czs_one") == 0);
        r = bearer_reject(client, token);
        bearer_token_unref(token);
        return r;
}

static int options(struct bearer_request *rq) {
        int r = bearer_request_set_subject(rq, "alice");

        if (r == 0)
                r = bearer_request_set_duration(rq, 600);
        return r < 0 ? r : bearer_request_set_scope(rq, "{\"a\":1}");
}

/* In a thread of its own, which has nothing of the last one. */
static void *live(void *ret) {
        struct bearer_request *rq = NULL;
        struct bearer *client = NULL;
        int r;

        r = bearer_new(&client, path);
        if (r == 0)
                r = bearer_request_new(&rq);
        if (r == 0)
                r = options(rq);
        if (r == 0)
                r = ask(client, rq);
        if (r == 0)
                r = ask(client, NULL);
        if (r == 0)
                r = ask_by_loop(client);
        if (r < 0)
                HOLDS(bearer_error_text());
        bearer_request_free(rq);
        bearer_free(client);
        *(int *) ret = r;
        return NULL;
}

static int live_in_thread(void) {
        pthread_t thread;
        int r = 1;

        HOLDS(pthread_create(&thread, NULL, live, &r) == 0);
        HOLDS(pthread_join(thread, NULL) == 0);
        return r;
}

START_TEST(each_allocation)
{
        const bool for_good = _i == 1;
        int failed = 0;

        start();
        body_release_hook = count_released;
        for (size_t n = 1;; n++) {
                bool reached;
                int r;

                failing_malloc_at(n, for_good);
                r = live_in_thread();
                reached = failing_malloc_reached();
                failing_malloc_at(0, false);
                if (!reached)
                        break;
                ck_assert_msg(r == 0 || r == -ENOMEM, "allocation %zu: %d", n, r);
                failed += r < 0;
                ck_assert_int_eq(live_in_thread(), 0);
        }
        ck_assert_int_gt(failed, 20);
        ck_assert_uint_gt(released, 0);
        ck_assert_uint_eq(released, failing_malloc_mapped());
        finish();
}
END_TEST

static void add(TCase *tc) {
        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, each_allocation, 0, 2);
}

CHECK_MAIN("bearer_memory", add)
