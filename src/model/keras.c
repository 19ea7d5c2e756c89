/* Keras functional models -> raw graph: the layers of `model_config` become nodes, all in N,H,W,C, in the
 * order of the file (Keras writes them in an order of execution). Semantics of the layers:
 * keras.io/api/layers. */
#include "model/keras.h"

#include <math.h>
#include <string.h>
#include <jansson.h>

#include "model/graph_build.h"
#include "model/keras_config.h"
#include "model/keras_file.h"

struct import {
    struct qb_graph *graph;
    struct qb_keras_file file;
    struct qb_keras_layer *layers; /* those imported so far */
    int *outputs;                  /* the node that holds each one's result */
    int layer_count;
};

/* Weight `key` ("kernel") of a layer; weight_names are ".../kernel:0" in Keras 2 and ".../kernel" in Keras 3.
 * An entry 0 of `shape` fits any size but 0. */
static enum qb_status find_weight(const struct import *im, const struct qb_keras_layer *layer,
                                  const char *key, int dims, const int *shape,
                                  const struct qb_keras_array **out, struct qb_error *err)
{
    const size_t length = strlen(key);
    for (size_t i = 0; i < im->file.count; i++) {
        const struct qb_keras_array *const array = &im->file.arrays[i];
        const char *const slash = strrchr(array->name, '/');
        const char *const last = slash ? slash + 1 : array->name;
        if (strcmp(array->layer, layer->name) != 0 || strncmp(last, key, length) != 0 ||
            (last[length] != '\0' && last[length] != ':')) {
            continue;
        }
        bool fits = array->dims == dims;
        for (int d = 0; fits && d < dims; d++) {
            fits = shape[d] ? array->shape[d] == (size_t)shape[d]
                            : array->shape[d] >= 1 && array->shape[d] <= QB_MODEL_MAX_DIM;
        }
        if (!fits) {
            return qb_fail(err, QB_EINPUT, "the shape of weight '%s' does not fit the layer's configuration",
                           array->name);
        }
        *out = array;
        return QB_OK;
    }
    return qb_fail(err, QB_EINPUT, "weight '%s' is missing", key);
}

/* The [size] values of `key`, or NULL when the layer has none (field `flag` is false). */
static enum qb_status find_vector(const struct import *im, const struct qb_keras_layer *layer,
                                  const char *flag, const char *key, int size, const float **out,
                                  struct qb_error *err)
{
    bool has;
    const struct qb_keras_array *array;
    QB_TRY(qb_keras_bool(layer, flag, &has, err));
    if (has) {
        QB_TRY(find_weight(im, layer, key, 1, &size, &array, err));
    }
    *out = has ? array->data : NULL;
    return QB_OK;
}

/* Weights of CONV and DENSE. Keras' [kh][kw][ic][oc] is a matrix [taps][ic][oc] with taps = kh * kw, ours
 * [oc][ic][taps]; DENSE is the case of one tap. */
static enum qb_status take_weights(const struct import *im, const struct qb_keras_layer *layer,
                                   const struct qb_keras_array *kernel, struct qb_node *node,
                                   struct qb_error *err)
{
    const size_t oc = (size_t)node->oc, ic = (size_t)node->ic, taps = kernel->count / (oc * ic);
    float *const wei = qb_graph_array(im->graph, kernel->count, sizeof *wei, err);
    if (!wei) {
        return err->status;
    }
    for (size_t t = 0; t < taps; t++) {
        for (size_t i = 0; i < ic; i++) {
            for (size_t o = 0; o < oc; o++) {
                wei[(o * ic + i) * taps + t] = kernel->data[(t * ic + i) * oc + o];
            }
        }
    }
    node->wei = wei;
    QB_TRY(find_vector(im, layer, "use_bias", "bias", node->oc, &node->bia, err));
    if (!node->bia) {
        node->bia = qb_graph_array(im->graph, oc, sizeof *node->bia, err);
    }
    return node->bia ? QB_OK : err->status;
}

static struct qb_node node_of(const struct qb_keras_layer *layer, enum qb_op op, int src)
{
    return (struct qb_node){
        .op = op, .source_name = layer->name, .source_type = layer->class_name, .src = {src, -1}};
}

/* Appends what field "activation" stands for; a linear one adds nothing. */
static enum qb_status add_activation(struct import *im, const struct qb_keras_layer *layer, int src, int *out,
                                     struct qb_error *err)
{
    static const char *const names[] = {"linear", "relu", "softmax", NULL};
    static const enum qb_op ops[] = {QB_OP_COUNT, QB_OP_RELU, QB_OP_SOFTMAX};
    int choice;
    QB_TRY(qb_keras_choice(layer, "activation", names, &choice, err));
    if (choice == 0) {
        *out = src;
        return QB_OK;
    }
    const struct qb_node activation = node_of(layer, ops[choice], src);
    return qb_graph_add(im->graph, &activation, out, err);
}

