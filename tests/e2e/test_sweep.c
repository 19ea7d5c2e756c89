/* Sweeps over instruction sets, runs that meet in one results folder, and readers that go away. */
#include "e2e.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"

static const char no_data[] = "QB_DATA_DIR=";

static const char sweep[] = "name: sweep\n"
                            "model: models/resnet8.onnx\n"
                            "data: { images: 64 }\n"
                            "calibration: { per_class: 2 }\n"
                            "schemes: [fp32, default]\n"
                            "engines: [reference, onednn]\n"
                            "isas: [avx2, best]\n"
                            "measure: { rounds: 6, epoch_ms: 0.1, seconds: 1, control: false }\n";

static void expect_no(const char *text, const char *needle)
{
    if (strstr(text, needle)) {
        print_error("\"%s\" was not expected in:\n%s", needle, text);
        fail();
    }
}

static void each_instruction_set_has_its_rows(void **state)
{
    (void)state;
    const enum qb_isa best = qb_cpu_best(QB_ISA_AMX);
    if (best <= QB_ISA_AVX2) {
        print_message("SKIP: this CPU has one instruction set to sweep over\n");
        skip();
    }
    struct qb_error err = {0};
    qbt_ok(qb_file_write(e2e_path("sweep.yaml"), sweep, sizeof sweep - 1, &err), &err);
    struct e2e_result r = e2e_run(no_data, "run sweep.yaml");
    if (r.code != 0) {
        print_error("%s", r.err);
    }
    assert_int_equal(r.code, 0);
    expect_no(r.out, "SKIPPED");
    assert_non_null(strstr(r.out, "onednn avx2"));
    char want[64];
    snprintf(want, sizeof want, "onednn %s", qb_isa_name(best));
    assert_non_null(strstr(r.out, want));
    /* The reference engine has one form, whatever it is allowed. */
    assert_non_null(strstr(r.out, "reference ref"));
    expect_no(r.out, "reference avx2");
    struct e2e_result again = e2e_run(no_data, "run sweep.yaml");
    assert_int_equal(again.code, 0);
    assert_string_equal(again.out, r.out);
    expect_no(again.err, "in a process of its own");
    e2e_free(&again);
    again = e2e_run(no_data, "report --format text");
    assert_int_equal(again.code, 0);
    assert_true(strncmp(again.out, r.out, strlen(again.out)) == 0);
    e2e_free(&again);
    e2e_free(&r);
}

/* Kills the process of isa avx2 as soon as it is there. */
static const char killer[] = "\"$QBENCH\" run sweep.yaml --results killed & sweep=$!\n"
                             "while kill -0 $sweep; do\n"
                             "  for part in $(cat /proc/$sweep/task/$sweep/children); do\n"
                             "    if tr '\\0' '\\n' </proc/$part/cmdline | grep -qx -- --isa=avx2; then kill "
                             "-SEGV $part; break 2; fi\n"
                             "  done\n"
                             "  sleep 0.01\n"
                             "done\n"
                             "wait $sweep\n";

static void a_dead_part_is_not_the_end(void **state)
{
    (void)state;
    if (qb_cpu_best(QB_ISA_AMX) <= QB_ISA_AVX2 || access("/proc/thread-self/children", R_OK) != 0) {
        print_message("SKIP: one instruction set to sweep over, or a kernel that does not list children\n");
        skip();
    }
    struct qb_error err = {0};
    qbt_ok(qb_file_write(e2e_path("sweep.yaml"), sweep, sizeof sweep - 1, &err), &err);
    struct e2e_result r = e2e_shell(no_data, killer);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "qbench: FAILED: the process for isa avx2 was ended by signal 11"));
    assert_non_null(strstr(r.out, "FAILED"));
    char want[64];
    snprintf(want, sizeof want, "onednn %s", qb_isa_name(qb_cpu_best(QB_ISA_AMX)));
    assert_non_null(strstr(r.out, want));
    assert_non_null(strstr(r.out, "reference ref"));
    e2e_free(&r);
    r = e2e_run(no_data, "run sweep.yaml --results killed");
    assert_int_equal(r.code, 0);
    expect_no(r.out, "FAILED");
    assert_non_null(strstr(r.out, "onednn avx2"));
    e2e_free(&r);
}

static void a_second_run_waits(void **state)
{
    (void)state;
    struct qb_error err = {0};
    qbt_ok(qb_make_dirs(e2e_path("taken"), &err), &err);
    const int fd = open(e2e_path("taken"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (flock(fd, LOCK_EX) != 0) {
        print_message("SKIP: no locks on this file system\n");
        close(fd);
        skip();
    }
    struct e2e_result r = e2e_run_interrupted(1500, "run quick --results taken");
    close(fd);
    assert_int_equal(r.code, 130);
    assert_non_null(strstr(r.err, "another `qbench run` is measuring into taken"));
    e2e_free(&r);
}

static void files_are_written_before_the_table(void **state)
{
    (void)state;
    struct e2e_result r = e2e_shell(no_data, "\"$QBENCH\" run quick --results unread >/dev/full");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "standard output"));
    assert_true(qb_is_file(e2e_path("unread/quick.csv")));
    assert_true(qb_is_file(e2e_path("unread/quick.md")));
    assert_true(qb_is_file(e2e_path("unread/quick.html")));
    e2e_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_instruction_set_has_its_rows),
        cmocka_unit_test(a_dead_part_is_not_the_end),
        cmocka_unit_test(a_second_run_waits),
        cmocka_unit_test(files_are_written_before_the_table),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
