/* Choosing and binding one primitive: see choose.h. */
#include "engine/onednn/choose.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/onednn/library.h"
#include "engine/onednn/onednn.h"

/* Names of implementations, each once, in order of first sight. */
struct qb_dnnl_names {
    struct qb_dnnl_names *next;
    const char *name;
    int chosen; /* layers that run it */
};

static struct qb_dnnl_names *note_name(struct qb_dnnl_list *list, const char *name)
{
    struct qb_dnnl_names **slot = &list->names;
    while (*slot && strcmp((*slot)->name, name) != 0) {
        slot = &(*slot)->next;
    }
    if (!*slot) {
        struct qb_dnnl_names *fresh = qb_dnnl_array(list, 1, sizeof *fresh);
        if (!fresh) {
            return NULL;
        }
        fresh->name = qb_arena_strdup(list->arena, name);
        if (!fresh->name) {
            qb_dnnl_list_fail(list, QB_ENOMEM, "out of memory for the name of an implementation");
            return NULL;
        }
        *slot = fresh;
    }
    return *slot;
}

static const char *join_names(struct qb_dnnl_list *list, bool chosen)
{
    const char *text = "";
    for (const struct qb_dnnl_names *n = list->names; n && text; n = n->next) {
        const char *comma = *text ? ", " : "";
        if (chosen && n->chosen > 1) {
            text = qb_arena_printf(list->arena, "%s%s%s x%d", text, comma, n->name, n->chosen);
        } else if (!chosen || n->chosen == 1) {
            text = qb_arena_printf(list->arena, "%s%s%s", text, comma, n->name);
        }
    }
    return text;
}

const char *qb_dnnl_implementation(struct qb_dnnl_list *list)
{
    const char *names = join_names(list, true);
    return names && dnnl_version()->cpu_runtime != DNNL_RUNTIME_OMP
               ? qb_arena_printf(list->arena, "%s, without OpenMP", names)
               : names;
}

const char *qb_dnnl_offered(struct qb_dnnl_list *list)
{
    return join_names(list, false);
}

static const char *impl_name(const_dnnl_primitive_desc_t desc)
{
    const char *name = NULL;
    return dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name
               ? name
               : "unnamed";
}

static bool is_plain(const char *name)
{
    return strncmp(name, "ref", 3) == 0;
}

bool qb_dnnl_is_plain(const_dnnl_primitive_desc_t desc)
{
    return is_plain(impl_name(desc));
}

bool qb_dnnl_adds_exactly(const char *name)
{
    if (is_plain(name) || strstr(name, "vnni") || strstr(name, "amx") || strstr(name, "avx10")) {
        return true;
    }
    return (strncmp(name, "gemm", 4) == 0 || strncmp(name, "x64:gemm", 8) == 0) && qb_dnnl_has_vnni();
}

/* `plain` in the format that the primitive asks for; `plain` itself when that is it. */
static dnnl_memory_t reorder_weights(struct qb_dnnl_list *list, dnnl_memory_t plain,
                                     const_dnnl_memory_desc_t want)
{
    const_dnnl_memory_desc_t have = NULL;
    if (qb_dnnl_list_check(list, dnnl_memory_get_memory_desc(plain, &have), "weights") != QB_OK ||
        dnnl_memory_desc_equal(have, want)) {
        return plain;
    }
    void *data = qb_dnnl_array(list, 1, dnnl_memory_desc_get_size(want));
    dnnl_memory_t packed = data ? qb_dnnl_memory(list, want, data) : NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t primitive = NULL;
    if (packed &&
        qb_dnnl_list_check(
            list, dnnl_reorder_primitive_desc_create(&desc, have, list->engine, want, list->engine, NULL),
            "weights reorder") == QB_OK) {
        dnnl_status_t status = dnnl_primitive_create(&primitive, desc);
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, packed}};
        if (status == dnnl_success) {
            status = dnnl_primitive_execute(primitive, list->stream, 2, args);
        }
        if (status == dnnl_success) {
            status = dnnl_stream_wait(list->stream);
        }
        qb_dnnl_list_check(list, status, "weights reorder");
        dnnl_primitive_destroy(primitive);
    }
    dnnl_primitive_desc_destroy(desc);
    return packed;
}

