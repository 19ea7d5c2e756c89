/* Calibration: one observer for each tensor that the scheme observes (roles.h). See quantize.h. */
#include "quant/quantize.h"

#include <stdlib.h>

#include "quant/observer.h"
#include "quant/qparams.h"
#include "quant/roles.h"
#include "quant/scheme_check.h"

/* A DENSE's tensor before its bias is added. */
struct product {
    struct qb_observer *observer; /* NULL: not observed */
    const struct qb_observer_spec *spec;
    const struct qb_observer_ops *ops;
};

struct qb_calibration {
    const struct qb_graph *graph;
    const struct qb_scheme *scheme;
    /* All [graph->count], by the float node whose tensor is observed; NULL where none is. */
    struct qb_observer **observers;
    const struct qb_observer_spec **specs; /* what they observe by */
    const struct qb_observer_ops **ops;
    const char **names;       /* the tensor's name: its producer's, not that of a RELU fused into it */
    struct product *products; /* of each DENSE that is split (roles.h) */
    bool *twice;              /* seen twice: twice_behind_fused_relu in observer.h */
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
    for (int i = 0; calibration->products && i < calibration->graph->count; i++) {
        if (calibration->products[i].observer) {
            calibration->products[i].ops->destroy(calibration->products[i].observer);
        }
    }
    free(calibration->products);
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
    c->products = calloc(count + 1, sizeof *c->products);
    enum qb_status status = roles && c->products && c->observers && c->specs && c->ops && c->names && c->twice
                                ? qb_roles_plan(c->graph, c->scheme, roles, err)
                                : qb_fail_memory(err, count * sizeof *roles);
    for (size_t i = 0; i < count && status == QB_OK; i++) {
        if (roles[i].observed) {
            const enum qb_op op = c->graph->nodes[i].op;
            const int tensor = roles[i].tensor;
            c->names[tensor] = c->graph->nodes[i].name;
            c->specs[tensor] = roles[i].activations;
            c->ops[tensor] = qb_observer_find(c->specs[tensor]->observer);
            c->twice[tensor] = c->ops[tensor]->twice_behind_fused_relu && tensor != (int)i &&
                               (op == QB_OP_CONV || op == QB_OP_DENSE);
            status = c->ops[tensor]->create(c->specs[tensor], 1, &c->observers[tensor], err);
        }
        if (status == QB_OK && roles[i].split) {
            struct product *const p = &c->products[i];
            p->spec = roles[i].activations;
            p->ops = qb_observer_find(p->spec->observer);
            status = p->ops->create(p->spec, 1, &p->observer, err);
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
    return node >= 0 && node < calibration->graph->count &&
           (calibration->observers[node] || calibration->products[node].observer);
}

/* `values` in steps of one image or all at once, as the observer wants them. */
static enum qb_status observe(const struct qb_observer_ops *ops, struct qb_observer *observer,
                              const float *values, size_t count, size_t image, struct qb_error *err)
{
    const size_t step = ops->per_image && count ? image : count;
    for (size_t done = 0; done < count; done += step) {
        QB_TRY(ops->observe(observer, values + done, step, err));
    }
    return QB_OK;
}

static enum qb_status observe_product(const struct product *p, const struct qb_node *node,
                                      const float *values, size_t count, struct qb_error *err)
{
    const size_t channels = (size_t)node->oc;
    float *const product = calloc(count + 1, sizeof *product);
    if (!product) {
        return qb_fail_memory(err, count * sizeof *product);
    }
    for (size_t i = 0; i < count; i++) {
        product[i] = values[i] - node->bia[i % channels];
    }
    const enum qb_status status = observe(p->ops, p->observer, product, count, channels, err);
    free(product);
    return status;
}

enum qb_status qb_calibration_observe(struct qb_calibration *calibration, int node, const float *values,
                                      size_t count, struct qb_error *err)
{
    if (!qb_calibration_wants(calibration, node)) {
        return QB_OK;
    }
    const struct qb_node *const n = &calibration->graph->nodes[node];
    const size_t image = qb_shape_count(n->dst);
    const struct product *const product = &calibration->products[node];
    const struct qb_observer_ops *const ops = calibration->ops[node];
    const bool per_image = (ops && ops->per_image) || (product->ops && product->ops->per_image);
    if (per_image && (image == 0 || count % image)) {
        return qb_fail(err, QB_EINPUT, "calibration: tensor \"%s\": %zu values are not whole images of %zu",
                       n->name, count, image);
    }
    enum qb_status status = product->observer ? observe_product(product, n, values, count, err) : QB_OK;
    for (int times = !ops ? 0 : calibration->twice[node] ? 2 : 1; status == QB_OK && times > 0; times--) {
        status = observe(ops, calibration->observers[node], values, count, image, err);
    }
    return status == QB_OK ? QB_OK
                           : qb_fail_prefix(err, "calibration: tensor \"%s\"",
                                            calibration->names[node] ? calibration->names[node] : n->name);
}

int qb_calibration_next_pass(struct qb_calibration *calibration)
{
    int again = 0;
    for (int i = 0; i < calibration->graph->count; i++) {
        if (calibration->observers[i] && calibration->ops[i]->next_pass) {
            again |= calibration->ops[i]->next_pass(calibration->observers[i]);
        }
        const struct product *const p = &calibration->products[i];
        if (p->observer && p->ops->next_pass) {
            again |= p->ops->next_pass(p->observer);
        }
    }
    return again;
}

enum qb_status qb_qparams_table_make(size_t count, struct qb_arena *arena, struct qb_qparams_table *out,
                                     struct qb_error *err)
{
    *out = (struct qb_qparams_table){.q = qb_arena_array(arena, count, sizeof *out->q),
                                     .set = qb_arena_array(arena, count, sizeof *out->set),
                                     .product = qb_arena_array(arena, count, sizeof *out->product),
                                     .product_set = qb_arena_array(arena, count, sizeof *out->product_set)};
    return out->q && out->set && out->product && out->product_set
               ? QB_OK
               : qb_fail_memory(err, 2 * count * sizeof *out->q);
}

static enum qb_status derive(const struct qb_observer_ops *ops, const struct qb_observer *observer,
                             const struct qb_observer_spec *spec, const char *name, struct qb_qparams *out,
                             struct qb_error *err)
{
    float min, max;
    if (ops->range(observer, &min, &max, err) != QB_OK ||
        qb_qparams_derive(spec, min, max, out, err) != QB_OK) {
        return qb_fail_prefix(err, "calibration: tensor \"%s\"", name);
    }
    out->zero_point -= qb_activation_shift(out->dtype);
    return QB_OK;
}

enum qb_status qb_calibration_qparams(const struct qb_calibration *calibration, struct qb_arena *arena,
                                      struct qb_qparams_table *out, struct qb_error *err)
{
    const size_t count = (size_t)calibration->graph->count;
    struct qb_qparams_table table;
    QB_TRY(qb_qparams_table_make(count, arena, &table, err));
    for (size_t i = 0; i < count; i++) {
        const struct product *const p = &calibration->products[i];
        if (calibration->observers[i]) {
            QB_TRY(derive(calibration->ops[i], calibration->observers[i], calibration->specs[i],
                          calibration->names[i], &table.q[i], err));
            table.set[i] = true;
        }
        if (p->observer) {
            QB_TRY(derive(p->ops, p->observer, p->spec, calibration->graph->nodes[i].name, &table.product[i],
                          err));
            table.product_set[i] = true;
        }
    }
    *out = table;
    return QB_OK;
}
