/* The views: merging of batches, order, Holm over distinct results, headline, CSV quoting, JSON nulls, Pareto
 * front. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/file.h"
#include "report/report.h"
#include "report/table.h"
#include "store/columns.h"

static struct qb_row make_row(const char *scheme, const char *engine, int batch, double median,
                              int64_t correct, double p)
{
    struct qb_row r = {
        .threads = 1, .batch = batch, .images = 10000, .correct = correct, .agree = 9700, .changed = 0};
    snprintf(r.scheme, sizeof r.scheme, "%s", scheme);
    snprintf(r.engine, sizeof r.engine, "%s", engine);
    snprintf(r.isa, sizeof r.isa, "avx2");
    snprintf(r.logits_hash, sizeof r.logits_hash, "%s%08d", "aaaa", (int)correct);
    r.accuracy = (double)correct / 10000;
    r.wilson_low = r.accuracy - 0.006;
    r.wilson_high = r.accuracy + 0.006;
    r.only_fp32 = 100;
    r.only_this = correct - 8719 + 100;
    r.p = p;
    r.median = r.min = r.p10 = median;
    r.p99 = 2 * median;
    r.images_per_s = 1e6 / median;
    r.macs = 12.5e6;
    r.roof_gmacs = 100;
    r.roof_share = 12.5e6 / (median * 1e3) / 100;
    r.speedup = 200 / median;
    r.noise_floor = 0.01;
    return r;
}

static struct qb_row fp32_row(int batch)
{
    struct qb_row r = make_row("fp32", "onednn", batch, 200, 8719, NAN);
    r.only_fp32 = r.only_this = -1;
    r.agree = 10000;
    return r;
}

static char *render(const struct qb_row *rows, size_t count, enum qb_report_format format)
{
    struct qb_error err = {0};
    char *text = NULL;
    qbt_ok(qb_report_render(rows, count, format, &text, &err), &err);
    return text;
}

static void batches_merge_and_lines_sort_by_latency(void **state)
{
    (void)state;
    const struct qb_row rows[] = {
        fp32_row(1),
        fp32_row(64),
        make_row("slow", "onednn", 1, 90, 8700, 0.4),
        make_row("slow", "onednn", 64, 50, 8700, 0.4),
        make_row("fast", "onednn", 64, 30, 8600, 0.0001),
        make_row("fast", "onednn", 1, 60, 8600, 0.0001),
    };
    struct table table;
    struct qb_error err = {0};
    qbt_ok(table_build(rows, 6, &table, &err), &err);
    assert_int_equal(table.count, 3);
    assert_string_equal(table.lines[0].first->scheme, "fast");
    assert_int_equal(table.lines[0].first->batch, 1);
    assert_int_equal(table.lines[0].largest->batch, 64);
    assert_string_equal(table.lines[0].cells[COL_LATENCY], "60.0, 60.0 [120.0]");
    assert_string_equal(table.lines[0].cells[COL_RATE], "33333");
    assert_string_equal(table.lines[2].first->scheme, "fp32");
    /* The significant one is faster, but must not be the headline. */
    assert_non_null(strstr(table.headline, "FP32: slow on onednn avx2"));
    size_t front[3];
    assert_int_equal(table_pareto(&table, front), 3);
    table_free(&table);
}

static void holm_counts_a_result_once(void **state)
{
    (void)state;
    /* Same hash = same hypothesis: two tests in all, so the smallest p doubles and does not triple. */
    const struct qb_row rows[] = {
        fp32_row(1),
        make_row("a", "onednn", 1, 90, 8650, 0.02),
        make_row("a", "reference", 1, 95, 8650, 0.02),
        make_row("b", "onednn", 1, 80, 8700, 0.5),
    };
    struct table table;
    struct qb_error err = {0};
    qbt_ok(table_build(rows, 4, &table, &err), &err);
    for (size_t i = 0; i < table.count; i++) {
        if (strcmp(table.lines[i].first->scheme, "a") == 0) {
            assert_float_equal(table.lines[i].p, 0.04, 1e-12);
        }
    }
    table_free(&table);
}

