/*
 * An event loop on libbearer, until standard input ends: some calls at a time, some that are cancelled, and a watch
 *
 *   bearer_loop SOCKET CREDENTIAL
 */

#include <bearer.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CALLS 4 /* at a time */

static struct bearer *client;
static const char *credential;
static long tokens, asked, changes, events, failures;
static int under_way;
static char last[17], rejected[17];
static intptr_t rejections;

/* `user`: how many rejections there had been when it was asked for. */
static void answered(void *user, int r, struct bearer_token *token) {
        under_way--;
        if (r < 0) {
                fprintf(stderr, "%s: %s\n", bearer_strerror(r), bearer_error_text());
                failures++;
        } else {
                tokens++;
                if (bearer_token_expires_at(token) < time(NULL)) {
                        fprintf(stderr, "a stale token\n");
                        failures++;
                }
                if ((intptr_t) user == rejections &&
                    strcmp(bearer_token_fingerprint(token), rejected) == 0) {
                        fprintf(stderr, "a token that was rejected\n");
                        failures++;
                }
                if (strcmp(last, bearer_token_fingerprint(token)) == 0)
                        return;
                strcpy(last, bearer_token_fingerprint(token));
                if (changes++ % 3 == 2) { /* the others live to their end */
                        bearer_reject(client, token);
                        strcpy(rejected, last);
                        rejections++;
                }
        }
}

static void happened(void *user, int r, const struct bearer_event *event) {
        (void) user;
        if (r < 0 || !*bearer_event_json(event)) {
                fprintf(stderr, "%s\n", bearer_error_text());
                failures++;
        }
        events++;
}

static void ask(void) {
        struct bearer_call *call;
        int r = bearer_get_async(client, credential, NULL, answered, (void *) rejections, &call);

        if (r < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                failures++;
                return;
        }
        under_way++;
        if (asked++ % 7 == 3) { /* one that is not wanted any more */
                bearer_call_cancel(call);
                under_way--;
        }
}

int main(int argc, char **argv) {
        struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };

        if (argc != 3 || bearer_new(&client, argv[1]) < 0)
                return 2;
        credential = argv[2];
        if (bearer_watch(client, credential, happened, NULL, NULL) < 0)
                return 2;
        fds[1].fd = bearer_fd(client);
        do {
                if (under_way < CALLS)
                        ask();
                poll(fds, 2, 1);
                if (bearer_process(client) < 0)
                        failures++;
        } while (!fds[0].revents);
        bearer_free(client);
        if (events == 0) {
                fprintf(stderr, "no event\n");
                failures++;
        }
        printf("%ld tokens, %ld events\n", tokens, events);
        return failures ? 1 : 0;
}
