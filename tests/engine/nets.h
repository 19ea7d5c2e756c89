/* Small integer networks with random content for the tests of engines, and what their results must be: a
 * second, slow and literal writing of the formulas of src/engine/reference/arithmetic.h that shares no code
 * with the engines. */
#ifndef QB_TEST_NETS_H
#define QB_TEST_NETS_H

#include "base/rng.h"
#include "quant/qgraph.h"

enum { NET_NODES = 16 };

struct net {
    struct qb_arena *arena;
    struct qb_rng rng;
    struct qb_qgraph graph;
    struct qb_qnode nodes[NET_NODES];
    enum qb_dtype dtype; /* of all tensors; quint8 but for every other seed of arithmetic ort */
};

/* Starts a network with its INPUT node. Pointers into `net` are kept: do not move it. */
void net_init(struct net *net, enum qb_arithmetic arithmetic, uint32_t seed, struct qb_shape input,
              float scale, int zero_point);
void net_free(struct net *net);

struct net_conv {
    int src, residual; /* residual: node of a fused addition, 0 = none */
    int oc, kh, kw, stride_h, stride_w, pad_t, pad_l, pad_b, pad_r;
    bool per_tensor, relu;
    bool wei_zero;  /* random zero points of the weights (u8 weights outside) */
    int zero_point; /* of the result */
};
/* Each returns the new node's index. Scales are drawn so that codes use the whole range and sometimes
 * saturate. */
int net_conv(struct net *net, const struct net_conv *conv);
int net_dense(struct net *net, int src, int oc, bool per_tensor, int zero_point);
int net_add(struct net *net, int src0, int src1, bool relu, float scale, int zero_point);
int net_relu(struct net *net, int src);
int net_avgpool(struct net *net, int src, int kh, int kw, int stride);
/* Arithmetics that requantize: codes of another scale and zero point. */
int net_quantize(struct net *net, int src, float scale, int zero_point);
/* Arithmetics with constants: random codes; the product with src1, which may be a constant (as net_add's). */
int net_constant(struct net *net, int channels, float scale, int zero_point);
int net_mul(struct net *net, int src0, int src1, float scale, int zero_point);
/* Arithmetics that rescale: another scale and zero point for the RELU or AVGPOOL `node`. */
void net_rescale(struct net *net, int node, float scale, int zero_point);

/* Most tensors with scales of their own get 2 to 7 bits, with zero points and scales that fit; signed ones
 * too. */
void net_narrow(struct net *net);

/* A residual network with every operator (NET_MIXED names its nodes); arithmetic onednn gets a fused addition
 * as well, ort a product with a constant and a bias that is added behind the dense layer. */
enum net_mixed {
    NET_INPUT,
    NET_CONV,
    NET_CONV2,
    NET_RELU,
    NET_SUM,
    NET_DIFFERENCE,
    NET_HALF,
    NET_POOL,
    NET_DENSE
};
void net_mixed(struct net *net, enum qb_arithmetic arithmetic, uint32_t seed);

/* The shapes and additions of ResNet8 for 32 x 32 x 3, random weights; zero points as in arithmetic fbgemm,
 * or random ones. */
void net_resnet8(struct net *net, enum qb_arithmetic arithmetic, uint32_t seed, bool zero_points);

/* Random pixels in which 0 and 255 are common. malloc'd. */
uint8_t *net_images(struct net *net, int n);

/* Every node's codes for one image: codes[node] is malloc'd; free with net_expect_free. */
void net_expect(const struct net *net, const uint8_t *image, uint8_t *codes[NET_NODES]);
void net_expect_free(uint8_t *codes[NET_NODES]);

#endif
