/* The FlatBuffers half of tflite_file.h. Compiled without exceptions; nothing here allocates. */
#include "model/tflite_file.h"

#include "tflite_generated.h"

using namespace qb_tflite;

namespace {

constexpr bool same(int here, int schema)
{
    return here == schema;
}

/* The numbers of tflite_file.h are those of the schema. */
#define SAME(prefix, name) static_assert(same(QB_TFLITE_##name, prefix##_##name), #name)
SAME(TensorType, FLOAT32);
SAME(TensorType, INT32);
SAME(TensorType, UINT8);
SAME(TensorType, INT8);
SAME(BuiltinOperator, ADD);
SAME(BuiltinOperator, AVERAGE_POOL_2D);
SAME(BuiltinOperator, CONV_2D);
SAME(BuiltinOperator, DEQUANTIZE);
SAME(BuiltinOperator, FULLY_CONNECTED);
SAME(BuiltinOperator, RELU);
SAME(BuiltinOperator, RESHAPE);
SAME(BuiltinOperator, SOFTMAX);
SAME(BuiltinOperator, PAD);
SAME(BuiltinOperator, MEAN);
SAME(BuiltinOperator, SQUEEZE);
SAME(BuiltinOperator, STRIDED_SLICE);
SAME(BuiltinOperator, SHAPE);
SAME(BuiltinOperator, PACK);
SAME(BuiltinOperator, QUANTIZE);
#undef SAME
static_assert(same(QB_TFLITE_PADDING_SAME, Padding_SAME) && same(QB_TFLITE_PADDING_VALID, Padding_VALID),
              "padding");
static_assert(same(QB_TFLITE_ACTIVATION_NONE, ActivationFunctionType_NONE) &&
                  same(QB_TFLITE_ACTIVATION_RELU, ActivationFunctionType_RELU),
              "activations");

/* Tables nest a handful deep; a file has some thousand at most. */
enum { MAX_DEPTH = 16, MAX_TABLES = 100000 };

const Model *model_of(const qb_tflite_model *model)
{
    return reinterpret_cast<const Model *>(model);
}

const SubGraph *subgraph_of(const qb_tflite_model *model)
{
    return model_of(model)->subgraphs()->Get(0);
}

template <typename T> size_t count_of(const T *vector)
{
    return vector ? vector->size() : 0;
}

qb_tflite_list list_of(const flatbuffers::Vector<int32_t> *vector)
{
    return {vector ? vector->data() : nullptr, count_of(vector)};
}

const char *text_of(const flatbuffers::String *text)
{
    return text ? text->c_str() : "";
}

template <typename T> void set_window(const T *options, qb_tflite_operator *out)
{
    out->padding = options->padding();
    out->stride_h = options->stride_h();
    out->stride_w = options->stride_w();
}

void set_activation(ActivationFunctionType activation, qb_tflite_operator *out)
{
    out->has_options = true;
    out->activation = activation;
    out->activation_name = EnumNameActivationFunctionType(activation);
}

void set_options(const Operator *op, qb_tflite_operator *out)
{
    if (const auto *conv = op->builtin_options_as_Conv2DOptions(); conv && out->code == QB_TFLITE_CONV_2D) {
        set_window(conv, out);
        out->dilation_h = conv->dilation_h_factor();
        out->dilation_w = conv->dilation_w_factor();
        set_activation(conv->fused_activation_function(), out);
    }
    if (const auto *pool = op->builtin_options_as_Pool2DOptions();
        pool && out->code == QB_TFLITE_AVERAGE_POOL_2D) {
        set_window(pool, out);
        out->kernel_h = pool->filter_height();
        out->kernel_w = pool->filter_width();
        set_activation(pool->fused_activation_function(), out);
    }
    if (const auto *dense = op->builtin_options_as_FullyConnectedOptions();
        dense && out->code == QB_TFLITE_FULLY_CONNECTED) {
        out->weights_format = dense->weights_format();
        set_activation(dense->fused_activation_function(), out);
    }
    if (const auto *add = op->builtin_options_as_AddOptions(); add && out->code == QB_TFLITE_ADD) {
        set_activation(add->fused_activation_function(), out);
    }
    if (const auto *softmax = op->builtin_options_as_SoftmaxOptions();
        softmax && out->code == QB_TFLITE_SOFTMAX) {
        out->has_options = true;
        out->beta = softmax->beta();
    }
}

} // namespace

