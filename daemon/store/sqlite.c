#include "store/sqlite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "store/binding.h"
#include "store/db.h"
#include "store/row.h"
#include "store/seal.h"
#include "store/statedir.h"
#include "store/writer.h"

struct store_sqlite {
        struct store store;
        int lock_fd;
        struct seal *seal;
        struct writer *writer;
        sqlite3 *reader;
        sqlite3_stmt *get, *each, *page;
};

static int store_sqlite_give(struct store_sqlite *s, struct change *c, store_done_fn *done,
                             void *user) {
        c->done = done;
        c->user = user;
        return writer_give(s->writer, c);
}

static int store_sqlite_put(void *self, const struct record *record, store_done_fn *done,
                            void *user) {
        AUTO(change_freep) struct change *c = NULL;
        struct store_sqlite *s = self;
        int r;

        if (secret_len(record->secret) > STORE_SECRET_MAX)
                return RAISE(-EFBIG);
        c = change_new(record->credential, record->subject,
                       secret_len(record->secret) + SEAL_OVERHEAD);
        if (!c)
                return RAISE(-ENOMEM);
        c->kind = record->kind;
        c->obtained_at = record->obtained_at;
        c->expires_at = record->expires_at;
        c->in_doubt = record->in_doubt;
        r = seal_close(s->seal, record, c->sealed);
        if (r < 0)
                return PASS(r);
        return store_sqlite_give(s, TAKE(c), done, user);
}

static int store_sqlite_give_named(struct store_sqlite *s, enum change_kind change,
                                   const char *credential, const char *subject, store_done_fn *done,
                                   void *user) {
        struct change *c = change_new(credential, subject, 0);

        if (!c)
                return RAISE(-ENOMEM);
        c->change = change;
        return store_sqlite_give(s, c, done, user);
}

static int store_sqlite_mark(void *self, const char *credential, const char *subject,
                             store_done_fn *done, void *user) {
        return store_sqlite_give_named(self, CHANGE_MARK, credential, subject, done, user);
}

static int store_sqlite_remove(void *self, const char *credential, const char *subject,
                               store_done_fn *done, void *user) {
        return store_sqlite_give_named(self, CHANGE_REMOVE, credential, subject, done, user);
}

static int store_sqlite_read_row(struct store_sqlite *s, const char *credential,
                                 const char *subject, struct why *why, struct record *ret) {
        struct record row;
        int r, rc;

        (void) sqlite3_bind_text(s->get, 1, credential, -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(s->get, 2, subject, -1, SQLITE_STATIC);
        rc = sqlite3_step(s->get);
        if (rc == SQLITE_DONE)
                return STORE_E_ABSENT;
        if (rc != SQLITE_ROW)
                return db_explain(s->reader, db_errno(s->reader, rc), why);
        r = row_read(s->get, why, &row);
        if (r == 0)
                r = row_open(s->get, s->seal, why, &row);
        if (r < 0)
                return PASS(r);
        row.credential = credential;
        row.subject = subject;
        *ret = row;
        return 0;
}

static int store_sqlite_get(void *self, const char *credential, const char *subject,
                            struct why *why, struct record *ret) {
        struct store_sqlite *s = self;
        int r = store_sqlite_read_row(s, credential, subject, why, ret);

        (void) sqlite3_reset(s->get); /* a statement left open would hold up checkpoints */
        (void) sqlite3_clear_bindings(s->get);
        return r;
}

static int store_sqlite_show_rows(struct store_sqlite *s, sqlite3_stmt *stmt, store_row_fn *row,
                                  void *user, struct why *why) {
        struct record metadata;
        int r = 0, rc = SQLITE_ROW;

        while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
                r = row_read(stmt, why, &metadata);
                if (r == 0)
                        r = row(user, &metadata);
        }
        if (r == 0 && rc != SQLITE_DONE)
                r = db_explain(s->reader, db_errno(s->reader, rc), why);
        (void) sqlite3_reset(stmt);
        (void) sqlite3_clear_bindings(stmt);
        return r;
}

static int store_sqlite_each(void *self, store_row_fn *row, void *user, struct why *why) {
        struct store_sqlite *s = self;

        return store_sqlite_show_rows(s, s->each, row, user, why);
}

