/* A float network and its integer network on a few synthetic images, for the tests of sensitivity and traces.
 */
#ifndef QB_TESTS_QUANTIZED_H
#define QB_TESTS_QUANTIZED_H

#include "data/dataset.h"
#include "model/graph.h"
#include "quant/qgraph.h"

enum { QUANTIZED_IMAGES = 40 };

struct quantized {
    struct qb_graph *graph; /* models/resnet8.onnx */
    struct qb_qgraph
        *qgraph; /* minmax on those images, u8 x s8, conv+relu and add+relu fused, arithmetic fbgemm */
    struct qb_dataset set;
};

/* The same, observed by the rules of `prepare` and with the layers `floats` (NULL at the end) left float; the
 * caller frees it. */
struct qb_qgraph *quantized_with(const struct quantized *q, enum qb_prepare prepare,
                                 const char *const *floats);

/* cmocka group set-up and tear-down; *state is a struct quantized. */
int quantized_setup(void **state);
int quantized_teardown(void **state);

#endif
