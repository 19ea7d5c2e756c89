/* See onnx_external.h. Format: onnx.proto, TensorProto.external_data: location (relative to the model),
 * offset and length (decimal, optional). */
#include "model/onnx_external.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct onnx_external {
    struct onnx_external *next;
    const char *location;
    struct qb_blob file;
};

static const char *entry(const Onnx__TensorProto *tensor, const char *key)
{
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        const Onnx__StringStringEntryProto *const e = tensor->external_data[i];
        if (e->key && e->value && strcmp(e->key, key) == 0) {
            return e->value;
        }
    }
    return NULL;
}

/* Absent: `fallback`. */
static bool number(const Onnx__TensorProto *tensor, const char *key, size_t fallback, size_t *out)
{
    const char *const text = entry(tensor, key);
    char *end = NULL;
    *out = fallback;
    if (!text) {
        return true;
    }
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    *out = (size_t)value;
    return text[0] >= '0' && text[0] <= '9' && !*end && errno == 0 && value <= SIZE_MAX;
}

/* A model is somebody else's: it does not choose which files of the user are read. */
static bool stays_inside(const char *location)
{
    if (!location[0] || location[0] == '/') {
        return false;
    }
    for (const char *part = location; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || !part[2])) {
            return false;
        }
    }
    return true;
}

static enum qb_status load(struct onnx_importer *im, const char *location, struct onnx_external **out,
                           struct qb_error *err)
{
    for (struct onnx_external *e = im->externals; e; e = e->next) {
        if (strcmp(e->location, location) == 0) {
            *out = e;
            return QB_OK;
        }
    }
    struct onnx_external *made, **last = &im->externals;
    QB_ALLOC(made, im->graph, 1, err);
    const char *const path = im->graph->path, *const slash = strrchr(path, '/');
    made->location = qb_arena_strdup(im->graph->arena, location);
    char *const full =
        qb_arena_printf(im->graph->arena, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, location);
    if (!made->location || !full) {
        return qb_fail_memory(err, strlen(path) + strlen(location));
    }
    QB_TRY(qb_file_read(full, QB_MODEL_MAX_BYTES - im->graph->file_size, &made->file, err));
    im->graph->file_size += made->file.size;
    while (*last) {
        last = &(*last)->next;
    }
    *last = *out = made;
    return QB_OK;
}

enum qb_status qb_onnx_external_data(struct onnx_importer *im, const Onnx__TensorProto *tensor,
                                     ProtobufCBinaryData *out, struct qb_error *err)
{
    const char *const name = tensor->name ? tensor->name : "", *const location = entry(tensor, "location");
    struct onnx_external *external = NULL;
    size_t offset, length;
    if (!location || !stays_inside(location)) {
        return qb_fail(err, QB_EINPUT,
                       "tensor '%.200s' keeps its data in '%.200s'; a file in the model's folder is expected",
                       name, location ? location : "");
    }
    if (load(im, location, &external, err) != QB_OK) {
        return qb_fail_prefix(
            err, "tensor '%.200s' keeps its data in another file, which belongs beside the model", name);
    }
    const size_t size = external->file.size;
    if (!number(tensor, "offset", 0, &offset) || offset > size ||
        !number(tensor, "length", size - offset, &length) || length > size - offset) {
        return qb_fail(
            err, QB_EINPUT,
            "tensor '%.200s' keeps its data at offset %.20s, length %.20s of '%.200s', which has %zu bytes",
            name, entry(tensor, "offset") ? entry(tensor, "offset") : "0",
            entry(tensor, "length") ? entry(tensor, "length") : "to its end", location, size);
    }
    if (qb_onnx_charge_bytes(im, length, err) != QB_OK) {
        return qb_fail_prefix(err, "tensor '%.200s'", name);
    }
    *out = (ProtobufCBinaryData){.len = length, .data = external->file.data + offset};
    return QB_OK;
}

enum qb_status qb_onnx_external_identity(struct onnx_importer *im, const struct qb_blob *model,
                                         struct qb_error *err)
{
    if (!im->externals) {
        return QB_OK;
    }
    struct qb_sha256_stream *const stream = qb_sha256_begin();
    if (!stream) {
        return qb_fail_memory(err, 64);
    }
    qb_sha256_add(stream, model->data, model->size);
    for (const struct onnx_external *e = im->externals; e; e = e->next) {
        qb_sha256_add(stream, e->file.data, e->file.size);
    }
    qb_sha256_end(stream, im->graph->sha256);
    return QB_OK;
}

void qb_onnx_free_external(struct onnx_importer *im)
{
    for (struct onnx_external *e = im->externals; e; e = e->next) {
        qb_blob_free(&e->file);
    }
    im->externals = NULL;
}
