/* histogram_2_0 and histogram_2_4 beside PyTorch: recorded range, every count, scale and zero point, bit for
 * bit. The rows come from the real releases: histogram_2_0 from 2.0.1, 2.2.2 and 2.3.1, which agree in all of
 * them, histogram_2_4 from 2.4.1. */
#include "testing.h"

#include <math.h>
#include <string.h>

#include "quant/observer.h"
#include "quant/observer_histogram.h"
#include "quant/qparams.h"
#include "quant_testing.h"

enum set { CUBIC, CUBIC_RELU, SMALL, SMALL_RELU, BACKWARDS, ONE_VALUE, NARROW, NARROWER, CLOSE };

/* Batch b of a set; its size, 0 behind the last one. */
static size_t make_batch(enum set set, int b, float *out)
{
    static const float factors[] = {[NARROW] = 0.05f, [NARROWER] = 0.01f, [CLOSE] = 5e-7f};
    switch (set) {
    case CUBIC:
    case CUBIC_RELU:
        if (b < 3) {
            qbt_cubic_batch(b, set == CUBIC_RELU, out);
        }
        return b < 3 ? QBT_CUBIC : 0;
    case BACKWARDS: /* from the second batch on nothing widens the range */
        if (b < 4) {
            qbt_small_batch(3 - b, false, out);
        }
        return b < 4 ? QBT_SMALL : 0;
    case ONE_VALUE: /* one value so far is no history */
        if (b < 2) {
            for (int i = 0; i < 16; i++) {
                out[i] = 0.25f;
            }
            return 16;
        }
        return make_batch(SMALL, b - 2, out);
    case NARROW: /* then a range a thousand times as wide: a grid of 1 GB and more for NARROWER */
    case NARROWER:
    case CLOSE: /* below the 1e-6 that 2.4 takes for one value */
        if (b == 0) {
            qbt_uniform(9, out, 512);
            for (int i = 0; i < 512; i++) {
                out[i] = out[i] * factors[set] - (set == NARROWER ? 0.005f : 0);
            }
            return 512;
        }
        return make_batch(SMALL, b - 1, out);
    default:
        if (b < 4) {
            qbt_small_batch(b, set == SMALL_RELU, out);
        }
        return b < 4 ? QBT_SMALL : 0;
    }
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* FNV-1a of the counts' bytes. */
static uint64_t digest(const float *hist, int bins)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (int i = 0; i < bins; i++) {
        const uint32_t bits = bits_of(hist[i]);
        for (int shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ (bits >> shift & 255)) * 0x100000001b3U;
        }
    }
    return hash;
}

