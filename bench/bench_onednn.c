/* oneDNN's convolution primitive alone, on every convolution shape of the model: what a kernel of ours has to
 * beat. Real weights (per-channel symmetric for int8), random activations, weights reordered beforehand.
 *
 *     f32      bias, f32 result
 *     u8s8s32  no attributes: accumulators only
 *     u8s8u8   scales, bias, ReLU and requantization inside the primitive */
#include "bench.h"
#include "engine/onednn/choose.h"
#include "engine/onednn/layer.h"
#include "engine/onednn/library.h"

static const struct kind {
    const char *name;
    dnnl_data_type_t src, wei, dst;
} kinds[] = {
    {"f32", dnnl_f32, dnnl_f32, dnnl_f32},
    {"u8s8s32", dnnl_u8, dnnl_s8, dnnl_s32},
    {"u8s8u8", dnnl_u8, dnnl_s8, dnnl_u8},
};

struct primitive {
    const struct bench *bench;
    const struct bench_conv *conv;
    const struct kind *kind;
    int batch;
};

static void set_quantization(struct qb_dnnl_list *list, struct qb_dnnl_layer *l,
                             const struct qb_quantized_weights *wei)
{
    static const int what[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_post_ops_t ops = qb_dnnl_post_ops(list);
    for (int i = 0; i < 3 && list->status == QB_OK; i++) {
        const bool is_wei = what[i] == DNNL_ARG_WEIGHTS;
        const bool channels = is_wei && wei->scale_count > 1;
        qb_dnnl_list_check(list, dnnl_primitive_attr_set_scales_mask(l->attr, what[i], channels ? 1 : 0),
                           "scales");
        l->extra[l->extra_count++] = (dnnl_exec_arg_t){
            DNNL_ARG_ATTR_SCALES | what[i],
            qb_dnnl_floats(list, is_wei ? wei->scales : &bench_scale, is_wei ? wei->scale_count : 1)};
    }
    if (list->status == QB_OK) {
        qb_dnnl_list_check(list, dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f), "ReLU");
        qb_dnnl_list_check(list, dnnl_primitive_attr_set_post_ops(l->attr, ops), "post-ops");
    }
}

static void *make_source(struct qb_dnnl_list *list, const struct primitive *p)
{
    const size_t count = qb_shape_count(p->conv->src) * (size_t)p->batch;
    void *const src = qb_dnnl_buffer(list, qb_shape_count(p->conv->src), dnnl_data_type_size(p->kind->src));
    if (src && p->kind->src == dnnl_u8) {
        bench_fill_codes(src, count, 127);
    } else if (src) {
        bench_fill_floats(src, count);
    }
    return src;
}

static enum qb_status add_conv(struct qb_dnnl_list *list, const struct primitive *p, struct qb_error *err)
{
    const struct qb_node *const n = p->conv->node;
    struct qb_dnnl_layer layer = {
        .name = n->name,
        .node = -1,
        .src_shape = p->conv->src,
        .dst_shape = n->dst,
        .src_type = p->kind->src,
        .wei_type = p->kind->wei,
        .dst_type = p->kind->dst,
        .src = make_source(list, p),
        .dst = qb_dnnl_buffer(list, qb_shape_count(n->dst), dnnl_data_type_size(p->kind->dst)),
        .kh = n->kh,
        .kw = n->kw,
        .stride_h = n->stride_h,
        .stride_w = n->stride_w,
        .pad_t = n->pad_t,
        .pad_l = n->pad_l,
        .pad_b = n->pad_b,
        .pad_r = n->pad_r,
        .wei = n->wei,
        .bia = p->kind->dst == dnnl_s32 ? NULL : n->bia,
        .attr = qb_dnnl_attr(list),
    };
    if (p->kind->wei == dnnl_s8) {
        struct qb_quantized_weights wei;
        QB_TRY(bench_quantize_weights(n, list->arena, &wei, err));
        layer.wei = wei.codes;
        if (p->kind->dst == dnnl_u8) {
            set_quantization(list, &layer, &wei);
        }
    }
    qb_dnnl_add_conv(list, &layer);
    return qb_dnnl_list_finish(list, err);
}

static void run_primitive(struct gbench_run *run, void *ctx)
{
    const struct primitive *const p = ctx;
    const struct qb_roof *const roof = &p->bench->roof;
    const struct qb_engine_options options = {.isa = p->bench->isa, .threads = 1, .batch = p->batch};
    struct qb_dnnl_list *list = NULL;
    struct qb_error err;
    enum qb_status status = qb_dnnl_cap_isa(p->bench->isa, &err);
    if (status == QB_OK) {
        status = qb_dnnl_list_create(&options, &list, &err);
    }
    if (status == QB_OK) {
        status = add_conv(list, p, &err);
    }
    while (status == QB_OK && gbench_next(run)) {
        status = qb_dnnl_list_run(list, NULL, p->batch, NULL, &err);
    }
    if (status == QB_OK) {
        gbench_label(run, list->latest);
        bench_count_macs(run, p->conv->macs, p->batch,
                         (p->kind->wei == dnnl_f32 ? roof->f32_gmacs : roof->gmacs)[p->bench->isa]);
    } else {
        bench_stop(run, &err);
    }
    qb_dnnl_list_free(list);
}

enum qb_status bench_onednn(struct bench *bench, struct qb_error *err)
{
    for (size_t c = 0; c < bench->conv_count; c++) {
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            for (int b = 0; b < BENCH_BATCHES; b++) {
                const struct primitive p = {bench, &bench->convs[c], &kinds[k], bench_batches[b]};
                QB_TRY(bench_add(bench, run_primitive, &p, sizeof p, err, "conv/%s/onednn/%s/mb%d",
                                 p.conv->shape, p.kind->name, p.batch));
            }
        }
    }
    return QB_OK;
}
