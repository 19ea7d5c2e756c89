/* qb_pass_fold_pad, qb_pass_flatten: nodes that only change how the next one reads. */
#include "model/graph_build.h"
#include "model/passes.h"

/* Rows and columns of zeros that a tensor should have around it and does not. `pad` is the node to name. */
struct margin {
    int t, l, b, r;
    int pad;
};

static bool is_empty(const struct margin *m)
{
    return m->t == 0 && m->l == 0 && m->b == 0 && m->r == 0;
}

static bool same(const struct margin *a, const struct margin *b)
{
    return a->t == b->t && a->l == b->l && a->b == b->b && a->r == b->r;
}

enum qb_status qb_pass_fold_pad(struct qb_graph *graph, struct qb_error *err)
{
    struct margin *margins;
    int *alias;
    QB_ALLOC(margins, graph, (size_t)graph->count, err);
    QB_ALLOC(alias, graph, (size_t)graph->count, err);
    for (int i = 0; i < graph->count; i++) {
        struct qb_node *const node = &graph->nodes[i];
        alias[i] = i;
        if (qb_op_sources(node->op) == 0) {
            continue;
        }
        struct margin m = margins[node->src[0]];
        switch (node->op) {
        case QB_OP_PAD: /* numbers are below QB_MODEL_MAX_DIM and tensors checked: sums fit */
            m.t += node->pad_t;
            m.l += node->pad_l;
            m.b += node->pad_b;
            m.r += node->pad_r;
            m.pad = i;
            alias[i] = node->src[0];
            break;
        case QB_OP_CONV:
            node->pad_t += m.t;
            node->pad_l += m.l;
            node->pad_b += m.b;
            node->pad_r += m.r;
            m = (struct margin){0};
            break;
        case QB_OP_RELU:
        case QB_OP_QUANTIZE:
        case QB_OP_DEQUANTIZE: break; /* zero stays zero */
        case QB_OP_ADD:
            if (!same(&m, &margins[node->src[1]])) {
                return qb_fail_node(err, QB_EUNSUPPORTED, node,
                                    "one of its sources is padded with zeros, the other not");
            }
            break;
        default:
            if (!is_empty(&m)) {
                return qb_fail_node(
                    err, QB_EUNSUPPORTED, &graph->nodes[m.pad],
                    "its padding is read by '%.100s' (%s); only a convolution can take it over",
                    node->source_name ? node->source_name : node->name, qb_op_name(node->op));
            }
        }
        margins[i] = m;
    }
    const struct margin *const last = &margins[graph->count - 1];
    if (!is_empty(last)) {
        return qb_fail_node(err, QB_EUNSUPPORTED, &graph->nodes[last->pad], "its padding reaches the output");
    }
    return qb_graph_compact(graph, alias, err);
}

enum qb_status qb_pass_flatten(struct qb_graph *graph, struct qb_error *err)
{
    int *alias;
    QB_ALLOC(alias, graph, (size_t)graph->count, err);
    for (int i = 0; i < graph->count; i++) {
        alias[i] = graph->nodes[i].op == QB_OP_FLATTEN ? graph->nodes[i].src[0] : i;
    }
    return qb_graph_compact(graph, alias, err);
}
