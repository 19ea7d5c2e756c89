/* The results store: values, order, runs, and every way an open can be refused. */
#include "store/row.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "store_testing.h"

unsigned count_files(const char *dir)
{
    DIR *const d = opendir(dir);
    unsigned n = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

struct place {
    char *dir, *path;
    struct qb_error err;
};

static struct place make_place(void)
{
    struct place place = {.dir = qbt_mkdtemp()};
    place.path = qb_path_join(place.dir, "r.db");
    return place;
}

static void free_place(struct place *place)
{
    free(place->path);
    qbt_rmtree(place->dir);
}

static struct qb_store *must_open(struct place *place)
{
    struct qb_store *store = NULL;
    qbt_ok(qb_store_open(place->path, &store, &place->err), &place->err);
    return store;
}

static void must_put(struct qb_store *store, const struct qb_row *row)
{
    struct qb_error err;
    qbt_ok(qb_store_put(store, row, &err), &err);
}

/* Every field of the row is in the table, once. */
static void test_columns(void **state)
{
    (void)state;
    static unsigned char covered[sizeof(struct qb_row)];
    size_t bytes = 0;
    for (size_t i = 0; i < qb_column_count; i++) {
        const struct qb_column *const c = &qb_columns[i];
        for (size_t k = 0; k < c->size; k++) {
            assert_int_equal(covered[c->offset + k]++, 0);
        }
        bytes += c->size;
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(c->name, qb_columns[k].name);
        }
        assert_true(c->kind == QB_COLUMN_TEXT || c->size == (c->kind == QB_COLUMN_INT ? 4 : 8));
    }
    /* What is not covered is padding: less than 8 bytes before each change of alignment. */
    assert_true(sizeof(struct qb_row) - bytes < 64);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct place place = make_place();
    struct qb_store *store = must_open(&place);
    for (unsigned n = 0; n < 20; n++) {
        const struct qb_row row = make_row(n, "run1");
        must_put(store, &row);
    }
    qb_store_close(store);
    assert_int_equal(count_files(place.dir), 1); /* a clean close leaves the database alone */
    store = must_open(&place);
    for (unsigned n = 0; n < 20; n++) {
        const struct qb_row want = make_row(n, "run1");
        struct qb_row got;
        int found = 0;
        qbt_ok(qb_store_get(store, want.key, &got, &found, &place.err), &place.err);
        assert_int_equal(found, 1);
        assert_row(&got, &want);
    }
    struct qb_row row;
    int found = 7;
    qbt_ok(qb_store_get(store, "none", &row, &found, &place.err), &place.err);
    assert_int_equal(found, 0);
    row = make_row(3, "run1");
    row.status = QB_ROW_FAILED;
    must_put(store, &row);
    qbt_ok(qb_store_get(store, row.key, &row, &found, &place.err), &place.err);
    assert_int_equal(found, 1); /* whether failed rows are measured again is the caller's to say */
    assert_int_equal(row.status, QB_ROW_FAILED);
    qb_store_close(store);
    free_place(&place);
}