static enum qb_status check_format(const struct qb_keras_layer *layer, struct qb_error *err)
{
    static const char *const formats[] = {"channels_last", NULL};
    int choice;
    return qb_keras_choice(layer, "data_format", formats, &choice, err);
}

/* Kernel, strides and padding of convolutions and pools. */
static enum qb_status read_window(const struct qb_keras_layer *layer, const char *kernel_field,
                                  struct qb_node *node, struct qb_error *err)
{
    static const char *const paddings[] = {"valid", "same", NULL};
    int kernel[2], strides[2], padding;
    QB_TRY(qb_keras_pair(layer, kernel_field, 1, QB_MODEL_MAX_DIM, kernel, err));
    QB_TRY(qb_keras_pair(layer, "strides", 1, QB_MODEL_MAX_DIM, strides, err));
    QB_TRY(qb_keras_choice(layer, "padding", paddings, &padding, err));
    QB_TRY(check_format(layer, err));
    node->kh = kernel[0], node->kw = kernel[1];
    node->stride_h = strides[0], node->stride_w = strides[1];
    node->pad_mode = padding == 1 ? QB_PAD_SAME_UPPER : QB_PAD_EXPLICIT;
    return QB_OK;
}

static enum qb_status import_input(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                   int *out, struct qb_error *err)
{
    (void)src;
    const json_t *shape = json_object_get(layer->config, "batch_input_shape"); /* Keras 2 */
    if (!shape) {
        shape = json_object_get(layer->config, "batch_shape"); /* Keras 3 */
    }
    int size[3];
    for (size_t i = 0; i < 3; i++) {
        const json_int_t n = json_integer_value(json_array_get(shape, i + 1));
        if (json_array_size(shape) != 4 || n < 1 || n > QB_MODEL_MAX_DIM) {
            return qb_fail(err, QB_EUNSUPPORTED,
                           "field 'batch_shape' is not [batch, height, width, channels] with known sizes");
        }
        size[i] = (int)n;
    }
    if (im->graph->count != 0) {
        return qb_fail(err, QB_EUNSUPPORTED, "it is not the first layer, and one input is expected");
    }
    struct qb_node input = node_of(layer, QB_OP_INPUT, -1);
    input.dst = (struct qb_shape){size[0], size[1], size[2]};
    return qb_graph_add(im->graph, &input, out, err);
}

static enum qb_status import_conv(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                  int *out, struct qb_error *err)
{
    struct qb_node conv = node_of(layer, QB_OP_CONV, src[0]);
    const struct qb_keras_array *kernel;
    QB_TRY(qb_keras_int(layer, "filters", 1, QB_MODEL_MAX_DIM, &conv.oc, err));
    QB_TRY(read_window(layer, "kernel_size", &conv, err));
    QB_TRY(qb_keras_require(layer, "dilation_rate", 1, err));
    QB_TRY(qb_keras_require(layer, "groups", 1, err));
    QB_TRY(find_weight(im, layer, "kernel", 4, (const int[]){conv.kh, conv.kw, 0, conv.oc}, &kernel, err));
    conv.ic = (int)kernel->shape[2]; /* qb_pass_shapes compares it with the source */
    QB_TRY(take_weights(im, layer, kernel, &conv, err));
    QB_TRY(qb_graph_add(im->graph, &conv, out, err));
    return add_activation(im, layer, *out, out, err);
}

static enum qb_status import_dense(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                   int *out, struct qb_error *err)
{
    struct qb_node dense = node_of(layer, QB_OP_DENSE, src[0]);
    const struct qb_keras_array *kernel;
    QB_TRY(qb_keras_int(layer, "units", 1, QB_MODEL_MAX_DIM, &dense.oc, err));
    QB_TRY(find_weight(im, layer, "kernel", 2, (const int[]){0, dense.oc}, &kernel, err));
    dense.ic = (int)kernel->shape[0];
    QB_TRY(take_weights(im, layer, kernel, &dense, err));
    QB_TRY(qb_graph_add(im->graph, &dense, out, err));
    return add_activation(im, layer, *out, out, err);
}

/* "axis" is [3] in Keras 2 and -1 or 3 in Keras 3 (1 behind a Flatten): the last one, the channels, is all we
 * take. */
