#include "api/feed.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/reply.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"
#include "client/protocol.h"

#define FEED_EPOCH_SIZE 8 /* random bytes */

struct feed {
        const struct clock *clock;
        char epoch[2 * FEED_EPOCH_SIZE + 1];
        pthread_mutex_t mtx;
        /* guarded by mtx */
        uint64_t last;
        struct feed_event *ring[FEED_EVENTS_MAX]; /* number N at N % FEED_EVENTS_MAX; NULL: lost */
};

int feed_new(const struct random *random, const struct clock *clock, struct feed **ret) {
        struct feed *f = calloc(1, sizeof(*f));
        uint8_t epoch[FEED_EPOCH_SIZE];

        if (!f)
                return RAISE(-ENOMEM);
        f->clock = clock;
        random_fill(random, epoch, sizeof(epoch));
        text_hex(epoch, sizeof(epoch), f->epoch);
        (void) pthread_mutex_init(&f->mtx, NULL); /* a plain mutex; glibc's cannot fail */
        *ret = f;
        return 0;
}

struct feed *feed_free(struct feed *f) {
        if (!f)
                return NULL;
        for (size_t i = 0; i < FEED_EVENTS_MAX; i++)
                feed_release(f, f->ring[i]);
        (void) pthread_mutex_destroy(&f->mtx);
        free(f);
        return NULL;
}

char *feed_id(const struct feed *f, uint64_t number, char ret[FEED_ID_SIZE]) {
        (void) snprintf(ret, FEED_ID_SIZE, "%s-%" PRIu64, f->epoch, number);
        return ret;
}

/* --- rendering --- */

static int feed_add_token(struct json_object *o, const struct token *t) {
        int r = json_object_object_add(o, "fingerprint", json_object_new_string(t->fingerprint));

        if (!t->never_expires)
                r |= json_object_object_add(o, "expires_at",
                                            json_object_new_int64(t->expires_at.s));
        return r;
}

/* As the answer to a call for the token would put it. */
static int feed_add_trouble(struct json_object *o, const struct change *c, wall_t now) {
        const char *error = c->kind == CHANGE_AUTHORIZATION_REQUIRED
                                    ? PROTOCOL_AUTHORIZATION_REQUIRED
                            : c->refused ? PROTOCOL_UPSTREAM_ERROR
                                         : PROTOCOL_TEMPORARILY_UNAVAILABLE;
        int r = json_object_object_add(o, "error", json_object_new_string(error));

        r |= json_object_object_add(o, "error_description", json_object_new_string(c->reason));
        if (c->upstream)
                r |= json_object_object_add(o, "upstream", reply_refusal(c->upstream));
        if (c->kind == CHANGE_FAILING)
                r |= json_object_object_add(
                        o, "retry_at",
                        json_object_new_int64(now.s + (c->retry_us + US_PER_S - 1) / US_PER_S));
        return r;
}

/* NULL: out of memory. */
static struct json_object *feed_object(const struct change *c, wall_t now) {
        struct json_object *o = json_object_new_object();
        int r = 0;

        if (!o)
                return NULL;
        r |= json_object_object_add(o, "event", json_object_new_string(change_kind_names[c->kind]));
        r |= json_object_object_add(o, "at", json_object_new_int64(now.s));
        r |= json_object_object_add(o, "credential", json_object_new_string(c->credential->name));
        r |= json_object_object_add(o, "subject", json_object_new_string(c->subject));
        r |= c->token ? feed_add_token(o, c->token) : feed_add_trouble(o, c, now);
        return r < 0 ? json_wipe(o) : o;
}

static struct feed_event *feed_event_new(const struct feed *f, const struct change *c,
                                         uint64_t number) {
        AUTO(json_wipep) struct json_object *o = feed_object(c, clock_wall(f->clock));
        const char *name = c->credential->name, *kind = change_kind_names[c->kind], *data;
        char id[FEED_ID_SIZE];
        struct feed_event *e;
        size_t room;

        data = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
                                                             JSON_C_TO_STRING_NOSLASHESCAPE)
                 : NULL;
        if (!data)
                return NULL;
        room = strlen(data) + strlen(kind) + sizeof(id) + 32;
        e = malloc(sizeof(*e) + room + strlen(name) + 1 + strlen(c->subject) + 1);
        if (!e)
                return NULL;
        e->refs = 1;
        e->number = number;
        e->len = (size_t) snprintf(e->text, room, "id: %s\nevent: %s\ndata: %s\n\n",
                                   feed_id(f, number, id), kind, data);
        e->credential = strcpy(e->text + room, name);
        e->subject = strcpy(e->text + room + strlen(name) + 1, c->subject);
        return e;
}

/* --- the ring --- */

/* NULL: an event that is lost, which readers see. */
static void feed_append(struct feed *f, struct feed_event *e) {
        struct feed_event *old;
        uint64_t number;

        (void) pthread_mutex_lock(&f->mtx);
        number = ++f->last;
        old = f->ring[number % FEED_EVENTS_MAX];
        f->ring[number % FEED_EVENTS_MAX] = e;
        (void) pthread_mutex_unlock(&f->mtx);
        feed_release(f, old);
}

void feed_put(struct feed *f, const struct change *change) {
        /* nobody else counts it up; without memory the event is lost */
        feed_append(f, feed_event_new(f, change, feed_last(f) + 1));
}

void feed_start_over(struct feed *f) {
        feed_append(f, NULL);
}

uint64_t feed_last(struct feed *f) {
        uint64_t last;

        (void) pthread_mutex_lock(&f->mtx);
        last = f->last;
        (void) pthread_mutex_unlock(&f->mtx);
        return last;
}

/* Guarded by mtx. */
static bool feed_has_lost(const struct feed *f, uint64_t number) {
        return number > f->last || (number < f->last && (f->last - number > FEED_EVENTS_MAX ||
                                                         !f->ring[(number + 1) % FEED_EVENTS_MAX]));
}

int feed_find(struct feed *f, const char *id, uint64_t *ret_number) {
        size_t len = strlen(f->epoch);
        int64_t number;
        bool lost;

        if (strncmp(id, f->epoch, len) != 0 || id[len] != '-' ||
            strspn(id + len + 1, "0123456789") != strlen(id + len + 1) ||
            text_parse_int64(id + len + 1, &number) < 0)
                return -ESTALE;
        (void) pthread_mutex_lock(&f->mtx);
        lost = feed_has_lost(f, (uint64_t) number);
        (void) pthread_mutex_unlock(&f->mtx);
        if (lost)
                return -ESTALE;
        *ret_number = (uint64_t) number;
        return 0;
}

struct feed_event *feed_next(struct feed *f, uint64_t number, bool *ret_lost) {
        struct feed_event *e = NULL;

        (void) pthread_mutex_lock(&f->mtx);
        *ret_lost = feed_has_lost(f, number);
        if (!*ret_lost && number < f->last) {
                e = f->ring[(number + 1) % FEED_EVENTS_MAX];
                e->refs++;
        }
        (void) pthread_mutex_unlock(&f->mtx);
        return e;
}

struct feed_event *feed_release(struct feed *f, struct feed_event *e) {
        bool is_last;

        if (!e)
                return NULL;
        (void) pthread_mutex_lock(&f->mtx);
        is_last = --e->refs == 0;
        (void) pthread_mutex_unlock(&f->mtx);
        if (is_last)
                free(e);
        return NULL;
}
