/* Arithmetic `tflite`: formulas and sources in arithmetic.h. */
#include "engine/reference/arithmetic_parts.h"

/* Results are limited here before zero points are added: far outside of what a code holds, far inside int32.
 */
enum { LIMIT = 1 << 20 };

static int32_t limited(int64_t x)
{
    return (int32_t)(x < -LIMIT ? -LIMIT : x > LIMIT ? LIMIT : x);
}

/* clamp(x + zero_point, low, 255) */
static uint8_t code_of(int64_t x, int32_t zero_point, int32_t low)
{
    const int32_t code = limited(x) + zero_point, raised = code > low ? code : low;
    return (uint8_t)(raised < 255 ? raised : 255);
}

struct qb_multiplier qb_quantize_multiplier(double real)
{
    int exponent;
    int64_t mantissa = (int64_t)round(frexp(real, &exponent) * 0x1p31);
    if (mantissa == (int64_t)1 << 31) {
        mantissa /= 2;
        exponent++;
    }
    return exponent < -31 ? (struct qb_multiplier){0, 0}
                          : (struct qb_multiplier){(int32_t)mantissa, -exponent};
}

int32_t qb_multiply_twice(int32_t x, struct qb_multiplier m)
{
    const int64_t high = ((int64_t)x * m.mantissa + ((int64_t)1 << 30)) >> 31;
    if (m.right == 0) {
        return (int32_t)high;
    }
    return (int32_t)((high + ((int64_t)1 << (m.right - 1)) - (high < 0)) >> m.right);
}

int32_t qb_multiply_once(int32_t x, struct qb_multiplier m)
{
    return (int32_t)(((int64_t)x * m.mantissa + ((int64_t)1 << (30 + m.right))) >> (31 + m.right));
}

static enum qb_status multipliers(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                                  struct qb_requant *r, struct qb_error *err)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const float sx = graph->nodes[n->src[0]].q.scale;
    struct qb_multiplier *const m = qb_arena_array(arena, (size_t)n->oc, sizeof *m);
    if (!m) {
        return qb_fail_memory(err, (size_t)n->oc * sizeof *m);
    }
    r->once = n->op == QB_QOP_DENSE;
    r->multipliers = m;
    for (int k = 0; k < n->oc; k++) {
        const float sw = n->wei_scales[r->per_tensor ? 0 : k];
        /* GetQuantizedConvolutionMultipler's product is a float's. */
        const double product = r->once && r->per_tensor ? (double)(sx * sw) : (double)sx * (double)sw;
        const double real = product / (double)n->q.scale;
        m[k] = qb_quantize_multiplier(real);
        if (m[k].right < 0) {
            return qb_fail(err, QB_EUNSUPPORTED,
                           "node %s: channel %d: scales src %g, wei %g and dst %g make a multiplier of %g; "
                           "arithmetic tflite is for those below 1",
                           n->name, k, (double)sx, (double)sw, (double)n->q.scale, real);
        }
    }
    return QB_OK;
}

static void requant(const struct qb_requant *r, const int32_t *acc, const uint8_t *residual, size_t pixels,
                    uint8_t *restrict dst)
{
    (void)residual; /* no fused_add */
    const size_t oc = (size_t)r->oc;
    const int32_t low = r->relu ? r->zero_point : 0;
    for (size_t p = 0; p < pixels; p++, acc += oc, dst += oc) {
        for (size_t k = 0; k < oc; k++) {
            const int32_t v = acc[k] + r->bia_codes[k];
            const int32_t x =
                r->once ? qb_multiply_once(v, r->multipliers[k]) : qb_multiply_twice(v, r->multipliers[k]);
            dst[k] = code_of(x, r->zero_point, low);
        }
    }
}

static void add_init(const struct qb_qparams src[2], const struct qb_qparams *dst, struct qb_add *add)
{
    const double a = src[0].scale, b = src[1].scale, twice = 2.0 * (a > b ? a : b);
    const struct qb_multiplier m0 = qb_quantize_multiplier(a / twice), m1 = qb_quantize_multiplier(b / twice);
    add->multiplier = qb_quantize_multiplier(twice / (0x1p20 * (double)dst->scale));
    for (int code = 0; code < 256; code++) {
        add->raw0[code] = qb_multiply_twice((code - src[0].zero_point) * (1 << 20), m0);
        add->raw1[code] = qb_multiply_twice((code - src[1].zero_point) * (1 << 20), m1);
    }
}

static void add(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst)
{
    const int32_t low = add->relu ? add->zero_point : 0;
    for (size_t i = 0; i < count; i++) {
        const int32_t sum = add->raw0[src0[i]] + add->raw1[src1[i]];
        dst[i] = code_of(qb_multiply_twice(sum, add->multiplier), add->zero_point, low);
    }
}

/* Codes of int8: the division truncates, so that halves go away from its zero. */
static uint8_t avgpool(const struct qb_avgpool *pool, int32_t sum)
{
    const int32_t n = pool->kh * pool->kw, codes = sum - 128 * n;
    return code_of((codes > 0 ? codes + n / 2 : codes - n / 2) / n, 128, 0);
}

/* QUANTIZE of float pixels: half away from zero. */
static uint8_t input(const struct qb_qparams *q, float value)
{
    const float code = roundf(value / q->scale);
    return code_of((int64_t)qb_limit(code, -(float)LIMIT, (float)LIMIT), q->zero_point, 0);
}

const struct qb_arithmetic_ops qb_arithmetic_tflite = {
    .constants = multipliers,
    .requant = requant,
    .add_init = add_init,
    .add = add,
    .avgpool = avgpool,
    .input = input,
};
