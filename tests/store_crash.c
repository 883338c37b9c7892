/*
 * What test_store_crash.py kills: writes to a store, one change after the other, and says which of
 * them were reported as durable.
 *
 * store_crash write DIR N      puts N rows and marks each, prints "N" and "N!" when done() says so
 * store_crash rekey DIR        changes the key
 * store_crash version-1 DIR    makes a database of schema 1 with rows 0 to 2
 * store_crash check DIR N...   fails unless these rows are there (N!: and are marked), no row is
 *                              damaged, and nothing is left of a change of keys
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/rekey.h"
#include "store/sqlite.h"
#include "store_version_1.h"

static int last_result;

static void note_result(void *user, int r) {
        (void) user;
        last_result = r;
}

static int refuse(const char *what, int r, const struct why *why) {
        (void) fprintf(stderr, "%s: %s: %s\n", what, strerror(-r), why->text);
        return EXIT_FAILURE;
}

static void describe(int i, char subject[16], char text[32]) {
        (void) snprintf(subject, 16, "user-%d", i);
        (void) snprintf(text, 32, "LBEP-secret-%d", i);
}

/* Whether what was given, with `r`, has become durable. */
static bool is_done(struct store *store, sd_event *event, int r) {
        while (r == 0 && store_sqlite_pending(store) > 0)
                (void) sd_event_run(event, UINT64_MAX);
        return r == 0 && last_result == 0;
}

static int write_rows(struct store *store, sd_event *event, int n) {
        for (int i = 0; i < n; i++) {
                char subject[16], text[32];
                struct record record = { .credential = "site",
                                         .subject = subject,
                                         .kind = RECORD_GRANT };
                int r;

                describe(i, subject, text);
                record.secret = secret_new(text, strlen(text));
                r = store->put(store->self, &record, note_result, NULL);
                record.secret = secret_unref(record.secret);
                if (is_done(store, event, r) && dprintf(STDOUT_FILENO, "%d\n", i) < 0)
                        return EXIT_FAILURE;
                r = store->mark(store->self, "site", subject, note_result, NULL);
                if (is_done(store, event, r) && dprintf(STDOUT_FILENO, "%d!\n", i) < 0)
                        return EXIT_FAILURE;
        }
        return EXIT_SUCCESS;
}

static int open_row(void *user, const struct record *metadata) {
        struct store *store = user;
        struct record record;
        struct why why = { "" };
        int r;

        r = store->get(store->self, metadata->credential, metadata->subject, &why, &record);
        if (r == 0)
                record.secret = secret_unref(record.secret);
        else
                (void) refuse(metadata->subject, r, &why);
        return r;
}

static int check_rows(struct store *store, char **numbers) {
        struct why why = { "" };

        if (store->each(store->self, open_row, store, &why) != 0)
                return EXIT_FAILURE;
        for (; *numbers; numbers++) {
                char subject[16], text[32];
                struct record record;
                int r;

                describe(atoi(*numbers), subject, text);
                r = store->get(store->self, "site", subject, &why, &record);
                if (r != 0 || strcmp(secret_text(record.secret), text) != 0)
                        return refuse(subject, r < 0 ? r : 0, &why);
                record.secret = secret_unref(record.secret);
                if (strchr(*numbers, '!') && !record.in_doubt)
                        return refuse("no mark", 0, &why);
        }
        return EXIT_SUCCESS;
}

static int make_version_1(const char *dir, const char *key) {
        char path[4096];
        sqlite3 *db;
        int fd;

        (void) snprintf(path, sizeof(path), "%s/bearerd.db", dir);
        if (mkdir(dir, 0700) < 0 || (fd = open(key, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) < 0 ||
            write(fd, version_1_key, sizeof(version_1_key)) < 0 || close(fd) < 0 ||
            sqlite3_open(path, &db) != SQLITE_OK ||
            sqlite3_exec(db, version_1_sql, NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_close(db) != SQLITE_OK)
                return EXIT_FAILURE;
        return EXIT_SUCCESS;
}

static int rekey(const char *dir, const char *key) {
        struct why why = { "" };
        size_t rows;
        int r = store_sqlite_rekey(dir, key, NULL, &why, &rows);

        return r < 0 ? refuse("rekey", r, &why) : EXIT_SUCCESS;
}

static int use_store(const char *what, const char *dir, const char *key, char **arguments) {
        sd_event *event = NULL;
        struct store *store = NULL;
        struct why why = { "" };
        int r;

        if (sd_event_new(&event) < 0)
                return EXIT_FAILURE;
        r = store_sqlite_open(dir, key, event, &why, &store);
        if (r < 0)
                r = refuse("open", r, &why);
        else if (strcmp(what, "write") == 0)
                r = write_rows(store, event, *arguments ? atoi(*arguments) : 1);
        else
                r = check_rows(store, arguments);
        store = store_sqlite_close(store);
        event = sd_event_unref(event);
        return r;
}

int main(int argc, char **argv) {
        char key[4096], staged[4096];
        int r;

        if (argc < 3)
                return EXIT_FAILURE;
        (void) snprintf(key, sizeof(key), "%.4000s/bearerd.key", argv[2]);
        (void) snprintf(staged, sizeof(staged), "%.4000s/bearerd.key.new", argv[2]);
        if (strcmp(argv[1], "version-1") == 0)
                return make_version_1(argv[2], key);
        if (strcmp(argv[1], "rekey") == 0)
                return rekey(argv[2], key);
        r = use_store(argv[1], argv[2], key, argv + 3);
        if (r == 0 && strcmp(argv[1], "check") == 0 && access(staged, F_OK) == 0) {
                (void) fprintf(stderr, "%s was left behind\n", staged);
                r = EXIT_FAILURE;
        }
        return r;
}
