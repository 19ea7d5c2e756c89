/* Refinements of whole networks: equalization, weight rounding, and bias correction, whose layers are
 * computed again here, in double and one by one. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "quant/equalize.h"
#include "quant/refine.h"
#include "quant_testing.h"

enum { IMAGES = 6, PIXELS = 32 * 32 * 3, CLASSES = 10 };

static void make_images(uint8_t *images, int count)
{
    float *const noise = malloc((size_t)count * PIXELS * sizeof *noise);
    qbt_uniform(9, noise, (size_t)count * PIXELS);
    for (int i = 0; i < count * PIXELS; i++) {
        images[i] = (uint8_t)(noise[i] * 256);
    }
    free(noise);
}

/* Weights of the usual size, so that activations neither die nor explode. */
static struct qb_graph *network(void)
{
    struct qb_graph *const g = qbt_resnet8();
    for (int i = 0; i < g->count; i++) {
        struct qb_node *const n = &g->nodes[i];
        if (n->op != QB_OP_CONV && n->op != QB_OP_DENSE) {
            continue;
        }
        const size_t each = (size_t)n->ic * (n->op == QB_OP_CONV ? (size_t)(n->kh * n->kw) : 1);
        float *const wei = qb_arena_memdup(g->arena, n->wei, each * (size_t)n->oc * sizeof *wei);
        float *const bia = qb_arena_memdup(g->arena, n->bia, (size_t)n->oc * sizeof *bia);
        for (size_t k = 0; k < each * (size_t)n->oc; k++) { /* channels of unequal width */
            wei[k] *= 4 / sqrtf((float)each) * (0.2f + (float)(k / each % 7));
        }
        for (int k = 0; k < n->oc; k++) {
            bia[k] = 20 * (bia[k] + 0.5f);
        }
        n->wei = wei;
        n->bia = bia;
    }
    return g;
}

struct kept {
    void **tensors; /* [nodes], IMAGES images each */
    const size_t *bytes;
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    const struct kept *const k = ctx;
    memcpy(k->tensors[node], data, count * (k->bytes[node] / IMAGES));
}

/* All tensors of a pass of IMAGES images; element: bytes. Free with free_tensors. */
static void **run(const struct qb_graph *g, const struct qb_qgraph *q, const uint8_t *images,
                  float logits[IMAGES * CLASSES])
{
    struct qb_error err;
    struct qb_engine *engine;
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = IMAGES};
    const int count = g ? g->count : q->count;
    size_t *const bytes = calloc((size_t)count, sizeof *bytes);
    struct kept kept = {.tensors = calloc((size_t)count + 1, sizeof *kept.tensors), .bytes = bytes};
    for (int i = 0; i < count; i++) {
        const struct qb_shape s = g ? g->nodes[i].dst : q->nodes[i].dst;
        bytes[i] = IMAGES * (g ? sizeof(float) : 1); /* an element of all images */
        kept.tensors[i] = calloc(qb_shape_count(s), bytes[i]);
    }
    qbt_ok(qb_engine_create("reference", g, q, &options, &engine, &err), &err);
    engine->tap = keep;
    engine->tap_ctx = &kept;
    qbt_ok(qb_engine_run(engine, images, IMAGES, logits, &err), &err);
    qb_engine_free(engine);
    free(bytes);
    return kept.tensors;
}

static void free_tensors(void **tensors, int count)
{
    for (int i = 0; i < count; i++) {
        free(tensors[i]);
    }
    free(tensors);
}

