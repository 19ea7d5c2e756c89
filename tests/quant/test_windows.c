/* What refinements are made of: sums over windows, and weight rounding against every possible one. */
#include "testing.h"

#include <math.h>
#include <string.h>

#include "quant/adaround.h"
#include "quant/windows.h"
#include "quant_testing.h"

/* The value that tap i, j of channel c of the window at y, x sees, 0 in the padding. */
static int code_at(const struct qb_windows *w, const uint8_t *codes, int zero, int y, int x, int c, int i,
                   int j)
{
    const int row = y * w->stride_h + i - w->pad_t, column = x * w->stride_w + j - w->pad_l;
    if (row < 0 || row >= w->src.h || column < 0 || column >= w->src.w) {
        return 0;
    }
    return codes[(row * w->src.w + column) * w->src.c + c] - zero;
}

static void test_windows(void **state)
{
    (void)state;
    enum { H = 7, W = 9, C = 3, K = 3, DEPTH = C * K * K, N = 3, ZERO = 37 };
    const struct qb_node conv = {.op = QB_OP_CONV,
                                 .dst = {3, 5, 4},
                                 .kh = K,
                                 .kw = K,
                                 .stride_h = 2,
                                 .stride_w = 2,
                                 .pad_t = 0,
                                 .pad_l = 1,
                                 .pad_b = 0,
                                 .pad_r = 1,
                                 .ic = C,
                                 .oc = 4};
    const struct qb_windows w = qb_windows_of(&conv, (struct qb_shape){H, W, C});
    assert_int_equal(w.depth, DEPTH);
    static uint8_t codes[N][H * W * C];
    static float noise[N * H * W * C];
    double sums[H * W * C] = {0}, mean[DEPTH], want_mean[DEPTH] = {0}, coverage[K * K],
                        want_coverage[K * K] = {0};
    static double gram[DEPTH * DEPTH], want[DEPTH * DEPTH];
    memset(want, 0, sizeof want);
    qbt_uniform(5, noise, N * H * W * C);
    struct qb_gram *const g = qb_gram_create(&w);
    for (int n = 0; n < N; n++) {
        for (int k = 0; k < H * W * C; k++) {
            codes[n][k] = (uint8_t)(noise[n * H * W * C + k] * 256);
            sums[k] += codes[n][k] - ZERO;
        }
        qb_gram_add(g, codes[n], ZERO);
        for (int y = 0; y < 3; y++) {
            for (int x = 0; x < 5; x++) {
                int window[DEPTH];
                for (int k = 0; k < DEPTH; k++) {
                    window[k] = code_at(&w, codes[n], ZERO, y, x, k / 9, k / 3 % 3, k % 3);
                    want_mean[k] += window[k] / (double)(N * 15);
                }
                for (int a = 0; a < DEPTH; a++) {
                    for (int b = 0; b < DEPTH; b++) {
                        want[a * DEPTH + b] += window[a] * window[b];
                    }
                }
                for (int t = 0; n == 0 && t < K * K; t++) {
                    const int row = y * 2 + t / K, column = x * 2 + t % K - 1;
                    want_coverage[t] += (row < H && column >= 0 && column < W) / 15.0;
                }
            }
        }
    }
    qb_windows_mean(&w, sums, N, mean);
    qb_windows_coverage(&w, coverage);
    for (int k = 0; k < DEPTH; k++) {
        assert_true(fabs(mean[k] - want_mean[k]) < 1e-9);
    }
    for (int t = 0; t < K * K; t++) {
        assert_true(fabs(coverage[t] - want_coverage[t]) < 1e-12);
    }
    assert_true(coverage[3] < 1 && coverage[4] == 1); /* the left column looks into the padding */
    qb_gram_matrix(g, mean, false, gram);
    assert_memory_equal(gram, want, sizeof want); /* whole numbers: exact */
    assert_true(qb_gram_rows(g) == N * 15);
    qb_gram_matrix(g, mean, true, gram);
    for (int k = 0; k < DEPTH * DEPTH; k++) {
        const double centred = want[k] - N * 15 * want_mean[k / DEPTH] * want_mean[k % DEPTH];
        assert_true(fabs(gram[k] - centred) < 1e-6 * (1 + fabs(want[k])));
    }
    qb_gram_free(g);
    qb_gram_free(NULL);
}

/* A dense layer reads the flattened image; 700 windows fill the block of columns more than twice. */
static void test_windows_of_dense(void **state)
{
    (void)state;
    const struct qb_node dense = {.op = QB_OP_DENSE, .dst = {1, 1, 5}, .ic = 12, .oc = 5};
    const struct qb_windows w = qb_windows_of(&dense, (struct qb_shape){2, 2, 3});
    struct qb_gram *const g = qb_gram_create(&w);
    double want[144] = {0}, got[144];
    for (int n = 0; n < 700; n++) {
        uint8_t codes[12];
        for (int k = 0; k < 12; k++) {
            codes[k] = (uint8_t)(255 - (n * 31 + k * 17) % 200);
        }
        qb_gram_add(g, codes, 255);
        for (int k = 0; k < 144; k++) {
            want[k] += (codes[k / 12] - 255) * (codes[k % 12] - 255);
        }
    }
    qb_gram_matrix(g, NULL, false, got);
    assert_memory_equal(got, want, sizeof want);
    qb_gram_free(g);
}

