/* Random networks for the tests of engines: see nets.h. */
#include "nets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

static void *array(struct net *net, size_t count, size_t size)
{
    void *const p = qb_arena_array(net->arena, count, size);
    assert_non_null(p);
    return p;
}

static int pick(struct net *net, int low, int high)
{
    return low + (int)qb_rng_interval(&net->rng, (uint32_t)(high - low));
}

static float between(struct net *net, double low, double high)
{
    return (float)(low + (high - low) * qb_rng_double(&net->rng));
}

static struct qb_qnode *append(struct net *net, enum qb_qop op, const char *name, struct qb_shape dst,
                               float scale, int zero_point)
{
    assert_true(net->graph.count < NET_NODES);
    struct qb_qnode *const n = &net->nodes[net->graph.count++];
    *n = (struct qb_qnode){
        .op = op,
        .name = name,
        .src = {-1, -1},
        .dst = dst,
        .q = {
            .scale = scale, .zero_point = zero_point, .dtype = net->dtype, .quant_min = 0, .quant_max = 255}};
    return n;
}

void net_init(struct net *net, enum qb_arithmetic arithmetic, uint32_t seed, struct qb_shape input,
              float scale, int zero_point)
{
    *net = (struct net){.arena = qb_arena_create()};
    assert_non_null(net->arena);
    qb_rng_seed(&net->rng, seed);
    net->dtype = arithmetic == QB_ARITHMETIC_ORT && seed % 4 > 1 ? QB_QINT8 : QB_QUINT8;
    net->graph = (struct qb_qgraph){.arena = net->arena,
                                    .scheme = "random",
                                    .arithmetic = arithmetic,
                                    .nodes = net->nodes,
                                    .model_sha256 = "",
                                    .calibration_hash = ""};
    append(net, QB_QOP_INPUT, "input", input, scale, zero_point);
}

void net_free(struct net *net)
{
    qb_arena_destroy(net->arena);
}

static void fill_weights(struct net *net, struct qb_qnode *n, size_t depth, bool per_tensor, bool wei_zero)
{
    const size_t oc = (size_t)n->oc, scales = per_tensor ? 1 : oc;
    int8_t *const wei = array(net, oc * depth, 1);
    float *const scale = array(net, scales, sizeof *scale), *const bia = array(net, oc, sizeof *bia);
    int32_t *const zero = array(net, scales, sizeof *zero);
    for (size_t i = 0; i < oc * depth; i++) {
        wei[i] = (int8_t)(i % 13 == 0 ? -128 : i % 17 == 0 ? 127 : pick(net, -128, 127));
    }
    for (size_t k = 0; k < scales; k++) {
        scale[k] = between(net, 0.004, 0.012);
        zero[k] = wei_zero ? pick(net, -128, 127) : 0;
    }
    /* About the standard deviation of a sum of random products, in units of 75 codes. */
    const double spread = 0.008 * (double)net->nodes[n->src[0]].q.scale * sqrt((double)depth);
    n->q.scale = (float)(spread * 75.0 * (wei_zero ? 2.0 : 1.0));
    for (size_t k = 0; k < oc; k++) {
        bia[k] = between(net, -3000.0 * spread, 3000.0 * spread);
    }
    n->wei = wei;
    n->bia = bia;
    if (qb_arithmetic_traits(net->graph.arithmetic)->bia_codes) {
        int32_t *const codes = array(net, oc, sizeof *codes);
        for (size_t k = 0; k < oc; k++) {
            const float aw = net->nodes[n->src[0]].q.scale * scale[per_tensor ? 0 : k];
            codes[k] = (int32_t)(bia[k] / aw);
            bia[k] = (float)codes[k] * aw;
        }
        n->bia_codes = codes;
    }
    n->wei_scales = scale;
    n->wei_zero_points = zero;
    n->wei_scale_count = (int)scales;
    n->wei_dtype = wei_zero ? QB_QUINT8 : QB_QINT8;
}

