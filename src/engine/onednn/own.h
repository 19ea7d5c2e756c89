/* Steps of integer graphs that are our own code. Every maker adds one step; `node` < 0: the tensor is not
 * finished. */
#ifndef QB_ENGINE_ONEDNN_OWN_H
#define QB_ENGINE_ONEDNN_OWN_H

#include "engine/onednn/list.h"
#include "engine/onednn/tails.h"

/* INPUT: pixels to codes. */
void qb_dnnl_own_input(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node, uint8_t *dst);

/* The source of CONV `node` inside a frame of its zero point: padding as the graph means it. Returns the
 * buffer, and its shape in *shape. */
uint8_t *qb_dnnl_own_pad(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                         const uint8_t *src, struct qb_shape *shape);

/* acc[pixel][k] -= zw[k] * (sum of the window's codes): weight zero points of CONV or DENSE `node`. `src` has
 * `shape`, padding included. */
void qb_dnnl_own_row_sums(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                          const uint8_t *src, struct qb_shape shape, int32_t *acc);

/* Raw accumulators to codes. `offset` as in struct qb_tail. */
void qb_dnnl_own_tail(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                      const int32_t *offset, const int32_t *acc, const uint8_t *residual, uint8_t *dst);

void qb_dnnl_own_add(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node, const uint8_t *src0,
                     const uint8_t *src1, uint8_t *dst);
void qb_dnnl_own_relu(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node, const uint8_t *src,
                      uint8_t *dst);
/* QUANTIZE of codes. */
void qb_dnnl_own_recode(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                        const uint8_t *src, uint8_t *dst);
void qb_dnnl_own_avgpool(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                         const uint8_t *src, uint8_t *dst);
/* dst = src: the residual of a fused addition where its tensor must survive. */
void qb_dnnl_own_copy(struct qb_dnnl_list *list, const uint8_t *src, size_t count, uint8_t *dst);
/* A float node or a conversion (qb_is_float_layer), as the reference engine computes it; src1: of ADD. */
void qb_dnnl_own_floats(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                        const uint8_t *src0, const uint8_t *src1, uint8_t *dst);
/* A float CONV or DENSE as oneDNN computes it. */
void qb_dnnl_add_float_layer(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                             const uint8_t *src, uint8_t *dst);
/* Codes of the last node as floats. */
void qb_dnnl_own_logits(struct qb_dnnl_list *list, const struct qb_qgraph *graph, const uint8_t *src,
                        float *dst);

#endif
