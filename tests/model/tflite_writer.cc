/* Writes TensorFlow Lite files for tests: see tflite_writer.h. */
#include "tflite_writer.h"

#include <cstdlib>
#include <cstring>
#include <vector>

#include "tflite_generated.h"

using namespace qb_tflite;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

namespace {

template <typename T>
Offset<flatbuffers::Vector<T>> vector_of(FlatBufferBuilder &b, const T *values, size_t count)
{
    return b.CreateVector(values, count);
}

Offset<Tensor> tensor_of(FlatBufferBuilder &b, const tw_tensor &t, uint32_t buffer)
{
    Offset<QuantizationParameters> q = 0;
    if (t.scale_count || t.zero_point_count || t.other_quantization) {
        q = CreateQuantizationParameters(b, vector_of(b, t.scales, static_cast<size_t>(t.scale_count)),
                                         vector_of(b, t.zero_points, static_cast<size_t>(t.zero_point_count)),
                                         t.other_quantization, t.axis);
    }
    return CreateTensor(b, vector_of(b, t.shape, static_cast<size_t>(t.rank)),
                        static_cast<TensorType>(t.type), buffer, t.name ? b.CreateString(t.name) : 0, q,
                        false, t.sparse ? CreateSparsityParameters(b) : 0);
}

BuiltinOptions options_of(FlatBufferBuilder &b, const tw_operator &op, Offset<void> *out)
{
    const auto padding = static_cast<Padding>(op.padding);
    const auto activation = static_cast<ActivationFunctionType>(op.activation);
    if (op.no_options) {
        return BuiltinOptions_NONE;
    }
    switch (op.code) {
    case BuiltinOperator_CONV_2D:
        *out = CreateConv2DOptions(b, padding, op.stride_w, op.stride_h, activation, op.dilation_w,
                                   op.dilation_h)
                   .Union();
        return BuiltinOptions_Conv2DOptions;
    case BuiltinOperator_AVERAGE_POOL_2D:
        *out = CreatePool2DOptions(b, padding, op.stride_w, op.stride_h, op.kernel_w, op.kernel_h, activation)
                   .Union();
        return BuiltinOptions_Pool2DOptions;
    case BuiltinOperator_FULLY_CONNECTED:
        *out = CreateFullyConnectedOptions(b, activation, static_cast<int8_t>(op.weights_format)).Union();
        return BuiltinOptions_FullyConnectedOptions;
    case BuiltinOperator_SOFTMAX:
        *out = CreateSoftmaxOptions(b, op.beta).Union();
        return BuiltinOptions_SoftmaxOptions;
    case BuiltinOperator_ADD:
        *out = CreateAddOptions(b, activation).Union();
        return BuiltinOptions_AddOptions;
    default: return BuiltinOptions_NONE;
    }
}

} // namespace

void *tw_pack(const tw_model *model, size_t *size)
{
    FlatBufferBuilder b;
    std::vector<Offset<Buffer>> buffers = {CreateBuffer(b)};
    std::vector<Offset<Tensor>> tensors;
    std::vector<Offset<OperatorCode>> codes;
    std::vector<Offset<Operator>> operators;
    for (size_t i = 0; i < model->tensor_count; i++) {
        const tw_tensor &t = model->tensors[i];
        uint32_t buffer = static_cast<uint32_t>(t.buffer);
        if (t.data && !buffer) {
            buffer = static_cast<uint32_t>(buffers.size());
            b.ForceVectorAlignment(t.size, 1, 16);
            buffers.push_back(CreateBuffer(b, b.CreateVector(static_cast<const uint8_t *>(t.data), t.size)));
        }
        tensors.push_back(tensor_of(b, t, buffer));
    }
    for (size_t i = 0; i < model->operator_count; i++) {
        const tw_operator &op = model->operators[i];
        const auto custom = op.custom ? b.CreateString(op.custom) : 0;
        codes.push_back(CreateOperatorCode(b,
                                           static_cast<int8_t>(op.old_code || op.code < 127 ? op.code : 127),
                                           custom, static_cast<BuiltinOperator>(op.old_code ? 0 : op.code)));
        Offset<void> options = 0;
        const auto type = options_of(b, op, &options);
        operators.push_back(CreateOperator(
            b, op.opcode_index ? static_cast<uint32_t>(op.opcode_index) : static_cast<uint32_t>(i),
            vector_of(b, op.inputs, static_cast<size_t>(op.input_count)),
            vector_of(b, op.outputs, static_cast<size_t>(op.output_count)), type, options));
    }
    const auto subgraph =
        CreateSubGraph(b, b.CreateVector(tensors), vector_of(b, model->inputs, model->input_count),
                       vector_of(b, model->outputs, model->output_count), b.CreateVector(operators));
    const std::vector<Offset<SubGraph>> subgraphs(static_cast<size_t>(model->subgraphs), subgraph);
    FinishModelBuffer(b, CreateModel(b, model->version, b.CreateVector(codes), b.CreateVector(subgraphs),
                                     b.CreateVector(buffers)));
    void *const bytes = std::malloc(b.GetSize());
    if (bytes) {
        std::memcpy(bytes, b.GetBufferPointer(), b.GetSize());
        *size = b.GetSize();
    }
    return bytes;
}
