#include "client/overview.h"

#include <stdio.h>
#include <string.h>

#include "client/columns.h"
#include "client/credential.h"
#include "client/message.h"
#include "client/table.h"
#include "client/words.h"

#define OVERVIEW_NAMES                                                                             \
        3 /* are told of those that share a trouble; or a fourth instead of "1 more" */
#define OVERVIEW_INDENT 4

/* The table */

enum column {
        COLUMN_NAME,
        COLUMN_PROVIDER,
        COLUMN_TYPE,
        COLUMN_STATE,
        COLUMN_EXPIRES,
        COLUMN_MAX,
};

static const char *const overview_titles[COLUMN_MAX] = { N_("NAME"), N_("PROVIDER"), N_("TYPE"),
                                                         N_("STATE"), N_("EXPIRES") };

struct overview_row {
        char texts[COLUMN_MAX][ASK_SHOWN_SIZE];
        const char *cells[COLUMN_MAX];
        enum colour colour; /* of the state */
};

static void overview_make_row(struct json_object *o, int64_t now, bool coloured,
                              struct overview_row *ret) {
        ret->cells[COLUMN_NAME] = ask_shown(o, "name", ret->texts[COLUMN_NAME]);
        ret->cells[COLUMN_PROVIDER] = ask_shown(o, "provider", ret->texts[COLUMN_PROVIDER]);
        ret->cells[COLUMN_TYPE] = ask_shown(o, "type", ret->texts[COLUMN_TYPE]);
        ret->cells[COLUMN_STATE] = credential_state(o, coloured, &ret->colour,
                                                    ret->texts[COLUMN_STATE]);
        ret->cells[COLUMN_EXPIRES] = credential_expiry(o, now, ret->texts[COLUMN_EXPIRES]);
}

struct overview {
        struct json_object *list;
        struct screen screen;
        int64_t now;
        bool noted; /* something stands below the table */
};

static void overview_print_table(const struct overview *v) {
        static const struct table_yield yielding[] = {
                { COLUMN_NAME, 16 },    { COLUMN_PROVIDER, 8 }, { COLUMN_TYPE, 0 },
                { COLUMN_PROVIDER, 0 }, { COLUMN_NAME, 4 },     { COLUMN_STATE, 5 },
        };
        const size_t n = json_object_array_length(v->list);
        struct table table = { .columns = COLUMN_MAX };
        const char *titles[COLUMN_MAX];
        struct overview_row row;

        for (int c = 0; c < COLUMN_MAX; c++)
                titles[c] = _(overview_titles[c]);
        table_measure(&table, titles);
        for (size_t i = 0; i < n; i++) {
                overview_make_row(json_object_array_get_idx(v->list, i), v->now, false, &row);
                table_measure(&table, row.cells);
        }
        table_fit(&table, &v->screen, yielding, sizeof(yielding) / sizeof(yielding[0]));
        table_print(&table, titles, COLUMN_STATE, COLOUR_NONE);
        for (size_t i = 0; i < n; i++) {
                overview_make_row(json_object_array_get_idx(v->list, i), v->now, v->screen.colour,
                                  &row);
                table_print(&table, row.cells, COLUMN_STATE, row.colour);
        }
}

/* "WHO: text", below the table. */
static void overview_print_note(struct overview *v, const char *who, enum colour colour,
                                const char *text) {
        if (!v->noted)
                (void) putchar('\n');
        v->noted = true;
        (void) printf("%s%s%s: ", screen_colour_on(colour), who, screen_colour_off(colour));
        table_wrap(&v->screen, text, columns_count(who, strlen(who)) + 2, OVERVIEW_INDENT);
}

/* Providers */

/* Of the credentials of a provider: the one whose own token is the first to end. NULL: none ends. */
static struct json_object *overview_first_to_end(const struct overview *v, const char *provider) {
        struct json_object *first = NULL;
        int64_t least = INT64_MAX;

        for (size_t i = 0; i < json_object_array_length(v->list); i++) {
                struct json_object *o = json_object_array_get_idx(v->list, i);
                const int64_t seconds = member_number(o, "survives_seconds");

                if (seconds > 0 && seconds < least && member_is(o, "provider", provider) &&
                    !credential_is_static(o)) {
                        first = o;
                        least = seconds;
                }
        }
        return first;
}

