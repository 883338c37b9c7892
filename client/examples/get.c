/*
 * A token in C, from any thread:
 *
 *     cc get.c $(pkg-config --cflags --libs libbearer) && ./a.out bot
 */

#include <bearer.h>
#include <stdio.h>

/* In the place of a call of the API: true unless it answers with 401. */
static int call_api(const char *header) {
        return puts(header) >= 0;
}

int main(int argc, char **argv) {
        struct bearer *client = NULL;
        struct bearer_token *token;
        int r, tries = 2;

        if (argc != 2) {
                fputs("get CREDENTIAL\n", stderr);
                return 2;
        }
        r = bearer_new(&client, NULL); /* one for the whole program */
        while (r == 0 && tries-- > 0) {
                int good;

                r = bearer_get(client, argv[1], NULL, &token); /* for each call of the API */
                if (r < 0)
                        break;
                good = call_api(bearer_token_header(token));
                if (!good)
                        bearer_reject(client, token);
                bearer_token_unref(token);
                if (good)
                        break;
        }
        if (r < 0)
                fprintf(stderr, "%s\n", bearer_error_text()); /* says what to do */
        bearer_free(client);
        return r < 0;
}
