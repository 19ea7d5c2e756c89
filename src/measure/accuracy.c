/* Scoring an engine on a data set: see accuracy.h. */
#include "measure/accuracy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "measure/stats.h"

int qb_first_place(const float *logits, int classes)
{
    int best = 0;
    for (int i = 0; i < classes; i++) {
        if (isnan(logits[i])) {
            return -1;
        }
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return best;
}

enum qb_status qb_check_images(struct qb_shape image, const struct qb_dataset *set, struct qb_error *err)
{
    return image.h == QB_IMAGE_H && image.w == QB_IMAGE_W && image.c == QB_IMAGE_C
               ? QB_OK
               : qb_fail(err, QB_EUNSUPPORTED,
                         "the network takes images of %dx%dx%d; those of the data set %s are %dx%dx%d",
                         image.h, image.w, image.c, set->name, QB_IMAGE_H, QB_IMAGE_W, QB_IMAGE_C);
}

static enum qb_status check(const struct qb_engine *engine, const struct qb_dataset *set, size_t count,
                            struct qb_error *err)
{
    if (count == 0 || count > set->count) {
        return qb_fail(err, QB_EINPUT, "%zu images were asked for; the data set %s has 1 to %zu", count,
                       set->name, set->count);
    }
    QB_TRY(qb_check_images(engine->image, set, err));
    if (engine->classes != QB_CLASSES) {
        return qb_fail(err, QB_EUNSUPPORTED, "the network has %d outputs; the data set %s has %d classes",
                       engine->classes, set->name, (int)QB_CLASSES);
    }
    return QB_OK;
}

static enum qb_status run_all(struct qb_engine *engine, const struct qb_dataset *set, struct qb_outputs *out,
                              const struct qb_progress *progress, struct qb_error *err)
{
    const size_t classes = (size_t)out->classes, batch = (size_t)engine->batch;
    for (size_t done = 0; done < out->count;) {
        if (qb_interrupted()) {
            return qb_fail(err, QB_EINTERRUPTED, "interrupted after %zu of %zu images", done, out->count);
        }
        const size_t n = out->count - done < batch ? out->count - done : batch;
        float *const logits = out->logits + done * classes;
        QB_TRY(qb_engine_run(engine, set->images + done * QB_IMAGE_BYTES, (int)n, logits, err));
        for (size_t i = 0; i < n; i++) {
            const int best = qb_first_place(logits + i * classes, out->classes);
            if (best < 0) {
                return qb_fail(err, QB_EFAILED, "engine %s gave a logit that is not a number for image %zu",
                               engine->ops->name, done + i);
            }
            out->predictions[done + i] = (uint8_t)best;
        }
        done += n;
        qb_progress_report(progress, "images", done, out->count);
    }
    const size_t bytes = out->count * classes * sizeof *out->logits;
    qb_hash64(out->logits, bytes, out->logits_hash);
    qb_sha256(out->logits, bytes, out->logits_sha256);
    return QB_OK;
}

enum qb_status qb_outputs_compute(struct qb_engine *engine, const struct qb_dataset *set, size_t count,
                                  const struct qb_progress *progress, struct qb_outputs *out,
                                  struct qb_error *err)
{
    QB_TRY(check(engine, set, count, err));
    /* No overflow: the set holds count * QB_IMAGE_BYTES bytes already, which is more. */
    struct qb_outputs result = {.count = count, .classes = engine->classes};
    result.logits = calloc(count * (size_t)engine->classes, sizeof *result.logits);
    result.predictions = calloc(count, sizeof *result.predictions);
    const enum qb_status status =
        result.logits && result.predictions
            ? run_all(engine, set, &result, progress, err)
            : qb_fail_memory(err, count * (size_t)engine->classes * sizeof *result.logits + count);
    if (status != QB_OK) {
        qb_outputs_free(&result);
        return status;
    }
    *out = result;
    return QB_OK;
}

enum qb_status qb_outputs_copy(const struct qb_outputs *from, struct qb_outputs *out, struct qb_error *err)
{
    const size_t values = from->count * (size_t)from->classes;
    struct qb_outputs copy = *from;
    copy.logits = malloc(values * sizeof *copy.logits);
    copy.predictions = malloc(from->count * sizeof *copy.predictions);
    if (!copy.logits || !copy.predictions) {
        free(copy.logits);
        free(copy.predictions);
        return qb_fail_memory(err, values * sizeof *copy.logits);
    }
    memcpy(copy.logits, from->logits, values * sizeof *copy.logits);
    memcpy(copy.predictions, from->predictions, from->count * sizeof *copy.predictions);
    *out = copy;
    return QB_OK;
}

void qb_outputs_free(struct qb_outputs *outputs)
{
    free(outputs->logits);
    free(outputs->predictions);
    memset(outputs, 0, sizeof *outputs);
}

void qb_score_compute(const struct qb_outputs *outputs, const struct qb_dataset *set, struct qb_score *out)
{
    struct qb_score score = {.total = outputs->count};
    for (size_t i = 0; i < outputs->count; i++) {
        const uint8_t label = set->labels[i];
        const int hit = outputs->predictions[i] == label;
        score.class_total[label]++;
        score.class_correct[label] += (uint64_t)hit;
        score.correct += (uint64_t)hit;
    }
    *out = score;
}

void qb_paired_compute(const struct qb_outputs *outputs, const struct qb_outputs *baseline,
                       const struct qb_dataset *set, struct qb_paired *out)
{
    struct qb_paired paired = {0};
    for (size_t i = 0; i < outputs->count; i++) {
        const int right = outputs->predictions[i] == set->labels[i];
        const int baseline_right = baseline->predictions[i] == set->labels[i];
        paired.only_this += (uint64_t)(right && !baseline_right);
        paired.only_baseline += (uint64_t)(!right && baseline_right);
        paired.agree += (uint64_t)(outputs->predictions[i] == baseline->predictions[i]);
    }
    paired.p = qb_mcnemar_exact(paired.only_baseline, paired.only_this);
    *out = paired;
}
