/* The qbench.* metadata of a QDQ file: see qdq_metadata.h. */
#include "quant/qdq_metadata.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum entry {
    VERSION,
    SCHEME,
    ARITHMETIC,
    ACCUMULATE,
    MODEL_SHA256,
    CALIBRATION_HASH,
    REFINEMENT,
    NODES,
    QGRAPH_HASH,
    CHECKSUM
};

static const char *const keys[QB_QDQ_ENTRIES] = {
    [VERSION] = "qbench.version",           [SCHEME] = "qbench.scheme",
    [ARITHMETIC] = "qbench.arithmetic",     [ACCUMULATE] = "qbench.accumulate",
    [MODEL_SHA256] = "qbench.model_sha256", [CALIBRATION_HASH] = "qbench.calibration_hash",
    [REFINEMENT] = "qbench.refinement",     [NODES] = "qbench.nodes",
    [QGRAPH_HASH] = "qbench.qgraph_hash",   [CHECKSUM] = "qbench.checksum",
};

/* First 64 bits of the SHA-256 of the other entries' values, each with a NUL behind it; an absent one is left
 * out. */
static enum qb_status checksum(const char *const values[QB_QDQ_ENTRIES], char hex[QB_HASH64_HEX],
                               struct qb_error *err)
{
    char digest[QB_SHA256_HEX];
    struct qb_sha256_stream *const stream = qb_sha256_begin();
    if (!stream) {
        return qb_fail_memory(err, 0);
    }
    for (int i = 0; i < CHECKSUM; i++) {
        if (values[i]) {
            qb_sha256_add(stream, values[i], strlen(values[i]) + 1);
        }
    }
    qb_sha256_end(stream, digest);
    memcpy(hex, digest, QB_HASH64_HEX - 1);
    hex[QB_HASH64_HEX - 1] = 0;
    return QB_OK;
}

/* Adds `count` numbers as `key`, if there are any. */
static bool add_floats(json_t *item, const char *key, const float *values, size_t count)
{
    json_t *const list = count ? json_array() : NULL;
    bool added = list || !count;
    for (size_t i = 0; i < count && added; i++) {
        added = json_array_append_new(list, json_real((double)values[i])) == 0;
    }
    if (!added || !count) {
        json_decref(list);
        return added;
    }
    return json_object_set_new(item, key, list) == 0;
}

/* What calibration and quantization saw. */
static bool add_seen(json_t *item, const struct qb_qnode *node)
{
    const float seen[] = {node->q.seen_min, node->q.seen_max};
    return add_floats(item, "seen", seen, seen[0] < seen[1] ? 2 : 0) &&
           add_floats(item, "weights_seen", node->wei_seen,
                      node->wei_seen ? 2 * (size_t)node->wei_scale_count : 0);
}

/* [{"name": .., "src": [indices], "range": [quant_min, quant_max], "seen": [min, max], "weights_seen": [min,
 * max, ..]}, ..]: what ONNX has no place for; the last two where they are known. An
 * addition of floats has "float": true, as between pairs it looks like one of codes. Other programs may
 * reorder nodes and operands, the result of an addition does not depend on it, but a file that is read back
 * must give the graph that was written. */
