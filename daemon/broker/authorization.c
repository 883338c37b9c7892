#include "broker/authorization.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "provider/dialect.h"
#include "provider/pkce.h"

#define AUTHORIZATION_SLOW_DOWN_US (5 * US_PER_S) /* RFC 8628 section 3.5 */
#define AUTHORIZATION_INTERVAL_US  (5 * US_PER_S) /* the least, and the default */
#define AUTHORIZATION_PAUSE_US                                                                     \
        (2 * US_PER_S)        /* before a code is sent again that was not received ... */
#define AUTHORIZATION_TRIES 3 /* ... so often in all */
#define AUTHORIZATION_DEVICE_US                                                                    \
        (5 * US_PER_MIN) /* of a device code, when the answer does not say */

#define AUTHORIZATION_OVERTAKEN                                                                    \
        "a later authorization for the same credential and subject took its place"

const char *const authorization_state_names[AUTHORIZATION_STATE_MAX] = {
        "pending", "succeeded", "denied", "expired", "failed", "cancelled",
};

struct authorizations {
        struct authorizations_parts parts;
        struct list_link all;
        size_t n;
        bool stopped;
};

static void authorization_timer(struct timer *t);
static void authorization_call(struct authorization *a);
static void authorization_turn(struct turn *t);
static void authorization_held_up(struct turn *t);

static char *wipe_text(char *text) {
        if (text)
                secret_wipe(text, strlen(text));
        free(text);
        return NULL;
}

/* --- the book --- */

int authorizations_new(const struct authorizations_parts *parts, struct authorizations **ret) {
        struct authorizations *as = calloc(1, sizeof(*as));

        if (!as)
                return RAISE(-ENOMEM);
        as->parts = *parts;
        list_init(&as->all);
        *ret = as;
        return 0;
}

static void authorization_drop_secrets(struct authorization *a) {
        a->url = wipe_text(a->url);
        a->verification_uri_complete = wipe_text(a->verification_uri_complete);
        a->state_parameter = secret_unref(a->state_parameter);
        a->verifier = secret_unref(a->verifier);
        a->code = secret_unref(a->code);
        a->device_code = secret_unref(a->device_code);
        a->user_code = secret_unref(a->user_code);
}

static void authorization_unwatch(struct authorization_watch *w) {
        struct timers *timers = w->authorization->book->parts.timers;

        list_remove(&w->link);
        timer_disarm(timers, &w->timer);
        timers_release(timers);
        w->authorization = NULL;
}

static struct authorization_watch *authorization_first_watch(const struct authorization *a) {
        return list_entry(a->watches.next, struct authorization_watch, link);
}

static void authorization_free(struct authorization *a) {
        struct timers *timers = a->book->parts.timers;

        while (!list_is_empty(&a->watches))
                authorization_unwatch(authorization_first_watch(a));
        upstream_cancel(a->call);
        turn_done(&a->turn);
        list_remove(&a->link);
        a->book->n--;
        timer_disarm(timers, &a->timer);
        timers_release(timers);
        authorization_drop_secrets(a);
        free(a->verification_uri);
        free(a->subject);
        free(a);
}

struct authorizations *authorizations_free(struct authorizations *as) {
        if (!as)
                return NULL;
        while (!list_is_empty(&as->all))
                authorization_free(list_entry(as->all.next, struct authorization, link));
        free(as);
        return NULL;
}

struct authorization *authorizations_next(const struct authorizations *as,
                                          const struct authorization *a) {
        const struct list_link *l = a ? a->link.next : as->all.next;

        return l == &as->all ? NULL : list_entry(l, struct authorization, link);
}

struct authorization *authorizations_find(const struct authorizations *as, const char *id) {
        struct authorization *a = NULL;

        while ((a = authorizations_next(as, a)))
                if (strcmp(a->id, id) == 0)
                        return a;
        return NULL;
}

struct authorization *authorizations_find_state(const struct authorizations *as,
                                                const char *state) {
        AUTO(secret_unrefp) struct secret *given = secret_new(state, strlen(state));
        struct authorization *a = NULL, *found = NULL;

        if (!given)
                return NULL;
        while ((a = authorizations_next(as, a)))
                if (a->state_parameter && secret_equal(a->state_parameter, given))
                        found = a; /* no early end: the time tells nothing */
        return found;
}

