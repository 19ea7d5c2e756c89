/* Steps of the plan that are convolutions: geometry, constants of the tail, choice of the kernel, packed
 * weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/native/fixed.h"
#include "engine/native/plan.h"
#include "engine/reference/arithmetic.h"

/* Weights as a convolution sees them: a dense layer is one whose kernel is its source. */
static struct qb_conv geometry(const struct qb_qgraph *graph, const struct qb_qnode *n)
{
    const struct qb_shape src = graph->nodes[n->src[0]].dst;
    struct qb_conv c = {.ic = src.c,
                        .oc = n->oc,
                        .src_h = src.h,
                        .src_w = src.w,
                        .dst_h = n->dst.h,
                        .dst_w = n->dst.w,
                        .src_zero_point = graph->nodes[n->src[0]].q.zero_point,
                        .wei = n->wei};
    if (n->op == QB_QOP_DENSE) { /* [oc][h][w][c] */
        c.kh = src.h;
        c.kw = src.w;
        c.stride_h = c.stride_w = 1;
        c.wei_i = 1;
        c.wei_x = (size_t)src.c;
        c.wei_y = c.wei_x * (size_t)src.w;
        c.wei_o = c.wei_y * (size_t)src.h;
    } else { /* OIHW */
        c.kh = n->kh;
        c.kw = n->kw;
        c.stride_h = n->stride_h;
        c.stride_w = n->stride_w;
        c.pad_t = n->pad_t;
        c.pad_l = n->pad_l;
        c.wei_x = 1;
        c.wei_y = (size_t)n->kw;
        c.wei_i = c.wei_y * (size_t)n->kh;
        c.wei_o = c.wei_i * (size_t)n->ic;
    }
    return c;
}

/* [16 * blocks], zero behind the last channel. */
static float *padded(struct qb_arena *arena, const float *values, int oc, struct qb_error *err)
{
    float *const to = qb_native_array(arena, (size_t)qb_blocks(oc) * QB_BLOCK, sizeof *to, err);
    if (to) {
        memcpy(to, values, (size_t)oc * sizeof *to);
    }
    return to;
}

/* Largest |sum of products| of channel k; fits int32 (engine/check.c). */
static int64_t reach(const struct qb_qnode *n, const struct qb_qparams *src, int k)
{
    const size_t depth = (size_t)n->ic * (n->op == QB_QOP_CONV ? (size_t)(n->kh * n->kw) : 1);
    const int32_t zero = n->wei_zero_points[n->wei_scale_count == 1 ? 0 : k];
    int64_t sum = 0;
    for (size_t i = 0; i < depth; i++) {
        sum += abs(n->wei[(size_t)k * depth + i] - zero);
    }
    return sum * (src->zero_point > 127 ? src->zero_point : 255 - src->zero_point);
}

/* From the tail of the channels to one with the addition that joins them. */
static void join_add(const struct qb_native_fusion *f, struct qb_tail *tail)
{
    const struct qb_tail channels = *tail;
    *tail = f->add;
    tail->rule = channels.rule;
    tail->bia = channels.bia;
    tail->scale = channels.scale;
    tail->start = channels.start;
    tail->patch = channels.patch;
    tail->sign = channels.sign;
    tail->multiplier = channels.multiplier;
    tail->round = channels.round;
    tail->shift = channels.shift;
    tail->once = channels.once;
    tail->low = f->relu ? tail->zero_point : 0;
}

/* Arithmetic tflite. */
static enum qb_status make_fixed_tail(struct qb_native_maker *m, int conv_node, bool relu,
                                      const struct qb_requant *r, struct qb_tail *out, struct qb_error *err)
{
    const struct qb_qnode *const conv = &m->graph->nodes[conv_node];
    int64_t *const reaches = qb_native_array(m->arena, (size_t)r->oc, sizeof *reaches, err);
    if (!reaches) {
        return err->status;
    }
    for (int k = 0; k < r->oc; k++) {
        reaches[k] = reach(conv, &m->graph->nodes[conv->src[0]].q, k);
    }
    return qb_native_fixed_tail(r, reaches, relu ? r->zero_point : 0, m->arena, out, err);
}

/* Arithmetic ort is rule FIXED as it stands: fma(x, scale, 0) is the product, rounded once, and no sum is
 * INT32_MIN (engine/check.c), so that the patch never applies. */
