/* See trace.h. */
#include "measure/trace.h"

#include <math.h>
#include <string.h>

#include "engine/reference/arithmetic.h"
#include "measure/accuracy.h"
#include "quant/origin.h"

static void measure_range(struct qb_trace_tensor *t)
{
    double min = INFINITY, max = -INFINITY, sum = 0, squares = 0;
    for (size_t i = 0; i < t->count; i++) {
        const double x = (double)t->real[i];
        min = x < min ? x : min;
        max = x > max ? x : max;
        sum += x;
    }
    const double mean = sum / (double)t->count;
    for (size_t i = 0; i < t->count; i++) {
        squares += ((double)t->real[i] - mean) * ((double)t->real[i] - mean);
    }
    t->stats.min = min;
    t->stats.max = max;
    t->stats.mean = mean;
    t->stats.sd = sqrt(squares / (double)t->count);
}

static void count_reals(struct qb_trace_tensor *t)
{
    const double width = (t->stats.max - t->stats.min) / QB_TRACE_BINS;
    for (size_t i = 0; i < t->count; i++) {
        const double bin = width > 0 ? ((double)t->real[i] - t->stats.min) / width : 0;
        t->stats.histogram[bin < QB_TRACE_BINS - 1 ? (int)bin : QB_TRACE_BINS - 1]++;
    }
}

static void count_codes(struct qb_trace_tensor *t)
{
    int32_t first, last;
    qb_code_limits(&t->q, &first, &last);
    for (size_t i = 0; i < t->count; i++) {
        t->stats.histogram[t->codes[i]]++;
        t->low += t->codes[i] == first;
        t->high += t->codes[i] == last;
    }
}

static void keep_real(void *ctx, int node, const void *data, size_t count)
{
    struct qb_trace *const trace = ctx;
    memcpy(trace->real[node].real, data, count * sizeof(float));
}

static void keep_codes(void *ctx, int node, const void *data, size_t count)
{
    struct qb_trace_tensor *const t = &((struct qb_trace *)ctx)->integer[node];
    if (!t->codes) {
        memcpy(t->real, data, count * sizeof *t->real);
        return;
    }
    memcpy(t->codes, data, count);
    for (size_t i = 0; i < count; i++) {
        t->real[i] = qb_dequantize(&t->q, t->codes[i]);
    }
}

static enum qb_status make_tensor(struct qb_trace *trace, struct qb_shape shape, bool f32,
                                  struct qb_trace_tensor *t, struct qb_error *err)
{
    t->shape = shape;
    t->count = qb_shape_count(shape);
    t->origin = -1;
    t->real = qb_arena_array(trace->arena, t->count, sizeof *t->real);
    t->codes = f32 ? NULL : qb_arena_array(trace->arena, t->count, 1);
    return t->real && (f32 || t->codes) ? QB_OK : qb_fail_memory(err, t->count * sizeof *t->real);
}

static enum qb_status run(struct qb_trace *trace, const struct qb_qgraph *qgraph,
                          const struct qb_graph *graph, const uint8_t *image, int *prediction,
                          struct qb_error *err)
{
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};
    struct qb_engine *engine = NULL;
    QB_TRY(qb_engine_create("reference", graph, qgraph, &options, &engine, err));
    float *const logits = qb_arena_array(trace->arena, (size_t)engine->classes, sizeof *logits);
    engine->tap = qgraph ? keep_codes : keep_real;
    engine->tap_ctx = trace;
    const enum qb_status status =
        logits ? qb_engine_run(engine, image, 1, logits, err) : qb_fail_memory(err, sizeof *logits);
    if (status == QB_OK) {
        *prediction = qb_first_place(logits, engine->classes);
    }
    qb_engine_free(engine);
    return status;
}

