/* Convolutions: every form of the tail, every shape class of the tiles, zero points, strides and steps that
 * are no powers of two. dst is compared byte by byte with the ref kernel's, the gaps between pixels with what
 * they held before. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "kernels/conv/conv.h"

/* The last cases are large pictures for the tails: an FMA in the wrong place moves one code in some 100,000.
 */
enum { CASES = 1500, TAIL_CASES = 64, CHANNELS = 96 };

struct sample {
    struct qb_conv conv;
    char text[256];
    struct guarded src, wei, res;
    size_t src_origin, dst_bytes;
    int32_t zero_points[CHANNELS];
    _Alignas(64) float bia[CHANNELS], scale[CHANNELS];
    _Alignas(64) int32_t start[CHANNELS], patch[CHANNELS];
    _Alignas(64) int32_t multiplier[CHANNELS], round[CHANNELS], shift[CHANNELS];
};

static float real(struct qb_rng *rng, double low, double high)
{
    return (float)(low + (high - low) * qb_rng_double(rng));
}

/* Nudges that show the wrong sign, starts, and patches where sums are: 0 in some pictures, anywhere near in
 * others. */
static void make_fixed(struct sample *s, struct qb_rng *rng)
{
    struct qb_tail *const t = &s->conv.tail;
    t->start = s->start;
    t->patch = s->patch;
    t->sign = draw(rng, 0, 1) ? INT32_MIN : 0;
    memset(s->start, 0, sizeof s->start);
    memset(s->patch, 0, sizeof s->patch);
    for (int k = 0; k < s->conv.oc; k++) {
        s->start[k] = draw(rng, -2000, 2000);
        s->bia[k] = real(rng, 0.0, 0.5);
        s->patch[k] = draw(rng, 0, 1) ? s->start[k] : draw(rng, -3000, 3000);
    }
}

/* Multipliers that come to the scales, in 31 bits, and the extremes: the least and the largest of 31 bits, by
 * all shifts there are, with sums up to the limit of the rule, and channels that are 0. */
static void make_integer(struct sample *s, struct qb_rng *rng)
{
    struct qb_tail *const t = &s->conv.tail;
    const int32_t most = (1 << 30) - 1 - 255 * 255 * 25 * 64; /* beside the largest sum of products */
    t->start = s->start;
    t->multiplier = s->multiplier;
    t->round = s->round;
    t->shift = s->shift;
    t->once = draw(rng, 0, 1);
    memset(s->start, 0, sizeof s->start);
    memset(s->multiplier, 0, sizeof s->multiplier);
    memset(s->round, 0, sizeof s->round);
    memset(s->shift, 0, sizeof s->shift);
    const bool extreme = draw(rng, 0, 2) == 0;
    for (int k = 0; k < s->conv.oc; k++) {
        int exponent;
        const double mantissa = frexp((double)s->scale[k], &exponent);
        s->multiplier[k] = (int32_t)(mantissa * 0x1p31) + draw(rng, 0, 127);
        s->shift[k] = exponent < 0 ? -exponent : 1;
        s->start[k] = draw(rng, -2000, 2000);
        if (extreme) {
            s->multiplier[k] = PICK(rng, 1 << 30, INT32_MAX, draw(rng, 1 << 30, INT32_MAX));
            s->shift[k] = PICK(rng, 1, 8, 24, 31, draw(rng, 1, 31));
            s->start[k] = PICK(rng, -most, most, 0, draw(rng, -most, most));
        }
        s->round[k] = 1 << (s->shift[k] - 1);
        if (draw(rng, 0, 15) == 0) {
            s->multiplier[k] = s->round[k] = s->shift[k] = 0;
        }
    }
}

