/* Scoring: batches, ties, hashes, refusals, and the counts of the tables. */
#include "testing.h"

#include <string.h>

#include "fake_engine.h"
#include "measure/accuracy.h"
#include "measure/stats.h"

enum { IMAGES = 7 };
static uint8_t images[IMAGES * QB_IMAGE_BYTES], labels[IMAGES];
static struct qb_dataset set = {.name = "fake", .count = IMAGES, .images = images, .labels = labels};
static struct fake_log fakes;
static const struct qb_progress nobody = {NULL, NULL};

static int fill(void **state)
{
    (void)state;
    memset(images, 255, sizeof images); /* what lies behind the logits of an image must not be read as one */
    for (size_t i = 0; i < IMAGES; i++) {
        for (size_t c = 0; c < QB_CLASSES; c++) {
            images[i * QB_IMAGE_BYTES + c] = (uint8_t)((i * 31 + c * 17) % 251);
        }
        labels[i] = 9;
    }
    fakes.count = 0;
    return 0;
}

/* numpy: L = float32([[(i * 31 + c * 17) % 251 for c in range(10)] for i in range(7)]), its argmax and
 * hashlib.sha256(L.tobytes()). */
static void known_answer(void **state)
{
    static const uint8_t want_predictions[IMAGES] = {9, 9, 9, 9, 7, 5, 3};
    static const char want_sha256[] = "91b73420b4fe56f429484dfbe266a3af374c05319de5b5f91bb7ab0300800a77";
    struct fake_engine fake;
    struct qb_outputs out;
    struct qb_error err;
    (void)state;
    fake_engine_init(&fake, &fakes, 0, 3, 0);
    qbt_ok(qb_outputs_compute(&fake.base, &set, IMAGES, &nobody, &out, &err), &err);
    assert_int_equal(out.count, IMAGES);
    assert_int_equal(out.classes, QB_CLASSES);
    assert_memory_equal(out.predictions, want_predictions, IMAGES);
    assert_string_equal(out.logits_sha256, want_sha256);
    assert_string_equal(out.logits_hash, "91b73420b4fe56f4");
    /* 3 + 3 + 1 */
    assert_int_equal(fakes.count, 3);
    assert_int_equal(fakes.n[0], 3);
    assert_int_equal(fakes.n[1], 3);
    assert_int_equal(fakes.n[2], 1);
    qb_outputs_free(&out);
    assert_null(out.logits);
    /* The batch does not change anything. */
    fake_engine_init(&fake, &fakes, 0, 100, 0);
    qbt_ok(qb_outputs_compute(&fake.base, &set, IMAGES, NULL, &out, &err), &err);
    assert_string_equal(out.logits_sha256, want_sha256);
    qb_outputs_free(&out);
}

static void lowest_class_wins_ties(void **state)
{
    struct fake_engine fake;
    struct qb_outputs out;
    struct qb_error err;
    (void)state;
    memset(images, 0, sizeof images); /* image 0: ten equal logits */
    images[QB_IMAGE_BYTES + 4] = 200; /* image 1: 4 and 7 */
    images[QB_IMAGE_BYTES + 7] = 200;
    images[2 * QB_IMAGE_BYTES + 9] = 1; /* image 2: the last class alone */
    fake_engine_init(&fake, &fakes, 0, 2, 0);
    qbt_ok(qb_outputs_compute(&fake.base, &set, 3, NULL, &out, &err), &err);
    assert_int_equal(out.predictions[0], 0);
    assert_int_equal(out.predictions[1], 4);
    assert_int_equal(out.predictions[2], 9);
    qb_outputs_free(&out);
}

struct heard {
    uint64_t calls, last, total;
};

static void hear(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    struct heard *const heard = ctx;
    assert_string_equal(what, "images");
    assert_true(done > heard->last && done <= total);
    heard->calls++;
    heard->last = done;
    heard->total = total;
}

static void progress_reaches_the_end(void **state)
{
    struct fake_engine fake;
    struct qb_outputs out;
    struct qb_error err;
    struct heard heard = {0};
    const struct qb_progress progress = {hear, &heard};
    (void)state;
    fake_engine_init(&fake, &fakes, 0, 2, 0);
    qbt_ok(qb_outputs_compute(&fake.base, &set, 5, &progress, &out, &err), &err);
    assert_int_equal(heard.calls, 3);
    assert_int_equal(heard.last, 5);
    assert_int_equal(heard.total, 5);
    qb_outputs_free(&out);
}

