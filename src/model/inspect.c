/* Text and JSON views of a float graph: see inspect.h. */
#include "model/inspect.h"

#include <stdlib.h>

#include "model/inspect_out.h"

struct range {
    float min, max;
};

static bool has_window(const struct qb_node *node)
{
    return node->op == QB_OP_CONV || node->op == QB_OP_AVGPOOL;
}

static bool has_weights(const struct qb_node *node)
{
    return node->op == QB_OP_CONV || node->op == QB_OP_DENSE;
}

static struct range range_of(const float *values, size_t count)
{
    struct range range = {values[0], values[0]};
    for (size_t i = 1; i < count; i++) {
        range.min = values[i] < range.min ? values[i] : range.min;
        range.max = values[i] > range.max ? values[i] : range.max;
    }
    return range;
}

static struct range weight_range(const struct qb_node *node)
{
    return range_of(node->wei, qb_node_params(node) - (size_t)node->oc);
}

static size_t total_params(const struct qb_graph *graph)
{
    size_t params = 0;
    for (int i = 0; i < graph->count; i++) {
        params += qb_node_params(&graph->nodes[i]);
    }
    return params;
}

static uint64_t total_macs(const struct qb_graph *graph)
{
    uint64_t macs = 0;
    for (int i = 0; i < graph->count; i++) {
        macs += qb_node_macs(graph, i);
    }
    return macs;
}

static void put_ranges(json_t *layer, const struct qb_node *node, bool *failed)
{
    static const char *const keys[] = {"weight_min", "weight_max", "bias_min", "bias_max"};
    float values[4] = {0};
    if (has_weights(node)) {
        const struct range wei = weight_range(node), bia = range_of(node->bia, (size_t)node->oc);
        values[0] = wei.min, values[1] = wei.max, values[2] = bia.min, values[3] = bia.max;
    }
    for (int i = 0; i < 4; i++) {
        qb_json_put(layer, keys[i], has_weights(node) ? qb_json_real((double)values[i]) : json_null(),
                    failed);
    }
}

static json_t *sources(const struct qb_graph *graph, const struct qb_node *node, bool *failed)
{
    json_t *const names = json_array();
    for (int k = 0; k < 2; k++) {
        if (node->src[k] >= 0 &&
            json_array_append_new(names, qb_json_text(graph->nodes[node->src[k]].name)) != 0) {
            *failed = true;
        }
    }
    return names;
}

static json_t *layer_json(const struct qb_graph *graph, int index, bool *failed)
{
    const struct qb_node *const n = &graph->nodes[index];
    const bool window = has_window(n);
    json_t *const layer = json_object();
    qb_json_put(layer, "name", qb_json_text(n->name), failed);
    qb_json_put(layer, "source_name", qb_json_text(n->source_name ? n->source_name : ""), failed);
    qb_json_put(layer, "op", qb_json_text(qb_op_name(n->op)), failed);
    qb_json_put(layer, "src", sources(graph, n, failed), failed);
    qb_json_put(layer, "shape", qb_json_ints((const int[]){n->dst.h, n->dst.w, n->dst.c}, 3), failed);
    qb_json_put(layer, "kernel", window ? qb_json_ints((const int[]){n->kh, n->kw}, 2) : json_null(), failed);
    qb_json_put(layer, "stride",
                window ? qb_json_ints((const int[]){n->stride_h, n->stride_w}, 2) : json_null(), failed);
    qb_json_put(layer, "pads",
                window ? qb_json_ints((const int[]){n->pad_t, n->pad_l, n->pad_b, n->pad_r}, 4) : json_null(),
                failed);
    qb_json_put(layer, "params", json_integer((json_int_t)qb_node_params(n)), failed);
    qb_json_put(layer, "macs", json_integer((json_int_t)qb_node_macs(graph, index)), failed);
    put_ranges(layer, n, failed);
    return layer;
}