/* NAN is NULL and -1 is -1 in SQL, so that anyone's query gives the right mean. */
static void test_sql_values(void **state)
{
    (void)state;
    struct place place = make_place();
    struct qb_store *const store = must_open(&place);
    struct qb_row row = make_row(1, "run1");
    row.p = NAN;
    row.changed = -1;
    row.accuracy = 0.1 + 0.2;
    row.message[0] = 0;
    row.class_total[9] = INT64_MAX;
    must_put(store, &row);
    qb_store_close(store);
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(place.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(
                         db,
                         "SELECT p, changed, accuracy, message, class_total_9, application_id, user_version "
                         "FROM rows, pragma_application_id, pragma_user_version",
                         -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_type(statement, 0), SQLITE_NULL);
    assert_int_equal(sqlite3_column_int64(statement, 1), -1);
    assert_true(sqlite3_column_double(statement, 2) == 0.1 + 0.2);
    assert_string_equal((const char *)sqlite3_column_text(statement, 3), "");
    assert_true(sqlite3_column_int64(statement, 4) == INT64_MAX);
    assert_int_equal(sqlite3_column_int64(statement, 5), 0x51424e43);
    assert_int_equal(sqlite3_column_int64(statement, 6), 1);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    free_place(&place);
}

static void assert_keys(struct qb_store *store, const char *experiment, const char *run, const unsigned *keys,
                        size_t n)
{
    struct qb_row *rows = NULL;
    size_t count = 99;
    struct qb_error err;
    qbt_ok(qb_store_rows(store, experiment, run, &rows, &count, &err), &err);
    assert_int_equal(count, n);
    for (size_t i = 0; i < n; i++) {
        char key[33];
        snprintf(key, sizeof key, "%032x", keys[i]);
        assert_string_equal(rows[i].key, key);
    }
    free(rows);
}

static void test_runs_and_order(void **state)
{
    (void)state;
    struct place place = make_place();
    struct qb_store *const store = must_open(&place);
    assert_keys(store, NULL, NULL, NULL, 0);
    static const unsigned order[] = {5, 3, 9, 1};
    for (size_t i = 0; i < 4; i++) {
        const struct qb_row row = make_row(order[i], "run1");
        must_put(store, &row);
    }
    assert_keys(store, NULL, NULL, order, 4);
    /* Another experiment's run comes later. */
    struct qb_row other = make_row(20, "run2");
    strcpy(other.experiment, "other");
    must_put(store, &other);
    assert_keys(store, NULL, NULL, (const unsigned[]){20}, 1);
    assert_keys(store, "other", NULL, (const unsigned[]){20}, 1);
    assert_keys(store, "exp", NULL, order, 4);
    assert_keys(store, "none", NULL, NULL, 0);
    assert_keys(store, NULL, "none", NULL, 0);
    /* A row written again keeps its place and moves to the new run, which is now the newest. */
    const struct qb_row again9 = make_row(9, "run3"), new2 = make_row(2, "run3"),
                        again5 = make_row(5, "run3");
    must_put(store, &again9);
    must_put(store, &new2);
    must_put(store, &again5);
    assert_keys(store, NULL, NULL, (const unsigned[]){5, 9, 2}, 3);
    assert_keys(store, "exp", NULL, (const unsigned[]){5, 9, 2}, 3);
    assert_keys(store, "exp", "run1", (const unsigned[]){3, 1}, 2);
    assert_keys(store, NULL, "run2", (const unsigned[]){20}, 1);
    /* Names are data, not SQL. */
    assert_keys(store, "' OR 1=1 --", NULL, NULL, 0);
    qb_store_close(store);
    free_place(&place);
}

static void test_bad_rows(void **state)
{
    (void)state;
    struct place place = make_place();
    struct qb_store *const store = must_open(&place);
    struct qb_row row = make_row(1, "run");
    row.key[0] = 0;
    qbt_error(qb_store_put(store, &row, &place.err), QB_EINPUT, &place.err, "without key");
    row = make_row(1, "");
    qbt_error(qb_store_put(store, &row, &place.err), QB_EINPUT, &place.err, "without run");
    row = make_row(1, "run");
    memset(row.message, 'm', sizeof row.message); /* no NUL: the field is the limit */
    must_put(store, &row);
    struct qb_row got;
    int found;
    qbt_ok(qb_store_get(store, row.key, &got, &found, &place.err), &place.err);
    assert_int_equal(strlen(got.message), sizeof got.message - 1);
    qb_store_close(store);
    free_place(&place);
}

/* ---- opens that are refused ---- */

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s", message);
    }
    sqlite3_close(db);
}

static void assert_refused(struct place *place, enum qb_status want, const char *text, unsigned files)
{
    struct qb_store *store = NULL;
    qbt_error(qb_store_open(place->path, &store, &place->err), want, &place->err, text);
    assert_null(store);
    assert_int_equal(count_files(place->dir), files);
}

static void write_file(const char *path, const void *data, size_t size)
{
    struct qb_error err;
    qbt_ok(qb_file_write(path, data, size, &err), &err);
}