size_t authorizations_pending(const struct authorizations *as, const struct conf_credential *c) {
        struct authorization *a = NULL;
        size_t n = 0;

        while ((a = authorizations_next(as, a)))
                n += a->credential == c && a->state == AUTHORIZATION_PENDING;
        return n;
}

/* --- telling --- */

static void authorization_watch_timer(struct timer *t) {
        struct authorization_watch *w = list_entry(t, struct authorization_watch, timer);
        struct authorization *a = w->authorization;

        authorization_unwatch(w);
        w->changed(w, a);
}

int authorization_watch(struct authorization *a, struct authorization_watch *w, int64_t wait_us) {
        const struct authorizations_parts *p = &a->book->parts;
        int r;

        w->authorization = NULL;
        if (a->state != AUTHORIZATION_PENDING || wait_us <= 0) {
                w->changed(w, a);
                return 0;
        }
        r = timers_reserve(p->timers);
        if (r < 0)
                return PASS(r);
        w->authorization = a;
        w->timer = (struct timer){ .fn = authorization_watch_timer };
        list_append(&a->watches, &w->link);
        timer_arm(p->timers, &w->timer, mono_add(clock_mono(p->clock), wait_us));
        return 0;
}

static void authorization_tell_started(struct authorization *a) {
        void (*started)(void *user, struct authorization *authorization) = a->started;

        a->started = NULL;
        if (started)
                started(a->started_user, a);
}

static void authorization_end(struct authorization *a, enum authorization_state state) {
        const struct authorizations_parts *p = &a->book->parts;
        char quoted[WHY_MAX + 3];

        a->state = state;
        a->storing = false;
        a->call = upstream_cancel(a->call);
        turn_drop(&a->turn);
        authorization_drop_secrets(a);
        timer_arm(p->timers, &a->timer, mono_add(clock_mono(p->clock), AUTHORIZATION_MEMORY_US));
        log_info("credential=%s authorization=%.8s event=authorization_%s reason=%s",
                 a->credential->name, a->id, authorization_state_names[state],
                 log_quote(a->reason.text, quoted, sizeof(quoted)));
        authorization_tell_started(a);
        while (!list_is_empty(&a->watches)) {
                struct authorization_watch *w = authorization_first_watch(a);

                authorization_unwatch(w);
                w->changed(w, a);
        }
        p->changed(p->user, a->credential);
}

static void authorization_fail(struct authorization *a, const struct refusal *f) {
        const char *name = a->credential->name;
        const char *said = f->message[0] ? f->message : f->code[0] ? f->code : "no reason given";
        enum authorization_state state = AUTHORIZATION_FAILED;

        a->refusal = *f;
        if (f->kind == REFUSAL_DENIED) {
                state = AUTHORIZATION_DENIED;
                (void) why_set(&a->reason, 0,
                               "the person refused, or may not give, access for \"%s\": %s", name,
                               said);
        } else if (f->kind == REFUSAL_EXPIRED) {
                state = AUTHORIZATION_EXPIRED;
                (void) why_set(&a->reason, 0,
                               "the code for \"%s\" ran out before it was entered: start again",
                               name);
        } else {
                (void) why_set(&a->reason, 0,
                               "%s did not accept the authorization for \"%s\": %s%s%s",
                               a->credential->provider->name, name, said, f->advice[0] ? ". " : "",
                               f->advice);
        }
        authorization_end(a, state);
}

void authorization_cancel(struct authorization *a, const char *reason) {
        if (a->state != AUTHORIZATION_PENDING || a->storing)
                return;
        (void) why_set(&a->reason, 0, "%s", reason);
        authorization_end(a, AUTHORIZATION_CANCELLED);
}

void authorizations_stop(struct authorizations *as, const char *reason) {
        struct authorization *a = NULL;

        as->stopped = true;
        while ((a = authorizations_next(as, a)))
                authorization_cancel(a, reason);
}

/* --- time --- */

static void authorization_plan(struct authorization *a) {
        mono_t at = a->expires;

        if ((a->device_code || a->code) && !a->call && a->turn.state != TURN_WAITS &&
            mono_before(a->next_poll, at))
                at = a->next_poll;
        timer_arm(a->book->parts.timers, &a->timer, at);
}

