/* The interleaving of src/measure/latency.c, seen by engines that write their runs down. Structure only: no
 * test here depends on how fast anything is, but for one factor of a hundred. */
#include "testing.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "data/dataset.h"
#include "fake_engine.h"
#include "measure/latency.h"

enum { MOST = 9, MOST_EPOCHS = 4096, SPIN = 2000 };
static uint8_t images[4 * QB_IMAGE_BYTES];
static struct fake_log fakes;
static struct fake_engine engines[MOST];
static struct qb_candidate candidates[MOST];
static const struct qb_latency_options usual = {.rounds = 6, .epoch_ms = 0.05, .seconds = 60, .seed = 1};

static void make(size_t count, int batch)
{
    fakes.count = 0;
    for (size_t i = 0; i < count; i++) {
        fake_engine_init(&engines[i], &fakes, (uint8_t)i, batch, SPIN);
        candidates[i] = (struct qb_candidate){&engines[i].base, batch, images};
    }
}

/* The engine ids of all epochs, from the log's tail: an epoch is one untimed run and rows[].runs timed ones,
 * all of one engine. Fails when the tail is anything else. */
static size_t epochs(const struct qb_latency_result *result, size_t slots, uint8_t out[MOST_EPOCHS])
{
    const size_t count = (size_t)result->rounds * slots;
    assert_true(count <= MOST_EPOCHS && fakes.count <= FAKE_LOG);
    size_t at = fakes.count;
    for (size_t i = count; i-- > 0;) {
        out[i] = fakes.id[at - 1];
        const size_t runs = result->rows[out[i]].runs + 1;
        assert_true(runs <= at);
        at -= runs;
        for (size_t k = 0; k < runs; k++) {
            assert_int_equal(fakes.id[at + k], out[i]);
            assert_int_equal(fakes.n[at + k], candidates[out[i]].batch);
        }
    }
    return count;
}

static void check_row(const struct qb_latency_result *result, size_t i)
{
    const struct qb_latency *const row = &result->rows[i];
    const struct qb_ratio *const ratio = &result->ratios[i];
    assert_int_equal(row->samples, result->rounds);
    assert_true(row->runs >= 1);
    assert_true(row->min > 0 && row->min <= row->p10 && row->p10 <= row->median && row->median <= row->p90 &&
                row->p90 <= row->p99 && isfinite(row->p99));
    assert_true(row->median_low <= row->median && row->median <= row->median_high);
    assert_true(row->min <= row->median_low && row->median_high <= row->p99);
    assert_true(row->disturbed >= 0 && row->disturbed <= 1);
    assert_true(ratio->low > 0 && ratio->low <= ratio->median && ratio->median <= ratio->high);
    assert_true(isfinite(ratio->high));
}

static void every_position_equally_often(void **state)
{
    static uint8_t order[MOST_EPOCHS];
    struct qb_latency_options options = usual;
    struct qb_latency_result result;
    struct qb_error err;
    (void)state;
    options.rounds = 13; /* 15 = three whole blocks of 5 */
    make(5, 2);
    qbt_ok(qb_latency_measure(candidates, 5, &options, NULL, &result, &err), &err);
    assert_int_equal(result.rounds, 15);
    const size_t count = epochs(&result, 5, order);
    size_t times[5][5] = {{0}};
    for (size_t i = 0; i < count; i++) {
        times[order[i]][i % 5]++;
    }
    for (size_t i = 0; i < 5; i++) {
        check_row(&result, i);
        assert_int_equal(result.rows[i].runs, result.rows[0].runs);
        for (size_t position = 0; position < 5; position++) {
            assert_int_equal(times[i][position], 3);
        }
    }
    assert_true(result.noise_floor == 0 && !result.control_ok);
    qb_latency_result_free(&result);
    assert_null(result.rows);
}

static void the_seed_makes_the_order(void **state)
{
    static uint8_t order[3][MOST_EPOCHS];
    static const uint32_t seeds[3] = {7, 7, 8};
    struct qb_latency_options options = usual;
    size_t count = 0;
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct qb_latency_result result;
        struct qb_error err;
        options.seed = seeds[i];
        make(6, 1);
        qbt_ok(qb_latency_measure(candidates, 6, &options, NULL, &result, &err), &err);
        count = epochs(&result, 6, order[i]);
        qb_latency_result_free(&result);
    }
    assert_memory_equal(order[0], order[1], count);
    assert_memory_not_equal(order[0], order[2], count);
}

