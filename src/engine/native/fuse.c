/* Fusion: a ReLU joins the convolution, dense layer or addition that only it reads, and (not where additions
 * are arithmetic onednn's, which are computed otherwise) an addition joins a convolution that only it reads.
 * Both change no bit: rounding and clamping are monotone, so that max(code, zero_point) behind the clamp is a
 * higher lower bound of the clamp, and the addition sees the very code that would have been stored. */
#include "engine/native/fuse.h"

#include "engine/native/fixed.h"

static bool alone(const int *readers, const struct qb_native_fusion *fusions, int node)
{
    return readers[node] == 1 && !fusions[node].absorbed;
}

/* The convolution that may absorb ADD `n`, whose step then stands where the addition stood: the larger one.
 * An addition is a long tail, which AMX hides behind dot products, so it goes where those are. */
static int absorbable(const struct qb_qgraph *graph, const struct qb_qnode *n, const int *readers,
                      const struct qb_native_fusion *fusions)
{
    int best = -1;
    for (int s = 0; s < 2; s++) {
        const int node = n->src[s];
        if (graph->nodes[node].op == QB_QOP_CONV && alone(readers, fusions, node) &&
            fusions[node].base == node &&
            (best < 0 || qb_qnode_macs(&graph->nodes[node]) > qb_qnode_macs(&graph->nodes[best]))) {
            best = node;
        }
    }
    return best;
}

void qb_native_fuse(const struct qb_qgraph *graph, bool fuse, int *readers, struct qb_native_fusion *fusions)
{
    const enum qb_arithmetic additions = qb_arithmetic_traits(graph->arithmetic)->rest;
    for (int i = 0; i < graph->count; i++) {
        const struct qb_qnode *const n = &graph->nodes[i];
        fusions[i] = (struct qb_native_fusion){.base = i, .conv = -1, .relu = n->relu};
        readers[i] = 0;
        for (int s = 0; s < qb_qnode_sources(n); s++) {
            readers[n->src[s]]++;
        }
    }
    for (int i = 0; fuse && i < graph->count; i++) {
        const struct qb_qnode *const n = &graph->nodes[i];
        struct qb_native_fusion *const f = &fusions[i];
        if (n->op == QB_QOP_ADD && !n->f32 && additions != QB_ARITHMETIC_ONEDNN) {
            f->conv = absorbable(graph, n, readers, fusions);
            if (additions != QB_ARITHMETIC_FBGEMM && f->conv >= 0 &&
                !qb_native_fixed_add_tail(graph, i, f->conv, &f->add)) {
                f->conv = -1;
            }
            if (f->conv >= 0) {
                fusions[f->conv].absorbed = true;
            }
        }
        if (n->op == QB_QOP_RELU && !n->f32) {
            const int src = n->src[0];
            const enum qb_qop op = graph->nodes[src].op;
            if ((op == QB_QOP_CONV || op == QB_QOP_DENSE || op == QB_QOP_ADD) &&
                qb_qparams_equal(&graph->nodes[src].q, &n->q) && alone(readers, fusions, src)) {
                *f = fusions[src];
                f->relu = true;
                fusions[src].absorbed = true;
            }
        }
    }
}