static enum qb_status make_ort_tail(struct qb_native_maker *m, bool relu, const struct qb_requant *r,
                                    struct qb_tail *out, struct qb_error *err)
{
    const size_t count = (size_t)qb_blocks(r->oc) * QB_BLOCK;
    int32_t *const start = qb_native_array(m->arena, count, sizeof *start, err);
    int32_t *const patch = start ? qb_native_array(m->arena, count, sizeof *patch, err) : NULL;
    float *const bia = patch ? qb_native_array(m->arena, count, sizeof *bia, err) : NULL;
    float *const scale = bia ? padded(m->arena, r->scale, r->oc, err) : NULL;
    if (!scale) {
        return err->status;
    }
    memcpy(start, r->bia_codes, (size_t)r->oc * sizeof *start);
    for (size_t k = 0; k < count; k++) {
        patch[k] = INT32_MIN;
    }
    *out = (struct qb_tail){.rule = QB_TAIL_FIXED,
                            .bia = bia,
                            .scale = scale,
                            .start = start,
                            .patch = patch,
                            .zero_point = r->zero_point,
                            .low = relu ? r->zero_point : 0};
    return QB_OK;
}

static enum qb_status make_tail(struct qb_native_maker *m, int conv_node, int node, struct qb_tail *out,
                                struct qb_error *err)
{
    const struct qb_qgraph *const graph = m->graph;
    const struct qb_native_fusion *const f = &m->fusions[node];
    const struct qb_qnode *const conv = &graph->nodes[conv_node], *const dst = &graph->nodes[node];
    struct qb_requant r;
    QB_TRY(qb_requant_init(graph, conv_node, m->arena, &r, err));
    if (r.bia_codes) {
        const bool relu = f->conv >= 0 ? conv->relu : f->relu;
        QB_TRY(graph->arithmetic == QB_ARITHMETIC_ORT ? make_ort_tail(m, relu, &r, out, err)
                                                      : make_fixed_tail(m, conv_node, relu, &r, out, err));
        if (f->conv >= 0) {
            join_add(f, out);
        }
        return QB_OK;
    }
    const bool onednn = r.arithmetic == QB_ARITHMETIC_ONEDNN, apart = r.apart;
    struct qb_tail t = {
        .rule = onednn         ? (apart ? QB_TAIL_ONEDNN_APART : QB_TAIL_ONEDNN)
                : r.per_tensor ? QB_TAIL_FBGEMM_TENSOR
                               : QB_TAIL_FBGEMM,
        .bia = padded(m->arena, r.bia, r.oc, err),
        .scale = padded(m->arena, r.scale, r.oc, err),
        .bia_factor = r.bia_factor,
        .dst_inverse = 1.0F / dst->q.scale,
        .zero_point = onednn && f->conv < 0 ? 0 : dst->q.zero_point,
        .low = f->relu ? dst->q.zero_point : 0,
        .acc_scale = r.acc_scale,
        .own_inverse = r.dst_inverse,
        .own_zero_point = onednn ? (float)r.zero_point : 0.0F,
    };
    if (!t.bia || !t.scale) {
        return err->status;
    }
    if (conv->fused_add) {
        t.residual = QB_TAIL_SUM;
        t.res_scale = r.res_scale;
        t.res_zero_point = r.res_zero_point;
    }
    if (f->conv >= 0) {
        const struct qb_qnode *const add = &graph->nodes[f->base];
        const struct qb_qparams *const res =
            &graph->nodes[add->src[0] == conv_node ? add->src[1] : add->src[0]].q;
        t.residual = QB_TAIL_ADD;
        /* onednn has added the convolution's zero point before. */
        t.conv_zero_point = onednn ? 0 : conv->q.zero_point;
        t.conv_low = (float)((conv->relu ? conv->q.zero_point : r.low) - t.conv_zero_point);
        t.conv_high = (float)(r.high - t.conv_zero_point);
        t.conv_scale = conv->q.scale;
        t.conv_offset = conv->q.scale * (float)-conv->q.zero_point;
        t.res_scale = res->scale;
        t.res_offset = res->scale * (float)-res->zero_point;
        qb_tail_quicken(&t);
    }
    *out = t;
    return QB_OK;
}

