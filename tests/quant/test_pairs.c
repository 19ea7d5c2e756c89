/* Pairs of vpmaddubsw: which can saturate, and which weights share one in each library's order. */
#include "testing.h"

#include "quant/pairs.h"

/* Against the instruction's own arithmetic at the corners: each source code 0 or code_max. */
static void corners(void **state)
{
    (void)state;
    static const int maxima[] = {0, 1, 127, 128, 254, 255};
    for (size_t m = 0; m < sizeof maxima / sizeof *maxima; m++) {
        for (int a = -128; a < 128; a++) {
            for (int b = -128; b < 128; b++) {
                const int8_t codes[] = {(int8_t)a, (int8_t)b};
                const struct qb_qnode node = {.op = QB_QOP_DENSE, .ic = 2, .oc = 1, .wei = codes};
                int64_t leaves = 0;
                for (int corner = 0; corner < 4; corner++) {
                    const int sum = (corner & 1 ? maxima[m] : 0) * a + (corner & 2 ? maxima[m] : 0) * b;
                    leaves |= sum > 32767 || sum < -32768;
                }
                if (qb_saturating_pairs(&node, QB_ACCUMULATE_MADDUBS_KHWC, maxima[m]) != leaves ||
                    qb_saturating_pairs(&node, QB_ACCUMULATE_MADDUBS_PAD4, maxima[m]) != leaves) {
                    fail_msg("weights %d and %d, codes to %d: %d is expected", a, b, maxima[m], (int)leaves);
                }
            }
        }
    }
}

/* OIHW weights of two taps and three channels, each 10 * tap + channel, and 100 more in the second output
 * channel. */
static const int8_t odd[] = {0, 10, 1, 11, 2, 12, 100, 110, 101, 111, 102, 112};
static const struct qb_qnode conv = {.op = QB_QOP_CONV, .kh = 1, .kw = 2, .ic = 3, .oc = 2, .wei = odd};

static void check(enum qb_accumulate order, const int want[][2], size_t count)
{
    assert_int_equal(qb_pair_count(&conv, order), count);
    for (int oc = 0; oc < 2; oc++) {
        for (size_t i = 0; i < count; i++) {
            size_t at[2];
            qb_pair_at(&conv, order, i, at);
            for (int k = 0; k < 2; k++) {
                assert_int_equal(qb_pair_weight(&conv, oc, at[k]), want[i][k] + 100 * oc);
                /* The position is where the reference engine's window has the code. */
                assert_int_equal(at[k], want[i][k] / 10 * 3 + want[i][k] % 10);
            }
        }
    }
}

static void orders(void **state)
{
    (void)state;
    check(QB_ACCUMULATE_MADDUBS_KHWC, (const int[][2]){{0, 1}, {2, 10}, {11, 12}}, 3);
    check(QB_ACCUMULATE_MADDUBS_PAD4, (const int[][2]){{0, 1}, {10, 11}}, 2);
}

/* 15 products: 7 pairs across the taps, 5 within them, and one channel has none. */
static void counts(void **state)
{
    (void)state;
    const struct qb_qnode five = {.op = QB_QOP_CONV, .kh = 5, .kw = 1, .ic = 3};
    assert_int_equal(qb_pair_count(&five, QB_ACCUMULATE_MADDUBS_KHWC), 7);
    assert_int_equal(qb_pair_count(&five, QB_ACCUMULATE_MADDUBS_PAD4), 5);
    const struct qb_qnode grey = {.op = QB_QOP_CONV, .kh = 3, .kw = 3, .ic = 1};
    assert_int_equal(qb_pair_count(&grey, QB_ACCUMULATE_MADDUBS_KHWC), 4);
    assert_int_equal(qb_pair_count(&grey, QB_ACCUMULATE_MADDUBS_PAD4), 0);
    const struct qb_qnode even = {.op = QB_QOP_CONV, .kh = 3, .kw = 3, .ic = 6};
    assert_int_equal(qb_pair_count(&even, QB_ACCUMULATE_MADDUBS_KHWC), 27);
    for (size_t i = 0; i < 27; i++) {
        size_t a[2], b[2];
        qb_pair_at(&even, QB_ACCUMULATE_MADDUBS_KHWC, i, a);
        qb_pair_at(&even, QB_ACCUMULATE_MADDUBS_PAD4, i, b);
        assert_int_equal(a[0], b[0]);
        assert_int_equal(a[1], b[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(corners), cmocka_unit_test(orders),
                                       cmocka_unit_test(counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
