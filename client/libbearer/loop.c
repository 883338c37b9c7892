/*
 * The asynchronous pair: bearer_fd() and bearer_process()
 *
 * The descriptor is an epoll instance that holds the connections of the flights under way, and a timer
 * for the next thing that time alone decides. A call that can be answered from memory is answered by
 * bearer_process(), too: the timer fires at once.
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/libbearer/client.h"
#include "client/libbearer/flight.h"

void loop_close(struct bearer *client) {
        if (client->epoll_fd >= 0)
                (void) close(client->epoll_fd); /* nothing waits there any more */
        if (client->timer_fd >= 0)
                (void) close(client->timer_fd);
        client->epoll_fd = client->timer_fd = -1;
}

int loop_open(struct bearer *client) {
        struct epoll_event event = { .events = EPOLLIN };
        int r;

        if (client->epoll_fd >= 0)
                return 0;
        client->epoll_fd = link_lift(epoll_create1(EPOLL_CLOEXEC));
        if (client->epoll_fd >= 0)
                client->timer_fd = link_lift(
                        timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
        if (client->timer_fd >= 0 &&
            epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->timer_fd, &event) == 0)
                return 0;
        r = -errno;
        loop_close(client);
        return r;
}

void loop_arm(struct bearer *client) {
        struct itimerspec when = { 0 };
        int64_t first_us = client->ready || client->events ? 1 : INT64_MAX;

        for (struct flight *f = client->flights; f; f = f->next)
                if (f->loop && exchange_wakes(&f->x) < first_us)
                        first_us = exchange_wakes(&f->x);
        for (struct bearer_watch *w = client->watches; w; w = w->next)
                if (!w->over && w->wakes_us < first_us)
                        first_us = w->wakes_us > 0 ? w->wakes_us : 1;
        if (first_us != INT64_MAX) {
                when.it_value.tv_sec = first_us / 1000000;
                when.it_value.tv_nsec = first_us % 1000000 * 1000;
        }
        (void) timerfd_settime(client->timer_fd, TFD_TIMER_ABSTIME, &when, NULL); /* cannot fail */
}

static void loop_watch(struct exchange *x, int epoll_fd) {
        struct epoll_event event = { .events = exchange_events(x) == POLLOUT ? EPOLLOUT : EPOLLIN };

        x->epoll_fd = epoll_fd;
        if (x->fd < 0)
                return;
        if (epoll_ctl(epoll_fd, x->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, x->fd, &event) == 0)
                x->watched = true; /* else it ends by its timeout */
}

static void loop_make_ready(struct bearer *client, struct bearer_call *call) {
        call->flight = NULL;
        call->next = NULL;
        call->round = client->round;
        *client->ready_end = call;
        client->ready_end = &call->next;
}

static void loop_fail(struct bearer_call *call, int r) {
        call->failure = (struct failure){ .r = r, .retry_after_s = -1 };
        (void) stpcpy(call->failure.text, bearer_strerror(r));
}

static void loop_finish(struct flight *f) {
        const struct key k = client_key(f->client, f->name, f->rq);
        struct body *b = client_find(f->client, &k);

        while (f->calls) {
                struct bearer_call *call = f->calls;

                f->calls = call->next;
                call->failure = f->failure;
                if (f->failure.r == 0) {
                        call->token = thread_keep(&k, b);
                        if (!call->token)
                                loop_fail(call, -ENOMEM);
                }
                loop_make_ready(f->client, call);
        }
        (void) flight_unref(f);
}

/* Moves a flight as far as it goes. */
static void loop_step(struct flight *f) {
        struct wire_answer answer = { 0 };

        for (;;) {
                int r = exchange_step(&f->x, token_now_us(), &answer);

                if (r == 0) {
                        loop_watch(&f->x, f->client->epoll_fd);
                        return;
                }
                if (flight_end(f, r, &answer)) {
                        loop_finish(f);
                        return;
                }
        }
}

