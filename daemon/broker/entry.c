#include "broker/entry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "sched/backoff.h"

#define ENTRY_REJECTION_US                                                                         \
        (5 * US_PER_S) /* design.md section 4: at most one renewal by rejection in this */
#define ENTRY_PATIENCE_US                                                                          \
        (2 * US_PER_S)              /* callers are kept through a retry that comes this soon ... */
#define ENTRY_PATIENCE_N 3          /* ... but not through this many failures in a row */
#define ENTRY_MEMORY_US  US_PER_MIN /* an entry nobody wants remembers its failure this long */
#define ENTRY_CROWDED_US (5 * US_PER_S) /* who finds no place to wait comes again after this */
#define ENTRY_LIFETIME_GAP_US                                                                      \
        US_PER_MIN /* granted and requested lifetime may differ by this unremarked */

const char *const entry_state_names[ENTRY_STATE_MAX] = { "idle",     "fetching", "ready",
                                                         "renewing", "retrying", "failing" };

enum entry_event {
        EVENT_BEGIN,
        EVENT_TOKEN,
        EVENT_FAILED,
        EVENT_EXPIRED,
};

static const struct {
        enum entry_state from;
        enum entry_event event;
        enum entry_state to;
} entry_transitions[] = {
        { ENTRY_IDLE, EVENT_BEGIN, ENTRY_FETCHING },
        { ENTRY_FAILING, EVENT_BEGIN, ENTRY_FETCHING },
        { ENTRY_READY, EVENT_BEGIN, ENTRY_RENEWING },
        { ENTRY_RETRYING, EVENT_BEGIN, ENTRY_RENEWING },
        { ENTRY_FETCHING, EVENT_TOKEN, ENTRY_READY },
        { ENTRY_RENEWING, EVENT_TOKEN, ENTRY_READY },
        { ENTRY_FETCHING, EVENT_FAILED, ENTRY_FAILING },
        { ENTRY_RENEWING, EVENT_FAILED, ENTRY_RETRYING },
        { ENTRY_READY, EVENT_EXPIRED, ENTRY_IDLE },
        { ENTRY_RENEWING, EVENT_EXPIRED, ENTRY_FETCHING },
        { ENTRY_RETRYING, EVENT_EXPIRED, ENTRY_FAILING },
};

static void entry_timer(struct timer *t);
static void entry_turn(struct turn *t);
static void entry_held_up(struct turn *t);

static void entry_enter(struct entry *e, enum entry_state state) {
        e->pool->count[e->state]--;
        e->state = state;
        e->pool->count[state]++;
        ++*e->pool->changes;
}

static void entry_step(struct entry *e, enum entry_event event) {
        for (size_t i = 0; i < N_ELEMENTS(entry_transitions); i++)
                if (entry_transitions[i].from == e->state && entry_transitions[i].event == event) {
                        entry_enter(e, entry_transitions[i].to);
                        return;
                }
        assert(!"no such transition");
}

int entry_new(struct entry_pool *pool, const char *key, const char *subject,
              const struct variant *variant, struct entry **ret) {
        struct entry *e;
        int r;

        r = timers_reserve(pool->timers);
        if (r < 0)
                return PASS(r);
        e = calloc(1, sizeof(*e));
        if (!e) {
                timers_release(pool->timers);
                return RAISE(-ENOMEM);
        }
        e->pool = pool;
        e->timer.fn = entry_timer;
        list_init(&e->waiting);
        list_init(&e->link);
        pool->count[ENTRY_IDLE]++;
        if (*subject)
                pool->n_subjects++;
        e->subject = strdup(subject);
        e->key = strdup(key);
        r = turn_init(&e->turn, pool->lane, entry_turn, entry_held_up);
        if (r == 0)
                r = variant_copy(variant, &e->variant);
        if (!e->key || !e->subject || r < 0) {
                if (!e->subject && *subject)
                        pool->n_subjects--;
                entry_free(e);
                return RAISE(-ENOMEM);
        }
        e->node.key = e->key;
        *ret = e;
        return 0;
}

