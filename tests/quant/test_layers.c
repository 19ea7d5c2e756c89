/* Layers with a scheme of their own: which nodes become float, where conversions stand, whose observers and
 * weights a layer gets; and that such networks run alike on the engines and survive a file. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "quant/describe.h"
#include "quant/inspect.h"
#include "quant/qdq.h"
#include "quant_testing.h"

enum { IMAGES = 3, PIXELS = 32 * 32 * 3, CLASSES = 10, MAX_LAYERS = 8 };

/* A scheme with exceptions. */
struct mixed {
    struct qb_scheme scheme;
    struct qb_exception layers[MAX_LAYERS];
};

static void except(struct mixed *m, const char *layer, const struct qb_observer_spec *weights,
                   const struct qb_observer_spec *activations)
{
    m->layers[m->scheme.layer_count++] = (struct qb_exception){.layer = layer,
                                                               .name = "",
                                                               .fp32 = !weights && !activations,
                                                               .weights = weights,
                                                               .activations = activations,
                                                               .line = 7};
    m->scheme.layers = m->layers;
}

static struct mixed floats(unsigned fuse, enum qb_arithmetic arithmetic, const char *const *names)
{
    struct mixed m = {.scheme = qbt_fbgemm()};
    m.scheme.fuse = fuse;
    m.scheme.arithmetic = arithmetic;
    for (; *names; names++) {
        except(&m, *names, NULL, NULL);
    }
    return m;
}

/* Scales that fit what flows: the largest value of each tensor over the images. */
static struct qb_qparams_table calibrated(const struct qb_graph *g, const struct qb_scheme *scheme,
                                          const uint8_t *images);

static struct qb_qgraph *lower(struct qb_graph *g, struct mixed *m)
{
    struct qb_error err;
    struct qb_qgraph *q;
    m->scheme.layers = m->layers;
    const struct qb_qparams_table table = qbt_numbered_qparams(g, &m->scheme);
    qbt_ok(qb_quantize(g, &m->scheme, &table, "", &q, &err), &err);
    return q;
}