static void authorization_timer(struct timer *t) {
        struct authorization *a = list_entry(t, struct authorization, timer);
        mono_t now = clock_mono(a->book->parts.clock);

        if (a->state != AUTHORIZATION_PENDING) {
                authorization_free(a);      /* nobody watches what is over */
        } else if (a->storing || a->call) { /* sent in time; the provider or the disk is slow */
                timer_arm(a->book->parts.timers, &a->timer,
                          mono_add(now, AUTHORIZATION_SLOW_DOWN_US));
        } else if (!mono_before(now, a->expires)) {
                (void) why_set(&a->reason, 0,
                               "nobody completed the authorization for \"%s\" in time: start again",
                               a->credential->name);
                authorization_end(a, AUTHORIZATION_EXPIRED);
        } else if ((a->code || a->device_code) && !mono_before(now, a->next_poll)) {
                authorization_call(a);
        } else {
                authorization_plan(a);
        }
}

static void authorization_set_lifetime(struct authorization *a, int64_t us) {
        const struct clock *clock = a->book->parts.clock;

        a->expires = mono_add(clock_mono(clock), us);
        a->expires_at = (wall_t){ clock_wall(clock).s + us / US_PER_S };
}

/* --- grants --- */

/* The one whose grant is on its way to the disk, or NULL. */
static struct authorization *authorizations_find_storing(const struct authorizations *as,
                                                         const struct conf_credential *c,
                                                         const char *subject) {
        struct authorization *a = NULL;

        while ((a = authorizations_next(as, a)))
                if (a->storing && a->credential == c && strcmp(a->subject, subject) == 0)
                        return a;
        return NULL;
}

static void authorization_withdraw(struct authorization *a, const char *reason) {
        if (!a)
                return;
        (void) why_set(&a->reason, 0, "%s", reason);
        authorization_end(a, AUTHORIZATION_CANCELLED);
}

static void authorization_take_grant(struct authorization *a, struct exchange_result *result) {
        struct authorization *overtaken = authorizations_find_storing(a->book, a->credential,
                                                                      a->subject);
        const struct authorizations_parts *p = &a->book->parts;
        struct refusal refusal = { .kind = REFUSAL_NONSENSE, .retry_after_us = -1 };
        int r;

        if (!result->refresh_token) {
                (void) snprintf(refusal.message, sizeof(refusal.message),
                                "the answer had no refresh token");
                authorization_fail(a, &refusal);
                return;
        }
        r = p->granted(p->user, a, result);
        if (r < 0) {
                (void) snprintf(refusal.message, sizeof(refusal.message),
                                "the grant could not be kept: %s", strerror(-r));
                authorization_fail(a, &refusal);
                return;
        }
        a->storing = true;
        authorization_withdraw(overtaken, AUTHORIZATION_OVERTAKEN);
}

void authorizations_stored(struct authorizations *as, const struct conf_credential *c,
                           const char *subject) {
        struct authorization *a = authorizations_find_storing(as, c, subject);

        if (a)
                authorization_end(a, AUTHORIZATION_SUCCEEDED);
}

void authorizations_withdraw(struct authorizations *as, const struct conf_credential *c,
                             const char *subject, const char *reason) {
        authorization_withdraw(authorizations_find_storing(as, c, subject), reason);
}

void authorizations_adopt(struct authorizations *as, const struct conf *conf,
                          bool (*same)(const struct conf_credential *before,
                                       const struct conf_credential *after)) {
        static const char changed[] =
                "the credential was changed in the configuration: start again";
        struct authorization *a = NULL;
        struct list_link *l, *next;

        as->parts.max_per_user = conf->authorizations_per_user;
        while ((a = authorizations_next(as, a))) {
                const struct conf_credential *c = conf_find_credential(conf, a->credential->name);

                if (!c || !credential_type_is_interactive(c->type))
                        authorization_withdraw(a->state == AUTHORIZATION_PENDING ? a : NULL,
                                               "the credential was removed from the configuration");
                else if (!same(a->credential, c))
                        authorization_cancel(a, changed);
        }
        for (l = as->all.next; l != &as->all; l = next) {
                a = list_entry(l, struct authorization, link);
                next = l->next;
                a->credential = conf_find_credential(conf, a->credential->name);
                if (!a->credential || !credential_type_is_interactive(a->credential->type))
                        authorization_free(a);
        }
}

/* --- browser --- */

/* 256 random bits in hex: what a PKCE verifier is, too (RFC 7636 section 4.1). */
static struct secret *authorization_random(const struct authorizations *as) {
        uint8_t bytes[PKCE_RANDOM_SIZE];
        struct secret *s;

