/* Opening and making the results database (see row.h).
 *
 * A new database is built under another name, completely, and then linked into place: whoever finds the file
 * finds a whole one. An existing file is recognised by its header before SQLite touches it, because SQLite
 * would leave -wal and -shm files beside a stranger's database. Format of the header:
 * https://www.sqlite.org/fileformat2.html, 1.3. */
#include "store/store_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

void qb_sql_add(struct qb_sql *sql, const char *format, ...)
{
    char *piece = NULL;
    va_list args;
    va_start(args, format);
    const int length = vasprintf(&piece, format, args);
    va_end(args);
    char *const text = length < 0 ? NULL : realloc(sql->text, sql->size + (size_t)length + 1);
    if (text) {
        memcpy(text + sql->size, piece, (size_t)length + 1);
        sql->text = text;
        sql->size += (size_t)length;
    } else {
        sql->failed = 1;
    }
    if (length >= 0) {
        free(piece);
    }
}

static const char *sql_type(enum qb_column_kind kind)
{
    switch (kind) {
    case QB_COLUMN_TEXT: return "TEXT";
    case QB_COLUMN_INT:
    case QB_COLUMN_INT64: return "INTEGER";
    case QB_COLUMN_REAL: break;
    }
    return "REAL";
}

enum qb_status qb_store_fail(const char *path, sqlite3 *db, const char *what, struct qb_error *err)
{
    const int code = db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
    const int system = db ? sqlite3_system_errno(db) : 0;
    switch (code) {
    case SQLITE_NOMEM: return qb_fail(err, QB_ENOMEM, "%s: %s: out of memory", path, what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return qb_fail(err, QB_EIO,
                       "%s: %s: another process has been writing to it for more than %d seconds; try again "
                       "when it has finished",
                       path, what, QB_STORE_BUSY_MS / 1000);
    case SQLITE_FULL:
        return qb_fail(err, QB_EIO, "%s: %s: the disk is full; earlier rows are kept", path, what);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return qb_fail(err, QB_EINPUT, "%s: %s: the database is damaged (%s); restore a copy or remove it",
                       path, what, sqlite3_errmsg(db));
    case SQLITE_IOERR:
        if (sqlite3_extended_errcode(db) == SQLITE_IOERR_WRITE) { /* the reason is lost by now */
            return qb_fail(
                err, QB_EIO,
                "%s: %s: the file system refused to write (quota, size limit or failing disk); earlier rows "
                "are kept",
                path, what);
        }
        __attribute__((fallthrough));
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
        return qb_fail(err, QB_EIO, "%s: %s: %s%s%s", path, what, sqlite3_errmsg(db), system ? ": " : "",
                       system ? strerror(system) : "");
    default: return qb_fail(err, QB_EFAILED, "%s: %s: %s", path, what, sqlite3_errmsg(db));
    }
}

/* ---- the file, before SQLite sees it ---- */

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool has_journal(const char *path)
{
    char *name = NULL;
    if (asprintf(&name, "%s-wal", path) < 0) {
        return false;
    }
    const bool found = access(name, F_OK) == 0;
    free(name);
    return found;
}

/* An existing file must carry our mark and have all its pages (SQLite reads a cut last page as zeros). Behind
 * a kill the last page may be cut, but then a journal holds it. */
static enum qb_status check_header(const char *path, struct qb_error *err)
{
    enum { HEADER = 100, PAGE_SIZE = 16, APPLICATION_ID = 68 };
    static const char magic[16] = "SQLite format 3";
    unsigned char header[HEADER] = {0};
    struct stat st = {0};
    const bool journal = has_journal(path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return qb_fail(err, QB_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    const ssize_t got = fstat(fd, &st) == 0 ? read(fd, header, sizeof header) : -1;
    close(fd);
    if (got != HEADER || memcmp(header, magic, sizeof magic) != 0) {
        return qb_fail(err, QB_EINPUT,
                       "%s: is not a results database (no SQLite header); choose another path", path);
    }
    if (big_endian(header + APPLICATION_ID) != QB_STORE_APPLICATION) {
        return qb_fail(err, QB_EINPUT, "%s: is the SQLite database of another program; choose another path",
                       path);
    }
    const unsigned page_size = (unsigned)header[PAGE_SIZE] << 8 | header[PAGE_SIZE + 1];
    if (page_size < 512 || (!journal && st.st_size % page_size != 0)) {
        return qb_fail(err, QB_EINPUT, "%s: the database is damaged (cut short); restore a copy or remove it",
                       path);
    }
    return QB_OK;
}

static enum qb_status check_access(const char *path, const char *dir, struct qb_error *err)
{
    if (access(path, R_OK | W_OK) != 0) {
        return qb_fail(err, QB_EIO, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (access(dir, W_OK | X_OK) != 0) {
        return qb_fail(err, QB_EIO,
                       "%s: the folder cannot be written, and SQLite keeps its journal there: %s", dir,
                       strerror(errno));
    }
    return QB_OK;
}

/* ---- making one ---- */

static void add_column(struct qb_sql *sql, const struct qb_column *column)
{
    qb_sql_add(sql, "\"%s\" %s", column->name, sql_type(column->kind));
}

/* seq: order of first writing; written: order of last writing. */
static char *create_sql(void)
{
    struct qb_sql sql = {.text = NULL};
    qb_sql_add(&sql, "CREATE TABLE rows (seq INTEGER PRIMARY KEY, written INTEGER NOT NULL");
    for (size_t i = 0; i < qb_column_count; i++) {
        qb_sql_add(&sql, ", ");
        add_column(&sql, &qb_columns[i]);
    }
    qb_sql_add(&sql,
               ", UNIQUE (\"key\")) STRICT;"
               "CREATE INDEX rows_written ON rows (written);"
               "PRAGMA application_id = %d;PRAGMA user_version = %d;PRAGMA journal_mode = WAL;",
               QB_STORE_APPLICATION, QB_STORE_VERSION);
    if (sql.failed) {
        free(sql.text);
        return NULL;
    }
    return sql.text;
}

static void remove_database(const char *path)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char *name = NULL;
        if (asprintf(&name, "%s%s", path, suffixes[i]) >= 0) {
            unlink(name);
            free(name);
        }
    }
}

static enum qb_status build(const char *path, const char *final, struct qb_error *err)
{
    char *const sql = create_sql();
    if (!sql) {
        return qb_fail_memory(err, qb_column_count * 64);
    }
    sqlite3 *db = NULL;
    enum qb_status status = QB_OK;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK ||
        sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        status = qb_store_fail(final, db, "cannot be made", err);
    }
    if (sqlite3_close(db) != SQLITE_OK && status == QB_OK) {
        status = qb_store_fail(final, db, "cannot be made", err);
    }
    free(sql);
    return status;
}

/* Another process may make the same file meanwhile: then its file is the one. */
static int put_in_place(const char *temporary, const char *path)
{
    if (link(temporary, path) == 0 || errno == EEXIST) {
        return 0;
    }
    const bool no_links = errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS; /* FAT, some FUSE */
    return no_links ? rename(temporary, path) : -1;
}

static enum qb_status make(const char *path, const char *dir, struct qb_error *err)
{
    QB_TRY(qb_make_dirs(dir, err));
    if (access(dir, W_OK | X_OK) != 0) {
        return qb_fail(err, QB_EIO, "%s: cannot be made: %s", path, strerror(errno));
    }
    char *temporary = NULL;
    if (asprintf(&temporary, "%s.new-%ld", path, (long)getpid()) < 0) {
        return qb_fail_memory(err, strlen(path));
    }
    remove_database(temporary); /* of an earlier process that was killed here */
    enum qb_status status = build(temporary, path, err);
    if (status == QB_OK && put_in_place(temporary, path) != 0) {
        status = qb_fail(err, QB_EIO, "%s: cannot be made: %s", path, strerror(errno));
    }
    remove_database(temporary);
    free(temporary);
    return status;
}

/* ---- opening one ---- */

/* First column of the first row as an integer, `fallback` when there is none. */
static int64_t query_int(sqlite3 *db, const char *sql, int64_t fallback)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = fallback;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        value = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return value;
}

static enum qb_status check_content(const struct qb_store *store, struct qb_error *err)
{
    sqlite3_stmt *statement = NULL;
    enum qb_status status = QB_OK;
    if (sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        status = qb_store_fail(store->path, store->db, "cannot be read", err);
    } else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0) {
        status = qb_fail(err, QB_EINPUT, "%s: the database is damaged (%s); restore a copy or remove it",
                         store->path, (const char *)sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    if (status != QB_OK) {
        return status;
    }
    const int64_t version = query_int(store->db, "PRAGMA user_version", -1);
    if (version > QB_STORE_VERSION) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "%s: was written by a newer qbench (schema %lld, this program knows %d); use that "
                       "one, or another "
                       "path",
                       store->path, (long long)version, QB_STORE_VERSION);
    }
    if (version < 1 ||
        !query_int(store->db, "SELECT count(*) FROM sqlite_schema WHERE name = 'rows' AND type = 'table'",
                   0)) {
        return qb_fail(err, QB_EINPUT, "%s: has no table of rows; restore a copy or remove it", store->path);
    }
    return QB_OK;
}

