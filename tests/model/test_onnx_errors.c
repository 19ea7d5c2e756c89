/* What the ONNX importer does not take: each case is one change of a good model, and one sentence that names
 * the place. */
#include "testing.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/onnx.h"
#include "model/passes.h"
#include "small_net.h"

typedef void change_fn(struct onnx_writer *w);

static char *string(struct onnx_writer *w, const char *s)
{
    return qb_arena_strdup(w->arena, s);
}

static void op_type(struct onnx_writer *w, const char *from, const char *to)
{
    ow_find(w, from, 0)->op_type = string(w, to);
}

static void input(struct onnx_writer *w, const char *type, int nth, size_t i, const char *name)
{
    ow_find(w, type, nth)->input[i] = string(w, name);
}

static void rename_op(struct onnx_writer *w)
{
    op_type(w, "GlobalAveragePool", "MaxPool");
}
static void other_domain(struct onnx_writer *w)
{
    ow_find(w, "Relu", 0)->domain = string(w, "com.microsoft");
}
static void unknown_attribute(struct onnx_writer *w)
{
    ow_int(w, ow_find(w, "Relu", 0), "slope", 1);
}
/* Told first, as it explains most. */
static void unknown_behind_another(struct onnx_writer *w)
{
    unknown_attribute(w);
    rename_op(w);
}
static void group(struct onnx_writer *w)
{
    ow_int(w, ow_find(w, "Conv", 0), "group", 3);
}
static void dilations(struct onnx_writer *w)
{
    ow_list(w, ow_find(w, "Conv", 0), "dilations", 2, (const int64_t[]){2, 2});
}
static void kernel_shape(struct onnx_writer *w)
{
    ow_list(w, ow_find(w, "Conv", 0), "kernel_shape", 2, (const int64_t[]){5, 5});
}
static void three_strides(struct onnx_writer *w)
{
    ow_list(w, ow_find(w, "Conv", 0), "strides", 3, (const int64_t[]){1, 1, 1});
}
static void zero_stride(struct onnx_writer *w)
{
    ow_list(w, ow_find(w, "Conv", 0), "strides", 2, (const int64_t[]){0, 1});
}
static void negative_pads(struct onnx_writer *w)
{
    ow_list(w, ow_find(w, "Conv", 0), "pads", 4, (const int64_t[]){-1, 0, 0, 0});
}
static void huge_pads(struct onnx_writer *w)
{
    ow_list(w, ow_find(w, "Conv", 0), "pads", 4, (const int64_t[]){INT64_MAX, 0, 0, 0});
}
static void large_image(struct onnx_writer *w)
{
    ow_list(w, ow_find(w, "Conv", 0), "pads", 4, (const int64_t[]){60000, 60000, 60000, 60000});
}
static void auto_pad(struct onnx_writer *w)
{
    ow_string(w, ow_find(w, "Conv", 0), "auto_pad", "same");
}
static void auto_pad_type(struct onnx_writer *w)
{
    ow_int(w, ow_find(w, "Conv", 0), "auto_pad", 1);
}
static void computed_weights(struct onnx_writer *w)
{
    input(w, "Conv", 0, 1, "image");
}
static void undefined(struct onnx_writer *w)
{
    input(w, "Relu", 0, 0, "nowhere");
}
static void cycle(struct onnx_writer *w)
{
    input(w, "Relu", 0, 0, ow_find(w, "Relu", 1)->output[0]);
}
static void defined_twice(struct onnx_writer *w)
{
    ow_find(w, "Relu", 1)->output[0] = ow_find(w, "Relu", 0)->output[0];
}
static void missing_input(struct onnx_writer *w)
{
    ow_find(w, "Relu", 0)->n_input = 0;
}
static void missing_output(struct onnx_writer *w)
{
    ow_find(w, "Relu", 0)->n_output = 0;
}
static void two_inputs(struct onnx_writer *w)
{
    ow_input(w, "mask", 4, (const int64_t[]){0, 3, 8, 8});
}
static void no_input(struct onnx_writer *w)
{
    w->graph.n_input = 0;
}
static void two_outputs(struct onnx_writer *w)
{
    ow_output(w, ow_find(w, "Relu", 0)->output[0]);
}
static void unknown_output(struct onnx_writer *w)
{
    w->graph.output[0]->name = string(w, "result");
}
static void image_output(struct onnx_writer *w)
{
    w->graph.output[0]->name = ow_find(w, "Relu", 0)->output[0];
}
static void symbolic_height(struct onnx_writer *w)
{
    Onnx__TensorShapeProto__Dimension *const d = w->graph.input[0]->type->tensor_type->shape->dim[2];
    d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET;
}
static void input_rank(struct onnx_writer *w)
{
    w->graph.input[0]->type->tensor_type->shape->n_dim = 3;
}
static void input_type(struct onnx_writer *w)
{
    w->graph.input[0]->type->tensor_type->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
}
static void no_type(struct onnx_writer *w)
{
    w->graph.input[0]->type = NULL;
}
static void old_opset(struct onnx_writer *w)
{
    w->model.opset_import[0]->version = 6;
}
static void no_opset(struct onnx_writer *w)
{
    w->model.n_opset_import = 0;
}
static void no_graph(struct onnx_writer *w)
{
    w->model.graph = NULL;
}
static Onnx__TensorProto *weights(struct onnx_writer *w)
{
    return ow_find_tensor(w, ow_find(w, "Conv", 0)->input[1]);
}
static void external(struct onnx_writer *w)
{
    weights(w)->has_data_location = 1;
    weights(w)->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}
