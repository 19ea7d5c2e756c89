/* Making and running the plan: see plan.h. */
#include "engine/native/plan.h"

#include <stdio.h>
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

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* Pixels of padding that the readers of a tensor want. */
struct frame {
    int t, l, b, r;
    bool blocks; /* read by a kernel that works on 16 channels at a time */
};

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static void widen_frame(struct frame *f, const struct qb_qnode *reader)
{
    if (reader->op == QB_QOP_CONV) {
        f->t = larger(f->t, reader->pad_t);
        f->l = larger(f->l, reader->pad_l);
        f->b = larger(f->b, reader->pad_b);
        f->r = larger(f->r, reader->pad_r);
    } else if (reader->op != QB_QOP_DENSE) {
        f->blocks = true;
    }
}

/* Rows start at multiples of 64; the margin left of a row is also the one right of the row above. The checks
 * of engine/check.c keep all this far below the range of size_t and int32. */
static void lay_out(struct qb_native_tensor *t, const struct qb_qnode *n, struct frame f, size_t *end)
{
    if (n->f32) {
        t->used = true;
        t->shape = n->dst;
        t->step = (size_t)n->dst.c * sizeof(float);
        t->pitch = (size_t)n->dst.w * t->step;
        t->bytes = round_up((size_t)n->dst.h * t->pitch, 64);
        t->offset = *end;
        *end += t->bytes;
        return;
    }
    const size_t unit = n->op == QB_QOP_INPUT && !f.blocks ? 4 : QB_BLOCK;
    t->used = true;
    t->shape = n->dst;
    t->zero_point = (uint8_t)n->q.zero_point;
    t->step = round_up((size_t)n->dst.c, unit);
    const size_t margin = round_up((size_t)larger(f.l, f.r) * t->step, 64);
    t->pitch = round_up(margin + (size_t)n->dst.w * t->step, 64);
    t->origin = (size_t)f.t * t->pitch + margin;
    t->bytes = (size_t)(f.t + n->dst.h + f.b) * t->pitch + margin;
    t->offset = *end;
    *end += t->bytes;
}

/* One row of equal pixels, as long as the longest row of a reader, which repeats it. */
static void lay_out_constant(const struct qb_qgraph *graph, int node, struct qb_native_tensor *t, size_t *end)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    int width = 1;
    for (int i = node + 1; i < graph->count; i++) {
        if (qb_qnode_sources(&graph->nodes[i]) == 2 && graph->nodes[i].src[1] == node) {
            width = larger(width, graph->nodes[i].dst.w);
        }
    }
    *t = (struct qb_native_tensor){.used = true,
                                   .shape = n->dst,
                                   .zero_point = (uint8_t)n->q.zero_point,
                                   .step = round_up((size_t)n->dst.c, QB_BLOCK),
                                   .offset = *end};
    t->bytes = round_up((size_t)width * t->step, 64);
    *end += t->bytes;
}

static enum qb_status make_tensors(struct qb_native_maker *m, struct qb_error *err)
{
    const struct qb_qgraph *const graph = m->graph;
    struct frame *const frames = qb_native_array(m->arena, (size_t)graph->count, sizeof *frames, err);
    if (!frames) {
        return err->status;
    }
    for (int i = 0; i < graph->count; i++) {
        const struct qb_qnode *const n = &graph->nodes[i];
        const int sources = qb_qnode_sources(n);
        if (sources > 0) {
            widen_frame(&frames[n->src[0]], n);
        }
        if (sources > 1) {
            frames[n->src[1]].blocks = true;
        }
    }
    size_t end = 0;
    for (int i = 0; i < graph->count; i++) {
        if (graph->nodes[i].op == QB_QOP_CONSTANT) {
            lay_out_constant(graph, i, &m->plan->tensors[i], &end);
        } else if (!m->fusions[i].absorbed) {
            lay_out(&m->plan->tensors[i], &graph->nodes[i], frames[i], &end);
        }
    }
    m->plan->scratch = round_up(end + QB_CONV_EXTRA, 64);
    return QB_OK;
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
    QB_TRY(make_tensors(&maker, err));
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
    return round_up(plan->scratch + plan->scratch_bytes, 64);
}

void qb_native_plan_prepare(const struct qb_native_plan *plan, uint8_t *workspace)
{
    for (int i = 0; i < plan->graph->count; i++) {
        const struct qb_native_tensor *const t = &plan->tensors[i];
        if (t->used) {
            memset(workspace + t->offset, t->zero_point, t->bytes);
        }
        for (size_t at = 0; plan->graph->nodes[i].op == QB_QOP_CONSTANT && at + t->step <= t->bytes;
             at += t->step) {
            memcpy(workspace + t->offset + at, plan->graph->nodes[i].codes, (size_t)t->shape.c);
        }
    }
}

