/* The f32 half of the reference engine: struct qb_graph node by node, one image at a time, every sum in
 * PyTorch's order (f32_sums.h). Other engines and frameworks sum in other orders: results agree to rounding,
 * not to the bit. */
#include <math.h>
#include <string.h>

#include "engine/reference/arithmetic_parts.h"
#include "engine/reference/f32_sums.h"
#include "engine/reference/reference.h"
#include "engine/reference/runner.h"

struct net {
    const struct qb_graph *graph;
    struct qb_float_weights *weights; /* [graph->count]; set for CONV and DENSE */
    bool pytorch_batches;
    const struct qb_fake *fake;            /* [graph->count], or NULL */
    struct qb_float_weights *fake_weights; /* [graph->count], those of `fake` */
    /* [graph->count], where in scratch a tensor is kept as it was (`beside`), and what a node reads is
     * quantized (`src`); in floats */
    size_t *kept, *own;
    int logits; /* node */
};

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

/* What node `i` reads of tensor `src`. */
static const float *source_of(const struct net *net, int i, int src, void *const *tensors,
                              const float *scratch)
{
    const struct qb_fake *const fake = net->fake;
    return fake && fake[i].floats && fake[src].tensor_on && fake[src].beside ? scratch + net->kept[src]
                                                                             : tensors[src];
}

/* What CONV or DENSE `i` reads: `src`, or `count` of its values quantized for this node alone. */
static const float *own_source(const struct net *net, int i, size_t count, const float *src, float *scratch)
{
    const struct qb_fake *const fake = net->fake ? &net->fake[i] : NULL;
    if (!fake || !fake->src_on) {
        return src;
    }
    float *const own = scratch + net->own[i];
    memcpy(own, src, count * sizeof *own);
    qb_simulate(&fake->src, count, own);
    return own;
}

static void forward(const struct qb_runner *runner, const uint8_t *image, void *const *tensors, void *scratch,
                    float *logits)
{
    const struct net *const net = runner->net;
    const bool alone = net->pytorch_batches && runner->n == 1;
    for (int i = 0; i < net->graph->count; i++) {
        const struct qb_node *const n = &net->graph->nodes[i];
        const int source = n->op == QB_OP_INPUT ? 0 : n->src[0];
        const struct qb_shape s = net->graph->nodes[source].dst;
        const float *const src =
            own_source(net, i, qb_shape_count(s), source_of(net, i, source, tensors, scratch), scratch);
        const float *const src1 = n->op == QB_OP_ADD ? source_of(net, i, n->src[1], tensors, scratch) : NULL;
        float *const dst = tensors[i];
        const size_t count = runner->counts[i];
        const struct qb_fake *const fake = net->fake ? &net->fake[i] : NULL;
        const struct qb_float_weights *const weights =
            fake && fake->weights_on ? &net->fake_weights[i] : &net->weights[i];
        switch (n->op) {
        case QB_OP_INPUT:
            for (size_t k = 0; k < count; k++) {
                dst[k] = (float)image[k];
            }
            break;
        case QB_OP_CONV: qb_float_conv(n, weights, s, alone, src, dst); break;
        case QB_OP_DENSE: qb_float_dense(weights, src, dst); break;
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
        case QB_OP_AVGPOOL: qb_float_avgpool(n, s, src, dst); break;
        case QB_OP_SOFTMAX: run_softmax(src, (size_t)s.h * (size_t)s.w, (size_t)s.c, dst); break;
        default: break; /* refused by qb_check_graph */
        }
        if (fake && fake->tensor_on) {
            if (fake->beside) {
                memcpy((float *)scratch + net->kept[i], dst, count * sizeof *dst);
            }
            qb_simulate(&fake->q, count, dst);
        }
        qb_runner_step(runner, i);
    }
    memcpy(logits, tensors[net->logits], runner->counts[net->logits] * sizeof *logits);
}

/* The weights that simulate quantization, packed like the network's own. */
static enum qb_status make_fake(const struct qb_fake *fake, struct qb_runner *runner, struct net *net,
                                struct qb_error *err)
{
    const size_t count = (size_t)net->graph->count;
    net->fake = fake;
    net->fake_weights = qb_runner_array(runner, count, sizeof *net->fake_weights, err);
    net->kept = net->fake_weights ? qb_runner_array(runner, 2 * count, sizeof *net->kept, err) : NULL;
    net->own = net->kept ? net->kept + count : NULL;
    for (size_t i = 0; net->kept && i < count; i++) {
        struct qb_node node = net->graph->nodes[i];
        net->kept[i] = runner->scratch_bytes / sizeof(float);
        runner->scratch_bytes += fake[i].beside ? qb_shape_count(node.dst) * sizeof(float) : 0;
        net->own[i] = runner->scratch_bytes / sizeof(float);
        runner->scratch_bytes +=
            fake[i].src.scale > 0.0F ? qb_shape_count(net->graph->nodes[node.src[0]].dst) * sizeof(float) : 0;
        node.wei = fake[i].wei;
        node.bia = fake[i].bia;
        if (fake[i].wei &&
            !qb_float_weights_init(&node, QB_ISA_COUNT - 1, runner->arena, &net->fake_weights[i])) {
            return qb_fail_memory(err, qb_node_params(&node) * sizeof(float));
        }
    }
    return net->kept ? QB_OK : err->status;
}

static enum qb_status make_net(const struct qb_graph *graph, const struct qb_engine_options *options,
                               struct qb_runner *runner, struct qb_error *err)
{
    struct net *const net = qb_runner_array(runner, 1, sizeof *net, err);
    size_t *const counts =
        net ? qb_runner_array(runner, 2 * (size_t)graph->count, sizeof *counts, err) : NULL;
    if (!counts ||
        !(net->weights = qb_runner_array(runner, (size_t)graph->count, sizeof *net->weights, err))) {
        return err->status;
    }
    size_t *const bytes = counts + graph->count;
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const n = &graph->nodes[i];
        counts[i] = qb_shape_count(n->dst);
        bytes[i] = counts[i] * sizeof(float);
        if ((n->op == QB_OP_CONV || n->op == QB_OP_DENSE) &&
            !qb_float_weights_init(n, QB_ISA_COUNT - 1, runner->arena, &net->weights[i])) {
            return qb_fail_memory(err, qb_node_params(n) * sizeof(float));
        }
    }
    net->graph = graph;
    net->pytorch_batches = options->pytorch_batches;
    if (options->fake) {
        QB_TRY(make_fake(options->fake, runner, net, err));
    }
    net->logits = qb_graph_logits(graph);
    runner->base.classes = (int)counts[net->logits];
    runner->image_bytes = counts[0];
    runner->forward = forward;
    runner->net = net;
    runner->nodes = graph->count;
    runner->counts = counts;
    runner->bytes = bytes;
    return qb_runner_prepare(runner, err);
}

enum qb_status qb_reference_create_f32(const struct qb_graph *graph, const struct qb_engine_options *options,
                                       struct qb_engine **out, struct qb_error *err)
{
    struct qb_runner *runner;
    QB_TRY(qb_runner_create(options, &runner, err));
    const enum qb_status status = make_net(graph, options, runner, err);
    if (status != QB_OK) {
        qb_runner_destroy(&runner->base);
        return status;
    }
    *out = &runner->base;
    return QB_OK;
}
