/* See eval.h. */
#include "eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

static float pixel(const struct qb_shape *s, const float *values, int y, int x, int c)
{
    if (y < 0 || x < 0 || y >= s->h || x >= s->w) {
        return 0.0f;
    }
    return values[(y * s->w + x) * s->c + c];
}

static void conv(const struct qb_node *n, const struct qb_shape *s, const float *src, float *dst)
{
    for (int y = 0; y < n->dst.h; y++) {
        for (int x = 0; x < n->dst.w; x++) {
            for (int o = 0; o < n->oc; o++) {
                double sum = n->bia ? (double)n->bia[o] : 0.0;
                for (int i = 0; i < n->ic; i++) {
                    for (int k = 0; k < n->kh * n->kw; k++) {
                        const int sy = y * n->stride_h - n->pad_t + k / n->kw;
                        const int sx = x * n->stride_w - n->pad_l + k % n->kw;
                        sum += (double)n->wei[(o * n->ic + i) * n->kh * n->kw + k] *
                               (double)pixel(s, src, sy, sx, i);
                    }
                }
                dst[(y * n->dst.w + x) * n->oc + o] = (float)sum;
            }
        }
    }
}

static void pool(const struct qb_node *n, const struct qb_shape *s, const float *src, float *dst)
{
    for (int y = 0; y < n->dst.h; y++) {
        for (int x = 0; x < n->dst.w; x++) {
            for (int c = 0; c < s->c; c++) {
                double sum = 0.0;
                for (int k = 0; k < n->kh * n->kw; k++) {
                    sum += (double)pixel(s, src, y * n->stride_h + k / n->kw, x * n->stride_w + k % n->kw, c);
                }
                dst[(y * n->dst.w + x) * s->c + c] = (float)(sum / (n->kh * n->kw));
            }
        }
    }
}

static float affine(const struct qb_node *n, size_t index, float x)
{
    const size_t c = index % (size_t)n->oc;
    if (n->bn) {
        const struct qb_batchnorm *const bn = n->bn;
        const double gamma = bn->gamma ? (double)bn->gamma[c] : 1.0,
                     beta = bn->beta ? (double)bn->beta[c] : 0.0;
        return (float)(((double)x - (double)bn->mean[c]) / sqrt((double)bn->var[c] + (double)bn->eps) *
                           gamma +
                       beta);
    }
    return x * (n->wei ? n->wei[c] : 1.0f) + (n->bia ? n->bia[c] : 0.0f);
}

static void evaluate(const struct qb_graph *graph, const struct qb_node *n, float *const *values,
                     const float *image, float *dst)
{
    const size_t count = qb_shape_count(n->dst);
    const float *const src = n->src[0] >= 0 ? values[n->src[0]] : image;
    const struct qb_shape s = n->src[0] >= 0 ? graph->nodes[n->src[0]].dst : n->dst;
    const float low = n->q.is_signed ? -128.0f : 0.0f;
    switch (n->op) {
    case QB_OP_CONV: conv(n, &s, src, dst); return;
    case QB_OP_AVGPOOL: pool(n, &s, src, dst); return;
    case QB_OP_DENSE:
        for (int o = 0; o < n->oc; o++) {
            double sum = n->bia ? (double)n->bia[o] : 0.0;
            for (int i = 0; i < n->ic; i++) {
                sum += (double)n->wei[o * n->ic + i] * (double)src[i];
            }
            dst[o] = (float)sum;
        }
        return;
    case QB_OP_PAD:
        for (size_t i = 0; i < count; i++) {
            const int c = (int)i % s.c, x = (int)i / s.c % n->dst.w, y = (int)i / s.c / n->dst.w;
            dst[i] = pixel(&s, src, y - n->pad_t, x - n->pad_l, c);
        }
        return;
    default: break;
    }
    for (size_t i = 0; i < count; i++) {
        switch (n->op) {
        case QB_OP_ADD: dst[i] = src[i] + values[n->src[1]][i]; break;
        case QB_OP_RELU: dst[i] = src[i] > 0.0f ? src[i] : 0.0f; break;
        case QB_OP_AFFINE: dst[i] = affine(n, i, src[i]); break;
        case QB_OP_QUANTIZE:
            dst[i] =
                fmaxf(low, fminf(low + 255.0f, nearbyintf(src[i] / n->q.scale) + (float)n->q.zero_point));
            break;
        case QB_OP_DEQUANTIZE: dst[i] = n->q.scale * (src[i] - (float)n->q.zero_point); break;
        default: dst[i] = src[i]; break; /* INPUT, TRANSPOSE, FLATTEN; SOFTMAX keeps the logits */
        }
    }
}

float *eval_node(const struct qb_graph *graph, int node, const float *image)
{
    float **const values = calloc((size_t)node + 1, sizeof *values);
    assert_non_null(values);
    for (int i = 0; i <= node; i++) {
        values[i] = calloc(qb_shape_count(graph->nodes[i].dst), sizeof **values);
        assert_non_null(values[i]);
        evaluate(graph, &graph->nodes[i], values, image, values[i]);
    }
    float *const out = values[node];
    for (int i = 0; i < node; i++) {
        free(values[i]);
    }
    free(values);
    return out;
}

float *eval_logits(const struct qb_graph *graph, const float *image)
{
    return eval_node(graph, qb_graph_logits(graph), image);
}
