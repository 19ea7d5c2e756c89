/* Two threads give one thread's codes, run after run: test_onednn_race ISA. oneDNN 3.2 has an implementation
 * that does not (src/engine/onednn/layer.c, unreliable()): without that rule this test sees it within a few
 * hundred runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "nets.h"
#include "testing.h"

static enum qb_isa isa;

enum { BATCH = 4, RUNS = 600 };

static void strided_1x1(void **state)
{
    (void)state;
    static const int channels[] = {3, 8, 16, 24, 40};
    for (size_t c = 0; c < sizeof channels / sizeof channels[0]; c++) {
        struct net net;
        struct qb_engine *engines[2];
        struct qb_error err;
        net_init(&net, QB_ARITHMETIC_FBGEMM, 7, (struct qb_shape){14, 10, channels[c]}, 0.5f, 0);
        net_conv(&net, &(struct net_conv){.oc = 16, .kh = 1, .kw = 1, .stride_h = 1, .stride_w = 2});
        for (int t = 0; t < 2; t++) {
            const struct qb_engine_options options = {
                .isa = isa, .threads = t + 1, .batch = BATCH, .impl = "jit"};
            qbt_ok(qb_engine_create("onednn", NULL, &net.graph, &options, &engines[t], &err), &err);
        }
        const size_t count = BATCH * qb_shape_count(net.nodes[1].dst),
                     pixels = BATCH * 14 * 10 * (size_t)channels[c];
        float *one = malloc(count * sizeof *one), *two = malloc(count * sizeof *two);
        uint8_t *images = net_images(&net, BATCH);
        assert_true(one && two);
        for (int run = 0; run < RUNS; run++) {
            for (size_t i = 0; i < 50; i++) {
                images[((size_t)run * 50 + i) % pixels] = (uint8_t)qb_rng_interval(&net.rng, 255);
            }
            qbt_ok(qb_engine_run(engines[0], images, BATCH, one, &err), &err);
            qbt_ok(qb_engine_run(engines[1], images, BATCH, two, &err), &err);
            if (memcmp(one, two, count * sizeof *one) != 0) {
                fail_msg("%d channels, %s, run %d: two threads differ from one", channels[c],
                         engines[1]->implementation, run);
            }
        }
        qb_engine_free(engines[0]);
        qb_engine_free(engines[1]);
        free(one);
        free(two);
        free(images);
        net_free(&net);
    }
}

int main(int argc, char **argv)
{
    struct qb_error err;
    if (argc != 2) {
        fprintf(stderr, "usage: %s ISA\n", argv[0]);
        return 2;
    }
    if (qb_cpu_select(argv[1], &isa, &err) != QB_OK) {
        printf("SKIP: %s\n", err.text);
        return QBT_SKIP;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(strided_1x1)};
    return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
}
