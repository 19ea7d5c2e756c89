/* TensorFlow Lite import: a small network float and int8, what is not supported, damaged files, and the
 * published files. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/passes.h"
#include "model/tflite.h"
#include "model/tflite_file.h"
#include "tflite_net.h"

#define FLOAT "models/mlperf-tiny/pretrainedResnet.tflite"
#define INT8 "models/mlperf-tiny/pretrainedResnet_quant.tflite"
#define KERAS "models/mlperf-tiny/pretrainedResnet.h5"

/* Imports and canonicalizes an exact copy, so that a sanitizer sees reads behind the end. */
static enum qb_status load(const uint8_t *data, size_t size, struct qb_graph **out, struct qb_error *err)
{
    struct qb_blob copy = {malloc(size ? size : 1), size};
    struct qb_graph *graph = NULL;
    assert_non_null(copy.data);
    memcpy(copy.data, data, size);
    enum qb_status status = qb_tflite_import("net.tflite", &copy, &graph, err);
    memset(copy.data, 0xa5, size); /* nothing of the file may be needed from here on */
    free(copy.data);
    if (status == QB_OK) {
        status = qb_graph_canonicalize(graph, err);
    }
    if (status == QB_OK) {
        *out = graph;
    } else {
        qb_graph_free(graph);
        assert_true(err->text[0] && !strchr(err->text, '\n'));
    }
    return status;
}

static struct qb_graph *load_net(const struct tn_net *net)
{
    struct qb_blob file = tn_pack(net);
    struct qb_graph *graph = NULL;
    struct qb_error err;
    qbt_ok(load(file.data, file.size, &graph, &err), &err);
    qb_blob_free(&file);
    return graph;
}

static const struct qb_node *find(const struct qb_graph *graph, const char *name)
{
    const int i = qb_graph_find(graph, name);
    assert_true(i >= 0);
    return &graph->nodes[i];
}

static void assert_names(const struct qb_graph *graph, const char *want)
{
    char have[1024] = "";
    for (int i = 0; i < graph->count; i++) {
        const size_t used = strlen(have);
        snprintf(have + used, sizeof have - used, "%s%s", used ? " " : "", graph->nodes[i].name);
    }
    assert_string_equal(have, want);
}

/* Weight (o, c, t) of ours is (o, t, c) of the file. */
static void assert_weights(const struct qb_node *node, const float *values)
{
    const size_t taps = (size_t)node->kh * (size_t)node->kw, ic = (size_t)node->ic;
    for (size_t o = 0; o < (size_t)node->oc; o++) {
        for (size_t c = 0; c < ic; c++) {
            for (size_t t = 0; t < taps; t++) {
                assert_float_equal(node->wei[(o * ic + c) * taps + t], values[(o * taps + t) * ic + c], 0);
            }
        }
    }
}

static void test_float(void **state)
{
    (void)state;
    struct tn_net net;
    tn_init(&net, false);
    struct qb_graph *const graph = load_net(&net);
    assert_names(graph, "input conv relu conv_1 add relu_add avgpool dense softmax");
    assert_false(graph->quantized);
    assert_null(qb_graph_metadata(graph, "qbench.arithmetic"));
    const struct qb_node *const conv = find(graph, "conv");
    assert_int_equal(conv->pad_t, 1);
    assert_int_equal(conv->pad_r, 1);
    assert_string_equal(conv->source_name, "conv0");
    assert_string_equal(conv->source_type, "CONV_2D");
    assert_weights(conv, net.values0);
    assert_int_equal(find(graph, "conv_1")->pad_t, 0);
    assert_memory_equal(conv->bia, net.bias[0], TN_OC * sizeof(float));
    assert_memory_equal(find(graph, "dense")->wei, net.values2, sizeof net.values2);
    qb_graph_free(graph);
}

