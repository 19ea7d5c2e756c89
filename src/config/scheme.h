/* A scheme: one complete quantization recipe, as read from configs/schemes/NAME.yaml
 * (docs/architecture.md, 7.2). */
#ifndef QB_CONFIG_SCHEME_H
#define QB_CONFIG_SCHEME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

/* Integer types of codes; the names are PyTorch's: "quint8", "qint8". */
enum qb_dtype { QB_QUINT8, QB_QINT8 };
const char *qb_dtype_name(enum qb_dtype dtype);

/* The exact requantization rule of an integer graph (reference engine: src/engine/reference). */
enum qb_arithmetic {
    QB_ARITHMETIC_FBGEMM,
    QB_ARITHMETIC_ONEDNN,
    QB_ARITHMETIC_ONEDNN_3_12,
    QB_ARITHMETIC_TORCH_ONEDNN,
    QB_ARITHMETIC_TORCH_X86,
    QB_ARITHMETIC_ORT,
    QB_ARITHMETIC_TFLITE,
    QB_ARITHMETIC_COUNT
};
const char *qb_arithmetic_name(enum qb_arithmetic arithmetic);
/* 1 and *out when `name` is one. */
int qb_arithmetic_parse(const char *name, enum qb_arithmetic *out);
/* Convolutions of these may add a residual in their float tail: QB_FUSE_CONV_ADD. */
bool qb_arithmetic_fuses_add(enum qb_arithmetic arithmetic);

/* How the products of CONV and DENSE are summed. `exact`: in int32. The others emulate vpmaddubsw, which
 * libraries use on x86 CPUs without VNNI: two neighbouring products are added and clamped to int16 before
 * they join the int32 sum (src/quant/pairs.h). `khwc`: neighbours in the order kernel row, kernel column,
 * channel, across taps, as in fbgemm and ONNX Runtime; `pad4`: each tap filled up to a multiple of four
 * channels, as in oneDNN. */
enum qb_accumulate {
    QB_ACCUMULATE_EXACT,
    QB_ACCUMULATE_MADDUBS_KHWC,
    QB_ACCUMULATE_MADDUBS_PAD4,
    QB_ACCUMULATE_COUNT
};
const char *qb_accumulate_name(enum qb_accumulate accumulate);
/* 1 and *out when `name` is one, or is "maddubs": then the order of the library that has this arithmetic. */
int qb_accumulate_parse(const char *name, enum qb_arithmetic arithmetic, enum qb_accumulate *out);
#define QB_ACCUMULATE_NAMES "exact, maddubs, maddubs_khwc, maddubs_pad4"

/* From a range to scale and zero point (qb_qparams_derive, src/quant/qparams.h): whose formula. */
enum qb_scale_rule {
    QB_SCALE_TORCH,
    QB_SCALE_ORT,
    QB_SCALE_NNCF,
    QB_SCALE_AIMET,
    QB_SCALE_TFLITE,
    QB_SCALE_RULES
};
const char *qb_scale_rule_name(enum qb_scale_rule rule);

/* Bits of qb_scheme.fuse. */
enum {
    QB_FUSE_CONV_RELU =
        1,                /* the observer sees the tensor after ReLU; the convolution's clamp does the ReLU */
    QB_FUSE_ADD_RELU = 2, /* the same for residual additions */
    QB_FUSE_CONV_ADD = 4, /* the addition happens in the convolution's float tail (qb_arithmetic_fuses_add) */
};

/* Which tensors are observed and get scales of their own, by PyTorch's rules (src/quant/roles.h): those of
 * eager mode's prepare, or of prepare_fx with get_default_qconfig_mapping. */
enum qb_prepare { QB_PREPARE_EAGER, QB_PREPARE_FX, QB_PREPARE_COUNT };
const char *qb_prepare_name(enum qb_prepare prepare);

/* How far a scheme has been compared with the framework that it reproduces; each level includes the ones
 * before it, as far as they apply. */
enum qb_compared {
    QB_COMPARED_NOTHING,
    QB_COMPARED_OBSERVER, /* the observer alone, on test data */
    QB_COMPARED_SCALES,   /* scales and zero points of this network, own calibration */
    QB_COMPARED_LOGITS,   /* from the framework's scales every logit equal */
    QB_COMPARED_COUNT
};
const char *qb_compared_name(enum qb_compared compared);

/* Bits of qb_scheme.refine: what happens beside calibration and rounding (src/quant/refine.h). They are
 * carried out in this order, whatever order the file lists them in. */
