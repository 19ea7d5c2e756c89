/* qbench env: this machine and this build, as they stand in every result row. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "cli/share.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "engine/onednn/onednn.h"
#include "measure/machine.h"
#include "measure/roof.h"

static const struct argp_option option_list[] = {
    {"format", 'f', "FORMAT", 0, "text (default) or json", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    if (key == 'f') {
        *(bool *)state->input = cli_is_json(state, arg);
        return 0;
    }
    if (key == ARGP_KEY_ARG) {
        argp_error(state, "\"%s\": no argument is expected", arg);
    }
    return ARGP_ERR_UNKNOWN;
}

#define SHIPPED_MODEL "models/resnet8.onnx"

/* What is said about this machine. */
struct facts {
    struct qb_machine machine;
    struct qb_roof roof;
    struct qb_read_rates reads;
    double macs; /* of the network that comes with the program; 0 when it is not there */
    enum qb_isa best;
    bool bound; /* threads can be */
    char *data; /* folder of the images, or why there is none; NULL when out of memory */
    const char *share;
};

static double shipped_macs(void)
{
    struct qb_error err = {0};
    struct qb_graph *graph = NULL;
    char *path = NULL;
    double macs = 0;
    if (share_resolve("model", SHIPPED_MODEL, &path, &err) == QB_OK &&
        qb_model_load(path, &graph, &err) == QB_OK) {
        for (int i = 0; i < graph->count; i++) {
            macs += (double)qb_node_macs(graph, i);
        }
        qb_graph_free(graph);
    }
    free(path);
    return macs;
}

static void gather(struct facts *out)
{
    struct qb_error err = {0};
    *out = (struct facts){.best = qb_cpu_best(QB_ISA_AMX), .share = share_dir() ? share_dir() : "none"};
    qb_machine_describe(&out->machine);
    out->bound = qb_bind_thread() == 0;
    qb_roof_measure(&out->roof);
    qb_read_rates_measure(&out->reads);
    out->macs = shipped_macs();
    if (qb_data_locate(NULL, &out->data, &err) != QB_OK) {
        out->data = strdup("none (qbench fetch cifar10)");
    }
}

static enum qb_status print_json(const struct facts *f, struct qb_error *err)
{
    const struct qb_machine *const m = &f->machine;
    json_t *const gmacs = json_object(), *const bounds = json_object(), *const reads = json_object();
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        if (f->roof.gmacs[i] > 0) {
            json_object_set_new(gmacs, qb_isa_name((enum qb_isa)i), json_real(f->roof.gmacs[i]));
            if (f->macs > 0) {
                json_object_set_new(bounds, qb_isa_name((enum qb_isa)i),
                                    json_real(qb_roof_bound_us(f->roof.gmacs[i], f->macs)));
            }
        }
    }
    for (int i = 0; i < QB_READ_LEVELS; i++) {
        if (f->reads.bytes[i]) {
            json_object_set_new(reads, qb_read_level_name((enum qb_read_level)i),
                                json_pack("{s:I,s:f}", "bytes", (json_int_t)f->reads.bytes[i], "gbytes_per_s",
                                          f->reads.gbytes[i]));
        }
    }
    char *const data = f->data ? qb_utf8_copy(f->data) : NULL;
    json_t *const root =
        json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:s,s:s,s:s,s:s,s:s,s:f,s:f,s:o,s:f}",
                  "schema_version", 1, "version", QB_VERSION, "cpu", m->cpu, "isas", m->isas, "caches",
                  m->caches, "stepping", m->stepping, "microcode", m->microcode, "virtualization",
                  m->virtualization, "governor", m->governor, "machine_id", m->id, "packages", m->packages,
                  "cores", m->cores, "threads", m->threads, "os", m->os, "kernel", m->kernel, "compiler",
                  m->compiler, "onednn", qb_onednn_version(), "data", data ? data : "", "load", m->load,
                  "ghz", f->roof.ghz, "int8_gmacs", gmacs, "f32_gmacs", f->roof.f32_gmacs[f->best]);
    free(data);
    json_object_set_new(root, "binding", json_boolean(f->bound));
    json_object_set_new(root, "reads", reads);
    json_object_set_new(root, "resnet8_macs", json_real(f->macs));
    json_object_set_new(root, "resnet8_least_us", bounds);
    return cli_print_json(root, 6, err);
}

static enum qb_status print_text(const struct facts *f, struct qb_error *err)
{
    const struct qb_machine *const m = &f->machine;
    printf("version         qbench %s\n", QB_VERSION);
    printf("cpu             %s (%d cores, %d threads for this process; id %s)\n", m->cpu, m->cores,
           m->threads, m->id);
    printf("stepping        %s\nload            %.2f\n", m->stepping, m->load);
    printf("binding         %s\n", f->bound ? "threads are bound to CPUs" : "refused by the system");
    printf("isas            %s\ncaches          %s\n", m->isas, m->caches);
    printf("microcode       %s\nvirtualization  %s\ngovernor        %s\n", m->microcode, m->virtualization,
           m->governor);
    printf("os              %s, %s\ncompiler        %s\noneDNN          %s\n", m->os, m->kernel, m->compiler,
           qb_onednn_version());
    printf("data            %s\nshare           %s\n", f->data ? f->data : "", f->share);
    printf("clock           %.2f GHz\nfp32 FMA        %.0f GMAC/s on one core\n", f->roof.ghz,
           f->roof.f32_gmacs[f->best]);
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        if (f->roof.gmacs[i] > 0) {
            printf("int8 %-10s %.0f GMAC/s on one core", qb_isa_name((enum qb_isa)i), f->roof.gmacs[i]);
            if (f->macs > 0) {
                printf("; " SHIPPED_MODEL " takes at least %.1f us",
                       qb_roof_bound_us(f->roof.gmacs[i], f->macs));
            }
            printf("\n");
        }
    }
    for (int i = 0; i < QB_READ_LEVELS; i++) {
        if (f->reads.bytes[i]) {
            printf("reads %-9s %.0f GB/s, %.1f bytes a cycle on one core, from %zu KiB\n",
                   qb_read_level_name((enum qb_read_level)i), f->reads.gbytes[i],
                   f->reads.gbytes[i] / f->roof.ghz, f->reads.bytes[i] / 1024);
        }
    }
    printf("engines        ");
    for (int i = 0; qb_engines[i]; i++) {
        printf(" %s", qb_engines[i]->name);
    }
    return cli_print("\n", err);
}

int cmd_env(int argc, char **argv)
{
    static const struct argp argp = {option_list,
                                     parse,
                                     NULL,
                                     "Describes the CPU, its best int8 rate measured now, the "
                                     "operating system and the libraries.",
                                     NULL,
                                     NULL,
                                     NULL};
    bool as_json = false;
    cli_parse(&argp, argc, argv, &as_json);
    struct qb_error err = {0};
    struct facts facts;
    gather(&facts);
    const enum qb_status status = as_json ? print_json(&facts, &err) : print_text(&facts, &err);
    free(facts.data);
    return status == QB_OK ? 0 : cli_error(&err);
}
