#include "machine.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "broker/state.h"
#include "law.h"
#include "people.h"
#include "provider.h"
#include "tests/fake_clock.h"
#include "tests/fake_store.h"

#define STOP_MAX_US (90 * US_PER_S) /* systemd kills after that */
#define SPINS_MAX   10000
#define BYTES_SPARE (1024 * 1024)
#define BYTES_EACH  6144 /* for each object that the daemon has a reason to keep */
#define COMMIT_US   3000
#define HANG_US     (90 * US_PER_S) /* a slow disk may take this long */

bool fault_tells_early;
unsigned machine_deaths;

struct configuration {
        struct conf conf;
        struct conf_credential credential[CREDENTIALS], *credentials[CREDENTIALS];
        const struct conf_credential *of[CREDENTIALS]; /* by true index; NULL: it is not there */
};

static struct {
        struct clock clock;
        struct random bytes;
        struct fake_random source;
        struct conf conf;
        struct conf_provider provider[PROVIDERS], *providers[PROVIDERS];
        struct conf_credential credential[CREDENTIALS], *credentials[CREDENTIALS];
        char names[CREDENTIALS][16], clients[CREDENTIALS][8], urls[PROVIDERS][2][32];
        char keys[64][4];
        bool absent[CREDENTIALS];         /* not configured for a while */
        struct configuration *configured; /* the one in force */
        mono_t booted;                    /* true time minus this is CLOCK_BOOTTIME */
        int64_t wall_offset_s;
        mono_t wakes;
        struct fake_store *rows;
        struct store store; /* in front of `rows` */
        struct timer commit;
        size_t committing; /* changes that the commit under way takes; 0: none is */
        bool disk_fails, disk_is_slow;
        struct timers *timers;
        struct cache *cache;
        struct broker *broker;
        bool is_up, quiet, stopping;
        struct timer starts, stop_ends;
        unsigned spins;
        size_t bytes_at_start;
} m;

/* --- clocks --- */

mono_t machine_mono(void) {
        return (mono_t){ sim_now.us - m.booted.us };
}

static mono_t machine_clock_mono(void *self) {
        (void) self;
        return machine_mono();
}

static wall_t machine_clock_wall(void *self) {
        (void) self;
        return (wall_t){ SIM_EPOCH + sim_now.us / US_PER_S + m.wall_offset_s };
}

mono_t machine_wakes(void) {
        return m.wakes;
}

void machine_step_clock(int64_t s) {
        sim_note("clock", "steps", s, 0);
        m.wall_offset_s += s;
        all_trouble(0);
}

void machine_sleep(int64_t us) {
        sim_note("machine", "sleeps", us, 0);
        m.wakes = mono_add(sim_now, us);
        all_trouble(us);
}

/* --- the disk --- */

static void row_number(const char *credential, const char *subject) {
        struct store *s = fake_store_seam(m.rows);
        struct consent *c = consent_find(credential, subject);
        struct record record;

        if (!c)
                return;
        if (s->get(s->self, credential, subject, NULL, &record) != 0) {
                c->durable = 0;
                return;
        }
        (void) refresh_token_parse(secret_text(record.secret), &c->durable);
        secret_unref(record.secret);
}

struct change_told { /* a change on its way to the disk, and who wants to know */
        char credential[16], subject[16];
        unsigned number; /* of the refresh token it brings; 0: it brings none */
        bool removes;
        store_done_fn *done;
        void *user;
};

static void disk_done(void *user, int r) {
        struct change_told *t = user;
        struct consent *c = consent_find(t->credential, t->subject);

        sim_note("disk", t->removes ? "removed" : t->number ? "put" : "marked", r, t->number);
        if (c && r == 0 && t->removes)
                law(LAW_NO_GRANT_IS_LOST, !consent_is_alive(c), "the row of %s.%s is removed",
                    t->credential, t->subject);
        if (c && r < 0 && t->number > c->unsaved)
                c->unsaved = t->number;
        if (c && r < 0 && t->removes) { /* a reload or a start finds it, and cannot know */
                c->refused = 0;
                c->may_come_back = true;
        }
        row_number(t->credential, t->subject);
        if (t->done)
                t->done(t->user, r);
        free(t);
}

static int64_t commit_takes(void) {
        if (!m.disk_is_slow)
                return dice_between(200, COMMIT_US);
        return dice_between(200, dice_one_in(20) ? HANG_US : 3 * US_PER_S);
}

