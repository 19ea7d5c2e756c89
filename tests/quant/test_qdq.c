/* A QDQ file read back gives the graph that was written: every golden case, and graphs made by hand. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "golden.h"
#include "qdq_testing.h"
#include "quant/qdq.h"
#include "quant_testing.h"
#include "testing.h"

/* Everything that a struct qb_qgraph holds: the hash covers what decides results, the rest is compared here.
 */
static void assert_same(const struct qb_qgraph *a, const struct qb_qgraph *b)
{
    char hash_a[QB_HASH64_HEX], hash_b[QB_HASH64_HEX];
    qb_qgraph_hash(a, hash_a);
    qb_qgraph_hash(b, hash_b);
    assert_string_equal(hash_a, hash_b);
    assert_string_equal(a->scheme, b->scheme);
    assert_string_equal(a->model_sha256, b->model_sha256);
    assert_string_equal(a->calibration_hash, b->calibration_hash);
    assert_string_equal(a->refinement ? a->refinement : "", b->refinement);
    assert_int_equal(a->arithmetic, b->arithmetic);
    assert_int_equal(a->accumulate, b->accumulate);
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        const struct qb_qnode *const x = &a->nodes[i], *const y = &b->nodes[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->q.dtype, y->q.dtype);
        assert_int_equal(x->q.quant_min, y->q.quant_min);
        assert_int_equal(x->q.quant_max, y->q.quant_max);
        assert_int_equal(x->wei_dtype, y->wei_dtype);
    }
}

static void assert_round_trip(const struct qb_qgraph *graph)
{
    struct qb_error err;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "q.onnx"),
                *const again = qb_path_join(dir, "again.onnx");
    struct qb_qgraph *const read = qbt_write_and_read(graph, path);
    assert_same(graph, read);
    /* The same graph gives the same bytes. */
    char sha[QB_SHA256_HEX], sha_again[QB_SHA256_HEX];
    qbt_ok(qb_qdq_write(read, again, &err), &err);
    qbt_ok(qb_sha256_file(path, sha, &err), &err);
    qbt_ok(qb_sha256_file(again, sha_again, &err), &err);
    assert_string_equal(sha, sha_again);
    qb_qgraph_free(read);
    free(path);
    free(again);
    qbt_rmtree(dir);
}

static void golden_cases(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "golden/torch/fbgemm-unfused", "golden/torch/fbgemm-fused", "golden/torch/default-minmax-fused",
        "golden/torch/per-channel-minmax-fused", "golden/saturation/torch-fbgemm-avx2/qnnpack-qconfig-fused"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qbt_require_shared(cases[i]);
        struct golden_case golden;
        struct qb_error err;
        qbt_ok(golden_load(qbt_shared(cases[i]), false, &golden, &err), &err);
        assert_round_trip(&golden.qgraph);
        golden_free(&golden);
    }
}

/* ResNet8 made by hand, quantized by `scheme`. */
static void assert_scheme_round_trip(const struct qb_scheme *scheme)
{
    struct qb_graph *const graph = qbt_resnet8();
    struct qb_qgraph *const q = qbt_quantized(graph, scheme);
    assert_round_trip(q);
    qb_qgraph_free(q);
    qb_arena_destroy(graph->arena);
}

static void fused(void **state)
{
    (void)state;
    const struct qb_scheme scheme = qbt_fbgemm();
    assert_scheme_round_trip(&scheme);
}

static void saturating_sums(void **state)
{
    (void)state;
    struct qb_scheme scheme = qbt_fbgemm();
    for (int i = 0; i < QB_ACCUMULATE_COUNT; i++) {
        scheme.accumulate = (enum qb_accumulate)i;
        assert_scheme_round_trip(&scheme);
    }
}

static void unfused(void **state)
{
    (void)state;
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.fuse = 0;
    assert_scheme_round_trip(&scheme);
}

static void weights_per_tensor(void **state)
{
    (void)state;
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.weights.observer = "minmax";
    assert_scheme_round_trip(&scheme);
}

