#pragma once
/*
 * A row of the table `record`, as statements select it
 *
 * Threading: any, one connection at a time.
 */

#include <sqlite3.h>

#include "base/why.h"
#include "store/seal.h"
#include "store/store.h"

/* What a statement selects: its columns are numbered as below. */
#define ROW_METADATA "credential, subject, kind, obtained_at, expires_at, in_doubt"
#define ROW_WHOLE    ROW_METADATA ", sealed"

enum row_column {
        ROW_CREDENTIAL,
        ROW_SUBJECT,
        ROW_KIND,
        ROW_OBTAINED_AT,
        ROW_EXPIRES_AT,
        ROW_IN_DOUBT,
        ROW_SEALED,
        ROW_COLUMN_MAX,
};

/* The row's metadata, its texts valid until the statement's next step.
 * 0; -EBADMSG: not as we write them; -ENOMEM; each with a sentence. */
int row_read(sqlite3_stmt *stmt, struct why *why, struct record *ret);

/* Opens the secret of the row that row_read() gave, from a statement of ROW_WHOLE, into
 * row->secret, which the caller owns. 0, or what seal_open() says. */
int row_open(sqlite3_stmt *stmt, const struct seal *seal, struct why *why, struct record *row);
