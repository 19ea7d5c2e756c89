/* Schemes in words, for tables and lists: what a scheme file says and what it leaves to defaults. */
#ifndef QB_QUANT_DESCRIBE_H
#define QB_QUANT_DESCRIBE_H

#include <stddef.h>

#include "base/hash.h"
#include "config/scheme.h"

/* The options that the observer of a half has, with the values in effect: eps, bins, ... */
struct qb_spec_option {
    const char *key; /* as in a scheme file */
    double value;
};
enum { QB_SPEC_OPTIONS = 5 };
/* Fills `out` and returns how many there are. `spec` has passed qb_scheme_check. */
size_t qb_spec_options(const struct qb_observer_spec *spec, struct qb_spec_option out[QB_SPEC_OPTIONS]);

enum { QB_DESCRIPTION = 256 };
/* One half with everything it says, and its observer's options: "histogram quint8 affine, codes 0..127
 * (reduce_range), bins 2048". */
void qb_spec_describe(const struct qb_observer_spec *spec, char out[QB_DESCRIPTION]);

/* The cell of the main table: "u8 affine 7-bit", "s8 symmetric -127..127 per channel". */
void qb_spec_summary(const struct qb_observer_spec *spec, char *out, size_t size);

/* Every value of a half that can change a result, for keys: equal text, equal half. */
enum { QB_SPEC_IDENTITY = 320 };
void qb_spec_identity(const struct qb_observer_spec *spec, char out[QB_SPEC_IDENTITY]);

/* "conv_relu add_relu"; "" when nothing is fused. */
void qb_fuse_describe(unsigned fuse, char *out, size_t size);

/* The layers that are not as the rest, neighbours that have the same together: "conv dense fp32, conv_4 mse,
 * conv_7 { weights minmax qint8 symmetric, codes -31..31 }"; "" without. */
enum { QB_LAYERS_DESCRIPTION = 2048 };
void qb_layers_describe(const struct qb_scheme *scheme, char out[QB_LAYERS_DESCRIPTION]);

/* A digest of the layers with schemes of their own, and of what those say that can change a result. */
enum qb_status qb_layers_identity(const struct qb_scheme *scheme, char hex[QB_SHA256_HEX],
                                  struct qb_error *err);

#endif
