/* The engine table and the arguments of its functions. */
#include <string.h>

#include "engine/engine.h"
#include "nets.h"
#include "testing.h"

static const struct qb_engine_options one = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};

static void table(void **state)
{
    (void)state;
    struct qb_error err = {0};
    assert_non_null(qb_engine_find("reference", &err));
    assert_null(qb_engine_find("Reference", &err));
    assert_non_null(strstr(err.text, "reference"));
    for (size_t i = 0; qb_engines[i]; i++) {
        assert_ptr_equal(qb_engine_find(qb_engines[i]->name, &err), qb_engines[i]);
        assert_true(strlen(qb_engines[i]->summary) > 0);
        assert_null(strchr(qb_engines[i]->summary, '\n'));
    }
}

static void create_arguments(void **state)
{
    (void)state;
    struct net net;
    struct qb_engine *engine = NULL;
    struct qb_error err;
    const struct qb_graph empty = {0};
    net_mixed(&net, QB_ARITHMETIC_FBGEMM, 1);
    const struct qb_qgraph *const q = &net.graph;
    qbt_error(qb_engine_create("tensorrt", NULL, q, &one, &engine, &err), QB_EINPUT, &err, "tensorrt");
    qbt_error(qb_engine_create("tensorrt", NULL, q, &one, &engine, &err), QB_EINPUT, &err, "reference");
    qbt_error(qb_engine_create("reference", NULL, NULL, &one, &engine, &err), QB_EINPUT, &err, "got none");
    qbt_error(qb_engine_create("reference", &empty, q, &one, &engine, &err), QB_EINPUT, &err, "got both");
    struct qb_engine_options options = one;
    options.threads = 0;
    qbt_error(qb_engine_create("reference", NULL, q, &options, &engine, &err), QB_EINPUT, &err,
              "threads = 0");
    options.threads = 1 << 20;
    qbt_error(qb_engine_create("reference", NULL, q, &options, &engine, &err), QB_EINPUT, &err,
              "threads = 1048576");
    options = one;
    options.batch = -1;
    qbt_error(qb_engine_create("reference", NULL, q, &options, &engine, &err), QB_EINPUT, &err, "batch = -1");
    options.batch = 1 << 30;
    qbt_error(qb_engine_create("reference", NULL, q, &options, &engine, &err), QB_EINPUT, &err, "batch = ");
    assert_null(engine);
    net_free(&net);
}

static void run_arguments(void **state)
{
    (void)state;
    struct net net;
    struct qb_engine *engine = NULL;
    struct qb_error err;
    uint8_t images[3 * 9 * 8 * 3] = {0};
    float logits[30];
    net_mixed(&net, QB_ARITHMETIC_ONEDNN, 1);
    const struct qb_engine_options options = {.isa = QB_ISA_AMX, .threads = 2, .batch = 3};
    qbt_ok(qb_engine_create("reference", NULL, &net.graph, &options, &engine, &err), &err);
    assert_string_equal(engine->isa, "ref");
    assert_int_equal(engine->classes, 10);
    qbt_error(qb_engine_run(engine, images, 0, logits, &err), QB_EINPUT, &err, "0 images");
    qbt_error(qb_engine_run(engine, images, 4, logits, &err), QB_EINPUT, &err, "wanted 1..3");
    qbt_ok(qb_engine_run(engine, images, 1, logits, &err), &err);
    qbt_ok(qb_engine_run(engine, images, 3, logits, &err), &err);
    qb_engine_free(engine);
    qb_engine_free(NULL);
    net_free(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(create_arguments),
        cmocka_unit_test(run_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
