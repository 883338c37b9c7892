/*
 * Another token than the credential's own: for one end user, for ten minutes, and only good for what it is needed for.
 * Credentials of type jwt can have all of it, the others a subject:
 *
 *     cc options.c $(pkg-config --cflags --libs libbearer) && ./a.out bot alice 7361
 */

#include <bearer.h>
#include <stdio.h>

static int set(struct bearer_request *request, const char *user, const char *bot) {
        char scope[512];
        int r;

        snprintf(scope, sizeof(scope),
                 "{\"account_permission\":{\"permission_list\":[\"Connector.botChat\"]},"
                 "\"attribute_constraint\":{\"connector_bot_chat_attribute\":"
                 "{\"bot_id_list\":[\"%s\"]}}}",
                 bot);
        r = bearer_request_set_subject(request, user);
        if (r == 0)
                r = bearer_request_set_scope(request, scope);
        if (r == 0)
                r = bearer_request_set_duration(request, 600);
        if (r == 0)
                r = bearer_request_set_min_ttl(request, 120); /* good for two minutes more */
        if (r == 0)
                r = bearer_request_set_wait(request, 5); /* there is no time for more */
        return r;
}

int main(int argc, char **argv) {
        struct bearer_request *request = NULL;
        struct bearer *client = NULL;
        struct bearer_token *token;
        int r;

        if (argc != 4) {
                fputs("options CREDENTIAL USER BOT\n", stderr);
                return 2;
        }
        r = bearer_new(&client, NULL);
        if (r == 0)
                r = bearer_request_new(&request); /* for any number of calls */
        if (r == 0)
                r = set(request, argv[2], argv[3]);
        if (r == 0)
                r = bearer_get(client, argv[1], request, &token);
        if (r == 0) {
                printf("%s %lld\n", bearer_token_header(token),
                       (long long) bearer_token_expires_in(token));
                bearer_token_unref(token);
        } else {
                fprintf(stderr, "%s\n", bearer_error_text());
        }
        if (r == -EHOSTDOWN || r == -EBUSY)
                fprintf(stderr, "again in %d s\n", bearer_error_retry_after());
        bearer_request_free(request);
        bearer_free(client);
        return r < 0;
}