static void test_equalize(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = network(), *e;
    static uint8_t images[IMAGES * PIXELS];
    float before[IMAGES * CLASSES], after[IMAGES * CLASSES];
    const char *note;
    make_images(images, IMAGES);
    qbt_ok(qb_equalize(g, &e, &note, &err), &err);
    assert_non_null(strstr(note, "conv_1 > conv_2 ("));
    assert_non_null(strstr(note, "conv_3 > conv_4 ("));
    assert_non_null(strstr(note, "conv_6 > conv_7 ("));
    assert_null(strstr(note, "conv_5")); /* shortcuts and what forks stay */
    assert_int_equal(e->nodes[qbt_node(e, "conv")].wei == g->nodes[qbt_node(g, "conv")].wei, 1);
    static const char *const pairs[][2] = {{"conv_1", "conv_2"}, {"conv_3", "conv_4"}, {"conv_6", "conv_7"}};
    for (size_t p = 0; p < 3; p++) {
        const struct qb_node *const a = &e->nodes[qbt_node(e, pairs[p][0])];
        const struct qb_node *const b = &e->nodes[qbt_node(e, pairs[p][1])];
        const struct qb_node *const old = &g->nodes[qbt_node(g, pairs[p][0])];
        const size_t each = (size_t)a->ic * 9;
        for (size_t c = 0; c < (size_t)a->oc; c++) {
            float r1 = 0, r2 = 0;
            for (size_t i = 0; i < each; i++) {
                r1 = fmaxf(r1, fabsf(a->wei[c * each + i]));
            }
            for (size_t k = 0; k < (size_t)b->oc * 9; k++) {
                r2 = fmaxf(r2, fabsf(b->wei[(k / 9 * (size_t)b->ic + c) * 9 + k % 9]));
            }
            assert_true(fabsf(r1 / r2 - 1) < 1e-5f);
            const float s = old->wei[c * each] / a->wei[c * each];
            assert_true(fabsf(old->bia[c] / a->bia[c] / s - 1) < 1e-5f);
        }
    }
    free_tensors(run(g, NULL, images, before), g->count);
    free_tensors(run(e, NULL, images, after), e->count);
    float most = 0, largest = 0;
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        most = fmaxf(most, fabsf(before[i] - after[i]));
        largest = fmaxf(largest, fabsf(before[i]));
    }
    assert_true(largest > 0 && most < 1e-5f * largest);
    qb_graph_free(e);
    /* A dead channel has no scale; everything else of the pair has. */
    struct qb_node *const dead = &g->nodes[qbt_node(g, "conv_3")];
    float *const wei = qb_arena_memdup(g->arena, dead->wei, 32 * 16 * 9 * sizeof *wei);
    memset(wei, 0, 16 * 9 * sizeof *wei);
    dead->wei = wei;
    qbt_ok(qb_equalize(g, &e, &note, &err), &err);
    assert_true(e->nodes[qbt_node(e, "conv_3")].bia[0] == dead->bia[0]);
    assert_true(e->nodes[qbt_node(e, "conv_3")].bia[1] != dead->bia[1]);
    qb_graph_free(e);
    /* Every inner tensor read twice: no pair is left. */
    for (size_t p = 0; p < 3; p++) {
        const int relu = g->nodes[qbt_node(g, pairs[p][1])].src[0];
        g->nodes[qbt_node(g, pairs[p][1])].src[0] = g->nodes[relu].src[0];
    }
    qbt_error(qb_equalize(g, &e, &note, &err), QB_EINPUT, &err, "equalize does not apply");
    qb_arena_destroy(g->arena);
}

struct calibration {
    struct qb_calibration *c;
    struct qb_refinement *r;
};

static void observe(void *ctx, int node, const void *data, size_t count)
{
    struct qb_error err;
    const struct calibration *const c = ctx;
    if (c->r) {
        qb_refinement_observe(c->r, node, data, count);
    } else {
        qbt_ok(qb_calibration_observe(c->c, node, data, count, &err), &err);
    }
}

