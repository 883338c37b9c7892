/*
 * libbearer's hit: a token from memory, by one thread and by many
 *
 *   bearer_hit SOCKET CREDENTIAL THREADS
 *
 * Prints nanoseconds of processor time for bearer_get() and bearer_token_unref() together. Time of the processor, not of
 * the clock: with more threads than cores it shows what sharing costs, not who waits for a core.
 */

#include <bearer.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CALLS 3000000L

static struct bearer *client;
static const char *credential;
static pthread_barrier_t begin;

static double now(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static void *run(void *arg) {
        double *ns = arg, from;
        struct bearer_token *token;

        if (bearer_get(client, credential, NULL, &token) < 0) {
                fprintf(stderr, "%s\n", bearer_error_text());
                exit(EXIT_FAILURE);
        }
        bearer_token_unref(token);
        pthread_barrier_wait(&begin);
        from = now(CLOCK_THREAD_CPUTIME_ID);
        for (long i = 0; i < CALLS; i++) {
                if (bearer_get(client, credential, NULL, &token) < 0)
                        exit(EXIT_FAILURE);
                bearer_token_unref(token);
        }
        *ns = (now(CLOCK_THREAD_CPUTIME_ID) - from) / (double) CALLS;
        return NULL;
}

int main(int argc, char **argv) {
        const int n = argc == 4 ? atoi(argv[3]) : 0;
        pthread_t threads[64];
        double ns[64], sum = 0;

        if (n < 1 || n > 64 || bearer_new(&client, argv[1]) < 0) {
                fputs("bearer_hit SOCKET CREDENTIAL THREADS\n", stderr);
                return 2;
        }
        credential = argv[2];
        pthread_barrier_init(&begin, NULL, (unsigned) n);
        for (int i = 0; i < n; i++)
                if (pthread_create(&threads[i], NULL, run, &ns[i]) != 0)
                        return EXIT_FAILURE;
        for (int i = 0; i < n; i++) {
                pthread_join(threads[i], NULL);
                sum += ns[i];
        }
        printf("%.1f\n", sum / n);
        bearer_free(client);
        return EXIT_SUCCESS;
}
