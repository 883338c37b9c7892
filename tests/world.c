#include "world.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rsa_key.h"

static struct key *world_key;
static struct secret *world_secret;

void world_prepare(void) {
        world_secret = secret_new("hush-hush", 9);
        if (key_parse(RSA_KEY, strlen(RSA_KEY), NULL, &world_key) < 0 || !world_secret)
                abort(); /* no test can do without */
}

static void world_conf(struct world *w) {
        static const struct conf_credential credentials[N_CREDENTIALS] = {
                [BOT] = { .name = (char *) "bot", .type = CREDENTIAL_JWT, .subjects = true },
                [KEPT] = { .name = (char *) "kept",
                           .type = CREDENTIAL_JWT,
                           .keep_fresh = KEEP_FRESH_ALWAYS },
                [PAT] = { .name = (char *) "pat",
                          .type = CREDENTIAL_PAT,
                          .warn_before_us = 7 * US_PER_D },
                [SITE] = { .name = (char *) "site",
                           .type = CREDENTIAL_AUTHORIZATION_CODE,
                           .subjects = true,
                           .redirect_uri = (char *) "https://app.example/back" },
                [APP] = { .name = (char *) "app",
                          .type = CREDENTIAL_PKCE,
                          .subjects = true,
                          .redirect_uri = (char *) "http://127.0.0.1:8710/back" },
                [TV] = { .name = (char *) "tv", .type = CREDENTIAL_DEVICE_CODE, .subjects = true },
        };

        w->provider = (struct conf_provider){
                .name = (char *) "coze.cn",
                .dialect = (char *) "coze",
                .api_url = (char *) "https://api.coze.cn",
                .www_url = (char *) "https://www.coze.cn",
                .audience = (char *) "api.coze.cn",
        };
        w->providers[0] = &w->provider;
        for (size_t i = 0; i < N_CREDENTIALS; i++) {
                struct conf_credential *c = &w->credential[i];

                *c = credentials[i];
                c->index = i;
                c->provider = &w->provider;
                c->client_id = (char *) "1127900106117";
                c->client_secret = i == SITE ? world_secret : NULL;
                c->public_key_id = (char *) "kid";
                c->private_key = world_key;
                c->token_lifetime_us = CONF_TOKEN_LIFETIME_DEFAULT_US;
                w->credentials[i] = c;
        }
        w->conf = (struct conf){
                .providers = w->providers,
                .n_providers = 1,
                .credentials = w->credentials,
                .n_credentials = N_CREDENTIALS,
                .authorizations_per_user = 256,
                .waiting_per_user = 1024,
        };
        ck_assert_int_eq(conf_index(&w->conf), 0);
}

static void world_pending(void *user, const struct conf_credential *c, size_t n) {
        struct world *w = user;

        (void) c;
        w->pending = n;
}

static void world_told(void *user, const struct change *change) {
        struct world *w = user;

        if (w->told)
                w->told(w, change);
}

static void world_make_broker(struct world *w) {
        const struct broker_parts parts = {
                .conf = &w->conf,
                .transport = fake_transport_seam(w->transport),
                .clock = &w->clock.seam,
                .random = &w->random.seam,
                .timers = w->timers,
                .store = fake_store_seam(w->store),
                .cache = w->cache,
                .pending = world_pending,
                .pending_user = w,
                .listener = { world_told, w },
        };

        ck_assert_int_eq(broker_new(&parts, &w->broker), 0);
}

void world_init(struct world *w) {
        *w = (struct world){ 0 };
        fake_clock_init(&w->clock, NOW);
        fake_random_init(&w->random, 1);
        w->transport = fake_transport_new();
        w->store = fake_store_new();
        w->timers = timers_new();
        ck_assert_int_eq(cache_new(&w->random.seam, &w->cache), 0);
        world_conf(w);
        world_make_broker(w);
}

void world_start(struct world *w) {
        world_init(w);
        w->credential[KEPT].keep_fresh = KEEP_FRESH_WHILE_USED;
        ck_assert_int_eq(broker_start(w->broker, NULL), 0);
}

/* Nothing may be left of a broker: no timer, no request. */
static void world_end_broker(struct world *w) {
        broker_stop(w->broker, NULL, NULL);
        w->broker = broker_free(w->broker);
        ck_assert_int_eq(timers_next(w->timers).us, MONO_NEVER.us);
        ck_assert_uint_eq(fake_transport_waiting(w->transport), 0);
}

