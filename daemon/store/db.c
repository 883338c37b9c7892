/*
 * Why these settings: a commit in WAL mode with synchronous=FULL is one write and one fdatasync of
 * the log, and nothing less survives a power cut. Should that sync fail, the frames are written
 * anew by the next transaction, so a later sync that succeeds is about them again; no page cache
 * has to be trusted.
 *
 * Rows keep SQLite's rowid: measured with 100,000 rows of 1 KiB, WITHOUT ROWID spills every row to
 * an overflow page (3.3 times the file, 5 times the time of an update), and gains nothing with
 * short ones.
 */
#include "store/db.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "store/disk.h"
#include "store/statedir.h"

#define DB_BUSY_MS                                                                                 \
        5000 /* for a person's sqlite3 or backup on the file; we ourselves never collide */

/* migrations[n] leads from version n to n + 1. They only ever grow: released ones are never
 * edited. */
static const char *const migrations[] = {
        "CREATE TABLE meta ("
        "        name TEXT PRIMARY KEY NOT NULL,"
        "        value BLOB NOT NULL"
        ");"
        "CREATE TABLE record ("
        "        credential TEXT NOT NULL,"
        "        subject TEXT NOT NULL,"
        "        kind INTEGER NOT NULL,"
        "        obtained_at INTEGER NOT NULL,"
        "        expires_at INTEGER NOT NULL,"
        "        sealed BLOB NOT NULL,"
        "        PRIMARY KEY (credential, subject)"
        ");",

        "ALTER TABLE record ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0;",
};

#define DB_VERSION ((int) N_ELEMENTS(migrations))

sqlite3 *db_close(sqlite3 *db) {
        (void) sqlite3_close_v2(db); /* cannot fail once the statements are gone */
        return NULL;
}

sqlite3_stmt *db_finalize(sqlite3_stmt *stmt) {
        (void) sqlite3_finalize(stmt); /* repeats the statement's last error, which was seen then */
        return NULL;
}

/* NULL: none is open. */
static sqlite3_file *db_log(sqlite3 *db) {
        sqlite3_file *log = NULL;

        (void) sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
        return log && log->pMethods ? log : NULL;
}

/* What a call on one of the two files failed with; 0: none did. */
static int db_file_error(sqlite3 *db) {
        sqlite3_file *log = db_log(db);
        int error = 0;

        if (log)
                (void) log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
        if (error <= 0)
                (void) sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
        return error > 0 ? error : 0;
}

/* sqlite3_system_errno() knows nothing of what goes wrong within COMMIT; the files remember. But
 * not what befell the index of the log, which is none of them. */
static int db_disk_errno(sqlite3 *db) {
        int error = db_file_error(db);

        if (error == 0)
                error = sqlite3_system_errno(db);
        return error > 0 ? -error : -EIO;
}

int db_errno(sqlite3 *db, int rc) {
        if (rc == SQLITE_IOERR_NOMEM)
                return RAISE(-ENOMEM);
        switch (rc & 0xff) {
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_NOMEM:
                return RAISE(-ENOMEM);
        case SQLITE_FULL:
                return RAISE(-ENOSPC);
        case SQLITE_READONLY:
                return RAISE(-EROFS);
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return RAISE(-EBUSY);
        case SQLITE_CORRUPT: /* which is what SQLite calls a read that the disk refused, too */
                return RAISE(db_file_error(db) == EIO ? -EIO : -EBADMSG);
        case SQLITE_NOTADB:
                return RAISE(-EBADMSG);
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return RAISE(-EACCES);
        case SQLITE_TOOBIG:
                return RAISE(-EFBIG);
        case SQLITE_IOERR:
                return RAISE(db_disk_errno(db));
        case SQLITE_CANTOPEN:
                return RAISE(sqlite3_system_errno(db) > 0 ? -sqlite3_system_errno(db) : -EIO);
        default:
                return RAISE(-EIO);
        }
}

int db_explain(sqlite3 *db, int r, struct why *why) {
        const char *path = sqlite3_db_filename(db, "main");

        return why_set(why, PASS(r), "%s: %s (%s): %s", path ? path : "the database",
                       sqlite3_errmsg(db), strerror(-r), disk_advice(r));
}

int db_exec(sqlite3 *db, const char *sql) {
        return db_errno(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret) {
        return db_errno(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL));
}