static void test_int8(void **state)
{
    (void)state;
    struct tn_net net;
    tn_init(&net, true);
    struct qb_graph *const graph = load_net(&net);
    assert_true(graph->quantized);
    assert_string_equal(qb_graph_metadata(graph, "qbench.arithmetic"), "tflite");
    assert_names(graph,
                 "input quantize dequantize conv relu quantize_1 dequantize_1 conv_1 quantize_2 dequantize_2 "
                 "add relu_add quantize_3 dequantize_3 avgpool quantize_4 dequantize_4 dense quantize_5 "
                 "dequantize_5 softmax");
    const struct qb_node *const conv = find(graph, "conv");
    assert_non_null(conv->codes);
    assert_true(conv->codes->is_signed);
    assert_int_equal(conv->codes->scale_count, TN_OC);
    assert_weights(conv, net.values0);
    for (int i = 0; i < TN_OC * 9 * TN_IC; i++) {
        const int channel = i / (9 * TN_IC);
        assert_float_equal((float)((const int8_t *)conv->codes->codes)[i] * conv->codes->scales[channel],
                           conv->wei[i], 0);
    }
    assert_memory_equal(conv->bia, net.bias[0], TN_OC * sizeof(float));
    assert_int_equal(find(graph, "dense")->codes->scale_count, 1);
    const struct qb_node *const pair = find(graph, "quantize_2");
    assert_float_equal(pair->q.scale, 9.0F, 0);
    assert_int_equal(pair->q.zero_point, 3);
    assert_true(pair->q.is_signed);
    qb_graph_free(graph);
}

/* An int8 network with float borders, and one whose input is UINT8. */
static void test_borders(void **state)
{
    (void)state;
    struct tn_net net;
    tn_init(&net, true);
    struct tw_operator *const ops = net.ops;
    memmove(ops + 1, ops, TN_OPS * sizeof *ops);
    ops[0] = (struct tw_operator){.code = QB_TFLITE_QUANTIZE,
                                  .input_count = 1,
                                  .inputs = {TN_SPARE0},
                                  .output_count = 1,
                                  .outputs = {TN_INPUT}};
    ops[TN_OPS + 1] = (struct tw_operator){.code = QB_TFLITE_DEQUANTIZE,
                                           .input_count = 1,
                                           .inputs = {TN_DENSE},
                                           .output_count = 1,
                                           .outputs = {TN_OUTPUT}};
    ops[TN_OPS] = ops[TN_OPS + 1]; /* in place of the softmax */
    net.tensors[TN_OUTPUT].type = QB_TFLITE_FLOAT32;
    net.model.operator_count = TN_OPS + 1;
    net.model.inputs[0] = TN_SPARE0;
    struct qb_graph *graph = load_net(&net);
    assert_int_equal(find(graph, "quantize")->q.zero_point, -128);
    assert_string_equal(graph->nodes[graph->count - 1].name, "dequantize_5");
    qb_graph_free(graph);

    const float one = 1.0F;
    const int64_t zero = 0;
    net.tensors[TN_SPARE0].type = QB_TFLITE_UINT8;
    net.tensors[TN_SPARE0].scale_count = net.tensors[TN_SPARE0].zero_point_count = 1;
    net.tensors[TN_SPARE0].scales = &one;
    net.tensors[TN_SPARE0].zero_points = &zero;
    graph = load_net(&net);
    assert_int_equal(find(graph, "quantize")->q.zero_point, 0);
    assert_false(find(graph, "quantize")->q.is_signed);
    assert_int_equal(graph->nodes[3].op, QB_OP_CONV);
    qb_graph_free(graph);
}

/* PAD in front of a VALID convolution, MEAN in place of the pool, SQUEEZE in place of the reshape. */
static void test_spellings(void **state)
{
    (void)state;
    struct tn_net net;
    for (int int8 = 0; int8 < 2; int8++) {
        tn_init(&net, int8);
        struct tw_operator *const ops = net.ops;
        memmove(ops + 1, ops, TN_OPS * sizeof *ops);
        struct tw_tensor *const padded = &net.tensors[TN_SPARE0];
        *padded = net.tensors[TN_INPUT];
        padded->shape[1] = padded->shape[2] = TN_SIDE + 2;
        net.zeros[2] = net.zeros[3] = net.zeros[4] = net.zeros[5] = 1;
        ops[0] = (struct tw_operator){.code = QB_TFLITE_PAD,
                                      .input_count = 2,
                                      .inputs = {TN_INPUT, TN_SPARE1},
                                      .output_count = 1,
                                      .outputs = {TN_SPARE0}};
        ops[1].inputs[0] = TN_SPARE0;
        ops[1].padding = QB_TFLITE_PADDING_VALID;
        net.model.operator_count = TN_OPS + 1;
        ops[1 + TN_OP_RESHAPE].code = QB_TFLITE_SQUEEZE;
        if (!int8) {
            static const int32_t axes[] = {1, 2};
            net.tensors[TN_SHAPE].data = axes;
            ops[1 + TN_OP_POOL].code = QB_TFLITE_MEAN;
            ops[1 + TN_OP_POOL].input_count = 2;
            ops[1 + TN_OP_POOL].inputs[1] = TN_SHAPE;
        }
        struct qb_graph *const graph = load_net(&net);
        const struct qb_node *const conv = find(graph, "conv");
        assert_int_equal(conv->pad_t, 1);
        assert_int_equal(conv->pad_l, 1);
        assert_int_equal(conv->pad_b, 1);
        assert_int_equal(conv->pad_r, 1);
        assert_int_equal(conv->dst.h, TN_SIDE);
        assert_int_equal(find(graph, "avgpool")->kh, TN_SIDE);
        assert_int_equal(graph->count, int8 ? 21 : 9); /* the pad and its pair are gone */
        qb_graph_free(graph);
    }
}

