#include "people.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "client/protocol.h"
#include "law.h"
#include "machine.h"
#include "provider.h"

#define CALLERS      4096
#define SESSIONS     32
#define LOGINS       8
#define SERVED_US    (15 * US_PER_S) /* when all is well */
#define LIFE_GAP_US  HTTP_TIMEOUT_US /* a Date tells the clock no better than the answer took */
#define HOURS_WANTED 26              /* the longest life of a token, and some */

struct target {
        const struct conf_credential *credential;
        unsigned subject;
        unsigned context; /* jwt: of a session of its own; 0: none */
};

struct caller {
        struct ask ask;
        struct variant variant;
        struct timer deadline;
        bool waits;
        char subject[16];
        struct target target;
        mono_t asked;
        char last[SECRET_FINGERPRINT_SIZE]; /* what it got the last time */
        bool must_be_served;
};

struct session {
        struct timer timer;
        struct target target;
        mono_t until;
        int64_t pause_us;
        int64_t min_ttl_us;
        bool rejects;
        struct caller *caller;
};

struct login {
        struct timer timer;
        struct consent *consent; /* NULL: free */
        char id[AUTHORIZATION_ID_SIZE];
        bool is_device;
};

int64_t fault_wait_us;
unsigned fault_drop;

static struct {
        const struct conf *conf;
        struct caller callers[CALLERS];
        struct session sessions[SESSIONS];
        struct login logins[LOGINS];
        unsigned grants;
        size_t n_waiting;
        unsigned contexts;
        size_t wanted[HOURS_WANTED];
        int64_t hour;
        unsigned long n_asks, n_tokens;
} people;

/* --- what was wanted --- */

static void people_turn(void) {
        int64_t hour = sim_now.us / US_PER_H;

        for (; people.hour < hour; people.hour++)
                people.wanted[(people.hour + 1) % HOURS_WANTED] = 0;
}

static void people_want(void) {
        people_turn();
        people.wanted[people.hour % HOURS_WANTED]++;
}

size_t people_keys_wanted(void) {
        size_t n = (size_t) CREDENTIALS * (people.grants + 8);

        people_turn();
        for (unsigned i = 0; i < HOURS_WANTED; i++)
                n += people.wanted[i];
        return n;
}

size_t people_waiting(void) {
        return people.n_waiting;
}

unsigned long people_asks(void) {
        return people.n_asks;
}

unsigned long people_tokens(void) {
        return people.n_tokens;
}

/* --- answers --- */

static bool all_is_well(const struct target *t) {
        const struct consent *g = &consents[t->credential->index][t->subject];

        if (!provider_is_calm(provider_of(t->credential)))
                return false;
        return t->credential->type == CREDENTIAL_JWT || /* nothing of it is on the disk */
               (machine_disk_is_well() && consent_is_alive(g) && !g->logging_in);
}

static enum law law_of_service(const struct target *t) {
        for (unsigned p = 0; p < PROVIDERS; p++)
                if (p != provider_of(t->credential) && !provider_is_calm(p))
                        return LAW_OTHERS_ARE_SERVED;
        return LAW_WORKS_AGAIN;
}

static bool stands_in(const struct conf_credential *c, const struct conf_credential *for_whom) {
        const struct conf_credential *fallback = machine_fallback(for_whom);

        return fallback && (c == fallback || stands_in(c, fallback));
}

