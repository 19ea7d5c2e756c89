/* Single layers with random codes through fbgemm on a CPU without VNNI (../shared/golden/saturation): the
 * emulation gives the same codes, and in the wrong order of pairs, or exact, it does not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "golden.h"
#include "testing.h"

/* A case: x u8 [n][ic][h][w], w s8 [oc][ic][kh][kw], y u8 [n][oc][..], scales of source and weights 1, no
 * bias. */
struct layer {
    struct golden_npz npz;
    const struct qb_npy *x, *w, *y;
    int stride, pad, zx, zy;
    float scale;
    struct qb_arena *arena;
    struct qb_qnode nodes[3];
    struct qb_qgraph graph;
};

static const float one = 1.0F;
static const int32_t zero = 0;

static int side(const struct qb_npy *npy, int axis)
{
    return axis < npy->dims ? (int)npy->shape[axis] : 1;
}

static const void *zeros(struct layer *l, size_t count, size_t size)
{
    void *const array = qb_arena_array(l->arena, count, size);
    assert_non_null(array);
    return array;
}

/* A source of codes below its zero point: pixels p as codes p with zero point 0, behind them a 1x1
 * convolution that passes every channel on and adds -zx: codes p again, with zero point zx. */
static void build(struct layer *l)
{
    const int ic = side(l->x, 1), h = side(l->x, 2), w = side(l->x, 3);
    const bool dense = l->y->dims == 2;
    int8_t *const pass = qb_arena_array(l->arena, (size_t)ic * (size_t)ic, 1);
    float *const minus_zx = qb_arena_array(l->arena, (size_t)ic, sizeof *minus_zx);
    assert_true(pass && minus_zx);
    for (int c = 0; c < ic; c++) {
        pass[c * ic + c] = 1;
        minus_zx[c] = (float)-l->zx;
    }
    const struct qb_qnode common = {.wei_dtype = QB_QINT8,
                                    .wei_scale_count = 1,
                                    .wei_scales = &one,
                                    .wei_zero_points = &zero,
                                    .kh = 1,
                                    .kw = 1,
                                    .stride_h = 1,
                                    .stride_w = 1,
                                    .src = {-1, -1}};
    struct qb_qnode *const input = &l->nodes[0], *const shift = &l->nodes[1], *const layer = &l->nodes[2];
    *input = *shift = *layer = common;
    input->op = QB_QOP_INPUT, input->name = "input";
    input->dst = shift->dst = (struct qb_shape){h, w, ic};
    input->q = (struct qb_qparams){.scale = 1.0F, .dtype = QB_QUINT8, .quant_max = 255};
    shift->op = QB_QOP_CONV, shift->name = "shift";
    shift->src[0] = 0, shift->ic = shift->oc = ic;
    shift->q = (struct qb_qparams){.scale = 1.0F, .zero_point = l->zx, .dtype = QB_QUINT8, .quant_max = 255};
    shift->wei = pass, shift->bia = minus_zx;
    layer->op = dense ? QB_QOP_DENSE : QB_QOP_CONV, layer->name = "layer";
    layer->src[0] = 1, layer->ic = ic, layer->oc = side(l->w, 0);
    layer->kh = side(l->w, 2), layer->kw = side(l->w, 3), layer->stride_h = layer->stride_w = l->stride;
    layer->pad_t = layer->pad_l = layer->pad_b = layer->pad_r = l->pad;
    layer->dst = (struct qb_shape){side(l->y, 2), side(l->y, 3), layer->oc};
    layer->q =
        (struct qb_qparams){.scale = l->scale, .zero_point = l->zy, .dtype = QB_QUINT8, .quant_max = 255};
    layer->wei = l->w->data, layer->bia = zeros(l, (size_t)layer->oc, sizeof(float));
    l->graph = (struct qb_qgraph){
        .scheme = "", .model_sha256 = "", .calibration_hash = "", .nodes = l->nodes, .count = 3};
}