        random_fill(as->parts.random, bytes, sizeof(bytes));
        s = pkce_verifier(bytes);
        secret_wipe(bytes, sizeof(bytes));
        return s;
}

static int authorization_start_browser(struct authorization *a) {
        const struct dialect *dialect = dialect_find(a->credential->provider->dialect);
        char challenge[PKCE_CHALLENGE_SIZE];
        bool pkce = a->credential->type == CREDENTIAL_PKCE;
        int r = 0;

        a->state_parameter = authorization_random(a->book);
        if (pkce)
                a->verifier = authorization_random(a->book);
        if (!a->state_parameter || (pkce && !a->verifier))
                return RAISE(-ENOMEM);
        if (pkce)
                r = pkce_challenge(a->verifier, challenge);
        if (r == 0)
                r = dialect->authorize_url(a->credential, secret_text(a->state_parameter),
                                           pkce ? challenge : NULL, &a->url);
        authorization_set_lifetime(a, AUTHORIZATION_LIFETIME_US);
        return PASS(r);
}

/* Nothing can have come of it, so the code is still good: worth another try. */
static bool authorization_may_repeat(const struct authorization *a,
                                     const struct exchange_result *result) {
        return a->tries < AUTHORIZATION_TRIES && !result->maybe_done &&
               (result->refusal.kind == REFUSAL_TRANSPORT ||
                result->refusal.kind == REFUSAL_RATE_LIMIT);
}

static void authorization_exchanged(void *user, struct exchange_result *result) {
        struct authorization *a = user;
        int64_t pause = result->refusal.retry_after_us;

        a->call = NULL;
        if (result->refusal.kind == REFUSAL_NONE || result->refresh_token) {
                authorization_take_grant(a, result);
        } else if (authorization_may_repeat(a, result)) {
                a->next_poll = mono_add(clock_mono(a->book->parts.clock),
                                        pause > AUTHORIZATION_PAUSE_US ? pause
                                                                       : AUTHORIZATION_PAUSE_US);
                authorization_plan(a);
        } else {
                authorization_fail(a, &result->refusal);
        }
}

static struct upstream *authorization_upstream(const struct authorization *a) {
        const struct authorizations_parts *p = &a->book->parts;
        struct lane *lane;

        return p->upstream(p->user, a->credential, &lane);
}

static void authorization_exchange(struct authorization *a) {
        const struct exchange x = {
                .kind = EXCHANGE_AUTHORIZATION_CODE,
                .credential = a->credential,
                .code = a->code,
                .verifier = a->verifier,
        };
        struct exchange_result result = { .refusal = { .kind = REFUSAL_TRANSPORT,
                                                       .retry_after_us = -1 } };
        int r;

        a->tries++;
        r = upstream_begin(authorization_upstream(a), &a->turn, &x, authorization_exchanged, a,
                           &a->call);
        if (r < 0) {
                turn_drop(&a->turn);
                (void) snprintf(result.refusal.message, sizeof(result.refusal.message),
                                "the code could not be sent: %s", strerror(-r));
                authorization_exchanged(a, &result);
        }
}

int authorization_deliver(struct authorization *a, const char *code, const char *error,
                          const char *description) {
        struct refusal refusal = { .kind = REFUSAL_DENIED, .retry_after_us = -1 };

        if (a->state != AUTHORIZATION_PENDING || a->delivered)
                return RAISE(-EALREADY);
        if (code) {
                a->code = secret_new(code, strlen(code));
                if (!a->code)
                        return RAISE(-ENOMEM);
        }
        a->delivered = true;
        a->state_parameter = secret_unref(a->state_parameter); /* used once */
        if (code) {
                authorization_call(a);
                return 0;
        }
        if (strcmp(error, "access_denied") != 0)
                refusal.kind = REFUSAL_CONFIGURATION;
        (void) why_clean(error, strlen(error), refusal.code, sizeof(refusal.code));
        if (description)
                (void) why_clean(description, strlen(description), refusal.message,
                                 sizeof(refusal.message));
        authorization_fail(a, &refusal);
        return 0;
}

/* --- device --- */

