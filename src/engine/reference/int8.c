/* The int8 half of the reference engine: struct qb_qgraph node by node, one image at a time.
 *
 * Zero points are subtracted before the multiplication, so that acc = sum of (src - zx) * (wei - zw) is
 * computed as it is written, and padding is a plain zero. The differences fit int16; the products' sums are
 * exact in int32 (check.c). Each window is copied into one row that lies against the weights of one output
 * channel (OHWI, filled up with zeros to DEPTH_STEP), because compilers turn such an int16 dot product into
 * wide multiply-add instructions. Where the graph's accumulation is not exact, saturate.h puts in behind the
 * dot product what vpmaddubsw would have lost. */
#include <string.h>

#include "engine/reference/arithmetic.h"
#include "engine/reference/float_layer.h"
#include "engine/reference/reference.h"
#include "engine/reference/runner.h"
#include "engine/reference/saturate.h"

/* Weights behind the window's depth are zero, so what lies behind the window does not matter. */
enum { DEPTH_STEP = 16 };

/* CONV, and DENSE as a 1x1 convolution of one pixel. Sizes are counted in int16 elements. */
struct conv {
    struct qb_shape src, dst;
    size_t kh, row;                  /* kernel rows, and elements of one: kw * ic */
    size_t pad_t, pad_l;             /* elements of padding left of a row, rows above */
    size_t padded_row, padded_count; /* of the padded source */
    size_t step_y, step_x;           /* from window to window */
    size_t depth;                    /* of a window: kh * kw * ic, rounded up to DEPTH_STEP */
    int32_t zero_point;              /* zx */
    const int16_t *wei;              /* [oc][depth]: wei - zw */
    struct qb_saturate saturate;
    struct qb_requant requant;
};

struct layer {
    struct conv conv;              /* CONV, DENSE */
    struct qb_add *add;            /* ADD */
    struct qb_mul mul;             /* MUL */
    struct qb_avgpool pool;        /* AVGPOOL */
    uint8_t *table;                /* RELU, QUANTIZE of codes: the code of every code */
    struct qb_float_layer *floats; /* qb_is_float_layer, in place of the others */
};

struct net {
    const struct qb_qgraph *graph;
    struct layer *layers; /* [graph->count] */
    uint8_t input[256];   /* code of every pixel value */
    size_t padded_max, depth_max;
    struct qb_saturation *saturation; /* [graph->count]; threads add to it. NULL: accumulation is exact */
};

static size_t round_up(size_t count)
{
    return (count + DEPTH_STEP - 1) / DEPTH_STEP * DEPTH_STEP;
}

/* The source minus its zero point in a frame of zeros. */
static void widen(const struct conv *c, const uint8_t *src, int16_t *padded)
{
    const size_t row = (size_t)c->src.w * (size_t)c->src.c;
    const int32_t zero_point = c->zero_point;
    memset(padded, 0, c->padded_count * sizeof *padded);
    for (size_t y = 0; y < (size_t)c->src.h; y++) {
        int16_t *const to = padded + (y + c->pad_t) * c->padded_row + c->pad_l;
        const uint8_t *const from = src + y * row;
        for (size_t i = 0; i < row; i++) {
            to[i] = (int16_t)(from[i] - zero_point);
        }
    }
}

/* acc[k] = window . wei[k] for every output channel. */
static void dot(const int16_t *restrict window, const int16_t *restrict wei, size_t depth, size_t oc,
                int32_t *restrict acc)
{
    for (size_t k = 0; k < oc; k++, wei += depth) {
        int32_t sum = 0;
        for (size_t i = 0; i < depth / DEPTH_STEP * DEPTH_STEP; i++) {
            sum += window[i] * wei[i];
        }
        acc[k] = sum;
    }
}

/* scratch: padded source, then one window, then the accumulators of one row of pixels. */
static void run_conv(const struct conv *c, const struct net *net, const uint8_t *src, const uint8_t *residual,
                     uint8_t *dst, void *scratch, struct qb_saturation *seen)
{
    int16_t *const padded = scratch, *const window = padded + net->padded_max;
    int32_t *const acc = (int32_t *)(void *)(window + net->depth_max);
    const size_t width = (size_t)c->dst.w, oc = (size_t)c->dst.c;
    widen(c, src, padded);
    for (size_t y = 0; y < (size_t)c->dst.h; y++) {
        for (size_t x = 0; x < width; x++) {
            const int16_t *const from = padded + y * c->step_y + x * c->step_x;
            for (size_t r = 0; r < c->kh; r++) {
                memcpy(window + r * c->row, from + r * c->padded_row, c->row * sizeof *window);
            }
            dot(window, c->wei, c->depth, oc, acc + x * oc);
            if (c->saturate.first) {
                qb_saturate_run(&c->saturate, window, acc + x * oc, seen);
            }
        }
        qb_requant_run(&c->requant, acc, residual ? residual + y * width * oc : NULL, width,
                       dst + y * width * oc);
    }
}