static void identical_networks_share_a_line(void **state)
{
    (void)state;
    struct qb_row rows[] = {
        fp32_row(1),
        make_row("a", "onednn", 1, 90, 8650, 0.02),
        make_row("b", "onednn", 1, 80, 8650, 0.02),
        make_row("c", "onednn", 1, 85, 8660, 0.02),
        make_row("a", "native", 1, 40, 8650, 0.02),
        make_row("b", "native", 1, NAN, 8650, 0.02),
    };
    for (int i = 1; i < 6; i++) {
        snprintf(rows[i].qgraph_hash, sizeof rows[i].qgraph_hash, "%s", i == 3 ? "other" : "same");
    }
    rows[5].status = QB_ROW_FAILED; /* a failure is never hidden behind another row */
    struct table table;
    struct qb_error err = {0};
    qbt_ok(table_build(rows, 6, &table, &err), &err);
    assert_int_equal(table.count, 5);
    assert_string_equal(table.lines[0].cells[COL_SCHEME], "a");
    size_t shared = 0;
    for (size_t i = 0; i < table.count; i++) {
        shared += strcmp(table.lines[i].cells[COL_SCHEME], "a (+1)") == 0;
        assert_true(strcmp(table.lines[i].first->scheme, "b") != 0 ||
                    table.lines[i].first->status != QB_ROW_OK);
    }
    assert_int_equal(shared, 1);
    size_t named = 0;
    for (size_t i = 0; i < table.note_count; i++) {
        named += strcmp(table.notes[i], "Identical integer networks, shown in one line: a = b.") == 0;
    }
    assert_int_equal(named, 1);
    table_free(&table);
}

static void set_counts(struct qb_row *row, const char *counts, double mean, double sd)
{
    row->calibration_sets = 3;
    row->calibration_mean = mean;
    row->calibration_sd = sd;
    snprintf(row->set_correct, sizeof row->set_correct, "%s", counts);
}

static const struct table_line *line_of(const struct table *table, const char *scheme)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->lines[i].first->scheme, scheme) == 0) {
            return &table->lines[i];
        }
    }
    fail_msg("no line of %s", scheme);
    return NULL;
}

static void calibration_sets_are_compared_in_pairs(void **state)
{
    (void)state;
    struct qb_row rows[] = {
        fp32_row(1),
        make_row("best", "native", 1, 90, 8700, 0.4),
        make_row("close", "native", 1, 80, 8695, 0.4),
        make_row("close", "onednn", 1, 85, 8695, 0.4),
        make_row("worse", "native", 1, 85, 8650, 0.02),
    };
    set_counts(&rows[1], "8700 8720 8690", 0.870333, 0.001528);
    set_counts(&rows[2], "8695 8730 8680", 0.870167, 0.002566);
    set_counts(&rows[3], "8695 8730 8680", 0.870167, 0.002566);
    /* Always 50 or 51 behind: the draws move both alike, so the difference is no luck though the SD is
     * larger. */
    set_counts(&rows[4], "8650 8670 8639", 0.8653, 0.001573);
    struct table table;
    struct qb_error err = {0};
    qbt_ok(table_build(rows, 5, &table, &err), &err);
    assert_false(table.hidden[COL_SETS]);
    assert_string_equal(line_of(&table, "fp32")->cells[COL_SETS], "-");
    assert_string_equal(line_of(&table, "best")->cells[COL_SETS], "87.03, SD 0.15");
    assert_string_equal(line_of(&table, "best")->cells[COL_VS_BEST], "best");
    /* Two hypotheses, not three: scipy.stats.ttest_rel gives 0.8075 and 4.385e-05, Holm leaves the larger. */
    assert_string_equal(line_of(&table, "close")->cells[COL_VS_BEST], "-0.02 (0.808)");
    assert_string_equal(line_of(&table, "worse")->cells[COL_VS_BEST], "-0.50 (<0.001)");
    size_t said = 0;
    for (size_t i = 0; i < table.note_count; i++) {
        said += strstr(table.notes[i], "best is best; that it is ahead of close may be luck") != NULL;
    }
    assert_int_equal(said, 1);
    table_free(&table);
    char *text = render(rows, 5, QB_REPORT_MARKDOWN);
    assert_non_null(strstr(text, "| calibration sets: mean, SD | vs best (p) |"));
    free(text);
    /* Without such rows the columns are not there. */
    text = render(rows, 1, QB_REPORT_MARKDOWN);
    assert_null(strstr(text, "calibration sets"));
    free(text);
}

