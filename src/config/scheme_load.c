/* configs/schemes/NAME.yaml -> struct qb_scheme (docs/configs.md). */
#include "config/scheme.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "config/internal.h"
#include "config/scheme_schema.h"
#include "config/yaml.h"

/* ---- rules between values ---- */

/* "weights.eps" in static storage of the caller. */
static const char *key_of(const char *block, const char *key, char out[2 * QB_YAML_MAX_KEY])
{
    return strcat(strcat(strcpy(out, block), "."), key);
}

static enum qb_status check_range(const struct qb_yaml *doc, const char *block,
                                  const struct qb_raw_observer *raw, struct qb_error *err)
{
    char path[2 * QB_YAML_MAX_KEY];
    if (raw->bits && (*raw->bits < QB_BITS_MIN || *raw->bits > QB_BITS_MAX)) {
        return qb_yaml_fail(doc, err, key_of(block, "bits", path), "%d bits, expected %d to %d", *raw->bits,
                            QB_BITS_MIN, QB_BITS_MAX);
    }
    if (raw->bits && (raw->quant_min || raw->quant_max)) {
        return qb_yaml_fail(
            doc, err, key_of(block, "bits", path),
            "stands beside quant_min, quant_max, which also say the range of codes; expected one "
            "of the two");
    }
    if (!raw->quant_min != !raw->quant_max) {
        key_of(block, raw->quant_min ? "quant_min" : "quant_max", path);
        return qb_yaml_fail(doc, err, path, "stands alone; expected both quant_min and quant_max, or none");
    }
    if (!raw->quant_min) {
        return QB_OK;
    }
    const int low = raw->dtype == QB_QUINT8 ? 0 : -128, high = low + 255;
    const int min = *raw->quant_min, max = *raw->quant_max;
    if (min < low || min > high) {
        return qb_yaml_fail(doc, err, key_of(block, "quant_min", path), "%d is outside %s, expected %d to %d",
                            min, qb_dtype_name((enum qb_dtype)raw->dtype), low, high);
    }
    if (max < low || max > high) {
        return qb_yaml_fail(doc, err, key_of(block, "quant_max", path), "%d is outside %s, expected %d to %d",
                            max, qb_dtype_name((enum qb_dtype)raw->dtype), low, high);
    }
    if (min >= max) {
        return qb_yaml_fail(doc, err, key_of(block, "quant_max", path), "%d is not above quant_min, %d", max,
                            min);
    }
    if (min > 0 || max < 0) {
        return qb_yaml_fail(doc, err, key_of(block, "quant_min", path),
                            "the range %d to %d does not contain 0, which PyTorch's observers require", min,
                            max);
    }
    return QB_OK;
}

static enum qb_status check_observer(const struct qb_yaml *doc, const char *block,
                                     const struct qb_raw_observer *raw, struct qb_error *err)
{
    char path[2 * QB_YAML_MAX_KEY];
    QB_TRY(check_range(doc, block, raw, err));
    if (raw->eps && !(*raw->eps >= (double)FLT_MIN && *raw->eps <= 1)) {
        return qb_yaml_fail(doc, err, key_of(block, "eps", path),
                            "%g is not a smallest scale, expected above 0 up to 1", *raw->eps);
    }
    if (raw->averaging_constant && !(*raw->averaging_constant > 0 && *raw->averaging_constant <= 1)) {
        return qb_yaml_fail(doc, err, key_of(block, "averaging_constant", path),
                            "%g is not in the range above 0 up to 1", *raw->averaging_constant);
    }
    if (raw->bins && (*raw->bins < 2 || *raw->bins > 1 << 16)) {
        return qb_yaml_fail(doc, err, key_of(block, "bins", path), "%d bins, expected 2 to 65536",
                            *raw->bins);
    }
    if (raw->percentile && !(*raw->percentile > 50 && *raw->percentile <= 100)) {
        return qb_yaml_fail(doc, err, key_of(block, "percentile", path),
                            "%g is not in the range above 50 up to 100", *raw->percentile);
    }
    if (raw->levels && (*raw->levels < 2 || *raw->levels > 256)) {
        return qb_yaml_fail(doc, err, key_of(block, "levels", path), "%d levels, expected 2 to 256",
                            *raw->levels);
    }
    return QB_OK;
}