static void unsigned_weights_with_zero_points(void **state)
{
    (void)state;
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.weights = (struct qb_observer_spec){.observer = "per_channel_minmax", .dtype = QB_QUINT8};
    assert_scheme_round_trip(&scheme);
    scheme.weights.observer = "minmax";
    assert_scheme_round_trip(&scheme);
}

static void signed_activations(void **state)
{
    (void)state;
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.activations.dtype = QB_QINT8;
    assert_scheme_round_trip(&scheme);
}

static void additions_in_convolutions(void **state)
{
    (void)state;
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.fuse |= QB_FUSE_CONV_ADD;
    scheme.arithmetic = QB_ARITHMETIC_ONEDNN;
    assert_scheme_round_trip(&scheme);
    scheme.fuse = QB_FUSE_CONV_ADD;
    assert_scheme_round_trip(&scheme);
}

/* Odd geometry: not square, dense layers on an image and on a flat tensor, a pool with its own stride, a
 * single channel. */
static void odd_shapes(void **state)
{
    (void)state;
    struct qb_qgraph *const q = qbt_odd_qgraph();
    assert_round_trip(q);
    qb_qgraph_free(q);
}

/* The last tensor is an image of one pixel: the file flattens it. */
static void logits_of_a_pool(void **state)
{
    (void)state;
    struct qb_graph *const graph = qbt_resnet8();
    const struct qb_scheme scheme = qbt_fbgemm();
    struct qb_qgraph *const q = qbt_quantized(graph, &scheme);
    q->count--; /* dense */
    assert_round_trip(q);
    qb_qgraph_free(q);
    qb_arena_destroy(graph->arena);
}

static void activations_of_few_bits_have_no_file(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_qparams q = {.scale = 1, .quant_max = 15, .bits = 4};
    struct qb_qnode node = {.op = QB_QOP_INPUT, .name = "input", .src = {-1, -1}, .dst = {2, 2, 3}, .q = q};
    const struct qb_qgraph graph = {
        .scheme = "s", .nodes = &node, .count = 1, .model_sha256 = "", .calibration_hash = ""};
    qbt_error(qb_qdq_write(&graph, "never.onnx", &err), QB_EUNSUPPORTED, &err,
              "node \"input\" has activations of 4 bits, which QuantizeLinear cannot limit to");
}

static void names_that_a_file_cannot_hold(void **state)
{
    (void)state;
    static const char *const names[] = {"", "a/b", "conv", "\xff\xfe"};
    struct qb_graph *const graph = qbt_resnet8();
    const struct qb_scheme scheme = qbt_fbgemm();
    struct qb_qgraph *const q = qbt_quantized(graph, &scheme);
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "q.onnx");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct qb_error err;
        q->nodes[3].name = names[i];
        qbt_error(qb_qdq_write(q, path, &err), QB_EINPUT, &err, "node number 3");
        assert_false(qb_is_file(path));
    }
    qb_qgraph_free(q);
    qb_arena_destroy(graph->arena);
    free(path);
    qbt_rmtree(dir);
}

/* A dense layer's output has no height and width in a file. */
static void flat_tensors_read_as_images(void **state)
{
    (void)state;
    struct qb_qgraph *const q = qbt_odd_qgraph();
    struct qb_qnode *const last = &q->nodes[q->count - 1];
    struct qb_error err;
    last->op = QB_QOP_AVGPOOL;
    last->kh = last->kw = last->stride_h = last->stride_w = 1;
    last->q = q->nodes[q->count - 2].q;
    qbt_error(qb_qdq_write(q, "unused.onnx", &err), QB_EUNSUPPORTED, &err, last->name);
    assert_int_equal(access("unused.onnx", F_OK), -1);
    qb_qgraph_free(q);
}

