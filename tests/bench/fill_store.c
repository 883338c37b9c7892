/*
 * fill_store DIR CREDENTIAL N: makes a store with N grants of that credential, as if as many people
 * had authorized it in the last days; subjects user-000000 and so on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "store/sqlite.h"

#define REFRESH_TOKEN_RANDOM 30 /* bytes, in hex as long as Coze's are */
#define GRANT_LIFETIME_S     (INT64_C(30) * 86400)
#define GRANT_AGE_MAX_S      (INT64_C(3) * 86400)

static int n_failed;

static void note_result(void *user, int r) {
        (void) user;
        n_failed += r < 0;
}

static int refuse(const char *what, int r, const struct why *why) {
        (void) fprintf(stderr, "fill_store: %s: %s %s\n", what, strerror(-r), why->text);
        return EXIT_FAILURE;
}

static int put_grant(struct store *store, const char *credential, int i, wall_t now) {
        uint8_t random[REFRESH_TOKEN_RANDOM];
        char subject[16], token[2 * REFRESH_TOKEN_RANDOM + 1];
        struct record record = { .credential = credential,
                                 .subject = subject,
                                 .kind = RECORD_GRANT };
        int r;

        (void) snprintf(subject, sizeof(subject), "user-%06d", i);
        random_fill(&random_system, random, sizeof(random));
        text_hex(random, sizeof(random), token);
        record.secret = secret_new(token, strlen(token));
        record.obtained_at = (wall_t){ now.s -
                                       (int64_t) random_below(&random_system, GRANT_AGE_MAX_S) };
        record.expires_at = (wall_t){ record.obtained_at.s + GRANT_LIFETIME_S };
        r = store->put(store->self, &record, note_result, NULL);
        record.secret = secret_unref(record.secret);
        return r;
}

int main(int argc, char **argv) {
        AUTO(store_sqlite_closep) struct store *store = NULL;
        struct why why = { "" };
        sd_event *event = NULL;
        char key[4096];
        int r;

        if (argc != 4 || sd_event_new(&event) < 0)
                return EXIT_FAILURE;
        (void) snprintf(key, sizeof(key), "%s/bearerd.key", argv[1]);
        r = store_sqlite_open(argv[1], key, event, &why, &store);
        if (r < 0)
                return refuse(argv[1], r, &why);
        for (int i = 0, n = atoi(argv[3]); r == 0 && i < n; i++)
                r = put_grant(store, argv[2], i, clock_wall(&clock_system));
        if (r < 0)
                return refuse("a grant was not taken", r, &why);
        store = store_sqlite_close(store);
        sd_event_unref(event);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
