/* Every tensor of one image: see trace_image.h. */
#include "cli/trace_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "cli/cli.h"
#include "report/trace_files.h"

/* The image in memory of its own, and its label. */
static enum qb_status load_test_image(const struct trace_request *r, size_t index, uint8_t **pixels,
                                      int *label, struct qb_error *err)
{
    struct qb_dataset set = {0};
    enum qb_status status = pipeline_data(r->data_dir, QB_SPLIT_TEST, &set, err);
    pipeline_tell_synthetic();
    if (status == QB_OK && index >= set.count) {
        status = qb_fail(err, QB_EINPUT, "--image %zu: %s has the test images 0 to %zu", index, set.name,
                         set.count - 1);
    }
    if (status == QB_OK) {
        *pixels = malloc(QB_IMAGE_BYTES);
        status = *pixels ? QB_OK : qb_fail_memory(err, QB_IMAGE_BYTES);
    }
    if (status == QB_OK) {
        memcpy(*pixels, set.images + index * QB_IMAGE_BYTES, QB_IMAGE_BYTES);
        *label = set.synthetic ? -1 : set.labels[index];
    }
    qb_dataset_free(&set);
    return status;
}

static enum qb_status load_file(const char *path, struct qb_shape shape, uint8_t **pixels,
                                struct qb_error *err)
{
    struct qb_npy npy;
    QB_TRY(qb_npy_read(path, &npy, err));
    if (npy.type != QB_NPY_U8 || npy.dims != 3 || npy.shape[0] != (size_t)shape.h ||
        npy.shape[1] != (size_t)shape.w || npy.shape[2] != (size_t)shape.c) {
        qb_npy_free(&npy);
        return qb_fail(err, QB_EINPUT,
                       "%s: an image of uint8 [%d, %d, %d] is expected, as the model takes it", path, shape.h,
                       shape.w, shape.c);
    }
    *pixels = npy.data;
    return QB_OK;
}

static enum qb_status load_image(const struct trace_request *r, struct qb_shape shape, uint8_t **pixels,
                                 int *label, struct qb_error *err)
{
    char *end;
    errno = 0;
    const unsigned long index = strtoul(r->image, &end, 10);
    if (r->image[0] < '0' || r->image[0] > '9' || *end || errno) {
        return load_file(r->image, shape, pixels, err);
    }
    if (qb_shape_count(shape) != QB_IMAGE_BYTES || shape.c != QB_IMAGE_C) {
        return qb_fail(err, QB_EINPUT, "%s: the model takes images of %dx%dx%d, the test images are %dx%dx%d",
                       r->model, shape.h, shape.w, shape.c, QB_IMAGE_H, QB_IMAGE_W, QB_IMAGE_C);
    }
    return load_test_image(r, index, pixels, label, err);
}

/* A network of other classes has other names. */
static const char *answer(const struct qb_trace *trace, int prediction, char text[24])
{
    if (trace->integer[trace->integer_count - 1].count == QB_CLASSES) {
        return qb_class_names[prediction];
    }
    snprintf(text, 24, "class %d", prediction);
    return text;
}

static void tell(const struct trace_request *r, const struct qb_trace *trace, int label)
{
    printf("%s: %zu tensors of the integer network", r->output, trace->integer_count);
    if (trace->real_count) {
        printf(", %zu of the float network", trace->real_count);
    }
    printf("; image %s, ", r->image);
    if (label >= 0) {
        printf("a %s, ", qb_class_names[label]);
    }
    char text[24];
    printf("integer network says %s", answer(trace, trace->integer_prediction, text));
    if (trace->real_prediction >= 0) {
        printf(", float network %s", answer(trace, trace->real_prediction, text));
    }
    puts("");
}

enum qb_status trace_image(const struct trace_request *r, const struct pair *pair, struct qb_error *err)
{
    const struct qb_shape shape = pair->qgraph->nodes[0].dst;
    struct trace_source source = {
        .model = r->model, .image = r->image, .qgraph = pair->qgraph, .shape = shape, .label = -1};
    struct qb_trace trace = {0};
    uint8_t *pixels = NULL;
    enum qb_status status = load_image(r, shape, &pixels, &source.label, err);
    source.pixels = pixels;
    if (status == QB_OK) {
        status = qb_trace_make(pair->qgraph, pair->graph, pixels, &trace, err);
    }
    if (status == QB_OK) {
        status = trace_write(&trace, &source, r->output, err);
    }
    if (status == QB_OK) {
        tell(r, &trace, source.label);
        status = cli_print("", err);
    }
    qb_trace_free(&trace);
    free(pixels);
    return status;
}
