/* Scheme files: what is shipped, every class of error with file, line and key, and hostile YAML. */
#include "config/scheme.h"

#include <sys/stat.h>
#include <unistd.h>

#include "config_testing.h"

static const char good[] =
    "name: mine\n"                                                               /* 1 */
    "reproduces: a framework\n"                                                  /* 2 */
    "weights: { observer: per_channel_minmax, dtype: qint8, symmetric: true }\n" /* 3 */
    "activations:\n"                                                             /* 4 */
    "  observer: histogram\n"                                                    /* 5 */
    "  dtype: quint8\n"                                                          /* 6 */
    "  symmetric: false\n"                                                       /* 7 */
    "  reduce_range: true\n"                                                     /* 8 */
    "fuse: [conv_relu, add_relu]\n"                                              /* 9 */
    "arithmetic: fbgemm\n";                                                      /* 10 */

static const char *const no_dirs[] = {NULL};

static enum qb_status load_text(const char *text, size_t size, struct qb_error *err)
{
    char *const dir = qbt_mkdtemp();
    char *const path = write_bytes(dir, "s.yaml", text, size);
    struct qb_arena *const arena = qb_arena_create();
    struct qb_scheme scheme;
    const enum qb_status status = qb_scheme_load(path, no_dirs, arena, &scheme, err);
    qb_arena_destroy(arena);
    free(path);
    qbt_rmtree(dir);
    return status;
}

static void test_shipped(void **state)
{
    (void)state;
    const char *const dirs[] = {qbt_source("configs/schemes"), NULL};
    struct qb_arena *const arena = qb_arena_create();
    struct qb_error err;
    const char **names = NULL;
    unsigned count = 0;
    qbt_ok(qb_scheme_list(dirs, arena, &names, &count, &err), &err);
    assert_true(count >= 7);
    assert_string_equal(names[0], "fp32");
    for (unsigned i = 0; i < count; i++) {
        struct qb_scheme s;
        qbt_ok(qb_scheme_load(names[i], dirs, arena, &s, &err),
               &err); /* a name other than the file's would fail */
        assert_string_equal(s.name, names[i]);
        assert_int_equal(s.fp32, i == 0);
        assert_true(i < 2 || strcmp(names[i - 1], names[i]) < 0);
        if (!s.fp32) {
            assert_true(*s.reproduces != 0);
            assert_non_null(strstr(s.path, names[i]));
        }
    }
    qb_arena_destroy(arena);
}

static struct qb_scheme shipped(const char *name, struct qb_arena *arena)
{
    const char *const dirs[] = {qbt_source("configs/schemes"), NULL};
    struct qb_error err;
    struct qb_scheme s = {0};
    qbt_ok(qb_scheme_load(name, dirs, arena, &s, &err), &err);
    return s;
}

