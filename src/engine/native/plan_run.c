/* Running a plan that was made: see plan.h. */
#include <string.h>

#include "engine/native/plan.h"
#include "engine/reference/arithmetic.h"

void qb_native_plan_prepare(const struct qb_native_plan *plan, uint8_t *workspace)
{
    for (int i = 0; i < plan->graph->count; i++) {
        const struct qb_native_tensor *const t = &plan->tensors[i];
        if (t->used) {
            memset(workspace + t->offset, t->zero_point, t->bytes);
        }
        for (size_t at = 0; plan->graph->nodes[i].op == QB_QOP_CONSTANT && at + t->step <= t->bytes;
             at += t->step) {
            memcpy(workspace + t->offset + at, plan->graph->nodes[i].codes, (size_t)t->shape.c);
        }
    }
}

void qb_native_plan_step(const struct qb_native_plan *plan, const struct qb_native_step *s,
                         uint8_t *workspace, uint8_t *scratch, const uint8_t *image)
{
    const struct qb_native_tensor *const dst = &plan->tensors[s->node];
    const struct qb_native_tensor *const a = s->src[0] >= 0 ? &plan->tensors[s->src[0]] : NULL,
                                         *const b = s->src[1] >= 0 ? &plan->tensors[s->src[1]] : NULL;
    uint8_t *const to = workspace + s->to;
    const uint8_t *const from = workspace + s->from[0], *const second = b ? workspace + s->from[1] : NULL;
    const size_t rows = (size_t)s->rows, bytes = (size_t)dst->shape.w * dst->step;
    if (s->floats) {
        qb_native_run_floats(plan, s, workspace, image);
        return;
    }
    switch (s->op) {
    case QB_QOP_INPUT:
        ((const struct qb_quantize_impl *)s->run)
            ->run(s->args, image + s->image, s->rows, dst->shape.w, dst->shape.c, to, dst->step, dst->pitch);
        break;
    case QB_QOP_CONV:
    case QB_QOP_DENSE: {
        const struct qb_conv_impl *const conv = s->run;
        if (s->chain) {
            conv->run_chained(s->args, s->packed, from, second, to, scratch, s->chain);
        } else {
            conv->run(s->args, s->packed, from, second, to, scratch);
        }
        break;
    }
    case QB_QOP_ADD:
        ((const struct qb_add_impl *)s->run)
            ->run(s->args, rows, bytes, from, a->pitch, second, b->pitch, to, dst->pitch);
        break;
    case QB_QOP_MUL:
        ((const struct qb_mul_impl *)s->run)
            ->run(s->args, rows, bytes, from, a->pitch, second, b->pitch, to, dst->pitch);
        break;
    case QB_QOP_RELU:
    case QB_QOP_QUANTIZE:
        if (s->packed) {
            ((const struct qb_recode_impl *)s->run)
                ->run(s->packed, rows, bytes, from, a->pitch, to, dst->pitch);
            break;
        }
        ((const struct qb_relu_impl *)s->run)
            ->run(*(const struct qb_limits *)s->args, rows, bytes, from, a->pitch, to, dst->pitch);
        break;
    case QB_QOP_AVGPOOL: ((const struct qb_avgpool_impl *)s->run)->run(s->args, from, to); break;
    case QB_QOP_CONSTANT:
    case QB_QOP_DEQUANTIZE:
    case QB_QOP_AFFINE: break;
    }
}

void qb_native_plan_logits(const struct qb_native_plan *plan, const uint8_t *workspace, float *logits)
{
    const int last = qb_qgraph_logits(plan->graph);
    const struct qb_native_tensor *const t = &plan->tensors[last];
    const struct qb_qparams *const q = &plan->graph->nodes[last].q;
    const uint8_t *row = workspace + t->offset + t->origin;
    if (plan->graph->nodes[last].f32) {
        memcpy(logits, row, (size_t)t->shape.h * t->pitch);
        return;
    }
    for (int y = 0; y < t->shape.h; y++, row += t->pitch) {
        for (size_t x = 0; x < (size_t)t->shape.w; x++) {
            for (size_t k = 0; k < (size_t)t->shape.c; k++) {
                *logits++ = qb_dequantize(q, row[x * t->step + k]);
            }
        }
    }
}

void qb_native_plan_run(const struct qb_native_plan *plan, uint8_t *workspace, const uint8_t *image,
                        float *logits)
{
    for (int i = 0; i < plan->count; i++) {
        qb_native_plan_step(plan, &plan->steps[i], workspace, workspace + plan->scratch, image);
    }
    qb_native_plan_logits(plan, workspace, logits);
}

void qb_native_plan_tensor(const struct qb_native_plan *plan, const uint8_t *workspace, int node,
                           uint8_t *out)
{
    const struct qb_native_tensor *const t = &plan->tensors[node];
    const size_t channels = (size_t)t->shape.c * qb_qnode_element(&plan->graph->nodes[node]);
    const uint8_t *row = workspace + t->offset + t->origin;
    for (int y = 0; y < t->shape.h; y++, row += t->pitch) {
        for (size_t x = 0; x < (size_t)t->shape.w; x++, out += channels) {
            memcpy(out, row + x * t->step, channels);
        }
    }
}
