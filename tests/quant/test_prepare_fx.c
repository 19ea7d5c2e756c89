/* prepare: fx: which tensors are observed, by whom and with what, where codes are quantized once more, and
 * that such networks run alike on the engines and survive a file. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/reference/arithmetic.h"
#include "quant/qdq.h"
#include "quant/qparams.h"
#include "quant_testing.h"

enum { IMAGES = 3, PIXELS = 32 * 32 * 3, CLASSES = 10, FUSED = QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU };

static struct qb_scheme fx(enum qb_arithmetic arithmetic)
{
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.prepare = QB_PREPARE_FX;
    scheme.arithmetic = arithmetic;
    return scheme;
}

static struct qb_qgraph *lower(const struct qb_graph *g, const struct qb_scheme *scheme,
                               const struct qb_qparams_table *table)
{
    struct qb_error err;
    struct qb_qgraph *q;
    qbt_ok(qb_quantize(g, scheme, table, "", &q, &err), &err);
    return q;
}

/* "name:op[ f32](source)" of every node that converts or is float. */
static void check(const struct qb_graph *g, const struct qb_scheme *scheme,
                  const struct qb_qparams_table *table, const char *want)
{
    struct qb_qgraph *const q = lower(g, scheme, table);
    char got[1024] = "";
    for (int i = 0; i < q->count; i++) {
        const struct qb_qnode *const n = &q->nodes[i];
        if (n->f32 || n->op == QB_QOP_QUANTIZE) {
            const size_t used = strlen(got);
            snprintf(got + used, sizeof got - used, "%s%s:%s%s(%s)", used ? " " : "", n->name,
                     qb_qop_name(n->op), n->f32 ? " f32" : "", n->src[0] < 0 ? "" : q->nodes[n->src[0]].name);
        }
    }
    assert_string_equal(got, want);
    qb_qgraph_free(q);
}

static void structure(void **state)
{
    (void)state;
    static const char all[] =
        "conv_3_pad:quantize(add) conv_6_pad:quantize(add_1) dense_flatten:quantize(avgpool)";
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = fx(QB_ARITHMETIC_FBGEMM);
    struct qb_qparams_table table = qbt_numbered_qparams(g, &scheme);
    check(g, &scheme, &table, all);
    struct qb_qgraph *const q = lower(g, &scheme, &table);
    const struct qb_qnode *const pad = &q->nodes[qb_qgraph_find(q, "conv_3_pad")];
    assert_int_equal(q->nodes[qb_qgraph_find(q, "conv_3")].src[0], qb_qgraph_find(q, "conv_3_pad"));
    assert_int_equal(q->nodes[qb_qgraph_find(q, "conv_5")].src[0], qb_qgraph_find(q, "add"));
    assert_int_equal(q->nodes[qb_qgraph_find(q, "dense")].src[0], qb_qgraph_find(q, "dense_flatten"));
    assert_int_equal(pad->q.zero_point, qbt_node(g, "conv_3") + 2);
    qb_qgraph_free(q);
    /* Merged with its addition a convolution reads the same. */
    struct qb_scheme merged = fx(QB_ARITHMETIC_ONEDNN);
    merged.fuse |= QB_FUSE_CONV_ADD;
    const struct qb_qparams_table fewer = qbt_numbered_qparams(g, &merged);
    check(g, &merged, &fewer, all);
    /* The same scale again would change nothing. */
    table.inner[qbt_node(g, "conv_3")] = table.q[qbt_node(g, "relu_2")];
    check(g, &scheme, &table, "conv_6_pad:quantize(add_1) dense_flatten:quantize(avgpool)");
    table.inner_set[qbt_node(g, "conv_6")] = false;
    struct qb_error err;
    struct qb_qgraph *none;
    qbt_error(qb_quantize(g, &scheme, &table, "", &none, &err), QB_EINPUT, &err,
              "tensor \"conv_6_pad\" has no scale and zero point");
    qb_arena_destroy(g->arena);
}