static struct qb_row bits_row(const char *base, int weights, int activations, int64_t correct)
{
    char name[64];
    snprintf(name, sizeof name, "%s_w%da%d", base, weights, activations);
    struct qb_row r = make_row(name, "native", 1, 40, correct, 0.4);
    r.weight_bits = weights;
    r.activation_bits = activations;
    return r;
}

static void widths_make_a_map(void **state)
{
    (void)state;
    struct qb_row rows[] = {
        bits_row("mse", 8, 8, 8700),
        bits_row("mse", 4, 8, 6500),
        bits_row("mse", 8, 4, 7000),
        bits_row("alone", 8, 8, 8600),                  /* one cell is no map */
        make_row("own_w4", "native", 1, 40, 8500, 0.4), /* a name, not a width */
        bits_row("mse", 8, 8, 1),                       /* another engine: the first counts */
    };
    rows[4].weight_bits = rows[4].activation_bits = 8;
    struct table table;
    struct qb_error err = {0};
    qbt_ok(table_build(rows, 6, &table, &err), &err);
    assert_int_equal(table.bits.count, 1);
    assert_string_equal(table.bits.maps[0].scheme, "mse");
    assert_float_equal(table.bits.maps[0].value[8][8], 87, 1e-12);
    assert_float_equal(table.bits.maps[0].value[4][8], 65, 1e-12);
    assert_true(isnan(table.bits.maps[0].value[4][4]));
    assert_float_equal(table.bits.fp32, 87.19, 1e-12);
    table_free(&table);
    char *text = render(rows, 6, QB_REPORT_TEXT);
    assert_non_null(strstr(text, "\n        a8     a4\nw8   87.00  70.00\nw4   65.00      -\n"));
    free(text);
    text = render(rows, 6, QB_REPORT_MARKDOWN);
    assert_non_null(strstr(text, "\n| w4  |  65.00 |      - |\n"));
    free(text);
    const enum qb_status drawn = qb_report_render(rows, 6, QB_REPORT_BITS, &text, &err);
    if (drawn == QB_OK) {
        assert_non_null(strstr(text, "<svg"));
        assert_non_null(strstr(text, "87.0"));
        free(text);
    } else {
        qbt_error(drawn, QB_EUNSUPPORTED, &err, "gnuplot-nox");
    }
    qbt_error(qb_report_render(rows + 3, 2, QB_REPORT_BITS, &text, &err), QB_EINPUT, &err,
              "no scheme was measured with several");
}

static void set_published(struct qb_row *row, double accuracy, const char *why)
{
    row->published = accuracy;
    snprintf(row->published_source, sizeof row->published_source, "them");
    snprintf(row->published_why, sizeof row->published_why, "%s", why);
}

