/* Rows in and out of SQLite (see row.h): all statements are made from the column table. */
#include "store/store_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- one value ---- */

static int bind(sqlite3_stmt *statement, int index, const struct qb_column *column, const struct qb_row *row)
{
    const char *const field = (const char *)row + column->offset;
    switch (column->kind) {
    case QB_COLUMN_TEXT:
        return sqlite3_bind_text(statement, index, field, (int)strnlen(field, column->size), SQLITE_STATIC);
    case QB_COLUMN_INT: {
        int value;
        memcpy(&value, field, sizeof value);
        return sqlite3_bind_int(statement, index, value);
    }
    case QB_COLUMN_INT64: {
        int64_t value;
        memcpy(&value, field, sizeof value);
        return sqlite3_bind_int64(statement, index, value);
    }
    case QB_COLUMN_REAL: break;
    }
    double value;
    memcpy(&value, field, sizeof value);
    return isnan(value) ? sqlite3_bind_null(statement, index) : sqlite3_bind_double(statement, index, value);
}

/* NULL is "does not apply": "", -1, NAN. */
static void fetch(sqlite3_stmt *statement, int index, const struct qb_column *column, struct qb_row *row)
{
    char *const field = (char *)row + column->offset;
    const bool null = sqlite3_column_type(statement, index) == SQLITE_NULL;
    switch (column->kind) {
    case QB_COLUMN_TEXT: {
        const unsigned char *const text = sqlite3_column_text(statement, index);
        const size_t length = text ? strnlen((const char *)text, column->size - 1) : 0;
        memcpy(field, text ? (const char *)text : "", length);
        memset(field + length, 0, column->size - length);
        return;
    }
    case QB_COLUMN_INT: {
        const int value = null ? -1 : sqlite3_column_int(statement, index);
        memcpy(field, &value, sizeof value);
        return;
    }
    case QB_COLUMN_INT64: {
        const int64_t value = null ? -1 : sqlite3_column_int64(statement, index);
        memcpy(field, &value, sizeof value);
        return;
    }
    case QB_COLUMN_REAL: break;
    }
    const double value = null ? (double)NAN : sqlite3_column_double(statement, index);
    memcpy(field, &value, sizeof value);
}

/* ---- writing ---- */

/* The first writing gives a row its place (seq), every writing moves it to the end of `written`. */
static char *put_sql(void)
{
    struct qb_sql sql = {.text = NULL};
    qb_sql_add(&sql, "INSERT INTO rows (written");
    for (size_t i = 0; i < qb_column_count; i++) {
        qb_sql_add(&sql, ", \"%s\"", qb_columns[i].name);
    }
    qb_sql_add(&sql, ") VALUES ((SELECT coalesce(max(written), 0) + 1 FROM rows)");
    for (size_t i = 0; i < qb_column_count; i++) {
        qb_sql_add(&sql, ", ?%zu", i + 1);
    }
    qb_sql_add(&sql, ") ON CONFLICT (\"key\") DO UPDATE SET written = excluded.written");
    for (size_t i = 0; i < qb_column_count; i++) {
        qb_sql_add(&sql, ", \"%s\" = excluded.\"%s\"", qb_columns[i].name, qb_columns[i].name);
    }
    if (sql.failed) {
        free(sql.text);
        return NULL;
    }
    return sql.text;
}

static enum qb_status prepare_put(struct qb_store *store, struct qb_error *err)
{
    char *const sql = put_sql();
    if (!sql) {
        return qb_fail_memory(err, qb_column_count * 64);
    }
    const int code = sqlite3_prepare_v2(store->db, sql, -1, &store->put, NULL);
    free(sql);
    return code == SQLITE_OK ? QB_OK : qb_store_fail(store->path, store->db, "a row cannot be written", err);
}

enum qb_status qb_store_put(struct qb_store *store, const struct qb_row *row, struct qb_error *err)
{
    if (!*row->key || !*row->run) {
        return qb_fail(err, QB_EINPUT, "%s: a row without %s cannot be written", store->path,
                       *row->key ? "run" : "key");
    }
    if (!store->put) {
        QB_TRY(prepare_put(store, err));
    }
    enum qb_status status = QB_OK;
    for (size_t i = 0; i < qb_column_count && status == QB_OK; i++) {
        if (bind(store->put, (int)i + 1, &qb_columns[i], row) != SQLITE_OK) {
            status = qb_store_fail(store->path, store->db, "a row cannot be written", err);
        }
    }
    /* One statement outside BEGIN is one transaction. */
    if (status == QB_OK && sqlite3_step(store->put) != SQLITE_DONE) {
        status = qb_store_fail(store->path, store->db, "a row cannot be written", err);
    }
    sqlite3_reset(store->put);
    sqlite3_clear_bindings(store->put);
    return status;
}

