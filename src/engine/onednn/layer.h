/* Adding one primitive to a list: its descriptor from shapes and types, which of oneDNN's implementations
 * runs, weights in the format it wants. */
#ifndef QB_ENGINE_ONEDNN_LAYER_H
#define QB_ENGINE_ONEDNN_LAYER_H

#include "engine/onednn/list.h"

/* Geometry and data of one primitive. Activations are NHWC; DENSE counts its source as one flat pixel. */
struct qb_dnnl_layer {
    const char *name; /* of the graph node, for messages */
    int node;         /* whose tensor is complete after it; -1: none */
    struct qb_shape src_shape, dst_shape;
    dnnl_data_type_t src_type, wei_type, dst_type;
    const void *src;
    void *dst;
    int kh, kw, stride_h, stride_w, pad_t, pad_l, pad_b, pad_r; /* convolution, pooling */
    const void *wei;  /* convolution: OIHW, dense: OI; reordered once into the format of the primitive */
    const float *bia; /* NULL: none */
    dnnl_primitive_attr_t attr; /* from qb_dnnl_attr */
    dnnl_exec_arg_t extra[5];   /* scales and zero points */
    int extra_count;
};

/* Convolution and dense choose by list->impl: the first implementation, the fastest one (each is timed on
 * activations that the steps before it make from noise images), or the first whose name contains the text. A
 * layer for which oneDNN has plain loops only is refused unless `impl` asks for them. The others run the
 * first implementation. */
enum qb_status qb_dnnl_add_conv(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer);
enum qb_status qb_dnnl_add_dense(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer);
enum qb_status qb_dnnl_add_avgpool(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer);
enum qb_status qb_dnnl_add_relu(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer);
/* src + src1, f32. */
enum qb_status qb_dnnl_add_sum(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer,
                               const void *src1);

/* 1 when oneDNN has a fast implementation of this convolution / dense layer, attributes included. */
bool qb_dnnl_has_conv(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer);
bool qb_dnnl_has_dense(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer);

#endif
