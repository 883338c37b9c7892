#include "check/check.h"

#include "base/auto.h"
#include "base/err.h"
#include "check/fact.h"
#include "store/keyfile.h"

static int check_tell_problems(const struct check_parts *p) {
        int r = 0;

        for (size_t i = 0; i < p->report->n && r == 0; i++) {
                const struct conf_problem *problem = &p->report->problems[i];
                struct fact f;

                fact_begin(&f, "configuration", problem->is_error ? FACT_FAIL : FACT_WARN);
                fact_text(&f, "problem", problem->is_error ? "mistake" : "doubt");
                fact_text(&f, "message", problem->text);
                r = fact_tell(&f, p->out);
        }
        return PASS(r);
}

static int check_tell_configuration(const struct check_parts *p) {
        struct fact f;
        bool empty;
        int r;

        r = check_tell_problems(p);
        if (r < 0)
                return PASS(r);
        empty = p->conf && p->conf->n_credentials == 0;
        fact_begin(&f, "configuration", !p->conf ? FACT_FAIL : empty ? FACT_WARN : FACT_OK);
        fact_text(&f, "file", p->file);
        fact_text(&f, "problem", empty ? "empty" : NULL);
        if (p->conf) {
                fact_true(&f, "user", p->conf->scope == CONF_USER);
                fact_number(&f, "credentials", (int64_t) p->conf->n_credentials);
                fact_number(&f, "sockets", (int64_t) p->conf->n_sockets);
                fact_text(&f, "socket", p->conf->sockets[0]->path);
        } else
                fact_text(&f, "problem", "invalid");
        return fact_tell(&f, p->out);
}

/* What Coze does not allow is a mistake of the configuration; what says too little cannot be judged. */
static int check_tell_eligibility(const struct check_parts *p) {
        size_t unset = 0;
        struct fact f;

        if (p->conf->n_credentials == 0)
                return 0;
        for (size_t i = 0; i < p->conf->n_credentials; i++)
                if (p->conf->credentials[i]->plan == PLAN_UNSET &&
                    p->conf->credentials[i]->role == ROLE_UNSET)
                        unset++;
        fact_begin(&f, "eligibility", unset > 0 ? FACT_SKIP : FACT_OK);
        fact_text(&f, "problem", unset > 0 ? "unset" : NULL);
        fact_number(&f, "credentials", (int64_t) p->conf->n_credentials);
        fact_number(&f, "unset", (int64_t) unset);
        return fact_tell(&f, p->out);
}

/* The key that grants are sealed under. Made when bearerd first starts, so that there may be none. */
static int check_tell_key(const struct check_parts *p) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        struct why why = { "" };
        struct fact f;
        int r;

        r = keyfile_read(p->conf->key_file, &why, &key);
        if (r == -ENOMEM)
                return PASS(r);
        fact_begin(&f, "key_file",
                   r == 0                                  ? FACT_OK
                   : r == KEYFILE_E_ABSENT || r == -EACCES ? FACT_SKIP
                                                           : FACT_FAIL);
        fact_text(&f, "file", p->conf->key_file);
        if (r != 0)
                fact_text(&f, "problem",
                          r == KEYFILE_E_ABSENT ? "absent"
                          : r == -EACCES        ? "unseen"
                                                : "unusable");
        fact_text(&f, "message", why.text);
        return fact_tell(&f, p->out);
}

int check_run(const struct check_parts *p) {
        AUTO(auto_freep) struct reach *reaches = NULL;
        struct credentials_parts credentials = {
                .conf = p->conf,
                .event = p->event,
                .transport = p->transport,
                .clock = p->clock,
                .random = p->random,
                .out = p->out,
        };
        int r;

        r = check_tell_configuration(p);
        if (r < 0 || !p->conf)
                return PASS(r);
        r = check_tell_eligibility(p);
        if (r == 0)
                r = check_tell_key(p);
        if (r == 0 && !p->offline)
                r = reach_providers(p->conf, p->clock, p->out, &reaches);
        credentials.reaches = reaches;
        if (r == 0)
                r = credentials_check(&credentials);
        return PASS(r);
}
