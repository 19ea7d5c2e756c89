/* Which float nodes become nodes of the integer graph, which of them are fused into others, and which tensors
 * are observed: the rules of PyTorch's eager mode (fuse_modules, prepare) for INPUT, CONV, DENSE, ADD, RELU
 * and AVGPOOL. */
#ifndef QB_QUANT_ROLES_H
#define QB_QUANT_ROLES_H

#include <stdbool.h>

#include "config/scheme.h"
#include "model/graph.h"

struct qb_role {
    bool emitted;  /* has a node of its own in the integer graph */
    bool observed; /* emitted, with scale and zero point of its own: INPUT, CONV, DENSE, ADD. The others have
                      their source's */
    int tensor;    /* emitted: the float node whose tensor it produces, itself or the RELU fused into it */
    int conv;      /* ADD: the convolution it is merged with (QB_FUSE_CONV_ADD), else -1 */
};

/* roles[graph->count]. A node without an integer form is QB_EUNSUPPORTED, naming it. */
enum qb_status qb_roles_plan(const struct qb_graph *graph, unsigned fuse, struct qb_role *roles,
                             struct qb_error *err);

#endif
