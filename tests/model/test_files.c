/* The published network as four ONNX exporters and Keras wrote it: one canonical graph, PyTorch's weights and
 * logits. */
#include "testing.h"

#include <archive.h>
#include <archive_entry.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "eval.h"
#include "model/graph.h"

static const struct {
    const char *path;
    bool softmax;
} files[] = {
    {"models/onnx/resnet8_tf2onnx.onnx", true},
    {"models/onnx/resnet8_tf2onnx_nchw.onnx", true},
    {"models/onnx/resnet8_tf2onnx_keras3.onnx", true},
    {"models/onnx/resnet8_torch.onnx", false},
};
enum { FILES = sizeof files / sizeof *files };

/* Names, and shapes, of ../shared/golden/torch/README.md. */
static const struct {
    const char *name;
    struct qb_shape dst;
} layers[] = {
    {"input", {32, 32, 3}},   {"conv", {32, 32, 16}},       {"relu", {32, 32, 16}},
    {"conv_1", {32, 32, 16}}, {"relu_1", {32, 32, 16}},     {"conv_2", {32, 32, 16}},
    {"add", {32, 32, 16}},    {"relu_add", {32, 32, 16}},   {"conv_3", {16, 16, 32}},
    {"relu_3", {16, 16, 32}}, {"conv_4", {16, 16, 32}},     {"conv_5", {16, 16, 32}},
    {"add_1", {16, 16, 32}},  {"relu_add_1", {16, 16, 32}}, {"conv_6", {8, 8, 64}},
    {"relu_6", {8, 8, 64}},   {"conv_7", {8, 8, 64}},       {"conv_8", {8, 8, 64}},
    {"add_2", {8, 8, 64}},    {"relu_add_2", {8, 8, 64}},   {"avgpool", {1, 1, 64}},
    {"dense", {1, 1, 10}},    {"softmax", {1, 1, 10}},
};
enum { LAYERS = sizeof layers / sizeof *layers };

static struct qb_graph *load(const char *path)
{
    struct qb_graph *graph = NULL;
    struct qb_error err;
    qbt_require_shared(path);
    qbt_ok(qb_model_load(qbt_shared(path), &graph, &err), &err);
    return graph;
}

static void test_structure(void **state)
{
    (void)state;
    for (int f = 0; f < FILES; f++) {
        struct qb_graph *const graph = load(files[f].path);
        size_t params = 0;
        uint64_t macs = 0;
        assert_int_equal(graph->count, files[f].softmax ? LAYERS : LAYERS - 1);
        for (int i = 0; i < graph->count; i++) {
            assert_string_equal(graph->nodes[i].name, layers[i].name);
            assert_memory_equal(&graph->nodes[i].dst, &layers[i].dst, sizeof layers[i].dst);
            params += qb_node_params(&graph->nodes[i]);
            macs += qb_node_macs(graph, i);
        }
        /* 9 convolutions and a dense layer: sums over kernels x channels, + biases; x output pixels */
        assert_int_equal(params, 77706);
        assert_int_equal(macs, 12501632);
        assert_int_equal(graph->nodes[qb_graph_find(graph, "add")].src[1], qb_graph_find(graph, "relu"));
        assert_int_equal(graph->nodes[qb_graph_find(graph, "add_1")].src[1], qb_graph_find(graph, "conv_5"));
        assert_int_equal(graph->nodes[qb_graph_find(graph, "add_2")].src[1], qb_graph_find(graph, "conv_8"));
        qb_graph_free(graph);
    }
}

/* Exporters fold batch normalization in orders of their own: equal to a few units in the last place. */
static void check_near(const char *name, const char *kind, const float *got, size_t count)
{
    char path[128];
    struct qb_npy npy;
    struct qb_error err;
    snprintf(path, sizeof path, "golden/torch/fp32/%s.%s.npy", name, kind);
    qbt_require_shared(path);
    qbt_ok(qb_npy_read(qbt_shared(path), &npy, &err), &err);
    assert_int_equal(npy.count, count);
    const float *const want = npy.data;
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(got[i] - want[i]) <= 1e-6f * (1.0f + fabsf(want[i])))) {
            fail_msg("%s %s %zu is %.9g, PyTorch's %.9g", name, kind, i, (double)got[i], (double)want[i]);
        }
    }
    qb_npy_free(&npy);
}

