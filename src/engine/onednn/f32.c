/* Float graphs as oneDNN primitives on NHWC activations. */
#include <string.h>

#include "engine/onednn/build.h"
#include "engine/onednn/layer.h"

struct builder {
    struct qb_dnnl_list *list;
    const struct qb_graph *graph;
    bool fuse;
    float **tensors; /* by node; nodes that run as one share a buffer */
    bool *built;
    int *readers;     /* consumers of each tensor; the logits have one more */
    int *last_reader; /* the last of them */
};

/* What runs as one primitive with a node. */
struct tail {
    int node;     /* whose tensor the primitive makes */
    int residual; /* tensor to be added, and overwritten by the result; -1: none */
    bool relu;
};

struct pixels {
    const uint8_t *const *images;
    float *dst;
};

static void convert_pixels(const void *state, size_t begin, size_t end)
{
    const struct pixels *p = state;
    const uint8_t *restrict src = *p->images;
    float *restrict dst = p->dst;
    for (size_t i = begin; i < end; i++) {
        dst[i] = (float)src[i];
    }
}

static void count_readers(struct builder *b)
{
    for (int i = 0; i < b->graph->count; i++) {
        const struct qb_node *node = &b->graph->nodes[i];
        for (int s = 0; s < (node->op == QB_OP_ADD ? 2 : 1) && node->op != QB_OP_INPUT; s++) {
            b->readers[node->src[s]]++;
            b->last_reader[node->src[s]] = i;
        }
    }
    b->readers[qb_graph_logits(b->graph)]++;
}

/* The one node that reads `node`, if it is of kind `op`; else -1. */
static int only_reader(const struct builder *b, int node, enum qb_op op)
{
    const int reader = b->last_reader[node];
    return b->readers[node] == 1 && reader > node && b->graph->nodes[reader].op == op ? reader : -1;
}

/* The other operand of addition `add`, when this convolution, run at its own place, may write the sum over
 * it: the operand is there already and nobody else reads it from now on. */
static int residual_of(const struct builder *b, int conv, int add)
{
    const struct qb_node *node = &b->graph->nodes[add];
    const int other = node->src[0] == conv ? node->src[1] : node->src[0];
    if (other > conv || b->last_reader[other] != add) {
        return -1;
    }
    for (int i = conv; i < add; i++) {
        const struct qb_node *reader = &b->graph->nodes[i];
        if (reader->src[0] == other || (reader->op == QB_OP_ADD && reader->src[1] == other)) {
            return -1;
        }
    }
    return other;
}

static struct tail find_tail(const struct builder *b, int node)
{
    const enum qb_op op = b->graph->nodes[node].op;
    struct tail t = {.node = node, .residual = -1};
    if (!b->fuse || (op != QB_OP_CONV && op != QB_OP_DENSE && op != QB_OP_ADD)) {
        return t;
    }
    const int add = op == QB_OP_CONV ? only_reader(b, node, QB_OP_ADD) : -1;
    if (add >= 0) {
        t.residual = residual_of(b, node, add);
        t.node = t.residual >= 0 ? add : node;
    }
    const int relu = only_reader(b, t.node, QB_OP_RELU);
    if (relu >= 0) {
        t.relu = true;
        t.node = relu;
    }
    return t;
}

static dnnl_primitive_attr_t tail_attr(struct builder *b, const struct tail *t)
{
    dnnl_primitive_attr_t attr = qb_dnnl_attr(b->list);
    dnnl_post_ops_t ops = qb_dnnl_post_ops(b->list);
    if (b->list->status == QB_OK && t->residual >= 0) {
        qb_dnnl_list_check(b->list, dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_f32), "sum post-op");
    }
    if (b->list->status == QB_OK && t->relu) {
        qb_dnnl_list_check(b->list, dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f),
                           "ReLU post-op");
    }
    if (b->list->status == QB_OK) {
        qb_dnnl_list_check(b->list, dnnl_primitive_attr_set_post_ops(attr, ops), "post-ops");
    }
    return attr;
}

