/* Making the plan, step by step: see plan.h. Where tensors lie is plan_layout.c, running is plan_run.c. */
#include "engine/native/plan.h"

#include <string.h>

#include "engine/native/fixed.h"
#include "engine/reference/arithmetic.h"
#include "quant/qparams.h"

void *qb_native_array(struct qb_arena *arena, size_t count, size_t size, struct qb_error *err)
{
    void *const array = qb_arena_array(arena, count, size);
    if (!array) {
        size_t bytes;
        qb_fail_memory(err, __builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes);
    }
    return array;
}

/* The codes that a tensor can have. */
static struct qb_limits limits_of(const struct qb_qparams *q)
{
    int32_t low, high;
    qb_code_limits(q, &low, &high);
    return (struct qb_limits){(uint8_t)low, (uint8_t)high};
}

static enum qb_status make_quantize(struct qb_native_maker *m, int node, struct qb_native_step *step,
                                    struct qb_error *err)
{
    const struct qb_qparams *const q = &m->graph->nodes[node].q;
    struct qb_quantize *const args = qb_native_array(m->arena, 1, sizeof *args, err);
    if (!args) {
        return err->status;
    }
    if (m->graph->arithmetic == QB_ARITHMETIC_TFLITE) {
        step->run = qb_quantize_select(qb_native_fixed_input(m->graph, args) ? m->plan->isa : QB_ISA_REF);
        step->args = args;
        return QB_OK;
    }
    qb_quantize_init(1.0F / q->scale, q->zero_point, args);
    uint8_t want[256];
    qb_input_table(m->graph->arithmetic, q, want);
    /* The fast ones compute codes anew, as the table had them before. */
    const bool same = memcmp(args->table, want, sizeof want) == 0;
    memcpy(args->table, want, sizeof want);
    step->run = qb_quantize_select(same ? m->plan->isa : QB_ISA_REF);
    step->args = args;
    return QB_OK;
}

static enum qb_status make_add(struct qb_native_maker *m, int node, struct qb_native_step *step,
                               struct qb_error *err)
{
    const struct qb_qgraph *const graph = m->graph;
    const struct qb_qnode *const n = &graph->nodes[m->fusions[node].base];
    struct qb_addition *const args = qb_native_array(m->arena, 1, sizeof *args, err);
    if (!args) {
        return err->status;
    }
    step->run = qb_add_select(m->plan->isa);
    step->args = args;
    step->src[0] = n->src[0];
    step->src[1] = n->src[1];
    const enum qb_arithmetic arithmetic = qb_arithmetic_traits(graph->arithmetic)->rest;
    if (arithmetic == QB_ARITHMETIC_TFLITE) {
        QB_TRY(qb_native_fixed_add(graph, m->fusions[node].base, m->arena, args, err));
        args->low = m->fusions[node].relu ? n->q.zero_point : 0;
        step->run = args->table ? qb_add_impls[0] : step->run;
        return QB_OK;
    }
    *args = (struct qb_addition){.rule = arithmetic == QB_ARITHMETIC_ONEDNN ? QB_ADD_ONEDNN
                                         : arithmetic == QB_ARITHMETIC_ORT  ? QB_ADD_ORT
                                                                            : QB_ADD_FBGEMM,
                                 .dst_inverse = 1.0F / n->q.scale,
                                 .zero_point = n->q.zero_point,
                                 .low = m->fusions[node].relu ? n->q.zero_point : 0};
    for (int s = 0; s < 2; s++) {
        const struct qb_qparams *const q = &graph->nodes[n->src[s]].q;
        args->scale[s] = q->scale;
        args->offset[s] = q->scale * (float)-q->zero_point;
        args->zero[s] = q->zero_point;
    }
    if (arithmetic == QB_ARITHMETIC_ORT) {
        struct qb_add sum;
        qb_add_init(graph, m->fusions[node].base, &sum);
        args->scale[0] = sum.ratio[0];
        args->scale[1] = sum.ratio[1];
        args->offset[0] = sum.fixed;
        args->zero[0] = args->zero[1] = args->zero_point = -sum.shift;
    }
    return QB_OK;
}

static enum qb_status make_mul(struct qb_native_maker *m, int node, struct qb_native_step *step,
                               struct qb_error *err)
{
    struct qb_product *const args = qb_native_array(m->arena, 1, sizeof *args, err);
    struct qb_mul mul;
    if (!args) {
        return err->status;
    }
    qb_mul_init(m->graph, node, &mul);
    *args = (struct qb_product){.zero = {mul.zero0, mul.zero1},
                                .ratio = mul.ratio,
                                .offset = mul.zero_point,
                                .zero_point = -mul.shift};
    memcpy(step->src, m->graph->nodes[node].src, sizeof step->src);
    step->run = qb_mul_select(m->plan->isa);
    step->args = args;
    return QB_OK;
}