enum {
    QB_REFINE_EQUALIZE = 1,             /* of the float network, before calibration (src/quant/equalize.h) */
    QB_REFINE_SCALE_SEARCH = 16,        /* scales for the layer's output (src/quant/scale_search.h) */
    QB_REFINE_ADAROUND = 2,             /* weights are rounded for the layer's output, not each alone */
    QB_REFINE_BIAS_CORRECTION = 4,      /* layer after layer, inputs of the quantized network */
    QB_REFINE_FAST_BIAS_CORRECTION = 8, /* NNCF's: inputs of the float network, one mean a channel */
};
/* "equalize, adaround" into `out`, cut when full; "" for 0. */
void qb_refine_names(unsigned refine, char *out, size_t size);

enum { QB_BITS_MIN = 2, QB_BITS_MAX = 8 };

/* One half of a qconfig. Options that an observer does not know are an error (qb_scheme_check, src/quant). */
struct qb_observer_spec {
    const char *observer; /* a name of the observer table, or "dynamic" (src/quant/observer.h) */
    enum qb_dtype dtype;
    bool symmetric;
    bool reduce_range;
    /* Options, each with its "was it written" flag. */
    int bits;             /* of a code, 2..7: codes are limited to the values of that many bits; 0: all 8 */
    bool has_quant_range; /* quant_min and quant_max; both or none */
    int quant_min, quant_max;
    bool has_eps;
    float eps; /* default 2^-23 */
    bool has_averaging_constant;
    double averaging_constant; /* default 0.01 */
    bool has_bins;
    int bins; /* default 2048, 128 for ort_entropy */
    bool has_percentile;
    double percentile; /* above 50, at most 100; default 99.99, 99.999 for ort_percentile */
    bool has_levels;
    int levels;                    /* default 128 */
    enum qb_scale_rule scale_rule; /* default: torch */
    int line; /* where the block stands in qb_scheme.path, for messages; 0: made by hand */
};

/* A layer that is not as the rest of its scheme: float, or with blocks of another scheme or of its own. */
struct qb_exception {
    const char *layer; /* canonical name; known to exist once there is a graph (src/quant/roles.h) */
    const char *name;  /* the scheme whose blocks these are; "fp32"; "": they stand with the layer itself */
    bool fp32;         /* the layer is float and has no blocks */
    const struct qb_observer_spec *weights, *activations; /* NULL: as the rest */
    const char *path;                                     /* the file that the blocks stand in */
    int line;                                             /* in the scheme's file; 0: made by hand */
};

struct qb_scheme {
    const char *name;
    const char *path;       /* the file it came from; messages name it */
    const char *reproduces; /* which framework and version, free text; "" if none */
    const char *verified;   /* what has been compared with the real one, free text; "" if nothing: then
                               `compared` is too */
    enum qb_compared compared;
    bool fp32; /* true: the float graph itself, everything below is unset */
    struct qb_observer_spec weights, activations;
    unsigned fuse;
    enum qb_prepare prepare; /* default: eager */
    enum qb_arithmetic arithmetic;
    enum qb_accumulate accumulate; /* default: exact */
    unsigned refine;
    const struct qb_exception *layers; /* [layer_count] */
    size_t layer_count;
};
/* "conv fp32, dense fbgemm, conv_4 {weights}" into `out`, cut when full; "" without exceptions. */
void qb_exception_names(const struct qb_scheme *scheme, char *out, size_t size);

/* Finds a scheme: a name without '/' and ".yaml" is looked up in `scheme_dirs` (NULL-terminated list of
 * folders), anything else is a path. "fp32" is built in. Unknown keys, wrong types and impossible values are
 * QB_EINPUT naming file, line and key; an unknown name lists the names that exist. Strings live in `arena`.
 */
enum qb_status qb_scheme_load(const char *name_or_path, const char *const *scheme_dirs,
                              struct qb_arena *arena, struct qb_scheme *out, struct qb_error *err);

/* The same scheme with weights and activations of so many bits (2..8; 0: as they are), named NAME_w4a6: codes
 * of the whole width, without -2^(bits-1) where the scheme leaves out -128, and without reduce_range, which
 * is a matter of 8 bits. A range of its own that is neither is QB_EINPUT. */
enum qb_status qb_scheme_narrow(const struct qb_scheme *scheme, int weights, int activations,
                                struct qb_arena *arena, struct qb_scheme *out, struct qb_error *err);

/* Names of all schemes in the folders, sorted, without duplicates, "fp32" first. */
enum qb_status qb_scheme_list(const char *const *scheme_dirs, struct qb_arena *arena, const char ***names,
                              unsigned *count, struct qb_error *err);

#endif
