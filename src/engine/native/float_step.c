/* Steps of the plan that compute in float, or convert: the reference engine's own functions (float_layer.h),
 * so that bytes are equal. Tensors of floats are dense; tensors of codes have frames (plan.h). */
#include <string.h>

#include "engine/native/plan.h"
#include "engine/reference/arithmetic.h"

enum qb_status qb_native_make_floats(struct qb_native_maker *m, int node, struct qb_native_step *step,
                                     struct qb_error *err)
{
    const struct qb_qnode *const n = &m->graph->nodes[node];
    struct qb_float_layer *const layer = qb_native_array(m->arena, 1, sizeof *layer, err);
    if (!layer) {
        return err->status;
    }
    QB_TRY(qb_float_layer_init(m->graph, node, m->plan->isa, m->arena, layer, err));
    for (int s = 0; s < qb_qnode_sources(n); s++) {
        step->src[s] = n->src[s];
    }
    step->floats = step->run = layer;
    return QB_OK;
}

void qb_native_run_floats(const struct qb_native_plan *plan, const struct qb_native_step *s,
                          uint8_t *workspace, const uint8_t *image)
{
    const struct qb_qnode *const n = &plan->graph->nodes[s->node];
    const struct qb_native_tensor *const dst = &plan->tensors[s->node];
    if (n->op != QB_QOP_QUANTIZE && n->op != QB_QOP_DEQUANTIZE) {
        const float *const second =
            s->src[1] >= 0 ? (const float *)(const void *)(workspace + s->from[1]) : NULL;
        qb_float_layer_run(s->floats, n->op == QB_QOP_INPUT ? image : workspace + s->from[0], second,
                           workspace + s->to);
        return;
    }
    const struct qb_native_tensor *const src = &plan->tensors[s->src[0]];
    const struct qb_native_tensor *const codes_of = n->op == QB_QOP_QUANTIZE ? dst : src;
    size_t pixels = (size_t)n->dst.w, channels = (size_t)n->dst.c;
    if (codes_of->step == channels) { /* nothing between the pixels of a row */
        channels *= pixels;
        pixels = 1;
    }
    for (size_t y = 0; y < (size_t)n->dst.h; y++) {
        for (size_t x = 0; x < pixels; x++) {
            const void *const from = workspace + s->from[0] + y * src->pitch + x * src->step;
            void *const to = workspace + s->to + y * dst->pitch + x * dst->step;
            if (n->op == QB_QOP_QUANTIZE) {
                qb_quantize_run(plan->graph->arithmetic, &n->q, from, channels, to);
                continue;
            }
            const uint8_t *const codes = from;
            float *const values = to;
            for (size_t k = 0; k < channels; k++) {
                values[k] = qb_dequantize(&s->floats->src_q, codes[k]);
            }
        }
    }
}
