/* Text and JSON views of an integer graph: see inspect.h. */
#include "quant/inspect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/inspect_out.h"
#include "quant/pairs.h"

static bool has_window(const struct qb_qnode *node)
{
    return node->op == QB_QOP_CONV || node->op == QB_QOP_AVGPOOL;
}

static bool has_weights(const struct qb_qnode *node)
{
    return node->op == QB_QOP_CONV || node->op == QB_QOP_DENSE;
}

static size_t taps_of(const struct qb_qnode *node)
{
    return node->op == QB_QOP_CONV ? (size_t)node->kh * (size_t)node->kw : 1;
}

static size_t weight_count(const struct qb_qnode *node)
{
    return has_weights(node) ? taps_of(node) * (size_t)node->ic * (size_t)node->oc : 0;
}

static size_t params_of(const struct qb_qnode *node)
{
    return weight_count(node) + (has_weights(node) ? (size_t)node->oc : 0);
}

static size_t total_params(const struct qb_qgraph *graph)
{
    size_t params = 0;
    for (int i = 0; i < graph->count; i++) {
        params += params_of(&graph->nodes[i]);
    }
    return params;
}

static uint64_t total_macs(const struct qb_qgraph *graph)
{
    uint64_t macs = 0;
    for (int i = 0; i < graph->count; i++) {
        macs += qb_qnode_macs(&graph->nodes[i]);
    }
    return macs;
}

/* Inside, activations are u8 and weights s8 (qgraph.h): what is added to an inside code to get the outside
 * one. */
static int activation_shift(enum qb_dtype dtype)
{
    return dtype == QB_QINT8 ? -128 : 0;
}

static int weight_shift(enum qb_dtype dtype)
{
    return dtype == QB_QUINT8 ? 128 : 0;
}

struct weights {
    int code_min, code_max; /* outside */
    float scale_min, scale_max, bias_min, bias_max;
    /* Of the pair orders pad4 and khwc: all, those that saturate with the source's codes, with any. */
    int64_t pairs[2], saturating[2], saturating_any[2];
};

static const enum qb_accumulate orders[2] = {QB_ACCUMULATE_MADDUBS_PAD4, QB_ACCUMULATE_MADDUBS_KHWC};

static struct weights summarize(const struct qb_qgraph *graph, const struct qb_qnode *node)
{
    const struct qb_qparams *const src = &graph->nodes[node->src[0]].q;
    const int shift = weight_shift(node->wei_dtype);
    /* Codes behind quant_max occur only by clipping (inspect.h). */
    const int src_max = node->dynamic ? node->dynamic : src->quant_max - activation_shift(src->dtype);
    struct weights w = {.code_min = node->wei[0] + shift, .code_max = node->wei[0] + shift};
    w.scale_min = w.scale_max = node->wei_scales[0];
    w.bias_min = w.bias_max = node->bia[0];
    for (size_t i = 0; i < weight_count(node); i++) {
        const int code = node->wei[i] + shift;
        w.code_min = code < w.code_min ? code : w.code_min;
        w.code_max = code > w.code_max ? code : w.code_max;
    }
    for (int i = 0; i < node->wei_scale_count; i++) {
        w.scale_min = fminf(w.scale_min, node->wei_scales[i]);
        w.scale_max = fmaxf(w.scale_max, node->wei_scales[i]);
    }
    for (int i = 0; i < node->oc; i++) {
        w.bias_min = fminf(w.bias_min, node->bia[i]);
        w.bias_max = fmaxf(w.bias_max, node->bia[i]);
    }
    for (int i = 0; i < 2; i++) {
        w.pairs[i] = (int64_t)(qb_pair_count(node, orders[i]) * (size_t)node->oc);
        w.saturating[i] = qb_saturating_pairs(node, orders[i], src_max);
        w.saturating_any[i] = qb_saturating_pairs(node, orders[i], 255);
    }
    return w;
}

/* The part of what was seen that `range` holds; NAN where it is not known, or has no width. */
static double clip_ratio(const float seen[2], const double range[2])
{
    const double low = (double)seen[0], high = (double)seen[1];
    const double kept = fmin(high, range[1]) - fmax(low, range[0]);
    return high > low ? fmax(kept, 0) / (high - low) : NAN;
}

