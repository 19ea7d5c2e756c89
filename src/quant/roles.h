/* Which float nodes become nodes of the integer graph, by whose blocks (the layers of a scheme), which of
 * them are fused into others, and which tensors are observed: the rules of PyTorch's eager mode
 * (fuse_modules, prepare) for INPUT, CONV, DENSE, ADD, RELU and AVGPOOL. */
#ifndef QB_QUANT_ROLES_H
#define QB_QUANT_ROLES_H

#include <stdbool.h>

#include "config/scheme.h"
#include "model/graph.h"

struct qb_role {
    bool emitted;  /* has a node of its own in the integer graph */
    bool observed; /* emitted, with scale and zero point of its own: INPUT, CONV, DENSE, ADD; RELU where the
                      arithmetic rescales. The others have their source's */
    int tensor;    /* emitted: the float node whose tensor it produces, itself or the RELU fused into it */
    /* DENSE, arithmetic ort: becomes a product without bias, observed for itself, and the addition of a
     * constant. So ONNX Runtime's quantizer takes the MatMul and Add of a file, which a
     * Keras Dense is exported as; a Gemm keeps its bias. */
    bool split;
    int conv; /* ADD: the convolution it is merged with (QB_FUSE_CONV_ADD), else -1 */
    /* The blocks for this node: the scheme's, or those of an exception. */
    const struct qb_observer_spec *weights, *activations;
    /* emitted: computes in float, and makes floats. CONV and DENSE as the scheme says; ADD as the scheme says
     * and where both operands are floats; INPUT where all that reads it works on floats; RELU and AVGPOOL
     * where both are so. Such nodes are observed all the same, as integer nodes may read them. */
    bool f32;
};

/* roles[graph->count]. A node without an integer form is QB_EUNSUPPORTED, naming it; an exception for a layer
 * that is not there QB_EINPUT, naming those that are. */
enum qb_status qb_roles_plan(const struct qb_graph *graph, const struct qb_scheme *scheme,
                             struct qb_role *roles, struct qb_error *err);

#endif
