/* qbench profile: where the time of one image goes, layer by layer, engine beside engine. */
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pipeline.h"
#include "measure/accuracy.h"
#include "measure/machine.h"
#include "measure/profile.h"
#include "measure/roof.h"
#include "report/profile.h"

enum { OPT_SECONDS = 256, MOST_ENGINES = 8 };

struct options {
    const char *model, *scheme, *engines, *isa, *impl, *data_dir, *arithmetic;
    double seconds;
    bool json;
};

static const struct argp_option option_list[] = {
    {"model", 'm', "FILE", 0, "a float or quantized model (default: models/resnet8.onnx)", 0},
    {"scheme", 's', "NAME", 0, "how to quantize a float model: a scheme, or fp32 (default: fbgemm)", 0},
    {"engine", 'e', "NAMES", 0,
     "engines, comma-separated; the first is what the others are compared with (default: native and onednn, "
     "as "
     "far as they have the network's arithmetic, else reference; onednn for floats)",
     0},
    {"isa", 'i', "NAME", 0,
     "cap of the instruction set: ref, avx2, avxvnni, avx512vnni, amx (default: best, or $QB_ISA)", 0},
    {"impl", 'I', "NAME", 0, "oneDNN implementation: default, fastest, or a part of a name", 0},
    {"arithmetic", 'a', "NAME", 0,
     "of a quantized file that does not say: ort (default, ONNX Runtime's), fbgemm, onednn, onednn_3_12, "
     "torch_onednn, torch_x86 or tflite",
     0},
    {"seconds", OPT_SECONDS, "S", 0, "how long to measure (default 2)", 0},
    {"data-dir", 'd', "DIR", 0, "folder with CIFAR-10", 0},
    {"format", 'f', "FORMAT", 0, "text (default) or json", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case 'm': o->model = arg; return 0;
    case 's': o->scheme = arg; return 0;
    case 'e': o->engines = arg; return 0;
    case 'i': o->isa = arg; return 0;
    case 'a': o->arithmetic = arg; return 0;
    case 'I': o->impl = arg; return 0;
    case 'd': o->data_dir = arg; return 0;
    case OPT_SECONDS: o->seconds = (double)cli_number(state, "--seconds", arg, 1, 3600); return 0;
    case 'f': o->json = cli_is_json(state, arg); return 0;
    case ARGP_KEY_ARG: argp_error(state, "\"%s\": no argument is expected", arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* All that is made on the way. */
struct work {
    struct pipeline_model model;
    struct qb_arena *arena;
    struct qb_dataset test;
    struct qb_engine *engines[MOST_ENGINES];
    struct qb_profile profiles[MOST_ENGINES];
    int count;
    enum qb_isa isa;
};

/* Before anything is calibrated. */
static enum qb_status check_engines(const struct options *o, struct work *w, struct qb_error *err)
{
    char *rest = o->engines ? qb_arena_strdup(w->arena, o->engines) : NULL;
    if (o->engines && !rest) {
        return qb_fail_memory(err, strlen(o->engines));
    }
    int count = 0;
    for (char *name; (name = strsep(&rest, ",")) != NULL; count++) {
        if (!qb_engine_find(name, err)) {
            return err->status;
        }
    }
    return count <= MOST_ENGINES ? QB_OK
                                 : qb_fail(err, QB_EINPUT, "--engine: %d engines at most", MOST_ENGINES);
}

static enum qb_status make_engine(const struct options *o, struct work *w, const char *name,
                                  struct qb_error *err)
{
    const struct qb_engine_options options = {.isa = w->isa, .threads = 1, .batch = 1, .impl = o->impl};
    QB_TRY(qb_engine_create(name, w->model.qgraph ? NULL : w->model.graph, w->model.qgraph, &options,
                            &w->engines[w->count], err));
    w->count++;
    return QB_OK;
}

/* Those that were asked for, all of them. */
static enum qb_status make_asked(const struct options *o, struct work *w, struct qb_error *err)
{
    char *rest = qb_arena_strdup(w->arena, o->engines);
    if (!rest) {
        return qb_fail_memory(err, strlen(o->engines));
    }
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        QB_TRY(make_engine(o, w, name, err));
    }
    return QB_OK;
}

/* Those of the usual ones that have the network's arithmetic, the reference engine where none has. */
static enum qb_status make_usual(const struct options *o, struct work *w, struct qb_error *err)
{
    static const char *const usual[] = {"native", "onednn"};
    char left[2 * sizeof err->text] = "";
    size_t used = 0;
    for (size_t i = w->model.qgraph ? 0 : 1; i < sizeof usual / sizeof *usual; i++) {
        const enum qb_status status = make_engine(o, w, usual[i], err);
        if (status == QB_EUNSUPPORTED) {
            used += (size_t)snprintf(left + used, sizeof left - used, "%s%s (%s)", used ? ", " : "", usual[i],
                                     err->text);
            used = used < sizeof left ? used : sizeof left - 1;
        } else if (status != QB_OK) {
            return status;
        }
    }
    if (used) {
        fprintf(stderr, "qbench: %sleft out: %s\n", w->count ? "" : "reference engine; ", left);
    }
    return w->count ? QB_OK : make_engine(o, w, "reference", err);
}

/* oneDNN has names of its own for instruction sets: it runs under the cap that was asked for. */
static double roof_of(const struct qb_engine *engine, enum qb_isa cap, const struct qb_roof *roof,
                      bool is_float)
{
    enum qb_isa isa = cap;
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        if (strcmp(engine->isa, qb_isa_name((enum qb_isa)i)) == 0) {
            isa = (enum qb_isa)i;
        }
    }
    const double rate = is_float ? roof->f32_gmacs[isa] : roof->gmacs[isa];
    return rate > 0 ? rate : (double)NAN;
}

static int describe_nodes(const struct pipeline_model *model, struct qb_profile_node *nodes)
{
    const int count = model->qgraph ? model->qgraph->count : model->graph->count;
    for (int i = 0; i < count; i++) {
        if (model->qgraph) {
            const struct qb_qnode *const n = &model->qgraph->nodes[i];
            nodes[i] = (struct qb_profile_node){
                n->name, qb_qop_name(n->op), n->dst, qb_qnode_macs(n), {n->src[0], n->src[1]}};
        } else {
            const struct qb_node *const n = &model->graph->nodes[i];
            nodes[i] = (struct qb_profile_node){
                n->name, qb_op_name(n->op), n->dst, qb_node_macs(model->graph, i), {n->src[0], n->src[1]}};
        }
    }
    return count;
}

static enum qb_status measure(const struct options *o, struct work *w, struct qb_error *err)
{
    const int most = w->model.qgraph ? w->model.qgraph->count : w->model.graph->count;
    struct qb_profile_node *const nodes = qb_arena_array(w->arena, (size_t)most, sizeof *nodes);
    if (!nodes) {
        return qb_fail_memory(err, (size_t)most * sizeof *nodes);
    }
    const int count = describe_nodes(&w->model, nodes);
    qb_bind_thread();
    struct qb_roof roof;
    qb_roof_measure(&roof);
    QB_TRY(qb_profile_measure(w->engines, (size_t)w->count, count, w->test.images, o->seconds, &cli_progress,
                              w->profiles, err));
    cli_progress_end();
    struct qb_profile_column columns[MOST_ENGINES];
    for (int k = 0; k < w->count; k++) {
        const struct qb_engine *const e = w->engines[k];
        columns[k] = (struct qb_profile_column){e->ops->name, e->isa, e->implementation, &w->profiles[k],
                                                roof_of(e, w->isa, &roof, !w->model.qgraph)};
    }
    char *text = NULL;
    QB_TRY(qb_profile_render(nodes, count, columns, w->count, o->json, &text, err));
    const enum qb_status status = cli_print(text, err);
    free(text);
    return status;
}

static enum qb_status profile(const struct options *o, struct work *w, struct qb_error *err)
{
    w->arena = qb_arena_create();
    if (!w->arena) {
        return qb_fail_memory(err, sizeof(void *));
    }
    QB_TRY(check_engines(o, w, err));
    QB_TRY(qb_cpu_select(o->isa, &w->isa, err));
    QB_TRY(pipeline_model_load(o->model, o->arithmetic, &w->model, err));
    QB_TRY(pipeline_data(o->data_dir, QB_SPLIT_TEST, &w->test, err));
    pipeline_tell_synthetic();
    QB_TRY(qb_check_images(w->model.graph->nodes[0].dst, &w->test, err));
    const char *const scheme = o->scheme || w->model.qgraph ? o->scheme : "fbgemm";
    QB_TRY(pipeline_model_quantize(scheme, o->model, o->data_dir, w->isa, &cli_progress, &w->model, err));
    cli_progress_end();
    QB_TRY(o->engines ? make_asked(o, w, err) : make_usual(o, w, err));
    return measure(o, w, err);
}

int cmd_profile(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse,
        NULL,
        "Times every layer of one image on one thread, several engines in turn: least time, share of the "
        "roof, and what was fused into what.",
        NULL,
        NULL,
        NULL};
    struct options o = {.model = "models/resnet8.onnx", .seconds = 2};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    struct work w = {0};
    const enum qb_status status = profile(&o, &w, &err);
    cli_progress_end();
    for (int k = 0; k < w.count; k++) {
        qb_engine_free(w.engines[k]);
        qb_profile_free(&w.profiles[k]);
    }
    qb_dataset_free(&w.test);
    pipeline_model_free(&w.model);
    qb_arena_destroy(w.arena);
    return status == QB_OK ? 0 : cli_error(&err);
}
