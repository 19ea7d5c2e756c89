/* See sensitivity_view.h. All formats but the picture are made from one table of columns. */
#include "report/sensitivity_view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "measure/stats.h"
#include "model/inspect_out.h"
#include "report/gnuplot.h"
#include "report/views.h"

typedef struct qb_sensitivity study;
typedef struct qb_layer_sensitivity layer;

/* ---- columns ---- */

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : (double)NAN;
}

static double scale(const study *s, const layer *l)
{
    (void)s;
    return (double)l->q.scale;
}
static double zero_point(const study *s, const layer *l)
{
    (void)s;
    return l->q.zero_point - (l->q.dtype == QB_QINT8 ? 128 : 0);
}
static double minimum(const study *s, const layer *l)
{
    (void)s;
    return (double)l->min;
}
static double maximum(const study *s, const layer *l)
{
    (void)s;
    return (double)l->max;
}
static double clipped(const study *s, const layer *l)
{
    (void)s;
    return share(l->clipped, l->values);
}
static double ends(const study *s, const layer *l)
{
    (void)s;
    return share(l->ends, l->values);
}
static double alone_sqnr(const study *s, const layer *l)
{
    (void)s;
    return qb_deviation_sqnr(&l->alone_output);
}
static double alone_cosine(const study *s, const layer *l)
{
    (void)s;
    return qb_deviation_cosine(&l->alone_output);
}
static double integer_sqnr(const study *s, const layer *l)
{
    (void)s;
    return qb_deviation_sqnr(&l->integer_output);
}
static double integer_cosine(const study *s, const layer *l)
{
    (void)s;
    return qb_deviation_cosine(&l->integer_output);
}
static double alone_logits_sqnr(const study *s, const layer *l)
{
    (void)s;
    return qb_deviation_sqnr(&l->alone.logits);
}
static double alone_logits_cosine(const study *s, const layer *l)
{
    (void)s;
    return qb_deviation_cosine(&l->alone.logits);
}
static double alone_hits(const study *s, const layer *l)
{
    (void)s;
    return (double)l->alone.hits;
}
static double alone_change(const study *s, const layer *l)
{
    return (double)l->alone.hits - (double)s->fp32.hits;
}
static double alone_agree(const study *s, const layer *l)
{
    return share(l->alone.agree, s->images);
}
static double kept_hits(const study *s, const layer *l)
{
    (void)s;
    return (double)l->kept.hits;
}
static double kept_change(const study *s, const layer *l)
{
    return (double)l->kept.hits - (double)s->all.hits;
}
static double kept_p(const study *s, const layer *l)
{
    (void)s;
    return qb_mcnemar_exact(l->only_all, l->only_kept);
}
static double kept_agree(const study *s, const layer *l)
{
    return share(l->kept.agree, s->images);
}
static double kept_logits_sqnr(const study *s, const layer *l)
{
    (void)s;
    return qb_deviation_sqnr(&l->kept.logits);
}
static double kept_logits_cosine(const study *s, const layer *l)
{
    (void)s;
    return qb_deviation_cosine(&l->kept.logits);
}
static double saturated_pairs(const study *s, const layer *l)
{
    (void)s;
    return l->multiplies ? (double)l->saturation.pairs : (double)NAN;
}
static double saturated_accumulators(const study *s, const layer *l)
{
    (void)s;
    return share(l->saturation.accumulators, l->accumulators);
}

/* `head`: of the tables for people, which show those columns alone; `percent`: the value times 100 there;
 * `floats`: layers that are float have it too. */
struct column {
    const char *key, *head, *format;
    bool percent;
    double (*value)(const study *s, const layer *l);
    bool floats;
};

static double value_of(const struct column *column, const study *s, const layer *l)
{
    return l->f32 && !column->floats ? (double)NAN : column->value(s, l);
}