int db_run(sqlite3_stmt *stmt) {
        int r = db_errno(sqlite3_db_handle(stmt), sqlite3_step(stmt));

        (void) sqlite3_reset(stmt); /* repeats the same error */
        return r;
}

static int db_get_int(sqlite3 *db, const char *sql, int *ret) {
        AUTO(db_finalizep) sqlite3_stmt *stmt = NULL;
        int r, rc;

        r = db_prepare(db, sql, &stmt);
        if (r < 0)
                return PASS(r);
        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW)
                return rc == SQLITE_DONE ? RAISE(-EBADMSG) : db_errno(db, rc);
        *ret = sqlite3_column_int(stmt, 0);
        return 0;
}

static int db_check_integrity(sqlite3 *db, const char *path, struct why *why) {
        AUTO(db_finalizep) sqlite3_stmt *stmt = NULL;
        const char *found;
        int r;

        r = db_prepare(db, "PRAGMA quick_check(1)", &stmt);
        if (r == 0 && sqlite3_step(stmt) != SQLITE_ROW)
                r = db_errno(db, sqlite3_errcode(db));
        if (r < 0)
                return db_explain(db, r, why);
        found = (const char *) sqlite3_column_text(stmt, 0);
        if (!found || strcmp(found, "ok") != 0)
                return why_set(why, RAISE(-EBADMSG), "%s is damaged (%.200s): %s", path,
                               found ? found : "out of memory", disk_advice(-EBADMSG));
        return 0;
}

static int db_recognise(sqlite3 *db, const char *path, struct why *why, int *ret_version) {
        int application = 0, version = 0, tables = 0, r;
        struct stat st;

        /* SQLite takes a file of one byte for an empty one, and would write over it */
        if (stat(path, &st) == 0 && st.st_size == 1)
                return why_set(why, RAISE(-EBADMSG), "%s: file is not a database: %s", path,
                               disk_advice(-EBADMSG));
        r = db_get_int(db, "PRAGMA application_id", &application);
        if (r == 0)
                r = db_get_int(db, "PRAGMA user_version", &version);
        if (r == 0)
                r = db_get_int(db, "SELECT count(*) FROM sqlite_schema", &tables);
        if (r < 0)
                return db_explain(db, r, why);
        if (application == 0 && version == 0 && tables == 0) {
                *ret_version = 0;
                return 0;
        }
        if (application != DB_APPLICATION_ID || version < 1)
                return why_set(why, RAISE(-EBADMSG),
                               "%s is a database of another program: move it away, or set another "
                               "state_dir",
                               path);
        if (version > DB_VERSION)
                return why_set(why, RAISE(-EBADMSG),
                               "%s was written by a newer bearerd (schema %d, this one knows %d): "
                               "install that version again; nothing was changed",
                               path, version, DB_VERSION);
        r = db_check_integrity(db, path, why);
        if (r < 0)
                return PASS(r);
        *ret_version = version;
        return 0;
}

/* SQLite takes an empty file for an empty database, and gives its log the same mode. */
static int db_make(const char *path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        if (fd < 0)
                return errno == EEXIST ? 0 : RAISE(-errno);
        (void) close(fd); /* empty: there is nothing to lose */
        return statedir_sync_parent(path);
}

static int db_connect(const char *path, int flags, struct why *why, sqlite3 **ret) {
        AUTO(db_closep) sqlite3 *db = NULL;
        int r, rc;

        rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL);
        if (!db)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        (void) sqlite3_extended_result_codes(db, 1); /* these cannot fail on an open connection */
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        r = db_errno(db, rc);
        if (r == 0)
                r = db_exec(db, "PRAGMA cache_size = -512;" /* KiB: ours is not a busy database */
                                "PRAGMA temp_store = MEMORY;"
                                "PRAGMA cell_size_check = ON");
        if (r < 0)
                return db_explain(db, r, why);
        *ret = TAKE(db);
        return 0;
}

int db_open(const char *path, struct why *why, int *ret_version, sqlite3 **ret) {
        AUTO(db_closep) sqlite3 *db = NULL;
        int r;

        r = db_make(path);
        if (r < 0)
                return why_set(why, PASS(r), "cannot make %s: %s; %s", path, strerror(-r),
                               disk_advice(r));
        r = db_connect(path, SQLITE_OPEN_READWRITE, why, &db);
        if (r < 0)
                return PASS(r);
        (void) sqlite3_busy_timeout(db, DB_BUSY_MS);
        r = db_recognise(db, path, why, ret_version);
        if (r < 0)
                return PASS(r);
        *ret = TAKE(db);
        return 0;
}

