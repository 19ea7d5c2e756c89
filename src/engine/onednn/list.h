/* A list of steps, built once and run many times: oneDNN primitives and functions of our own over the same
 * buffers.
 *
 * The list owns every oneDNN object and buffer made through it. Building is linear: the makers below return
 * NULL after the first failure (and accept NULL where they take such an object), the list remembers that
 * failure, and qb_dnnl_add_primitive, qb_dnnl_add_own and qb_dnnl_list_finish report it. Running allocates
 * nothing.
 *
 * Primitives are made for `batch` images. A run of fewer computes the others from whatever the buffers hold
 * (zeros, or images of an earlier run); nobody sees those results, and images do not meet in any layer. */
#ifndef QB_ENGINE_ONEDNN_LIST_H
#define QB_ENGINE_ONEDNN_LIST_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "engine/engine.h"

enum { QB_DNNL_MAX_ARGS = 12 };

/* Our own code on units begin..end-1 of the batch; what a unit is (pixel, row, element, image) is the step's
 * choice. */
typedef void qb_dnnl_own_fn(const void *state, size_t begin, size_t end);

struct qb_dnnl_step {
    dnnl_primitive_t primitive; /* NULL: own */
    dnnl_exec_arg_t args[QB_DNNL_MAX_ARGS];
    int arg_count;
    qb_dnnl_own_fn *own;
    const void *state;
    size_t units; /* an image */
    int node;     /* graph node whose tensor is complete after this step; -1: none */
    const void *tensor;
    size_t tensor_count; /* an image */
};

struct qb_dnnl_object; /* list of owned oneDNN objects */
struct qb_dnnl_names;  /* implementations seen and chosen */

struct qb_dnnl_list {
    struct qb_arena *arena; /* buffers, states, names */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct qb_dnnl_object *objects;
    struct qb_dnnl_step *steps;
    int count, capacity;
    int batch, threads;
    int threads_before; /* the caller's OpenMP setting, while the list is built; 0 afterwards */
    const char *impl;   /* "default", "fastest" or a name */
    bool impl_seen;     /* some layer had the implementation that `impl` names */
    struct qb_dnnl_names *names;
    const char *latest; /* implementation of the latest primitive */
    void *scratch;      /* one scratchpad, as large as the hungriest primitive wants */
    size_t scratch_size;
    const uint8_t *images; /* of the run in progress; own steps read it through a pointer to this field */
    enum qb_status status;
    struct qb_error err;
};

/* Between create and finish (or free) OpenMP's thread count of the calling thread is options->threads: oneDNN
 * fixes the threads of a primitive when its descriptor is made. */
enum qb_status qb_dnnl_list_create(const struct qb_engine_options *options, struct qb_dnnl_list **out,
                                   struct qb_error *err);
/* Checks what only the whole list can tell (an `impl` that no layer has). */
enum qb_status qb_dnnl_list_finish(struct qb_dnnl_list *list, struct qb_error *err);
/* Accepts NULL. */
void qb_dnnl_list_free(struct qb_dnnl_list *list);

/* Runs the steps on n <= batch images; the tap and the step of `watched` (NULL: nobody's) see each finished
 * tensor. */
enum qb_status qb_dnnl_list_run(struct qb_dnnl_list *list, const uint8_t *images, int n,
                                const struct qb_engine *watched, struct qb_error *err);

/* Remembers the first failure; returns the list's status. */
enum qb_status qb_dnnl_list_fail(struct qb_dnnl_list *list, enum qb_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a oneDNN status; does nothing when it is dnnl_success. */
enum qb_status qb_dnnl_list_check(struct qb_dnnl_list *list, dnnl_status_t status, const char *what);

/* Zeroed array of `count` elements (an image) x batch; or without the batch. */
void *qb_dnnl_buffer(struct qb_dnnl_list *list, size_t count, size_t size);
void *qb_dnnl_array(struct qb_dnnl_list *list, size_t count, size_t size);

/* Descriptors. Activations are NHWC: logical dims n, c, h, w. */
dnnl_memory_desc_t qb_dnnl_desc(struct qb_dnnl_list *list, int dims, const int64_t *shape,
                                dnnl_data_type_t type, dnnl_format_tag_t tag);
dnnl_memory_desc_t qb_dnnl_nhwc(struct qb_dnnl_list *list, struct qb_shape shape, dnnl_data_type_t type);
dnnl_memory_t qb_dnnl_memory(struct qb_dnnl_list *list, const_dnnl_memory_desc_t desc, void *data);
/* A vector of f32 or s32 with a copy of the values. */
dnnl_memory_t qb_dnnl_floats(struct qb_dnnl_list *list, const float *values, int count);
dnnl_memory_t qb_dnnl_ints(struct qb_dnnl_list *list, const int32_t *values, int count);
/* Attributes with the scratchpad in the user's hands, and post-ops for them. */
dnnl_primitive_attr_t qb_dnnl_attr(struct qb_dnnl_list *list);
dnnl_post_ops_t qb_dnnl_post_ops(struct qb_dnnl_list *list);

/* Room for one more step, zeroed except node = -1; NULL after a failure. */
struct qb_dnnl_step *qb_dnnl_add_step(struct qb_dnnl_list *list);
enum qb_status qb_dnnl_add_own(struct qb_dnnl_list *list, qb_dnnl_own_fn *own, const void *state,
                               size_t units, int node, const void *tensor, size_t tensor_count);

/* One scratchpad memory of `desc` (may be of size 0: *out = NULL then). */
enum qb_status qb_dnnl_scratchpad(struct qb_dnnl_list *list, const_dnnl_memory_desc_t desc,
                                  dnnl_memory_t *out);
/* The list destroys `primitive`. */
void qb_dnnl_own_primitive(struct qb_dnnl_list *list, dnnl_primitive_t primitive);

#endif
