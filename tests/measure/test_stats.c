/* Known answers for src/measure/stats.c. Where no other source is named, expected values come from
 * scipy 1.17.1, statsmodels 0.15.0 and numpy 2.4.6; each test says which function. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "measure/stats.h"

static void near(double got, double want, double relative)
{
    if (!(fabs(got - want) <= relative * fabs(want))) {
        print_error("%.17g, expected %.17g\n", got, want);
        fail();
    }
}

/* scipy.stats.binomtest(hits, n).proportion_ci(method='wilson') */
static void wilson(void **state)
{
    static const struct {
        uint64_t hits, n;
        double low, high;
    } cases[] = {
        {8719, 10000, 0.8652066702488592, 0.8783077117630316},
        {174, 200, 0.8163364812775159, 0.9097179772033067},
        {7256, 10000, 0.7167690368245239, 0.7342577031106268},
        {1, 2, 0.09453120573423074, 0.9054687942657693},
        {0, 10, 0, 0.27753279986288926},
        {10, 10, 0.7224672001371109, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct qb_interval got = qb_wilson95(cases[i].hits, cases[i].n);
        near(got.low, cases[i].low, 1e-12);
        near(got.high, cases[i].high, 1e-12);
    }
}

/* Sum of the binomial terms with 40 digits (mpmath); scipy.stats.binomtest agrees where it does not
 * underflow. */
static void mcnemar(void **state)
{
    static const struct {
        uint64_t b, c;
        double p;
    } cases[] = {
        {0, 0, 1},
        {1, 0, 1},
        {5, 5, 1},
        {0, 6, 0.03125},
        {3, 12, 0.03515625},
        {10, 25, 0.016673847800120711},
        {150, 110, 0.015415582833171471},
        {1000, 1100, 0.030720707864242295},
        {40000, 41000, 0.000447821823137557},
        {500000, 501000, 0.31803654084032255},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        near(qb_mcnemar_exact(cases[i].b, cases[i].c), cases[i].p, 1e-8);
        assert_true(qb_mcnemar_exact(cases[i].b, cases[i].c) == qb_mcnemar_exact(cases[i].c, cases[i].b));
    }
    /* 1.5e-331 and 4.1e-373: below the least double, not NAN. */
    assert_true(qb_mcnemar_exact(0, 1100) <= 5e-324);
    assert_true(qb_mcnemar_exact(2000, 200) <= 5e-324);
}

/* statsmodels.stats.multitest.multipletests(method='holm') */
static void holm(void **state)
{
    double a[] = {0.01, 0.04, 0.03, 0.005}, b[] = {0.02, 0.02, 0.9, 0.6}, c[] = {0.001, 0.2, 0.0, 1.0, 0.013};
    double with_gaps[] = {NAN, 0.01, 0.04, NAN, 0.03, 0.005};
    static const double want_a[] = {0.03, 0.06, 0.06, 0.02}, want_b[] = {0.08, 0.08, 1, 1},
                        want_c[] = {0.004, 0.4, 0, 1, 0.039};
    (void)state;
    qb_holm(a, 4);
    qb_holm(b, 4);
    qb_holm(c, 5);
    for (size_t i = 0; i < 4; i++) {
        near(a[i], want_a[i], 1e-12);
        near(b[i], want_b[i], 1e-12);
    }
    for (size_t i = 0; i < 5; i++) {
        near(c[i], want_c[i], 1e-12);
        assert_false(signbit(c[i]));
    }
    qb_holm(with_gaps, 6);
    assert_true(isnan(with_gaps[0]) && isnan(with_gaps[3]));
    near(with_gaps[1], 0.03, 1e-12);
    near(with_gaps[2], 0.06, 1e-12);
    near(with_gaps[4], 0.06, 1e-12);
    near(with_gaps[5], 0.02, 1e-12);
    qb_holm(NULL, 0);
}

/* (scipy.stats.norm.ppf(0.975) + norm.ppf(0.8)) * sqrt(rho / n): 0.28 points at 1 % disagreement of 10,000
 * images. */
static void minimum_detectable(void **state)
{
    (void)state;
    near(qb_minimum_detectable(0.005, 10000), 0.00198101990579967, 1e-12);
    near(qb_minimum_detectable(0.01, 10000), 0.00280158521811297, 1e-12);
    near(qb_minimum_detectable(0.05, 10000), 0.00626453499245917, 1e-12);
}

/* numpy.percentile(method='inverted_cdf') is the nearest rank. */
static void percentile(void **state)
{
    double values[] = {7, 1, 10, 3, 5, 9, 2, 8, 4, 6};
    (void)state;
    qb_sort_doubles(values, 10);
    for (int i = 0; i < 10; i++) {
        assert_true(values[i] == i + 1);
    }
    assert_true(qb_percentile_sorted(values, 10, 10) == 1);
    assert_true(qb_percentile_sorted(values, 10, 10.1) == 2);
    assert_true(qb_percentile_sorted(values, 10, 50) == 5);
    assert_true(qb_percentile_sorted(values, 9, 50) == 5);
    assert_true(qb_percentile_sorted(values, 10, 90) == 9);
    assert_true(qb_percentile_sorted(values, 10, 99) == 10);
    assert_true(qb_percentile_sorted(values, 10, 100) == 10);
    assert_true(qb_percentile_sorted(values, 10, 1e-9) == 1);
    assert_true(qb_percentile_sorted(values, 1, 50) == 1);
}

/* Every whole percentile of 100 samples is the sample of that rank, whatever the rounding of p * n / 100. */
static void percentile_ranks(void **state)
{
    double values[100];
    (void)state;
    for (int i = 0; i < 100; i++) {
        values[i] = i + 1;
    }
    for (int p = 1; p <= 100; p++) {
        assert_true(qb_percentile_sorted(values, 100, p) == p);
    }
}

static double *ranks(size_t n)
{
    double *const values = calloc(n, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < n; i++) {
        values[i] = (double)i;
    }
    return values;
}

/* scipy.stats.binom.sf(r - 1, n, (j + 1) / n), first j at 0.025 and 0.975. A simulation with numpy (40,000
 * resamples of rng.integers(0, n, n)) gives the same ends for all n up to 1,000. */
static void bootstrap(void **state)
{
    static const struct {
        size_t n;
        double low, high;
    } cases[] = {{1, 0, 0},  {2, 0, 1},    {3, 0, 2},     {6, 0, 4},        {7, 1, 5},
                 {10, 1, 7}, {52, 18, 32}, {101, 40, 60}, {1000, 468, 530}, {100000, 49689, 50309}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double *const values = ranks(cases[i].n);
        const struct qb_interval got = qb_bootstrap_median95(values, cases[i].n);
        assert_true(got.low == cases[i].low && got.high == cases[i].high);
        free(values);
    }
}

/* The definition itself: resample, take the median, take the percentiles of many medians. */
static void bootstrap_by_resampling(void **state)
{
    enum { N = 25, RESAMPLES = 20000 };
    double sorted[N], resample[N], *const medians = calloc(RESAMPLES, sizeof *medians);
    struct qb_rng rng;
    (void)state;
    assert_non_null(medians);
    qb_rng_seed(&rng, 1);
    for (int i = 0; i < N; i++) {
        sorted[i] = exp(0.2 * i);
    }
    for (int r = 0; r < RESAMPLES; r++) {
        for (int i = 0; i < N; i++) {
            resample[i] = sorted[qb_rng_interval(&rng, N - 1)];
        }
        qb_sort_doubles(resample, N);
        medians[r] = qb_percentile_sorted(resample, N, 50);
    }
    qb_sort_doubles(medians, RESAMPLES);
    const struct qb_interval got = qb_bootstrap_median95(sorted, N);
    assert_true(got.low == qb_percentile_sorted(medians, RESAMPLES, 2.5));
    assert_true(got.high == qb_percentile_sorted(medians, RESAMPLES, 97.5));
    free(medians);
}

/* scipy.stats.quantile_test(range(1, n + 1), p=0.5).confidence_interval(0.95) */
static void sign_interval(void **state)
{
    static const struct {
        size_t n;
        double low, high;
    } cases[] = {{6, 1, 6},    {8, 1, 8},     {9, 2, 8},        {10, 2, 9},
                 {12, 3, 10},  {17, 5, 13},   {20, 6, 15},      {40, 14, 27},
                 {52, 19, 34}, {100, 40, 61}, {1000, 469, 532}, {100000, 49690, 50311}};
    double *const values = ranks(100001);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct qb_interval got = qb_sign_median95(values + 1, cases[i].n);
        assert_true(got.low == cases[i].low && got.high == cases[i].high);
    }
    for (size_t n = 1; n < 6; n++) {
        const struct qb_interval none = qb_sign_median95(values, n);
        assert_true(isinf(none.low) && none.low < 0 && isinf(none.high) && none.high > 0);
    }
    free(values);
}

