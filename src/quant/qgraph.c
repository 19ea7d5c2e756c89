/* The integer network as a value: names, size, identity. See qgraph.h. */
#include "quant/qgraph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *qb_qop_name(enum qb_qop op)
{
    switch (op) {
    case QB_QOP_INPUT: return "input";
    case QB_QOP_CONV: return "conv";
    case QB_QOP_DENSE: return "dense";
    case QB_QOP_ADD: return "add";
    case QB_QOP_RELU: return "relu";
    case QB_QOP_AVGPOOL: return "avgpool";
    case QB_QOP_MUL: return "mul";
    case QB_QOP_CONSTANT: return "constant";
    case QB_QOP_QUANTIZE: return "quantize";
    case QB_QOP_DEQUANTIZE: return "dequantize";
    case QB_QOP_AFFINE: return "affine";
    }
    return "unknown";
}

#define OWN(name) .conv = QB_ARITHMETIC_##name, .dense = QB_ARITHMETIC_##name, .rest = QB_ARITHMETIC_##name

const struct qb_arithmetic_traits *qb_arithmetic_traits(enum qb_arithmetic arithmetic)
{
    static const struct qb_arithmetic_traits traits[QB_ARITHMETIC_COUNT] = {
        [QB_ARITHMETIC_FBGEMM] = {OWN(FBGEMM), .requantizes = true, .dynamic = true},
        [QB_ARITHMETIC_ONEDNN] = {OWN(ONEDNN), .requantizes = true},
        [QB_ARITHMETIC_ONEDNN_3_12] = {OWN(ONEDNN), .requantizes = true, .scales_apart = true},
        [QB_ARITHMETIC_TORCH_ONEDNN] = {.conv = QB_ARITHMETIC_ONEDNN,
                                        .dense = QB_ARITHMETIC_ONEDNN,
                                        .rest = QB_ARITHMETIC_FBGEMM,
                                        .requantizes = true,
                                        .scales_apart = true,
                                        .reciprocals = true},
        [QB_ARITHMETIC_TORCH_X86] = {.conv = QB_ARITHMETIC_ONEDNN,
                                     .dense = QB_ARITHMETIC_FBGEMM,
                                     .rest = QB_ARITHMETIC_FBGEMM,
                                     .requantizes = true,
                                     .scales_apart = true,
                                     .reciprocals = true},
        [QB_ARITHMETIC_ORT] = {OWN(ORT), .bia_codes = true, .rescales = true, .constants = true,
                               .outside = true},
        [QB_ARITHMETIC_TFLITE] = {OWN(TFLITE), .bia_codes = true},
    };
    return &traits[arithmetic];
}

bool qb_qparams_equal(const struct qb_qparams *a, const struct qb_qparams *b)
{
    return !(a->scale < b->scale) && !(a->scale > b->scale) && a->zero_point == b->zero_point;
}

int qb_qnode_sources(const struct qb_qnode *node)
{
    switch (node->op) {
    case QB_QOP_INPUT:
    case QB_QOP_CONSTANT: return 0;
    case QB_QOP_ADD:
    case QB_QOP_MUL: return 2;
    default: return node->fused_add ? 2 : 1;
    }
}

void qb_bia_of_codes(const struct qb_qnode *node, float src_scale, float *bia)
{
    for (int k = 0; k < node->oc; k++) {
        bia[k] = (float)node->bia_codes[k] * qb_acc_scale(node, src_scale, k);
    }
}

void qb_qgraph_free(struct qb_qgraph *graph)
{
    if (graph) {
        qb_arena_destroy(graph->arena); /* the graph itself lives in it */
    }
}

