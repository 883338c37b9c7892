#include "client/verb.h"

#include <stdio.h>

#include "client/ask.h"
#include "client/message.h"
#include "client/mistake.h"
#include "client/protocol.h"
#include "client/words.h"

#define RELOAD_TIMEOUT_S 60 /* users and groups may be asked for far away */

/* Every mistake has a line of its own. */
static int reload_explain(const struct call *call, const struct wire_answer *answer) {
        AUTO(ask_json_putp) struct json_object *o = ask_json(answer);
        struct json_object *problems;
        char text[ASK_SENTENCE_SIZE], translated[ASK_SENTENCE_SIZE];
        size_t n;

        problems = member_array(o, "problems");
        if (answer->status != 400 || !problems || (n = json_object_array_length(problems)) == 0)
                return ask_explain(call, answer);
        for (size_t i = 0; i < n; i++) {
                const char *problem = json_object_get_string(
                        json_object_array_get_idx(problems, i));

                (void) mistake_translate(problem ? problem : "?", translated, sizeof(translated));
                say("%s", words_clean(translated, text, sizeof(text)));
        }
        say(_("the configuration was not taken; the old one stays in force"));
        return EXIT_FAILED;
}

/* "credential bot: changed", for each of a list. How many that were. */
static size_t reload_print(struct json_object *part, const char *noun, const char *what) {
        struct json_object *list;
        char text[ASK_SENTENCE_SIZE];
        size_t n;

        list = member_array(part, what);
        if (!list)
                return 0;
        n = json_object_array_length(list);
        for (size_t i = 0; i < n; i++) {
                const char *name = json_object_get_string(json_object_array_get_idx(list, i));

                /* TRANSLATORS: "credential bot: added" */
                (void) printf(_("%s %s: %s\n"), _(noun),
                              words_clean(name ? name : "?", text, sizeof(text)), _(what));
        }
        return n;
}

static void reload_print_warnings(struct json_object *o) {
        struct json_object *list;
        char text[ASK_SENTENCE_SIZE], translated[ASK_SENTENCE_SIZE];

        list = member_array(o, "warnings");
        if (!list)
                return;
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                const char *warning = json_object_get_string(json_object_array_get_idx(list, i));

                (void) mistake_translate(warning ? warning : "?", translated, sizeof(translated));
                say(_("warning: %s"), words_clean(translated, text, sizeof(text)));
        }
}

int verb_reload(const struct call *call) {
        static const struct {
                const char *key, *noun;
        } parts[] = { { "credentials", N_("credential") },
                      { "sockets", N_("socket") },
                      { "providers", N_("provider") } };
        static const char *const whats[] = { N_("added"), N_("changed"), N_("removed") };
        const struct wire_request request = { .method = "POST",
                                              .path = PROTOCOL_PATH_RELOAD,
                                              .accept = "application/json",
                                              .timeout_us = RELOAD_TIMEOUT_S * INT64_C(1000000) };
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        AUTO(ask_json_putp) struct json_object *o = NULL;
        struct json_object *part;
        size_t n = 0;
        int r;

        r = ask_any(call, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        if (answer.status < 200 || answer.status > 299)
                return reload_explain(call, &answer);
        if (call->form == FORM_JSON)
                return ask_print_json(answer.body, answer.body_len);
        o = ask_json(&answer);
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
                for (size_t k = 0; k < sizeof(whats) / sizeof(whats[0]); k++)
                        if (json_object_object_get_ex(o, parts[i].key, &part))
                                n += reload_print(part, parts[i].noun, whats[k]);
        if (n == 0)
                (void) puts(_("reloaded: no credential, socket or provider has changed"));
        reload_print_warnings(o);
        return finish();
}
