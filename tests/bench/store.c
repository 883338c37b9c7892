/*
 * The store with as many rows as one web application has users
 *
 * Prints what a start, a page, a single read and a durable change cost, at ROWS rows and, for what
 * must not depend on it, at a hundredth of them. Fails when an answer is wrong, never because
 * something is slow.
 *
 * bench/store [ROWS [DIRECTORY]]; the directory should be on the disk that is meant, and is removed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/rekey.h"
#include "store/sqlite.h"

#define PAGE    100
#define SAMPLES 501 /* of each read; the median is printed */
#define SINGLES 300 /* changes that each wait for the one before */

static const char *dir;
static char key[4096], db[4096];
static sd_event *event;
static struct store *store;
static struct why why;

static void must(bool good, const char *what) {
        if (good)
                return;
        (void) fprintf(stderr, "bench/store: %s: %s\n", what, why.text);
        exit(EXIT_FAILURE);
}

static double now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void open_store(void) {
        must(store_sqlite_open(dir, key, event, &why, &store) == 0, "open");
}

static void settle(void) {
        while (store_sqlite_pending(store) > 0)
                must(sd_event_run(event, UINT64_MAX) >= 0, "wait");
}

static void count_failure(void *user, int r) {
        *(size_t *) user += r != 0;
}

/* A refresh token is about this long. */
static int put(size_t i, size_t *failures) {
        char subject[32], text[129];
        struct record record = { .credential = "site", .subject = subject, .kind = RECORD_GRANT };
        int r;

        (void) snprintf(subject, sizeof(subject), "user-%08zu", i);
        (void) snprintf(text, sizeof(text), "%0128zu", i);
        record.secret = secret_new(text, strlen(text));
        r = store->put(store->self, &record, count_failure, failures);
        record.secret = secret_unref(record.secret);
        return r;
}

static void fill(size_t from, size_t rows) {
        uint64_t commits = store_sqlite_commits(store);
        size_t failures = 0;
        double t = now();

        for (size_t i = from; i < rows; i++)
                must(put(i, &failures) == 0, "put");
        settle();
        must(failures == 0, "put");
        t = now() - t;
        (void) printf("  put, many at once     %9.0f rows/s, %.0f rows a commit\n",
                      (double) (rows - from) / t,
                      (double) (rows - from) / (double) (store_sqlite_commits(store) - commits));
}

/* What a rotation does: a mark that is durable, then the new token that is durable. */
static void rotate_singly(void) {
        size_t failures = 0;
        double t = now();

        for (size_t i = 0; i < SINGLES; i++) {
                char subject[32];

                (void) snprintf(subject, sizeof(subject), "user-%08zu", i);
                must(store->mark(store->self, "site", subject, count_failure, &failures) == 0,
                     "mark");
                settle();
                must(put(i, &failures) == 0, "put");
                settle();
        }
        must(failures == 0, "rotate");
        t = now() - t;
        (void) printf("  rotations, one by one %9.0f /s (mark, wait, put, wait)\n", SINGLES / t);
}

static int count(void *user, const struct record *metadata) {
        (void) metadata;
        ++*(size_t *) user;
        return 0;
}

static void walk(size_t rows) {
        size_t n = 0;
        double t = now();

        must(store->each(store->self, count, &n, &why) == 0 && n == rows, "each");
        (void) printf("  each                  %9.1f ms for all\n", (now() - t) * 1e3);
}

static int compare(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static void read_page(size_t after, size_t rows) {
        char subject[32];
        size_t n = 0, left = rows - 1 - after;

        (void) snprintf(subject, sizeof(subject), "user-%08zu", after);
        must(store->page(store->self, "site", subject, PAGE, count, &n, &why) == 0 &&
                     n == (left < PAGE ? left : PAGE),
             "page");
}

static void read_one(size_t i, size_t rows) {
        struct record record;
        char subject[32];

        (void) rows;
        (void) snprintf(subject, sizeof(subject), "user-%08zu", i);
        must(store->get(store->self, "site", subject, &why, &record) == 0, "get");
        must(secret_len(record.secret) == 128, "get");
        record.secret = secret_unref(record.secret);
}

static void sample(const char *what, void (*read)(size_t i, size_t rows), size_t rows) {
        double t[SAMPLES];

        for (size_t i = 0; i < SAMPLES; i++) {
                double start = now();

                read(i * 7919 % rows, rows);
                t[i] = (now() - start) * 1e6;
        }
        qsort(t, SAMPLES, sizeof(t[0]), compare);
        (void) printf("  %-21s %9.1f us, p99 %.1f us\n", what, t[SAMPLES / 2],
                      t[SAMPLES * 99 / 100]);
}

static void measure(size_t from, size_t rows) {
        double t;

        (void) printf("%zu rows\n", rows);
        fill(from, rows);
        rotate_singly();
        walk(rows);
        sample("page of 100", read_page, rows);
        sample("get", read_one, rows);
        store = store_sqlite_close(store);
        t = now();
        open_store();
        (void) printf("  open                  %9.1f ms\n", (now() - t) * 1e3);
}

static void rekey(size_t rows) {
        struct stat st;
        size_t n = 0;
        double t;

        store = store_sqlite_close(store);
        t = now();
        must(store_sqlite_rekey(dir, key, NULL, &why, &n) == 0 && n == rows, "rekey");
        (void) printf("  change of the key     %9.1f ms\n", (now() - t) * 1e3);
        must(stat(db, &st) == 0, "stat");
        (void) printf("  database              %9.1f MiB, %.0f bytes a row\n",
                      (double) st.st_size / (1 << 20), (double) st.st_size / (double) rows);
}

static void clean(void) {
        static const char *const names[] = { "bearerd.db", "bearerd.key", "bearerd.lock" };
        char path[4096];

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                (void) snprintf(path, sizeof(path), "%.4000s/%s", dir, names[i]);
                (void) unlink(path); /* what is left is seen by rmdir(2) */
        }
        must(rmdir(dir) == 0, "remove the directory");
}

int main(int argc, char **argv) {
        size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
        char made[] = "/tmp/bearerd-bench-store-XXXXXX";

        must(rows >= 100 * SINGLES, "at least 30000 rows");
        dir = argc > 2 ? argv[2] : mkdtemp(made);
        must(dir && sd_event_new(&event) >= 0, "start");
        (void) snprintf(key, sizeof(key), "%.4000s/bearerd.key", dir);
        (void) snprintf(db, sizeof(db), "%.4000s/bearerd.db", dir);
        open_store();
        measure(0, rows / 100);
        measure(rows / 100, rows);
        rekey(rows);
        clean();
        event = sd_event_unref(event);
        return EXIT_SUCCESS;
}
