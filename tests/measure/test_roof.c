/* Roof probes: there is a number for every ISA of this CPU and none for the others; the helpers' arithmetic.
 * What the loops consist of is checked by roof_disassembly.sh. */
#include "testing.h"

#include <math.h>

#include "measure/roof.h"

static void probes(void **state)
{
    struct qb_roof roof;
    (void)state;
    qb_roof_measure(&roof);
    assert_true(isfinite(roof.ghz) && roof.ghz > 0);
    assert_true(roof.gmacs[QB_ISA_REF] == 0);
    for (int isa = QB_ISA_REF + 1; isa < QB_ISA_COUNT; isa++) {
        print_message("%s: %.1f GMAC/s\n", qb_isa_name((enum qb_isa)isa), roof.gmacs[isa]);
        assert_true(isfinite(roof.gmacs[isa]));
        assert_int_equal(roof.gmacs[isa] > 0, qb_cpu_has((enum qb_isa)isa));
        assert_int_equal(roof.f32_gmacs[isa] > 0, qb_cpu_has((enum qb_isa)isa));
    }
    print_message("fp32: %.1f GMAC/s, clock %.2f GHz\n", roof.f32_gmacs[qb_cpu_best(QB_ISA_AMX)], roof.ghz);
}

/* Each level that is measured reads more bytes than the one before. */
static void reads(void **state)
{
    struct qb_read_rates r;
    size_t bytes = 0;
    (void)state;
    qb_read_rates_measure(&r);
    for (int level = 0; level < QB_READ_LEVELS; level++) {
        print_message("%s: %zu KiB at %.1f GB/s\n", qb_read_level_name((enum qb_read_level)level),
                      r.bytes[level] / 1024, r.gbytes[level]);
        assert_int_equal(r.gbytes[level] > 0, r.bytes[level] > 0);
        if (r.bytes[level]) {
            assert_true(r.bytes[level] > bytes && (r.bytes[level] & (r.bytes[level] - 1)) == 0);
            assert_true(isfinite(r.gbytes[level]));
            bytes = r.bytes[level];
        }
    }
}

/* 12.5 million MAC under 500 GMAC/s take 25 us. */
static void bounds(void **state)
{
    (void)state;
    assert_true(fabs(qb_roof_bound_us(500, 12.5e6) - 25) < 1e-9);
    assert_true(fabs(qb_roof_share(500, 12.5e6, 31.25) - 0.8) < 1e-9);
    assert_true(qb_roof_share(500, 12.5e6, 20) > 1);
    assert_true(isnan(qb_roof_bound_us(0, 12.5e6)));
    assert_true(isnan(qb_roof_share(0, 12.5e6, 31.25)));
    assert_true(isnan(qb_roof_share(500, 12.5e6, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(probes), cmocka_unit_test(reads),
                                       cmocka_unit_test(bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
