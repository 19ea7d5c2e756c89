/* The keys of a scheme file (docs/configs.md): see scheme_schema.h. */
#include "config/scheme_schema.h"

#include <string.h>

#include "config/internal.h"

static const cyaml_strval_t dtypes[] = {{"quint8", QB_QUINT8}, {"qint8", QB_QINT8}};
static const cyaml_strval_t fusions[] = {
    {"conv_relu", QB_FUSE_CONV_RELU}, {"add_relu", QB_FUSE_ADD_RELU}, {"conv_add", QB_FUSE_CONV_ADD}};
static const cyaml_strval_t refinements[] = {
    {"equalize", QB_REFINE_EQUALIZE},
    {"scale_search", QB_REFINE_SCALE_SEARCH},
    {"adaround", QB_REFINE_ADAROUND},
    {"bias_correction", QB_REFINE_BIAS_CORRECTION},
    {"fast_bias_correction", QB_REFINE_FAST_BIAS_CORRECTION},
};
static const cyaml_strval_t arithmetics[] = {{"fbgemm", QB_ARITHMETIC_FBGEMM},
                                             {"onednn", QB_ARITHMETIC_ONEDNN},
                                             {"onednn_3_12", QB_ARITHMETIC_ONEDNN_3_12},
                                             {"torch_onednn", QB_ARITHMETIC_TORCH_ONEDNN},
                                             {"torch_x86", QB_ARITHMETIC_TORCH_X86},
                                             {"ort", QB_ARITHMETIC_ORT},
                                             {"tflite", QB_ARITHMETIC_TFLITE}};
_Static_assert(CYAML_ARRAY_LEN(arithmetics) == QB_ARITHMETIC_COUNT,
               "every arithmetic can be written in a file");

static const cyaml_strval_t scale_rules[] = {{"torch", QB_SCALE_TORCH},
                                             {"ort", QB_SCALE_ORT},
                                             {"nncf", QB_SCALE_NNCF},
                                             {"aimet", QB_SCALE_AIMET},
                                             {"tflite", QB_SCALE_TFLITE}};
_Static_assert(CYAML_ARRAY_LEN(scale_rules) == QB_SCALE_RULES, "every scale rule can be written in a file");

static const cyaml_strval_t prepares[] = {{"eager", QB_PREPARE_EAGER}, {"fx", QB_PREPARE_FX}};
_Static_assert(CYAML_ARRAY_LEN(prepares) == QB_PREPARE_COUNT, "every way can be written in a file");

static const cyaml_strval_t compared[] = {{"nothing", QB_COMPARED_NOTHING},
                                          {"observer", QB_COMPARED_OBSERVER},
                                          {"scales", QB_COMPARED_SCALES},
                                          {"logits", QB_COMPARED_LOGITS}};
_Static_assert(CYAML_ARRAY_LEN(compared) == QB_COMPARED_COUNT, "every level can be written in a file");

enum { NEEDED = CYAML_FLAG_STRICT, OPTION = CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL };

static const cyaml_schema_field_t observer_fields[] = {
    CYAML_FIELD_STRING_PTR("observer", NEEDED, struct qb_raw_observer, observer, 1, QB_NAME_MAX),
    CYAML_FIELD_ENUM("dtype", NEEDED, struct qb_raw_observer, dtype, dtypes, CYAML_ARRAY_LEN(dtypes)),
    CYAML_FIELD_ENUM("symmetric", NEEDED, struct qb_raw_observer, symmetric, qb_yaml_bools, 2),
    CYAML_FIELD_ENUM_PTR("reduce_range", OPTION, struct qb_raw_observer, reduce_range, qb_yaml_bools, 2),
    CYAML_FIELD_INT_PTR("bits", OPTION, struct qb_raw_observer, bits),
    CYAML_FIELD_INT_PTR("quant_min", OPTION, struct qb_raw_observer, quant_min),
    CYAML_FIELD_INT_PTR("quant_max", OPTION, struct qb_raw_observer, quant_max),
    CYAML_FIELD_FLOAT_PTR("eps", OPTION, struct qb_raw_observer, eps),
    CYAML_FIELD_FLOAT_PTR("averaging_constant", OPTION, struct qb_raw_observer, averaging_constant),
    CYAML_FIELD_INT_PTR("bins", OPTION, struct qb_raw_observer, bins),
    CYAML_FIELD_FLOAT_PTR("percentile", OPTION, struct qb_raw_observer, percentile),
    CYAML_FIELD_INT_PTR("levels", OPTION, struct qb_raw_observer, levels),
    CYAML_FIELD_ENUM_PTR("scale_rule", OPTION, struct qb_raw_observer, scale_rule, scale_rules,
                         CYAML_ARRAY_LEN(scale_rules)),
    CYAML_FIELD_END,
};