int qb_qgraph_find(const struct qb_qgraph *graph, const char *name)
{
    for (int i = 0; i < graph->count; i++) {
        if (strcmp(graph->nodes[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool has_weights(const struct qb_qnode *node)
{
    return node->op == QB_QOP_CONV || node->op == QB_QOP_DENSE;
}

static size_t weight_count(const struct qb_qnode *node)
{
    const size_t taps = node->op == QB_QOP_CONV ? (size_t)node->kh * (size_t)node->kw : 1;
    return taps * (size_t)node->ic * (size_t)node->oc;
}

uint64_t qb_qnode_macs(const struct qb_qnode *node)
{
    return has_weights(node) ? weight_count(node) * (uint64_t)node->dst.h * (uint64_t)node->dst.w : 0;
}

size_t qb_qgraph_bytes(const struct qb_qgraph *graph)
{
    size_t bytes = 0;
    for (int i = 0; i < graph->count; i++) {
        const struct qb_qnode *const node = &graph->nodes[i];
        if (has_weights(node) && !qb_has_integer_weights(node)) {
            bytes += sizeof(float) * (weight_count(node) + (size_t)node->oc);
        } else if (has_weights(node)) {
            bytes += weight_count(node) + sizeof(float) * (size_t)node->oc +
                     (sizeof(float) + 1) * (size_t)node->wei_scale_count;
        } else if (node->op == QB_QOP_CONSTANT) {
            bytes += (size_t)node->dst.c;
        } else if (node->op == QB_QOP_AFFINE) {
            bytes += 2 * sizeof(float) * (size_t)node->oc;
        }
    }
    return bytes;
}

/* A chain of digests: each link covers the one before it and one node, so no buffer has to hold the network.
 * Numbers are little-endian 32-bit words whatever the struct's layout. */
enum { FIELDS = 22, ARRAYS = 4, DIGEST = QB_SHA256_HEX - 1, LINK = (1 + ARRAYS) * DIGEST + FIELDS * 4 };

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static unsigned char *add_digest(unsigned char *at, const void *data, size_t size)
{
    char hex[QB_SHA256_HEX];
    qb_sha256(data, size, hex);
    memcpy(at, hex, DIGEST);
    return at + DIGEST;
}

static void add_link(const struct qb_qnode *node, bool outside, char chain[QB_SHA256_HEX])
{
    unsigned char link[LINK] = {0};
    unsigned char *at = link;
    /* Limits of a tensor of fewer bits beside the ReLU, so that networks of 8 bits keep their hashes. */
    int32_t low = 0, high = 0;
    if (node->q.bits) {
        qb_code_limits(&node->q, &low, &high);
    }
    const uint32_t limits = (uint32_t)node->relu | (uint32_t)low << 8 | (uint32_t)high << 16;
    const uint32_t fields[FIELDS] = {
        (uint32_t)node->op | (uint32_t)node->f32 << 8 | (uint32_t)node->dynamic << 16,
        (uint32_t)node->src[0],
        (uint32_t)node->src[1],
        (uint32_t)node->dst.h,
        (uint32_t)node->dst.w,
        (uint32_t)node->dst.c,
        float_bits(node->q.scale),
        (uint32_t)node->q.zero_point,
        limits,
        (uint32_t)node->fused_add,
        (uint32_t)node->kh,
        (uint32_t)node->kw,
        (uint32_t)node->stride_h,
        (uint32_t)node->stride_w,
        (uint32_t)node->pad_t,
        (uint32_t)node->pad_l,
        (uint32_t)node->pad_b,
        (uint32_t)node->pad_r,
        (uint32_t)node->ic,
        (uint32_t)node->oc,
        (uint32_t)node->wei_scale_count,
        (uint32_t)node->q.dtype,
    };
    memcpy(at, chain, DIGEST);
    at += DIGEST;
    for (int i = 0; i < (outside ? FIELDS : FIELDS - 1); i++) {
        for (int b = 0; b < 4; b++) {
            *at++ = (unsigned char)(fields[i] >> (8 * b));
        }
    }
    if (has_weights(node) && !qb_has_integer_weights(node)) {
        at = add_digest(at, node->wei_f32, weight_count(node) * sizeof *node->wei_f32);
        at = add_digest(at, node->bia, (size_t)node->oc * sizeof *node->bia);
    } else if (has_weights(node)) {
        const size_t scales = (size_t)node->wei_scale_count, oc = (size_t)node->oc;
        at = add_digest(at, node->wei, weight_count(node));
        at = add_digest(at, node->wei_scales, scales * sizeof *node->wei_scales);
        at = add_digest(at, node->wei_zero_points, scales * sizeof *node->wei_zero_points);
        at = node->bia_codes ? add_digest(at, node->bia_codes, oc * sizeof *node->bia_codes)
                             : add_digest(at, node->bia, oc * sizeof *node->bia);
    } else if (node->op == QB_QOP_CONSTANT) {
        at = add_digest(at, node->codes, (size_t)node->dst.c);
    } else if (node->op == QB_QOP_AFFINE) {
        at = add_digest(at, node->wei_f32, (size_t)node->oc * sizeof *node->wei_f32);
        at = add_digest(at, node->bia, (size_t)node->oc * sizeof *node->bia);
    }
    qb_sha256(link, outside ? LINK : LINK - 4, chain);
}

void qb_qgraph_hash(const struct qb_qgraph *graph, char hex[QB_HASH64_HEX])
{
    char chain[QB_SHA256_HEX], rule[64];
    const bool exact =
        graph->accumulate == QB_ACCUMULATE_EXACT; /* says nothing: hashes of older files stay */
    const int length = snprintf(rule, sizeof rule, "%s%s%s", qb_arithmetic_name(graph->arithmetic),
                                exact ? "" : "/", exact ? "" : qb_accumulate_name(graph->accumulate));
    qb_sha256(rule, (size_t)length, chain);
    for (int i = 0; i < graph->count; i++) {
        add_link(&graph->nodes[i], qb_arithmetic_traits(graph->arithmetic)->outside, chain);
    }
    memcpy(hex, chain, QB_HASH64_HEX - 1);
    hex[QB_HASH64_HEX - 1] = 0;
}

enum qb_status qb_qgraph_note(struct qb_qgraph *graph, const char *line, struct qb_error *err)
{
    const bool first = !graph->refinement || !*graph->refinement;
    const char *const text =
        line && !first ? qb_arena_printf(graph->arena, "%s\n%s", graph->refinement, line) : line;
    if (!text) {
        return qb_fail_memory(err, 256);
    }
    graph->refinement = text;
    return QB_OK;
}