static enum qb_status import_batchnorm(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                       int *out, struct qb_error *err)
{
    const json_t *axis = json_object_get(layer->config, "axis");
    if (json_is_array(axis) && json_array_size(axis) == 1) {
        axis = json_array_get(axis, 0);
    }
    const enum qb_op source = im->graph->nodes[src[0]].op;
    const json_int_t last = source == QB_OP_FLATTEN || source == QB_OP_DENSE ? 1 : 3;
    if (!json_is_integer(axis) || (json_integer_value(axis) != -1 && json_integer_value(axis) != last)) {
        return qb_fail(err, QB_EUNSUPPORTED, "field 'axis' is not the last axis");
    }
    struct qb_node affine = node_of(layer, QB_OP_AFFINE, src[0]);
    struct qb_batchnorm *const bn = qb_graph_array(im->graph, 1, sizeof *bn, err);
    if (!bn) {
        return err->status;
    }
    const struct qb_keras_array *mean, *var;
    double epsilon;
    QB_TRY(qb_keras_real(layer, "epsilon", &epsilon, err));
    QB_TRY(find_weight(im, layer, "moving_mean", 1, (const int[]){0}, &mean, err));
    affine.oc = (int)mean->shape[0];
    QB_TRY(find_weight(im, layer, "moving_variance", 1, &affine.oc, &var, err));
    QB_TRY(find_vector(im, layer, "scale", "gamma", affine.oc, &bn->gamma, err));
    QB_TRY(find_vector(im, layer, "center", "beta", affine.oc, &bn->beta, err));
    bn->mean = mean->data;
    bn->var = var->data;
    bn->eps = (float)epsilon;
    for (int i = 0; i < affine.oc; i++) {
        if (!(bn->var[i] + bn->eps > 0.0f) || !isfinite(bn->var[i])) {
            return qb_fail(err, QB_EINPUT,
                           "weight 'moving_variance' of channel %d is %g, a positive number is expected", i,
                           (double)bn->var[i]);
        }
    }
    affine.bn = bn;
    return qb_graph_add(im->graph, &affine, out, err);
}

static enum qb_status import_activation(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                        int *out, struct qb_error *err)
{
    return add_activation(im, layer, src[0], out, err);
}

static enum qb_status import_relu(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                  int *out, struct qb_error *err)
{
    const json_t *const max_value = json_object_get(layer->config, "max_value");
    if (max_value && !json_is_null(max_value)) {
        return qb_fail(err, QB_EUNSUPPORTED, "field 'max_value' is set, null is expected");
    }
    QB_TRY(qb_keras_require(layer, "negative_slope", 0, err));
    QB_TRY(qb_keras_require(layer, "threshold", 0, err));
    const struct qb_node relu = node_of(layer, QB_OP_RELU, src[0]);
    return qb_graph_add(im->graph, &relu, out, err);
}

static enum qb_status import_softmax(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                     int *out, struct qb_error *err)
{
    QB_TRY(qb_keras_require(layer, "axis", -1, err));
    const struct qb_node softmax = node_of(layer, QB_OP_SOFTMAX, src[0]);
    return qb_graph_add(im->graph, &softmax, out, err);
}

static enum qb_status import_add(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                 int *out, struct qb_error *err)
{
    struct qb_node add = node_of(layer, QB_OP_ADD, src[0]);
    add.src[1] = src[1];
    return qb_graph_add(im->graph, &add, out, err);
}

static enum qb_status import_pool(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                  int *out, struct qb_error *err)
{
    struct qb_node pool = node_of(layer, QB_OP_AVGPOOL, src[0]);
    QB_TRY(read_window(layer, "pool_size", &pool, err));
    return qb_graph_add(im->graph, &pool, out, err);
}

static enum qb_status import_global_pool(struct import *im, const struct qb_keras_layer *layer,
                                         const int *src, int *out, struct qb_error *err)
{
    QB_TRY(check_format(layer, err));
    const struct qb_node pool = node_of(layer, QB_OP_AVGPOOL, src[0]); /* kh 0: over the whole image */
    return qb_graph_add(im->graph, &pool, out, err);
}

static enum qb_status import_flatten(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                     int *out, struct qb_error *err)
{
    QB_TRY(check_format(layer, err));
    const struct qb_node flatten = node_of(layer, QB_OP_FLATTEN, src[0]);
    return qb_graph_add(im->graph, &flatten, out, err);
}

/* Dropout does nothing outside of training. */
static enum qb_status import_dropout(struct import *im, const struct qb_keras_layer *layer, const int *src,
                                     int *out, struct qb_error *err)
{
    (void)im, (void)layer, (void)err;
    *out = src[0];
    return QB_OK;
}

static const struct {
    const char *class_name;
    int sources;
    enum qb_status (*import)(struct import *im, const struct qb_keras_layer *layer, const int *src, int *out,
                             struct qb_error *err);
} classes[] = {
    {"InputLayer", 0, import_input},
    {"Conv2D", 1, import_conv},
    {"BatchNormalization", 1, import_batchnorm},
    {"Activation", 1, import_activation},
    {"ReLU", 1, import_relu},
    {"Softmax", 1, import_softmax},
    {"Add", 2, import_add},
    {"AveragePooling2D", 1, import_pool},
    {"GlobalAveragePooling2D", 1, import_global_pool},
    {"Flatten", 1, import_flatten},
    {"Dense", 1, import_dense},
    {"Dropout", 1, import_dropout},
};

