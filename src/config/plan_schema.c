/* The keys of an experiment file (docs/configs.md): see plan_schema.h. */
#include "config/plan_schema.h"

#include "config/plan.h"

enum {
    NEEDED = CYAML_FLAG_STRICT,
    OPTION = CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL,
    NEEDED_LIST = NEEDED | CYAML_FLAG_POINTER,
    OPTION_LIST = OPTION | CYAML_FLAG_POINTER,
    MAX_PATH = 1023,
    MAX_NAME = 63,
    MAX_LIST = 64,
};

static const cyaml_schema_field_t data_fields[] = {
    CYAML_FIELD_STRING_PTR("dir", OPTION, struct qb_raw_data, dir, 1, MAX_PATH),
    CYAML_FIELD_INT_PTR("images", OPTION, struct qb_raw_data, images),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t calibration_fields[] = {
    CYAML_FIELD_STRING_PTR("sampler", OPTION, struct qb_raw_calibration, sampler, 1, MAX_PATH),
    CYAML_FIELD_INT_PTR("per_class", OPTION, struct qb_raw_calibration, per_class),
    CYAML_FIELD_INT_PTR("batch_size", OPTION, struct qb_raw_calibration, batch_size),
    CYAML_FIELD_UINT_PTR("seed", OPTION, struct qb_raw_calibration, seed),
    CYAML_FIELD_INT_PTR("repeat", OPTION, struct qb_raw_calibration, repeat),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t measure_fields[] = {
    CYAML_FIELD_INT_PTR("rounds", OPTION, struct qb_raw_measure, rounds),
    CYAML_FIELD_FLOAT_PTR("epoch_ms", OPTION, struct qb_raw_measure, epoch_ms),
    CYAML_FIELD_FLOAT_PTR("seconds", OPTION, struct qb_raw_measure, seconds),
    CYAML_FIELD_ENUM_PTR("control", OPTION, struct qb_raw_measure, control, qb_yaml_bools, 2),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t exclusion_fields[] = {
    CYAML_FIELD_STRING_PTR("scheme", OPTION, struct qb_raw_exclusion, scheme, 1, MAX_NAME),
    CYAML_FIELD_STRING_PTR("engine", OPTION, struct qb_raw_exclusion, engine, 1, MAX_NAME),
    CYAML_FIELD_STRING_PTR("isa", OPTION, struct qb_raw_exclusion, isa, 1, MAX_NAME),
    CYAML_FIELD_INT_PTR("threads", OPTION, struct qb_raw_exclusion, threads),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t published_fields[] = {
    CYAML_FIELD_STRING_PTR("scheme", NEEDED, struct qb_raw_published, scheme, 1, MAX_NAME),
    CYAML_FIELD_FLOAT("accuracy", NEEDED, struct qb_raw_published, accuracy),
    CYAML_FIELD_STRING_PTR("source", NEEDED, struct qb_raw_published, source, 1, QB_PUBLISHED_SOURCE),
    CYAML_FIELD_STRING_PTR("why", OPTION, struct qb_raw_published, why, 0, QB_PUBLISHED_WHY),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t path_entry = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, MAX_PATH)};
static const cyaml_schema_value_t name_entry = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, MAX_NAME)};
static const cyaml_schema_value_t int_entry = {CYAML_VALUE_INT(CYAML_FLAG_DEFAULT, int)};
static const cyaml_schema_value_t exclusion_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct qb_raw_exclusion, exclusion_fields)};

static const cyaml_schema_value_t published_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct qb_raw_published, published_fields)};

static const cyaml_schema_field_t bits_fields[] = {
    CYAML_FIELD_SEQUENCE("weights", OPTION_LIST, struct qb_raw_bits, weights, &int_entry, 1, MAX_LIST),
    CYAML_FIELD_SEQUENCE("activations", OPTION_LIST, struct qb_raw_bits, activations, &int_entry, 1,
                         MAX_LIST),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t plan_fields[] = {
    CYAML_FIELD_STRING_PTR("name", NEEDED, struct qb_raw_plan, name, 1, MAX_NAME),
    CYAML_FIELD_STRING_PTR("model", NEEDED, struct qb_raw_plan, model, 1, MAX_PATH),
    CYAML_FIELD_MAPPING("data", OPTION, struct qb_raw_plan, data, data_fields),
    CYAML_FIELD_MAPPING("calibration", OPTION, struct qb_raw_plan, calibration, calibration_fields),
    CYAML_FIELD_SEQUENCE("schemes", NEEDED_LIST, struct qb_raw_plan, schemes, &path_entry, 1, MAX_LIST),
    CYAML_FIELD_MAPPING("bits", OPTION, struct qb_raw_plan, bits, bits_fields),
    CYAML_FIELD_SEQUENCE("engines", NEEDED_LIST, struct qb_raw_plan, engines, &name_entry, 1, MAX_LIST),
    CYAML_FIELD_SEQUENCE("isas", OPTION_LIST, struct qb_raw_plan, isas, &name_entry, 1, MAX_LIST),
    CYAML_FIELD_SEQUENCE("threads", OPTION_LIST, struct qb_raw_plan, threads, &int_entry, 1, MAX_LIST),
    CYAML_FIELD_SEQUENCE("batches", OPTION_LIST, struct qb_raw_plan, batches, &int_entry, 1, MAX_LIST),
    CYAML_FIELD_STRING_PTR("impl", OPTION, struct qb_raw_plan, impl, 1, MAX_PATH),
    CYAML_FIELD_MAPPING("measure", OPTION, struct qb_raw_plan, measure, measure_fields),
    CYAML_FIELD_SEQUENCE("exclude", OPTION_LIST, struct qb_raw_plan, exclude, &exclusion_entry, 0, MAX_LIST),
    CYAML_FIELD_SEQUENCE("published", OPTION_LIST, struct qb_raw_plan, published, &published_entry, 0,
                         MAX_LIST),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t qb_plan_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct qb_raw_plan, plan_fields)};
