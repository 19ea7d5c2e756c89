/* Constants of the tails, checked once, and the choice of the arithmetic: see arithmetic.h. */
#include "engine/reference/arithmetic_parts.h"

/* Zero here means that a product or quotient left float32's range. */
static bool usable(float factor)
{
    return isfinite(factor) && factor > 0.0F;
}

enum qb_status qb_requant_init(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                               struct qb_requant *out, struct qb_error *err)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const bool fbgemm = graph->arithmetic == QB_ARITHMETIC_FBGEMM;
    const float sx = graph->nodes[n->src[0]].q.scale, sy = n->q.scale;
    float *const bia = qb_arena_array(arena, (size_t)n->oc, sizeof *bia);
    float *const scale = qb_arena_array(arena, (size_t)n->oc, sizeof *scale);
    if (!bia || !scale) {
        return qb_fail_memory(err, (size_t)n->oc * sizeof *scale);
    }
    struct qb_requant r = {
        .arithmetic = graph->arithmetic,
        .oc = n->oc,
        .relu = n->relu,
        .zero_point = n->q.zero_point,
        .per_tensor = n->wei_scale_count == 1,
        .bia_factor = (float)(1.0 / (double)(sx * n->wei_scales[0])),
        .bia = bia,
        .scale = scale,
        .dst_inverse = 1.0F / sy,
        .res_scale = n->fused_add ? graph->nodes[n->src[1]].q.scale : 0.0F,
        .res_zero_point = n->fused_add ? graph->nodes[n->src[1]].q.zero_point : 0,
    };
    for (int k = 0; k < n->oc; k++) {
        const float aw = sx * n->wei_scales[r.per_tensor ? 0 : k];
        scale[k] = fbgemm ? aw / sy : aw;
        bia[k] = fbgemm && !r.per_tensor ? n->bia[k] / aw : n->bia[k];
        if (!usable(aw) || !usable(1.0F / aw) || !usable(scale[k]) || !isfinite(n->bia[k] / aw)) {
            return qb_fail(
                err, QB_EUNSUPPORTED,
                "node %s: channel %d: scales src %g, wei %g, dst %g and bias %g leave float32's range when "
                "combined",
                n->name, k, (double)sx, (double)n->wei_scales[r.per_tensor ? 0 : k], (double)sy,
                (double)n->bia[k]);
        }
    }
    *out = r;
    return QB_OK;
}

void qb_requant_run(const struct qb_requant *requant, const int32_t *acc, const uint8_t *residual,
                    size_t pixels, uint8_t *dst)
{
    if (requant->arithmetic == QB_ARITHMETIC_FBGEMM) {
        qb_fbgemm_requant(requant, acc, pixels, dst);
    } else {
        qb_onednn_requant(requant, acc, residual, pixels, dst);
    }
}

void qb_add_init(const struct qb_qgraph *graph, int node, struct qb_add *out)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const bool fbgemm = graph->arithmetic == QB_ARITHMETIC_FBGEMM;
    *out = (struct qb_add){.arithmetic = graph->arithmetic,
                           .relu = n->relu,
                           .dst_inverse = 1.0F / n->q.scale,
                           .zero_point = n->q.zero_point};
    (fbgemm ? qb_fbgemm_add_table : qb_onednn_add_table)(&graph->nodes[n->src[0]].q, out->src0);
    (fbgemm ? qb_fbgemm_add_table : qb_onednn_add_table)(&graph->nodes[n->src[1]].q, out->src1);
}

void qb_add_run(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst)
{
    (add->arithmetic == QB_ARITHMETIC_FBGEMM ? qb_fbgemm_add : qb_onednn_add)(add, src0, src1, count, dst);
}

uint8_t qb_avgpool_code(enum qb_arithmetic arithmetic, int32_t sum, int32_t n, int32_t zero_point)
{
    return arithmetic == QB_ARITHMETIC_FBGEMM ? qb_fbgemm_avgpool(sum, n, zero_point)
                                              : qb_onednn_avgpool(sum, n);
}

void qb_input_table(const struct qb_qparams *q, uint8_t table[256])
{
    const float inverse = 1.0F / q->scale;
    for (int p = 0; p < 256; p++) {
        table[p] = (uint8_t)qb_rne(qb_limit(fmaf((float)p, inverse, (float)q->zero_point), 0.0F, 255.0F));
    }
}