/* Scales for which codes use their range and sometimes leave it. */
static void make_tail(struct sample *s, enum qb_tail_form form, struct qb_rng *rng)
{
    const double depth = (double)s->conv.kh * s->conv.kw * s->conv.ic;
    const bool tensor = form >= QB_FORM_TENSOR && form <= QB_FORM_TENSOR_ADD_LONG,
               fixed = form == QB_FORM_FIXED || form == QB_FORM_FIXED_ADD, integer = form >= QB_FORM_INTEGER,
               onednn = qb_form_onednn(form);
    struct qb_tail *const t = &s->conv.tail;
    *t = (struct qb_tail){.rule = integer                           ? QB_TAIL_INTEGER
                                  : fixed                           ? QB_TAIL_FIXED
                                  : form >= QB_FORM_APART && onednn ? QB_TAIL_ONEDNN_APART
                                  : onednn                          ? QB_TAIL_ONEDNN
                                  : tensor                          ? QB_TAIL_FBGEMM_TENSOR
                                                                    : QB_TAIL_FBGEMM,
                          .bia = s->bia,
                          .scale = s->scale,
                          .bia_factor = real(rng, 0.5, 2.0),
                          .acc_scale = real(rng, 0.01, 2.0),
                          .own_inverse = real(rng, 0.5, 2.0),
                          .dst_inverse = real(rng, 0.5, 2.0),
                          .zero_point = PICK(rng, 0, 0, 0, 255, draw(rng, 1, 254))};
    t->low = draw(rng, 0, 1) ? t->zero_point : 0;
    if (onednn) {
        t->own_zero_point = (float)PICK(rng, 0, 255, draw(rng, 1, 254));
        t->zero_point = qb_form_adds(form) ? t->zero_point : 0;
    }
    memset(s->bia, 0, sizeof s->bia);
    memset(s->scale, 0, sizeof s->scale);
    for (int k = 0; k < s->conv.oc; k++) {
        s->scale[k] = (float)(real(rng, 0.2, 2.0) * 255.0 / (depth * 64.0 * 64.0 + 1.0));
        s->bia[k] = real(rng, -1.0, 1.0) * (onednn ? 64.0F : 64.0F / s->scale[k]);
        s->scale[k] /= t->rule == QB_TAIL_ONEDNN_APART ? t->acc_scale : 1.0F;
    }
    if (fixed) {
        make_fixed(s, rng);
    }
    if (integer) {
        make_integer(s, rng);
    }
    if (qb_form_sums(form)) {
        t->residual = QB_TAIL_SUM;
        t->res_scale = real(rng, 0.1, 1.0);
        t->res_zero_point = PICK(rng, 0, 255, draw(rng, 1, 254));
    } else if (qb_form_reads(form)) {
        const int zero = PICK(rng, 0, draw(rng, 1, 254)),
                  own = onednn ? (int)t->own_zero_point : PICK(rng, 0, 128, draw(rng, 1, 254));
        t->residual = QB_TAIL_ADD;
        t->conv_zero_point = onednn ? 0 : own;
        t->conv_low = (float)(draw(rng, 0, 1) ? own - t->conv_zero_point : -t->conv_zero_point);
        t->conv_high = (float)(255 - t->conv_zero_point);
        t->conv_scale = real(rng, 0.1, 1.0);
        t->conv_offset = t->conv_scale * (float)-own;
        t->res_scale = real(rng, 0.1, 1.0);
        t->res_offset = t->res_scale * (float)-zero;
        if (fixed || integer) { /* any constants will do */
            t->quick = true;
            t->quick_conv = t->conv_scale * t->dst_inverse;
            t->quick_res = t->res_scale * t->dst_inverse;
            t->quick_offset = t->res_offset * t->dst_inverse;
        }
        if (form == QB_FORM_FBGEMM_ADD || form == QB_FORM_TENSOR_ADD || form == QB_FORM_APART_ADD) {
            qb_tail_quicken(
                t); /* at times there is no quick form: then this is another case of the long one */
        }
    }
}

/* Every third case is laid out as the native engine does it, every sixth without zero points besides: what
 * specialised paths are made for. */
static bool is_framed(int number)
{
    return number < CASES && number % 3 == 1;
}