/* Makes the primitive of `desc` with all its arguments. */
static enum qb_status bind(struct qb_dnnl_list *list, const struct qb_dnnl_plan *plan,
                           const_dnnl_primitive_desc_t desc, struct qb_dnnl_step *out)
{
    struct qb_dnnl_step step = plan->step;
    if (qb_dnnl_list_check(list, dnnl_primitive_create(&step.primitive, desc), plan->name) != QB_OK) {
        return list->status;
    }
    qb_dnnl_own_primitive(list, step.primitive);
    if (plan->wei) {
        dnnl_memory_t wei =
            reorder_weights(list, plan->wei, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0));
        step.args[step.arg_count++] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, wei};
    }
    dnnl_memory_t scratch;
    if (qb_dnnl_scratchpad(list, dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0), &scratch) ==
            QB_OK &&
        scratch) {
        step.args[step.arg_count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, scratch};
    }
    *out = step;
    return list->status;
}

/* Least time of a few runs: the choice between implementations must not hang on one interruption. */
static uint64_t time_step(struct qb_dnnl_list *list, const struct qb_dnnl_step *step)
{
    enum { WARM = 3, LEAST = 7 };
    const uint64_t patience = 2000000; /* ns */
    uint64_t best = UINT64_MAX, spent = 0;
    for (int i = 0; i < WARM + LEAST || (spent < patience && i < 1000); i++) {
        const uint64_t start = qb_now_ns();
        qb_dnnl_list_check(list,
                           dnnl_primitive_execute(step->primitive, list->stream, step->arg_count, step->args),
                           "timing an implementation");
        qb_dnnl_list_check(list, dnnl_stream_wait(list->stream), "timing an implementation");
        const uint64_t taken = qb_now_ns() - start;
        spent += taken;
        if (i >= WARM && taken < best) {
            best = taken;
        }
    }
    return best;
}

/* Fills the buffers in front of the next step with activations of noise images. */
static void warm_buffers(struct qb_dnnl_list *list)
{
    /* The first step reads the images; how many bytes it reads, its state knows: units an image. */
    const size_t size = list->count > 0 ? list->steps[0].units * (size_t)list->batch : 0;
    uint8_t *noise = malloc(size ? size : 1);
    if (!noise) {
        qb_dnnl_list_fail(list, QB_ENOMEM, "out of memory for %zu bytes of noise images", size);
        return;
    }
    uint32_t state = 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        noise[i] = (uint8_t)(state >> 24);
    }
    struct qb_error err;
    if (qb_dnnl_list_run(list, noise, list->batch, NULL, &err) != QB_OK) {
        qb_dnnl_list_fail(list, err.status, "%s", err.text);
    }
    list->images = NULL;
    free(noise);
}

static bool avoided(const struct qb_dnnl_plan *plan, const_dnnl_primitive_desc_t desc)
{
    return plan->avoid && strstr(impl_name(desc), plan->avoid);
}

/* Moves `desc` to the next implementation that is not avoided; false behind the last one. */
static bool next(struct qb_dnnl_list *list, const struct qb_dnnl_plan *plan, dnnl_primitive_desc_t desc)
{
    dnnl_status_t status;
    do {
        status = dnnl_primitive_desc_next_impl(desc);
    } while (status == dnnl_success && avoided(plan, desc));
    if (status != dnnl_success && status != dnnl_last_impl_reached) {
        qb_dnnl_list_check(list, status, plan->name);
    }
    return status == dnnl_success;
}

static bool competes(const struct qb_dnnl_plan *plan, const char *leader, const char *name)
{
    return !is_plain(name) && (!plan->integer || qb_dnnl_adds_exactly(name) || !qb_dnnl_adds_exactly(leader));
}

