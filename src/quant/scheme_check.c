/* Whether a scheme can be carried out: against the observer table and the rules of PyTorch's observers. */
#include "quant/scheme_check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/histogram.h"
#include "quant/observer.h"
#include "quant/qparams.h"
#include "quant/quantize.h"

/* One half of a qconfig, with the words for its messages. */
struct half {
    char file[512]; /* and the line, where known */
    char key[96];   /* "weights", "layers.conv.activations" */
    bool weights;
    const struct qb_observer_spec *spec;
};

static const struct {
    unsigned bit;
    const char *key;
} options[] = {
    {QB_OPTION_QUANT_RANGE, "quant_min, quant_max"},
    {QB_OPTION_EPS, "eps"},
    {QB_OPTION_AVERAGING_CONSTANT, "averaging_constant"},
    {QB_OPTION_BINS, "bins"},
    {QB_OPTION_PERCENTILE, "percentile"},
    {QB_OPTION_LEVELS, "levels"},
};
enum { OPTION_COUNT = sizeof options / sizeof options[0] };

static const char *file_of(const struct qb_scheme *scheme)
{
    return scheme->path ? scheme->path : scheme->name;
}

/* "a, b, c" into text. */
static void append(char *text, size_t size, const char *word)
{
    const size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used ? ", " : "", word);
}

/* Written options that no observer has to have. */
static bool has_options(const struct qb_observer_spec *spec)
{
    return spec->bits || spec->has_quant_range || spec->has_eps || spec->has_averaging_constant ||
           spec->has_bins || spec->has_percentile || spec->has_levels;
}

/* PyTorch's default_dynamic_qconfig: the range becomes a scale at run time, by a rule of its own. */
static enum qb_status check_dynamic(const struct half *half, struct qb_error *err)
{
    const struct qb_observer_spec *const spec = half->spec;
    if (half->weights) {
        return qb_fail(err, QB_EINPUT,
                       "%s: %s.observer \"dynamic\" takes ranges at run time, which only activations have",
                       half->file, half->key);
    }
    if (spec->dtype != QB_QUINT8 || spec->symmetric || spec->scale_rule != QB_SCALE_TORCH ||
        has_options(spec)) {
        return qb_fail(
            err, QB_EINPUT,
            "%s: %s: observer \"dynamic\" is for dtype: quint8, symmetric: false, and has no option "
            "but reduce_range",
            half->file, half->key);
    }
    return QB_OK;
}

static enum qb_status check_observer(const struct half *half, struct qb_error *err)
{
    char known[1024] = "";
    for (const struct qb_observer_ops *const *ops = qb_observers; *ops; ops++) {
        if (half->weights || !(*ops)->per_channel) {
            append(known, sizeof known, (*ops)->name);
        }
    }
    if (!half->weights) {
        append(known, sizeof known, "dynamic");
    }
    if (!half->spec->observer) {
        return qb_fail(err, QB_EINPUT, "%s: %s.observer is missing; one of %s is expected", half->file,
                       half->key, known);
    }
    const struct qb_observer_ops *const ops = qb_observer_find(half->spec->observer);
    if (!ops && !qb_spec_is_dynamic(half->spec)) {
        return qb_fail(err, QB_EINPUT, "%s: %s.observer \"%s\" is unknown; there are: %s", half->file,
                       half->key, half->spec->observer, known);
    }
    if (ops && ops->per_channel && !half->weights) {
        return qb_fail(
            err, QB_EINPUT,
            "%s: %s.observer \"%s\" gives one range a channel, which only weights can have; use one of: %s",
            half->file, half->key, ops->name, known);
    }
    return QB_OK;
}

static enum qb_status check_scale_rule(const struct half *half, struct qb_error *err)
{
    const struct qb_observer_spec *const spec = half->spec;
    if (spec->scale_rule == QB_SCALE_TORCH) {
        return QB_OK;
    }
    const char *const rule = qb_scale_rule_name(spec->scale_rule);
    if (spec->has_eps) {
        return qb_fail(err, QB_EINPUT,
                       "%s: %s.eps: scale_rule \"%s\" has a smallest scale of its own; only torch "
                       "has eps",
                       half->file, half->key, rule);
    }
    if (spec->scale_rule == QB_SCALE_NNCF && spec->has_quant_range) {
        return qb_fail(err, QB_EINPUT,
                       "%s: %s: scale_rule \"nncf\" is for all codes of the dtype; leave out quant_min and "
                       "quant_max",
                       half->file, half->key);
    }
    if (spec->scale_rule == QB_SCALE_NNCF && spec->reduce_range && !(half->weights && spec->symmetric)) {
        return qb_fail(err, QB_EINPUT,
                       "%s: %s.reduce_range: scale_rule \"nncf\" halves the range of symmetric weights only",
                       half->file, half->key);
    }
    if (spec->scale_rule == QB_SCALE_NNCF && half->weights && spec->symmetric && spec->dtype != QB_QINT8) {
        return qb_fail(err, QB_EINPUT, "%s: %s.dtype: symmetric weights of scale_rule \"nncf\" are qint8",
                       half->file, half->key);
    }
    if (spec->scale_rule == QB_SCALE_TFLITE && half->weights &&
        !(spec->symmetric && spec->dtype == QB_QINT8)) {
        return qb_fail(err, QB_EINPUT, "%s: %s: scale_rule \"tflite\" has symmetric qint8 weights only",
                       half->file, half->key);
    }
    if (spec->scale_rule == QB_SCALE_TFLITE && !half->weights && spec->symmetric) {
        return qb_fail(err, QB_EINPUT,
                       "%s: %s.symmetric: scale_rule \"tflite\" has affine activations only; write false",
                       half->file, half->key);
    }
    return QB_OK;
}

