/* Arithmetics onednn_3_12, torch_onednn and torch_x86 against PyTorch itself: digests of what its operators
 * and its oneDNN gave for the same codes (torch_vectors.py). Sums are at ties, where every rounding shows. */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "engine/reference/arithmetic.h"
#include "testing.h"

enum { SIDE = 64, PIXELS = SIDE * SIDE, IC = 4, OC = 64, COUNT = PIXELS * OC };
enum operation { CONV, SUM, DENSE, ADD, POOL };

/* Scales of the source and of the result, and its zero point. */
static const struct {
    float src, dst;
    int zero_point;
} rows[] = {{0.1876F, 1.37F, 0}, {0.0625F, 0.9F, 3}, {0.0526F, 2.71F, 1}};

static const struct {
    enum qb_arithmetic arithmetic;
    enum operation operation;
    int row;
    const char *sha256; /* of the result, H, W, C */
} cases[] = {
    {QB_ARITHMETIC_ONEDNN_3_12, CONV, 0, "f22023b0bfa16ae70fb471ae4fb4cd6b918da95930521d54c85c4af166a26865"},
    {QB_ARITHMETIC_ONEDNN_3_12, CONV, 1, "4b253bf6ee240e3844f9d86c27b6cb5bcb3e11b9599dbd9ee10eb0ddb598d1b9"},
    {QB_ARITHMETIC_ONEDNN_3_12, CONV, 2, "ab12daffe35d4b5697b1ef70f7eac586585d945f597aba3a9728cddd7562df25"},
    {QB_ARITHMETIC_ONEDNN_3_12, SUM, 0, "69062747f3bdc2662e41c54bcf36c3868ecbfc8744c6a75899681095ca39eab9"},
    {QB_ARITHMETIC_ONEDNN_3_12, SUM, 1, "32ba399ee2bd225788e94fc64ec08c0b624be8248bcf354705d2aac2bad76d9c"},
    {QB_ARITHMETIC_ONEDNN_3_12, SUM, 2, "1808e9c8c3f6bf5cd47092ba21d919d68c10c849cd586338e2105dc6929ac0d1"},
    {QB_ARITHMETIC_TORCH_ONEDNN, CONV, 0, "e7aeb696bf171eb595fe50cdf5024fad492bcd8a02a59f98497064a68efaf127"},
    {QB_ARITHMETIC_TORCH_ONEDNN, CONV, 1, "4b253bf6ee240e3844f9d86c27b6cb5bcb3e11b9599dbd9ee10eb0ddb598d1b9"},
    {QB_ARITHMETIC_TORCH_ONEDNN, CONV, 2, "9f03e6b64ee9f0f3c515fc458a73472547684c828da85586a86a1edebd988211"},
    {QB_ARITHMETIC_TORCH_ONEDNN, DENSE, 0,
     "617cadfce489dac07fe9be36dbb2c7ec8269583f6983d7bab1e6fa2c75e1f106"},
    {QB_ARITHMETIC_TORCH_ONEDNN, DENSE, 1,
     "1aacef4fbc71525203f37b3a474f5fb1180eef06dbdbe0721ed561d3e8fa14ad"},
    {QB_ARITHMETIC_TORCH_ONEDNN, DENSE, 2,
     "0fe99b7b0e8e37efed49f4177770dde9b1e719c7dc3fe00ef09f5ac6243daf58"},
    {QB_ARITHMETIC_TORCH_ONEDNN, ADD, 0, "e4c7b5de04bbbbd0f9cf73af4d820ffc11978f7edd4f639885ccf0b97ee9185d"},
    {QB_ARITHMETIC_TORCH_ONEDNN, ADD, 1, "4f79fa2a891a2e7a358dc4fe859bb785fb2291aba3b14dd39e40e00e24dd1283"},
    {QB_ARITHMETIC_TORCH_ONEDNN, ADD, 2, "bccfc7671b014c5af09e0a78e4812b57998b18925e3be9272d66db030d2f077b"},
    {QB_ARITHMETIC_TORCH_ONEDNN, POOL, 0, "1795aaf8a419bbac82702866f96803183df93b39ba12ac36071f387cadf17497"},
    {QB_ARITHMETIC_TORCH_ONEDNN, POOL, 1, "1795aaf8a419bbac82702866f96803183df93b39ba12ac36071f387cadf17497"},
    {QB_ARITHMETIC_TORCH_ONEDNN, POOL, 2, "1795aaf8a419bbac82702866f96803183df93b39ba12ac36071f387cadf17497"},
    {QB_ARITHMETIC_TORCH_X86, CONV, 0, "e7aeb696bf171eb595fe50cdf5024fad492bcd8a02a59f98497064a68efaf127"},
    {QB_ARITHMETIC_TORCH_X86, CONV, 1, "4b253bf6ee240e3844f9d86c27b6cb5bcb3e11b9599dbd9ee10eb0ddb598d1b9"},
    {QB_ARITHMETIC_TORCH_X86, CONV, 2, "9f03e6b64ee9f0f3c515fc458a73472547684c828da85586a86a1edebd988211"},
    {QB_ARITHMETIC_TORCH_X86, DENSE, 0, "64b1281014279f43fda2282a58d05b1bcf4cd5582c6233aef0a2a6888ef7ce37"},
    {QB_ARITHMETIC_TORCH_X86, DENSE, 1, "3efe7ac437abaeb780b011b4ecf3bc1fde2a2fc8b5f90fb507b10d61aa0fcb61"},
    {QB_ARITHMETIC_TORCH_X86, DENSE, 2, "56dfaf980ee7b0160f0b55073dc7ad16d8d960c44e9ea0bf45a5aefb9ec9adbe"},
    {QB_ARITHMETIC_TORCH_X86, ADD, 0, "e4c7b5de04bbbbd0f9cf73af4d820ffc11978f7edd4f639885ccf0b97ee9185d"},
    {QB_ARITHMETIC_TORCH_X86, ADD, 1, "4f79fa2a891a2e7a358dc4fe859bb785fb2291aba3b14dd39e40e00e24dd1283"},
    {QB_ARITHMETIC_TORCH_X86, ADD, 2, "bccfc7671b014c5af09e0a78e4812b57998b18925e3be9272d66db030d2f077b"},
    {QB_ARITHMETIC_TORCH_X86, POOL, 0, "1795aaf8a419bbac82702866f96803183df93b39ba12ac36071f387cadf17497"},
    {QB_ARITHMETIC_TORCH_X86, POOL, 1, "1795aaf8a419bbac82702866f96803183df93b39ba12ac36071f387cadf17497"},
    {QB_ARITHMETIC_TORCH_X86, POOL, 2, "1795aaf8a419bbac82702866f96803183df93b39ba12ac36071f387cadf17497"},
};

