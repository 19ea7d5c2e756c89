/* Keras import: the published network against PyTorch's folded weights, both spellings of configurations,
 * what is not supported, and damaged files. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/npy.h"
#include "base/rng.h"
#include "h5_writer.h"
#include "model/graph.h"
#include "model/keras.h"
#include "model/passes.h"

#define PUBLISHED "models/mlperf-tiny/pretrainedResnet.h5"

static struct qb_blob published(void)
{
    struct qb_blob file;
    struct qb_error err;
    qbt_require_shared(PUBLISHED);
    qbt_ok(qb_file_read(qbt_shared(PUBLISHED), 64 << 20, &file, &err), &err);
    return file;
}

static void assert_npy(const char *name, const float *values, size_t count)
{
    char path[256];
    struct qb_npy npy;
    struct qb_error err;
    snprintf(path, sizeof path, "golden/torch/fp32/%s.npy", name);
    qbt_ok(qb_npy_read(qbt_shared(path), &npy, &err), &err);
    assert_int_equal(npy.type, QB_NPY_F32);
    assert_int_equal(npy.count, count);
    if (memcmp(npy.data, values, count * sizeof *values) != 0) {
        fail_msg("%s differs from PyTorch's folded weights", name);
    }
    qb_npy_free(&npy);
}

/* Bit for bit what PyTorch's fuse_conv_bn_weights gives, in the published layer order. */
static void test_golden_weights(void **state)
{
    (void)state;
    struct qb_blob file = published();
    struct qb_graph *graph;
    struct qb_error err;
    int checked = 0;
    qbt_ok(qb_keras_import("published.h5", &file, &graph, &err), &err);
    qbt_ok(qb_graph_canonicalize(graph, &err), &err);
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const node = &graph->nodes[i];
        if (node->op != QB_OP_CONV && node->op != QB_OP_DENSE) {
            continue;
        }
        char name[64];
        snprintf(name, sizeof name, "%s.weight", node->name);
        assert_npy(name, node->wei, qb_node_params(node) - (size_t)node->oc);
        snprintf(name, sizeof name, "%s.bias", node->name);
        assert_npy(name, node->bia, (size_t)node->oc);
        checked++;
    }
    assert_int_equal(checked, 10);
    const struct qb_node *const stride2 = &graph->nodes[qb_graph_find(graph, "conv_3")];
    assert_int_equal(stride2->pad_t, 0);
    assert_int_equal(stride2->pad_l, 0);
    assert_int_equal(stride2->pad_b, 1);
    assert_int_equal(stride2->pad_r, 1);
    assert_int_equal(graph->nodes[graph->count - 1].op, QB_OP_SOFTMAX);
    qb_graph_free(graph);
    qb_blob_free(&file);
}

/* Every length fails: nothing of a cut file is used, whatever is missing. */
static void test_truncated(void **state)
{
    (void)state;
    struct qb_blob file = published();
    struct qb_error err;
    for (size_t i = 0; i < 250; i++) {
        struct qb_graph *graph = NULL;
        struct qb_blob cut = {file.data, i < 50 ? i * 41 : file.size * (i - 50) / 200};
        cut.size = i == 249 ? file.size - 1 : cut.size;
        cut.data = malloc(cut.size + 1); /* so that a sanitizer sees reads behind the end */
        assert_non_null(cut.data);
        memcpy(cut.data, file.data, cut.size);
        qbt_error(qb_keras_import("cut.h5", &cut, &graph, &err), QB_EINPUT, &err, "cut.h5: ");
        assert_null(graph);
        free(cut.data);
    }
    qb_blob_free(&file);
}

/* Changed bytes give an error or a graph (most bytes are weights), never the end of the process. */
static void test_mutated(void **state)
{
    (void)state;
    struct qb_blob file = published();
    struct qb_error err;
    struct qb_rng rng;
    int errors = 0;
    uint8_t *const original = malloc(file.size);
    assert_non_null(original);
    memcpy(original, file.data, file.size);
    qb_rng_seed(&rng, 5);
    for (int i = 0; i < 300; i++) {
        memcpy(file.data, original, file.size);
        for (int k = 0; k <= i % 8; k++) { /* every fourth where the first structures are */
            const size_t room = k % 4 ? file.size : 32768;
            file.data[qb_rng_interval(&rng, (uint32_t)room - 1)] = (uint8_t)qb_rng_u32(&rng);
        }
        struct qb_graph *graph = NULL;
        if (qb_keras_import("mutated.h5", &file, &graph, &err) != QB_OK) {
            assert_non_null(strstr(err.text, "mutated.h5: "));
            errors++;
        }
        qb_graph_free(graph);
    }
    assert_true(errors > 50);
    print_message("%d of 300 mutated files refused\n", errors);
    free(original);
    qb_blob_free(&file);
}

