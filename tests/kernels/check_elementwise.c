/* Addition, ReLU, average pool and input quantization against their ref entries: check_elementwise ISA
 * [SEED]. Widths that are no multiple of the vectors, gaps between rows, extremes of codes and zero points.
 */
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "kernels/add/add.h"
#include "kernels/avgpool/avgpool.h"
#include "kernels/mul/mul.h"
#include "kernels/quantize/quantize.h"
#include "kernels/recode/recode.h"
#include "kernels/relu/relu.h"

enum { CASES = 800 };

static enum guard_side side_of(int number)
{
    return number % 2 ? GUARD_AFTER : GUARD_BEFORE;
}

static float real(struct qb_rng *rng, double low, double high)
{
    return (float)(low + (high - low) * qb_rng_double(rng));
}

static struct guarded codes(size_t bytes, int number, struct qb_rng *rng)
{
    struct guarded g = guarded_alloc(bytes, side_of(number), rng);
    fill_codes(g.data, bytes, (enum fill)(number % FILL_COUNT), rng);
    return g;
}

/* A buffer for results; 0x5a marks what must not be written. */
static struct guarded marked(size_t bytes, int number, struct qb_rng *rng)
{
    struct guarded g = guarded_alloc(bytes, side_of(number / 2), rng);
    memset(g.data, 0x5a, bytes);
    return g;
}

static int same(const char *what, int number, const struct guarded *got, const struct guarded *want)
{
    char text[128];
    snprintf(text, sizeof text, "%s, case %d", what, number);
    for (size_t i = 0; i < got->bytes; i++) {
        if (got->data[i] != want->data[i]) {
            return check_failed(text, i, got->data[i], want->data[i]);
        }
    }
    return 0;
}

static int check_add(enum qb_isa isa, int number, struct qb_rng *rng)
{
    const size_t rows = (size_t)draw(rng, 1, 4), bytes = 16 * (size_t)draw(rng, 1, 11);
    const size_t pitch[3] = {bytes + (size_t)PICK(rng, 0, 7), bytes + (size_t)PICK(rng, 0, 13),
                             bytes + (size_t)PICK(rng, 0, 61)};
    struct qb_addition add = {.rule = (enum qb_add_rule)draw(rng, 0, 2), .dst_inverse = real(rng, 0.2, 3.0)};
    add.zero_point = PICK(rng, 0, 255, draw(rng, 1, 254));
    add.low = draw(rng, 0, 1) ? add.zero_point : 0;
    for (int s = 0; s < 2; s++) {
        add.zero[s] = PICK(rng, 0, 255, draw(rng, 1, 254));
        add.scale[s] = number % 50 == 7 ? 1e30F : real(rng, 0.1, 2.0);
        add.offset[s] = add.scale[s] * (float)-add.zero[s];
    }
    struct guarded a = codes((rows - 1) * pitch[0] + bytes, number, rng),
                   b = codes((rows - 1) * pitch[1] + bytes, number / 3, rng),
                   want = marked((rows - 1) * pitch[2] + bytes, number, rng),
                   got = marked(want.bytes, number, rng);
    qb_add_impls[0]->run(&add, rows, bytes, a.data, pitch[0], b.data, pitch[1], want.data, pitch[2]);
    qb_add_select(isa)->run(&add, rows, bytes, a.data, pitch[0], b.data, pitch[1], got.data, pitch[2]);
    int failed = same("add", number, &got, &want);
    if (!failed && pitch[0] == pitch[2]) { /* in place */
        qb_add_select(isa)->run(&add, rows, bytes, a.data, pitch[0], b.data, pitch[1], a.data, pitch[0]);
        for (size_t y = 0; y < rows && !failed; y++) {
            failed = memcmp(a.data + y * pitch[0], want.data + y * pitch[0], bytes) != 0;
        }
        failed = failed && check_failed("add in place", 0, 0, 0);
    }
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&want);
    guarded_free(&got);
    return failed;
}

