/*
 * A token in C:
 *
 *     cc get.c $(pkg-config --cflags --libs libbearer) && ./a.out bot
 */

#include <bearer.h>
#include <stdio.h>

/* In the place of a call of the API: the HTTP status of its answer. */
static int call_api(const char *header) {
        puts(header);
        return 200;
}

int main(int argc, char **argv) {
        struct bearer *client = NULL;
        int r, status = 401;

        if (argc != 2) {
                fputs("get CREDENTIAL\n", stderr);
                return 2;
        }
        r = bearer_new(&client, NULL); /* one for the whole program */
        for (int tries = 2; r == 0 && status == 401 && tries > 0; tries--) {
                struct bearer_token *token;

                r = bearer_get(client, argv[1], NULL, &token); /* for each call of the API */
                if (r < 0)
                        break;
                status = call_api(bearer_token_header(token));
                if (status == 401)
                        bearer_reject(client, token); /* the next one is another */
                bearer_token_unref(token);
        }
        if (r < 0)
                fprintf(stderr, "%s\n", bearer_error_text()); /* says what to do */
        bearer_free(client);
        return r < 0 || status != 200;
}
