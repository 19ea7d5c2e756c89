/* Experiment files: what is shipped, defaults, the cross product and its exclusions, errors. */
#include "config/plan.h"

#include "config_testing.h"

static const char *const engines[] = {"reference", "native", "onednn", "onednn_fused", NULL};
static const char *scheme_dirs[2];

static int setup(void **state)
{
    (void)state;
    scheme_dirs[0] = strdup(qbt_source("configs/schemes"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free((void *)(uintptr_t)scheme_dirs[0]);
    return 0;
}

static const char good[] = "name: exp\n"                                                          /* 1 */
                           "model: m.onnx\n"                                                      /* 2 */
                           "data: { dir: d, images: 500 }\n"                                      /* 3 */
                           "calibration:\n"                                                       /* 4 */
                           "  sampler: random\n"                                                  /* 5 */
                           "  per_class: 7\n"                                                     /* 6 */
                           "  batch_size: 10\n"                                                   /* 7 */
                           "  seed: 4294967295\n"                                                 /* 8 */
                           "schemes: [fp32, fbgemm]\n"                                            /* 9 */
                           "engines:\n"                                                           /* 10 */
                           "  - onednn\n"                                                         /* 11 */
                           "  - reference\n"                                                      /* 12 */
                           "isas: [best, avx2]\n"                                                 /* 13 */
                           "threads: [1, 2]\n"                                                    /* 14 */
                           "batches: [1, 8, 64]\n"                                                /* 15 */
                           "impl: fastest\n"                                                      /* 16 */
                           "measure: { rounds: 12, epoch_ms: 0.5, seconds: 3, control: false }\n" /* 17 */
                           "exclude:\n"                                                           /* 18 */
                           "  - { engine: reference, threads: 2 }\n"                              /* 19 */
                           "  - { scheme: fp32, engine: reference, isa: avx2 }\n";                /* 20 */

static enum qb_status load_text(const char *text, struct qb_plan *plan, struct qb_error *err)
{
    char *const dir = qbt_mkdtemp();
    char *const path = write_text(dir, "e.yaml", text);
    const enum qb_status status = qb_plan_load(path, scheme_dirs, engines, plan, err);
    free(path);
    qbt_rmtree(dir);
    return status;
}

static void test_everything_written(void **state)
{
    (void)state;
    struct qb_plan plan;
    struct qb_error err;
    qbt_ok(load_text(good, &plan, &err), &err);
    assert_string_equal(plan.name, "exp");
    assert_non_null(strstr(plan.path, "/e.yaml"));
    assert_string_equal(plan.model, "m.onnx");
    assert_string_equal(plan.data.dir, "d");
    assert_int_equal(plan.data.images, 500);
    assert_string_equal(plan.calibration.sampler, "random");
    assert_int_equal(plan.calibration.per_class, 7);
    assert_int_equal(plan.calibration.batch_size, 10);
    assert_true(plan.calibration.seed == 4294967295U);
    assert_string_equal(plan.impl, "fastest");
    assert_int_equal(plan.measure.batch_count, 3);
    assert_int_equal(plan.measure.batches[0], 1);
    assert_int_equal(plan.measure.batches[2], 64);
    assert_int_equal(plan.measure.rounds, 12);
    assert_true(plan.measure.epoch_ms == 0.5 && plan.measure.seconds == 3);
    assert_false(plan.measure.control);
    assert_int_equal(plan.scheme_count, 2);
    /* Schemes outermost, threads innermost; 2 x 2 x 2 x 2 less 4 less 1. */
    static const struct {
        const char *scheme, *engine, *isa;
        int threads;
    } want[] = {
        {"fp32", "onednn", "best", 1},      {"fp32", "onednn", "best", 2},
        {"fp32", "onednn", "avx2", 1},      {"fp32", "onednn", "avx2", 2},
        {"fp32", "reference", "best", 1},   {"fbgemm", "onednn", "best", 1},
        {"fbgemm", "onednn", "best", 2},    {"fbgemm", "onednn", "avx2", 1},
        {"fbgemm", "onednn", "avx2", 2},    {"fbgemm", "reference", "best", 1},
        {"fbgemm", "reference", "avx2", 1},
    };
    assert_int_equal(plan.entry_count, sizeof want / sizeof *want);
    for (size_t i = 0; i < plan.entry_count; i++) {
        assert_string_equal(plan.entries[i].scheme->name, want[i].scheme);
        assert_string_equal(plan.entries[i].engine, want[i].engine);
        assert_string_equal(plan.entries[i].isa, want[i].isa);
        assert_int_equal(plan.entries[i].threads, want[i].threads);
    }
    qb_plan_free(&plan);
}

static void test_defaults(void **state)
{
    (void)state;
    struct qb_plan plan;
    struct qb_error err;
    qbt_ok(load_text("name: e\nmodel: m\nschemes: [fp32]\nengines: [onednn]\n", &plan, &err), &err);
    assert_null(plan.data.dir);
    assert_int_equal(plan.data.images, 0);
    assert_string_equal(plan.calibration.sampler, "first");
    assert_int_equal(plan.calibration.per_class, 100);
    assert_int_equal(plan.calibration.batch_size, 32);
    assert_int_equal(plan.calibration.seed, 42);
    assert_int_equal(plan.calibration.repeat, 1);
    assert_string_equal(plan.impl, "default");
    assert_int_equal(plan.measure.batch_count, 1);
    assert_int_equal(plan.measure.batches[0], 1);
    assert_int_equal(plan.measure.rounds, 60);
    assert_true(plan.measure.epoch_ms == 2 && plan.measure.seconds == 30 && plan.measure.control);
    assert_int_equal(plan.entry_count, 1);
    assert_string_equal(plan.entries[0].isa, "best");
    assert_int_equal(plan.entries[0].threads, 1);
    qb_plan_free(&plan);
}

static void test_shipped(void **state)
{
    (void)state;
    struct qb_plan plan;
    struct qb_error err;
    qbt_ok(qb_plan_load(qbt_source("configs/default.yaml"), scheme_dirs, engines, &plan, &err), &err);
    assert_string_equal(plan.name, "default");
    assert_string_equal(plan.model, "models/resnet8.onnx");
    assert_int_equal(plan.data.images, 10000);
    assert_int_equal(plan.scheme_count, 10);
    assert_int_equal(plan.entry_count, 27);
    assert_int_equal(plan.measure.batch_count, 2);
    qb_plan_free(&plan);
    qbt_ok(qb_plan_load(qbt_source("configs/quick.yaml"), scheme_dirs, engines, &plan, &err), &err);
    assert_string_equal(plan.name, "quick");
    assert_int_equal(plan.entry_count, 3);
    assert_int_equal(plan.data.images, 1000);
    qb_plan_free(&plan);
    qbt_ok(qb_plan_load(qbt_source("configs/bits.yaml"), scheme_dirs, engines, &plan, &err), &err);
    assert_int_equal(plan.scheme_count, 4 * 7 * 7);
    qb_plan_free(&plan);
    /* configs/schemes.yaml runs every scheme that is shipped. */
    struct qb_arena *const arena = qb_arena_create();
    const char **names;
    unsigned count;
    qbt_ok(qb_scheme_list(scheme_dirs, arena, &names, &count, &err), &err);
    qbt_ok(qb_plan_load(qbt_source("configs/schemes.yaml"), scheme_dirs, engines, &plan, &err), &err);
    assert_int_equal(plan.scheme_count, count);
    /* Each on two engines, but fp32 is not native and oneDNN has no arithmetic ort or tflite. */
    size_t entries = 2 * (size_t)count - 1;
    for (size_t i = 0; i < plan.scheme_count; i++) {
        entries -= !plan.schemes[i].fp32 && (plan.schemes[i].arithmetic == QB_ARITHMETIC_ORT ||
                                             plan.schemes[i].arithmetic == QB_ARITHMETIC_TFLITE);
    }
    assert_int_equal(plan.entry_count, entries);
    /* And published.yaml does so on other weights. */
    struct qb_plan published;
    qbt_ok(qb_plan_load(qbt_source("configs/published.yaml"), scheme_dirs, engines, &published, &err), &err);
    assert_int_equal(published.published_count, 4);
    assert_float_equal(published.published[1].accuracy, 0.8558, 1e-12);
    assert_int_equal(published.scheme_count, plan.scheme_count);
    for (size_t i = 0; i < plan.scheme_count; i++) {
        assert_string_equal(published.schemes[i].name, plan.schemes[i].name);
    }
    qb_plan_free(&published);
    qb_plan_free(&plan);
    qb_arena_destroy(arena);
}

struct change {
    const char *old, *new, *want;
};

static void test_errors(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"name: exp", "name: -exp", "e.yaml:1: name: '-exp' is not a name"},
        {"model: m.onnx\n", "", "e.yaml:1: key 'model' is missing"},
        {"model: m.onnx", "modle: m.onnx",
         "e.yaml:2: unknown key 'modle'; the keys here are name, model, data"},
        {"images: 500", "images: -1", "e.yaml:3: data.images: -1 is out of range, expected 0 to 10000000"},
        {"images: 500", "imgs: 500", "e.yaml:3: data: unknown key 'imgs'; the keys here are dir, images"},
        {"  per_class: 7", "  repeat: 0",
         "e.yaml:6: calibration.repeat: 0 is out of range, expected 1 to 50"},
        {"  per_class: 7", "  repeat: 2",
         "e.yaml:8: calibration.seed: 4294967295 and the 1 seeds that follow"},
        {"  sampler: random\n  per_class: 7", "  sampler: first\n  repeat: 5",
         "e.yaml:6: calibration.repeat: 5 calibration sets need sampler: random, because sampler 'first' "
         "always"},
        {"  sampler: random\n  per_class: 7", "  sampler: e.yaml\n  repeat: 5",
         "e.yaml:6: calibration.repeat: 5 calibration sets need sampler: random, because sampler 'e.yaml'"},
        {"  per_class: 7", "  per_class: 0", "e.yaml:6: calibration.per_class: 0 is out of range"},
        {"  batch_size: 10", "  batch_size: 5000",
         "e.yaml:7: calibration.batch_size: 5000 is out of range, expected 1 to 4096"},
        {"seed: 4294967295", "seed: 4294967296",
         "e.yaml:8: calibration.seed: expected a whole number from 0 to 4294967295"},
        {"seed: 4294967295", "seed: -1",
         "e.yaml:8: calibration.seed: expected a whole number from 0 to 4294967295"},
        {"sampler: random", "sampler: ''",
         "e.yaml:5: calibration.sampler: expected a text of 1 to 1023 bytes"},
        {"schemes: [fp32, fbgemm]", "schemes: []",
         "e.yaml:9: schemes: expected a list of 1 to 64 entries, found a list of 0"},
        {"schemes: [fp32, fbgemm]", "schemes: fbgemm",
         "e.yaml:9: schemes: expected a list of 1 to 64 entries, found 'fbgemm'"},
        {"schemes: [fp32, fbgemm]", "schemes: [fp32, fbgemmm]",
         "e.yaml:9: schemes[1]: there is no scheme 'fbgemmm'; the schemes are fp32, "},
        {"schemes: [fp32, fbgemm]", "schemes: [fp32, {a: b}]", "e.yaml:9: schemes[1]: expected a text"},
        {"schemes: [fp32, fbgemm]", "schemes: [fp32, fp32]",
         "e.yaml:9: schemes[1]: scheme 'fp32' is listed twice"},
        {"schemes: [fp32, fbgemm]", "schemes: [fp32, gone.yaml]",
         "e.yaml:9: schemes[1]: gone.yaml: no such file"},
        {"  - reference", "  - torch",
         "e.yaml:12: engines[1]: there is no engine 'torch', expected one of reference, native, onednn, "
         "onednn_fused"},
        {"  - reference", "  - onednn", "e.yaml:12: engines[1]: 'onednn' is listed twice"},
        {"[best, avx2]", "[best, avx512]",
         "e.yaml:13: isas[1]: there is no isa 'avx512', expected one of best, ref, avx2"},
        {"threads: [1, 2]", "threads: [1, 0]",
         "e.yaml:14: threads[1]: 0 is out of range, expected 1 to 1024"},
        {"threads: [1, 2]", "threads: [2, 2]", "e.yaml:14: threads[1]: 2 is listed twice"},
        {"threads: [1, 2]", "threads: [1, two]", "e.yaml:14: threads[1]: expected a whole number"},
        {"threads: [1, 2]", "threads: 1",
         "e.yaml:14: threads: expected a list of 1 to 64 entries, found '1'"},
        {"batches: [1, 8, 64]", "batches: [1, 8, 8]", "e.yaml:15: batches[2]: 8 is listed twice"},
        {"batches: [1, 8, 64]", "batches: [4097]", "e.yaml:15: batches[0]: 4097 is out of range"},
        {"rounds: 12", "rounds: 5", "e.yaml:17: measure.rounds: 5 is out of range, expected 6 to 100000"},
        {"epoch_ms: 0.5", "epoch_ms: 0", "e.yaml:17: measure.epoch_ms: 0 is out of range"},
        {"epoch_ms: 0.5", "epoch_ms: soon", "e.yaml:17: measure.epoch_ms: expected a number, found 'soon'"},
        {"seconds: 3", "seconds: 1e9",
         "e.yaml:17: measure.seconds: 1e+09 is out of range, expected 0.1 to 86400"},
        {"control: false", "control: off",
         "e.yaml:17: measure.control: expected one of false, true, found 'off'"},
        {"threads: 2 }", "threads: 3 }", "e.yaml:19: exclude[0]: matches no combination"},
        {"scheme: fp32, engine", "scheme: fp33, engine", "e.yaml:20: exclude[1]: matches no combination"},
        {"{ engine: reference, threads: 2 }", "{}", "e.yaml:19: exclude[0]: empty"},
        {"{ engine: reference, threads: 2 }", "{ engines: reference }",
         "e.yaml:19: exclude[0]: unknown key 'engines'"},
        {"{ engine: reference, threads: 2 }", "{ isa: best }\n  - { isa: avx2 }",
         "e.yaml:18: exclude: every combination is excluded"},
        {"impl: fastest", "published: [{ scheme: mse, accuracy: 87, source: a }]",
         "e.yaml:16: published[0]: scheme 'mse' is not among the schemes of this experiment"},
        {"impl: fastest", "published: [{ scheme: fp32, accuracy: 101, source: a }]",
         "e.yaml:16: published[0].accuracy: 101 is out of range, expected 0 to 100"},
        {"impl: fastest", "published: [{ scheme: fp32, accuracy: 87 }]",
         "e.yaml:16: published[0]: key 'source' is missing"},
        {"impl: fastest",
         "published: [{ scheme: fp32, accuracy: 87, source: a }, { scheme: fp32, accuracy: 88, source: b }]",
         "e.yaml:16: published[1]: scheme 'fp32' is listed twice"},
        {"sampler: random", "sampler: none.npy",
         "e.yaml:5: calibration.sampler: 'none.npy' is neither first nor random nor a file"},
        {"sampler: random", "sampler: .", "e.yaml:5: calibration.sampler: '.' is neither"},
        {"impl: fastest", "impl: ''", "e.yaml:16: impl: expected a text of 1 to 1023 bytes"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct qb_error err = {.text = ""};
        struct qb_plan plan;
        char *const text = replaced(good, changes[i].old, changes[i].new);
        const enum qb_status status = load_text(text, &plan, &err);
        qbt_error(status, strstr(changes[i].want, "no such file") ? QB_ENOTFOUND : QB_EINPUT, &err,
                  changes[i].want);
        free(text);
    }
    struct qb_error err;
    struct qb_plan plan;
    qbt_error(qb_plan_load("nonsense.yaml", scheme_dirs, engines, &plan, &err), QB_ENOTFOUND, &err,
              "nonsense.yaml: no such file");
}

/* Users' own scheme files: beside the experiment, by absolute path, and with a mistake in them. */
static void test_own_scheme_files(void **state)
{
    (void)state;
    static const char scheme[] = "name: own\nweights: { observer: minmax, dtype: qint8, symmetric: true }\n"
                                 "activations: { observer: minmax, dtype: quint8, symmetric: false }\n"
                                 "fuse: []\narithmetic: onednn\n";
    char *const dir = qbt_mkdtemp();
    char *const own = write_text(dir, "own.yaml", scheme);
    char *const broken_text = replaced(scheme, "symmetric: false", "symmetric: no");
    char *const broken = write_text(dir, "broken.yaml", broken_text);
    char *const beside =
        write_text(dir, "a.yaml", "name: a\nmodel: m\nschemes: [own.yaml]\nengines: [onednn]\n");
    char *const bad =
        write_text(dir, "b.yaml", "name: b\nmodel: m\nschemes: [fp32, broken.yaml]\nengines: [onednn]\n");
    struct qb_plan plan;
    struct qb_error err;
    qbt_ok(qb_plan_load(beside, scheme_dirs, engines, &plan, &err), &err);
    assert_string_equal(plan.entries[0].scheme->name, "own");
    assert_string_equal(plan.entries[0].scheme->path, own);
    qb_plan_free(&plan);
    qbt_error(qb_plan_load(bad, scheme_dirs, engines, &plan, &err), QB_EINPUT, &err,
              "b.yaml:3: schemes[1]: ");
    assert_non_null(
        strstr(err.text, "broken.yaml:3: activations.symmetric: expected one of false, true, found 'no'"));
    free(own);
    free(broken_text);
    free(broken);
    free(beside);
    free(bad);
    qbt_rmtree(dir);
}

/* Everything else that an experiment names may lie beside it too; what is nowhere stays as written. */
static void test_paths_beside(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp();
    char *const list = write_text(dir, "list.txt", "1\n"), *const model = write_text(dir, "own.onnx", "");
    char *const path = write_text(dir, "a.yaml",
                                  "name: a\nmodel: own.onnx\nschemes: [fp32]\nengines: [onednn]\n"
                                  "calibration: { sampler: list.txt }\ndata: { dir: . }\n");
    char *const other = write_text(dir, "b.yaml",
                                   "name: a\nmodel: models/m.onnx\nschemes: [fp32]\nengines: [onednn]\n"
                                   "data: { dir: nowhere }\n");
    struct qb_plan plan;
    struct qb_error err;
    qbt_ok(qb_plan_load(path, scheme_dirs, engines, &plan, &err), &err);
    assert_string_equal(plan.calibration.sampler, list);
    assert_string_equal(plan.model, model);
    assert_string_equal(plan.data.dir, "."); /* is there as written */
    qb_plan_free(&plan);
    qbt_ok(qb_plan_load(other, scheme_dirs, engines, &plan, &err), &err);
    assert_string_equal(plan.model, "models/m.onnx");
    assert_string_equal(plan.data.dir, "nowhere");
    qb_plan_free(&plan);
    free(list);
    free(model);
    free(path);
    free(other);
    qbt_rmtree(dir);
}

static const struct qb_scheme *scheme_of(const struct qb_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->scheme_count; i++) {
        if (strcmp(plan->schemes[i].name, name) == 0) {
            return &plan->schemes[i];
        }
    }
    fail_msg("no scheme %s", name);
    return NULL;
}

