/* Primitive descriptors of one layer: see layer.h. */
#include "engine/onednn/layer.h"

#include "engine/onednn/choose.h"

/* Descriptors that all layers have. */
struct descs {
    dnnl_memory_desc_t src, wei, wei_any, bia, dst;
};

/* The pointer that oneDNN's C interface wants for data it only reads. */
static void *readable(const void *data)
{
    return (void *)(uintptr_t)data;
}

static struct descs conv_descs(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l)
{
    const int oc = l->dst_shape.c;
    const int64_t wei[] = {oc, l->src_shape.c, l->kh, l->kw};
    return (struct descs){
        .src = qb_dnnl_nhwc(list, l->src_shape, l->src_type),
        .wei = qb_dnnl_desc(list, 4, wei, l->wei_type, dnnl_oihw),
        .wei_any = qb_dnnl_desc(list, 4, wei, l->wei_type, dnnl_format_tag_any),
        .bia = l->bia ? qb_dnnl_desc(list, 1, (const int64_t[]){oc}, dnnl_f32, dnnl_a) : NULL,
        .dst = qb_dnnl_nhwc(list, l->dst_shape, l->dst_type),
    };
}

static struct descs dense_descs(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l)
{
    const int64_t ic = (int64_t)qb_shape_count(l->src_shape), oc = l->dst_shape.c;
    const int64_t wei[] = {oc, ic};
    return (struct descs){
        .src = qb_dnnl_desc(list, 2, (const int64_t[]){list->batch, ic}, l->src_type, dnnl_ab),
        .wei = qb_dnnl_desc(list, 2, wei, l->wei_type, dnnl_ab),
        .wei_any = qb_dnnl_desc(list, 2, wei, l->wei_type, dnnl_format_tag_any),
        .bia = l->bia ? qb_dnnl_desc(list, 1, (const int64_t[]){oc}, dnnl_f32, dnnl_a) : NULL,
        .dst = qb_dnnl_desc(list, 2, (const int64_t[]){list->batch, oc}, l->dst_type, dnnl_ab),
    };
}

static dnnl_status_t create_conv(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l,
                                 const struct descs *d, dnnl_primitive_desc_t *out)
{
    const dnnl_dims_t strides = {l->stride_h, l->stride_w}, dilates = {0, 0}, left = {l->pad_t, l->pad_l},
                      right = {l->pad_b, l->pad_r};
    return dnnl_convolution_forward_primitive_desc_create(out, list->engine, dnnl_forward_inference,
                                                          dnnl_convolution_direct, d->src, d->wei_any, d->bia,
                                                          d->dst, strides, dilates, left, right, l->attr);
}

static dnnl_status_t create_dense(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l,
                                  const struct descs *d, dnnl_primitive_desc_t *out)
{
    return dnnl_inner_product_forward_primitive_desc_create(out, list->engine, dnnl_forward_inference, d->src,
                                                            d->wei_any, d->bia, d->dst, l->attr);
}

static void add_arg(struct qb_dnnl_step *step, int what, dnnl_memory_t memory)
{
    step->args[step->arg_count++] = (dnnl_exec_arg_t){what, memory};
}

/* oneDNN 3.2's jit_uni_int8_1x1 (AVX2, AVX2_VNNI) gathers the pixels of a strided 1x1 convolution into a
 * workspace of each thread. When the source has an odd number of 8-channel groups, a thread writes 8 bytes
 * beyond its workspace, into the next one's: with two threads, single pixels come out wrong now and then
 * (tests/engine/test_onednn_race.c). */
static const char *unreliable(const struct qb_dnnl_layer *l)
{
    const bool strided = l->kh == 1 && l->kw == 1 && (l->stride_h > 1 || l->stride_w > 1);
    return strided && l->src_type == dnnl_u8 && l->src_shape.c % 16 == 8 ? "jit_uni_int8_1x1" : NULL;
}

/* Memory objects of `l`, then the primitive of `desc` (created with `status`). `first` names the source
 * argument. */