/* What only arithmetic ort has: integer biases, constants, products, pools and ReLUs that rescale. */
static void runtime_graphs(void **state)
{
    (void)state;
    struct qb_qgraph *const q = qbt_ort_qgraph();
    assert_round_trip(q);
    struct qb_error err;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "q.onnx");
    struct qb_qgraph *const read = qbt_write_and_read(q, path);
    for (int i = 0; i < q->count; i++) {
        const struct qb_qnode *const a = &q->nodes[i], *const b = &read->nodes[i];
        if (a->bia_codes) {
            assert_memory_equal(a->bia_codes, b->bia_codes, (size_t)a->oc * sizeof *a->bia_codes);
            assert_memory_equal(a->bia, b->bia, (size_t)a->oc * sizeof *a->bia);
        }
    }
    /* Types decide results: another one is another network. */
    char hash[QB_HASH64_HEX], other[QB_HASH64_HEX];
    qb_qgraph_hash(q, hash);
    q->nodes[3].q.dtype = QB_QUINT8;
    qb_qgraph_hash(q, other);
    assert_string_not_equal(hash, other);
    /* One constant cannot stand beside an image and a flat tensor. */
    q->nodes[7] = q->nodes[2];
    q->nodes[8].src[1] = 2;
    q->nodes[7].name = "another";
    qbt_error(qb_qdq_write(q, path, &err), QB_EUNSUPPORTED, &err, "node node 2: a constant beside images");
    qb_qgraph_free(read);
    qb_qgraph_free(q);
    free(path);
    qbt_rmtree(dir);
}

static void runtime_scheme(void **state)
{
    (void)state;
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.arithmetic = QB_ARITHMETIC_ORT;
    assert_scheme_round_trip(&scheme);
    scheme.activations.dtype = QB_QINT8;
    scheme.weights.observer = "minmax";
    assert_scheme_round_trip(&scheme);
}

/* TensorFlow Lite's recipe: codes and a bias in integers, one layer's weights by another block. */
static void fixed_point_scheme(void **state)
{
    (void)state;
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.arithmetic = QB_ARITHMETIC_TFLITE;
    scheme.activations =
        (struct qb_observer_spec){.observer = "minmax", .dtype = QB_QINT8, .scale_rule = QB_SCALE_TFLITE};
    scheme.weights = (struct qb_observer_spec){.observer = "per_channel_minmax",
                                               .dtype = QB_QINT8,
                                               .symmetric = true,
                                               .has_quant_range = true,
                                               .quant_min = -127,
                                               .quant_max = 127,
                                               .scale_rule = QB_SCALE_TFLITE};
    assert_scheme_round_trip(&scheme);
    struct qb_observer_spec per_tensor = scheme.weights;
    per_tensor.observer = "minmax";
    const struct qb_exception layer = {.layer = "dense", .name = "", .weights = &per_tensor};
    scheme.layers = &layer;
    scheme.layer_count = 1;
    assert_scheme_round_trip(&scheme);
}

static void unwritable_folder(void **state)
{
    (void)state;
    struct qb_qgraph *const q = qbt_odd_qgraph();
    struct qb_error err;
    assert_int_not_equal(qb_qdq_write(q, "/nonexistent/folder/q.onnx", &err), QB_OK);
    assert_non_null(strstr(err.text, "/nonexistent/folder"));
    qb_qgraph_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_cases),
        cmocka_unit_test(fused),
        cmocka_unit_test(saturating_sums),
        cmocka_unit_test(unfused),
        cmocka_unit_test(weights_per_tensor),
        cmocka_unit_test(unsigned_weights_with_zero_points),
        cmocka_unit_test(signed_activations),
        cmocka_unit_test(additions_in_convolutions),
        cmocka_unit_test(odd_shapes),
        cmocka_unit_test(logits_of_a_pool),
        cmocka_unit_test(activations_of_few_bits_have_no_file),
        cmocka_unit_test(names_that_a_file_cannot_hold),
        cmocka_unit_test(flat_tensors_read_as_images),
        cmocka_unit_test(runtime_graphs),
        cmocka_unit_test(runtime_scheme),
        cmocka_unit_test(fixed_point_scheme),
        cmocka_unit_test(unwritable_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
