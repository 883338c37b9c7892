#include "fake_transport.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"

struct fake_exchange {
        struct list_link link;
        struct http_request *req;
        http_done_fn *done;
        void *user;
};

struct fake_transport {
        struct transport seam;
        struct list_link waiting;
        size_t n_waiting, n_sent;
        int refuse_next;
};

static int fake_transport_send(void *self, struct http_request *req, http_done_fn *done,
                               void *user) {
        struct fake_transport *f = self;
        struct fake_exchange *x = calloc(1, sizeof(*x));
        int r = f->refuse_next;

        assert(x);
        if (r < 0) {
                f->refuse_next = 0;
                http_request_free(req);
                free(x);
                return r;
        }
        *x = (struct fake_exchange){ .req = req, .done = done, .user = user };
        list_append(&f->waiting, &x->link);
        f->n_waiting++;
        f->n_sent++;
        return 0;
}

static struct fake_exchange *fake_transport_take(struct fake_transport *f, struct list_link *link) {
        struct fake_exchange *x = list_entry(link, struct fake_exchange, link);

        list_remove(link);
        f->n_waiting--;
        return x;
}

static void fake_exchange_free(struct fake_exchange *x) {
        http_request_free(x->req);
        free(x);
}

static void fake_transport_cancel(void *self, void *user) {
        struct fake_transport *f = self;

        for (struct list_link *l = f->waiting.next; l != &f->waiting; l = l->next)
                if (list_entry(l, struct fake_exchange, link)->user == user) {
                        fake_exchange_free(fake_transport_take(f, l));
                        return;
                }
}

struct fake_transport *fake_transport_new(void) {
        struct fake_transport *f = calloc(1, sizeof(*f));

        assert(f);
        f->seam = (struct transport){ fake_transport_send, fake_transport_cancel, f };
        list_init(&f->waiting);
        return f;
}

struct fake_transport *fake_transport_free(struct fake_transport *f) {
        if (!f)
                return NULL;
        while (!list_is_empty(&f->waiting))
                fake_exchange_free(fake_transport_take(f, f->waiting.next));
        free(f);
        return NULL;
}

const struct transport *fake_transport_seam(struct fake_transport *f) {
        return &f->seam;
}

size_t fake_transport_waiting(const struct fake_transport *f) {
        return f->n_waiting;
}

size_t fake_transport_sent(const struct fake_transport *f) {
        return f->n_sent;
}

const struct http_request *fake_transport_at(const struct fake_transport *f, size_t i) {
        const struct list_link *l = f->waiting.next;

        assert(i < f->n_waiting);
        while (i-- > 0)
                l = l->next;
        return list_entry(l, struct fake_exchange, link)->req;
}

const struct http_request *fake_transport_oldest(const struct fake_transport *f) {
        return fake_transport_at(f, 0);
}

static void fake_transport_finish(struct fake_transport *f, const struct http_response *resp) {
        struct fake_exchange *x;

        assert(f->n_waiting > 0);
        x = fake_transport_take(f, f->waiting.next);
        x->done(x->user, resp);
        fake_exchange_free(x);
}

void fake_transport_answer(struct fake_transport *f, int status, const char *body, int64_t date_s,
                           int64_t retry_after_us) {
        AUTO(secret_unrefp) struct secret *s = secret_new(body, strlen(body));
        const struct http_response resp = {
                .outcome = HTTP_ANSWERED,
                .status = status,
                .body = s,
                .content_type = "application/json",
                .logid = "fake-log-id",
                .has_date = date_s != 0,
                .date = { date_s },
                .retry_after_us = retry_after_us,
        };

        assert(s);
        fake_transport_finish(f, &resp);
}

void fake_transport_fail(struct fake_transport *f, enum http_outcome outcome) {
        const struct http_response resp = { .outcome = outcome,
                                            .retry_after_us = -1,
                                            .problem = "connection refused" };

        fake_transport_finish(f, &resp);
}

void fake_transport_refuse_next(struct fake_transport *f, int r) {
        f->refuse_next = r;
}
