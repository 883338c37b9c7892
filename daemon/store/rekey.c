/*
 * Three steps, each durable before the next: the new key lies beside key_file; the database is
 * sealed under it; it takes the name of key_file. Whichever of the last two is missing after a
 * crash, the database's binding tells (binding.c).
 *
 * So nothing here ever removes the new key, not even when the commit fails: a commit of which only
 * the sync has failed may turn out to be one after all.
 */
#include "store/rekey.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/err.h"
#include "store/binding.h"
#include "store/db.h"
#include "store/keyfile.h"
#include "store/row.h"
#include "store/seal.h"
#include "store/statedir.h"

struct rekey {
        const char *key_file;
        const char *new_key_file; /* or NULL */
        struct seal *old, *new;
        struct binding binding; /* to the new key */
        sqlite3_stmt *next;     /* the row with the smallest rowid after ?1 */
        sqlite3_stmt *update;
        size_t rows;
};

/* The row `*id` from now on, sealed under the new key. 1; 0: there are no more. */
static int rekey_seal_next(struct rekey *k, int64_t *id, struct why *why, uint8_t **ret,
                           size_t *ret_len) {
        AUTO(auto_freep) uint8_t *sealed = NULL;
        sqlite3 *db = sqlite3_db_handle(k->next);
        struct record row;
        int r, rc;

        rc = sqlite3_step(k->next);
        if (rc == SQLITE_DONE)
                return 0;
        if (rc != SQLITE_ROW)
                return db_explain(db, db_errno(db, rc), why);
        *id = sqlite3_column_int64(k->next, ROW_COLUMN_MAX);
        r = row_read(k->next, why, &row);
        if (r == 0)
                r = row_open(k->next, k->old, why, &row);
        if (r < 0)
                return PASS(r);
        *ret_len = secret_len(row.secret) + SEAL_OVERHEAD;
        sealed = malloc(*ret_len);
        r = sealed ? seal_close(k->new, &row, sealed) : RAISE(-ENOMEM);
        row.secret = secret_unref(row.secret);
        if (r < 0)
                return why_set(why, PASS(r), "cannot seal a secret: %s", strerror(-r));
        *ret = TAKE(sealed);
        return 1;
}

/* Reading is over before the row is written: a query may see anything of what changes under it. */
static int rekey_next(struct rekey *k, int64_t *id, struct why *why) {
        AUTO(auto_freep) uint8_t *sealed = NULL;
        size_t len = 0;
        int r;

        (void) sqlite3_bind_int64(k->next, 1, *id);
        r = rekey_seal_next(k, id, why, &sealed, &len);
        (void) sqlite3_reset(k->next); /* repeats what the step has said */
        if (r <= 0)
                return PASS(r);
        (void) sqlite3_bind_int64(k->update, 1, *id);
        (void) sqlite3_bind_blob64(k->update, 2, sealed, len, SQLITE_STATIC);
        r = db_run(k->update);
        (void) sqlite3_clear_bindings(k->update);
        return r < 0 ? db_explain(sqlite3_db_handle(k->update), r, why) : 1;
}

static int rekey_database(sqlite3 *db, void *user, struct why *why) {
        struct rekey *k = user;
        int64_t id = INT64_MIN;
        int r;

        r = db_prepare(db,
                       "SELECT " ROW_WHOLE ", rowid FROM record WHERE rowid > ?1 "
                       "ORDER BY rowid LIMIT 1",
                       &k->next);
        if (r == 0)
                r = db_prepare(db, "UPDATE record SET sealed = ?2 WHERE rowid = ?1", &k->update);
        if (r < 0)
                return db_explain(db, r, why);
        while ((r = rekey_next(k, &id, why)) > 0)
                k->rows++;
        return r < 0 ? PASS(r) : binding_write(db, &k->binding, why);
}

/* A key that somebody else puts in the place of key_file. */
static int rekey_read_key(sqlite3 *db, const char *path, struct why *why, struct secret **ret) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        bool is_old = false;
        int r;

        r = keyfile_read(path, why, &key);
        if (r == KEYFILE_E_ABSENT)
                r = keyfile_make(path, why, &key);
        if (r == 0)
                r = binding_fits(db, key, why, &is_old);
        if (r < 0)
                return PASS(r);
        if (is_old)
                return why_set(why, RAISE(-EINVAL),
                               "%s holds the key that is in use: name a file that does not exist, "
                               "and a new key is made there",
                               path);
        *ret = TAKE(key);
        return 0;
}

static int rekey_run(struct rekey *k, sqlite3 *db, int version, struct why *why) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        int r;

        r = binding_unlock(db, version, k->key_file, why, &k->old);
        if (r == 0)
                r = k->new_key_file ? rekey_read_key(db, k->new_key_file, why, &key)
                                    : keyfile_stage(k->key_file, why, &key);
        if (r == 0)
                r = binding_make(key, why, &k->binding, &k->new);
        if (r == 0)
                r = db_change(db, rekey_database, k, why);
        if (r == 0 && !k->new_key_file)
                r = keyfile_promote(k->key_file, why);
        return PASS(r);
}

static void rekey_done(struct rekey *k) {
        k->next = db_finalize(k->next);
        k->update = db_finalize(k->update);
        k->old = seal_free(k->old);
        k->new = seal_free(k->new);
}

static int rekey_nothing(const char *path, struct why *why) {
        return why_set(why, RAISE(-ENOENT),
                       "there is nothing in %s yet: bearerd makes a key of its own when it starts",
                       path);
}

/* Looks for the database before anything is made in the directory. */
static int rekey_claim(const char *state_dir, const char *path, struct why *why, int *ret_lock) {
        int r;

        if (access(path, F_OK) < 0 && errno == ENOENT)
                return rekey_nothing(path, why);
        r = statedir_claim(state_dir, why, ret_lock);
        if (r == -EBUSY)
                return why_set(why, r,
                               "bearerd is running and uses state_dir %s: stop bearerd first, then "
                               "change the key, then start it",
                               state_dir);
        return PASS(r);
}

int store_sqlite_rekey(const char *state_dir, const char *key_file, const char *new_key_file,
                       struct why *why, size_t *ret_rows) {
        struct rekey k = { .key_file = key_file, .new_key_file = new_key_file };
        AUTO(auto_freep) char *path = NULL;
        AUTO(auto_closep) int lock = -1;
        AUTO(db_closep) sqlite3 *db = NULL;
        int version, r;

        if (asprintf(&path, "%s/" DB_FILE, state_dir) < 0) {
                path = NULL; /* asprintf(3) leaves it undefined */
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        }
        r = rekey_claim(state_dir, path, why, &lock);
        if (r == 0)
                r = db_open(path, why, &version, &db);
        if (r < 0)
                return PASS(r);
        if (version == 0)
                return rekey_nothing(path, why);
        r = rekey_run(&k, db, version, why);
        rekey_done(&k); /* statements go before their database */
        if (r < 0)
                return PASS(r);
        *ret_rows = k.rows;
        return 0;
}
