#include "client/libbearer/token.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_SLOT   1U
#define TOKEN_PINNED 2U
#define TOKEN_REF    4U

#define BODY_RECHECK_US INT64_C(60000000) /* so long a token may be changed unnoticed */
#define BODY_MIN_TTL_US INT64_C(60000000)

#define BODY_HEADER "Authorization: Bearer "

struct bearer_token {
        _Alignas(64) _Atomic uint64_t count; /* a line of its own: one thread writes here */
        struct body *body;
};

void (*body_release_hook)(const void *bytes, size_t len);

int64_t token_now_us(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail on Linux */
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

struct body *body_new(const char *name, const char *rest, const char *value, size_t len,
                      const char *fingerprint, int64_t expires_at, int64_t expires_in_us,
                      int64_t now_us) {
        const size_t name_len = strlen(name), rest_len = strlen(rest),
                     page = (size_t) sysconf(_SC_PAGESIZE);
        size_t size = sizeof(struct body) + name_len + rest_len + 1 + sizeof(BODY_HEADER) + len;
        struct body *b;
        char *p;

        size = (size + page - 1) / page * page;
        b = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b == MAP_FAILED)
                return NULL;
        (void) madvise(b, size, MADV_DONTDUMP); /* best effort */
        atomic_init(&b->refs, 1);
        b->mapped = size;
        b->expires_at = expires_at;
        b->expires_us = expires_in_us == TOKEN_NEVER ? TOKEN_NEVER : now_us + expires_in_us;
        b->default_end_us = TOKEN_NEVER;
        if (expires_in_us != TOKEN_NEVER)
                b->default_end_us = b->expires_us - (expires_in_us / 2 < BODY_MIN_TTL_US
                                                             ? expires_in_us / 2
                                                             : BODY_MIN_TTL_US);
        atomic_init(&b->due_us, now_us + BODY_RECHECK_US);
        strcpy(b->fingerprint, fingerprint);
        p = (char *) (b + 1);
        b->key = p;
        b->name_len = name_len;
        p = stpcpy(stpcpy(p, name), rest) + 1;
        b->header = p;
        p = stpcpy(p, BODY_HEADER);
        b->value = p;
        memcpy(p, value, len);
        p[len] = '\0';
        return b;
}

struct body *body_ref(struct body *b) {
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
        return b;
}

struct body *body_unref(struct body *b) {
        size_t mapped;

        if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
                return NULL;
        mapped = b->mapped;
        explicit_bzero(b, mapped);
        if (body_release_hook)
                body_release_hook(b, mapped);
        (void) munmap(b, mapped); /* nothing could be done about it */
        return NULL;
}

bool body_is(const struct body *b, const char *name, size_t name_len, const char *rest) {
        return b->name_len == name_len && memcmp(b->key, name, name_len) == 0 &&
               strcmp(b->key + name_len, rest) == 0;
}

bool body_is_good(const struct body *b, int64_t now_us, int64_t min_ttl_us) {
        if (min_ttl_us < 0)
                return now_us < b->default_end_us;
        return b->expires_us == TOKEN_NEVER ||
               (now_us < b->expires_us && b->expires_us - now_us >= min_ttl_us);
}

bool body_is_due(const struct body *b, int64_t now_us) {
        return now_us >= atomic_load_explicit(&b->due_us, memory_order_relaxed);
}

struct bearer_token *token_new(struct body *b, bool slot) {
        struct bearer_token *t = aligned_alloc(_Alignof(struct bearer_token), sizeof(*t));

        if (!t)
                return NULL;
        atomic_init(&t->count, TOKEN_REF | (slot ? TOKEN_SLOT | TOKEN_PINNED : 0));
        t->body = body_ref(b);
        return t;
}

struct body *token_body(const struct bearer_token *t) {
        return t->body;
}

/* The handle went from `before` to `after`. Its body was read before that: it may be gone by now. */
static void token_settle(struct bearer_token *t, struct body *b, uint64_t before, uint64_t after) {
        if ((before & ~(uint64_t) TOKEN_PINNED) != 0 && (after & ~(uint64_t) TOKEN_PINNED) == 0)
                (void) body_unref(b);
        if (after == 0)
                free(t);
}

static void token_clear(struct bearer_token *t, uint64_t marks) {
        struct body *b = t->body;
        uint64_t before = atomic_fetch_and_explicit(&t->count, ~marks, memory_order_acq_rel);

        token_settle(t, b, before, before & ~marks);
}

bool token_reuse(struct bearer_token *t) {
        uint64_t n = atomic_load_explicit(&t->count, memory_order_relaxed);

        do
                if (!(n & TOKEN_SLOT))
                        return false;
        while (!atomic_compare_exchange_weak_explicit(&t->count, &n, n + TOKEN_REF,
                                                      memory_order_acquire, memory_order_relaxed));
        return true;
}

void token_withdraw(struct bearer_token *t) {
        token_clear(t, TOKEN_SLOT);
}

void token_unpin(struct bearer_token *t) {
        token_clear(t, TOKEN_SLOT | TOKEN_PINNED);
}

/* What callers see */

struct bearer_token *bearer_token_ref(struct bearer_token *t) {
        atomic_fetch_add_explicit(&t->count, TOKEN_REF, memory_order_relaxed);
        return t;
}

struct bearer_token *bearer_token_unref(struct bearer_token *t) {
        struct body *b;
        uint64_t before;

        if (!t)
                return NULL;
        b = t->body;
        before = atomic_fetch_sub_explicit(&t->count, TOKEN_REF, memory_order_acq_rel);
        token_settle(t, b, before, before - TOKEN_REF);
        return NULL;
}

const char *bearer_token_value(const struct bearer_token *t) {
        return t->body->value;
}

const char *bearer_token_header(const struct bearer_token *t) {
        return t->body->header;
}

const char *bearer_token_fingerprint(const struct bearer_token *t) {
        return t->body->fingerprint;
}

int64_t bearer_token_expires_at(const struct bearer_token *t) {
        return t->body->expires_at;
}

int64_t bearer_token_expires_in(const struct bearer_token *t) {
        int64_t left_us = t->body->expires_us;

        if (left_us == TOKEN_NEVER)
                return -1;
        left_us -= token_now_us();
        return left_us > 0 ? left_us / 1000000 : 0;
}