/* A RESHAPE whose second input is computed: SHAPE and PACK in front of it. */
static void test_computed_shape(void **state)
{
    (void)state;
    struct tn_net net;
    for (int int8 = 0; int8 < 2; int8++) {
        tn_init(&net, int8);
        struct tw_operator *const ops = net.ops + TN_OP_RESHAPE;
        memmove(ops + 2, ops, (TN_OPS - TN_OP_RESHAPE) * sizeof *ops);
        ops[0] = (struct tw_operator){.code = QB_TFLITE_SHAPE,
                                      .input_count = 1,
                                      .inputs = {TN_POOL},
                                      .output_count = 1,
                                      .outputs = {TN_SPARE1}};
        ops[1] = (struct tw_operator){.code = QB_TFLITE_PACK,
                                      .input_count = 2,
                                      .inputs = {TN_SPARE1, TN_SPARE1},
                                      .output_count = 1,
                                      .outputs = {TN_SHAPE}};
        net.tensors[TN_SPARE1].data = net.tensors[TN_SHAPE].data = NULL;
        net.tensors[TN_SPARE1].size = net.tensors[TN_SHAPE].size = 0;
        net.model.operator_count = TN_OPS + 2;
        struct qb_graph *const computed = load_net(&net);
        tn_init(&net, int8);
        struct qb_graph *const constant = load_net(&net);
        assert_int_equal(computed->count, constant->count);
        for (int i = 0; i < computed->count; i++) {
            assert_int_equal(computed->nodes[i].op, constant->nodes[i].op);
            assert_int_equal(computed->nodes[i].src[0], constant->nodes[i].src[0]);
            assert_memory_equal(&computed->nodes[i].dst, &constant->nodes[i].dst,
                                sizeof computed->nodes[i].dst);
        }
        qb_graph_free(computed);
        qb_graph_free(constant);
    }
}

struct edit {
    bool int8;
    const char *needle;
    void (*apply)(struct tn_net *net);
};

#define EDIT(name, statement)                                                                                \
    static void name(struct tn_net *n)                                                                       \
    {                                                                                                        \
        statement;                                                                                           \
    }
static const float bad_scale = -1.0F, other_scale = 2.0F;
static const int64_t bad_zero = 128, odd_zero[TN_CLASSES] = {0, 1};
EDIT(depthwise, n->ops[TN_OP_CONV0].code = 4)
EDIT(pack, n->ops[TN_OP_ADD].code = QB_TFLITE_PACK)
EDIT(unknown, n->ops[TN_OP_CONV0].code = 999)
EDIT(custom, (n->ops[TN_OP_CONV0].code = 32, n->ops[TN_OP_CONV0].custom = "Mine"))
EDIT(relu6, n->ops[TN_OP_CONV0].activation = 3)
EDIT(no_options, n->ops[TN_OP_CONV0].no_options = true)
EDIT(dilation, n->ops[TN_OP_CONV0].dilation_w = 2)
EDIT(padding, n->ops[TN_OP_CONV0].padding = 7)
EDIT(stride, n->ops[TN_OP_CONV0].stride_h = 0)
EDIT(beta, n->ops[TN_OP_SOFTMAX].beta = 2)
EDIT(shuffled, n->ops[TN_OP_DENSE].weights_format = 1)
EDIT(opcode, n->ops[TN_OP_DENSE].opcode_index = 99)
EDIT(no_input, n->ops[TN_OP_CONV0].inputs[0] = -1)
EDIT(no_weights, n->ops[TN_OP_CONV0].input_count = 1)
EDIT(dangling, n->ops[TN_OP_CONV0].inputs[0] = 1000)
EDIT(negative, n->ops[TN_OP_CONV0].inputs[0] = -2)
EDIT(later, n->ops[TN_OP_CONV0].inputs[0] = TN_ADD)
EDIT(constant_add, n->ops[TN_OP_ADD].inputs[0] = TN_WEI0)
EDIT(twice, n->ops[TN_OP_CONV1].outputs[0] = TN_CONV0)
EDIT(outputs2, n->ops[TN_OP_CONV1].output_count = 2)
EDIT(out_range, n->ops[TN_OP_CONV1].outputs[0] = -1)
EDIT(uint8, n->tensors[TN_CONV0].type = QB_TFLITE_UINT8)
EDIT(int16, n->tensors[TN_CONV0].type = 7)
EDIT(float16, n->tensors[TN_WEI0].type = 1)
EDIT(sparse, n->tensors[TN_WEI0].sparse = true)
EDIT(other_quantization, n->tensors[TN_CONV0].other_quantization = true)
EDIT(hybrid, n->tensors[TN_WEI0].type = QB_TFLITE_INT8)
EDIT(short_weights, n->tensors[TN_WEI0].size -= 4)
EDIT(huge_weights,
     n->tensors[TN_WEI0].shape[0] = n->tensors[TN_WEI0].shape[1] = n->tensors[TN_WEI0].shape[2] = 65536)
