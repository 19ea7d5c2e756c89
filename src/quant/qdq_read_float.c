/* Float nodes of a QDQ file: convolutions and dense layers with float weights, factors and addends that were
 * left in float, what stands behind them, and the conversions around them. See qdq_reader.h. */
#include "quant/qdq_reader.h"

#include <string.h>

#include "model/graph_build.h"

bool qb_qdq_has_floats(const struct qb_qdq_reader *r, int i)
{
    return r->graph->nodes[i].op != QB_OP_DEQUANTIZE && r->node_of[i] >= 0 &&
           r->out->nodes[r->node_of[i]].f32;
}

/* The node in `out` at its end gets its names. */
static enum qb_status add_node(struct qb_qdq_reader *r, const char *name, const char *key,
                               struct qb_error *err)
{
    struct qb_qnode *const to = &r->out->nodes[r->out->count];
    to->name = name ? qb_arena_strdup(r->out->arena, name) : NULL;
    if (!to->name) {
        return qb_fail_memory(err, 64);
    }
    r->keys[r->out->count++] = key;
    return QB_OK;
}

/* Source k of float node `node`: floats, if need be behind a conversion. */
static enum qb_status take_float_source(struct qb_qdq_reader *r, const struct qb_node *node, int k, int *out,
                                        struct qb_error *err)
{
    if (qb_qdq_has_floats(r, node->src[k])) {
        *out = r->node_of[node->src[k]];
        return QB_OK;
    }
    int codes = -1;
    QB_TRY(qb_qdq_take_source(r, node, k, &codes, err));
    if (!r->converted[codes]) {
        const struct qb_qnode *const from = &r->out->nodes[codes];
        r->out->nodes[r->out->count] =
            (struct qb_qnode){.op = QB_QOP_DEQUANTIZE, .src = {codes, -1}, .dst = from->dst, .f32 = true};
        r->converted[codes] = r->out->count;
        const char *const name = qb_arena_printf(r->out->arena, "dequantize_%s", from->name),
                          *const key = qb_arena_printf(r->out->arena, "dequantize_%s",
                                                       r->keys[codes] ? r->keys[codes] : from->name);
        QB_TRY(add_node(r, name, key, err));
    }
    *out = r->converted[codes];
    return QB_OK;
}

static bool read_by_operators(const struct qb_graph *graph, int input)
{
    for (int i = input + 1; i < graph->count; i++) {
        const struct qb_node *const node = &graph->nodes[i];
        if (node->op != QB_OP_QUANTIZE && (node->src[0] == input || node->src[1] == input)) {
            return true;
        }
    }
    return false;
}

static bool reads(const struct qb_node *node, int i)
{
    return node->src[0] == i || (qb_op_sources(node->op) == 2 && node->src[1] == i);
}

static bool ends_in_codes(const struct qb_qdq_reader *r, int i);

/* With arithmetics that have it, ADD number `add` takes in a convolution, source `conv`, beside codes. */
static bool merges(const struct qb_qdq_reader *r, int add, int conv)
{
    const struct qb_node *const node = &r->graph->nodes[add];
    const int other = node->src[0] == conv ? node->src[1] : node->src[0];
    return node->op == QB_OP_ADD && r->graph->nodes[conv].op == QB_OP_CONV &&
           qb_arithmetic_fuses_add(r->out->arithmetic) && r->graph->nodes[other].op == QB_OP_DEQUANTIZE &&
           ends_in_codes(r, add);
}

/* Do the readers of node `i` see what it computes as codes? They are QUANTIZE, a ReLU in front of such, or
 * one ADD that it merges into. */
static bool ends_in_codes(const struct qb_qdq_reader *r, int i)
{
    const struct qb_graph *const graph = r->graph;
    const enum qb_op op = graph->nodes[i].op;
    const bool takes_relu = op == QB_OP_CONV || op == QB_OP_DENSE || op == QB_OP_ADD;
    int codes = 0, readers = 0, merged = 0;
    for (int k = i + 1; k < graph->count; k++) {
        const struct qb_node *const node = &graph->nodes[k];
        if (reads(node, i)) {
            readers++;
            merged += merges(r, k, i);
            codes +=
                node->op == QB_OP_QUANTIZE || (node->op == QB_OP_RELU && takes_relu && ends_in_codes(r, k));
        }
    }
    return readers > 0 && (codes == readers || (readers == 1 && merged == 1));
}

bool qb_qdq_is_float(const struct qb_qdq_reader *r, int i)
{
    const struct qb_node *const node = &r->graph->nodes[i];
    switch (node->op) {
    case QB_OP_INPUT: return read_by_operators(r->graph, i);
    case QB_OP_AFFINE: return true;
    case QB_OP_CONV:
    case QB_OP_DENSE: return !node->codes || !ends_in_codes(r, i);
    case QB_OP_ADD:
        return r->floats[i] || qb_qdq_has_floats(r, node->src[0]) || qb_qdq_has_floats(r, node->src[1]) ||
               !ends_in_codes(r, i);
    case QB_OP_RELU:
    case QB_OP_AVGPOOL: return qb_qdq_has_floats(r, node->src[0]) || !ends_in_codes(r, i);
    default: return false;
    }
}

/* A RELU that the writer took out of the node it reads. */
static bool is_part(const struct qb_qdq_reader *r, const struct qb_node *relu)
{
    const struct qb_node *const of = qb_qdq_source(r, relu, 0);
    const size_t length = strlen(qb_qdq_file_name(of));
    return strncmp(qb_qdq_file_name(relu), qb_qdq_file_name(of), length) == 0 &&
           strcmp(qb_qdq_file_name(relu) + length, "/relu") == 0;
}

