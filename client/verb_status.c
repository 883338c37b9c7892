#include "client/verb.h"

/*
 * list and status: what the daemon holds
 *
 * The daemon's JSON is shown as it came (--json), as names for scripts (list), or for people: a
 * table that fits 80 columns with what needs attention below it, or all about one credential.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ask.h"
#include "client/protocol.h"
#include "client/words.h"

#define STATUS_LIST_MAX (32 * 1024 * 1024) /* bytes of the list of all credentials */
#define STATUS_WIDTH    80
#define STATUS_TEXT     (2 * ASK_SENTENCE_SIZE + 64)

enum colour {
        COLOUR_NONE,
        COLOUR_GOOD,
        COLOUR_WAITING,
        COLOUR_BAD,
};

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

static const struct {
        const char *on, *off;
} status_colours[] = {
        [COLOUR_NONE] = { "", "" },
        [COLOUR_GOOD] = { "\033[32m", "\033[0m" },
        [COLOUR_WAITING] = { "\033[33m", "\033[0m" },
        [COLOUR_BAD] = { "\033[31m", "\033[0m" },
};

static bool status_in_colour(void) {
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

        return isatty(STDOUT_FILENO) && !(no_color && *no_color) &&
               !(term && strcmp(term, "dumb") == 0);
}

/* Text from the daemon, fit for a terminal; "-" when it is absent. Returns `ret`. */
static char *status_text(struct json_object *o, const char *key, char ret[STATUS_TEXT]) {
        const char *text = ask_text(o, key);

        return words_clean(text && *text ? text : "-", ret, STATUS_TEXT);
}

static bool status_is(struct json_object *o, const char *key, const char *value) {
        const char *text = ask_text(o, key);

        return text && strcmp(text, value) == 0;
}

static const char *status_state(struct json_object *o, bool coloured, enum colour *ret_colour,
                                char ret[STATUS_TEXT]) {
        *ret_colour = COLOUR_NONE;
        for (size_t i = 0; i < sizeof(status_states) / sizeof(status_states[0]); i++)
                if (status_is(o, "state", status_states[i].name)) {
                        if (coloured)
                                *ret_colour = status_states[i].colour;
                        return status_states[i].shown;
                }
        return status_text(o, "state", ret); /* of a newer daemon */
}

/* "in 53min 2s", "never", "-": there is no token. Returns `ret`. */
static char *status_expiry(struct json_object *o, int64_t now, char ret[WORDS_SPAN_SIZE]) {
        int64_t at = ask_number(o, "expires_at");

        if (at >= 0)
                return words_when(at, now, ret);
        return strcpy(ret, ask_text(o, "fingerprint") ? "never" : "-");
}

/* What last went wrong, or NULL: "HTTP 503: busy (2h ago). Wait." of an object, or a sentence. */
static const char *status_trouble(struct json_object *o, int64_t now, char ret[STATUS_TEXT]) {
        char said[ASK_SENTENCE_SIZE], when[WORDS_SPAN_SIZE] = "", advice[ASK_SENTENCE_SIZE] = "";
        struct json_object *trouble;

        if (ask_text(o, "last_error"))
                return status_text(o, "last_error", ret);
        if (!json_object_object_get_ex(o, "last_error", &trouble) ||
            !json_object_is_type(trouble, json_type_object))
                return NULL;
        (void) ask_refusal(trouble, said);
        if (ask_number(trouble, "at") >= 0)
                (void) words_when(ask_number(trouble, "at"), now, when);
        if (ask_text(trouble, "advice"))
                (void) words_clean(ask_text(trouble, "advice"), advice, sizeof(advice));
        (void) snprintf(ret, STATUS_TEXT, "%s%s%s%s%s%s", *said ? said : "the provider failed",
                        *when ? " (" : "", when, *when ? ")" : "", *advice ? ". " : "", advice);
        return ret;
}

/* What a person should know or do, in a sentence, or NULL. */
static const char *status_advice(struct json_object *o, int64_t now, char ret[STATUS_TEXT]) {
        const bool is_static = status_is(o, "type", "pat") || status_is(o, "type", "sat");
        char name[STATUS_TEXT];

        if (ask_text(o, "warning"))
                return status_text(o, "warning", ret);
        if (is_static &&
            (status_is(o, "state", "expired") || status_is(o, "state", "authorization_required"))) {
                (void) snprintf(ret, STATUS_TEXT,
                                "make a new token in Coze's console, then: bearerctl set %.64s",
                                status_text(o, "name", name));
                return ret;
        }
        if (status_is(o, "state", "ready") || status_is(o, "state", "idle"))
                return NULL; /* what went wrong is over */
        return status_trouble(o, now, ret);
}

