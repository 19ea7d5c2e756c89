/* The search for scales beside one that computes the whole layer again for every candidate, in plain loops.
 */
#include "testing.h"

#include <math.h>
#include <string.h>

#include "quant/similarity.h"
#include "quant/weights.h"
#include "quant_testing.h"

enum { IMAGES = 3, MOST = 4096, MOST_SCALES = 8 };

struct shape {
    int h, w, c, oc, kernel, stride, pad_t, pad_l, pad_b, pad_r; /* kernel 0: dense */
    bool relu;
};

struct made {
    struct qb_node node;
    struct qb_shape src;
    float in[MOST], out[MOST], wei[MOST], bia[64], scales[MOST_SCALES];
    int32_t zero_points[MOST_SCALES];
    struct qb_similar similar;
};

/* The layer's output of image i, channel k at pixel y, x, times 1: from floats (codes NULL) or from codes. */
static double output(const struct made *m, int i, int y, int x, int k, const int8_t *codes, double src_scale)
{
    const struct qb_node *const n = &m->node;
    const bool dense = n->op == QB_OP_DENSE;
    const int kh = dense ? m->src.h : n->kh, kw = dense ? m->src.w : n->kw;
    const size_t q = m->similar.scale_count == 1 ? 0 : (size_t)k;
    const float *const image = m->in + (size_t)i * qb_shape_count(m->src);
    int32_t low, high;
    qb_code_limits(&m->similar.q, &low, &high);
    double sum = 0;
    for (int c = 0; c < m->src.c; c++) {
        for (int t = 0; t < kh * kw; t++) {
            const int row = dense ? t / kw : y * n->stride_h + t / kw - n->pad_t;
            const int column = dense ? t % kw : x * n->stride_w + t % kw - n->pad_l;
            if (row < 0 || row >= m->src.h || column < 0 || column >= m->src.w) {
                continue;
            }
            const int at = (row * m->src.w + column) * m->src.c + c;
            const int w = k * m->src.c * kh * kw + (dense ? at : c * kh * kw + t);
            if (!codes) {
                sum += (double)image[at] * (double)m->wei[w];
                continue;
            }
            const int32_t zero = m->similar.q.zero_point;
            int32_t code = (int32_t)nearbyintf(image[at] * (1 / (float)src_scale) + (float)zero);
            code = code < low ? low : code > high ? high : code;
            sum += src_scale * (code - zero) * (double)m->scales[q] * (codes[w] - m->zero_points[q]);
        }
    }
    sum += (double)m->bia[k];
    return m->similar.relu && sum < 0 ? 0 : sum;
}

static double similarity(const struct made *m, double src_scale)
{
    static int8_t codes[MOST];
    const size_t depth = m->similar.windows.depth;
    double sims = 0;
    for (size_t k = 0; k < (size_t)m->node.oc; k++) {
        const size_t q = m->similar.scale_count == 1 ? 0 : k;
        qb_weights_requantize(m->similar.how, m->wei + k * depth, depth, m->scales[q], m->zero_points[q],
                              codes + k * depth);
    }
    const float *r = m->out;
    for (int i = 0; i < IMAGES; i++) {
        double yy = 0, yr = 0, rr = 0;
        for (int y = 0; y < m->node.dst.h; y++) {
            for (int x = 0; x < m->node.dst.w; x++) {
                for (int k = 0; k < m->node.oc; k++, r++) {
                    const double v = output(m, i, y, x, k, codes, src_scale);
                    yy += v * v;
                    yr += v * (double)*r;
                    rr += (double)*r * (double)*r;
                }
            }
        }
        sims += yr / sqrt(yy * rr);
    }
    return sims;
}