static enum qb_status check(const struct qb_yaml *doc, const struct qb_raw_scheme *raw, const char *wanted,
                            struct qb_error *err)
{
    char found[QB_YAML_QUOTED];
    if (!qb_name_is_valid(raw->name)) {
        return qb_yaml_fail(doc, err, "name", "'%s' is not a name, expected " QB_NAME_RULE,
                            qb_yaml_quote(raw->name, found));
    }
    if (strcmp(raw->name, "fp32") == 0) {
        return qb_yaml_fail(doc, err, "name", "'fp32' is the built-in float network, expected another name");
    }
    if (wanted && strcmp(raw->name, wanted) != 0) {
        return qb_yaml_fail(doc, err, "name", "'%s' differs from the file's name, expected '%s'", raw->name,
                            wanted);
    }
    if ((raw->compared && *raw->compared != QB_COMPARED_NOTHING) != (raw->verified && *raw->verified)) {
        return qb_yaml_fail(
            doc, err, raw->compared ? "compared" : "verified",
            "`compared` says what was compared with the original and `verified` how; expected "
            "both, or none");
    }
    QB_TRY(check_observer(doc, "weights", &raw->weights, err));
    QB_TRY(check_observer(doc, "activations", &raw->activations, err));
    if ((raw->fuse & QB_FUSE_CONV_ADD) && !qb_arithmetic_fuses_add((enum qb_arithmetic)raw->arithmetic)) {
        return qb_yaml_fail(
            doc, err, "fuse",
            "conv_add needs arithmetic: onednn or onednn_3_12, because the others requantize before every "
            "addition; found arithmetic: %s",
            qb_arithmetic_name((enum qb_arithmetic)raw->arithmetic));
    }
    if (raw->prepare && *raw->prepare == QB_PREPARE_FX &&
        (raw->arithmetic == QB_ARITHMETIC_ORT || raw->arithmetic == QB_ARITHMETIC_TFLITE)) {
        return qb_yaml_fail(
            doc, err, "prepare",
            "fx needs an arithmetic of PyTorch or oneDNN, which quantize a tensor a second time; "
            "found arithmetic: %s",
            qb_arithmetic_name((enum qb_arithmetic)raw->arithmetic));
    }
    enum qb_accumulate accumulate;
    if (raw->accumulate &&
        !qb_accumulate_parse(raw->accumulate, (enum qb_arithmetic)raw->arithmetic, &accumulate)) {
        return qb_yaml_fail(doc, err, "accumulate", "expected one of " QB_ACCUMULATE_NAMES ", found '%s'",
                            qb_yaml_quote(raw->accumulate, found));
    }
    if ((raw->refine & QB_REFINE_BIAS_CORRECTION) && (raw->refine & QB_REFINE_FAST_BIAS_CORRECTION)) {
        return qb_yaml_fail(doc, err, "refine",
                            "bias_correction and fast_bias_correction both write the biases, expected one");
    }
    return QB_OK;
}

/* ---- raw -> qb_scheme ---- */

static enum qb_status convert_observer(const struct qb_yaml *doc, const char *block,
                                       const struct qb_raw_observer *raw, struct qb_arena *arena,
                                       struct qb_observer_spec *out, struct qb_error *err)
{
    const struct qb_yaml_node *const node = qb_yaml_find(doc, block);
    const char *const observer = qb_arena_strdup(arena, raw->observer);
    if (!observer) {
        return qb_fail_memory(err, QB_NAME_MAX);
    }
    *out = (struct qb_observer_spec){
        .observer = observer,
        .dtype = (enum qb_dtype)raw->dtype,
        .symmetric = raw->symmetric != 0,
        .reduce_range = raw->reduce_range && *raw->reduce_range,
        .bits = raw->bits && *raw->bits < QB_BITS_MAX ? *raw->bits : 0,
        .has_quant_range = raw->quant_min != NULL,
        .quant_min = raw->quant_min ? *raw->quant_min : 0,
        .quant_max = raw->quant_max ? *raw->quant_max : 0,
        .has_eps = raw->eps != NULL,
        .eps = raw->eps ? (float)*raw->eps : FLT_EPSILON, /* 2^-23, torch.finfo(torch.float32).eps */
        .has_averaging_constant = raw->averaging_constant != NULL,
        .averaging_constant = raw->averaging_constant ? *raw->averaging_constant : 0.01,
        .has_bins = raw->bins != NULL,
        .bins = raw->bins ? *raw->bins : 2048,
        .has_percentile = raw->percentile != NULL,
        .percentile = raw->percentile ? *raw->percentile : 99.99,
        .has_levels = raw->levels != NULL,
        .levels = raw->levels ? *raw->levels : 128,
        .scale_rule = raw->scale_rule ? (enum qb_scale_rule) * raw->scale_rule : QB_SCALE_TORCH,
        .line = node ? (int)node->line : 0,
    };
    return QB_OK;
}