static enum qb_status finish(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l, const struct descs *d,
                             int first, bool heavy, dnnl_status_t status, dnnl_primitive_desc_t desc,
                             const void *src1)
{
    if (qb_dnnl_list_check(list, status, l->name) != QB_OK) {
        return list->status;
    }
    struct qb_dnnl_plan plan = {
        .name = l->name,
        .heavy = heavy,
        .integer = l->src_type == dnnl_u8,
        .avoid = unreliable(l),
        .step = {.node = l->node, .tensor = l->dst, .tensor_count = qb_shape_count(l->dst_shape)},
    };
    add_arg(&plan.step, first, qb_dnnl_memory(list, d->src, readable(l->src)));
    if (src1) {
        add_arg(&plan.step, DNNL_ARG_SRC_1, qb_dnnl_memory(list, d->src, readable(src1)));
    }
    if (d->bia) {
        add_arg(&plan.step, DNNL_ARG_BIAS, qb_dnnl_memory(list, d->bia, readable(l->bia)));
    }
    add_arg(&plan.step, DNNL_ARG_DST, qb_dnnl_memory(list, d->dst, l->dst));
    for (int i = 0; i < l->extra_count; i++) {
        add_arg(&plan.step, l->extra[i].arg, l->extra[i].memory);
    }
    if (d->wei) {
        plan.wei = qb_dnnl_memory(list, d->wei, readable(l->wei));
    }
    if (list->status != QB_OK) {
        dnnl_primitive_desc_destroy(desc);
        return list->status;
    }
    return qb_dnnl_add_primitive(list, &plan, desc);
}

enum qb_status qb_dnnl_add_conv(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer)
{
    const struct descs d = conv_descs(list, layer);
    dnnl_primitive_desc_t desc = NULL;
    if (list->status != QB_OK) {
        return list->status;
    }
    const dnnl_status_t status = create_conv(list, layer, &d, &desc);
    return finish(list, layer, &d, DNNL_ARG_SRC, true, status, desc, NULL);
}

enum qb_status qb_dnnl_add_dense(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer)
{
    const struct descs d = dense_descs(list, layer);
    dnnl_primitive_desc_t desc = NULL;
    if (list->status != QB_OK) {
        return list->status;
    }
    const dnnl_status_t status = create_dense(list, layer, &d, &desc);
    return finish(list, layer, &d, DNNL_ARG_SRC, true, status, desc, NULL);
}

static struct descs activation_descs(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l)
{
    return (struct descs){.src = qb_dnnl_nhwc(list, l->src_shape, l->src_type),
                          .dst = qb_dnnl_nhwc(list, l->dst_shape, l->dst_type)};
}

enum qb_status qb_dnnl_add_avgpool(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l)
{
    const struct descs d = activation_descs(list, l);
    dnnl_primitive_desc_t desc = NULL;
    const dnnl_dims_t strides = {l->stride_h, l->stride_w}, kernel = {l->kh, l->kw}, none = {0, 0};
    if (list->status != QB_OK) {
        return list->status;
    }
    const dnnl_status_t status = dnnl_pooling_forward_primitive_desc_create(
        &desc, list->engine, dnnl_forward_inference, dnnl_pooling_avg_exclude_padding, d.src, d.dst, strides,
        kernel, none, none, none, l->attr);
    return finish(list, l, &d, DNNL_ARG_SRC, false, status, desc, NULL);
}

enum qb_status qb_dnnl_add_relu(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l)
{
    const struct descs d = activation_descs(list, l);
    dnnl_primitive_desc_t desc = NULL;
    if (list->status != QB_OK) {
        return list->status;
    }
    const dnnl_status_t status = dnnl_eltwise_forward_primitive_desc_create(
        &desc, list->engine, dnnl_forward_inference, dnnl_eltwise_relu, d.src, d.dst, 0.0f, 0.0f, l->attr);
    return finish(list, l, &d, DNNL_ARG_SRC, false, status, desc, NULL);
}

enum qb_status qb_dnnl_add_sum(struct qb_dnnl_list *list, const struct qb_dnnl_layer *l, const void *src1)
{
    const struct descs d = activation_descs(list, l);
    dnnl_primitive_desc_t desc = NULL;
    if (list->status != QB_OK) {
        return list->status;
    }
    const dnnl_status_t status =
        dnnl_binary_primitive_desc_create(&desc, list->engine, dnnl_binary_add, d.src, d.src, d.dst, l->attr);
    return finish(list, l, &d, DNNL_ARG_SRC_0, false, status, desc, src1);
}

static bool is_fast(dnnl_status_t status, dnnl_primitive_desc_t desc)
{
    if (status != dnnl_success) {
        return false;
    }
    const bool fast = !qb_dnnl_is_plain(desc);
    dnnl_primitive_desc_destroy(desc);
    return fast;
}

bool qb_dnnl_has_conv(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer)
{
    const struct descs d = conv_descs(list, layer);
    dnnl_primitive_desc_t desc = NULL;
    if (list->status != QB_OK) {
        return false;
    }
    const dnnl_status_t status = create_conv(list, layer, &d, &desc);
    return is_fast(status, desc);
}

bool qb_dnnl_has_dense(struct qb_dnnl_list *list, const struct qb_dnnl_layer *layer)
{
    const struct descs d = dense_descs(list, layer);
    dnnl_primitive_desc_t desc = NULL;
    if (list->status != QB_OK) {
        return false;
    }
    const dnnl_status_t status = create_dense(list, layer, &d, &desc);
    return is_fast(status, desc);
}