static enum qb_status check_options(const struct half *half, struct qb_error *err)
{
    const struct qb_observer_spec *const spec = half->spec;
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    const unsigned written =
        (spec->has_quant_range ? QB_OPTION_QUANT_RANGE : 0u) | (spec->has_eps ? QB_OPTION_EPS : 0u) |
        (spec->has_averaging_constant ? QB_OPTION_AVERAGING_CONSTANT : 0u) |
        (spec->has_bins ? QB_OPTION_BINS : 0u) | (spec->has_percentile ? QB_OPTION_PERCENTILE : 0u) |
        (spec->has_levels ? QB_OPTION_LEVELS : 0u);
    char known[128] = "";
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (ops->options & options[i].bit) {
            append(known, sizeof known, options[i].key);
        }
    }
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (written & ~ops->options & options[i].bit) {
            return qb_fail(err, QB_EINPUT, "%s: %s.%s: observer \"%s\" has no such option; it has: %s",
                           half->file, half->key, options[i].key, ops->name, known);
        }
    }
    /* Below FLT_MIN the reciprocal of a scale overflows. */
    if (spec->has_eps && !(spec->eps >= FLT_MIN && spec->eps < INFINITY)) {
        return qb_fail(err, QB_EINPUT,
                       "%s: %s.eps is %g; a number of at least %g is expected (default 2^-23)", half->file,
                       half->key, (double)spec->eps, (double)FLT_MIN);
    }
    if (spec->has_averaging_constant && !(spec->averaging_constant > 0 && spec->averaging_constant <= 1)) {
        return qb_fail(
            err, QB_EINPUT,
            "%s: %s.averaging_constant is %g; a number above 0, at most 1, is expected (default 0.01)",
            half->file, half->key, spec->averaging_constant);
    }
    if (spec->has_bins && (spec->bins < 1 || spec->bins > QB_HISTOGRAM_MAX_BINS)) {
        return qb_fail(err, QB_EINPUT, "%s: %s.bins is %d; 1 to %d are expected (default 2048)", half->file,
                       half->key, spec->bins, QB_HISTOGRAM_MAX_BINS);
    }
    if (spec->has_percentile && !(spec->percentile > 50 && spec->percentile <= 100)) {
        return qb_fail(err, QB_EINPUT, "%s: %s.percentile is %g; above 50, at most 100, is expected",
                       half->file, half->key, spec->percentile);
    }
    if (spec->has_levels && (spec->levels < 2 || spec->levels > 256)) {
        return qb_fail(err, QB_EINPUT, "%s: %s.levels is %d; 2 to 256 are expected", half->file, half->key,
                       spec->levels);
    }
    const int bins = spec->has_bins ? spec->bins : ops->default_bins ? ops->default_bins : qb_spec_bins(spec);
    if ((ops->options & QB_OPTION_LEVELS) && bins < qb_spec_levels(spec)) {
        return qb_fail(err, QB_EINPUT,
                       "%s: %s.levels: %d levels out of %d bins; at least as many bins are expected",
                       half->file, half->key, qb_spec_levels(spec), bins);
    }
    return check_scale_rule(half, err);
}

/* MinMaxObserver and what PyTorch derives from it, or writes like it. */
static bool is_minmax(const struct qb_observer_spec *spec)
{
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    return ops == &qb_observer_minmax || ops == &qb_observer_moving_average_minmax ||
           ops == &qb_observer_per_channel_minmax;
}

static enum qb_status check_quant_range(const struct half *half, struct qb_error *err)
{
    const struct qb_observer_spec *const spec = half->spec;
    int low, high;
    qb_dtype_range(spec->dtype, &low, &high);
    if (spec->has_quant_range && (spec->quant_min < low || spec->quant_max > high || spec->quant_min > 0 ||
                                  spec->quant_max < 0 || spec->quant_min >= spec->quant_max)) {
        return qb_fail(
            err, QB_EINPUT,
            "%s: %s.quant_min, quant_max are %d, %d; a range within %d..%d of %s that contains 0 is expected",
            half->file, half->key, spec->quant_min, spec->quant_max, low, high, qb_dtype_name(spec->dtype));
    }
    if (spec->reduce_range && spec->symmetric && spec->dtype == QB_QUINT8 &&
        spec->scale_rule == QB_SCALE_TORCH && is_minmax(spec)) {
        return qb_fail(
            err, QB_EUNSUPPORTED,
            "%s: %s.reduce_range cannot be combined with symmetric quint8 for observer %s (PyTorch raises "
            "NotImplementedError); use symmetric: false, dtype: qint8 or reduce_range: false",
            half->file, half->key, spec->observer);
    }
    qb_spec_quant_range(spec, &low, &high);
    if (low >= high) {
        return qb_fail(
            err, QB_EINPUT,
            "%s: %s.reduce_range halves quant_min, quant_max to %d, %d; at least two codes are expected",
            half->file, half->key, low, high);
    }
    return QB_OK;
}