static enum qb_status trace_float(struct qb_trace *trace, const struct qb_graph *graph, const uint8_t *image,
                                  struct qb_error *err)
{
    trace->real = qb_arena_array(trace->arena, (size_t)graph->count, sizeof *trace->real);
    if (!trace->real) {
        return qb_fail_memory(err, (size_t)graph->count * sizeof *trace->real);
    }
    trace->real_count = (size_t)graph->count;
    for (int i = 0; i < graph->count; i++) {
        struct qb_trace_tensor *const t = &trace->real[i];
        t->name = graph->nodes[i].name;
        t->op = qb_op_name(graph->nodes[i].op);
        QB_TRY(make_tensor(trace, graph->nodes[i].dst, true, t, err));
    }
    QB_TRY(run(trace, NULL, graph, image, &trace->real_prediction, err));
    for (size_t i = 0; i < trace->real_count; i++) {
        measure_range(&trace->real[i]);
        count_reals(&trace->real[i]);
    }
    return QB_OK;
}

static void compare(struct qb_trace *trace, const struct qb_origin *origin)
{
    for (size_t i = 0; i < trace->integer_count; i++) {
        struct qb_trace_tensor *const t = &trace->integer[i];
        t->origin = origin[i].tensor;
        if (t->origin >= 0) {
            const float *const want = trace->real[t->origin].real;
            qb_deviation_add(&t->deviation, want, t->real, t->count);
            for (size_t k = 0; k < t->count; k++) {
                t->max_error = fmax(t->max_error, fabs((double)t->real[k] - (double)want[k]));
            }
        }
    }
}

static enum qb_status trace_integer(struct qb_trace *trace, const struct qb_qgraph *qgraph,
                                    const uint8_t *image, struct qb_error *err)
{
    trace->integer = qb_arena_array(trace->arena, (size_t)qgraph->count, sizeof *trace->integer);
    if (!trace->integer) {
        return qb_fail_memory(err, (size_t)qgraph->count * sizeof *trace->integer);
    }
    trace->integer_count = (size_t)qgraph->count;
    for (int i = 0; i < qgraph->count; i++) {
        struct qb_trace_tensor *const t = &trace->integer[i];
        t->name = qgraph->nodes[i].name;
        t->op = qb_qop_name(qgraph->nodes[i].op);
        if (!qgraph->nodes[i].f32) {
            t->q = qgraph->nodes[i].q;
        }
        QB_TRY(make_tensor(trace, qgraph->nodes[i].dst, qgraph->nodes[i].f32, t, err));
    }
    QB_TRY(run(trace, qgraph, NULL, image, &trace->integer_prediction, err));
    for (size_t i = 0; i < trace->integer_count; i++) {
        measure_range(&trace->integer[i]);
        if (trace->integer[i].codes) {
            count_codes(&trace->integer[i]);
        } else {
            count_reals(&trace->integer[i]);
        }
    }
    return QB_OK;
}

static enum qb_status make(struct qb_trace *trace, const struct qb_qgraph *qgraph,
                           const struct qb_graph *graph, const uint8_t *image, struct qb_error *err)
{
    QB_TRY(trace_integer(trace, qgraph, image, err));
    if (!graph) {
        return QB_OK;
    }
    struct qb_origin *const origin = qb_arena_array(trace->arena, trace->integer_count, sizeof *origin);
    if (!origin) {
        return qb_fail_memory(err, trace->integer_count * sizeof *origin);
    }
    QB_TRY(trace_float(trace, graph, image, err));
    qb_qgraph_origin(qgraph, graph, origin);
    compare(trace, origin);
    return QB_OK;
}

enum qb_status qb_trace_make(const struct qb_qgraph *qgraph, const struct qb_graph *graph,
                             const uint8_t *image, struct qb_trace *out, struct qb_error *err)
{
    struct qb_trace trace = {.arena = qb_arena_create(), .integer_prediction = -1, .real_prediction = -1};
    const enum qb_status status =
        trace.arena ? make(&trace, qgraph, graph, image, err) : qb_fail_memory(err, sizeof trace);
    if (status != QB_OK) {
        qb_arena_destroy(trace.arena);
        return status;
    }
    *out = trace;
    return QB_OK;
}

void qb_trace_free(struct qb_trace *trace)
{
    qb_arena_destroy(trace->arena);
    *trace = (struct qb_trace){0};
}