static void check_token(const struct caller *c, const struct token *t) {
        const struct token_truth *truth = token_truth_find(secret_text(t->value));
        int64_t min_ttl_us = c->ask.min_ttl_us < 0 ? t->default_min_ttl_us : c->ask.min_ttl_us;
        const struct consent *g;

        law(LAW_RIGHT_OWNER, truth, "a token that nobody made");
        law(LAW_RIGHT_OWNER,
            strcmp(truth->subject, c->subject) == 0 &&
                    ((truth->credential == c->target.credential &&
                      truth->context == c->target.context) ||
                     (stands_in(truth->credential, c->target.credential) && truth->context == 0)),
            "%s/%s/%u got the token of %s/%s/%u", c->target.credential->name, c->subject,
            c->target.context, truth->credential->name, truth->subject, truth->context);
        law(LAW_RIGHT_OWNER, !c->ask.rejected[0] || strcmp(c->ask.rejected, t->fingerprint) != 0,
            "%s/%s got the token that it rejects", c->target.credential->name, c->subject);
        law(LAW_PROMISED_LIFE,
            mono_until(sim_now, truth->expires) + LIFE_GAP_US >= (min_ttl_us > 0 ? min_ttl_us : 0),
            "a token of %s/%s lives %" PRId64 " ms, and %" PRId64 " ms were asked for",
            c->target.credential->name, c->subject, mono_until(sim_now, truth->expires) / 1000,
            min_ttl_us / 1000);
        if (truth->number == 0 || truth->credential != c->target.credential)
                return;
        g = &consents[c->target.credential->index][c->target.subject];
        law(LAW_RIGHT_OWNER, truth->number > g->forgotten || g->may_come_back,
            "%s/%s was forgotten", c->target.credential->name, c->subject);
        law(LAW_DURABLE_FIRST, g->durable >= truth->number || g->unsaved >= truth->number,
            "%s/%s: token of refresh token %u, on the disk is %u", c->target.credential->name,
            c->subject, truth->number, g->durable);
}

static void caller_done(struct caller *c) {
        c->waits = false;
        people.n_waiting--;
        agenda_remove(&c->deadline);
        variant_done(&c->variant);
        c->variant = (struct variant){ 0 };
}

static void check_service(const struct caller *c, bool served, int kind, const char *why) {
        law(law_of_service(&c->target), !c->must_be_served || served || !all_is_well(&c->target),
            "%s/%s, which should work, was answered with %d: %s", c->target.credential->name,
            c->subject, kind, why);
        law(law_of_service(&c->target),
            !c->must_be_served || !all_is_well(&c->target) ||
                    mono_until(c->asked, sim_now) <= SERVED_US,
            "%s/%s waited for %" PRId64 " ms", c->target.credential->name, c->subject,
            mono_until(c->asked, sim_now) / 1000);
}

/* Whose connection broke: the dying daemon's words reach nobody. */
static void caller_answered_dead(struct ask *ask, const struct answer *a) {
        (void) a;
        caller_done(list_entry(ask, struct caller, ask));
}

static void caller_answered(struct ask *ask, const struct answer *a) {
        struct caller *c = list_entry(ask, struct caller, ask);
        const struct consent *g = &consents[c->target.credential->index][c->target.subject];
        int64_t waited_us = mono_until(c->asked, sim_now);

        law(LAW_ANSWERED_ONCE_IN_TIME, c->waits, "a caller was answered twice");
        law(LAW_ANSWERED_ONCE_IN_TIME,
            waited_us <= c->ask.wait_us - fault_wait_us + US_PER_MS ||
                    mono_until(machine_wakes(), sim_now) < 2 * US_PER_S,
            "a caller of %s was answered after %" PRId64 " ms, and wanted to wait %" PRId64,
            c->target.credential->name, waited_us / 1000, c->ask.wait_us / 1000);
        sim_note("answered", c->target.credential->name, (int64_t) c->target.subject,
                 (int) a->kind);
        if (a->kind == ANSWER_TOKEN) {
                check_token(c, a->token);
                people.n_tokens++;
                memcpy(c->last, a->token->fingerprint, sizeof(c->last));
        }
        law(LAW_NO_GRANT_IS_LOST,
            a->kind != ANSWER_AUTHORIZATION_REQUIRED || !consent_is_alive(g) || !machine_is_up(),
            "%s/%s must authorize again: %s", c->target.credential->name, c->subject, a->why.text);
        check_service(c, a->kind == ANSWER_TOKEN, (int) a->kind, a->why.text);
        caller_done(c);
}