/* One byte on which libhdf5 1.10.8 takes SIGSEGV; newer ones may find the fault themselves. */
static void test_crash_is_an_error(void **state)
{
    (void)state;
    struct qb_blob file = published();
    struct qb_graph *graph = NULL;
    struct qb_error err;
    file.data[1054] = 0xff;
    qbt_error(qb_keras_import("crash.h5", &file, &graph, &err), QB_EINPUT, &err, "crash.h5: ");
    print_message("%s\n", err.text);
    qb_blob_free(&file);
}

/* Same-length edits of the published file's configuration; HDF5 1.8's format has no checksum over it. */
static void test_unsupported(void **state)
{
    static const struct {
        const char *from, *to, *layer, *needle;
    } cases[] = {
        {"\"dilation_rate\": [1, 1]", "\"dilation_rate\": [2, 1]", "'conv2d' (Conv2D)",
         "'dilation_rate' is [2,1]"},
        {"\"groups\": 1", "\"groups\": 4", "'conv2d' (Conv2D)", "'groups' is 4"},
        {"\"padding\": \"same\"", "\"padding\": \"full\"", "'conv2d' (Conv2D)",
         "'padding' is \"full\", valid or same"},
        {"\"channels_last\"", "\"channels_frst\"", "'conv2d' (Conv2D)", "'data_format'"},
        {"\"activation\": \"relu\"", "\"activation\": \"selu\"", "'activation' (Activation)",
         "is \"selu\", linear or relu"},
        {"\"class_name\": \"Add\"", "\"class_name\": \"Dot\"", "'add' (Dot)", "not supported"},
        {"\"axis\": [3]", "\"axis\": [1]", "'batch_normalization' (BatchNormalization)", "'axis'"},
        {"\"epsilon\": 0.001", "\"epsilon\": \"abc\"", "'batch_normalization' (BatchNormalization)",
         "'epsilon'"},
        {"\"kernel_size\": [3, 3]", "\"kernel_size\": [3, 5]", "'conv2d' (Conv2D)", "'conv2d/kernel:0'"},
        {"\"filters\": 16", "\"filters\": 17", "'conv2d' (Conv2D)", "'conv2d/kernel:0'"},
        {"\"filters\": 16", "\"filters\": -6", "'conv2d' (Conv2D)", "'filters' is -6"},
        {"\"use_bias\": true", "\"use_bias\": null", "'conv2d' (Conv2D)", "'use_bias' is null"},
        {"[[[\"conv2d\", 0, 0, {}]]]", "[[[\"conv2x\", 0, 0, {}]]]", "'batch_normalization'",
         "reads layer 'conv2x'"},
        {"[[[\"conv2d\", 0, 0, {}]]]", "[[[\"conv2d\", 0, 1, {}]]]", "'batch_normalization'",
         "'inbound_nodes'"},
        {"[null, 32, 32, 3]", "[null, 32, 32,-3]", "'input_1' (InputLayer)", "'batch_shape'"},
        {"\"output_layers\": [[\"dense\"", "\"output_layers\": [[\"dansa\"", "", "'output_layers'"},
        {"{\"class_name\": \"Functional\"", "{\"class_name\": \"Sequential\"", "",
         "'Sequential', a functional"},
        {"{\"class_name\": \"Functional\"", "<\"class_name\": \"Functional\"", "", "not JSON"},
        {"conv2d_4/kernel:0", "conv2d_4/kernal:0", "", "conv2d_4"},
    };
    (void)state;
    struct qb_blob file = published();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qb_graph *graph = NULL;
        struct qb_error err;
        const size_t length = strlen(cases[i].from);
        uint8_t *const place = memmem(file.data, file.size, cases[i].from, length);
        assert_non_null(place);
        assert_int_equal(length, strlen(cases[i].to));
        memcpy(place, cases[i].to, length);
        assert_int_not_equal(qb_keras_import("edited.h5", &file, &graph, &err), QB_OK);
        if (!strstr(err.text, cases[i].layer) || !strstr(err.text, cases[i].needle) ||
            strncmp(err.text, "edited.h5: ", 11)) {
            fail_msg("%s: '%s' lacks '%s' or '%s'", cases[i].to, err.text, cases[i].layer, cases[i].needle);
        }
        memcpy(place, cases[i].from, length);
    }
    qb_blob_free(&file);
}