static void entry_drop_token(struct entry *e) {
        if (!e->token)
                return;
        cache_remove(e->pool->cache, e->key);
        e->token = token_unref(e->token);
        e->lifetime_us = 0;
}

const struct refusal *entry_refusal(const struct entry *e) {
        static const struct refusal lost = { .kind = REFUSAL_TRANSIENT,
                                             .message = "out of memory",
                                             .retry_after_us = -1 };

        return e->refusal ? e->refusal : &lost;
}

static void entry_keep_refusal(struct entry *e, const struct refusal *refusal) {
        if (!e->refusal)
                e->refusal = malloc(sizeof(*e->refusal));
        if (e->refusal)
                *e->refusal = *refusal;
}

static void entry_forget_refusal(struct entry *e) {
        free(e->refusal);
        e->refusal = NULL;
}

struct entry *entry_free(struct entry *e) {
        if (!e)
                return NULL;
        assert(list_is_empty(&e->waiting));
        if (e->obtaining && e->pool->abandon)
                e->pool->abandon(e->pool, e);
        list_remove(&e->link);
        turn_done(&e->turn);
        entry_drop_token(e);
        timer_disarm(e->pool->timers, &e->timer);
        timers_release(e->pool->timers);
        e->pool->count[e->state]--;
        ++*e->pool->changes;
        if (e->subject && *e->subject)
                e->pool->n_subjects--;
        variant_done(&e->variant);
        entry_forget_refusal(e);
        free(e->subject);
        free(e->key);
        free(e);
        return NULL;
}

/* --- callers --- */

/* Takes it out of its queue, if it is parked. */
static void entry_unpark(struct ask *ask) {
        struct timers *timers;

        if (!ask->entry)
                return;
        timers = ask->entry->pool->timers;
        list_remove(&ask->link);
        timer_disarm(timers, &ask->timer);
        timers_release(timers);
        ask->entry->pool->n_waiting--;
        waiting_leave(ask->entry->pool->waiting, TAKE(ask->place));
        ask->entry = NULL;
}

static void entry_answer(struct ask *ask, const struct answer *a) {
        entry_unpark(ask);
        ask->answer(ask, a);
}

static void entry_answer_token(struct entry *e, struct ask *ask) {
        const struct answer a = { .kind = ANSWER_TOKEN, .token = e->token };

        atomic_store_explicit(&e->token->used, true, memory_order_relaxed);
        entry_answer(ask, &a);
}

static void entry_answer_impossible(struct entry *e, struct ask *ask, int64_t lifetime_us) {
        struct answer a = { .kind = ANSWER_INVALID_REQUEST };

        (void) why_set(
                &a.why, 0,
                "min_ttl is %" PRId64 " s, but tokens of credential \"%s\" live only %" PRId64
                " s: ask for less, or raise token_lifetime",
                ask->min_ttl_us / US_PER_S, e->pool->credential->name, lifetime_us / US_PER_S);
        entry_answer(ask, &a);
}

static bool refusal_is_final(enum refusal_kind kind) {
        return kind == REFUSAL_CONFIGURATION || kind == REFUSAL_DEACTIVATED ||
               kind == REFUSAL_GRANT;
}

/* Without an answer of the provider it is the store that has lost it. */
static void entry_describe_lost_grant(const struct entry *e, const char *said, struct answer *a) {
        const struct conf_credential *c = e->pool->credential;
        const bool said_so = entry_refusal(e)->http_status > 0;
        const char *who = said_so ? c->provider->name : "bearerd";
        const char *what = said_so ? "has ended" : "cannot use";
        const char *quote = *e->subject ? "'" : "";

        (void) why_set(&a->why, 0,
                       "%s %s the grant of \"%s\" (%s): a person must authorize it again: "
                       "bearerctl login %s%s%s%s%s",
                       who, what, c->name, said, c->name, *e->subject ? " --subject " : "", quote,
                       e->subject, quote);
}

