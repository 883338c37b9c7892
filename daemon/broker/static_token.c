#include "broker/static_token.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "store/store.h"

static const int64_t static_token_reminders[] = { US_PER_D, US_PER_H }; /* besides warn_before */

static void static_token_timer(struct timer *t);

int static_token_init(struct static_token *s, const struct conf_credential *c, struct cache *cache,
                      struct timers *timers, const struct clock *clock,
                      const struct change_listener *listener) {
        *s = (struct static_token){ .credential = c,
                                    .cache = cache,
                                    .timers = timers,
                                    .clock = clock,
                                    .listener = listener };
        s->timer.fn = static_token_timer;
        return timers_reserve(timers);
}

void static_token_done(struct static_token *s) {
        if (!s->credential)
                return;
        if (s->token)
                cache_remove(s->cache, s->token->key);
        s->token = token_unref(s->token);
        timer_disarm(s->timers, &s->timer);
        timers_release(s->timers);
}

static void static_token_plan(struct static_token *s) {
        const int64_t first = s->credential->warn_before_us;
        mono_t now = clock_mono(s->clock), at;

        if (s->changes)
                ++*s->changes;
        timer_disarm(s->timers, &s->timer);
        if (!s->token || s->token->never_expires)
                return;
        at = s->token->expires;
        for (size_t i = N_ELEMENTS(static_token_reminders) + 1; i > 0; i--) {
                int64_t before = i > 1 ? static_token_reminders[i - 2] : first;
                mono_t reminder = mono_add(s->token->expires, -before);

                if (before <= first && mono_before(now, reminder) && mono_before(reminder, at))
                        at = reminder;
        }
        timer_arm(s->timers, &s->timer, at);
}

/* There is none any more. */
static void static_token_tell_end(const struct static_token *s, bool on_purpose) {
        struct why why;
        const struct change change = {
                .kind = CHANGE_AUTHORIZATION_REQUIRED,
                .credential = s->credential,
                .subject = "",
                .reason = why.text,
                .on_purpose = on_purpose,
        };

        if (!static_token_warning(s, &why))
                (void) why_set(&why, 0,
                               "the token of \"%s\" was forgotten (bearerctl logout); a new one: "
                               "bearerctl set %s",
                               s->credential->name, s->credential->name);
        change_tell(s->listener, &change);
}

static void static_token_end(struct static_token *s) {
        s->ended = true;
        s->ended_at = s->token ? s->token->expires_at : s->ended_at;
        if (s->token)
                cache_remove(s->cache, s->token->key);
        s->token = token_unref(s->token);
        log_error(
                "credential=%s event=expired advice=\"make a new token in Coze's console and set it: bearerctl set "
                "%s\"",
                s->credential->name, s->credential->name);
        static_token_tell_end(s, false);
}

static void static_token_timer(struct timer *t) {
        struct static_token *s = list_entry(t, struct static_token, timer);
        struct why why;

        if (token_left(s->token, clock_mono(s->clock)) == 0)
                static_token_end(s);
        else if (static_token_warning(s, &why))
                log_warning("credential=%s event=expires_soon advice=\"%s\"", s->credential->name,
                            why.text);
        static_token_plan(s);
}

void static_token_clear(struct static_token *s) {
        if (s->token)
                cache_remove(s->cache, s->token->key);
        s->token = token_unref(s->token);
        s->ended = false;
        static_token_plan(s);
}

