/* Which of oneDNN's implementations runs a primitive, and binding it to memory: between layer.c and list.c.
 */
#ifndef QB_ENGINE_ONEDNN_CHOOSE_H
#define QB_ENGINE_ONEDNN_CHOOSE_H

#include "engine/onednn/list.h"

struct qb_dnnl_plan {
    const char *name;         /* of the graph node, for messages */
    bool heavy;               /* convolution or dense: list->impl applies, and plain loops are refused */
    bool integer;             /* u8 x s8 */
    const char *avoid;        /* no implementation whose name contains this; NULL: any */
    dnnl_memory_t wei;        /* plain format; NULL: the primitive has none */
    struct qb_dnnl_step step; /* node, tensor, and all arguments but weights and scratchpad */
};

/* Appends the chosen primitive to the list; takes ownership of `desc`. */
enum qb_status qb_dnnl_add_primitive(struct qb_dnnl_list *list, const struct qb_dnnl_plan *plan,
                                     dnnl_primitive_desc_t desc);

/* oneDNN's plain C++ loops: "ref:any", "ref_int8:any". */
bool qb_dnnl_is_plain(const_dnnl_primitive_desc_t desc);

/* Does implementation `name` add u8 x s8 products without saturation? Those that do not use VNNI or AMX add
 * pairs with vpmaddubsw, also on a CPU that has VNNI; oneDNN's GEMM uses what the CPU has. */
bool qb_dnnl_adds_exactly(const char *name);

/* Chosen names with counts, "brgconv:avx512_core_vnni x7, jit:avx512_core"; owned by the list, NULL when out
 * of memory. */
const char *qb_dnnl_implementation(struct qb_dnnl_list *list);
/* All names that layers had to offer, for messages. */
const char *qb_dnnl_offered(struct qb_dnnl_list *list);

#endif
