/*
 * bearer_get(): a token now
 *
 * From the thread's own slots where that is possible; else under the lock, from the client's table;
 * else from the daemon. One thread asks, and whoever wants the same waits for it. While a good token
 * is being asked for anew, the others go on with the one that is there.
 */

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "client/libbearer/client.h"

static void get_sleep(int fd, short events, int64_t us) {
        struct pollfd p = { .fd = fd, .events = events };
        int64_t ms = us < 0 ? 0 : (us + 999) / 1000;

        (void) poll(&p, 1, ms > 3600000 ? 3600000 : (int) ms); /* interrupted: the step finds out */
}

/* With the lock, which is released while there is something to wait for. */
static void get_fly(struct flight *f) {
        struct wire_answer answer = { 0 };
        int64_t now_us;
        int r;

        for (;;) {
                int64_t wakes_us;
                short events;
                int fd;

                now_us = token_now_us();
                r = exchange_step(&f->x, now_us, &answer);
                if (r != 0)
                        break;
                wakes_us = exchange_wakes(&f->x);
                events = exchange_events(&f->x);
                fd = events ? f->x.fd : -1;
                (void) pthread_mutex_unlock(&bearer_lock);
                get_sleep(fd, events, wakes_us - now_us);
                (void) pthread_mutex_lock(&bearer_lock);
        }
        flight_end(f, r, &answer, now_us);
}

static void get_wait(struct flight *f, int64_t until_us) {
        struct timespec t;
        int64_t left_us = until_us - token_now_us();

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        if (left_us < 0)
                left_us = 0;
        t.tv_sec += left_us / 1000000;
        t.tv_nsec += left_us % 1000000 * 1000;
        if (t.tv_nsec >= 1000000000) {
                t.tv_nsec -= 1000000000;
                t.tv_sec++;
        }
        while (!f->done &&
               pthread_cond_clockwait(&f->ended, &bearer_lock, CLOCK_MONOTONIC, &t) != ETIMEDOUT)
                ;
}

/* With the lock. 0, with a token in *ret; else *failure says why not. */
static int get_locked(struct bearer *client, const struct key *k, const struct bearer_request *rq,
                      struct failure *failure, struct bearer_token **ret) {
        const int64_t until_us = token_now_us() + client_limit_us(client, rq);
        struct flight *f;
        int r;

        for (;;) {
                const int64_t now_us = token_now_us();
                struct body *b = client_find(client, k);
                const bool good = b && body_is_good(b, now_us, k->min_ttl_us);

                f = flight_find(client, k, false);
                if (good && (f || !body_is_due(b, now_us))) {
                        *ret = thread_keep(k, b);
                        return *ret ? 0 : -ENOMEM;
                }
                if (f) {
                        f->refs++;
                        get_wait(f, until_us);
                        if (!f->done) {
                                failure->r = -ETIMEDOUT;
                                (void) flight_unref(f);
                                return -ETIMEDOUT;
                        }
                        if (f->failure.r < 0 && (f->final || token_now_us() >= until_us)) {
                                *failure = f->failure;
                                (void) flight_unref(f);
                                return failure->r;
                        }
                        (void) flight_unref(f);
                        continue;
                }
                r = flight_new(client, k, rq, now_us, good, false, &f);
                if (r < 0)
                        return r;
                get_fly(f);
                *failure = f->failure;
                (void) flight_unref(f);
                if (failure->r < 0)
                        return failure->r;
                b = client_find(client, k);
                if (b) { /* also one that lives shorter than the default asks for */
                        *ret = thread_keep(k, b);
                        return *ret ? 0 : -ENOMEM;
                }
        }
}

static int get_check(struct bearer *client, const char *credential, struct bearer_token **ret) {
        if (!client || !credential || !ret)
                return thread_fail(-EINVAL, "no client, no credential, or no place for a token");
        if (!wire_is_name(credential))
                return thread_fail(-EINVAL,
                                   "that is no name of a credential: letters, digits, '.', "
                                   "'_' and '-', at most 64");
        return 0;
}

static int get_slow(struct bearer *client, const struct key *k, const struct bearer_request *rq,
                    struct bearer_token **ret) {
        struct failure failure = { .retry_after_s = -1 };
        struct bearer_token *token = NULL;
        int r;

        r = get_check(client, k->name, ret);
        if (r < 0)
                return r;
        (void) pthread_mutex_lock(&bearer_lock);
        r = get_locked(client, k, rq, &failure, &token);
        (void) pthread_mutex_unlock(&bearer_lock);
        if (r < 0)
                return failure.text[0] ? thread_fail_as(&failure) : thread_fail(r, NULL);
        *ret = token;
        return 0;
}

int bearer_get(struct bearer *client, const char *credential, const struct bearer_request *request,
               struct bearer_token **ret) {
        const struct bearer_request *rq = request ? request : &request_default;
        struct bearer_token *token;
        struct key k;

        if (__builtin_expect(!client || !credential || !ret, 0))
                return get_check(client, credential, ret);
        k = client_key(client, credential, rq);
        token = thread_hit(&k, token_now_us());
        if (!token)
                return get_slow(client, &k, rq, ret);
        *ret = token;
        return 0;
}

int bearer_get_cached(struct bearer *client, const char *credential,
                      const struct bearer_request *request, struct bearer_token **ret) {
        const struct bearer_request *rq = request ? request : &request_default;
        const int64_t now_us = token_now_us();
        struct bearer_token *token;
        struct body *b;
        struct key k;
        int r;

        r = get_check(client, credential, ret);
        if (r < 0)
                return r;
        k = client_key(client, credential, rq);
        token = thread_hit(&k, now_us);
        if (!token) {
                (void) pthread_mutex_lock(&bearer_lock);
                b = client_find(client, &k);
                r = b && body_is_good(b, now_us, k.min_ttl_us) && !body_is_due(b, now_us) ? 0
                                                                                          : -EAGAIN;
                token = r == 0 ? thread_keep(&k, b) : NULL;
                (void) pthread_mutex_unlock(&bearer_lock);
                if (!token)
                        return thread_fail(r < 0 ? r : -ENOMEM, NULL);
        }
        *ret = token;
        return 0;
}