static void caller_deadline(struct timer *t) {
        struct caller *c = list_entry(t, struct caller, deadline);

        if (mono_before(sim_now, machine_wakes())) {
                agenda_set(t, mono_until(sim_now, machine_wakes()) + US_PER_S);
                return;
        }
        law(LAW_ANSWERED_ONCE_IN_TIME, false, "a caller of %s still waits after its deadline",
            c->target.credential->name);
}

void people_daemon_died(void) {
        for (size_t i = 0; i < CALLERS; i++)
                if (people.callers[i].waits)
                        people.callers[i].ask.answer = caller_answered_dead;
        for (size_t i = 0; i < LOGINS; i++)
                people.logins[i].consent = NULL;
}

void people_daemon_stopped(void) {
        law(LAW_ANSWERED_ONCE_IN_TIME, people.n_waiting == 0,
            "%zu callers wait for a daemon that "
            "has stopped",
            people.n_waiting);
        for (size_t i = 0; i < LOGINS; i++) {
                if (people.logins[i].consent)
                        people.logins[i].consent->logging_in = false;
                people.logins[i].consent = NULL;
        }
}

/* --- asking --- */

/* The short way of api/token.c: what is in the cache is answered there. */
static bool caller_fast(struct caller *c, const char *rejected) {
        AUTO(token_unrefp) struct token *t = NULL;
        char key[CACHE_KEY_SIZE];
        mono_t now = machine_mono();

        if (c->variant.digest[0])
                return false;
        t = cache_get(machine_cache(), cache_key(c->target.credential->name, c->subject, "", key));
        if (!t || !token_is_good(t, now, c->ask.min_ttl_us) ||
            (rejected && strcmp(rejected, t->fingerprint) == 0))
                return false;
        check_token(c, t);
        people.n_tokens++;
        memcpy(c->last, t->fingerprint, sizeof(c->last));
        atomic_store(&t->used, true);
        if (!mono_before(now, t->renews) && !atomic_exchange(&t->nudged, true))
                broker_nudge(machine_broker(), t->key);
        return true;
}

static void caller_set_context(struct caller *c) {
        AUTO(json_wipep) struct json_object *o = NULL;
        char text[96];
        struct why why;
        int n = snprintf(text, sizeof(text), "{\"device_info\":{\"device_id\":\"%u\"}}",
                         c->target.context);

        if (json_parse(text, (size_t) n, &o) < 0 ||
            variant_make(c->target.credential, 0, NULL, o, &why, &c->variant) < 0)
                abort();
}

static void caller_ask(struct caller *c, const struct target *t, int64_t min_ttl_us,
                       int64_t wait_us, bool rejects) {
        const struct conf_credential *configured = machine_credential(t->credential);
        char rejected[SECRET_FINGERPRINT_SIZE];

        if (c->waits || !machine_is_up() || !configured)
                return;
        memcpy(rejected, rejects ? c->last : "", rejects ? sizeof(rejected) : 1);
        c->target = *t;
        (void) snprintf(c->subject, sizeof(c->subject), "s%u", t->subject);
        c->asked = sim_now;
        c->ask = (struct ask){
                .credential = configured,
                .subject = c->subject,
                .variant = &c->variant,
                .min_ttl_us = min_ttl_us,
                .wait_us = wait_us + fault_wait_us,
                .answer = caller_answered,
        };
        memcpy(c->ask.rejected, rejected, sizeof(rejected));
        people.n_asks++;
        people_want();
        if (t->context)
                caller_set_context(c);
        if (caller_fast(c, rejected[0] ? rejected : NULL)) {
                variant_done(&c->variant);
                c->variant = (struct variant){ 0 };
                return;
        }
        sim_note("asks", t->credential->name, t->subject, wait_us);
        c->must_be_served = wait_us >= 30 * US_PER_S && all_is_well(t) &&
                            min_ttl_us <= 700 * US_PER_S && !rejected[0];
        c->waits = true;
        people.n_waiting++;
        agenda_add(&c->deadline, caller_deadline);
        agenda_set(&c->deadline, wait_us + 2 * US_PER_MS);
        if (fault_drop == 0 || people.n_asks % fault_drop != 0)
                broker_ask(machine_broker(), &c->ask);
}

