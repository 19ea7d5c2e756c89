/* Arithmetic ort against ONNX Runtime itself: digests of what its operators gave for the same codes
 * (ort_vectors.py). Scales with and without ties, both types, every operator that sums or scales in float. */
#include <string.h>

#include "base/hash.h"
#include "engine/engine.h"
#include "testing.h"

enum { SIDE = 16, CHANNELS = 64, COUNT = SIDE * SIDE * CHANNELS };
enum operation { ADD, ADD_CONSTANT, MUL, POOL_ALL, POOL_WINDOWS, RELU };

/* Scale and zero point, inside form, of both sources and of the result. */
static const struct {
    float scale[3];
    int zero_point[3];
} rows[] = {
    {{0.047F, 0.061F, 0.07F}, {3, 120, 60}},
    {{0.25F, 0.125F, 0.25F}, {0, 128, 10}},
    {{0.11422195F, 0.22355123F, 0.05451426F}, {128, 123, 0}},
};

static const struct {
    enum operation operation;
    enum qb_dtype dtype;
    int row;
    const char *sha256; /* of the result, H, W, C, inside form */
    bool mixed;         /* the first source has the other type: the sum is that of unsigned ones */
} cases[] = {
    {ADD, QB_QUINT8, 0, "555d1caa57ee833fcfa1b275fd227c31f0cd79563a8aedccb638283b41420f6e", false},
    {ADD_CONSTANT, QB_QUINT8, 0, "0fc225974e4f399bfc0b0caa91ad4e0643368ff1c5f01742b18ee948cd62eb4f", false},
    {MUL, QB_QUINT8, 0, "83d97417243c37941ef86eeea074d1da400700ab3949312f0eee623cb7575c18", false},
    {POOL_ALL, QB_QUINT8, 0, "25f7f97a3bd92416f294aa43fce524d8f90f0057115876191d71b9b772e09e47", false},
    {POOL_WINDOWS, QB_QUINT8, 0, "dc05ee337a5bfd262010588bfbed5c8c652c60c725b6c765f7cd11c774ff9973", false},
    {RELU, QB_QUINT8, 0, "932209716acb3c17fb55b86d38c63a71b703263dfcfa544a7e54ddbd619dec68", false},
    {ADD, QB_QUINT8, 1, "7bf5826c857d5c5f92b97a952146630440fc46b447ba7ecd9f4658e08ff41d66", false},
    {ADD_CONSTANT, QB_QUINT8, 1, "83811b34c14ac9051c3505af4926bfdbf2136e5251ca1e8c0344b19aa2468069", false},
    {MUL, QB_QUINT8, 1, "d84430d539e73efe1dc251b2b30a8abbeb3078e5f66104d55c318ff03ede251d", false},
    {POOL_ALL, QB_QUINT8, 1, "dfc56c613d1ee6276af2e8c0022ddc3f38eaf9a0cb3124110a822e8ec8b8c1a5", false},
    {POOL_WINDOWS, QB_QUINT8, 1, "1a8fae22d497886526bc7b1c774687236c881cf83952edb89817d5ee21f06f09", false},
    {RELU, QB_QUINT8, 1, "73ddb2c1a0d7da70dae5a276501e10d368cc54b941e05a60606c798e676f99d5", false},
    {ADD, QB_QUINT8, 2, "ba1fc6966efed22e65381c12063d66558d7bceff0c144b5395cfc77031f1abc8", false},
    {ADD_CONSTANT, QB_QUINT8, 2, "1e7fb9f282d07de3bf7dee99b0aea8e7cf6df71a89e70e119215d99743b02a8c", false},
    {MUL, QB_QUINT8, 2, "75f7d221c5505dfd3b8814f9ad7693e96f5c6cc39dba9925a6149bbe9059aea5", false},
    {POOL_ALL, QB_QUINT8, 2, "e4bea5f0fbf8acc079924d5457a0582e63c208019d037104e0c04d16b7735898", false},
    {POOL_WINDOWS, QB_QUINT8, 2, "a25d837002d7ce657a9bb173d88b8d60fd55bbb04402f3d18cd0c9754f3851fe", false},
    {RELU, QB_QUINT8, 2, "a0ecbe708e7cc19db0c8774dd9b4b7312088e584ae0f602c256585829a13a9cf", false},
    {ADD, QB_QINT8, 0, "6af21bca4090daa0e7f0d80a9e3db450e36bc90860b6f490c0ce99c5f26b091c", false},
    {ADD_CONSTANT, QB_QINT8, 0, "edf9680d9c2da1cc8eeb7a57b195355b3c46187bdde06d02d42114ec0209f350", false},
    {MUL, QB_QINT8, 0, "83d97417243c37941ef86eeea074d1da400700ab3949312f0eee623cb7575c18", false},
    {POOL_ALL, QB_QINT8, 0, "25f7f97a3bd92416f294aa43fce524d8f90f0057115876191d71b9b772e09e47", false},
    {POOL_WINDOWS, QB_QINT8, 0, "bb584a690a6e5cc6b387ebe1568bad63dd0e96de41e6d7c7514ac23860cb7e5c", false},
    {RELU, QB_QINT8, 0, "932209716acb3c17fb55b86d38c63a71b703263dfcfa544a7e54ddbd619dec68", false},
    {ADD, QB_QINT8, 1, "7bf5826c857d5c5f92b97a952146630440fc46b447ba7ecd9f4658e08ff41d66", false},
    {ADD_CONSTANT, QB_QINT8, 1, "83811b34c14ac9051c3505af4926bfdbf2136e5251ca1e8c0344b19aa2468069", false},
    {MUL, QB_QINT8, 1, "d84430d539e73efe1dc251b2b30a8abbeb3078e5f66104d55c318ff03ede251d", false},
    {POOL_ALL, QB_QINT8, 1, "dfc56c613d1ee6276af2e8c0022ddc3f38eaf9a0cb3124110a822e8ec8b8c1a5", false},
    {POOL_WINDOWS, QB_QINT8, 1, "1a8fae22d497886526bc7b1c774687236c881cf83952edb89817d5ee21f06f09", false},
    {RELU, QB_QINT8, 1, "73ddb2c1a0d7da70dae5a276501e10d368cc54b941e05a60606c798e676f99d5", false},
    {ADD, QB_QINT8, 2, "ba1fc6966efed22e65381c12063d66558d7bceff0c144b5395cfc77031f1abc8", false},
    {ADD_CONSTANT, QB_QINT8, 2, "1e7fb9f282d07de3bf7dee99b0aea8e7cf6df71a89e70e119215d99743b02a8c", false},
    {MUL, QB_QINT8, 2, "75f7d221c5505dfd3b8814f9ad7693e96f5c6cc39dba9925a6149bbe9059aea5", false},
    {POOL_ALL, QB_QINT8, 2, "e4bea5f0fbf8acc079924d5457a0582e63c208019d037104e0c04d16b7735898", false},
    {POOL_WINDOWS, QB_QINT8, 2, "a25d837002d7ce657a9bb173d88b8d60fd55bbb04402f3d18cd0c9754f3851fe", false},
    {RELU, QB_QINT8, 2, "a0ecbe708e7cc19db0c8774dd9b4b7312088e584ae0f602c256585829a13a9cf", false},
    {ADD, QB_QUINT8, 0, "555d1caa57ee833fcfa1b275fd227c31f0cd79563a8aedccb638283b41420f6e", true},
    {ADD, QB_QINT8, 0, "555d1caa57ee833fcfa1b275fd227c31f0cd79563a8aedccb638283b41420f6e", true},
    {MUL, QB_QINT8, 1, "d84430d539e73efe1dc251b2b30a8abbeb3078e5f66104d55c318ff03ede251d", true},
};