/* The values of quant_min and quant_max. */
static void range_of(const struct qb_qparams *q, double range[2])
{
    const int zero_point = q->zero_point + activation_shift(q->dtype);
    range[0] = (double)q->scale * (q->quant_min - zero_point);
    range[1] = (double)q->scale * (q->quant_max - zero_point);
}

static double activation_clip_ratio(const struct qb_qnode *node)
{
    double range[2];
    range_of(&node->q, range);
    return clip_ratio((const float[]){node->q.seen_min, node->q.seen_max}, range);
}

/* Least and greatest dequantized weight of those that share scale `k`. */
static void weights_range(const struct qb_qnode *node, int k, double range[2])
{
    const size_t slice = weight_count(node) / (size_t)node->wei_scale_count;
    const int8_t *const codes = node->wei + (size_t)k * slice;
    int min = codes[0], max = codes[0];
    for (size_t i = 1; i < slice; i++) {
        min = codes[i] < min ? codes[i] : min;
        max = codes[i] > max ? codes[i] : max;
    }
    range[0] = (double)node->wei_scales[k] * (min - node->wei_zero_points[k]);
    range[1] = (double)node->wei_scales[k] * (max - node->wei_zero_points[k]);
}

static json_t *hex_json(float value)
{
    char text[48];
    snprintf(text, sizeof text, "%a", (double)value);
    return json_string(text);
}

static void append(json_t *array, json_t *value, bool *failed)
{
    if (json_array_append_new(array, value) != 0) {
        *failed = true;
    }
}

static json_t *pair_json(double low, double high)
{
    return json_pack("[o,o]", qb_json_real(low), qb_json_real(high));
}

static json_t *weights_json(const struct qb_qnode *node, const struct weights *w, bool *failed)
{
    json_t *const out = json_object(), *const scales = json_array(), *const hex = json_array(),
                  *const zeros = json_array(), *const ranges = json_array(), *const ratios = json_array();
    for (int i = 0; i < node->wei_scale_count; i++) {
        append(scales, qb_json_real((double)node->wei_scales[i]), failed);
        append(hex, hex_json(node->wei_scales[i]), failed);
        append(zeros, json_integer(node->wei_zero_points[i] + weight_shift(node->wei_dtype)), failed);
        double range[2];
        weights_range(node, i, range);
        append(ranges, pair_json(range[0], range[1]), failed);
        append(ratios, node->wei_seen ? qb_json_real(clip_ratio(node->wei_seen + 2 * i, range)) : json_null(),
               failed);
    }
    qb_json_put(out, "dtype", qb_json_text(qb_dtype_name(node->wei_dtype)), failed);
    qb_json_put(out, "per_channel", json_boolean(node->wei_scale_count > 1), failed);
    qb_json_put(out, "scales", scales, failed);
    qb_json_put(out, "scales_hex", hex, failed);
    qb_json_put(out, "zero_points", zeros, failed);
    qb_json_put(out, "ranges", ranges, failed);
    qb_json_put(out, "clip_ratios", ratios, failed);
    qb_json_put(out, "code_min", json_integer(w->code_min), failed);
    qb_json_put(out, "code_max", json_integer(w->code_max), failed);
    qb_json_put(out, "pairs", json_integer(w->pairs[0]), failed);
    qb_json_put(out, "saturating_pairs", json_integer(w->saturating[0]), failed);
    qb_json_put(out, "saturating_pairs_any_code", json_integer(w->saturating_any[0]), failed);
    qb_json_put(out, "pairs_khwc", json_integer(w->pairs[1]), failed);
    qb_json_put(out, "saturating_pairs_khwc", json_integer(w->saturating[1]), failed);
    qb_json_put(out, "saturating_pairs_khwc_any_code", json_integer(w->saturating_any[1]), failed);
    return out;
}