static struct target target_any(bool everywhere) {
        struct target t;

        t.credential = people.conf->credentials[dice_below(CREDENTIALS)];
        t.subject = (unsigned) dice_below(everywhere ? SUBJECTS : people.grants + 4);
        if (t.subject >= SUBJECTS)
                t.subject = SUBJECTS - 1;
        t.context = t.credential->type == CREDENTIAL_JWT && dice_one_in(4) ? ++people.contexts : 0;
        return t;
}

static int64_t any_min_ttl(const struct conf_credential *c) {
        static const int64_t s[] = { -1, -1, -1, 0, 30, 300, 700, 890, 100000 };
        int64_t v = s[dice_below(N_ELEMENTS(s))];

        (void) c;
        return v < 0 ? -1 : v * US_PER_S;
}

static int64_t any_wait(void) {
        static const int64_t s[] = { 0, 1, 5, 30, 30, 30, 120 };

        return s[dice_below(N_ELEMENTS(s))] * US_PER_S;
}

static struct caller *caller_free(void) {
        size_t at = dice_below(CALLERS);

        for (size_t i = 0; i < CALLERS; i++, at++)
                if (!people.callers[at % CALLERS].waits)
                        return &people.callers[at % CALLERS];
        return NULL;
}

void people_crowd(unsigned n, bool everywhere) {
        struct target t;

        if (!machine_is_up())
                return;
        sim_note("crowd", "", n, everywhere);
        t = target_any(everywhere);
        for (; n > 0; n--) {
                struct caller *c = caller_free();

                if (dice_one_in(2))
                        t = target_any(everywhere);
                if (c)
                        caller_ask(c, &t, any_min_ttl(t.credential), any_wait(), false);
        }
}

static void session_timer(struct timer *t) {
        struct session *s = list_entry(t, struct session, timer);
        bool rejects = s->rejects && dice_one_in(10) && s->caller->last[0];

        if (!mono_before(sim_now, s->until)) {
                s->until = (mono_t){ 0 };
                return;
        }
        caller_ask(s->caller, &s->target, s->min_ttl_us, 30 * US_PER_S, rejects);
        agenda_set(t, dice_span(s->pause_us));
}

void people_session(void) {
        for (size_t i = 0; i < SESSIONS; i++) {
                struct session *s = &people.sessions[i];

                if (s->until.us > 0)
                        continue;
                s->target = target_any(false);
                s->until = mono_add(sim_now, dice_span(US_PER_H));
                s->pause_us = dice_between(10, 300) * US_PER_S;
                s->min_ttl_us = dice_one_in(3) ? 300 * US_PER_S : -1;
                s->rejects = dice_one_in(4);
                s->caller = &people.callers[i];
                if (!s->caller->waits)
                        s->caller->last[0] = '\0'; /* of another target */
                agenda_set(&s->timer, 1);
                return;
        }
}

void people_ask_everything(void) {
        unsigned at = 0;

        for (size_t i = 0; i < CREDENTIALS; i++)
                for (unsigned s = 0; s < people.grants + 4 && s < SUBJECTS; s++) {
                        const struct target t = { people.conf->credentials[i], s, 0 };

                        while (at < CALLERS && people.callers[at].waits)
                                at++;
                        if (at < CALLERS)
                                caller_ask(&people.callers[at], &t, -1, 60 * US_PER_S, false);
                }
}

/* --- authorizations --- */

static struct consent *consent_any(void) {
        const size_t i = dice_below(CREDENTIALS);
        unsigned s = (unsigned) dice_below(people.grants + 4);