static enum qb_status convert(const struct qb_yaml *doc, const struct qb_raw_scheme *raw,
                              struct qb_arena *arena, struct qb_scheme *out, struct qb_error *err)
{
    struct qb_scheme scheme = {
        .name = qb_arena_strdup(arena, raw->name),
        .path = qb_arena_strdup(arena, doc->file),
        .reproduces = qb_arena_strdup(arena, raw->reproduces ? raw->reproduces : ""),
        .verified = qb_arena_strdup(arena, raw->verified ? raw->verified : ""),
        .compared = raw->compared ? (enum qb_compared) * raw->compared : QB_COMPARED_NOTHING,
        .fuse = raw->fuse,
        .prepare = raw->prepare ? (enum qb_prepare) * raw->prepare : QB_PREPARE_EAGER,
        .arithmetic = (enum qb_arithmetic)raw->arithmetic,
        .refine = raw->refine,
    };
    if (!scheme.name || !scheme.path || !scheme.reproduces || !scheme.verified) {
        return qb_fail_memory(err, QB_YAML_MAX_TEXT);
    }
    if (raw->accumulate) { /* a known name: check() */
        qb_accumulate_parse(raw->accumulate, scheme.arithmetic, &scheme.accumulate);
    }
    QB_TRY(convert_observer(doc, "weights", &raw->weights, arena, &scheme.weights, err));
    QB_TRY(convert_observer(doc, "activations", &raw->activations, arena, &scheme.activations, err));
    *out = scheme;
    return QB_OK;
}

/* ---- layers ---- */

static enum qb_status load(const char *name_or_path, const char *const *scheme_dirs, bool inner,
                           struct qb_arena *arena, struct qb_scheme *out, struct qb_error *err);

/* The blocks of another scheme. */
static enum qb_status borrow_blocks(const struct qb_yaml *doc, const struct qb_yaml_node *node,
                                    const char *const *scheme_dirs, struct qb_arena *arena,
                                    struct qb_exception *out, struct qb_error *err)
{
    struct qb_scheme *const scheme = qb_arena_array(arena, 1, sizeof *scheme);
    if (!scheme) {
        return qb_fail_memory(err, sizeof *scheme);
    }
    const char *found;
    QB_TRY(qb_find_scheme(doc->file, node->text, arena, &found, err));
    if (load(found, scheme_dirs, true, arena, scheme, err) != QB_OK) {
        return qb_fail_prefix(err, "%s:%u: %s", doc->file, node->line, node->path);
    }
    out->name = scheme->name;
    out->path = scheme->path;
    out->fp32 = scheme->fp32;
    out->weights = scheme->fp32 ? NULL : &scheme->weights;
    out->activations = scheme->fp32 ? NULL : &scheme->activations;
    return QB_OK;
}

/* The block `key` of layer `node`; NULL when it has none. */
static enum qb_status convert_block(const struct qb_yaml *doc, const struct qb_yaml_node *node,
                                    const char *key, const struct qb_raw_observer *raw,
                                    struct qb_arena *arena, const struct qb_observer_spec **out,
                                    struct qb_error *err)
{
    char block[2 * QB_YAML_MAX_KEY];
    if (!raw) {
        return QB_OK;
    }
    struct qb_observer_spec *const spec = qb_arena_array(arena, 1, sizeof *spec);
    if (!spec) {
        return qb_fail_memory(err, sizeof *spec);
    }
    QB_TRY(check_observer(doc, key_of(node->path, key, block), raw, err));
    QB_TRY(convert_observer(doc, block, raw, arena, spec, err));
    *out = spec;
    return QB_OK;
}

static enum qb_status convert_layer(const struct qb_yaml *doc, const struct qb_yaml_node *node,
                                    const struct qb_raw_layer *raw, const char *const *scheme_dirs,
                                    const struct qb_scheme *scheme, struct qb_arena *arena,
                                    struct qb_exception *out, struct qb_error *err)
{
    *out = (struct qb_exception){.layer = qb_arena_strdup(arena, node->key),
                                 .name = "",
                                 .path = scheme->path,
                                 .line = (int)node->line};
    if (!out->layer) {
        return qb_fail_memory(err, strlen(node->key));
    }
    if (raw->scheme) {
        return borrow_blocks(doc, node, scheme_dirs, arena, out, err);
    }
    QB_TRY(convert_block(doc, node, "weights", raw->blocks.weights, arena, &out->weights, err));
    return convert_block(doc, node, "activations", raw->blocks.activations, arena, &out->activations, err);
}