static void load(const char *name, struct layer *l)
{
    char relative[128];
    struct qb_error err;
    snprintf(relative, sizeof relative, "golden/saturation/torch-fbgemm-avx2/layers/%s.npz", name);
    qbt_require_shared(relative);
    memset(l, 0, sizeof *l);
    qbt_ok(golden_npz_read(qbt_shared(relative), &l->npz, &err), &err);
    l->x = golden_npz_find(&l->npz, "x");
    l->w = golden_npz_find(&l->npz, "w");
    l->y = golden_npz_find(&l->npz, "y");
    const struct qb_npy *const numbers = golden_npz_find(&l->npz, "stride_pad_zx_zy");
    const struct qb_npy *const scale = golden_npz_find(&l->npz, "scale");
    assert_true(l->x && l->w && l->y && numbers && numbers->count == 4 && scale && scale->type == QB_NPY_F32);
    l->stride = (int)qb_npy_int(numbers, 0);
    l->pad = (int)qb_npy_int(numbers, 1);
    l->zx = (int)qb_npy_int(numbers, 2);
    l->zy = (int)qb_npy_int(numbers, 3);
    memcpy(&l->scale, scale->data, sizeof l->scale);
    l->arena = qb_arena_create();
    assert_non_null(l->arena);
    build(l);
}

static void unload(struct layer *l)
{
    qb_arena_destroy(l->arena);
    golden_npz_free(&l->npz);
}

/* Index in [n][c][h][w] of NHWC index `i` of shape `s`. */
static size_t nchw(struct qb_shape s, size_t i)
{
    const size_t c = (size_t)s.c, plane = (size_t)s.h * (size_t)s.w, each = plane * c;
    return i / each * each + (i % c) * plane + i % each / c;
}

/* Codes of the layer under test. */
struct seen {
    uint8_t *codes;
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    if (node == 2) {
        memcpy(((struct seen *)ctx)->codes, data, count);
    }
}

static long differing(struct layer *l, enum qb_accumulate accumulate, uint64_t *saturated)
{
    const int n = side(l->x, 0);
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 2, .batch = n};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    uint8_t *const images = malloc(l->x->count);
    struct seen seen = {malloc(l->y->count)};
    float *const logits = malloc(l->y->count * sizeof *logits);
    assert_true(images && seen.codes && logits);
    for (size_t i = 0; i < l->x->count; i++) {
        images[i] = ((const uint8_t *)l->x->data)[nchw(l->nodes[0].dst, i)];
    }
    l->graph.accumulate = accumulate;
    qbt_ok(qb_engine_create("reference", NULL, &l->graph, &options, &engine, &err), &err);
    engine->tap = keep;
    engine->tap_ctx = &seen;
    qbt_ok(qb_engine_run(engine, images, n, logits, &err), &err);
    *saturated = engine->saturation ? engine->saturation[2].pairs : 0;
    qb_engine_free(engine);
    long differ = 0;
    for (size_t i = 0; i < l->y->count; i++) {
        differ += seen.codes[i] != ((const uint8_t *)l->y->data)[nchw(l->nodes[2].dst, i)];
    }
    free(logits);
    free(seen.codes);
    free(images);
    return differ;
}

static void layers(void **state)
{
    (void)state;
    static const char *const names[] = {"conv",   "conv_1", "conv_3", "conv_4", "conv_5",
                                        "conv_6", "conv_7", "conv_8", "dense"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct layer l;
        uint64_t saturated;
        load(names[i], &l);
        assert_int_equal(differing(&l, QB_ACCUMULATE_MADDUBS_KHWC, &saturated), 0);
        assert_true(saturated > 0);
        assert_true(differing(&l, QB_ACCUMULATE_EXACT, &saturated) > 0);
        /* oneDNN's order differs where the channels are odd, in the first layer alone. */
        assert_int_equal(differing(&l, QB_ACCUMULATE_MADDUBS_PAD4, &saturated), i == 0 ? 10289 : 0);
        unload(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
