#include "broker/token.h"

#include <stdlib.h>
#include <string.h>

#include "client/protocol.h"

struct token *token_new(const struct token_properties *p) {
        struct token *t = calloc(1, sizeof(*t));
        int64_t half = p->lifetime_us / 2;

        if (!t)
                return NULL;
        atomic_init(&t->refs, 1);
        t->key = strdup(p->key);
        t->node.key = t->key;
        t->credential = strdup(p->credential);
        t->subject = strdup(p->subject);
        t->value = secret_ref(p->value);
        secret_fingerprint(p->value, t->fingerprint);
        t->never_expires = p->lifetime_us == INT64_MAX;
        t->obtained = p->obtained;
        t->expires = mono_add(p->obtained, p->lifetime_us);
        t->expires_at = p->expires_at;
        t->renews = mono_add(p->obtained, p->renews_us);
        t->default_min_ttl_us = half < PROTOCOL_MIN_TTL_DEFAULT_S * US_PER_S
                                        ? half
                                        : PROTOCOL_MIN_TTL_DEFAULT_S * US_PER_S;
        if (!t->key || !t->credential || !t->subject)
                return token_unref(t);
        return t;
}

struct token *token_ref(struct token *t) {
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
        return t;
}

struct token *token_unref(struct token *t) {
        if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
                return NULL;
        if (t->rendered)
                t->rendered_free(t->rendered);
        secret_unref(t->value);
        free(t->key);
        free(t->credential);
        free(t->subject);
        free(t);
        return NULL;
}