/* How many columns the first `len` bytes of UTF-8 take, near enough: a character, a column. */
static int status_columns(const char *text, size_t len) {
        int n = 0;

        for (size_t i = 0; i < len; i++)
                n += ((unsigned char) text[i] & 0xc0) != 0x80;
        return n;
}

/* Prints words from column `at` on, further lines from column `indent` on. */
static void status_wrap(const char *text, int at, int indent) {
        bool fresh = true;

        for (size_t len; *text; text += len) {
                int width;

                text += strspn(text, " ");
                len = strcspn(text, " ");
                width = status_columns(text, len);
                if (len == 0)
                        break;
                if (!fresh && at + 1 + width > STATUS_WIDTH) {
                        (void) printf("\n%*s", indent, "");
                        at = indent;
                        fresh = true;
                }
                at += printf("%s%.*s", fresh ? "" : " ", (int) len, text) - (int) len + width;
                fresh = false;
        }
        (void) putchar('\n');
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

static void status_cells(struct json_object *o, int64_t now, bool coloured, enum colour *ret_colour,
                         char cells[COLUMN_MAX][STATUS_TEXT]) {
        char state[STATUS_TEXT];

        (void) status_text(o, "name", cells[COLUMN_NAME]);
        (void) status_text(o, "provider", cells[COLUMN_PROVIDER]);
        (void) status_text(o, "type", cells[COLUMN_TYPE]);
        strcpy(cells[COLUMN_STATE], status_state(o, coloured, ret_colour, state));
        (void) status_expiry(o, now, cells[COLUMN_EXPIRES]);
}

/* As wide as the widest cell; names, then providers give way until all fit. */
static void status_measure(struct json_object *list, int64_t now, int widths[COLUMN_MAX]) {
        static const struct {
                enum column column;
                int least;
        } yielding[] = { { COLUMN_NAME, 16 },
                         { COLUMN_PROVIDER, 8 },
                         { COLUMN_NAME, 4 },
                         { COLUMN_TYPE, 4 },
                         { COLUMN_STATE, 5 } };
        char cells[COLUMN_MAX][STATUS_TEXT];
        enum colour unused;
        int over = 2 * (COLUMN_MAX - 1) - STATUS_WIDTH;

        for (int c = 0; c < COLUMN_MAX; c++)
                widths[c] = (int) strlen(status_titles[c]);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                status_cells(json_object_array_get_idx(list, i), now, false, &unused, cells);
                for (int c = 0; c < COLUMN_MAX; c++) {
                        int width = status_columns(cells[c], strlen(cells[c]));

                        if (width > widths[c])
                                widths[c] = width;
                }
        }
        for (int c = 0; c < COLUMN_MAX; c++)
                over += widths[c];
        for (size_t i = 0; i < sizeof(yielding) / sizeof(yielding[0]) && over > 0; i++) {
                int *width = &widths[yielding[i].column];
                int spare = *width - yielding[i].least, cut = spare < over ? spare : over;

                if (cut > 0) {
                        *width -= cut;
                        over -= cut;
                }
        }
}

/* Prints a cell, cut with a "~" if it is too wide; padded, unless it is the last of its row. */
static void status_print_cell(const char *text, int width, bool last, enum colour colour) {
        int columns = status_columns(text, strlen(text));

        (void) fputs(status_colours[colour].on, stdout);
        if (columns > width) {
                for (int n = 0; *text; text++) {
                        n += ((unsigned char) *text & 0xc0) != 0x80;
                        if (n == width)
                                break;
                        (void) putchar(*text);
                }
                (void) putchar('~');
        } else
                (void) fputs(text, stdout);
        (void) fputs(status_colours[colour].off, stdout);
        if (last)
                (void) putchar('\n');
        else
                (void) printf("%*s", (columns > width ? 0 : width - columns) + 2, "");
}

static void status_print_table(struct json_object *list, int64_t now) {
        const bool coloured = status_in_colour();
        char cells[COLUMN_MAX][STATUS_TEXT], name[STATUS_TEXT], advice[STATUS_TEXT];
        int widths[COLUMN_MAX];
        bool any = false;

        status_measure(list, now, widths);
        for (int c = 0; c < COLUMN_MAX; c++)
                status_print_cell(status_titles[c], widths[c], c + 1 == COLUMN_MAX, COLOUR_NONE);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                enum colour colour;

                status_cells(json_object_array_get_idx(list, i), now, coloured, &colour, cells);
                for (int c = 0; c < COLUMN_MAX; c++)
                        status_print_cell(cells[c], widths[c], c + 1 == COLUMN_MAX,
                                          c == COLUMN_STATE ? colour : COLOUR_NONE);
        }
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *o = json_object_array_get_idx(list, i);
                const char *text = status_advice(o, now, advice);

                if (!text)
                        continue;
                if (!any)
                        (void) putchar('\n');
                any = true;
                status_wrap(text, printf("%s: ", status_text(o, "name", name)) - 1, 4);
        }
}

