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
    struct qb_machine machine;
    struct qb_roof roof;
    struct qb_error err = {0};
    qb_machine_describe(&machine);
    qb_bind_thread();
    qb_roof_measure(&roof);
    const enum qb_isa best = qb_cpu_best(QB_ISA_AMX);
    char *data = NULL;
    if (qb_data_locate(NULL, &data, &err) != QB_OK) {
        data = strdup("none (qbench fetch cifar10)");
    }
    enum qb_status status = QB_OK;
    const char *const share = share_dir() ? share_dir() : "none";
    if (as_json) {
        json_t *const gmacs = json_object();
        for (int i = 0; i < QB_ISA_COUNT; i++) {
            if (roof.gmacs[i] > 0) {
                json_object_set_new(gmacs, qb_isa_name((enum qb_isa)i), json_real(roof.gmacs[i]));
            }
        }
        char *const text = data ? qb_utf8_copy(data) : NULL;
        json_t *const root = json_pack(
            "{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:s,s:s,s:s,s:s,s:s,s:f,s:f,s:o,s:f}",
            "schema_version", 1, "version", QB_VERSION, "cpu", machine.cpu, "isas", machine.isas, "caches",
            machine.caches, "stepping", machine.stepping, "microcode", machine.microcode, "virtualization",
            machine.virtualization, "governor", machine.governor, "machine_id", machine.id, "cores",
            machine.cores, "threads", machine.threads, "os", machine.os, "kernel", machine.kernel, "compiler",
            machine.compiler, "onednn", qb_onednn_version(), "data", text ? text : "", "load", machine.load,
            "ghz", roof.ghz, "int8_gmacs", gmacs, "f32_gmacs", roof.f32_gmacs[best]);
        free(text);
        status = cli_print_json(root, 6, &err);
    } else {
        printf("version         qbench %s\n", QB_VERSION);
        printf("cpu             %s (%d cores, %d threads for this process; id %s)\n", machine.cpu,
               machine.cores, machine.threads, machine.id);
        printf("stepping        %s, load %.2f\n", machine.stepping, machine.load);
        printf("isas            %s\ncaches          %s\n", machine.isas, machine.caches);
        printf("microcode       %s\nvirtualization  %s\ngovernor        %s\n", machine.microcode,
               machine.virtualization, machine.governor);
        printf("os              %s, %s\ncompiler        %s\noneDNN          %s\n", machine.os, machine.kernel,
               machine.compiler, qb_onednn_version());
        printf("data            %s\nshare           %s\n", data ? data : "", share);
        printf("clock           %.2f GHz\nfp32 FMA        %.0f GMAC/s on one core\n", roof.ghz,
               roof.f32_gmacs[best]);
        for (int i = 0; i < QB_ISA_COUNT; i++) {
            if (roof.gmacs[i] > 0) {
                printf("int8 %-10s %.0f GMAC/s on one core\n", qb_isa_name((enum qb_isa)i), roof.gmacs[i]);
            }
        }
        printf("engines        ");
        for (int i = 0; qb_engines[i]; i++) {
            printf(" %s", qb_engines[i]->name);
        }
        putchar('\n');
    }
    free(data);
    if (status == QB_OK) {
        status = cli_print("", &err);
    }
    return status == QB_OK ? 0 : cli_error(&err);
}
