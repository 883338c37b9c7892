#include "client/verb.h"

/*
 * logout: the daemon forgets a grant and its tokens
 */

#include <stdio.h>

#include "client/authorization.h"
#include "client/message.h"
#include "client/protocol.h"

int verb_logout(const struct call *call) {
        AUTO(wire_answer_done) struct wire_answer answer = { 0 };
        char who[ASK_SENTENCE_SIZE];
        struct wire_path path;
        const struct wire_request request = { .method = "DELETE",
                                              .path = path.text,
                                              .accept = "application/json",
                                              .timeout_us = ASK_TIMEOUT_S * INT64_C(1000000) };
        int r;

        (void) wire_path_begin(&path, PROTOCOL_PATH_CREDENTIALS "/", call->name,
                               "/grant"); /* a valid name */
        if (call->subject)
                (void) wire_path_add(&path, "subject", call->subject); /* short enough */
        r = ask(call, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        (void) printf(_("%s is logged out: its grant and tokens are forgotten.\n"),
                      authorization_who(call, who));
        return finish();
}