/* One credential */

static void status_print_line(const char *label, const char *text) {
        status_wrap(text, printf("%-9s ", label), 10);
}

/* "in 41min 3s (2026-11-05 14:00:00 +0800)" */
static void status_print_time(const char *label, const char *verb, int64_t at, int64_t now) {
        char when[WORDS_SPAN_SIZE], date[64] = "?", text[STATUS_TEXT];
        time_t t = (time_t) at;
        struct tm tm;

        if (at < 0)
                return;
        if (localtime_r(&t, &tm))
                (void) strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S %z", &tm);
        (void) snprintf(text, sizeof(text), "%s%s (%s)", verb, words_when(at, now, when), date);
        status_print_line(label, text);
}

static void status_print_one(struct json_object *o, int64_t now) {
        static const struct {
                const char *key, *label;
        } texts[] = { { "provider", "provider" }, { "api_url", "API" }, { "type", "type" } };
        char text[STATUS_TEXT], line[STATUS_TEXT + 32], trouble[STATUS_TEXT] = "";
        enum colour colour;
        int64_t subjects = ask_number(o, "subjects");
        const char *state;

        status_print_line("name", status_text(o, "name", text));
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                if (ask_text(o, texts[i].key))
                        status_print_line(texts[i].label, status_text(o, texts[i].key, text));
        state = status_state(o, status_in_colour(), &colour, text);
        (void) printf("%-9s %s%s%s\n", "state", status_colours[colour].on, state,
                      status_colours[colour].off);
        if (ask_text(o, "fingerprint")) {
                (void) snprintf(line, sizeof(line), "%s%s", status_text(o, "fingerprint", text),
                                ask_number(o, "expires_at") < 0 ? ", never expires" : "");
                status_print_line("token", line);
        }
        status_print_time("expires", "", ask_number(o, "expires_at"), now);
        status_print_time("renews", "", ask_number(o, "renews_at"), now);
        status_print_time("grant", "expires ", ask_number(o, "grant_expires_at"), now);
        if (subjects > 0)
                (void) printf("%-9s %" PRId64 "\n", "subjects", subjects);
        if (status_trouble(o, now, trouble))
                status_print_line("trouble", trouble);
        if (status_advice(o, now, text) && strcmp(text, trouble) != 0)
                status_print_line("note", text);
}

/* The verbs */

static int status_ask(const struct call *call, struct wire_answer *ret) {
        struct wire_path path = { .text = PROTOCOL_PATH_CREDENTIALS };
        const struct wire_request request = { .method = "GET",
                                              .path = path.text,
                                              .accept = "application/json",
                                              .answer_max = STATUS_LIST_MAX,
                                              .timeout_us = ASK_TIMEOUT_S * INT64_C(1000000) };

        if (call->name)
                (void) wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", call->name,
                                       ""); /* a valid name */
        return ask(call, &request, ret);
}

/* False: it has been said that there is no such list. Borrowed from `o`. */
static bool status_get_list(struct json_object *o, struct json_object **ret) {
        if (json_object_object_get_ex(o, "credentials", ret) &&
            json_object_is_type(*ret, json_type_array))
                return true;
        say("what the daemon sent is not a list of credentials: is bearerctl (" BEARERD_VERSION
            ") older or newer than bearerd?");
        return false;
}

int verb_list(const struct call *call) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct json_object *list;
        char name[STATUS_TEXT];
        int r;

        r = status_ask(call, &answer);
        if (r != EXIT_DONE)
                return r;
        o = ask_json(&answer);
        if (!status_get_list(o, &list))
                return EXIT_FAILED;
        for (size_t i = 0; i < json_object_array_length(list); i++)
                (void) puts(status_text(json_object_array_get_idx(list, i), "name", name));
        return finish();
}

int verb_status(const struct call *call) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct json_object *list;
        int r;

        r = status_ask(call, &answer);
        if (r != EXIT_DONE)
                return r;
        o = ask_json(&answer);
        if (call->name ? !o : !status_get_list(o, &list)) {
                if (call->name)
                        say("%s: what the daemon sent is not a state", call->name);
                return EXIT_FAILED;
        }
        if (call->form == FORM_JSON) {
                (void) fwrite(answer.body, 1, answer.body_len, stdout);
                (void) fputs(answer.body[answer.body_len - 1] == '\n' ? "" : "\n", stdout);
        } else if (call->name)
                status_print_one(o, time(NULL));
        else if (json_object_array_length(list) == 0)
                say("there is no credential that you may use: the operator adds a "
                    "[credential NAME] section, or allows you in one");
        else
                status_print_table(list, time(NULL));
        return finish();
}