static void draw(uint32_t seed, size_t count, uint8_t *codes)
{
    for (size_t i = 0; i < count; i++) {
        seed = 1664525U * seed + 1013904223U;
        codes[i] = (uint8_t)(seed >> 24);
    }
}

/* The nodes of one operation: 0 its source, 1 itself, 2 the residual or first operand, 3 the second one. */
struct operands {
    struct qb_arena *arena;
    uint8_t src[PIXELS * IC], wei[OC * IC], residual[COUNT], reversed[COUNT];
    int32_t acc[COUNT];
    float scales[OC], bia[OC];
    struct qb_qnode nodes[4];
};

static void fill(struct operands *o)
{
    draw(1, sizeof o->src, o->src);
    draw(2, sizeof o->wei, o->wei);
    draw(3, sizeof o->residual, o->residual);
    for (int i = 0; i < COUNT; i++) {
        const int pixel = i / OC, k = i % OC;
        o->reversed[i] = o->residual[pixel * OC + OC - 1 - k];
        o->acc[i] = 0;
        for (int c = 0; c < IC; c++) {
            o->acc[i] += o->src[pixel * IC + c] * (o->wei[k * IC + c] % 3 - 1);
        }
    }
}

/* Weight scales one unit below, at and above half a step of the result, biases whole steps. */
static void place(struct operands *o, float src, const struct qb_qparams *dst, bool relu)
{
    const float middle = dst->scale / src / 2.0F;
    for (int k = 0; k < OC; k++) {
        o->scales[k] = nextafterf(middle, middle * (float)(k % 3));
        o->bia[k] = dst->scale * (float)(k % 7 - 3);
    }
    o->nodes[0] = (struct qb_qnode){.op = QB_QOP_INPUT, .name = "src", .q.scale = src};
    o->nodes[2] = (struct qb_qnode){.op = QB_QOP_INPUT,
                                    .name = "first",
                                    .dst = {SIDE, SIDE, OC},
                                    .q = {.scale = 0.61F, .zero_point = 101}};
    o->nodes[3] =
        (struct qb_qnode){.op = QB_QOP_INPUT, .name = "second", .q = {.scale = src, .zero_point = 7}};
    o->nodes[1] = (struct qb_qnode){.name = "result",
                                    .src = {0, -1},
                                    .q = *dst,
                                    .relu = relu,
                                    .oc = OC,
                                    .wei_scale_count = OC,
                                    .wei_scales = o->scales,
                                    .bia = o->bia};
}

