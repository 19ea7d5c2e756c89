/* Networks that ONNX Runtime's quantizer made, read from its files and run with arithmetic ort:
 * test_golden_ort CASE [ENGINE [ISA]], where CASE is a folder of ../shared/golden/ort; ENGINE "maddubs" is
 * the reference engine with the saturating sums of a CPU without VNNI, and ONNX Runtime's results there.
 *
 * All 10,000 predictions and logit codes, and every tensor of two images, are those of onnxruntime 1.32. Its
 * int8 codes are of a session in which all operators are integer (session.qdqisint8allowed); by default some
 * convolutions of int8 models run in float there. Logit codes and traces are compared where the case has
 * them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "engine/reference/arithmetic.h"
#include "golden.h"
#include "model/graph.h"
#include "quant/qdq.h"
#include "quant/qparams.h"
#include "testing.h"

enum { BATCH = 250, TRACED = 2 };

static const char *file_of(const char *folder, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int failed(const char *what, const char *text)
{
    fprintf(stderr, "FAILED: %s: %s\n", what, text);
    return 1;
}

static int largest(const float *logits)
{
    int best = 0;
    for (int k = 1; k < GOLDEN_CLASSES; k++) {
        best = logits[k] > logits[best] ? k : best; /* the lowest index wins a tie */
    }
    return best;
}

/* Differences from a .npy file with one number an image or a logit; 0 when the case does not have the file.
 */
static long differing(const char *path, size_t count, bool required, const struct qb_qparams *q,
                      const float *logits)
{
    struct qb_npy npy;
    struct qb_error err;
    if (!required && !qb_is_file(path)) {
        return 0;
    }
    if (qb_npy_read(path, &npy, &err) != QB_OK || npy.count != count) {
        return -1;
    }
    long differ = 0;
    for (size_t i = 0; i < count; i++) {
        const int want = (int)qb_npy_int(&npy, i);
        if (count == GOLDEN_IMAGES) {
            differ += largest(logits + i * GOLDEN_CLASSES) != want;
        } else {
            const float logit = qb_dequantize(q, (uint8_t)(want - qb_activation_shift(q->dtype)));
            differ += memcmp(&logit, &logits[i], sizeof logit) != 0;
        }
    }
    qb_npy_free(&npy);
    return differ;
}

static int compare_logits(const char *folder, const struct qb_qgraph *graph, const float *logits)
{
    const struct qb_qparams *const q = &graph->nodes[qb_qgraph_logits(graph)].q;
    const char *const all_integer = "logit_codes_all_int8_allowed.npy";
    const bool int8 = qb_is_file(file_of(folder, all_integer));
    const bool codes = strstr(folder, "published") == NULL;
    char text[256];
    const long predictions = differing(file_of(folder, "pred_all.npy"), GOLDEN_IMAGES, true, q, logits);
    const long differ = differing(file_of(folder, int8 ? all_integer : "logit_codes_all.npy"),
                                  GOLDEN_IMAGES * GOLDEN_CLASSES, codes, q, logits);
    snprintf(text, sizeof text, "%ld predictions and %ld logit codes differ", predictions, differ);
    printf("%s: %s\n", folder, text);
    return predictions == 0 && differ == 0 ? 0 : failed(folder, text);
}

/* Tensors by the names that they have in the trace: QuantizeLinear node NAME makes tensor NAME_Output. */
struct tracer {
    const struct golden_npz *trace;
    const struct qb_graph *file;
    const struct qb_qgraph *graph;
    int compared, bad;
};

static const struct qb_npy *find_traced(const struct tracer *t, const char *node)
{
    for (int i = 0; i < t->file->count; i++) {
        const struct qb_node *const quantize = &t->file->nodes[i];
        char name[512];
        if (quantize->op == QB_OP_QUANTIZE && strcmp(t->file->nodes[quantize->src[0]].name, node) == 0) {
            snprintf(name, sizeof name, "%s_Output.npy", quantize->source_name);
            name[strlen(name) - 4] = 0;
            return golden_npz_find(t->trace, name);
        }
    }
    return NULL;
}

static void compare_tensor(void *ctx, int node, const void *data, size_t count)
{
    struct tracer *const t = ctx;
    const struct qb_qnode *const n = &t->graph->nodes[node];
    const struct qb_npy *const want = n->op == QB_QOP_CONSTANT ? NULL : find_traced(t, n->name);
    const size_t channels = (size_t)n->dst.c, plane = (size_t)n->dst.h * (size_t)n->dst.w;
    if (n->op == QB_QOP_CONSTANT) {
        return;
    }
    if (!want || want->count != count) {
        t->bad += failed(n->name, "the trace has no such tensor");
        return;
    }
    for (size_t i = 0; i < count; i++) { /* N,C,H,W there */
        const size_t at = (i / (plane * channels) * channels + i % channels) * plane + i / channels % plane;
        const int code = (int)qb_npy_int(want, at) - qb_activation_shift(n->q.dtype);
        if (((const uint8_t *)data)[i] != code) {
            t->bad += failed(n->name, "a code differs from the trace");
            return;
        }
    }
    t->compared++;
}

