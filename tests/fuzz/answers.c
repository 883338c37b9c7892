#include "fuzz.h"

/*
 * What libbearer reads: answers and events of the daemon, or of whatever is at its socket
 *
 * The bytes come in two pieces, and then the other end hangs up: that is the end of a call, one way or the other.
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/libbearer/client.h"
#include "client/libbearer/flight.h"
#include "client/libbearer/json.h"

static int answered_with;

static void answered(void *user, int r, struct bearer_token *token) {
        PROMISED(user == &answered_with && answered_with == 1);
        answered_with = r;
        PROMISED(r == 0 ? token != NULL : r < 0 && !token && *bearer_error_text());
        if (token) {
                const char *value = bearer_token_value(token);

                PROMISED(*value && !value[strspn(value, "!\"#$%&'()*+,-./0123456789:;<=>?@"
                                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
                                                        "abcdefghijklmnopqrstuvwxyz{|}~")]);
                PROMISED(strlen(bearer_token_fingerprint(token)) == TOKEN_FINGERPRINT - 1);
                PROMISED(strcmp(bearer_token_header(token) + strlen("Authorization: Bearer "),
                                value) == 0);
        }
}

/* Both ends; ours does not wait. */
static void fuzz_connect(int fds[2]) {
        PROMISED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
}

static void fuzz_answer(const char *text, size_t len) {
        const size_t first = len > 0 ? (unsigned char) text[0] % len : 0;
        struct bearer *client;
        struct exchange *x;
        int fds[2];

        answered_with = 1;
        PROMISED(bearer_new(&client, "/nonexistent/socket") == 0);
        PROMISED(bearer_get_async(client, "bot", NULL, answered, &answered_with, NULL) == 0);
        fuzz_connect(fds);
        x = &client->flights->x; /* it would try to connect again; now it has */
        x->fd = fds[0];
        x->state = EXCHANGE_RECEIVE;
        x->patience_us = 0;
        x->asked_us = token_now_us();
        wire_reading_begin(&x->reading,
                           &(struct wire_request){ .answer_max = 65536, .keep = true });
        PROMISED(send(fds[1], text, first, 0) == (ssize_t) first);
        PROMISED(bearer_process(client) >= 0);
        if (answered_with == 1) {
                PROMISED(send(fds[1], text + first, len - first, 0) == (ssize_t) (len - first));
                (void) close(fds[1]);
                fds[1] = -1;
                for (int i = 0; answered_with == 1 && i < 100;
                     i++) /* what came, and the end of it */
                        PROMISED(bearer_process(client) >= 0);
        }
        PROMISED(answered_with != 1);
        if (fds[1] >= 0)
                (void) close(fds[1]);
        bearer_free(client);
}

static void happened(void *user, int r, const struct bearer_event *event) {
        (void) user;
        if (r < 0) {
                PROMISED(!event && *bearer_error_text());
                return;
        }
        PROMISED(*bearer_event_json(event) || !*bearer_event_credential(event));
        PROMISED(strlen(bearer_event_fingerprint(event)) < TOKEN_FINGERPRINT);
}

static void fuzz_event(const char *text, size_t len) {
        const size_t first = len > 0 ? (unsigned char) text[0] % len : 0;
        struct bearer_watch *w;
        struct bearer *client;
        int fds[2];

        PROMISED(bearer_new(&client, "/nonexistent/socket") == 0);
        PROMISED(bearer_watch(client, NULL, happened, NULL, &w) == 0);
        fuzz_connect(fds);
        w->fd = fds[0];
        w->wakes_us = INT64_MAX;
        wire_reading_begin(&w->reading, &(struct wire_request){ .answer_max = 1048576 });
        PROMISED(send(fds[1], text, first, 0) == (ssize_t) first);
        PROMISED(bearer_process(client) >= 0);
        if (w->fd == fds[0])
                PROMISED(send(fds[1], text + first, len - first, 0) == (ssize_t) (len - first));
        (void) close(fds[1]);
        for (int i = 0; w->fd == fds[0] && i < 100; i++)
                PROMISED(bearer_process(client) >= 0);
        PROMISED(w->fd < 0 || w->fd != fds[0]);
        PROMISED(strlen(w->last_id) < WATCH_ID_SIZE);
        bearer_watch_cancel(w);
        bearer_free(client);
}

static void fuzz_object(const char *text, size_t len) {
        char member[16], *quoted = malloc(6 * len + 16), *again = malloc(len + 1);
        const bool is_object = json_is_object(text);

        PROMISED(quoted && again);
        if (!json_member(text, "a", member, sizeof(member)))
                PROMISED(!*member);
        PROMISED(strlen(member) < sizeof(member));
        if (is_object)
                PROMISED(text[strspn(text, " \t\r\n")] == '{');
        /* what is quoted is read again as it was */
        *stpcpy(json_quote(text, stpcpy(quoted, "{\"a\":")), "}") = '\0';
        PROMISED(json_is_object(quoted) && json_member(quoted, "a", again, len + 1) &&
                 strcmp(again, text) == 0);
        free(quoted);
        free(again);
}

const struct fuzz_target fuzz_targets[] = {
        { "answer", fuzz_answer },
        { "event", fuzz_event },
        { "object", fuzz_object },
        { 0 },
};
