#include "client/verb.h"

/*
 * check: what stands between here and a token, and what to do about it
 *
 * bearerd finds out (bearerd --diagnose), as it reads keys, knows every rule, and makes its connections in
 * the way in which it will make them; its facts are told here as they come, or for a program as one object
 * at the end. What a daemon that runs knows is added: it has the grants.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ask.h"
#include "client/bearerd.h"
#include "client/diagnosis.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/screen.h"
#include "client/table.h"

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

#define CHECK_MARK   6  /* columns */
#define CHECK_TITLE  15 /* columns; a longer one pushes the rest of its line */
#define CHECK_INDENT (CHECK_MARK + CHECK_TITLE)

struct check {
        const struct call *call;
        struct screen screen;
        struct json_object *list; /* for a program; NULL: for people */
        size_t n[DIAGNOSIS_RESULT_MAX];
        bool own, upstream;         /* where the failures are */
        char told[256];             /* of the last failure: what it was, and its causes */
        bool ranked;                /* some failure may have more than one cause */
        struct json_object *judged; /* a result for each credential */
        char *socket;               /* of the daemon whose configuration this is */
};

/* --- for people --- */

static const struct {
        const char *mark;
        enum colour colour;
} check_marks[DIAGNOSIS_RESULT_MAX] = {
        [DIAGNOSIS_OK] = { N_("ok"), COLOUR_GOOD },
        [DIAGNOSIS_SKIP] = { "-", COLOUR_NONE },
        [DIAGNOSIS_WARN] = { N_("warn"), COLOUR_WAITING },
        [DIAGNOSIS_FAIL] = { N_("FAIL"), COLOUR_BAD },
};

/* The same trouble of another host or credential as just before, with the same causes? */
static bool check_is_told(struct check *c, struct json_object *fact, const struct diagnosis *d) {
        const char *provider = member_is(fact, "check", "credential")
                                       ? member_text(fact, "provider")
                                       : NULL;
        char told[sizeof(c->told)];
        size_t len;
        bool same;

        (void) snprintf(told, sizeof(told), "%s %s %s:", member_text(fact, "check"),
                        member_text(fact, "problem") ? member_text(fact, "problem") : "",
                        provider ? provider : "");
        for (size_t i = 0; i < d->n_causes; i++) {
                len = strlen(told);
                (void) snprintf(told + len, sizeof(told) - len, " %s", d->causes[i].id);
        }
        same = d->n_causes > 1 && strcmp(told, c->told) == 0;
        if (d->result == DIAGNOSIS_FAIL)
                strcpy(c->told, told);
        return same;
}

static void check_print(struct check *c, struct json_object *fact, const struct diagnosis *d) {
        const enum colour colour = c->screen.colour ? check_marks[d->result].colour : COLOUR_NONE;
        int at;

        (void) printf("%s", screen_colour_on(colour));
        at = table_print_label(_(check_marks[d->result].mark), CHECK_MARK);
        (void) printf("%s", screen_colour_off(colour));
        at += table_print_label(d->title, CHECK_TITLE);
        table_wrap(&c->screen, d->found, at, CHECK_INDENT);
        if (check_is_told(c, fact, d)) {
                (void) printf("%*s-> %s\n", CHECK_MARK, "", _("As above."));
                return;
        }
        for (size_t i = 0; i < d->n_causes; i++) {
                at = printf("%*s", CHECK_MARK, "");
                if (d->n_causes > 1)
                        at += printf("%zu. ", i + 1);
                else
                        at += printf("-> ");
                table_wrap(&c->screen, d->causes[i].advice, at, CHECK_MARK + 3);
        }
        (void) fflush(stdout); /* the next may take its time */
}

static void check_print_sum(const struct check *c) {
        const unsigned long failed = c->n[DIAGNOSIS_FAIL], doubtful = c->n[DIAGNOSIS_WARN];

        (void) putchar('\n');
        if (failed > 0)
                (void) printf(
                        c->ranked ? _("Failures: %lu. The causes stand in order of likelihood.\n")
                                  : _("Failures: %lu.\n"),
                        failed);
        else if (doubtful > 0)
                (void) printf(_("No failure; warnings: %lu.\n"), doubtful);
        else if (c->n[DIAGNOSIS_SKIP] > 0)
                (void) printf("%s", _("All is well, as far as it could be looked at from here.\n"));
        else
                (void) printf("%s", _("All is well.\n"));
}

/* --- for programs --- */