static void authorization_polled(void *user, struct exchange_result *result) {
        struct authorization *a = user;
        const struct refusal *f = &result->refusal;

        a->call = NULL;
        if (f->kind == REFUSAL_NONE || result->refresh_token) {
                authorization_take_grant(a, result);
                return;
        }
        if (f->kind == REFUSAL_SLOW_DOWN)
                a->interval_us += AUTHORIZATION_SLOW_DOWN_US;
        if (f->kind == REFUSAL_CONFIGURATION || f->kind == REFUSAL_GRANT ||
            f->kind == REFUSAL_DENIED || f->kind == REFUSAL_EXPIRED ||
            f->kind == REFUSAL_DEACTIVATED) {
                authorization_fail(a, f);
                return;
        }
        /* pending, or trouble that may pass before the code runs out */
        a->next_poll = mono_add(clock_mono(a->book->parts.clock), f->retry_after_us > a->interval_us
                                                                          ? f->retry_after_us
                                                                          : a->interval_us);
        authorization_plan(a);
}

static void authorization_poll(struct authorization *a) {
        const struct authorizations_parts *p = &a->book->parts;
        const struct exchange x = {
                .kind = EXCHANGE_DEVICE_POLL,
                .credential = a->credential,
                .device_code = a->device_code,
        };

        if (upstream_begin(authorization_upstream(a), &a->turn, &x, authorization_polled, a,
                           &a->call) < 0) {
                turn_drop(&a->turn);
                a->next_poll = mono_add(clock_mono(p->clock), a->interval_us);
        }
        authorization_plan(a);
}

static int authorization_take_device(struct authorization *a, struct exchange_result *result) {
        int64_t lifetime = result->lifetime_us > 0 ? result->lifetime_us : AUTHORIZATION_DEVICE_US;

        a->device_code = TAKE(result->device_code);
        a->user_code = secret_new(result->user_code, strlen(result->user_code));
        a->verification_uri = strdup(result->verification_uri);
        a->verification_uri_complete = strdup(result->verification_uri_complete);
        if (!a->user_code || !a->verification_uri || !a->verification_uri_complete)
                return RAISE(-ENOMEM);
        a->interval_us = result->interval_us > AUTHORIZATION_INTERVAL_US
                                 ? result->interval_us
                                 : AUTHORIZATION_INTERVAL_US;
        a->next_poll = mono_add(clock_mono(a->book->parts.clock), a->interval_us);
        authorization_set_lifetime(a, lifetime);
        return 0;
}

static void authorization_device_started(void *user, struct exchange_result *result) {
        struct refusal no_memory = { .kind = REFUSAL_TRANSIENT,
                                     .message = "out of memory",
                                     .retry_after_us = -1 };
        struct authorization *a = user;

        a->call = NULL;
        if (result->refusal.kind != REFUSAL_NONE) {
                authorization_fail(a, &result->refusal);
        } else if (authorization_take_device(a, result) < 0) {
                authorization_fail(a, &no_memory);
        } else {
                authorization_plan(a);
                authorization_tell_started(a);
        }
}

static int authorization_ask_device(struct authorization *a) {
        const struct exchange x = { .kind = EXCHANGE_DEVICE_START, .credential = a->credential };

        return upstream_begin(authorization_upstream(a), &a->turn, &x, authorization_device_started,
                              a, &a->call);
}

/* --- turns --- */

/* Makes the call that is next, in the turn that is held. */
static void authorization_use_turn(struct authorization *a) {
        struct refusal refusal = { .kind = REFUSAL_TRANSIENT,
                                   .message = "out of memory",
                                   .retry_after_us = -1 };

        if (a->code)
                authorization_exchange(a);
        else if (a->device_code)
                authorization_poll(a);
        else if (authorization_ask_device(a) < 0)
                authorization_fail(a, &refusal);
}

/* Makes it when its turn comes. */
static void authorization_call(struct authorization *a) {
        if (turn_take(&a->turn, true, a->expires))
                authorization_use_turn(a);
        else
                authorization_plan(a);
}

static void authorization_turn(struct turn *t) {
        authorization_use_turn(list_entry(t, struct authorization, turn));
}

/* The provider is down. A person who wants to begin is told so; one who is on the way can wait
 * until the code runs out. */
static void authorization_held_up(struct turn *t) {
        struct authorization *a = list_entry(t, struct authorization, turn);

        if (!a->code && !a->device_code)
                authorization_fail(a, upstream_trouble(authorization_upstream(a), t->lane));
        else if (turn_take(t, false, a->expires))
                authorization_use_turn(a);
}