/* Why it cannot be had: what its own last exchange brought, or those of others, for which nothing
 * is sent. */
static const struct refusal *entry_trouble(const struct entry *e) {
        return e->failures > 0 ? entry_refusal(e)
                               : upstream_trouble(e->pool->upstream, e->pool->lane);
}

/* No exchange of any kind before this. While a probe is under way nobody knows: now. */
static mono_t entry_opens(const struct entry *e) {
        mono_t opens = lane_opens(e->pool->lane);

        return opens.us == INT64_MAX || mono_before(opens, e->not_before) ? e->not_before : opens;
}

static void entry_describe_failure(const struct entry *e, struct answer *a) {
        const struct conf_credential *c = e->pool->credential;
        const struct refusal *f = entry_trouble(e);
        const char *said = f->message[0] ? f->message : f->code[0] ? f->code : "no reason given";

        a->upstream = f;
        a->kind = f->kind == REFUSAL_GRANT ? ANSWER_AUTHORIZATION_REQUIRED
                  : refusal_is_final(f->kind) || f->kind == REFUSAL_NONSENSE ? ANSWER_UPSTREAM_ERROR
                                                                             : ANSWER_UNAVAILABLE;
        a->retry_after_us = mono_until(clock_mono(e->pool->clock), entry_opens(e));
        if (a->retry_after_us < 0)
                a->retry_after_us = 0;
        if (f->kind == REFUSAL_GRANT) {
                entry_describe_lost_grant(e, said, a);
                return;
        }
        (void) why_set(&a->why, 0, "%s %s a token for credential \"%s\": %s%s%s", c->provider->name,
                       a->kind == ANSWER_UPSTREAM_ERROR ? "refused" : "could not give", c->name,
                       said, f->advice[0] ? ". " : "", f->advice);
}

static void entry_answer_failure(struct entry *e, struct ask *ask) {
        struct answer a = { .kind = ANSWER_UNAVAILABLE };

        if (refusal_is_final(entry_trouble(e)->kind) && e->pool->credential->fallback) {
                entry_unpark(ask);
                if (e->pool->fall_back(e->pool, ask) == 0)
                        return;
        }
        entry_describe_failure(e, &a);
        entry_answer(ask, &a);
}

/* After a failure, of this entry or of its provider: is it worth a caller's time to wait for the
 * next try? */
static bool entry_has_hope(const struct entry *e, const struct ask *ask, mono_t now) {
        mono_t opens = entry_opens(e);

        if (e->obtaining || !mono_before(now, opens))
                return true;
        return e->failures < ENTRY_PATIENCE_N &&
               (e->failures == 0 || !refusal_is_final(entry_refusal(e)->kind)) &&
               mono_until(now, opens) <= ENTRY_PATIENCE_US && !mono_before(ask->deadline, opens);
}

/* Those who wait in vain are told so; the others wait on. */
static void entry_sort_out(struct entry *e) {
        mono_t now = clock_mono(e->pool->clock);
        struct list_link waiting;

        list_move_all(&e->waiting, &waiting);
        while (!list_is_empty(&waiting)) {
                struct ask *ask = list_entry(waiting.next, struct ask, link);

                if (entry_has_hope(e, ask, now)) {
                        list_remove(&ask->link);
                        list_append(&e->waiting, &ask->link);
                } else {
                        entry_answer_failure(e, ask);
                }
        }
}

static void entry_go_on(struct entry *e);

static void entry_ask_timer(struct timer *t) {
        struct ask *ask = list_entry(t, struct ask, timer);
        struct entry *e = ask->entry;
        struct answer a = { .kind = ANSWER_TIMEOUT,
                            .upstream = e->failures > 0 ? entry_refusal(e) : NULL };

        (void) why_set(&a.why, 0,
                       "%s has not answered within %" PRId64
                       " s; credential \"%s\" is still being fetched: ask again, "
                       "or wait longer (wait, at most %d s)",
                       e->pool->credential->provider->name, ask->wait_us / US_PER_S,
                       e->pool->credential->name, PROTOCOL_WAIT_MAX_S);
        entry_answer(ask, &a);
        if (e->turn.state == TURN_WAITS)
                entry_go_on(e); /* it may be wanted less now, or not at all */
}