static void run_avgpool(const struct qb_qgraph *graph, const struct qb_qnode *n,
                        const struct qb_avgpool *pool, const uint8_t *src, uint8_t *dst)
{
    const struct qb_shape s = graph->nodes[n->src[0]].dst;
    const size_t channels = (size_t)s.c, row = (size_t)s.w * channels;
    for (size_t y = 0; y < (size_t)n->dst.h; y++) {
        for (size_t x = 0; x < (size_t)n->dst.w; x++) {
            const uint8_t *const window =
                src + y * (size_t)n->stride_h * row + x * (size_t)n->stride_w * channels;
            for (size_t k = 0; k < channels; k++) {
                *dst++ = qb_avgpool_run(pool, window + k, row, channels);
            }
        }
    }
}

/* ADD or MUL of `pixels` pixels of `channels` codes each; a constant second source is one pixel for all. */
static void run_pair(const struct layer *layer, bool constant, const uint8_t *src0, const uint8_t *src1,
                     size_t count, size_t channels, uint8_t *dst)
{
    const size_t step = constant ? channels : count;
    for (size_t i = 0; i < count; i += step, src1 += constant ? 0 : step) {
        if (layer->add) {
            qb_add_run(layer->add, src0 + i, src1, step, dst + i);
        } else {
            qb_mul_run(&layer->mul, src0 + i, src1, step, dst + i);
        }
    }
}

static void forward(const struct qb_runner *runner, const uint8_t *image, void *const *tensors, void *scratch,
                    float *logits)
{
    const struct net *const net = runner->net;
    const struct qb_qgraph *const graph = net->graph;
    for (int i = 0; i < graph->count; i++) {
        const struct qb_qnode *const n = &graph->nodes[i];
        const int sources = qb_qnode_sources(n);
        const uint8_t *const src0 = sources > 0 ? tensors[n->src[0]] : image;
        const uint8_t *const src1 = sources > 1 ? tensors[n->src[1]] : NULL;
        const struct layer *const layer = &net->layers[i];
        const size_t count = runner->counts[i];
        uint8_t *const dst = tensors[i];
        if (layer->floats) {
            qb_float_layer_run(layer->floats, src0, sources > 1 ? tensors[n->src[1]] : NULL, tensors[i]);
            continue;
        }
        switch (n->op) {
        case QB_QOP_INPUT:
            for (size_t k = 0; k < count; k++) {
                dst[k] = net->input[src0[k]];
            }
            break;
        case QB_QOP_CONV:
        case QB_QOP_DENSE: {
            struct qb_saturation seen = {0};
            run_conv(&layer->conv, net, src0, src1, dst, scratch, &seen);
            if (net->saturation) {
                __atomic_fetch_add(&net->saturation[i].pairs, seen.pairs, __ATOMIC_RELAXED);
                __atomic_fetch_add(&net->saturation[i].accumulators, seen.accumulators, __ATOMIC_RELAXED);
            }
            break;
        }
        case QB_QOP_ADD:
        case QB_QOP_MUL:
            run_pair(layer, graph->nodes[n->src[1]].op == QB_QOP_CONSTANT, src0, src1, count,
                     (size_t)n->dst.c, dst);
            break;
        case QB_QOP_RELU:
        case QB_QOP_QUANTIZE:
            for (size_t k = 0; k < count; k++) {
                dst[k] = layer->table[src0[k]];
            }
            break;
        case QB_QOP_AVGPOOL: run_avgpool(graph, n, &layer->pool, src0, dst); break;
        case QB_QOP_CONSTANT: memcpy(dst, n->codes, count); break;
        case QB_QOP_DEQUANTIZE:
        case QB_QOP_AFFINE: break; /* floats */
        }
        qb_runner_step(runner, i);
    }
    const int last = qb_qgraph_logits(graph);
    const uint8_t *const codes = tensors[last];
    if (graph->nodes[last].f32) {
        memcpy(logits, codes, runner->bytes[last]);
        return;
    }
    for (size_t k = 0; k < runner->counts[last]; k++) {
        logits[k] = qb_dequantize(&graph->nodes[last].q, codes[k]);
    }
}

