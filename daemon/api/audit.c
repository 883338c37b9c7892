#include "api/audit.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "client/protocol.h"

/*
 * A table of a fixed size, in sets of AUDIT_WAYS: an event is in the set of its hash or nowhere, so that to look for it costs
 * the same however many there are. An entry whose count has been written may make room for another. The lock is held for a
 * look at one set, or for copying out an entry, never while a line is written.
 */

#define AUDIT_WAYS     8
#define AUDIT_SETS     (AUDIT_ENTRIES / AUDIT_WAYS)
#define AUDIT_UNIT_MAX 255 /* bytes of a unit's name; systemd.unit(5) */

const char *const audit_outcome_names[AUDIT_OUTCOME_MAX] = {
        [AUDIT_HANDED_OUT] = "handed_out",
        [AUDIT_USE_DENIED] = "use_denied",
        [AUDIT_ADMIN_DENIED] = "admin_denied",
        [AUDIT_NOT_SHOWN] = "not_shown",
};

struct audit_entry {
        uint64_t hash;
        bool is_used;
        bool is_due;    /* it is in the queue */
        uint64_t count; /* not yet written */
        enum audit_outcome outcome;
        uid_t uid;
        gid_t gid;
        pid_t pid;
        char fingerprint[SECRET_FINGERPRINT_SIZE];
        char credential[PROTOCOL_NAME_MAX + 1];
        char subject[PROTOCOL_SUBJECT_MAX + 1];
        char unit[AUDIT_UNIT_MAX + 1]; /* "": unknown */
};

struct audit {
        struct audit_parts parts;
        uint64_t seed;
        atomic_uint mode;
        struct message message; /* to the loop: something is due */
        sd_event_source *timer; /* owned by the loop */
        pthread_mutex_t mtx;

        /* guarded by mtx */
        bool posted;
        struct audit_entry entries[AUDIT_ENTRIES];
        uint16_t queue[AUDIT_ENTRIES]; /* what is due, oldest first, from `head` on */
        size_t head, n_due;
        uint64_t merged[AUDIT_OUTCOME_MAX]; /* what found no place */
};

/* --- recording --- */

struct audit_happening { /* all borrowed */
        uint64_t hash;
        enum audit_outcome outcome;
        const struct peer *peer;
        const char *credential, *subject, *fingerprint;
};

/* A word at a time: texts are short, and multiplications wait for each other. */
static uint64_t audit_hash(uint64_t hash, const char *text) {
        const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 over the golden ratio */
        size_t left = strlen(text);
        uint64_t word;

        for (; left >= sizeof(word); left -= sizeof(word), text += sizeof(word)) {
                memcpy(&word, text, sizeof(word));
                hash = (hash ^ word) * odd;
                hash ^= hash >> 32;
        }
        word = (uint64_t) (left + 1) << 56;
        memcpy(&word, text, left);
        hash = (hash ^ word) * odd;
        return hash ^ hash >> 32;
}

static bool audit_fits(const struct audit_entry *e, const struct audit_happening *h) {
        return e->is_used && e->hash == h->hash && e->outcome == h->outcome &&
               e->uid == h->peer->uid && e->gid == h->peer->gid && e->pid == h->peer->pid &&
               strcmp(e->fingerprint, h->fingerprint) == 0 &&
               strcmp(e->credential, h->credential) == 0 && strcmp(e->subject, h->subject) == 0 &&
               (!h->peer->unit || strcmp(e->unit, h->peer->unit) == 0);
}

/* The hot path ends here. */
static bool audit_count(struct audit_entry *set, const struct audit_happening *h) {
        for (size_t i = 0; i < AUDIT_WAYS; i++)
                if (audit_fits(&set[i], h)) {
                        set[i].count++;
                        return true;
                }
        return false;
}