static json_t *layer_json(const struct qb_qgraph *graph, const struct qb_qnode *n, bool *failed)
{
    json_t *const layer = json_object(), *const src = json_array();
    const bool window = has_window(n);
    for (int k = 0; k < 2; k++) {
        if (n->src[k] >= 0) {
            append(src, qb_json_text(graph->nodes[n->src[k]].name), failed);
        }
    }
    qb_json_put(layer, "name", qb_json_text(n->name), failed);
    qb_json_put(layer, "op", qb_json_text(qb_qop_name(n->op)), failed);
    qb_json_put(layer, "src", src, failed);
    qb_json_put(layer, "shape", qb_json_ints((const int[]){n->dst.h, n->dst.w, n->dst.c}, 3), failed);
    qb_json_put(layer, "kernel", window ? qb_json_ints((const int[]){n->kh, n->kw}, 2) : json_null(), failed);
    qb_json_put(layer, "stride",
                window ? qb_json_ints((const int[]){n->stride_h, n->stride_w}, 2) : json_null(), failed);
    qb_json_put(layer, "pads",
                window ? qb_json_ints((const int[]){n->pad_t, n->pad_l, n->pad_b, n->pad_r}, 4) : json_null(),
                failed);
    qb_json_put(layer, "relu", json_boolean(n->relu), failed);
    qb_json_put(layer, "fused_add", json_boolean(n->fused_add), failed);
    qb_json_put(layer, "dynamic", n->dynamic ? json_integer(n->dynamic) : json_null(), failed);
    qb_json_put(layer, "params", json_integer((json_int_t)params_of(n)), failed);
    qb_json_put(layer, "macs", json_integer((json_int_t)qb_qnode_macs(n)), failed);
    qb_json_put(layer, "scale", n->f32 ? json_null() : qb_json_real((double)n->q.scale), failed);
    qb_json_put(layer, "scale_hex", n->f32 ? json_null() : hex_json(n->q.scale), failed);
    qb_json_put(layer, "zero_point",
                n->f32 ? json_null() : json_integer(n->q.zero_point + activation_shift(n->q.dtype)), failed);
    qb_json_put(layer, "dtype", qb_json_text(n->f32 ? "float32" : qb_dtype_name(n->q.dtype)), failed);
    qb_json_put(layer, "quant_min", n->f32 ? json_null() : json_integer(n->q.quant_min), failed);
    qb_json_put(layer, "quant_max", n->f32 ? json_null() : json_integer(n->q.quant_max), failed);
    double range[2];
    range_of(&n->q, range);
    const bool seen = n->q.seen_min < n->q.seen_max;
    qb_json_put(layer, "range", n->f32 ? json_null() : pair_json(range[0], range[1]), failed);
    qb_json_put(layer, "observed",
                n->f32 || !seen ? json_null() : pair_json((double)n->q.seen_min, (double)n->q.seen_max),
                failed);
    qb_json_put(layer, "clip_ratio", n->f32 ? json_null() : qb_json_real(activation_clip_ratio(n)), failed);
    if (has_weights(n) && qb_has_integer_weights(n)) {
        const struct weights w = summarize(graph, n);
        qb_json_put(layer, "weights", weights_json(n, &w, failed), failed);
        qb_json_put(layer, "bias_min", qb_json_real((double)w.bias_min), failed);
        qb_json_put(layer, "bias_max", qb_json_real((double)w.bias_max), failed);
    } else {
        qb_json_put(layer, "weights", json_null(), failed);
        qb_json_put(layer, "bias_min", json_null(), failed);
        qb_json_put(layer, "bias_max", json_null(), failed);
    }
    return layer;
}