static void published_figures_stand_beside_ours(void **state)
{
    (void)state;
    struct qb_row rows[] = {fp32_row(1), make_row("a", "onednn", 1, 90, 8665, 0.02),
                            make_row("a", "native", 1, 30, 8665, 0.02),
                            make_row("b", "native", 1, 30, 8650, 0.02)};
    set_published(&rows[0], 0.8719, "");
    set_published(&rows[1], 0.8558, "Another draw.");
    set_published(&rows[2], 0.8558, "Another draw.");
    char *text = render(rows, 4, QB_REPORT_TEXT);
    assert_non_null(strstr(text, "published %"));
    assert_non_null(strstr(text, "* Published for a: 85.58 % (them); here 86.65 %. Another draw.\n"));
    int notes = 0; /* one a scheme, whatever the engines */
    for (size_t i = 0; text[i]; i++) {
        notes += strncmp(text + i, "Published for a:", 16) == 0;
    }
    assert_int_equal(notes, 1);
    assert_non_null(strstr(text, "* Published for fp32: 87.19 % (them); here 87.19 %.\n"));
    assert_null(strstr(text, "another network"));
    free(text);
    rows[0].published = 0.8890;
    text = render(rows, 4, QB_REPORT_TEXT);
    assert_non_null(strstr(text, "FP32 has 87.19 % here and 88.90 % where the figures were published"));
    free(text);
    text = render(&rows[3], 1, QB_REPORT_TEXT);
    assert_null(strstr(text, "ublished"));
    free(text);
}

static void failed_rows_come_last_with_their_reason(void **state)
{
    (void)state;
    struct qb_row rows[] = {make_row("broken", "onednn", 1, NAN, 8650, 0.02), fp32_row(1)};
    rows[0].status = QB_ROW_FAILED;
    snprintf(rows[0].message, sizeof rows[0].message, "the convolution fell over");
    char *const text = render(rows, 2, QB_REPORT_TEXT);
    assert_true(strstr(text, "fp32") < strstr(text, "FAILED"));
    assert_non_null(strstr(text, "broken on onednn avx2: FAILED: the convolution fell over"));
    free(text);
}

static void one_reason_is_said_once(void **state)
{
    (void)state;
    struct qb_row rows[] = {fp32_row(1),
                            make_row("a", "onednn", 1, 90, 8650, 0.02),
                            make_row("b", "onednn", 1, 91, 8640, 0.02),
                            make_row("a", "native", 1, NAN, 8650, 0.02),
                            make_row("b", "native", 1, NAN, 8640, 0.02),
                            make_row("c", "native", 1, NAN, 8630, 0.02)};
    for (int i = 1; i < 3; i++) {
        snprintf(rows[i].exact, sizeof rows[i].exact, "~");
        rows[i].changed = 10 * i;
    }
    for (int i = 3; i < 6; i++) {
        rows[i].status = QB_ROW_SKIPPED;
        snprintf(rows[i].message, sizeof rows[i].message, i < 5 ? "no such unit" : "no such thing");
    }
    char *const text = render(rows, 6, QB_REPORT_TEXT);
    assert_non_null(strstr(text,
                           "* onednn avx2: ~ 16-bit sums that saturate without VNNI, and the library's own "
                           "rounding; of 10000 predictions these differ from the scheme's exact arithmetic: "
                           "10 of a, 20 of b.\n"));
    assert_non_null(strstr(text, "* a on native avx2, b on native avx2: SKIPPED: no such unit\n"));
    assert_non_null(strstr(text, "* c on native avx2: SKIPPED: no such thing\n"));
    free(text);
}

static void synthetic_data_shows_no_accuracy(void **state)
{
    (void)state;
    struct qb_row rows[] = {fp32_row(1), make_row("a", "onednn", 1, 90, 8650, 0.02)};
    rows[0].synthetic = rows[1].synthetic = 1;
    char *const text = render(rows, 2, QB_REPORT_MARKDOWN);
    assert_null(strstr(text, "86.50"));
    assert_non_null(strstr(text, "SYNTHETIC"));
    free(text);
}

static void impossible_roof_is_flagged(void **state)
{
    (void)state;
    struct qb_row rows[] = {fp32_row(1), make_row("a", "onednn", 1, 90, 8650, 0.02)};
    rows[1].roof_share = 1.3;
    char *const text = render(rows, 2, QB_REPORT_TEXT);
    assert_non_null(strstr(text, "130 % of the roof is impossible"));
    free(text);
}