static bool is_plain(int number)
{
    return is_framed(number) && number % 2 == 1;
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

static void make_framed(struct qb_conv *c, int *pad_b, int *pad_r, struct qb_rng *rng)
{
    c->kh = c->kw = PICK(rng, 1, 3, 3, 3, 5);
    c->stride_h = c->stride_w = PICK(rng, 1, 1, 1, 2);
    c->ic = PICK(rng, 3, 3, 16, 16, 32, 48, 64);
    c->oc = PICK(rng, 10, 16, 16, 32, 48, 64);
    c->dst_h = draw(rng, 1, 9);
    c->dst_w = PICK(rng, 6, 8, 8, 11, 16, 17, 32);
    c->pad_t = c->pad_l = c->kh / 2;
    *pad_b = *pad_r = c->pad_t;
    c->src_h = (c->dst_h - 1) * c->stride_h + 1;
    c->src_w = (c->dst_w - 1) * c->stride_w + 1;
    c->src_step = round_up((size_t)c->ic, c->ic > 4 ? 16 : 4);
    c->src_pitch =
        round_up(round_up((size_t)c->pad_l * c->src_step, 64) + (size_t)c->src_w * c->src_step, 64);
    c->dst_step = c->res_step = (size_t)qb_blocks(c->oc) * 16;
    c->dst_pitch = c->dst_step * (size_t)c->dst_w + (size_t)PICK(rng, 0, 64);
    c->res_pitch = c->res_step * (size_t)c->dst_w + (size_t)PICK(rng, 0, 64);
    c->src_zero_point = PICK(rng, 0, 0, 255, draw(rng, 1, 254));
}

static void make_geometry(struct qb_conv *c, int *pad_b, int *pad_r, int number, struct qb_rng *rng)
{
    const bool resnet = number % 3 == 0;
    c->kh = resnet ? 3 : PICK(rng, 1, 1, 2, 3, 5);
    c->kw = resnet ? 3 : PICK(rng, 1, 1, 2, 3, 4);
    c->stride_h = resnet ? 1 : draw(rng, 1, 3);
    c->stride_w = resnet ? 1 : draw(rng, 1, 3);
    c->ic = PICK(rng, 1, 2, 3, 3, 4, 5, 7, 8, 16, 17, 20, 32, 35);
    c->oc = PICK(rng, 1, 10, 15, 16, 16, 17, 32, 33, 48, 64, 80);
    c->dst_h = draw(rng, 1, 5);
    c->dst_w = PICK(rng, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 11, 15, 16, 16, 17, 23, 32);
    c->pad_t = draw(rng, 0, c->kh - 1);
    c->pad_l = draw(rng, 0, c->kw - 1);
    if (number >= CASES) {
        *c = (struct qb_conv){.kh = 1, .kw = 1, .stride_h = 1, .stride_w = 1, .ic = 4, .oc = 64};
        c->dst_h = 48;
        c->dst_w = 64;
    }
    const int h = (c->dst_h - 1) * c->stride_h + c->kh, w = (c->dst_w - 1) * c->stride_w + c->kw;
    *pad_b = draw(rng, 0, c->kh - 1);
    *pad_r = draw(rng, 0, c->kw - 1);
    *pad_b = h - c->pad_t - *pad_b < 1 ? 0 : *pad_b;
    *pad_r = w - c->pad_l - *pad_r < 1 ? 0 : *pad_r;
    c->src_h = h - c->pad_t - *pad_b;
    c->src_w = w - c->pad_l - *pad_r;
    const size_t ic4 = ((size_t)c->ic + 3) / 4 * 4, oc16 = (size_t)qb_blocks(c->oc) * 16;
    c->src_step = ic4 + (size_t)PICK(rng, 0, 0, 1, 13);
    c->src_pitch = c->src_step * (size_t)w + (size_t)PICK(rng, 0, 7, 61);
    c->dst_step = oc16 + (size_t)PICK(rng, 0, 0, 0, 1, 17);
    c->dst_pitch = c->dst_step * (size_t)c->dst_w + (size_t)PICK(rng, 0, 5, 67);
    c->res_step = oc16 + (size_t)PICK(rng, 0, 0, 0, 1, 19);
    c->res_pitch = c->res_step * (size_t)c->dst_w + (size_t)PICK(rng, 0, 3, 71);
    c->src_zero_point = PICK(rng, 0, 0, 255, draw(rng, 1, 254));
}

/* The frame holds the zero point, bytes between pixels stay random. */
static void make_source(struct sample *s, int pad_b, int pad_r, enum fill fill, enum guard_side side,
                        struct qb_rng *rng)
{
    const struct qb_conv *const c = &s->conv;
    const size_t h = (size_t)(c->pad_t + c->src_h + pad_b), w = (size_t)(c->pad_l + c->src_w + pad_r);
    const size_t ic4 = ((size_t)c->ic + 3) / 4 * 4;
    s->src = guarded_alloc((h - 1) * c->src_pitch + (w - 1) * c->src_step + ic4 + QB_CONV_EXTRA, side, rng);
    for (size_t y = 0; y < h; y++) {
        for (size_t x = 0; x < w; x++) {
            uint8_t *const pixel = s->src.data + y * c->src_pitch + x * c->src_step;
            const bool inside = y >= (size_t)c->pad_t && y < (size_t)(c->pad_t + c->src_h) &&
                                x >= (size_t)c->pad_l && x < (size_t)(c->pad_l + c->src_w);
            fill_codes(pixel, (size_t)c->ic, fill, rng);
            if (!inside) {
                memset(pixel, c->src_zero_point, (size_t)c->ic);
            }
        }
    }
    s->src_origin = (size_t)c->pad_t * c->src_pitch + (size_t)c->pad_l * c->src_step;
}

static void make_weights(struct sample *s, enum fill fill, enum guard_side side, struct qb_rng *rng)
{
    struct qb_conv *const c = &s->conv;
    const size_t taps = (size_t)(c->kh * c->kw), ic = (size_t)c->ic;
    s->wei = guarded_alloc((size_t)c->oc * taps * ic, side, rng);
    c->wei = (const int8_t *)s->wei.data;
    fill_weights((int8_t *)s->wei.data, s->wei.bytes, fill, rng);
    c->wei_o = taps * ic;
    if (draw(rng, 0, 1)) { /* OIHW */
        c->wei_i = taps;
        c->wei_y = (size_t)c->kw;
        c->wei_x = 1;
    } else { /* OHWI */
        c->wei_i = 1;
        c->wei_x = ic;
        c->wei_y = ic * (size_t)c->kw;
    }
    if (draw(rng, 0, 3) == 0) {
        for (int k = 0; k < c->oc; k++) {
            s->zero_points[k] = PICK(rng, 0, -128, 127, draw(rng, -128, 127));
        }
        c->wei_zero_points = s->zero_points;
    }
}

/* Half of the additions put a code of the convolution that is too large beyond 255 by itself. */
static void make_plain_tail(struct qb_tail *t, struct qb_rng *rng)
{
    t->zero_point = t->low = 0;
    if (t->residual == QB_TAIL_ADD && draw(rng, 0, 1)) {
        t->conv_scale = real(rng, 1.0, 1.8) / t->dst_inverse;
        t->conv_offset = t->conv_scale * (float)-t->conv_zero_point;
    }
    if (t->residual == QB_TAIL_ADD) {
        qb_tail_quicken(t); /* which was proven within the old limits */
    }
}

static void make_sample(struct sample *s, int number, struct qb_rng *rng)
{
    const bool tails = number >= CASES, plain = is_plain(number);
    const enum fill codes = tails ? FILL_RANDOM : (enum fill)(number / 3 % FILL_COUNT),
                    weights = tails ? FILL_RANDOM : (enum fill)(number / 3 / FILL_COUNT % FILL_COUNT);
    const enum guard_side side = number / 2 % 2 ? GUARD_AFTER : GUARD_BEFORE;
    const enum qb_tail_form form = (enum qb_tail_form)(plain   ? PICK(rng, QB_FORM_FBGEMM, QB_FORM_FBGEMM_ADD)
                                                       : tails ? number % QB_FORM_COUNT
                                                               : draw(rng, 0, QB_FORM_COUNT - 1));
    struct qb_conv *const c = &s->conv;
    int pad_b, pad_r;
    memset(c, 0, sizeof *c);
    if (is_framed(number)) {
        make_framed(c, &pad_b, &pad_r, rng);
        c->src_zero_point = plain ? 0 : c->src_zero_point;
    } else {
        make_geometry(c, &pad_b, &pad_r, number, rng);
    }
    make_source(s, pad_b, pad_r, codes, side, rng);
    make_weights(s, weights, side, rng);
    make_tail(s, form, rng);
    if (plain) {
        c->wei_zero_points = NULL;
        make_plain_tail(&c->tail, rng);
    }
    const size_t h = (size_t)c->dst_h - 1, w = (size_t)c->dst_w - 1, oc16 = (size_t)qb_blocks(c->oc) * 16;
    s->res = guarded_alloc(h * c->res_pitch + w * c->res_step + oc16, side, rng);
    s->dst_bytes = h * c->dst_pitch + w * c->dst_step + oc16;
    snprintf(s->text, sizeof s->text,
             "case %d: %dx%d stride %dx%d, %d -> %d channels, dst %dx%d, pad %d %d %d %d, zx %d, zw %d, zy "
             "%d, tail %d",
             number, c->kh, c->kw, c->stride_h, c->stride_w, c->ic, c->oc, c->dst_h, c->dst_w, c->pad_t,
             c->pad_l, pad_b, pad_r, c->src_zero_point, c->wei_zero_points != NULL, c->tail.zero_point,
             (int)qb_tail_form(&c->tail));
}

/* Where the kernel allows it, `chain` runs it twice as a chain; `again` is what the first run and the end
 * that it left to the second have written, else empty. */
static struct guarded execute(const struct qb_conv_impl *impl, const struct sample *s, enum guard_side side,
                              bool chain, struct guarded *again, struct qb_rng *rng)
{
    struct guarded packed = guarded_alloc((impl->packed_bytes(&s->conv) + 63) / 64 * 64, GUARD_AFTER, rng),
                   scratch = guarded_alloc((impl->scratch_bytes(&s->conv) + 63) / 64 * 64, GUARD_AFTER, rng),
                   dst = guarded_alloc(s->dst_bytes, side, rng);
    memset(dst.data, 0x5a, dst.bytes);
    impl->pack(&s->conv, packed.data);
    struct qb_conv c = s->conv;
    c.wei = NULL; /* pack only */
    const uint8_t *const src = s->src.data + s->src_origin;
    *again = (struct guarded){0};
    if (chain && impl->chains && impl->chains(&c, &c, false)) {
        *again = guarded_alloc(s->dst_bytes, side, rng);
        memset(again->data, 0x5a, again->bytes);
        impl->run_chained(&c, packed.data, src, s->res.data, again->data, scratch.data, QB_CHAIN_LEAVE);
        impl->run_chained(&c, packed.data, src, s->res.data, dst.data, scratch.data, QB_CHAIN_RESUME);
    } else {
        impl->run(&c, packed.data, src, s->res.data, dst.data, scratch.data);
    }
    guarded_free(&packed);
    guarded_free(&scratch);
    return dst;
}

static int compare(const struct sample *s, const struct guarded *got, const struct guarded *want)
{
    const struct qb_conv *const c = &s->conv;
    for (size_t i = 0; i < got->bytes; i++) {
        const size_t x = i % c->dst_pitch, k = x % c->dst_step;
        const bool inside = x < c->dst_step * (size_t)c->dst_w && k < (size_t)qb_blocks(c->oc) * 16;
        if (inside ? k < (size_t)c->oc && got->data[i] != want->data[i] : got->data[i] != 0x5a) {
            return check_failed(s->text, i, got->data[i], inside ? want->data[i] : 0x5a);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct qb_rng rng;
    const struct qb_conv_impl *const impl = qb_conv_select(check_arguments(argc, argv, &rng));
    static struct sample s;
    int failed = 0;
    for (int number = 0; number < CASES + TAIL_CASES && !failed; number++) {
        make_sample(&s, number, &rng);
        const enum guard_side side = number % 4 < 2 ? GUARD_AFTER : GUARD_BEFORE;
        struct guarded again, want = execute(qb_conv_impls[0], &s, side, false, &again, &rng),
                              got = execute(impl, &s, side, number / 6 % 2, &again, &rng);
        failed = compare(&s, &got, &want);
        if (again.data) {
            failed = failed || compare(&s, &again, &want);
            guarded_free(&again);
        }
        guarded_free(&want);
        guarded_free(&got);
        guarded_free(&s.src);
        guarded_free(&s.wei);
        guarded_free(&s.res);
    }
    printf("%s: %d cases%s\n", impl->name, CASES + TAIL_CASES, failed ? ", FAILED" : "");
    return failed;
}