static bool entry_is_rejected(const struct entry *e, const struct ask *ask) {
        return ask->rejected[0] && e->token && strcmp(e->token->fingerprint, ask->rejected) == 0;
}

static size_t entry_waiting_max(const struct entry *e) {
        return e->pool->credential->conf->waiting_per_user;
}

/* 0; WAITING_E_...; -ENOMEM. */
static int entry_park(struct entry *e, struct ask *ask) {
        int r;

        r = waiting_enter(e->pool->waiting, ask->uid, entry_waiting_max(e), &ask->place);
        if (r != 0)
                return PASS(r);
        r = timers_reserve(e->pool->timers);
        if (r < 0) {
                waiting_leave(e->pool->waiting, TAKE(ask->place));
                return PASS(r);
        }
        ask->entry = e;
        ask->timer = (struct timer){ .fn = entry_ask_timer };
        list_append(&e->waiting, &ask->link);
        e->pool->n_waiting++;
        timer_arm(e->pool->timers, &ask->timer, ask->deadline);
        return 0;
}

/* Why it was not parked. */
static void entry_answer_crowded(struct entry *e, struct ask *ask, int r) {
        struct answer a = { .kind = ANSWER_SLOW_DOWN, .retry_after_us = ENTRY_CROWDED_US };
        const struct waiting *w = e->pool->waiting;

        if (r == WAITING_E_USER) {
                (void) why_set(
                        &a.why, 0,
                        "%zu callers of uid %u wait for tokens already, so that none can wait for \"%s\", "
                        "too: ask again when some have their answers, or raise waiting_per_user in "
                        "bearerd.conf(5)",
                        waiting_share(w, entry_waiting_max(e)), (unsigned) ask->uid,
                        e->pool->credential->name);
        } else if (r == WAITING_E_ALL) {
                (void) why_set(
                        &a.why, 0,
                        "%zu callers of all users wait for tokens already, so that none can wait for \"%s\", "
                        "too: ask again when some have their answers; to leave room for others, lower "
                        "waiting_per_user in bearerd.conf(5)",
                        w->n, e->pool->credential->name);
        } else {
                a.kind = ANSWER_NO_MEMORY;
                (void) why_set(&a.why, 0, "out of memory");
        }
        entry_answer(ask, &a);
}

/* --- the plan --- */

static bool entry_is_default(const struct entry *e) {
        return !*e->subject && !e->variant.digest[0];
}

static bool entry_is_kept(const struct entry *e) {
        return e->pool->credential->keep_fresh == KEEP_FRESH_ALWAYS && entry_is_default(e);
}

/* Somebody waits for an exchange, or the configuration wants one. */
static bool entry_is_wanted(const struct entry *e) {
        if (!list_is_empty(&e->waiting) || e->forced)
                return true;
        if (entry_is_kept(e) && !e->token)
                return true;
        return e->token && !e->lapses && !mono_before(clock_mono(e->pool->clock), e->token->renews);
}

/* The earliest moment at which an exchange may begin, when one is wanted. */
static mono_t entry_may_begin(const struct entry *e) {
        mono_t at = e->not_before;
        bool rejected_only = e->token != NULL;
        struct list_link *l;

        /* if all that is wanted is a successor of a rejected token, the pause between rejections
         * counts, too */
        for (l = e->waiting.next; l != &e->waiting && rejected_only; l = l->next)
                rejected_only = entry_is_rejected(e, list_entry(l, struct ask, link));
        if (list_is_empty(&e->waiting))
                rejected_only = false;
        if (rejected_only && mono_before(at, e->rejected_before))
                at = e->rejected_before;
        return at;
}