static void layer(struct operands *o, const struct qb_qgraph *graph, enum operation operation, uint8_t *codes)
{
    struct qb_requant requant;
    struct qb_error err;
    const bool sum = operation == SUM;
    o->nodes[1].op = operation == DENSE ? QB_QOP_DENSE : QB_QOP_CONV;
    o->nodes[1].fused_add = sum;
    o->nodes[1].src[1] = sum ? 2 : -1;
    qbt_ok(qb_requant_init(graph, 1, o->arena, &requant, &err), &err);
    qb_requant_run(&requant, o->acc, sum ? o->residual : NULL, PIXELS, codes);
}

static void addition(struct operands *o, const struct qb_qgraph *graph, uint8_t *codes)
{
    struct qb_add add;
    o->nodes[1].op = QB_QOP_ADD;
    o->nodes[1].src[0] = 2;
    o->nodes[1].src[1] = 3;
    qb_add_init(graph, 1, &add);
    qb_add_run(&add, o->residual, o->reversed, COUNT, codes);
}

/* Averages of 2 x 2; returns how many. */
static size_t averages(struct operands *o, const struct qb_qgraph *graph, uint8_t *codes)
{
    enum { STEP = SIDE * OC };
    struct qb_avgpool pool;
    size_t count = 0;
    o->nodes[1].op = QB_QOP_AVGPOOL;
    o->nodes[1].src[0] = 2;
    o->nodes[1].q = o->nodes[2].q;
    o->nodes[1].kh = o->nodes[1].kw = 2;
    qb_avgpool_init(graph, 1, &pool);
    for (int y = 0; y < SIDE; y += 2) {
        for (int i = 0; i < SIDE / 2 * OC; i++) {
            const int at = y * STEP + i / OC * 2 * OC + i % OC;
            codes[count++] = qb_avgpool_run(&pool, o->residual + at, STEP, OC);
        }
    }
    return count;
}

static void as_torch(void **state)
{
    (void)state;
    static struct operands o;
    static uint8_t codes[COUNT];
    fill(&o);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct qb_qparams dst = {.scale = rows[cases[i].row].dst,
                                       .zero_point = rows[cases[i].row].zero_point};
        const struct qb_qgraph graph = {.arithmetic = cases[i].arithmetic, .nodes = o.nodes, .count = 4};
        size_t count = COUNT;
        o.arena = qb_arena_create();
        assert_non_null(o.arena);
        place(&o, rows[cases[i].row].src, &dst, cases[i].row != 1);
        switch (cases[i].operation) {
        case ADD: addition(&o, &graph, codes); break;
        case POOL: count = averages(&o, &graph, codes); break;
        default: layer(&o, &graph, cases[i].operation, codes); break;
        }
        qb_arena_destroy(o.arena);
        char sha256[QB_SHA256_HEX];
        qb_sha256(codes, count, sha256);
        if (strcmp(sha256, cases[i].sha256) != 0) {
            fail_msg("case %zu (arithmetic %s, operation %d, row %d): other codes than PyTorch's", i,
                     qb_arithmetic_name(cases[i].arithmetic), (int)cases[i].operation, cases[i].row);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_torch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