static void test_refused_files(void **state)
{
    (void)state;
    struct place place = make_place();
    assert_int_equal(mkdir(place.path, 0777), 0);
    assert_refused(&place, QB_EINPUT, "r.db: is a folder", 1);
    assert_int_equal(rmdir(place.path), 0);
    assert_int_equal(mkfifo(place.path, 0666), 0);
    assert_refused(&place, QB_EINPUT, "r.db: is not a regular file", 1);
    unlink(place.path);
    write_file(place.path, "", 0);
    assert_refused(&place, QB_EINPUT, "is not a results database", 1);
    char text[8192];
    memset(text, 'x', sizeof text);
    write_file(place.path, text, sizeof text);
    assert_refused(&place, QB_EINPUT, "is not a results database", 1);
    struct qb_blob blob;
    qbt_ok(qb_file_read(place.path, 1 << 20, &blob, &place.err), &place.err);
    assert_memory_equal(blob.data, text, sizeof text);
    qb_blob_free(&blob);
    unlink(place.path);

    run_sql(place.path, "CREATE TABLE t (a); PRAGMA journal_mode = WAL; INSERT INTO t VALUES (1);");
    assert_refused(&place, QB_EINPUT, "is the SQLite database of another program", 1);
    unlink(place.path);

    qb_store_close(must_open(&place));
    run_sql(place.path, "PRAGMA user_version = 2");
    assert_refused(&place, QB_EUNSUPPORTED, "was written by a newer qbench (schema 2, this program knows 1)",
                   1);
    run_sql(place.path, "PRAGMA user_version = 0");
    assert_refused(&place, QB_EINPUT, "has no table of rows", 1);
    run_sql(place.path, "PRAGMA user_version = 1; DROP TABLE rows;");
    assert_refused(&place, QB_EINPUT, "has no table of rows", 1);
    unlink(place.path);

    struct qb_store *store = NULL;
    write_file(place.path, text, 10);
    char *const below = qb_path_join(place.path, "r.db");
    qbt_error(qb_store_open(below, &store, &place.err), QB_EIO, &place.err, "exists and is not a folder");
    free(below);
    qbt_error(qb_store_open("", &store, &place.err), QB_EINPUT, &place.err, "has no path");
    free_place(&place);
}

static void test_missing_folders_are_made(void **state)
{
    (void)state;
    struct place place = make_place();
    free(place.path);
    place.path = qb_path_join(place.dir, "a/b/r.db");
    qb_store_close(must_open(&place));
    qb_store_close(must_open(&place));
    assert_int_equal(qb_is_file(place.path), 1);
    free_place(&place);
}

/* Runs as an ordinary user where the test is root, whom no permission stops. */
static void assert_refused_unprivileged(struct place *place, const char *text)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        struct qb_store *store = NULL;
        struct qb_error err = {.text = ""};
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
            _exit(2);
        }
        if (access(place->dir, X_OK) != 0) {
            _exit(77); /* $TMPDIR is the test's user's alone */
        }
        const enum qb_status status = qb_store_open(place->path, &store, &err);
        if (status != QB_EIO || !strstr(err.text, text)) {
            fprintf(stderr, "status %d, text \"%s\", wanted \"%s\"\n", (int)status, err.text, text);
            _exit(1);
        }
        _exit(0);
    }
    int code = -1;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_true(WIFEXITED(code) && (WEXITSTATUS(code) == 0 || WEXITSTATUS(code) == 77));
}

static void test_read_only(void **state)
{
    (void)state;
    struct place place = make_place();
    assert_int_equal(chmod(place.dir, 0555), 0);
    assert_refused_unprivileged(&place, "r.db: cannot be made: Permission denied");
    assert_int_equal(count_files(place.dir), 0);
    assert_int_equal(chmod(place.dir, 0777), 0);
    qb_store_close(must_open(&place));
    assert_int_equal(chmod(place.path, 0444), 0);
    assert_refused_unprivileged(&place, "r.db: cannot be written: Permission denied");
    assert_int_equal(chmod(place.path, 0666), 0);
    assert_int_equal(chmod(place.dir, 0555), 0);
    assert_refused_unprivileged(&place, "the folder cannot be written");
    assert_int_equal(chmod(place.dir, 0777), 0);
    assert_int_equal(count_files(place.dir), 1);
    free_place(&place);
}

/* Reads as an ordinary user what another one wrote; exit code 0 when `want` rows of run1 were there. */
static void assert_read_unprivileged(const struct place *place, size_t want)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        struct qb_store *store = NULL;
        struct qb_row *rows = NULL;
        struct qb_error err = {.text = ""};
        size_t count = 0;
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
            _exit(2);
        }
        if (access(place->dir, X_OK) != 0) {
            _exit(77); /* $TMPDIR is the test's user's alone */
        }
        if (qb_store_open_read(place->path, &store, &err) != QB_OK ||
            qb_store_rows(store, NULL, "run1", &rows, &count, &err) != QB_OK || count != want) {
            fprintf(stderr, "%zu rows, \"%s\"\n", count, err.text);
            _exit(1);
        }
        free(rows);
        qb_store_close(store);
        _exit(0);
    }
    int code = -1;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_true(WIFEXITED(code) && (WEXITSTATUS(code) == 0 || WEXITSTATUS(code) == 77));
}

