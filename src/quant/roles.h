/* Which float nodes become nodes of the integer graph, by whose blocks (the layers of a scheme), which of
 * them are fused into others, and which tensors are observed: the rules of PyTorch's eager mode
 * (fuse_modules, prepare) for INPUT, CONV, DENSE, ADD, RELU and AVGPOOL, and where graph mode (prepare_fx,
 * get_default_qconfig_mapping; scheme->prepare) has others:
 *
 * - An average pool shares its source's observer, which sees both tensors.
 * - Unequal paddings take a ConstantPad2d in front of a convolution, and a dense layer behind an image an
 *   nn.Flatten. FX knows no quantized form of either: it runs them on floats, observes what comes out and
 *   quantizes that.
 * - Nothing is seen twice (twice_behind_fused_relu in observer.h). */
#ifndef QB_QUANT_ROLES_H
#define QB_QUANT_ROLES_H

#include <stdbool.h>

#include "config/scheme.h"
#include "model/graph.h"
#include "quant/observer.h"

/* A tensor that a layer has and the float graph does not, observed for itself. */
enum qb_inner {
    QB_INNER_NONE,
    /* DENSE, arithmetic ort: it becomes a product without bias and the addition of a constant. So ONNX
     * Runtime's quantizer takes the MatMul and Add of a file, which a Keras Dense is exported as; a Gemm
     * keeps its bias. */
    QB_INNER_PRODUCT,
    QB_INNER_PAD,     /* CONV, prepare fx: its source in a frame of zeros; it reads that, quantized again */
    QB_INNER_FLATTEN, /* DENSE, prepare fx: its source; the same */
};

struct qb_role {
    bool emitted;  /* has a node of its own in the integer graph */
    bool observed; /* emitted, with scale and zero point of its own: INPUT, CONV, DENSE, ADD; RELU where the
                      arithmetic rescales. The others have their source's. With dynamic activations nobody
                      observes it (qb_is_calibrated) */
    int tensor;    /* emitted: the float node whose tensor it produces, itself or the RELU fused into it */
    enum qb_inner inner;
    bool dynamic; /* DENSE, f32: with integer weights; it quantizes its source at run time */
    bool joins;   /* AVGPOOL, prepare fx: the observer of its source's tensor sees its own too */
    int conv;     /* ADD: the convolution it is merged with (QB_FUSE_CONV_ADD), else -1 */
    /* The blocks for this node: the scheme's, or those of an exception. */
    const struct qb_observer_spec *weights, *activations;
    /* emitted: computes in float, and makes floats. CONV and DENSE as the scheme says; ADD as the scheme says
     * and where both operands are floats; INPUT where all that reads it works on floats; RELU and AVGPOOL
     * where both are so. Such nodes are observed all the same, as integer nodes may read them. */
    bool f32;
};

/* Has an observer during calibration. */
static inline bool qb_is_calibrated(const struct qb_role *role)
{
    return role->observed && !qb_spec_is_dynamic(role->activations);
}

/* "dense_matmul", "conv_3_pad", "dense_flatten". */
enum { QB_INNER_NAME = 128 };
void qb_inner_name(const struct qb_node *layer, enum qb_inner inner, char out[QB_INNER_NAME]);

/* roles[graph->count]. A node without an integer form is QB_EUNSUPPORTED, naming it; an exception for a layer
 * that is not there QB_EINPUT, naming those that are. */
enum qb_status qb_roles_plan(const struct qb_graph *graph, const struct qb_scheme *scheme,
                             struct qb_role *roles, struct qb_error *err);

/* The CONV or DENSE of the float graph whose weights the integer node `name` has; fused_add: it is called
 * after the addition. */
int qb_role_layer(const struct qb_graph *graph, const struct qb_role *roles, const char *name,
                  bool fused_add);

#endif