#define K3_TENSOR(name)                                                                                      \
    "{\"class_name\":\"__keras_tensor__\",\"config\":{\"keras_history\":[\"" name "\",0,0]}}"
#define K3_FROM(name) "\"inbound_nodes\":[{\"args\":[" K3_TENSOR(name) "],\"kwargs\":{}}]}"
#define K2_FROM(name) "\"inbound_nodes\":[[[\"" name "\",0,0,{}]]]}"
#define CONV_CONFIG                                                                                          \
    "\"config\":{\"name\":\"c\",\"filters\":2,\"kernel_size\":[1,2],\"strides\":[1,1],\"padding\":"          \
    "\"valid\","                                                                                             \
    "\"data_format\":\"channels_last\",\"dilation_rate\":[1,1],\"groups\":1,\"activation\":\"relu\",\"use_"  \
    "bias\":false}"
#define BN_CONFIG "\"config\":{\"name\":\"b\",\"axis\":-1,\"epsilon\":0.5,\"center\":true,\"scale\":false}"
#define POOL_CONFIG "\"config\":{\"name\":\"p\",\"data_format\":\"channels_last\",\"keepdims\":false}"
#define DENSE_CONFIG "\"config\":{\"name\":\"d\",\"units\":3,\"activation\":\"linear\",\"use_bias\":true}"

static const char keras3[] =
    "{\"class_name\":\"Functional\",\"config\":{\"layers\":["
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"i\",\"batch_shape\":[null,4,5,3]},\"inbound_"
    "nodes\":[]},"
    "{\"class_name\":\"Conv2D\"," CONV_CONFIG "," K3_FROM(
        "i") ","
             "{\"class_name\":\"BatchNormalization\"," BN_CONFIG "," K3_FROM(
                 "c") ","
                      "{\"class_name\":\"Add\",\"config\":{\"name\":\"a\"},\"inbound_nodes\":[{\"args\":["
                      "[" K3_TENSOR("c") "," K3_TENSOR(
                          "b") "]],\"kwargs\":{}}]},"
                               "{\"class_name\":\"ReLU\",\"config\":{\"name\":\"r\",\"max_value\":null,"
                               "\"negative_slope\":0.0,\"threshold\":0.0}," K3_FROM(
                                   "a") ","
                                        "{\"class_name\":\"Dropout\",\"config\":{\"name\":\"o\",\"rate\":0.5}"
                                        "," K3_FROM(
                                            "r") ","
                                                 "{\"class_name\":\"GlobalAveragePooling2D\"," POOL_CONFIG
                                                 "," K3_FROM(
                                                     "o") ","
                                                          "{\"class_name\":\"Dense\"," DENSE_CONFIG
                                                          "," K3_FROM(
                                                              "p") ","
                                                                   "{\"class_name\":\"Softmax\",\"config\":{"
                                                                   "\"name\":\"s\",\"axis\":-1}," K3_FROM(
                                                                       "d") "],\"output_layers\":[\"s\",0,0]}"
                                                                            "}";

static const struct h5_weight keras3_weights[] = {
    {"c", "c/kernel", 4, {1, 2, 3, 2}, NULL}, {"b", "b/beta", 1, {2}, NULL},
    {"b", "b/moving_mean", 1, {2}, NULL},     {"b", "b/moving_variance", 1, {2}, NULL},
    {"d", "d/kernel", 2, {2, 3}, NULL},       {"d", "d/bias", 1, {3}, NULL},
};

static enum qb_status import_file(const char *path, struct qb_graph **graph, struct qb_error *err)
{
    struct qb_blob file;
    qbt_ok(qb_file_read(path, 1 << 20, &file, err), err);
    const enum qb_status status = qb_keras_import(path, &file, graph, err);
    qb_blob_free(&file);
    return status;
}

