/* qbench-bench: Google Benchmark over kernels, primitives and the whole network. See docs/benchmarks.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "bench.h"
#include "cli/share.h"
#include "engine/onednn/onednn.h"
#include "measure/machine.h"

static const char usage[] =
    "usage: qbench-bench [--model FILE] [Google Benchmark's flags]\n"
    "  --model FILE  the float network (default: models/resnet8.onnx)\n"
    "  QB_ISA=NAME   environment: cap of the instruction set of engines and oneDNN\n\n";

/* Everything a reader of the numbers needs, in the report's head. */
static enum qb_status add_context(const struct bench *bench, const struct qb_machine *m, struct qb_error *err)
{
    char binary[QB_SHA256_HEX], text[64], key[64];
    QB_TRY(qb_sha256_file("/proc/self/exe", binary, err));
    const char *const lines[][2] = {
        {"cpu", m->cpu},
        {"cpu_id", m->stepping},
        {"virtualization", m->virtualization},
        {"governor", m->governor},
        {"os", m->os},
        {"kernel", m->kernel},
        {"compiler", m->compiler},
        {"isas", m->isas},
        {"isa", qb_isa_name(bench->isa)},
        {"onednn", qb_onednn_version()},
        {"model", bench->graph->path},
        {"model_sha256", bench->graph->sha256},
        {"binary_sha256", binary},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        gbench_context(lines[i][0], lines[i][1]);
    }
    snprintf(text, sizeof text, "%.2f", bench->roof.ghz);
    gbench_context("clock_ghz", text);
    snprintf(text, sizeof text, "%.1f", bench->roof.f32_gmacs[bench->isa]);
    gbench_context("roof_gmacs_f32", text);
    for (int isa = 0; isa < QB_ISA_COUNT; isa++) {
        if (bench->roof.gmacs[isa] > 0) {
            snprintf(key, sizeof key, "roof_gmacs_%s", qb_isa_name((enum qb_isa)isa));
            snprintf(text, sizeof text, "%.1f", bench->roof.gmacs[isa]);
            gbench_context(key, text);
        }
    }
    return QB_OK;
}

static enum qb_status load_model(struct bench *bench, const char *path, struct qb_error *err)
{
    char *found;
    QB_TRY(share_resolve("model", path, &found, err));
    enum qb_status status = qb_model_load(found, &bench->graph, err);
    if (status == QB_OK && bench->graph->quantized) {
        status = qb_fail(err, QB_EUNSUPPORTED,
                         "%s is quantized already; wanted the float model, which the benchmarks "
                         "quantize with every scheme",
                         found);
    }
    free(found);
    return status;
}

static enum qb_status prepare(struct bench *bench, const char *model, struct qb_error *err)
{
    struct qb_machine machine;
    bench->arena = qb_arena_create();
    if (!bench->arena) {
        return qb_fail_memory(err, sizeof(void *));
    }
    QB_TRY(qb_cpu_select(NULL, &bench->isa, err));
    QB_TRY(load_model(bench, model, err));
    QB_TRY(bench_find_convs(bench, err));
    QB_TRY(bench_network(bench, err));
    QB_TRY(bench_onednn(bench, err));
    QB_TRY(bench_kernels(bench, err));
    QB_TRY(bench_quant(bench, err));
    qb_machine_describe(&machine);
    if (qb_bind_thread() != 0) {
        fputs("qbench-bench: the thread could not be bound to one CPU; times will scatter more\n", stderr);
    }
    qb_roof_measure(&bench->roof);
    return add_context(bench, &machine, err);
}

/* What Google Benchmark left of the arguments: --model FILE or --model=FILE. */
static enum qb_status parse(int argc, char **argv, const char **model, struct qb_error *err)
{
    static const char option[] = "--model";
    const size_t n = strlen(option);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], option, n) == 0 && argv[i][n] == '=') {
            *model = argv[i] + n + 1;
        } else if (strcmp(argv[i], option) == 0 && i + 1 < argc) {
            *model = argv[++i];
        } else {
            return qb_fail(err, QB_EINPUT, "%s: unknown argument or one without its value (see --help)",
                           argv[i]);
        }
    }
    return QB_OK;
}

int main(int argc, char **argv)
{
    const char *model = "models/resnet8.onnx";
    struct bench bench = {0};
    struct qb_error err;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        fflush(stdout);
    }
    gbench_init(&argc, argv);
    enum qb_status status = parse(argc, argv, &model, &err);
    if (status == QB_OK) {
        status = prepare(&bench, model, &err);
    }
    int code = 0;
    if (status == QB_OK) {
        code = gbench_run_all();
    } else {
        fprintf(stderr, "qbench-bench: %s\n", err.text);
        code = qb_status_exit_code(status);
    }
    gbench_end();
    bench_network_free(&bench);
    qb_graph_free(bench.graph);
    qb_arena_destroy(bench.arena);
    return code;
}
