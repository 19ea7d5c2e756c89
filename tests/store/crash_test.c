/* The store under kill -9, a full disk and a second writer. */
#include "store/row.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/rng.h"
#include "store_testing.h"

/* Child: opens the store and writes rows first, first + 1, ... for ever; after each one that is said to be
 * stored, its number goes into the pipe. */
static void write_until_killed(const char *path, unsigned first, int pipe)
{
    struct qb_store *store = NULL;
    struct qb_error err;
    if (qb_store_open(path, &store, &err) != QB_OK) {
        fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    for (unsigned n = first;; n++) {
        const struct qb_row row = make_row(n, "run");
        if (qb_store_put(store, &row, &err) != QB_OK || write(pipe, &n, sizeof n) != sizeof n) {
            fprintf(stderr, "%s\n", err.text);
            _exit(1);
        }
    }
}

/* Starts a writer, kills it after it stored about `rows` rows and `microseconds` more; returns one more than
 * the last row that it reported, `first` when it reported none. */
static unsigned write_and_kill(const char *path, unsigned first, unsigned rows, unsigned microseconds)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        write_until_killed(path, first, ends[1]);
    }
    close(ends[1]);
    unsigned next = first, n;
    while (next < first + rows && read(ends[0], &n, sizeof n) == sizeof n) {
        assert_int_equal(n, next);
        next = n + 1;
    }
    usleep(microseconds);
    assert_int_equal(kill(pid, SIGKILL), 0);
    int code = 0;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_true(WIFSIGNALED(code));                   /* an exit would be an error of the store */
    while (read(ends[0], &n, sizeof n) == sizeof n) { /* reported while the signal was under way */
        assert_int_equal(n, next);
        next = n + 1;
    }
    close(ends[0]);
    return next;
}

/* Opens the store and checks that rows 0 .. next - 1, and at most one more, are there and whole; returns
 * their number. */
static unsigned check_rows(const char *path, unsigned next)
{
    struct qb_store *store = NULL;
    struct qb_error err;
    struct qb_row *rows = NULL;
    size_t count = 0;
    qbt_ok(qb_store_open(path, &store, &err), &err);
    qbt_ok(qb_store_rows(store, NULL, "run", &rows, &count, &err), &err);
    assert_true(count == next || count == next + 1);
    for (unsigned i = 0; i < count; i++) {
        const struct qb_row want = make_row(i, "run");
        assert_row(&rows[i], &want);
    }
    free(rows);
    qb_store_close(store);
    return (unsigned)count;
}

static void test_kill_while_writing(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "r.db");
    struct qb_rng rng;
    qb_rng_seed(&rng, 5);
    unsigned next = 0;
    for (int i = 0; i < 40; i++) {
        next = write_and_kill(path, next, 1 + qb_rng_interval(&rng, 7), qb_rng_interval(&rng, 3000));
        if (i % 2) { /* the other rounds leave the recovery to the next writer */
            next = check_rows(path, next);
        } else {
            struct qb_store *store = NULL;
            struct qb_error err;
            struct qb_row row;
            int found = 0;
            const struct qb_row want = make_row(next, "run");
            qbt_ok(qb_store_open(path, &store, &err), &err);
            qbt_ok(qb_store_get(store, want.key, &row, &found, &err), &err);
            qb_store_close(store);
            next += (unsigned)found;
        }
    }
    assert_true(next >= 40);
    check_rows(path, next);
    free(path);
    qbt_rmtree(dir);
}

/* Killed while the database is being made: afterwards there is none or a whole one. */
static void test_kill_while_making(void **state)
{
    (void)state;
    struct qb_rng rng;
    qb_rng_seed(&rng, 6);
    for (int i = 0; i < 20; i++) {
        char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "r.db");
        const unsigned next = write_and_kill(path, 0, 0, qb_rng_interval(&rng, 20000));
        check_rows(path, next);
        free(path);
        qbt_rmtree(dir);
    }
}

/* No file may grow beyond a limit: writing fails with a sentence, what was stored stays, and more room helps.
 */
static void test_disk_full(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "r.db");
    struct qb_store *store = NULL;
    struct qb_error err;
    qbt_ok(qb_store_open(path, &store, &err), &err);
    qb_store_close(store);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        const struct rlimit limit = {300000, 300000};
        unsigned n = 0;
        int code = 1;
        if (setrlimit(RLIMIT_FSIZE, &limit) == 0 && qb_store_open(path, &store, &err) == QB_OK) {
            for (; n < 10000; n++) {
                const struct qb_row row = make_row(n, "run");
                if (qb_store_put(store, &row, &err) != QB_OK) {
                    code = err.status == QB_EIO && strstr(err.text, "r.db: a row cannot be written: ") &&
                                   strstr(err.text, "refused to write (quota, size limit")
                               ? 0
                               : 1;
                    fprintf(stderr, "%s%s\n", code ? "unexpected: " : "", code ? err.text : "");
                    break;
                }
            }
            qb_store_close(store);
        }
        if (write(ends[1], &n, sizeof n) != sizeof n) {
            code = 1;
        }
        _exit(code);
    }
    close(ends[1]);
    unsigned n = 0;
    assert_int_equal(read(ends[0], &n, sizeof n), sizeof n);
    close(ends[0]);
    int code = -1;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
    assert_true(n > 10 && n < 10000);
    assert_int_equal(check_rows(path, n), n);
    qbt_ok(qb_store_open(path, &store, &err), &err);
    const struct qb_row row = make_row(n, "run");
    qbt_ok(qb_store_put(store, &row, &err), &err);
    qb_store_close(store);
    assert_int_equal(check_rows(path, n + 1), n + 1);
    free(path);
    qbt_rmtree(dir);
}

