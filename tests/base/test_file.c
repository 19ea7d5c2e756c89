/* Whole files: limits of reading, and that writing is all or nothing. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "testing.h"

static int make(void **state)
{
    *state = qbt_mkdtemp();
    return 0;
}

static int drop(void **state)
{
    qbt_rmtree(*state);
    return 0;
}

static unsigned entries(const char *dir)
{
    unsigned count = 0;
    DIR *const d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) {
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    closedir(d);
    return count;
}

static void expect_content(const char *path, const char *want)
{
    struct qb_error err;
    struct qb_blob blob;
    qbt_ok(qb_file_read(path, 1000, &blob, &err), &err);
    assert_int_equal(blob.size, strlen(want));
    assert_string_equal(blob.data, want); /* the NUL behind the end, too */
    qb_blob_free(&blob);
    assert_null(blob.data);
}

static void write_and_read(void **state)
{
    struct qb_error err;
    char *const path = qb_path_join(*state, "a");
    qbt_ok(qb_file_write(path, "first", 5, &err), &err);
    expect_content(path, "first");
    qbt_ok(qb_file_write(path, "2nd", 3, &err), &err);
    expect_content(path, "2nd");
    qbt_ok(qb_file_write(path, "", 0, &err), &err);
    expect_content(path, "");
    assert_int_equal(entries(*state), 1);
    free(path);
}

static void written_files_obey_the_umask(void **state)
{
    struct qb_error err;
    struct stat st;
    char *const path = qb_path_join(*state, "mode");
    const mode_t old = umask(027);
    qbt_ok(qb_file_write(path, "x", 1, &err), &err);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    free(path);
}

static void reading_is_bounded(void **state)
{
    struct qb_error err;
    struct qb_blob blob = {0};
    char *const path = qb_path_join(*state, "a");
    qbt_ok(qb_file_write(path, "12345", 5, &err), &err);
    qbt_ok(qb_file_read(path, 5, &blob, &err), &err);
    qb_blob_free(&blob);
    qbt_error(qb_file_read(path, 4, &blob, &err), QB_EINPUT, &err, "5 bytes, at most 4");
    assert_null(blob.data);
    qbt_error(qb_file_read(*state, 100, &blob, &err), QB_EINPUT, &err, "not a regular file");
    free(path);
}

static void absent_files_are_named(void **state)
{
    struct qb_error err;
    struct qb_blob blob = {0};
    char *const path = qb_path_join(*state, "absent"), *const below = qb_path_join(path, "x");
    qbt_error(qb_file_read(path, 10, &blob, &err), QB_ENOTFOUND, &err, path);
    qbt_ok(qb_file_write(path, "x", 1, &err), &err);
    qbt_error(qb_file_read(below, 10, &blob, &err), QB_ENOTFOUND, &err, below);
    free(below);
    free(path);
}