static void audit_enqueue(struct audit *a, struct audit_entry *e) {
        e->is_due = true;
        a->queue[(a->head + a->n_due++) % AUDIT_ENTRIES] = (uint16_t) (e - a->entries);
}

static void audit_copy(char *ret, size_t size, const char *text) {
        strncpy(ret, text, size - 1); /* what is longer was refused before it got here */
        ret[size - 1] = '\0';
}

static void audit_insert(struct audit *a, struct audit_entry *set,
                         const struct audit_happening *h) {
        struct audit_entry *place = NULL;

        for (size_t i = 0; i < AUDIT_WAYS; i++)
                if (!set[i].is_used || (set[i].count == 0 && !place))
                        place = &set[i];
        if (!place) {
                a->merged[h->outcome]++;
                return;
        }
        *place = (struct audit_entry){
                .hash = h->hash,
                .is_used = true,
                .count = 1,
                .outcome = h->outcome,
                .uid = h->peer->uid,
                .gid = h->peer->gid,
                .pid = h->peer->pid,
        };
        audit_copy(place->fingerprint, sizeof(place->fingerprint), h->fingerprint);
        audit_copy(place->credential, sizeof(place->credential), h->credential);
        audit_copy(place->subject, sizeof(place->subject), h->subject);
        if (h->peer->unit)
                audit_copy(place->unit, sizeof(place->unit), h->peer->unit);
        audit_enqueue(a, place);
}

bool audit_tells(const struct audit *a, enum audit_outcome outcome) {
        unsigned mode = atomic_load_explicit(&a->mode, memory_order_relaxed);

        if (mode == AUDIT_OFF)
                return false;
        return outcome == AUDIT_HANDED_OUT ? mode == AUDIT_ALL && log_enabled(LOG_LEVEL_INFO)
                                           : log_enabled(LOG_LEVEL_WARNING);
}

void audit_record(struct audit *a, enum audit_outcome outcome, struct caller *caller,
                  const char *credential, const char *subject, const char *fingerprint) {
        struct audit_happening h = { .outcome = outcome,
                                     .peer = &caller->peer,
                                     .credential = credential,
                                     .subject = subject,
                                     .fingerprint = fingerprint };
        struct audit_entry *set;
        bool known, post = false;

        if (!audit_tells(a, outcome))
                return;
        h.hash = audit_hash(a->seed ^ (uint64_t) caller->peer.pid, fingerprint);
        h.hash = audit_hash(audit_hash(h.hash, credential), subject);
        set = &a->entries[(h.hash >> 32) % AUDIT_SETS * AUDIT_WAYS];

        (void) pthread_mutex_lock(&a->mtx);
        known = audit_count(set, &h);
        (void) pthread_mutex_unlock(&a->mtx);
        if (known)
                return;

        caller_learn_unit(caller); /* reads /proc: not with the lock */
        (void) pthread_mutex_lock(&a->mtx);
        if (!audit_count(set, &h)) {
                audit_insert(a, set, &h);
                post = !a->posted;
                a->posted = true;
        }
        (void) pthread_mutex_unlock(&a->mtx);
        if (post)
                inbox_post(a->parts.loop, &a->message);
}

/* --- telling --- */

static void audit_write(const struct audit_entry *e) {
        const char *outcome = audit_outcome_names[e->outcome], *unit = e->unit[0] ? e->unit : "-";
        char subject[PROTOCOL_SUBJECT_MAX + 3];

        (void) log_quote(e->subject, subject, sizeof(subject));
        if (e->outcome == AUDIT_HANDED_OUT)
                log_info("event=token_handed_out outcome=%s uid=%u gid=%u pid=%d unit=%s "
                         "credential=%s subject=%s fingerprint=%s count=%" PRIu64,
                         outcome, e->uid, e->gid, e->pid, unit, e->credential, subject,
                         e->fingerprint, e->count);
        else
                log_warning("event=access_refused outcome=%s uid=%u gid=%u pid=%d unit=%s "
                            "credential=%s subject=%s fingerprint=- count=%" PRIu64,
                            outcome, e->uid, e->gid, e->pid, unit, e->credential, subject,
                            e->count);
}