/* Sets the one timer of the entry to whatever comes next. */
static void entry_plan(struct entry *e) {
        struct timers *timers = e->pool->timers;
        mono_t at = MONO_NEVER;

        if (e->token)
                at = e->token->expires;
        if (e->turn.state == TURN_WAITS) {
                /* it will be called */
        } else if (!e->obtaining && entry_is_wanted(e)) {
                mono_t begin = entry_may_begin(e);

                if (mono_before(begin, at))
                        at = begin;
        } else if (!e->obtaining && e->token && !e->lapses && mono_before(e->token->renews, at)) {
                at = e->token->renews;
        } else if (!e->obtaining && !e->token && !entry_is_default(e)) {
                at = mono_add(clock_mono(e->pool->clock),
                              ENTRY_MEMORY_US); /* to be discarded ... */
                if (mono_before(at, e->not_before))
                        at = e->not_before; /* ... but not while a provider wants a pause */
        }
        if (at.us == INT64_MAX || e->pool->stopped)
                timer_disarm(timers, &e->timer);
        else
                timer_arm(timers, &e->timer, at);
}

static void entry_fail(struct entry *e, const struct refusal *refusal);

static void entry_begin(struct entry *e) {
        struct refusal refusal = { .kind = REFUSAL_TRANSIENT, .retry_after_us = -1 };
        mono_t now = clock_mono(e->pool->clock);
        struct list_link *l;
        int r;

        for (l = e->waiting.next; l != &e->waiting; l = l->next)
                if (entry_is_rejected(e, list_entry(l, struct ask, link)))
                        e->rejected_before = mono_add(now, ENTRY_REJECTION_US);
        e->forced = false;
        entry_step(e, EVENT_BEGIN);
        log_debug("credential=%s event=exchange state=%s waiting=%d", e->pool->credential->name,
                  entry_state_names[e->state], !list_is_empty(&e->waiting));
        e->obtaining = true;
        r = e->pool->obtain(e->pool, e, &refusal);
        if (r < 0) {
                e->obtaining = false;
                turn_drop(&e->turn);
                if (!refusal.message[0])
                        (void) snprintf(refusal.message, sizeof(refusal.message),
                                        "the request could not be made: %s (%s)", strerror(-r),
                                        err_origin());
                entry_fail(e, &refusal);
        }
}

/* When what it has, or is wanted for, ends: among those of the background this says who goes
 * first. */
static mono_t entry_urgency(const struct entry *e) {
        if (e->token)
                return e->token->expires;
        return e->forced ? e->forced_by : clock_mono(e->pool->clock);
}

/* Begins an exchange if one is wanted, allowed now, and its turn; waits for the turn, or plans for
 * later what is not allowed. */
static void entry_go_on(struct entry *e) {
        mono_t now = clock_mono(e->pool->clock);

        if (e->obtaining)
                ;
        else if (e->pool->stopped || !entry_is_wanted(e) || mono_before(now, entry_may_begin(e)))
                turn_drop(&e->turn);
        else if (turn_take(&e->turn, !list_is_empty(&e->waiting), entry_urgency(e)))
                entry_begin(e); /* plans by itself when it fails at once */
        entry_plan(e);
}

/* Its turn has come. */
static void entry_turn(struct turn *t) {
        struct entry *e = list_entry(t, struct entry, turn);
        mono_t now = clock_mono(e->pool->clock);

        if (!e->obtaining && !e->pool->stopped && entry_is_wanted(e) &&
            !mono_before(now, entry_may_begin(e)))
                entry_begin(e);
        else
                turn_drop(t);
        entry_plan(e);
}

static void entry_held_up(struct turn *t) {
        struct entry *e = list_entry(t, struct entry, turn);

        entry_sort_out(e);
        entry_go_on(e);
}

static void entry_expire(struct entry *e) {
        entry_drop_token(e);
        entry_step(e, EVENT_EXPIRED);
}

