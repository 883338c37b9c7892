/*
 * Be told when a person is needed, or a token has changed:
 *
 *     cc watch.c $(pkg-config --cflags --libs libbearer) && ./a.out
 */

#include <bearer.h>
#include <poll.h>
#include <stdio.h>

static int over;

static void happened(void *user, int r, const struct bearer_event *event) {
        (void) user;
        if (r < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                over = 1;
                return;
        }
        printf("%s %s %s\n", bearer_event_type(event), bearer_event_credential(event),
               bearer_event_subject(event));
        fflush(stdout);
}

int main(int argc, char **argv) {
        struct bearer *client;
        struct pollfd fd = { .events = POLLIN };

        if (bearer_new(&client, NULL) < 0 ||
            bearer_watch(client, argc > 1 ? argv[1] : NULL, happened, NULL, NULL) < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                return 1;
        }
        fd.fd = bearer_fd(client);
        while (!over && poll(&fd, 1, -1) >= 0)
                bearer_process(client);
        bearer_free(client);
        return 1;
}
