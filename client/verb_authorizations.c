#include "client/verb.h"

/*
 * authorizations: who is being asked for a grant, and how it went with those before
 */

#include <stdio.h>
#include <time.h>

#include "client/authorization.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/screen.h"
#include "client/table.h"
#include "client/words.h"

enum column {
        COLUMN_ID,
        COLUMN_CREDENTIAL,
        COLUMN_SUBJECT,
        COLUMN_STATE,
        COLUMN_EXPIRES,
        COLUMN_MAX,
};

static const char *const authorizations_titles[COLUMN_MAX] = { N_("ID"), N_("CREDENTIAL"),
                                                               N_("SUBJECT"), N_("STATE"),
                                                               N_("EXPIRES") };

struct authorizations_row {
        char texts[COLUMN_MAX][ASK_SHOWN_SIZE];
        const char *cells[COLUMN_MAX];
};

static void authorizations_make_row(struct json_object *o, int64_t now,
                                    struct authorizations_row *ret) {
        static const char *const keys[COLUMN_STATE] = { "id", "credential", "subject" };
        const int64_t at = member_number(o, "expires_at");

        for (int c = 0; c < COLUMN_STATE; c++)
                ret->cells[c] = ask_shown(o, keys[c], ret->texts[c]);
        ret->cells[COLUMN_STATE] = authorization_shown(o, ret->texts[COLUMN_STATE]);
        ret->cells[COLUMN_EXPIRES] = at >= 0 && authorization_is_pending(o)
                                             ? words_when(at, now, ret->texts[COLUMN_EXPIRES])
                                             : "-";
}

static void authorizations_print_table(struct json_object *list, int64_t now) {
        static const struct table_yield yielding[] = {
                { COLUMN_SUBJECT, 12 },   { COLUMN_CREDENTIAL, 12 }, { COLUMN_SUBJECT, 4 },
                { COLUMN_CREDENTIAL, 4 }, { COLUMN_EXPIRES, 0 },     { COLUMN_SUBJECT, 0 }
        };
        struct table table = { .columns = COLUMN_MAX };
        const char *titles[COLUMN_MAX];
        struct authorizations_row row;
        struct screen screen;

        screen_look(&screen);
        for (int c = 0; c < COLUMN_MAX; c++)
                titles[c] = _(authorizations_titles[c]);
        table_measure(&table, titles);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                authorizations_make_row(json_object_array_get_idx(list, i), now, &row);
                table_measure(&table, row.cells);
        }
        table_fit(&table, &screen, yielding, sizeof(yielding) / sizeof(yielding[0]));
        table_print(&table, titles, COLUMN_STATE, COLOUR_NONE);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *o = json_object_array_get_idx(list, i);

                authorizations_make_row(o, now, &row);
                table_print(&table, row.cells, COLUMN_STATE,
                            screen.colour ? authorization_colour(o) : COLOUR_NONE);
        }
}

/* Leaves those of one credential. */
static void authorizations_select(struct json_object *list, const char *name) {
        for (size_t i = json_object_array_length(list); i-- > 0;)
                if (!member_is(json_object_array_get_idx(list, i), "credential", name))
                        (void) json_object_array_del_idx(list, i, 1); /* it is there */
}

static void authorizations_explain_none(const struct call *call) {
        if (call->name)
                say(_("nobody is being asked for %s: bearerctl login %s starts an authorization"),
                    call->name, call->name);
        else
                say(_("nobody is being asked: bearerctl login NAME starts an authorization"));
}

static int authorizations_list(const struct call *call) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        const struct wire_request request = ASK_GET(PROTOCOL_PATH_AUTHORIZATIONS);
        struct json_object *list;
        int r;

        r = ask(call, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        o = ask_json(&answer);
        if (!ask_list(o, "authorizations", &list))
                return EXIT_FAILED;
        if (call->name)
                authorizations_select(list, call->name);
        if (call->form == FORM_JSON)
                return ask_print_object(o);
        if (json_object_array_length(list) == 0)
                authorizations_explain_none(call);
        else
                authorizations_print_table(list, time(NULL));
        return finish();
}

int verb_authorizations(const struct call *call) {
        int r;

        if (!call->cancel)
                return authorizations_list(call);
        if (call->name) {
                say(_("authorizations: --cancel takes the id of one, not the name of a credential"));
                return EXIT_USAGE;
        }
        r = authorization_cancel(call, call->cancel);
        if (r != EXIT_DONE)
                return r;
        (void) puts(_("cancelled"));
        return finish();
}
