/* What the tests of src/quant share: a reproducible source of numbers, and a ResNet8 made by hand. */
#ifndef QB_TESTS_QUANT_TESTING_H
#define QB_TESTS_QUANT_TESTING_H

#include <stddef.h>
#include <stdint.h>

#include "model/graph.h"
#include "quant/observer.h"
#include "quant/quantize.h"

/* Uniform float32 in [0, 1): the linear congruential generator of the golden vectors. */
void qbt_uniform(uint32_t seed, float *out, size_t count);

/* Batch b (0..3) of the small set: 4096 values, one outlier. max(x, 0) with `relu`. */
enum { QBT_SMALL = 4096 };
void qbt_small_batch(int b, bool relu, float out[QBT_SMALL]);

/* Batch b (0..2) of the cubic set: heavy tails, the cube of a sum of four uniform numbers. */
enum { QBT_CUBIC = 65536 };
void qbt_cubic_batch(int b, bool relu, float out[QBT_CUBIC]);

/* The published ResNet8 as a canonical graph: input, conv .. conv_8, relu .. relu_6, add .. add_2, avgpool,
 * dense, softmax; weights and biases are numbers of the generator. Free with qb_arena_destroy(graph->arena).
 */
struct qb_graph *qbt_resnet8(void);
/* Index by name; fails the test when it is absent. */
int qbt_node(const struct qb_graph *graph, const char *name);

/* PyTorch's fbgemm scheme, fused. */
struct qb_scheme qbt_fbgemm(void);

/* Every tensor that `scheme` observes set to scale 1/16 (i + 1), zero point i + 1, i the float node's index;
 * inner tensors to 1/20 (i + 1), i + 2. */
struct qb_qparams_table qbt_numbered_qparams(const struct qb_graph *graph, const struct qb_scheme *scheme);

#endif
