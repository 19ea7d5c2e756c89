/* Views of a sensitivity study made by hand: the sentence, the columns, what does not apply. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "report/sensitivity_view.h"

static struct qb_layer_sensitivity layers[3];
static struct qb_sensitivity study;
static const struct qb_qgraph graph = {.scheme = "mine", .arithmetic = QB_ARITHMETIC_ONEDNN};

static int setup(void **state)
{
    (void)state;
    const struct qb_deviation quiet = {1000, 1, 1000, 1000}, loud = {1000, 10, 1000, 1000},
                              none = {1000, 0, 1000, 1000};
    layers[0] = (struct qb_layer_sensitivity){.name = "conv, the \"first\"",
                                              .op = "conv",
                                              .q = {.scale = 0.5F, .zero_point = 131, .dtype = QB_QINT8},
                                              .min = -3,
                                              .max = 4,
                                              .values = 400,
                                              .clipped = 1,
                                              .ends = 2,
                                              .alone_output = quiet,
                                              .integer_output = loud,
                                              .alone = {.hits = 88, .agree = 97, .logits = quiet},
                                              .kept = {.hits = 95, .agree = 96, .logits = quiet},
                                              .only_kept = 16,
                                              .only_all = 1,
                                              .multiplies = true,
                                              .saturation = {.pairs = 12, .accumulators = 10},
                                              .accumulators = 400};
    layers[1] = (struct qb_layer_sensitivity){.name = "add_1",
                                              .op = "add",
                                              .q = {.scale = 0.25F},
                                              .values = 100,
                                              .alone_output = none,
                                              .alone = {.hits = 90, .agree = 100, .logits = none},
                                              .kept = {.hits = 80, .agree = 88, .logits = loud}};
    layers[2] = (struct qb_layer_sensitivity){.name = "dense",
                                              .op = "dense",
                                              .f32 = true,
                                              .min = -7,
                                              .max = 8,
                                              .values = 100,
                                              .integer_output = loud};
    study = (struct qb_sensitivity){.images = 100,
                                    .fp32 = {.hits = 90, .agree = 100, .logits = none},
                                    .all = {.hits = 80, .agree = 88, .logits = loud},
                                    .integer = {.hits = 81, .agree = 87, .logits = loud},
                                    .saturating = {.hits = 60, .agree = 60, .logits = loud},
                                    .accumulate = QB_ACCUMULATE_MADDUBS_PAD4,
                                    .layers = layers,
                                    .count = 3};
    return 0;
}

static char *render(enum qb_report_format format)
{
    char *text = NULL;
    struct qb_error err;
    qbt_ok(qb_sensitivity_render(&study, &graph, format, &text, &err), &err);
    return text;
}

static void expect(enum qb_report_format format, const char *const *needles)
{
    char *const text = render(format);
    for (; *needles; needles++) {
        if (!strstr(text, *needles)) {
            fail_msg("no \"%s\" in:\n%s", *needles, text);
        }
    }
    free(text);
}

static void for_people(void **state)
{
    (void)state;
    static const char *const text[] = {
        "conv, the \"first\" costs most: kept float, 95 of 100 right answers instead of 80",
        "float network: 90",
        "the same without VNNI, maddubs_pad4",
        "integer, arithmetic onednn",
        "  inf  ",
        NULL};
    expect(QB_REPORT_TEXT, text);
    static const char *const markdown[] = {
        "| add_1 | add | 0.25 | 0 | ",
        "| dense | dense | float32 | - | -7 | 8 | - | - | - | - | - | - | - | - | - "
        "| - | 20.0 | - |\n",
        "| float | 90 | 100.00 | inf | 1.00000 |",
        "| conv, the \"first\" | conv | 0.5 | 3 | -3 | 4 | 0.250 | 88 | -2 | 30.0 | ",
        "\n\nconv, the \"first\" costs most",
        NULL};
    expect(QB_REPORT_MARKDOWN, markdown);
}

/* What chance could have done is said so. */
static void uncertain(void **state)
{
    (void)state;
    layers[0].only_kept = 15, layers[0].only_all = 8;
    static const char *const want[] = {"conv, the \"first\" disturbs the logits most: kept float, 30.0 dB "
                                       "instead of 20.0; no single layer changes the "
                                       "right answers beyond chance",
                                       NULL};
    expect(QB_REPORT_TEXT, want);
}