static enum qb_status make_nodes(const struct qb_qgraph *graph, struct qb_arena *arena, const char **out,
                                 struct qb_error *err)
{
    json_t *const list = json_array();
    bool made = list != NULL;
    for (int i = 0; i < graph->count && made; i++) {
        const struct qb_qnode *const node = &graph->nodes[i];
        json_t *const src = json_array();
        for (int s = 0; s < 2 && node->src[s] >= 0; s++) {
            json_array_append_new(src, json_integer(node->src[s]));
        }
        json_t *const item = json_pack("{s:s, s:o, s:[i,i]}", "name", node->name, "src", src, "range",
                                       (int)node->q.quant_min, (int)node->q.quant_max);
        const bool floats = node->op == QB_QOP_ADD && node->f32;
        made = item && (!floats || json_object_set_new(item, "float", json_true()) == 0) &&
               add_seen(item, node) && json_array_append_new(list, item) == 0;
        if (!made) {
            json_decref(list);
            return qb_fail(err, QB_EINPUT, "node number %d: its name cannot be written as UTF-8 text", i);
        }
    }
    char *const text = made ? json_dumps(list, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(list);
    *out = text ? qb_arena_strdup(arena, text) : NULL;
    free(text);
    return *out ? QB_OK : qb_fail_memory(err, (size_t)graph->count);
}

enum qb_status qb_qdq_metadata_make(const struct qb_qgraph *graph, struct qb_arena *arena,
                                    struct qb_metadata entries[QB_QDQ_ENTRIES], size_t *count,
                                    struct qb_error *err)
{
    char *const hashes = qb_arena_array(arena, 2, QB_HASH64_HEX);
    if (!hashes) {
        return qb_fail_memory(err, 2 * QB_HASH64_HEX);
    }
    qb_qgraph_hash(graph, hashes);
    const char *values[QB_QDQ_ENTRIES] = {
        [VERSION] = QB_VERSION,
        [SCHEME] = graph->scheme,
        [ARITHMETIC] = qb_arithmetic_name(graph->arithmetic),
        [ACCUMULATE] =
            graph->accumulate == QB_ACCUMULATE_EXACT ? NULL : qb_accumulate_name(graph->accumulate),
        [MODEL_SHA256] = graph->model_sha256,
        [CALIBRATION_HASH] = graph->calibration_hash,
        [REFINEMENT] = graph->refinement && *graph->refinement ? graph->refinement : NULL,
        [QGRAPH_HASH] = hashes,
        [CHECKSUM] = hashes + QB_HASH64_HEX,
    };
    QB_TRY(make_nodes(graph, arena, &values[NODES], err));
    QB_TRY(checksum(values, hashes + QB_HASH64_HEX, err));
    *count = 0;
    for (int i = 0; i < QB_QDQ_ENTRIES; i++) {
        if (values[i]) {
            entries[(*count)++] = (struct qb_metadata){keys[i], values[i]};
        }
    }
    return QB_OK;
}

/* One text of the file, or the fallback, as the graph's own. */
static enum qb_status take_text(struct qb_qgraph *graph, const char *value, const char *fallback,
                                const char **out, struct qb_error *err)
{
    const char *const text = value ? value : fallback;
    *out = qb_arena_strdup(graph->arena, text);
    return *out ? QB_OK : qb_fail_memory(err, strlen(text));
}

enum qb_status qb_qdq_metadata_read(const struct qb_graph *file, enum qb_arithmetic fallback,
                                    struct qb_qgraph *out, struct qb_error *err)
{
    const char *values[QB_QDQ_ENTRIES];
    for (int i = 0; i < QB_QDQ_ENTRIES; i++) {
        values[i] = qb_graph_metadata(file, keys[i]);
    }
    if (values[VERSION] || values[CHECKSUM]) { /* written here, not by hand or by another program */
        char hex[QB_HASH64_HEX];
        for (int i = 0; i < QB_QDQ_ENTRIES; i++) {
            if (!values[i] && i != ACCUMULATE && i != REFINEMENT) {
                return qb_fail(err, QB_EINPUT, "metadata: %s is missing; the file is damaged or was changed",
                               keys[i]);
            }
        }
        QB_TRY(checksum(values, hex, err));
        if (strcmp(hex, values[CHECKSUM]) != 0) {
            return qb_fail(
                err, QB_EINPUT,
                "metadata: %s is %.32s, the checksum of the other qbench entries is %s; the file is "
                "damaged or was changed",
                keys[CHECKSUM], values[CHECKSUM], hex);
        }
    }
    out->arithmetic = fallback;
    if (values[ARITHMETIC] && !qb_arithmetic_parse(values[ARITHMETIC], &out->arithmetic)) {
        return qb_fail(err, QB_EUNSUPPORTED, "metadata: %s is \"%.60s\", which this version does not know",
                       keys[ARITHMETIC], values[ARITHMETIC]);
    }
    if (values[ACCUMULATE] && !qb_accumulate_parse(values[ACCUMULATE], out->arithmetic, &out->accumulate)) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "metadata: %s is \"%.60s\"; one of " QB_ACCUMULATE_NAMES " is expected",
                       keys[ACCUMULATE], values[ACCUMULATE]);
    }
    QB_TRY(take_text(out, values[SCHEME], "imported", &out->scheme, err));
    QB_TRY(take_text(out, values[MODEL_SHA256], "", &out->model_sha256, err));
    QB_TRY(take_text(out, values[CALIBRATION_HASH], "", &out->calibration_hash, err));
    return take_text(out, values[REFINEMENT], "", &out->refinement, err);
}

