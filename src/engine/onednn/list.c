/* Lists of steps: see list.h. */
#include "engine/onednn/list.h"

#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine/onednn/choose.h"
#include "engine/onednn/library.h"

/* oneDNN objects are opaque pointers, each type with its own destructor. */
enum object_kind { DESC, MEMORY, ATTR, POST_OPS, PRIMITIVE };
struct qb_dnnl_object {
    struct qb_dnnl_object *next; /* the one made before */
    enum object_kind kind;
    union {
        dnnl_memory_desc_t desc;
        dnnl_memory_t memory;
        dnnl_primitive_attr_t attr;
        dnnl_post_ops_t post_ops;
        dnnl_primitive_t primitive;
    } u;
    bool scratchpad; /* MEMORY whose data is the list's scratch */
};

enum qb_status qb_dnnl_list_fail(struct qb_dnnl_list *list, enum qb_status status, const char *format, ...)
{
    if (list->status == QB_OK) {
        va_list args;
        va_start(args, format);
        list->status = qb_vfail(&list->err, status, format, args);
        va_end(args);
    }
    return list->status;
}

enum qb_status qb_dnnl_list_check(struct qb_dnnl_list *list, dnnl_status_t status, const char *what)
{
    if (status != dnnl_success && list->status == QB_OK) {
        list->status = qb_dnnl_fail(&list->err, status, what);
    }
    return list->status;
}

static struct qb_dnnl_object *new_object(struct qb_dnnl_list *list, enum object_kind kind)
{
    struct qb_dnnl_object *object = qb_dnnl_array(list, 1, sizeof *object);
    if (object) {
        object->kind = kind;
    }
    return object;
}

static void own_object(struct qb_dnnl_list *list, struct qb_dnnl_object *object)
{
    object->next = list->objects;
    list->objects = object;
}

void *qb_dnnl_array(struct qb_dnnl_list *list, size_t count, size_t size)
{
    if (list->status != QB_OK) {
        return NULL;
    }
    void *array = qb_arena_array(list->arena, count, size);
    if (!array) {
        qb_dnnl_list_fail(list, QB_ENOMEM, "out of memory for %zu x %zu bytes of a oneDNN network", count,
                          size);
    }
    return array;
}

void *qb_dnnl_buffer(struct qb_dnnl_list *list, size_t count, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(count, (size_t)list->batch, &all)) {
        qb_dnnl_list_fail(list, QB_ENOMEM, "a batch of %d images of %zu values does not fit into memory",
                          list->batch, count);
        return NULL;
    }
    return qb_dnnl_array(list, all, size);
}

dnnl_memory_desc_t qb_dnnl_desc(struct qb_dnnl_list *list, int dims, const int64_t *shape,
                                dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    struct qb_dnnl_object *object = new_object(list, DESC);
    dnnl_dims_t full = {0};
    memcpy(full, shape, (size_t)dims * sizeof *shape);
    if (!object ||
        qb_dnnl_list_check(list, dnnl_memory_desc_create_with_tag(&object->u.desc, dims, full, type, tag),
                           "memory descriptor") != QB_OK) {
        return NULL;
    }
    own_object(list, object);
    return object->u.desc;
}

dnnl_memory_desc_t qb_dnnl_nhwc(struct qb_dnnl_list *list, struct qb_shape shape, dnnl_data_type_t type)
{
    return qb_dnnl_desc(list, 4, (const int64_t[]){list->batch, shape.c, shape.h, shape.w}, type, dnnl_nhwc);
}

dnnl_memory_t qb_dnnl_memory(struct qb_dnnl_list *list, const_dnnl_memory_desc_t desc, void *data)
{
    struct qb_dnnl_object *object = new_object(list, MEMORY);
    if (!object || qb_dnnl_list_check(list, dnnl_memory_create(&object->u.memory, desc, list->engine, data),
                                      "memory object") != QB_OK) {
        return NULL;
    }
    own_object(list, object);
    return object->u.memory;
}

static dnnl_memory_t vector(struct qb_dnnl_list *list, dnnl_data_type_t type, const void *values, int count)
{
    void *data = qb_dnnl_array(list, (size_t)count, 4);
    dnnl_memory_desc_t desc = qb_dnnl_desc(list, 1, (const int64_t[]){count}, type, dnnl_a);
    if (!data || !desc) {
        return NULL;
    }
    memcpy(data, values, (size_t)count * 4);
    return qb_dnnl_memory(list, desc, data);
}

