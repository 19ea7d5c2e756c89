/* Reading of Keras layer configurations: see keras_config.h. */
#include "model/keras_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "FIELD is VALUE, WANTED is expected". */
static enum qb_status wrong(const char *field, const json_t *value, const char *wanted, struct qb_error *err)
{
    if (!value) {
        return qb_fail(err, QB_EINPUT, "field '%s' is missing, %s is expected", field, wanted);
    }
    char *const text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    qb_fail(err, QB_EUNSUPPORTED, "field '%s' is %.200s, %s is expected", field, text ? text : "too large",
            wanted);
    free(text);
    return err->status;
}

static bool int_in(const json_t *value, int min, int max)
{
    return json_is_integer(value) && json_integer_value(value) >= min && json_integer_value(value) <= max;
}

enum qb_status qb_keras_int(const struct qb_keras_layer *layer, const char *field, int min, int max, int *out,
                            struct qb_error *err)
{
    const json_t *const value = json_object_get(layer->config, field);
    if (!int_in(value, min, max)) {
        return wrong(field, value, "a positive whole number of sane size", err);
    }
    *out = (int)json_integer_value(value);
    return QB_OK;
}

enum qb_status qb_keras_pair(const struct qb_keras_layer *layer, const char *field, int min, int max,
                             int out[2], struct qb_error *err)
{
    const json_t *const value = json_object_get(layer->config, field);
    const json_t *const first = json_array_get(value, 0), *const second = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !int_in(first, min, max) || !int_in(second, min, max)) {
        return wrong(field, value, "[height, width] in positive whole numbers of sane size", err);
    }
    out[0] = (int)json_integer_value(first);
    out[1] = (int)json_integer_value(second);
    return QB_OK;
}

enum qb_status qb_keras_real(const struct qb_keras_layer *layer, const char *field, double *out,
                             struct qb_error *err)
{
    const json_t *const value = json_object_get(layer->config, field);
    if (!json_is_number(value)) {
        return wrong(field, value, "a number", err);
    }
    *out = json_number_value(value);
    return QB_OK;
}

enum qb_status qb_keras_bool(const struct qb_keras_layer *layer, const char *field, bool *out,
                             struct qb_error *err)
{
    const json_t *const value = json_object_get(layer->config, field);
    if (!json_is_boolean(value)) {
        return wrong(field, value, "true or false", err);
    }
    *out = json_is_true(value);
    return QB_OK;
}

enum qb_status qb_keras_choice(const struct qb_keras_layer *layer, const char *field,
                               const char *const *allowed, int *out, struct qb_error *err)
{
    const json_t *const value = json_object_get(layer->config, field);
    char list[128] = "";
    for (int i = 0; allowed[i]; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), allowed[i]) == 0) {
            *out = i;
            return QB_OK;
        }
        strncat(list, i ? " or " : "", sizeof list - strlen(list) - 1);
        strncat(list, allowed[i], sizeof list - strlen(list) - 1);
    }
    return wrong(field, value, list, err);
}

enum qb_status qb_keras_require(const struct qb_keras_layer *layer, const char *field, int only,
                                struct qb_error *err)
{
    const json_t *const value = json_object_get(layer->config, field);
    bool fine = !value || json_is_null(value) || (json_is_number(value) && json_number_value(value) == only);
    if (json_is_array(value)) {
        fine = true;
        for (size_t i = 0; i < json_array_size(value); i++) {
            const json_t *const entry = json_array_get(value, i);
            fine = fine && json_is_number(entry) && json_number_value(entry) == only;
        }
    }
    if (fine) {
        return QB_OK;
    }
    char wanted[16];
    snprintf(wanted, sizeof wanted, "%d", only);
    return wrong(field, value, wanted, err);
}

static enum qb_status add_source(struct qb_keras_layer *layer, const json_t *history, struct qb_error *err)
{
    /* [layer, node index, tensor index]: layers used more than once or with several outputs are another kind
     * of model. */
    const char *const name = json_string_value(json_array_get(history, 0));
    if (!name || !int_in(json_array_get(history, 1), 0, 0) || !int_in(json_array_get(history, 2), 0, 0)) {
        return wrong("inbound_nodes", history, "[layer, 0, 0] for each source", err);
    }
    if (layer->source_count == QB_KERAS_MAX_SOURCES) {
        return qb_fail(err, QB_EUNSUPPORTED, "field 'inbound_nodes' has more than %d sources",
                       QB_KERAS_MAX_SOURCES);
    }
    layer->sources[layer->source_count++] = name;
    return QB_OK;
}

/* Keras 3: {"args": [TENSOR]} or {"args": [[TENSOR, TENSOR]]}; a TENSOR holds its history. */
static enum qb_status parse_args(struct qb_keras_layer *layer, const json_t *args, struct qb_error *err)
{
    const json_t *tensors = args;
    if (json_array_size(args) == 1 && json_is_array(json_array_get(args, 0))) {
        tensors = json_array_get(args, 0);
    }
    if (json_array_size(tensors) == 0) {
        return wrong("inbound_nodes", args, "a list of tensors", err);
    }
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *const config = json_object_get(json_array_get(tensors, i), "config");
        QB_TRY(add_source(layer, json_object_get(config, "keras_history"), err));
    }
    return QB_OK;
}

static enum qb_status parse_sources(struct qb_keras_layer *layer, const json_t *inbound, struct qb_error *err)
{
    if (!json_is_array(inbound) || json_array_size(inbound) > 1) {
        return wrong("inbound_nodes", inbound, "at most one use of the layer", err);
    }
    if (json_array_size(inbound) == 0) {
        return QB_OK;
    }
    const json_t *const use = json_array_get(inbound, 0);
    if (json_is_object(use)) {
        return parse_args(layer, json_object_get(use, "args"), err);
    }
    if (json_array_size(use) == 0) {
        return wrong("inbound_nodes", inbound, "a list of sources", err);
    }
    for (size_t i = 0; i < json_array_size(use); i++) { /* Keras 2: [[layer, 0, 0, {}], ...] */
        QB_TRY(add_source(layer, json_array_get(use, i), err));
    }
    return QB_OK;
}

enum qb_status qb_keras_layer_parse(const json_t *json, struct qb_arena *arena, struct qb_keras_layer *out,
                                    struct qb_error *err)
{
    struct qb_keras_layer layer = {.config = json_object_get(json, "config")};
    const char *const class_name = json_string_value(json_object_get(json, "class_name"));
    const char *const name = json_string_value(json_object_get(layer.config, "name"));
    if (!class_name || !name) {
        return qb_fail(err, QB_EINPUT, "field 'class_name' or 'config.name' of a layer is missing");
    }
    layer.class_name = qb_arena_strdup(arena, class_name);
    layer.name = qb_arena_strdup(arena, name);
    if (!layer.class_name || !layer.name) {
        return qb_fail_memory(err, strlen(class_name) + strlen(name) + 2);
    }
    if (parse_sources(&layer, json_object_get(json, "inbound_nodes"), err) != QB_OK) {
        return qb_fail_prefix(err, "layer '%s' (%s)", layer.name, layer.class_name);
    }
    *out = layer;
    return QB_OK;
}
