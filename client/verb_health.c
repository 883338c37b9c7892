#include "client/verb.h"

#include <stdio.h>

#include "client/ask.h"
#include "client/message.h"
#include "client/protocol.h"
#include "client/words.h"

static int health_ask(const struct call *call, const char *path, struct wire_answer *ret) {
        const struct wire_request request = ASK_GET(path);

        return ask_any(call, &request, ret);
}

/* "not ready: no good token yet of bot, site". An exit code. */
static int health_explain(const struct call *call, const struct wire_answer *answer) {
        AUTO(ask_json_putp) struct json_object *o = ask_json(answer);
        char names[ASK_SENTENCE_SIZE] = "", name[PROTOCOL_NAME_MAX + 1];
        struct json_object *missing;
        size_t used = 0;

        missing = member_array(o, "missing");
        if (answer->status != 503 || !missing)
                return ask_explain(call, answer);
        for (size_t i = 0; i < json_object_array_length(missing); i++) {
                const char *text = json_object_get_string(json_object_array_get_idx(missing, i));
                int n = snprintf(names + used, sizeof(names) - used, "%s%s", used ? ", " : "",
                                 words_clean(text ? text : "?", name, sizeof(name)));

                if (n < 0 || (size_t) n >= sizeof(names) - used)
                        break; /* a thousand letters of names will do */
                used += (size_t) n;
        }
        say(_("not ready: no good token yet of %s: bearerctl status tells why"),
            used ? names : _("a credential that you may not use"));
        return EXIT_UPSTREAM;
}

int verb_health(const struct call *call) {
        static const char *const paths[] = { PROTOCOL_PATH_HEALTHZ, PROTOCOL_PATH_READYZ };

        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
                AUTO(wire_answer_done) struct wire_answer answer = { 0 };
                int r;

                r = health_ask(call, paths[i], &answer);
                if (r != EXIT_DONE)
                        return r;
                if (answer.status < 200 || answer.status > 299)
                        return health_explain(call, &answer);
        }
        (void) puts(_("ready")); /* the exit code is the answer; this is for people */
        return finish();
}
