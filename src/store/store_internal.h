/* What the files of src/store share. */
#ifndef QB_STORE_INTERNAL_H
#define QB_STORE_INTERNAL_H

#include <sqlite3.h>

#include "store/columns.h"

/* "QBNC", PRAGMA application_id: a database with another one is not touched. */
#define QB_STORE_APPLICATION 0x51424e43
/* PRAGMA user_version. Raise it when the meaning of a column changes or one is removed; new columns need no
 * new version, they are added to older files and read as "does not apply" there. */
#define QB_STORE_VERSION 1

/* How long a writer waits for another one. */
#define QB_STORE_BUSY_MS 5000

struct qb_store {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *put;
};

/* "PATH: what: SQLite's reason", with the status that fits the reason. */
enum qb_status qb_store_fail(const char *path, sqlite3 *db, const char *what, struct qb_error *err);

/* SQL text under construction; growing fails for good once memory is out. */
struct qb_sql {
    char *text;
    size_t size;
    int failed;
};
void qb_sql_add(struct qb_sql *sql, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