/* Of a layer whose blocks stand in the file itself. */
static const cyaml_schema_field_t block_fields[] = {
    CYAML_FIELD_MAPPING_PTR("weights", OPTION, struct qb_raw_blocks, weights, observer_fields),
    CYAML_FIELD_MAPPING_PTR("activations", OPTION, struct qb_raw_blocks, activations, observer_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t scheme_fields[] = {
    CYAML_FIELD_STRING_PTR("name", NEEDED, struct qb_raw_scheme, name, 1, QB_NAME_MAX),
    CYAML_FIELD_STRING_PTR("reproduces", OPTION, struct qb_raw_scheme, reproduces, 0, 159),
    CYAML_FIELD_STRING_PTR("verified", OPTION, struct qb_raw_scheme, verified, 0, QB_YAML_MAX_TEXT),
    CYAML_FIELD_ENUM_PTR("compared", OPTION, struct qb_raw_scheme, compared, compared,
                         CYAML_ARRAY_LEN(compared)),
    CYAML_FIELD_MAPPING("weights", NEEDED, struct qb_raw_scheme, weights, observer_fields),
    CYAML_FIELD_MAPPING("activations", NEEDED, struct qb_raw_scheme, activations, observer_fields),
    CYAML_FIELD_FLAGS("fuse", NEEDED, struct qb_raw_scheme, fuse, fusions, CYAML_ARRAY_LEN(fusions)),
    CYAML_FIELD_ENUM_PTR("prepare", OPTION, struct qb_raw_scheme, prepare, prepares,
                         CYAML_ARRAY_LEN(prepares)),
    CYAML_FIELD_ENUM("arithmetic", NEEDED, struct qb_raw_scheme, arithmetic, arithmetics,
                     CYAML_ARRAY_LEN(arithmetics)),
    CYAML_FIELD_STRING_PTR("accumulate", OPTION, struct qb_raw_scheme, accumulate, 1, QB_NAME_MAX),
    CYAML_FIELD_MAPPING_PTR("layers", OPTION, struct qb_raw_scheme, layers,
                            block_fields), /* see add_layers */
    CYAML_FIELD_FLAGS("refine", OPTION, struct qb_raw_scheme, refine, refinements,
                      CYAML_ARRAY_LEN(refinements)),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t scheme_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct qb_raw_scheme, scheme_fields)};

/* What `node` holds decides how layer number `i` is read. */
static enum qb_status layer_field(const struct qb_yaml *doc, const struct qb_yaml_node *node, size_t i,
                                  cyaml_schema_field_t *out, struct qb_error *err)
{
    static const cyaml_schema_field_t name = CYAML_FIELD_STRING_PTR("", OPTION, struct qb_raw_layer, scheme,
                                                                    1, QB_YAML_MAX_TEXT),
                                      blocks = CYAML_FIELD_MAPPING("", OPTION, struct qb_raw_layer, blocks,
                                                                   block_fields);
    if (node->kind == QB_YAML_LIST || (node->kind == QB_YAML_MAPPING && node->size == 0)) {
        return qb_yaml_fail(
            doc, err, node->path,
            "expected fp32, the name of a scheme, the path of a scheme file, or a mapping with "
            "weights, activations or both");
    }
    *out = node->kind == QB_YAML_SCALAR ? name : blocks;
    out->key = node->key;
    out->data_offset += (uint32_t)(i * sizeof(struct qb_raw_layer));
    return QB_OK;
}

/* `field`, the one called layers, gets the layers of the file for keys. */
static enum qb_status add_layers(const struct qb_yaml *doc, const struct qb_yaml_node *list,
                                 cyaml_schema_field_t *field, struct qb_error *err)
{
    if (list->kind != QB_YAML_MAPPING || list->size == 0) {
        return qb_yaml_fail(doc, err, "layers",
                            "expected a mapping of layers to schemes or blocks, as in { conv: fp32 }");
    }
    cyaml_schema_field_t *const fields = qb_arena_array(doc->arena, (size_t)list->size + 1, sizeof *fields);
    if (!fields) {
        return qb_fail_memory(err, (list->size + 1) * sizeof *fields);
    }
    size_t count = 0;
    for (const struct qb_yaml_node *node = list + 1; node < doc->nodes + doc->count; node++) {
        if (&doc->nodes[node->parent] == list) {
            QB_TRY(layer_field(doc, node, count, &fields[count], err));
            count++;
        }
    }
    fields[count] = (cyaml_schema_field_t)CYAML_FIELD_END;
    field->value.mapping.fields = fields;
    field->value.data_size = (uint32_t)(count * sizeof(struct qb_raw_layer));
    return QB_OK;
}

enum qb_status qb_scheme_schema(const struct qb_yaml *doc, const cyaml_schema_value_t **out,
                                struct qb_error *err)
{
    const struct qb_yaml_node *const list = qb_yaml_find(doc, "layers");
    *out = &scheme_schema;
    if (!list) {
        return QB_OK;
    }
    cyaml_schema_value_t *const schema = qb_arena_memdup(doc->arena, &scheme_schema, sizeof scheme_schema);
    cyaml_schema_field_t *const fields = qb_arena_memdup(doc->arena, scheme_fields, sizeof scheme_fields);
    if (!schema || !fields) {
        return qb_fail_memory(err, sizeof scheme_fields);
    }
    for (cyaml_schema_field_t *field = fields; field->key; field++) {
        if (strcmp(field->key, "layers") == 0) {
            QB_TRY(add_layers(doc, list, field, err));
        }
    }
    schema->mapping.fields = fields;
    *out = schema;
    return QB_OK;
}
