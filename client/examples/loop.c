/*
 * Tokens in an event loop, here poll():
 *
 *     cc loop.c $(pkg-config --cflags --libs libbearer) && ./a.out bot site
 */

#include <bearer.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

struct work {
        const char *credential;
        int tries;
};

static struct bearer *client;
static int waiting, failed;

/* In the place of a call of the API: the HTTP status of its answer. */
static int call_api(const char *credential, const char *header) {
        printf("%s %s\n", credential, header);
        return 200;
}

static void ask(struct work *w);

static void answered(void *user, int r, struct bearer_token *token) {
        struct work *w = user;

        waiting--;
        if (r < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                failed = 1;
        } else if (call_api(w->credential, bearer_token_header(token)) == 401) {
                bearer_reject(client, token); /* bearer_token_ref() to keep it for longer */
                ask(w);
        }
}

static void ask(struct work *w) {
        if (w->tries-- > 0 && bearer_get_async(client, w->credential, NULL, answered, w, NULL) == 0)
                waiting++;
        else
                failed = 1;
}

int main(int argc, char **argv) {
        struct work *works = calloc((size_t) argc, sizeof(*works));
        struct pollfd fd = { .events = POLLIN };

        if (!works || bearer_new(&client, NULL) < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                free(works);
                return 1;
        }
        for (int i = 1; i < argc; i++) {
                works[i].credential = argv[i];
                works[i].tries = 2;
                ask(&works[i]);
        }
        fd.fd = bearer_fd(client); /* stays the same */
        while (waiting > 0 && poll(&fd, 1, -1) >= 0)
                bearer_process(client);
        bearer_free(client);
        free(works);
        return failed;
}