int static_token_set(struct static_token *s, struct secret *value, wall_t expires_at) {
        wall_t wall = clock_wall(s->clock);
        char key[CACHE_KEY_SIZE];
        const struct token_properties p = {
                .key = cache_key(s->credential->name, "", "", key),
                .credential = s->credential->name,
                .subject = "",
                .value = value,
                .lifetime_us = expires_at.s == WALL_NEVER.s ? INT64_MAX
                               : expires_at.s > INT64_MAX / US_PER_S / 2
                                       ? INT64_MAX
                                       : (expires_at.s - wall.s) * US_PER_S,
                .obtained = clock_mono(s->clock),
                .expires_at = expires_at,
                .renews_us = INT64_MAX,
        };
        struct token *t;
        struct why why;

        if (p.lifetime_us <= 0) {
                static_token_clear(s);
                s->ended_at = expires_at;
                static_token_end(s);
                return 0;
        }
        t = token_new(&p);
        if (!t)
                return RAISE(-ENOMEM);
        token_unref(s->token);
        s->token = t;
        s->ended = false;
        cache_put(s->cache, t);
        log_info("credential=%s event=token fingerprint=%s", s->credential->name, t->fingerprint);
        change_tell(s->listener, &(struct change){ .kind = CHANGE_TOKEN,
                                                   .credential = s->credential,
                                                   .subject = "",
                                                   .token = t });
        if (static_token_warning(s, &why))
                log_warning("credential=%s event=expires_soon advice=\"%s\"", s->credential->name,
                            why.text);
        static_token_plan(s);
        return 0;
}

void static_token_adopt(struct static_token *s, const struct conf_credential *c) {
        s->credential = c;
        static_token_plan(s);
}

void static_token_forget(struct static_token *s) {
        static_token_clear(s);
        static_token_tell_end(s, true);
}

bool static_token_warning(const struct static_token *s, struct why *ret) {
        const char *name = s->credential->name;
        char left[32], date[32];
        struct tm tm;
        time_t end;
        int64_t us;

        if (s->ended) {
                (void) why_set(
                        ret, 0,
                        "the token of \"%s\" has expired: make a new one in Coze's console and set it with "
                        "bearerctl set %s",
                        name, name);
                return true;
        }
        if (!s->token || s->token->never_expires)
                return false;
        us = token_left(s->token, clock_mono(s->clock));
        if (us > s->credential->warn_before_us)
                return false;
        end = (time_t) s->token->expires_at.s;
        (void) strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime_r(&end, &tm));
        (void) why_set(
                ret, 0,
                "the token of \"%s\" expires in %s (%s): make a new one in Coze's console and set it with "
                "bearerctl set %s",
                name, text_format_span(us, left, sizeof(left)), date, name);
        return true;
}

static bool static_token_is_rejected(const struct static_token *s, const struct ask *ask) {
        return s->token && ask->rejected[0] && strcmp(s->token->fingerprint, ask->rejected) == 0;
}

bool static_token_serves(const struct static_token *s, const struct ask *ask) {
        return s->token && !static_token_is_rejected(s, ask) &&
               token_is_good(s->token, clock_mono(s->clock), ask->min_ttl_us);
}

void static_token_ask(struct static_token *s, struct ask *ask) {
        const char *name = s->credential->name;
        struct answer a = { .kind = ANSWER_AUTHORIZATION_REQUIRED };
        mono_t now = clock_mono(s->clock);

        ask->entry = NULL;
        if (static_token_is_rejected(s, ask)) {
                log_warning("credential=%s event=rejected fingerprint=%s", name, ask->rejected);
                (void) why_set(
                        &a.why, 0,
                        "the API refused the token of \"%s\" (%s), and a token of type %s cannot be renewed: make a "
                        "new one in Coze's console and set it with bearerctl set %s",
                        name, ask->rejected, credential_type_names[s->credential->type], name);
        } else if (static_token_serves(s, ask)) {
                a.kind = ANSWER_TOKEN;
                a.token = s->token;
                atomic_store_explicit(&s->token->used, true, memory_order_relaxed);
        } else if (s->token) {
                (void) why_set(
                        &a.why, 0,
                        "the token of \"%s\" ends in %" PRId64
                        " s, sooner than min_ttl, and a token of type %s "
                        "cannot be renewed: make a new one in Coze's console and set it with bearerctl set %s",
                        name, token_left(s->token, now) / US_PER_S,
                        credential_type_names[s->credential->type], name);
        } else if (s->ended) {
                (void) static_token_warning(s, &a.why);
        } else {
                (void) why_set(
                        &a.why, 0,
                        "credential \"%s\" has no token yet: set it with bearerctl set %s, or name a token_file in "
                        "the configuration",
                        name, name);
        }
        ask->answer(ask, &a);
}
