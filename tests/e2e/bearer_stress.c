/*
 * Eight threads and their forked children, on one client of libbearer, until standard input ends
 *
 *   bearer_stress SOCKET CREDENTIAL
 *
 * Every call has to succeed, and no token may be past its end. Prints how many tokens it was given and
 * how many different ones; exit code 0 if nothing went wrong.
 */

#include <bearer.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS      8
#define CHILD_TOKENS 200
#define REJECT_EVERY 5000

static struct bearer *client;
static const char *credential;
static atomic_bool stop;
static atomic_long tokens, changes, failures;

static void get_one(char last[17]) {
        struct bearer_token *token;
        int r = bearer_get(client, credential, NULL, &token);

        if (r < 0) {
                fprintf(stderr, "%d: %s: %s\n", (int) getpid(), bearer_strerror(r),
                        bearer_error_text());
                atomic_fetch_add(&failures, 1);
                return;
        }
        if (bearer_token_expires_at(token) < time(NULL) || strlen(bearer_token_value(token)) < 10) {
                fprintf(stderr, "%d: a stale token, %ld s past its end\n", (int) getpid(),
                        (long) (time(NULL) - bearer_token_expires_at(token)));
                atomic_fetch_add(&failures, 1);
        }
        if (strcmp(last, bearer_token_fingerprint(token)) != 0) {
                strcpy(last, bearer_token_fingerprint(token));
                atomic_fetch_add(&changes, 1);
        }
        if (atomic_fetch_add(&tokens, 1) % REJECT_EVERY == REJECT_EVERY - 1)
                bearer_reject(client, token);
        bearer_token_unref(token);
}

static void *work(void *arg) {
        char last[17] = "";

        (void) arg;
        while (!atomic_load(&stop)) {
                get_one(last);
                if (atomic_load(&tokens) % 64 == 0)
                        poll(NULL, 0, 1); /* leave the cores to the daemon, too */
        }
        return NULL;
}

static int child(void) {
        char last[17] = "";

        atomic_store(&failures, 0);
        for (int i = 0; i < CHILD_TOKENS; i++)
                get_one(last);
        bearer_free(client);
        return atomic_load(&failures) ? 1 : 0;
}

int main(int argc, char **argv) {
        struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
        pthread_t threads[THREADS];
        int status, forks = 0;

        if (argc != 3 || bearer_new(&client, argv[1]) < 0)
                return 2;
        credential = argv[2];
        for (int i = 0; i < THREADS; i++)
                if (pthread_create(&threads[i], NULL, work, NULL) != 0)
                        return 2;
        do {
                pid_t pid = fork();

                if (pid == 0)
                        _exit(child());
                if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
                        fprintf(stderr, "a child ended with %d\n", status);
                        atomic_fetch_add(&failures, 1);
                }
                forks++;
        } while (poll(&input, 1, 100) == 0);
        atomic_store(&stop, true);
        for (int i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        bearer_free(client);
        printf("%ld tokens, %ld changes, %d forks\n", atomic_load(&tokens), atomic_load(&changes),
               forks);
        return atomic_load(&failures) ? 1 : 0;
}
