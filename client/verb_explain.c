#include "client/verb.h"

/*
 * explain: which rule lets a process in, or keeps it out
 *
 * The daemon knows the rules and says it in words; here they get a shape.
 */

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "client/ask.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/screen.h"
#include "client/table.h"

#define EXPLAIN_INDENT 10

static void explain_print_process(struct json_object *o, const struct screen *screen) {
        const int64_t uid = ask_number(o, "uid");
        const struct passwd *user = uid < 0 ? NULL : getpwuid((uid_t) uid);
        char text[ASK_SHOWN_SIZE], line[2 * ASK_SHOWN_SIZE];
        struct json_object *groups;
        size_t len;

        len = (size_t) snprintf(line, sizeof(line),
                                "%" PRId64 ": user %" PRId64 "%s%s%s, group %" PRId64,
                                ask_number(o, "pid"), uid, user ? " (" : "",
                                user ? user->pw_name : "", user ? ")" : "", ask_number(o, "gid"));
        if (json_object_object_get_ex(o, "groups", &groups) &&
            json_object_is_type(groups, json_type_array))
                for (size_t i = 0; i < json_object_array_length(groups) && len < 1024; i++)
                        len += (size_t) snprintf(
                                line + len, sizeof(line) - len, "%s%" PRId64, i ? " " : ", groups ",
                                json_object_get_int64(json_object_array_get_idx(groups, i)));
        if (ask_text(o, "unit"))
                (void) snprintf(line + len, sizeof(line) - len, ", unit %s",
                                ask_shown(o, "unit", text));
        else
                (void) snprintf(line + len, sizeof(line) - len, "; unit unknown: %s",
                                ask_shown(o, "unit_unknown", text));
        table_wrap(screen, line, printf("%-9s ", "process"), EXPLAIN_INDENT);
}

static bool explain_is_allowed(struct json_object *o, const char *key) {
        struct json_object *part, *allowed;

        return json_object_object_get_ex(o, key, &part) &&
               json_object_object_get_ex(part, "allowed", &allowed) &&
               json_object_get_boolean(allowed);
}

static void explain_print(struct json_object *o, const char *key, const struct screen *screen) {
        const bool allowed = explain_is_allowed(o, key);
        const enum colour colour = !screen->colour ? COLOUR_NONE
                                   : allowed       ? COLOUR_GOOD
                                                   : COLOUR_BAD;
        char text[ASK_SHOWN_SIZE];
        struct json_object *part;

        if (!json_object_object_get_ex(o, key, &part))
                return;
        (void) printf("%-9s %s%s%s", key, screen_colour_on(colour), allowed ? "yes" : "no",
                      screen_colour_off(colour));
        table_wrap(screen, ask_shown(part, "explanation", text),
                   EXPLAIN_INDENT + printf(": ") + (allowed ? 3 : 2), EXPLAIN_INDENT);
}

int verb_explain(const struct call *call) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct wire_path path;
        const struct wire_request request = ASK_GET(path.text);
        struct screen screen;
        bool may;
        int r;

        (void) wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", call->name,
                               "/access"); /* a valid name */
        if (call->pid > 0)
                (void) wire_path_add_number(&path, "pid", call->pid); /* fits */
        r = ask(call, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        o = ask_json(&answer);
        if (!o) {
                say(_("%s: what the daemon sent is no explanation"), call->name);
                return EXIT_FAILED;
        }
        may = explain_is_allowed(o, "connect") && explain_is_allowed(o, "use");
        if (call->form == FORM_JSON)
                r = ask_print_object(o);
        else {
                screen_look(&screen);
                explain_print_process(o, &screen);
                explain_print(o, "connect", &screen);
                explain_print(o, "use", &screen);
                explain_print(o, "admin", &screen);
                r = finish();
        }
        return r == EXIT_DONE && !may ? EXIT_DENIED : r;
}
