/* A small TensorFlow Lite network: see tflite_net.h. */
#include "tflite_net.h"

#include <string.h>

#include "base/rng.h"
#include "model/tflite_file.h"
#include "testing.h"

/* Numbers of one layer's weights [oc][each] and bias, as codes and as floats. */
static void fill(struct tn_net *n, int layer, int oc, int each, float src_scale, struct qb_rng *rng,
                 int8_t *codes, float *values)
{
    for (int k = 0; k < oc; k++) {
        n->wei_scales[layer][k] = layer == 2 ? 0.03125F : 0.01F + 0.002F * (float)k;
        n->bia_scales[layer][k] = src_scale * n->wei_scales[layer][k];
        n->bia[layer][k] = (int32_t)qb_rng_interval(rng, 2000) - 1000;
        n->bias[layer][k] = (float)n->bia[layer][k] * n->bia_scales[layer][k];
        for (int i = 0; i < each; i++) {
            codes[k * each + i] = (int8_t)((int)qb_rng_interval(rng, 254) - 127);
            values[k * each + i] = (float)codes[k * each + i] * n->wei_scales[layer][k];
        }
    }
}

static void tensor(struct tn_net *n, bool int8, enum tn_tensor t, const char *name, int rank,
                   const int32_t *shape, float scale, int64_t zero_point)
{
    n->scales[t] = scale;
    n->zero_points[t] = zero_point;
    n->tensors[t] =
        (struct tw_tensor){.name = name, .type = int8 ? QB_TFLITE_INT8 : QB_TFLITE_FLOAT32, .rank = rank};
    memcpy(n->tensors[t].shape, shape, (size_t)rank * sizeof *shape);
    if (int8) {
        n->tensors[t].scale_count = n->tensors[t].zero_point_count = 1;
        n->tensors[t].scales = &n->scales[t];
        n->tensors[t].zero_points = &n->zero_points[t];
    }
}

static void constants(struct tn_net *n, bool int8, int layer, enum tn_tensor t, int rank,
                      const int32_t *shape, const int8_t *codes, const float *values, size_t count)
{
    const int oc = shape[0], scales = layer == 2 ? 1 : oc;
    tensor(n, false, t, "weights", rank, shape, 0, 0);
    tensor(n, false, t + 1, "bias", 1, shape, 0, 0);
    struct tw_tensor *const wei = &n->tensors[t], *const bia = &n->tensors[t + 1];
    wei->data = int8 ? (const void *)codes : values;
    wei->size = count * (int8 ? 1 : sizeof *values);
    bia->data = int8 ? (const void *)n->bia[layer] : n->bias[layer];
    bia->size = (size_t)oc * 4;
    if (int8) {
        wei->type = QB_TFLITE_INT8;
        bia->type = QB_TFLITE_INT32;
        wei->scale_count = wei->zero_point_count = bia->scale_count = bia->zero_point_count = scales;
        wei->scales = n->wei_scales[layer];
        bia->scales = n->bia_scales[layer];
        wei->zero_points = bia->zero_points = n->no_zero_points;
    }
}

