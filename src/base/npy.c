/* numpy's .npy files: see npy.h. The header is a Python dict literal of three known keys in any order. */
#include "base/npy.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* `descr` without the byte order. */
static const struct {
    const char *descr;
    size_t size;
} types[] = {
    [QB_NPY_U8] = {"u1", 1},  [QB_NPY_I8] = {"i1", 1},  [QB_NPY_U16] = {"u2", 2}, [QB_NPY_I16] = {"i2", 2},
    [QB_NPY_U32] = {"u4", 4}, [QB_NPY_I32] = {"i4", 4}, [QB_NPY_U64] = {"u8", 8}, [QB_NPY_I64] = {"i8", 8},
    [QB_NPY_F32] = {"f4", 4}, [QB_NPY_F64] = {"f8", 8},
};
enum { TYPES = sizeof types / sizeof types[0], MAX_HEADER = 1 << 16 };

/* As numpy writes it: '|' for single bytes, whose order means nothing. */
static char byte_order(size_t element_size)
{
    return element_size == 1 ? '|' : '<';
}

size_t qb_npy_element_size(enum qb_npy_type type)
{
    return types[type].size;
}

/* The text after `'key':` and blanks, or NULL. */
static const char *find_key(const char *header, const char *key)
{
    const char *const at = strstr(header, key);
    return at ? at + strlen(key) + strspn(at + strlen(key), " ") : NULL;
}

static enum qb_status parse_shape(const char *name, const char *p, struct qb_npy *out, struct qb_error *err)
{
    if (!p || *p++ != '(') {
        return qb_fail(err, QB_EINPUT, "%s: .npy header without a 'shape'", name);
    }
    out->count = 1;
    for (p += strspn(p, " "); *p != ')'; p += strspn(p, " ,")) {
        char *end;
        if (*p < '0' || *p > '9') {
            return qb_fail(err, QB_EINPUT, "%s: .npy header with a malformed 'shape'", name);
        }
        const unsigned long long n = strtoull(p, &end, 10);
        if (out->dims == QB_NPY_MAX_DIMS || __builtin_mul_overflow(out->count, n, &out->count)) {
            return qb_fail(err, QB_EINPUT, "%s: .npy shape with too many dimensions or elements", name);
        }
        out->shape[out->dims++] = n;
        p = end;
    }
    return QB_OK;
}

/* *swapped: the bytes of an element stand in the other order. */
static enum qb_status parse_type(const char *name, const char *descr, enum qb_npy_type *type, bool *swapped,
                                 struct qb_error *err)
{
    for (unsigned i = 0; descr && descr[0] == '\'' && descr[1] && strchr("<>|", descr[1]) && i < TYPES; i++) {
        if (strncmp(descr + 2, types[i].descr, 2) == 0 && descr[4] == '\'' &&
            (descr[1] != '|' || types[i].size == 1)) {
            *type = (enum qb_npy_type)i;
            *swapped = descr[1] == '>';
            return QB_OK;
        }
    }
    const char *const found = descr ? descr : "(absent)";
    const size_t word = strcspn(found, ",}");
    return qb_fail(err, QB_EINPUT,
                   "%s: .npy element type %.*s is not one of u1, i1, u2, i2, u4, i4, u8, i8, f4, f8", name,
                   (int)(word < 16 ? word : 16), found);
}

static void swap_bytes(uint8_t *data, size_t count, size_t element_size)
{
    for (size_t i = 0; i < count; i++, data += element_size) {
        for (size_t low = 0, high = element_size - 1; low < high; low++, high--) {
            const uint8_t byte = data[low];
            data[low] = data[high];
            data[high] = byte;
        }
    }
}