static void commit_timer(struct timer *t) {
        (void) t;
        if (mono_before(sim_now, m.wakes)) {
                agenda_set(&m.commit, mono_until(sim_now, m.wakes) + 1);
                return;
        }
        if (m.disk_fails)
                fake_store_fail(m.rows, m.committing, -ENOSPC);
        (void) fake_store_complete(m.rows, m.committing);
        fake_store_fail(m.rows, 0, 0);
        m.committing = fake_store_waiting(m.rows);
        if (m.committing > 0)
                agenda_set(&m.commit, commit_takes());
}

static struct change_told *disk_change(const char *credential, const char *subject,
                                       store_done_fn *done, void *user) {
        struct change_told *t = calloc(1, sizeof(*t));

        if (!t)
                abort();
        (void) snprintf(t->credential, sizeof(t->credential), "%s", credential);
        (void) snprintf(t->subject, sizeof(t->subject), "%s", subject);
        t->done = done;
        t->user = user;
        if (m.committing == 0) {
                m.committing = 1;
                agenda_set(&m.commit, commit_takes());
        }
        return t;
}

static int disk_put(void *self, const struct record *r, store_done_fn *done, void *user) {
        struct store *s = fake_store_seam(m.rows);
        struct change_told *t = disk_change(r->credential, r->subject, done, user);

        (void) self;
        (void) refresh_token_parse(secret_text(r->secret), &t->number);
        if (fault_tells_early && done) {
                t->done = NULL;
                m.disk_is_slow = true;
                (void) s->put(s->self, r, disk_done, t);
                done(user, 0);
                return 0;
        }
        return s->put(s->self, r, disk_done, t);
}

static int disk_remove(void *self, const char *credential, const char *subject, store_done_fn *done,
                       void *user) {
        struct store *s = fake_store_seam(m.rows);
        struct change_told *t = disk_change(credential, subject, done, user);

        (void) self;
        t->removes = true;
        return s->remove(s->self, credential, subject, disk_done, t);
}

static int disk_mark(void *self, const char *credential, const char *subject, store_done_fn *done,
                     void *user) {
        struct store *s = fake_store_seam(m.rows);

        (void) self;
        return s->mark(s->self, credential, subject, disk_done,
                       disk_change(credential, subject, done, user));
}

/* A commit that is under way is on the disk as a whole or not at all, and nobody hears of it. */
static void disk_dies(void) {
        if (m.committing > 0 && !m.disk_fails && dice_one_in(2))
                fake_store_tear(m.rows, m.committing);
        fake_store_crash(m.rows);
        m.committing = 0;
}

void machine_disk_fails(bool fails) {
        sim_note("disk", fails ? "is full" : "has room", 0, 0);
        m.disk_fails = fails;
        all_trouble(0);
}

void machine_disk_is_slow(bool slow) {
        sim_note("disk", slow ? "is slow" : "is quick", 0, 0);
        m.disk_is_slow = slow;
        if (!slow && m.committing > 0)
                agenda_set(&m.commit, commit_takes());
        all_trouble(0);
}

bool machine_disk_is_well(void) {
        return !m.disk_fails && !m.disk_is_slow;
}

void machine_seed_row(const char *credential, const char *subject, int64_t age_s) {
        struct consent *c = consent_find(credential, subject);
        char text[64];
        int n = snprintf(text, sizeof(text), "rt.%s.%s.1", credential, subject);
        AUTO(secret_unrefp) struct secret *token = secret_new(text, (size_t) n);
        const struct record record = {
                .credential = credential,
                .subject = subject,
                .kind = RECORD_GRANT,
                .secret = token,
                .obtained_at = { SIM_EPOCH - age_s },
                .expires_at = { SIM_EPOCH - age_s + 30 * 86400 },
        };

        fake_store_set(m.rows, &record);
        c->issued = c->delivered = c->durable = 1;
        c->ends = (mono_t){ (30 * 86400 - age_s) * US_PER_S };
}

/* --- the configuration --- */

