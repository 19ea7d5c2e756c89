/* Inside src/config: an experiment file as libcyaml reads it, before defaults and rules. */
#ifndef QB_CONFIG_PLAN_SCHEMA_H
#define QB_CONFIG_PLAN_SCHEMA_H

#include "config/yaml.h"

/* Absent keys are NULL and empty lists. */
struct qb_raw_exclusion {
    char *scheme, *engine, *isa;
    int *threads;
};

struct qb_raw_published {
    char *scheme, *source, *why;
    double accuracy;
};

struct qb_raw_data {
    char *dir;
    int *images;
};

struct qb_raw_calibration {
    char *sampler;
    int *per_class, *batch_size, *repeat;
    uint32_t *seed;
};

struct qb_raw_bits {
    int *weights, *activations;
    uint32_t weights_count, activations_count;
};

struct qb_raw_measure {
    int *rounds, *control;
    double *epoch_ms, *seconds;
};

struct qb_raw_plan {
    char *name, *model, *impl;
    struct qb_raw_data data;
    struct qb_raw_calibration calibration;
    const char **schemes, **engines, **isas;
    int *threads, *batches;
    uint32_t schemes_count, engines_count, isas_count, threads_count, batches_count;
    struct qb_raw_bits bits;
    struct qb_raw_measure measure;
    struct qb_raw_exclusion *exclude;
    uint32_t exclude_count;
    struct qb_raw_published *published;
    uint32_t published_count;
};

extern const cyaml_schema_value_t qb_plan_schema;

#endif
