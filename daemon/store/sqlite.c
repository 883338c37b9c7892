#include "store/sqlite.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/random.h"
#include "store/db.h"
#include "store/keyfile.h"
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

/* Before the cast and before the seal, which binds one byte of it. */
static int store_sqlite_read_kind(struct store_sqlite *s, sqlite3_stmt *stmt, int column,
                                  const char *credential, struct why *why, enum record_kind *ret) {
        int64_t kind = sqlite3_column_int64(stmt, column);

        if (kind < 0 || kind >= RECORD_KIND_MAX)
                return why_set(
                        why, RAISE(-EBADMSG),
                        "%s: a row of credential \"%.64s\" was altered: restore the file from "
                        "a backup, or give the secret anew",
                        sqlite3_db_filename(s->reader, "main"), credential);
        *ret = (enum record_kind) kind;
        return 0;
}

static int store_sqlite_read_row(struct store_sqlite *s, const char *credential,
                                 const char *subject, struct why *why, struct record *ret) {
        struct record row = { .credential = credential, .subject = subject };
        int r, rc;

        (void) sqlite3_bind_text(s->get, 1, credential, -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(s->get, 2, subject, -1, SQLITE_STATIC);
        rc = sqlite3_step(s->get);
        if (rc == SQLITE_DONE)
                return STORE_E_ABSENT;
        if (rc != SQLITE_ROW)
                return db_explain(s->reader, db_errno(s->reader, rc), why);
        r = store_sqlite_read_kind(s, s->get, 0, credential, why, &row.kind);
        if (r < 0)
                return PASS(r);
        row.obtained_at.s = sqlite3_column_int64(s->get, 1);
        row.expires_at.s = sqlite3_column_int64(s->get, 2);
        row.in_doubt = sqlite3_column_int(s->get, 4) != 0;
        r = seal_open(s->seal, &row, sqlite3_column_blob(s->get, 3),
                      (size_t) sqlite3_column_bytes(s->get, 3), why, &row.secret);
        if (r < 0)
                return PASS(r);
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

/* The columns that each() and page() select. */
#define STORE_METADATA "credential, subject, kind, obtained_at, expires_at, in_doubt"

static int store_sqlite_show_row(struct store_sqlite *s, sqlite3_stmt *stmt, store_row_fn *row,
                                 void *user, struct why *why) {
        struct record metadata = {
                .credential = (const char *) sqlite3_column_text(stmt, 0),
                .subject = (const char *) sqlite3_column_text(stmt, 1),
                .obtained_at = { sqlite3_column_int64(stmt, 3) },
                .expires_at = { sqlite3_column_int64(stmt, 4) },
                .in_doubt = sqlite3_column_int(stmt, 5) != 0,
        };
        int r;

        if (!metadata.credential || !metadata.subject)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        r = store_sqlite_read_kind(s, stmt, 2, metadata.credential, why, &metadata.kind);
        return r < 0 ? PASS(r) : row(user, &metadata);
}

static int store_sqlite_show_rows(struct store_sqlite *s, sqlite3_stmt *stmt, store_row_fn *row,
                                  void *user, struct why *why) {
        int r = 0, rc = SQLITE_ROW;

        while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
                r = store_sqlite_show_row(s, stmt, row, user, why);
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

/* The two values that bind a database to its key. */
struct store_binding {
        uint8_t salt[SEAL_SALT_SIZE];
        uint8_t check[SEAL_CHECK_SIZE];
};

static int store_binding_read_value(sqlite3_stmt *stmt, const char *name, uint8_t *ret,
                                    size_t size) {
        int r = RAISE(-EBADMSG);

        (void) sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == (int) size) {
                memcpy(ret, sqlite3_column_blob(stmt, 0), size);
                r = 0;
        }
        (void) sqlite3_reset(stmt);
        return r;
}

static int store_binding_read(sqlite3 *db, struct why *why, struct store_binding *ret) {
        AUTO(db_finalizep) sqlite3_stmt *stmt = NULL;
        int r;

        r = db_prepare(db, "SELECT value FROM meta WHERE name = ?1", &stmt);
        if (r < 0)
                return db_explain(db, r, why);
        r = store_binding_read_value(stmt, "salt", ret->salt, sizeof(ret->salt));
        if (r == 0)
                r = store_binding_read_value(stmt, "check", ret->check, sizeof(ret->check));
        if (r < 0)
                return why_set(why, PASS(r),
                               "%s: the mark of its key is damaged: restore it from a backup, or "
                               "move it away and authorize anew",
                               sqlite3_db_filename(db, "main"));
        return 0;
}

static int store_binding_write(sqlite3 *db, void *user) {
        AUTO(db_finalizep) sqlite3_stmt *stmt = NULL;
        const struct store_binding *b = user;
        int r;

        r = db_prepare(
                db, "INSERT OR REPLACE INTO meta (name, value) VALUES ('salt', ?1), ('check', ?2)",
                &stmt);
        if (r < 0)
                return PASS(r);
        (void) sqlite3_bind_blob(stmt, 1, b->salt, sizeof(b->salt), SQLITE_STATIC);
        (void) sqlite3_bind_blob(stmt, 2, b->check, sizeof(b->check), SQLITE_STATIC);
        return db_run(stmt);
}

static int store_sqlite_has_rows(sqlite3 *db, struct why *why, bool *ret) {
        AUTO(db_finalizep) sqlite3_stmt *stmt = NULL;
        int r, rc;

        r = db_prepare(db, "SELECT 1 FROM record LIMIT 1", &stmt);
        if (r < 0)
                return db_explain(db, r, why);
        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                return db_explain(db, db_errno(db, rc), why);
        *ret = rc == SQLITE_ROW;
        return 0;
}

/* Reads the key, or makes one when nothing can be lost by it. `*bound` says whether the database
 * has a key yet; it becomes false when that key is gone but had sealed nothing. */
static int store_sqlite_find_key(sqlite3 *db, const char *key_file, struct why *why, bool *bound,
                                 struct secret **ret) {
        bool has_rows = false;
        int r;

        r = keyfile_read(key_file, why, ret);
        if (r != KEYFILE_E_ABSENT)
                return PASS(r);
        if (*bound) {
                r = store_sqlite_has_rows(db, why, &has_rows);
                if (r < 0)
                        return PASS(r);
        }
        if (has_rows) {
                const char *path = sqlite3_db_filename(db, "main");

                return why_set(
                        why, RAISE(-ENOKEY),
                        "key_file %s is missing but %s is sealed under it: restore it; if it "
                        "is lost for good, move %s away and authorize anew",
                        key_file, path, path);
        }
        *bound = false;
        return keyfile_make(key_file, why, ret);
}

/* Finds the key that fits the database and brings its schema up to date. */
static int store_sqlite_unlock(struct store_sqlite *s, sqlite3 *db, int version,
                               const char *key_file, struct why *why) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        struct store_binding binding;
        bool bound = version > 0;
        int r;

        r = store_sqlite_find_key(db, key_file, why, &bound, &key);
        if (r < 0)
                return PASS(r);
        if (bound) {
                r = store_binding_read(db, why, &binding);
                if (r < 0)
                        return PASS(r);
        } else {
                random_fill(&random_system, binding.salt, sizeof(binding.salt));
        }
        r = seal_new(key, binding.salt, &s->seal);
        if (r < 0)
                return why_set(why, PASS(r), "cannot derive keys from key_file %s: %s", key_file,
                               strerror(-r));
        if (bound && CRYPTO_memcmp(binding.check, seal_check(s->seal), SEAL_CHECK_SIZE) != 0)
                return why_set(
                        why, RAISE(-EBADMSG),
                        "key_file %s is not the key that %s is sealed under: restore the right "
                        "one; nothing was changed",
                        key_file, sqlite3_db_filename(db, "main"));
        memcpy(binding.check, seal_check(s->seal), SEAL_CHECK_SIZE);
        return db_upgrade(db, version, bound ? NULL : store_binding_write, &binding, why);
}

static int store_sqlite_open_reader(struct store_sqlite *s, const char *path, struct why *why) {
        int r;

        r = db_open_reader(path, why, &s->reader);
        if (r < 0)
                return PASS(r);
        r = db_prepare(s->reader,
                       "SELECT kind, obtained_at, expires_at, sealed, in_doubt FROM record "
                       "WHERE credential = ?1 AND subject = ?2",
                       &s->get);
        if (r == 0)
                r = db_prepare(s->reader, "SELECT " STORE_METADATA " FROM record", &s->each);
        if (r == 0)
                r = db_prepare(s->reader,
                               "SELECT " STORE_METADATA " FROM record "
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
        if (!s || asprintf(&path, "%s/bearerd.db", state_dir) < 0) {
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
        r = store_sqlite_unlock(s, db, version, key_file, why);
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