/* Floats are neither padded nor flattened codes; a padded image is quantized once. */
static void floats(void **state)
{
    (void)state;
    const struct qb_exception conv_3[] = {{.layer = "conv_3", .name = "fp32", .fp32 = true}},
                              conv_5[] = {{.layer = "conv_5", .name = "fp32", .fp32 = true}};
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = fx(QB_ARITHMETIC_FBGEMM);
    const struct qb_qparams_table table = qbt_numbered_qparams(g, &scheme);
    scheme.layer_count = 1;
    scheme.layers = conv_3;
    check(g, &scheme, &table,
          "dequantize_add:dequantize f32(add) conv_3:conv f32(dequantize_add) "
          "quantize_conv_3:quantize(conv_3) conv_6_pad:quantize(add_1) dense_flatten:quantize(avgpool)");
    scheme.layers = conv_5;
    check(g, &scheme, &table,
          "conv_3_pad:quantize(add) dequantize_add:dequantize f32(add) conv_5:conv f32(dequantize_add) "
          "quantize_conv_5:quantize(conv_5) conv_6_pad:quantize(add_1) dense_flatten:quantize(avgpool)");
    scheme.layer_count = 0;
    struct qb_node *const conv = &g->nodes[qbt_node(g, "conv")];
    conv->pad_t = conv->pad_l = 0;
    conv->pad_b = conv->pad_r = 2;
    check(g, &scheme, &table,
          "input:input f32() conv_pad:quantize(input) conv_3_pad:quantize(add) conv_6_pad:quantize(add_1) "
          "dense_flatten:quantize(avgpool)");
    qb_arena_destroy(g->arena);
}

/* ---- what observers see ---- */

struct shown {
    const float *values;
    size_t count;
};

/* Scale and zero point of an observer of the scheme that sees just this. */
static struct qb_qparams observed(const struct qb_scheme *scheme, const struct shown *shown, size_t count)
{
    const struct qb_observer_spec *const spec = &scheme->activations;
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    struct qb_observer *observer;
    struct qb_error err;
    struct qb_qparams q;
    float min, max;
    qbt_ok(ops->create(spec, 1, &observer, &err), &err);
    for (size_t i = 0; i < count; i++) {
        qbt_ok(ops->observe(observer, shown[i].values, shown[i].count, &err), &err);
    }
    qbt_ok(ops->range(observer, &min, &max, &err), &err);
    qbt_ok(qb_qparams_derive(spec, min, max, &q, &err), &err);
    ops->destroy(observer);
    return q;
}

static bool same(const struct qb_qparams *a, struct qb_qparams b)
{
    return qb_qparams_equal(a, &b);
}

/* Values away from 0, so that zeros of a border count; few large ones, so that counts matter. */
static void fill(uint32_t seed, float *values, size_t count)
{
    qbt_uniform(seed, values, count);
    for (size_t i = 0; i < count; i++) {
        values[i] = 1 + 3 * values[i] * values[i] * values[i] * values[i];
    }
}

static void observers(void **state)
{
    (void)state;
    enum { N = 2, SIDE = 16, CHANNELS = 32, ROW = SIDE * CHANNELS, PADDED = SIDE + 1 };
    static float add_1[N * SIDE * ROW], padded[N * PADDED * PADDED * CHANNELS], relu_6[N * 64 * 64],
        pool[N * 64];
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = fx(QB_ARITHMETIC_FBGEMM);
    fill(1, add_1, N * SIDE * ROW);
    fill(2, relu_6, N * 64 * 64);
    fill(3, pool, N * 64);
    for (size_t i = 0; i < N * 64; i++) {
        pool[i] *= 2;
    }
    for (size_t i = 0; i < N * SIDE * SIDE; i++) {
        const size_t n = i / (SIDE * SIDE), y = i / SIDE % SIDE, x = i % SIDE;
        memcpy(padded + ((n * PADDED + y) * PADDED + x) * CHANNELS, add_1 + i * CHANNELS,
               CHANNELS * sizeof *padded);
    }
    const struct shown twice[] = {{add_1, N * SIDE * ROW}, {add_1, N * SIDE * ROW}},
                       frame = {padded, N * PADDED * PADDED * CHANNELS},
                       both[] = {{relu_6, N * 64 * 64}, {pool, N * 64}};
    /* Does the data tell apart what has to be told apart? */
    const struct qb_qparams bare = observed(&scheme, twice, 1);
    assert_false(same(&bare, observed(&scheme, &frame, 1)));
    const struct qb_qparams alone = observed(&scheme, both, 1);
    assert_false(same(&alone, observed(&scheme, both, 2)));

    struct qb_calibration *c;
    struct qb_qparams_table table;
    const int sum = qbt_node(g, "relu_4"), last = qbt_node(g, "relu_6"), average = qbt_node(g, "avgpool");
    qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
    assert_true(qb_calibration_wants(c, average));
    for (int i = 0; i < g->count; i++) {
        const size_t count = N * qb_shape_count(g->nodes[i].dst);
        float *const values = calloc(count, sizeof *values);
        fill((uint32_t)i + 10, values, count);
        qbt_ok(qb_calibration_observe(c, i,
                                      i == sum       ? add_1
                                      : i == last    ? relu_6
                                      : i == average ? pool
                                                     : values,
                                      count, &err),
               &err);
        free(values);
    }
    qbt_error(qb_calibration_observe(c, sum, add_1, 7, &err), QB_EINPUT, &err, "not whole images");
    qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
    qb_calibration_free(c);
    assert_true(same(&table.q[sum], observed(&scheme, twice, 1)));
    assert_true(same(&table.inner[qbt_node(g, "conv_6")], observed(&scheme, &frame, 1)));
    assert_true(same(&table.q[last], observed(&scheme, both, 2)));
    assert_true(same(&table.inner[qbt_node(g, "dense")], observed(&scheme, both + 1, 1)));
    assert_false(table.set[average]);
    qb_arena_destroy(g->arena);
}