enum { ROUND_DEPTH = 8 };

static double quadratic(const double *gram, const double *d)
{
    double sum = 0;
    for (int i = 0; i < ROUND_DEPTH; i++) {
        for (int j = 0; j < ROUND_DEPTH; j++) {
            sum += d[i] * gram[i * ROUND_DEPTH + j] * d[j];
        }
    }
    return sum;
}

static double error_of(const struct qb_rounding *r, const int8_t *codes, size_t k)
{
    double d[ROUND_DEPTH];
    const size_t q = r->scale_count == 1 ? 0 : k;
    for (size_t i = 0; i < ROUND_DEPTH; i++) {
        d[i] = (double)r->scales[q] * (codes[i] - r->zero_points[q]) - (double)r->wei[k * ROUND_DEPTH + i];
    }
    return quadratic(r->gram, d);
}

static void test_rounding(void **state)
{
    (void)state;
    enum { CHANNELS = 3, LOW = -5, HIGH = 8 };
    static const float scales[CHANNELS] = {0.25f, 0.125f, 0.25f};
    static const int32_t zero_points[CHANNELS] = {0, 3, 0};
    float wei[CHANNELS * ROUND_DEPTH], noise[4 * ROUND_DEPTH];
    int8_t nearest[CHANNELS * ROUND_DEPTH], codes[CHANNELS * ROUND_DEPTH];
    double gram[ROUND_DEPTH * ROUND_DEPTH] = {0}, scratch[3 * ROUND_DEPTH];
    qbt_uniform(77, wei, CHANNELS * ROUND_DEPTH);
    qbt_uniform(78, noise, 4 * ROUND_DEPTH);
    for (int n = 0; n < 4; n++) { /* positive inputs, four windows: rounding errors of one sign add up */
        for (int k = 0; k < ROUND_DEPTH * ROUND_DEPTH; k++) {
            gram[k] +=
                (double)(noise[n * ROUND_DEPTH + k / ROUND_DEPTH] * noise[n * ROUND_DEPTH + k % ROUND_DEPTH]);
        }
    }
    for (size_t k = 0; k < CHANNELS * ROUND_DEPTH; k++) {
        const size_t q = k / ROUND_DEPTH;
        wei[k] = (wei[k] - 0.5f) * 3;
        const float code = nearbyintf(wei[k] / scales[q]) + (float)zero_points[q];
        nearest[k] = (int8_t)fmaxf(LOW, fminf(HIGH, code)); /* some are clamped */
    }
    struct qb_rounding r = {.channels = CHANNELS,
                            .depth = ROUND_DEPTH,
                            .wei = wei,
                            .nearest = nearest,
                            .codes = codes,
                            .scale_count = CHANNELS,
                            .scales = scales,
                            .zero_points = zero_points,
                            .low = LOW,
                            .high = HIGH,
                            .gram = gram};
    struct qb_rounding_result result;
    qb_adaround(&r, scratch, &result);
    double before = 0, after = 0, best = 0;
    size_t flips = 0;
    for (size_t k = 0; k < CHANNELS; k++) {
        int8_t tried[ROUND_DEPTH];
        double least = INFINITY;
        before += error_of(&r, nearest + k * ROUND_DEPTH, k);
        after += error_of(&r, codes + k * ROUND_DEPTH, k);
        for (unsigned choice = 0; choice < 1u << ROUND_DEPTH;
             choice++) { /* every neighbour of every weight */
            bool possible = true;
            for (size_t i = 0; i < ROUND_DEPTH; i++) {
                const double exact = (double)wei[k * ROUND_DEPTH + i] / (double)scales[k] + zero_points[k];
                const int code = nearest[k * ROUND_DEPTH + i], other = exact > code ? code + 1 : code - 1;
                tried[i] = (int8_t)(choice >> i & 1 ? other : code);
                possible = possible && tried[i] >= LOW && tried[i] <= HIGH;
            }
            least = possible ? fmin(least, error_of(&r, tried, k)) : least;
            if (possible && memcmp(tried, codes + k * ROUND_DEPTH, ROUND_DEPTH) == 0) {
                flips += (size_t)__builtin_popcount(choice);
                tried[0] = 100; /* found: the result is one of the choices */
            }
        }
        best += least;
    }
    assert_int_equal(flips, result.flips);
    assert_true(flips > 0);
    assert_true(fabs(result.before - before) < 1e-9 && fabs(result.after - after) < 1e-9);
    assert_true(after < 0.5 * before); /* rounding each alone is far from the best here ... */
    assert_true(after < 1.1 * best);   /* ... and greedy flips come near to it */
    /* Nothing to gain: exact weights stay, whatever the inputs. */
    for (size_t k = 0; k < CHANNELS * ROUND_DEPTH; k++) {
        wei[k] = scales[k / ROUND_DEPTH] * (float)(nearest[k] - zero_points[k / ROUND_DEPTH]);
    }
    qb_adaround(&r, scratch, &result);
    assert_memory_equal(codes, nearest, sizeof codes);
    assert_true(result.flips == 0 && result.before == 0 && result.after == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_windows_of_dense),
        cmocka_unit_test(test_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
