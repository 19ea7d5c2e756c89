/* Quantization itself: every observer on one activation tensor of a calibration batch, and the weights of the
 * model's largest convolution. */
#include <stdlib.h>

#include "bench.h"
#include "quant/observer.h"
#include "quant/weights.h"

/* 32 images of 32 x 32 x 16: ResNet8's widest tensor at the default calibration batch. */
enum { VALUES = 32 * 32 * 32 * 16, CHANNELS = 16 };

struct observation {
    const struct qb_observer_ops *ops;
    bool range; /* time the range in the end (for some observers a search), not one more batch */
};

struct weights {
    struct qb_observer_spec spec;
    const struct qb_node *node;
};

static enum qb_status time_observer(struct gbench_run *run, const struct observation *o, const float *values,
                                    struct qb_error *err)
{
    const struct qb_observer_spec spec = {.observer = o->ops->name, .dtype = QB_QUINT8};
    float min[CHANNELS], max[CHANNELS];
    struct qb_observer *observer;
    QB_TRY(o->ops->create(&spec, o->ops->per_channel ? CHANNELS : 1, &observer, err));
    enum qb_status status;
    do { /* some see everything twice before they know a range */
        status = o->ops->observe(observer, values, VALUES, err);
    } while (status == QB_OK && o->range && o->ops->next_pass && o->ops->next_pass(observer));
    while (status == QB_OK && gbench_next(run)) {
        status = o->range ? o->ops->range(observer, min, max, err)
                          : o->ops->observe(observer, values, VALUES, err);
    }
    if (!o->range) {
        gbench_counter(run, "MB/s", VALUES * sizeof *values * 1e-6 / gbench_seconds(run));
    }
    o->ops->destroy(observer);
    return status;
}

static void run_observer(struct gbench_run *run, void *ctx)
{
    struct qb_error err;
    float *const values = malloc(VALUES * sizeof *values);
    enum qb_status status = values ? QB_OK : qb_fail_memory(&err, VALUES * sizeof *values);
    if (status == QB_OK) {
        bench_fill_floats(values, VALUES);
        status = time_observer(run, ctx, values, &err);
    }
    if (status != QB_OK) {
        bench_stop(run, &err);
    }
    free(values);
}

static void run_weights(struct gbench_run *run, void *ctx)
{
    const struct weights *const w = ctx;
    const size_t count =
        (size_t)w->node->oc * (size_t)w->node->ic * (size_t)w->node->kh * (size_t)w->node->kw;
    struct qb_quantized_weights out;
    struct qb_error err;
    enum qb_status status = QB_OK;
    while (status == QB_OK && gbench_next(run)) {
        struct qb_arena *const arena = qb_arena_create();
        status = arena ? qb_weights_quantize(&w->spec, w->node->wei, w->node->oc, count / (size_t)w->node->oc,
                                             arena, &out, &err)
                       : qb_fail_memory(&err, sizeof(void *));
        qb_arena_destroy(arena);
    }
    if (status == QB_OK) {
        gbench_counter(run, "MB/s", (double)(count * sizeof(float)) * 1e-6 / gbench_seconds(run));
    } else {
        bench_stop(run, &err);
    }
}

static const struct qb_node *largest_conv(const struct bench *bench)
{
    const struct qb_node *largest = NULL;
    for (size_t i = 0; i < bench->conv_count; i++) {
        const struct qb_node *const n = bench->convs[i].node;
        largest = !largest || qb_node_params(n) > qb_node_params(largest) ? n : largest;
    }
    return largest;
}

enum qb_status bench_quant(struct bench *bench, struct qb_error *err)
{
    static const char *const weight_observers[] = {"minmax", "per_channel_minmax"};
    for (size_t i = 0; qb_observers[i]; i++) {
        for (int range = 0; range < 2; range++) {
            const struct observation o = {qb_observers[i], range};
            QB_TRY(bench_add(bench, run_observer, &o, sizeof o, err, "observer/%s/%s", o.ops->name,
                             range ? "range" : "observe"));
        }
    }
    const struct qb_node *const node = largest_conv(bench);
    for (size_t i = 0; node && i < sizeof weight_observers / sizeof weight_observers[0]; i++) {
        const struct weights w = {{.observer = weight_observers[i], .dtype = QB_QINT8, .symmetric = true},
                                  node};
        QB_TRY(bench_add(bench, run_weights, &w, sizeof w, err, "weights/%s", w.spec.observer));
    }
    return QB_OK;
}
