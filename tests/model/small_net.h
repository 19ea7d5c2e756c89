/* A small residual network written as ONNX in every way that exporters do: two blocks, the second with stride
 * 2 and a 1x1 shortcut, 8x8x3 pixels to 5 classes. All ways are the same function of the image. */
#ifndef QB_TESTS_MODEL_SMALL_NET_H
#define QB_TESTS_MODEL_SMALL_NET_H

#include "onnx_writer.h"

enum net_input { INPUT_PLAIN, INPUT_DIV, INPUT_MUL, INPUT_MUL_CHANNELS, INPUT_COUNT };
enum net_bn { BN_FOLDED, BN_NODE, BN_MUL_ADD, BN_MUL_ADD_RANK3, BN_MUL_ADD_NHWC, BN_SUB_DIV, BN_COUNT };
enum net_pad {
    PAD_EXPLICIT,
    PAD_SAME_UPPER,
    PAD_NODE,
    PAD_NODE_ATTRIBUTE,
    PAD_NODE_NHWC,
    PAD_NODE_COMPUTED,
    PAD_COUNT
};
enum net_pool {
    POOL_GLOBAL,
    POOL_AVERAGE,
    POOL_AVERAGE_SAME,
    POOL_REDUCE,
    POOL_REDUCE_INPUT,
    POOL_REDUCE_NHWC,
    POOL_REDUCE_FLAT,
    POOL_REDUCE_FLAT_NHWC,
    POOL_COUNT
};
enum net_flat {
    FLAT_FLATTEN,
    FLAT_RESHAPE,
    FLAT_RESHAPE_ZERO,
    FLAT_RESHAPE_NODE,
    FLAT_VIEW,
    FLAT_SQUEEZE,
    FLAT_SQUEEZE_INPUT,
    FLAT_COUNT
};
enum net_head { HEAD_GEMM_T, HEAD_GEMM, HEAD_GEMM_ALPHA, HEAD_MATMUL_ADD, HEAD_MATMUL_ADD_FIRST, HEAD_COUNT };
enum net_relu { RELU_NODE, RELU_CLIP, RELU_CLIP_INPUT, RELU_COUNT };

struct net_options {
    bool nhwc; /* input N,H,W,C and a Transpose */
    enum net_input input;
    enum net_bn bn;
    enum net_pad pad;
    enum net_pool pool;
    enum net_flat flat;
    enum net_head head;
    enum net_relu relu;
    bool softmax, swapped_adds, shortcut_first, pass_through, fixed_batch;
    bool typed_data, constant_nodes, inputs_too, unnamed;
    bool wide;      /* pool to 2x2 only: the order in which Flatten lists matters */
    bool flat_nhwc; /* wide: transposed before Flatten */
};

enum { NET_SIDE = 8, NET_CHANNELS = 3, NET_CLASSES = 5, NET_PIXELS = NET_SIDE * NET_SIDE * NET_CHANNELS };

/* Fills `w` with the network; ow_free it. */
void net_write(struct onnx_writer *w, const struct net_options *options);
/* The same as file bytes. */
struct qb_blob net_bytes(const struct net_options *options);
/* Pixels 0..255, N,H,W,C. */
void net_image(float image[NET_PIXELS]);

#endif
