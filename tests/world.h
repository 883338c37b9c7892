#pragma once
/*
 * A world for scenarios
 *
 * The real broker, scheduler and dialect on a clock, a network and a disk that the test drives:
 * hours pass in no time. Everything here asserts with Check; threading: one thread.
 */

#include "broker/broker.h"
#include "fake_clock.h"
#include "fake_store.h"
#include "fake_transport.h"

#define NOW 1800000000 /* the wall clock when a world begins */

struct caller;

enum {        /* the credentials of a world */
        BOT,  /* jwt, 15 min, keep_fresh = while-used */
        KEPT, /* jwt, keep_fresh = always */
        PAT,
        SITE, /* authorization_code */
        APP,  /* pkce */
        TV,   /* device_code */
        N_CREDENTIALS,
};

struct world {
        struct fake_clock clock;
        struct fake_random random;
        struct fake_transport *transport;
        struct fake_store *store;
        struct timers *timers;
        struct cache *cache;
        struct broker *broker;

        struct conf conf;
        struct conf_provider provider, *providers[1];
        struct conf_credential credential[N_CREDENTIALS], *credentials[N_CREDENTIALS];
        uid_t uid;                          /* of callers to come */
        size_t served;                      /* tokens the provider has made */
        size_t pending;                     /* authorizations, as the broker last told */
        void (*answered)(struct caller *c); /* sees each answer from within; may be NULL */
        void (*told)(struct world *w, const struct change *change); /* the same; may be NULL */
        int64_t part_us; /* of a second of the wall clock */
};

/* Once, before the tests fork: makes the keys. */
void world_prepare(void);

void world_init(struct world *w);  /* everything but broker_start() */
void world_start(struct world *w); /* with KEPT as quiet as the others, unless a test wants it */
void world_done(struct world *w);

/* The machine dies: what is not durable is lost, callers and requests are gone. It comes up again
 * after this time, with an empty cache, and starts the broker. */
void world_crash(struct world *w, int64_t off_us);

/* Lets time pass, stopping at every deadline on the way. */
void world_pass(struct world *w, int64_t us);

/* The provider answers the oldest request with a new token. */
void world_grant(struct world *w, int64_t lifetime_s);

/* From here on the log is kept, and can be asked whether this text stands in it. */
void world_keep_log(void);
bool world_logged(const char *text);
bool world_logged_twice(const char *text); /* or more often */

struct caller {
        struct ask ask;
        struct variant variant;
        unsigned answers;
        enum answer_kind kind; /* ANSWER_KIND_MAX: none yet */
        char value[64];
        char fingerprint[SECRET_FINGERPRINT_SIZE];
        int64_t left_us;
        int64_t retry_after_us;
        char text[WHY_MAX];
        int upstream_status;
        struct world *world;
};

/* Forgets what the caller was before. */
void caller_ask(struct world *w, struct caller *c, int which, const char *subject,
                int64_t min_ttl_s, int64_t wait_s, const char *rejected);
