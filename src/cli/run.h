/* qbench run, in three steps over one context: rows (keys, what is stored already), accuracy, latency. */
#ifndef QB_CLI_RUN_H
#define QB_CLI_RUN_H

#include <stdbool.h>

#include "cli/pipeline.h"
#include "config/plan.h"
#include "measure/accuracy.h"
#include "store/row.h"

/* A scheme of the plan with what has been made of it so far. */
struct run_scheme {
    const struct qb_scheme *scheme;
    struct qb_qgraph *qgraph; /* NULL until needed, and for fp32 */
    struct qb_outputs exact;  /* outputs under the scheme's own arithmetic; count 0 until needed */
    int64_t set_correct[QB_MAX_CALIBRATION_SETS]; /* right answers of each calibration set measured so far */
    unsigned set_count;
    struct qb_error failure; /* status QB_OK unless the scheme could not be quantized */
};

/* One combination of the plan, and its rows: one a batch size. */
struct run_entry {
    const struct qb_plan_entry *plan;
    struct run_scheme *scheme;
    enum qb_isa isa;
    struct qb_error unavailable; /* status QB_OK unless this CPU lacks the ISA: then the rows are SKIPPED */
    struct qb_row *rows;         /* [plan.measure.batch_count] */
    struct qb_outputs outputs;   /* count 0 when the accuracy came from the store */
};

/* Hidden option of a process that is one ISA's part of a sweep. */
#define RUN_PART_OPTION "part"

struct run {
    struct qb_plan plan;
    struct qb_store *store;
    int lock; /* descriptor of the results folder, locked; -1: none */
    struct qb_graph *graph;
    struct qb_dataset train, test;
    struct qb_sample sample;
    struct qb_sampler sampler;
    struct pipeline_cache cache;
    size_t images; /* test images to score */
    bool fresh;    /* measure again what is stored */
    enum qb_isa
        onednn_isa; /* what oneDNN may use in this process, calibration and the FP32 baseline included */
    char id[33];
    struct qb_outputs fp32; /* baseline; count 0 until needed */
    struct run_scheme *schemes;
    struct run_entry *entries;
    size_t entry_count;
    struct run_network *networks; /* integer networks of other calibration sets that were scored */
    size_t network_count;
};

/* A scored integer network: schemes whose calibration sets come to the same one share its answer. */
struct run_network {
    char hash[QB_HASH64_HEX];
    int64_t correct;
};

/* The entries of the plan, each once, those of `only_isa` when it is not NULL. */
enum qb_status run_entries_make(struct run *run, const char *only_isa, struct qb_error *err);

/* oneDNN reads its ISA cap once a process: true when the oneDNN entries want several, so that each
 * instruction set must be measured in a process of its own. Sets onednn_isa for this process, which is the
 * best when no entry runs oneDNN. */
bool run_wants_children(struct run *run);

/* Takes the results folder for this process, waiting while another run has it. */
enum qb_status run_lock(struct run *run, const char *results, struct qb_error *err);

/* Fills what is known before anything runs: names, hashes, keys; takes finished rows from the store (not when
 * `fresh`). */
enum qb_status run_rows_prepare(struct run *run, struct qb_error *err);

/* Takes all rows from the store, failed ones too: after other processes have measured. */
enum qb_status run_rows_collect(struct run *run, struct qb_error *err);

/* Measures each ISA of the plan that is not finished in a process of its own, then collects the rows. Where
 * such a process dies, the rows that it had not finished are FAILED. */
enum qb_status run_children(struct run *run, int argc, char **argv, struct qb_error *err);

/* Scores every entry whose rows hold no accuracy, and stores the rows. */
enum qb_status run_accuracy(struct run *run, struct qb_error *err);

/* How many of the first images are compared, byte for byte: scored answers with the reference engine's, those
 * of an engine to be timed with the scored ones. */
size_t run_check_images(const struct run *run);

/* For an entry whose accuracy came from the store: makes its integer graph and computes the first images'
 * outputs anew, checked as a scored entry's are, so that what is timed can be compared with them. */
enum qb_status run_accuracy_head(struct run *run, struct run_entry *entry, struct qb_error *err);

/* run_sets.c: calibrates and scores the scheme of a scored entry on the calibration sets that the plan asks
 * for and its rows do not hold, storing the rows after each. */
bool run_wants_sets(const struct run *run, const struct run_entry *entry);
enum qb_status run_sets(struct run *run, struct run_entry *entry, struct qb_error *err);

/* The scheme's own integer graph, made when needed. */
enum qb_status run_scheme_qgraph(struct run *run, struct run_scheme *s, struct qb_error *err);
/* s->exact: outputs of s->qgraph in the scheme's own arithmetic on all images, checked against the reference
 * engine. */
enum qb_status run_exact_outputs(struct run *run, struct run_scheme *s, struct qb_error *err);

/* Times all entries, interleaved, when a row lacks its latency, and stores the rows. */
enum qb_status run_latency(struct run *run, struct qb_error *err);

/* Writes all batches' rows of an entry. */
enum qb_status run_store_entry(struct run *run, struct run_entry *entry, struct qb_error *err);

/* Marks one row; a FAILED one loses its latency. */
void run_row_failed(struct qb_row *row, enum qb_row_status status, const struct qb_error *why);

/* Marks an entry FAILED or (not available here) SKIPPED with the sentence of `why`. */
enum qb_status run_entry_failed(struct run *run, struct run_entry *entry, const struct qb_error *why,
                                struct qb_error *err);

#endif
