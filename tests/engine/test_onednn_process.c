/* What the oneDNN engines owe their process: one ISA, the asked number of threads, and sentences for options
 * that cannot be met. A process of its own, because oneDNN reads its ISA cap once. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine/onednn/library.h"
#include "engine/onednn/onednn.h"
#include "nets.h"
#include "testing.h"

static enum qb_status make(const struct net *net, const char *name, enum qb_isa isa, int threads,
                           const char *impl, struct qb_engine **out, struct qb_error *err)
{
    const struct qb_engine_options options = {.isa = isa, .threads = threads, .batch = 2, .impl = impl};
    return qb_engine_create(name, NULL, &net->graph, &options, out, err);
}

static int threads_of_process(void)
{
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    int count = -2; /* "." and ".." */
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

/* First of all tests: a thread that OpenMP has once started stays. */
static void threads(void **state)
{
    (void)state;
    struct net net;
    struct qb_error err;
    float logits[20];
    net_mixed(&net, QB_ARITHMETIC_ONEDNN, 1);
    uint8_t *images = net_images(&net, 2);
    const int before = threads_of_process();
    static const char *const names[] = {"onednn", "onednn_fused"};
    for (size_t i = 0; i < 2; i++) {
        struct qb_engine *engine = NULL;
        qbt_ok(make(&net, names[i], QB_ISA_AMX, 1, i ? "fastest" : NULL, &engine, &err), &err);
        qbt_ok(qb_engine_run(engine, images, 2, logits, &err), &err);
        qb_engine_free(engine);
    }
    assert_int_equal(threads_of_process(), before);
    struct qb_engine *engine = NULL;
    qbt_ok(make(&net, "onednn", QB_ISA_AMX, 3, NULL, &engine, &err), &err);
    qbt_ok(qb_engine_run(engine, images, 2, logits, &err), &err);
    assert_int_equal(threads_of_process(), before + 2);
    qb_engine_free(engine);
    free(images);
    net_free(&net);
}

static void second_cap(void **state)
{
    (void)state;
    struct net net;
    struct qb_error err;
    struct qb_engine *engine = NULL;
    net_mixed(&net, QB_ARITHMETIC_FBGEMM, 1);
    /* The process runs uncapped since the first test: the best ISA is the same, another one is not. */
    qbt_ok(make(&net, "onednn", qb_cpu_best(QB_ISA_AMX), 1, NULL, &engine, &err), &err);
    qb_engine_free(engine);
    engine = NULL;
    if (qb_cpu_best(QB_ISA_AMX) > QB_ISA_AVX2) {
        qbt_error(make(&net, "onednn", QB_ISA_AVX2, 1, NULL, &engine, &err), QB_EUNSUPPORTED, &err,
                  "its own process");
    }
    qbt_error(make(&net, "onednn", QB_ISA_REF, 1, NULL, &engine, &err), QB_EUNSUPPORTED, &err, "reference");
    assert_null(engine);
    net_free(&net);
}

/* In a child: the first engine's cap holds, and what oneDNN then uses says so. */
static void first_cap(void **state)
{
    (void)state;
    if (!qb_cpu_has(QB_ISA_AVX2)) {
        skip();
    }
    char name[] = "test_onednn_process", isa[] = "avx2";
    char *const args[] = {name, isa, NULL};
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execv("/proc/self/exe", args);
        _exit(3);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int capped_child(void)
{
    struct net net;
    struct qb_error err;
    struct qb_engine *engine = NULL;
    net_mixed(&net, QB_ARITHMETIC_FBGEMM, 1);
    int ok = make(&net, "onednn", QB_ISA_AVX2, 1, NULL, &engine, &err) == QB_OK &&
             strcmp(engine->isa, "avx2") == 0 && !strstr(engine->implementation, "vnni") &&
             !strstr(engine->implementation, "avx512");
    qb_engine_free(engine);
    engine = NULL;
    if (qb_cpu_best(QB_ISA_AMX) > QB_ISA_AVX2) {
        ok = ok && make(&net, "onednn", QB_ISA_AMX, 1, NULL, &engine, &err) == QB_EUNSUPPORTED && !engine &&
             strstr(err.text, "avx2");
    }
    net_free(&net);
    return ok ? 0 : 1;
}

static void unknown_impl(void **state)
{
    (void)state;
    struct net net;
    struct qb_error err;
    struct qb_engine *engine = NULL;
    net_mixed(&net, QB_ARITHMETIC_FBGEMM, 1);
    static const char *const names[] = {"onednn", "onednn_fused"};
    for (size_t i = 0; i < 2; i++) {
        qbt_error(make(&net, names[i], QB_ISA_AMX, 1, "winograd", &engine, &err), QB_EINPUT, &err,
                  "winograd");
        qbt_error(make(&net, names[i], QB_ISA_AMX, 1, "winograd", &engine, &err), QB_EINPUT, &err,
                  "ref"); /* offered */
    }
    /* A name that one layer has is taken, and shown. */
    qbt_ok(make(&net, "onednn", QB_ISA_AMX, 1, "ref", &engine, &err), &err);
    assert_non_null(strstr(engine->implementation, "ref"));
    qb_engine_free(engine);
    net_free(&net);
}

static void float_only(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_engine *engine = NULL;
    const struct qb_engine_options options = {.isa = QB_ISA_AMX, .threads = 1, .batch = 1};
    const struct qb_node input = {.op = QB_OP_INPUT, .name = "input", .src = {-1, -1}, .dst = {1, 1, 1}};
    const struct qb_graph graph = {.path = "x", .nodes = (struct qb_node *)(uintptr_t)&input, .count = 1};
    qbt_error(qb_engine_create("onednn_fused", &graph, NULL, &options, &engine, &err), QB_EUNSUPPORTED, &err,
              "integer graphs only");
}

static void version(void **state)
{
    (void)state;
    const char *text = qb_onednn_version();
    assert_int_equal(text[0], '3');
    assert_non_null(strchr(text, '('));
    assert_ptr_equal(text, qb_onednn_version());
    assert_true(strlen(text) < 48); /* struct qb_machine */
    assert_true(qb_dnnl_fuses_exactly(&(dnnl_version_t){.major = 2, .minor = 14}));
    assert_true(qb_dnnl_fuses_exactly(&(dnnl_version_t){.major = 3, .minor = 11}));
    assert_false(qb_dnnl_fuses_exactly(&(dnnl_version_t){.major = 3, .minor = 12}));
    assert_false(qb_dnnl_fuses_exactly(&(dnnl_version_t){.major = 4}));
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "avx2") == 0) {
        return capped_child();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),      cmocka_unit_test(second_cap), cmocka_unit_test(first_cap),
        cmocka_unit_test(unknown_impl), cmocka_unit_test(float_only), cmocka_unit_test(version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