static void make(struct made *m, const struct shape *s, const struct qb_observer_spec *how,
                 struct qb_qparams q)
{
    const bool dense = s->kernel == 0;
    memset(m, 0, sizeof *m);
    m->src = (struct qb_shape){s->h, s->w, s->c};
    m->node = (struct qb_node){
        .op = dense ? QB_OP_DENSE : QB_OP_CONV,
        .ic = dense ? s->h * s->w * s->c : s->c,
        .oc = s->oc,
        .kh = s->kernel,
        .kw = s->kernel,
        .stride_h = s->stride,
        .stride_w = s->stride,
        .pad_t = s->pad_t,
        .pad_l = s->pad_l,
        .pad_b = s->pad_b,
        .pad_r = s->pad_r,
        .dst = {1, 1, s->oc},
    };
    if (!dense) {
        m->node.dst.h = (s->h + s->pad_t + s->pad_b - s->kernel) / s->stride + 1;
        m->node.dst.w = (s->w + s->pad_l + s->pad_r - s->kernel) / s->stride + 1;
    }
    struct qb_similar *const l = &m->similar;
    l->windows = qb_windows_of(&m->node, m->src);
    const size_t count = l->windows.depth * (size_t)s->oc;
    qbt_uniform(3, m->in, MOST);
    qbt_uniform(4, m->wei, MOST);
    qbt_uniform(5, m->bia, 64);
    for (size_t k = 0; k < MOST; k++) { /* channels of unequal width, one outlier each */
        m->in[k] -= 0.4f;
        m->wei[k] = (m->wei[k] - 0.5f) * (k % l->windows.depth ? 1 : 3) *
                    (1 + (float)(k / l->windows.depth % (size_t)s->oc));
        m->bia[k % 64] -= k < 64 ? 0.5f : 0;
    }
    struct qb_error err;
    struct qb_quantized_weights quantized;
    struct qb_arena *const arena = qb_arena_create();
    qbt_ok(qb_weights_quantize(how, m->wei, s->oc, l->windows.depth, arena, &quantized, &err), &err);
    memcpy(m->scales, quantized.scales, (size_t)quantized.scale_count * sizeof *m->scales);
    memcpy(m->zero_points, quantized.zero_points, (size_t)quantized.scale_count * sizeof *m->zero_points);
    /* The scales that were derived give the codes that were made. */
    static int8_t codes[MOST];
    const size_t slice = count / (size_t)quantized.scale_count;
    for (size_t k = 0; k < (size_t)quantized.scale_count; k++) {
        qb_weights_requantize(how, m->wei + k * slice, slice, m->scales[k], m->zero_points[k],
                              codes + k * slice);
    }
    assert_memory_equal(codes, quantized.codes, count);
    *l = (struct qb_similar){.windows = l->windows,
                             .images = IMAGES,
                             .positions = qb_shape_count(m->src),
                             .outputs = qb_shape_count(m->node.dst),
                             .src = m->in,
                             .dst = m->out,
                             .wei = m->wei,
                             .bia = m->bia,
                             .relu = s->relu,
                             .q = q,
                             .how = how,
                             .channels = s->oc,
                             .scale_count = quantized.scale_count,
                             .scales = m->scales,
                             .zero_points = m->zero_points};
    qb_arena_destroy(arena);
    float *to = m->out;
    for (int i = 0; i < IMAGES; i++) {
        for (int y = 0; y < m->node.dst.h; y++) {
            for (int x = 0; x < m->node.dst.w; x++) {
                for (int k = 0; k < s->oc; k++) {
                    *to++ = (float)output(m, i, y, x, k, NULL, 0);
                }
            }
        }
    }
}

