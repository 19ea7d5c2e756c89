/* Schemes in words: see describe.h. */
#include "quant/describe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "quant/observer.h"
#include "quant/qparams.h"

static void append(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void append(char *out, size_t size, const char *format, ...)
{
    const size_t used = strlen(out);
    va_list args;
    va_start(args, format);
    vsnprintf(out + used, size - used, format, args);
    va_end(args);
}

size_t qb_spec_options(const struct qb_observer_spec *spec, struct qb_spec_option out[QB_SPEC_OPTIONS])
{
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    size_t n = 0;
    if (!ops) { /* dynamic */
        return n;
    }
    const struct qb_observer_ops *const source = ops->channel ? ops->channel : ops; /* of the defaults */
    if (spec->scale_rule == QB_SCALE_TORCH) {
        out[n++] = (struct qb_spec_option){"eps", (double)qb_spec_eps(spec)};
    }
    if (ops->options & QB_OPTION_AVERAGING_CONSTANT) {
        out[n++] = (struct qb_spec_option){"averaging_constant",
                                           spec->has_averaging_constant ? spec->averaging_constant : 0.01};
    }
    if (ops->options & QB_OPTION_BINS) {
        out[n++] = (struct qb_spec_option){
            "bins", spec->has_bins || !source->default_bins ? qb_spec_bins(spec) : source->default_bins};
    }
    if (ops->options & QB_OPTION_PERCENTILE) {
        out[n++] = (struct qb_spec_option){"percentile", qb_spec_percentile(spec, source)};
    }
    if (ops->options & QB_OPTION_LEVELS) {
        out[n++] = (struct qb_spec_option){"levels", qb_spec_levels(spec)};
    }
    return n;
}

void qb_spec_describe(const struct qb_observer_spec *spec, char out[QB_DESCRIPTION])
{
    int low, high;
    qb_spec_quant_range(spec, &low, &high);
    snprintf(out, QB_DESCRIPTION, "%s %s %s, codes %d..%d%s", spec->observer, qb_dtype_name(spec->dtype),
             spec->symmetric ? "symmetric" : "affine", low, high,
             spec->reduce_range ? " (reduce_range)" : "");
    if (spec->bits) {
        append(out, QB_DESCRIPTION, ", %d bits", spec->bits);
    }
    if (spec->scale_rule != QB_SCALE_TORCH) {
        append(out, QB_DESCRIPTION, ", scale rule %s", qb_scale_rule_name(spec->scale_rule));
    }
    struct qb_spec_option options[QB_SPEC_OPTIONS];
    const size_t count = qb_spec_options(spec, options);
    for (size_t i = 0; i < count; i++) {
        int exponent;
        if (strcmp(options[i].key, "eps") == 0 && !spec->has_eps) {
            continue; /* 2^-23 almost everywhere */
        }
        if (frexp(options[i].value, &exponent) == 0.5 && exponent < 0) {
            append(out, QB_DESCRIPTION, ", %s 2^%d", options[i].key, exponent - 1);
        } else {
            append(out, QB_DESCRIPTION, ", %s %.9g", options[i].key, options[i].value);
        }
    }
}

void qb_spec_summary(const struct qb_observer_spec *spec, char *out, size_t size)
{
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    snprintf(out, size, "%s %s", spec->dtype == QB_QINT8 ? "s8" : "u8",
             spec->symmetric ? "symmetric" : "affine");
    if (spec->bits) {
        append(out, size, " %d bits", spec->bits);
    }
    if (spec->has_quant_range) {
        append(out, size, " %d..%d", spec->quant_min, spec->quant_max);
    } else if (spec->reduce_range) {
        append(out, size, spec->bits ? " reduced" : " 7-bit");
    }
    if (ops && ops->per_channel) {
        append(out, size, " per channel");
    }
}

void qb_spec_identity(const struct qb_observer_spec *o, char out[QB_SPEC_IDENTITY])
{
    snprintf(out, QB_SPEC_IDENTITY, "%s/%d/%d/%d/%d/%d:%d:%d/%d:%a/%d:%a/%d:%d/%d:%a/%d:%d/%s", o->observer,
             (int)o->dtype, o->symmetric, o->reduce_range, o->bits, o->has_quant_range, o->quant_min,
             o->quant_max, o->has_eps, (double)o->eps, o->has_averaging_constant, o->averaging_constant,
             o->has_bins, o->bins, o->has_percentile, o->percentile, o->has_levels, o->levels,
             qb_scale_rule_name(o->scale_rule));
}

void qb_fuse_describe(unsigned fuse, char *out, size_t size)
{
    static const struct {
        unsigned bit;
        const char *name;
    } fusions[] = {
        {QB_FUSE_CONV_RELU, "conv_relu"}, {QB_FUSE_ADD_RELU, "add_relu"}, {QB_FUSE_CONV_ADD, "conv_add"}};
    out[0] = 0;
    for (size_t i = 0; i < sizeof fusions / sizeof fusions[0]; i++) {
        if (fuse & fusions[i].bit) {
            append(out, size, "%s%s", out[0] ? " " : "", fusions[i].name);
        }
    }
}

/* "{ weights ...; activations ... }": the blocks that stand with a layer. */
static void describe_blocks(const struct qb_exception *e, char *out, size_t size)
{
    char text[QB_DESCRIPTION];
    snprintf(out, size, "{ ");
    if (e->weights) {
        qb_spec_describe(e->weights, text);
        append(out, size, "weights %s", text);
    }
    if (e->activations) {
        qb_spec_describe(e->activations, text);
        append(out, size, "%sactivations %s", e->weights ? "; " : "", text);
    }
    append(out, size, " }");
}

void qb_layers_describe(const struct qb_scheme *scheme, char out[QB_LAYERS_DESCRIPTION])
{
    enum { OWN = 2 * QB_DESCRIPTION + 32 };
    char texts[2][OWN] = {"", ""}; /* of this layer and of the one before, in turn */
    out[0] = 0;
    for (size_t i = 0; i < scheme->layer_count; i++) {
        const struct qb_exception *const e = &scheme->layers[i];
        char *const own = texts[i % 2];
        const char *const last = texts[(i + 1) % 2];
        if (*e->name) {
            snprintf(own, OWN, "%s", e->name);
        } else {
            describe_blocks(e, own, OWN);
        }
        if (strcmp(own, last) != 0) {
            append(out, QB_LAYERS_DESCRIPTION, "%s%s%s", *last ? " " : "", last, *last ? ", " : "");
        } else {
            append(out, QB_LAYERS_DESCRIPTION, " ");
        }
        append(out, QB_LAYERS_DESCRIPTION, "%s", e->layer);
    }
    if (scheme->layer_count) {
        append(out, QB_LAYERS_DESCRIPTION, " %s", texts[(scheme->layer_count - 1) % 2]);
    }
}

enum qb_status qb_layers_identity(const struct qb_scheme *scheme, char hex[QB_SHA256_HEX],
                                  struct qb_error *err)
{
    struct qb_sha256_stream *const stream = qb_sha256_begin();
    if (!stream) {
        return qb_fail_memory(err, 0);
    }
    for (size_t i = 0; i < scheme->layer_count; i++) {
        const struct qb_exception *const e = &scheme->layers[i];
        char text[2][QB_SPEC_IDENTITY] = {"fp32", ""};
        if (!e->fp32) {
            qb_spec_identity(e->weights ? e->weights : &scheme->weights, text[0]);
            qb_spec_identity(e->activations ? e->activations : &scheme->activations, text[1]);
        }
        qb_sha256_add(stream, e->layer, strlen(e->layer) + 1);
        qb_sha256_add(stream, text[0], strlen(text[0]) + 1);
        qb_sha256_add(stream, text[1], strlen(text[1]) + 1);
    }
    qb_sha256_end(stream, hex);
    return QB_OK;
}
