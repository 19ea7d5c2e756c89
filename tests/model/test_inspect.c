/* The inspect view of float graphs: stable JSON, the text table, names that are no clean text. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "model/inspect.h"

/* conv (weights -2 .. 3, biases -1 .. 0.5) -> relu -> add(relu, conv). */
static struct qb_node nodes[] = {
    {.op = QB_OP_INPUT, .name = "input", .source_name = "x", .src = {-1, -1}, .dst = {4, 6, 1}},
    {.op = QB_OP_CONV,
     .name = "conv",
     .source_name = "first/conv",
     .src = {0, -1},
     .dst = {2, 3, 2},
     .kh = 2,
     .kw = 1,
     .stride_h = 2,
     .stride_w = 2,
     .pad_b = 1,
     .ic = 1,
     .oc = 2,
     .wei = (const float[]){1.0f, -2.0f, 3.0f, 0.1f},
     .bia = (const float[]){0.5f, -1.0f}},
    {.op = QB_OP_RELU, .name = "relu", .source_name = "evil\x1b[2J\xff", .src = {1, -1}, .dst = {2, 3, 2}},
    {.op = QB_OP_ADD, .name = "add", .source_name = NULL, .src = {2, 1}, .dst = {2, 3, 2}},
};

static const struct qb_graph graph = {
    .path = "net.onnx", .sha256 = "abc", .file_size = 1234567, .nodes = nodes, .count = 4};

static json_t *inspect(const struct qb_graph *g)
{
    char *text;
    struct qb_error err;
    json_error_t where;
    qbt_ok(qb_inspect_graph(g, true, &text, &err), &err);
    assert_int_equal(text[strlen(text) - 1], '\n');
    json_t *const root = json_loads(text, 0, &where);
    assert_non_null(root);
    free(text);
    return root;
}

static void assert_int_list(const json_t *list, size_t count, const int *want)
{
    assert_int_equal(json_array_size(list), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(json_integer_value(json_array_get(list, i)), want[i]);
    }
}

static void test_json(void **state)
{
    (void)state;
    static const char *const keys[] = {"name",       "source_name", "op",       "src",     "shape",
                                       "kernel",     "stride",      "pads",     "params",  "macs",
                                       "weight_min", "weight_max",  "bias_min", "bias_max"};
    json_t *const root = inspect(&graph);
    const json_t *const model = json_object_get(root, "model"), *const layers =
                                                                    json_object_get(root, "layers");
    assert_int_equal(json_integer_value(json_object_get(root, "schema_version")), 1);
    assert_string_equal(json_string_value(json_object_get(root, "kind")), "float");
    assert_string_equal(json_string_value(json_object_get(model, "path")), "net.onnx");
    assert_string_equal(json_string_value(json_object_get(model, "sha256")), "abc");
    assert_int_equal(json_integer_value(json_object_get(model, "bytes")), 1234567);
    assert_int_equal(json_integer_value(json_object_get(model, "params")), 6);
    assert_int_equal(json_integer_value(json_object_get(model, "macs")), 2 * 3 * 4);
    assert_int_equal(json_array_size(layers), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(json_object_size(json_array_get(layers, i)), sizeof keys / sizeof *keys);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            assert_non_null(json_object_get(json_array_get(layers, i), keys[k]));
        }
    }
    const json_t *const conv = json_array_get(layers, 1), *const add = json_array_get(layers, 3);
    assert_string_equal(json_string_value(json_object_get(conv, "source_name")), "first/conv");
    assert_int_list(json_object_get(conv, "shape"), 3, (const int[]){2, 3, 2});
    assert_int_list(json_object_get(conv, "kernel"), 2, (const int[]){2, 1});
    assert_int_list(json_object_get(conv, "stride"), 2, (const int[]){2, 2});
    assert_int_list(json_object_get(conv, "pads"), 4, (const int[]){0, 0, 1, 0});
    assert_float_equal(json_real_value(json_object_get(conv, "weight_min")), -2, 0);
    assert_float_equal(json_real_value(json_object_get(conv, "weight_max")), 3, 0);
    assert_float_equal(json_real_value(json_object_get(conv, "bias_min")), -1, 0);
    assert_float_equal(json_real_value(json_object_get(conv, "bias_max")), 0.5, 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(add, "src"), 0)), "relu");
    assert_string_equal(json_string_value(json_array_get(json_object_get(add, "src"), 1)), "conv");
    assert_true(json_is_null(json_object_get(add, "kernel")));
    assert_true(json_is_null(json_object_get(add, "weight_min")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(layers, 2), "source_name")),
                        "evil\x1b[2J?");
    json_decref(root);
}

static void test_text(void **state)
{
    (void)state;
    char *text;
    struct qb_error err;
    qbt_ok(qb_inspect_graph(&graph, false, &text, &err), &err);
    assert_non_null(strstr(text, "model    net.onnx\nSHA-256  abc\nbytes    1,234,567\n"));
    assert_non_null(
        strstr(text, "conv   conv      2x3x2   2x1     2x2     0,0,1,0                6    24  -2 .. 3  "
                     "-1 .. 0.5  first/conv\n"));
    assert_non_null(
        strstr(text, "total                                                           6    24\n"));
    assert_null(strchr(text, 0x1b)); /* a name in a file moves no cursor */
    assert_null(strstr(text, " \n"));
    free(text);
}

/* The published network and our own have 77,706 parameters with batch normalization folded and 12,501,632
 * MACs. */
static void test_resnet8(void **state)
{
    (void)state;
    struct qb_graph *loaded;
    struct qb_error err;
    qbt_ok(qb_model_load(qbt_source("models/resnet8.onnx"), &loaded, &err), &err);
    json_t *const root = inspect(loaded);
    const json_t *const model = json_object_get(root, "model");
    assert_int_equal(json_integer_value(json_object_get(model, "params")), 77706);
    assert_int_equal(json_integer_value(json_object_get(model, "macs")), 12501632);
    assert_string_equal(json_string_value(json_object_get(model, "sha256")),
                        "69297dfcfd2d7e05326ba6e3b56adffb39998249ca22486a7b0874d36726266f");
    json_decref(root);
    qb_graph_free(loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_resnet8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
