/* Bit for bit against real PyTorch (../shared/golden/torch): histograms after every batch, scales and zero
 * points of six observers, the search on the histograms of all activation tensors, weights of four models. */
#include "testing.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "quant/histogram.h"
#include "quant/observer_histogram.h"
#include "quant/qparams.h"
#include "quant_testing.h"

#define GOLDEN "golden/torch/"
enum { BATCHES = 6, VALUES = 4096, BINS = 2048 };

static const char *const tensors[] = {"input",  "conv",  "conv_1", "conv_2", "add",    "conv_3", "conv_4",
                                      "conv_5", "add_1", "conv_6", "conv_7", "conv_8", "add_2",  "dense"};
static const char *const layers[] = {"conv",   "conv_1", "conv_2", "conv_3", "conv_4",
                                     "conv_5", "conv_6", "conv_7", "conv_8", "dense"};
#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static const char *golden(const char *folder, const char *file, const char *suffix)
{
    char name[256];
    snprintf(name, sizeof name, GOLDEN "%s/%s%s", folder, file, suffix);
    return qbt_shared(name);
}

static struct qb_npy read_npy(const char *folder, const char *file, const char *suffix, size_t count)
{
    struct qb_error err;
    struct qb_npy npy;
    qbt_ok(qb_npy_read(golden(folder, file, suffix), &npy, &err), &err);
    assert_int_equal(npy.count, count);
    return npy;
}

static json_t *read_manifest(const char *folder)
{
    json_error_t where;
    json_t *const root = json_load_file(golden(folder, "manifest.json", ""), 0, &where);
    if (!root) {
        fail_msg("%s: %s", folder, where.text);
    }
    return root;
}

static float hex(const json_t *text)
{
    assert_true(json_is_string(text));
    return strtof(json_string_value(text), NULL);
}

static void check_range(const json_t *pair, float min, float max)
{
    assert_true(hex(json_array_get(pair, 0)) == min && hex(json_array_get(pair, 1)) == max);
}

/* One observer over one sequence. `hists` is [BATCHES][BINS] or NULL. */
static void check_observer(const struct qb_observer_spec *spec, const float *values, const json_t *want,
                           const float *hists)
{
    struct qb_error err;
    struct qb_observer *o;
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    const bool histogram = strcmp(spec->observer, "histogram") == 0;
    const json_t *const ranges = json_object_get(want, "min_max_after_each_batch");
    float min, max;
    qbt_ok(ops->create(spec, 1, &o, &err), &err);
    for (size_t b = 0; b < BATCHES; b++) {
        qbt_ok(ops->observe(o, values + b * VALUES, VALUES, &err), &err);
        if (histogram) {
            const float *const hist = qb_observer_histogram_state(o, &min, &max);
            assert_memory_equal(hist, hists + b * BINS, BINS * sizeof *hist);
        } else {
            qbt_ok(ops->range(o, &min, &max, &err), &err);
        }
        check_range(json_array_get(ranges, b), min, max);
    }
    qbt_ok(ops->range(o, &min, &max, &err), &err);
    if (histogram) {
        assert_true(min == hex(json_object_get(want, "clip_min")) &&
                    max == hex(json_object_get(want, "clip_max")));
    }
    struct qb_qparams q;
    qbt_ok(qb_qparams_derive(spec, min, max, &q, &err), &err);
    assert_true(q.scale == hex(json_object_get(want, "scale_hex")));
    assert_int_equal(q.zero_point, json_integer_value(json_object_get(want, "zero_point")));
    assert_int_equal(q.quant_min, json_integer_value(json_object_get(want, "qmin")));
    assert_int_equal(q.quant_max, json_integer_value(json_object_get(want, "qmax")));
    ops->destroy(o);
}

static void test_observer_vectors(void **state)
{
    (void)state;
    qbt_require_shared(GOLDEN "observer-vectors");
    static const struct {
        const char *name;
        struct qb_observer_spec spec;
    } observers[] = {
        {"MinMaxObserver", {.observer = "minmax"}},
        {"MinMaxObserver_0_127", {.observer = "minmax", .has_quant_range = true, .quant_max = 127}},
        {"MovingAverageMinMaxObserver", {.observer = "moving_average_minmax"}},
        {"MovingAverageMinMaxObserver_reduce_range",
         {.observer = "moving_average_minmax", .reduce_range = true}},
        {"HistogramObserver", {.observer = "histogram"}},
        {"HistogramObserver_reduce_range", {.observer = "histogram", .reduce_range = true}},
    };
    json_t *const root = read_manifest("observer-vectors");
    const char *name;
    json_t *sequence;
    size_t sequences = 0;
    json_object_foreach(json_object_get(root, "sequences"), name, sequence)
    {
        struct qb_npy input = read_npy("observer-vectors", name, ".input.npy", BATCHES * VALUES);
        struct qb_npy hists = read_npy("observer-vectors", name, ".hist.npy", BATCHES * BINS);
        for (size_t i = 0; i < LENGTH(observers); i++) {
            const json_t *const want = json_object_get(sequence, observers[i].name);
            assert_non_null(want);
            check_observer(&observers[i].spec, input.data, want, hists.data);
        }
        qb_npy_free(&input);
        qb_npy_free(&hists);
        sequences++;
    }
    assert_int_equal(sequences, 5);
    json_decref(root);
}