static void csv_quotes_and_leaves_blanks(void **state)
{
    (void)state;
    struct qb_row row = make_row("a", "onednn", 1, 90, 8650, NAN);
    row.only_fp32 = -1;
    row.status = QB_ROW_SKIPPED;
    snprintf(row.message, sizeof row.message, "said \"no\", twice");
    char *const text = render(&row, 1, QB_REPORT_CSV);
    assert_non_null(strstr(text, ",SKIPPED,\"said \"\"no\"\", twice\""));
    assert_null(strstr(text, ",-1,"));
    assert_null(strstr(text, "nan"));
    size_t header = 1, body = 1;
    int quoted = 0;
    const char *p = text;
    for (; *p != '\r'; p++) {
        header += *p == ',';
    }
    for (p += 2; *p != '\r' || quoted; p++) {
        quoted ^= *p == '"';
        body += *p == ',' && !quoted;
    }
    assert_int_equal(header, qb_column_count);
    assert_int_equal(body, qb_column_count);
    free(text);
}

static void json_has_every_column(void **state)
{
    (void)state;
    struct qb_row row = make_row("a", "onednn", 1, 90, 8650, NAN);
    row.only_fp32 = -1;
    char *const text = render(&row, 1, QB_REPORT_JSON);
    json_t *const root = json_loads(text, 0, NULL);
    assert_non_null(root);
    const json_t *const first = json_array_get(json_object_get(root, "rows"), 0);
    assert_int_equal(json_object_size(first), qb_column_count);
    assert_true(json_is_null(json_object_get(first, "p")));
    assert_true(json_is_null(json_object_get(first, "only_fp32")));
    assert_int_equal(json_integer_value(json_object_get(first, "correct")), 8650);
    assert_string_equal(json_string_value(json_object_get(first, "status")), "ok");
    json_decref(root);
    free(text);
}

/* A name of the page: between backquotes. Arrays are named by their ends: `class_total_0` .. `class_total_9`.
 */
static bool named(const char *page, const char *name)
{
    char quoted[80];
    int stem = 0;
    sscanf(name, "class_%*[a-z]_%n", &stem);
    if (stem) {
        snprintf(quoted, sizeof quoted, "`%.*s0` .. `%.*s9`", stem, name, stem, name);
    } else {
        snprintf(quoted, sizeof quoted, "`%s`", name);
    }
    return strstr(page, quoted) != NULL;
}

static void every_column_is_documented(void **state)
{
    (void)state;
    struct qb_blob page;
    struct qb_error err = {0};
    qbt_ok(qb_file_read(qbt_source("docs/results.md"), 1 << 20, &page, &err), &err);
    for (size_t i = 0; i < qb_column_count; i++) {
        if (!named((const char *)page.data, qb_columns[i].name)) {
            fail_msg("docs/results.md does not name the column %s", qb_columns[i].name);
        }
    }
    qb_blob_free(&page);
}

static void a_dominated_line_is_not_on_the_front(void **state)
{
    (void)state;
    const struct qb_row rows[] = {make_row("good", "onednn", 1, 50, 8700, 0.5),
                                  make_row("worse", "onednn", 1, 60, 8600, 0.5),
                                  make_row("best", "onednn", 1, 70, 8710, 0.5)};
    struct table table;
    struct qb_error err = {0};
    size_t front[3];
    qbt_ok(table_build(rows, 3, &table, &err), &err);
    assert_int_equal(table_pareto(&table, front), 2);
    assert_int_equal(front[0], 0);
    assert_int_equal(front[1], 2);
    table_free(&table);
}