static enum qb_status render_json(const struct qb_qgraph *graph, const char *hash, char **out,
                                  struct qb_error *err)
{
    bool failed = false;
    json_t *const root = json_object(), *const model = json_object(), *const layers = json_array();
    qb_json_put(model, "scheme", qb_json_text(graph->scheme), &failed);
    qb_json_put(model, "arithmetic", qb_json_text(qb_arithmetic_name(graph->arithmetic)), &failed);
    qb_json_put(model, "accumulate", qb_json_text(qb_accumulate_name(graph->accumulate)), &failed);
    qb_json_put(model, "model_sha256", qb_json_text(graph->model_sha256), &failed);
    qb_json_put(model, "calibration", qb_json_text(graph->calibration_hash), &failed);
    qb_json_put(model, "refinement", qb_json_text(graph->refinement ? graph->refinement : ""), &failed);
    qb_json_put(model, "qgraph_hash", qb_json_text(hash), &failed);
    qb_json_put(model, "bytes", json_integer((json_int_t)qb_qgraph_bytes(graph)), &failed);
    qb_json_put(model, "params", json_integer((json_int_t)total_params(graph)), &failed);
    qb_json_put(model, "macs", json_integer((json_int_t)total_macs(graph)), &failed);
    for (int i = 0; i < graph->count; i++) {
        append(layers, layer_json(graph, &graph->nodes[i], &failed), &failed);
    }
    qb_json_put(root, "schema_version", json_integer(1), &failed);
    qb_json_put(root, "kind", qb_json_text("integer"), &failed);
    qb_json_put(root, "model", model, &failed);
    qb_json_put(root, "layers", layers, &failed);
    return qb_json_dump(root, failed, out, err);
}

static void add_layer_row(struct qb_table *table, const struct qb_qnode *n)
{
    qb_table_cell(table, "%s", n->name);
    qb_table_cell(table, "%s%s%s%s", qb_qop_name(n->op), n->fused_add ? "+add" : "", n->relu ? "+relu" : "",
                  n->dynamic ? ", dynamic" : "");
    qb_table_cell(table, "%dx%dx%d", n->dst.h, n->dst.w, n->dst.c);
    if (has_window(n)) {
        qb_table_cell(table, "%dx%d/%d", n->kh, n->kw, n->stride_h);
        qb_table_cell(table, "%d,%d,%d,%d", n->pad_t, n->pad_l, n->pad_b, n->pad_r);
    } else {
        qb_table_cell(table, "-");
        qb_table_cell(table, "-");
    }
    if (has_weights(n)) {
        qb_table_number(table, params_of(n));
        qb_table_number(table, qb_qnode_macs(n));
    } else {
        qb_table_cell(table, "-");
        qb_table_cell(table, "-");
    }
    if (n->f32) {
        for (int i = 0; i < 3; i++) {
            qb_table_cell(table, "-");
        }
        qb_table_cell(table, "float32");
        qb_table_cell(table, "-");
        qb_table_cell(table, "-");
        return;
    }
    qb_table_cell(table, "%.9g", (double)n->q.scale);
    qb_table_cell(table, "%a", (double)n->q.scale);
    qb_table_cell(table, "%d", n->q.zero_point + activation_shift(n->q.dtype));
    qb_table_cell(table, "%s", qb_dtype_name(n->q.dtype));
    qb_table_cell(table, "%d..%d", n->q.quant_min, n->q.quant_max);
    const double ratio = activation_clip_ratio(n);
    if (isnan(ratio)) {
        qb_table_cell(table, "-");
    } else {
        qb_table_cell(table, "%.4f", ratio);
    }
}

static void add_weights_row(struct qb_table *table, const struct qb_qgraph *graph, const struct qb_qnode *n)
{
    const struct weights w = summarize(graph, n);
    qb_table_cell(table, "%s", n->name);
    qb_table_cell(table, "%s", qb_dtype_name(n->wei_dtype));
    qb_table_cell(table, "%d", n->wei_scale_count);
    qb_table_cell(table, "%.9g .. %.9g", (double)w.scale_min, (double)w.scale_max);
    qb_table_cell(table, "%d .. %d", w.code_min, w.code_max);
    qb_table_cell(table, "%.4g .. %.4g", (double)w.bias_min, (double)w.bias_max);
    for (int i = 0; i < 2; i++) {
        qb_table_number(table, (uint64_t)w.pairs[i]);
        qb_table_number(table, (uint64_t)w.saturating[i]);
        qb_table_number(table, (uint64_t)w.saturating_any[i]);
    }
}

static void add_model_rows(struct qb_table *table, const struct qb_qgraph *graph, const char *hash)
{
    const struct {
        const char *key, *value;
    } rows[] = {
        {"scheme", graph->scheme},
        {"arithmetic", qb_arithmetic_name(graph->arithmetic)},
        {"accumulate", qb_accumulate_name(graph->accumulate)},
        {"float model", graph->model_sha256},
        {"calibration", graph->calibration_hash},
        {"network", hash},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qb_table_cell(table, "%s", rows[i].key);
        qb_table_cell(table, "%s", rows[i].value[0] ? rows[i].value : "unknown");
    }
    qb_table_cell(table, "parameter bytes");
    qb_table_number(table, qb_qgraph_bytes(graph));
}