/* PyTorch's qconfigs, torch/ao/quantization/qconfig.py. */
static void test_shipped_values(void **state)
{
    (void)state;
    struct qb_arena *const arena = qb_arena_create();
    const struct qb_scheme fbgemm = shipped("fbgemm", arena);
    assert_string_equal(fbgemm.weights.observer, "per_channel_minmax");
    assert_int_equal(fbgemm.weights.dtype, QB_QINT8);
    assert_true(fbgemm.weights.symmetric);
    assert_false(fbgemm.weights.reduce_range);
    assert_string_equal(fbgemm.activations.observer, "histogram");
    assert_int_equal(fbgemm.activations.dtype, QB_QUINT8);
    assert_false(fbgemm.activations.symmetric);
    assert_true(fbgemm.activations.reduce_range);
    assert_false(fbgemm.activations.has_quant_range || fbgemm.activations.has_eps ||
                 fbgemm.activations.has_bins || fbgemm.activations.has_averaging_constant);
    assert_true(fbgemm.activations.eps == 0x1p-23F);
    assert_int_equal(fbgemm.activations.bins, 2048);
    assert_true(fbgemm.activations.averaging_constant == 0.01);
    assert_int_equal(fbgemm.fuse, QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU);
    assert_int_equal(fbgemm.arithmetic, QB_ARITHMETIC_FBGEMM);

    const struct qb_scheme unfused = shipped("fbgemm_unfused", arena);
    assert_int_equal(unfused.fuse, 0);
    assert_string_equal(unfused.activations.observer, "histogram");

    const struct qb_scheme plain = shipped("default", arena);
    assert_string_equal(plain.weights.observer, "minmax");
    assert_string_equal(plain.activations.observer, "minmax");
    assert_true(plain.activations.has_quant_range);
    assert_int_equal(plain.activations.quant_min, 0);
    assert_int_equal(plain.activations.quant_max, 127);
    assert_false(plain.activations.reduce_range);

    const struct qb_scheme per_channel = shipped("per_channel", arena);
    assert_string_equal(per_channel.weights.observer, "per_channel_minmax");
    assert_int_equal(per_channel.activations.quant_max, 127);

    const struct qb_scheme u8u8 = shipped("u8u8", arena);
    assert_int_equal(u8u8.weights.dtype, QB_QUINT8);
    assert_false(u8u8.weights.symmetric);
    assert_non_null(strstr(u8u8.reproduces, "not available in PyTorch"));

    const struct qb_scheme onednn = shipped("fbgemm_onednn", arena);
    assert_int_equal(onednn.fuse, QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU | QB_FUSE_CONV_ADD);
    assert_int_equal(onednn.arithmetic, QB_ARITHMETIC_ONEDNN);
    assert_int_equal(onednn.refine, 0);
    assert_int_equal(shipped("dfq", arena).refine, QB_REFINE_EQUALIZE | QB_REFINE_BIAS_CORRECTION);
    char names[64];
    qb_refine_names(15, names, sizeof names);
    assert_string_equal(names, "equalize, adaround, bias_correction, fast_bias_correction");
    qb_refine_names(0, names, sizeof names);
    assert_string_equal(names, "");
    qb_arena_destroy(arena);
}

static void test_options(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp();
    char *const text = replaced(good, "  reduce_range: true\n",
                                "  quant_min: -3\n  quant_max: 100\n  eps: 0.000244140625\n"
                                "  averaging_constant: 0.5\n  bins: 512\n");
    char *const mixed = replaced(text, "dtype: quint8", "dtype: qint8");
    char *const path = write_text(dir, "file.yaml", mixed);
    struct qb_arena *const arena = qb_arena_create();
    struct qb_scheme s;
    struct qb_error err;
    qbt_ok(qb_scheme_load(path, no_dirs, arena, &s, &err), &err);
    assert_string_equal(s.name, "mine");
    assert_string_equal(s.path, path);
    assert_string_equal(s.reproduces, "a framework");
    assert_string_equal(s.verified, "");
    assert_int_equal(s.weights.line, 3);
    assert_int_equal(s.activations.line, 4);
    assert_true(s.activations.has_quant_range && s.activations.has_eps &&
                s.activations.has_averaging_constant && s.activations.has_bins);
    assert_int_equal(s.activations.quant_min, -3);
    assert_int_equal(s.activations.quant_max, 100);
    assert_true(s.activations.eps == 0x1p-12F);
    assert_true(s.activations.averaging_constant == 0.5);
    assert_int_equal(s.activations.bins, 512);
    assert_false(s.activations.reduce_range);
    qb_arena_destroy(arena);
    free(path);
    free(mixed);
    free(text);
    qbt_rmtree(dir);
}