static void control_is_candidate_0_again(void **state)
{
    static uint8_t order[MOST_EPOCHS];
    struct qb_latency_options options = usual;
    struct qb_latency_result result;
    struct qb_error err;
    (void)state;
    options.control = true;
    make(3, 1);
    qbt_ok(qb_latency_measure(candidates, 3, &options, NULL, &result, &err), &err);
    assert_int_equal(result.rounds, 8); /* 6 raised to blocks of 4 */
    const size_t count = epochs(&result, 4, order);
    size_t times[3][4] = {{0}};
    for (size_t i = 0; i < count; i++) {
        times[order[i]][i % 4]++;
    }
    for (size_t position = 0; position < 4; position++) {
        assert_int_equal(times[0][position], 4);
        assert_int_equal(times[1][position], 2);
        assert_int_equal(times[2][position], 2);
    }
    assert_true(isfinite(result.noise_floor) && result.noise_floor > 0);
    qb_latency_result_free(&result);
    /* One candidate alone has a noise floor too. */
    make(1, 1);
    qbt_ok(qb_latency_measure(candidates, 1, &options, NULL, &result, &err), &err);
    assert_int_equal(result.rounds, 6);
    check_row(&result, 0);
    assert_true(result.noise_floor > 0);
    qb_latency_result_free(&result);
}

/* Two batch sizes: runs are common within each, the first of each is what the others are compared with, and a
 * hundred times the work is slower. */
static void batch_sizes_are_groups(void **state)
{
    static uint8_t order[MOST_EPOCHS];
    struct qb_latency_result result;
    struct qb_error err;
    (void)state;
    make(5, 1);
    for (size_t i = 3; i < 5; i++) {
        fake_engine_init(&engines[i], &fakes, (uint8_t)i, 4, 4 * SPIN);
        candidates[i].batch = 4;
    }
    engines[1].spin = 100 * SPIN;
    qbt_ok(qb_latency_measure(candidates, 5, &usual, NULL, &result, &err), &err);
    epochs(&result, 5, order);
    assert_int_equal(result.rows[0].runs, result.rows[1].runs);
    assert_int_equal(result.rows[0].runs, result.rows[2].runs);
    assert_int_equal(result.rows[3].runs, result.rows[4].runs);
    for (size_t i = 0; i < 5; i++) {
        check_row(&result, i);
    }
    assert_true(result.ratios[0].median == 1 && result.ratios[0].low == 1 && result.ratios[0].high == 1);
    assert_true(result.ratios[3].median == 1 && result.ratios[3].low == 1 && result.ratios[3].high == 1);
    assert_true(result.ratios[1].median < 1);
    assert_true(result.rows[1].median > result.rows[0].median);
    qb_latency_result_free(&result);
}

static void the_cap_leaves_rounds_out(void **state)
{
    static const struct {
        size_t count;
        unsigned least;
    } cases[] = {{1, 6}, {3, 6}, {4, 8}, {5, 10}, {6, 6}, {9, 6}};
    struct qb_latency_options options = usual;
    struct qb_latency_result result;
    struct qb_error err;
    (void)state;
    options.rounds = 5000;
    options.seconds = 1e-6;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(cases[i].count, 1);
        qbt_ok(qb_latency_measure(candidates, cases[i].count, &options, NULL, &result, &err), &err);
        assert_int_equal(result.rounds, cases[i].least);
        qb_latency_result_free(&result);
    }
    /* Room for some: whole blocks, fewer than asked for, in a time that has to do with the cap. */
    options.rounds = 4000000;
    options.seconds = 0.2;
    make(3, 1);
    const uint64_t start = qb_now_ns();
    qbt_ok(qb_latency_measure(candidates, 3, &options, NULL, &result, &err), &err);
    assert_true((double)(qb_now_ns() - start) < 20e9);
    assert_true(result.rounds >= 6 && result.rounds < 4000000 && result.rounds % 3 == 0);
    qb_latency_result_free(&result);
}

/* Engines that were slow only while their epochs were calibrated: the time cap seems to leave room for the
 * least number of rounds, which is no whole block here, and then for a thousand blocks. The capacity is one
 * block. */
static void a_hasty_estimate_does_not_pass_the_capacity(void **state)
{
    struct qb_latency_options options = usual;
    struct qb_latency_result result;
    struct qb_error err;
    (void)state;
    options.seconds = 0.5;
    make(8, 1);
    for (size_t i = 0; i < 8; i++) {
        engines[i].slow = 2;
    }
    qbt_ok(qb_latency_measure(candidates, 8, &options, NULL, &result, &err), &err);
    assert_in_range(result.rounds, 6, 8); /* 6 when this machine was busy elsewhere */
    qb_latency_result_free(&result);
}

/* An engine that moves the thread to another CPU in every run disturbs every sample of one run. */
static void migrations_are_tagged(void **state)
{
    struct qb_latency_options options = usual;
    struct qb_latency_result result;
    struct qb_error err;
    cpu_set_t allowed;
    unsigned cpus[2] = {0, 0};
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    if (CPU_COUNT(&allowed) < 2) {
        print_message("SKIP: one CPU only\n");
        skip();
    }
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            cpus[0] = cpus[1];
            cpus[1] = cpu;
        }
    }
    options.epoch_ms = 1e-6; /* one run a sample */
    make(1, 1);
    engines[0].hop = 1;
    memcpy(engines[0].cpus, cpus, sizeof cpus);
    qbt_ok(qb_latency_measure(candidates, 1, &options, NULL, &result, &err), &err);
    assert_int_equal(sched_setaffinity(0, sizeof allowed, &allowed), 0);
    assert_int_equal(result.rows[0].runs, 1);
    assert_true(result.rows[0].disturbed == 1);
    qb_latency_result_free(&result);
}