/* A file of an older program gets the columns that came since. */
static enum qb_status add_new_columns(const struct qb_store *store, struct qb_error *err)
{
    for (size_t i = 0; i < qb_column_count; i++) {
        struct qb_sql query = {.text = NULL}, alter = {.text = NULL};
        qb_sql_add(&query, "SELECT count(*) FROM pragma_table_info('rows') WHERE name = '%s'",
                   qb_columns[i].name);
        qb_sql_add(&alter, "ALTER TABLE rows ADD COLUMN ");
        add_column(&alter, &qb_columns[i]);
        enum qb_status status = QB_OK;
        if (query.failed || alter.failed) {
            status = qb_fail_memory(err, query.size + alter.size);
        } else if (!query_int(store->db, query.text, 1) &&
                   sqlite3_exec(store->db, alter.text, NULL, NULL, NULL) != SQLITE_OK &&
                   !query_int(store->db, query.text, 0)) { /* another process may have added it meanwhile */
            status = qb_store_fail(store->path, store->db, "a new column cannot be added", err);
        }
        free(query.text);
        free(alter.text);
        QB_TRY(status);
    }
    return QB_OK;
}

static enum qb_status open_existing(struct qb_store *store, struct qb_error *err)
{
    if (sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        return qb_store_fail(store->path, store->db, "cannot be opened", err);
    }
    sqlite3_busy_timeout(store->db, QB_STORE_BUSY_MS);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    if (sqlite3_exec(store->db, "PRAGMA trusted_schema = OFF; PRAGMA synchronous = FULL;", NULL, NULL,
                     NULL) != SQLITE_OK) {
        return qb_store_fail(store->path, store->db, "cannot be opened", err);
    }
    QB_TRY(check_content(store, err));
    return add_new_columns(store, err);
}

