#include "store/row.h"

#include <string.h>

#include "base/err.h"

/* NULL for a NUL within: what we write has none, and the rest of it would go unseen. */
static const char *row_text(sqlite3_stmt *stmt, int column) {
        const char *text = (const char *) sqlite3_column_text(stmt, column);

        return text && strlen(text) == (size_t) sqlite3_column_bytes(stmt, column) ? text : NULL;
}

int row_read(sqlite3_stmt *stmt, struct why *why, struct record *ret) {
        int64_t kind = sqlite3_column_int64(stmt, ROW_KIND);
        struct record row = {
                .credential = row_text(stmt, ROW_CREDENTIAL),
                .subject = row_text(stmt, ROW_SUBJECT),
                .obtained_at = { sqlite3_column_int64(stmt, ROW_OBTAINED_AT) },
                .expires_at = { sqlite3_column_int64(stmt, ROW_EXPIRES_AT) },
                .in_doubt = sqlite3_column_int(stmt, ROW_IN_DOUBT) != 0,
        };
        sqlite3 *db = sqlite3_db_handle(stmt);

        if (sqlite3_errcode(db) == SQLITE_NOMEM)
                return why_set(why, RAISE(-ENOMEM), "out of memory");
        /* before the cast, and before the seal, which binds one byte of the kind */
        if (!row.credential || !row.subject || kind < 0 || kind >= RECORD_KIND_MAX)
                return why_set(
                        why, RAISE(-EBADMSG),
                        "%s: a row of credential \"%.64s\" was altered: restore the file from "
                        "a backup, or give the secret anew",
                        sqlite3_db_filename(db, "main"), row.credential ? row.credential : "?");
        row.kind = (enum record_kind) kind;
        *ret = row;
        return 0;
}

int row_open(sqlite3_stmt *stmt, const struct seal *seal, struct why *why, struct record *row) {
        const void *sealed = sqlite3_column_blob(stmt, ROW_SEALED);

        return seal_open(seal, row, sealed, (size_t) sqlite3_column_bytes(stmt, ROW_SEALED), why,
                         &row->secret);
}