/* Eager mode shows the output of a fused convolution twice, graph mode once. */
static void once(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    const size_t size = qb_shape_count(g->nodes[qbt_node(g, "relu_1")].dst);
    float *const values = calloc(2 * size, sizeof *values);
    fill(4, values, size);
    fill(5, values + size, size);
    for (size_t i = 0; i < size; i++) {
        values[i] *= 3;
    }
    const struct shown batches[] = {{values, size}, {values + size, size}},
                       doubled[] = {batches[0], batches[0], batches[1], batches[1]};
    for (int prepare = 0; prepare < QB_PREPARE_COUNT; prepare++) {
        struct qb_scheme scheme = fx(QB_ARITHMETIC_FBGEMM);
        scheme.prepare = (enum qb_prepare)prepare;
        scheme.activations =
            (struct qb_observer_spec){.observer = "moving_average_minmax", .dtype = QB_QUINT8};
        struct qb_calibration *c;
        struct qb_qparams_table table;
        qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
        for (int batch = 0; batch < 2; batch++) {
            for (int i = 0; i < g->count; i++) {
                const struct shown *const b = &batches[batch];
                const size_t count = qb_shape_count(g->nodes[i].dst);
                qbt_ok(qb_calibration_observe(c, i, b->values, count < size ? count : size, &err), &err);
            }
        }
        qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
        qb_calibration_free(c);
        const struct qb_qparams *const q = &table.q[qbt_node(g, "relu_1")];
        assert_int_equal(same(q, observed(&scheme, batches, 2)), prepare == QB_PREPARE_FX);
        assert_int_equal(same(q, observed(&scheme, doubled, 4)), prepare == QB_PREPARE_EAGER);
    }
    free(values);
    qb_arena_destroy(g->arena);
}

/* ---- running ---- */

static void observe(void *ctx, int node, const void *data, size_t count)
{
    struct qb_error err;
    qbt_ok(qb_calibration_observe(ctx, node, data, count, &err), &err);
}

static void run(const char *name, const struct qb_graph *g, const struct qb_qgraph *q, enum qb_isa isa,
                const uint8_t *images, float *logits, void *ctx)
{
    struct qb_error err;
    struct qb_engine *engine;
    const struct qb_engine_options options = {.isa = isa, .threads = 1, .batch = IMAGES};
    qbt_ok(qb_engine_create(name, g, q, &options, &engine, &err), &err);
    engine->tap = ctx ? observe : NULL;
    engine->tap_ctx = ctx;
    qbt_ok(qb_engine_run(engine, images, IMAGES, logits, &err), &err);
    assert_int_equal(engine->exactness, QB_EXACT);
    qb_engine_free(engine);
}

static struct qb_qgraph *quantized(const struct qb_graph *g, const struct qb_scheme *scheme,
                                   const uint8_t *images)
{
    struct qb_error err;
    struct qb_calibration *c;
    struct qb_qparams_table table;
    float logits[IMAGES * CLASSES];
    qbt_ok(qb_calibration_create(g, scheme, &c, &err), &err);
    run("reference", g, NULL, QB_ISA_REF, images, logits, c);
    qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
    qb_calibration_free(c);
    return lower(g, scheme, &table);
}

/* The network with a DEQUANTIZE in front of every QUANTIZE: what the second quantization means. */
static struct qb_qgraph spelled_out(const struct qb_qgraph *q, struct qb_qnode *nodes)
{
    struct qb_qgraph out = *q;
    int place[64];
    out.nodes = nodes;
    out.count = 0;
    for (int i = 0; i < q->count; i++) {
        struct qb_qnode n = q->nodes[i];
        for (int s = 0; s < 2; s++) {
            n.src[s] = n.src[s] < 0 ? -1 : place[n.src[s]];
        }
        if (n.op == QB_QOP_QUANTIZE) {
            nodes[out.count] = (struct qb_qnode){
                .op = QB_QOP_DEQUANTIZE, .name = "floats", .src = {n.src[0], -1}, .dst = n.dst, .f32 = true};
            n.src[0] = out.count++;
        }
        place[i] = out.count;
        nodes[out.count++] = n;
    }
    return out;
}