/* "file:" URI of a path: SQLite takes "immutable" (no journal, no locks) only there. */
static char *immutable_uri(const char *path)
{
    struct qb_sql uri = {.text = NULL};
    qb_sql_add(&uri, "file:");
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        const bool plain = isalnum(*p) || strchr("/._-", *p);
        qb_sql_add(&uri, plain ? "%c" : "%%%02x", *p);
    }
    qb_sql_add(&uri, "?immutable=1");
    if (uri.failed) {
        free(uri.text);
        return NULL;
    }
    return uri.text;
}

/* Reading in WAL mode needs to write beside the database, unless nothing can be in the journal: a database
 * that was closed has none. */
static enum qb_status open_unwritable(struct qb_store *store, struct qb_error *err)
{
    QB_TRY(check_header(store->path, err));
    char *const uri = immutable_uri(store->path);
    if (!uri) {
        return qb_fail_memory(err, strlen(store->path));
    }
    const bool journal = has_journal(store->path);
    const int code = sqlite3_open_v2(journal ? store->path : uri, &store->db,
                                     SQLITE_OPEN_READONLY | (journal ? 0 : SQLITE_OPEN_URI), NULL);
    free(uri);
    if (code != SQLITE_OK) {
        return qb_store_fail(store->path, store->db, "cannot be opened", err);
    }
    sqlite3_busy_timeout(store->db, QB_STORE_BUSY_MS);
    return check_content(store, err);
}

static enum qb_status open_or_make(struct qb_store *store, const char *dir, struct qb_error *err)
{
    struct stat st;
    if (stat(store->path, &st) != 0) {
        if (errno != ENOENT && errno != ENOTDIR) {
            return qb_fail(err, QB_EIO, "%s: cannot be opened: %s", store->path, strerror(errno));
        }
        QB_TRY(make(store->path, dir, err));
    } else if (!S_ISREG(st.st_mode)) {
        return qb_fail(err, QB_EINPUT, "%s: is %s; the path of a results database (a file) is expected",
                       store->path, S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
    }
    QB_TRY(check_header(store->path, err));
    QB_TRY(check_access(store->path, dir, err));
    return open_existing(store, err);
}

static enum qb_status open_to_read(struct qb_store *store, const char *dir, struct qb_error *err)
{
    if (access(store->path, F_OK) != 0) {
        return qb_fail(err, errno == ENOENT ? QB_ENOTFOUND : QB_EIO, "%s: cannot be opened: %s", store->path,
                       strerror(errno));
    }
    const bool writable = access(store->path, R_OK | W_OK) == 0 && access(dir, W_OK | X_OK) == 0;
    return writable ? open_or_make(store, dir, err) : open_unwritable(store, err);
}

static enum qb_status open_store(const char *path,
                                 enum qb_status (*open_file)(struct qb_store *store, const char *dir,
                                                             struct qb_error *err),
                                 struct qb_store **out, struct qb_error *err)
{
    if (!*path) {
        return qb_fail(err, QB_EINPUT, "the results database has no path");
    }
    struct qb_store *const store = calloc(1, sizeof *store);
    /* A plain name may mean something special to SQLite (":memory:"); "./name" never does. */
    char *const copy = strdup(path);
    if (!store || !copy || asprintf(&store->path, "%s%s", strchr(path, '/') ? "" : "./", path) < 0) {
        free(copy);
        free(store);
        return qb_fail_memory(err, strlen(path));
    }
    const enum qb_status status = open_file(store, dirname(copy), err);
    free(copy);
    if (status != QB_OK) {
        qb_store_close(store);
        return status;
    }
    *out = store;
    return QB_OK;
}

enum qb_status qb_store_open(const char *path, struct qb_store **out, struct qb_error *err)
{
    return open_store(path, open_or_make, out, err);
}

enum qb_status qb_store_open_read(const char *path, struct qb_store **out, struct qb_error *err)
{
    return open_store(path, open_to_read, out, err);
}

void qb_store_close(struct qb_store *store)
{
    if (store) {
        sqlite3_finalize(store->put);
        sqlite3_close(store->db);
        free(store->path);
        free(store);
    }
}