/* A number for each channel. */
static enum qb_status take_affine(const struct qb_qdq_reader *r, const struct qb_node *node,
                                  struct qb_qnode *to, struct qb_error *err)
{
    const size_t channels = (size_t)node->dst.c;
    float *const scale = qb_arena_array(r->out->arena, channels, sizeof *scale);
    float *const shift = qb_arena_array(r->out->arena, channels, sizeof *shift);
    if (!scale || !shift) {
        return qb_fail_memory(err, channels * sizeof *scale);
    }
    for (size_t k = 0; k < channels; k++) {
        scale[k] = node->wei[node->oc == 1 ? 0 : k];
        shift[k] = node->bia[node->oc == 1 ? 0 : k];
    }
    to->oc = node->dst.c;
    to->wei_f32 = scale;
    to->bia = shift;
    return QB_OK;
}

enum qb_status qb_qdq_take_float(struct qb_qdq_reader *r, int i, struct qb_error *err)
{
    const struct qb_node *const node = &r->graph->nodes[i];
    const size_t channels = (size_t)node->oc;
    struct qb_arena *const arena = r->out->arena;
    struct qb_qnode made = {.src = {-1, -1}, .dst = node->dst, .f32 = true};
    if (node->op == QB_OP_RELU && is_part(r, node)) {
        r->node_of[i] = r->node_of[node->src[0]];
        r->out->nodes[r->node_of[i]].relu = true;
        return QB_OK;
    }
    for (int k = 0; k < 2 && node->op != QB_OP_INPUT && node->src[k] >= 0; k++) {
        QB_TRY(take_float_source(r, node, k, &made.src[k], err));
    }
    switch (node->op) {
    case QB_OP_INPUT: made.op = QB_QOP_INPUT; break;
    case QB_OP_ADD: made.op = QB_QOP_ADD; break;
    case QB_OP_RELU: made.op = QB_QOP_RELU; break;
    case QB_OP_AVGPOOL: made.op = QB_QOP_AVGPOOL; break;
    case QB_OP_AFFINE:
        made.op = QB_QOP_AFFINE;
        QB_TRY(take_affine(r, node, &made, err));
        break;
    default:
        made.op = node->op == QB_OP_CONV ? QB_QOP_CONV : QB_QOP_DENSE;
        made.ic = node->ic;
        made.oc = node->oc;
        made.wei_f32 =
            qb_arena_memdup(arena, node->wei, (qb_node_params(node) - channels) * sizeof *node->wei);
        made.bia = qb_arena_memdup(arena, node->bia, channels * sizeof *node->bia);
        if (!made.wei_f32 || !made.bia) {
            return qb_fail_memory(err, qb_node_params(node) * sizeof(float));
        }
        break;
    }
    if (node->op == QB_OP_CONV || node->op == QB_OP_AVGPOOL) {
        made.kh = node->kh, made.kw = node->kw, made.stride_h = node->stride_h,
        made.stride_w = node->stride_w;
        made.pad_t = node->pad_t, made.pad_l = node->pad_l, made.pad_b = node->pad_b,
        made.pad_r = node->pad_r;
    }
    r->out->nodes[r->out->count] = made;
    r->node_of[i] = r->out->count;
    return add_node(r, node->name, node->op == QB_OP_INPUT ? NULL : qb_qdq_file_name(node), err);
}

/* A QUANTIZE of floats, or of codes. Readers that have one each share it where they agree. */
enum qb_status qb_qdq_take_conversion(struct qb_qdq_reader *r, int i, struct qb_error *err)
{
    const struct qb_node *const quantize = &r->graph->nodes[i];
    const int from = r->node_of[quantize->src[0]];
    struct qb_qnode to = {.op = QB_QOP_QUANTIZE, .src = {from, -1}, .dst = quantize->dst};
    QB_TRY(qb_qdq_take_qparams(quantize, &to.q, err));
    if (!r->out->nodes[from].f32 && !r->traits->requantizes) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, qb_qdq_source(r, quantize, 0),
            "its values are quantized again with another scale, zero point or type, which arithmetic %s does "
            "not have; those of PyTorch and oneDNN have",
            qb_arithmetic_name(r->out->arithmetic));
    }
    int others = 0;
    for (int k = from + 1; k < r->out->count; k++) {
        const struct qb_qnode *const made = &r->out->nodes[k];
        if (made->op == QB_QOP_QUANTIZE && made->src[0] == from) {
            others++;
            if (qb_qdq_same_qparams(&made->q, &to.q)) {
                r->node_of[i] = k;
                return QB_OK;
            }
        }
    }
    r->out->nodes[r->out->count] = to;
    r->node_of[i] = r->out->count;
    /* The writer's pair is called NAME/quantize. */
    const char *const file = qb_qdq_file_name(quantize), *const slash = strrchr(file, '/');
    const char *const key = slash ? qb_arena_printf(r->out->arena, "%.*s", (int)(slash - file), file) : file;
    const char *const name =
        others ? qb_arena_printf(r->out->arena, "quantize_%s_%d", r->out->nodes[from].name, others + 1)
               : qb_arena_printf(r->out->arena, "quantize_%s", r->out->nodes[from].name);
    return add_node(r, name, key, err);
}
