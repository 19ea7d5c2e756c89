/* qb_pass_fold_affine: per-channel scales and shifts move into the weights and biases of a neighbour; those
 * of a quantized model that cannot stay as they are. */
#include <math.h>
#include <string.h>

#include "model/graph_build.h"
#include "model/passes.h"

struct fold {
    struct qb_graph *graph;
    int *alias;         /* what the readers of node i read, i itself when it stays */
    int *uses;          /* readers of node i; the output counts as one */
    float **wei, **bia; /* of node i, this pass's own copies; NULL until needed: initializers may be shared */
};

static bool is_weighted(const struct qb_node *node)
{
    return node->op == QB_OP_CONV || node->op == QB_OP_DENSE;
}

static bool has_scale(const struct qb_node *affine)
{
    return affine->bn || affine->wei;
}

static size_t window_size(const struct qb_node *node)
{
    return node->op == QB_OP_CONV ? (size_t)node->kh * (size_t)node->kw : 1;
}

static enum qb_status own_bia(struct fold *f, int index, struct qb_error *err)
{
    struct qb_node *const node = &f->graph->nodes[index];
    if (!f->bia[index]) {
        QB_ALLOC(f->bia[index], f->graph, (size_t)node->oc, err);
        if (node->bia) {
            memcpy(f->bia[index], node->bia, (size_t)node->oc * sizeof(float));
        }
        node->bia = f->bia[index];
        node->bia_codes = NULL; /* no longer what the file's integers mean */
    }
    return QB_OK;
}

static enum qb_status own_wei(struct fold *f, int index, struct qb_error *err)
{
    struct qb_node *const node = &f->graph->nodes[index];
    if (!f->wei[index]) {
        const size_t count = (size_t)node->oc * (size_t)node->ic * window_size(node);
        QB_ALLOC(f->wei[index], f->graph, count, err);
        memcpy(f->wei[index], node->wei, count * sizeof(float));
        node->wei = f->wei[index];
    }
    return QB_OK;
}

/* Integer weights mean what the file says: there is no place for a float factor on top of them. */
static bool scales_codes(const struct qb_node *affine, const struct qb_node *weighted)
{
    return has_scale(affine) && weighted->codes;
}

static bool pads(const struct qb_node *node)
{
    return node->op == QB_OP_CONV && (node->pad_t || node->pad_l || node->pad_b || node->pad_r);
}

static enum qb_status reciprocal_deviation(const struct qb_node *affine, int c, float *out,
                                           struct qb_error *err)
{
    const float var = affine->bn->var[c] + affine->bn->eps;
    if (!(var > 0.0f) || isinf(var)) {
        return qb_fail_node(err, QB_EINPUT, affine,
                            "variance + epsilon of channel %d is %g; more than 0 is expected", c,
                            (double)var);
    }
    *out = 1.0f / sqrtf(var); /* two roundings, as torch.rsqrt on the CPU */
    return QB_OK;
}

/* dst = affine(weighted(src)) */
static enum qb_status fold_back(struct fold *f, int index, const struct qb_node *affine, struct qb_error *err)
{
    struct qb_node *const node = &f->graph->nodes[index];
    if (affine->oc != 1 && affine->oc != node->oc) {
        return qb_fail_node(err, QB_EINPUT, affine, "%d constants for a tensor of %d channels", affine->oc,
                            node->oc);
    }
    QB_TRY(own_bia(f, index, err));
    float *const bia = f->bia[index];
    if (has_scale(affine)) {
        QB_TRY(own_wei(f, index, err));
    }
    const size_t row = (size_t)node->ic * window_size(node);
    for (int o = 0; o < node->oc; o++) {
        const int c = affine->oc == 1 ? 0 : o;
        float scale = affine->wei ? affine->wei[c] : 1.0f;
        if (affine->bn) {
            float r = 0.0f;
            QB_TRY(reciprocal_deviation(affine, c, &r, err));
            const float gamma = affine->bn->gamma ? affine->bn->gamma[c] : 1.0f;
            const float beta = affine->bn->beta ? affine->bn->beta[c] : 0.0f;
            scale = gamma * r;
            bia[o] = (bia[o] - affine->bn->mean[c]) * r * gamma + beta;
        } else {
            bia[o] = bia[o] * scale + (affine->bia ? affine->bia[c] : 0.0f);
        }
        if (has_scale(affine)) {
            for (size_t k = 0; k < row; k++) {
                f->wei[index][(size_t)o * row + k] *= scale;
            }
        }
    }
    return QB_OK;
}

