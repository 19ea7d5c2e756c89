/* Fields of one layer in a Keras file's `model_config` (Keras 2 and Keras 3 spellings). Messages name field
 * and value; the caller puts file and layer in front. */
#ifndef QB_MODEL_KERAS_CONFIG_H
#define QB_MODEL_KERAS_CONFIG_H

#include <stdbool.h>
#include <jansson.h>

#include "base/arena.h"
#include "base/status.h"

enum { QB_KERAS_MAX_SOURCES = 2 };

struct qb_keras_layer {
    const char *name, *class_name;
    const json_t *config;
    const char *sources[QB_KERAS_MAX_SOURCES]; /* names of the layers it reads */
    int source_count;
};

/* Name, class, config and sources of one entry of "layers". Name and class live in `arena`, the rest in
 * `json`. */
enum qb_status qb_keras_layer_parse(const json_t *json, struct qb_arena *arena, struct qb_keras_layer *out,
                                    struct qb_error *err);

/* A whole number in min..max. */
enum qb_status qb_keras_int(const struct qb_keras_layer *layer, const char *field, int min, int max, int *out,
                            struct qb_error *err);
/* The same, two of them: [h, w]. */
enum qb_status qb_keras_pair(const struct qb_keras_layer *layer, const char *field, int min, int max,
                             int out[2], struct qb_error *err);
enum qb_status qb_keras_real(const struct qb_keras_layer *layer, const char *field, double *out,
                             struct qb_error *err);
enum qb_status qb_keras_bool(const struct qb_keras_layer *layer, const char *field, bool *out,
                             struct qb_error *err);
/* Sets *out to the index of the field's text in the NULL-terminated list `allowed`. */
enum qb_status qb_keras_choice(const struct qb_keras_layer *layer, const char *field,
                               const char *const *allowed, int *out, struct qb_error *err);
/* An error unless the field is absent, null, or the number (or each of its entries) `only`. For options whose
 * other values would change the result. */
enum qb_status qb_keras_require(const struct qb_keras_layer *layer, const char *field, int only,
                                struct qb_error *err);

#endif