static void short_data(struct onnx_writer *w)
{
    weights(w)->raw_data.len -= 4;
}
static void no_data(struct onnx_writer *w)
{
    weights(w)->has_raw_data = 0;
}
static void negative_dim(struct onnx_writer *w)
{
    weights(w)->dims[0] = -4;
}
static void huge_dim(struct onnx_writer *w)
{
    weights(w)->dims[0] = INT64_MAX / 2;
}
static void overflowing_dims(struct onnx_writer *w)
{
    for (int i = 0; i < 4; i++) {
        weights(w)->dims[i] = 1 << 20;
    }
}
static void weights_rank(struct onnx_writer *w)
{
    weights(w)->n_dims = 3;
    weights(w)->dims[2] = 9;
}
static void double_weights(struct onnx_writer *w)
{
    weights(w)->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
}
static void nan_weight(struct onnx_writer *w)
{
    memset(weights(w)->raw_data.data + 8, 0xff, 4);
}
static void input_channels(struct onnx_writer *w)
{
    w->graph.input[0]->type->tensor_type->shape->dim[1]->dim_value = 4;
}
static void bias_length(struct onnx_writer *w)
{
    Onnx__TensorProto *const b = ow_find_tensor(w, ow_find(w, "Conv", 0)->input[2]);
    b->dims[0] = 3;
    b->raw_data.len = 12;
}
static void trans_a(struct onnx_writer *w)
{
    ow_int(w, ow_find(w, "Gemm", 0), "transA", 1);
}
static void wrong_transpose(struct onnx_writer *w)
{
    ow_int(w, ow_find(w, "Gemm", 0), "transB", 0);
}
static void dense_on_image(struct onnx_writer *w)
{
    input(w, "Gemm", 0, 0, ow_find(w, "GlobalAveragePool", 0)->output[0]);
}
static void flatten_axis(struct onnx_writer *w)
{
    ow_int(w, ow_find(w, "Flatten", 0), "axis", 2);
}
static void reshape_features(struct onnx_writer *w)
{
    op_type(w, "Flatten", "Reshape");
    Onnx__NodeProto *const node = ow_find(w, "Reshape", 0);
    node->input = qb_arena_array(w->arena, 2, sizeof *node->input);
    node->input[0] = ow_find(w, "GlobalAveragePool", 0)->output[0];
    node->input[1] = string(w, "shape");
    node->n_input = 2;
    ow_ints(w, "shape", 2, (const int64_t[]){-1, 3});
}
static void reshape_rank(struct onnx_writer *w)
{
    reshape_features(w);
    ow_find(w, "Reshape", 0)->input[1] = string(w, "shape3");
    ow_ints(w, "shape3", 3, (const int64_t[]){-1, 3, 2});
}
static void view_of_channels(struct onnx_writer *w)
{
    const int64_t one = 1, rest = -1; /* x.view(x.size(1), -1) */
    const char *const image = ow_find(w, "GlobalAveragePool", 0)->output[0];
    ow_ints(w, "one", 1, &one);
    ow_ints(w, "rest", 1, &rest);
    ow_node(w, "Shape", "sizes", (const char *[6]){image});
    ow_node(w, "Gather", "size", (const char *[6]){"sizes", "one"});
    ow_int(w, ow_node(w, "Concat", "view", (const char *[6]){"size", "rest"}), "axis", 0);
    ow_node(w, "Reshape", "viewed", (const char *[6]){image, "view"});
}
static void gather_outside(struct onnx_writer *w)
{
    const int64_t four = 4;
    ow_ints(w, "four", 1, &four);
    ow_node(w, "Shape", "sizes", (const char *[6]){"image"});
    ow_node(w, "Gather", "size", (const char *[6]){"sizes", "four"});
}
static void slice(struct onnx_writer *w, int64_t count, int64_t axis, int64_t step)
{
    const int64_t from[] = {1, 1}, to[] = {2, 2};
    ow_ints(w, "list", 2, from);
    ow_ints(w, "from", count, from);
    ow_ints(w, "to", 1, to);
    ow_ints(w, "along", 1, &axis);
    ow_ints(w, "by", 1, &step);
    ow_node(w, "Slice", "part", (const char *[6]){"list", "from", "to", "along", "by"});
}
static void slice_axis(struct onnx_writer *w)
{
    slice(w, 1, 1, 1);
}
static void slice_step(struct onnx_writer *w)
{
    slice(w, 1, 0, 0);
}
static void slice_lengths(struct onnx_writer *w)
{
    slice(w, 2, 0, 1);
}
static void slice_tensor(struct onnx_writer *w)
{
    slice(w, 1, 0, 1);
    input(w, "Slice", 0, 0, "image");
}
static void reshape_list(struct onnx_writer *w, int64_t first, int64_t second)
{
    ow_ints(w, "list", 3, (const int64_t[]){1, 2, 3});
    ow_ints(w, "shape", 2, (const int64_t[]){first, second});
    ow_node(w, "Reshape", "listed", (const char *[6]){"list", "shape"});
}
static void reshape_uneven(struct onnx_writer *w)
{
    reshape_list(w, -1, 2);
}
static void reshape_large(struct onnx_writer *w)
{
    reshape_list(w, 1, 4);
}
static void residual_shapes(struct onnx_writer *w)
{
    input(w, "Add", 0, 0, "image");
}
static void reduce_channels(struct onnx_writer *w)
{
    op_type(w, "GlobalAveragePool", "ReduceMean");
    ow_list(w, ow_find(w, "ReduceMean", 0), "axes", 1, (const int64_t[]){1});
}
static void reduce_axis_range(struct onnx_writer *w)
{
    op_type(w, "GlobalAveragePool", "ReduceMean");
    ow_list(w, ow_find(w, "ReduceMean", 0), "axes", 2, (const int64_t[]){2, 4});
}
static void reduce_nothing(struct onnx_writer *w)
{
    op_type(w, "GlobalAveragePool", "ReduceMean");
}
static void reduce_wrong_axes(struct onnx_writer *w)
{
    op_type(w, "GlobalAveragePool", "ReduceMean"); /* height and width of N,H,W,C, on a N,C,H,W tensor */
    ow_list(w, ow_find(w, "ReduceMean", 0), "axes", 2, (const int64_t[]){1, 2});
}
static void pool_kernel_missing(struct onnx_writer *w)
{
    op_type(w, "GlobalAveragePool", "AveragePool");
}
static void pool_kernel_large(struct onnx_writer *w)
{
    op_type(w, "GlobalAveragePool", "AveragePool");
    ow_list(w, ow_find(w, "AveragePool", 0), "kernel_shape", 2, (const int64_t[]){5, 5});
}
static void pool_pads(struct onnx_writer *w)
{
    pool_kernel_large(w);
    ow_list(w, ow_find(w, "AveragePool", 0), "pads", 4, (const int64_t[]){1, 1, 1, 1});
}
static void pool_ceil(struct onnx_writer *w)
{
    pool_kernel_large(w);
    ow_int(w, ow_find(w, "AveragePool", 0), "ceil_mode", 1);
}
static void clip_six(struct onnx_writer *w)
{
    op_type(w, "Relu", "Clip");
    ow_float(w, ow_find(w, "Clip", 0), "min", 0.0f);
    ow_float(w, ow_find(w, "Clip", 0), "max", 6.0f);
}
static void softmax_inside(struct onnx_writer *w)
{
    ow_node(w, "Softmax", "probabilities", (const char *[6]){ow_find(w, "Gemm", 0)->output[0]});
    ow_node(w, "Relu", "more", (const char *[6]){"probabilities"});
    w->graph.output[0]->name = string(w, "more");
}
static void softmax_axis(struct onnx_writer *w)
{
    ow_int(w, ow_node(w, "Softmax", "probabilities", (const char *[6]){ow_find(w, "Gemm", 0)->output[0]}),
           "axis", 0);
}
static void pad_before_pool(struct onnx_writer *w)
{
    Onnx__NodeProto *const relu = ow_find(w, "Relu", 4);
    relu->op_type = string(w, "Pad");
    ow_list(w, relu, "pads", 8, (const int64_t[]){0, 0, 1, 1, 0, 0, 1, 1});
}
static void pad(struct onnx_writer *w, const int64_t pads[8])
{
    op_type(w, "Relu", "Pad");
    ow_list(w, ow_find(w, "Pad", 0), "pads", 8, pads);
}
static void pad_channels(struct onnx_writer *w)
{
    pad(w, (const int64_t[]){0, 1, 0, 0, 0, 0, 0, 1});
}
static void pad_batch(struct onnx_writer *w)
{
    pad(w, (const int64_t[]){1, 0, 0, 0, 0, 0, 0, 0});
}
static void pad_mode(struct onnx_writer *w)
{
    pad(w, (const int64_t[]){0, 0, 1, 1, 0, 0, 1, 1});
    ow_string(w, ow_find(w, "Pad", 0), "mode", "reflect");
}
static void pad_value(struct onnx_writer *w)
{
    pad(w, (const int64_t[]){0, 0, 1, 1, 0, 0, 1, 1});
    ow_float(w, ow_find(w, "Pad", 0), "value", 1.0f);
}
static void odd_transpose(struct onnx_writer *w)
{
    op_type(w, "Relu", "Transpose"); /* height and width exchanged */
    ow_list(w, ow_find(w, "Transpose", 0), "perm", 4, (const int64_t[]){0, 1, 3, 2});
}
static void bad_permutation(struct onnx_writer *w)
{
    op_type(w, "Relu", "Transpose");
    ow_list(w, ow_find(w, "Transpose", 0), "perm", 4, (const int64_t[]){0, 1, 1, 2});
}
static void wide_constant(struct onnx_writer *w)
{
    static const float values[64] = {0};
    ow_floats(w, "plane", 4, (const int64_t[]){1, 1, 8, 8}, values);
    input(w, "Add", 0, 0, "plane");
}
static void two_constants(struct onnx_writer *w)
{
    input(w, "Add", 0, 0, ow_find(w, "Conv", 0)->input[2]);
    input(w, "Add", 0, 1, ow_find(w, "Conv", 0)->input[2]);
}
static void product_of_tensors(struct onnx_writer *w)
{
    op_type(w, "Add", "Mul");
}
static void constant_between(struct onnx_writer *w)
{
    Onnx__NodeProto *const relu = ow_find(w, "Relu", 4); /* between the residual addition and the pool */
    const float one = 1.0f;
    char *const src = relu->input[0];
    ow_floats(w, "one", 0, NULL, &one);
    relu->op_type = string(w, "Add");
    relu->input = qb_arena_array(w->arena, 2, sizeof *relu->input);
    relu->n_input = 2;
    relu->input[0] = src;
    relu->input[1] = string(w, "one");
}
static void constant_without_value(struct onnx_writer *w)
{
    ow_node(w, "Constant", "nothing", (const char *[6]){NULL});
}
static void dropout_training(struct onnx_writer *w)
{
    op_type(w, "Relu", "Dropout");
    Onnx__NodeProto *const node = ow_find(w, "Dropout", 0);
    char *const src = node->input[0];
    node->input = qb_arena_array(w->arena, 3, sizeof *node->input);
    node->input[0] = src;
    node->input[1] = string(w, "");
    node->input[2] = src;
    node->n_input = 3;
}

