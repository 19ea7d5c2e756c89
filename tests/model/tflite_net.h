/* A small TensorFlow Lite network for tests, as lists that a test may edit: an 8x8x3 image, conv 3x3 SAME
 * with ReLU, conv 1x1, add with ReLU, average pool, reshape, dense, softmax. */
#ifndef QB_TESTS_MODEL_TFLITE_NET_H
#define QB_TESTS_MODEL_TFLITE_NET_H

#include "base/file.h"
#include "tflite_writer.h"

enum { TN_SIDE = 8, TN_IC = 3, TN_OC = 4, TN_CLASSES = 5 };
enum tn_tensor {
    TN_INPUT,
    TN_WEI0,
    TN_BIA0,
    TN_CONV0,
    TN_WEI1,
    TN_BIA1,
    TN_CONV1,
    TN_ADD,
    TN_POOL,
    TN_SHAPE,
    TN_FLAT,
    TN_WEI2,
    TN_BIA2,
    TN_DENSE,
    TN_OUTPUT,
    TN_SPARE0, /* float, of the input's shape */
    TN_SPARE1, /* eight int32 zeros, [4, 2] */
    TN_TENSORS
};
enum tn_operator {
    TN_OP_CONV0,
    TN_OP_CONV1,
    TN_OP_ADD,
    TN_OP_POOL,
    TN_OP_RESHAPE,
    TN_OP_DENSE,
    TN_OP_SOFTMAX,
    TN_OPS
};

struct tn_net {
    struct tw_tensor tensors[TN_TENSORS];
    struct tw_operator ops[TN_OPS + 2];
    struct tw_model model;
    /* Codes and what they stand for, in the file's order. */
    int8_t wei0[TN_OC * 9 * TN_IC], wei1[TN_OC * TN_OC], wei2[TN_CLASSES * TN_OC];
    float values0[TN_OC * 9 * TN_IC], values1[TN_OC * TN_OC], values2[TN_CLASSES * TN_OC];
    int32_t bia[3][TN_CLASSES], zeros[8], flat[2];
    float bias[3][TN_CLASSES], scales[TN_TENSORS], wei_scales[3][TN_CLASSES], bia_scales[3][TN_CLASSES];
    int64_t zero_points[TN_TENSORS], no_zero_points[TN_CLASSES];
};

/* float32, or int8 throughout. */
void tn_init(struct tn_net *net, bool int8);
/* To be freed with qb_blob_free. */
struct qb_blob tn_pack(const struct tn_net *net);

#endif