static enum qb_status fail_nodes(struct qb_error *err, int i, const char *what)
{
    return qb_fail(err, QB_EINPUT, "metadata: %s[%d] %s; the file is damaged or was changed", keys[NODES], i,
                   what);
}

/* The node that an entry of the list tells of: the one without a place that has that name, or the input. */
static int find_node(const struct qb_qgraph *graph, const char *const *names, const char *name, bool input,
                     const int *place)
{
    for (int k = 0; k < graph->count; k++) {
        if (place[k] < 0 && (input ? !names[k] : names[k] && strcmp(names[k], name) == 0)) {
            return k;
        }
    }
    return -1;
}

/* `count` numbers, or nothing: files of older versions have none. */
static bool take_floats(const json_t *list, float *values, size_t count)
{
    for (size_t i = 0; i < count && list; i++) {
        const json_t *const value = json_array_get(list, i);
        if (!json_is_number(value)) {
            return false;
        }
        values[i] = (float)json_number_value(value);
    }
    return !list || json_array_size(list) == count;
}

static enum qb_status restore_seen(const json_t *item, int i, struct qb_arena *arena, struct qb_qnode *node,
                                   struct qb_error *err)
{
    const json_t *const weights = json_object_get(item, "weights_seen");
    const size_t count = weights ? 2 * (size_t)node->wei_scale_count : 0;
    float *const wei_seen = qb_arena_array(arena, count + 1, sizeof *wei_seen), seen[2] = {0, 0};
    if (!wei_seen) {
        return qb_fail_memory(err, count * sizeof *wei_seen);
    }
    if (!take_floats(json_object_get(item, "seen"), seen, 2) || !take_floats(weights, wei_seen, count)) {
        return fail_nodes(err, i, "has other extremes than two numbers a scale");
    }
    node->q.seen_min = seen[0];
    node->q.seen_max = seen[1];
    node->wei_seen = weights ? wei_seen : NULL;
    return QB_OK;
}

/* Entry i describes `node`, whose sources still are indices of the order as read; place[old] = new. */
static enum qb_status restore_node(const json_t *item, int i, const int *place, struct qb_arena *arena,
                                   struct qb_qnode *node, struct qb_error *err)
{
    const json_t *const src = json_object_get(item, "src"), *const range = json_object_get(item, "range");
    json_int_t want[2] = {-1, -1}, have[2] = {-1, -1};
    bool listed = true; /* the sources, before it */
    for (size_t s = 0; s < 2; s++) {
        const json_t *const index = json_array_get(src, s);
        want[s] = index ? json_integer_value(index) : -1;
        have[s] = node->src[s] < 0 ? -1 : place[node->src[s]];
        listed = listed && (node->src[s] < 0 || have[s] >= 0);
    }
    const bool same = want[0] == have[0] && want[1] == have[1];
    const bool swapped = node->op == QB_QOP_ADD && want[0] == have[1] && want[1] == have[0];
    if (!listed || (!same && !swapped)) {
        return fail_nodes(err, i, "has other sources than its node in the file, or comes before them");
    }
    const int low = node->q.dtype == QB_QINT8 ? -128 : 0;
    const bool floats = node->f32; /* no codes, no range */
    const json_int_t min = json_integer_value(json_array_get(range, 0));
    const json_int_t max = json_integer_value(json_array_get(range, 1));
    if (!floats && (json_array_size(range) != 2 || min < low || max > low + 255 || min >= max)) {
        return fail_nodes(err, i, "has a range that its type does not hold");
    }
    node->src[0] = (int)want[0];
    node->src[1] = (int)want[1];
    node->q.quant_min = floats ? 0 : (int32_t)min;
    node->q.quant_max = floats ? 0 : (int32_t)max;
    QB_TRY(restore_seen(item, i, arena, node, err));
    const char *const name = json_string_value(json_object_get(item, "name"));
    node->name = qb_arena_strdup(arena, name);
    return node->name ? QB_OK : qb_fail_memory(err, strlen(name));
}