/* ---- reading ---- */

/* Prepares "SELECT all columns FROM rows WHERE condition", with ?1 bound to `text` when it is not NULL. */
static enum qb_status prepare_select(struct qb_store *store, const char *condition, const char *text,
                                     sqlite3_stmt **out, struct qb_error *err)
{
    struct qb_sql sql = {.text = NULL};
    for (size_t i = 0; i < qb_column_count; i++) {
        qb_sql_add(&sql, "%s\"%s\"", i ? ", " : "SELECT ", qb_columns[i].name);
    }
    qb_sql_add(&sql, " FROM rows WHERE %s", condition);
    if (sql.failed) {
        free(sql.text);
        return qb_fail_memory(err, sql.size);
    }
    const int code = sqlite3_prepare_v2(store->db, sql.text, -1, out, NULL);
    free(sql.text);
    if (code != SQLITE_OK || (text && sqlite3_bind_text(*out, 1, text, -1, SQLITE_TRANSIENT) != SQLITE_OK)) {
        const enum qb_status status = qb_store_fail(store->path, store->db, "rows cannot be read", err);
        sqlite3_finalize(*out);
        return status;
    }
    return QB_OK;
}

static void fetch_row(sqlite3_stmt *statement, struct qb_row *row)
{
    *row = (struct qb_row){0};
    for (size_t i = 0; i < qb_column_count; i++) {
        fetch(statement, (int)i, &qb_columns[i], row);
    }
}

enum qb_status qb_store_get(struct qb_store *store, const char *key, struct qb_row *out, int *found,
                            struct qb_error *err)
{
    sqlite3_stmt *statement = NULL;
    QB_TRY(prepare_select(store, "\"key\" = ?1", key, &statement, err));
    enum qb_status status = QB_OK;
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        fetch_row(statement, out);
        *found = 1;
    } else if (code == SQLITE_DONE) {
        *found = 0;
    } else {
        status = qb_store_fail(store->path, store->db, "rows cannot be read", err);
    }
    sqlite3_finalize(statement);
    return status;
}

static enum qb_status collect(struct qb_store *store, sqlite3_stmt *statement, struct qb_row **rows,
                              size_t *count, struct qb_error *err)
{
    struct qb_row *list = NULL;
    size_t used = 0, capacity = 0;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (used == capacity) {
            const size_t grown = capacity ? 2 * capacity : 16;
            struct qb_row *const larger = reallocarray(list, grown, sizeof *list);
            if (!larger) {
                free(list);
                return qb_fail_memory(err, sizeof *list);
            }
            list = larger;
            capacity = grown;
        }
        fetch_row(statement, &list[used++]);
    }
    if (code != SQLITE_DONE) {
        free(list);
        return qb_store_fail(store->path, store->db, "rows cannot be read", err);
    }
    *rows = list;
    *count = used;
    return QB_OK;
}

enum qb_status qb_store_rows(struct qb_store *store, const char *experiment, const char *run,
                             struct qb_row **rows, size_t *count, struct qb_error *err)
{
    static const char of_run[] = "\"run\" = ?1 ORDER BY seq";
    static const char of_experiment[] =
        "\"experiment\" = ?1 AND \"run\" = (SELECT \"run\" FROM rows WHERE \"experiment\" = ?1 "
        "ORDER BY written DESC LIMIT 1) ORDER BY seq";
    static const char newest[] =
        "\"run\" = (SELECT \"run\" FROM rows ORDER BY written DESC LIMIT 1) ORDER BY seq";
    sqlite3_stmt *statement = NULL;
    const char *const condition = run ? of_run : experiment ? of_experiment : newest;
    QB_TRY(prepare_select(store, condition, run ? run : experiment, &statement, err));
    const enum qb_status status = collect(store, statement, rows, count, err);
    sqlite3_finalize(statement);
    return status;
}
