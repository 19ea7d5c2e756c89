/* What the tests of QDQ files share. */
#ifndef QB_TESTS_QDQ_TESTING_H
#define QB_TESTS_QDQ_TESTING_H

#include "model/graph.h"
#include "quant/qgraph.h"
#include "quant/quantize.h"

/* `graph` lowered with numbered scales and zero points (qbt_numbered_qparams). Free with qb_qgraph_free. */
struct qb_qgraph *qbt_quantized(const struct qb_graph *graph, const struct qb_scheme *scheme);

/* Writes, loads, reads; the test fails on any error. */
struct qb_qgraph *qbt_write_and_read(const struct qb_qgraph *graph, const char *path);

/* input 6x8x2 -> conv 2x3 -> avgpool 2x2 stride 1 -> dense (on the image) -> relu -> dense_1 of one output.
 */
struct qb_qgraph *qbt_odd_qgraph(void);

/* Arithmetic ort, qint8: input 6x8x2 -> conv -> mul by a constant -> relu and avgpool with scales of their
 * own
 * -> dense -> add a constant; integer biases. */
struct qb_qgraph *qbt_ort_qgraph(void);

#endif
