/* The Python version of CIFAR-10 (cifar-10-batches-py): see cifar.h. A batch is a dictionary with 'data', a
 * uint8 numpy array [rows][3072] in the binary version's plane order, and 'labels', a list; other keys are
 * not looked at. */
#include "data/cifar.h"

#include <stdlib.h>
#include <string.h>

#include "data/pickle.h"

/* Python 3 writes byte strings in protocol 2 as UTF-8 text with up to two bytes for each. */
enum { MAX_FILE = 128 << 20 };

static enum qb_status read_labels(const char *name, const struct qb_pickle_value *batch, size_t rows,
                                  uint8_t *records, struct qb_error *err)
{
    const struct qb_pickle_value *const labels = qb_pickle_lookup(batch, "labels");
    if (!labels) {
        return qb_fail(err, QB_EINPUT, "%s: no 'labels' in the batch%s", name,
                       qb_pickle_lookup(batch, "fine_labels") ? "; this is CIFAR-100, CIFAR-10 is expected"
                                                              : "");
    }
    if (labels->kind != QB_PICKLE_LIST || labels->items.count != rows) {
        return qb_fail(err, QB_EINPUT, "%s: 'labels' is not a list of %zu numbers", name, rows);
    }
    for (size_t i = 0; i < rows; i++) {
        const struct qb_pickle_value *const label = labels->items.at[i];
        if (label->kind != QB_PICKLE_INT) {
            return qb_fail(err, QB_EINPUT, "%s: the label of image %zu is not a number", name, i);
        }
        if (label->number < 0 || label->number >= QB_CLASSES) {
            return qb_fail(err, QB_EINPUT, "%s: image %zu has label %lld, CIFAR-10 labels are 0..9", name, i,
                           (long long)label->number);
        }
        records[i * QB_CIFAR_RECORD] = (uint8_t)label->number;
    }
    return QB_OK;
}

/* The next byte of a text, *at moved on; -1 at its end or where it is no code point below 256. */
static int next_byte(const struct qb_pickle_value *text, size_t *at)
{
    if (*at >= text->size) {
        return -1;
    }
    const unsigned first = text->text[(*at)++];
    if (!text->latin1 || first < 0x80) {
        return (int)first;
    }
    if ((first != 0xc2 && first != 0xc3) || *at >= text->size || (text->text[*at] & 0xc0) != 0x80) {
        return -1;
    }
    return (int)((first & 3) << 6 | (text->text[(*at)++] & 0x3f));
}

static enum qb_status read_pixels(const char *name, const struct qb_pickle_value *batch, size_t rows,
                                  uint8_t *records, struct qb_error *err)
{
    const struct qb_pickle_value *const array = qb_pickle_lookup(batch, "data");
    if (!array || array->kind != QB_PICKLE_ARRAY || array->items.count != QB_PICKLE_ARRAY_ITEMS) {
        return qb_fail(err, QB_EINPUT, "%s: no numpy array 'data' in the batch", name);
    }
    const struct qb_pickle_value *const shape = array->items.at[QB_PICKLE_ARRAY_SHAPE];
    const struct qb_pickle_value *const dtype = array->items.at[QB_PICKLE_ARRAY_DTYPE];
    const struct qb_pickle_value *const data = array->items.at[QB_PICKLE_ARRAY_DATA];
    if (dtype->size != 2 || memcmp(dtype->text, "u1", 2) != 0) {
        return qb_fail(err, QB_EINPUT, "%s: 'data' has elements of type %.*s, u1 (uint8) is expected", name,
                       dtype->size < 16 ? (int)dtype->size : 16, (const char *)dtype->text);
    }
    if (array->number || shape->items.count != 2 || shape->items.at[0]->kind != QB_PICKLE_INT ||
        shape->items.at[1]->kind != QB_PICKLE_INT || shape->items.at[0]->number != (int64_t)rows ||
        shape->items.at[1]->number != QB_IMAGE_BYTES) {
        return qb_fail(err, QB_EINPUT, "%s: 'data' is not an array of shape (%zu, %d) in C order", name, rows,
                       QB_IMAGE_BYTES);
    }
    size_t at = 0;
    for (size_t i = 0; i < rows; i++) {
        uint8_t *const pixels = records + i * QB_CIFAR_RECORD + 1;
        for (size_t k = 0; k < QB_IMAGE_BYTES; k++) {
            const int byte = next_byte(data, &at);
            if (byte < 0) {
                return qb_fail(err, QB_EINPUT, "%s: 'data' is cut short or garbled in image %zu", name, i);
            }
            pixels[k] = (uint8_t)byte;
        }
    }
    return at == data->size ? QB_OK
                            : qb_fail(err, QB_EINPUT, "%s: 'data' has more bytes than its shape says", name);
}

enum qb_status qb_cifar_pickle_parse(const char *name, const uint8_t *bytes, size_t size, size_t rows,
                                     struct qb_blob *records, struct qb_error *err)
{
    const size_t records_size = rows * QB_CIFAR_RECORD;
    struct qb_arena *const arena = qb_arena_create();
    if (!arena) {
        return qb_fail_memory(err, 0);
    }
    uint8_t *data = NULL;
    const struct qb_pickle_value *batch;
    enum qb_status status = qb_pickle_parse(name, bytes, size, arena, &batch, err);
    if (status == QB_OK && batch->kind != QB_PICKLE_DICT) {
        status = qb_fail(err, QB_EINPUT, "%s: the pickle is not a dictionary", name);
    }
    if (status == QB_OK && !(data = malloc(records_size))) {
        status = qb_fail_memory(err, records_size);
    }
    if (status == QB_OK) {
        status = read_labels(name, batch, rows, data, err);
    }
    if (status == QB_OK) {
        status = read_pixels(name, batch, rows, data, err);
    }
    qb_arena_destroy(arena);
    if (status != QB_OK) {
        free(data);
        return status;
    }
    *records = (struct qb_blob){.data = data, .size = records_size};
    return QB_OK;
}

enum qb_status qb_cifar_pickle_read(const char *path, size_t rows, struct qb_blob *records,
                                    struct qb_error *err)
{
    struct qb_blob file;
    QB_TRY(qb_file_read(path, MAX_FILE, &file, err));
    const enum qb_status status = qb_cifar_pickle_parse(path, file.data, file.size, rows, records, err);
    qb_blob_free(&file);
    return status;
}