static enum qb_status import_layer(struct import *im, const struct qb_keras_layer *layer, int *out,
                                   struct qb_error *err)
{
    int src[QB_KERAS_MAX_SOURCES] = {-1, -1};
    for (int s = 0; s < layer->source_count; s++) {
        for (int i = 0; i < im->layer_count; i++) {
            if (strcmp(im->layers[i].name, layer->sources[s]) == 0) {
                src[s] = im->outputs[i];
            }
        }
        if (src[s] < 0) {
            return qb_fail(err, QB_EINPUT, "it reads layer '%s', which is not in front of it",
                           layer->sources[s]);
        }
    }
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++) {
        if (strcmp(classes[c].class_name, layer->class_name) != 0) {
            continue;
        }
        if (classes[c].sources != layer->source_count) {
            return qb_fail(err, QB_EUNSUPPORTED, "it has %d sources, %d are expected", layer->source_count,
                           classes[c].sources);
        }
        return classes[c].import(im, layer, src, out, err);
    }
    return qb_fail(err, QB_EUNSUPPORTED, "layers of this class are not supported");
}

/* "output_layers" is [[name, 0, 0]], or [name, 0, 0] in newer Keras 3. It must be the last layer. */
static enum qb_status check_output(const struct import *im, const json_t *outputs, struct qb_error *err)
{
    if (json_is_array(json_array_get(outputs, 0))) {
        if (json_array_size(outputs) != 1) {
            return qb_fail(err, QB_EUNSUPPORTED, "the model has %zu outputs, one is expected",
                           json_array_size(outputs));
        }
        outputs = json_array_get(outputs, 0);
    }
    const char *const name = json_string_value(json_array_get(outputs, 0));
    if (!name || im->layer_count == 0 || strcmp(name, im->layers[im->layer_count - 1].name) != 0) {
        return qb_fail(err, QB_EUNSUPPORTED, "field 'output_layers' does not name the last layer");
    }
    return QB_OK;
}

static enum qb_status import_model(struct import *im, const json_t *root, struct qb_error *err)
{
    const char *const class_name = json_string_value(json_object_get(root, "class_name"));
    const json_t *const config = json_object_get(root, "config");
    const json_t *const layers = json_object_get(config, "layers");
    if (!class_name || (strcmp(class_name, "Functional") != 0 && strcmp(class_name, "Model") != 0)) {
        return qb_fail(err, QB_EUNSUPPORTED, "the model's class is '%s', a functional model is expected",
                       class_name ? class_name : "");
    }
    const size_t count = json_array_size(layers);
    if (count == 0 || count > QB_MODEL_MAX_NODES) {
        return qb_fail(err, QB_EINPUT, "field 'layers' has %zu entries, 1 to %d are expected", count,
                       QB_MODEL_MAX_NODES);
    }
    im->layers = qb_graph_array(im->graph, count, sizeof *im->layers, err);
    im->outputs = qb_graph_array(im->graph, count, sizeof *im->outputs, err);
    if (!im->layers || !im->outputs) {
        return err->status;
    }
    for (size_t i = 0; i < count; i++) {
        struct qb_keras_layer layer;
        QB_TRY(qb_keras_layer_parse(json_array_get(layers, i), im->graph->arena, &layer, err));
        if (import_layer(im, &layer, &im->outputs[i], err) != QB_OK) {
            return qb_fail_prefix(err, "layer '%.200s' (%.60s)", layer.name, layer.class_name);
        }
        im->layers[i] = layer;
        im->layer_count++;
    }
    return check_output(im, json_object_get(config, "output_layers"), err);
}

enum qb_status qb_keras_import(const char *path, const struct qb_blob *file, struct qb_graph **out,
                               struct qb_error *err)
{
    struct import im = {0};
    json_t *root = NULL;
    json_error_t where;
    QB_TRY(qb_graph_create(path, file, &im.graph, err));
    enum qb_status status = qb_keras_file_read(path, file, im.graph->arena, &im.file, err);
    if (status != QB_OK) {
        goto out;
    }
    root = json_loads(im.file.config, JSON_REJECT_DUPLICATES, &where);
    if (!root) {
        status = qb_fail(err, QB_EINPUT, "%s: attribute 'model_config' is not JSON: %s", path, where.text);
        goto out;
    }
    status = import_model(&im, root, err);
    if (status != QB_OK) {
        qb_fail_prefix(err, "%s", path);
    }
out:
    json_decref(root);
    if (status != QB_OK) {
        qb_graph_free(im.graph);
        return status;
    }
    *out = im.graph;
    return QB_OK;
}