/* The block `spec` of the file `path`; `layer`: of whose own it is, or NULL. */
static enum qb_status check_half(const char *path, const char *layer, bool weights,
                                 const struct qb_observer_spec *spec, struct qb_error *err)
{
    struct half half = {.weights = weights, .spec = spec};
    snprintf(half.key, sizeof half.key, "%s%.63s%s%s", layer ? "layers." : "", layer ? layer : "",
             layer ? "." : "", weights ? "weights" : "activations");
    if (spec->line) {
        snprintf(half.file, sizeof half.file, "%s:%d", path, spec->line);
    } else {
        snprintf(half.file, sizeof half.file, "%s", path);
    }
    QB_TRY(check_observer(&half, err));
    if (qb_spec_is_dynamic(spec)) {
        return check_dynamic(&half, err);
    }
    QB_TRY(check_options(&half, err));
    return check_quant_range(&half, err);
}

static bool any_dynamic(const struct qb_scheme *scheme)
{
    bool any = qb_spec_is_dynamic(&scheme->activations);
    for (size_t i = 0; i < scheme->layer_count && !any; i++) {
        const struct qb_observer_spec *const spec = scheme->layers[i].activations;
        any = spec && qb_spec_is_dynamic(spec);
    }
    return any;
}

static enum qb_status check_exception(const struct qb_scheme *scheme, const struct qb_exception *e,
                                      struct qb_error *err)
{
    const char *const path = e->path ? e->path : file_of(scheme), *const layer = *e->name ? NULL : e->layer;
    if (e->weights) {
        QB_TRY(check_half(path, layer, true, e->weights, err));
    }
    return e->activations ? check_half(path, layer, false, e->activations, err) : QB_OK;
}

enum qb_status qb_scheme_check(const struct qb_scheme *scheme, struct qb_error *err)
{
    if (scheme->fp32) {
        return QB_OK;
    }
    QB_TRY(check_half(file_of(scheme), NULL, true, &scheme->weights, err));
    QB_TRY(check_half(file_of(scheme), NULL, false, &scheme->activations, err));
    if ((scheme->fuse & QB_FUSE_CONV_ADD) && !qb_arithmetic_fuses_add(scheme->arithmetic)) {
        return qb_fail(err, QB_EINPUT,
                       "%s: fuse: conv_add needs arithmetic: onednn or onednn_3_12 (here: %s), which add in "
                       "the convolution's float tail",
                       file_of(scheme), qb_arithmetic_name(scheme->arithmetic));
    }
    if (scheme->prepare == QB_PREPARE_FX && !qb_arithmetic_traits(scheme->arithmetic)->requantizes) {
        return qb_fail(err, QB_EINPUT,
                       "%s: prepare: fx quantizes tensors a second time, which arithmetic %s does not have; "
                       "those of PyTorch and oneDNN have",
                       file_of(scheme), qb_arithmetic_name(scheme->arithmetic));
    }
    for (size_t i = 0; i < scheme->layer_count; i++) {
        QB_TRY(check_exception(scheme, &scheme->layers[i], err));
    }
    if (any_dynamic(scheme) && !qb_arithmetic_traits(scheme->arithmetic)->dynamic) {
        return qb_fail(err, QB_EINPUT,
                       "%s: observer \"dynamic\" needs arithmetic: fbgemm (here: %s), whose rule it is",
                       file_of(scheme), qb_arithmetic_name(scheme->arithmetic));
    }
    if ((scheme->refine & QB_REFINE_BIAS_CORRECTION) && (scheme->refine & QB_REFINE_FAST_BIAS_CORRECTION)) {
        return qb_fail(err, QB_EINPUT,
                       "%s: refine: bias_correction and fast_bias_correction both write the biases; one is "
                       "expected",
                       file_of(scheme));
    }
    return QB_OK;
}

enum qb_status qb_scheme_check_integer(const struct qb_scheme *scheme, struct qb_error *err)
{
    if (scheme->fp32) {
        return qb_fail(err, QB_EINPUT,
                       "scheme \"%s\" is the float network itself: there is nothing to quantize; name an "
                       "integer scheme",
                       scheme->name ? scheme->name : "fp32");
    }
    return qb_scheme_check(scheme, err);
}