static void entry_timer(struct timer *t) {
        struct entry *e = list_entry(t, struct entry, timer);
        mono_t now = clock_mono(e->pool->clock);

        if (e->token && token_left(e->token, now) == 0)
                entry_expire(e);
        if (e->token && !e->lapses && !mono_before(now, e->token->renews) && !entry_is_kept(e) &&
            !atomic_load_explicit(&e->token->used, memory_order_relaxed))
                e->lapses =
                        true; /* nobody wanted this one: let it end, the next use fetches anew */
        if (!e->token && !e->obtaining && !entry_is_wanted(e) && !entry_is_default(e)) {
                e->pool->discard(e->pool, e); /* it leaves the queue */
                return;
        }
        entry_go_on(e);
}

/* --- results --- */

/* Its life has begun when it was received: since then its refresh token may have been on its way to the disk. */
static struct token *entry_make_token(struct entry *e, struct exchange_result *result, mono_t now) {
        const struct conf_credential *c = e->pool->credential;
        const int64_t left_us = result->lifetime_us - mono_until(result->received, now);
        wall_t wall = clock_wall(e->pool->clock);
        const struct token_properties p = {
                .key = e->key,
                .credential = c->name,
                .subject = e->subject,
                .value = result->access_token,
                .lifetime_us = result->lifetime_us,
                .obtained = result->received,
                .expires_at = { wall.s + left_us / US_PER_S },
                .renews_us = c->keep_fresh == KEEP_FRESH_NEVER
                                     ? INT64_MAX
                                     : backoff_renewal(result->lifetime_us, e->pool->random),
        };

        return token_new(&p);
}

static void entry_log_token(const struct entry *e, const struct exchange_result *result) {
        char subject[PROTOCOL_SUBJECT_MAX + 3], life[32], asked[32];

        log_info("credential=%s subject=%s event=token fingerprint=%s lifetime=\"%s\"",
                 e->pool->credential->name, log_quote(e->subject, subject, sizeof(subject)),
                 e->token->fingerprint, text_format_span(result->lifetime_us, life, sizeof(life)));
        if (result->lifetime_requested_us > 0 &&
            llabs(result->lifetime_us - result->lifetime_requested_us) > ENTRY_LIFETIME_GAP_US)
                log_warning(
                        "credential=%s event=lifetime_differs granted=\"%s\" requested=\"%s\" advice=\"the provider "
                        "grants less than token_lifetime, or a clock is wrong\"",
                        e->pool->credential->name, life,
                        text_format_span(result->lifetime_requested_us, asked, sizeof(asked)));
}

/* Only of the token that the configuration asks for: see change.h. */
static void entry_tell(const struct entry *e, struct change change) {
        if (e->variant.digest[0])
                return;
        change.credential = e->pool->credential;
        change.subject = e->subject;
        change_tell(e->pool->listener, &change);
}

static void entry_succeed(struct entry *e, struct exchange_result *result) {
        unsigned failures = e->failures;
        mono_t now = clock_mono(e->pool->clock);
        struct token *t = entry_make_token(e, result, now);
        struct refusal refusal = { .kind = REFUSAL_TRANSIENT, .retry_after_us = -1 };
        struct list_link waiting;

        if (!t || token_left(t, now) == 0) {
                (void) snprintf(refusal.message, sizeof(refusal.message), "%s",
                                t ? "the token had ended before its refresh token was on the disk"
                                  : "out of memory");
                token_unref(t);
                entry_fail(e, &refusal);
                return;
        }
        token_unref(e->token);
        e->token = t;
        e->lifetime_us = result->lifetime_us;
        e->lapses = false;
        if (failures > 0)
                log_info("credential=%s event=recovered failures=%u", e->pool->credential->name,
                         failures);
        e->failures = 0;
        entry_forget_refusal(e);
        e->pool->outcomes[REFUSAL_NONE]++;
        e->not_before = (mono_t){ 0 };
        e->pool->last_refusal.kind = REFUSAL_NONE;
        entry_step(e, EVENT_TOKEN);
        cache_put(e->pool->cache, t);
        entry_log_token(e, result);
        entry_tell(e, (struct change){ .kind = CHANGE_TOKEN, .token = t });
        if (failures > 0)
                entry_tell(e, (struct change){ .kind = CHANGE_RECOVERED, .token = t });

        list_move_all(&e->waiting, &waiting);
        while (!list_is_empty(&waiting)) {
                struct ask *ask = list_entry(waiting.next, struct ask, link);

                if (token_is_good(t, now, ask->min_ttl_us))
                        entry_answer_token(e, ask);
                else
                        entry_answer_impossible(e, ask, token_left(t, now));
        }
        entry_plan(e);
}