EDIT(negative_shape, n->tensors[TN_WEI0].shape[0] = -1)
EDIT(grouped, (n->tensors[TN_WEI0].shape[3] = 1, n->tensors[TN_WEI0].size /= 3))
EDIT(short_bias, (n->tensors[TN_BIA0].shape[0] = 3, n->tensors[TN_BIA0].size = 12))
EDIT(bias_scale, n->bia_scales[0][1] *= 2)
EDIT(scales_axis, n->tensors[TN_WEI0].axis = 3)
EDIT(scale_count, n->tensors[TN_WEI0].scale_count = 2)
EDIT(weight_zero, n->tensors[TN_WEI0].zero_points = odd_zero)
EDIT(weight_scale, n->wei_scales[0][2] = NAN)
EDIT(scale, n->tensors[TN_CONV0].scales = &bad_scale)
EDIT(zero_point, n->tensors[TN_CONV0].zero_points = &bad_zero)
EDIT(no_scale, n->tensors[TN_CONV0].scale_count = 0)
EDIT(reshape_scale, n->tensors[TN_FLAT].scales = &other_scale)
EDIT(reshape_rank, n->tensors[TN_FLAT].rank = 3)
EDIT(reshape_size, n->tensors[TN_FLAT].shape[1] = 5)
EDIT(inputs2, n->model.input_count = 2)
EDIT(input_range, n->model.inputs[0] = -5)
EDIT(input_rank, n->tensors[TN_INPUT].rank = 2)
EDIT(input_size, n->tensors[TN_INPUT].shape[1] = -1)
EDIT(output_range, n->model.outputs[0] = 77)
EDIT(output_early, n->model.outputs[0] = TN_ADD)
EDIT(version, n->model.version = 2)
EDIT(subgraphs, n->model.subgraphs = 2)
EDIT(no_subgraph, n->model.subgraphs = 0)
EDIT(buffer, n->tensors[TN_WEI0].buffer = 500)
EDIT(mixed, n->tensors[TN_CONV1].type = QB_TFLITE_FLOAT32)
EDIT(mean, (n->ops[TN_OP_POOL].code = QB_TFLITE_MEAN, n->ops[TN_OP_POOL].input_count = 2,
            n->ops[TN_OP_POOL].inputs[1] = TN_SHAPE, n->flat[0] = 1, n->flat[1] = 2))
EDIT(mean_axes, (mean(n), n->flat[1] = 3))
EDIT(pad_channels, (n->ops[TN_OP_POOL].code = QB_TFLITE_PAD, n->ops[TN_OP_POOL].input_count = 2,
                    n->ops[TN_OP_POOL].inputs[1] = TN_SPARE1, n->zeros[7] = 1))

