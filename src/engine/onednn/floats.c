/* Float nodes of integer graphs: convolutions and dense layers are oneDNN's, whose sums have an order of
 * their own; the rest and the conversions are the reference engine's functions, an image a unit. See own.h.
 */
#include "engine/onednn/layer.h"
#include "engine/onednn/own.h"
#include "engine/reference/float_layer.h"

struct floats {
    struct qb_float_layer layer;
    const uint8_t *const *images; /* INPUT */
    const uint8_t *src0, *src1;
    uint8_t *dst;
    size_t step0, step1, step; /* bytes an image */
};

static void run_floats(const void *state, size_t begin, size_t end)
{
    const struct floats *s = state;
    const uint8_t *src0 = s->images ? *s->images : s->src0;
    for (size_t i = begin; i < end; i++) {
        const void *const src1 = s->src1 ? s->src1 + i * s->step1 : NULL;
        qb_float_layer_run(&s->layer, src0 + i * s->step0, src1, s->dst + i * s->step);
    }
}

static size_t image_bytes(const struct qb_qgraph *graph, int node)
{
    return qb_shape_count(graph->nodes[node].dst) * qb_qnode_element(&graph->nodes[node]);
}

void qb_dnnl_own_floats(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                        const uint8_t *src0, const uint8_t *src1, uint8_t *dst)
{
    const struct qb_qnode *n = &graph->nodes[node];
    struct floats *s = qb_dnnl_array(list, 1, sizeof *s);
    struct qb_error err;
    if (!s) {
        return;
    }
    s->src0 = src0;
    s->src1 = src1;
    s->dst = dst;
    s->step = image_bytes(graph, node);
    s->step0 = n->op == QB_QOP_INPUT ? qb_shape_count(n->dst) : image_bytes(graph, n->src[0]);
    s->step1 = src1 ? image_bytes(graph, n->src[1]) : 0;
    s->images = n->op == QB_QOP_INPUT ? &list->images : NULL;
    if (qb_float_layer_init(graph, node, QB_ISA_COUNT - 1, list->arena, &s->layer, &err) != QB_OK) {
        qb_dnnl_list_fail(list, err.status, "%s", err.text);
        return;
    }
    qb_dnnl_add_own(list, run_floats, s, 1, node, dst, qb_shape_count(n->dst));
}

void qb_dnnl_add_float_layer(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                             const uint8_t *src, uint8_t *dst)
{
    const struct qb_qnode *n = &graph->nodes[node];
    const struct qb_dnnl_layer layer = {
        .name = n->name,
        .node = node,
        .src_shape = graph->nodes[n->src[0]].dst,
        .dst_shape = n->dst,
        .src_type = dnnl_f32,
        .wei_type = dnnl_f32,
        .dst_type = dnnl_f32,
        .src = src,
        .dst = dst,
        .kh = n->kh,
        .kw = n->kw,
        .stride_h = n->stride_h,
        .stride_w = n->stride_w,
        .pad_t = n->pad_t,
        .pad_l = n->pad_l,
        .pad_b = n->pad_b,
        .pad_r = n->pad_r,
        .wei = n->wei_f32,
        .bia = n->bia,
        .attr = qb_dnnl_attr(list),
    };
    const dnnl_post_ops_t ops = qb_dnnl_post_ops(list);
    if (list->status == QB_OK && n->relu) {
        qb_dnnl_list_check(list, dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f),
                           "ReLU post-op");
    }
    if (list->status == QB_OK) {
        qb_dnnl_list_check(list, dnnl_primitive_attr_set_post_ops(layer.attr, ops), "post-ops");
    }
    (n->op == QB_QOP_CONV ? qb_dnnl_add_conv : qb_dnnl_add_dense)(list, &layer);
}