static void entry_log_failure(const struct entry *e, int64_t delay_us) {
        const struct refusal *f = entry_refusal(e);
        char message[REFUSAL_MESSAGE_MAX], advice[REFUSAL_MESSAGE_MAX], delay[32];

        log_write(
                refusal_is_final(f->kind) && e->failures == 1 ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
                "credential=%s event=failing kind=%s status=%d error=%s message=%s logid=%s advice=%s failures=%u "
                "retry_in=\"%s\"",
                e->pool->credential->name, refusal_kind_names[f->kind], f->http_status,
                f->code[0] ? f->code : "-", log_quote(f->message, message, sizeof(message)),
                f->logid[0] ? f->logid : "-", log_quote(f->advice, advice, sizeof(advice)),
                e->failures, text_format_span(delay_us, delay, sizeof(delay)));
}

/* The first failure in a row is news, and so is one for another reason. */
static void entry_tell_failure(const struct entry *e, bool is_news) {
        struct answer a = { .kind = ANSWER_UNAVAILABLE };

        if (!is_news)
                return;
        entry_describe_failure(e, &a);
        entry_tell(e,
                   (struct change){
                           .kind = a.kind == ANSWER_AUTHORIZATION_REQUIRED
                                           ? CHANGE_AUTHORIZATION_REQUIRED
                                           : CHANGE_FAILING,
                           .reason = a.why.text,
                           .refused = a.kind == ANSWER_UPSTREAM_ERROR,
                           .upstream = entry_refusal(e)->http_status > 0 ? entry_refusal(e) : NULL,
                           .retry_us = a.retry_after_us,
                   });
}

/* Whatever has failed before, the next one has a date that it did not have: failures are counted anew. Now and then, or a
 * clock that leaps about would keep us asking. */
static void entry_forgive(struct entry *e) {
        mono_t now = clock_mono(e->pool->clock);

        if (mono_before(now, e->misdated_before))
                return;
        e->failures = 0;
        e->misdated_before = mono_add(now, BACKOFF_MAX_US);
}

static void entry_fail(struct entry *e, const struct refusal *refusal) {
        const bool is_news = e->failures == 0 || entry_refusal(e)->kind != refusal->kind ||
                             strcmp(entry_refusal(e)->code, refusal->code) != 0;
        int64_t base = refusal_is_final(refusal->kind) || refusal->kind == REFUSAL_NONSENSE
                               ? BACKOFF_STUBBORN_US
                               : BACKOFF_BASE_US;
        mono_t now = clock_mono(e->pool->clock);
        int64_t delay;

        entry_keep_refusal(e, refusal);
        e->pool->outcomes[refusal->kind]++;
        e->failures++;
        delay = backoff_delay(e->failures, base, refusal->retry_after_us, e->pool->random);
        e->not_before = mono_add(now, delay);
        e->pool->last_refusal = *refusal;
        e->pool->last_refusal_at = clock_wall(e->pool->clock);
        entry_step(e, EVENT_FAILED);
        entry_log_failure(e, delay);
        entry_tell_failure(e, is_news);
        entry_sort_out(e);
        entry_plan(e);
}

/* --- what the broker calls --- */

