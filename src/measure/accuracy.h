/* Scoring an engine on a data set. */
#ifndef QB_MEASURE_ACCURACY_H
#define QB_MEASURE_ACCURACY_H

#include "base/hash.h"
#include "base/progress.h"
#include "data/dataset.h"
#include "engine/engine.h"

/* Index of the largest logit; the lowest class wins a tie. -1 when a logit is NaN. */
int qb_first_place(const float *logits, int classes);

/* Do networks that read `image` read the images of `set`? QB_EUNSUPPORTED with both sizes: a network of other
 * images would read across the borders of these, and behind the last one. */
enum qb_status qb_check_images(struct qb_shape image, const struct qb_dataset *set, struct qb_error *err);

struct qb_outputs {
    size_t count; /* images */
    int classes;
    float *logits;                   /* [count][classes], test-set order */
    uint8_t *predictions;            /* [count]; the lowest class wins a tie */
    char logits_hash[QB_HASH64_HEX]; /* of the logits' bytes */
    char logits_sha256[QB_SHA256_HEX];
};

/* Runs the first `count` images (1 <= count <= set->count) in batches of engine->batch. QB_EUNSUPPORTED when
 * the engine's images or classes are not the set's, QB_EINTERRUPTED on Ctrl-C, QB_EFAILED when a logit is
 * NaN.
 */
enum qb_status qb_outputs_compute(struct qb_engine *engine, const struct qb_dataset *set, size_t count,
                                  const struct qb_progress *progress, struct qb_outputs *out,
                                  struct qb_error *err);
/* A copy with memory of its own. */
enum qb_status qb_outputs_copy(const struct qb_outputs *from, struct qb_outputs *out, struct qb_error *err);
void qb_outputs_free(struct qb_outputs *outputs);

struct qb_score {
    uint64_t correct, total;
    uint64_t class_correct[QB_CLASSES], class_total[QB_CLASSES];
};
void qb_score_compute(const struct qb_outputs *outputs, const struct qb_dataset *set, struct qb_score *out);

/* Against a baseline on the same images (equal counts). */
struct qb_paired {
    uint64_t only_baseline; /* b: baseline right, this wrong */
    uint64_t only_this;     /* c */
    uint64_t agree;         /* same prediction */
    double p;               /* qb_mcnemar_exact */
};
void qb_paired_compute(const struct qb_outputs *outputs, const struct qb_outputs *baseline,
                       const struct qb_dataset *set, struct qb_paired *out);

#endif