/* Marks `node` .. `t->node` as built and gives them their buffer. */
static float *tail_buffer(struct builder *b, int node, const struct tail *t)
{
    float *buffer = t->residual >= 0 ? b->tensors[t->residual]
                                     : qb_dnnl_buffer(b->list, qb_shape_count(b->graph->nodes[t->node].dst),
                                                      sizeof(float));
    b->built[node] = true;
    for (int i = node; i != t->node;) {
        i = b->last_reader[i];
        b->built[i] = true;
    }
    b->tensors[t->node] = buffer;
    return buffer;
}

/* Node `i`, computed into the tensor of `t`. */
static struct qb_dnnl_layer new_layer(struct builder *b, int i, const struct tail *t)
{
    const struct qb_node *n = &b->graph->nodes[i];
    return (struct qb_dnnl_layer){
        .name = n->name,
        .node = t->node,
        .src_shape = b->graph->nodes[n->src[0]].dst,
        .dst_shape = n->dst,
        .src_type = dnnl_f32,
        .wei_type = dnnl_f32,
        .dst_type = dnnl_f32,
        .src = b->tensors[n->src[0]],
        .dst = tail_buffer(b, i, t),
        .kh = n->kh,
        .kw = n->kw,
        .stride_h = n->stride_h,
        .stride_w = n->stride_w,
        .pad_t = n->pad_t,
        .pad_l = n->pad_l,
        .pad_b = n->pad_b,
        .pad_r = n->pad_r,
        .wei = n->wei,
        .bia = n->bia,
        .attr = tail_attr(b, t),
    };
}

static void build_node(struct builder *b, int i)
{
    const struct qb_node *n = &b->graph->nodes[i];
    const struct tail t = find_tail(b, i);
    const struct qb_dnnl_layer layer = new_layer(b, i, &t);
    switch (n->op) {
    case QB_OP_CONV: qb_dnnl_add_conv(b->list, &layer); break;
    case QB_OP_DENSE: qb_dnnl_add_dense(b->list, &layer); break;
    case QB_OP_ADD: qb_dnnl_add_sum(b->list, &layer, b->tensors[n->src[1]]); break;
    case QB_OP_RELU: qb_dnnl_add_relu(b->list, &layer); break;
    case QB_OP_AVGPOOL: qb_dnnl_add_avgpool(b->list, &layer); break;
    default:
        qb_dnnl_list_fail(b->list, QB_EUNSUPPORTED,
                          "node %s: the float engine does not run operator number %d", n->name, (int)n->op);
    }
}

static void build_input(struct builder *b, int i)
{
    const size_t count = qb_shape_count(b->graph->nodes[i].dst);
    struct pixels *state = qb_dnnl_array(b->list, 1, sizeof *state);
    b->tensors[i] = qb_dnnl_buffer(b->list, count, sizeof(float));
    if (state) {
        *state = (struct pixels){&b->list->images, b->tensors[i]};
        qb_dnnl_add_own(b->list, convert_pixels, state, count, i, b->tensors[i], count);
    }
}

void qb_dnnl_build_f32(struct qb_dnnl_list *list, const struct qb_graph *graph, bool fuse,
                       const float **logits)
{
    const size_t count = (size_t)graph->count;
    struct builder b = {.list = list,
                        .graph = graph,
                        .fuse = fuse,
                        .tensors = qb_dnnl_array(list, count, sizeof *b.tensors),
                        .built = qb_dnnl_array(list, count, sizeof *b.built),
                        .readers = qb_dnnl_array(list, count, sizeof *b.readers),
                        .last_reader = qb_dnnl_array(list, count, sizeof *b.last_reader)};
    if (list->status != QB_OK) {
        return;
    }
    count_readers(&b);
    for (int i = 0; i < graph->count && list->status == QB_OK; i++) {
        if (graph->nodes[i].op == QB_OP_INPUT) {
            build_input(&b, i);
        } else if (!b.built[i] &&
                   graph->nodes[i].op != QB_OP_SOFTMAX) { /* the logits are in front of SOFTMAX */
            build_node(&b, i);
        }
    }
    *logits = list->status == QB_OK ? b.tensors[qb_graph_logits(graph)] : NULL;
}
