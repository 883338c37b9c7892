#include "client/verb.h"

/*
 * list and status: what the daemon holds
 *
 * The daemon's JSON is shown as it came (--json), as names for scripts (list), or for people: a
 * table that fits 80 columns with what needs attention below it, or all about one credential. Its
 * subjects may be a hundred thousand: they are shown page by page, each JSON object on a line.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/ask.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/screen.h"
#include "client/table.h"
#include "client/words.h"

#define STATUS_PAGE 100 /* subjects in one answer */

static const struct {
        const char *name;  /* in the daemon's answer */
        const char *shown; /* to people */
        enum colour colour;
} status_states[] = {
        { "ready", "ready", COLOUR_GOOD },
        { "idle", "idle", COLOUR_NONE },
        { "renewing", "renewing", COLOUR_WAITING },
        { "failing", "failing", COLOUR_BAD },
        { "expired", "expired", COLOUR_BAD },
        { "authorization_required", "unauthorized", COLOUR_BAD },
};

static const char *status_state(struct json_object *o, bool coloured, enum colour *ret_colour,
                                char ret[ASK_SHOWN_SIZE]) {
        *ret_colour = COLOUR_NONE;
        for (size_t i = 0; i < sizeof(status_states) / sizeof(status_states[0]); i++)
                if (ask_is(o, "state", status_states[i].name)) {
                        if (coloured)
                                *ret_colour = status_states[i].colour;
                        return status_states[i].shown;
                }
        return ask_shown(o, "state", ret); /* of a newer daemon */
}

/* "in 53min 2s", "never", "-": there is no token. Returns `ret`. */
static char *status_expiry(struct json_object *o, int64_t now, char ret[WORDS_SPAN_SIZE]) {
        int64_t at = ask_number(o, "expires_at");

        if (at >= 0)
                return words_when(at, now, ret);
        return strcpy(ret, ask_text(o, "fingerprint") ? "never" : "-");
}

/* What last went wrong, or NULL: "HTTP 503: busy (2h ago). Wait." of an object, or a sentence. */
static const char *status_trouble(struct json_object *o, int64_t now, char ret[ASK_SHOWN_SIZE]) {
        char said[ASK_SENTENCE_SIZE], when[WORDS_SPAN_SIZE] = "", advice[ASK_SENTENCE_SIZE] = "";
        struct json_object *trouble;

        if (ask_text(o, "last_error"))
                return ask_shown(o, "last_error", ret);
        if (!json_object_object_get_ex(o, "last_error", &trouble) ||
            !json_object_is_type(trouble, json_type_object))
                return NULL;
        (void) ask_refusal(trouble, said);
        if (ask_number(trouble, "at") >= 0)
                (void) words_when(ask_number(trouble, "at"), now, when);
        if (ask_text(trouble, "advice"))
                (void) words_clean(ask_text(trouble, "advice"), advice, sizeof(advice));
        (void) snprintf(ret, ASK_SHOWN_SIZE, "%s%s%s%s%s%s", *said ? said : "the provider failed",
                        *when ? " (" : "", when, *when ? ")" : "", *advice ? ". " : "", advice);
        return ret;
}

/* What a person should know or do, in a sentence, or NULL. */
static const char *status_advice(struct json_object *o, char ret[ASK_SHOWN_SIZE]) {
        const bool is_static = ask_is(o, "type", "pat") || ask_is(o, "type", "sat");
        const bool unauthorized = ask_is(o, "state", "authorization_required");
        char name[ASK_SHOWN_SIZE];

        if (ask_text(o, "warning"))
                return ask_shown(o, "warning", ret);
        if (!unauthorized && !(is_static && ask_is(o, "state", "expired")))
                return NULL;
        (void) snprintf(ret, ASK_SHOWN_SIZE,
                        is_static ? "make a new token in Coze's console, then: bearerctl set %.64s"
                                  : "a person must authorize it: bearerctl login %.64s",
                        ask_shown(o, "name", name));
        return ret;
}

/* What needs attention: the advice, for what needs a person; else what went wrong and is not over.
 * NULL: nothing. */