enum qb_status qb_npy_parse(const char *name, const void *bytes, size_t size, struct qb_npy *out,
                            struct qb_error *err)
{
    const uint8_t *const b = bytes;
    if (size < 10 || memcmp(b, "\x93NUMPY", 6) != 0) {
        return qb_fail(err, QB_EINPUT, "%s: not a .npy file (no NUMPY signature)", name);
    }
    if ((b[6] != 1 && b[6] != 2) || (b[6] == 2 && size < 12)) {
        return qb_fail(err, QB_EINPUT, "%s: .npy format version %d, only 1 and 2 are read", name, b[6]);
    }
    const size_t start = b[6] == 1 ? 10 : 12;
    size_t length = (size_t)(b[8] | b[9] << 8);
    if (b[6] == 2) {
        length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    }
    if (length > size - start || length >= MAX_HEADER) {
        return qb_fail(err, QB_EINPUT, "%s: truncated .npy header", name);
    }
    char *const header = strndup((const char *)b + start, length);
    if (!header) {
        return qb_fail_memory(err, length);
    }
    struct qb_npy npy = {0};
    bool swapped = false;
    const char *const order = find_key(header, "'fortran_order':");
    enum qb_status status = parse_type(name, find_key(header, "'descr':"), &npy.type, &swapped, err);
    if (status == QB_OK && (!order || strncmp(order, "False", 5) != 0)) {
        status =
            qb_fail(err, QB_EINPUT, "%s: .npy in Fortran order; save it with numpy.ascontiguousarray", name);
    }
    if (status == QB_OK) {
        status = parse_shape(name, find_key(header, "'shape':"), &npy, err);
    }
    free(header);
    if (status != QB_OK) {
        return status;
    }
    size_t need;
    if (__builtin_mul_overflow(npy.count, types[npy.type].size, &need) || need > size - start - length) {
        return qb_fail(err, QB_EINPUT,
                       "%s: truncated .npy data: %zu elements are announced, %zu bytes are there", name,
                       npy.count, size - start - length);
    }
    npy.data = malloc(need ? need : 1);
    if (!npy.data) {
        return qb_fail_memory(err, need);
    }
    memcpy(npy.data, b + start + length, need);
    if (swapped) {
        swap_bytes(npy.data, npy.count, types[npy.type].size);
    }
    *out = npy;
    return QB_OK;
}

enum qb_status qb_npy_read(const char *path, struct qb_npy *out, struct qb_error *err)
{
    struct qb_blob blob;
    QB_TRY(qb_file_read(path, (size_t)1 << 32, &blob, err));
    const enum qb_status status = qb_npy_parse(path, blob.data, blob.size, out, err);
    qb_blob_free(&blob);
    return status;
}

void qb_npy_free(struct qb_npy *npy)
{
    free(npy->data);
    *npy = (struct qb_npy){0};
}

enum qb_status qb_npy_write(const char *path, enum qb_npy_type type, int dims, const size_t *shape,
                            const void *data, struct qb_error *err)
{
    char text[512], dims_text[256] = "";
    size_t count = 1, used = 0;
    for (int i = 0; i < dims; i++) {
        /* As Python prints a tuple: (5,) and (2, 3). */
        const char *const separator = dims == 1 ? "," : i + 1 < dims ? ", " : "";
        used += (size_t)snprintf(dims_text + used, sizeof dims_text - used, "%zu%s", shape[i], separator);
        count *= shape[i];
    }
    const int length =
        snprintf(text, sizeof text, "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s), }",
                 byte_order(types[type].size), types[type].descr, dims_text);
    /* numpy wants signature + header to be a multiple of 64, padded with blanks and ended by a newline. */
    const size_t header = ((size_t)length + 1 + 10 + 63) / 64 * 64 - 10;
    const size_t bytes = count * types[type].size;
    uint8_t *const image = malloc(10 + header + bytes);
    if (!image) {
        return qb_fail_memory(err, bytes);
    }
    memcpy(image, "\x93NUMPY\x01\x00", 8);
    image[8] = (uint8_t)(header & 255);
    image[9] = (uint8_t)(header >> 8);
    memset(image + 10, ' ', header);
    memcpy(image + 10, text, (size_t)length);
    image[10 + header - 1] = '\n';
    if (bytes) {
        memcpy(image + 10 + header, data, bytes);
    }
    const enum qb_status status = qb_file_write(path, image, 10 + header + bytes, err);
    free(image);
    return status;
}

int64_t qb_npy_int(const struct qb_npy *npy, size_t i)
{
    switch (npy->type) {
    case QB_NPY_U8: return ((const uint8_t *)npy->data)[i];
    case QB_NPY_I8: return ((const int8_t *)npy->data)[i];
    case QB_NPY_U16: return ((const uint16_t *)npy->data)[i];
    case QB_NPY_I16: return ((const int16_t *)npy->data)[i];
    case QB_NPY_U32: return ((const uint32_t *)npy->data)[i];
    case QB_NPY_I32: return ((const int32_t *)npy->data)[i];
    case QB_NPY_U64: {
        const uint64_t value = ((const uint64_t *)npy->data)[i];
        return value > INT64_MAX ? INT64_MAX : (int64_t)value;
    }
    case QB_NPY_I64: return ((const int64_t *)npy->data)[i];
    default: return 0;
    }
}