int net_conv(struct net *net, const struct net_conv *c)
{
    const struct qb_shape s = net->nodes[c->src].dst;
    const struct qb_shape dst = {(s.h + c->pad_t + c->pad_b - c->kh) / c->stride_h + 1,
                                 (s.w + c->pad_l + c->pad_r - c->kw) / c->stride_w + 1, c->oc};
    struct qb_qnode *const n = append(net, QB_QOP_CONV, "conv", dst, 1.0F, c->zero_point);
    n->src[0] = c->src;
    n->src[1] = c->residual ? c->residual : -1;
    n->fused_add = c->residual != 0;
    n->relu = c->relu;
    n->kh = c->kh, n->kw = c->kw, n->stride_h = c->stride_h, n->stride_w = c->stride_w;
    n->pad_t = c->pad_t, n->pad_l = c->pad_l, n->pad_b = c->pad_b, n->pad_r = c->pad_r;
    n->ic = s.c, n->oc = c->oc;
    fill_weights(net, n, (size_t)(c->kh * c->kw * s.c), c->per_tensor, c->wei_zero);
    return net->graph.count - 1;
}

int net_dense(struct net *net, int src, int oc, bool per_tensor, int zero_point)
{
    struct qb_qnode *const n =
        append(net, QB_QOP_DENSE, "dense", (struct qb_shape){1, 1, oc}, 1.0F, zero_point);
    n->src[0] = src;
    n->ic = (int)qb_shape_count(net->nodes[src].dst);
    n->oc = oc;
    fill_weights(net, n, (size_t)n->ic, per_tensor, false);
    return net->graph.count - 1;
}

int net_add(struct net *net, int src0, int src1, bool relu, float scale, int zero_point)
{
    struct qb_qnode *const n = append(net, QB_QOP_ADD, "add", net->nodes[src0].dst, scale, zero_point);
    n->src[0] = src0;
    n->src[1] = src1;
    n->relu = relu;
    return net->graph.count - 1;
}

int net_relu(struct net *net, int src)
{
    struct qb_qnode *const n = append(net, QB_QOP_RELU, "relu", net->nodes[src].dst, 1.0F, 0);
    n->src[0] = src;
    n->q = net->nodes[src].q;
    return net->graph.count - 1;
}

int net_avgpool(struct net *net, int src, int kh, int kw, int stride)
{
    const struct qb_shape s = net->nodes[src].dst;
    const struct qb_shape dst = {(s.h - kh) / stride + 1, (s.w - kw) / stride + 1, s.c};
    struct qb_qnode *const n = append(net, QB_QOP_AVGPOOL, "avgpool", dst, 1.0F, 0);
    n->src[0] = src;
    n->kh = kh, n->kw = kw, n->stride_h = n->stride_w = stride;
    n->q = net->nodes[src].q;
    return net->graph.count - 1;
}

int net_quantize(struct net *net, int src, float scale, int zero_point)
{
    append(net, QB_QOP_QUANTIZE, "quantize", net->nodes[src].dst, scale, zero_point)->src[0] = src;
    return net->graph.count - 1;
}

int net_constant(struct net *net, int channels, float scale, int zero_point)
{
    uint8_t *const codes = array(net, (size_t)channels, 1);
    for (int k = 0; k < channels; k++) {
        codes[k] = (uint8_t)pick(net, 0, 255);
    }
    append(net, QB_QOP_CONSTANT, "constant", (struct qb_shape){1, 1, channels}, scale, zero_point)->codes =
        codes;
    return net->graph.count - 1;
}

int net_mul(struct net *net, int src0, int src1, float scale, int zero_point)
{
    const int node = net_add(net, src0, src1, false, scale, zero_point);
    net->nodes[node].op = QB_QOP_MUL;
    net->nodes[node].name = "mul";
    return node;
}

void net_rescale(struct net *net, int node, float scale, int zero_point)
{
    net->nodes[node].q.scale = scale;
    net->nodes[node].q.zero_point = zero_point;
}

