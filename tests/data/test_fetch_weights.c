/* The fetch of published weights, with small stand-ins and no network: what is there stays, the rest comes
 * file by file; and the real checksums. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "fixture.h"
#include "server.h"

#include "data/fetch_internal.h"

static const char *const contents[] = {"first weights", "second weights"};

struct world {
    char *root, *dest, url[4096];
    char sums[2][QB_SHA256_HEX];
    struct qb_weights_file files[2];
    struct qb_weights_plan plan;
    struct bytes log;
    struct qb_fetch_io io;
};

static void collect(void *ctx, const char *line)
{
    struct world *const w = ctx;
    bytes_text(&w->log, line);
    bytes_text(&w->log, "\n");
}

static int setup(void **state)
{
    struct world *const w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->root = qbt_mkdtemp();
    w->dest = strdup(at(w->root, "dest"));
    snprintf(w->url, sizeof w->url, "file://%s", w->root);
    assert_int_equal(mkdir(at(w->root, "deep"), 0777), 0);
    write_text(at(w->root, "deep/a.h5"), contents[0]);
    write_text(at(w->root, "b.npy"), contents[1]);
    for (unsigned i = 0; i < 2; i++) {
        qb_sha256(contents[i], strlen(contents[i]), w->sums[i]);
    }
    w->files[0] = (struct qb_weights_file){"deep/a.h5", "a.h5", w->sums[0]};
    w->files[1] = (struct qb_weights_file){"b.npy", "b.npy", w->sums[1]};
    w->plan = (struct qb_weights_plan){.url = w->url, .count = 2, .files = w->files};
    w->io = (struct qb_fetch_io){.log = collect, .log_ctx = w};
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *const w = *state;
    bytes_free(&w->log);
    qbt_rmtree(w->root);
    free(w->dest);
    free(w);
    return 0;
}

static void expect_weights(struct world *w)
{
    struct qb_error err;
    qbt_ok(qb_fetch_weights_run(&w->plan, w->dest, &w->io, &err), &err);
    for (unsigned i = 0; i < 2; i++) {
        struct qb_blob blob;
        qbt_ok(qb_file_read(at(w->dest, w->files[i].name), 1 << 20, &blob, &err), &err);
        assert_string_equal(blob.data, contents[i]);
        qb_blob_free(&blob);
    }
    assert_int_equal(count_entries(w->dest), 2);
}

static int said(const struct world *w, const char *needle)
{
    return w->log.size && memmem(w->log.data, w->log.size, needle, strlen(needle)) != NULL;
}

static void what_is_there_stays(void **state)
{
    struct world *const w = *state;
    expect_weights(w);
    assert_true(said(w, "deep/a.h5"));
    snprintf(w->url, sizeof w->url, "file:///nonexistent");
    bytes_free(&w->log);
    expect_weights(w);
    assert_false(said(w, "downloading"));
    assert_true(said(w, "checksums are right"));
}

static void a_damaged_file_is_fetched_again(void **state)
{
    struct world *const w = *state;
    expect_weights(w);
    write_text(at(w->dest, "b.npy"), "second weighty");
    bytes_free(&w->log);
    expect_weights(w);
    assert_true(said(w, "b.npy: its SHA-256 sum is"));
    assert_false(said(w, "a.h5"));
}

static void the_reason_and_the_remedy_are_named(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    unlink(at(w->root, "b.npy"));
    qbt_error(qb_fetch_weights_run(&w->plan, w->dest, &w->io, &err), QB_EIO, &err,
              "b.npy could not be brought to");
    assert_non_null(strstr(err.text, w->url));
    assert_non_null(strstr(err.text, "put the file into that folder"));
    assert_int_equal(count_entries(w->dest), 1); /* the first stays */
}

static void other_bytes_do_not_get_the_name(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    write_text(at(w->root, "deep/a.h5"), "not these");
    qbt_error(qb_fetch_weights_run(&w->plan, w->dest, &w->io, &err), QB_EINPUT, &err,
              "a.h5.part: its SHA-256 sum is");
    assert_int_equal(count_entries(w->dest), 0);
}

static void a_lost_connection_is_resumed(void **state)
{
    struct world *const w = *state;
    struct server server;
    struct qb_error err;
    server_start(&server, SERVER_CUTS, (const uint8_t *)contents[0], strlen(contents[0]));
    snprintf(w->url, sizeof w->url, "%s", server.url);
    w->plan.count = 1;
    qbt_error(qb_fetch_weights_run(&w->plan, w->dest, &w->io, &err), QB_EIO, &err, server.url);
    server.mode = SERVER_GOOD;
    qbt_ok(qb_fetch_weights_run(&w->plan, w->dest, &w->io, &err), &err);
    assert_int_equal(server.last_from, strlen(contents[0]) / 2);
    assert_int_equal(count_entries(w->dest), 1);
    server_stop(&server);
}

/* The product's own checksums, from copies of the published files. */
static void the_published_files(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    qbt_require_shared("models/mlperf-tiny/pretrainedResnet.h5");
    w->plan = qb_weights_mlperf_tiny;
    w->plan.url = w->url;
    assert_int_equal(symlink(qbt_shared("models/mlperf-tiny"), at(w->root, "trained_models")), 0);
    assert_int_equal(symlink(qbt_shared("models/mlperf-tiny/calibration_samples_idxs.npy"),
                             at(w->root, "calibration_samples_idxs.npy")),
                     0);
    qbt_ok(qb_fetch_weights_run(&w->plan, w->dest, &w->io, &err), &err);
    assert_int_equal(count_entries(w->dest), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_there_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_fetched_again, setup, teardown),
        cmocka_unit_test_setup_teardown(the_reason_and_the_remedy_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(other_bytes_do_not_get_the_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection_is_resumed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_published_files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
