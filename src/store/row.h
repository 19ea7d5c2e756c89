/* One result row, and the SQLite store of them (docs/architecture.md, decision 10).
 *
 * WAL, one transaction a row; key = hash of what was run (scheme content, engine, isa, threads, batch, model,
 * data, calibration, binary, machine). Writing a row with a key that exists replaces it. */
#ifndef QB_STORE_ROW_H
#define QB_STORE_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum qb_row_status { QB_ROW_OK, QB_ROW_FAILED, QB_ROW_SKIPPED };
/* "ok", "FAILED", "SKIPPED": what every view says. */
const char *qb_row_status_name(enum qb_row_status status);

/* Strings are fixed-size so that a row is a plain value. Numbers that do not apply are NAN / -1. */
struct qb_row {
    char key[33];
    char run[33];        /* id of the run that measured it */
    char experiment[64]; /* config name */
    char started[32];    /* ISO 8601, UTC */
    /* what (deterministic) */
    char scheme[64], reproduces[160];
    char weights[64], activations[64],
        observer[64]; /* short texts for the table: "s8 per channel", "u8 7-bit affine", "histogram" */
    int weight_bits, activation_bits; /* of codes: 8, or fewer; 0 for fp32 */
    char arithmetic[16], accumulate[16], fuse[48], refine[64], layers[96];
    char engine[24], isa[16];
    int threads, batch;
    char model[96], model_sha256[65], data[32], data_sha256[65], calibration[64];
    char qgraph_hash[17]; /* "" for fp32 */
    /* accuracy (deterministic) */
    int synthetic; /* 1: correct, wilson and p mean nothing */
    int64_t images, correct, agree;
    double accuracy, wilson_low, wilson_high; /* fractions */
    int64_t only_fp32, only_this;
    double p; /* exact McNemar against FP32, uncorrected (views apply Holm over their rows); NAN for fp32 */
    int64_t class_correct[10], class_total[10];
    /* calibration uncertainty: right answers in the scheme's exact arithmetic, one a calibration set; the
     * first set is the one of this row. 0, "" and NAN without `repeat`. */
    int calibration_sets;
    char set_correct[512];                   /* "8675 8671 8668" */
    double calibration_mean, calibration_sd; /* of the accuracy over the sets, fractions */
    /* what others published for this scheme, as the experiment says */
    double published; /* fraction; NAN: nothing */
    char published_source[160], published_why[512];
    char logits_hash[17];
    char exact[4];             /* "=" equals the reference arithmetic, "~" approximate */
    int64_t changed;           /* predictions that differ from the exact ones; -1 unknown */
    int64_t bytes, fp32_bytes; /* parameters */
    /* latency, us an image */
    double min, p10, median, p90, p99, median_low, median_high, disturbed;
    int64_t samples;
    double images_per_s; /* from the largest batch of this combination: 1e6 / its median */
    double macs;         /* of one image */
    double noise_floor; /* smallest ratio difference this run could show (A/A control); NAN without control */
    double roof_gmacs, roof_share; /* of the engine's ISA; share of it at min */
    double speedup; /* the median ratio to the fastest FP32 of this run at the same threads and batch */
    char implementation[256];
    /* where */
    char machine[17], cpu[96], compiler[96], onednn[48], binary[65], version[32];
    enum qb_row_status status;
    char message[256]; /* why FAILED or SKIPPED; "" else */
};

struct qb_store;

/* Opens or makes the database; the folder is made if absent. A read-only place, a file that is not ours, a
 * newer schema: one sentence. */
enum qb_status qb_store_open(const char *path, struct qb_store **out, struct qb_error *err);
/* Opens an existing database for reading alone: a file or folder that this process may not write will do. */
enum qb_status qb_store_open_read(const char *path, struct qb_store **out, struct qb_error *err);
void qb_store_close(struct qb_store *store);

/* One transaction: after a kill or a power cut the row is there completely or not at all. key and run must
 * not be empty. Replacing keeps the row's place in the order of first writing. Waits up to 5 s for another
 * writer. */
enum qb_status qb_store_put(struct qb_store *store, const struct qb_row *row, struct qb_error *err);
/* 1 in *found and the row, of any status, when one with this key exists. */
enum qb_status qb_store_get(struct qb_store *store, const char *key, struct qb_row *out, int *found,
                            struct qb_error *err);

/* Rows of the newest run of `experiment` (NULL: the newest run of all), or of run id `run` if not NULL, in
 * order of first writing. The newest run is that of the row written last. malloc'd array, NULL when there is
 * none. */
enum qb_status qb_store_rows(struct qb_store *store, const char *experiment, const char *run,
                             struct qb_row **rows, size_t *count, struct qb_error *err);

#endif