static const char *status_attention(struct json_object *o, int64_t now, char ret[ASK_SHOWN_SIZE]) {
        char trouble[ASK_SHOWN_SIZE], name[ASK_SHOWN_SIZE], command[128];
        const char *advice = status_advice(o, ret);

        if (!advice && !ask_is(o, "state", "ready") && !ask_is(o, "state", "idle"))
                return status_trouble(o, now, ret);
        (void) snprintf(command, sizeof(command), "bearerctl login %.64s",
                        ask_shown(o, "name", name));
        if (!advice || !strstr(advice, command) || !status_trouble(o, now, trouble))
                return advice;
        if (strstr(trouble, command)) /* it says so itself */
                return strcpy(ret, trouble);
        (void) snprintf(ret, ASK_SHOWN_SIZE, "%.1900s%s To authorize again: %s", trouble,
                        trouble[strlen(trouble) - 1] == '.' ? "" : ".", command);
        return ret;
}

/* The table */

enum column {
        COLUMN_NAME,
        COLUMN_PROVIDER,
        COLUMN_TYPE,
        COLUMN_STATE,
        COLUMN_EXPIRES,
        COLUMN_MAX,
};

static const char *const status_titles[COLUMN_MAX] = { "NAME", "PROVIDER", "TYPE", "STATE",
                                                       "EXPIRES" };

struct status_row {
        char texts[COLUMN_MAX][ASK_SHOWN_SIZE];
        const char *cells[COLUMN_MAX];
        enum colour colour; /* of the state */
};

static void status_make_row(struct json_object *o, int64_t now, bool coloured,
                            struct status_row *ret) {
        ret->cells[COLUMN_NAME] = ask_shown(o, "name", ret->texts[COLUMN_NAME]);
        ret->cells[COLUMN_PROVIDER] = ask_shown(o, "provider", ret->texts[COLUMN_PROVIDER]);
        ret->cells[COLUMN_TYPE] = ask_shown(o, "type", ret->texts[COLUMN_TYPE]);
        ret->cells[COLUMN_STATE] = status_state(o, coloured, &ret->colour,
                                                ret->texts[COLUMN_STATE]);
        ret->cells[COLUMN_EXPIRES] = status_expiry(o, now, ret->texts[COLUMN_EXPIRES]);
}

static void status_print_table(struct json_object *list, int64_t now) {
        static const struct table_yield yielding[] = { { COLUMN_NAME, 16 },
                                                       { COLUMN_PROVIDER, 8 },
                                                       { COLUMN_NAME, 4 },
                                                       { COLUMN_TYPE, 4 },
                                                       { COLUMN_STATE, 5 } };
        struct table table = { .columns = COLUMN_MAX };
        char name[ASK_SHOWN_SIZE], attention[ASK_SHOWN_SIZE];
        struct status_row row;
        struct screen screen;
        bool any = false;

        screen_look(&screen);
        table_measure(&table, status_titles);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                status_make_row(json_object_array_get_idx(list, i), now, false, &row);
                table_measure(&table, row.cells);
        }
        table_fit(&table, yielding, sizeof(yielding) / sizeof(yielding[0]));
        table_print(&table, status_titles, COLUMN_STATE, COLOUR_NONE);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                status_make_row(json_object_array_get_idx(list, i), now, screen.colour, &row);
                table_print(&table, row.cells, COLUMN_STATE, row.colour);
        }
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *o = json_object_array_get_idx(list, i);
                const char *text = status_attention(o, now, attention);

                if (!text)
                        continue;
                if (!any)
                        (void) putchar('\n');
                any = true;
                table_wrap(text, printf("%s: ", ask_shown(o, "name", name)) - 1, 4);
        }
}

/* One credential */

static void status_print_line(const char *label, const char *text) {
        table_wrap(text, printf("%-9s ", label), 10);
}

/* "in 41min 3s (2026-11-05 14:00:00 +0800)" */
static void status_print_time(const char *label, const char *verb, int64_t at, int64_t now) {
        char when[WORDS_SPAN_SIZE], date[64] = "?", text[ASK_SHOWN_SIZE];
        time_t t = (time_t) at;
        struct tm tm;

        if (at < 0)
                return;
        if (localtime_r(&t, &tm))
                (void) strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S %z", &tm);
        (void) snprintf(text, sizeof(text), "%s%s (%s)", verb, words_when(at, now, when), date);
        status_print_line(label, text);
}