static bool channel_within_limit(const struct qb_tail *t, int k, double acc)
{
    if (t->rule == QB_TAIL_INTEGER) {
        return acc + fabs((double)t->start[k]) < 0x1p30 && (t->shift[k] > 0 || t->multiplier[k] == 0);
    }
    const double bia = fabs((double)t->bia[k]), scale = t->scale[k];
    const double v = t->rule == QB_TAIL_FIXED    ? (acc + fabs((double)t->start[k])) * scale + bia
                     : t->rule == QB_TAIL_FBGEMM ? (acc + bia) * scale
                     : t->rule == QB_TAIL_FBGEMM_TENSOR
                         ? (acc + bia * t->bia_factor) * scale
                         : (acc * t->acc_scale * scale + bia + 256.0 * t->res_scale) * t->own_inverse;
    return v < 0.99 * QB_TAIL_LIMIT;
}

/* The promise of tail.h: every value fits int32 with room to spare. Any sensible network keeps it; one that
 * does not gets the ref kernel. */
static bool within_limit(const struct qb_qnode *n, const struct qb_qparams *src, const struct qb_tail *t)
{
    for (int k = 0; k < n->oc; k++) {
        if (!channel_within_limit(t, k, (double)reach(n, src, k))) {
            return false;
        }
    }
    return t->residual != QB_TAIL_ADD ||
           256.0 * ((double)t->conv_scale + t->res_scale) * t->dst_inverse < 0.99 * QB_TAIL_LIMIT;
}

/* One zero point a channel, or NULL when all are 0. */
static enum qb_status weight_zero_points(struct qb_arena *arena, const struct qb_qnode *n,
                                         const int32_t **out, struct qb_error *err)
{
    bool any = false;
    for (int k = 0; k < n->wei_scale_count; k++) {
        any = any || n->wei_zero_points[k] != 0;
    }
    if (!any) {
        *out = NULL;
        return QB_OK;
    }
    int32_t *const all = qb_native_array(arena, (size_t)n->oc, sizeof *all, err);
    if (!all) {
        return err->status;
    }
    for (int k = 0; k < n->oc; k++) {
        all[k] = n->wei_zero_points[n->wei_scale_count == 1 ? 0 : k];
    }
    *out = all;
    return QB_OK;
}

enum qb_status qb_native_pack_conv(struct qb_native_plan *plan, const struct qb_conv *c,
                                   struct qb_arena *arena, struct qb_native_step *step, struct qb_error *err)
{
    const struct qb_conv_impl *const impl = step->run;
    void *const packed = qb_native_array(arena, impl->packed_bytes(c), 1, err);
    if (!packed) {
        return err->status;
    }
    impl->pack(c, packed);
    const size_t scratch = impl->scratch_bytes(c);
    plan->scratch_bytes = scratch > plan->scratch_bytes ? scratch : plan->scratch_bytes;
    step->packed = packed;
    return QB_OK;
}

enum qb_status qb_native_make_conv(struct qb_native_maker *m, int node, struct qb_native_step *step,
                                   struct qb_error *err)
{
    const struct qb_qgraph *const graph = m->graph;
    const struct qb_native_fusion *const f = &m->fusions[node];
    const int conv_node = f->conv >= 0 ? f->conv : f->base;
    const struct qb_qnode *const n = &graph->nodes[conv_node];
    const struct qb_native_tensor *const src = &m->plan->tensors[n->src[0]], *const dst =
                                                                                 &m->plan->tensors[node];
    struct qb_conv *const c = qb_native_array(m->arena, 1, sizeof *c, err);
    if (!c) {
        return err->status;
    }
    *c = geometry(graph, n);
    c->src_step = src->step;
    c->src_pitch = src->pitch;
    c->dst_step = dst->step;
    c->dst_pitch = dst->pitch;
    QB_TRY(weight_zero_points(m->arena, n, &c->wei_zero_points, err));
    QB_TRY(make_tail(m, conv_node, node, &c->tail, err));
    int residual = -1;
    if (f->conv >= 0) {
        const struct qb_qnode *const add = &graph->nodes[f->base];
        residual = add->src[0] == conv_node ? add->src[1] : add->src[0];
    } else if (n->fused_add) {
        residual = n->src[1];
    }
    if (residual >= 0) {
        c->res_step = m->plan->tensors[residual].step;
        c->res_pitch = m->plan->tensors[residual].pitch;
    }
    const bool limited = within_limit(n, &graph->nodes[n->src[0]].q, &c->tail);
    const struct qb_conv_impl *const impl = qb_conv_select(limited ? m->plan->isa : QB_ISA_REF);
    *step = (struct qb_native_step){
        .op = QB_QOP_CONV, .node = node, .src = {n->src[0], residual}, .run = impl, .args = c};
    return qb_native_pack_conv(m->plan, c, m->arena, step, err);
}
