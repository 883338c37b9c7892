#include "client/verb.h"

#include <stdio.h>

#include "client/ask.h"
#include "client/protocol.h"

int verb_health(const struct call *call) {
        static const char *const paths[] = { PROTOCOL_PATH_HEALTHZ, PROTOCOL_PATH_READYZ };

        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
                AUTO(wire_answer_done) struct wire_answer answer = { 0 };
                const struct wire_request request = { .method = "GET",
                                                      .path = paths[i],
                                                      .accept = "application/json",
                                                      .timeout_us = ASK_TIMEOUT_S *
                                                                    INT64_C(1000000) };
                int r;

                r = ask(call, &request, &answer);
                if (r != EXIT_DONE)
                        return r;
        }
        (void) puts("ready"); /* the exit code is the answer; this is for people */
        return finish();
}