static int authorization_start_device(struct authorization *a) {
        authorization_set_lifetime(a, AUTHORIZATION_DEVICE_US);
        return turn_take(&a->turn, true, a->expires) ? authorization_ask_device(a) : 0;
}

/* --- start --- */

static void authorizations_supersede(struct authorizations *as, const struct authorization *by) {
        struct authorization *a = NULL;

        while ((a = authorizations_next(as, a)) != by) /* those before it, which are older */
                if (a->credential == by->credential && strcmp(a->subject, by->subject) == 0)
                        authorization_cancel(a, AUTHORIZATION_OVERTAKEN);
}

static int authorization_new(struct authorizations *as, const struct conf_credential *c,
                             const char *subject, struct authorization **ret) {
        struct authorization *a;
        struct lane *lane;
        uint8_t id[(AUTHORIZATION_ID_SIZE - 1) / 2];
        int r;

        r = timers_reserve(as->parts.timers);
        if (r < 0)
                return PASS(r);
        a = calloc(1, sizeof(*a));
        if (!a) {
                timers_release(as->parts.timers);
                return RAISE(-ENOMEM);
        }
        a->book = as;
        (void) as->parts.upstream(as->parts.user, c, &lane);
        r = turn_init(&a->turn, lane, authorization_turn, authorization_held_up);
        if (r < 0) {
                timers_release(as->parts.timers);
                free(a);
                return PASS(r);
        }
        a->credential = c;
        a->timer.fn = authorization_timer;
        list_init(&a->watches);
        list_append(&as->all, &a->link);
        as->n++;
        random_fill(as->parts.random, id, sizeof(id));
        text_hex(id, sizeof(id), a->id);
        a->subject = strdup(subject);
        if (!a->subject) {
                authorization_free(a);
                return RAISE(-ENOMEM);
        }
        *ret = a;
        return 0;
}

/* One that has been over for the longest can be forgotten earlier; not one that is being told
 * about just now. */
static bool authorizations_make_room(struct authorizations *as, bool of_all, uid_t uid) {
        mono_t just_over = mono_add(clock_mono(as->parts.clock), AUTHORIZATION_MEMORY_US);
        struct authorization *a = NULL;

        while ((a = authorizations_next(as, a)))
                if ((of_all || a->uid == uid) && a->state != AUTHORIZATION_PENDING &&
                    mono_before(a->timer.at, just_over)) {
                        authorization_free(a);
                        return true;
                }
        return false;
}

static size_t authorizations_of_user(const struct authorizations *as, uid_t uid) {
        struct authorization *a = NULL;
        size_t n = 0;

        while ((a = authorizations_next(as, a)))
                n += a->uid == uid;
        return n;
}

int authorization_start(struct authorizations *as, const struct conf_credential *c,
                        const char *subject, uid_t uid,
                        void (*started)(void *user, struct authorization *a), void *user) {
        struct authorization *a = NULL;
        int r;

        if (as->stopped)
                return RAISE(-ESHUTDOWN);
        if (authorizations_of_user(as, uid) >= as->parts.max_per_user &&
            !authorizations_make_room(as, false, uid))
                return AUTHORIZATION_E_TOO_MANY;
        if (as->n >= AUTHORIZATIONS_MAX && !authorizations_make_room(as, true, uid))
                return AUTHORIZATION_E_TOO_MANY;
        r = authorization_new(as, c, subject, &a);
        if (r < 0)
                return PASS(r);
        r = c->type == CREDENTIAL_DEVICE_CODE ? authorization_start_device(a)
                                              : authorization_start_browser(a);
        if (r < 0) {
                authorization_free(a);
                return PASS(r);
        }
        a->uid = uid;
        a->started = started;
        a->started_user = user;
        authorization_plan(a);
        authorizations_supersede(as, a);
        log_info("credential=%s authorization=%.8s event=authorization_started", c->name, a->id);
        as->parts.changed(as->parts.user, c);
        if (a->url)
                authorization_tell_started(a);
        else if (a->turn.state == TURN_WAITS &&
                 mono_before(clock_mono(as->parts.clock), lane_opens(a->turn.lane)) &&
                 lane_opens(a->turn.lane).us != INT64_MAX)
                authorization_held_up(&a->turn);
        return 0;
}
