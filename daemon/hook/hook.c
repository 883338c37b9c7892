#include "hook/hook.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/log.h"
#include "hook/token_file.h"

struct hook { /* of one credential */
        struct hooks *hooks;
        const struct conf_credential *credential;
        struct command *change, *authorization; /* NULL: not wanted */
        struct timer reminder;                  /* of `authorization` */
        struct why reason;                      /* of the last change */
        struct timer file_retry;
        bool file_is_void;       /* a person has to act: there should be none */
        struct why file_trouble; /* that has been logged; "": none */
        bool has_timers;         /* their room is reserved */
};

struct hooks {
        struct hooks_parts parts;
        const struct conf *conf;
        struct hook *of; /* by credential index */
};

static void hook_arm(struct hook *h, struct timer *t, int64_t in_us) {
        const struct command_parts *p = &h->hooks->parts.command;

        timer_arm(p->timers, t, mono_add(clock_mono(p->clock), in_us));
}

static void hook_disarm(struct hook *h, struct timer *t) {
        timer_disarm(h->hooks->parts.command.timers, t);
}

/* --- token_file_out --- */

static void hook_log_file(struct hook *h, int r, const struct why *why) {
        const char *name = h->credential->name;
        char quoted[WHY_MAX + 3];

        if (r < 0 && strcmp(why->text, h->file_trouble.text) != 0)
                log_error("credential=%s event=token_file_failed reason=%s", name,
                          log_quote(why->text, quoted, sizeof(quoted)));
        else if (r == 0 && h->file_trouble.text[0])
                log_info("credential=%s event=token_file_recovered", name);
        h->file_trouble = r < 0 ? *why : (struct why){ "" };
}

/* Makes the file what it should be; NULL: as it is, or gone if it is void. */
static void hook_settle_file(struct hook *h, const struct secret *value) {
        const struct conf_credential *c = h->credential;
        struct why why = { "" };
        int r = 0;

        if (value)
                r = token_file_write(c, value, &why);
        else if (h->file_is_void)
                r = token_file_remove(c, &why);
        hook_log_file(h, r, &why);
        if (r < 0)
                hook_arm(h, &h->file_retry, HOOK_FILE_RETRY_US);
        else
                hook_disarm(h, &h->file_retry);
}

/* With the token that is there now. */
static void hook_look_at_file(struct hook *h) {
        AUTO(token_unrefp) struct token *t = NULL;
        char key[CACHE_KEY_SIZE];

        t = cache_get(h->hooks->parts.cache, cache_key(h->credential->name, "", "", key));
        hook_settle_file(h, t ? t->value : NULL);
}

static void hook_retry_file(struct timer *t) {
        hook_look_at_file(list_entry(t, struct hook, file_retry));
}

static void hook_file(struct hook *h, const struct change *change) {
        if (!h->credential->token_file_out || *change->subject)
                return;
        if (change->kind == CHANGE_TOKEN) {
                h->file_is_void = false;
                hook_settle_file(h, change->token->value);
        } else if (change->kind == CHANGE_AUTHORIZATION_REQUIRED) {
                h->file_is_void = true;
                hook_settle_file(h, NULL);
        }
}

static void hook_abandon_file(struct hook *h, const struct hooks *successor) {
        const char *path = h->credential->token_file_out;
        struct why why = { "" };

        if (!path)
                return;
        for (size_t i = 0; i < successor->conf->n_credentials; i++) {
                const char *other = successor->conf->credentials[i]->token_file_out;

                if (other && strcmp(other, path) == 0)
                        return;
        }
        hook_log_file(h, token_file_remove(h->credential, &why), &why);
}

/* --- on_authorization_required --- */

static void hook_remind(struct hook *h) {
        const struct change change = {
                .kind = CHANGE_AUTHORIZATION_REQUIRED,
                .credential = h->credential,
                .subject = "",
                .reason = h->reason.text,
        };

        command_run(h->authorization, &change);
        hook_arm(h, &h->reminder, h->credential->remind_every_us);
}

static void hook_timer(struct timer *t) {
        hook_remind(list_entry(t, struct hook, reminder));
}

/* Who forgets a grant on purpose need not be told what to do. */
static void hook_authorization(struct hook *h, const struct change *change) {
        if (!h->authorization)
                return;
        if (!*change->subject && change->kind == CHANGE_TOKEN)
                hook_disarm(h, &h->reminder);
        if (change->kind != CHANGE_AUTHORIZATION_REQUIRED || change->on_purpose)
                return;
        if (*change->subject) {
                command_run(h->authorization, change);
                return;
        }
        (void) why_set(&h->reason, 0, "%s", change->reason);
        hook_remind(h);
}

/* --- all of them --- */

/* What comes home late may be of a credential that is not configured any more. */
static struct hook *hooks_find(struct hooks *hs, const struct conf_credential *c) {
        return c->index < hs->conf->n_credentials && hs->conf->credentials[c->index] == c
                       ? &hs->of[c->index]
                       : NULL;
}

void hooks_tell(struct hooks *hs, const struct change *change) {
        struct hook *h = hooks_find(hs, change->credential);

        if (!h)
                return;
        hook_file(h, change);
        hook_authorization(h, change);
        if (h->change && change->kind == CHANGE_TOKEN)
                command_run(h->change, change);
}