void tn_init(struct tn_net *n, bool int8)
{
    struct qb_rng rng;
    qb_rng_seed(&rng, 11);
    *n = (struct tn_net){.flat = {1, TN_OC}};
    fill(n, 0, TN_OC, 9 * TN_IC, 1.0F, &rng, n->wei0, n->values0);
    fill(n, 1, TN_OC, TN_OC, 8.0F, &rng, n->wei1, n->values1);
    fill(n, 2, TN_CLASSES, TN_OC, 12.0F, &rng, n->wei2, n->values2);
    const int32_t image[] = {1, TN_SIDE, TN_SIDE, TN_IC}, inner[] = {1, TN_SIDE, TN_SIDE, TN_OC},
                  one[] = {1, 1, 1, TN_OC};
    const int32_t classes[] = {1, TN_CLASSES}, kernel0[] = {TN_OC, 3, 3, TN_IC},
                  kernel1[] = {TN_OC, 1, 1, TN_OC}, kernel2[] = {TN_CLASSES, TN_OC}, two[] = {2},
                  pads[] = {4, 2};
    tensor(n, int8, TN_INPUT, "input", 4, image, 1.0F, -128);
    constants(n, int8, 0, TN_WEI0, 4, kernel0, n->wei0, n->values0, sizeof n->wei0);
    tensor(n, int8, TN_CONV0, "conv0", 4, inner, 8.0F, -128);
    constants(n, int8, 1, TN_WEI1, 4, kernel1, n->wei1, n->values1, sizeof n->wei1);
    tensor(n, int8, TN_CONV1, "conv1", 4, inner, 9.0F, 3);
    tensor(n, int8, TN_ADD, "add", 4, inner, 12.0F, -128);
    tensor(n, int8, TN_POOL, "pool", 4, one, 12.0F, -128);
    tensor(n, false, TN_SHAPE, "shape", 1, two, 0, 0);
    n->tensors[TN_SHAPE].type = QB_TFLITE_INT32;
    n->tensors[TN_SHAPE].data = n->flat;
    n->tensors[TN_SHAPE].size = sizeof n->flat;
    tensor(n, int8, TN_FLAT, "flat", 2, n->flat, 12.0F, -128);
    constants(n, int8, 2, TN_WEI2, 2, kernel2, n->wei2, n->values2, sizeof n->wei2);
    tensor(n, int8, TN_DENSE, "dense", 2, classes, 90.0F, 7);
    tensor(n, int8, TN_OUTPUT, "output", 2, classes, 0x1p-8F, -128);
    tensor(n, false, TN_SPARE0, "spare", 4, image, 0, 0);
    tensor(n, false, TN_SPARE1, "zeros", 2, pads, 0, 0);
    n->tensors[TN_SPARE1].type = QB_TFLITE_INT32;
    n->tensors[TN_SPARE1].data = n->zeros;
    n->tensors[TN_SPARE1].size = sizeof n->zeros;
    const struct tw_operator conv = {.code = QB_TFLITE_CONV_2D,
                                     .input_count = 3,
                                     .output_count = 1,
                                     .stride_h = 1,
                                     .stride_w = 1,
                                     .dilation_h = 1,
                                     .dilation_w = 1};
    struct tw_operator *const ops = n->ops;
    ops[TN_OP_CONV0] = ops[TN_OP_CONV1] = conv;
    ops[TN_OP_CONV0].activation = QB_TFLITE_ACTIVATION_RELU;
    memcpy(ops[TN_OP_CONV0].inputs, (const int32_t[]){TN_INPUT, TN_WEI0, TN_BIA0}, 3 * sizeof(int32_t));
    ops[TN_OP_CONV0].outputs[0] = TN_CONV0;
    ops[TN_OP_CONV1].padding = QB_TFLITE_PADDING_VALID;
    ops[TN_OP_CONV1].old_code = true;
    memcpy(ops[TN_OP_CONV1].inputs, (const int32_t[]){TN_CONV0, TN_WEI1, TN_BIA1}, 3 * sizeof(int32_t));
    ops[TN_OP_CONV1].outputs[0] = TN_CONV1;
    ops[TN_OP_ADD] = (struct tw_operator){.code = QB_TFLITE_ADD,
                                          .input_count = 2,
                                          .inputs = {TN_CONV0, TN_CONV1},
                                          .output_count = 1,
                                          .outputs = {TN_ADD},
                                          .activation = QB_TFLITE_ACTIVATION_RELU};
    ops[TN_OP_POOL] = (struct tw_operator){.code = QB_TFLITE_AVERAGE_POOL_2D,
                                           .input_count = 1,
                                           .inputs = {TN_ADD},
                                           .output_count = 1,
                                           .outputs = {TN_POOL},
                                           .padding = QB_TFLITE_PADDING_VALID,
                                           .stride_h = TN_SIDE,
                                           .stride_w = TN_SIDE,
                                           .kernel_h = TN_SIDE,
                                           .kernel_w = TN_SIDE};
    ops[TN_OP_RESHAPE] = (struct tw_operator){.code = QB_TFLITE_RESHAPE,
                                              .input_count = 2,
                                              .inputs = {TN_POOL, TN_SHAPE},
                                              .output_count = 1,
                                              .outputs = {TN_FLAT}};
    ops[TN_OP_DENSE] = (struct tw_operator){.code = QB_TFLITE_FULLY_CONNECTED,
                                            .input_count = 3,
                                            .inputs = {TN_FLAT, TN_WEI2, TN_BIA2},
                                            .output_count = 1,
                                            .outputs = {TN_DENSE}};
    ops[TN_OP_SOFTMAX] = (struct tw_operator){.code = QB_TFLITE_SOFTMAX,
                                              .input_count = 1,
                                              .inputs = {TN_DENSE},
                                              .output_count = 1,
                                              .outputs = {TN_OUTPUT},
                                              .beta = 1.0F};
    n->model = (struct tw_model){.version = 3,
                                 .subgraphs = 1,
                                 .tensors = n->tensors,
                                 .tensor_count = TN_TENSORS,
                                 .operators = n->ops,
                                 .operator_count = TN_OPS,
                                 .inputs = {TN_INPUT},
                                 .outputs = {TN_OUTPUT},
                                 .input_count = 1,
                                 .output_count = 1};
}

struct qb_blob tn_pack(const struct tn_net *net)
{
    struct qb_blob file = {0};
    file.data = tw_pack(&net->model, &file.size);
    assert_non_null(file.data);
    return file;
}
