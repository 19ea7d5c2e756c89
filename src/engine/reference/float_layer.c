/* Float nodes of an integer graph: see float_layer.h. */
#include "engine/reference/float_layer.h"

#include "engine/reference/arithmetic.h"

struct qb_node qb_float_form(const struct qb_qnode *n)
{
    return (struct qb_node){.op = n->op == QB_QOP_CONV    ? QB_OP_CONV
                                  : n->op == QB_QOP_DENSE ? QB_OP_DENSE
                                                          : QB_OP_AVGPOOL,
                            .name = n->name,
                            .dst = n->dst,
                            .kh = n->kh,
                            .kw = n->kw,
                            .stride_h = n->stride_h,
                            .stride_w = n->stride_w,
                            .pad_t = n->pad_t,
                            .pad_l = n->pad_l,
                            .pad_b = n->pad_b,
                            .pad_r = n->pad_r,
                            .ic = n->ic,
                            .oc = n->oc,
                            .wei = n->wei_f32,
                            .bia = n->bia};
}

enum qb_status qb_float_layer_init(const struct qb_qgraph *graph, int node, enum qb_isa cap,
                                   struct qb_arena *arena, struct qb_float_layer *out, struct qb_error *err)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    struct qb_float_layer layer = {.node = n,
                                   .arithmetic = graph->arithmetic,
                                   .form = qb_float_form(n),
                                   .count = qb_shape_count(n->dst)};
    if (qb_qnode_sources(n) > 0) {
        layer.src = graph->nodes[n->src[0]].dst;
        layer.src_q = graph->nodes[n->src[0]].q;
    }
    if (n->dynamic) {
        QB_TRY(qb_dynamic_dense_init(n, arena, &layer.dynamic, err));
    } else if ((n->op == QB_QOP_CONV || n->op == QB_QOP_DENSE) &&
               !qb_float_weights_init(&layer.form, cap, arena, &layer.weights)) {
        return qb_fail_memory(err, qb_node_params(&layer.form) * sizeof(float));
    }
    *out = layer;
    return QB_OK;
}

static void relu(const float *src, size_t count, float *dst)
{
    for (size_t k = 0; k < count; k++) {
        dst[k] = src[k] > 0.0F ? src[k] : 0.0F;
    }
}

static void affine(const struct qb_qnode *n, const float *src, size_t count, float *dst)
{
    const size_t channels = (size_t)n->oc;
    for (size_t i = 0; i < count; i += channels) {
        for (size_t k = 0; k < channels; k++) {
            dst[i + k] = src[i + k] * n->wei_f32[k] + n->bia[k];
        }
    }
}

void qb_float_layer_run(const struct qb_float_layer *layer, const void *src0, const float *src1, void *dst)
{
    const struct qb_qnode *const n = layer->node;
    const uint8_t *const codes = src0;
    const float *const src = src0;
    float *const to = dst;
    switch (n->op) {
    case QB_QOP_INPUT:
        for (size_t k = 0; k < layer->count; k++) {
            to[k] = (float)codes[k];
        }
        break;
    case QB_QOP_DEQUANTIZE:
        for (size_t k = 0; k < layer->count; k++) {
            to[k] = qb_dequantize(&layer->src_q, codes[k]);
        }
        break;
    case QB_QOP_QUANTIZE: qb_quantize_run(layer->arithmetic, &n->q, src, layer->count, dst); break;
    case QB_QOP_CONV: qb_float_conv(&layer->form, &layer->weights, layer->src, false, src, to); break;
    case QB_QOP_DENSE:
        if (n->dynamic) {
            qb_dynamic_dense_run(&layer->dynamic, src, to);
        } else {
            qb_float_dense(&layer->weights, src, to);
        }
        break;
    case QB_QOP_ADD:
        for (size_t k = 0; k < layer->count; k++) {
            to[k] = src[k] + src1[k];
        }
        break;
    case QB_QOP_RELU: relu(src, layer->count, to); break;
    case QB_QOP_AVGPOOL: qb_float_avgpool(&layer->form, layer->src, src, to); break;
    case QB_QOP_AFFINE: affine(n, src, layer->count, to); break;
    case QB_QOP_MUL:
    case QB_QOP_CONSTANT: break; /* refused by qb_check_qgraph */
    }
    if (n->relu) {
        relu(to, layer->count, to);
    }
}
