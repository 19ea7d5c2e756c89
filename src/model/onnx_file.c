/* See onnx_file.h. The wire format is checked first, without recursion; then protobuf-c unpacks with a
 * bounded allocator. Wire format: https://protobuf.dev/programming-guides/encoding/ */
#include "model/onnx_file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Deepest nesting of messages that is parsed. A model without control flow needs 6 (model, graph, value,
 * type, shape, dimension). */
enum { MAX_DEPTH = 16 };

/* Each allocation remembers its size in front, aligned as malloc aligns. */
enum { HEADER = 16 };

static void *budget_alloc(void *data, size_t size)
{
    struct qb_onnx_file *const file = data;
    if (size > file->budget - file->used) {
        return NULL;
    }
    unsigned char *const memory = malloc(HEADER + size);
    if (!memory) {
        return NULL;
    }
    memcpy(memory, &size, sizeof size);
    file->used += size;
    return memory + HEADER;
}

static void budget_free(void *data, void *pointer)
{
    if (pointer) {
        struct qb_onnx_file *const file = data;
        unsigned char *const memory = (unsigned char *)pointer - HEADER;
        size_t size;
        memcpy(&size, memory, sizeof size);
        file->used -= size;
        free(memory);
    }
}

static ProtobufCAllocator allocator(struct qb_onnx_file *file)
{
    return (ProtobufCAllocator){.alloc = budget_alloc, .free = budget_free, .allocator_data = file};
}

/* A base-128 number of at most ten bytes; false when it does not end before `end`. */
static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && *at < end; shift += 7) {
        const uint8_t byte = *(*at)++;
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

struct level {
    const uint8_t *end;
    const ProtobufCMessageDescriptor *type;
    uint64_t seen; /* single message fields met so far, by number; all of ONNX's are below 64 */
};

/* Walks all fields with an explicit stack. Returns NULL, or what is wrong near *at. */
static const char *check_wire(const uint8_t **at, const uint8_t *end)
{
    struct level stack[MAX_DEPTH];
    int depth = 0;
    stack[0] = (struct level){end, &onnx__model_proto__descriptor, 0};
    for (;;) {
        while (*at == stack[depth].end) {
            if (depth-- == 0) {
                return NULL;
            }
        }
        struct level *const in = &stack[depth];
        uint64_t tag, length;
        if (!read_varint(at, in->end, &tag) || tag >> 3 == 0 || tag >> 32 != 0) {
            return "a field number is broken";
        }
        switch (tag & 7) {
        case 0:
            if (!read_varint(at, in->end, &length)) {
                return "a number is cut short";
            }
            continue;
        case 1: length = 8; break;
        case 5: length = 4; break;
        case 2:
            if (!read_varint(at, in->end, &length)) {
                return "a length is cut short";
            }
            break;
        default: return "a field has an unknown wire type";
        }
        if (length > (uint64_t)(in->end - *at)) {
            return "a field is longer than what holds it";
        }
        const ProtobufCFieldDescriptor *const field =
            protobuf_c_message_descriptor_get_field(in->type, (unsigned)(tag >> 3));
        if ((tag & 7) != 2 || !field || field->type != PROTOBUF_C_TYPE_MESSAGE) {
            *at += length;
            continue;
        }
        if (field->label != PROTOBUF_C_LABEL_REPEATED && field->id < 64) {
            /* protobuf merges repetitions, at a cost that grows with the square of their number; no writer
             * makes them. */
            if (in->seen >> field->id & 1) {
                return "a single field is repeated";
            }
            in->seen |= UINT64_C(1) << field->id;
        }
        if (++depth == MAX_DEPTH) {
            return "messages are nested too deep";
        }
        stack[depth] = (struct level){*at + length, field->descriptor, 0};
    }
}

enum qb_status qb_onnx_open(struct qb_onnx_file *file, const struct qb_blob *bytes, struct qb_error *err)
{
    if (bytes->size == 0) {
        return qb_fail(err, QB_EINPUT, "the file is empty; an ONNX or Keras (.h5) model is expected");
    }
    const uint8_t *at = bytes->data;
    const char *const problem = check_wire(&at, bytes->data + bytes->size);
    if (problem) {
        return qb_fail(err, QB_EINPUT,
                       "not an ONNX model, or a damaged one: near byte %zu of %zu %s; an ONNX or Keras (.h5) "
                       "file is expected",
                       (size_t)(at - bytes->data), bytes->size, problem);
    }
    /* Weights are copied once; the rest of a model is some kilobytes of text, whose messages take several
     * times that. */
    file->budget = 8 * bytes->size + (4U << 20);
    ProtobufCAllocator alloc = allocator(file);
    file->model = onnx__model_proto__unpack(&alloc, bytes->size, bytes->data);
    if (!file->model) {
        return qb_fail(err, QB_EINPUT,
                       "not an ONNX model, or a damaged one: its %zu bytes cannot be unpacked", bytes->size);
    }
    return QB_OK;
}

void qb_onnx_close(struct qb_onnx_file *file)
{
    if (file->model) {
        ProtobufCAllocator alloc = allocator(file);
        onnx__model_proto__free_unpacked(file->model, &alloc);
        file->model = NULL;
    }
}