/* The oldest that is due; false: none is, and the next one has to say so. */
static bool audit_next(struct audit *a, struct audit_entry *ret) {
        struct audit_entry *e;
        bool found;

        (void) pthread_mutex_lock(&a->mtx);
        found = a->n_due > 0;
        if (found) {
                e = &a->entries[a->queue[a->head]];
                a->head = (a->head + 1) % AUDIT_ENTRIES;
                a->n_due--;
                *ret = *e;
                e->is_due = false;
                e->count = 0;
        } else
                a->posted = false;
        (void) pthread_mutex_unlock(&a->mtx);
        return found;
}

static void audit_write_merged(struct audit *a) {
        uint64_t merged[AUDIT_OUTCOME_MAX];

        (void) pthread_mutex_lock(&a->mtx);
        memcpy(merged, a->merged, sizeof(merged));
        memset(a->merged, 0, sizeof(a->merged));
        (void) pthread_mutex_unlock(&a->mtx);
        for (int i = 0; i < AUDIT_OUTCOME_MAX; i++)
                if (merged[i] > 0)
                        log_warning("event=audit_merged outcome=%s count=%" PRIu64
                                    " reason=\"too many different events at once\"",
                                    audit_outcome_names[i], merged[i]);
}

static int audit_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct audit *a = userdata;

        (void) source;
        (void) usec;
        a->timer = sd_event_source_disable_unref(a->timer);
        audit_sweep(a);
        return 0;
}

/* Without a timer, for want of memory, repeats are told when the next new event is. */
static void audit_arm(struct audit *a) {
        if (!a->timer)
                (void) sd_event_add_time_relative(a->parts.event, &a->timer, CLOCK_BOOTTIME,
                                                  AUDIT_INTERVAL_US, US_PER_S, audit_on_timer, a);
}

void audit_flush(struct audit *a) {
        struct audit_entry e;

        while (audit_next(a, &e)) {
                audit_write(&e);
                audit_arm(a);
        }
        audit_write_merged(a);
}

void audit_sweep(struct audit *a) {
        bool any = false;

        (void) pthread_mutex_lock(&a->mtx);
        for (size_t i = 0; i < AUDIT_ENTRIES; i++) {
                struct audit_entry *e = &a->entries[i];

                if (e->is_used && !e->is_due && e->count > 0)
                        audit_enqueue(a, e);
                else if (!e->is_due)
                        e->is_used = false; /* not seen for a whole interval */
                any = any || e->is_used;
        }
        (void) pthread_mutex_unlock(&a->mtx);
        if (any)
                audit_arm(a);
        audit_flush(a);
}

static void audit_run(struct message *m) {
        struct audit *a = list_entry(m, struct audit, message);

        audit_flush(a);
}

/* --- life --- */

int audit_new(const struct audit_parts *parts, struct audit **ret) {
        struct audit *a = calloc(1, sizeof(*a));

        if (!a)
                return RAISE(-ENOMEM);
        a->parts = *parts;
        a->message.run = audit_run;
        atomic_init(&a->mode, parts->mode);
        random_fill(parts->random, (uint8_t *) &a->seed, sizeof(a->seed));
        (void) pthread_mutex_init(&a->mtx, NULL); /* a plain mutex; glibc's cannot fail */
        *ret = a;
        return 0;
}

struct audit *audit_free(struct audit *a) {
        if (!a)
                return NULL;
        audit_sweep(a);
        sd_event_source_disable_unref(a->timer);
        (void) pthread_mutex_destroy(&a->mtx);
        free(a);
        return NULL;
}

void audit_set_mode(struct audit *a, enum audit_mode mode) {
        atomic_store_explicit(&a->mode, mode, memory_order_relaxed);
}