dnnl_memory_t qb_dnnl_floats(struct qb_dnnl_list *list, const float *values, int count)
{
    return vector(list, dnnl_f32, values, count);
}

dnnl_memory_t qb_dnnl_ints(struct qb_dnnl_list *list, const int32_t *values, int count)
{
    return vector(list, dnnl_s32, values, count);
}

dnnl_primitive_attr_t qb_dnnl_attr(struct qb_dnnl_list *list)
{
    struct qb_dnnl_object *object = new_object(list, ATTR);
    if (!object || qb_dnnl_list_check(list, dnnl_primitive_attr_create(&object->u.attr),
                                      "primitive attributes") != QB_OK) {
        return NULL;
    }
    own_object(list, object);
    qb_dnnl_list_check(list,
                       dnnl_primitive_attr_set_scratchpad_mode(object->u.attr, dnnl_scratchpad_mode_user),
                       "scratchpad mode");
    return object->u.attr;
}

dnnl_post_ops_t qb_dnnl_post_ops(struct qb_dnnl_list *list)
{
    struct qb_dnnl_object *object = new_object(list, POST_OPS);
    if (!object || qb_dnnl_list_check(list, dnnl_post_ops_create(&object->u.post_ops), "post-ops") != QB_OK) {
        return NULL;
    }
    own_object(list, object);
    return object->u.post_ops;
}

void qb_dnnl_own_primitive(struct qb_dnnl_list *list, dnnl_primitive_t primitive)
{
    struct qb_dnnl_object *object = new_object(list, PRIMITIVE);
    if (!object) {
        dnnl_primitive_destroy(primitive);
        return;
    }
    object->u.primitive = primitive;
    own_object(list, object);
}

/* The scratchpad grows while the list is built; every memory object that points to it follows. */
static enum qb_status grow_scratch(struct qb_dnnl_list *list, size_t size)
{
    enum { ALIGN = 64 };
    if (size <= list->scratch_size) {
        return QB_OK;
    }
    void *larger = aligned_alloc(ALIGN, (size + ALIGN - 1) / ALIGN * ALIGN);
    if (!larger) {
        return qb_dnnl_list_fail(list, QB_ENOMEM, "out of memory for a oneDNN scratchpad of %zu bytes", size);
    }
    free(list->scratch);
    list->scratch = larger;
    list->scratch_size = size;
    for (struct qb_dnnl_object *o = list->objects; o; o = o->next) {
        if (o->scratchpad) {
            qb_dnnl_list_check(list, dnnl_memory_set_data_handle(o->u.memory, larger), "scratchpad");
        }
    }
    return list->status;
}

enum qb_status qb_dnnl_scratchpad(struct qb_dnnl_list *list, const_dnnl_memory_desc_t desc,
                                  dnnl_memory_t *out)
{
    const size_t size = dnnl_memory_desc_get_size(desc);
    *out = NULL;
    if (size == 0 || grow_scratch(list, size) != QB_OK) {
        return list->status;
    }
    *out = qb_dnnl_memory(list, desc, list->scratch);
    if (*out) {
        list->objects->scratchpad = true; /* the newest object */
    }
    return list->status;
}

struct qb_dnnl_step *qb_dnnl_add_step(struct qb_dnnl_list *list)
{
    if (list->status != QB_OK) {
        return NULL;
    }
    if (list->count == list->capacity) {
        const int capacity = list->capacity ? 2 * list->capacity : 32;
        struct qb_dnnl_step *steps = qb_dnnl_array(list, (size_t)capacity, sizeof *steps);
        if (!steps) {
            return NULL;
        }
        if (list->count > 0) {
            memcpy(steps, list->steps, (size_t)list->count * sizeof *steps);
        }
        list->steps = steps;
        list->capacity = capacity;
    }
    struct qb_dnnl_step *step = &list->steps[list->count++];
    step->node = -1;
    return step;
}

enum qb_status qb_dnnl_add_own(struct qb_dnnl_list *list, qb_dnnl_own_fn *own, const void *state,
                               size_t units, int node, const void *tensor, size_t tensor_count)
{
    struct qb_dnnl_step *step = qb_dnnl_add_step(list);
    if (step) {
        step->own = own;
        step->state = state;
        step->units = units;
        step->node = node;
        step->tensor = tensor;
        step->tensor_count = tensor_count;
    }
    return list->status;
}