static const struct column columns[] = {
    {"scale", "scale", "%.4g", false, scale, false},
    {"zero_point", "zero", "%.0f", false, zero_point, false},
    {"min", "float min", "%.4g", false, minimum, true},
    {"max", "max", "%.4g", false, maximum, true},
    {"clipped", "clipped %", "%.3f", true, clipped, false},
    {"codes_at_end", NULL, NULL, false, ends, false},
    {"alone_hits", "alone right", "%.0f", false, alone_hits, false},
    {"alone_change", "change", "%+.0f", false, alone_change, false},
    {"alone_agree", NULL, NULL, false, alone_agree, false},
    {"alone_output_sqnr_db", "alone dB", "%.1f", false, alone_sqnr, false},
    {"alone_output_cosine", "cosine", "%.5f", false, alone_cosine, false},
    {"alone_logits_sqnr_db", "alone logits dB", "%.1f", false, alone_logits_sqnr, false},
    {"alone_logits_cosine", NULL, NULL, false, alone_logits_cosine, false},
    {"kept_float_hits", "kept right", "%.0f", false, kept_hits, false},
    {"kept_float_change", "change", "%+.0f", false, kept_change, false},
    {"kept_float_p", "p", "%.2g", false, kept_p, false},
    {"kept_float_agree", NULL, NULL, false, kept_agree, false},
    {"kept_float_logits_sqnr_db", "kept logits dB", "%.1f", false, kept_logits_sqnr, false},
    {"kept_float_logits_cosine", NULL, NULL, false, kept_logits_cosine, false},
    {"integer_output_sqnr_db", "integer dB", "%.1f", false, integer_sqnr, true},
    {"integer_output_cosine", NULL, NULL, false, integer_cosine, true},
    {"saturated_pairs", "saturated", "%.0f", false, saturated_pairs, false},
    {"saturated_accumulators", NULL, NULL, false, saturated_accumulators, false},
};
enum { COLUMN_COUNT = sizeof columns / sizeof columns[0], NETWORKS = 4 };

struct network {
    const char *key;
    char words[64];
    const struct qb_effect *effect;
};

static void list_networks(const study *s, const struct qb_qgraph *graph, struct network out[NETWORKS])
{
    out[0] = (struct network){"float", "float", &s->fp32};
    out[1] = (struct network){"simulated", "all layers quantized, simulated", &s->all};
    out[2] = (struct network){"integer", "", &s->integer};
    out[3] = (struct network){"saturating", "", &s->saturating};
    snprintf(out[2].words, sizeof out[2].words, "integer, arithmetic %s",
             qb_arithmetic_name(graph->arithmetic));
    snprintf(out[3].words, sizeof out[3].words, "the same without VNNI, %s",
             qb_accumulate_name(s->accumulate));
}

static const char *hits_word(const study *s)
{
    return s->synthetic ? "answers of the float network" : "right answers";
}

/* columns[0] of a layer that is float says so. */
static void cell(const struct column *column, const study *s, const layer *l, char *out, size_t size)
{
    const double value = value_of(column, s, l);
    if (l->f32 && column == columns) {
        snprintf(out, size, "float32");
    } else if (isnan(value)) {
        snprintf(out, size, "-");
    } else {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(out, size, column->format, column->percent ? 100 * value : value);
#pragma GCC diagnostic pop
    }
}

/* ---- for people ---- */

/* Which layer it is, and what the columns are. */
static void write_words(const study *s, const char *line_end, FILE *out)
{
    bool certain;
    const layer *const l = &s->layers[qb_sensitivity_worst(s, &certain)];
    const unsigned long long fp32 = s->fp32.hits, all = s->all.hits, kept = l->kept.hits, images = s->images;
    if (certain) {
        fprintf(
            out,
            "%s costs most: kept float, %llu of %llu %s instead of %llu (p = %.2g; float network: %llu).%s\n",
            l->name, kept, images, hits_word(s), all, kept_p(s, l), fp32, line_end);
    } else {
        fprintf(out,
                "%s disturbs the logits most: kept float, %.1f dB instead of %.1f; no single layer changes "
                "the %s beyond "
                "chance (of %llu, float network %llu, all layers quantized %llu, all but %s %llu).%s\n",
                l->name, kept_logits_sqnr(s, l), qb_deviation_sqnr(&s->all.logits), hits_word(s), images,
                fp32, all, l->name, kept, line_end);
    }
    fprintf(out,
            "alone: one layer quantized, change against float. kept: all layers quantized but this one, "
            "change against "
            "all quantized. dB: signal to quantization noise, of the layer's output and of the logits. "
            "integer: the "
            "layer's output in the integer network. saturated: pairs of products, without VNNI.%s\n",
            line_end);
}

static void markdown_row(FILE *out, char (*cells)[64], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "| %s ", cells[i]);
    }
    fputs("|\n", out);
}

static void write_markdown(const study *s, const struct network networks[NETWORKS], FILE *out)
{
    fputs("| layer | operator ", out);
    for (int c = 0; c < COLUMN_COUNT; c++) {
        if (columns[c].head) {
            fprintf(out, "| %s ", columns[c].head);
        }
    }
    fputs("|\n|---|---", out);
    for (int c = 0; c < COLUMN_COUNT; c++) {
        fputs(columns[c].head ? "|--:" : "", out);
    }
    fputs("|\n", out);
    for (size_t i = 0; i < s->count; i++) {
        char cells[COLUMN_COUNT + 2][64];
        size_t count = 0;
        snprintf(cells[count++], 64, "%s", s->layers[i].name);
        snprintf(cells[count++], 64, "%s", s->layers[i].op);
        for (int c = 0; c < COLUMN_COUNT; c++) {
            if (columns[c].head) {
                cell(&columns[c], s, &s->layers[i], cells[count++], 64);
            }
        }
        markdown_row(out, cells, count);
    }
    fprintf(out, "\n| network | %s | agree %% | logits dB | cosine |\n|---|--:|--:|--:|--:|\n",
            s->synthetic ? "hits" : "right");
    for (int i = 0; i < NETWORKS; i++) {
        const struct qb_effect *const e = networks[i].effect;
        fprintf(out, "| %s | %llu | %.2f | %.1f | %.5f |\n", networks[i].words, (unsigned long long)e->hits,
                100 * share(e->agree, s->images), qb_deviation_sqnr(&e->logits),
                qb_deviation_cosine(&e->logits));
    }
    fputs("\n", out);
    write_words(s, "\n", out);
}

