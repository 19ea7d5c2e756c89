/* Writes TensorFlow Lite files for tests from a plain list of tensors and operators. */
#ifndef QB_TESTS_MODEL_TFLITE_WRITER_H
#define QB_TESTS_MODEL_TFLITE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tw_tensor {
    const char *name;
    int type, rank;
    int32_t shape[4];
    const void *data; /* NULL: not a constant */
    size_t size;
    int scale_count;
    const float *scales;
    int zero_point_count;
    const int64_t *zero_points;
    int axis;
    bool sparse, other_quantization;
    int buffer; /* 0: one of its own */
};

struct tw_operator {
    int code;
    const char *custom;
    bool old_code; /* in the old field, as TensorFlow before 2.4 */
    int input_count, output_count;
    int32_t inputs[4], outputs[2];
    bool no_options;
    int padding, stride_h, stride_w, kernel_h, kernel_w, dilation_h, dilation_w, activation, weights_format;
    float beta;
    int opcode_index; /* not 0: this one */
};

struct tw_model {
    unsigned version;
    int subgraphs;
    const struct tw_tensor *tensors;
    size_t tensor_count;
    const struct tw_operator *operators;
    size_t operator_count;
    int32_t inputs[2], outputs[2];
    size_t input_count, output_count;
};

/* malloc'd; *size bytes. */
void *tw_pack(const struct tw_model *model, size_t *size);

#ifdef __cplusplus
}
#endif

#endif
