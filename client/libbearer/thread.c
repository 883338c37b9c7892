#include "client/libbearer/thread.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREAD_SLOTS 64 /* a power of two */

struct slot {
        uint64_t client; /* 0: empty */
        uint32_t hash;
        struct bearer_token *token; /* pinned */
};

struct thread {
        struct thread *next, **link; /* all of them */
        struct slot slots[THREAD_SLOTS];
        struct failure failure;
};

pthread_mutex_t bearer_lock = PTHREAD_MUTEX_INITIALIZER;

static struct thread *thread_list; /* guarded by bearer_lock */
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static int thread_key_error;

/* initial-exec: 8 bytes, and no call to find them */
static __thread struct thread *thread_mine __attribute__((tls_model("initial-exec")));

int thread_enter(void) {
        int cancel_state;

        (void) pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
        (void) pthread_mutex_lock(&bearer_lock);
        return cancel_state;
}

void thread_leave(int cancel_state) {
        (void) pthread_mutex_unlock(&bearer_lock);
        (void) pthread_setcancelstate(cancel_state, NULL);
}

static void thread_empty(struct slot *s) {
        if (s->client)
                token_unpin(s->token);
        *s = (struct slot){ 0 };
}

static void thread_release(struct thread *t) {
        for (size_t i = 0; i < THREAD_SLOTS; i++)
                thread_empty(&t->slots[i]);
        *t->link = t->next;
        if (t->next)
                t->next->link = t->link;
        free(t);
}

static void thread_end(void *p) {
        thread_mine = NULL;
        (void) pthread_mutex_lock(&bearer_lock);
        thread_release(p);
        (void) pthread_mutex_unlock(&bearer_lock);
}

static void thread_init(void) {
        thread_key_error = pthread_key_create(&thread_key, thread_end);
}

/* This thread's; NULL: out of memory. */
static struct thread *thread_get(bool locked) {
        struct thread *t = thread_mine;

        if (t)
                return t;
        (void) pthread_once(&thread_once, thread_init);
        t = thread_key_error == 0 ? calloc(1, sizeof(*t)) : NULL;
        if (!t)
                return NULL;
        if (pthread_setspecific(thread_key, t) != 0) {
                free(t);
                return NULL;
        }
        t->failure.retry_after_s = -1;
        if (!locked)
                (void) pthread_mutex_lock(&bearer_lock);
        t->next = thread_list;
        t->link = &thread_list;
        if (t->next)
                t->next->link = &t->next;
        thread_list = t;
        if (!locked)
                (void) pthread_mutex_unlock(&bearer_lock);
        thread_mine = t;
        return t;
}

struct bearer_token *thread_hit(const struct key *k, int64_t now_us) {
        struct thread *t = thread_mine;
        struct slot *s;
        struct body *b;

        if (!t)
                return NULL;
        s = &t->slots[k->hash % THREAD_SLOTS];
        if (s->client != k->client || s->hash != k->hash || !token_reuse(s->token))
                return NULL;
        b = token_body(s->token); /* ours from here on */
        if (body_is(b, k->name, k->name_len, k->rest) && body_is_good(b, now_us, k->min_ttl_us) &&
            !body_is_due(b, now_us))
                return s->token;
        (void) bearer_token_unref(s->token);
        return NULL;
}

struct bearer_token *thread_keep(const struct key *k, struct body *b) {
        struct thread *t = thread_get(true);
        struct bearer_token *token;
        struct slot *s;

        token = token_new(b, t != NULL);
        if (!token || !t)
                return token;
        s = &t->slots[k->hash % THREAD_SLOTS];
        thread_empty(s);
        *s = (struct slot){ k->client, k->hash, token };
        return token;
}

void thread_withdraw(uint64_t client, const struct body *b) {
        for (struct thread *t = thread_list; t; t = t->next)
                for (size_t i = 0; i < THREAD_SLOTS; i++) {
                        struct slot *s = &t->slots[i];

                        if (s->client == client && (!b || token_body(s->token) == b))
                                token_withdraw(s->token);
                }
}

void thread_forked(void) {
        for (struct thread *t = thread_list, *next; t; t = next) {
                next = t->next;
                if (t != thread_mine)
                        thread_release(t);
        }
}

/* Errors */

int thread_fail(int r, const char *format, ...) {
        struct thread *t = thread_get(false);
        va_list ap;

        if (!t)
                return r;
        t->failure.r = r;
        t->failure.retry_after_s = -1;
        if (!format) {
                (void) snprintf(t->failure.text, sizeof(t->failure.text), "%s", bearer_strerror(r));
                return r;
        }
        va_start(ap, format);
        (void) vsnprintf(t->failure.text, sizeof(t->failure.text), format, ap); /* cut on purpose */
        va_end(ap);
        return r;
}

int thread_fail_as(const struct failure *f) {
        struct thread *t = thread_get(false);

        if (t)
                t->failure = *f;
        return f->r;
}

const char *bearer_error_text(void) {
        return thread_mine ? thread_mine->failure.text : "";
}

int bearer_error_retry_after(void) {
        return thread_mine ? thread_mine->failure.retry_after_s : -1;
}

static const struct {
        int r;
        const char *text;
} thread_errors[] = {
        { 0, "no error" },
        { -EINVAL, "the request is wrong" },
        { -EACCES, "access denied" },
        { -ENOENT, "no such credential" },
        { -ENOKEY, "a person has to authorize, or to set a new token" },
        { -EBUSY, "too many callers: try again later" },
        { -EREMOTEIO, "the provider refused" },
        { -EHOSTDOWN, "the provider fails for now: try again later" },
        { -ETIMEDOUT, "no answer in time" },
        { -ECONNREFUSED, "no daemon at the socket" },
        { -ECONNRESET, "the daemon hung up" },
        { -EPROTO, "what came from the socket is not an answer of bearerd" },
        { -EIO, "the daemon failed" },
        { -EAGAIN, "no good token in memory" },
        { -ENOMEM, "out of memory" },
};

const char *bearer_strerror(int r) {
        const char *text;

        for (size_t i = 0; i < sizeof(thread_errors) / sizeof(thread_errors[0]); i++)
                if (thread_errors[i].r == r)
                        return thread_errors[i].text;
        text = r < 0 ? strerrordesc_np(-r) : NULL;
        return text ? text : "unknown error";
}