static void the_page_stands_alone(void **state)
{
    (void)state;
    struct qb_row rows[] = {fp32_row(1), make_row("a<b>&\"c", "onednn", 1, 90, 8650, 0.02)};
    for (int c = 0; c < 10; c++) {
        rows[0].class_total[c] = rows[1].class_total[c] = 1000;
        rows[0].class_correct[c] = 872;
        rows[1].class_correct[c] = 865;
    }
    rows[1].class_correct[3] = 700;
    char *const text = render(rows, 2, QB_REPORT_HTML);
    assert_non_null(strstr(text, "a&lt;b&gt;&amp;&quot;c"));
    assert_null(strstr(text, "a<b>"));
    assert_null(strstr(text, "src="));
    assert_null(strstr(text, "href=\"http"));
    assert_non_null(strstr(text, "title=\"-17.2 against FP32\">70.0<")); /* the class that suffers */
    assert_non_null(strstr(text, "at batch 1"));
    assert_true(strstr(text, "<svg width=\"520\"") != NULL); /* where the latencies lie */
    assert_non_null(strstr(text, "</html>"));
    free(text);
}

/* Rows that never ran have neither classes nor latencies to draw. */
static void the_page_of_failures_is_whole(void **state)
{
    (void)state;
    struct qb_row row = make_row("a", "onednn", 1, NAN, 0, NAN);
    row.status = QB_ROW_FAILED;
    row.images = 0;
    snprintf(row.message, sizeof row.message, "no such thing");
    char *const text = render(&row, 1, QB_REPORT_HTML);
    assert_non_null(strstr(text, "class=\"FAILED\""));
    assert_non_null(strstr(text, "no such thing"));
    assert_null(strstr(text, "Accuracy by class"));
    assert_null(strstr(text, "nan"));
    free(text);
}

static void svg_or_the_package_that_is_missing(void **state)
{
    (void)state;
    const struct qb_row rows[] = {fp32_row(1), make_row("under_score", "onednn", 1, 60, 8600, 0.5)};
    struct qb_error err = {0};
    char *text = NULL;
    const enum qb_status status = qb_report_render(rows, 2, QB_REPORT_SVG, &text, &err);
    if (status == QB_OK) {
        assert_non_null(strstr(text, "<svg"));
        assert_non_null(strstr(text, "under_score"));
        free(text);
    } else {
        qbt_error(status, QB_EUNSUPPORTED, &err, "gnuplot-nox");
    }
    /* Without gnuplot on the path it is always the sentence. */
    const char *const path = getenv("PATH");
    char *const keep = path ? strdup(path) : NULL;
    setenv("PATH", "/nonexistent", 1);
    qbt_error(qb_report_render(rows, 2, QB_REPORT_SVG, &text, &err), QB_EUNSUPPORTED, &err, "gnuplot-nox");
    if (keep) {
        setenv("PATH", keep, 1);
        free(keep);
    }
}

static void no_rows_is_an_error(void **state)
{
    (void)state;
    struct qb_error err = {0};
    char *text = NULL;
    qbt_error(qb_report_render(NULL, 0, QB_REPORT_TEXT, &text, &err), QB_EINPUT, &err, "no rows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_merge_and_lines_sort_by_latency),
        cmocka_unit_test(holm_counts_a_result_once),
        cmocka_unit_test(identical_networks_share_a_line),
        cmocka_unit_test(calibration_sets_are_compared_in_pairs),
        cmocka_unit_test(widths_make_a_map),
        cmocka_unit_test(published_figures_stand_beside_ours),
        cmocka_unit_test(failed_rows_come_last_with_their_reason),
        cmocka_unit_test(one_reason_is_said_once),
        cmocka_unit_test(synthetic_data_shows_no_accuracy),
        cmocka_unit_test(impossible_roof_is_flagged),
        cmocka_unit_test(csv_quotes_and_leaves_blanks),
        cmocka_unit_test(json_has_every_column),
        cmocka_unit_test(every_column_is_documented),
        cmocka_unit_test(a_dominated_line_is_not_on_the_front),
        cmocka_unit_test(the_page_stands_alone),
        cmocka_unit_test(the_page_of_failures_is_whole),
        cmocka_unit_test(svg_or_the_package_that_is_missing),
        cmocka_unit_test(no_rows_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