static int store_sqlite_page(void *self, const char *credential, const char *after, size_t limit,
                             store_row_fn *row, void *user, struct why *why) {
        struct store_sqlite *s = self;

        (void) sqlite3_bind_text(s->page, 1, credential, -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(s->page, 2, after ? after : "", -1, SQLITE_STATIC);
        (void) sqlite3_bind_int(s->page, 3, !after);
        (void) sqlite3_bind_int64(s->page, 4, limit < INT64_MAX ? (int64_t) limit : INT64_MAX);
        return store_sqlite_show_rows(s, s->page, row, user, why);
}

static int store_sqlite_open_reader(struct store_sqlite *s, const char *path, struct why *why) {
        int r;

        r = db_open_reader(path, why, &s->reader);
        if (r < 0)
                return PASS(r);
        r = db_prepare(s->reader,
                       "SELECT " ROW_WHOLE " FROM record "
                       "WHERE credential = ?1 AND subject = ?2",
                       &s->get);
        if (r == 0)
                r = db_prepare(s->reader, "SELECT " ROW_METADATA " FROM record", &s->each);
        if (r == 0)
                r = db_prepare(s->reader,
                               "SELECT " ROW_METADATA " FROM record "
                               "WHERE credential = ?1 AND subject >= ?2 AND (subject > ?2 OR ?3) "
                               "ORDER BY subject LIMIT ?4",
                               &s->page);
        return r < 0 ? db_explain(s->reader, r, why) : 0;
}

static struct store_sqlite *store_sqlite_free(struct store_sqlite *s) {
        if (!s)
                return NULL;
        writer_stop(s->writer); /* its last callbacks may still read */
        s->get = db_finalize(s->get);
        s->each = db_finalize(s->each);
        s->page = db_finalize(s->page);
        s->reader = db_close(s->reader);
        s->writer = writer_free(s->writer); /* the last connection to go folds in the log */
        s->seal = seal_free(s->seal);
        auto_closep(&s->lock_fd);
        free(s);
        return NULL;
}
AUTO_DEFINE(struct store_sqlite, store_sqlite_free)

int store_sqlite_open(const char *state_dir, const char *key_file, sd_event *event, struct why *why,
                      struct store **ret) {
        AUTO(store_sqlite_freep) struct store_sqlite *s = NULL;
        AUTO(auto_freep) char *path = NULL;
        AUTO(db_closep) sqlite3 *db = NULL;
        int version, r;

        s = calloc(1, sizeof(*s));
        if (!s || asprintf(&path, "%s/" DB_FILE, state_dir) < 0) {
                path = NULL; /* asprintf(3) leaves it undefined */
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        }
        s->lock_fd = -1;
        s->store = (struct store){
                .put = store_sqlite_put,
                .remove = store_sqlite_remove,
                .mark = store_sqlite_mark,
                .get = store_sqlite_get,
                .each = store_sqlite_each,
                .page = store_sqlite_page,
                .self = s,
        };
        r = statedir_claim(state_dir, why, &s->lock_fd);
        if (r < 0)
                return PASS(r);
        r = db_open(path, why, &version, &db);
        if (r < 0)
                return PASS(r);
        r = binding_unlock(db, version, key_file, why, &s->seal);
        if (r < 0)
                return PASS(r);
        r = store_sqlite_open_reader(s, path, why);
        if (r < 0)
                return PASS(r);
        r = writer_new(TAKE(db), event, &s->writer);
        if (r < 0)
                return why_set(why, PASS(r), "cannot start the store's writer: %s", strerror(-r));
        *ret = &TAKE(s)->store;
        return 0;
}

struct store *store_sqlite_close(struct store *store) {
        if (store)
                (void) store_sqlite_free(store->self);
        return NULL;
}

size_t store_sqlite_pending(const struct store *store) {
        const struct store_sqlite *s = store->self;

        return writer_pending(s->writer);
}

uint64_t store_sqlite_commits(const struct store *store) {
        const struct store_sqlite *s = store->self;

        return writer_commits(s->writer);
}