        if (people.conf->credentials[i]->type == CREDENTIAL_JWT || s >= SUBJECTS)
                return NULL;
        return &consents[i][s];
}

static void login_started(void *user, struct authorization *a) {
        struct login *l = user;

        if (l->consent)
                memcpy(l->id, a->id, sizeof(l->id));
}

static void login_end(struct login *l) {
        if (l->consent)
                l->consent->logging_in = false;
        l->consent = NULL;
}

static void login_timer(struct timer *t) {
        struct login *l = list_entry(t, struct login, timer);
        struct authorization *a = NULL;
        char code[64];

        if (!l->consent)
                return;
        if (!machine_is_up()) {
                login_end(l);
                return;
        }
        if (l->id[0])
                a = authorizations_find(broker_authorizations(machine_broker()), l->id);
        if (!a || a->state != AUTHORIZATION_PENDING) {
                login_end(l);
                return;
        }
        if (l->is_device) {
                device_decide(l->consent, !dice_one_in(5));
        } else if (!a->delivered) {
                (void) snprintf(code, sizeof(code), "code.%s.%s", l->consent->credential->name,
                                l->consent->subject);
                sim_note("consents", l->consent->credential->name, 0, 0);
                if (dice_one_in(6))
                        (void) authorization_deliver(a, NULL, "access_denied", NULL);
                else
                        (void) authorization_deliver(a, code, NULL, NULL);
        }
        agenda_set(t, 30 * US_PER_S);
}

void people_login(void) {
        struct consent *c = consent_any();
        struct login *l = NULL;
        bool devices = false;

        for (size_t i = 0; i < LOGINS; i++) {
                if (!people.logins[i].consent)
                        l = &people.logins[i];
                else if (people.logins[i].is_device)
                        devices = true;
        }
        if (!c || !l || c->logging_in || !machine_is_up() || !machine_credential(c->credential) ||
            (devices && c->credential->type == CREDENTIAL_DEVICE_CODE))
                return;
        sim_note("login", c->credential->name, (int64_t) (c - consents[c->credential->index]), 0);
        l->consent = c;
        l->id[0] = '\0';
        l->is_device = c->credential->type == CREDENTIAL_DEVICE_CODE;
        c->logging_in = true;
        if (authorization_start(broker_authorizations(machine_broker()),
                                machine_credential(c->credential), c->subject, 1000, login_started,
                                l) != 0) {
                login_end(l);
                return;
        }
        agenda_set(&l->timer, dice_span(30 * US_PER_S));
}

static void logged_out(void *user, int r) {
        (void) user, (void) r;
}

void people_logout(void) {
        struct consent *c = consent_any();

        if (!c || !machine_is_up() || !machine_credential(c->credential))
                return;
        sim_note("logout", c->credential->name, (int64_t) (c - consents[c->credential->index]), 0);
        c->forgotten = c->issued;
        (void) broker_forget(machine_broker(), machine_credential(c->credential), c->subject,
                             logged_out, NULL);
}

void people_revoke(void) {
        struct consent *c = consent_any();

        if (!c)
                return;
        sim_note("revokes", c->credential->name, (int64_t) (c - consents[c->credential->index]), 0);
        c->over = true;
}

/* --- beginning --- */

void people_begin(const struct conf *conf, unsigned grants) {
        people.conf = conf;
        people.grants = grants;
        for (size_t i = 0; i < SESSIONS; i++)
                agenda_add(&people.sessions[i].timer, session_timer);
        for (size_t i = 0; i < LOGINS; i++)
                agenda_add(&people.logins[i].timer, login_timer);
        for (size_t i = 0; i < CREDENTIALS; i++)
                for (unsigned s = 0; s < grants && conf->credentials[i]->type != CREDENTIAL_JWT;
                     s++)
                        machine_seed_row(conf->credentials[i]->name, consents[i][s].subject,
                                         dice_between(0, 20 * 86400));
}