static enum qb_status render_json(const struct qb_graph *graph, char **out, struct qb_error *err)
{
    bool failed = false;
    json_t *const root = json_object(), *const model = json_object(), *const layers = json_array();
    qb_json_put(model, "path", qb_json_text(graph->path), &failed);
    qb_json_put(model, "sha256", qb_json_text(graph->sha256), &failed);
    qb_json_put(model, "bytes", json_integer((json_int_t)graph->file_size), &failed);
    qb_json_put(model, "params", json_integer((json_int_t)total_params(graph)), &failed);
    qb_json_put(model, "macs", json_integer((json_int_t)total_macs(graph)), &failed);
    for (int i = 0; i < graph->count; i++) {
        failed |= json_array_append_new(layers, layer_json(graph, i, &failed)) != 0;
    }
    qb_json_put(root, "schema_version", json_integer(1), &failed);
    qb_json_put(root, "kind", qb_json_text("float"), &failed);
    qb_json_put(root, "model", model, &failed);
    qb_json_put(root, "layers", layers, &failed);
    return qb_json_dump(root, failed, out, err);
}

static void add_row(struct qb_table *table, const struct qb_graph *graph, int index)
{
    const struct qb_node *const n = &graph->nodes[index];
    qb_table_cell(table, "%s", n->name);
    qb_table_cell(table, "%s", qb_op_name(n->op));
    qb_table_cell(table, "%dx%dx%d", n->dst.h, n->dst.w, n->dst.c);
    if (has_window(n)) {
        qb_table_cell(table, "%dx%d", n->kh, n->kw);
        qb_table_cell(table, "%dx%d", n->stride_h, n->stride_w);
        qb_table_cell(table, "%d,%d,%d,%d", n->pad_t, n->pad_l, n->pad_b, n->pad_r);
    } else {
        for (int i = 0; i < 3; i++) {
            qb_table_cell(table, "-");
        }
    }
    if (has_weights(n)) {
        qb_table_number(table, qb_node_params(n));
        qb_table_number(table, qb_node_macs(graph, index));
        const struct range wei = weight_range(n), bia = range_of(n->bia, (size_t)n->oc);
        qb_table_cell(table, "%.4g .. %.4g", (double)wei.min, (double)wei.max);
        qb_table_cell(table, "%.4g .. %.4g", (double)bia.min, (double)bia.max);
    } else {
        for (int i = 0; i < 4; i++) {
            qb_table_cell(table, "-");
        }
    }
    qb_table_cell(table, "%s", n->source_name ? n->source_name : "-");
}

static enum qb_status render_text(const struct qb_graph *graph, char **out, struct qb_error *err)
{
    static const char *const heads[] = {"layer",   "operator",     "output",          "kernel",
                                        "stride",  "pads t,l,b,r", "parameters",      "MACs",
                                        "weights", "biases",       "name in the file"};
    enum { COLUMNS = sizeof heads / sizeof *heads };
    struct qb_table file = {.columns = 2, .align = "ll"},
                    layers = {.columns = COLUMNS, .align = "llllllrrlll"};
    qb_table_cell(&file, "model");
    qb_table_cell(&file, "%s", graph->path);
    qb_table_cell(&file, "SHA-256");
    qb_table_cell(&file, "%s", graph->sha256);
    qb_table_cell(&file, "bytes");
    qb_table_number(&file, graph->file_size);
    for (int i = 0; i < COLUMNS; i++) {
        qb_table_cell(&layers, "%s", heads[i]);
    }
    for (int i = 0; i < graph->count; i++) {
        add_row(&layers, graph, i);
    }
    qb_table_cell(&layers, "total");
    for (int i = 1; i < COLUMNS; i++) {
        if (i == 6) {
            qb_table_number(&layers, total_params(graph));
        } else if (i == 7) {
            qb_table_number(&layers, total_macs(graph));
        } else {
            qb_table_cell(&layers, "%s", "");
        }
    }
    const enum qb_status status = qb_tables_text((const struct qb_table *[]){&file, &layers}, 2, out, err);
    qb_table_free(&file);
    qb_table_free(&layers);
    return status;
}

enum qb_status qb_inspect_graph(const struct qb_graph *graph, bool json, char **out, struct qb_error *err)
{
    return json ? render_json(graph, out, err) : render_text(graph, out, err);
}