static void check_search(const char *folder, const char *tensor, const json_t *want)
{
    char name[64];
    struct qb_error err;
    snprintf(name, sizeof name, "hist/%s", tensor);
    struct qb_npy hist = read_npy(folder, name, ".npy", BINS),
                  range = read_npy(folder, name, ".minmax.npy", 2);
    const float *const ends = range.data;
    float min, max;
    qbt_ok(qb_histogram_search(hist.data, BINS, ends[0], ends[1], &min, &max, &err), &err);
    if (min != hex(json_object_get(want, "clip_min")) || max != hex(json_object_get(want, "clip_max"))) {
        fail_msg("%s %s: kept [%a, %a]", folder, tensor, (double)min, (double)max);
    }
    const struct qb_observer_spec spec = qbt_fbgemm().activations;
    struct qb_qparams q;
    qbt_ok(qb_qparams_derive(&spec, min, max, &q, &err), &err);
    assert_true(q.scale == hex(json_object_get(want, "scale_hex")));
    assert_int_equal(q.zero_point, json_integer_value(json_object_get(want, "zero_point")));
    qb_npy_free(&hist);
    qb_npy_free(&range);
}

static void test_search(void **state)
{
    (void)state;
    static const char *const folders[] = {"fbgemm-fused", "fbgemm-unfused"};
    qbt_require_shared(GOLDEN "fbgemm-fused/hist");
    for (size_t f = 0; f < LENGTH(folders); f++) {
        json_t *const root = read_manifest(folders[f]);
        for (size_t t = 0; t < LENGTH(tensors); t++) {
            const json_t *const want = json_object_get(json_object_get(root, "observers"), tensors[t]);
            assert_non_null(want);
            check_search(folders[f], tensors[t], want);
        }
        json_decref(root);
    }
}

/* The graph with PyTorch's folded float weights. */
static struct qb_graph *golden_graph(void)
{
    struct qb_graph *const graph = qbt_resnet8();
    for (size_t l = 0; l < LENGTH(layers); l++) {
        struct qb_node *const node = &graph->nodes[qbt_node(graph, layers[l])];
        const size_t taps = node->op == QB_OP_CONV ? (size_t)(node->kh * node->kw) : 1;
        struct qb_npy wei = read_npy("fp32", layers[l], ".weight.npy", (size_t)(node->ic * node->oc) * taps);
        struct qb_npy bia = read_npy("fp32", layers[l], ".bias.npy", (size_t)node->oc);
        node->wei = qb_arena_memdup(graph->arena, wei.data, wei.count * sizeof(float));
        node->bia = qb_arena_memdup(graph->arena, bia.data, bia.count * sizeof(float));
        qb_npy_free(&wei);
        qb_npy_free(&bia);
    }
    return graph;
}

static void check_layer(const char *folder, const struct qb_qnode *node, const json_t *want)
{
    const json_t *const scales = json_object_get(want, "scales_hex");
    const size_t count =
        (size_t)(node->ic * node->oc) * (node->op == QB_QOP_CONV ? (size_t)(node->kh * node->kw) : 1);
    struct qb_npy codes = read_npy(folder, node->name, ".weight.npy", count);
    struct qb_npy bias = read_npy(folder, node->name, ".bias.npy", (size_t)node->oc);
    assert_memory_equal(node->wei, codes.data, count);
    assert_memory_equal(node->bia, bias.data, bias.count * sizeof(float));
    assert_int_equal(node->wei_scale_count, json_array_size(scales));
    for (int k = 0; k < node->wei_scale_count; k++) {
        assert_true(node->wei_scales[k] == hex(json_array_get(scales, (size_t)k)));
        assert_int_equal(node->wei_zero_points[k], 0);
    }
    qb_npy_free(&codes);
    qb_npy_free(&bias);
}

static void check_case(const char *folder, const struct qb_scheme *scheme)
{
    struct qb_error err;
    struct qb_qparams_table table;
    struct qb_qgraph *q;
    struct qb_graph *const graph = golden_graph();
    json_t *const root = read_manifest(folder);
    qbt_ok(qb_qparams_read(golden(folder, "manifest.json", ""), graph, scheme, graph->arena, &table, &err),
           &err);
    qbt_ok(qb_quantize(graph, scheme, &table, "", &q, &err), &err);
    for (size_t l = 0; l < LENGTH(layers); l++) {
        const int i = qb_qgraph_find(q, layers[l]);
        assert_true(i >= 0);
        check_layer(folder, &q->nodes[i], json_object_get(json_object_get(root, "layers"), layers[l]));
    }
    for (size_t t = 0; t < LENGTH(tensors); t++) {
        const json_t *const want = json_object_get(json_object_get(root, "observers"), tensors[t]);
        const int i = qb_qgraph_find(q, tensors[t]);
        assert_true(i >= 0);
        assert_true(q->nodes[i].q.scale == hex(json_object_get(want, "scale_hex")));
        assert_int_equal(q->nodes[i].q.zero_point, json_integer_value(json_object_get(want, "zero_point")));
        assert_int_equal(q->nodes[i].q.quant_max, 127);
    }
    qb_qgraph_free(q);
    json_decref(root);
    qb_arena_destroy(graph->arena);
}

static void test_weights(void **state)
{
    (void)state;
    qbt_require_shared(GOLDEN "fp32");
    struct qb_scheme scheme = qbt_fbgemm();
    check_case("fbgemm-fused", &scheme);
    scheme.fuse = 0;
    check_case("fbgemm-unfused", &scheme);
    scheme = qbt_fbgemm();
    scheme.activations =
        (struct qb_observer_spec){.observer = "minmax", .has_quant_range = true, .quant_max = 127};
    check_case("per-channel-minmax-fused", &scheme);
    scheme.weights.observer = "minmax";
    check_case("default-minmax-fused", &scheme);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_observer_vectors),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
