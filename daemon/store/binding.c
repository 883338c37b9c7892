#include "store/binding.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/err.h"
#include "base/random.h"
#include "store/db.h"
#include "store/keyfile.h"

#define BINDING_E_OTHER 1 /* sealed under another key */
#define BINDING_E_NONE  2 /* the key is gone, but had sealed nothing */

static int binding_derive(const struct binding *b, const struct secret *key, struct why *why,
                          struct seal **ret) {
        int r = seal_new(key, b->salt, ret);

        return r < 0 ? why_set(why, PASS(r), "cannot derive keys from key_file: %s", strerror(-r))
                     : 0;
}

int binding_make(const struct secret *key, struct why *why, struct binding *ret,
                 struct seal **ret_seal) {
        struct seal *seal;
        int r;

        random_fill(&random_system, ret->salt, sizeof(ret->salt));
        r = binding_derive(ret, key, why, &seal);
        if (r < 0)
                return PASS(r);
        memcpy(ret->check, seal_check(seal), sizeof(ret->check));
        *ret_seal = seal;
        return 0;
}

static int binding_read_value(sqlite3_stmt *stmt, const char *name, uint8_t *ret, size_t size,
                              struct why *why) {
        sqlite3 *db = sqlite3_db_handle(stmt);
        const void *value;
        int r = 0, rc;

        (void) sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
        rc = sqlite3_step(stmt);
        value = rc == SQLITE_ROW ? sqlite3_column_blob(stmt, 0) : NULL;
        if (value && sqlite3_column_bytes(stmt, 0) == (int) size)
                memcpy(ret, value, size);
        else if (rc == SQLITE_ROW || rc == SQLITE_DONE)
                r = why_set(why, RAISE(-EBADMSG),
                            "%s: the mark of its key is damaged: restore it from a backup, or "
                            "move it away and authorize anew",
                            sqlite3_db_filename(db, "main"));
        else
                r = db_explain(db, db_errno(db, rc), why);
        (void) sqlite3_reset(stmt); /* repeats what the step has said */
        return PASS(r);
}

static int binding_read(sqlite3 *db, struct why *why, struct binding *ret) {
        AUTO(db_finalizep) sqlite3_stmt *stmt = NULL;
        int r;

        r = db_prepare(db, "SELECT value FROM meta WHERE name = ?1", &stmt);
        if (r < 0)
                return db_explain(db, r, why);
        r = binding_read_value(stmt, "salt", ret->salt, sizeof(ret->salt), why);
        if (r == 0)
                r = binding_read_value(stmt, "check", ret->check, sizeof(ret->check), why);
        return PASS(r);
}

int binding_write(sqlite3 *db, const struct binding *b, struct why *why) {
        AUTO(db_finalizep) sqlite3_stmt *stmt = NULL;
        int r;

        r = db_prepare(
                db, "INSERT OR REPLACE INTO meta (name, value) VALUES ('salt', ?1), ('check', ?2)",
                &stmt);
        if (r == 0) {
                (void) sqlite3_bind_blob(stmt, 1, b->salt, sizeof(b->salt), SQLITE_STATIC);
                (void) sqlite3_bind_blob(stmt, 2, b->check, sizeof(b->check), SQLITE_STATIC);
                r = db_run(stmt);
        }
        return r < 0 ? db_explain(db, r, why) : 0;
}

/* 0, BINDING_E_OTHER, or a negative errno with a sentence. */
static int binding_try(const struct binding *b, const struct secret *key, struct why *why,
                       struct seal **ret) {
        AUTO(seal_freep) struct seal *seal = NULL;
        int r;

        r = binding_derive(b, key, why, &seal);
        if (r < 0)
                return PASS(r);
        if (CRYPTO_memcmp(b->check, seal_check(seal), sizeof(b->check)) != 0)
                return BINDING_E_OTHER;
        *ret = TAKE(seal);
        return 0;
}