static enum qb_status make_conv(const struct qb_qgraph *graph, int node, struct qb_runner *runner,
                                struct conv *out, struct qb_error *err)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const struct qb_qnode *const source = &graph->nodes[n->src[0]];
    struct conv c = {.src = source->dst, .dst = n->dst, .zero_point = source->q.zero_point};
    size_t kw = 1, padded_h = 1;
    if (n->op == QB_QOP_DENSE) {
        c.src = (struct qb_shape){1, 1, n->ic};
        c.kh = 1;
        c.padded_row = (size_t)n->ic;
    } else {
        kw = (size_t)n->kw;
        padded_h = (size_t)(c.src.h + n->pad_t + n->pad_b);
        c.kh = (size_t)n->kh;
        c.pad_t = (size_t)n->pad_t;
        c.pad_l = (size_t)n->pad_l * (size_t)n->ic;
        c.padded_row = (size_t)(c.src.w + n->pad_l + n->pad_r) * (size_t)n->ic;
        c.step_y = (size_t)n->stride_h * c.padded_row;
        c.step_x = (size_t)n->stride_w * (size_t)n->ic;
    }
    const size_t ic = (size_t)n->ic, oc = (size_t)n->oc;
    c.row = kw * ic;
    c.padded_count = padded_h * c.padded_row;
    c.depth = round_up(c.kh * c.row);
    int16_t *const wei = qb_runner_array(runner, oc * c.depth, sizeof *wei, err);
    if (!wei) {
        return err->status;
    }
    for (size_t k = 0; k < oc; k++) {
        const int32_t zero_point = n->wei_zero_points[n->wei_scale_count == 1 ? 0 : k];
        for (size_t i = 0; i < ic; i++) {
            for (size_t t = 0; t < c.kh * kw; t++) { /* OIHW to OHWI */
                wei[k * c.depth + t * ic + i] = (int16_t)(n->wei[(k * ic + i) * c.kh * kw + t] - zero_point);
            }
        }
    }
    c.wei = wei;
    QB_TRY(qb_saturate_init(graph, node, runner->arena, &c.saturate, err));
    QB_TRY(qb_requant_init(graph, node, runner->arena, &c.requant, err));
    *out = c;
    return QB_OK;
}

static enum qb_status make_net(const struct qb_qgraph *graph, struct qb_runner *runner, struct qb_error *err)
{
    struct net *const net = qb_runner_array(runner, 1, sizeof *net, err);
    size_t *const counts =
        net ? qb_runner_array(runner, 2 * (size_t)graph->count, sizeof *counts, err) : NULL;
    if (!counts || !(net->layers = qb_runner_array(runner, (size_t)graph->count, sizeof *net->layers, err))) {
        return err->status;
    }
    size_t *const bytes = counts + graph->count;
    net->graph = graph;
    if (graph->accumulate != QB_ACCUMULATE_EXACT) {
        net->saturation = qb_runner_array(runner, (size_t)graph->count, sizeof *net->saturation, err);
        if (!net->saturation) {
            return err->status;
        }
        runner->base.saturation = net->saturation;
        runner->base.implementation = "scalar, emulating vpmaddubsw";
    }
    if (!graph->nodes[0].f32) {
        qb_input_table(graph->arithmetic, &graph->nodes[0].q, net->input);
    }
    size_t acc_max = 0;
    for (int i = 0; i < graph->count; i++) {
        const struct qb_qnode *const n = &graph->nodes[i];
        struct layer *const layer = &net->layers[i];
        counts[i] = qb_shape_count(n->dst);
        bytes[i] = counts[i] * qb_qnode_element(n);
        if (qb_is_float_layer(graph, i)) {
            layer->floats = qb_runner_array(runner, 1, sizeof *layer->floats, err);
            if (!layer->floats) {
                return err->status;
            }
            QB_TRY(qb_float_layer_init(graph, i, QB_ISA_COUNT - 1, runner->arena, layer->floats, err));
        } else if (n->op == QB_QOP_ADD) {
            layer->add = qb_runner_array(runner, 1, sizeof *layer->add, err);
            if (!layer->add) {
                return err->status;
            }
            qb_add_init(graph, i, layer->add);
        } else if (n->op == QB_QOP_MUL) {
            qb_mul_init(graph, i, &layer->mul);
        } else if (n->op == QB_QOP_AVGPOOL) {
            qb_avgpool_init(graph, i, &layer->pool);
        } else if (n->op == QB_QOP_RELU || n->op == QB_QOP_QUANTIZE) {
            layer->table = qb_runner_array(runner, 256, 1, err);
            if (!layer->table) {
                return err->status;
            }
            qb_code_table(graph, i, layer->table);
        } else if (n->op == QB_QOP_CONV || n->op == QB_QOP_DENSE) {
            QB_TRY(make_conv(graph, i, runner, &layer->conv, err));
            const size_t padded = round_up(layer->conv.padded_count),
                         acc = (size_t)n->dst.w * (size_t)n->dst.c;
            net->padded_max = padded > net->padded_max ? padded : net->padded_max;
            net->depth_max = layer->conv.depth > net->depth_max ? layer->conv.depth : net->depth_max;
            acc_max = acc > acc_max ? acc : acc_max;
        }
    }
    const int last = qb_qgraph_logits(graph);
    runner->base.classes = (int)counts[last];
    runner->image_bytes = counts[0];
    runner->forward = forward;
    runner->net = net;
    runner->nodes = graph->count;
    runner->counts = counts;
    runner->bytes = bytes;
    runner->scratch_bytes = (net->padded_max + net->depth_max) * sizeof(int16_t) + acc_max * sizeof(int32_t);
    return qb_runner_prepare(runner, err);
}

enum qb_status qb_reference_create_int8(const struct qb_qgraph *graph,
                                        const struct qb_engine_options *options, struct qb_engine **out,
                                        struct qb_error *err)
{
    struct qb_runner *runner;
    QB_TRY(qb_runner_create(options, &runner, err));
    const enum qb_status status = make_net(graph, runner, err);
    if (status != QB_OK) {
        qb_runner_destroy(&runner->base);
        return status;
    }
    *out = &runner->base;
    return QB_OK;
}
