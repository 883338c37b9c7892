#include "base/inbox.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"

struct inbox {
        int fd;
        pthread_mutex_t mtx;
        /* guarded by mtx */
        struct message *first, **last;
};

int inbox_new(struct inbox **ret) {
        struct inbox *i = calloc(1, sizeof(*i));
        int r;

        if (!i)
                return RAISE(-ENOMEM);
        i->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (i->fd < 0) {
                r = -errno;
                free(i);
                return RAISE(r);
        }
        (void) pthread_mutex_init(&i->mtx, NULL); /* a plain mutex; glibc's cannot fail */
        i->last = &i->first;
        *ret = i;
        return 0;
}

struct inbox *inbox_free(struct inbox *i) {
        if (!i)
                return NULL;
        (void) close(i->fd);
        (void) pthread_mutex_destroy(&i->mtx);
        free(i);
        return NULL;
}

int inbox_fd(const struct inbox *i) {
        return i->fd;
}

void inbox_post(struct inbox *i, struct message *m) {
        const uint64_t one = 1;
        bool was_empty;

        m->next = NULL;
        (void) pthread_mutex_lock(&i->mtx);
        was_empty = !i->first;
        *i->last = m;
        i->last = &m->next;
        (void) pthread_mutex_unlock(&i->mtx);
        if (was_empty)
                /* fails only when the counter is full, and then the receiver is awake already */
                (void) !write(i->fd, &one, sizeof(one));
}

void inbox_run(struct inbox *i) {
        struct message *m, *next;
        uint64_t count;

        (void) !read(i->fd, &count,
                     sizeof(count)); /* before the list is taken: a later post wakes us again */
        (void) pthread_mutex_lock(&i->mtx);
        m = i->first;
        i->first = NULL;
        i->last = &i->first;
        (void) pthread_mutex_unlock(&i->mtx);
        for (; m; m = next) {
                next = m->next; /* run() may free the message */
                m->run(m);
        }
}