void world_done(struct world *w) {
        world_end_broker(w);
        fake_transport_free(w->transport);
        fake_store_free(w->store);
        cache_free(w->cache);
        timers_free(w->timers);
        table_done(&w->conf.names);
}

void world_crash(struct world *w, int64_t off_us) {
        fake_store_crash(w->store);
        world_end_broker(w);
        fake_store_crash(w->store); /* nor is anything written on the way down */
        w->clock.mono = (mono_t){ US_PER_S };
        w->clock.wall.s += off_us / US_PER_S;
        world_make_broker(w);
        ck_assert_int_eq(broker_start(w->broker, NULL), 0);
}

void world_pass(struct world *w, int64_t us) {
        mono_t end = mono_add(w->clock.mono, us);

        for (;;) {
                mono_t next = timers_next(w->timers);
                mono_t to = mono_before(next, end) ? next : end;

                if (mono_before(w->clock.mono, to)) {
                        w->part_us += to.us - w->clock.mono.us;
                        w->clock.wall.s += w->part_us / US_PER_S;
                        w->part_us %= US_PER_S;
                        w->clock.mono = to;
                }
                timers_run(w->timers, w->clock.mono);
                if (!mono_before(next, end))
                        return;
        }
}

void world_grant(struct world *w, int64_t lifetime_s) {
        char body[160];

        (void) snprintf(body, sizeof(body),
                        "{\"access_token\":\"czs_token%zu\",\"expires_in\":%" PRId64 "}",
                        ++w->served, w->clock.wall.s + lifetime_s);
        fake_transport_answer(w->transport, 200, body, w->clock.wall.s, -1);
}

static int world_log = -1;

void world_keep_log(void) {
        world_log = memfd_create("log", MFD_CLOEXEC);
        ck_assert_int_ge(world_log, 0);
        ck_assert_int_ge(dup2(world_log, STDERR_FILENO), 0);
}

static const char *world_read_log(void) {
        static char log[1 << 20];
        ssize_t n = pread(world_log, log, sizeof(log) - 1, 0);

        ck_assert_int_ge(n, 0);
        ck_assert_int_lt(n, sizeof(log) - 1); /* all of it */
        log[n] = '\0';
        return log;
}

bool world_logged(const char *text) {
        return strstr(world_read_log(), text);
}

bool world_logged_twice(const char *text) {
        const char *first = strstr(world_read_log(), text);

        return first && strstr(first + 1, text);
}

static void caller_answered(struct ask *ask, const struct answer *a) {
        struct caller *c = list_entry(ask, struct caller, ask);

        c->answers++;
        c->kind = a->kind;
        c->retry_after_us = a->retry_after_us;
        c->upstream_status = a->upstream ? a->upstream->http_status : -1;
        memcpy(c->text, a->why.text, sizeof(c->text));
        if (a->kind == ANSWER_TOKEN) {
                (void) snprintf(c->value, sizeof(c->value), "%s", secret_text(a->token->value));
                memcpy(c->fingerprint, a->token->fingerprint, sizeof(c->fingerprint));
                c->left_us = token_left(a->token, c->world->clock.mono);
        }
        if (c->world->answered)
                c->world->answered(c);
}

void caller_ask(struct world *w, struct caller *c, int which, const char *subject,
                int64_t min_ttl_s, int64_t wait_s, const char *rejected) {
        char fingerprint[SECRET_FINGERPRINT_SIZE] = ""; /* perhaps the caller's own */

        if (rejected)
                (void) snprintf(fingerprint, sizeof(fingerprint), "%s", rejected);
        *c = (struct caller){ .world = w, .kind = ANSWER_KIND_MAX };
        c->ask = (struct ask){
                .credential = w->credentials[which],
                .subject = subject,
                .variant = &c->variant,
                .uid = w->uid,
                .min_ttl_us = min_ttl_s < 0 ? -1 : min_ttl_s * US_PER_S,
                .wait_us = wait_s * US_PER_S,
                .answer = caller_answered,
        };
        memcpy(c->ask.rejected, fingerprint, sizeof(fingerprint));
        broker_ask(w->broker, &c->ask);
}