static const struct edit edits[] = {
    {false, "operator 0 'conv0' (DEPTHWISE_CONV_2D): this operator is not supported", depthwise},
    {false, "it makes a tensor of type FLOAT32; INT32 is expected", pack},
    {false, "operator number 999 is not supported", unknown},
    {false, "operator 0 'conv0' (CUSTOM): this operator is not supported: Mine", custom},
    {false, "fused_activation_function is 3 RELU6; NONE or RELU is expected", relu6},
    {false, "its options are missing", no_options},
    {false, "dilation is 1x2; 1x1 is expected", dilation},
    {false, "padding is 7", padding},
    {false, "strides 0x1", stride},
    {false, "beta is 2; 1 is expected", beta},
    {false, "weights_format is 1", shuffled},
    {false, "operator 5 is of a kind that the file does not list", opcode},
    {false, "input 0 is missing", no_input},
    {false, "input 1 is missing", no_weights},
    {false, "operator 0 reads or writes a tensor that the file does not have", dangling},
    {false, "operator 0 reads or writes a tensor", negative},
    {false, "it reads tensor 'add', which no operator in front of it makes", later},
    {false, "it computes with the constant 'weights'", constant_add},
    {false, "operator 1 'conv0' (CONV_2D): another operator writes the same tensor", twice},
    {false, "operator 1 (CONV_2D) has 2 outputs", outputs2},
    {false, "operator 1 reads or writes a tensor", out_range},
    {true, "tensor 'conv0' is UINT8, the quantization of old TensorFlow Lite versions", uint8},
    {true, "tensor 'conv0' is of type 7 INT16; FLOAT32 or INT8 is expected", int16},
    {false, "constant 'weights' is of type 1 FLOAT16; FLOAT32 is expected", float16},
    {false, "tensor 'weights' is sparse", sparse},
    {true, "tensor 'conv0' is quantized in a way of its own", other_quantization},
    {false, "constant 'weights' is of type 9 INT8; FLOAT32 is expected", hybrid},
    {false, "is expected to be a constant of 4 dimensions", short_weights},
    {false, "is expected to be a constant of 4 dimensions", huge_weights},
    {false, "is expected to be a constant of 4 dimensions", negative_shape},
    {false, "weights are for 1 input channels, its source has 3", grouped},
    {false, "bias 'bias' has 3 elements; 4 are expected", short_bias},
    {true, "bias 'bias' has 12 bytes and 4 scales; 4 are expected", short_bias},
    {true, "bias 'bias' has scale 0.024 in channel 1; 0.012, that of source times weights, is expected",
     bias_scale},
    {true, "weights 'weights' have 4 scales along axis 3", scales_axis},
    {true, "weights 'weights' have 2 scales along axis 0", scale_count},
    {true, "weights 'weights' have zero point 1", weight_zero},
    {true, "weights 'weights' have scale nan in channel 2", weight_scale},
    {true, "tensor 'conv0' has scale -1 and zero point -128", scale},
    {true, "tensor 'conv0' has scale 8 and zero point 128", zero_point},
    {true, "INT8 tensor 'conv0' has 0 scales", no_scale},
    {true, "its input has scale 12 and zero point -128, its output 2 and -128", reshape_scale},
    {true, "its output has 3 dimensions; [batch, features] is expected", reshape_rank},
    {false, "a tensor of 1x1x4 cannot become [N, 5]", reshape_size},
    {false, "the model has 2 inputs", inputs2},
    {false, "the model has 1 inputs; one, a tensor of its list", input_range},
    {false, "the input 'input' is not [batch, height, width, channels]", input_rank},
    {false, "the input 'input' is not [batch, height, width, channels]", input_size},
    {false, "one, which the last operator makes, is expected", output_range},
    {false, "one, which the last operator makes, is expected", output_early},
    {false, "format version 2 with 1 subgraphs", version},
    {false, "version 3 with 2 subgraphs", subgraphs},
    {false, "version 3 with 0 subgraphs", no_subgraph},
    {false, "'weights' is expected to be a constant", buffer},
    {true, "its inputs and its output are of different types", mixed},
    {true, "the mean of INT8 codes", mean},
    {false, "axes 1 and 2 of an image are expected", mean_axes},
    {true, "it pads the batch or the channels", pad_channels},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        static struct tn_net net;
        struct qb_graph *graph = NULL;
        struct qb_error err;
        tn_init(&net, edits[i].int8);
        edits[i].apply(&net);
        struct qb_blob file = tn_pack(&net);
        const enum qb_status status = load(file.data, file.size, &graph, &err);
        if (status == QB_OK) {
            fail_msg("edit %zu was taken, \"%s\" is expected", i, edits[i].needle);
        }
        qbt_error(status, err.status, &err, edits[i].needle);
        assert_true(status == QB_EINPUT || status == QB_EUNSUPPORTED);
        qb_blob_free(&file);
    }
}