static void everywhere(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    static float noise[IMAGES * PIXELS];
    static struct qb_qnode nodes[64];
    static const struct {
        enum qb_arithmetic arithmetic;
        unsigned fuse;
    } cases[] = {{QB_ARITHMETIC_FBGEMM, FUSED},
                 {QB_ARITHMETIC_FBGEMM, 0},
                 {QB_ARITHMETIC_ONEDNN, FUSED},
                 {QB_ARITHMETIC_ONEDNN, FUSED | QB_FUSE_CONV_ADD}};
    qbt_uniform(21, noise, IMAGES * PIXELS);
    for (int i = 0; i < IMAGES * PIXELS; i++) {
        images[i] = (uint8_t)(noise[i] * 256);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float want[IMAGES * CLASSES], got[IMAGES * CLASSES];
        struct qb_error err;
        struct qb_graph *const g = qbt_resnet8(), *file;
        struct qb_scheme scheme = fx(cases[i].arithmetic);
        scheme.fuse = cases[i].fuse;
        scheme.activations.observer = "aciq_laplace"; /* zeros move its mean */
        struct qb_qgraph *const q = quantized(g, &scheme, images), *back;
        assert_true(qb_qgraph_find(q, "conv_3_pad") >= 0 && qb_qgraph_find(q, "dense_flatten") >= 0);
        run("reference", NULL, q, QB_ISA_REF, images, want, NULL);
        const struct qb_qgraph spelled = spelled_out(q, nodes);
        assert_true(spelled.count > q->count);
        run("reference", NULL, &spelled, QB_ISA_REF, images, got, NULL);
        assert_memory_equal(got, want, sizeof got);
        for (int isa = 0; isa < QB_ISA_COUNT; isa++) {
            if (isa == QB_ISA_REF || qb_cpu_has((enum qb_isa)isa)) {
                run("native", NULL, q, (enum qb_isa)isa, images, got, NULL);
                assert_memory_equal(got, want, sizeof got);
            }
        }
        if (qb_cpu_has(QB_ISA_AVX512VNNI)) { /* without VNNI oneDNN's sums are not exact */
            run("onednn", NULL, q, qb_cpu_best(QB_ISA_AMX), images, got, NULL);
            assert_memory_equal(got, want, sizeof got);
        }
        char *const dir = qbt_mkdtemp(), path[256], hash[QB_HASH64_HEX], other[QB_HASH64_HEX];
        snprintf(path, sizeof path, "%s/fx.onnx", dir);
        qbt_ok(qb_qdq_write(q, path, &err), &err);
        qbt_ok(qb_model_load(path, &file, &err), &err);
        qbt_ok(qb_qdq_read(file, QB_ARITHMETIC_ORT, &back, &err), &err);
        qb_qgraph_hash(q, hash);
        qb_qgraph_hash(back, other);
        assert_string_equal(hash, other);
        qb_qgraph_free(back);
        /* Without what only this program writes: other names, the same results; but not another arithmetic's.
         */
        file->metadata_count = 0;
        qbt_ok(qb_qdq_read(file, scheme.arithmetic, &back, &err), &err);
        assert_int_equal(back->count, q->count);
        int recodings = 0;
        for (int k = 0; k < back->count; k++) {
            recodings += qb_is_recoding(back, k);
        }
        assert_int_equal(recodings, 3);
        run("reference", NULL, back, QB_ISA_REF, images, got, NULL);
        assert_memory_equal(got, want, sizeof got);
        qb_qgraph_free(back);
        if (!(cases[i].fuse & QB_FUSE_CONV_ADD)) {
            qbt_error(qb_qdq_read(file, QB_ARITHMETIC_ORT, &back, &err), QB_EUNSUPPORTED, &err,
                      "its values are quantized again with another scale, zero point or type, which "
                      "arithmetic ort does not have; those of PyTorch and oneDNN have");
        }
        qb_graph_free(file);
        qbt_rmtree(dir);
        qb_qgraph_free(q);
        qb_arena_destroy(g->arena);
    }
}

static void refused(void **state)
{
    (void)state;
    struct qb_error err;
    const struct qb_scheme ort = fx(QB_ARITHMETIC_ORT), onednn = fx(QB_ARITHMETIC_ONEDNN);
    qbt_error(qb_scheme_check(&ort, &err), QB_EINPUT, &err,
              "fbgemm.yaml: prepare: fx quantizes tensors a second time, which arithmetic ort does not have");
    qbt_ok(qb_scheme_check(&onednn, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structure), cmocka_unit_test(floats),     cmocka_unit_test(observers),
        cmocka_unit_test(once),      cmocka_unit_test(everywhere), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
