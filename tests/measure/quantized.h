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

/* cmocka group set-up and tear-down; *state is a struct quantized. */
int quantized_setup(void **state);
int quantized_teardown(void **state);

#endif