static void test_weights(void **state)
{
    (void)state;
    for (int f = 0; f < FILES; f++) {
        struct qb_graph *const graph = load(files[f].path);
        int checked = 0;
        for (int i = 0; i < graph->count; i++) {
            const struct qb_node *const node = &graph->nodes[i];
            if (node->op == QB_OP_CONV || node->op == QB_OP_DENSE) {
                check_near(node->name, "weight", node->wei, qb_node_params(node) - (size_t)node->oc);
                check_near(node->name, "bias", node->bia, (size_t)node->oc);
                checked++;
            }
        }
        assert_int_equal(checked, 10);
        qb_graph_free(graph);
    }
}

/* Member `name` of a .npz file. */
static struct qb_npy read_npz(const char *path, const char *name)
{
    struct archive *const a = archive_read_new();
    struct archive_entry *entry;
    struct qb_npy npy = {0};
    struct qb_error err;
    archive_read_support_format_zip(a);
    assert_int_equal(archive_read_open_filename(a, path, 1 << 16), ARCHIVE_OK);
    while (!npy.data && archive_read_next_header(a, &entry) == ARCHIVE_OK) {
        if (strcmp(archive_entry_pathname(entry), name) == 0) {
            const size_t size = (size_t)archive_entry_size(entry);
            void *const bytes = malloc(size);
            assert_non_null(bytes);
            assert_int_equal(archive_read_data(a, bytes, size), size);
            qbt_ok(qb_npy_parse(name, bytes, size, &npy, &err), &err);
            free(bytes);
        }
    }
    archive_read_free(a);
    assert_non_null(npy.data);
    return npy;
}

static void test_logits(void **state)
{
    static const char trace[] = "golden/torch/fp32/trace_first2.npz",
                      logits[] = "golden/torch/fp32/logits_first256.npy";
    (void)state;
    qbt_require_shared(trace);
    qbt_require_shared(logits);
    struct qb_npy images = read_npz(qbt_shared(trace), "input.npy"), want;
    struct qb_error err;
    qbt_ok(qb_npy_read(qbt_shared(logits), &want, &err), &err);
    assert_int_equal(images.count, 2 * 3 * 1024);
    for (int f = 0; f < FILES; f++) {
        struct qb_graph *const graph = load(files[f].path);
        for (int n = 0; n < 2; n++) {
            float image[3072];
            for (int i = 0; i < 3072; i++) { /* N,C,H,W in the file */
                image[i] = ((const float *)images.data)[(n * 3 + i % 3) * 1024 + i / 3];
            }
            float *const got = eval_logits(graph, image);
            for (int k = 0; k < 10; k++) {
                assert_float_equal(got[k], ((const float *)want.data)[n * 10 + k], 2e-4f);
            }
            free(got);
        }
        qb_graph_free(graph);
    }
    qb_npy_free(&images);
    qb_npy_free(&want);
}

/* ONNX Runtime quantizes MatMul and the Add of its bias one by one, Mul and Add of batch normalization too:
 * operators with quantized constants. */
static void test_runtime_qdq(void **state)
{
    static const struct {
        const char *path;
        int adds, muls, constants;
    } cases[] = {
        {"golden/ort/int8/model.onnx", 4, 0, 1},
        {"golden/ort/uint8/model.onnx", 4, 0, 1},
        {"golden/ort/u8s8-per-channel/model.onnx", 4, 0, 1},
        {"golden/ort/published-uint8/model.onnx", 11, 7, 15},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qb_graph *graph = NULL;
        struct qb_error err;
        int seen[QB_OP_COUNT] = {0};
        qbt_require_shared(cases[i].path);
        qbt_ok(qb_model_load(qbt_shared(cases[i].path), &graph, &err), &err);
        for (int n = 0; n < graph->count; n++) {
            seen[graph->nodes[n].op]++;
        }
        assert_true(graph->quantized);
        assert_int_equal(seen[QB_OP_CONV], 9);
        assert_int_equal(seen[QB_OP_ADD], cases[i].adds);
        assert_int_equal(seen[QB_OP_MUL], cases[i].muls);
        assert_int_equal(seen[QB_OP_CONSTANT], cases[i].constants);
        qb_graph_free(graph);
    }
}

static void test_load_errors(void **state)
{
    (void)state;
    struct qb_graph *graph = NULL;
    struct qb_error err;
    assert_int_not_equal(qb_model_load("no/such/model.onnx", &graph, &err), QB_OK);
    assert_non_null(strstr(err.text, "no/such/model.onnx"));
    assert_int_not_equal(qb_model_load(qbt_source("CMakeLists.txt"), &graph, &err), QB_OK);
    assert_non_null(strstr(err.text, "CMakeLists.txt: not an ONNX model"));
    assert_null(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),   cmocka_unit_test(test_weights),     cmocka_unit_test(test_logits),
        cmocka_unit_test(test_runtime_qdq), cmocka_unit_test(test_load_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
