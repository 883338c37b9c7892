#include "service/reload.h"

#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "conf/difference.h"
#include "provider/scope.h"

struct reload_request { /* somebody who wants to know how it ends */
        struct list_link link;
        reload_done_fn *done;
        void *user;
};

struct reload {
        struct reload_parts parts;
        struct list_link current,
                next; /* struct reload_request: of this round, and of the one after it */
        bool switching;
        bool again; /* somebody wants another round, whether anybody waits for its end or not */
        bool stopped;

        /* what is got ready */
        struct conf *conf;
        struct conf_report report;
        int *fds;
        struct loopback_uses *uses;
        struct unit_doors *doors;
        struct broker_change *broker;
        struct server_change *server;
        struct message switched;
};

/* The scope object is the dialect's, the lists it is made of are the configuration's. */
static int reload_build_scopes(struct conf *conf) {
        for (size_t i = 0; i < conf->n_credentials; i++) {
                struct conf_credential *c = conf->credentials[i];
                int r = scope_build(&c->permissions, &c->bot_ids, &c->workspace_ids,
                                    &c->workflow_ids, &c->scope);

                if (r < 0)
                        return PASS(r);
        }
        return 0;
}

int reload_read(const char *file, enum conf_scope scope, struct conf_report *report,
                struct conf **ret) {
        AUTO(conf_freep) struct conf *conf = NULL;
        int r;

        r = conf_load(file, scope, report, &conf);
        if (r == 0)
                r = reload_build_scopes(conf);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(conf);
        return 0;
}

/* What would take another daemon to follow. */
static int reload_check_fixed(const struct conf *before, const struct conf *after,
                              struct why *why) {
        static const char advice[] = "restart bearerd (systemctl restart bearerd), or put it back";

        if (strcmp(before->state_dir, after->state_dir) != 0)
                return why_set(
                        why, RAISE(-EBUSY),
                        "[daemon] state_dir cannot change while bearerd runs (%.120s now, %.120s in "
                        "the files): %s",
                        before->state_dir, after->state_dir, advice);
        if (before->connections_per_user != after->connections_per_user ||
            before->authorizations_per_user != after->authorizations_per_user ||
            before->request_timeout_us != after->request_timeout_us ||
            before->idle_timeout_us != after->idle_timeout_us || before->audit != after->audit ||
            before->sandbox != after->sandbox)
                return why_set(
                        why, RAISE(-EBUSY),
                        "[daemon] audit, sandbox, connections_per_user, authorizations_per_user, request_timeout and "
                        "idle_timeout cannot change while bearerd runs: %s",
                        advice);
        if (strcmp(before->key_file, after->key_file) != 0)
                return why_set(
                        why, RAISE(-EBUSY),
                        "[daemon] key_file cannot change while bearerd runs (%.120s now, %.120s in "
                        "the files): %s",
                        before->key_file, after->key_file, advice);
        return 0;
}

static void reload_clear(struct reload *r) {
        r->server = server_change_free(r->server);
        r->broker = broker_change_free(r->broker);
        r->doors = unit_doors_free(r->doors);
        r->uses = loopback_uses_free(r->uses);
        free(r->fds);
        r->fds = NULL;
        r->conf = conf_free(r->conf);
        conf_report_done(&r->report);
}

static const char *reload_first_error(const struct conf_report *report) {
        for (size_t i = 0; i < report->n; i++)
                if (report->problems[i].is_error)
                        return report->problems[i].text;
        return NULL;
}

static int reload_prepare(struct reload *r, struct why *why) {
        const struct reload_parts *p = &r->parts;
        int result;

        result = reload_read(p->file, p->scope, &r->report, &r->conf);
        if (result < 0) {
                const char *first = reload_first_error(&r->report);

                return why_set(why, PASS(result), "%s", first ? first : strerror(-result));
        }
        result = reload_check_fixed(*p->conf, r->conf, why);
        if (result == 0)
                result = sockets_prepare(p->sockets, r->conf, why, &r->fds);
        if (result == 0)
                result = loopback_prepare(p->loopback, r->conf, &r->uses);
        if (result == 0)
                result = unit_sockets_prepare(r->conf, r->fds, &r->doors);
        if (result == 0)
                result = server_prepare(p->server, r->conf, r->fds, &r->server);
        if (result == 0)
                result = broker_prepare(p->broker, r->conf, why, &r->broker);
        if (result < 0 && !why->text[0])
                (void) why_set(why, result, "%s (%s)", strerror(-result), err_origin());
        return PASS(result);
}

static void reload_begin(struct reload *r);

/* Tells everybody of this round, and goes on with the next. */
static void reload_end(struct reload *r, const struct reload_outcome *outcome) {
        r->parts.tell(r->parts.user, outcome);
        while (!list_is_empty(&r->current)) {
                struct reload_request *q = list_entry(r->current.next, struct reload_request, link);

                list_remove(&q->link);
                q->done(q->user, outcome);
                free(q);
        }
}

/* The serving thread has it. */
static void reload_switched(struct message *m) {
        struct reload *r = list_entry(m, struct reload, switched);
        struct reload_parts *p = &r->parts;
        struct conf *before = *p->conf;
        struct reload_outcome outcome = { .before = before,
                                          .after = r->conf,
                                          .report = &r->report };

        server_judge_again(p->server);
        unit_sockets_adopt(p->unit_sockets, TAKE(r->doors));
        p->change(p->user, r->conf);
        broker_adopt(p->broker, TAKE(r->broker));
        loopback_adopt(p->loopback, TAKE(r->uses));
        sockets_adopt(p->sockets, r->conf);
        free(*p->fds);
        *p->fds = TAKE(r->fds);
        *p->conf = TAKE(r->conf);
        r->switching = false;
        reload_end(r, &outcome);
        conf_report_done(&r->report);
        conf_free(before);
        if (r->again)
                reload_begin(r);
}

static void reload_begin(struct reload *r) {
        do {
                struct reload_outcome outcome = { .report = &r->report };
                struct why why = { "" };

                r->again = false;
                list_move_all(&r->next, &r->current);
                list_init(&r->next);
                r->parts.tell(r->parts.user, NULL);
                outcome.r = r->stopped ? why_set(&why, -ESHUTDOWN, "bearerd is stopping")
                                       : reload_prepare(r, &why);
                outcome.why = why.text;
                if (outcome.r == 0) {
                        r->switching = true;
                        r->switched.run = reload_switched;
                        server_switch(r->parts.server, TAKE(r->server), &r->switched);
                        return;
                }
                reload_end(r, &outcome);
                reload_clear(r);
                sockets_abandon(r->parts.sockets);
        } while (r->again);
}

void reload_request(struct reload *r, reload_done_fn *done, void *user) {
        struct reload_request *q = NULL;

        if (done) {
                q = malloc(sizeof(*q));
                if (!q) {
                        done(user,
                             &(struct reload_outcome){ .r = -ENOMEM, .why = "out of memory" });
                        return;
                }
                *q = (struct reload_request){ .done = done, .user = user };
                list_append(&r->next, &q->link);
        }
        r->again = true;
        if (!r->switching)
                reload_begin(r);
}

int reload_new(const struct reload_parts *parts, struct reload **ret) {
        struct reload *r = calloc(1, sizeof(*r));

        if (!r)
                return RAISE(-ENOMEM);
        r->parts = *parts;
        list_init(&r->current);
        list_init(&r->next);
        *ret = r;
        return 0;
}

void reload_stop(struct reload *r) {
        r->stopped = true;
}

struct reload *reload_free(struct reload *r) {
        if (!r)
                return NULL;
        reload_clear(r);
        free(r);
        return NULL;
}