/* Which pairs `maddubs` means follows the library of the arithmetic. */
static void test_accumulate(void **state)
{
    (void)state;
    static const struct {
        const char *arithmetic;
        enum qb_accumulate want;
    } cases[] = {
        {"arithmetic: fbgemm\n", QB_ACCUMULATE_EXACT},
        {"arithmetic: fbgemm\naccumulate: exact\n", QB_ACCUMULATE_EXACT},
        {"arithmetic: fbgemm\naccumulate: maddubs\n", QB_ACCUMULATE_MADDUBS_KHWC},
        {"arithmetic: onednn\naccumulate: maddubs\n", QB_ACCUMULATE_MADDUBS_PAD4},
        {"arithmetic: onednn_3_12\naccumulate: maddubs\n", QB_ACCUMULATE_MADDUBS_PAD4},
        {"arithmetic: torch_onednn\naccumulate: maddubs\n", QB_ACCUMULATE_MADDUBS_PAD4},
        {"arithmetic: torch_x86\naccumulate: maddubs\n", QB_ACCUMULATE_MADDUBS_KHWC},
        {"arithmetic: onednn\naccumulate: maddubs_khwc\n", QB_ACCUMULATE_MADDUBS_KHWC},
        {"arithmetic: fbgemm\naccumulate: maddubs_pad4\n", QB_ACCUMULATE_MADDUBS_PAD4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *const dir = qbt_mkdtemp();
        char *const text = replaced(good, "arithmetic: fbgemm\n", cases[i].arithmetic);
        char *const path = write_text(dir, "file.yaml", text);
        struct qb_arena *const arena = qb_arena_create();
        struct qb_scheme s;
        struct qb_error err;
        qbt_ok(qb_scheme_load(path, no_dirs, arena, &s, &err), &err);
        assert_int_equal(s.accumulate, cases[i].want);
        qb_arena_destroy(arena);
        free(path);
        free(text);
        qbt_rmtree(dir);
    }
}

struct change {
    const char *old, *new, *want; /* `want`: from the line number on */
};

static void test_errors(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"reduce_range: true", "bits: 1", ":8: activations.bits: 1 bits, expected 2 to 8"},
        {"reduce_range: true", "bits: 9", ":8: activations.bits: 9 bits, expected 2 to 8"},
        {"reduce_range: true", "bits: 4\n  quant_min: 0\n  quant_max: 15",
         ":8: activations.bits: stands beside quant_min, quant_max"},
        /* a claim without its evidence, and the reverse */
        {"reproduces: a framework", "compared: logits", ":2: compared: `compared` says what was compared"},
        {"reproduces: a framework", "verified: by hand", ":2: verified: `compared` says what was compared"},
        {"reproduces: a framework", "compared: nothing\nverified: by hand", ":2: compared: `compared` says"},
        {"reproduces: a framework", "compared: all",
         ":2: compared: expected one of nothing, observer, scales, logits, found 'all'"},
        /* unknown keys */
        {"fuse:", "fuze:",
         ":9: unknown key 'fuze'; the keys here are name, reproduces, verified, compared, weights, "
         "activations, fuse"},
        {"  observer: histogram", "  obsever: histogram",
         ":5: activations: unknown key 'obsever'; the keys here are observer"},
        {"symmetric: true }", "symmetric: true, group: 4 }", ":3: weights: unknown key 'group'"},
        /* missing keys */
        {"arithmetic: fbgemm\n", "",
         ":1: key 'arithmetic' is missing; expected one of fbgemm, onednn, onednn_3_12, "
         "torch_onednn, torch_x86, ort, tflite"},
        {"name: mine\n", "", ":1: key 'name' is missing; expected a text"},
        {"  dtype: quint8\n", "", ":4: activations: key 'dtype' is missing; expected one of quint8, qint8"},
        {"fuse: [conv_relu, add_relu]\n", "",
         ":1: key 'fuse' is missing; expected a list of any of conv_relu"},
        /* wrong types */
        {"symmetric: false", "symmetric: maybe",
         ":7: activations.symmetric: expected one of false, true, found 'maybe'"},
        {"symmetric: false", "symmetric: [false]",
         ":7: activations.symmetric: expected one of false, true, found a list of 1"},
        {"dtype: quint8", "dtype: int8",
         ":6: activations.dtype: expected one of quint8, qint8, found 'int8'"},
        {"dtype: quint8", "dtype: 1", ":6: activations.dtype: expected one of quint8, qint8, found '1'"},
        {"arithmetic: fbgemm", "arithmetic: abacus",
         ":10: arithmetic: expected one of fbgemm, onednn, onednn_3_12, "
         "torch_onednn, torch_x86, ort, tflite, found 'abacus'"},
        {"[conv_relu, add_relu]", "conv_relu",
         ":9: fuse: expected a list of any of conv_relu, add_relu, conv_add, found 'conv_relu'"},
        {"[conv_relu, add_relu]", "[conv_relu, relu]",
         ":9: fuse: expected a list of any of conv_relu, add_relu, conv_add, found 'relu' in it"},
        {"[conv_relu, add_relu]", "[[conv_relu]]", ":9: fuse: expected a list of any of"},
        {"{ observer: per_channel_minmax, dtype: qint8, symmetric: true }", "qint8",
         ":3: weights: expected a mapping with the keys observer, dtype, symmetric"},
        {"  reduce_range: true", "  bins: many",
         ":8: activations.bins: expected a whole number from -2147483648 to 2147483647, found 'many'"},
        {"  reduce_range: true", "  bins: 12abc", ":8: activations.bins: expected a whole number"},
        {"  reduce_range: true", "  bins: 0x10", ":8: activations.bins: expected a whole number"},
        {"  reduce_range: true", "  bins: 010", ":8: activations.bins: expected a whole number"},
        {"  reduce_range: true", "  bins: 99999999999", ":8: activations.bins: expected a whole number"},
        {"  reduce_range: true", "  bins:", ":8: activations.bins: expected a whole number"},
        {"  reduce_range: true", "  eps: nan", ":8: activations.eps: expected a number, found 'nan'"},
        {"  reduce_range: true", "  eps: 1e999", ":8: activations.eps: expected a number, found '1e999'"},
        {"arithmetic: fbgemm\n", "arithmetic: fbgemm\naccumulate: int16\n",
         ":11: accumulate: expected one of exact, maddubs, maddubs_khwc, maddubs_pad4, found 'int16'"},
        {"arithmetic: fbgemm\n", "prepare: graph\narithmetic: fbgemm\n",
         ":10: prepare: expected one of eager, fx, found 'graph'"},
        {"arithmetic: fbgemm\n", "prepare: fx\narithmetic: ort\n",
         ":10: prepare: fx needs an arithmetic of PyTorch or oneDNN, which quantize a tensor a second time; "
         "found arithmetic: ort"},
        {"arithmetic: fbgemm\n", "arithmetic: fbgemm\naccumulate: [exact]\n",
         ":11: accumulate: expected a text"},
        /* out of range */
        {"  reduce_range: true", "  bins: 1", ":8: activations.bins: 1 bins, expected 2 to 65536"},
        {"  reduce_range: true", "  eps: 0", ":8: activations.eps: 0 is not a smallest scale"},
        {"  reduce_range: true", "  eps: -1e-3", ":8: activations.eps: -0.001 is not"},
        {"  reduce_range: true", "  averaging_constant: 1.5",
         ":8: activations.averaging_constant: 1.5 is not in the range"},
        {"  reduce_range: true", "  percentile: 50",
         ":8: activations.percentile: 50 is not in the range above 50 up to 100"},
        {"  reduce_range: true", "  levels: 257", ":8: activations.levels: 257 levels, expected 2 to 256"},
        {"  reduce_range: true", "  scale_rule: tensorrt",
         ":8: activations.scale_rule: expected one of torch, ort, nncf, aimet, tflite"},
        {"name: mine", "name: 'a b'", ":1: name: 'a b' is not a name"},
        {"name: mine", "name: ../x", ":1: name: '../x' is not a name"},
        {"name: mine", "name: ''", ":1: name: expected a text of 1 to 63 bytes, found ''"},
        {"name: mine", "name: fp32", ":1: name: 'fp32' is the built-in"},
        {"  observer: histogram", "  observer: ''",
         ":5: activations.observer: expected a text of 1 to 63 bytes"},
        /* impossible combinations */
        {"  reduce_range: true", "  quant_min: 0", ":8: activations.quant_min: stands alone"},
        {"  reduce_range: true", "  quant_max: 0", ":8: activations.quant_max: stands alone"},
        {"  reduce_range: true", "  quant_min: 0\n  quant_max: 256",
         ":9: activations.quant_max: 256 is outside quint8, expected 0 to 255"},
        {"  reduce_range: true", "  quant_min: -1\n  quant_max: 5",
         ":8: activations.quant_min: -1 is outside quint8"},
        {"  reduce_range: true", "  quant_min: 9\n  quant_max: 9",
         ":9: activations.quant_max: 9 is not above quant_min, 9"},
        {"  reduce_range: true", "  quant_min: 3\n  quant_max: 9",
         ":8: activations.quant_min: the range 3 to 9 does not contain 0"},
        {"add_relu]", "conv_add]", ":9: fuse: conv_add needs arithmetic: onednn"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nrefine: [cle]",
         ":11: refine: expected a list of any of equalize, scale_search, adaround, "
         "bias_correction, fast_bias_correction, found 'cle' in it"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nrefine: [bias_correction, fast_bias_correction]",
         ":11: refine: bias_correction and fast_bias_correction both write the biases"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers: [conv]",
         ":11: layers: expected a mapping of layers to schemes or blocks, as in { conv: fp32 }"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers: {}",
         ":11: layers: expected a mapping of layers to schemes or blocks, as in { conv: fp32 }"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers: { conv: [fp32] }",
         ":11: layers.conv: expected fp32, the name of a scheme, the path of a scheme file, or a mapping "
         "with "
         "weights, activations or both"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers: { conv: {} }",
         ":11: layers.conv: expected fp32, the name of a scheme, the path"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers: { conv: '' }",
         ":11: layers.conv: expected a text of 1 to 1023 bytes, found ''"},
        /* blocks of a layer: all that is checked in those of the scheme */
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers:\n  conv: { weigths: {} }",
         ":12: layers.conv: unknown key 'weigths'; the keys here are weights, activations"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers:\n  conv: { weights: mse }",
         ":12: layers.conv.weights: expected a mapping with the keys observer, dtype"},
        {"arithmetic: fbgemm",
         "arithmetic: fbgemm\nlayers:\n  conv: fp32\n  conv_1:\n    weights:\n      observer: mse\n      "
         "dtype: int8",
         ":16: layers.conv_1.weights.dtype: expected one of quint8, qint8, found 'int8'"},
        {"arithmetic: fbgemm",
         "arithmetic: fbgemm\nlayers:\n  conv:\n    activations: { observer: mse, dtype: quint8 }",
         ":13: layers.conv.activations: key 'symmetric' is missing"},
        {"arithmetic: fbgemm",
         "arithmetic: fbgemm\nlayers:\n  conv:\n    weights:\n      observer: mse\n      dtype: qint8\n"
         "      symmetric: true\n      bits: 9",
         ":17: layers.conv.weights.bits: 9 bits, expected 2 to 8"},
        {"arithmetic: fbgemm",
         "arithmetic: fbgemm\nlayers:\n  conv:\n    activations:\n      observer: mse\n      dtype: qint8\n"
         "      symmetric: true\n      quant_min: -64\n      quant_max: 128",
         ":18: layers.conv.activations.quant_max: 128 is outside qint8, expected -128 to 127"},
        {"arithmetic: fbgemm",
         "arithmetic: fbgemm\nlayers: { conv: { weights: { observer: mse, dtype: qint8, symmetric: true, "
         "bins: "
         "x } } }",
         ":11: layers.conv.weights.bins: expected a whole number"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers: { conv: { layers: { conv_1: fp32 } } }",
         ":11: layers.conv: unknown key 'layers'"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers:\n  conv: fp32\n  dense: fp16",
         ":13: layers.dense: there is no scheme 'fp16'"},
        {"arithmetic: fbgemm", "arithmetic: fbgemm\nlayers: { conv: fp32, conv: fp32 }",
         ":11: layers.conv: written twice, first in line 11"},
        /* written twice */
        {"fuse: [", "name: other\nfuse: [", ":9: name: written twice, first in line 1"},
        {"qint8, symmetric: true", "qint8, dtype: qint8, symmetric: true",
         ":3: weights.dtype: written twice, first in line 3"},
        {"conv_relu, add_relu", "conv_relu, conv_relu", ":9: fuse[1]: 'conv_relu' is listed twice"},
        /* YAML itself */
        {"fuse: [conv_relu", "fuse: [conv_relu: {", ": not valid YAML: "},
        {"name: mine", "name: \"mine", ": not valid YAML: "},
        {"name: mine", "name: \"mi\\0ne\"", ":1: a value contains a NUL character"},
        {"name: mine", "name: &a mine", ":1: YAML anchors"},
        {"a framework", "*a", ":2: YAML aliases"},
        {"name: mine", "name: !!str mine", ":1: YAML tags"},
        {"name: mine", "? [a]\n: b\nname: mine", ":1: a mapping or list stands where a key was expected"},
        {"arithmetic: fbgemm\n", "arithmetic: fbgemm\n---\nname: b\n", ":11: a second YAML document"},
        {"name: mine", "name: \xff\xfe", ":1: not valid YAML"},
        {"  dtype: quint8", "  dtype: \x80", ":6: not valid YAML"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct qb_error err = {.text = ""};
        char *const text = replaced(good, changes[i].old, changes[i].new);
        const enum qb_status status = load_text(text, strlen(text), &err);
        qbt_error(status, QB_EINPUT, &err, changes[i].want);
        assert_non_null(strstr(err.text, "/s.yaml:"));
        free(text);
    }
}

