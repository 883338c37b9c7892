#include "hook/hook.h"

#include <stdlib.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/log.h"
#include "hook/command.h"
#include "hook/token_file.h"

struct hook { /* of one credential */
        struct hooks *hooks;
        const struct conf_credential *credential;
        struct command *change, *authorization; /* NULL: not wanted */
        struct timer timer;                     /* the next reminder */
        bool has_timer;                         /* its room is reserved */
        struct why reason;                      /* of the last change */
};

struct hooks {
        const struct conf *conf;
        struct timers *timers;
        const struct clock *clock;
        struct hook *of; /* by credential index */
};

static void hook_remind(struct hook *h) {
        const struct change change = {
                .kind = CHANGE_AUTHORIZATION_REQUIRED,
                .credential = h->credential,
                .subject = "",
                .reason = h->reason.text,
        };

        command_run(h->authorization, &change);
        timer_arm(h->hooks->timers, &h->timer,
                  mono_add(clock_mono(h->hooks->clock), h->credential->remind_every_us));
}

static void hook_timer(struct timer *t) {
        hook_remind(list_entry(t, struct hook, timer));
}

static void hook_file(const struct hook *h, const struct change *change) {
        const struct conf_credential *c = h->credential;
        char quoted[WHY_MAX + 3];
        struct why why = { "" };
        int r = 0;

        if (!c->token_file_out || *change->subject)
                return;
        if (change->kind == CHANGE_TOKEN)
                r = token_file_write(c, change->token->value, &why);
        else if (change->kind == CHANGE_AUTHORIZATION_REQUIRED)
                r = token_file_remove(c, &why);
        if (r < 0)
                log_error("credential=%s event=token_file_failed reason=%s", c->name,
                          log_quote(why.text, quoted, sizeof(quoted)));
}

/* Who forgets a grant on purpose need not be told what to do. */
static void hook_authorization(struct hook *h, const struct change *change) {
        if (!h->authorization)
                return;
        if (!*change->subject && change->kind == CHANGE_TOKEN)
                timer_disarm(h->hooks->timers, &h->timer);
        if (change->kind != CHANGE_AUTHORIZATION_REQUIRED || change->on_purpose)
                return;
        if (*change->subject) {
                command_run(h->authorization, change);
                return;
        }
        (void) why_set(&h->reason, 0, "%s", change->reason);
        hook_remind(h);
}

void hooks_tell(struct hooks *hs, const struct change *change) {
        struct hook *h = &hs->of[change->credential->index];

        hook_file(h, change);
        hook_authorization(h, change);
        if (h->change && change->kind == CHANGE_TOKEN)
                command_run(h->change, change);
}

void hooks_start(struct hooks *hs, const struct broker *broker) {
        for (size_t i = 0; i < hs->conf->n_credentials; i++) {
                const struct conf_credential *c = hs->conf->credentials[i];
                struct credential_view v;
                struct why why;
                const struct change change = { .kind = CHANGE_AUTHORIZATION_REQUIRED,
                                               .credential = c,
                                               .subject = "",
                                               .reason = why.text };

                broker_view(broker, c, &v);
                if (v.state != CREDENTIAL_AUTHORIZATION_REQUIRED)
                        continue;
                (void) why_set(
                        &why, 0, "\"%s\" hands out no token before a person acts: bearerctl %s %s",
                        c->name, credential_type_is_static(c->type) ? "set" : "login", c->name);
                hooks_tell(hs, &change);
        }
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

static int hook_init(struct hooks *hs, sd_event *event, const struct conf_credential *c) {
        struct hook *h = &hs->of[c->index];
        int r = 0;

        h->hooks = hs;
        h->credential = c;
        h->timer.fn = hook_timer;
        if (c->on_change.n > 0)
                r = command_new(event, "on_change", c, &c->on_change, &h->change);
        if (r < 0 || c->on_authorization_required.n == 0)
                return PASS(r);
        r = timers_reserve(hs->timers);
        if (r < 0)
                return PASS(r);
        h->has_timer = true;
        r = command_new(event, "on_authorization_required", c, &c->on_authorization_required,
                        &h->authorization);
        return PASS(r);
}

int hooks_new(const struct conf *conf, sd_event *event, struct timers *timers,
              const struct clock *clock, struct hooks **ret) {
        struct hooks *hs = calloc(1, sizeof(*hs));
        int r = 0;

        if (!hs)
                return RAISE(-ENOMEM);
        *hs = (struct hooks){ .conf = conf, .timers = timers, .clock = clock };
        hs->of = calloc(conf->n_credentials + 1, sizeof(*hs->of));
        if (!hs->of)
                r = RAISE(-ENOMEM);
        for (size_t i = 0; r == 0 && i < conf->n_credentials; i++)
                r = hook_init(hs, event, conf->credentials[i]);
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

                command_free(h->change);
                command_free(h->authorization);
                if (h->has_timer) {
                        timer_disarm(hs->timers, &h->timer);
                        timers_release(hs->timers);
                }
        }
        free(hs->of);
        free(hs);
        return NULL;
}