const qb_tflite_model *qb_tflite_open(const void *data, size_t size)
{
    if (size >= FLATBUFFERS_MAX_BUFFER_SIZE) {
        return nullptr;
    }
    flatbuffers::Verifier verifier(static_cast<const uint8_t *>(data), size, MAX_DEPTH, MAX_TABLES);
    return VerifyModelBuffer(verifier) ? reinterpret_cast<const qb_tflite_model *>(GetModel(data)) : nullptr;
}

unsigned qb_tflite_version(const qb_tflite_model *model)
{
    return model_of(model)->version();
}

size_t qb_tflite_subgraphs(const qb_tflite_model *model)
{
    return count_of(model_of(model)->subgraphs());
}

qb_tflite_list qb_tflite_inputs(const qb_tflite_model *model)
{
    return list_of(subgraph_of(model)->inputs());
}

qb_tflite_list qb_tflite_outputs(const qb_tflite_model *model)
{
    return list_of(subgraph_of(model)->outputs());
}

size_t qb_tflite_tensors(const qb_tflite_model *model)
{
    return count_of(subgraph_of(model)->tensors());
}

size_t qb_tflite_operators(const qb_tflite_model *model)
{
    return count_of(subgraph_of(model)->operators());
}

qb_tflite_tensor qb_tflite_get_tensor(const qb_tflite_model *model, size_t index)
{
    const Tensor *const tensor =
        subgraph_of(model)->tensors()->Get(static_cast<flatbuffers::uoffset_t>(index));
    const auto *const buffers = model_of(model)->buffers();
    struct qb_tflite_tensor out = {};
    out.name = text_of(tensor->name());
    out.type = tensor->type();
    out.type_name = EnumNameTensorType(tensor->type());
    out.shape = list_of(tensor->shape());
    out.sparse = tensor->sparsity() != nullptr;
    if (tensor->buffer() < count_of(buffers)) {
        const auto *const data = buffers->Get(tensor->buffer())->data();
        out.data = data ? data->data() : nullptr;
        out.size = count_of(data);
    }
    if (const auto *q = tensor->quantization()) {
        out.scales = q->scale() ? q->scale()->data() : nullptr;
        out.scale_count = count_of(q->scale());
        out.zero_points = q->zero_point() ? q->zero_point()->data() : nullptr;
        out.zero_point_count = count_of(q->zero_point());
        out.axis = q->quantized_dimension();
        out.other_quantization = q->details_type() != 0;
    }
    return out;
}

qb_tflite_operator qb_tflite_get_operator(const qb_tflite_model *model, size_t index)
{
    const Operator *const op =
        subgraph_of(model)->operators()->Get(static_cast<flatbuffers::uoffset_t>(index));
    const auto *const codes = model_of(model)->operator_codes();
    struct qb_tflite_operator out = {};
    out.code = -1;
    out.name = out.custom = out.activation_name = "";
    out.inputs = list_of(op->inputs());
    out.outputs = list_of(op->outputs());
    if (op->opcode_index() < count_of(codes)) {
        const OperatorCode *const code = codes->Get(op->opcode_index());
        /* Numbers above 127 are in the newer field only; older files have the older field only. */
        const int older = code->deprecated_builtin_code(), newer = code->builtin_code();
        out.code = older > newer ? older : newer;
        out.name = EnumNameBuiltinOperator(static_cast<BuiltinOperator>(out.code));
        out.custom = text_of(code->custom_code());
        set_options(op, &out);
    }
    return out;
}