/* A layer's scheme file lies beside the scheme file that names it, wherever the caller is, and whatever it is
 * called. */
static void test_layer_file(void **state)
{
    (void)state;
    struct qb_error err;
    char *const dir = qbt_mkdtemp(), *const inner = qb_path_join(dir, "inner"),
                *const outer = qb_path_join(dir, "outer.yaml");
    char *const one = replaced(good, "name: mine", "name: inner"),
                *const other =
                    replaced(good, "arithmetic: fbgemm", "arithmetic: fbgemm\nlayers: { conv: ./inner }");
    struct qb_arena *const arena = qb_arena_create();
    struct qb_scheme scheme;
    qbt_ok(qb_file_write(inner, one, strlen(one), &err), &err);
    qbt_ok(qb_file_write(outer, other, strlen(other), &err), &err);
    qbt_ok(qb_scheme_load(outer, NULL, arena, &scheme, &err), &err);
    assert_int_equal(scheme.layer_count, 1);
    assert_string_equal(scheme.layers[0].name, "inner");
    qb_arena_destroy(arena);
    free(one);
    free(other);
    free(inner);
    free(outer);
    qbt_rmtree(dir);
}

static void test_other_documents(void **state)
{
    (void)state;
    static const struct change texts[] = {
        {"", NULL, ":1: the file holds no value; expected a mapping with the keys name"},
        {"# nothing\n", NULL, ":1: the file holds no value"},
        {"---\n...\n", NULL, ":2: expected a mapping with the keys name"},
        {"hello\n", NULL,
         ":1: expected a mapping with the keys name, reproduces, verified, compared, weights, activations, "
         "fuse, prepare, arithmetic, accumulate, layers, refine, found 'hello'"},
        {"[1, 2]\n", NULL, "found a list of 2"},
        {"{}\n", NULL, ":1: key 'name' is missing"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct qb_error err = {.text = ""};
        qbt_error(load_text(texts[i].old, strlen(texts[i].old), &err), QB_EINPUT, &err, texts[i].want);
    }
}

/* Repeats `unit` until `size` bytes are there; malloc'd. */
static char *repeat(const char *unit, size_t size)
{
    char *const text = malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        text[i] = unit[i % strlen(unit)];
    }
    text[size] = 0;
    return text;
}