static void test_reading_needs_no_right_to_write(void **state)
{
    (void)state;
    struct place place = make_place();
    free(place.path);
    place.path = qb_path_join(place.dir, "odd name?%41#.db");
    struct qb_store *store = NULL;
    qbt_error(qb_store_open_read(place.path, &store, &place.err), QB_ENOTFOUND, &place.err, "odd name");
    assert_int_equal(count_files(place.dir), 0);
    store = must_open(&place);
    const struct qb_row row = make_row(1, "run1");
    must_put(store, &row);
    qb_store_close(store);
    assert_int_equal(chmod(place.path, 0444), 0);
    assert_int_equal(chmod(place.dir, 0555), 0);
    assert_read_unprivileged(&place, 1);
    assert_int_equal(count_files(place.dir), 1);
    assert_int_equal(chmod(place.dir, 0777), 0);
    assert_int_equal(chmod(place.path, 0666), 0);
    assert_read_unprivileged(&place, 1);
    free_place(&place);
}

/* Cut at many lengths and with bytes changed: an error or a working store, never a crash, never litter. */
static void test_damaged(void **state)
{
    (void)state;
    struct place place = make_place();
    struct qb_store *store = must_open(&place);
    for (unsigned n = 0; n < 12; n++) {
        const struct qb_row row = make_row(n, "run1");
        must_put(store, &row);
    }
    qb_store_close(store);
    struct qb_blob blob;
    qbt_ok(qb_file_read(place.path, 1 << 20, &blob, &place.err), &place.err);
    unsigned refused = 0, opened = 0;
    for (size_t i = 0; i < 400; i++) {
        const bool cut = i < 100;
        const size_t at = cut ? blob.size * i / 100 : (i * 7919) % blob.size;
        remove(place.path);
        blob.data[at] ^= 0x55;
        FILE *const file = fopen(place.path, "wb");
        assert_int_equal(fwrite(blob.data, 1, cut ? at : blob.size, file), cut ? at : blob.size);
        fclose(file);
        blob.data[at] ^= 0x55;
        store = NULL;
        struct qb_row *rows = NULL;
        size_t count = 0;
        if (qb_store_open(place.path, &store, &place.err) == QB_OK) {
            if (qb_store_rows(store, NULL, "run1", &rows, &count, &place.err) == QB_OK) {
                assert_true(count <= 12);
                free(rows);
            }
            qb_store_close(store);
            assert_false(cut);
            opened++;
        } else {
            assert_non_null(strstr(place.err.text, "r.db: "));
            assert_true(place.err.status == QB_EINPUT || place.err.status == QB_EUNSUPPORTED ||
                        place.err.status == QB_EIO || place.err.status == QB_EFAILED);
            refused++;
        }
        assert_int_equal(count_files(place.dir), 1);
    }
    assert_true(refused >= 100 && opened > 0);
    qb_blob_free(&blob);
    free_place(&place);
}

/* A file of an older program lacks columns that came later. */
static void test_older_columns(void **state)
{
    (void)state;
    struct place place = make_place();
    struct qb_store *store = must_open(&place);
    const struct qb_row row = make_row(1, "run1");
    must_put(store, &row);
    qb_store_close(store);
    run_sql(place.path, "ALTER TABLE rows DROP COLUMN noise_floor; ALTER TABLE rows DROP COLUMN changed;"
                        "ALTER TABLE rows DROP COLUMN message;");
    store = must_open(&place);
    struct qb_row got;
    int found = 0;
    qbt_ok(qb_store_get(store, row.key, &got, &found, &place.err), &place.err);
    assert_int_equal(found, 1);
    assert_true(isnan(got.noise_floor));
    assert_int_equal(got.changed, -1);
    assert_string_equal(got.message, "");
    must_put(store, &row);
    qbt_ok(qb_store_get(store, row.key, &got, &found, &place.err), &place.err);
    assert_row(&got, &row);
    qb_store_close(store);
    free_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_sql_values),
        cmocka_unit_test(test_runs_and_order),
        cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_missing_folders_are_made),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_reading_needs_no_right_to_write),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_older_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
