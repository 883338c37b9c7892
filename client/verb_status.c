#include "client/verb.h"

/*
 * list and status: what the daemon holds
 *
 * The daemon's JSON is shown as it came (--json), as names for scripts (list), or for people: all of
 * them at a glance (overview.h), or all about one credential. Its subjects may be a hundred thousand: they are shown page by page, each JSON object on a line.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/ask.h"
#include "client/credential.h"
#include "client/message.h"
#include "client/overview.h"
#include "client/protocol.h"
#include "client/screen.h"
#include "client/table.h"
#include "client/words.h"

#define STATUS_INDENT      10
#define STATUS_STATE_WIDTH 14 /* of the columns of subjects */
#define STATUS_GRANT_WIDTH 16
#define STATUS_PAGE        100 /* subjects in one answer */

/* One credential */

static void status_print_line(const struct screen *screen, const char *label, const char *text) {
        table_wrap(screen, text, table_print_label(label, STATUS_INDENT), STATUS_INDENT);
}

/* "in 41min 3s (2026-11-05 14:00:00 +0800)". Returns `ret`. */
static char *status_time(int64_t at, int64_t now, char ret[ASK_SHOWN_SIZE]) {
        char when[WORDS_SPAN_SIZE], date[64] = "?";
        time_t t = (time_t) at;
        struct tm tm;

        if (localtime_r(&t, &tm))
                (void) strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S %z", &tm);
        (void) snprintf(ret, ASK_SHOWN_SIZE, "%s (%s)", words_when(at, now, when), date);
        return ret;
}

static void status_print_times(struct json_object *o, const struct screen *screen, int64_t now) {
        char text[ASK_SHOWN_SIZE], line[ASK_SHOWN_SIZE + 32];
        int64_t at;

        if ((at = member_number(o, "expires_at")) >= 0)
                status_print_line(screen, _("expires"), status_time(at, now, text));
        if ((at = member_number(o, "renews_at")) >= 0)
                status_print_line(screen, _("renews"), status_time(at, now, text));
        if ((at = member_number(o, "grant_expires_at")) < 0)
                return;
        (void) snprintf(line, sizeof(line), _("expires %s"), status_time(at, now, text));
        status_print_line(screen, _("grant"), line);
}

/* How long it lasts without its provider, which may be away already. */
static void status_print_forecast(struct json_object *o, const struct screen *screen, int64_t now) {
        char span[WORDS_SPAN_SIZE], line[ASK_SENTENCE_SIZE];
        int64_t seconds = member_number(o, "survives_seconds");

        if (credential_is_down(o))
                status_print_line(screen, _("outage"), credential_outage(o, now, line));
        if (seconds <= 0 || credential_is_static(o))
                return;
        (void) snprintf(line, sizeof(line), _("%s without the provider"),
                        words_span(seconds, span));
        status_print_line(screen, _("lasts"), line);
}

static void status_print_one(struct json_object *o, int64_t now) {
        static const struct {
                const char *key, *label;
        } texts[] = { { "provider", N_("provider") },
                      { "api_url", "API" },
                      { "type", N_("type") } };
        char text[ASK_SHOWN_SIZE], line[ASK_SHOWN_SIZE + 32];
        struct screen screen;
        enum colour colour;
        int64_t subjects = member_number(o, "subjects");
        const char *state;

        screen_look(&screen);
        status_print_line(&screen, _("name"), ask_shown(o, "name", text));
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                if (member_text(o, texts[i].key))
                        status_print_line(&screen, _(texts[i].label),
                                          ask_shown(o, texts[i].key, text));
        state = credential_state(o, screen.colour, &colour, text);
        (void) table_print_label(_("state"), STATUS_INDENT);
        (void) printf("%s%s%s\n", screen_colour_on(colour), state, screen_colour_off(colour));
        if (member_text(o, "fingerprint")) {
                (void) snprintf(line, sizeof(line),
                                member_number(o, "expires_at") < 0 ? _("%s, never expires") : "%s",
                                ask_shown(o, "fingerprint", text));
                status_print_line(&screen, _("token"), line);
        }
        status_print_times(o, &screen, now);
        status_print_forecast(o, &screen, now);
        if (subjects > 0) {
                (void) snprintf(line, sizeof(line), "%" PRId64, subjects);
                status_print_line(&screen, _("subjects"), line);
        }
        if (credential_trouble(o, now, text))
                status_print_line(&screen, _("trouble"), text);
        if (credential_advice(o, now, text))
                status_print_line(&screen, _("note"), text);
}

/* The verbs */

static int status_ask(const struct call *call, struct wire_answer *ret) {
        struct wire_path path = { .text = PROTOCOL_PATH_CREDENTIALS };
        const struct wire_request request = ASK_GET(path.text);

        if (call->name)
                (void) wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", call->name,
                                       ""); /* a valid name */
        return ask(call, &request, ret);
}

