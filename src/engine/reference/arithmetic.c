/* Constants of the tails, checked once, and the table of the arithmetics: see arithmetic.h. */
#include "base/cpu.h"
#include "engine/reference/arithmetic_parts.h"

/* The arithmetics that have formulas of their own; NULL: put together from those (qb_arithmetic_traits). */
static const struct qb_arithmetic_ops *const arithmetics[QB_ARITHMETIC_COUNT] = {
    [QB_ARITHMETIC_FBGEMM] = &qb_arithmetic_fbgemm,
    [QB_ARITHMETIC_ONEDNN] = &qb_arithmetic_onednn,
    [QB_ARITHMETIC_ORT] = &qb_arithmetic_ort,
    [QB_ARITHMETIC_TFLITE] = &qb_arithmetic_tflite,
};

/* Whose formulas nodes other than CONV and DENSE follow. */
static enum qb_arithmetic rest(enum qb_arithmetic arithmetic)
{
    return qb_arithmetic_traits(arithmetic)->rest;
}

/* Zero here means that a product or quotient left float32's range. */
static bool usable(float factor)
{
    return isfinite(factor) && factor > 0.0F;
}

/* A scale that was handed over as its reciprocal. */
static float handed_over(float scale)
{
    return 1.0F / (1.0F / scale);
}

enum qb_status qb_requant_init(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                               struct qb_requant *out, struct qb_error *err)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const struct qb_arithmetic_traits *const traits = qb_arithmetic_traits(graph->arithmetic);
    const enum qb_arithmetic whose = n->op == QB_QOP_DENSE ? traits->dense : traits->conv;
    const struct qb_arithmetic_ops *const ops = arithmetics[whose];
    const float sx = graph->nodes[n->src[0]].q.scale, sy = n->q.scale;
    const bool apart = traits->scales_apart && whose == QB_ARITHMETIC_ONEDNN;
    float *const bia = qb_arena_array(arena, (size_t)n->oc, sizeof *bia);
    float *const scale = qb_arena_array(arena, (size_t)n->oc, sizeof *scale);
    if (!bia || !scale) {
        return qb_fail_memory(err, (size_t)n->oc * sizeof *scale);
    }
    struct qb_requant r = {
        .arithmetic = whose,
        .oc = n->oc,
        .relu = n->relu,
        .zero_point = n->q.zero_point,
        .per_tensor = n->wei_scale_count == 1,
        .bia_factor = (float)(1.0 / (double)(sx * n->wei_scales[0])),
        .bia = bia,
        .bia_codes = n->bia_codes,
        .apart = apart,
        .acc_scale = !apart                ? 1.0F
                     : traits->reciprocals ? handed_over(sx)
                                           : sx,
        .scale = scale,
        .dst_inverse = 1.0F / sy,
        .res_scale = n->fused_add ? graph->nodes[n->src[1]].q.scale : 0.0F,
        .res_zero_point = n->fused_add ? graph->nodes[n->src[1]].q.zero_point : 0,
    };
    qb_code_limits(&n->q, &r.low, &r.high);
    for (int k = 0; k < n->oc; k++) {
        const float aw = qb_acc_scale(n, sx, k);
        const float sw = n->wei_scales[r.per_tensor ? 0 : k];
        scale[k] = !apart ? aw : traits->reciprocals && n->op == QB_QOP_DENSE ? handed_over(sw) : sw;
        bia[k] = n->bia[k];
        if (ops->channel) {
            ops->channel(&r, aw, sy, &scale[k], &bia[k]);
        }
        if (!usable(aw) || !usable(1.0F / aw) || !usable(scale[k]) || !usable(r.acc_scale) ||
            !isfinite(n->bia[k] / aw)) {
            return qb_fail(
                err, QB_EUNSUPPORTED,
                "node %s: channel %d: scales src %g, wei %g, dst %g and bias %g leave float32's range when "
                "combined",
                n->name, k, (double)sx, (double)n->wei_scales[r.per_tensor ? 0 : k], (double)sy,
                (double)n->bia[k]);
        }
    }
    if (ops->constants) {
        QB_TRY(ops->constants(graph, node, arena, &r, err));
    }
    *out = r;
    return QB_OK;
}

/* A tensor of fewer bits than 8. */
static void limit_codes(int32_t low, int32_t high, uint8_t *codes, size_t count)
{
    if (low == 0 && high == 255) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        codes[i] = (uint8_t)(codes[i] < low ? low : codes[i] > high ? high : codes[i]);
    }
}

void qb_requant_run(const struct qb_requant *requant, const int32_t *acc, const uint8_t *residual,
                    size_t pixels, uint8_t *dst)
{
    arithmetics[requant->arithmetic]->requant(requant, acc, residual, pixels, dst);
    limit_codes(requant->low, requant->high, dst, pixels * (size_t)requant->oc);
}

void qb_add_init(const struct qb_qgraph *graph, int node, struct qb_add *out)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const struct qb_qparams src[2] = {graph->nodes[n->src[0]].q, graph->nodes[n->src[1]].q};
    *out = (struct qb_add){.arithmetic = rest(graph->arithmetic),
                           .relu = n->relu,
                           .dst_inverse = 1.0F / n->q.scale,
                           .zero_point = n->q.zero_point};
    qb_code_limits(&n->q, &out->low, &out->high);
    arithmetics[out->arithmetic]->add_init(src, &n->q, out);
}

