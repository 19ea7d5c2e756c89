/* gbench.h in a process of its own: what Google Benchmark writes about benchmarks that count, skip and fail.
 */
#include "gbench.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "testing.h"

static int calls, iterations;

static void counts(struct gbench_run *run, void *ctx)
{
    gbench_counter(run, "calls", ++calls);
    gbench_counter(run, "no_seconds_yet", isnan(gbench_seconds(run)));
    for (iterations = 0; gbench_next(run); iterations++) {
        volatile int work = 0;
        for (int i = 0; i < *(const int *)ctx; i++) {
            work = work + i;
        }
    }
    gbench_label(run, "a label");
    gbench_counter(run, "iterations_seen", iterations);
    gbench_counter(run, "seconds", gbench_seconds(run));
    gbench_counter(run, "nan", NAN);
    gbench_counter(run, "infinity", INFINITY);
}

static void skips(struct gbench_run *run, void *ctx)
{
    (void)ctx;
    gbench_skip(run, "no such \"unit\" here");
}

static void fails_inside(struct gbench_run *run, void *ctx)
{
    (void)ctx;
    while (gbench_next(run)) {
        gbench_fail(run, "wrong");
        break;
    }
}

/* What a program with these benchmarks does; returns its exit code. */
static int program(const char *filter, const char *out)
{
    static int work = 1000;
    char name[] = "test", filter_flag[128], out_flag[1200], time_flag[] = "--benchmark_min_time=0.001",
         repeat[] = "--benchmark_repetitions=2", own[] = "--own";
    snprintf(filter_flag, sizeof filter_flag, "--benchmark_filter=%s", filter);
    snprintf(out_flag, sizeof out_flag, "--benchmark_out=%s", out);
    char *argv[] = {name, filter_flag, own, out_flag, time_flag, repeat, NULL};
    int argc = 6;
    gbench_init(&argc, argv);
    if (argc != 2 || strcmp(argv[1], "--own") != 0) {
        return 99;
    }
    gbench_context("note", "a \"quoted\" line");
    gbench_register("counts", counts, &work);
    gbench_register("skips", skips, NULL);
    gbench_register("fails", fails_inside, NULL);
    const int code = gbench_run_all();
    gbench_end();
    return code;
}

/* Runs it in a child process; *report is its JSON. */
static int run(const char *filter, json_t **report)
{
    char *const dir = qbt_mkdtemp();
    char *const out = qb_path_join(dir, "out.json");
    assert_non_null(out);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        exit(program(filter, out));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    *report = json_load_file(out, JSON_REJECT_DUPLICATES, NULL);
    free(out);
    qbt_rmtree(dir);
    return WEXITSTATUS(status);
}

static void a_report_holds_counters_label_and_context(void **state)
{
    (void)state;
    json_t *report;
    assert_int_equal(run("^counts$", &report), 0);
    assert_non_null(report);
    const char *note = NULL, *label = NULL;
    double made = 0, no_seconds = 0, seen = 0, done = 0, seconds = 0, cpu_us = 0;
    json_t *const first = json_array_get(json_object_get(report, "benchmarks"), 0);
    assert_int_equal(json_unpack(report, "{s:{s:s}}", "context", "note", &note), 0);
    assert_int_equal(json_unpack(first, "{s:s, s:F, s:F, s:F, s:F, s:F, s:F}", "label", &label, "calls",
                                 &made, "no_seconds_yet", &no_seconds, "iterations_seen", &seen, "iterations",
                                 &done, "seconds", &seconds, "cpu_time", &cpu_us),
                     0);
    assert_string_equal(note, "a \"quoted\" line");
    assert_string_equal(label, "a label");
    assert_true(made >= 1 && no_seconds == 1);
    assert_true(seen == done && seen >= 1);
    /* Both are CPU time of the same loop; ours starts a moment later and ends a moment later. */
    assert_true(seconds > 0 && seconds * 1e6 < 10 * cpu_us && seconds * 1e6 * 10 > cpu_us);
    assert_null(json_object_get(first, "nan"));
    assert_null(json_object_get(first, "infinity"));
    json_decref(report);
}

static void check_error(const char *name, int code, const char *message)
{
    json_t *report;
    const char *text = NULL;
    assert_int_equal(run(name, &report), code);
    assert_non_null(report);
    json_t *const first = json_array_get(json_object_get(report, "benchmarks"), 0);
    assert_int_equal(json_unpack(first, "{s:s}", "error_message", &text), 0);
    assert_string_equal(text, message);
    json_decref(report);
}

static void a_skip_is_reported_and_no_failure(void **state)
{
    (void)state;
    check_error("^skips$", 0, "no such \"unit\" here");
}

static void a_failure_is_reported_and_sets_the_exit_code(void **state)
{
    (void)state;
    check_error("^fails$", 1, "wrong");
}

static void a_filter_without_a_match_is_an_error(void **state)
{
    (void)state;
    json_t *report;
    assert_int_equal(run("^nothing$", &report), 2);
    json_decref(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_holds_counters_label_and_context),
        cmocka_unit_test(a_skip_is_reported_and_no_failure),
        cmocka_unit_test(a_failure_is_reported_and_sets_the_exit_code),
        cmocka_unit_test(a_filter_without_a_match_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