int db_open_reader(const char *path, struct why *why, sqlite3 **ret) {
        return db_connect(path, SQLITE_OPEN_READONLY, why, ret);
}

/* A file system without shared memory, say, makes SQLite stay with another journal, and call that a
 * success. */
static int db_set_wal(sqlite3 *db, struct why *why) {
        AUTO(db_finalizep) sqlite3_stmt *stmt = NULL;
        const char *mode;
        int r;

        r = db_prepare(db, "PRAGMA journal_mode = WAL", &stmt);
        if (r == 0 && sqlite3_step(stmt) != SQLITE_ROW)
                r = db_errno(db, sqlite3_errcode(db));
        if (r < 0)
                return db_explain(db, r, why);
        mode = (const char *) sqlite3_column_text(stmt, 0);
        if (!mode || strcmp(mode, "wal") != 0)
                return why_set(why, RAISE(-EOPNOTSUPP),
                               "%s: the file system does not allow write-ahead logging: put "
                               "state_dir on a local disk",
                               sqlite3_db_filename(db, "main"));
        return 0;
}

int db_change(sqlite3 *db, db_change_fn *change, void *user, struct why *why) {
        int r;

        r = db_exec(db, "BEGIN IMMEDIATE");
        if (r < 0)
                return db_explain(db, r, why);
        r = change(db, user, why);
        if (r == 0) {
                r = db_exec(db, "COMMIT");
                if (r < 0)
                        (void) db_explain(db, r, why);
        }
        if (r < 0 && !sqlite3_get_autocommit(db)) /* SQLite may have rolled back by itself */
                (void) db_exec(db, "ROLLBACK");   /* needs no disk, and what it says is no news */
        return PASS(r);
}

/* What a killed program has written but not synced is seen by everyone after it, until the power
 * goes. A change that finds it done already writes nothing, and so would sync nothing. */
static int db_sync_log(sqlite3 *db, struct why *why) {
        sqlite3_file *log = db_log(db);
        int rc = log ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : SQLITE_OK;

        if (rc != SQLITE_OK) {
                int r = db_errno(db, rc);

                return why_set(why, r, "%s-wal: cannot sync it: %s; %s",
                               sqlite3_db_filename(db, "main"), strerror(-r), disk_advice(r));
        }
        return 0;
}

struct migration {
        int version;
        db_change_fn *also;
        void *user;
};

static int db_migrate(sqlite3 *db, void *user, struct why *why) {
        const struct migration *m = user;
        char mark[96];
        int r = 0;

        for (int v = m->version; r == 0 && v < DB_VERSION; v++)
                r = db_exec(db, migrations[v]);
        if (r == 0 && m->version < DB_VERSION) {
                (void) snprintf(mark, sizeof(mark),
                                "PRAGMA application_id = %d; PRAGMA user_version = %d",
                                DB_APPLICATION_ID, DB_VERSION);
                r = db_exec(db, mark);
        }
        if (r < 0)
                return db_explain(db, r, why);
        return m->also ? m->also(db, m->user, why) : 0;
}

int db_upgrade(sqlite3 *db, int version, db_change_fn *also, void *user, struct why *why) {
        struct migration migration = { version, also, user };
        int r;

        /* before there is a log, which gets the same mode; not fatal, the directory is closed to
         * writers anyway */
        (void) chmod(sqlite3_db_filename(db, "main"), 0600);
        r = db_set_wal(db, why);
        if (r < 0)
                return PASS(r);
        r = db_exec(
                db,
                "PRAGMA synchronous = FULL;"
                "PRAGMA secure_delete = ON;"
                "PRAGMA journal_size_limit = 4194304;" /* after a burst the log shrinks to this */
                "PRAGMA wal_autocheckpoint = 0");      /* the writer does it, see writer.c */
        if (r < 0)
                return db_explain(db, r, why);
        r = db_change(db, db_migrate, &migration, why);
        if (r == 0)
                r = db_sync_log(db, why);
        if (r < 0)
                return PASS(r);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        return 0;
}

int db_fold(sqlite3 *db, struct why *why) {
        int r = db_errno(db,
                         sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL));

        return r < 0 ? db_explain(db, r, why) : 0;
}
