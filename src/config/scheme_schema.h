/* Inside src/config: a scheme file as libcyaml reads it, before defaults and rules. */
#ifndef QB_CONFIG_SCHEME_SCHEMA_H
#define QB_CONFIG_SCHEME_SCHEMA_H

#include "config/scheme.h"
#include "config/yaml.h"

/* Absent options are NULL. Yes/no values are int, see qb_yaml_load. */
struct qb_raw_observer {
    char *observer;
    int dtype, symmetric;
    int *reduce_range, *quant_min, *quant_max, *bins, *levels, *bits, *scale_rule;
    double *eps, *averaging_constant, *percentile;
};

struct qb_raw_blocks {
    struct qb_raw_observer *weights, *activations;
};

/* One entry of `layers`: a scheme's name or path, or blocks; the other is empty. */
struct qb_raw_layer {
    char *scheme;
    struct qb_raw_blocks blocks;
};

struct qb_raw_scheme {
    char *name, *reproduces, *verified, *accumulate;
    struct qb_raw_observer weights, activations;
    unsigned fuse, refine;
    int arithmetic;
    int *compared, *prepare;
    struct qb_raw_layer *layers; /* one for each child of the file's `layers`, in its order; NULL: none */
};

/* The schema of the scheme file that was opened as `doc`: the names of layers are keys of the user's choice,
 * so that each file has its own. It lives as long as `doc`. */
enum qb_status qb_scheme_schema(const struct qb_yaml *doc, const cyaml_schema_value_t **out,
                                struct qb_error *err);

#endif