static void test_keras3(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp();
    char *const path = qb_path_join(dir, "k3.h5");
    struct qb_graph *graph;
    struct qb_error err;
    for (int variable = 0; variable < 2; variable++) {
        h5_write(path, keras3, keras3_weights, 6, variable, 0);
        qbt_ok(import_file(path, &graph, &err), &err);
        static const enum qb_op ops[] = {QB_OP_INPUT, QB_OP_CONV,    QB_OP_RELU,  QB_OP_AFFINE, QB_OP_ADD,
                                         QB_OP_RELU,  QB_OP_AVGPOOL, QB_OP_DENSE, QB_OP_SOFTMAX};
        assert_int_equal(graph->count, 9);
        for (int i = 0; i < 9; i++) {
            assert_int_equal(graph->nodes[i].op, ops[i]);
        }
        const struct qb_node *const conv = &graph->nodes[1], *const affine = &graph->nodes[3];
        const struct qb_node *const dense = &graph->nodes[7];
        assert_int_equal(graph->nodes[0].dst.h, 4);
        assert_int_equal(graph->nodes[0].dst.w, 5);
        assert_int_equal(graph->nodes[0].dst.c, 3);
        assert_int_equal(conv->ic, 3);
        assert_string_equal(conv->source_name, "c");
        /* Value of Keras' [0][w][i][o] is ((w * 3 + i) * 2 + o); ours stands at [o][i][0][w]. */
        for (int o = 0; o < 2; o++) {
            for (int i = 0; i < 3; i++) {
                for (int w = 0; w < 2; w++) {
                    assert_float_equal(conv->wei[(o * 3 + i) * 2 + w], (float)((w * 3 + i) * 2 + o), 0);
                }
            }
            assert_float_equal(conv->bia[o], 0, 0);
        }
        assert_null(affine->bn->gamma);
        assert_float_equal(affine->bn->beta[1], 1, 0);
        assert_float_equal(affine->bn->var[1], 1, 0);
        assert_float_equal(affine->bn->eps, 0.5, 0);
        assert_int_equal(affine->oc, 2);
        assert_int_equal(graph->nodes[4].src[0], 2);
        assert_int_equal(graph->nodes[4].src[1], 3);
        assert_int_equal(graph->nodes[6].src[0], 5); /* past the Dropout */
        for (int o = 0; o < 3; o++) {
            assert_float_equal(dense->wei[o * 2 + 1], (float)(3 + o), 0);
        }
        qb_graph_free(graph);
    }
    free(path);
    qbt_rmtree(dir);
}

static void test_files_refused(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp();
    char *const path = qb_path_join(dir, "bad.h5");
    struct qb_graph *graph = NULL;
    struct qb_error err;

    h5_write(path, keras3, keras3_weights, 6, 1, 1);
    qbt_error(import_file(path, &graph, &err), QB_EUNSUPPORTED, &err, "array 'c/kernel' is compressed");
    h5_write(path, keras3, keras3_weights, 5, 1, 0);
    qbt_error(import_file(path, &graph, &err), QB_EINPUT, &err,
              "layer 'd' (Dense): weight 'bias' is missing");

    struct h5_weight weights[6];
    memcpy(weights, keras3_weights, sizeof weights);
    weights[2].shape[0] = 3; /* moving_mean: 3 channels, the others 2 */
    h5_write(path, keras3, weights, 6, 0, 0);
    qbt_error(import_file(path, &graph, &err), QB_EINPUT, &err, "weight 'b/moving_variance' does not fit");
    weights[2].shape[0] = 2;
    weights[3].values = (const float[]){1.0f, -0.75f};
    h5_write(path, keras3, weights, 6, 0, 0);
    qbt_error(import_file(path, &graph, &err), QB_EINPUT, &err, "'moving_variance' of channel 1 is -0.75");

    static const char *const configs[][2] = {
        {"{}", "class is ''"},
        {"[]", "class is ''"},
        {"{\"class_name\":\"Functional\"}", "'layers' has 0 entries"},
        {"{\"class_name\":\"Functional\",\"config\":{\"layers\":[7]}}", "'class_name' or 'config.name'"},
        {"{\"class_name\":\"Functional\",\"config\":{\"layers\":[{\"class_name\":\"ReLU\",\"config\":{"
         "\"name\":\"r\"},"
         "\"inbound_nodes\":[]}]}}",
         "it has 0 sources, 1 are expected"},
        {"{\"class_name\":\"Functional\",\"config\":{\"layers\":[{\"class_name\":\"ReLU\",\"config\":{"
         "\"name\":\"r\"}," K2_FROM("r") "]}}",
         "reads layer 'r', which is not in front"},
        {"", "not JSON"},
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        h5_write(path, configs[i][0], keras3_weights, 6, 0, 0);
        assert_int_not_equal(import_file(path, &graph, &err), QB_OK);
        if (!strstr(err.text, configs[i][1])) {
            fail_msg("%s: '%s' lacks '%s'", configs[i][0], err.text, configs[i][1]);
        }
    }
    assert_null(graph);
    free(path);
    qbt_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_weights), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_mutated),        cmocka_unit_test(test_crash_is_an_error),
        cmocka_unit_test(test_unsupported),    cmocka_unit_test(test_keras3),
        cmocka_unit_test(test_files_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