void qb_add_run(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst)
{
    arithmetics[add->arithmetic]->add(add, src0, src1, count, dst);
    limit_codes(add->low, add->high, dst, count);
}

void qb_mul_init(const struct qb_qgraph *graph, int node, struct qb_mul *out)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const struct qb_qparams src[2] = {graph->nodes[n->src[0]].q, graph->nodes[n->src[1]].q};
    *out = (struct qb_mul){.arithmetic = rest(graph->arithmetic)};
    arithmetics[out->arithmetic]->mul_init(src, &n->q, out);
}

void qb_mul_run(const struct qb_mul *mul, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst)
{
    arithmetics[mul->arithmetic]->mul(mul, src0, src1, count, dst);
}

void qb_avgpool_init(const struct qb_qgraph *graph, int node, struct qb_avgpool *out)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const struct qb_qnode *const src = &graph->nodes[n->src[0]];
    *out = (struct qb_avgpool){.arithmetic = rest(graph->arithmetic),
                               .kh = n->kh,
                               .kw = n->kw,
                               .whole = n->kh == src->dst.h && n->kw == src->dst.w,
                               .src = src->q,
                               .dst = n->q,
                               .factor = 1.0F / (float)(n->kh * n->kw)};
    if (arithmetics[out->arithmetic]->avgpool_init) {
        arithmetics[out->arithmetic]->avgpool_init(out);
    }
}

uint8_t qb_avgpool_code(const struct qb_avgpool *pool, int32_t sum)
{
    return arithmetics[pool->arithmetic]->avgpool(pool, sum);
}

uint8_t qb_avgpool_run(const struct qb_avgpool *pool, const uint8_t *window, size_t row, size_t pixel)
{
    if (pool->floats) {
        return qb_ort_avgpool_floats(pool, window, row, pixel);
    }
    int32_t sum = 0;
    for (size_t i = 0; i < (size_t)pool->kh; i++) {
        for (size_t j = 0; j < (size_t)pool->kw; j++) {
            sum += window[i * row + j * pixel];
        }
    }
    return qb_avgpool_code(pool, sum);
}

uint8_t qb_torch_input(const struct qb_qparams *q, float value)
{
    return (uint8_t)qb_rne(qb_limit(fmaf(value, 1.0F / q->scale, (float)q->zero_point), 0.0F, 255.0F));
}

void qb_input_table(enum qb_arithmetic arithmetic, const struct qb_qparams *q, uint8_t table[256])
{
    for (int p = 0; p < 256; p++) {
        table[p] = arithmetics[rest(arithmetic)]->input(q, (float)p);
    }
    int32_t low, high;
    qb_code_limits(q, &low, &high);
    limit_codes(low, high, table, 256);
}

/* qb_torch_input of many, in the instructions of the function around it: fmaf is a call without them. */
static inline __attribute__((always_inline)) void quantize_torch(const struct qb_qparams *q, const float *src,
                                                                 size_t count, uint8_t *restrict dst)
{
    const float inverse = 1.0F / q->scale, zero_point = (float)q->zero_point;
    for (size_t k = 0; k < count; k++) {
        dst[k] = (uint8_t)qb_rne(qb_limit(fmaf(src[k], inverse, zero_point), 0.0F, 255.0F));
    }
}

__attribute__((target("avx2,fma"))) static void quantize_avx2(const struct qb_qparams *q, const float *src,
                                                              size_t count, uint8_t *restrict dst)
{
    quantize_torch(q, src, count, dst);
}

/* The bounds are whole numbers, so clamping may come before rounding. */
void qb_simulate(const struct qb_qparams *q, size_t count, float *tensor)
{
    int32_t first, last;
    qb_code_limits(q, &first, &last);
    const float inverse = 1.0F / q->scale, low = (float)(first - q->zero_point),
                high = (float)(last - q->zero_point);
    for (size_t k = 0; k < count; k++) {
        tensor[k] = q->scale * (float)qb_rne(qb_limit(tensor[k] * inverse, low, high));
    }
}

void qb_quantize_run(enum qb_arithmetic arithmetic, const struct qb_qparams *q, const float *src,
                     size_t count, uint8_t *dst)
{
    const struct qb_arithmetic_ops *const ops = arithmetics[rest(arithmetic)];
    if (ops->input == qb_torch_input && qb_cpu_has(QB_ISA_AVX2)) {
        quantize_avx2(q, src, count, dst);
    } else {
        for (size_t k = 0; k < count; k++) {
            dst[k] = ops->input(q, src[k]);
        }
    }
    int32_t low, high;
    qb_code_limits(q, &low, &high);
    if (q->bits) {
        limit_codes(low, high, dst, count);
    }
}

void qb_code_table(const struct qb_qgraph *graph, int node, uint8_t table[256])
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const struct qb_qparams *const src = &graph->nodes[n->src[0]].q;
    if (n->op == QB_QOP_QUANTIZE) {
        float values[256];
        for (int code = 0; code < 256; code++) {
            values[code] = qb_dequantize(src, (uint8_t)code);
        }
        qb_quantize_run(graph->arithmetic, &n->q, values, 256, table);
        return;
    }
    const bool same = qb_qparams_equal(src, &n->q);
    for (int code = 0; code < 256; code++) {
        table[code] = same ? (uint8_t)(code > src->zero_point ? code : src->zero_point)
                           : arithmetics[rest(graph->arithmetic)]->relu(src, &n->q, code);
    }
}