static void pass(const struct qb_graph *g, const struct qb_qgraph *q, struct calibration *c,
                 const uint8_t *images, int batch)
{
    struct qb_error err;
    struct qb_engine *engine;
    float logits[IMAGES * CLASSES];
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = batch};
    qbt_ok(qb_engine_create("reference", g, q, &options, &engine, &err), &err);
    engine->tap = observe;
    engine->tap_ctx = c;
    for (int i = 0; i < IMAGES; i += batch) {
        const int n = IMAGES - i < batch ? IMAGES - i : batch;
        qbt_ok(qb_engine_run(engine, images + i * PIXELS, n, logits, &err), &err);
    }
    qb_engine_free(engine);
}

/* Calibrated, quantized and refined, `batch` images at a time. */
static struct qb_qgraph *refined(const struct qb_graph *g, const struct qb_scheme *scheme,
                                 const uint8_t *images, int batch)
{
    struct qb_error err;
    struct calibration c = {0};
    struct qb_qparams_table table;
    struct qb_qgraph *q;
    struct qb_refinement *r;
    enum qb_refine_pass next;
    qbt_ok(qb_calibration_create(g, scheme, &c.c, &err), &err);
    pass(g, NULL, &c, images, IMAGES);
    qbt_ok(qb_calibration_qparams(c.c, g->arena, &table, &err), &err);
    qb_calibration_free(c.c);
    qbt_ok(qb_quantize(g, scheme, &table, "", &q, &err), &err);
    qbt_ok(qb_refinement_create(g, scheme, q, &r, &err), &err);
    c.r = r;
    for (;;) {
        qbt_ok(qb_refinement_next(r, &next, &err), &err);
        if (next == QB_REFINE_PASS_DONE) {
            break;
        }
        pass(next == QB_REFINE_PASS_FLOAT ? g : NULL, next == QB_REFINE_PASS_FLOAT ? NULL : q, &c, images,
             batch);
    }
    qb_refinement_free(r);
    return q;
}

static struct qb_scheme minmax_scheme(unsigned refine)
{
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.activations = (struct qb_observer_spec){.observer = "minmax", .dtype = QB_QUINT8};
    scheme.weights = (struct qb_observer_spec){.observer = "per_channel_minmax",
                                               .dtype = QB_QINT8,
                                               .symmetric = true,
                                               .has_quant_range = true,
                                               .quant_min = -8,
                                               .quant_max = 7}; /* 4 bits: errors worth correcting */
    scheme.refine = refine;
    return scheme;
}

/* Mean output of each channel of layer `n`, from source values that `at` gives, weights that `wei` gives. */
struct operand {
    const struct qb_graph *g;
    const struct qb_node *conv;   /* float layer */
    const struct qb_qnode *node;  /* its integer form; NULL: float weights and bias */
    const struct qb_qparams *src; /* NULL: `values` are floats */
    const void *values;           /* IMAGES images; NULL: `means` */
    const double *means;          /* a mean a channel, everywhere */
};

static double value(const struct operand *o, size_t at, int channel)
{
    return o->means ? o->means[channel]
           : o->src ? (double)o->src->scale * (((const uint8_t *)o->values)[at] - o->src->zero_point)
                    : (double)((const float *)o->values)[at];
}

static void mean_output(const struct operand *o, double *mean)
{
    const struct qb_node *const n = o->conv;
    const struct qb_shape s = o->g->nodes[n->src[0]].dst;
    const bool dense = n->op == QB_OP_DENSE;
    const int kh = dense ? 1 : n->kh, kw = dense ? 1 : n->kw;
    const int stride = dense ? 1 : n->stride_h;
    const size_t count = qb_shape_count(s);
    double *const windows = calloc((size_t)(n->ic * kh * kw), sizeof *windows);
    for (int i = 0; i < IMAGES; i++) {
        for (int y = 0; y < n->dst.h; y++) {
            for (int x = 0; x < n->dst.w; x++) {
                for (int k = 0; k < n->ic * kh * kw; k++) {
                    const int c = k / (kh * kw), row = y * stride + k / kw % kh - n->pad_t,
                              column = x * stride + k % kw - n->pad_l;
                    if (row >= 0 && row < s.h && column >= 0 && column < s.w) {
                        windows[k] +=
                            value(o, (size_t)i * count + (size_t)((row * s.w + column) * s.c + c), c);
                    }
                }
            }
        }
    }
    for (int k = 0; k < n->oc; k++) {
        double sum = 0;
        for (int i = 0; i < n->ic * kh * kw; i++) {
            const int at = k * n->ic * kh * kw + i;
            const double w = o->node ? (double)o->node->wei_scales[k] * o->node->wei[at] : (double)n->wei[at];
            sum += w * windows[i];
        }
        mean[k] = sum / (IMAGES * n->dst.h * n->dst.w) + (double)(o->node ? o->node->bia[k] : n->bia[k]);
    }
    free(windows);
}