static void synthetic_images(void **state)
{
    (void)state;
    study.synthetic = true;
    static const char *const want[] = {"answers of the float network", "hits", NULL};
    expect(QB_REPORT_TEXT, want);
    char *const text = render(QB_REPORT_TEXT);
    assert_null(strstr(text, "right answers"));
    free(text);
}

static void csv(void **state)
{
    (void)state;
    char *const text = render(QB_REPORT_CSV);
    const char *const first = strstr(text, "\r\n") + 2, *const second = strstr(first, "\r\n") + 2;
    assert_ptr_equal(strstr(text, "layer,operator,scale,zero_point,min,max,clipped,"), text);
    assert_ptr_equal(
        strstr(first, "\"conv, the \"\"first\"\"\",conv,0.5,3,-3,4,0.0025,0.005,88,-2,0.97,30,1,"), first);
    assert_ptr_equal(strstr(second, "add_1,add,0.25,0,"), second);
    assert_non_null(strstr(second, "\r\ndense,dense,,,-7,8,,,,,,,,,,,,,,,,20,"));
    assert_non_null(strstr(second, ",,\r\n")); /* an addition multiplies nothing */
    /* As many commas in each line; the name has one more, in quotes. */
    int commas[3] = {0}, line = 0;
    for (const char *at = text; *at && line < 3; at++) {
        commas[line] += *at == ',';
        line += *at == '\n';
    }
    assert_int_equal(commas[0], commas[2]);
    assert_int_equal(commas[0] + 1, commas[1]);
    free(text);
}

static void json(void **state)
{
    (void)state;
    char *const text = render(QB_REPORT_JSON);
    json_t *const root = json_loads(text, 0, NULL);
    assert_non_null(root);
    free(text);
    assert_string_equal(json_string_value(json_object_get(root, "worst")), "conv, the \"first\"");
    assert_string_equal(json_string_value(json_object_get(root, "worst_by")), "hits");
    assert_string_equal(json_string_value(json_object_get(root, "accumulate")), "maddubs_pad4");
    assert_int_equal(json_array_size(json_object_get(root, "networks")), 4);
    const json_t *const conv = json_array_get(json_object_get(root, "layers"), 0),
                        *const add = json_array_get(json_object_get(root, "layers"), 1),
                        *const dense = json_array_get(json_object_get(root, "layers"), 2);
    assert_true(json_number_value(json_object_get(conv, "saturated_pairs")) == 12);
    assert_true(json_number_value(json_object_get(conv, "saturated_accumulators")) == 0.025);
    assert_true(json_is_null(json_object_get(add, "saturated_pairs")));
    assert_true(json_is_null(json_object_get(dense, "scale")));
    assert_true(json_is_null(json_object_get(dense, "kept_float_change")));
    assert_true(json_number_value(json_object_get(dense, "integer_output_sqnr_db")) == 20);
    assert_true(json_is_null(json_object_get(add, "alone_logits_sqnr_db"))); /* no noise */
    json_decref(root);
}

static void svg(void **state)
{
    (void)state;
    char *text = NULL;
    struct qb_error err;
    const enum qb_status status = qb_sensitivity_render(&study, &graph, QB_REPORT_SVG, &text, &err);
    if (status == QB_EUNSUPPORTED) {
        qbt_error(status, QB_EUNSUPPORTED, &err, "gnuplot-nox");
        return;
    }
    qbt_ok(status, &err);
    assert_non_null(strstr(text, "<svg"));
    assert_non_null(strstr(text, "add_1"));
    assert_null(strstr(text, "dense")); /* nothing to draw */
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(for_people, setup),
        cmocka_unit_test_setup(uncertain, setup),
        cmocka_unit_test_setup(synthetic_images, setup),
        cmocka_unit_test_setup(csv, setup),
        cmocka_unit_test_setup(json, setup),
        cmocka_unit_test_setup(svg, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