/* `inner`: the scheme is itself one of a layer, so that exceptions end here. */
static enum qb_status convert_layers(const struct qb_yaml *doc, const struct qb_raw_scheme *raw,
                                     const char *const *scheme_dirs, bool inner, struct qb_arena *arena,
                                     struct qb_scheme *scheme, struct qb_error *err)
{
    const struct qb_yaml_node *const list = qb_yaml_find(doc, "layers");
    if (!list) {
        return QB_OK;
    }
    if (inner) {
        return qb_yaml_fail(doc, err, "layers",
                            "a scheme for a layer has layers of its own; expected one without");
    }
    struct qb_exception *const layers = qb_arena_array(arena, list->size, sizeof *layers);
    if (!layers) {
        return qb_fail_memory(err, list->size * sizeof *layers);
    }
    for (const struct qb_yaml_node *node = list + 1; node < doc->nodes + doc->count; node++) {
        if (&doc->nodes[node->parent] == list) {
            const size_t i = scheme->layer_count++;
            QB_TRY(convert_layer(doc, node, &raw->layers[i], scheme_dirs, scheme, arena, &layers[i], err));
        }
    }
    scheme->layers = layers;
    return QB_OK;
}

static enum qb_status read_file(struct qb_yaml *doc, const char *wanted, const char *const *scheme_dirs,
                                bool inner, struct qb_arena *arena, struct qb_scheme *out,
                                struct qb_error *err)
{
    const cyaml_schema_value_t *schema;
    QB_TRY(qb_scheme_schema(doc, &schema, err));
    QB_TRY(qb_yaml_parse(doc, schema, err));
    QB_TRY(check(doc, doc->data, wanted, err));
    QB_TRY(convert(doc, doc->data, arena, out, err));
    return convert_layers(doc, doc->data, scheme_dirs, inner, arena, out, err);
}

/* `wanted`: the name the file must carry; NULL: any. */
static enum qb_status load_file(const char *path, const char *wanted, const char *const *scheme_dirs,
                                bool inner, struct qb_arena *arena, struct qb_scheme *out,
                                struct qb_error *err)
{
    struct qb_yaml doc;
    struct qb_scheme scheme = {0};
    QB_TRY(qb_yaml_open(path, &doc, err));
    const enum qb_status status = read_file(&doc, wanted, scheme_dirs, inner, arena, &scheme, err);
    qb_yaml_free(&doc);
    if (status == QB_OK) {
        *out = scheme;
    }
    return status;
}

/* ---- names ---- */

static enum qb_status fail_unknown(const char *name, const char *const *scheme_dirs, struct qb_arena *arena,
                                   struct qb_error *err)
{
    const char **names = NULL;
    unsigned count = 0;
    QB_TRY(qb_scheme_list(scheme_dirs, arena, &names, &count, err));
    char known[512] = "", found[QB_YAML_QUOTED];
    for (unsigned i = 0; i < count; i++) {
        qb_append_name(known, sizeof known, names[i]);
    }
    return qb_fail(err, QB_EINPUT,
                   "there is no scheme '%s'; the schemes are %s, or give the path of a .yaml file",
                   qb_yaml_quote(name, found), known);
}

static enum qb_status load(const char *name_or_path, const char *const *scheme_dirs, bool inner,
                           struct qb_arena *arena, struct qb_scheme *out, struct qb_error *err)
{
    if (strcmp(name_or_path, "fp32") == 0) {
        *out = (struct qb_scheme){
            .name = "fp32", .path = "(built in)", .reproduces = "", .verified = "", .fp32 = true};
        return QB_OK;
    }
    if (qb_scheme_is_path(name_or_path)) {
        return load_file(name_or_path, NULL, scheme_dirs, inner, arena, out, err);
    }
    for (const char *const *dir = scheme_dirs; *dir && qb_name_is_valid(name_or_path); dir++) {
        const char *const path = qb_arena_printf(arena, "%s/%s.yaml", *dir, name_or_path);
        if (!path) {
            return qb_fail_memory(err, strlen(*dir));
        }
        if (qb_is_file(path)) {
            return load_file(path, name_or_path, scheme_dirs, inner, arena, out, err);
        }
    }
    return fail_unknown(name_or_path, scheme_dirs, arena, err);
}

enum qb_status qb_scheme_load(const char *name_or_path, const char *const *scheme_dirs,
                              struct qb_arena *arena, struct qb_scheme *out, struct qb_error *err)
{
    return load(name_or_path, scheme_dirs, false, arena, out, err);
}