static int check_mul(enum qb_isa isa, int number, struct qb_rng *rng)
{
    const size_t rows = (size_t)draw(rng, 1, 4), bytes = 16 * (size_t)draw(rng, 1, 11);
    const size_t pitch[3] = {bytes + (size_t)PICK(rng, 0, 7),
                             draw(rng, 0, 2) ? bytes + (size_t)PICK(rng, 0, 13) : 0, /* 0: one row for all */
                             bytes + (size_t)PICK(rng, 0, 61)};
    const bool is_signed = draw(rng, 0, 1);
    const struct qb_product mul = {.zero = {PICK(rng, 0, 255, draw(rng, 1, 254)), draw(rng, 0, 255)},
                                   .ratio = number % 50 == 7 ? 1e30F : real(rng, 0.0005, 0.05),
                                   .offset = (float)(draw(rng, 0, 255) - (is_signed ? 128 : 0)),
                                   .zero_point = is_signed ? 128 : 0};
    struct guarded a = codes((rows - 1) * pitch[0] + bytes, number, rng),
                   b = codes((rows - 1) * pitch[1] + bytes, number / 3, rng),
                   want = marked((rows - 1) * pitch[2] + bytes, number, rng),
                   got = marked(want.bytes, number, rng);
    qb_mul_impls[0]->run(&mul, rows, bytes, a.data, pitch[0], b.data, pitch[1], want.data, pitch[2]);
    qb_mul_select(isa)->run(&mul, rows, bytes, a.data, pitch[0], b.data, pitch[1], got.data, pitch[2]);
    const int failed = same("mul", number, &got, &want);
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&want);
    guarded_free(&got);
    return failed;
}

static int check_relu(enum qb_isa isa, int number, struct qb_rng *rng)
{
    const size_t rows = (size_t)draw(rng, 1, 4), bytes = 16 * (size_t)draw(rng, 1, 9);
    const size_t src_pitch = bytes + (size_t)PICK(rng, 0, 7), dst_pitch = bytes + (size_t)PICK(rng, 0, 61);
    const int low = PICK(rng, 0, 255, draw(rng, 1, 254));
    const struct qb_limits limits = {(uint8_t)low, (uint8_t)PICK(rng, low, 255, draw(rng, low, 255))};
    struct guarded src = codes((rows - 1) * src_pitch + bytes, number, rng),
                   want = marked((rows - 1) * dst_pitch + bytes, number, rng),
                   got = marked(want.bytes, number, rng);
    qb_relu_impls[0]->run(limits, rows, bytes, src.data, src_pitch, want.data, dst_pitch);
    qb_relu_select(isa)->run(limits, rows, bytes, src.data, src_pitch, got.data, dst_pitch);
    const int failed = same("relu", number, &got, &want);
    guarded_free(&src);
    guarded_free(&want);
    guarded_free(&got);
    return failed;
}

static int check_recode(enum qb_isa isa, int number, struct qb_rng *rng)
{
    const size_t rows = (size_t)draw(rng, 1, 4), bytes = (size_t)draw(rng, 1, 200);
    const size_t src_pitch = bytes + (size_t)PICK(rng, 0, 7), dst_pitch = bytes + (size_t)PICK(rng, 0, 61);
    uint8_t table[256];
    fill_codes(table, sizeof table, FILL_RANDOM, rng);
    struct guarded src = codes((rows - 1) * src_pitch + bytes, number, rng),
                   want = marked((rows - 1) * dst_pitch + bytes, number, rng),
                   got = marked(want.bytes, number, rng);
    qb_recode_impls[0]->run(table, rows, bytes, src.data, src_pitch, want.data, dst_pitch);
    qb_recode_select(isa)->run(table, rows, bytes, src.data, src_pitch, got.data, dst_pitch);
    int failed = same("recode", number, &got, &want);
    qb_recode_select(isa)->run(table, rows, bytes, src.data, src_pitch, src.data, src_pitch);
    for (size_t y = 0; y < rows && !failed; y++) {
        failed = memcmp(src.data + y * src_pitch, want.data + y * dst_pitch, bytes) != 0 &&
                 check_failed("recode in place", 0, 0, 0);
    }
    guarded_free(&src);
    guarded_free(&want);
    guarded_free(&got);
    return failed;
}