static void hook_start(struct hook *h, const struct broker *broker) {
        const struct conf_credential *c = h->credential;
        struct credential_view v;

        broker_view(broker, c, &v);
        h->file_is_void = v.state == CREDENTIAL_AUTHORIZATION_REQUIRED ||
                          v.state == CREDENTIAL_EXPIRED;
        if (c->token_file_out)
                hook_look_at_file(h);
        if (!h->file_is_void || !h->authorization || timer_is_armed(&h->reminder))
                return;
        (void) why_set(&h->reason, 0,
                       "\"%s\" hands out no token before a person acts: bearerctl %s %s", c->name,
                       credential_type_is_static(c->type) ? "set" : "login", c->name);
        hook_remind(h);
}

void hooks_start(struct hooks *hs, const struct broker *broker) {
        for (size_t i = 0; i < hs->conf->n_credentials; i++)
                hook_start(&hs->of[i], broker);
}

static bool hooks_run(const struct hooks *hs, pid_t pid) {
        for (size_t i = 0; hs && i < hs->conf->n_credentials; i++) {
                const struct hook *h = &hs->of[i];

                if ((h->change && command_pid(h->change) == pid) ||
                    (h->authorization && command_pid(h->authorization) == pid))
                        return true;
        }
        return false;
}

void hooks_reap_orphans(const struct hooks *hs) {
        siginfo_t child = { 0 };

        /* what is looked at stays, and is looked at again, until somebody waits for it */
        while (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 && child.si_pid > 0 &&
               !hooks_run(hs, child.si_pid)) {
                (void) waitpid(child.si_pid, NULL, WNOHANG);
                child = (siginfo_t){ 0 };
        }
}

static void hook_succeed(struct hook *h, struct hook *old) {
        const struct conf_credential *c = h->credential, *before = old->credential;

        if (h->change && old->change && conf_list_equal(&c->on_change, &before->on_change)) {
                command_free(h->change);
                h->change = TAKE(old->change);
                command_adopt(h->change, c, &c->on_change);
        }
        if (!h->authorization || !old->authorization ||
            !conf_list_equal(&c->on_authorization_required, &before->on_authorization_required))
                return;
        command_free(h->authorization);
        h->authorization = TAKE(old->authorization);
        command_adopt(h->authorization, c, &c->on_authorization_required);
        h->reason = old->reason;
        if (timer_is_armed(&old->reminder)) {
                const mono_t told = mono_add(old->reminder.at, -before->remind_every_us);

                timer_arm(h->hooks->parts.command.timers, &h->reminder,
                          mono_add(told, c->remind_every_us));
        }
}

void hooks_succeed(struct hooks *hs, struct hooks *old) {
        for (size_t i = 0; old && i < old->conf->n_credentials; i++) {
                struct hook *before = &old->of[i];
                const struct conf_credential *c = conf_find_credential(hs->conf,
                                                                       before->credential->name);

                if (c)
                        hook_succeed(&hs->of[c->index], before);
                hook_abandon_file(before, hs);
        }
        hooks_free(old);
}

static int hook_reserve(struct hook *h) {
        struct timers *timers = h->hooks->parts.command.timers;
        int r;

        r = timers_reserve(timers);
        if (r < 0)
                return PASS(r);
        r = timers_reserve(timers);
        if (r < 0)
                timers_release(timers);
        h->has_timers = r == 0;
        return PASS(r);
}

static int hook_init(struct hooks *hs, const struct conf_credential *c) {
        struct hook *h = &hs->of[c->index];
        int r;

        h->hooks = hs;
        h->credential = c;
        h->reminder.fn = hook_timer;
        h->file_retry.fn = hook_retry_file;
        r = hook_reserve(h);
        if (r == 0 && c->on_change.n > 0)
                r = command_new(&hs->parts.command, "on_change", c, &c->on_change, &h->change);
        if (r == 0 && c->on_authorization_required.n > 0)
                r = command_new(&hs->parts.command, "on_authorization_required", c,
                                &c->on_authorization_required, &h->authorization);
        return PASS(r);
}

int hooks_new(const struct hooks_parts *parts, const struct conf *conf, struct hooks **ret) {
        struct hooks *hs = calloc(1, sizeof(*hs));
        int r = 0;

        if (!hs)
                return RAISE(-ENOMEM);
        *hs = (struct hooks){ .parts = *parts, .conf = conf };
        hs->of = calloc(conf->n_credentials + 1, sizeof(*hs->of));
        if (!hs->of)
                r = RAISE(-ENOMEM);
        for (size_t i = 0; r == 0 && i < conf->n_credentials; i++)
                r = hook_init(hs, conf->credentials[i]);
        if (r < 0) {
                hooks_free(hs);
                return PASS(r);
        }
        *ret = hs;
        return 0;
}

struct hooks *hooks_free(struct hooks *hs) {
        if (!hs)
                return NULL;
        for (size_t i = 0; hs->of && i < hs->conf->n_credentials; i++) {
                struct hook *h = &hs->of[i];
                struct timers *timers = hs->parts.command.timers;

                command_free(h->change);
                command_free(h->authorization);
                if (!h->has_timers)
                        continue;
                timer_disarm(timers, &h->reminder);
                timer_disarm(timers, &h->file_retry);
                timers_release(timers);
                timers_release(timers);
        }
        free(hs->of);
        free(hs);
        return NULL;
}