int binding_fits(sqlite3 *db, const struct secret *key, struct why *why, bool *ret) {
        AUTO(seal_freep) struct seal *seal = NULL;
        struct binding b;
        int r;

        r = binding_read(db, why, &b);
        if (r == 0)
                r = binding_try(&b, key, why, &seal);
        if (r < 0)
                return PASS(r);
        *ret = r == 0;
        return 0;
}

/* The key that a change of keys has left beside key_file, if it is the one. The change may not have
 * reached the disk yet, and must before the old key goes. */
static int binding_try_staged(sqlite3 *db, const struct binding *b, const char *key_file,
                              struct why *why, struct seal **ret) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        AUTO(seal_freep) struct seal *seal = NULL;
        int r;

        if (keyfile_read_staged(key_file, &key) != 0)
                return BINDING_E_OTHER;
        r = binding_try(b, key, why, &seal);
        if (r != 0)
                return r;
        r = db_fold(db, why);
        if (r == 0)
                r = keyfile_promote(key_file, why);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(seal);
        return 0;
}

static int binding_has_rows(sqlite3 *db, struct why *why, bool *ret) {
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

/* A key that is gone for good does no harm as long as it has sealed nothing. */
static int binding_without_key(sqlite3 *db, const char *key_file, struct why *why) {
        const char *path = sqlite3_db_filename(db, "main");
        bool has_rows = false;
        int r;

        r = binding_has_rows(db, why, &has_rows);
        if (r < 0)
                return PASS(r);
        if (has_rows)
                return why_set(
                        why, RAISE(-ENOKEY),
                        "key_file %s is missing but %s is sealed under it: restore it; if it "
                        "is lost for good, move %s away and authorize anew",
                        key_file, path, path);
        return BINDING_E_NONE;
}

/* 0, BINDING_E_NONE, or a negative errno with a sentence. */
static int binding_find(sqlite3 *db, const char *key_file, struct why *why, struct seal **ret) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        struct binding b;
        int r;

        r = binding_read(db, why, &b);
        if (r == 0)
                r = keyfile_read(key_file, why, &key);
        if (r == 0)
                r = binding_try(&b, key, why, ret);
        if (r < 0)
                return PASS(r);
        if (r == 0)
                return 0;
        r = binding_try_staged(db, &b, key_file, why, ret);
        if (r <= 0)
                return PASS(r);
        if (!key)
                return binding_without_key(db, key_file, why);
        return why_set(why, RAISE(-EBADMSG),
                       "key_file %s is not the key that %s is sealed under: restore the right "
                       "one; nothing was changed",
                       key_file, sqlite3_db_filename(db, "main"));
}

static int binding_write_also(sqlite3 *db, void *user, struct why *why) {
        return binding_write(db, user, why);
}

static int binding_start(sqlite3 *db, int version, const char *key_file, struct why *why,
                         struct seal **ret) {
        AUTO(secret_unrefp) struct secret *key = NULL;
        AUTO(seal_freep) struct seal *seal = NULL;
        struct binding b;
        int r;

        r = keyfile_read(key_file, why, &key);
        if (r == KEYFILE_E_ABSENT)
                r = keyfile_make(key_file, why, &key);
        if (r == 0)
                r = binding_make(key, why, &b, &seal);
        if (r == 0)
                r = db_upgrade(db, version, binding_write_also, &b, why);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(seal);
        return 0;
}

int binding_unlock(sqlite3 *db, int version, const char *key_file, struct why *why,
                   struct seal **ret) {
        AUTO(seal_freep) struct seal *seal = NULL;
        int r;

        r = version > 0 ? binding_find(db, key_file, why, &seal) : BINDING_E_NONE;
        if (r == BINDING_E_NONE)
                r = binding_start(db, version, key_file, why, &seal);
        else if (r == 0)
                r = db_upgrade(db, version, NULL, NULL, why);
        if (r < 0)
                return PASS(r);
        keyfile_drop_staged(key_file); /* if one is there, it was never in use */
        *ret = TAKE(seal);
        return 0;
}