static int loop_begin(struct bearer *client, const struct key *k, const struct bearer_request *rq,
                      struct bearer_call *call) {
        const int64_t now_us = token_now_us();
        struct body *b = client_find(client, k);
        const bool good = b && body_is_good(b, now_us, k->min_ttl_us);
        struct flight *f;
        int r;

        r = loop_open(client);
        if (r < 0)
                return r;
        if (good && !body_is_due(b, now_us)) {
                call->token = thread_keep(k, b);
                if (!call->token)
                        return -ENOMEM;
                loop_make_ready(client, call);
                return 0;
        }
        f = flight_find(client, k, rq, true);
        if (!f) {
                r = flight_new(client, k, rq, now_us, now_us + client_limit_us(client, rq), good,
                               true, &f);
                if (r < 0)
                        return r;
        }
        call->flight = f;
        call->next = f->calls;
        f->calls = call;
        loop_step(f);
        return 0;
}

int bearer_get_async(struct bearer *client, const char *credential,
                     const struct bearer_request *request, bearer_callback *callback, void *user,
                     struct bearer_call **ret_call) {
        const struct bearer_request *rq = request ? request : &request_default;
        struct bearer_call *call;
        struct key k;
        int r, cancel_state;

        if (!client || !credential || !callback || !wire_is_name(credential))
                return thread_fail(-EINVAL, "no client, no callback, or no name of a credential");
        call = calloc(1, sizeof(*call));
        if (!call)
                return thread_fail(-ENOMEM, NULL);
        call->client = client;
        call->callback = callback;
        call->user = user;
        call->failure.retry_after_s = -1;
        k = client_key(client, credential, rq);
        cancel_state = thread_enter();
        r = loop_begin(client, &k, rq, call);
        if (r == 0) {
                loop_arm(client);
                if (ret_call)
                        *ret_call = call;
        }
        thread_leave(cancel_state);
        if (r < 0) {
                free(call);
                return thread_fail(r, NULL);
        }
        return 0;
}

struct bearer_call *bearer_call_cancel(struct bearer_call *call) {
        struct bearer *client;
        struct bearer_call **p;
        int cancel_state;

        if (!call)
                return NULL;
        client = call->client;
        cancel_state = thread_enter();
        p = call->flight ? &call->flight->calls : &client->ready;
        while (*p != call)
                p = &(*p)->next;
        *p = call->next;
        if (client->ready_end == &call->next)
                client->ready_end = p;
        thread_leave(cancel_state);
        (void) bearer_token_unref(call->token);
        free(call);
        return NULL;
}

int bearer_fd(struct bearer *client) {
        int r, cancel_state;

        if (!client)
                return thread_fail(-EINVAL, "bearer_fd: no client");
        cancel_state = thread_enter();
        r = loop_open(client);
        if (r == 0) {
                loop_arm(client); /* in the child of a fork there may be watches */
                r = client->epoll_fd;
        }
        thread_leave(cancel_state);
        return r < 0 ? thread_fail(r, NULL) : r;
}

/* Those that were ready when it began: what callbacks ask for has its turn the next time. */
static int loop_call_back(struct bearer *client) {
        const uint64_t round = client->round++;
        int n = 0;

        while (client->ready && client->ready->round <= round) {
                struct bearer_call *call = client->ready;

                client->ready = call->next;
                if (!client->ready)
                        client->ready_end = &client->ready;
                (void) pthread_mutex_unlock(&bearer_lock);
                if (call->failure.r < 0)
                        (void) thread_fail_as(&call->failure);
                call->callback(call->user, call->failure.r, call->token);
                (void) bearer_token_unref(call->token);
                free(call);
                n++;
                (void) pthread_mutex_lock(&bearer_lock);
        }
        return n;
}

int bearer_process(struct bearer *client) {
        uint64_t times;
        int n, cancel_state;

        if (!client)
                return thread_fail(-EINVAL, "bearer_process: no client");
        cancel_state = thread_enter();
        if (client->timer_fd >= 0)
                (void) !read(client->timer_fd, &times, sizeof(times)); /* it has fired, or not */
        for (struct flight *f = client->flights, *next; f; f = next) {
                next = f->next;
                if (f->loop)
                        loop_step(f);
        }
        if (!client->events) /* what has come before is told first */
                for (struct bearer_watch *w = client->watches; w; w = w->next)
                        watch_step(w);
        n = watch_call_back(client);
        n += loop_call_back(client);
        if (client->timer_fd >= 0)
                loop_arm(client);
        thread_leave(cancel_state);
        return n;
}
