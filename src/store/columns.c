/* Every field of struct qb_row, in the order of the CSV: see columns.h. A new column is one line here. */
#include "store/columns.h"

#define SIZE_OF(field) sizeof(((struct qb_row *)NULL)->field)
#define COLUMN_NAMED(name, kind, field, deterministic, name_of)                                              \
    {                                                                                                        \
        name, kind, offsetof(struct qb_row, field), SIZE_OF(field), deterministic, name_of                   \
    }
#define COLUMN(name, kind, field, deterministic) COLUMN_NAMED(name, kind, field, deterministic, NULL)
#define TEXT(field, deterministic) COLUMN(#field, QB_COLUMN_TEXT, field, deterministic)
#define INT(field, deterministic) COLUMN(#field, QB_COLUMN_INT, field, deterministic)
#define INT64(field, deterministic) COLUMN(#field, QB_COLUMN_INT64, field, deterministic)
#define REAL(field, deterministic) COLUMN(#field, QB_COLUMN_REAL, field, deterministic)
#define CLASS(field, i) COLUMN(#field "_" #i, QB_COLUMN_INT64, field[i], true)
#define CLASSES(field)                                                                                       \
    CLASS(field, 0), CLASS(field, 1), CLASS(field, 2), CLASS(field, 3), CLASS(field, 4), CLASS(field, 5),    \
        CLASS(field, 6), CLASS(field, 7), CLASS(field, 8), CLASS(field, 9)

const char *qb_row_status_name(enum qb_row_status status)
{
    switch (status) {
    case QB_ROW_OK: return "ok";
    case QB_ROW_FAILED: return "FAILED";
    case QB_ROW_SKIPPED: return "SKIPPED";
    }
    return "unknown";
}

static const char *status_name_of(int value)
{
    return qb_row_status_name((enum qb_row_status)value);
}

/* Deterministic: follows from binary, experiment, model and data. The key holds the machine, and `impl:
 * fastest` may choose another implementation each time, so neither is. */
const struct qb_column qb_columns[] = {
    TEXT(key, false),
    TEXT(run, false),
    TEXT(experiment, true),
    TEXT(started, false),
    TEXT(scheme, true),
    TEXT(reproduces, true),
    TEXT(weights, true),
    TEXT(activations, true),
    INT(weight_bits, true),
    INT(activation_bits, true),
    TEXT(observer, true),
    TEXT(arithmetic, true),
    TEXT(accumulate, true),
    TEXT(fuse, true),
    TEXT(refine, true),
    TEXT(layers, true),
    TEXT(engine, true),
    TEXT(isa, true),
    INT(threads, true),
    INT(batch, true),
    TEXT(model, true),
    TEXT(model_sha256, true),
    TEXT(data, true),
    TEXT(data_sha256, true),
    TEXT(calibration, true),
    TEXT(qgraph_hash, true),
    INT(synthetic, true),
    INT64(images, true),
    INT64(correct, true),
    INT64(agree, true),
    REAL(accuracy, true),
    REAL(wilson_low, true),
    REAL(wilson_high, true),
    INT64(only_fp32, true),
    INT64(only_this, true),
    REAL(p, true),
    CLASSES(class_correct),
    CLASSES(class_total),
    INT(calibration_sets, true),
    TEXT(set_correct, true),
    REAL(calibration_mean, true),
    REAL(calibration_sd, true),
    REAL(published, true),
    TEXT(published_source, true),
    TEXT(published_why, true),
    TEXT(logits_hash, true),
    TEXT(exact, true),
    INT64(changed, true),
    INT64(bytes, true),
    INT64(fp32_bytes, true),
    REAL(min, false),
    REAL(p10, false),
    REAL(median, false),
    REAL(p90, false),
    REAL(p99, false),
    REAL(median_low, false),
    REAL(median_high, false),
    REAL(disturbed, false),
    INT64(samples, false),
    REAL(images_per_s, false),
    REAL(macs, true),
    REAL(noise_floor, false),
    REAL(roof_gmacs, false),
    REAL(roof_share, false),
    REAL(speedup, false),
    TEXT(implementation, false),
    TEXT(machine, false),
    TEXT(cpu, false),
    TEXT(compiler, true),
    TEXT(onednn, true),
    TEXT(binary, true),
    TEXT(version, true),
    COLUMN_NAMED("status", QB_COLUMN_INT, status, true, status_name_of),
    TEXT(message, true),
};
const size_t qb_column_count = sizeof qb_columns / sizeof *qb_columns;

/* An enum is read and written as an int. */
_Static_assert(SIZE_OF(status) == sizeof(int), "enum qb_row_status must have the size of int");