void net_mixed(struct net *net, enum qb_arithmetic arithmetic, uint32_t seed)
{
    net_init(net, arithmetic, seed, (struct qb_shape){9, 8, 3}, 0.017F, 5);
    const struct net_conv first = {.oc = 6,
                                   .kh = 3,
                                   .kw = 3,
                                   .stride_h = 1,
                                   .stride_w = 1,
                                   .pad_t = 1,
                                   .pad_l = 1,
                                   .pad_b = 1,
                                   .pad_r = 1,
                                   .relu = true,
                                   .zero_point = 3};
    const int a = net_conv(net, &first);
    struct net_conv second = first;
    second.src = a;
    second.relu = false;
    second.zero_point = 117;
    second.residual = qb_arithmetic_fuses_add(arithmetic) ? a : 0;
    const int b = net_conv(net, &second);
    const int r = net_relu(net, b);
    const int sum = net_add(net, r, a, true, net->nodes[b].q.scale, 1);
    const int difference = net_add(net, sum, b, false, net->nodes[b].q.scale * 1.3F, 99);
    const struct net_conv half = {.src = difference,
                                  .oc = 5,
                                  .kh = 3,
                                  .kw = 2,
                                  .stride_h = 2,
                                  .stride_w = 2,
                                  .pad_b = 1,
                                  .pad_r = 1,
                                  .per_tensor = true,
                                  .wei_zero = true,
                                  .zero_point = 131};
    const int pool = net_avgpool(net, net_conv(net, &half), 2, 2, 1);
    const int dense = net_dense(net, pool, 10, true, 64);
    if (arithmetic == QB_ARITHMETIC_ORT) {
        const float scale = net->nodes[dense].q.scale;
        net_rescale(net, r, net->nodes[b].q.scale * 0.7F, 9);
        net_rescale(net, pool, net->nodes[pool].q.scale * 0.4F, 100);
        const int factor = net_constant(net, 10, 0.01F, 120);
        const int product = net_mul(net, dense, factor, scale * 0.9F, 130);
        const int addend = net_constant(net, 10, scale * 0.3F, 40);
        net_add(net, product, addend, true, scale * 0.8F, 20);
    }
}

static int resnet8_conv(struct net *net, int src, int oc, int k, int stride, bool relu, bool zero_points)
{
    const int pad = k / 2;
    const struct net_conv c = {.src = src,
                               .oc = oc,
                               .kh = k,
                               .kw = k,
                               .stride_h = stride,
                               .stride_w = stride,
                               .pad_t = stride == 1 ? pad : 0,
                               .pad_l = stride == 1 ? pad : 0,
                               .pad_b = pad,
                               .pad_r = pad,
                               .relu = relu,
                               .zero_point = zero_points ? pick(net, 1, 254)
                                             : relu      ? 0
                                                         : 117};
    return net_conv(net, &c);
}

void net_resnet8(struct net *net, enum qb_arithmetic arithmetic, uint32_t seed, bool zero_points)
{
    net_init(net, arithmetic, seed, (struct qb_shape){32, 32, 3}, 1.0F, 0);
    int last = resnet8_conv(net, 0, 16, 3, 1, true, zero_points);
    for (int stage = 0; stage < 3; stage++) {
        const int oc = 16 << stage, stride = stage > 0 ? 2 : 1;
        const int first = resnet8_conv(net, last, oc, 3, stride, true, zero_points),
                  second = resnet8_conv(net, first, oc, 3, 1, false, zero_points),
                  shortcut = stage > 0 ? resnet8_conv(net, last, oc, 1, stride, false, zero_points) : last;
        last = net_add(net, second, shortcut, true, net->nodes[second].q.scale * 0.6F,
                       zero_points ? pick(net, 1, 254) : 0);
    }
    net_dense(net, net_avgpool(net, last, 8, 8, 8), 10, false, 64);
}

uint8_t *net_images(struct net *net, int n)
{
    const size_t count = (size_t)n * qb_shape_count(net->nodes[0].dst);
    uint8_t *const images = malloc(count);
    assert_non_null(images);
    for (size_t i = 0; i < count; i++) {
        const int kind = pick(net, 0, 9);
        images[i] = (uint8_t)(kind == 0 ? 0 : kind == 1 ? 255 : pick(net, 0, 255));
    }
    return images;
}

