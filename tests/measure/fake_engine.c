/* An engine whose every run is written down: see fake_engine.h. */
#include "fake_engine.h"

#include <math.h>
#include <sched.h>

#include "base/clock.h"
#include "data/dataset.h"

static enum qb_status run(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                          struct qb_error *err)
{
    struct fake_engine *const fake = (struct fake_engine *)engine;
    const size_t count = (size_t)n, classes = (size_t)engine->classes;
    if (fake->log->count < FAKE_LOG) {
        fake->log->id[fake->log->count] = fake->id;
        fake->log->n[fake->log->count] = n;
    }
    fake->log->count++;
    if (++fake->runs == fake->fail_at) {
        return qb_fail(err, QB_EFAILED, "the fake broke");
    }
    for (volatile unsigned i = 0; i < fake->spin; i++) {
    }
    for (const uint64_t start = qb_now_ns(); fake->runs <= fake->slow && qb_now_ns() - start < 5000000;) {
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < classes; c++) {
            logits[i * classes + c] = images[i * QB_IMAGE_BYTES + c];
        }
    }
    if (fake->runs == fake->nan_at) {
        logits[count * classes - 1] = NAN;
    }
    if (fake->hop) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(fake->cpus[fake->runs % 2], &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    return QB_OK;
}

static const struct qb_engine_ops fake_ops = {.name = "fake", .summary = "writes its runs down", .run = run};

void fake_engine_init(struct fake_engine *fake, struct fake_log *log, uint8_t id, int batch, unsigned spin)
{
    *fake = (struct fake_engine){
        .base = {.ops = &fake_ops,
                 .classes = QB_CLASSES,
                 .batch = batch,
                 .image = {QB_IMAGE_H, QB_IMAGE_W, QB_IMAGE_C},
                 .implementation = "fake",
                 .isa = "ref"},
        .log = log,
        .id = id,
        .spin = spin,
    };
}