void qb_native_plan_step(const struct qb_native_plan *plan, const struct qb_native_step *s,
                         uint8_t *workspace, uint8_t *scratch, const uint8_t *image)
{
    const struct qb_native_tensor *const dst = &plan->tensors[s->node];
    const struct qb_native_tensor *const a = s->src[0] >= 0 ? &plan->tensors[s->src[0]] : NULL,
                                         *const b = s->src[1] >= 0 ? &plan->tensors[s->src[1]] : NULL;
    uint8_t *const to = workspace + s->to;
    const uint8_t *const from = workspace + s->from[0], *const second = b ? workspace + s->from[1] : NULL;
    const size_t rows = (size_t)s->rows, bytes = (size_t)dst->shape.w * dst->step;
    if (s->floats) {
        qb_native_run_floats(plan, s, workspace, image);
        return;
    }
    switch (s->op) {
    case QB_QOP_INPUT:
        ((const struct qb_quantize_impl *)s->run)
            ->run(s->args, image + s->image, s->rows, dst->shape.w, dst->shape.c, to, dst->step, dst->pitch);
        break;
    case QB_QOP_CONV:
    case QB_QOP_DENSE: {
        const struct qb_conv_impl *const conv = s->run;
        if (s->chain) {
            conv->run_chained(s->args, s->packed, from, second, to, scratch, s->chain);
        } else {
            conv->run(s->args, s->packed, from, second, to, scratch);
        }
        break;
    }
    case QB_QOP_ADD:
        ((const struct qb_add_impl *)s->run)
            ->run(s->args, rows, bytes, from, a->pitch, second, b->pitch, to, dst->pitch);
        break;
    case QB_QOP_MUL:
        ((const struct qb_mul_impl *)s->run)
            ->run(s->args, rows, bytes, from, a->pitch, second, b->pitch, to, dst->pitch);
        break;
    case QB_QOP_RELU:
    case QB_QOP_QUANTIZE:
        if (s->packed) {
            ((const struct qb_recode_impl *)s->run)
                ->run(s->packed, rows, bytes, from, a->pitch, to, dst->pitch);
            break;
        }
        ((const struct qb_relu_impl *)s->run)
            ->run(*(const struct qb_limits *)s->args, rows, bytes, from, a->pitch, to, dst->pitch);
        break;
    case QB_QOP_AVGPOOL: ((const struct qb_avgpool_impl *)s->run)->run(s->args, from, to); break;
    case QB_QOP_CONSTANT:
    case QB_QOP_DEQUANTIZE:
    case QB_QOP_AFFINE: break;
    }
}

void qb_native_plan_logits(const struct qb_native_plan *plan, const uint8_t *workspace, float *logits)
{
    const int last = qb_qgraph_logits(plan->graph);
    const struct qb_native_tensor *const t = &plan->tensors[last];
    const struct qb_qparams *const q = &plan->graph->nodes[last].q;
    const uint8_t *row = workspace + t->offset + t->origin;
    if (plan->graph->nodes[last].f32) {
        memcpy(logits, row, (size_t)t->shape.h * t->pitch);
        return;
    }
    for (int y = 0; y < t->shape.h; y++, row += t->pitch) {
        for (size_t x = 0; x < (size_t)t->shape.w; x++) {
            for (size_t k = 0; k < (size_t)t->shape.c; k++) {
                *logits++ = qb_dequantize(q, row[x * t->step + k]);
            }
        }
    }
}

void qb_native_plan_run(const struct qb_native_plan *plan, uint8_t *workspace, const uint8_t *image,
                        float *logits)
{
    for (int i = 0; i < plan->count; i++) {
        qb_native_plan_step(plan, &plan->steps[i], workspace, workspace + plan->scratch, image);
    }
    qb_native_plan_logits(plan, workspace, logits);
}

void qb_native_plan_tensor(const struct qb_native_plan *plan, const uint8_t *workspace, int node,
                           uint8_t *out)
{
    const struct qb_native_tensor *const t = &plan->tensors[node];
    const size_t channels = (size_t)t->shape.c * qb_qnode_element(&plan->graph->nodes[node]);
    const uint8_t *row = workspace + t->offset + t->origin;
    for (int y = 0; y < t->shape.h; y++, row += t->pitch) {
        for (size_t x = 0; x < (size_t)t->shape.w; x++, out += channels) {
            memcpy(out, row + x * t->step, channels);
        }
    }
}
