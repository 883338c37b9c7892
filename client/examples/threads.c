/*
 * Tokens in many threads, here one for each end user (subject) below a credential. They share one client, and no lock
 * is needed:
 *
 *     cc -pthread threads.c $(pkg-config --cflags --libs libbearer) && ./a.out bot alice bob
 */

#include <bearer.h>
#include <pthread.h>
#include <stdio.h>

static struct bearer *client;
static const char *credential;

/* In the place of a call of the API: the HTTP status of its answer. */
static int call_api(const char *user, const char *header) {
        printf("%s %s\n", user, header);
        return 200;
}

/* 0, or what libbearer says. */
static int work(const char *user, const struct bearer_request *request) {
        int status = 401;

        for (int tries = 2; status == 401 && tries > 0; tries--) {
                struct bearer_token *token;
                int r;

                r = bearer_get(client, credential, request, &token); /* for each call of the API */
                if (r < 0)
                        return r;
                status = call_api(user, bearer_token_header(token));
                if (status == 401)
                        bearer_reject(client, token);
                bearer_token_unref(token);
        }
        return 0;
}

static void *run(void *user) {
        struct bearer_request *request = NULL;
        int r;

        r = bearer_request_new(&request); /* once, for all calls of this user */
        if (r == 0)
                r = bearer_request_set_subject(request, user);
        if (r == 0)
                r = work(user, request);
        if (r < 0)
                fprintf(stderr, "%s\n", bearer_error_text()); /* this thread's own */
        bearer_request_free(request);
        return r < 0 ? user : NULL;
}

int main(int argc, char **argv) {
        pthread_t threads[64];
        int n = argc - 2, failed = 0;
        void *who;

        if (n < 1 || n > 64) {
                fputs("threads CREDENTIAL USER...\n", stderr);
                return 2;
        }
        if (bearer_new(&client, NULL) < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                return 1;
        }
        credential = argv[1];
        for (int i = 0; i < n; i++)
                if (pthread_create(&threads[i], NULL, run, argv[i + 2]) != 0)
                        return 1;
        for (int i = 0; i < n; i++) {
                pthread_join(threads[i], &who);
                failed |= who != NULL;
        }
        bearer_free(client); /* when no thread uses it any more */
        return failed;
}
