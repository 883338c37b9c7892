#include "client/authorization.h"

#include <errno.h>
#include <stdio.h>

#include "client/advice.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/words.h"

#define PENDING "pending"

static const struct {
        const char *name;
        const char *shown; /* to people */
        enum colour colour;
        int exit_code;
        const char *sentence; /* where the daemon gives no reason */
} authorization_states[] = {
        { PENDING, N_("pending"), COLOUR_WAITING, EXIT_AUTHORIZE, N_("it is still waiting") },
        { "succeeded", N_("succeeded"), COLOUR_GOOD, EXIT_DONE, N_("it is authorized") },
        { "denied", N_("denied"), COLOUR_BAD, EXIT_AUTHORIZE, N_("the person refused") },
        { "expired", N_("expired"), COLOUR_BAD, EXIT_AUTHORIZE,
          N_("nobody authorized it in time") },
        { "failed", N_("failed"), COLOUR_BAD, EXIT_UPSTREAM,
          N_("the provider did not accept the authorization") },
        { "cancelled", N_("cancelled"), COLOUR_NONE, EXIT_AUTHORIZE,
          N_("the authorization was cancelled") },
};

/* An index, or -1: of a newer daemon. */
static int authorization_state(struct json_object *o) {
        for (int i = 0; i < (int) (sizeof(authorization_states) / sizeof(authorization_states[0]));
             i++)
                if (member_is(o, "state", authorization_states[i].name))
                        return i;
        return -1;
}

bool authorization_is_pending(struct json_object *o) {
        return member_is(o, "state", PENDING);
}

const char *authorization_shown(struct json_object *o, char ret[ASK_SHOWN_SIZE]) {
        int i = authorization_state(o);

        return i < 0 ? ask_shown(o, "state", ret) : _(authorization_states[i].shown);
}

enum colour authorization_colour(struct json_object *o) {
        int i = authorization_state(o);

        return i < 0 ? COLOUR_NONE : authorization_states[i].colour;
}

int authorization_exit_code(struct json_object *o) {
        int i = authorization_state(o);

        return i < 0 ? EXIT_FAILED : authorization_states[i].exit_code;
}

int authorization_path(struct wire_path *path, const char *id) {
        return wire_path_begin(path, PROTOCOL_PATH_AUTHORIZATIONS "/", id, "");
}

struct json_object *authorization_read(const struct wire_answer *answer) {
        struct json_object *o = ask_json(answer);
        const char *id = member_text(o, "id");

        if (id && wire_is_name(id) && member_text(o, "state"))
                return o;
        json_object_put(o);
        say(_("what the daemon sent is not an authorization: is bearerctl (%s) older or newer than "
              "bearerd?"),
            BEARERD_VERSION);
        return NULL;
}

char *authorization_who(const struct call *call, char ret[ASK_SENTENCE_SIZE]) {
        char subject[PROTOCOL_SUBJECT_MAX + 1] = "";

        if (call->subject)
                (void) words_clean(call->subject, subject, sizeof(subject));
        if (*subject)
                (void) snprintf(ret, ASK_SENTENCE_SIZE, _("%s for %s"), call->name, subject);
        else
                (void) snprintf(ret, ASK_SENTENCE_SIZE, "%s", call->name);
        return ret;
}

void authorization_explain(const struct call *call, struct json_object *o) {
        char who[ASK_SENTENCE_SIZE], command[ASK_SENTENCE_SIZE], said[ASK_SENTENCE_SIZE];
        char state[ASK_SHOWN_SIZE], reason[ASK_SHOWN_SIZE];
        const int i = authorization_state(o);
        const char *text = member_text(o, "reason");
        struct json_object *upstream;

        (void) authorization_who(call, who);
        if (i >= 0 && authorization_states[i].exit_code == EXIT_DONE) {
                (void) printf(_("%s is authorized. Its token: %s\n"), who,
                              ask_command(call, "get", command));
                return;
        }
        if (!text)
                text = member_text(o, "error_description");
        if (text && i >= 0 && !message_is_english()) {
                const char *advice = advice_translate(text);

                say("%s: %s", who, _(authorization_states[i].sentence));
                if (advice)
                        say("%s", advice);
                say(_("the daemon said: %s"), words_clean(text, reason, sizeof(reason)));
        } else if (text)
                say("%s: %s", who, words_clean(text, reason, sizeof(reason)));
        else if (i >= 0)
                say("%s: %s", who, _(authorization_states[i].sentence));
        else
                say(_("%s: the authorization is \"%s\", which this bearerctl (%s) does not know"),
                    who, ask_shown(o, "state", state), BEARERD_VERSION);
        if (json_object_object_get_ex(o, "upstream", &upstream) &&
            json_object_is_type(upstream, json_type_object) && *ask_refusal(upstream, said))
                say(_("the provider said: %s"), said);
        say(_("to start again: %s"), ask_command(call, "login", command));
}

int authorization_cancel(const struct call *call, const char *id) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        struct wire_path path;
        const struct wire_request request = { .method = "DELETE",
                                              .path = path.text,
                                              .accept = "application/json",
                                              .timeout_us = ASK_TIMEOUT_S * INT64_C(1000000) };

        if (authorization_path(&path, id) < 0) {
                say(_("\"%s\" is not the id of an authorization: bearerctl authorizations lists them"),
                    id);
                return EXIT_USAGE;
        }
        return ask(call, &request, &answer);
}