enum qb_status qb_dnnl_list_create(const struct qb_engine_options *options, struct qb_dnnl_list **out,
                                   struct qb_error *err)
{
    struct qb_dnnl_list *list = calloc(1, sizeof *list);
    if (!list) {
        return qb_fail_memory(err, sizeof *list);
    }
    list->batch = options->batch;
    list->threads = options->threads;
    list->threads_before = omp_get_max_threads();
    omp_set_num_threads(list->threads);
    list->arena = qb_arena_create();
    if (!list->arena) {
        qb_dnnl_list_free(list);
        return qb_fail_memory(err, sizeof *list);
    }
    list->impl = qb_arena_strdup(list->arena, options->impl ? options->impl : "default");
    if (!list->impl) {
        qb_dnnl_list_free(list);
        return qb_fail_memory(err, 64);
    }
    dnnl_status_t status = dnnl_engine_create(&list->engine, dnnl_cpu, 0);
    if (status == dnnl_success) {
        status = dnnl_stream_create(&list->stream, list->engine, dnnl_stream_default_flags);
    }
    if (status != dnnl_success) {
        qb_dnnl_list_free(list);
        return qb_dnnl_fail(err, status, "CPU engine");
    }
    *out = list;
    return QB_OK;
}

static void restore_threads(struct qb_dnnl_list *list)
{
    if (list->threads_before > 0) {
        omp_set_num_threads(list->threads_before);
        list->threads_before = 0;
    }
}

enum qb_status qb_dnnl_list_finish(struct qb_dnnl_list *list, struct qb_error *err)
{
    restore_threads(list);
    const bool named = strcmp(list->impl, "default") != 0 && strcmp(list->impl, "fastest") != 0;
    if (list->status == QB_OK && named && !list->impl_seen) {
        const char *offered = qb_dnnl_offered(list);
        qb_dnnl_list_fail(list, QB_EINPUT,
                          "impl \"%s\": no layer has an implementation of that name; oneDNN offers: %s",
                          list->impl, offered ? offered : "(out of memory)");
    }
    if (list->status != QB_OK) {
        return qb_fail(err, list->status, "%s", list->err.text);
    }
    return QB_OK;
}

void qb_dnnl_list_free(struct qb_dnnl_list *list)
{
    if (!list) {
        return;
    }
    restore_threads(list);
    for (struct qb_dnnl_object *o = list->objects; o; o = o->next) {
        switch (o->kind) {
        case DESC: dnnl_memory_desc_destroy(o->u.desc); break;
        case MEMORY: dnnl_memory_destroy(o->u.memory); break;
        case ATTR: dnnl_primitive_attr_destroy(o->u.attr); break;
        case POST_OPS: dnnl_post_ops_destroy(o->u.post_ops); break;
        case PRIMITIVE: dnnl_primitive_destroy(o->u.primitive); break;
        }
    }
    if (list->stream) {
        dnnl_stream_destroy(list->stream);
    }
    if (list->engine) {
        dnnl_engine_destroy(list->engine);
    }
    free(list->scratch);
    qb_arena_destroy(list->arena);
    free(list);
}

static void run_own(const struct qb_dnnl_step *step, size_t units, int threads)
{
    if (threads == 1) {
        step->own(step->state, 0, units);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        const size_t team = (size_t)omp_get_num_threads(), self = (size_t)omp_get_thread_num();
        step->own(step->state, units * self / team, units * (self + 1) / team);
    }
}

static void tell(const struct qb_engine *watched, const struct qb_dnnl_step *step, int n)
{
    if (watched->tap) {
        watched->tap(watched->tap_ctx, step->node, step->tensor, step->tensor_count * (size_t)n);
    }
    if (watched->step) {
        watched->step(watched->step_ctx, step->node);
    }
}

enum qb_status qb_dnnl_list_run(struct qb_dnnl_list *list, const uint8_t *images, int n,
                                const struct qb_engine *watched, struct qb_error *err)
{
    const int threads_before = omp_get_max_threads();
    dnnl_status_t status = dnnl_success;
    list->images = images;
    omp_set_num_threads(list->threads);
    for (int i = 0; i < list->count && status == dnnl_success; i++) {
        const struct qb_dnnl_step *step = &list->steps[i];
        if (step->own) {
            run_own(step, step->units * (size_t)n, list->threads);
        } else {
            status = dnnl_primitive_execute(step->primitive, list->stream, step->arg_count, step->args);
        }
        if (watched && step->node >= 0 && status == dnnl_success) {
            tell(watched, step, n);
        }
    }
    if (status == dnnl_success) {
        status = dnnl_stream_wait(list->stream);
    }
    omp_set_num_threads(threads_before);
    return status == dnnl_success ? QB_OK : qb_dnnl_fail(err, status, "run");
}