static enum qb_status restore_nodes(const json_t *list, const char *const *names, struct qb_qgraph *graph,
                                    struct qb_error *err)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)graph->count) {
        return qb_fail(err, QB_EINPUT,
                       "metadata: %s is not a list of the %d nodes of the file; it is damaged or was changed",
                       keys[NODES], graph->count);
    }
    struct qb_qnode *const nodes = qb_arena_array(graph->arena, (size_t)graph->count, sizeof *nodes);
    int *const place = qb_arena_array(graph->arena, (size_t)graph->count, sizeof *place);
    if (!nodes || !place) {
        return qb_fail_memory(err, (size_t)graph->count * sizeof *nodes);
    }
    memset(place, -1, (size_t)graph->count * sizeof *place);
    for (int i = 0; i < graph->count; i++) {
        const json_t *const item = json_array_get(list, (size_t)i);
        const char *const name = json_string_value(json_object_get(item, "name"));
        if (!name) {
            return fail_nodes(err, i, "has no name");
        }
        const bool input = i == 0 && json_array_size(json_object_get(item, "src")) == 0;
        const int k = find_node(graph, names, name, input, place);
        if (k < 0) {
            return fail_nodes(err, i, "names a node that is not in the file");
        }
        place[k] = i;
        nodes[i] = graph->nodes[k];
        QB_TRY(restore_node(item, i, place, graph->arena, &nodes[i], err));
    }
    if (place[graph->count - 1] != graph->count - 1) {
        return fail_nodes(err, graph->count - 1, "is not the output");
    }
    graph->nodes = nodes;
    return QB_OK;
}

/* The list under qbench.nodes; NULL where `file` has none. */
static enum qb_status load_nodes(const struct qb_graph *file, json_t **out, struct qb_error *err)
{
    const char *const text = qb_graph_metadata(file, keys[NODES]);
    json_error_t bad;
    *out = text ? json_loads(text, 0, &bad) : NULL;
    return *out || !text ? QB_OK
                         : qb_fail(err, QB_EINPUT, "metadata: %s is not JSON: %s", keys[NODES], bad.text);
}

enum qb_status qb_qdq_metadata_floats(const struct qb_graph *file, bool *floats, struct qb_error *err)
{
    json_t *list;
    QB_TRY(load_nodes(file, &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *const item = json_array_get(list, i);
        const char *const name = json_string_value(json_object_get(item, "name"));
        for (int k = 0; k < file->count && name && json_is_true(json_object_get(item, "float")); k++) {
            const struct qb_node *const node = &file->nodes[k];
            floats[k] |= node->op == QB_OP_ADD &&
                         strcmp(node->source_name ? node->source_name : node->name, name) == 0;
        }
    }
    json_decref(list);
    return QB_OK;
}

enum qb_status qb_qdq_metadata_restore(const struct qb_graph *file, const char *const *names,
                                       struct qb_qgraph *graph, struct qb_error *err)
{
    const char *const want = qb_graph_metadata(file, keys[QGRAPH_HASH]);
    json_t *list;
    QB_TRY(load_nodes(file, &list, err));
    if (list) {
        const enum qb_status status = restore_nodes(list, names, graph, err);
        json_decref(list);
        QB_TRY(status);
    }
    char hex[QB_HASH64_HEX];
    qb_qgraph_hash(graph, hex);
    if (want && strcmp(want, hex) != 0) {
        return qb_fail(
            err, QB_EINPUT,
            "metadata: %s is %.32s, but the checksum of the network in this file is %s; the file is "
            "damaged or was changed",
            keys[QGRAPH_HASH], want, hex);
    }
    return QB_OK;
}
