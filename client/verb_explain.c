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
#include "client/columns.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/screen.h"
#include "client/table.h"

#define EXPLAIN_INDENT 10

/* "4 24 27", or "". Returns `ret`. */
static char *explain_groups(struct json_object *o, char ret[ASK_SENTENCE_SIZE]) {
        struct json_object *groups;
        size_t len = 0;

        *ret = '\0';
        groups = member_array(o, "groups");
        if (!groups)
                return ret;
        for (size_t i = 0; i < json_object_array_length(groups) && len < ASK_SENTENCE_SIZE; i++)
                len += (size_t) snprintf(
                        ret + len, ASK_SENTENCE_SIZE - len, "%s%" PRId64, i ? " " : "",
                        json_object_get_int64(json_object_array_get_idx(groups, i)));
        return ret;
}

/* "1000 (alice)". Returns `ret`. */
static char *explain_user(int64_t uid, char ret[ASK_SENTENCE_SIZE]) {
        const struct passwd *user = uid < 0 ? NULL : getpwuid((uid_t) uid);

        (void) snprintf(ret, ASK_SENTENCE_SIZE, "%" PRId64 "%s%s%s", uid, user ? " (" : "",
                        user ? user->pw_name : "", user ? ")" : "");
        return ret;
}

/* Why the unit is unknown, as the daemon says it (daemon/policy/peer.c): in the reader's language, where it is
 * known. */
static const char *const explain_units[] = {
        N_("no rule asks for it"),
        N_("the process is in no unit of systemd"),
        N_("the process is in none of this user's units, and bearerd --user knows no others"),
        N_("the process is in a namespace that bearerd does not see into"),
        N_("the process has ended"),
        N_("/proc does not show bearerd the processes of others (ProtectProc=, hidepid=)"),
        N_("the kernel cannot tell; that takes Linux 6.5 or newer"),
};

static const char *explain_unknown(struct json_object *o, char ret[ASK_SHOWN_SIZE]) {
        for (size_t i = 0; i < sizeof(explain_units) / sizeof(explain_units[0]); i++)
                if (member_is(o, "unit_unknown", explain_units[i]))
                        return _(explain_units[i]);
        return ask_shown(o, "unit_unknown", ret);
}

static void explain_print_process(struct json_object *o, const struct screen *screen) {
        char user[ASK_SENTENCE_SIZE], groups[ASK_SENTENCE_SIZE], text[ASK_SHOWN_SIZE];
        char who[3 * ASK_SENTENCE_SIZE], line[3 * ASK_SENTENCE_SIZE + ASK_SHOWN_SIZE];
        const long pid = (long) member_number(o, "pid"), gid = (long) member_number(o, "gid");

        (void) explain_user(member_number(o, "uid"), user);
        if (*explain_groups(o, groups))
                (void) snprintf(who, sizeof(who), _("%ld: user %s, group %ld, groups %s"), pid,
                                user, gid, groups);
        else
                (void) snprintf(who, sizeof(who), _("%ld: user %s, group %ld"), pid, user, gid);
        if (member_text(o, "unit"))
                (void) snprintf(line, sizeof(line), _("%s, unit %s"), who,
                                ask_shown(o, "unit", text));
        else
                (void) snprintf(line, sizeof(line), _("%s; unit unknown: %s"), who,
                                explain_unknown(o, text));
        table_wrap(screen, line, table_print_label(_("process"), EXPLAIN_INDENT), EXPLAIN_INDENT);
}

static bool explain_is_allowed(struct json_object *o, const char *key) {
        struct json_object *part;

        return json_object_object_get_ex(o, key, &part) && member_is_true(part, "allowed");
}

/* What the daemon explains is English. Who reads another language is told first which rule it was. */
static const struct {
        const char *rule; /* as the daemon calls it; it has none for connect */
        const char *sentence;
} explain_rules[] = {
        { "users", N_("a rule for its user") },
        { "groups", N_("a rule for one of its groups") },
        { "units", N_("a rule for its systemd unit") },
        { "open", N_("there is no rule: whoever can connect may") },
        { "root", N_("root always may") },
        { "self", N_("it runs as the user of bearerd") },
        { "none", N_("no rule matches it") },
};

static const char *explain_lead(struct json_object *part, bool allowed) {
        for (size_t i = 0; i < sizeof(explain_rules) / sizeof(explain_rules[0]); i++)
                if (member_is(part, "rule", explain_rules[i].rule))
                        return _(explain_rules[i].sentence);
        if (member_text(part, "rule"))
                return NULL; /* of a newer daemon */
        return allowed ? _("it reaches the socket")
                       : _("the modes on the way to the socket keep it out");
}

/* The key "use" is `label` to people. */
static void explain_print(struct json_object *o, const char *key, const char *label,
                          const struct screen *screen) {
        const bool allowed = explain_is_allowed(o, key);
        const enum colour colour = !screen->colour ? COLOUR_NONE
                                   : allowed       ? COLOUR_GOOD
                                                   : COLOUR_BAD;
        const char *answer = allowed ? _("yes") : _("no"), *lead;
        char text[ASK_SHOWN_SIZE], line[ASK_SENTENCE_SIZE + ASK_SHOWN_SIZE];
        struct json_object *part;

        if (!json_object_object_get_ex(o, key, &part))
                return;
        (void) table_print_label(label, EXPLAIN_INDENT);
        (void) printf("%s%s%s: ", screen_colour_on(colour), answer, screen_colour_off(colour));
        lead = message_is_english() ? NULL : explain_lead(part, allowed);
        (void) snprintf(line, sizeof(line), lead ? _("%s (%s)") : "%s%s", lead ? lead : "",
                        ask_shown(part, "explanation", text));
        table_wrap(screen, line, EXPLAIN_INDENT + columns_count(answer, strlen(answer)) + 2,
                   EXPLAIN_INDENT);
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
                explain_print(o, "connect", _("connect"), &screen);
                explain_print(o, "use", _("use"), &screen);
                explain_print(o, "admin", _("admin"), &screen);
                r = finish();
        }
        return r == EXIT_DONE && !may ? EXIT_DENIED : r;
}