int verb_list(const struct call *call) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct json_object *list;
        char name[ASK_SHOWN_SIZE];
        int r;

        r = status_ask(call, &answer);
        if (r != EXIT_DONE)
                return r;
        o = ask_json(&answer);
        if (!ask_list(o, "credentials", &list))
                return EXIT_FAILED;
        for (size_t i = 0; i < json_object_array_length(list); i++)
                (void) puts(ask_shown(json_object_array_get_idx(list, i), "name", name));
        return finish();
}

/* Subjects */

static void status_print_titles(void) {
        (void) table_print_label(_("STATE"), STATUS_STATE_WIDTH);
        (void) table_print_label(_("GRANT ENDS"), STATUS_GRANT_WIDTH);
        (void) puts(_("SUBJECT"));
}

static void status_print_subject(struct json_object *o, const struct screen *screen, int64_t now) {
        char text[ASK_SHOWN_SIZE], when[WORDS_SPAN_SIZE] = "-";
        const int64_t grant = member_number(o, "grant_expires_at");
        enum colour colour;
        const char *state;

        if (grant >= 0)
                (void) words_when(grant, now, when);
        state = credential_state(o, screen->colour, &colour, text);
        (void) fputs(screen_colour_on(colour), stdout);
        (void) table_print_label(state, STATUS_STATE_WIDTH);
        (void) fputs(screen_colour_off(colour), stdout);
        (void) table_print_label(when, STATUS_GRANT_WIDTH);
        (void) puts(ask_shown(o, "subject", text));
}

/* Prints a page; `after` becomes where the next one begins, or ""; *ret_n grows. An exit code. */
static int status_print_page(const struct call *call, const struct screen *screen,
                             char after[ASK_SHOWN_SIZE], size_t *ret_n) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct wire_path path;
        const struct wire_request request = ASK_GET(path.text);
        struct json_object *list;
        const char *next;
        int r;

        (void) wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", call->name,
                               "/subjects");                      /* a valid name */
        (void) wire_path_add_number(&path, "limit", STATUS_PAGE); /* fits */
        if (*after && wire_path_add(&path, "after", after) < 0) {
                say(_("%s: what the daemon sent as the next page is too long"), call->name);
                return EXIT_FAILED;
        }
        r = ask(call, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        o = ask_json(&answer);
        if (!ask_list(o, "subjects", &list))
                return EXIT_FAILED;
        for (size_t i = 0; i < json_object_array_length(list) && r == EXIT_DONE; i++) {
                struct json_object *subject = json_object_array_get_idx(list, i);

                if (call->form == FORM_JSON)
                        r = ask_print_object(subject);
                else {
                        if (*ret_n == 0)
                                status_print_titles();
                        status_print_subject(subject, screen, time(NULL));
                }
                ++*ret_n;
        }
        if (r != EXIT_DONE)
                return r;
        next = member_text(o, "next");
        if (next && (strlen(next) >= ASK_SHOWN_SIZE || strcmp(next, after) == 0)) {
                say(_("%s: the daemon's pages do not end: see journalctl -u bearerd"), call->name);
                return EXIT_FAILED;
        }
        strcpy(after, next ? next : "");
        return EXIT_DONE;
}

static int status_print_subjects(const struct call *call) {
        char after[ASK_SHOWN_SIZE] = "";
        struct screen screen;
        size_t n = 0;
        int r;

        screen_look(&screen);
        do {
                r = status_print_page(call, &screen, after, &n);
        } while (r == EXIT_DONE && *after && !ferror(stdout));
        if (r != EXIT_DONE)
                return r;
        if (n == 0 && call->form != FORM_JSON)
                say(_("%s: nobody has authorized it"), call->name);
        return finish();
}

int verb_status(const struct call *call) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct json_object *list;
        int r;

        if (call->subjects && !call->name) {
                say(_("status: whose subjects? bearerctl status NAME --subjects"));
                return EXIT_USAGE;
        }
        if (call->subjects)
                return status_print_subjects(call);
        r = status_ask(call, &answer);
        if (r != EXIT_DONE)
                return r;
        o = ask_json(&answer);
        if (call->name ? !o : !ask_list(o, "credentials", &list)) {
                if (call->name)
                        say(_("%s: what the daemon sent is not a state"), call->name);
                return EXIT_FAILED;
        }
        if (call->form == FORM_JSON)
                return ask_print_json(answer.body, answer.body_len);
        if (call->name)
                status_print_one(o, time(NULL));
        else if (json_object_array_length(list) == 0)
                say(_("there is no credential that you may use: the operator adds a "
                      "[credential NAME] section, or allows you in one"));
        else
                overview_print(list, time(NULL));
        return finish();
}
