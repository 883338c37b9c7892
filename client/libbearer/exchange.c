#include "client/libbearer/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/libbearer/token.h"

#define EXCHANGE_PATIENCE_US    INT64_C(5000000) /* for a daemon that has never been reached */
#define EXCHANGE_FIRST_PAUSE_US INT64_C(5000)
#define EXCHANGE_PAUSE_MAX_US   INT64_C(200000)
#define EXCHANGE_HANG_UPS_MAX   5
#define EXCHANGE_DENIALS_MAX    5
#define EXCHANGE_ANSWER_MAX     65536

void link_close(struct link *l) {
        while (l->n_kept > 0)
                (void) close(l->kept[--l->n_kept]); /* nothing is under way there */
}

int link_lift(int fd) {
        int lifted, saved;

        if (fd < 0 || fd > STDERR_FILENO)
                return fd;
        lifted = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        saved = errno;
        (void) close(fd); /* the other one is left, or none */
        errno = saved;
        return lifted;
}

int link_connect(const char *path, int *ret_fd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd, r;

        strcpy(address.sun_path, path); /* its length was checked */
        fd = link_lift(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0) {
                r = -errno;
                (void) close(fd); /* nothing was sent */
                return r;
        }
        *ret_fd = fd;
        return 0;
}

void exchange_begin(struct exchange *x, struct link *link, char *text, size_t len, int64_t now_us,
                    int64_t until_us, bool patient) {
        *x = (struct exchange){
                .link = link,
                .text = text,
                .len = len,
                .fd = -1,
                .until_us = until_us,
                .patience_us = until_us,
                .pause_us = EXCHANGE_FIRST_PAUSE_US,
                .epoll_fd = -1,
        };
        if (!link->reached && until_us - now_us > EXCHANGE_PATIENCE_US)
                x->patience_us = now_us + EXCHANGE_PATIENCE_US;
        if (!patient)
                x->patience_us = now_us;
}

static void exchange_unwatch(struct exchange *x) {
        if (x->watched)
                (void) epoll_ctl(x->epoll_fd, EPOLL_CTL_DEL, x->fd, NULL); /* it is registered */
        x->watched = false;
}

static void exchange_hang_up(struct exchange *x) {
        if (x->fd >= 0) {
                exchange_unwatch(x);
                (void) close(x->fd); /* nothing more is expected from there */
        }
        x->fd = -1;
        wire_reading_done(&x->reading);
}

void exchange_done(struct exchange *x) {
        exchange_hang_up(x);
        if (x->text)
                explicit_bzero(x->text, x->len);
        free(x->text);
        x->text = NULL;
}

short exchange_events(const struct exchange *x) {
        if (x->state == EXCHANGE_CONNECT)
                return 0;
        return x->state == EXCHANGE_SEND ? POLLOUT : POLLIN;
}

int64_t exchange_wakes(const struct exchange *x) {
        return x->state == EXCHANGE_CONNECT && x->again_us < x->until_us ? x->again_us
                                                                         : x->until_us;
}

static void exchange_pause(struct exchange *x, int64_t now_us) {
        x->state = EXCHANGE_CONNECT;
        x->again_us = now_us + x->pause_us;
        x->pause_us = x->pause_us * 2 < EXCHANGE_PAUSE_MAX_US ? x->pause_us * 2
                                                              : EXCHANGE_PAUSE_MAX_US;
}

/* A backlog may be full (EAGAIN). A socket that was open to us is not closed to us as a rule: a daemon that
 * starts has made it, and its mode and group follow. */
static bool exchange_should_try_again(struct exchange *x, int r) {
        if (r == -EACCES)
                return x->link->reached && ++x->denials <= EXCHANGE_DENIALS_MAX;
        return r == -ECONNREFUSED || r == -EAGAIN || r == -EINTR;
}

/* Each: 1: on to the next state; 0: wait; negative errno. */