static void refusals(void **state)
{
    struct fake_engine fake;
    struct qb_outputs out, before;
    struct qb_error err;
    (void)state;
    memset(&out, 0x5a, sizeof out);
    before = out;
    fake_engine_init(&fake, &fakes, 0, 3, 0);
    qbt_error(qb_outputs_compute(&fake.base, &set, 0, NULL, &out, &err), QB_EINPUT, &err, "0 images");
    qbt_error(qb_outputs_compute(&fake.base, &set, IMAGES + 1, NULL, &out, &err), QB_EINPUT, &err, "1 to 7");
    fake.fail_at = 2;
    qbt_error(qb_outputs_compute(&fake.base, &set, IMAGES, NULL, &out, &err), QB_EFAILED, &err,
              "the fake broke");
    fake_engine_init(&fake, &fakes, 0, 3, 0);
    fake.nan_at = 2;
    qbt_error(qb_outputs_compute(&fake.base, &set, IMAGES, NULL, &out, &err), QB_EFAILED, &err, "image 5");
    fake.base.classes = 9;
    qbt_error(qb_outputs_compute(&fake.base, &set, IMAGES, NULL, &out, &err), QB_EUNSUPPORTED, &err,
              "9 outputs");
    /* As many values, but another image. */
    fake_engine_init(&fake, &fakes, 0, 3, 0);
    fake.base.image = (struct qb_shape){QB_IMAGE_H / 2, QB_IMAGE_W * 2, QB_IMAGE_C};
    fakes.count = 0;
    qbt_error(qb_outputs_compute(&fake.base, &set, IMAGES, NULL, &out, &err), QB_EUNSUPPORTED, &err,
              "16x64x3");
    assert_int_equal(fakes.count, 0);
    assert_memory_equal(&out, &before, sizeof out);
}

/* Counts by hand. */
static void scores(void **state)
{
    uint8_t truth[8] = {0, 0, 1, 2, 2, 2, 9, 9}, mine[8] = {0, 1, 1, 2, 0, 2, 9, 3},
            theirs[8] = {0, 0, 1, 0, 1, 2, 3, 3};
    const struct qb_dataset eight = {.name = "fake", .count = 8, .labels = truth};
    const struct qb_outputs outputs = {.count = 8, .classes = QB_CLASSES, .predictions = mine};
    const struct qb_outputs baseline = {.count = 8, .classes = QB_CLASSES, .predictions = theirs};
    struct qb_score score;
    struct qb_paired paired;
    (void)state;
    qb_score_compute(&outputs, &eight, &score);
    assert_int_equal(score.total, 8);
    assert_int_equal(score.correct, 5);
    assert_int_equal(score.class_total[0], 2);
    assert_int_equal(score.class_correct[0], 1);
    assert_int_equal(score.class_total[2], 3);
    assert_int_equal(score.class_correct[2], 2);
    assert_int_equal(score.class_total[9], 2);
    assert_int_equal(score.class_correct[9], 1);
    assert_int_equal(score.class_total[5], 0);
    qb_paired_compute(&outputs, &baseline, &eight, &paired);
    assert_int_equal(paired.only_baseline, 1); /* image 1 */
    assert_int_equal(paired.only_this, 2);     /* images 3 and 6 */
    assert_int_equal(paired.agree, 4);         /* images 0, 2, 5, 7: the last wrong in both */
    assert_true(paired.p == qb_mcnemar_exact(1, 2));
}

static void interrupt(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    (void)ctx, (void)what, (void)done, (void)total;
    qb_interrupt();
}

static void stops_when_interrupted(void **state)
{
    struct fake_engine fake;
    struct qb_outputs out;
    struct qb_error err;
    const struct qb_progress progress = {interrupt, NULL};
    (void)state;
    fake_engine_init(&fake, &fakes, 0, 2, 0);
    qbt_error(qb_outputs_compute(&fake.base, &set, IMAGES, &progress, &out, &err), QB_EINTERRUPTED, &err,
              "2 of 7");
    assert_int_equal(fakes.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(known_answer, fill),
        cmocka_unit_test_setup(lowest_class_wins_ties, fill),
        cmocka_unit_test_setup(progress_reaches_the_end, fill),
        cmocka_unit_test_setup(refusals, fill),
        cmocka_unit_test(scores),
        cmocka_unit_test_setup(stops_when_interrupted, fill), /* last: the flag stays up */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
