/*
 * What test_store_crash.py kills: writes to a store, one change after the other, and says which of
 * them were reported as durable.
 *
 * store_crash write DIR N      puts N rows, prints the number of each when done() says so
 * store_crash check DIR N...   fails unless these rows are there and no row is damaged
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite.h"

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

static int put_rows(struct store *store, sd_event *event, int n) {
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
                while (r == 0 && store_sqlite_pending(store) > 0)
                        (void) sd_event_run(event, UINT64_MAX);
                if (r == 0 && last_result == 0 && dprintf(STDOUT_FILENO, "%d\n", i) < 0)
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
        }
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        char key[4096];
        sd_event *event = NULL;
        struct store *store = NULL;
        struct why why = { "" };
        int r;

        if (argc < 3 || sd_event_new(&event) < 0)
                return EXIT_FAILURE;
        (void) snprintf(key, sizeof(key), "%s/bearerd.key", argv[2]);
        r = store_sqlite_open(argv[2], key, event, &why, &store);
        if (r < 0)
                r = refuse("open", r, &why);
        else if (strcmp(argv[1], "write") == 0)
                r = put_rows(store, event, argc > 3 ? atoi(argv[3]) : 1);
        else
                r = check_rows(store, argv + 3);
        store = store_sqlite_close(store);
        event = sd_event_unref(event);
        return r;
}