/* How long it lasts without its provider, which may be away already. */
static void status_print_forecast(struct json_object *o, int64_t now) {
        char span[WORDS_SPAN_SIZE], line[ASK_SHOWN_SIZE];
        int64_t seconds = ask_number(o, "survives_seconds");

        if (ask_is(o, "provider_state", "open") || ask_is(o, "provider_state", "half_open")) {
                const int64_t at = ask_number(o, "provider_retry_at");

                (void) snprintf(line, sizeof(line), "the provider is down; the next try is %s",
                                at > now ? words_when(at, now, span) : "under way");
                status_print_line("outage", line);
        }
        if (seconds <= 0)
                return;
        (void) snprintf(line, sizeof(line), "%s without the provider", words_span(seconds, span));
        status_print_line("lasts", line);
}

static void status_print_one(struct json_object *o, int64_t now) {
        static const struct {
                const char *key, *label;
        } texts[] = { { "provider", "provider" }, { "api_url", "API" }, { "type", "type" } };
        char text[ASK_SHOWN_SIZE], line[ASK_SHOWN_SIZE + 32];
        struct screen screen;
        enum colour colour;
        int64_t subjects = ask_number(o, "subjects");
        const char *state;

        status_print_line("name", ask_shown(o, "name", text));
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                if (ask_text(o, texts[i].key))
                        status_print_line(texts[i].label, ask_shown(o, texts[i].key, text));
        screen_look(&screen);
        state = status_state(o, screen.colour, &colour, text);
        (void) printf("%-9s %s%s%s\n", "state", screen_colour_on(colour), state,
                      screen_colour_off(colour));
        if (ask_text(o, "fingerprint")) {
                (void) snprintf(line, sizeof(line), "%s%s", ask_shown(o, "fingerprint", text),
                                ask_number(o, "expires_at") < 0 ? ", never expires" : "");
                status_print_line("token", line);
        }
        status_print_time("expires", "", ask_number(o, "expires_at"), now);
        status_print_time("renews", "", ask_number(o, "renews_at"), now);
        status_print_time("grant", "expires ", ask_number(o, "grant_expires_at"), now);
        status_print_forecast(o, now);
        if (subjects > 0)
                (void) printf("%-9s %" PRId64 "\n", "subjects", subjects);
        if (status_trouble(o, now, text))
                status_print_line("trouble", text);
        if (status_advice(o, text))
                status_print_line("note", text);
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

static void status_print_subject(struct json_object *o, const struct screen *screen, int64_t now) {
        char text[ASK_SHOWN_SIZE], when[WORDS_SPAN_SIZE] = "-";
        const int64_t grant = ask_number(o, "grant_expires_at");
        enum colour colour;
        const char *state;

        if (grant >= 0)
                (void) words_when(grant, now, when);
        state = status_state(o, screen->colour, &colour, text);
        (void) printf("%s%-12s%s  %-12s", screen_colour_on(colour), state,
                      screen_colour_off(colour), when);
        (void) printf("  %s\n", ask_shown(o, "subject", text));
}

/* Prints a page; `after` becomes where the next one begins, or "". An exit code. */
static int status_print_page(const struct call *call, const struct screen *screen,
                             char after[ASK_SHOWN_SIZE]) {
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
                else
                        status_print_subject(subject, screen, time(NULL));
        }
        if (r != EXIT_DONE)
                return r;
        next = ask_text(o, "next");
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
        int r;

        screen_look(&screen);
        if (call->form != FORM_JSON)
                (void) printf("%-12s  %-12s  %s\n", "STATE", "GRANT ENDS", "SUBJECT");
        do {
                r = status_print_page(call, &screen, after);
        } while (r == EXIT_DONE && *after && !ferror(stdout));
        return r == EXIT_DONE ? finish() : r;
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
                status_print_table(list, time(NULL));
        return finish();
}