/* Every layer's mean output, channel by channel, as the quantized network makes it, and as the float network
 * makes it: the largest difference relative to the largest mean. */
static double mean_error(const struct qb_graph *g, const struct qb_qgraph *q, const uint8_t *images)
{
    float logits[IMAGES * CLASSES];
    void **const real = run(g, NULL, images, logits), **const codes = run(NULL, q, images, logits);
    double most = 0;
    for (int i = 0; i < q->count; i++) {
        const struct qb_qnode *const n = &q->nodes[i];
        if (n->op != QB_QOP_CONV && n->op != QB_QOP_DENSE) {
            continue;
        }
        const struct qb_node *const conv = &g->nodes[qbt_node(g, n->name)];
        double want[64], got[64], largest = 0, error = 0;
        mean_output(&(struct operand){.g = g, .conv = conv, .values = real[conv->src[0]]}, want);
        mean_output(
            &(struct operand){
                .g = g, .conv = conv, .node = n, .src = &q->nodes[n->src[0]].q, .values = codes[n->src[0]]},
            got);
        for (int k = 0; k < n->oc; k++) {
            largest = fmax(largest, fabs(want[k]));
            error = fmax(error, fabs(want[k] - got[k]));
        }
        most = fmax(most, error / largest);
    }
    free_tensors(real, g->count);
    free_tensors(codes, q->count);
    return most;
}

static void test_bias_correction(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    struct qb_graph *const g = network();
    make_images(images, IMAGES);
    const struct qb_scheme plain = minmax_scheme(0), scheme = minmax_scheme(QB_REFINE_BIAS_CORRECTION);
    struct qb_qgraph *const q0 = refined(g, &plain, images, IMAGES),
                            *const q = refined(g, &scheme, images, 4),
                            *const again = refined(g, &scheme, images, 1);
    assert_true(mean_error(g, q0, images) > 0.01);
    assert_true(mean_error(g, q, images) < 1e-6);
    assert_null(q0->refinement);
    assert_non_null(strstr(q->refinement, "bias_correction conv: biases moved by "));
    assert_non_null(strstr(q->refinement, "bias_correction dense: biases moved by "));
    char hash[3][QB_HASH64_HEX];
    qb_qgraph_hash(q0, hash[0]);
    qb_qgraph_hash(q, hash[1]);
    qb_qgraph_hash(again, hash[2]);
    assert_string_not_equal(hash[0], hash[1]);
    assert_string_equal(hash[1], hash[2]); /* batches change nothing */
    qb_qgraph_free(q0);
    qb_qgraph_free(q);
    qb_qgraph_free(again);
    qb_arena_destroy(g->arena);
}