static const struct {
    change_fn *change;
    const char *needle;
} cases[] = {
    {rename_op, "(MaxPool): operator MaxPool is not supported; supported are Add, AveragePool"},
    {other_domain, "(Relu): operator com.microsoft.Relu is not supported"},
    {unknown_attribute, "(Relu): attribute 'slope' is not supported"},
    {unknown_behind_another, "(MaxPool): operator MaxPool is not supported"},
    {group, "(Conv): attribute group is 3; only 1 is supported"},
    {dilations, "(Conv): attribute dilations is 2,2"},
    {kernel_shape, "(Conv): attribute kernel_shape is 5,5; the weights are 3x3"},
    {three_strides, "(Conv): attribute strides has 3 numbers"},
    {zero_stride, "(Conv): attribute strides[0] is 0"},
    {negative_pads, "(Conv): attribute pads[0] is -1"},
    {huge_pads, "(Conv): attribute pads[0] is 9223372036854775807"},
    {large_image, "(Conv): a tensor of 120006x120006x4 is out of range"},
    {auto_pad, "(Conv): attribute auto_pad is 'same'"},
    {auto_pad_type, "(Conv): attribute auto_pad is expected to be a string"},
    {computed_weights, "(Conv): input 1, 'image', is computed"},
    {undefined, "(Relu): input 'nowhere' is not defined"},
    {cycle, "is made by a later node"},
    {defined_twice, "is defined twice"},
    {missing_input, "(Relu): input 0 is missing"},
    {missing_output, "(Relu): it has no output"},
    {two_inputs, "two inputs, 'image' and 'mask'"},
    {no_input, "the model has no input"},
    {two_outputs, "the model has 2 outputs"},
    {unknown_output, "output 'result' is not computed"},
    {image_output, "the output is an image"},
    {symbolic_height, "input 'image': dimension 2 is symbolic"},
    {input_rank, "input 'image' has 3 dimensions"},
    {input_type, "input 'image' is not a tensor of float"},
    {no_type, "input 'image' is not a tensor of float"},
    {old_opset, "opset 6; 7 or later"},
    {no_opset, "no opset_import"},
    {no_graph, "it has no nodes"},
    {external, "keeps its data in ''; a file in the model's folder is expected"},
    {short_data, "(Conv): tensor 'w_1' has 428 bytes of raw_data; its dims say 108 elements of 4 bytes"},
    {no_data, "has 0 elements; its dims say 108"},
    {negative_dim, "dims[0] = -4 is out of range"},
    {huge_dim, "dims[0] = 4611686018427387903 is out of range"},
    {overflowing_dims, "dims[1] = 1048576 is out of range"},
    {weights_rank, "(Conv): weights of rank 3"},
    {double_weights, "has type DOUBLE"},
    {nan_weight, "(Conv): weight 2 is "},
    {input_channels, "(Conv): weights are for 3 input channels, its source has 4"},
    {bias_length, "(Conv): the bias has 3 elements; 4 are expected"},
    {trans_a, "(Gemm): attribute transA is 1"},
    {wrong_transpose, "(Gemm): the bias has 5 elements; 6 are expected"},
    {dense_on_image, "has rank 4; [N, features] is expected"},
    {flatten_axis, "(Flatten): attribute axis is 2"},
    {reshape_features, "(Reshape): a tensor of 1x1x6 cannot become [N, 3]"},
    {reshape_rank, "(Reshape): a shape of 3 numbers"},
    {view_of_channels, "node 'node_viewed' (Reshape): its shape is computed from other sizes than the batch"},
    {gather_outside, "node 'node_size' (Gather): one element of a list of sizes"},
    {slice_axis, "node 'node_part' (Slice): axis 1, step 1 of a constant of rank 1"},
    {slice_step, "node 'node_part' (Slice): axis 0, step 0 of a constant of rank 1"},
    {slice_lengths, "node 'node_part' (Slice): input 2 has 1 numbers; 2 are expected"},
    {slice_tensor, "node 'node_part' (Slice): input 0, 'image', is computed"},
    {reshape_uneven, "node 'node_listed' (Reshape): its shape does not fit a constant of 3 elements"},
    {reshape_large, "node 'node_listed' (Reshape): a constant of 3 elements cannot get size 4"},
    {residual_shapes, "(Add): its sources have different shapes, 8x8x4 and 8x8x3"},
    {reduce_channels, "(ReduceMean): attribute axes"},
    {reduce_axis_range, "(ReduceMean): axes[1] = 4 does not fit"},
    {reduce_nothing, "(ReduceMean): attribute axes"},
    {reduce_wrong_axes, "(ReduceMean): the axes of its source are N,W,C,H of the image; N,C,H,W is expected"},
    {pool_kernel_missing, "(AveragePool): attribute kernel_shape is missing"},
    {pool_kernel_large, "(AveragePool): kernel_shape 5x5 is larger than its padded source of 4x4"},
    {pool_pads, "(AveragePool): pads 1,1,1,1"},
    {pool_ceil, "(AveragePool): attribute ceil_mode is 1"},
    {clip_six, "(Clip): min is 0, max 6"},
    {softmax_inside, "(Softmax): a softmax is expected at the output only"},
    {softmax_axis, "(Softmax): attribute axis is 0"},
    {pad_before_pool, "(Pad): its padding is read by"},
    {pad_channels, "(Pad): pads: only height and width"},
    {pad_batch, "(Pad): pads: only height and width"},
    {pad_mode, "(Pad): attribute mode is 'reflect'"},
    {pad_value, "(Pad): attribute mode is 'constant', value 1"},
    {odd_transpose, "the axes of its source are N,C,W,H of the image"},
    {bad_permutation, "(Transpose): attribute perm is not a permutation"},
    {wide_constant, "(Add): constant 'plane' of 64 elements does not run along the channels"},
    {two_constants, "(Add): both inputs are constants"},
    {product_of_tensors, "(Mul): a product of a tensor and a constant is expected"},
    {constant_between, "(Add): it stands between 'node_t_23' (add) and 'node_t_25' (avgpool)"},
    {constant_without_value, "(Constant): it has no attribute value"},
    {dropout_training, "(Dropout): input training_mode"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct onnx_writer w;
        struct qb_graph *graph = NULL;
        struct qb_error err = {0};
        net_write(&w, &(struct net_options){0});
        cases[i].change(&w);
        struct qb_blob file = ow_pack(&w);
        ow_free(&w);
        enum qb_status status = qb_onnx_import("bad.onnx", &file, &graph, &err);
        if (status == QB_OK) {
            status = qb_graph_canonicalize(graph, &err);
            qb_graph_free(graph);
        } else {
            assert_memory_equal(err.text, "bad.onnx: ", 10);
        }
        qb_blob_free(&file);
        if (status == QB_OK || !strstr(err.text, cases[i].needle)) {
            fail_msg("case %zu: '%s' lacks '%s'", i, err.text, cases[i].needle);
        }
    }
}

/* An unnamed node is called by its output. */
static void test_unnamed(void **state)
{
    (void)state;
    struct onnx_writer w;
    struct qb_graph *graph = NULL;
    struct qb_error err;
    net_write(&w, &(struct net_options){.unnamed = true});
    Onnx__NodeProto *const conv = ow_find(&w, "Conv", 1);
    conv->output[0] = string(&w, "hidden");
    ow_find(&w, "Relu", 1)->input[0] = string(&w, "hidden");
    ow_int(&w, conv, "group", 2);
    struct qb_blob file = ow_pack(&w);
    ow_free(&w);
    qbt_error(qb_onnx_import("bad.onnx", &file, &graph, &err), QB_EUNSUPPORTED, &err,
              "bad.onnx: node 'hidden' (Conv): attribute group is 2");
    assert_null(graph);
    qb_blob_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unnamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