/* scipy.stats.t.sf(t, degrees) * 2; the last two are far in the tail. */
static void student(void **state)
{
    static const struct {
        double t;
        unsigned degrees;
        double p, relative;
    } cases[] = {
        {2, 1, 0.2951672353008665, 1e-12},
        {-12.706, 1, 0.05000080235813319, 1e-12},
        {2, 2, 0.18350341907227397, 1e-12},
        {1, 3, 0.3910022189557705, 1e-12},
        {2.776445105, 4, 0.05000000001011946, 1e-11},
        {0.5, 9, 0.6290712998260263, 1e-12},
        {5, 10, 0.0005373336027564527, 1e-11},
        {3, 29, 0.005499192133903412, 1e-12},
        {0, 7, 1, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        near(qb_student_p(cases[i].t, cases[i].degrees), cases[i].p, cases[i].relative);
    }
}

/* scipy.stats.ttest_1samp(d, 0).pvalue */
static void paired_t(void **state)
{
    (void)state;
    static const double some[] = {3, -1, 4, 1, -5, 9, 2, 6}, same[] = {2, 2, 2}, none[] = {0, 0};
    near(qb_mean_sd(some, 8).mean, 2.375, 1e-15);
    near(qb_mean_sd(some, 8).sd, 4.274091382136927, 1e-12);
    near(qb_paired_t(some, 8), 0.16001924470682471, 1e-12);
    assert_true(qb_paired_t(same, 3) == 0);
    assert_true(qb_paired_t(none, 2) == 1);
    assert_true(qb_mean_sd(some, 1).sd == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson),        cmocka_unit_test(mcnemar),
        cmocka_unit_test(student),       cmocka_unit_test(paired_t),
        cmocka_unit_test(holm),          cmocka_unit_test(minimum_detectable),
        cmocka_unit_test(percentile),    cmocka_unit_test(percentile_ranks),
        cmocka_unit_test(bootstrap),     cmocka_unit_test(bootstrap_by_resampling),
        cmocka_unit_test(sign_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