static void draw(uint32_t seed, uint8_t *codes)
{
    for (int i = 0; i < COUNT; i++) {
        seed = 1664525U * seed + 1013904223U;
        codes[i] = (uint8_t)(seed >> 24);
    }
}

/* What the tap saw of the last node. */
struct result {
    int node;
    uint8_t codes[COUNT];
    size_t count;
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    struct result *const r = ctx;
    if (node == r->node) {
        memcpy(r->codes, data, count);
        r->count = count;
    }
}

/* A network whose input holds the codes of both sources: 64 channels of the first, 64 of the second, which 1
 * x 1 convolutions with weights 1 pick. Their scale is that of the input times 1. */
static void one_operation(void **state)
{
    (void)state;
    static struct result result;
    static uint8_t image[2 * COUNT], first[COUNT], second[COUNT];
    static int8_t pick[2][CHANNELS * 2 * CHANNELS];
    static const int32_t no_bias[CHANNELS];
    static const float zeros[CHANNELS];
    static const int32_t no_zero[1];
    draw(1, first);
    draw(2, second);
    for (int i = 0; i < COUNT; i++) {
        image[i / CHANNELS * 2 * CHANNELS + i % CHANNELS] = first[i];
        image[i / CHANNELS * 2 * CHANNELS + CHANNELS + i % CHANNELS] = second[i];
    }
    for (int k = 0; k < CHANNELS; k++) {
        pick[0][k * 2 * CHANNELS + k] = 1;
        pick[1][k * 2 * CHANNELS + CHANNELS + k] = 1;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const float *const scale = rows[cases[i].row].scale;
        const int *const zero = rows[cases[i].row].zero_point;
        const enum operation operation = cases[i].operation;
        const float one = 1.0F;
        struct qb_qnode n[4] = {
            {.op = QB_QOP_INPUT,
             .name = "input",
             .src = {-1, -1},
             .dst = {SIDE, SIDE, 2 * CHANNELS},
             .q = {
                 .scale = 1.0F, .zero_point = 0, .dtype = cases[i].dtype, .quant_min = 0, .quant_max = 255}}};
        for (int k = 0; k < 2; k++) { /* acc = code; dst = rne(acc * 1) - zero + zero */
            n[1 + k] = (struct qb_qnode){.op = QB_QOP_CONV,
                                         .name = k ? "second" : "first",
                                         .src = {0, -1},
                                         .dst = {SIDE, SIDE, CHANNELS},
                                         .q = {.scale = 1.0F,
                                               .zero_point = 0,
                                               .dtype = cases[i].dtype,
                                               .quant_min = 0,
                                               .quant_max = 255},
                                         .kh = 1,
                                         .kw = 1,
                                         .stride_h = 1,
                                         .stride_w = 1,
                                         .ic = 2 * CHANNELS,
                                         .oc = CHANNELS,
                                         .wei = pick[k],
                                         .wei_scale_count = 1,
                                         .wei_scales = &one,
                                         .wei_zero_points = no_zero,
                                         .bia = zeros,
                                         .bia_codes = no_bias};
        }
        if (cases[i].mixed) {
            n[1].q.dtype = cases[i].dtype == QB_QINT8 ? QB_QUINT8 : QB_QINT8;
        }
        n[3] = (struct qb_qnode){.name = "result",
                                 .src = {1, 2},
                                 .dst = {SIDE, SIDE, CHANNELS},
                                 .q = {.scale = scale[2],
                                       .zero_point = zero[2],
                                       .dtype = cases[i].dtype,
                                       .quant_min = 0,
                                       .quant_max = 255}};
        switch (operation) {
        case ADD_CONSTANT:
            n[2].op = QB_QOP_CONSTANT;
            n[2].src[0] = -1;
            n[2].dst = (struct qb_shape){1, 1, CHANNELS};
            n[2].codes = second; /* the first pixel's */
            n[3].op = QB_QOP_ADD;
            break;
        case ADD: n[3].op = QB_QOP_ADD; break;
        case MUL: n[3].op = QB_QOP_MUL; break;
        case POOL_ALL:
            n[3].op = QB_QOP_AVGPOOL;
            n[3].kh = n[3].kw = n[3].stride_h = n[3].stride_w = SIDE;
            n[3].dst = (struct qb_shape){1, 1, CHANNELS};
            break;
        case POOL_WINDOWS:
            n[3].op = QB_QOP_AVGPOOL;
            n[3].kh = 3;
            n[3].kw = n[3].stride_h = n[3].stride_w = 2;
            n[3].dst = (struct qb_shape){7, 8, CHANNELS};
            break;
        case RELU: n[3].op = QB_QOP_RELU; break;
        }
        if (qb_qnode_sources(&n[3]) == 1) {
            n[3].src[1] = -1;
        }
        /* The pixels are codes: with these scales and zero points the convolutions pass them on. */
        const struct qb_qgraph graph = {.scheme = "one",
                                        .arithmetic = QB_ARITHMETIC_ORT,
                                        .nodes = n,
                                        .count = 4,
                                        .model_sha256 = "",
                                        .calibration_hash = ""};
        const float weight[2] = {scale[0], scale[1]};
        for (int k = 0; k < 2; k++) {
            n[1 + k].q.scale = scale[k];
            n[1 + k].q.zero_point = zero[k];
            n[1 + k].wei_scales = n[1 + k].op == QB_QOP_CONV ? &weight[k] : NULL;
        }
        /* acc = code - zero: the bias takes the zero point away that the tail adds. */
        int32_t bias[2][CHANNELS];
        for (int k = 0; k < CHANNELS; k++) {
            bias[0][k] = -zero[0];
            bias[1][k] = -zero[1];
        }
        n[1].bia_codes = bias[0];
        n[2].bia_codes = n[2].op == QB_QOP_CONV ? bias[1] : NULL;
        const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};
        struct qb_engine *engine = NULL;
        struct qb_error err;
        static float logits[COUNT];
        qbt_ok(qb_engine_create("reference", NULL, &graph, &options, &engine, &err), &err);
        result = (struct result){.node = 3};
        engine->tap = keep;
        engine->tap_ctx = &result;
        qbt_ok(qb_engine_run(engine, image, 1, logits, &err), &err);
        qb_engine_free(engine);
        char sha256[QB_SHA256_HEX];
        qb_sha256(result.codes, result.count, sha256);
        if (strcmp(sha256, cases[i].sha256) != 0) {
            fail_msg("case %zu (operation %d, %s, row %d): other codes than ONNX Runtime's", i,
                     (int)operation, qb_dtype_name(cases[i].dtype), cases[i].row);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_operation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