void entry_ask(struct entry *e, struct ask *ask) {
        mono_t now = clock_mono(e->pool->clock);
        int64_t lifetime = e->lifetime_us;
        int r;

        ask->entry = NULL;
        if (e->token && token_is_good(e->token, now, ask->min_ttl_us) &&
            !entry_is_rejected(e, ask)) {
                entry_answer_token(e, ask);
                return;
        }
        if (lifetime == 0 && e->pool->credential->type == CREDENTIAL_JWT)
                lifetime = e->variant.duration_s ? e->variant.duration_s * US_PER_S
                                                 : e->pool->credential->token_lifetime_us;
        if (lifetime > 0 && ask->min_ttl_us > lifetime) {
                entry_plan(e); /* it may be new, and of no use */
                entry_answer_impossible(e, ask, lifetime);
                return;
        }
        if (!entry_has_hope(e, ask, now)) {
                entry_plan(e);
                entry_answer_failure(e, ask);
                return;
        }
        r = entry_park(e, ask);
        if (r != 0) {
                entry_plan(e);
                entry_answer_crowded(e, ask, r);
                return;
        }
        entry_go_on(e);
}

void entry_want(struct entry *e, int64_t in_us) {
        e->forced = !e->obtaining;
        e->forced_by = mono_add(clock_mono(e->pool->clock), in_us);
        entry_go_on(e);
}

void entry_expect(struct entry *e) {
        if (!e->obtaining)
                entry_step(e, EVENT_BEGIN);
        turn_drop(&e->turn);
        e->obtaining = true;
        e->forced = false;
        entry_plan(e);
}

void entry_obtained(struct entry *e, struct exchange_result *result) {
        e->obtaining = false;
        turn_drop(&e->turn); /* one that nothing was sent in */
        if (e->outdated) {   /* of a credential that is not what it was */
                e->outdated = false;
                entry_enter(e, ENTRY_IDLE);
                entry_go_on(e);
                return;
        }
        if (result->misdated)
                entry_forgive(e);
        if (result->refusal.kind == REFUSAL_NONE)
                entry_succeed(e, result);
        else
                entry_fail(e, &result->refusal);
}

void entry_nudge(struct entry *e) {
        if (!e->token || e->pool->credential->keep_fresh == KEEP_FRESH_NEVER)
                return;
        e->lapses = false;
        entry_go_on(e);
}

void entry_dismiss(struct entry *e, enum answer_kind kind, const char *text) {
        while (!list_is_empty(&e->waiting)) {
                struct answer a = { .kind = kind, .retry_after_us = -1 };

                (void) why_set(&a.why, 0, "%s", text);
                entry_answer(list_entry(e->waiting.next, struct ask, link), &a);
        }
}

void entry_renounce(struct entry *e) {
        entry_drop_token(e);
        if (e->obtaining && e->pool->abandon) {
                e->pool->abandon(e->pool, e);
                e->obtaining = false;
        }
        if (!e->obtaining)
                turn_drop(&e->turn);
        e->outdated = e->obtaining;
        e->lapses = false;
        e->failures = 0;
        e->not_before = e->rejected_before = e->misdated_before = (mono_t){ 0 };
        entry_forget_refusal(e);
        entry_enter(e, e->obtaining ? ENTRY_FETCHING : ENTRY_IDLE);
        entry_plan(e); /* at once, for who waits */
}

void entry_retune(struct entry *e) {
        const bool never = e->pool->credential->keep_fresh == KEEP_FRESH_NEVER;
        struct token *t;

        e->lifetime_us = 0; /* the next one may live for another time */
        if (e->token && never != (e->token->renews.us == INT64_MAX)) {
                const int64_t lifetime = mono_until(e->token->obtained, e->token->expires);
                const struct token_properties p = {
                        .key = e->key,
                        .credential = e->token->credential,
                        .subject = e->subject,
                        .value = e->token->value,
                        .lifetime_us = lifetime,
                        .obtained = e->token->obtained,
                        .expires_at = e->token->expires_at,
                        .renews_us = never ? INT64_MAX : backoff_renewal(lifetime, e->pool->random),
                };

                t = token_new(&p);
                if (t) { /* else the next one is as it should be */
                        cache_put(e->pool->cache, t);
                        token_unref(e->token);
                        e->token = t;
                }
        }
        entry_plan(e);
}

void entry_withdraw(struct ask *ask) {
        entry_unpark(ask);
}