static int compare_trace(const char *folder, const struct qb_graph *file, const struct qb_qgraph *graph,
                         struct qb_engine *engine, const struct qb_dataset *set)
{
    const char *const path = file_of(folder, "trace_first2.npz");
    if (!qb_is_file(path)) {
        return 0;
    }
    struct golden_npz npz;
    struct qb_error err;
    float logits[TRACED * GOLDEN_CLASSES];
    if (golden_npz_read(path, &npz, &err) != QB_OK) {
        return failed(path, err.text);
    }
    struct tracer t = {.trace = &npz, .file = file, .graph = graph};
    engine->tap = compare_tensor;
    engine->tap_ctx = &t;
    const enum qb_status status = qb_engine_run(engine, set->images, TRACED, logits, &err);
    engine->tap = NULL;
    golden_npz_free(&npz);
    printf("%s: %d tensors equal\n", path, t.compared);
    return status != QB_OK || t.bad || t.compared < 15 ? failed(path, "tensors differ") : 0;
}

/* The model of `folder`; results are compared with those of `results`. */
static int run(const char *folder, const char *results, const char *name, enum qb_isa isa,
               const struct qb_dataset *set)
{
    const bool saturating = strcmp(name, "maddubs") == 0;
    const struct qb_engine_options options = {.isa = isa, .threads = 2, .batch = BATCH};
    struct qb_graph *file = NULL;
    struct qb_qgraph *graph = NULL;
    struct qb_engine *engine = NULL;
    struct qb_error err;
    float *const logits = malloc(GOLDEN_IMAGES * GOLDEN_CLASSES * sizeof *logits);
    enum qb_status status = logits ? qb_model_load(file_of(folder, "model.onnx"), &file, &err)
                                   : qb_fail_memory(&err, GOLDEN_IMAGES);
    if (status == QB_OK) {
        status = qb_qdq_read(file, QB_ARITHMETIC_ORT, &graph, &err);
    }
    if (status == QB_OK) {
        graph->accumulate = saturating ? QB_ACCUMULATE_MADDUBS_KHWC : QB_ACCUMULATE_EXACT;
        status = qb_engine_create(saturating ? "reference" : name, NULL, graph, &options, &engine, &err);
    }
    for (size_t i = 0; status == QB_OK && i < GOLDEN_IMAGES; i += BATCH) {
        status =
            qb_engine_run(engine, set->images + i * QB_IMAGE_BYTES, BATCH, logits + i * GOLDEN_CLASSES, &err);
    }
    int result = status == QB_OK ? compare_logits(results, graph, logits) : failed(folder, err.text);
    if (status == QB_OK) {
        result |= compare_trace(results, file, graph, engine, set);
    }
    qb_engine_free(engine);
    qb_qgraph_free(graph);
    if (file) {
        qb_graph_free(file);
    }
    free(logits);
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s uint8 [ENGINE [ISA]]\n", argv[0]);
        return 2;
    }
    struct qb_error err;
    enum qb_isa isa = QB_ISA_AMX;
    if (argc == 4 && qb_cpu_select(argv[3], &isa, &err) != QB_OK) {
        printf("SKIP: %s\n", err.text);
        return err.status == QB_EUNSUPPORTED ? QBT_SKIP : 2;
    }
    const char *const engine = argc > 2 ? argv[2] : "reference";
    char relative[512], results[512];
    snprintf(relative, sizeof relative, "golden/ort/%s", argv[1]);
    snprintf(results, sizeof results, "golden/%s/%s",
             strcmp(engine, "maddubs") == 0 ? "saturation/ort-avx2" : "ort", argv[1]);
    if (!qbt_have_shared(relative) || !qbt_have_shared(results)) {
        printf("SKIP: ../shared/%s is not here\n", relative);
        return QBT_SKIP;
    }
    struct qb_dataset set = {0};
    char *dir = NULL;
    if (qb_data_locate(NULL, &dir, &err) != QB_OK) {
        printf("SKIP: %s\n", err.text);
        return QBT_SKIP;
    }
    const enum qb_status status = qb_dataset_load(dir, QB_SPLIT_TEST, &set, &err);
    free(dir);
    if (status != QB_OK) {
        return failed("test images", err.text);
    }
    const int result = set.count == GOLDEN_IMAGES
                           ? run(qbt_shared(relative), qbt_shared(results), engine, isa, &set)
                           : failed("test images", "wanted 10,000");
    qb_dataset_free(&set);
    return result;
}
