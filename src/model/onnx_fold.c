/* Reshape, Slice and Transpose of constants: how PyTorch's older exporter turns the pads of a ConstantPad2d
 * round, and what becomes of computed shapes. */
#include "model/onnx_import.h"

#include <string.h>

/* With `data`, elements of the same type in the graph's arena; codes of weights do not survive. */
static enum qb_status define(const struct onnx_op *op, const struct onnx_constant *like, int rank,
                             const size_t *dims, const void *data, struct qb_error *err)
{
    struct onnx_constant *out;
    QB_ALLOC(out, op->im->graph, 1, err);
    out->type = like->type;
    out->rank = rank;
    out->count = 1;
    for (int i = 0; i < rank; i++) {
        out->dims[i] = dims[i];
        out->count *= dims[i];
    }
    out->data = data;
    return qb_onnx_define_constant(op, out, err);
}

enum qb_status qb_onnx_fold_reshape(const struct onnx_op *op, struct qb_error *err)
{
    const struct onnx_constant *c = NULL, *shape = NULL;
    size_t dims[QB_ONNX_MAX_RANK], count = 1;
    int open = -1;
    QB_TRY(qb_onnx_constant(op, 0, &c, err));
    QB_TRY(qb_onnx_int64s(op, 1, &shape, err));
    QB_TRY(qb_onnx_attr_expect(op, "allowzero", 0, 0, err));
    const int rank = shape->count <= QB_ONNX_MAX_RANK ? (int)shape->count : -1;
    for (int i = 0; i < rank; i++) {
        const int64_t size = ((const int64_t *)shape->data)[i];
        const bool copied = size == 0 && i < c->rank;
        if (size == -1 && open < 0) {
            open = i;
            continue;
        }
        if ((!copied && size < 1) || (uint64_t)size > c->count) {
            return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "a constant of %zu elements cannot get size %lld",
                                c->count, (long long)size);
        }
        dims[i] = copied ? c->dims[i] : (size_t)size;
        count *= dims[i];
        if (count > c->count) { /* before it can overflow */
            break;
        }
    }
    if (open >= 0 && count > 0 && c->count % count == 0) {
        dims[open] = c->count / count;
        count = c->count;
    }
    if (rank < 0 || count != c->count) {
        return qb_onnx_fail(op, err, QB_EINPUT, "its shape does not fit a constant of %zu elements",
                            c->count);
    }
    return define(op, c, rank, dims, c->data, err);
}

enum qb_status qb_onnx_fold_transpose(const struct onnx_op *op, const struct onnx_constant *c,
                                      struct qb_error *err)
{
    const size_t size = qb_onnx_element_size(c->type), rows = c->dims[0], columns = c->dims[1];
    const char *const from = c->data;
    QB_TRY(qb_onnx_charge(op, c->count, err));
    char *const to = qb_graph_array(op->im->graph, c->count, size, err);
    if (!to) {
        return QB_ENOMEM;
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < columns; k++) {
            memcpy(to + (k * rows + i) * size, from + (i * columns + k) * size, size);
        }
    }
    return define(op, c, 2, (const size_t[]){columns, rows}, to, err);
}

/* Input i, a list of `count` numbers. Absent: *out is NULL. */
static enum qb_status numbers(const struct onnx_op *op, size_t i, size_t count, const int64_t **out,
                              struct qb_error *err)
{
    const struct onnx_constant *list = NULL;
    *out = NULL;
    if (!qb_onnx_has_input(op, i)) {
        return QB_OK;
    }
    QB_TRY(qb_onnx_int64s(op, i, &list, err));
    if (list->count != count) {
        return qb_onnx_fail(op, err, QB_EINPUT,
                            "input %zu has %zu numbers; %zu are expected, as many as starts", i, list->count,
                            count);
    }
    *out = list->data;
    return QB_OK;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Elements first, first + step, ... of an axis: *first and *count. Source: ONNX, operator Slice. */
static void range(int64_t start, int64_t end, int64_t step, int64_t size, int64_t *first, size_t *count)
{
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    const int64_t last = clamp(end < 0 ? end + size : end, low, high);
    *first = clamp(start < 0 ? start + size : start, 0, high);
    const int64_t way = step > 0 ? last - *first : *first - last, stride = step > 0 ? step : -step;
    *count = size > 0 && way > 0 ? (size_t)((way - 1) / stride + 1) : 0;
}

enum qb_status qb_onnx_slice(const struct onnx_op *op, struct qb_error *err)
{
    const struct onnx_constant *c = NULL, *starts = NULL;
    const int64_t *ends, *axes, *steps;
    QB_TRY(qb_onnx_constant(op, 0, &c, err));
    QB_TRY(qb_onnx_int64s(op, 1, &starts, err));
    QB_TRY(numbers(op, 2, starts->count, &ends, err));
    QB_TRY(numbers(op, 3, starts->count, &axes, err));
    QB_TRY(numbers(op, 4, starts->count, &steps, err));
    if (!ends || starts->count > (size_t)c->rank) {
        return qb_onnx_fail(op, err, QB_EINPUT, "%zu starts for a constant of rank %d, or no ends",
                            starts->count, c->rank);
    }
    const size_t size = qb_onnx_element_size(c->type);
    const char *data = c->data;
    size_t dims[QB_ONNX_MAX_RANK];
    memcpy(dims, c->dims, sizeof dims);
    for (size_t n = 0; n < starts->count; n++) {
        const int64_t axis = axes ? axes[n] + (axes[n] < 0 ? c->rank : 0) : (int64_t)n,
                      step = steps ? steps[n] : 1;
        if (axis < 0 || axis >= c->rank || step == 0 || step < -QB_MODEL_MAX_COUNT) {
            return qb_onnx_fail(op, err, QB_EINPUT, "axis %lld, step %lld of a constant of rank %d",
                                (long long)axis, (long long)step, c->rank);
        }
        size_t outer = 1, inner = size, count;
        int64_t first;
        for (int64_t i = 0; i < axis; i++) {
            outer *= dims[i];
        }
        for (int64_t i = axis + 1; i < c->rank; i++) {
            inner *= dims[i];
        }
        range(((const int64_t *)starts->data)[n], ends[n], step, (int64_t)dims[axis], &first, &count);
        QB_TRY(qb_onnx_charge(op, outer * count * inner / size, err));
        char *const to = qb_graph_array(op->im->graph, outer * count, inner, err);
        if (!to) {
            return QB_ENOMEM;
        }
        for (size_t o = 0; o < outer; o++) {
            for (size_t k = 0; k < count; k++) {
                const size_t from = (size_t)(first + (int64_t)k * step);
                memcpy(to + (o * count + k) * inner, data + (o * dims[axis] + from) * inner, inner);
            }
        }
        dims[axis] = count;
        data = to;
    }
    return define(op, c, c->rank, dims, data, err);
}