static int exchange_connect(struct exchange *x, int64_t now_us) {
        struct link *l = x->link;
        int r;

        if (now_us < x->again_us)
                return 0;
        x->kept = l->n_kept > 0;
        if (x->kept) {
                x->fd = l->kept[--l->n_kept];
        } else {
                r = link_connect(l->path, &x->fd);
                if (r == -ENOENT)
                        r = -ECONNREFUSED;
                if (r == -EPERM)
                        r = -EACCES;
                if (exchange_should_try_again(x, r)) {
                        x->refusal = r == -EAGAIN || r == -EINTR ? -ETIMEDOUT : r;
                        if (now_us >= x->patience_us)
                                return x->refusal;
                        exchange_pause(x, now_us);
                        return 0;
                }
                if (r < 0)
                        return r;
        }
        x->refusal = 0;
        x->asked_us = now_us;
        x->sent = 0;
        x->state = EXCHANGE_SEND;
        wire_reading_begin(&x->reading, &(struct wire_request){ .answer_max = EXCHANGE_ANSWER_MAX,
                                                                .keep = true });
        return 1;
}

static int exchange_send(struct exchange *x) {
        while (x->sent < x->len) {
                ssize_t n = send(x->fd, x->text + x->sent, x->len - x->sent,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
                        break; /* it may have answered all the same */
                if (n < 0)
                        return errno == EAGAIN ? 0 : -errno;
                x->sent += (size_t) n;
        }
        x->state = EXCHANGE_RECEIVE;
        return 1;
}

/* A daemon that is about to stop, or has been reconfigured, says so; whoever comes next answers. One whose
 * provider fails says when to come back. What there is no time to ask again for is the answer. */
static bool exchange_should_ask_again(const struct exchange *x, const struct wire_answer *answer) {
        return answer->status == 503 && answer->retry_after_s <= 0 &&
               token_now_us() + x->pause_us < x->patience_us;
}

static int exchange_receive(struct exchange *x, int64_t now_us, struct wire_answer *ret) {
        struct link *l = x->link;
        int r;

        r = wire_receive_some(x->fd, &x->reading, ret);
        if (r == 0)
                return 0;
        if (r == 1) {
                l->reached = true;
                if (exchange_should_ask_again(x, ret)) {
                        wire_answer_done(ret);
                        exchange_hang_up(x);
                        exchange_pause(x, now_us);
                        return -EAGAIN;
                }
                if (ret->keep && l->n_kept < LINK_KEPT_MAX) {
                        exchange_unwatch(x);
                        l->kept[l->n_kept++] = x->fd;
                        x->fd = -1;
                }
                exchange_hang_up(x);
                return 1;
        }
        exchange_hang_up(x);
        if (r == -EBADMSG || r == -EMSGSIZE)
                return -EPROTO;
        if (r != -ECONNRESET && r != -EPIPE)
                return r;
        x->state = EXCHANGE_CONNECT;
        if (x->kept) /* gone stale: that is no failure */
                return -EAGAIN;
        if (++x->hang_ups > EXCHANGE_HANG_UPS_MAX || now_us >= x->patience_us)
                return -ECONNRESET;
        exchange_pause(x, now_us);
        return -EAGAIN;
}

/* The time is looked at last: what has come by then counts, and everything is tried once. */
int exchange_step(struct exchange *x, int64_t now_us, struct wire_answer *ret) {
        int r;

        for (;;) {
                const bool last = x->state == EXCHANGE_RECEIVE;

                if (last)
                        r = exchange_receive(x, now_us, ret);
                else
                        r = x->state == EXCHANGE_CONNECT ? exchange_connect(x, now_us)
                                                         : exchange_send(x);
                if ((last && r == -EAGAIN) || (!last && r == 1))
                        continue;
                if (r == 0 && now_us >= x->until_us)
                        r = x->refusal < 0 ? x->refusal : -ETIMEDOUT;
                if (r < 0)
                        exchange_hang_up(x);
                return r;
        }
}
