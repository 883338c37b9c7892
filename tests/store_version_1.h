#pragma once
/*
 * A database as bearerd 0.1 with schema 1 wrote it: site/user-0 to user-2, whose secrets are
 * LBEP-secret-0 to 2. It never changes.
 */

#include <stdint.h>

static const uint8_t version_1_key[32] = { 0xd7, 0xee, 0x8c, 0x6f, 0x30, 0x67, 0x96, 0x3c,
                                           0xfa, 0x0d, 0xb2, 0x8d, 0xa7, 0x70, 0x02, 0x60,
                                           0x1f, 0x14, 0x3d, 0x29, 0x33, 0xd9, 0x02, 0x78,
                                           0x6d, 0x9a, 0x9e, 0xc6, 0xe7, 0xdd, 0x9d, 0x7b };

static const char version_1_sql[] =
        "PRAGMA journal_mode = WAL;"
        "BEGIN;"
        "CREATE TABLE meta ("
        "        name TEXT PRIMARY KEY NOT NULL,"
        "        value BLOB NOT NULL"
        ");"
        "INSERT INTO meta VALUES ('salt',"
        " x'1110a8bf2c9532148e1fdab24b1f1c6f014cfcae064d0043bd2bc2ed1c9523f3');"
        "INSERT INTO meta VALUES ('check',"
        " x'f23762f5f5a1cb532572585f6b78f48f8981f9ef82432afb03ba28670bbf581b');"
        "CREATE TABLE record ("
        "        credential TEXT NOT NULL,"
        "        subject TEXT NOT NULL,"
        "        kind INTEGER NOT NULL,"
        "        obtained_at INTEGER NOT NULL,"
        "        expires_at INTEGER NOT NULL,"
        "        sealed BLOB NOT NULL,"
        "        PRIMARY KEY (credential, subject)"
        ");"
        "INSERT INTO record VALUES ('site', 'user-0', 1, 0, 0, x'"
        "011703f711be49c3454acd38c0ff3dd74ab90a39531788026690df209e7b197b34dea23276ac2eceb9eb');"
        "INSERT INTO record VALUES ('site', 'user-1', 1, 0, 0, x'"
        "0120858f333dd4a57a09672ba9aac8d4ed111de8141e557c33b7d0cba09835373dc5d99919fd99694237');"
        "INSERT INTO record VALUES ('site', 'user-2', 1, 0, 0, x'"
        "01efd142c577a45a3132e37a6564d0de3007411a25ea0f798a7d4cad6967e334dcf5bc2417ba79db0ea3');"
        "PRAGMA application_id = 1651663986;"
        "PRAGMA user_version = 1;"
        "COMMIT;";
