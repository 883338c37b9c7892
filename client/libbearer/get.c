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
#include "client/libbearer/flight.h"

static void get_sleep(int fd, short events, int64_t us) {
        struct pollfd p = { .fd = fd, .events = events };
        int64_t ms = us < 0 ? 0 : (us + 999) / 1000;

        (void) poll(&p, 1, ms > 3600000 ? 3600000 : (int) ms); /* interrupted: the step finds out */
}

/* With the lock, which is released while there is something to wait for. */
static void get_fly(struct flight *f) {
        struct wire_answer answer = { 0 };

        for (;;) {
                int64_t now_us, wakes_us;
                short events;
                int fd, r;

                now_us = token_now_us();
                r = exchange_step(&f->x, now_us, &answer);
                if (r != 0 && flight_end(f, r, &answer))
                        return;
                if (r != 0)
                        continue;
                wakes_us = exchange_wakes(&f->x);
                events = exchange_events(&f->x);
                fd = events ? f->x.fd : -1;
                (void) pthread_mutex_unlock(&bearer_lock);
                get_sleep(fd, events, wakes_us - now_us);
                (void) pthread_mutex_lock(&bearer_lock);
        }
}

/* With the lock. Waits for another thread's flight: false: not any longer. */
static bool get_wait(struct flight *f, int64_t until_us) {
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
        return f->done;
}

/* With the lock. 0: it brought a token; 1: look again, there is time; else *failure is how it ended. */
static int get_join(struct flight *f, int64_t until_us, struct failure *failure) {
        int r = -ETIMEDOUT;

        f->refs++;
        if (get_wait(f, until_us)) {
                r = f->failure.r;
                if (r < 0 && !f->final && token_now_us() < until_us)
                        r = 1;
                *failure = f->failure;
        }
        (void) flight_unref(f);
        return r;
}

/* With the lock. 0, with a body in *ret that is the client's; else *failure says why not, or does not. */
static int get_body(struct bearer *client, const struct key *k, const struct bearer_request *rq,
                    struct failure *failure, struct body **ret) {
        const int64_t until_us = token_now_us() + client_limit_us(client, rq);

        for (;;) {
                const int64_t now_us = token_now_us();
                struct flight *f = flight_find(client, k, rq, false);
                struct body *b = client_find(client, k);
                const bool good = b && body_is_good(b, now_us, k->min_ttl_us);
                const bool joins = f != NULL;
                int r;

                if (good && (joins || !body_is_due(b, now_us))) {
                        *ret = b;
                        return 0;
                }
                if (joins) {
                        r = get_join(f, until_us, failure);
                } else {
                        r = flight_new(client, k, rq, now_us, until_us, good, false, &f);
                        if (r < 0)
                                return r;
                        get_fly(f);
                        *failure = f->failure;
                        r = failure->r;
                        (void) flight_unref(f);
                }
                if (r < 0)
                        return r;
                /* what a flight brought is taken as it is, also if it lives shorter than was asked
                 * for; who is late sees whether it is still there */
                b = client_find(client, k);
                if (r == 0 && b && (!joins || body_is_good(b, token_now_us(), 0))) {
                        *ret = b;
                        return 0;
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
        struct body *b;
        int r, cancel_state;

        r = get_check(client, k->name, ret);
        if (r < 0)
                return r;
        cancel_state = thread_enter();
        r = get_body(client, k, rq, &failure, &b);
        if (r == 0)
                token = thread_keep(k, b);
        thread_leave(cancel_state);
        if (r < 0)
                return failure.r == r ? thread_fail_as(&failure) : thread_fail(r, NULL);
        if (!token)
                return thread_fail(-ENOMEM, NULL);
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
        int r, cancel_state;

        r = get_check(client, credential, ret);
        if (r < 0)
                return r;
        k = client_key(client, credential, rq);
        token = thread_hit(&k, now_us);
        if (!token) {
                cancel_state = thread_enter();
                b = client_find(client, &k);
                r = b && body_is_good(b, now_us, k.min_ttl_us) && !body_is_due(b, now_us) ? 0
                                                                                          : -EAGAIN;
                token = r == 0 ? thread_keep(&k, b) : NULL;
                thread_leave(cancel_state);
                if (!token)
                        return thread_fail(r < 0 ? r : -ENOMEM, NULL);
        }
        *ret = token;
        return 0;
}