static int check_avgpool(enum qb_isa isa, int number, struct qb_rng *rng)
{
    struct qb_pool p = {.kh = draw(rng, 1, 8),
                        .kw = draw(rng, 1, 8),
                        .stride_h = draw(rng, 1, 3),
                        .stride_w = draw(rng, 1, 3),
                        .dst_h = draw(rng, 1, 3),
                        .dst_w = draw(rng, 1, 3),
                        .blocks = draw(rng, 1, 5)};
    const size_t channels = (size_t)p.blocks * 16, h = (size_t)((p.dst_h - 1) * p.stride_h + p.kh),
                 w = (size_t)((p.dst_w - 1) * p.stride_w + p.kw);
    p.src_step = channels + (size_t)PICK(rng, 0, 3);
    p.src_pitch = w * p.src_step + (size_t)PICK(rng, 0, 31);
    p.dst_step = channels + (size_t)PICK(rng, 0, 5);
    p.dst_pitch = (size_t)p.dst_w * p.dst_step + (size_t)PICK(rng, 0, 37);
    p.inverse = 1.0F / (float)(p.kh * p.kw);
    if (draw(rng, 0, 1)) {
        p.zero_point = PICK(rng, 0, 255, draw(rng, 1, 254));
        p.minus = p.zero_point * p.kh * p.kw;
    }
    p.floats = draw(rng, 0, 1);
    p.zero = PICK(rng, 0, 255, draw(rng, 1, 254));
    p.scale = real(rng, 0.01, 0.3);
    p.count = (float)(p.kh * p.kw);
    p.dst_scale = number % 50 == 7 ? 1e-30F : real(rng, 0.01, 0.3);
    p.offset = (float)PICK(rng, 0, -128, draw(rng, -128, 255));
    struct guarded src = codes((h - 1) * p.src_pitch + (w - 1) * p.src_step + channels, number, rng),
                   want = marked((size_t)(p.dst_h - 1) * p.dst_pitch + (size_t)(p.dst_w - 1) * p.dst_step +
                                     channels,
                                 number, rng),
                   got = marked(want.bytes, number, rng);
    qb_avgpool_impls[0]->run(&p, src.data, want.data);
    qb_avgpool_select(isa)->run(&p, src.data, got.data);
    const int failed = same("avgpool", number, &got, &want);
    guarded_free(&src);
    guarded_free(&want);
    guarded_free(&got);
    return failed;
}

static int check_quantize(enum qb_isa isa, int number, struct qb_rng *rng)
{
    const int h = draw(rng, 1, 3), w = PICK(rng, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33),
              c = PICK(rng, 1, 2, 3, 3, 3, 4, 5);
    const size_t step = ((size_t)c + 3) / 4 * 4 + (size_t)PICK(rng, 0, 0, 0, 12),
                 pitch = (size_t)w * step + (size_t)PICK(rng, 0, 29);
    struct qb_quantize q;
    qb_quantize_init(number % 40 == 3 ? 1e36F : real(rng, 0.1, 3.0), PICK(rng, 0, 255, draw(rng, 1, 254)),
                     &q);
    struct guarded src = codes((size_t)(h * w * c), number, rng),
                   want = marked((size_t)(h - 1) * pitch + (size_t)w * step, number, rng),
                   got = marked(want.bytes, number, rng);
    qb_quantize_impls[0]->run(&q, src.data, h, w, c, want.data, step, pitch);
    qb_quantize_select(isa)->run(&q, src.data, h, w, c, got.data, step, pitch);
    const int failed = same("quantize", number, &got, &want);
    guarded_free(&src);
    guarded_free(&want);
    guarded_free(&got);
    return failed;
}

int main(int argc, char **argv)
{
    struct qb_rng rng;
    const enum qb_isa isa = check_arguments(argc, argv, &rng);
    int failed = 0;
    for (int number = 0; number < CASES && !failed; number++) {
        failed = check_add(isa, number, &rng) || check_mul(isa, number, &rng) ||
                 check_relu(isa, number, &rng) || check_recode(isa, number, &rng) ||
                 check_avgpool(isa, number, &rng) || check_quantize(isa, number, &rng);
    }
    printf("%d cases each%s\n", CASES, failed ? ", FAILED" : "");
    return failed;
}