/* Child, in a mount namespace of its own: a disk of 1 MiB, mostly filled. Exit codes: 0 fine, 77 no such disk
 * can be had here, else the step that went wrong. */
static int fill_small_disk(const char *dir, const char *path)
{
    struct qb_store *store = NULL;
    struct qb_error err = {.text = ""};
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", dir, "tmpfs", 0, "size=1048576") != 0) {
        return QBT_SKIP;
    }
    char *const filler = qb_path_join(dir, "filler");
    const int fd = open(filler, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, 1) != 0 || posix_fallocate(fd, 0, 600000) != 0 ||
        qb_store_open(path, &store, &err) != QB_OK) {
        return 1;
    }
    unsigned n = 0;
    struct qb_row row = make_row(0, "run");
    while (n < 10000 && qb_store_put(store, &row, &err) == QB_OK) {
        row = make_row(++n, "run");
    }
    if (n < 10 || err.status != QB_EIO || !strstr(err.text, "the disk is full; earlier rows are kept")) {
        fprintf(stderr, "%u rows, then: %s\n", n, err.text);
        return 2;
    }
    qb_store_close(store);
    unlink(filler);
    close(fd);
    free(filler);
    struct qb_row *rows = NULL;
    size_t count = 0;
    if (qb_store_open(path, &store, &err) != QB_OK || qb_store_put(store, &row, &err) != QB_OK ||
        qb_store_rows(store, NULL, "run", &rows, &count, &err) != QB_OK || count != n + 1) {
        fprintf(stderr, "%zu of %u rows, %s\n", count, n + 1, err.text);
        return 3;
    }
    free(rows);
    qb_store_close(store);
    return 0;
}

static void test_small_disk(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "r.db");
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(fill_small_disk(dir, path));
    }
    int code = -1;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    free(path);
    qbt_rmtree(dir);
    if (WIFEXITED(code) && WEXITSTATUS(code) == QBT_SKIP) {
        print_message("SKIP: a small file system cannot be mounted here (needs root)\n");
        skip();
    }
    assert_int_equal(code, 0);
}

/* A writer that holds the database too long is an error with the remedy; one that ends in time is waited for.
 */
static void test_two_writers(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "r.db");
    struct qb_store *store = NULL;
    struct qb_error err;
    qbt_ok(qb_store_open(path, &store, &err), &err);
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    const struct qb_row row = make_row(0, "run");
    qbt_error(qb_store_put(store, &row, &err), QB_EIO, &err,
              "another process has been writing to it for more than 5 s");
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    qbt_ok(qb_store_put(store, &row, &err), &err);
    qb_store_close(store);
    assert_int_equal(check_rows(path, 1), 1);

    /* Four processes at once, all making and writing the same file. */
    enum { WRITERS = 4, ROWS = 25 };
    unlink(path);
    fflush(NULL);
    pid_t pids[WRITERS];
    for (unsigned w = 0; w < WRITERS; w++) {
        pids[w] = fork();
        if (pids[w] == 0) {
            enum qb_status status = qb_store_open(path, &store, &err);
            for (unsigned i = 0; i < ROWS && status == QB_OK; i++) {
                const struct qb_row mine = make_row(w * ROWS + i, "many");
                status = qb_store_put(store, &mine, &err);
            }
            if (status != QB_OK) {
                fprintf(stderr, "%s\n", err.text);
            }
            _exit(status == QB_OK ? 0 : 1);
        }
    }
    for (unsigned w = 0; w < WRITERS; w++) {
        int code = -1;
        assert_int_equal(waitpid(pids[w], &code, 0), pids[w]);
        assert_int_equal(code, 0);
    }
    qbt_ok(qb_store_open(path, &store, &err), &err);
    struct qb_row *rows = NULL;
    size_t count = 0;
    qbt_ok(qb_store_rows(store, NULL, "many", &rows, &count, &err), &err);
    assert_int_equal(count, WRITERS * ROWS);
    free(rows);
    qb_store_close(store);
    free(path);
    qbt_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_while_writing), cmocka_unit_test(test_kill_while_making),
        cmocka_unit_test(test_disk_full),          cmocka_unit_test(test_small_disk),
        cmocka_unit_test(test_two_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