static enum qb_status make_pool(struct qb_native_maker *m, int node, struct qb_native_step *step,
                                struct qb_error *err)
{
    const struct qb_qnode *const n = &m->graph->nodes[node];
    const struct qb_native_tensor *const src = &m->plan->tensors[n->src[0]], *const dst =
                                                                                 &m->plan->tensors[node];
    struct qb_avgpool pool;
    qb_avgpool_init(m->graph, node, &pool);
    /* onednn averages raw codes. */
    const bool raw = pool.arithmetic == QB_ARITHMETIC_ONEDNN;
    const int shift = qb_activation_shift(n->q.dtype);
    struct qb_pool *const args = qb_native_array(m->arena, 1, sizeof *args, err);
    if (!args) {
        return err->status;
    }
    *args = (struct qb_pool){.kh = n->kh,
                             .kw = n->kw,
                             .stride_h = n->stride_h,
                             .stride_w = n->stride_w,
                             .dst_h = n->dst.h,
                             .dst_w = n->dst.w,
                             .blocks = qb_blocks(n->dst.c),
                             .src_step = src->step,
                             .src_pitch = src->pitch,
                             .dst_step = dst->step,
                             .dst_pitch = dst->pitch,
                             .minus = raw ? 0 : pool.src.zero_point * n->kh * n->kw,
                             .zero_point = raw           ? 0
                                           : pool.floats ? -shift
                                                         : n->q.zero_point,
                             .inverse = pool.factor,
                             .floats = pool.floats,
                             .zero = pool.src.zero_point,
                             .scale = pool.src.scale,
                             .count = (float)(n->kh * n->kw),
                             .dst_scale = n->q.scale,
                             .offset = (float)(n->q.zero_point + shift)};
    if (m->graph->arithmetic == QB_ARITHMETIC_TFLITE && !qb_native_fixed_pool(m->graph, node, args)) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "node %s: the native engine has no average of windows of %dx%d in arithmetic tflite; "
                       "take engine reference",
                       n->name, n->kh, n->kw);
    }
    step->src[0] = n->src[0];
    step->run = qb_avgpool_select(m->plan->isa);
    step->args = args;
    return QB_OK;
}

/* From tensor `src`; in place when that is the node's own, which is how codes of fewer than 8 bits are
 * limited. */
static enum qb_status make_relu(struct qb_native_maker *m, int node, int src, struct qb_native_step *step,
                                struct qb_error *err)
{
    struct qb_limits *const args = qb_native_array(m->arena, 1, sizeof *args, err);
    if (!args) {
        return err->status;
    }
    *args = src == node ? limits_of(&m->graph->nodes[node].q)
                        : (struct qb_limits){(uint8_t)m->graph->nodes[node].q.zero_point, 255};
    *step = (struct qb_native_step){
        .op = QB_QOP_RELU, .node = node, .src = {src, -1}, .run = qb_relu_select(m->plan->isa), .args = args};
    return QB_OK;
}

/* A ReLU with a scale or zero point of its own, a QUANTIZE of codes: `packed` is the code of every code. */
static enum qb_status make_recode(struct qb_native_maker *m, int node, struct qb_native_step *step,
                                  struct qb_error *err)
{
    uint8_t *const table = qb_native_array(m->arena, 256, 1, err);
    if (!table) {
        return err->status;
    }
    qb_code_table(m->graph, node, table);
    step->src[0] = m->graph->nodes[node].src[0];
    step->packed = table;
    step->run = qb_recode_select(m->plan->isa);
    return QB_OK;
}

/* Kernels clamp codes to 0..255; does the tensor that a step has made have fewer? */
static bool needs_limits(const struct qb_native_maker *m, const struct qb_native_step *step)
{
    return m->graph->nodes[step->node].q.bits &&
           (step->op == QB_QOP_CONV || step->op == QB_QOP_DENSE || step->op == QB_QOP_ADD);
}

static enum qb_status make_step(struct qb_native_maker *m, int node, struct qb_native_step *step,
                                struct qb_error *err)
{
    const struct qb_native_fusion *const f = &m->fusions[node];
    const enum qb_qop op = m->graph->nodes[f->base].op;
    *step = (struct qb_native_step){.op = op, .node = node, .src = {-1, -1}};
    if (qb_is_float_layer(m->graph, node)) {
        return qb_native_make_floats(m, node, step, err);
    }
    if (f->conv >= 0) {
        return qb_native_make_conv(m, node, step, err);
    }
    switch (op) {
    case QB_QOP_INPUT: return make_quantize(m, node, step, err);
    case QB_QOP_CONV:
    case QB_QOP_DENSE: return qb_native_make_conv(m, node, step, err);
    case QB_QOP_ADD: return make_add(m, node, step, err);
    case QB_QOP_RELU: {
        const int src = m->graph->nodes[node].src[0];
        return qb_qparams_equal(&m->graph->nodes[src].q, &m->graph->nodes[node].q)
                   ? make_relu(m, node, src, step, err)
                   : make_recode(m, node, step, err);
    }
    case QB_QOP_AVGPOOL: return make_pool(m, node, step, err);
    case QB_QOP_MUL: return make_mul(m, node, step, err);
    case QB_QOP_QUANTIZE: return make_recode(m, node, step, err);
    case QB_QOP_CONSTANT: /* no step */
    case QB_QOP_DEQUANTIZE:
    case QB_QOP_AFFINE: break;
    }
    return QB_OK;
}