static void test_hostile(void **state)
{
    (void)state;
    static const struct change units[] = {
        {"[", NULL, "nested more than 8 levels deep"},    {"- ", NULL, "nested more than 8 levels deep"},
        {"{a: ", NULL, "nested more than 8 levels deep"}, {"- a\n", NULL, "more than 4096 values"},
        {"x", NULL, "a value of more than 1023 bytes"},
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        struct qb_error err = {.text = ""};
        char *const text = repeat(units[i].old, 1 << 20);
        qbt_error(load_text(text, 1 << 20, &err), QB_EINPUT, &err, units[i].want);
        free(text);
    }
    struct qb_error err = {.text = ""};
    char *const big = repeat("# comment\n", (1 << 20) + 1);
    qbt_error(load_text(big, (1 << 20) + 1, &err), QB_EINPUT, &err, "at most 1048576 are expected");
    free(big);

    char *long_key = repeat("k", 100);
    long_key[99] = ':';
    qbt_error(load_text(long_key, 100, &err), QB_EINPUT, &err, "a key of more than 64 bytes");
    free(long_key);
}

/* Whatever a file is cut to or has a byte changed to, the loader answers with a value or a sentence. */
static void test_truncated_and_mutated(void **state)
{
    (void)state;
    const char *const dirs[] = {qbt_source("configs/schemes"), NULL};
    struct qb_arena *const arena = qb_arena_create();
    char *const dir = qbt_mkdtemp();
    struct qb_error err;
    const char **names = NULL;
    unsigned count = 0;
    qbt_ok(qb_scheme_list(dirs, arena, &names, &count, &err), &err);
    unsigned refused = 0;
    for (unsigned i = 1; i < count; i++) {
        const char *const source = qb_arena_printf(arena, "%s/%s.yaml", dirs[0], names[i]);
        struct qb_blob blob;
        qbt_ok(qb_file_read(source, 1 << 20, &blob, &err), &err);
        for (size_t n = 0; n < 2 * blob.size; n++) {
            const bool cut = n < blob.size;
            uint8_t old = 0;
            if (!cut) {
                old = blob.data[n - blob.size];
                blob.data[n - blob.size] = (uint8_t)(old ^ (1 + n * 7 % 255));
            }
            char *const path = write_bytes(dir, "cut.yaml", blob.data, cut ? n : blob.size);
            struct qb_scheme s = {0};
            err.text[0] = 0;
            const enum qb_status status = qb_scheme_load(path, no_dirs, arena, &s, &err);
            if (status == QB_OK) {
                assert_true(s.name && s.weights.observer && s.activations.observer);
            } else {
                qbt_error(status, QB_EINPUT, &err, "cut.yaml:");
                refused++;
            }
            if (!cut) {
                blob.data[n - blob.size] = old;
            }
            free(path);
        }
        qb_blob_free(&blob);
    }
    assert_true(refused > 1000);
    qbt_rmtree(dir);
    qb_arena_destroy(arena);
}

