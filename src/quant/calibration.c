/* Calibration: one observer for each tensor that the scheme observes (roles.h). See quantize.h. */
#include "quant/quantize.h"

#include <stdlib.h>

#include "quant/observer.h"
#include "quant/qparams.h"
#include "quant/roles.h"
#include "quant/scheme_check.h"

struct qb_calibration {
    const struct qb_graph *graph;
    const struct qb_scheme *scheme;
    /* All [graph->count], by the float node whose tensor is observed; NULL where none is. */
    struct qb_observer **observers;
    const struct qb_observer_spec **specs; /* what they observe by */
    const struct qb_observer_ops **ops;
    const char **names; /* the tensor's name: its producer's, not that of a RELU fused into it */
    bool *twice;        /* seen twice: twice_behind_fused_relu in observer.h */
};

void qb_calibration_free(struct qb_calibration *calibration)
{
    if (!calibration) {
        return;
    }
    for (int i = 0; calibration->observers && i < calibration->graph->count; i++) {
        if (calibration->observers[i]) {
            calibration->ops[i]->destroy(calibration->observers[i]);
        }
    }
    free(calibration->observers);
    free(calibration->specs);
    free(calibration->ops);
    free(calibration->names);
    free(calibration->twice);
    free(calibration);
}

static enum qb_status create_observers(struct qb_calibration *c, struct qb_error *err)
{
    const size_t count = (size_t)c->graph->count;
    struct qb_role *const roles = calloc(count + 1, sizeof *roles);
    c->observers = calloc(count + 1, sizeof *c->observers);
    c->specs = calloc(count + 1, sizeof *c->specs);
    c->ops = calloc(count + 1, sizeof *c->ops);
    c->names = calloc(count + 1, sizeof *c->names);
    c->twice = calloc(count + 1, sizeof *c->twice);
    enum qb_status status = roles && c->observers && c->specs && c->ops && c->names && c->twice
                                ? qb_roles_plan(c->graph, c->scheme, roles, err)
                                : qb_fail_memory(err, count * sizeof *roles);
    for (size_t i = 0; i < count && status == QB_OK; i++) {
        if (roles[i].observed) {
            const enum qb_op op = c->graph->nodes[i].op;
            const int tensor = roles[i].tensor;
            c->names[tensor] = c->graph->nodes[i].name;
            c->specs[tensor] = &roles[i].scheme->activations;
            c->ops[tensor] = qb_observer_find(c->specs[tensor]->observer);
            c->twice[tensor] = c->ops[tensor]->twice_behind_fused_relu && tensor != (int)i &&
                               (op == QB_OP_CONV || op == QB_OP_DENSE);
            status = c->ops[tensor]->create(c->specs[tensor], 1, &c->observers[tensor], err);
        }
    }
    free(roles);
    return status;
}

enum qb_status qb_calibration_create(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                     struct qb_calibration **out, struct qb_error *err)
{
    QB_TRY(qb_scheme_check_integer(scheme, err));
    struct qb_calibration *const c = calloc(1, sizeof *c);
    if (!c) {
        return qb_fail_memory(err, sizeof *c);
    }
    c->graph = graph;
    c->scheme = scheme;
    const enum qb_status status = create_observers(c, err);
    if (status != QB_OK) {
        qb_calibration_free(c);
        return status;
    }
    *out = c;
    return QB_OK;
}

int qb_calibration_wants(const struct qb_calibration *calibration, int node)
{
    return node >= 0 && node < calibration->graph->count && calibration->observers[node] != NULL;
}

enum qb_status qb_calibration_observe(struct qb_calibration *calibration, int node, const float *values,
                                      size_t count, struct qb_error *err)
{
    if (!qb_calibration_wants(calibration, node)) {
        return QB_OK;
    }
    const struct qb_shape shape = calibration->graph->nodes[node].dst;
    const size_t image = (size_t)shape.h * (size_t)shape.w * (size_t)shape.c;
    const struct qb_observer_ops *const ops = calibration->ops[node];
    const size_t step = ops->per_image && count ? image : count;
    if (ops->per_image && (image == 0 || count % image)) {
        return qb_fail(err, QB_EINPUT, "calibration: tensor \"%s\": %zu values are not whole images of %zu",
                       calibration->names[node], count, image);
    }
    for (int times = calibration->twice[node] ? 2 : 1; times > 0; times--) {
        for (size_t done = 0; done < count; done += step) {
            if (ops->observe(calibration->observers[node], values + done, step, err) != QB_OK) {
                return qb_fail_prefix(err, "calibration: tensor \"%s\"", calibration->names[node]);
            }
        }
    }
    return QB_OK;
}

int qb_calibration_next_pass(struct qb_calibration *calibration)
{
    int again = 0;
    for (int i = 0; i < calibration->graph->count; i++) {
        if (calibration->observers[i] && calibration->ops[i]->next_pass) {
            again |= calibration->ops[i]->next_pass(calibration->observers[i]);
        }
    }
    return again;
}

enum qb_status qb_calibration_qparams(const struct qb_calibration *calibration, struct qb_arena *arena,
                                      struct qb_qparams_table *out, struct qb_error *err)
{
    const size_t count = (size_t)calibration->graph->count;
    struct qb_qparams_table table = {qb_arena_array(arena, count, sizeof *table.q),
                                     qb_arena_array(arena, count, sizeof *table.set)};
    if (!table.q || !table.set) {
        return qb_fail_memory(err, count * sizeof *table.q);
    }
    for (size_t i = 0; i < count; i++) {
        if (!calibration->observers[i]) {
            continue;
        }
        float min, max;
        if (calibration->ops[i]->range(calibration->observers[i], &min, &max, err) != QB_OK ||
            qb_qparams_derive(calibration->specs[i], min, max, &table.q[i], err) != QB_OK) {
            return qb_fail_prefix(err, "calibration: tensor \"%s\"", calibration->names[i]);
        }
        table.q[i].zero_point -= qb_activation_shift(table.q[i].dtype);
        table.set[i] = true;
    }
    *out = table;
    return QB_OK;
}
