/* Every tensor of one image: in the integer network and in the float network it was made of. */
#ifndef QB_MEASURE_TRACE_H
#define QB_MEASURE_TRACE_H

#include "engine/engine.h"
#include "measure/deviation.h"

enum { QB_TRACE_BINS = 256 };

/* Of finite values; sd with the divisor n. */
struct qb_tensor_stats {
    double min, max, mean, sd;
    /* Tensors of codes: of code i (inside form). Float ones: of equal bins from min to max. */
    uint64_t histogram[QB_TRACE_BINS];
};

struct qb_trace_tensor {
    const char *name, *op; /* the graph's */
    struct qb_shape shape;
    size_t count;
    float *real; /* [count] NHWC; of codes dequantized */
    struct qb_tensor_stats stats;
    /* Tensors of codes only. */
    uint8_t *codes; /* [count], inside form; NULL: floats, of the float network or of a layer left float */
    struct qb_qparams q;
    uint64_t low, high; /* codes at the ends of the clamp (qb_code_limits) */
    /* Tensors of the integer network only. */
    int origin;                    /* index into the float tensors, or -1 */
    struct qb_deviation deviation; /* from that one */
    double max_error;              /* largest |real - origin's real| */
};

struct qb_trace {
    struct qb_arena *arena;
    struct qb_trace_tensor *integer, *real;  /* one a node of each graph, in execution order */
    size_t integer_count, real_count;        /* real_count 0: without a float network */
    int integer_prediction, real_prediction; /* -1: none */
};

/* `graph` may be NULL. Both graphs must outlive `out`. `image`: as large as the graphs' input. */
enum qb_status qb_trace_make(const struct qb_qgraph *qgraph, const struct qb_graph *graph,
                             const uint8_t *image, struct qb_trace *out, struct qb_error *err);
void qb_trace_free(struct qb_trace *trace);

#endif
