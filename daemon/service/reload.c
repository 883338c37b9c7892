#include "service/reload.h"

#include <pthread.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/sandbox.h"
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
        bool busy;    /* a round is under way */
        bool again;   /* somebody wants another one, whether anybody waits for its end or not */
        bool stopped;

        /* the thread that reads has these three, until it has posted `was_read` */
        struct conf *conf;
        struct conf_report report;
        int result;
        bool reading;
        pthread_t reader;
        struct message was_read;

        /* what is got ready */
        int *fds;
        struct loopback_uses *uses;
        struct unit_doors *doors;
        struct broker_change *broker;
        struct server_change *server;
        struct message switched;
};

typedef int reload_read_fn(const char *file, enum conf_scope scope, struct conf_report *report,
                           struct conf **ret);

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

static int reload_read_by(reload_read_fn *read, const char *file, enum conf_scope scope,
                          struct conf_report *report, struct conf **ret) {
        AUTO(conf_freep) struct conf *conf = NULL;
        int r;

        r = read(file, scope, report, &conf);
        if (r == 0)
                r = reload_build_scopes(conf);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(conf);
        return 0;
}

int reload_read(const char *file, enum conf_scope scope, struct conf_report *report,
                struct conf **ret) {
        return PASS(reload_read_by(conf_load, file, scope, report, ret));
}

int reload_look(const char *file, enum conf_scope scope, struct conf_report *report,
                struct conf **ret) {
        return PASS(reload_read_by(conf_look, file, scope, report, ret));
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
        if (before->sandbox != after->sandbox)
                return why_set(why, RAISE(-EBUSY),
                               "[daemon] sandbox cannot change while bearerd runs: %s", advice);
        if (strcmp(before->key_file, after->key_file) != 0)
                return why_set(
                        why, RAISE(-EBUSY),
                        "[daemon] key_file cannot change while bearerd runs (%.120s now, %.120s in "
                        "the files): %s",
                        before->key_file, after->key_file, advice);
        return 0;
}

/* Landlock takes nothing back. Sockets are looked at where they are made: one that is handed over needs no directory. */
static int reload_check_files(const struct conf *after, struct why *why) {
        for (size_t i = 0; i < after->n_credentials; i++) {
                const struct conf_credential *c = after->credentials[i];

                if (c->token_file_out && !sandbox_may_write(c->token_file_out))
                        return why_set(
                                why, RAISE(-EBUSY),
                                "[credential %.64s] token_file_out needs a restart: since it has started, bearerd "
                                "writes only where it did then (sandbox); restart it (systemctl restart bearerd), or "
                                "choose a directory that it uses already",
                                c->name);
        }
        return 0;
}

/* Commands are bound by what binds the daemon; at start it would bind itself less for them. 0, -ENOMEM. */
static int reload_warn_of_commands(const struct conf *before, const struct conf *after,
                                   struct conf_report *report) {
        struct why why;

        for (size_t i = 0; sandbox_limits_writing() && i < after->n_credentials; i++) {
                const struct conf_credential *c = after->credentials[i];
                const struct conf_credential *old = conf_find_credential(before, c->name);

                if (!conf_runs_commands(c) || (old && conf_runs_commands(old)))
                        continue;
                (void) why_set(
                        &why, 0,
                        "[credential %.64s] its command can write only where bearerd may, which had none when it "
                        "started (sandbox): restart it (systemctl restart bearerd), if the command has to write",
                        c->name);
                return PASS(conf_report_warn(report, why.text));
        }
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

static int reload_prepare(struct reload *r, struct why *why) {
        const struct reload_parts *p = &r->parts;
        int result = r->result;

        if (result < 0) {
                const char *first = conf_report_first_error(&r->report);

                return why_set(why, PASS(result), "%s", first ? first : strerror(-result));
        }
        result = reload_check_fixed(*p->conf, r->conf, why);
        if (result == 0)
                result = reload_check_files(r->conf, why);
        if (result == 0)
                result = reload_warn_of_commands(*p->conf, r->conf, &r->report);
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
static void reload_next(struct reload *r);

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
        reload_end(r, &outcome);
        conf_report_done(&r->report);
        conf_free(before);
        reload_next(r);
}

static void reload_refuse(struct reload *r, int result, const struct why *why) {
        struct reload_outcome outcome = { .r = result, .why = why->text, .report = &r->report };

        reload_end(r, &outcome);
        reload_clear(r);
        sockets_abandon(r->parts.sockets);
        reload_next(r);
}

/* The files are read. */
static void reload_go_on(struct message *m) {
        struct reload *r = list_entry(m, struct reload, was_read);
        struct why why = { "" };
        int result;

        (void) pthread_join(r->reader, NULL); /* it has nothing left to do */
        r->reading = false;
        result = r->stopped ? why_set(&why, -ESHUTDOWN, "bearerd is stopping")
                            : reload_prepare(r, &why);
        if (result < 0) {
                reload_refuse(r, result, &why);
                return;
        }
        r->switched.run = reload_switched;
        server_switch(r->parts.server, TAKE(r->server), &r->switched);
}

static void *reload_reader(void *user) {
        struct reload *r = user;

        (void) pthread_setname_np(pthread_self(), "reload"); /* for top(1) only */
        r->result = reload_read(r->parts.file, r->parts.scope, &r->report, &r->conf);
        inbox_post(r->parts.loop, &r->was_read);
        return NULL;
}

static void reload_next(struct reload *r) {
        r->busy = false;
        if (r->again)
                reload_begin(r);
}

static void reload_begin(struct reload *r) {
        struct why why = { "" };
        int result;

        r->busy = true;
        r->again = false;
        list_move_all(&r->next, &r->current);
        list_init(&r->next);
        r->parts.tell(r->parts.user, NULL);
        r->was_read.run = reload_go_on;
        result = -pthread_create(&r->reader, NULL, reload_reader, r);
        r->reading = result == 0;
        if (result < 0)
                reload_refuse(r,
                              why_set(&why, RAISE(result), "cannot start a thread: %s",
                                      strerror(-result)),
                              &why);
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
        if (!r->busy)
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
        if (r->reading)
                (void) pthread_join(r->reader, NULL); /* nobody hears of it any more */
        reload_clear(r);
        free(r);
        return NULL;
}