/* "name:op[+relu][+add][ f32](sources)" of every node that is float, converts, or is named in `also`. */
static void check_structure(unsigned fuse, enum qb_arithmetic arithmetic, const char *const *names,
                            const char *want)
{
    struct qb_graph *const g = qbt_resnet8();
    struct mixed m = floats(fuse, arithmetic, names);
    struct qb_qgraph *const q = lower(g, &m);
    char got[2048] = "";
    for (int i = 0; i < q->count; i++) {
        const struct qb_qnode *const n = &q->nodes[i];
        if (n->f32 || n->op == QB_QOP_QUANTIZE || n->fused_add) {
            const size_t used = strlen(got);
            snprintf(got + used, sizeof got - used, "%s%s:%s%s%s(%s%s%s)", used ? " " : "", n->name,
                     qb_qop_name(n->op), n->fused_add ? "+add" : "", n->relu ? "+relu" : "",
                     n->src[0] < 0 ? "" : q->nodes[n->src[0]].name, n->src[1] < 0 ? "" : ",",
                     n->src[1] < 0 ? "" : q->nodes[n->src[1]].name);
        }
        if (n->op == QB_QOP_QUANTIZE) { /* of the tensor that the float node makes, qbt_numbered_qparams */
            const int maker = qbt_node(g, q->nodes[n->src[0]].name);
            const int tensor = q->nodes[n->src[0]].relu ? maker + 1 : maker;
            assert_int_equal(n->q.zero_point, tensor + 1);
        }
    }
    assert_string_equal(got, want);
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

enum { FUSED = QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU };

static void test_structure(void **state)
{
    (void)state;
    const char *const conv[] = {"conv", NULL}, *const dense[] = {"dense", NULL},
                      *const inner[] = {"conv_4", NULL};
    const char *const block[] = {"conv_7", "conv_8", NULL}, *const tail[] = {"conv_7", "conv_8", "dense",
                                                                             NULL};
    /* The image stays float where only float layers read it. */
    check_structure(FUSED, QB_ARITHMETIC_FBGEMM, conv,
                    "input:input() conv:conv+relu(input) quantize_conv:quantize(conv)");
    check_structure(FUSED, QB_ARITHMETIC_FBGEMM, dense,
                    "dequantize_avgpool:dequantize(avgpool) dense:dense(dequantize_avgpool)");
    check_structure(FUSED, QB_ARITHMETIC_FBGEMM, inner,
                    "dequantize_conv_3:dequantize(conv_3) conv_4:conv(dequantize_conv_3) "
                    "quantize_conv_4:quantize(conv_4)");
    /* An addition of two floats is one of floats; its reader, the pool, works on codes again. */
    check_structure(FUSED, QB_ARITHMETIC_FBGEMM, block,
                    "dequantize_conv_6:dequantize(conv_6) conv_7:conv(dequantize_conv_6) "
                    "dequantize_add_1:dequantize(add_1) conv_8:conv(dequantize_add_1) "
                    "add_2:add+relu(conv_7,conv_8) quantize_add_2:quantize(add_2)");
    /* ... unless everything behind it is float too. */
    check_structure(FUSED, QB_ARITHMETIC_FBGEMM, tail,
                    "dequantize_conv_6:dequantize(conv_6) conv_7:conv(dequantize_conv_6) "
                    "dequantize_add_1:dequantize(add_1) conv_8:conv(dequantize_add_1) "
                    "add_2:add+relu(conv_7,conv_8) avgpool:avgpool(add_2) dense:dense(avgpool)");
    /* Without fusion a ReLU of its own, float where both sides are. */
    const char *const pair[] = {"conv_6", "conv_7", NULL};
    check_structure(0, QB_ARITHMETIC_FBGEMM, pair,
                    "dequantize_relu_4:dequantize(relu_4) conv_6:conv(dequantize_relu_4) relu_5:relu(conv_6) "
                    "conv_7:conv(relu_5) quantize_conv_7:quantize(conv_7)");
    check_structure(0, QB_ARITHMETIC_FBGEMM, (const char *const[]){"conv_6", NULL},
                    "dequantize_relu_4:dequantize(relu_4) conv_6:conv(dequantize_relu_4) "
                    "quantize_conv_6:quantize(conv_6)");
    /* An addition that is named has its operands dequantized, and the pool its sum quantized. */
    check_structure(FUSED, QB_ARITHMETIC_FBGEMM, (const char *const[]){"add_2", NULL},
                    "dequantize_conv_7:dequantize(conv_7) dequantize_conv_8:dequantize(conv_8) "
                    "add_2:add+relu(dequantize_conv_7,dequantize_conv_8) quantize_add_2:quantize(add_2)");
    /* ... or not, where only floats read it; one operand may be of floats already. */
    check_structure(FUSED, QB_ARITHMETIC_FBGEMM, (const char *const[]){"conv_8", "add_2", "dense", NULL},
                    "dequantize_add_1:dequantize(add_1) conv_8:conv(dequantize_add_1) "
                    "dequantize_conv_7:dequantize(conv_7) add_2:add+relu(dequantize_conv_7,conv_8) "
                    "avgpool:avgpool(add_2) dense:dense(avgpool)");
    check_structure(0, QB_ARITHMETIC_FBGEMM, (const char *const[]){"add", NULL},
                    "dequantize_conv_2:dequantize(conv_2) dequantize_relu:dequantize(relu) "
                    "add:add(dequantize_conv_2,dequantize_relu) quantize_add:quantize(add)");
    /* A float convolution is not merged with its addition, the others are; nor is one with a float addition.
     */
    check_structure(FUSED | QB_FUSE_CONV_ADD, QB_ARITHMETIC_ONEDNN, inner,
                    "add:conv+add+relu(conv_1,conv) dequantize_conv_3:dequantize(conv_3) "
                    "conv_4:conv(dequantize_conv_3) quantize_conv_4:quantize(conv_4) "
                    "add_1:conv+add+relu(add,quantize_conv_4) add_2:conv+add+relu(conv_6,conv_8)");
    check_structure(FUSED | QB_FUSE_CONV_ADD, QB_ARITHMETIC_ONEDNN, (const char *const[]){"add_1", NULL},
                    "add:conv+add+relu(conv_1,conv) dequantize_conv_4:dequantize(conv_4) "
                    "dequantize_conv_5:dequantize(conv_5) "
                    "add_1:add+relu(dequantize_conv_4,dequantize_conv_5) quantize_add_1:quantize(add_1) "
                    "add_2:conv+add+relu(conv_6,conv_8)");
}

static void test_refused(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    struct qb_calibration *c;
    struct mixed m = {.scheme = qbt_fbgemm()};
    struct qb_observer_spec spec = {.observer = "minmax", .dtype = QB_QINT8, .symmetric = true};
    except(&m, "conv_9", NULL, NULL);
    qbt_error(
        qb_calibration_create(g, &m.scheme, &c, &err), QB_EINPUT, &err,
        "fbgemm.yaml:7: layers: \"conv_9\" is no layer with scales of its own of resnet8-by-hand; there "
        "are conv, conv_1, conv_2, add, conv_3, conv_4, conv_5, add_1, conv_6, conv_7, conv_8, add_2, "
        "dense");
    m.layers[0] = (struct qb_exception){.layer = "relu", .name = "", .weights = &spec};
    qbt_error(qb_calibration_create(g, &m.scheme, &c, &err), QB_EINPUT, &err,
              "fbgemm.yaml: layers: \"relu\" is no layer with scales of its own");
    /* Weights of an addition: its own block is a mistake, another scheme's just has one. */
    spec.line = 8;
    m.layers[0] = (struct qb_exception){.layer = "add", .name = "", .weights = &spec};
    qbt_error(qb_calibration_create(g, &m.scheme, &c, &err), QB_EINPUT, &err,
              "fbgemm.yaml:8: layers.add.weights: an addition has no weights; leave the block out");
    m.layers[0].name = "other";
    qbt_ok(qb_calibration_create(g, &m.scheme, &c, &err), &err);
    qb_calibration_free(c);
    /* Blocks are checked as those of the scheme are: another one's under its own file, a layer's own under
     * its name. */
    spec.observer = "unheard_of";
    spec.line = 3;
    m.layers[0] = (struct qb_exception){
        .layer = "conv", .name = "other", .activations = &spec, .path = "somewhere/other.yaml"};
    qbt_error(qb_calibration_create(g, &m.scheme, &c, &err), QB_EINPUT, &err,
              "somewhere/other.yaml:3: activations.observer \"unheard_of\" is unknown");
    m.layers[0].name = "";
    qbt_error(qb_calibration_create(g, &m.scheme, &c, &err), QB_EINPUT, &err,
              "somewhere/other.yaml:3: layers.conv.activations.observer \"unheard_of\" is unknown");
    spec.observer = "minmax";
    spec.has_bins = true;
    m.layers[0] = (struct qb_exception){.layer = "conv", .name = "", .weights = &spec};
    qbt_error(qb_calibration_create(g, &m.scheme, &c, &err), QB_EINPUT, &err,
              "layers.conv.weights.bins: observer \"minmax\" has no such option");
    qb_arena_destroy(g->arena);
}

/* Other blocks for one layer's output, and for its weights; each of the two may be as the rest. */
static void test_other_blocks(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    struct mixed m = {.scheme = qbt_fbgemm()};
    m.scheme.activations = (struct qb_observer_spec){.observer = "minmax", .dtype = QB_QUINT8};
    const struct qb_observer_spec weights = {.observer = "minmax", .dtype = QB_QUINT8},
                                  activations = {.observer = "minmax", .dtype = QB_QINT8, .symmetric = true};
    except(&m, "conv_1", &weights, &activations);
    except(&m, "add", NULL, &activations);
    except(&m, "conv_3", &weights, NULL);
    struct qb_calibration *c;
    struct qb_qparams_table table;
    const float values[] = {0, 255};
    qbt_ok(qb_calibration_create(g, &m.scheme, &c, &err), &err);
    for (int i = 0; i < g->count; i++) {
        qbt_ok(qb_calibration_observe(c, i, values, 2, &err), &err);
    }
    qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
    qb_calibration_free(c);
    const struct qb_qparams q1 = table.q[qbt_node(g, "relu_1")], q2 = table.q[qbt_node(g, "conv_2")],
                            q3 = table.q[qbt_node(g, "relu_2")], q4 = table.q[qbt_node(g, "relu_3")];
    assert_true(q1.dtype == QB_QINT8 && q1.scale == 2 && q1.zero_point == 128);
    assert_true(q3.dtype == QB_QINT8 && q3.scale == 2);
    assert_true(q2.dtype == QB_QUINT8 && q2.scale == 1 && q2.zero_point == 0);
    assert_true(q4.dtype == QB_QUINT8 && q4.scale == 1 && q4.zero_point == 0);
    struct qb_qgraph *q;
    qbt_ok(qb_quantize(g, &m.scheme, &table, "", &q, &err), &err);
    const struct qb_qnode *const n1 = &q->nodes[qb_qgraph_find(q, "conv_1")],
                                 *const n2 = &q->nodes[qb_qgraph_find(q, "conv_2")],
                                 *const n3 = &q->nodes[qb_qgraph_find(q, "conv_3")];
    assert_true(n1->wei_dtype == QB_QUINT8 && n1->wei_scale_count == 1);
    assert_true(n2->wei_dtype == QB_QINT8 && n2->wei_scale_count == 16);
    assert_true(n3->wei_dtype == QB_QUINT8 && n3->wei_scale_count == 1);
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

/* In words, layers that have the same together; equal blocks under a name or not are the same identity. */
static void test_described(void **state)
{
    (void)state;
    struct mixed m = {.scheme = qbt_fbgemm()};
    const struct qb_observer_spec six = {
        .observer = "minmax", .dtype = QB_QINT8, .symmetric = true, .bits = 6};
    char text[QB_LAYERS_DESCRIPTION], hex[QB_SHA256_HEX], other[QB_SHA256_HEX];
    struct qb_error err;
    qb_layers_describe(&m.scheme, text);
    assert_string_equal(text, "");
    except(&m, "conv", &six, NULL);
    except(&m, "conv_1", &six, NULL);
    except(&m, "conv_4", &six, &m.scheme.activations);
    except(&m, "add", NULL, NULL);
    except(&m, "dense", NULL, NULL);
    m.layers[3].name = m.layers[4].name = "fp32";
    qb_layers_describe(&m.scheme, text);
    assert_string_equal(
        text, "conv conv_1 { weights minmax qint8 symmetric, codes -32..31, 6 bits }, "
              "conv_4 { weights minmax qint8 symmetric, codes -32..31, 6 bits; activations histogram "
              "quint8 affine, codes 0..127 (reduce_range), bins 2048 }, add dense fp32");
    qbt_ok(qb_layers_identity(&m.scheme, hex, &err), &err);
    m.layers[0].activations = &m.scheme.activations;
    m.layers[1].name = "other";
    qbt_ok(qb_layers_identity(&m.scheme, other, &err), &err);
    assert_string_equal(hex, other);
    struct qb_observer_spec five = six;
    five.bits = 5;
    m.layers[1].weights = &five;
    qbt_ok(qb_layers_identity(&m.scheme, other, &err), &err);
    assert_string_not_equal(hex, other);
}

static void test_bytes_and_hash(void **state)
{
    (void)state;
    struct qb_graph *const g = qbt_resnet8();
    struct mixed m = floats(FUSED, QB_ARITHMETIC_FBGEMM, (const char *const[]){"dense", NULL}),
                 none = {.scheme = qbt_fbgemm()};
    struct qb_qgraph *const q = lower(g, &m), *const plain = lower(g, &none);
    /* 640 weights become floats, 10 scales and 10 zero points go */
    assert_int_equal(qb_qgraph_bytes(q), qb_qgraph_bytes(plain) + 3 * 640 - 10 * 5);
    char hash[QB_HASH64_HEX], other[QB_HASH64_HEX];
    qb_qgraph_hash(q, hash);
    struct qb_qnode *const dense = &q->nodes[q->count - 1];
    float wei[640];
    memcpy(wei, dense->wei_f32, sizeof wei);
    dense->wei_f32 = wei;
    qb_qgraph_hash(q, other);
    assert_string_equal(hash, other);
    wei[639] += 1;
    qb_qgraph_hash(q, other);
    assert_string_not_equal(hash, other);
    wei[639] -= 1;
    char *text;
    struct qb_error err;
    qbt_ok(qb_inspect_qgraph(q, true, &text, &err), &err);
    assert_non_null(strstr(text, "\"dtype\": \"float32\""));
    free(text);
    qbt_ok(qb_inspect_qgraph(q, false, &text, &err), &err);
    assert_non_null(strstr(text, "dequantize_avgpool"));
    free(text);
    qb_qgraph_free(q);
    qb_qgraph_free(plain);
    qb_arena_destroy(g->arena);
}

/* ---- running ---- */

struct kept {
    int count;
    size_t *bytes; /* [count] of all images */
    void **tensors;
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    const struct kept *const k = ctx;
    (void)count;
    memcpy(k->tensors[node], data, k->bytes[node]);
}

static struct kept run(const char *name, const struct qb_graph *g, const struct qb_qgraph *q, enum qb_isa isa,
                       const uint8_t *images, float logits[IMAGES * CLASSES], enum qb_exactness *exactness)
{
    struct qb_error err;
    struct qb_engine *engine;
    const struct qb_engine_options options = {.isa = isa, .threads = 1, .batch = IMAGES};
    struct kept k = {.count = g ? g->count : q->count};
    k.bytes = calloc((size_t)k.count, sizeof *k.bytes);
    k.tensors = calloc((size_t)k.count, sizeof *k.tensors);
    for (int i = 0; i < k.count; i++) {
        const size_t element = g ? sizeof(float) : qb_qnode_element(&q->nodes[i]);
        k.bytes[i] = IMAGES * element * qb_shape_count(g ? g->nodes[i].dst : q->nodes[i].dst);
        k.tensors[i] = calloc(1, k.bytes[i]);
    }
    qbt_ok(qb_engine_create(name, g, q, &options, &engine, &err), &err);
    engine->tap = keep;
    engine->tap_ctx = &k;
    qbt_ok(qb_engine_run(engine, images, IMAGES, logits, &err), &err);
    engine->tap = NULL; /* the native engine fuses without taps */
    float again[IMAGES * CLASSES];
    qbt_ok(qb_engine_run(engine, images, IMAGES, again, &err), &err);
    assert_memory_equal(again, logits, sizeof again);
    *exactness = engine->exactness;
    qb_engine_free(engine);
    return k;
}

static void release(struct kept *k)
{
    for (int i = 0; i < k->count; i++) {
        free(k->tensors[i]);
    }
    free(k->tensors);
    free(k->bytes);
}

static void make_images(uint8_t images[IMAGES * PIXELS])
{
    static float noise[IMAGES * PIXELS];
    qbt_uniform(21, noise, IMAGES * PIXELS);
    for (int i = 0; i < IMAGES * PIXELS; i++) {
        images[i] = (uint8_t)(noise[i] * 256);
    }
}

static void observe(void *ctx, int node, const void *data, size_t count)
{
    struct qb_error err;
    qbt_ok(qb_calibration_observe(ctx, node, data, count, &err), &err);
}

static struct qb_qparams_table calibrated(const struct qb_graph *g, const struct qb_scheme *scheme,
                                          const uint8_t *images)
{
    struct qb_error err;
    struct qb_calibration *c;
    struct qb_engine *engine;
    struct qb_qparams_table table;
    float logits[IMAGES * CLASSES];
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = IMAGES};
    qbt_ok(qb_calibration_create(g, scheme, &c, &err), &err);
    qbt_ok(qb_engine_create("reference", g, NULL, &options, &engine, &err), &err);
    engine->tap = observe;
    engine->tap_ctx = c;
    qbt_ok(qb_engine_run(engine, images, IMAGES, logits, &err), &err);
    qb_engine_free(engine);
    qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
    qb_calibration_free(c);
    return table;
}

/* The first layer in float: its tensor is the float network's, its codes are that tensor's. */
static void test_float_first_layer(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    float logits[IMAGES * CLASSES];
    enum qb_exactness exactness;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    struct mixed m = floats(FUSED, QB_ARITHMETIC_FBGEMM, (const char *const[]){"conv", "dense", NULL});
    m.scheme.layers = m.layers;
    make_images(images);
    const struct qb_qparams_table table = calibrated(g, &m.scheme, images);
    struct qb_qgraph *q;
    qbt_ok(qb_quantize(g, &m.scheme, &table, "", &q, &err), &err);
    struct kept real = run("reference", g, NULL, QB_ISA_REF, images, logits, &exactness);
    struct kept mixed = run("reference", NULL, q, QB_ISA_REF, images, logits, &exactness);
    const int conv = qb_qgraph_find(q, "conv"), codes = qb_qgraph_find(q, "quantize_conv");
    assert_memory_equal(real.tensors[qbt_node(g, "relu")], mixed.tensors[conv], mixed.bytes[conv]);
    const struct qb_qparams *const to = &q->nodes[codes].q;
    const float *const values = mixed.tensors[conv];
    for (size_t i = 0; i < mixed.bytes[codes]; i++) {
        const float code = nearbyintf(fmaf(values[i], 1.0f / to->scale, (float)to->zero_point));
        assert_int_equal(((const uint8_t *)mixed.tensors[codes])[i], (int)fminf(code, 255));
    }
    /* The last one: from the pool's codes. */
    const int pool = qb_qgraph_find(q, "avgpool");
    const struct qb_qnode *const dense = &q->nodes[q->count - 1];
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        double sum = (double)dense->bia[i % CLASSES], size = 0;
        for (int k = 0; k < 64; k++) {
            const int code = ((const uint8_t *)mixed.tensors[pool])[i / CLASSES * 64 + k];
            const double term = (double)q->nodes[pool].q.scale * (code - q->nodes[pool].q.zero_point) *
                                (double)dense->wei_f32[i % CLASSES * 64 + k];
            sum += term;
            size += fabs(term);
        }
        assert_true(fabs(sum - (double)logits[i]) <= 1e-5 * size);
    }
    release(&real);
    release(&mixed);
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

/* native equals reference byte for byte, oneDNN where only additions are float; else it says that it is near.
 * A file gives the same network; without this program's metadata too, but for additions of floats between
 * codes. */
static void run_everywhere(unsigned fuse, enum qb_arithmetic arithmetic, const char *const *names)
{
    bool layers = false,
         hidden = false; /* additions that a file without metadata does not tell from others */
    for (size_t i = 0; names[i]; i++) {
        layers |= strncmp(names[i], "add", 3) != 0;
    }
    static uint8_t images[IMAGES * PIXELS];
    float want[IMAGES * CLASSES], got[IMAGES * CLASSES];
    enum qb_exactness exactness;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8(), *file;
    struct mixed m = floats(fuse, arithmetic, names);
    m.scheme.layers = m.layers;
    m.scheme.activations.reduce_range = false;
    make_images(images);
    const struct qb_qparams_table table = calibrated(g, &m.scheme, images);
    struct qb_qgraph *q, *back;
    qbt_ok(qb_quantize(g, &m.scheme, &table, "", &q, &err), &err);
    for (int i = 0; i < q->count; i++) {
        const struct qb_qnode *const n = &q->nodes[i];
        hidden |= n->f32 && n->op == QB_QOP_ADD && q->nodes[n->src[0]].op == QB_QOP_DEQUANTIZE &&
                  q->nodes[n->src[1]].op == QB_QOP_DEQUANTIZE;
    }
    struct kept reference = run("reference", NULL, q, QB_ISA_REF, images, want, &exactness);
    assert_int_equal(exactness, QB_EXACT);
    for (int isa = 0; isa < QB_ISA_COUNT; isa++) {
        if (isa == QB_ISA_REF || qb_cpu_has((enum qb_isa)isa)) {
            struct kept native = run("native", NULL, q, (enum qb_isa)isa, images, got, &exactness);
            assert_int_equal(exactness, QB_EXACT);
            assert_memory_equal(got, want, sizeof got);
            for (int i = 0; i < q->count; i++) {
                assert_memory_equal(native.tensors[i], reference.tensors[i], reference.bytes[i]);
            }
            release(&native);
        }
    }
    /* Without VNNI its sums of 8-bit codes saturate. */
    if (qb_cpu_has(QB_ISA_AVXVNNI) || qb_cpu_has(QB_ISA_AVX512VNNI)) {
        struct kept onednn = run("onednn", NULL, q, qb_cpu_best(QB_ISA_AMX), images, got, &exactness);
        assert_int_equal(exactness, layers ? QB_APPROXIMATE : QB_EXACT);
        float largest = 0, most = 0;
        for (int i = 0; i < IMAGES * CLASSES; i++) {
            largest = fmaxf(largest, fabsf(want[i]));
            most = fmaxf(most, fabsf(want[i] - got[i]));
        }
        assert_true(layers ? most < 0.05f * largest : most == 0);
        release(&onednn);
    }
    release(&reference);
    char *const dir = qbt_mkdtemp(), path[256];
    snprintf(path, sizeof path, "%s/mixed.onnx", dir);
    qbt_ok(qb_qdq_write(q, path, &err), &err);
    qbt_ok(qb_model_load(path, &file, &err), &err);
    qbt_ok(qb_qdq_read(file, QB_ARITHMETIC_FBGEMM, &back, &err), &err);
    char hash[QB_HASH64_HEX], other[QB_HASH64_HEX];
    qb_qgraph_hash(q, hash);
    qb_qgraph_hash(back, other);
    assert_string_equal(hash, other);
    for (int i = 0; i < q->count; i++) {
        assert_string_equal(q->nodes[i].name, back->nodes[i].name);
    }
    /* The same without what only this program writes: other order and names, the same results. */
    file->metadata_count = 0;
    qb_qgraph_free(back);
    qbt_ok(qb_qdq_read(file, arithmetic, &back, &err), &err);
    assert_int_equal(back->count < q->count, hidden);
    struct kept imported = run("reference", NULL, back, QB_ISA_REF, images, got, &exactness);
    if (!hidden) {
        assert_memory_equal(got, want, sizeof got);
    }
    release(&imported);
    qb_graph_free(file);
    qbt_rmtree(dir);
    qb_qgraph_free(back);
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

static void test_everywhere(void **state)
{
    (void)state;
    const char *const ends[] = {"conv", "dense", NULL}, *const block[] = {"conv_4", "conv_5", NULL},
                      *const tail[] = {"conv_7", "conv_8", "dense", NULL}, *const inner[] = {"conv_1", NULL},
                      *const pair[] = {"conv_6", "conv_7", NULL};
    run_everywhere(FUSED, QB_ARITHMETIC_FBGEMM, ends);
    run_everywhere(FUSED, QB_ARITHMETIC_FBGEMM, block);
    run_everywhere(FUSED, QB_ARITHMETIC_ONEDNN, tail);
    run_everywhere(FUSED | QB_FUSE_CONV_ADD, QB_ARITHMETIC_ONEDNN, inner);
    run_everywhere(0, QB_ARITHMETIC_FBGEMM, pair);
    run_everywhere(FUSED, QB_ARITHMETIC_FBGEMM, (const char *const[]){"add", "add_2", NULL});
    run_everywhere(FUSED | QB_FUSE_CONV_ADD, QB_ARITHMETIC_ONEDNN, (const char *const[]){"add_1", NULL});
    run_everywhere(0, QB_ARITHMETIC_FBGEMM, (const char *const[]){"conv_5", "add_1", NULL});
}

/* What is not a network of this kind is refused in front of every engine. */
static void test_checked(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_engine *engine;
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};
    struct qb_graph *const g = qbt_resnet8();
    struct mixed m = floats(FUSED, QB_ARITHMETIC_FBGEMM, (const char *const[]){"conv_4", NULL});
    struct qb_qgraph *const q = lower(g, &m);
    struct qb_qnode *const conv = &q->nodes[qb_qgraph_find(q, "conv_4")], saved = *conv;
    struct qb_qnode *const add = &q->nodes[qb_qgraph_find(q, "add_1")];
    const struct {
        int what;
        const char *needle;
    } cases[] = {{0, "node add_1: its source conv_4 has floats; codes are expected"},
                 {1, "node conv_4: its source conv_3 has codes; floats are expected"},
                 {2, "node conv_4: float weights or biases are absent"},
                 {3, "node dequantize_conv_3: it dequantizes, but its tensor is not one of floats"},
                 {4, "node quantize_conv_4: a quantize has no float form"},
                 {5, "node conv_4: float weights or biases are absent"}};
    float wei[9216];
    memcpy(wei, conv->wei_f32, sizeof wei);
    wei[77] = NAN;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int first = add->src[0];
        struct qb_qnode *const from = &q->nodes[conv->src[0]], *const to = &q->nodes[first];
        switch (cases[i].what) {
        case 0: add->src[0] = to->src[0]; break;
        case 1: conv->src[0] = from->src[0]; break;
        case 2: conv->wei_f32 = NULL; break;
        case 3: from->f32 = false; break;
        case 4: to->f32 = true; break;
        default: conv->wei_f32 = wei; break;
        }
        qbt_error(qb_engine_create("native", NULL, q, &options, &engine, &err), QB_EINPUT, &err,
                  cases[i].needle);
        *conv = saved;
        from->f32 = true;
        to->f32 = false;
        add->src[0] = first;
    }
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_other_blocks),   cmocka_unit_test(test_described),
        cmocka_unit_test(test_bytes_and_hash), cmocka_unit_test(test_float_first_layer),
        cmocka_unit_test(test_everywhere),     cmocka_unit_test(test_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