/* Bytes behind the last thing that is read may be missing: at most those that align it. */
static void test_truncated(void **state)
{
    (void)state;
    for (int int8 = 0; int8 < 2; int8++) {
        struct tn_net net;
        struct qb_graph *graph = NULL;
        struct qb_error err;
        tn_init(&net, int8);
        struct qb_blob file = tn_pack(&net);
        for (size_t size = 0; size + 16 < file.size; size++) {
            if (load(file.data, size, &graph, &err) == QB_OK) {
                fail_msg("%zu of %zu bytes were taken for a model", size, file.size);
            }
        }
        qb_blob_free(&file);
    }
}

/* Changed bytes give an error or, where only numbers changed, a graph. */
static void mutate(struct qb_blob file, uint32_t seed, int rounds, size_t front)
{
    struct qb_rng rng;
    struct qb_error err;
    int errors = 0;
    uint8_t *const copy = malloc(file.size);
    assert_non_null(copy);
    qb_rng_seed(&rng, seed);
    for (int i = 0; i < rounds; i++) {
        memcpy(copy, file.data, file.size);
        for (int k = 0; k <= i % 6; k++) {
            const size_t at = qb_rng_interval(&rng, (uint32_t)(k % 2 ? file.size : front) - 1);
            const uint32_t value = qb_rng_u32(&rng);
            copy[at] = value % 4 ? (uint8_t)(value >> 8) : (uint8_t)(value % 8 ? 0xff : 0);
        }
        struct qb_graph *graph = NULL;
        if (load(copy, file.size, &graph, &err) == QB_OK) {
            qb_graph_free(graph);
        } else {
            errors++;
        }
    }
    assert_in_range(errors, 1, rounds);
    free(copy);
}

static void test_mutated(void **state)
{
    (void)state;
    for (int int8 = 0; int8 < 2; int8++) {
        struct tn_net net;
        tn_init(&net, int8);
        struct qb_blob file = tn_pack(&net);
        mutate(file, 3, 20000, file.size);
        qb_blob_free(&file);
    }
}

static struct qb_blob published(const char *path)
{
    struct qb_blob file;
    struct qb_error err;
    qbt_require_shared(path);
    qbt_ok(qb_file_read(qbt_shared(path), 1 << 24, &file, &err), &err);
    return file;
}

static void test_damaged_published(void **state)
{
    (void)state;
    struct qb_blob file = published(INT8);
    struct qb_graph *graph = NULL;
    struct qb_error err;
    for (size_t i = 0; i < 400; i++) {
        const size_t size = i < 200 ? i * 7 : file.size * (i - 200) / 200;
        assert_int_not_equal(load(file.data, size, &graph, &err), QB_OK);
    }
    mutate(file, 5, 1000, 4096);
    qb_blob_free(&file);
}

/* The converter folded the same network's batch normalization: the weights of the Keras file, to rounding. */
static void test_published_float(void **state)
{
    (void)state;
    struct qb_graph *have, *want;
    struct qb_error err;
    int layers = 0;
    qbt_require_shared(FLOAT);
    qbt_ok(qb_model_load(qbt_shared(FLOAT), &have, &err), &err);
    if (qb_model_load(qbt_shared(KERAS), &want, &err) != QB_OK) {
        qb_graph_free(have);
        skip(); /* built without HDF5 */
    }
    assert_int_equal(have->count, want->count);
    for (int i = 0; i < have->count; i++) {
        const struct qb_node *const a = &have->nodes[i], *const b = &want->nodes[i];
        assert_int_equal(a->op, b->op);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->src[0], b->src[0]);
        assert_int_equal(a->src[1], b->src[1]);
        assert_int_equal(a->pad_t, b->pad_t);
        assert_int_equal(a->pad_r, b->pad_r);
        const size_t params = qb_node_params(a), oc = (size_t)a->oc;
        layers += params > 0;
        for (size_t k = 0; params && k < params - oc; k++) {
            assert_float_equal(a->wei[k], b->wei[k], 1e-5F);
        }
        for (size_t k = 0; params && k < oc; k++) {
            assert_float_equal(a->bia[k], b->bia[k], 2e-5F);
        }
    }
    assert_int_equal(layers, 10);
    qb_graph_free(have);
    qb_graph_free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float),
        cmocka_unit_test(test_int8),
        cmocka_unit_test(test_borders),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_computed_shape),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_mutated),
        cmocka_unit_test(test_damaged_published),
        cmocka_unit_test(test_published_float),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
