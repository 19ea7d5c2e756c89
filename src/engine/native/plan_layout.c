/* Where the tensors of a plan lie in a workspace: see plan.h. */
#include "engine/native/plan.h"

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

enum qb_status qb_native_lay_out(struct qb_native_maker *m, struct qb_error *err)
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