static void test_names_and_paths(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp(), *const empty = qbt_mkdtemp();
    char *const mine = write_text(dir, "mine.yaml", good), *const wrong = write_text(dir, "other.yaml", good);
    char *const junk = write_text(dir, "not a name.yaml", "x"), *const text =
                                                                    write_text(dir, "readme.txt", "x");
    const char *const dirs[] = {"/no/such/folder", empty, dir, NULL};
    struct qb_arena *const arena = qb_arena_create();
    struct qb_error err;
    struct qb_scheme s;
    qbt_ok(qb_scheme_load("mine", dirs, arena, &s, &err), &err);
    assert_string_equal(s.path, mine);
    qbt_error(qb_scheme_load("other", dirs, arena, &s, &err), QB_EINPUT, &err,
              "/other.yaml:1: name: 'mine' differs from the file's name, expected 'other'");
    qbt_ok(qb_scheme_load(wrong, dirs, arena, &s, &err), &err); /* a path may have any name */
    qbt_error(qb_scheme_load("fbgem", dirs, arena, &s, &err), QB_EINPUT, &err,
              "there is no scheme 'fbgem'; the schemes are fp32, mine, other, or give the path");
    qbt_error(qb_scheme_load("..", dirs, arena, &s, &err), QB_EINPUT, &err, "there is no scheme '..'");
    qbt_error(qb_scheme_load("", dirs, arena, &s, &err), QB_EINPUT, &err, "there is no scheme ''");
    qbt_error(qb_scheme_load("gone.yaml", dirs, arena, &s, &err), QB_ENOTFOUND, &err,
              "gone.yaml: no such file");
    qbt_error(qb_scheme_load("./", dirs, arena, &s, &err), QB_EINPUT, &err, "not a regular file");
    qbt_ok(qb_scheme_load("fp32", dirs, arena, &s, &err), &err);
    assert_true(s.fp32);

    const char **names = NULL;
    unsigned count = 0;
    const char *const twice[] = {dir, dir, NULL};
    qbt_ok(qb_scheme_list(twice, arena, &names, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_string_equal(names[1], "mine");
    assert_string_equal(names[2], "other");
    qb_arena_destroy(arena);
    free(mine);
    free(wrong);
    free(junk);
    free(text);
    qbt_rmtree(dir);
    qbt_rmtree(empty);
}

static void test_arithmetic_names(void **state)
{
    (void)state;
    for (int i = 0; i < QB_ARITHMETIC_COUNT; i++) {
        enum qb_arithmetic out = QB_ARITHMETIC_COUNT;
        assert_int_equal(qb_arithmetic_parse(qb_arithmetic_name((enum qb_arithmetic)i), &out), 1);
        assert_int_equal(out, i);
    }
    enum qb_arithmetic out = QB_ARITHMETIC_ONEDNN;
    assert_int_equal(qb_arithmetic_parse("fbgem", &out), 0);
    assert_int_equal(out, QB_ARITHMETIC_ONEDNN);
    assert_string_equal(qb_dtype_name(QB_QUINT8), "quint8");
    assert_string_equal(qb_dtype_name(QB_QINT8), "qint8");
}

/* A layer's scheme is read like any other, but cannot have layers itself. */
static void test_layers(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp();
    char *const inner = write_bytes(dir, "inner.yaml", good, strlen(good));
    char text[2048];
    snprintf(
        text, sizeof text,
        "%slayers:\n  conv: fp32\n  dense: %s\n  conv_4:\n    weights: { observer: minmax, dtype: qint8, "
        "symmetric: true, bits: 7 }\n  add: { activations: { observer: mse, dtype: quint8, symmetric: "
        "false } }\n",
        good, inner);
    char *const path = write_text(dir, "outer.yaml", text);
    struct qb_arena *const arena = qb_arena_create();
    struct qb_scheme s;
    struct qb_error err;
    qbt_ok(qb_scheme_load(path, no_dirs, arena, &s, &err), &err);
    assert_int_equal(s.layer_count, 4);
    assert_string_equal(s.layers[0].layer, "conv");
    assert_string_equal(s.layers[0].name, "fp32");
    assert_true(s.layers[0].fp32 && s.layers[0].line == 12);
    assert_true(!s.layers[0].weights && !s.layers[0].activations);
    assert_string_equal(s.layers[1].layer, "dense");
    assert_string_equal(s.layers[1].name, "mine");
    assert_string_equal(s.layers[1].path, inner);
    assert_string_equal(s.layers[1].weights->observer, "per_channel_minmax");
    assert_string_equal(s.layers[1].activations->observer, "histogram");
    assert_int_equal(s.layers[1].activations->line, 4);
    assert_string_equal(s.layers[2].name, "");
    assert_string_equal(s.layers[2].path, path);
    assert_string_equal(s.layers[2].weights->observer, "minmax");
    assert_int_equal(s.layers[2].weights->bits, 7);
    assert_int_equal(s.layers[2].weights->line, 15);
    assert_null(s.layers[2].activations);
    assert_null(s.layers[3].weights);
    assert_string_equal(s.layers[3].activations->observer, "mse");
    char names[96];
    qb_exception_names(&s, names, sizeof names);
    assert_string_equal(names, "conv fp32, dense mine, conv_4 {weights}, add {activations}");
    /* Fewer bits are for what the layers leave to the scheme. */
    struct qb_scheme narrow;
    qbt_ok(qb_scheme_narrow(&s, 4, 5, arena, &narrow, &err), &err);
    assert_true(narrow.weights.bits == 4 && narrow.layers[2].weights->bits == 7 &&
                !narrow.layers[2].activations);
    char again[2048];
    snprintf(again, sizeof again, "%slayers: { conv: %s }\n", good, path);
    char *const third = write_text(dir, "third.yaml", again);
    qbt_error(qb_scheme_load(third, no_dirs, arena, &s, &err), QB_EINPUT, &err,
              "a scheme for a layer has layers of its own");
    qb_arena_destroy(arena);
    free(third);
    free(path);
    free(inner);
    qbt_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped),         cmocka_unit_test(test_shipped_values),
        cmocka_unit_test(test_options),         cmocka_unit_test(test_accumulate),
        cmocka_unit_test(test_errors),          cmocka_unit_test(test_layers),
        cmocka_unit_test(test_layer_file),      cmocka_unit_test(test_other_documents),
        cmocka_unit_test(test_hostile),         cmocka_unit_test(test_truncated_and_mutated),
        cmocka_unit_test(test_names_and_paths), cmocka_unit_test(test_arithmetic_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