static void machine_configure(uint64_t seed) {
        static const struct {
                const char *name;
                enum credential_type type;
        } types[TYPES] = { { "jwt", CREDENTIAL_JWT },
                           { "code", CREDENTIAL_AUTHORIZATION_CODE },
                           { "pkce", CREDENTIAL_PKCE },
                           { "device", CREDENTIAL_DEVICE_CODE } };
        static const int64_t lives[] = { 900, 900, 3600, 14400, 86399 };

        for (unsigned p = 0; p < PROVIDERS; p++) {
                (void) snprintf(m.urls[p][0], sizeof(m.urls[p][0]), "https://api%u.example", p);
                (void) snprintf(m.urls[p][1], sizeof(m.urls[p][1]), "https://www%u.example", p);
                m.provider[p] = (struct conf_provider){
                        .name = m.urls[p][0] + 8,
                        .dialect = (char *) "coze",
                        .api_url = m.urls[p][0],
                        .www_url = m.urls[p][1],
                        .audience = m.urls[p][0] + 8,
                };
                m.providers[p] = &m.provider[p];
        }
        for (size_t i = 0; i < CREDENTIALS; i++) {
                struct conf_credential *c = &m.credential[i];

                (void) snprintf(m.names[i], sizeof(m.names[i]), "%s%zu", types[i % TYPES].name,
                                i / TYPES);
                (void) snprintf(m.clients[i], sizeof(m.clients[i]), "%zu", 100 + i);
                *c = (struct conf_credential){
                        .index = i,
                        .name = m.names[i],
                        .provider = m.providers[i / TYPES],
                        .type = types[i % TYPES].type,
                        .client_id = m.clients[i],
                        .client_secret = i % TYPES == 1 ? secret_new("hush-hush", 9) : NULL,
                        .redirect_uri = (char *) "https://app.example/back",
                        .public_key_id = (char *) "kid",
                        .private_key = (struct key *) &m, /* key_sign() does not look at it */
                        .token_lifetime_us = lives[(seed + i) % N_ELEMENTS(lives)] * US_PER_S,
                        .subjects = true,
                        .keep_fresh = i == TYPES ? KEEP_FRESH_ALWAYS : KEEP_FRESH_WHILE_USED,
                };
                m.credentials[i] = c;
        }
        m.conf = (struct conf){ .providers = m.providers,
                                .n_providers = PROVIDERS,
                                .credentials = m.credentials,
                                .n_credentials = CREDENTIALS,
                                .waiting_per_user = 65536 };
        if (conf_index(&m.conf) < 0)
                abort();
        for (size_t i = 0; i < N_ELEMENTS(m.keys); i++)
                (void) snprintf(m.keys[i], sizeof(m.keys[i]), "k%zu", i);
}

const struct conf_credential *machine_fallback(const struct conf_credential *c) {
        return c->index == 0 ? &m.credential[TYPES] : c->index == 1 ? &m.credential[0] : NULL;
}

/* As m.credential has it, without what is absent. Old ones stay, since what is under way may use them; they are no memory of
 * the daemon's. */
