/* A TensorFlow Lite file (FlatBuffers, tflite.fbs) as plain C: what tflite_file.cc, the only C++ here, says
 * of it. Nothing is copied and nothing is judged: every pointer leads into the file, lengths are true (the
 * whole structure has been verified first), numbers are as the file has them. Indices are for the caller to
 * check; elements wider than a byte may be unaligned where the type is `void`. */
#ifndef QB_MODEL_TFLITE_FILE_H
#define QB_MODEL_TFLITE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers of the format. */
enum { QB_TFLITE_FLOAT32 = 0, QB_TFLITE_INT32 = 2, QB_TFLITE_UINT8 = 3, QB_TFLITE_INT8 = 9 };
enum {
    QB_TFLITE_ADD = 0,
    QB_TFLITE_AVERAGE_POOL_2D = 1,
    QB_TFLITE_CONV_2D = 3,
    QB_TFLITE_DEQUANTIZE = 6,
    QB_TFLITE_FULLY_CONNECTED = 9,
    QB_TFLITE_RELU = 19,
    QB_TFLITE_RESHAPE = 22,
    QB_TFLITE_SOFTMAX = 25,
    QB_TFLITE_PAD = 34,
    QB_TFLITE_MEAN = 40,
    QB_TFLITE_SQUEEZE = 43,
    QB_TFLITE_STRIDED_SLICE = 45,
    QB_TFLITE_SHAPE = 77,
    QB_TFLITE_PACK = 83,
    QB_TFLITE_QUANTIZE = 114,
};
enum { QB_TFLITE_PADDING_SAME = 0, QB_TFLITE_PADDING_VALID = 1 };
enum { QB_TFLITE_ACTIVATION_NONE = 0, QB_TFLITE_ACTIVATION_RELU = 1 };

struct qb_tflite_list {
    const int32_t *values;
    size_t count;
};

struct qb_tflite_tensor {
    const char *name; /* "" when it has none */
    int type;
    const char *type_name; /* "" when unknown */
    struct qb_tflite_list shape;
    const void *data; /* its buffer; size 0: not a constant */
    size_t size;
    const float *scales;
    size_t scale_count;      /* 0: not quantized */
    const void *zero_points; /* int64_t */
    size_t zero_point_count;
    int axis; /* of the scales */
    bool sparse, other_quantization;
};

struct qb_tflite_operator {
    int code;
    const char *name;   /* "CONV_2D"; "" when unknown */
    const char *custom; /* of a custom operator, else "" */
    struct qb_tflite_list inputs, outputs;
    bool has_options; /* of the kind that belongs to the operator: else those below are 0 */
    int padding, stride_h, stride_w, kernel_h, kernel_w, dilation_h, dilation_w, activation, weights_format;
    const char *activation_name;
    float beta;
};

struct qb_tflite_model;

/* NULL when the bytes are not a whole, well-formed file. `data` is aligned as malloc does, and stays. */
const struct qb_tflite_model *qb_tflite_open(const void *data, size_t size);
unsigned qb_tflite_version(const struct qb_tflite_model *model);
size_t qb_tflite_subgraphs(const struct qb_tflite_model *model);

/* Of the first subgraph, which there is. */
struct qb_tflite_list qb_tflite_inputs(const struct qb_tflite_model *model);
struct qb_tflite_list qb_tflite_outputs(const struct qb_tflite_model *model);
size_t qb_tflite_tensors(const struct qb_tflite_model *model);
size_t qb_tflite_operators(const struct qb_tflite_model *model);
/* index < count */
struct qb_tflite_tensor qb_tflite_get_tensor(const struct qb_tflite_model *model, size_t index);
/* code -1: it names an operator code that the file does not have. */
struct qb_tflite_operator qb_tflite_get_operator(const struct qb_tflite_model *model, size_t index);

#ifdef __cplusplus
}
#endif

#endif