static void test_releases(void **state)
{
    (void)state;
    static const struct {
        const char *observer;
        int bins;
        enum set set;
        uint32_t min, max, scale;
        int zero_point;
        uint64_t digest;
    } rows[] = {
        {"histogram_2_0", 2048, CUBIC, 0xc15629ec, 0x415b3dad, 0x3dcfac4e, 125, 0x6d48c6c1efb68983},
        {"histogram_2_0", 2048, CUBIC_RELU, 0x00000000, 0x415ad147, 0x3d4aba5c, 0, 0x04cd1dad2335b30a},
        {"histogram_2_0", 2048, SMALL, 0xc09ae73e, 0x4150ba9e, 0x3d8f3b08, 69, 0x402ea5cbf362eb77},
        {"histogram_2_0", 2048, SMALL_RELU, 0x00000000, 0x41515704, 0x3d50b965, 0, 0xf8d9ed97dd7627f5},
        {"histogram_2_0", 2048, BACKWARDS, 0xc09ae73e, 0x41500000, 0x3d8f3730, 69, 0xfc29ea2f40789516},
        {"histogram_2_0", 2048, ONE_VALUE, 0xc09ae73e, 0x4150ba9e, 0x3d8f3b08, 69, 0x402ea5cbf362eb77},
        {"histogram_2_0", 2048, NARROW, 0xc09ae73e, 0x4150bcf2, 0x3d8d8d3a, 70, 0x0557cab81d992a6a},
        {"histogram_2_0", 2048, NARROWER, 0xc09ae73e, 0x4150bb04, 0x3d8d208a, 70, 0x995f9c11485ecb91},
        {"histogram_2_0", 1000, CUBIC, 0xc15629ec, 0x415b3dad, 0x3dd6f107, 128, 0x68ee58cc1ed7073a},
        {"histogram_2_0", 1000, SMALL, 0xc09ae73e, 0x4150ba9e, 0x3d8f3872, 69, 0x5542ce1351300238},
        {"histogram_2_0", 1000, BACKWARDS, 0xc09ae73e, 0x41500000, 0x3d8f246a, 69, 0x342549e5fd87c281},
        {"histogram_2_0", 1000, NARROWER, 0xc09ae73e, 0x4150bb04, 0x3d8f38a6, 69, 0xb4ba6c86ac96b534},
        {"histogram_2_4", 2048, CUBIC, 0xc15629ec, 0x415b3dad, 0x3dd59f2b, 128, 0x0d68d4033841e7c2},
        {"histogram_2_4", 2048, CUBIC_RELU, 0x00000000, 0x415ad147, 0x3d4d844e, 0, 0x28e473d1836406e5},
        {"histogram_2_4", 2048, SMALL, 0xc09ae73e, 0x4150ba9e, 0x3d8f3b08, 69, 0x402ea5cbf362eb77},
        {"histogram_2_4", 2048, SMALL_RELU, 0x00000000, 0x41515704, 0x3d50b965, 0, 0xf8d9ed97dd7627f5},
        {"histogram_2_4", 2048, BACKWARDS, 0xc09ae73e, 0x41500000, 0x3d8f3730, 69, 0x2ce5fba629c14e5b},
        {"histogram_2_4", 2048, ONE_VALUE, 0xc09ae73e, 0x4150ba9e, 0x3d8f3b08, 69, 0x402ea5cbf362eb77},
        {"histogram_2_4", 2048, NARROW, 0xc09ae73e, 0x4150bcf2, 0x3d8d8d3a, 70, 0x0557cab81d992a6a},
        {"histogram_2_4", 2048, NARROWER, 0xc09ae73e, 0x4150ba9e, 0x3d8f3b08, 69, 0x402ea5cbf362eb77},
        {"histogram_2_4", 2048, CLOSE, 0xc09ae73e, 0x4150ba9e, 0x3d8f3b08, 69, 0x402ea5cbf362eb77},
        {"histogram_2_4", 1000, CUBIC, 0xc15629ec, 0x415b3dad, 0x3dd3068d, 127, 0x52d683fed8403a58},
        {"histogram_2_4", 1000, SMALL, 0xc09ae73e, 0x4150ba9e, 0x3d8f3872, 69, 0x5542ce1351300238},
        {"histogram_2_4", 1000, BACKWARDS, 0xc09ae73e, 0x41500000, 0x3d8f246a, 69, 0xc6369c2327776955},
        {"histogram_2_4", 1000, NARROWER, 0xc09ae73e, 0x4150bb04, 0x3d8f38a6, 69, 0xb4ba6c86ac96b534},
    };
    static float x[QBT_CUBIC];
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const struct qb_observer_spec spec = {
            .observer = rows[r].observer, .has_bins = true, .bins = rows[r].bins};
        const struct qb_observer_ops *const ops = qb_observer_find(spec.observer);
        struct qb_observer *o;
        struct qb_error err;
        struct qb_qparams q;
        float min, max, low, high;
        qbt_ok(ops->create(&spec, 1, &o, &err), &err);
        size_t count;
        for (int b = 0; (count = make_batch(rows[r].set, b, x)) > 0; b++) {
            qbt_ok(ops->observe(o, x, count, &err), &err);
        }
        const uint64_t hash = digest(qb_observer_histogram_state(o, &min, &max), rows[r].bins);
        qbt_ok(ops->range(o, &low, &high, &err), &err);
        qbt_ok(qb_qparams_derive(&spec, low, high, &q, &err), &err);
        if (bits_of(min) != rows[r].min || bits_of(max) != rows[r].max || hash != rows[r].digest ||
            bits_of(q.scale) != rows[r].scale || q.zero_point != rows[r].zero_point) {
            fail_msg("row %zu: range 0x%08x 0x%08x, scale 0x%08x, zero point %d, counts 0x%016llx", r,
                     bits_of(min), bits_of(max), bits_of(q.scale), (int)q.zero_point,
                     (unsigned long long)hash);
        }
        ops->destroy(o);
    }
}

/* Ranges that no grid can hold: a new start, and still a range. */
static void test_extremes(void **state)
{
    (void)state;
    static const char *const names[] = {"histogram_2_0", "histogram_2_4"};
    const float tiny[] = {0, 1e-30f}, huge[] = {-1e38f, 1e38f, 1}, infinite[] = {INFINITY, -INFINITY};
    for (size_t i = 0; i < 2; i++) {
        const struct qb_observer_spec spec = {.observer = names[i]};
        const struct qb_observer_ops *const ops = qb_observer_find(spec.observer);
        struct qb_observer *o;
        struct qb_error err;
        float min, max;
        qbt_ok(ops->create(&spec, 1, &o, &err), &err);
        qbt_ok(ops->observe(o, infinite, 2, &err), &err);
        qbt_error(ops->range(o, &min, &max, &err), QB_EINPUT, &err, "no finite value");
        qbt_ok(ops->observe(o, tiny, 2, &err), &err);
        qbt_ok(ops->observe(o, huge, 3, &err), &err);
        qbt_ok(ops->observe(o, tiny, 2, &err), &err);
        const float *const hist = qb_observer_histogram_state(o, &min, &max);
        assert_true(min == -1e38f && max == 1e38f);
        float sum = 0;
        for (int k = 0; k < 2048; k++) {
            sum += hist[k];
        }
        assert_true(sum >= 0 && sum <= 5);
        ops->destroy(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_releases),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