/* Biases that are codes: corrected first, then rounded. */
static void test_bias_codes(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    struct qb_graph *const g = network();
    struct qb_scheme scheme = minmax_scheme(QB_REFINE_BIAS_CORRECTION);
    scheme.arithmetic = QB_ARITHMETIC_ORT;
    make_images(images, IMAGES);
    struct qb_qgraph *const q = refined(g, &scheme, images, IMAGES);
    assert_true(mean_error(g, q, images) < 1e-3);
    const struct qb_qnode *const n = &q->nodes[1];
    for (int k = 0; k < n->oc; k++) {
        const double unit = (double)(q->nodes[0].q.scale * n->wei_scales[k]);
        assert_true(fabs(n->bia_codes[k] * unit - (double)n->bia[k]) < 1e-6 * fabs((double)n->bia[k]));
    }
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

/* Merged additions: the bias is that of the convolution inside. */
static void test_fused_addition(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    struct qb_graph *const g = network();
    struct qb_scheme scheme = minmax_scheme(QB_REFINE_BIAS_CORRECTION | QB_REFINE_ADAROUND);
    scheme.fuse |= QB_FUSE_CONV_ADD;
    scheme.arithmetic = QB_ARITHMETIC_ONEDNN;
    make_images(images, IMAGES);
    struct qb_qgraph *const q = refined(g, &scheme, images, IMAGES);
    assert_non_null(strstr(q->refinement, "adaround conv_2: "));
    assert_non_null(strstr(q->refinement, "bias_correction conv_4: "));
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

static void test_adaround(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    struct qb_graph *const g = network();
    make_images(images, IMAGES);
    const struct qb_scheme plain = minmax_scheme(0), scheme = minmax_scheme(QB_REFINE_ADAROUND),
                           both = minmax_scheme(QB_REFINE_ADAROUND | QB_REFINE_BIAS_CORRECTION);
    struct qb_qgraph *const q0 = refined(g, &plain, images, IMAGES),
                            *const q = refined(g, &scheme, images, 4),
                            *const qb = refined(g, &both, images, IMAGES);
    size_t flips = 0;
    for (int i = 0; i < q->count; i++) {
        const struct qb_qnode *const a = &q0->nodes[i], *const b = &q->nodes[i];
        const int taps = a->op == QB_QOP_CONV ? a->kh * a->kw : 1;
        for (int k = 0; (a->op == QB_QOP_CONV || a->op == QB_QOP_DENSE) && k < a->oc * a->ic * taps; k++) {
            flips += a->wei[k] != b->wei[k];
            assert_true(abs(a->wei[k] - b->wei[k]) <= 1 && b->wei[k] >= -8 && b->wei[k] <= 7);
        }
    }
    assert_true(flips > 1000);
    assert_true(mean_error(g, qb, images) < 1e-6); /* the correction sees the rounded weights */
    /* The output of the first layer, whose input is the same in both. */
    double errors[2] = {0};
    float logits[IMAGES * CLASSES];
    void **const codes = run(NULL, q0, images, logits);
    const struct qb_node *const conv = &g->nodes[qbt_node(g, "conv")];
    const uint8_t *const src = codes[0];
    for (int v = 0; v < 2; v++) {
        const struct qb_qnode *const n = &(v ? q : q0)->nodes[1];
        for (int y = 1; y < 31; y++) { /* the first image's inside */
            for (int k = 0; k < 16; k++) {
                double error = 0;
                for (int i = 0; i < 27; i++) {
                    const int at = k * 27 + i, c = i / 9;
                    const double w = (double)n->wei_scales[k] * n->wei[at] - (double)conv->wei[at];
                    const int pixel = (y + i / 3 % 3 - 1) * 32 + y + i % 3 - 1;
                    error +=
                        w * (double)q0->nodes[0].q.scale * (src[pixel * 3 + c] - q0->nodes[0].q.zero_point);
                }
                errors[v] += error * error;
            }
        }
    }
    free_tensors(codes, q0->count);
    assert_true(errors[1] < 0.8 * errors[0]);
    qb_qgraph_free(q0);
    qb_qgraph_free(q);
    qb_qgraph_free(qb);
    qb_arena_destroy(g->arena);
}

static void test_fast_bias_correction(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    struct qb_graph *const g = network();
    make_images(images, IMAGES);
    struct qb_node *const zeroed = &g->nodes[qbt_node(g, "conv_7")];
    float *const bia = qb_arena_memdup(g->arena, zeroed->bia, 64 * sizeof *bia);
    bia[5] = 0;
    zeroed->bia = bia;
    struct qb_scheme scheme = minmax_scheme(QB_REFINE_FAST_BIAS_CORRECTION);
    scheme.weights.has_quant_range = false; /* 8 bits: shifts that are small beside the biases */
    struct qb_qgraph *const q = refined(g, &scheme, images, IMAGES);
    float logits[IMAGES * CLASSES];
    void **const real = run(g, NULL, images, logits);
    int corrected = 0, left_alone = 0;
    for (int i = 0; i < q->count; i++) {
        struct qb_qnode n = q->nodes[i];
        if (n.op != QB_QOP_CONV && n.op != QB_QOP_DENSE) {
            continue;
        }
        const struct qb_node *const conv = &g->nodes[qbt_node(g, n.name)];
        const struct qb_shape s = g->nodes[conv->src[0]].dst;
        const float *const values = real[conv->src[0]];
        double means[64] = {0}, want[64], got[64], ratio = 0;
        for (size_t k = 0; k < IMAGES * qb_shape_count(s); k++) {
            means[k % (size_t)s.c] += (double)values[k] / (double)(IMAGES * s.h * s.w);
        }
        const float *const bias = n.bia;
        n.bia = conv->bia;
        mean_output(&(struct operand){.g = g, .conv = conv, .values = values}, want);
        mean_output(&(struct operand){.g = g, .conv = conv, .node = &n, .means = means}, got);
        for (int k = 0; k < n.oc; k++) {
            ratio = fmax(ratio, fabs((want[k] - got[k]) / (double)conv->bia[k]));
        }
        char line[64];
        snprintf(line, sizeof line, "fast_bias_correction %s: %s", n.name,
                 ratio < 2 ? "biases moved" : "left alone");
        assert_non_null(strstr(q->refinement, line));
        for (int k = 0; k < n.oc; k++) {
            const double expected = (double)conv->bia[k] + (ratio < 2 ? want[k] - got[k] : 0);
            assert_true(fabs((double)bias[k] - expected) < 1e-5 * (1 + fabs(expected)));
        }
        (ratio < 2 ? &corrected : &left_alone)[0]++;
    }
    assert_true(corrected >= 1 && left_alone >= 1);
    free_tensors(real, g->count);
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

static float factor(const struct qb_qgraph *q, const struct qb_qgraph *plain, const char *name)
{
    return q->nodes[qb_qgraph_find(q, name)].q.scale / plain->nodes[qb_qgraph_find(plain, name)].q.scale;
}

/* Scales move, of weights and of tensors that layers read, but for the pooled one, which has its source's.
 * What follows works with them. */
static void test_scale_search(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    struct qb_graph *const g = network();
    make_images(images, IMAGES);
    struct qb_scheme plain = minmax_scheme(0), scheme = minmax_scheme(QB_REFINE_SCALE_SEARCH);
    struct qb_qgraph *const q0 = refined(g, &plain, images, IMAGES),
                            *const q = refined(g, &scheme, images, 4);
    static const char *const searched[] = {"input", "conv", "conv_1", "add", "conv_3", "add_1", "conv_6"},
                             *const left[] = {"conv_2", "conv_4", "conv_5",  "conv_7",
                                              "conv_8", "add_2",  "avgpool", "dense"};
    for (size_t i = 0; i < sizeof searched / sizeof searched[0]; i++) {
        const float f = factor(q, q0, searched[i]); /* the scale itself is no candidate */
        assert_true(f > 0.5f && f < 2.001f && fabsf(f - 1) > 0.001f);
        char needle[64];
        snprintf(needle, sizeof needle, "scale_search %s: scale ", searched[i]);
        assert_non_null(strstr(q->refinement, needle));
    }
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        assert_true(factor(q, q0, left[i]) == 1);
    }
    for (int i = 0; i < q->count; i++) {
        const struct qb_qnode *const n = &q->nodes[i];
        assert_int_equal(n->q.zero_point, q0->nodes[i].q.zero_point);
        for (int k = 0; n->wei && k < n->wei_scale_count; k++) {
            const float f = n->wei_scales[k] / q0->nodes[i].wei_scales[k];
            assert_true(f > 0.5f && f < 2.001f && fabsf(f - 1) > 0.001f);
        }
    }
    /* Each line of weights ends in a similarity that is no worse than a thousandth below the one before. */
    int lines = 0;
    for (const char *at = q->refinement; (at = strstr(at, "similarity ")); at++) {
        double before, after;
        if (sscanf(at, "similarity %lf -> %lf", &before, &after) == 2) {
            assert_true(before > 0.9 && after > before - 1e-3 && after <= 1);
            lines++;
        }
    }
    assert_int_equal(lines, 10);
    /* Integer biases are in units of the new scales, and corrections come after. Batches change nothing. */
    scheme.arithmetic = QB_ARITHMETIC_ORT;
    scheme.refine |= QB_REFINE_BIAS_CORRECTION;
    struct qb_qgraph *const codes = refined(g, &scheme, images, 1);
    assert_true(mean_error(g, codes, images) < 1e-3);
    const struct qb_qnode *const n = &codes->nodes[1];
    assert_memory_equal(n->wei_scales, q->nodes[1].wei_scales, (size_t)n->oc * sizeof(float));
    for (int k = 0; k < n->oc; k++) {
        const double unit = (double)(codes->nodes[0].q.scale * n->wei_scales[k]);
        assert_true(fabs(n->bia_codes[k] * unit - (double)n->bia[k]) < 1e-6 * fabs((double)n->bia[k]));
    }
    assert_non_null(strstr(codes->refinement, "scale_search conv: weight"));
    assert_non_null(strstr(codes->refinement, "bias_correction conv: "));
    qb_qgraph_free(codes);
    qb_qgraph_free(q0);
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

static void test_refused(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = network();
    struct qb_scheme scheme = minmax_scheme(QB_REFINE_ADAROUND);
    const struct qb_qparams_table table = qbt_numbered_qparams(g, &scheme);
    struct qb_qgraph *q;
    struct qb_refinement *r;
    enum qb_refine_pass next;
    qbt_ok(qb_quantize(g, &scheme, &table, "", &q, &err), &err);
    qbt_ok(qb_refinement_create(g, &scheme, q, &r, &err), &err);
    qbt_ok(qb_refinement_next(r, &next, &err), &err);
    assert_int_equal(next, QB_REFINE_PASS_INTEGER);
    qbt_error(qb_refinement_next(r, &next, &err), QB_EINPUT, &err, "no image was shown");
    qb_refinement_free(r);
    scheme.refine = QB_REFINE_FAST_BIAS_CORRECTION;
    qbt_ok(qb_refinement_create(g, &scheme, q, &r, &err), &err);
    qbt_ok(qb_refinement_next(r, &next, &err), &err);
    assert_int_equal(next, QB_REFINE_PASS_FLOAT);
    qbt_error(qb_refinement_next(r, &next, &err), QB_EINPUT, &err, "no image was shown");
    qb_refinement_free(r);
    qb_refinement_free(NULL);
    scheme.refine = QB_REFINE_ADAROUND;
    g->nodes[qbt_node(g, "relu_5")].dst.c = 600; /* what conv_7 reads */
    qbt_error(qb_refinement_create(g, &scheme, q, &r, &err), QB_EUNSUPPORTED, &err,
              "node \"conv_7\" has 5400 weights an output channel");
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equalize),     cmocka_unit_test(test_bias_correction),
        cmocka_unit_test(test_bias_codes),   cmocka_unit_test(test_fused_addition),
        cmocka_unit_test(test_adaround),     cmocka_unit_test(test_fast_bias_correction),
        cmocka_unit_test(test_scale_search), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
