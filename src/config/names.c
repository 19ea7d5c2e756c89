/* Names of the types, arithmetics, scale rules and levels of comparison in files and tables (see scheme.h),
 * and where a named file is looked for. */
#include "config/scheme.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/internal.h"

static const char *const arithmetic_names[QB_ARITHMETIC_COUNT] = {
    [QB_ARITHMETIC_FBGEMM] = "fbgemm",           [QB_ARITHMETIC_ONEDNN] = "onednn",
    [QB_ARITHMETIC_ONEDNN_3_12] = "onednn_3_12", [QB_ARITHMETIC_TORCH_ONEDNN] = "torch_onednn",
    [QB_ARITHMETIC_TORCH_X86] = "torch_x86",     [QB_ARITHMETIC_ORT] = "ort",
    [QB_ARITHMETIC_TFLITE] = "tflite",
};

static const char *const accumulate_names[QB_ACCUMULATE_COUNT] = {
    [QB_ACCUMULATE_EXACT] = "exact",
    [QB_ACCUMULATE_MADDUBS_KHWC] = "maddubs_khwc",
    [QB_ACCUMULATE_MADDUBS_PAD4] = "maddubs_pad4",
};

static const char *const scale_rule_names[QB_SCALE_RULES] = {
    [QB_SCALE_TORCH] = "torch", [QB_SCALE_ORT] = "ort",       [QB_SCALE_NNCF] = "nncf",
    [QB_SCALE_AIMET] = "aimet", [QB_SCALE_TFLITE] = "tflite",
};

static const char *const prepare_names[QB_PREPARE_COUNT] = {
    [QB_PREPARE_EAGER] = "eager",
    [QB_PREPARE_FX] = "fx",
};

static const char *const compared_names[QB_COMPARED_COUNT] = {
    [QB_COMPARED_NOTHING] = "nothing",
    [QB_COMPARED_OBSERVER] = "observer",
    [QB_COMPARED_SCALES] = "scales",
    [QB_COMPARED_LOGITS] = "logits",
};

const char *qb_prepare_name(enum qb_prepare prepare)
{
    return prepare_names[prepare];
}

const char *qb_compared_name(enum qb_compared compared)
{
    return compared_names[compared];
}

static const struct {
    const char *name;
    unsigned bit;
} refinements[] = {
    {"equalize", QB_REFINE_EQUALIZE},
    {"scale_search", QB_REFINE_SCALE_SEARCH},
    {"adaround", QB_REFINE_ADAROUND},
    {"bias_correction", QB_REFINE_BIAS_CORRECTION},
    {"fast_bias_correction", QB_REFINE_FAST_BIAS_CORRECTION},
};

const char *qb_scale_rule_name(enum qb_scale_rule rule)
{
    return scale_rule_names[rule];
}

void qb_refine_names(unsigned refine, char *out, size_t size)
{
    *out = 0;
    for (size_t i = 0; i < sizeof refinements / sizeof refinements[0]; i++) {
        if (refine & refinements[i].bit) {
            qb_append_name(out, size, refinements[i].name);
        }
    }
}

void qb_exception_names(const struct qb_scheme *scheme, char *out, size_t size)
{
    *out = 0;
    for (size_t i = 0; i < scheme->layer_count; i++) {
        const struct qb_exception *const e = &scheme->layers[i];
        const char *const own = !e->weights      ? "{activations}"
                                : e->activations ? "{weights activations}"
                                                 : "{weights}";
        char item[160];
        snprintf(item, sizeof item, "%.63s %.63s", e->layer, *e->name ? e->name : own);
        qb_append_name(out, size, item);
    }
}

const char *qb_dtype_name(enum qb_dtype dtype)
{
    return dtype == QB_QUINT8 ? "quint8" : "qint8";
}

const char *qb_arithmetic_name(enum qb_arithmetic arithmetic)
{
    return arithmetic_names[arithmetic];
}

int qb_arithmetic_parse(const char *name, enum qb_arithmetic *out)
{
    for (int i = 0; i < QB_ARITHMETIC_COUNT; i++) {
        if (strcmp(name, arithmetic_names[i]) == 0) {
            *out = (enum qb_arithmetic)i;
            return 1;
        }
    }
    return 0;
}

bool qb_arithmetic_fuses_add(enum qb_arithmetic arithmetic)
{
    return arithmetic == QB_ARITHMETIC_ONEDNN || arithmetic == QB_ARITHMETIC_ONEDNN_3_12;
}

const char *qb_accumulate_name(enum qb_accumulate accumulate)
{
    return accumulate_names[accumulate];
}

int qb_accumulate_parse(const char *name, enum qb_arithmetic arithmetic, enum qb_accumulate *out)
{
    if (strcmp(name, "maddubs") == 0) {
        const bool onednn = qb_arithmetic_fuses_add(arithmetic) || arithmetic == QB_ARITHMETIC_TORCH_ONEDNN;
        *out = onednn ? QB_ACCUMULATE_MADDUBS_PAD4 : QB_ACCUMULATE_MADDUBS_KHWC;
        return 1;
    }
    for (int i = 0; i < QB_ACCUMULATE_COUNT; i++) {
        if (strcmp(name, accumulate_names[i]) == 0) {
            *out = (enum qb_accumulate)i;
            return 1;
        }
    }
    return 0;
}

enum qb_status qb_find_beside(const char *from, const char *written, struct qb_arena *arena, const char **out,
                              struct qb_error *err)
{
    *out = written;
    if (*written == '/' || access(written, F_OK) == 0) {
        return QB_OK;
    }
    char *const copy = qb_arena_strdup(arena, from);
    const char *const beside = copy ? qb_arena_printf(arena, "%s/%s", dirname(copy), written) : NULL;
    if (!beside) {
        return qb_fail_memory(err, strlen(written));
    }
    if (access(beside, F_OK) == 0) {
        *out = beside;
    }
    return QB_OK;
}

bool qb_scheme_is_path(const char *text)
{
    const size_t length = strlen(text);
    return strchr(text, '/') || (length >= 5 && strcmp(text + length - 5, ".yaml") == 0);
}

enum qb_status qb_find_scheme(const char *from, const char *written, struct qb_arena *arena, const char **out,
                              struct qb_error *err)
{
    *out = written;
    return qb_scheme_is_path(written) ? qb_find_beside(from, written, arena, out, err) : QB_OK;
}