static void test_bits(void **state)
{
    (void)state;
    struct qb_plan plan;
    struct qb_error err;
    qbt_ok(load_text("name: b\nmodel: m\nschemes: [fp32, fbgemm, mse]\nengines: [onednn]\n"
                     "bits: { weights: [8, 4], activations: [6, 8, 2] }\n",
                     &plan, &err),
           &err);
    assert_int_equal(plan.scheme_count, 1 + 2 * 6);
    assert_int_equal(plan.entry_count, plan.scheme_count);
    const struct qb_scheme *s = scheme_of(&plan, "fbgemm_w4a6");
    assert_true(s->weights.bits == 4 && !s->weights.has_quant_range);
    assert_true(s->activations.bits == 6 && !s->activations.reduce_range);
    assert_int_equal(s->compared, QB_COMPARED_NOTHING);
    assert_string_equal(s->verified, "");
    s = scheme_of(&plan, "fbgemm_w8a8"); /* all bits, which fbgemm itself does not use */
    assert_true(s->weights.bits == 0 && s->activations.bits == 0 && !s->activations.reduce_range);
    s = scheme_of(&plan, "mse_w4a2"); /* without the least code, as in 8 bits */
    assert_true(s->weights.quant_min == -7 && s->weights.quant_max == 7 && s->activations.bits == 2);
    qb_plan_free(&plan);
    qbt_ok(load_text("name: b\nmodel: m\nschemes: [fbgemm]\nengines: [onednn]\nbits: { weights: [5] }\n",
                     &plan, &err),
           &err);
    s = scheme_of(&plan, "fbgemm_w5");
    assert_true(s->weights.bits == 5 && s->activations.bits == 0 && s->activations.reduce_range);
    qb_plan_free(&plan);
    static const struct change wrong[] = {
        {"bits: { weights: [1] }", NULL, "e.yaml:5: bits.weights[0]: 1 is out of range, expected 2 to 8"},
        {"bits: { activations: [4, 9] }", NULL,
         "e.yaml:5: bits.activations[1]: 9 is out of range, expected 2 to 8"},
        {"bits: { weights: [4, 4] }", NULL, "e.yaml:5: bits.weights[1]: 4 is listed twice"},
        {"bits: { wei: [4] }", NULL, "e.yaml:5: bits: unknown key 'wei'"},
        {"bits: 4", NULL, "e.yaml:5: bits: expected a mapping"},
        {"bits: { activations: [4] }", "default",
         "e.yaml:3: schemes[0]: scheme 'default' gives activations the range 0..127, which bits would "
         "replace"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256];
        snprintf(text, sizeof text, "name: b\nmodel: m\nschemes: [%s]\nengines: [onednn]\n%s\n",
                 wrong[i].new ? wrong[i].new : "fbgemm", wrong[i].old);
        qbt_error(load_text(text, &plan, &err), QB_EINPUT, &err, wrong[i].want);
    }
}

static void test_truncated(void **state)
{
    (void)state;
    char *const dir = qbt_mkdtemp();
    static const char *const files[] = {"configs/default.yaml", "configs/quick.yaml"};
    unsigned refused = 0;
    for (size_t f = 0; f < 2; f++) {
        struct qb_error err;
        struct qb_blob blob;
        qbt_ok(qb_file_read(qbt_source(files[f]), 1 << 20, &blob, &err), &err);
        for (size_t n = 0; n < blob.size; n++) {
            char *const path = write_bytes(dir, "cut.yaml", blob.data, n);
            struct qb_plan plan;
            const enum qb_status status = qb_plan_load(path, scheme_dirs, engines, &plan, &err);
            if (status == QB_OK) {
                assert_true(plan.entry_count > 0 && plan.scheme_count > 0);
                qb_plan_free(&plan);
            } else {
                qbt_error(status, QB_EINPUT, &err, "cut.yaml:");
                refused++;
            }
            free(path);
        }
        qb_blob_free(&blob);
    }
    assert_true(refused > 500);
    qbt_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_written),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_own_scheme_files),
        cmocka_unit_test(test_paths_beside),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_truncated),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