static struct configuration *machine_make_configuration(void) {
        struct configuration *n = mmap(NULL, sizeof(*n), PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        size_t k = 0;

        if (n == MAP_FAILED)
                abort();
        n->conf = m.conf;
        n->conf.names = (struct table){ 0 };
        n->conf.credentials = n->credentials;
        for (size_t i = 0; i < CREDENTIALS; i++) {
                if (m.absent[i])
                        continue;
                n->credential[k] = m.credential[i];
                n->credential[k].index = k;
                n->of[i] = n->credentials[k] = &n->credential[k];
                k++;
        }
        n->conf.n_credentials = k;
        for (size_t i = 0; i < CREDENTIALS; i++)
                if (n->of[i] && machine_fallback(&m.credential[i]))
                        n->credentials[n->of[i]->index]
                                ->fallback = n->of[machine_fallback(&m.credential[i])->index];
        if (conf_index(&n->conf) < 0)
                abort();
        return n;
}

const struct conf_credential *machine_credential(const struct conf_credential *c) {
        return m.configured->of[c->index];
}

/* What somebody may have edited. Only what is taken out, and comes back, is worth an excuse. */
static void machine_edit(void) {
        static const int64_t lives[] = { 900, 3600, 86399 };
        size_t i = dice_below(CREDENTIALS);
        struct conf_credential *c = &m.credential[i];
        unsigned what = (unsigned) dice_below(5);

        sim_note("edits", c->name, what, 0);
        if (what == 0) {
                m.absent[i] = !m.absent[i];
                provider_trouble(provider_of(c), 0);
        } else if (what == 1) { /* of all applications there: tokens are to be had anew */
                for (size_t k = 0; k < CREDENTIALS; k++)
                        if (k / TYPES == i / TYPES)
                                m.credential[k]
                                        .public_key_id = m.keys[dice_below(N_ELEMENTS(m.keys))];
        } else if (what == 2) {
                c->token_lifetime_us = lives[dice_below(N_ELEMENTS(lives))] * US_PER_S;
        } else if (what == 3 && i != TYPES) {
                c->keep_fresh = dice_one_in(2) ? KEEP_FRESH_NEVER : KEEP_FRESH_WHILE_USED;
        }
}

/* A daemon that is down starts with it. */
static void machine_adopt(void) {
        struct configuration *old = m.configured;
        struct broker_change *change;
        struct why why;

        m.configured = machine_make_configuration();
        if (!m.is_up)
                return;
        sim_note("daemon", "reloads", 0, 0);
        if (broker_prepare(m.broker, &m.configured->conf, &why, &change) < 0)
                abort();
        broker_adopt(m.broker, change);
        table_done(&old->conf.names);
}

void machine_reload(void) {
        if (!machine_is_up())
                return;
        for (uint64_t n = dice_below(4); n > 0; n--)
                machine_edit();
        machine_adopt();
}

void machine_configure_all(void) {
        for (size_t i = 0; i < CREDENTIALS; i++)
                m.absent[i] = false;
        machine_adopt();
        all_trouble(0);
}

/* Signing costs more than all the rest of a request, and shows nothing here. */
int __wrap_key_sign(const struct key *k, const void *bytes, size_t len, uint8_t *ret,
                    size_t *ret_len);
int __wrap_key_sign(const struct key *k, const void *bytes, size_t len, uint8_t *ret,
                    size_t *ret_len) {
        (void) k, (void) bytes, (void) len;
        memset(ret, 0x5a, 32);
        *ret_len = 32;
        return 0;
}

/* --- lives of the daemon --- */

static void pending_changed(void *user, const struct conf_credential *c, size_t n) {
        (void) user, (void) c, (void) n;
}

static size_t bytes_in_use(void) {
        return mallinfo2().uordblks;
}

void machine_start(void) {
        const struct broker_parts parts = {
                .conf = &m.configured->conf,
                .transport = provider_transport(),
                .clock = &m.clock,
                .random = &m.bytes,
                .timers = m.timers = timers_new(),
                .store = &m.store,
                .cache = NULL,
                .pending = pending_changed,
        };
        struct broker_parts p = parts;
        struct why why;

        sim_note("daemon", "starts", 0, 0);
        if (!m.timers || cache_new(&m.bytes, &m.cache) < 0)
                abort();
        p.cache = m.cache;
        if (broker_new(&p, &m.broker) < 0 || broker_start(m.broker, &why) < 0)
                abort();
        m.is_up = true;
        m.stopping = m.quiet = false;
        all_trouble(0);
}

static void machine_starts(struct timer *t) {
        if (mono_before(sim_now, m.wakes)) {
                agenda_set(t, mono_until(sim_now, m.wakes) + 1);
                return;
        }
        machine_start();
}

static void machine_bury(void) {
        m.broker = broker_free(m.broker);
        law(LAW_MEMORY_IS_BOUNDED, timers_next(m.timers).us == MONO_NEVER.us,
            "a timer outlives the broker");
        m.cache = cache_free(m.cache);
        m.timers = timers_free(m.timers);
        m.is_up = m.stopping = false;
        provider_daemon_died();
        fake_store_crash(m.rows); /* nor is anything written on the way down */
        m.committing = 0;
        for (size_t i = 0; i < CREDENTIALS; i++)
                for (unsigned s = 0; s < SUBJECTS; s++) {
                        struct consent *c = &consents[i][s];

                        if (c->issued == 0)
                                continue;
                        row_number(c->credential->name, c->subject);
                        c->delivered = c->durable;
                        c->unsaved = c->refused = 0;
                        c->may_come_back = false;
                        if (c->durable > 0 && c->forgotten >= c->durable)
                                c->forgotten = c->durable - 1; /* the disk had not heard of it */
                        c->logging_in = false;
                }
}

static void machine_dies(int64_t down_us) {
        machine_deaths++;
        people_daemon_died();
        m.is_up = false;
        disk_dies();
        broker_stop(m.broker, NULL, NULL);
        machine_bury();
        all_trouble(down_us);
        agenda_set(&m.starts, down_us);
}

void machine_kill(int64_t down_us) {
        if (!m.broker)
                return;
        sim_note("daemon", "is killed", down_us, 0);
        machine_dies(down_us);
}

void machine_power_cut(int64_t down_us) {
        if (!m.broker)
                return;
        sim_note("machine", "loses power", down_us, 0);
        machine_dies(down_us);
        m.booted = (mono_t){ sim_now.us + down_us - 10 * US_PER_S };
        m.wakes = (mono_t){ 0 };
}

static void machine_quiet(void *user) {
        (void) user;
        m.quiet = true;
}

/* The store is closed first: what was given to it is written. */
static void machine_stopped(struct timer *t) {
        (void) t;
        if (!m.stopping)
                return;
        if (!m.quiet && mono_before(sim_now, m.wakes)) {
                agenda_set(&m.stop_ends, mono_until(sim_now, m.wakes) + US_PER_S);
                return;
        }
        sim_note("daemon", m.quiet ? "ends" : "is ended", 0, 0);
        if (m.quiet && !m.disk_fails)
                (void) fake_store_complete_all(m.rows);
        else
                disk_dies();
        machine_bury();
        agenda_set(&m.starts, US_PER_S);
}

void machine_restart(void) {
        if (!m.is_up)
                return;
        sim_note("daemon", "stops", 0, 0);
        m.is_up = false;
        m.stopping = true;
        all_trouble(STOP_MAX_US);
        agenda_set(&m.stop_ends, STOP_MAX_US);
        broker_stop(m.broker, machine_quiet, NULL);
        people_daemon_stopped();
}

bool machine_is_up(void) {
        return m.is_up && !mono_before(sim_now, m.wakes);
}

struct broker *machine_broker(void) {
        return m.broker;
}

struct cache *machine_cache(void) {
        return m.cache;
}

const struct timers *machine_timers(void) {
        return m.timers;
}

mono_t machine_next(void) {
        mono_t next;

        if (!m.broker)
                return MONO_NEVER;
        if (m.stopping && m.quiet)
                return mono_before(sim_now, m.wakes) ? m.wakes : sim_now;
        next = timers_next(m.timers);
        if (next.us == INT64_MAX)
                return next;
        next.us += m.booted.us;
        return mono_before(next, m.wakes) ? m.wakes : next;
}

void machine_run(void) {
        static mono_t last;

        if (!m.broker || mono_before(sim_now, m.wakes))
                return;
        if (m.stopping && m.quiet) {
                machine_stopped(NULL);
                return;
        }
        m.spins = last.us == sim_now.us ? m.spins + 1 : 0;
        last = sim_now;
        law(LAW_NEVER_SPINS, m.spins < SPINS_MAX, "%u times", m.spins);
        timers_run(m.timers, machine_mono());
}

void machine_check(void) {
        const struct broker *b = m.broker;
        size_t objects, entries, grants = 0, bytes;

        if (!b || m.stopping)
                return;
        entries = b->entries.n;
        for (size_t i = 0; i < m.configured->conf.n_credentials; i++)
                grants += grants_count(b->grants, m.configured->credentials[i]);
        law(LAW_MEMORY_IS_BOUNDED, entries <= CREDENTIALS + people_keys_wanted(),
            "%zu entries, and callers have asked for %zu keys in a day", entries,
            people_keys_wanted());
        law(LAW_MEMORY_IS_BOUNDED, grants <= (size_t) CREDENTIALS * SUBJECTS, "%zu grants", grants);
        objects = entries + grants + people_waiting() + fake_store_waiting(m.rows) + CREDENTIALS;
        bytes = bytes_in_use();
        if (m.bytes_at_start == 0)
                m.bytes_at_start = bytes;
        law(LAW_MEMORY_IS_BOUNDED, bytes <= m.bytes_at_start + BYTES_SPARE + objects * BYTES_EACH,
            "%zu bytes in use for %zu objects, %zu at the start", bytes, objects, m.bytes_at_start);
}

struct conf *machine_begin(uint64_t seed, int64_t wall_offset_s) {
        struct store *inner;

        m.clock = (struct clock){ machine_clock_mono, machine_clock_wall, NULL };
        fake_random_init(&m.source, ~seed);
        m.bytes = m.source.seam;
        m.bytes.self = &m.source;
        m.booted = (mono_t){ -1000 * US_PER_S };
        m.wall_offset_s = wall_offset_s;
        m.rows = fake_store_new();
        inner = fake_store_seam(m.rows);
        m.store = *inner;
        m.store.put = disk_put;
        m.store.remove = disk_remove;
        m.store.mark = disk_mark;
        agenda_add(&m.commit, commit_timer);
        agenda_add(&m.starts, machine_starts);
        agenda_add(&m.stop_ends, machine_stopped);
        machine_configure(seed);
        m.configured = machine_make_configuration();
        return &m.conf;
}

void machine_end(void) {
        if (!m.broker)
                return;
        broker_stop(m.broker, machine_quiet, NULL);
        law(LAW_ANSWERED_ONCE_IN_TIME, m.quiet, "something holds up a stop when all is well");
}