static int check_add_causes(struct json_object *fact, const struct diagnosis *d) {
        struct json_object *causes = json_object_new_array();
        int r = json_object_object_add(fact, "causes", causes);

        for (size_t i = 0; i < d->n_causes && r == 0; i++) {
                struct json_object *cause = json_object_new_object();

                r |= json_object_object_add(cause, "cause",
                                            json_object_new_string(d->causes[i].id));
                r |= json_object_object_add(cause, "advice",
                                            json_object_new_string(d->causes[i].advice));
                r |= json_object_array_add(causes, cause);
        }
        return r;
}

static int check_print_object(struct check *c) {
        AUTO(ask_json_putp) struct json_object *o = json_object_new_object();
        const char *result = c->n[DIAGNOSIS_FAIL] > 0   ? "fail"
                             : c->n[DIAGNOSIS_WARN] > 0 ? "warn"
                                                        : "ok";

        json_object_object_add(o, "result", json_object_new_string(result));
        json_object_object_add(o, "checks", c->list);
        c->list = NULL;
        return ask_print_object(o);
}

/* --- facts --- */

/* Takes the fact. False: it is none. */
static bool check_take(struct check *c, struct json_object *fact) {
        struct diagnosis d;
        bool good = diagnosis_make(fact, &d);

        if (!good) {
                json_object_put(fact);
                return false;
        }
        c->n[d.result]++;
        if (d.result == DIAGNOSIS_FAIL)
                *(d.upstream ? &c->upstream : &c->own) = true;
        if (d.result == DIAGNOSIS_FAIL && d.n_causes > 1)
                c->ranked = true;
        if (!c->socket && member_is(fact, "check", "configuration") && member_text(fact, "socket"))
                c->socket = strdup(member_text(fact, "socket"));
        if (member_is(fact, "check", "credential") && member_text(fact, "credential"))
                json_object_object_add(c->judged, member_text(fact, "credential"),
                                       json_object_new_string(member_text(fact, "result")));
        if (!c->list)
                check_print(c, fact, &d);
        else if (check_add_causes(fact, &d) == 0 && json_object_array_add(c->list, fact) == 0)
                return true; /* the list's */
        json_object_put(fact);
        return true;
}

static struct json_object *check_fact(const char *result, const char *problem) {
        struct json_object *fact = json_object_new_object();

        json_object_object_add(fact, "check", json_object_new_string("daemon"));
        json_object_object_add(fact, "result", json_object_new_string(result));
        if (problem)
                json_object_object_add(fact, "problem", json_object_new_string(problem));
        return fact;
}

/* --- what the daemon knows --- */

static void check_copy(struct json_object *fact, const char *key, struct json_object *o,
                       const char *from) {
        if (member_text(o, from))
                json_object_object_add(fact, key, json_object_new_string(member_text(o, from)));
}

/* What it says of a provider's last refusal. */
static void check_copy_error(struct json_object *fact, struct json_object *o) {
        static const char *const texts[] = { "error", "message", "logid", "advice" };
        struct json_object *error;

        if (!json_object_object_get_ex(o, "last_error", &error))
                return;
        for (size_t i = 0; i < N_ELEMENTS(texts); i++)
                check_copy(fact, texts[i], error, texts[i]);
        if (member_number(error, "status") > 0)
                json_object_object_add(fact, "status",
                                       json_object_new_int64(member_number(error, "status")));
}

/* Only what nobody has found out without it. */
static void check_take_credential(struct check *c, struct json_object *o) {
        static const char *const troubles[] = { "authorization_required", "expired", "failing" };
        const char *name = member_text(o, "name"), *problem = NULL;
        struct json_object *fact;

        for (size_t i = 0; i < N_ELEMENTS(troubles); i++)
                if (member_is(o, "state", troubles[i]))
                        problem = troubles[i];
        if (!problem && member_text(o, "warning"))
                problem = "expires_soon";
        if (!name || !problem || member_is(c->judged, name, "fail") ||
            member_is(c->judged, name, "warn"))
                return;
        fact = check_fact("warn", problem);
        check_copy(fact, "credential", o, "name");
        check_copy(fact, "type", o, "type");
        check_copy(fact, "provider", o, "provider");
        if (member_number(o, "expires_at") > 0)
                json_object_object_add(fact, "expires_at",
                                       json_object_new_int64(member_number(o, "expires_at")));
        if (member_is(c->judged, name, "ok"))
                json_object_object_add(fact, "works_here", json_object_new_boolean(true));
        check_copy_error(fact, o);
        (void) check_take(c, fact);
}