/* A note a line. */
static void add_refinement(struct qb_table *notes, const char *text)
{
    for (size_t length; *text; text += length + (text[length] == '\n')) {
        length = strcspn(text, "\n");
        qb_table_cell(notes, "refined: %.*s", (int)(length < 4096 ? length : 4096), text);
    }
}

static enum qb_status render_text(const struct qb_qgraph *graph, const char *hash, char **out,
                                  struct qb_error *err)
{
    static const char *const layer_heads[] = {
        "layer", "operator",     "output",     "kernel/stride", "pads t,l,b,r", "parameters", "MACs",
        "scale", "scale in hex", "zero point", "dtype",         "range",        "clip ratio"};
    static const char *const weight_heads[] = {"weights",     "dtype",      "scales",     "scale",
                                               "codes",       "biases",     "pairs",      "saturating",
                                               "at any code", "pairs khwc", "saturating", "at any code"};
    enum { LAYER_COLUMNS = sizeof layer_heads / sizeof *layer_heads };
    enum { WEIGHT_COLUMNS = sizeof weight_heads / sizeof *weight_heads };
    struct qb_table model = {.columns = 2, .align = "ll"};
    struct qb_table layers = {.columns = LAYER_COLUMNS, .align = "lllllrrllrllr"};
    struct qb_table weights = {.columns = WEIGHT_COLUMNS, .align = "llrlllrrrrrr"};
    struct qb_table notes = {.columns = 1, .align = "l"};
    add_model_rows(&model, graph, hash);
    for (int i = 0; i < LAYER_COLUMNS; i++) {
        qb_table_cell(&layers, "%s", layer_heads[i]);
    }
    for (int i = 0; i < WEIGHT_COLUMNS; i++) {
        qb_table_cell(&weights, "%s", weight_heads[i]);
    }
    for (int i = 0; i < graph->count; i++) {
        add_layer_row(&layers, &graph->nodes[i]);
        if (has_weights(&graph->nodes[i]) && qb_has_integer_weights(&graph->nodes[i])) {
            add_weights_row(&weights, graph, &graph->nodes[i]);
        }
    }
    qb_table_cell(&layers, "total");
    for (int i = 1; i < LAYER_COLUMNS; i++) {
        if (i == 5) {
            qb_table_number(&layers, total_params(graph));
        } else if (i == 6) {
            qb_table_number(&layers, total_macs(graph));
        } else {
            qb_table_cell(&layers, "%s", "");
        }
    }
    qb_table_cell(&notes,
                  "pairs: neighbouring input channels of a tap, whose products vpmaddubsw adds to 16 bits "
                  "in oneDNN (maddubs_pad4)");
    qb_table_cell(&notes,
                  "pairs khwc: neighbours in the order row, column, channel, as in fbgemm and ONNX Runtime "
                  "(maddubs_khwc)");
    qb_table_cell(
        &notes,
        "saturating: pairs that can leave 16 bits with source codes in their range, or at any code 0..255");
    qb_table_cell(&notes, "clip ratio: the part of the calibration's values' interval that the range holds");
    add_refinement(&notes, graph->refinement ? graph->refinement : "");
    const struct qb_table *const tables[] = {&model, &layers, &weights, &notes};
    const enum qb_status status = qb_tables_text(tables, sizeof tables / sizeof *tables, out, err);
    qb_table_free(&model);
    qb_table_free(&layers);
    qb_table_free(&weights);
    qb_table_free(&notes);
    return status;
}

enum qb_status qb_inspect_qgraph(const struct qb_qgraph *graph, bool json, char **out, struct qb_error *err)
{
    char hash[QB_HASH64_HEX];
    qb_qgraph_hash(graph, hash);
    return json ? render_json(graph, hash, out, err) : render_text(graph, hash, out, err);
}
