/*
 * Eight threads and their forked children, on one client of libbearer, until standard input ends
 *
 *   bearer_stress SOCKET CREDENTIAL
 *
 * Every call has to succeed. No token may be past its end, although the clock is set to and fro all the time, and none
 * may come back to whoever asks after it was rejected. Prints how many tokens it was given, and what happened to them;
 * exit code 0 if nothing went wrong.
 */

#include <bearer.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS      8
#define CHILD_TOKENS 200
#define REJECT_EVERY                                                                               \
        12 /* changes, of which each thread sees its own: other tokens live to their end */
#define PICKY_TTL_S  2
#define REJECTED_MAX 65536

static struct bearer *client;
static const char *credential;
static atomic_bool stop;
static atomic_long tokens, changes, failures;
static _Atomic unsigned long rejected[REJECTED_MAX];
static atomic_int n_rejected;
static _Atomic time_t clock_off_s;

/* The linker finds this one first: it is the clock that the library sees. */
int clock_gettime(clockid_t clock, struct timespec *ret) {
        long r = syscall(SYS_clock_gettime, clock, ret);

        if (clock == CLOCK_REALTIME)
                ret->tv_sec += atomic_load(&clock_off_s);
        return (int) r;
}

/* Known from then on: to the threads, and to the children that begin later. */
static void reject(struct bearer_token *token, unsigned long fingerprint) {
        int i;

        bearer_reject(client, token);
        i = atomic_fetch_add(&n_rejected, 1);
        if (i < REJECTED_MAX)
                atomic_store(&rejected[i], fingerprint);
}

static void get_one(const struct bearer_request *rq, char last[17]) {
        const int n_known = atomic_load(&n_rejected);
        struct bearer_token *token;
        unsigned long fingerprint;
        int r = bearer_get(client, credential, rq, &token);

        if (r < 0) {
                fprintf(stderr, "%d: %s: %s\n", (int) getpid(), bearer_strerror(r),
                        bearer_error_text());
                atomic_fetch_add(&failures, 1);
                return;
        }
        fingerprint = strtoul(bearer_token_fingerprint(token), NULL, 16);
        for (int i = 0; i < n_known && i < REJECTED_MAX; i++)
                if (atomic_load(&rejected[i]) == fingerprint) {
                        fprintf(stderr, "%d: a token that was rejected\n", (int) getpid());
                        atomic_fetch_add(&failures, 1);
                }
        if (bearer_token_expires_at(token) < time(NULL) || strlen(bearer_token_value(token)) < 10) {
                fprintf(stderr, "%d: a stale token, %ld s past its end\n", (int) getpid(),
                        (long) (time(NULL) - bearer_token_expires_at(token)));
                atomic_fetch_add(&failures, 1);
        }
        if (strcmp(last, bearer_token_fingerprint(token)) != 0) {
                strcpy(last, bearer_token_fingerprint(token));
                if (atomic_fetch_add(&changes, 1) % REJECT_EVERY == REJECT_EVERY - 1)
                        reject(token, fingerprint);
        }
        atomic_fetch_add(&tokens, 1);
        bearer_token_unref(token);
}

static void *work(void *arg) {
        char last[17] = "";

        while (!atomic_load(&stop)) {
                get_one(arg, last);
                if (atomic_load(&tokens) % 64 == 0)
                        poll(NULL, 0, 1); /* leave the cores to the daemon, too */
        }
        return NULL;
}

static int child(void) {
        char last[17] = "";

        atomic_store(&failures, 0);
        for (int i = 0; i < CHILD_TOKENS; i++)
                get_one(NULL, last);
        bearer_free(client);
        return atomic_load(&failures) ? 1 : 0;
}

int main(int argc, char **argv) {
        struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
        struct bearer_request *picky; /* for whom no token is good enough to be taken from memory */
        pthread_t threads[THREADS];
        int status, forks = 0;

        if (argc != 3 || bearer_new(&client, argv[1]) < 0 || bearer_request_new(&picky) < 0 ||
            bearer_request_set_min_ttl(picky, PICKY_TTL_S) < 0)
                return 2;
        credential = argv[2];
        for (int i = 0; i < THREADS; i++)
                if (pthread_create(&threads[i], NULL, work, i % 4 == 0 ? picky : NULL) != 0)
                        return 2;
        do {
                pid_t pid;

                atomic_store(&clock_off_s, (forks % 3 - 1) * 86400);
                pid = fork();
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
        bearer_request_free(picky);
        bearer_free(client);
        printf("%ld tokens, %ld changes, %d rejections, %d forks\n", atomic_load(&tokens),
               atomic_load(&changes), atomic_load(&n_rejected), forks);
        return atomic_load(&failures) ? 1 : 0;
}