static void a_fifo_does_not_block(void **state)
{
    struct qb_error err;
    struct qb_blob blob = {0};
    char *const path = qb_path_join(*state, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    qbt_error(qb_file_read(path, 10, &blob, &err), QB_EINPUT, &err, "not a regular file");
    free(path);
}

static void unwritable_places_leave_nothing(void **state)
{
    struct qb_error err;
    qbt_error(qb_file_write("/proc/qbench-test", "x", 1, &err), QB_EIO, &err,
              "/proc/qbench-test: cannot be created");
    char *const absent = qb_path_join(*state, "absent/file");
    qbt_error(qb_file_write(absent, "x", 1, &err), QB_EIO, &err, "absent/file");
    qbt_error(qb_file_write("", "x", 1, &err), QB_EINPUT, &err, "is empty");
    char *const folder = qb_path_join(*state, "folder");
    qbt_ok(qb_make_dirs(folder, &err), &err);
    qbt_error(qb_file_write(folder, "x", 1, &err), QB_EINPUT, &err, "is a folder");
    assert_int_equal(entries(*state), 1);
    free(folder);
    free(absent);
}

/* As root, renaming over /dev/full would take the device away from everybody. */
static void devices_and_pipes_are_written_not_replaced(void **state)
{
    struct qb_error err;
    struct stat st;
    char *const path = qb_path_join(*state, "fifo"), got[8] = "";
    assert_int_equal(mkfifo(path, 0600), 0);
    const int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    qbt_ok(qb_file_write(path, "abc", 3, &err), &err);
    assert_int_equal(read(reader, got, sizeof got), 3);
    assert_memory_equal(got, "abc", 3);
    close(reader);
    assert_true(stat(path, &st) == 0 && S_ISFIFO(st.st_mode));
    assert_int_equal(entries(*state), 1);
    free(path);
    if (stat("/dev/full", &st) == 0 && S_ISCHR(st.st_mode)) {
        qbt_error(qb_file_write("/dev/full", "abc", 3, &err), QB_EIO, &err, "/dev/full: cannot be written");
        assert_true(stat("/dev/full", &st) == 0 && S_ISCHR(st.st_mode));
    }
}

static void a_link_stays_and_its_target_is_replaced(void **state)
{
    struct qb_error err;
    struct stat st;
    char *const folder = qb_path_join(*state, "elsewhere"), *const target = qb_path_join(folder, "target");
    char *const link = qb_path_join(*state, "link");
    qbt_ok(qb_make_dirs(folder, &err), &err);
    qbt_ok(qb_file_write(target, "old", 3, &err), &err);
    assert_int_equal(symlink("elsewhere/target", link), 0);
    qbt_ok(qb_file_write(link, "new", 3, &err), &err);
    assert_true(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    expect_content(target, "new");
    assert_int_equal(entries(folder), 1);
    assert_int_equal(unlink(target), 0);
    qbt_ok(qb_file_write(link, "alone", 5, &err), &err);
    assert_true(lstat(link, &st) == 0 && S_ISREG(st.st_mode));
    free(link);
    free(target);
    free(folder);
}

static void a_read_only_folder_is_refused(void **state)
{
    struct qb_error err;
    if (geteuid() == 0) {
        print_message("SKIP: root may write everywhere\n");
        skip();
    }
    char *const path = qb_path_join(*state, "file");
    assert_int_equal(chmod(*state, 0500), 0);
    const enum qb_status status = qb_file_write(path, "x", 1, &err);
    assert_int_equal(chmod(*state, 0700), 0);
    qbt_error(status, QB_EIO, &err, "Permission denied");
    assert_int_equal(entries(*state), 0);
    free(path);
}

/* The limit on file sizes stands in for a full disk: write(2) fails in the middle of the data. */
static void a_full_disk_keeps_the_old_file(void **state)
{
    struct qb_error err;
    struct rlimit old;
    static char big[100000];
    char *const path = qb_path_join(*state, "results.csv");
    qbt_ok(qb_file_write(path, "old", 3, &err), &err);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*const handler)(int) = signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {.rlim_cur = 4096, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const enum qb_status status = qb_file_write(path, big, sizeof big, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    qbt_error(status, QB_EIO, &err, "results.csv: cannot be written");
    expect_content(path, "old");
    assert_int_equal(entries(*state), 1);
    free(path);
}

static void folders(void **state)
{
    struct qb_error err;
    char *const deep = qb_path_join(*state, "a/b//c/");
    qbt_ok(qb_make_dirs(deep, &err), &err);
    qbt_ok(qb_make_dirs(deep, &err), &err);
    assert_true(qb_is_dir(deep));
    assert_false(qb_is_file(deep));
    char *const file = qb_path_join(*state, "f"), *const below = qb_path_join(file, "g");
    qbt_ok(qb_file_write(file, "", 0, &err), &err);
    assert_true(qb_is_file(file));
    assert_false(qb_is_dir(file));
    qbt_error(qb_make_dirs(file, &err), QB_EIO, &err, file);
    qbt_error(qb_make_dirs(below, &err), QB_EIO, &err, below);
    assert_int_not_equal(qb_make_dirs("", &err), QB_OK);
    assert_false(qb_is_dir(below));
    assert_false(qb_is_file(below));
    free(below);
    free(file);
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(write_and_read, make, drop),
        cmocka_unit_test_setup_teardown(written_files_obey_the_umask, make, drop),
        cmocka_unit_test_setup_teardown(reading_is_bounded, make, drop),
        cmocka_unit_test_setup_teardown(absent_files_are_named, make, drop),
        cmocka_unit_test_setup_teardown(a_fifo_does_not_block, make, drop),
        cmocka_unit_test_setup_teardown(unwritable_places_leave_nothing, make, drop),
        cmocka_unit_test_setup_teardown(devices_and_pipes_are_written_not_replaced, make, drop),
        cmocka_unit_test_setup_teardown(a_link_stays_and_its_target_is_replaced, make, drop),
        cmocka_unit_test_setup_teardown(a_read_only_folder_is_refused, make, drop),
        cmocka_unit_test_setup_teardown(a_full_disk_keeps_the_old_file, make, drop),
        cmocka_unit_test_setup_teardown(folders, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
