/*
 * Tokens in an event loop, here poll():
 *
 *     cc loop.c $(pkg-config --cflags --libs libbearer) && ./a.out bot site
 */

#include <bearer.h>
#include <poll.h>
#include <stdio.h>

static int waiting, failed;

static void answered(void *user, int r, struct bearer_token *token) {
        const char *credential = user;

        waiting--;
        if (r < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                failed = 1;
                return;
        }
        printf("%s %s\n", credential,
               bearer_token_value(token)); /* bearer_token_ref() to keep it */
}

int main(int argc, char **argv) {
        struct bearer *client;
        struct pollfd fd = { .events = POLLIN };

        if (bearer_new(&client, NULL) < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                return 1;
        }
        for (int i = 1; i < argc; i++) {
                if (bearer_get_async(client, argv[i], NULL, answered, argv[i], NULL) < 0) {
                        fprintf(stderr, "%s\n", bearer_error_text());
                        failed = 1;
                        continue;
                }
                waiting++;
        }
        fd.fd = bearer_fd(client); /* stays the same */
        while (waiting > 0 && poll(&fd, 1, -1) >= 0)
                bearer_process(client);
        bearer_free(client);
        return failed;
}