/* How the provider of `o` is, and how long it can be done without. */
static void overview_print_provider(struct overview *v, struct json_object *o) {
        const bool down = credential_is_down(o);
        struct json_object *first = overview_first_to_end(v, member_text(o, "provider"));
        char provider[ASK_SHOWN_SIZE], name[ASK_SHOWN_SIZE], outage[ASK_SENTENCE_SIZE];
        char span[WORDS_SPAN_SIZE], text[2 * ASK_SHOWN_SIZE];

        if (!down && !first)
                return;
        if (first) {
                (void) words_span(member_number(first, "survives_seconds"), span);
                (void) ask_shown(first, "name", name);
        }
        if (!down)
                (void) snprintf(text, sizeof(text),
                                _("up; without it, the first token would end in %s (%s)"), span,
                                name);
        else if (first)
                (void) snprintf(text, sizeof(text), _("%s; the first token ends in %s (%s)"),
                                credential_outage(o, v->now, outage), span, name);
        else
                (void) snprintf(text, sizeof(text), _("%s; no token is left"),
                                credential_outage(o, v->now, outage));
        overview_print_note(v, ask_shown(o, "provider", provider),
                            down && v->screen.colour ? COLOUR_BAD : COLOUR_NONE, text);
}

/* Each once, in the order of the table. Static tokens do without. */
static void overview_print_providers(struct overview *v) {
        AUTO(ask_json_putp) struct json_object *seen = json_object_new_object();

        for (size_t i = 0; seen && i < json_object_array_length(v->list); i++) {
                struct json_object *o = json_object_array_get_idx(v->list, i);
                const char *provider = member_text(o, "provider");

                if (!provider || credential_is_static(o) ||
                    json_object_object_get_ex(seen, provider, NULL))
                        continue;
                (void) json_object_object_add(seen, provider, NULL);
                overview_print_provider(v, o);
        }
}

/* Attention */

/* What fails in the same way is told of once: to each kind the text, and then the names. NULL: out
 * of memory. */
static struct json_object *overview_gather(const struct overview *v) {
        struct json_object *notes = json_object_new_object(), *note;
        char text[ASK_SHOWN_SIZE], key[ASK_SHOWN_SIZE], advice[ASK_SHOWN_SIZE];

        for (size_t i = 0; notes && i < json_object_array_length(v->list); i++) {
                struct json_object *o = json_object_array_get_idx(v->list, i);

                if (!credential_attention(o, v->now, text))
                        continue;
                if (credential_advice(o, v->now, advice))
                        strcpy(key, text); /* names the credential: it is its own */
                else
                        (void) credential_trouble_kind(o, key);
                if (!json_object_object_get_ex(notes, key, &note)) {
                        note = json_object_new_array();
                        (void) json_object_array_add(note, json_object_new_string(text));
                        (void) json_object_object_add(notes, key, note);
                }
                (void) json_object_array_add(note,
                                             json_object_new_string(ask_shown(o, "name", key)));
        }
        return notes;
}

/* "bot, site, tv and 14 more", of all but the first of an array. Returns `ret`. */
static const char *overview_names(struct json_object *note, char ret[ASK_SHOWN_SIZE]) {
        const size_t n = json_object_array_length(note) - 1;
        const size_t shown = n > OVERVIEW_NAMES + 1 ? OVERVIEW_NAMES : n;
        size_t used = 0;

        for (size_t i = 1; i <= shown; i++)
                used += (size_t) snprintf(
                        ret + used, ASK_SHOWN_SIZE - used, "%s%.64s", i > 1 ? ", " : "",
                        json_object_get_string(json_object_array_get_idx(note, i)));
        if (shown < n)
                (void) snprintf(ret + used, ASK_SHOWN_SIZE - used, _(" and %zu more"), n - shown);
        return ret;
}

static void overview_print_attention(struct overview *v) {
        AUTO(ask_json_putp) struct json_object *notes = overview_gather(v);
        char names[ASK_SHOWN_SIZE];

        if (!notes)
                return;
        json_object_object_foreach(notes, key, note) {
                (void) key;
                overview_print_note(v, overview_names(note, names), COLOUR_NONE,
                                    json_object_get_string(json_object_array_get_idx(note, 0)));
        }
}

void overview_print(struct json_object *list, int64_t now) {
        struct overview v = { .list = list, .now = now };

        screen_look(&v.screen);
        overview_print_table(&v);
        overview_print_providers(&v);
        overview_print_attention(&v);
}
