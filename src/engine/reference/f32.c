/* The f32 half of the reference engine: struct qb_graph node by node, one image at a time, every sum in
 * PyTorch's order (f32_sums.h). Other engines and frameworks sum in other orders: results agree to rounding,
 * not to the bit. */
#include <math.h>
#include <string.h>

#include "engine/reference/f32_sums.h"
#include "engine/reference/reference.h"
#include "engine/reference/runner.h"

struct net {
    const struct qb_graph *graph;
    struct qb_float_weights *weights; /* [graph->count]; set for CONV and DENSE */
    bool pytorch_batches;
    int logits; /* node */
};

static void run_avgpool(const struct qb_node *n, struct qb_shape s, const float *src, float *dst)
{
    const float count = (float)n->kh * (float)n->kw;
    for (int y = 0; y < n->dst.h; y++) {
        for (int x = 0; x < n->dst.w; x++) {
            for (int k = 0; k < s.c; k++) {
                float sum = 0.0F;
                for (int i = 0; i < n->kh; i++) {
                    for (int j = 0; j < n->kw; j++) {
                        sum += src[((y * n->stride_h + i) * s.w + x * n->stride_w + j) * s.c + k];
                    }
                }
                *dst++ = sum / count;
            }
        }
    }
}

/* Over the channels of every pixel, with the largest value subtracted first. */
static void run_softmax(const float *src, size_t pixels, size_t channels, float *dst)
{
    for (size_t p = 0; p < pixels; p++, src += channels, dst += channels) {
        float largest = src[0], sum = 0.0F;
        for (size_t k = 1; k < channels; k++) {
            largest = src[k] > largest ? src[k] : largest;
        }
        for (size_t k = 0; k < channels; k++) {
            dst[k] = expf(src[k] - largest);
            sum += dst[k];
        }
        for (size_t k = 0; k < channels; k++) {
            dst[k] /= sum;
        }
    }
}

static void forward(const struct qb_runner *runner, const uint8_t *image, void *const *tensors, void *scratch,
                    float *logits)
{
    (void)scratch;
    const struct net *const net = runner->net;
    const bool alone = net->pytorch_batches && runner->n == 1;
    for (int i = 0; i < net->graph->count; i++) {
        const struct qb_node *const n = &net->graph->nodes[i];
        const int source = n->op == QB_OP_INPUT ? 0 : n->src[0];
        const struct qb_shape s = net->graph->nodes[source].dst;
        const float *const src = tensors[source];
        const float *const src1 = n->op == QB_OP_ADD ? tensors[n->src[1]] : NULL;
        float *const dst = tensors[i];
        const size_t count = runner->counts[i];
        switch (n->op) {
        case QB_OP_INPUT:
            for (size_t k = 0; k < count; k++) {
                dst[k] = (float)image[k];
            }
            break;
        case QB_OP_CONV: qb_float_conv(n, &net->weights[i], s, alone, src, dst); break;
        case QB_OP_DENSE: qb_float_dense(&net->weights[i], src, dst); break;
        case QB_OP_ADD:
            for (size_t k = 0; k < count; k++) {
                dst[k] = src[k] + src1[k];
            }
            break;
        case QB_OP_RELU:
            for (size_t k = 0; k < count; k++) {
                dst[k] = src[k] > 0.0F ? src[k] : 0.0F;
            }
            break;
        case QB_OP_AVGPOOL: run_avgpool(n, s, src, dst); break;
        case QB_OP_SOFTMAX: run_softmax(src, (size_t)s.h * (size_t)s.w, (size_t)s.c, dst); break;
        default: break; /* refused by qb_check_graph */
        }
        qb_runner_step(runner, i);
    }
    memcpy(logits, tensors[net->logits], runner->counts[net->logits] * sizeof *logits);
}

static enum qb_status make_net(const struct qb_graph *graph, bool pytorch_batches, struct qb_runner *runner,
                               struct qb_error *err)
{
    struct net *const net = qb_runner_array(runner, 1, sizeof *net, err);
    size_t *const counts = net ? qb_runner_array(runner, (size_t)graph->count, sizeof *counts, err) : NULL;
    if (!counts ||
        !(net->weights = qb_runner_array(runner, (size_t)graph->count, sizeof *net->weights, err))) {
        return err->status;
    }
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const n = &graph->nodes[i];
        counts[i] = qb_shape_count(n->dst);
        if ((n->op == QB_OP_CONV || n->op == QB_OP_DENSE) &&
            !qb_float_weights_init(n, runner->arena, &net->weights[i])) {
            return qb_fail_memory(err, qb_node_params(n) * sizeof(float));
        }
    }
    net->graph = graph;
    net->pytorch_batches = pytorch_batches;
    net->logits = qb_graph_logits(graph);
    runner->base.classes = (int)counts[net->logits];
    runner->image_bytes = counts[0];
    runner->forward = forward;
    runner->net = net;
    runner->nodes = graph->count;
    runner->element = sizeof(float);
    runner->counts = counts;
    return qb_runner_prepare(runner, err);
}

enum qb_status qb_reference_create_f32(const struct qb_graph *graph, const struct qb_engine_options *options,
                                       struct qb_engine **out, struct qb_error *err)
{
    struct qb_runner *runner;
    QB_TRY(qb_runner_create(options, &runner, err));
    const enum qb_status status = make_net(graph, options->pytorch_batches, runner, err);
    if (status != QB_OK) {
        qb_runner_destroy(&runner->base);
        return status;
    }
    *out = &runner->base;
    return QB_OK;
}