/* Scale and shift of channel c, batch normalization multiplied out. */
static enum qb_status terms(const struct qb_node *affine, int c, float *scale, float *shift,
                            struct qb_error *err)
{
    if (affine->bn) {
        float r = 0.0f;
        QB_TRY(reciprocal_deviation(affine, c, &r, err));
        *scale = affine->bn->gamma ? affine->bn->gamma[c] * r : r;
        *shift = (affine->bn->beta ? affine->bn->beta[c] : 0.0f) - affine->bn->mean[c] * *scale;
    } else {
        *scale = affine->wei ? affine->wei[c] : 1.0f;
        *shift = affine->bia ? affine->bia[c] : 0.0f;
    }
    return QB_OK;
}

/* dst = weighted(affine(src)). Behind a FLATTEN a dense layer has several features a channel, the channel
 * running fastest. */
static enum qb_status fold_forward(struct fold *f, const struct qb_node *affine, int index,
                                   struct qb_error *err)
{
    struct qb_node *const node = &f->graph->nodes[index];
    if (node->ic % affine->oc != 0) {
        return qb_fail_node(err, QB_EINPUT, affine, "%d constants for a tensor of %d channels", affine->oc,
                            node->ic);
    }
    QB_TRY(own_wei(f, index, err));
    QB_TRY(own_bia(f, index, err));
    const size_t window = window_size(node);
    for (int o = 0; o < node->oc; o++) {
        double sum = (double)f->bia[index][o];
        for (int i = 0; i < node->ic; i++) {
            float scale = 1.0f, shift = 0.0f;
            QB_TRY(terms(affine, i % affine->oc, &scale, &shift, err));
            if (shift != 0.0f && pads(node)) {
                return qb_fail_node(
                    err, QB_EUNSUPPORTED, affine,
                    "it shifts the source of '%.100s', which pads with zeros; the shift cannot move into "
                    "the bias exactly. A scale without a shift, or a convolution without padding, is "
                    "expected",
                    node->source_name ? node->source_name : node->name);
            }
            float *const wei = &f->wei[index][((size_t)o * (size_t)node->ic + (size_t)i) * window];
            for (size_t k = 0; k < window; k++) {
                sum += (double)wei[k] * (double)shift;
                wei[k] *= scale;
            }
        }
        f->bia[index][o] = (float)sum;
    }
    return QB_OK;
}

/* second = second(first(src)) */
static enum qb_status merge(struct fold *f, const struct qb_node *first, struct qb_node *second,
                            struct qb_error *err)
{
    const int count = first->oc > second->oc ? first->oc : second->oc;
    if (count % first->oc != 0 || count % second->oc != 0) {
        return qb_fail_node(err, QB_EINPUT, second, "%d constants behind a node with %d", second->oc,
                            first->oc);
    }
    float *scale, *shift;
    QB_ALLOC(scale, f->graph, (size_t)count, err);
    QB_ALLOC(shift, f->graph, (size_t)count, err);
    for (int c = 0; c < count; c++) {
        float s1 = 1.0f, t1 = 0.0f, s2 = 1.0f, t2 = 0.0f;
        QB_TRY(terms(first, c % first->oc, &s1, &t1, err));
        QB_TRY(terms(second, c % second->oc, &s2, &t2, err));
        scale[c] = s1 * s2;
        shift[c] = t1 * s2 + t2;
    }
    second->bn = NULL;
    second->wei = scale;
    second->bia = shift;
    second->oc = count;
    return QB_OK;
}