static void check_take_answer(struct check *c, const struct wire_answer *answer) {
        AUTO(ask_json_putp) struct json_object *o = ask_json(answer);
        struct json_object *list, *fact = check_fact("ok", NULL);

        json_object_object_add(fact, "socket", json_object_new_string(c->socket));
        (void) check_take(c, fact);
        list = member_array(o, "credentials");
        if (!list)
                return;
        for (size_t i = 0; i < json_object_array_length(list); i++)
                check_take_credential(c, json_object_array_get_idx(list, i));
}

/* The daemon at the socket of this configuration, if it runs. */
static void check_ask_daemon(struct check *c) {
        const struct wire_request request = ASK_GET(PROTOCOL_PATH_CREDENTIALS);
        struct call call = *c->call;
        struct wire_answer answer = { 0 };
        struct json_object *fact;
        int r;

        if (call.socket) {
                free(c->socket);
                c->socket = strdup(call.socket);
        }
        if (!c->socket)
                return; /* the configuration has not been read */
        call.socket = c->socket;
        r = ask_quietly(&call, &request, &answer);
        if (r == 0 && answer.status == 200)
                check_take_answer(c, &answer);
        else {
                fact = check_fact("skip", r == -EACCES || r == 0 ? "denied" : "absent");
                json_object_object_add(fact, "socket", json_object_new_string(c->socket));
                (void) check_take(c, fact);
        }
        wire_answer_done(&answer);
}

/* --- bearerd --- */

/* 0; EXIT_FAILED, and it has been said why. */
static int check_read(struct check *c, FILE *facts) {
        char *line = NULL;
        size_t size = 0;
        bool good = true;

        while (good && getline(&line, &size, facts) > 0) {
                struct json_object *fact = json_tokener_parse(line);

                good = check_take(c, fact);
        }
        free(line);
        if (good)
                return 0;
        say(_("what bearerd found out cannot be understood: is bearerctl (%s) older or newer than it?"),
            BEARERD_VERSION);
        return EXIT_FAILED;
}

/* Starts bearerd, with its facts to be read from *ret. -1: it has been said why not. */
static pid_t check_start(const struct call *call, FILE **ret) {
        int fds[2];
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                goto failed;
        (void) fflush(stdout); /* or the child has it, too */
        pid = fork();
        if (pid < 0)
                goto failed;
        if (pid == 0) {
                (void) dup2(fds[1], STDOUT_FILENO);
                _exit(bearerd_become(call, "--diagnose"));
        }
        (void) close(fds[1]);
        *ret = fdopen(fds[0], "re");
        if (*ret)
                return pid;
failed:
        say(_("cannot start bearerd: %s"), message_errno(errno));
        return -1;
}

/* Runs it to its end. 0; EXIT_FAILED, and it has been said why. */
static int check_run(struct check *c) {
        FILE *facts = NULL;
        pid_t pid = check_start(c->call, &facts);
        int r, status = 0;

        if (pid < 0)
                return EXIT_FAILED;
        r = check_read(c, facts);
        (void) fclose(facts);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (r == 0 && WIFSIGNALED(status))
                say(_("bearerd was ended by signal %d before it was done"), WTERMSIG(status));
        return r == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0) ? EXIT_FAILED : r;
}

/* "check bot": people expect a name here, as behind other verbs. */
static bool check_is_name(const char *file) {
        return file && wire_is_name(file) && !strchr(file, '.') && access(file, F_OK) < 0;
}

int verb_check(const struct call *call) {
        struct check c = { .call = call, .judged = json_object_new_object() };
        int r;

        if (check_is_name(call->file)) {
                say(_("there is no file %s: a configuration is checked, with all its credentials; without a file, the "
                      "service's"),
                    call->file);
                json_object_put(c.judged);
                return EXIT_USAGE;
        }
        if (call->form == FORM_JSON)
                c.list = json_object_new_array();
        else
                screen_look(&c.screen);
        r = check_run(&c);
        if (r == 0)
                check_ask_daemon(&c);
        if (r == 0 && c.list)
                r = check_print_object(&c);
        else if (r == 0) {
                check_print_sum(&c);
                r = finish();
        }
        json_object_put(c.list);
        json_object_put(c.judged);
        free(c.socket);
        return r != 0 ? r : c.own ? EXIT_FAILED : c.upstream ? EXIT_UPSTREAM : EXIT_DONE;
}