static void check(const struct shape *s, const struct qb_observer_spec *how, struct qb_qparams q)
{
    static struct made plain, searched;
    struct qb_error err;
    make(&plain, s, how, q);
    make(&searched, s, how, q);
    struct qb_similar *const l = &searched.similar;
    const double before = similarity(&plain, (double)q.scale);
    for (int k = 0; k < l->scale_count; k++) {
        const float scale = plain.scales[k];
        double sums[QB_CANDIDATES];
        for (int c = 0; c < QB_CANDIDATES; c++) {
            plain.scales[k] = qb_similar_candidate(scale, c);
            sums[c] = similarity(&plain, (double)q.scale);
        }
        plain.scales[k] = qb_similar_candidate(scale, qb_similar_best(sums));
    }
    qbt_ok(qb_similar_weights(l, &err), &err);
    assert_memory_equal(plain.scales, searched.scales, (size_t)l->scale_count * sizeof(float));
    assert_true(fabs(l->before - before / IMAGES) < 1e-12);
    assert_true(fabs(l->after - similarity(&plain, (double)q.scale) / IMAGES) < 1e-12);
    double sums[QB_CANDIDATES] = {1};
    qbt_ok(qb_similar_sources(l, sums, &err), &err);
    for (int c = 0; c < QB_CANDIDATES; c++) {
        const double want = similarity(&plain, (double)qb_similar_candidate(q.scale, c)) + (c == 0);
        assert_true(fabs(sums[c] - want) < 1e-11);
    }
}

static void test_search(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {5, 6, 3, 4, 3, 1, 1, 1, 1, 1, true},
        {6, 6, 5, 3, 3, 2, 0, 0, 1, 1, false},
        {4, 4, 7, 4, 1, 2, 0, 0, 0, 0, false},
        {2, 2, 9, 5, 0, 1, 0, 0, 0, 0, false},
    };
    static const struct qb_observer_spec how[] = {
        {.observer = "per_channel_minmax",
         .dtype = QB_QINT8,
         .symmetric = true,
         .has_quant_range = true,
         .quant_min = -127,
         .quant_max = 127},
        {.observer = "minmax", .dtype = QB_QINT8, .symmetric = true, .bits = 4},
        {.observer = "per_channel_minmax", .dtype = QB_QUINT8},
        {.observer = "per_channel_minmax",
         .dtype = QB_QINT8,
         .symmetric = true,
         .scale_rule = QB_SCALE_NNCF,
         .reduce_range = true},
    };
    static const struct qb_qparams sources[] = {{.scale = 0.006f, .zero_point = 70},
                                                {.scale = 0.005f, .zero_point = 128, .dtype = QB_QINT8},
                                                {.scale = 0.07f, .zero_point = 7, .bits = 4}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (size_t h = 0; h < sizeof how / sizeof how[0]; h++) {
            check(&shapes[s], &how[h], sources[(s + h) % 3]);
        }
    }
}

/* How far codes may go when a scale is made smaller. */
static void test_limits(void **state)
{
    (void)state;
    static const struct {
        struct qb_observer_spec spec;
        int8_t low, high;
    } rows[] = {
        {{.dtype = QB_QINT8, .symmetric = true}, -128, 127},
        {{.dtype = QB_QINT8, .has_quant_range = true, .quant_min = -31, .quant_max = 31}, -127, 127},
        {{.dtype = QB_QINT8, .has_quant_range = true, .quant_min = -8, .quant_max = 7}, -128, 127},
        {{.dtype = QB_QINT8, .bits = 6}, -32, 31},
        {{.dtype = QB_QINT8, .bits = 6, .has_quant_range = true, .quant_min = -31, .quant_max = 31}, -31, 31},
        {{.dtype = QB_QINT8, .reduce_range = true}, -64, 63},
        {{.dtype = QB_QUINT8}, -128, 127},
        {{.dtype = QB_QUINT8, .bits = 7}, -128, -1},
    };
    const float wei[] = {-1000, 1000};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct qb_observer_spec spec = rows[r].spec;
        int8_t codes[2];
        spec.observer = "minmax";
        qb_weights_requantize(&spec, wei, 2, 1, 0, codes);
        assert_int_equal(codes[0], rows[r].low);
        assert_int_equal(codes[1], rows[r].high);
    }
}

static void test_candidates(void **state)
{
    (void)state;
    assert_true(qb_similar_candidate(0.25f, 0) == 0.5f);
    assert_true(fabsf(qb_similar_candidate(0.25f, 99) - 0.25f / 1.985f) < 1e-7f);
    double sums[QB_CANDIDATES] = {0};
    assert_int_equal(qb_similar_best(sums), 0);
    sums[7] = sums[50] = 2;
    assert_int_equal(qb_similar_best(sums), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
