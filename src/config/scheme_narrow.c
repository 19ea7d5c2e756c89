/* Schemes of fewer bits, made from schemes of 8: see qb_scheme_narrow in scheme.h. */
#include "config/scheme.h"

#include <stdio.h>
#include <string.h>

#include "config/internal.h"

static enum qb_status narrow(const struct qb_scheme *scheme, const char *key, int bits,
                             struct qb_observer_spec *spec, struct qb_error *err)
{
    if (!bits) {
        return QB_OK;
    }
    const bool no_least = spec->has_quant_range && spec->quant_min == -127 && spec->quant_max == 127;
    if (spec->has_quant_range && !no_least) {
        return qb_fail(
            err, QB_EINPUT,
            "scheme '%s' gives %s the range %d..%d, which bits would replace; expected a scheme without "
            "quant_min and quant_max, or with -127 and 127",
            scheme->name, key, spec->quant_min, spec->quant_max);
    }
    spec->bits = bits < QB_BITS_MAX ? bits : 0;
    spec->reduce_range = false;
    if (no_least) {
        spec->quant_max = (1 << (bits - 1)) - 1;
        spec->quant_min = -spec->quant_max;
    }
    return QB_OK;
}

enum qb_status qb_scheme_narrow(const struct qb_scheme *scheme, int weights, int activations,
                                struct qb_arena *arena, struct qb_scheme *out, struct qb_error *err)
{
    struct qb_scheme made = *scheme;
    char w[8] = "", a[8] = "";
    if (weights) {
        snprintf(w, sizeof w, "w%d", weights);
    }
    if (activations) {
        snprintf(a, sizeof a, "a%d", activations);
    }
    made.name = qb_arena_printf(arena, "%s_%s%s", scheme->name, w, a);
    made.reproduces = qb_arena_printf(arena, "%s, %s%s", scheme->name, w, a);
    if (!made.name || !made.reproduces) {
        return qb_fail_memory(err, strlen(scheme->name));
    }
    if (strlen(made.name) > QB_NAME_MAX) {
        return qb_fail(err, QB_EINPUT, "scheme name '%s' is longer than %d bytes", made.name, QB_NAME_MAX);
    }
    made.verified = "";
    made.compared = QB_COMPARED_NOTHING;
    QB_TRY(narrow(scheme, "weights", weights, &made.weights, err));
    QB_TRY(narrow(scheme, "activations", activations, &made.activations, err));
    *out = made;
    return QB_OK;
}