/* Where a whole step reads and writes. */
static void place(const struct qb_native_plan *plan, struct qb_native_step *s)
{
    const struct qb_native_tensor *const dst = &plan->tensors[s->node];
    s->rows = dst->shape.h;
    s->to = dst->offset + dst->origin;
    for (int i = 0; i < 2; i++) {
        if (s->src[i] >= 0) {
            s->from[i] = plan->tensors[s->src[i]].offset + plan->tensors[s->src[i]].origin;
        }
    }
}

/* Neighbouring convolutions of one kernel: each finishes the one before. */
static void chain(struct qb_native_plan *plan)
{
    for (int i = 1; i < plan->count; i++) {
        struct qb_native_step *const a = &plan->steps[i - 1], *const b = &plan->steps[i];
        if (a->op != QB_QOP_CONV || b->op != QB_QOP_CONV || a->run != b->run) {
            continue;
        }
        const struct qb_conv_impl *const conv = b->run;
        if (conv->chains && conv->chains(a->args, b->args, b->src[0] == a->node)) {
            a->chain |= QB_CHAIN_LEAVE;
            b->chain |= QB_CHAIN_RESUME;
        }
    }
}

/* "conv:3x3,skip add[conv_2]:3x3,skip+sums ...": a kernel other than the plan's own ISA is named. */
static const char *describe(const struct qb_native_maker *m, struct qb_error *err)
{
    const enum qb_isa best = qb_conv_select(m->plan->isa)->isa;
    const char *text = "";
    for (int i = 0; text && i < m->plan->count; i++) {
        const struct qb_native_step *const s = &m->plan->steps[i];
        if (s->floats && (s->op == QB_QOP_CONV || s->op == QB_QOP_DENSE)) {
            text =
                qb_arena_printf(m->arena, "%s%s%s:%s", text, *text ? " " : "", m->graph->nodes[s->node].name,
                                m->graph->nodes[s->node].dynamic ? "dynamic" : "f32");
        }
        if (s->op != QB_QOP_CONV || s->floats) {
            continue;
        }
        const struct qb_conv_impl *const impl = s->run;
        const struct qb_conv *const args = s->args;
        const int conv = m->fusions[s->node].conv;
        const bool other = impl->isa != best;
        text = qb_arena_printf(m->arena, "%s%s%s%s%s%s:%s%s%s%s", text, *text ? " " : "",
                               m->graph->nodes[s->node].name, conv >= 0 ? "[" : "",
                               conv >= 0 ? m->graph->nodes[conv].name : "", conv >= 0 ? "]" : "",
                               other ? impl->name : "", other ? "/" : "", impl->path(args),
                               args->tail.rule == QB_TAIL_INTEGER ? "+integer" : "");
    }
    if (!text) {
        qb_fail_memory(err, 4096);
    }
    return text;
}

enum qb_status qb_native_plan_make(const struct qb_qgraph *graph, enum qb_isa isa, bool fuse,
                                   struct qb_arena *arena, struct qb_native_plan *out, struct qb_error *err)
{
    const size_t count = (size_t)graph->count;
    int *const readers = qb_native_array(arena, count, sizeof *readers, err);
    struct qb_native_fusion *const fusions = qb_native_array(arena, count, sizeof *fusions, err);
    struct qb_native_plan plan = {.graph = graph,
                                  .isa = isa,
                                  .tensors = qb_native_array(arena, count, sizeof *plan.tensors, err),
                                  .steps = qb_native_array(arena, 2 * count, sizeof *plan.steps, err)};
    if (!readers || !fusions || !plan.tensors || !plan.steps) {
        return err->status;
    }
    qb_native_fuse(graph, fuse, readers, fusions);
    struct qb_native_maker maker = {.graph = graph, .fusions = fusions, .arena = arena, .plan = &plan};
    QB_TRY(qb_native_lay_out(&maker, err));
    for (int i = 0; i < graph->count; i++) {
        if (!fusions[i].absorbed && graph->nodes[i].op != QB_QOP_CONSTANT) {
            QB_TRY(make_step(&maker, i, &plan.steps[plan.count], err));
            const struct qb_native_step *const made = &plan.steps[plan.count];
            place(&plan, &plan.steps[plan.count++]);
            if (needs_limits(&maker, made)) {
                QB_TRY(make_relu(&maker, i, i, &plan.steps[plan.count], err));
                place(&plan, &plan.steps[plan.count++]);
            }
        }
    }
    chain(&plan);
    plan.text = describe(&maker, err);
    if (!plan.text) {
        return err->status;
    }
    *out = plan;
    return QB_OK;
}

size_t qb_native_plan_bytes(const struct qb_native_plan *plan)
{
    return (plan->scratch + plan->scratch_bytes + 63) / 64 * 64;
}