static double limit(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* Codes outside, for the sums of ort that contain them. */
static int outside(const struct net *net)
{
    return net->dtype == QB_QINT8 ? 128 : 0;
}

/* MultiplyByQuantizedMultiplier of tflite, as gemmlowp writes it, for a multiplier below 1. */
static int64_t multiplied(double real, int64_t x, bool once)
{
    int exponent;
    int64_t m = llround(frexp(real, &exponent) * 2147483648.0);
    if (m == INT64_C(1) << 31) {
        m /= 2;
        exponent++;
    }
    assert_in_range(-exponent, 0, 31);
    if (once) {
        return (x * m + (INT64_C(1) << (30 - exponent))) >> (31 - exponent);
    }
    const int64_t product = x * m, nudge = product >= 0 ? INT64_C(1) << 30 : 1 - (INT64_C(1) << 30);
    const int64_t high = (product + nudge) / (INT64_C(1) << 31), mask = (INT64_C(1) << -exponent) - 1;
    return (high >> -exponent) + ((high & mask) > (mask >> 1) + (high < 0));
}

/* Additions and pools as PyTorch's own, and dense layers as those of its engine x86. */
static bool as_fbgemm(const struct net *net, bool dense)
{
    const enum qb_arithmetic a = net->graph.arithmetic;
    return a == QB_ARITHMETIC_FBGEMM || a == QB_ARITHMETIC_TORCH_X86 ||
           (a == QB_ARITHMETIC_TORCH_ONEDNN && !dense);
}

static uint8_t tail(const struct net *net, const struct qb_qnode *n, int k, int64_t acc,
                    const uint8_t *residual)
{
    const struct qb_qparams src = net->nodes[n->src[0]].q, dst = n->q;
    const bool per_tensor = n->wei_scale_count == 1;
    const float aw = src.scale * n->wei_scales[per_tensor ? 0 : k];
    const enum qb_arithmetic arithmetic = net->graph.arithmetic;
    const bool dense = n->op == QB_QOP_DENSE;
    if (dense ? as_fbgemm(net, true) : arithmetic == QB_ARITHMETIC_FBGEMM) {
        const float quotient = n->bia[k] / aw, reciprocal = (float)(1.0 / (double)aw);
        const float v = per_tensor ? fmaf(n->bia[k], reciprocal, (float)acc) : (float)acc + quotient;
        const float m = aw / dst.scale, scaled = v * m;
        return (uint8_t)limit(nearbyint((double)scaled) + dst.zero_point, n->relu ? dst.zero_point : 0, 255);
    }
    if (net->graph.arithmetic == QB_ARITHMETIC_TFLITE) {
        const bool once = n->op == QB_QOP_DENSE;
        const double product =
            once && per_tensor ? (double)aw : (double)src.scale * (double)n->wei_scales[per_tensor ? 0 : k];
        const int64_t v = multiplied(product / (double)dst.scale, acc + n->bia_codes[k], once);
        return (uint8_t)limit((double)(v + dst.zero_point), n->relu ? dst.zero_point : 0, 255);
    }
    if (net->graph.arithmetic == QB_ARITHMETIC_ORT) {
        const float m = aw / dst.scale, v = (float)(acc + n->bia_codes[k]) * m;
        return (uint8_t)limit(nearbyint((double)v) + dst.zero_point, n->relu ? dst.zero_point : 0, 255);
    }
    const bool handed = arithmetic == QB_ARITHMETIC_TORCH_ONEDNN || arithmetic == QB_ARITHMETIC_TORCH_X86;
    const float inverse = 1.0F / dst.scale, sw = n->wei_scales[per_tensor ? 0 : k];
    const float to_src = 1.0F / src.scale, back_src = 1.0F / to_src, to_wei = 1.0F / sw,
                back_wei = 1.0F / to_wei;
    const float by_src = (float)acc * (handed ? back_src : src.scale);
    const float apart = by_src * (handed && dense ? back_wei : sw), product = (float)acc * aw;
    const float scaled = arithmetic == QB_ARITHMETIC_ONEDNN ? product : apart;
    const float biased = scaled + n->bia[k];
    float v = biased;
    if (residual) {
        const struct qb_qparams r = net->nodes[n->src[1]].q;
        v = fmaf(r.scale, (float)(*residual - r.zero_point), biased);
    }
    const float rectified = n->relu ? fmaxf(v, 0.0F) : v, code = rectified * inverse;
    const float shifted = code + (float)dst.zero_point;
    return (uint8_t)limit(nearbyint((double)shifted), 0, 255);
}

/* The code of a source position: `outside` beyond the image. */
static int at(const uint8_t *src, struct qb_shape s, int outside, int y, int x, int c)
{
    return y < 0 || y >= s.h || x < 0 || x >= s.w ? outside : src[(y * s.w + x) * s.c + c];
}

static void expect_conv(const struct net *net, const struct qb_qnode *n, const uint8_t *src,
                        const uint8_t *residual, uint8_t *dst)
{
    const struct qb_qnode *const source = &net->nodes[n->src[0]];
    const bool dense = n->op == QB_QOP_DENSE;
    const int kh = dense ? source->dst.h : n->kh, kw = dense ? source->dst.w : n->kw, ic = source->dst.c;
    const int sx = source->q.zero_point;
    for (int i = 0; i < n->dst.h * n->dst.w * n->oc; i++) {
        const int k = i % n->oc, x = i / n->oc % n->dst.w, y = i / n->oc / n->dst.w;
        const int sw = n->wei_zero_points[n->wei_scale_count == 1 ? 0 : k];
        int64_t acc = 0, pair = 0;
        for (int t = 0; t < kh * kw * ic; t++) {
            const int c = t % ic, kx = t / ic % kw, ky = t / ic / kw;
            const int sy = y * n->stride_h - n->pad_t + ky, x0 = x * n->stride_w - n->pad_l + kx;
            /* DENSE weights count the source as it lies (NHWC), CONV weights are OIHW. */
            const int w = dense ? n->wei[k * n->ic + t] : n->wei[((k * ic + c) * kh + ky) * kw + kx];
            const int code = at(src, source->dst, sx, sy, x0, c);
            acc += (code - sx) * (w - sw);
            /* ONNX Runtime's sums saturate for u8 x s8 alone. */
            const bool other = net->graph.arithmetic == QB_ARITHMETIC_ORT &&
                               (source->q.dtype == QB_QINT8 || n->wei_dtype == QB_QUINT8);
            if (net->graph.accumulate != QB_ACCUMULATE_EXACT && !other) {
                /* vpmaddubsw's pair goes into the sum in place of its two products. */
                const bool by_taps = net->graph.accumulate == QB_ACCUMULATE_MADDUBS_PAD4 && !dense;
                const int place = by_taps ? c : t, last = (by_taps ? ic : kh * kw * ic) - 1;
                pair += code * w;
                acc -= code * w;
                if (place % 2 == 1 || place == last) {
                    acc += pair > 32767 ? 32767 : pair < -32768 ? -32768 : pair;
                    pair = 0;
                }
            }
        }
        dst[i] = tail(net, n, k, acc, residual ? residual + i : NULL);
    }
}

/* ADD and MUL of ort, in codes of the type outside. */
static uint8_t expect_ort_pair(const struct net *net, const struct qb_qnode *n, int a, int b)
{
    const struct qb_qparams q0 = net->nodes[n->src[0]].q, q1 = net->nodes[n->src[1]].q;
    const int shift = outside(net), z0 = q0.zero_point - shift, z1 = q1.zero_point - shift;
    const float zy = (float)(n->q.zero_point - shift);
    float v;
    if (n->op == QB_QOP_MUL) {
        const float product = q0.scale * q1.scale, m = product / n->q.scale;
        const float scaled = (float)((a - q0.zero_point) * (b - q1.zero_point)) * m;
        v = scaled + zy;
    } else {
        const float r0 = q0.scale / n->q.scale, r1 = q1.scale / n->q.scale, last = r1 * (float)z1;
        const float fixed = zy - fmaf(r0, (float)z0, last);
        v = fmaf((float)(a - shift), r0, fmaf((float)(b - shift), r1, fixed));
    }
    return (uint8_t)limit(nearbyint((double)v) + shift, n->relu ? n->q.zero_point : 0, 255);
}

static uint8_t expect_add(const struct net *net, const struct qb_qnode *n, int a, int b)
{
    const struct qb_qparams q0 = net->nodes[n->src[0]].q, q1 = net->nodes[n->src[1]].q;
    if (net->graph.arithmetic == QB_ARITHMETIC_ORT) {
        return expect_ort_pair(net, n, a, b);
    }
    if (net->graph.arithmetic == QB_ARITHMETIC_TFLITE) {
        const double twice = 2.0 * fmax((double)q0.scale, (double)q1.scale);
        const int64_t raw = multiplied((double)q0.scale / twice, (a - q0.zero_point) * 1048576, false) +
                            multiplied((double)q1.scale / twice, (b - q1.zero_point) * 1048576, false);
        const int64_t v = multiplied(twice / (1048576.0 * (double)n->q.scale), raw, false);
        return (uint8_t)limit((double)(v + n->q.zero_point), n->relu ? n->q.zero_point : 0, 255);
    }
    const bool fbgemm = as_fbgemm(net, false);
    const float offset0 = q0.scale * (float)-q0.zero_point, offset1 = q1.scale * (float)-q1.zero_point;
    const float d0 = fbgemm ? fmaf(q0.scale, (float)a, offset0) : q0.scale * (float)(a - q0.zero_point);
    const float d1 = fbgemm ? fmaf(q1.scale, (float)b, offset1) : q1.scale * (float)(b - q1.zero_point);
    const float sum = d0 + d1, value = n->relu ? fmaxf(sum, 0.0F) : sum, inverse = 1.0F / n->q.scale;
    const float code = value * inverse, shifted = code + (float)n->q.zero_point;
    return (uint8_t)limit(fbgemm ? nearbyint((double)code) + n->q.zero_point : nearbyint((double)shifted), 0,
                          255);
}

static void expect_avgpool(const struct net *net, const struct qb_qnode *n, const uint8_t *src, uint8_t *dst)
{
    const struct qb_shape s = net->nodes[n->src[0]].dst;
    const int zero_point = n->q.zero_point, count = n->kh * n->kw;
    const float inverse = 1.0F / (float)count;
    for (int i = 0; i < n->dst.h * n->dst.w * s.c; i++) {
        const int c = i % s.c, x = i / s.c % n->dst.w, y = i / s.c / n->dst.w;
        const struct qb_qparams from = net->nodes[n->src[0]].q;
        int sum = 0;
        float real = 0;
        for (int k = 0; k < count; k++) {
            const int code = at(src, s, 0, y * n->stride_h + k / n->kw, x * n->stride_w + k % n->kw, c);
            const float term = from.scale * (float)(code - from.zero_point);
            sum += code;
            real += term;
        }
        if (net->graph.arithmetic == QB_ARITHMETIC_ORT) {
            const float area = n->q.scale * (float)count, factor = from.scale / area;
            const float whole = (float)(sum - count * from.zero_point) * factor;
            const float mean = real / (float)count, code = mean / n->q.scale;
            const float shifted = code + (float)(zero_point - outside(net));
            dst[i] = n->kh == s.h && n->kw == s.w
                         ? (uint8_t)limit(nearbyint((double)whole) + zero_point, 0, 255)
                         : (uint8_t)limit(nearbyint((double)shifted) + outside(net), 0, 255);
            continue;
        }
        if (net->graph.arithmetic == QB_ARITHMETIC_TFLITE) {
            const double mean = (double)(sum - 128 * count) / count; /* round() takes halves away from zero */
            dst[i] = (uint8_t)(round(mean) + 128.0);
            continue;
        }
        const bool fbgemm = as_fbgemm(net, false);
        const float mean = (float)(fbgemm ? sum - zero_point * count : sum) * inverse;
        dst[i] = (uint8_t)limit(nearbyint((double)mean) + (fbgemm ? zero_point : 0), 0, 255);
    }
}

static bool has_own_scale(const struct qb_qnode *n)
{
    return n->op == QB_QOP_INPUT || n->op == QB_QOP_CONV || n->op == QB_QOP_DENSE || n->op == QB_QOP_ADD ||
           n->op == QB_QOP_QUANTIZE;
}

void net_narrow(struct net *net)
{
    for (int i = 0; i < net->graph.count; i++) {
        struct qb_qnode *const n = &net->nodes[i];
        int32_t low, high;
        if (has_own_scale(n)) {
            n->q.bits = (int)(qb_rng_u32(&net->rng) % 8);
            n->q.bits = n->q.bits < 2 ? 0 : n->q.bits;
            n->q.dtype = net->graph.arithmetic != QB_ARITHMETIC_ORT && qb_rng_u32(&net->rng) % 3 == 0
                             ? QB_QINT8
                             : n->q.dtype;
            qb_code_limits(&n->q, &low, &high);
            n->q.zero_point = low + n->q.zero_point * (high - low) / 255;
            n->q.scale *= 255.0F / (float)(high - low);
        } else if (n->op == QB_QOP_RELU || n->op == QB_QOP_AVGPOOL) {
            n->q = net->nodes[n->src[0]].q;
        }
    }
}

void net_expect(const struct net *net, const uint8_t *image, uint8_t *codes[NET_NODES])
{
    memset(codes, 0, NET_NODES * sizeof *codes);
    for (int node = 0; node < net->graph.count; node++) {
        const struct qb_qnode *const n = &net->nodes[node];
        const size_t count = qb_shape_count(n->dst);
        const uint8_t *const src0 = n->src[0] < 0 ? image : codes[n->src[0]];
        const uint8_t *const src1 = n->src[1] < 0 ? NULL : codes[n->src[1]];
        const float inverse = 1.0F / n->q.scale;
        uint8_t *const dst = codes[node] = malloc(count);
        assert_non_null(dst);
        if (n->op == QB_QOP_CONV || n->op == QB_QOP_DENSE) {
            expect_conv(net, n, src0, src1, dst);
        } else if (n->op == QB_QOP_AVGPOOL) {
            expect_avgpool(net, n, src0, dst);
        }
        for (size_t i = 0; i < count; i++) {
            const int channel = (int)(i % (size_t)n->dst.c);
            const int second = !src1                                         ? 0
                               : net->nodes[n->src[1]].op == QB_QOP_CONSTANT ? src1[channel]
                                                                             : src1[i];
            if (n->op == QB_QOP_INPUT && net->graph.arithmetic == QB_ARITHMETIC_TFLITE) {
                const float code = (float)src0[i] / n->q.scale;
                dst[i] = (uint8_t)limit(round((double)code) + n->q.zero_point, 0, 255);
            } else if (n->op == QB_QOP_INPUT) {
                const float code = net->graph.arithmetic == QB_ARITHMETIC_ORT ? (float)src0[i] / n->q.scale
                                                                              : (float)src0[i] * inverse;
                dst[i] = (uint8_t)limit(nearbyint((double)code) + n->q.zero_point, 0, 255);
            } else if (n->op == QB_QOP_QUANTIZE) {
                const struct qb_qparams from = net->nodes[n->src[0]].q;
                const float real = from.scale * (float)(src0[i] - from.zero_point);
                const float code = fmaf(real, inverse, (float)n->q.zero_point);
                dst[i] = (uint8_t)limit(nearbyint((double)code), 0, 255);
            } else if (n->op == QB_QOP_CONSTANT) {
                dst[i] = n->codes[i];
            } else if (n->op == QB_QOP_RELU && !qb_qparams_equal(&n->q, &net->nodes[n->src[0]].q)) {
                const struct qb_qparams from = net->nodes[n->src[0]].q;
                const float real = from.scale * (float)(src0[i] - from.zero_point);
                const float code = fmaxf(real, 0.0F) / n->q.scale;
                dst[i] = (uint8_t)limit(nearbyint((double)code) + n->q.zero_point, 0, 255);
            } else if (n->op == QB_QOP_RELU) {
                dst[i] = src0[i] > n->q.zero_point ? src0[i] : (uint8_t)n->q.zero_point;
            } else if (n->op == QB_QOP_MUL) {
                dst[i] = expect_ort_pair(net, n, src0[i], second);
            } else if (n->op == QB_QOP_ADD) {
                dst[i] = expect_add(net, n, src0[i], second);
            }
            if (n->q.bits && has_own_scale(n)) {
                const int half = 1 << (n->q.bits - 1), middle = n->q.dtype == QB_QINT8 ? 128 : half;
                dst[i] = (uint8_t)limit(dst[i], middle - half, middle + half - 1);
            }
        }
    }
}

void net_expect_free(uint8_t *codes[NET_NODES])
{
    for (int i = 0; i < NET_NODES; i++) {
        free(codes[i]);
        codes[i] = NULL;
    }
}
