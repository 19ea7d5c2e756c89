/* What one image of ResNet8 costs on AMX, counted by the emulation of the tile instructions: dot products,
 * loads, stores and configurations. Numbers that may only fall. Needs AVX512-VNNI: else SKIP. */
#include <stdlib.h>

#include "base/cpu.h"
#include "engine/engine.h"
#include "nets.h"
#include "testing.h"
#include "tile_emulation.h"

static void an_image_of_resnet8(void **state)
{
    (void)state;
    struct net net;
    net_resnet8(&net, QB_ARITHMETIC_FBGEMM, 1, false);
    const struct qb_engine_options options = {.isa = QB_ISA_AMX, .threads = 1, .batch = 1};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create("native", NULL, &net.graph, &options, &engine, &err), &err);
    uint8_t *const image = net_images(&net, 1);
    float logits[10];
    tile_counts_take();
    qbt_ok(qb_engine_run(engine, image, 1, logits, &err), &err);
    const struct tile_counts c = tile_counts_take();
    print_message(
        "%s\n%ld dot products, %ld of 8 rows or fewer; %ld loads, %ld of their rows on two cache lines; "
        "%ld stores; %ld configurations\n",
        engine->implementation, c.dots, c.short_dots, c.loads, c.crossings, c.stores, c.configs);
    assert_true(c.dots > 0 && c.dots <= 1300);
    assert_true(c.short_dots <= 224);
    assert_true(c.configs <= 5);
    free(image);
    qb_engine_free(engine);
    net_free(&net);
}

int main(void)
{
    if (!qb_cpu_has(QB_ISA_AMX)) {
        print_message("SKIP: the emulation needs AVX512-VNNI; this CPU has: %s\n", qb_cpu_isas());
        return QBT_SKIP;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_image_of_resnet8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