static enum qb_status write_text(const study *s, const struct network networks[NETWORKS], FILE *out,
                                 struct qb_error *err)
{
    char align[COLUMN_COUNT + 3] = "ll", text[64];
    int shown = 2;
    for (int c = 0; c < COLUMN_COUNT; c++) {
        if (columns[c].head) {
            align[shown++] = 'r';
        }
    }
    struct qb_table layers = {.columns = shown, .align = align};
    struct qb_table whole = {.columns = 5, .align = "lrrrr"};
    qb_table_cell(&layers, "layer");
    qb_table_cell(&layers, "operator");
    for (int c = 0; c < COLUMN_COUNT; c++) {
        if (columns[c].head) {
            qb_table_cell(&layers, "%s", columns[c].head);
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        qb_table_cell(&layers, "%s", s->layers[i].name);
        qb_table_cell(&layers, "%s", s->layers[i].op);
        for (int c = 0; c < COLUMN_COUNT; c++) {
            if (columns[c].head) {
                cell(&columns[c], s, &s->layers[i], text, sizeof text);
                qb_table_cell(&layers, "%s", text);
            }
        }
    }
    static const char *const heads[] = {"network", "right", "agree %", "logits dB", "cosine"};
    for (int i = 0; i < 5; i++) {
        qb_table_cell(&whole, "%s", i == 1 && s->synthetic ? "hits" : heads[i]);
    }
    for (int i = 0; i < NETWORKS; i++) {
        const struct qb_effect *const e = networks[i].effect;
        qb_table_cell(&whole, "%s", networks[i].words);
        qb_table_number(&whole, e->hits);
        qb_table_cell(&whole, "%.2f", 100 * share(e->agree, s->images));
        qb_table_cell(&whole, "%.1f", qb_deviation_sqnr(&e->logits));
        qb_table_cell(&whole, "%.5f", qb_deviation_cosine(&e->logits));
    }
    char *tables = NULL;
    const struct qb_table *const both[] = {&layers, &whole};
    const enum qb_status status = qb_tables_text(both, 2, &tables, err);
    if (status == QB_OK) {
        fputs(tables, out);
        fputs("\n", out);
        write_words(s, "", out);
    }
    free(tables);
    qb_table_free(&layers);
    qb_table_free(&whole);
    return status;
}

/* ---- for programs ---- */

static void write_csv(const study *s, FILE *out)
{
    fputs("layer,operator", out);
    for (int c = 0; c < COLUMN_COUNT; c++) {
        fprintf(out, ",%s", columns[c].key);
    }
    fputs("\r\n", out);
    for (size_t i = 0; i < s->count; i++) {
        view_csv_text(out, s->layers[i].name);
        fprintf(out, ",%s", s->layers[i].op);
        for (int c = 0; c < COLUMN_COUNT; c++) {
            const double value = value_of(&columns[c], s, &s->layers[i]);
            fputc(',', out);
            if (isfinite(value)) {
                fprintf(out, "%.9g", value);
            }
        }
        fputs("\r\n", out);
    }
}

static json_t *networks_json(const struct network networks[NETWORKS], bool *failed)
{
    json_t *const list = json_array();
    for (int i = 0; i < NETWORKS; i++) {
        const struct qb_effect *const e = networks[i].effect;
        json_t *const item = json_pack("{s:s,s:I,s:I}", "network", networks[i].key, "hits",
                                       (json_int_t)e->hits, "agree", (json_int_t)e->agree);
        qb_json_put(item, "logits_sqnr_db", qb_json_real(qb_deviation_sqnr(&e->logits)), failed);
        qb_json_put(item, "logits_cosine", qb_json_real(qb_deviation_cosine(&e->logits)), failed);
        *failed |= json_array_append_new(list, item) != 0;
    }
    return list;
}

static enum qb_status write_json(const study *s, const struct qb_qgraph *graph,
                                 const struct network networks[NETWORKS], FILE *out, struct qb_error *err)
{
    bool failed = false;
    json_t *const root = json_object(), *const layers = json_array();
    for (size_t i = 0; i < s->count; i++) {
        json_t *const item = json_object();
        qb_json_put(item, "layer", qb_json_text(s->layers[i].name), &failed);
        qb_json_put(item, "operator", qb_json_text(s->layers[i].op), &failed);
        for (int c = 0; c < COLUMN_COUNT; c++) {
            qb_json_put(item, columns[c].key, qb_json_real(value_of(&columns[c], s, &s->layers[i])), &failed);
        }
        failed |= json_array_append_new(layers, item) != 0;
    }
    qb_json_put(root, "schema_version", json_integer(1), &failed);
    qb_json_put(root, "images", json_integer((json_int_t)s->images), &failed);
    qb_json_put(root, "synthetic", json_boolean(s->synthetic), &failed);
    qb_json_put(root, "scheme", qb_json_text(graph->scheme), &failed);
    qb_json_put(root, "arithmetic", qb_json_text(qb_arithmetic_name(graph->arithmetic)), &failed);
    qb_json_put(root, "accumulate", qb_json_text(qb_accumulate_name(s->accumulate)), &failed);
    qb_json_put(root, "networks", networks_json(networks, &failed), &failed);
    bool certain;
    qb_json_put(root, "worst", qb_json_text(s->layers[qb_sensitivity_worst(s, &certain)].name), &failed);
    qb_json_put(root, "worst_by", qb_json_text(certain ? "hits" : "logits"), &failed);
    qb_json_put(root, "layers", layers, &failed);
    char *text = NULL;
    QB_TRY(qb_json_dump(root, failed, &text, err));
    fputs(text, out);
    free(text);
    return QB_OK;
}

static enum qb_status write_script(const void *ctx, FILE *script, struct qb_error *err)
{
    (void)err;
    const study *const s = ctx;
    fputs(
        "set terminal svg size 900,680 dynamic background rgb 'white' font 'sans-serif,13'\n$layers << EOD\n",
        script);
    for (size_t i = 0; i < s->count; i++) {
        const layer *const l = &s->layers[i];
        if (l->f32) {
            continue;
        }
        const double alone = alone_logits_sqnr(s, l), kept = kept_logits_sqnr(s, l);
        fputc('"', script);
        gnuplot_label(script, l->name);
        fprintf(script, "\" %.0f %.0f %.4f %.4f\n", alone_change(s, l), kept_change(s, l),
                isfinite(alone) ? alone : 0.0, isfinite(kept) ? kept : 0.0);
    }
    fprintf(script,
            "EOD\nset multiplot layout 2,1\nset style data histogram\nset style histogram clustered gap 1\n"
            "set style fill solid 0.9 border -1\nset boxwidth 0.9\nset grid y lc rgb '#dddddd'\n"
            "set xtics rotate by -35\nset xzeroaxis lt -1\nset key outside top center horizontal\n"
            "set offsets 0, 0, graph 0.1, graph 0.1\n"
            "set ylabel '%s of %llu'\n"
            "plot $layers using 2:xtic(1) lc rgb '#c8553d' title 'quantized alone, against float', "
            "'' using 3 lc rgb '#2a7f62' title 'kept float, against all quantized'\n"
            "set ylabel 'SQNR of the logits, dB'\nset yrange [0:*]\n"
            "plot $layers using 4:xtic(1) lc rgb '#c8553d' title 'quantized alone', "
            "'' using 5 lc rgb '#2a7f62' title 'kept float'\nunset multiplot\n",
            hits_word(s), (unsigned long long)s->images);
    return QB_OK;
}

static enum qb_status render(const study *s, const struct qb_qgraph *graph, enum qb_report_format format,
                             FILE *out, struct qb_error *err)
{
    struct network networks[NETWORKS];
    list_networks(s, graph, networks);
    switch (format) {
    case QB_REPORT_TEXT: return write_text(s, networks, out, err);
    case QB_REPORT_MARKDOWN: write_markdown(s, networks, out); return QB_OK;
    case QB_REPORT_CSV: write_csv(s, out); return QB_OK;
    case QB_REPORT_JSON: return write_json(s, graph, networks, out, err);
    default: return gnuplot_draw(write_script, s, out, err);
    }
}

enum qb_status qb_sensitivity_render(const struct qb_sensitivity *sensitivity, const struct qb_qgraph *graph,
                                     enum qb_report_format format, char **out, struct qb_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&text, &size);
    if (!stream) {
        return qb_fail_memory(err, 4096);
    }
    enum qb_status status = render(sensitivity, graph, format, stream, err);
    if (fclose(stream) != 0 && status == QB_OK) {
        status = qb_fail_memory(err, size);
    }
    if (status != QB_OK) {
        free(text);
        return status;
    }
    *out = text;
    return QB_OK;
}