static void refusals(void **state)
{
    struct qb_latency_options bad;
    struct qb_latency_result result, before;
    struct qb_error err;
    (void)state;
    memset(&result, 0x5a, sizeof result);
    before = result;
    make(2, 1);
    qbt_error(qb_latency_measure(candidates, 0, &usual, NULL, &result, &err), QB_EINPUT, &err,
              "no candidate");
    bad = usual, bad.rounds = 5;
    qbt_error(qb_latency_measure(candidates, 2, &bad, NULL, &result, &err), QB_EINPUT, &err, "5 rounds");
    bad = usual, bad.epoch_ms = 0;
    qbt_error(qb_latency_measure(candidates, 2, &bad, NULL, &result, &err), QB_EINPUT, &err, "epoch_ms");
    bad = usual, bad.seconds = NAN;
    qbt_error(qb_latency_measure(candidates, 2, &bad, NULL, &result, &err), QB_EINPUT, &err, "seconds");
    bad = usual, bad.rounds = UINT32_MAX;
    qbt_error(qb_latency_measure(candidates, 2, &bad, NULL, &result, &err), QB_EINPUT, &err, "too many");
    candidates[1].batch = 2;
    qbt_error(qb_latency_measure(candidates, 2, &usual, NULL, &result, &err), QB_EINPUT, &err,
              "candidate 1 (fake)");
    candidates[1].batch = 0;
    qbt_error(qb_latency_measure(candidates, 2, &usual, NULL, &result, &err), QB_EINPUT, &err,
              "takes 1 to 1");
    /* A run that fails: the untimed first, one while calibrating, one long after. */
    static const size_t when[] = {1, 2, 100};
    for (size_t i = 0; i < 3; i++) {
        bad = usual, bad.rounds = 100;
        make(2, 1);
        engines[1].fail_at = when[i];
        qbt_error(qb_latency_measure(candidates, 2, &bad, NULL, &result, &err), QB_EFAILED, &err,
                  "candidate 1 (fake): the fake broke");
    }
    assert_memory_equal(&result, &before, sizeof result);
}

struct heard {
    uint64_t calibrated, rounds, total;
    int interrupt;
};

static void hear(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    struct heard *const heard = ctx;
    if (strcmp(what, "timing rounds") == 0) {
        assert_int_equal(done, heard->rounds + 1);
        heard->rounds = done;
        heard->total = total;
        if (heard->interrupt && done == 2) {
            qb_interrupt();
        }
    } else {
        heard->calibrated = done;
    }
}

static void progress_reaches_the_end(void **state)
{
    struct heard heard = {0};
    const struct qb_progress progress = {hear, &heard};
    struct qb_latency_result result;
    struct qb_error err;
    (void)state;
    make(3, 1);
    qbt_ok(qb_latency_measure(candidates, 3, &usual, &progress, &result, &err), &err);
    assert_int_equal(heard.calibrated, 3);
    assert_int_equal(heard.rounds, 6);
    assert_int_equal(heard.total, 6);
    qb_latency_result_free(&result);
}

static void stops_when_interrupted(void **state)
{
    struct heard heard = {.interrupt = 1};
    const struct qb_progress progress = {hear, &heard};
    struct qb_latency_result result;
    struct qb_error err;
    (void)state;
    make(3, 1);
    qbt_error(qb_latency_measure(candidates, 3, &usual, &progress, &result, &err), QB_EINTERRUPTED, &err,
              "2 rounds");
    assert_int_equal(heard.rounds, 2);
    /* With the flag up, not even calibration goes on. */
    make(3, 1);
    qbt_error(qb_latency_measure(candidates, 3, &usual, NULL, &result, &err), QB_EINTERRUPTED, &err,
              "0 rounds");
    assert_int_equal(fakes.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_position_equally_often),
        cmocka_unit_test(the_seed_makes_the_order),
        cmocka_unit_test(control_is_candidate_0_again),
        cmocka_unit_test(batch_sizes_are_groups),
        cmocka_unit_test(the_cap_leaves_rounds_out),
        cmocka_unit_test(a_hasty_estimate_does_not_pass_the_capacity),
        cmocka_unit_test(migrations_are_tagged),
        cmocka_unit_test(refusals),
        cmocka_unit_test(progress_reaches_the_end),
        cmocka_unit_test(stops_when_interrupted), /* last: the flag stays up */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