/* Binds every implementation, keeps the fastest. What loses stays in the list's memory until the list goes.
 */
static struct qb_dnnl_names *choose_fastest(struct qb_dnnl_list *list, const struct qb_dnnl_plan *plan,
                                            dnnl_primitive_desc_t desc, struct qb_dnnl_step *out)
{
    struct qb_dnnl_names *chosen = NULL;
    uint64_t best = UINT64_MAX;
    warm_buffers(list);
    do {
        struct qb_dnnl_names *name = note_name(list, impl_name(desc));
        struct qb_dnnl_step candidate;
        if (!name || (chosen && !competes(plan, chosen->name, name->name)) ||
            bind(list, plan, desc, &candidate) != QB_OK) {
            continue;
        }
        const uint64_t taken = time_step(list, &candidate);
        if (taken < best) {
            best = taken;
            *out = candidate;
            chosen = name;
        }
    } while (list->status == QB_OK && next(list, plan, desc));
    return chosen;
}

/* The first implementation whose name contains `part`, else the first of all. */
static struct qb_dnnl_names *choose_by_name(struct qb_dnnl_list *list, const struct qb_dnnl_plan *plan,
                                            dnnl_primitive_desc_t desc, const char *part,
                                            struct qb_dnnl_step *out)
{
    struct qb_dnnl_names *chosen = NULL;
    dnnl_primitive_desc_t first = NULL;
    if (qb_dnnl_list_check(list, dnnl_primitive_desc_clone(&first, desc), plan->name) != QB_OK) {
        return NULL;
    }
    do {
        struct qb_dnnl_names *name = note_name(list, impl_name(desc));
        if (name && !chosen && strstr(name->name, part)) {
            chosen = name;
            list->impl_seen = true;
            bind(list, plan, desc, out);
        }
    } while (list->status == QB_OK && next(list, plan, desc));
    if (!chosen && list->status == QB_OK) {
        chosen = note_name(list, impl_name(first));
        bind(list, plan, first, out);
    }
    dnnl_primitive_desc_destroy(first);
    return chosen;
}

enum qb_status qb_dnnl_add_primitive(struct qb_dnnl_list *list, const struct qb_dnnl_plan *plan,
                                     dnnl_primitive_desc_t desc)
{
    struct qb_dnnl_step step = plan->step;
    struct qb_dnnl_names *chosen = NULL;
    const bool fastest = plan->heavy && strcmp(list->impl, "fastest") == 0;
    const char *part = !plan->heavy || fastest || strcmp(list->impl, "default") == 0 ? NULL : list->impl;
    if (avoided(plan, desc) && !next(list, plan, desc)) {
        qb_dnnl_list_fail(list, QB_EUNSUPPORTED,
                          "layer %s: oneDNN %s has no other implementation than %s, which is not "
                          "reliable for this shape",
                          plan->name, qb_onednn_version(), plan->avoid);
    } else if (fastest) {
        chosen = choose_fastest(list, plan, desc, &step);
    } else if (part) {
        chosen = choose_by_name(list, plan, desc, part, &step);
    } else {
        chosen = note_name(list, impl_name(desc));
        bind(list, plan, desc, &step);
    }
    dnnl_primitive_desc_destroy(desc);
    if (list->status != QB_OK || !chosen) {
        return list->status;
    }
    if (plan->heavy && is_plain(chosen->name) && !(part && strstr(chosen->name, part))) {
        return qb_dnnl_list_fail(
            list, QB_EFAILED,
            "layer %s: oneDNN has nothing but its plain loops (\"%s\") for this shape, whose time "
            "would mislead; ask for them with impl: ref",
            plan->name, chosen->name);
    }
    chosen->chosen++;
    list->latest = chosen->name;
    struct qb_dnnl_step *slot = qb_dnnl_add_step(list);
    if (slot) {
        *slot = step;
    }
    return list->status;
}