static enum qb_status fold_into_readers(struct fold *f, int index, struct qb_error *err)
{
    const struct qb_node *const affine = &f->graph->nodes[index];
    int readers = 0;
    for (int j = index + 1; j < f->graph->count; j++) {
        struct qb_node *const node = &f->graph->nodes[j];
        if (node->src[0] != index && node->src[1] != index) {
            continue;
        }
        readers++;
        if (is_weighted(node)) {
            QB_TRY(fold_forward(f, affine, j, err));
        } else if (node->op == QB_OP_AFFINE && f->uses[index] == 1) {
            QB_TRY(merge(f, affine, node, err));
        } else {
            return qb_fail_node(
                err, QB_EUNSUPPORTED, affine,
                "it stands between '%.100s' (%s) and '%.100s' (%s); constants can only be folded into a "
                "convolution or dense layer directly before or behind",
                f->graph->nodes[affine->src[0]].source_name, qb_op_name(f->graph->nodes[affine->src[0]].op),
                node->source_name, qb_op_name(node->op));
        }
    }
    if (readers == 0) {
        return qb_fail_node(err, QB_EUNSUPPORTED, affine, "nothing behind it can take its constants");
    }
    return QB_OK;
}

/* Can fold_into_readers do that? */
static bool readers_take(const struct fold *f, int index)
{
    const struct qb_node *const affine = &f->graph->nodes[index];
    int readers = 0;
    for (int j = index + 1; j < f->graph->count; j++) {
        const struct qb_node *const node = &f->graph->nodes[j];
        if (node->src[0] != index && node->src[1] != index) {
            continue;
        }
        readers++;
        const bool shifts_padded = pads(node) && (affine->bia || affine->bn);
        if (is_weighted(node) ? scales_codes(affine, node) || shifts_padded
                              : node->op != QB_OP_AFFINE || f->uses[index] != 1) {
            return false;
        }
    }
    return readers > 0;
}

/* As a node of its own, with numbers for all that it can have. */
static enum qb_status keep(struct fold *f, int index, struct qb_error *err)
{
    struct qb_node *const affine = &f->graph->nodes[index];
    float *scale, *shift;
    QB_ALLOC(scale, f->graph, (size_t)affine->oc, err);
    QB_ALLOC(shift, f->graph, (size_t)affine->oc, err);
    for (int c = 0; c < affine->oc; c++) {
        QB_TRY(terms(affine, c, &scale[c], &shift[c], err));
    }
    affine->bn = NULL;
    affine->wei = scale;
    affine->bia = shift;
    return QB_OK;
}

enum qb_status qb_pass_fold_affine(struct qb_graph *graph, struct qb_error *err)
{
    const size_t count = (size_t)graph->count;
    struct fold f = {.graph = graph};
    QB_ALLOC(f.alias, graph, count, err);
    QB_ALLOC(f.uses, graph, count, err);
    QB_ALLOC(f.wei, graph, count, err);
    QB_ALLOC(f.bia, graph, count, err);
    for (int i = 0; i < graph->count; i++) {
        f.alias[i] = i;
        for (int k = 0; k < 2; k++) {
            if (graph->nodes[i].src[k] >= 0) {
                f.uses[graph->nodes[i].src[k]]++;
            }
        }
    }
    f.uses[count - 1]++;
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const node = &graph->nodes[i];
        if (node->op != QB_OP_AFFINE) {
            continue;
        }
        const int src = f.alias[node->src[0]];
        if (is_weighted(&graph->nodes[src]) && f.uses[src] == 1 && !scales_codes(node, &graph->nodes[src])) {
            QB_TRY(fold_back(&f, src, node, err));
        } else if (!graph->quantized || readers_take(&f, i)) {
            QB_TRY(fold_into_readers(&f, i, err));
        } else {
            QB_TRY(keep(&f, i, err));
            continue;
        }
        f.alias[i] = src;
        f.uses[src] += f.uses[i] - 1;
    }
    return qb_graph_compact(graph, f.alias, err);
}
