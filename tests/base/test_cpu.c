/* ISA names and choice. What is present differs from CPU to CPU; the rules do not. */
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "testing.h"

static int clear(void **state)
{
    (void)state;
    return unsetenv("QB_ISA");
}

static void names(void **state)
{
    (void)state;
    static const char *const want[QB_ISA_COUNT] = {"ref", "avx2", "avxvnni", "avx512vnni", "amx"};
    char list[128] = "";
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        assert_string_equal(qb_isa_name((enum qb_isa)i), want[i]);
        if (qb_cpu_has((enum qb_isa)i)) {
            strcat(list, *list ? " " : "");
            strcat(list, want[i]);
        }
    }
    assert_string_equal(qb_cpu_isas(), list);
    assert_true(qb_cpu_has(QB_ISA_REF));
}

/* The compiler's own view of CPUID. AMX is left out: it also takes the kernel's permission. */
static void presence_agrees_with_the_compiler(void **state)
{
    (void)state;
    __builtin_cpu_init();
    assert_int_equal(qb_cpu_has(QB_ISA_AVX2),
                     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    assert_int_equal(qb_cpu_has(QB_ISA_AVX512VNNI),
                     __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"));
    assert_true(!qb_cpu_has(QB_ISA_AVXVNNI) || qb_cpu_has(QB_ISA_AVX2));
    assert_true(!qb_cpu_has(QB_ISA_AMX) || qb_cpu_has(QB_ISA_AVX512VNNI));
}

static void best_is_present_and_capped(void **state)
{
    (void)state;
    for (int cap = 0; cap < QB_ISA_COUNT; cap++) {
        const enum qb_isa best = qb_cpu_best((enum qb_isa)cap);
        assert_true((int)best <= cap && qb_cpu_has(best));
        for (int i = (int)best + 1; i <= cap; i++) {
            assert_false(qb_cpu_has((enum qb_isa)i));
        }
    }
}

static void selection(void **state)
{
    (void)state;
    struct qb_error err;
    enum qb_isa isa = QB_ISA_COUNT;
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        const char *const name = qb_isa_name((enum qb_isa)i);
        isa = QB_ISA_COUNT;
        if (qb_cpu_has((enum qb_isa)i)) {
            qbt_ok(qb_cpu_select(name, &isa, &err), &err);
            assert_int_equal(isa, i);
        } else {
            qbt_error(qb_cpu_select(name, &isa, &err), QB_EUNSUPPORTED, &err,
                      "not available on this CPU; it has: ref");
            assert_non_null(strstr(err.text, name));
            assert_int_equal(isa, QB_ISA_COUNT);
        }
    }
    static const char *const wrong[] = {"", "avx", "AVX2", "avx2 ", "sse4", "avx512"};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        isa = QB_ISA_COUNT;
        qbt_error(qb_cpu_select(wrong[i], &isa, &err), QB_EINPUT, &err, "is unknown; this CPU has: ref");
        assert_int_equal(isa, QB_ISA_COUNT);
    }
}

static void the_variable_decides_when_nothing_else_does(void **state)
{
    (void)state;
    struct qb_error err;
    enum qb_isa isa;
    static const char *const open[] = {NULL, "best"};
    for (unsigned i = 0; i < 2; i++) {
        unsetenv("QB_ISA");
        qbt_ok(qb_cpu_select(open[i], &isa, &err), &err);
        assert_int_equal(isa, qb_cpu_best(QB_ISA_AMX));
        setenv("QB_ISA", "best", 1);
        qbt_ok(qb_cpu_select(open[i], &isa, &err), &err);
        assert_int_equal(isa, qb_cpu_best(QB_ISA_AMX));
        setenv("QB_ISA", "", 1);
        qbt_ok(qb_cpu_select(open[i], &isa, &err), &err);
        assert_int_equal(isa, qb_cpu_best(QB_ISA_AMX));
        setenv("QB_ISA", "ref", 1);
        qbt_ok(qb_cpu_select(open[i], &isa, &err), &err);
        assert_int_equal(isa, QB_ISA_REF);
        setenv("QB_ISA", "quantum", 1);
        qbt_error(qb_cpu_select(open[i], &isa, &err), QB_EINPUT, &err, "QB_ISA \"quantum\" is unknown");
        qbt_ok(qb_cpu_select("ref", &isa, &err), &err); /* a name given goes before the variable */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(presence_agrees_with_the_compiler),
        cmocka_unit_test(best_is_present_and_capped),
        cmocka_unit_test_setup_teardown(selection, clear, clear),
        cmocka_unit_test_setup_teardown(the_variable_decides_when_nothing_else_does, clear, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
