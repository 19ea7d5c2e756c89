/* One golden case over all 10,000 test images: test_golden_full CASE [ENGINE [ISA]], where CASE is a folder
 * of
 * ../shared/golden and ENGINE defaults to the reference; ENGINE "maddubs" is the reference engine with the
 * saturating sums of a CPU without VNNI, and the case's own results there.
 *
 * int8, and fp32 on the reference: every logit equals PyTorch's bit for bit (by SHA-256, and by codes where
 * the case has them), and so do all predictions. fp32 elsewhere: sums are in another order than PyTorch's, so
 * predictions and the count are what must agree. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "engine/engine.h"
#include "engine/reference/arithmetic.h"
#include "golden.h"
#include "testing.h"

enum { BATCH = 250, THREADS = 2 };

static enum qb_isa cap = QB_ISA_AMX;

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

/* Differences from the case's .npy files; -1 when a file is unreadable. */
static long differing_predictions(const char *folder, const float *logits)
{
    char path[4096];
    struct qb_npy npy;
    struct qb_error err;
    snprintf(path, sizeof path, "%s/pred_all.npy", folder);
    if (qb_npy_read(path, &npy, &err) != QB_OK || npy.count != GOLDEN_IMAGES) {
        return -1;
    }
    long differ = 0;
    for (size_t i = 0; i < GOLDEN_IMAGES; i++) {
        differ += largest(logits + i * GOLDEN_CLASSES) != qb_npy_int(&npy, i);
    }
    qb_npy_free(&npy);
    return differ;
}

static long differing_codes(const char *folder, const struct qb_qgraph *graph, const float *logits)
{
    char path[4096];
    struct qb_npy npy;
    struct qb_error err;
    snprintf(path, sizeof path, "%s/logit_codes_all.npy", folder);
    if (qb_npy_read(path, &npy, &err) != QB_OK || npy.count != GOLDEN_IMAGES * GOLDEN_CLASSES) {
        return -1;
    }
    long differ = 0;
    for (size_t i = 0; i < npy.count; i++) {
        const float want =
            qb_dequantize(&graph->nodes[qb_qgraph_logits(graph)].q, (uint8_t)qb_npy_int(&npy, i));
        differ += memcmp(&want, &logits[i], sizeof want) != 0;
    }
    qb_npy_free(&npy);
    return differ;
}

/* The largest distance from the case's first logits; NAN when the file is unreadable. */
static float logit_distance(const char *folder, const float *logits)
{
    char path[4096];
    struct qb_npy npy;
    struct qb_error err;
    snprintf(path, sizeof path, "%s/logits_first256.npy", folder);
    if (qb_npy_read(path, &npy, &err) != QB_OK) {
        return NAN;
    }
    float distance = npy.type == QB_NPY_F32 && npy.count == 256 * GOLDEN_CLASSES ? 0.0F : NAN;
    for (size_t i = 0; i < npy.count && !isnan(distance); i++) {
        distance = fmaxf(distance, fabsf(((const float *)npy.data)[i] - logits[i]));
    }
    qb_npy_free(&npy);
    return distance;
}

static int compare(const char *folder, const struct golden_case *golden, const struct qb_dataset *set,
                   const float *logits)
{
    char sha256[QB_SHA256_HEX], text[256];
    /* Codes and predictions of these cases are those of a CPU without VNNI. */
    const bool native =
        strstr(folder, "saturation") != NULL && golden->qgraph.accumulate == QB_ACCUMULATE_EXACT;
    const bool fp32 = golden->qgraph.count == 0;
    int correct = 0;
    for (size_t i = 0; i < GOLDEN_IMAGES; i++) {
        correct += largest(logits + i * GOLDEN_CLASSES) == set->labels[i];
    }
    qb_sha256(logits, GOLDEN_IMAGES * GOLDEN_CLASSES * sizeof *logits, sha256);
    const long predictions = native ? 0 : differing_predictions(folder, logits);
    const long codes = native || fp32 ? 0 : differing_codes(folder, &golden->qgraph, logits);
    snprintf(text, sizeof text, "%d right (wanted %d), %ld predictions and %ld logit codes differ, sha256 %s",
             correct, golden->correct, predictions, codes, sha256);
    printf("%s: %s\n", folder, text);
    if (correct != golden->correct || predictions != 0 || codes != 0) {
        return failed(folder, text);
    }
    if (golden->logits_sha256[0] && strcmp(sha256, golden->logits_sha256) != 0) {
        return failed(folder, "the SHA-256 of the logits differs from the manifest's");
    }
    if (fp32 && !(logit_distance(folder, logits) < 1e-4F)) {
        return failed(folder, "the first 256 images' logits are not within 1e-4");
    }
    return 0;
}

static int run(const char *folder, const char *name, const struct golden_case *golden,
               const struct qb_graph *graph, const struct qb_dataset *set)
{
    const struct qb_engine_options options = {.isa = cap, .threads = THREADS, .batch = BATCH};
    struct qb_error err;
    struct qb_engine *engine = NULL;
    float *const logits = malloc(GOLDEN_IMAGES * GOLDEN_CLASSES * sizeof *logits);
    enum qb_status status =
        logits ? qb_engine_create(name, graph, graph ? NULL : &golden->qgraph, &options, &engine, &err)
               : qb_fail_memory(&err, 1);
    if (status == QB_OK && !graph && engine->exactness != QB_EXACT) {
        printf("SKIP: engine %s does not claim to be exact on this CPU (%s)\n", name, engine->isa);
        qb_engine_free(engine);
        free(logits);
        return QBT_SKIP;
    }
    for (size_t i = 0; status == QB_OK && i < GOLDEN_IMAGES; i += BATCH) {
        status =
            qb_engine_run(engine, set->images + i * QB_IMAGE_BYTES, BATCH, logits + i * GOLDEN_CLASSES, &err);
    }
    const int result = status == QB_OK ? compare(folder, golden, set, logits) : failed(folder, err.text);
    qb_engine_free(engine);
    free(logits);
    return result;
}

static int run_case(const char *folder, const char *engine, const struct qb_dataset *set)
{
    struct qb_error err;
    struct golden_case golden = {0};
    struct golden_float net = {0};
    int result;
    if (strcmp(strrchr(folder, '/'), "/fp32") == 0) {
        golden.correct = 8719;
        if (strcmp(engine, "reference") == 0) { /* logits_sha256 of the manifest */
            strcpy(golden.logits_sha256, "540d9066cad816030e8655cbd9f54b4521888fc9978ae5f91adcd48cf8e96882");
        }
        result = golden_float_load(folder, &net, &err) == QB_OK
                     ? run(folder, engine, &golden, &net.graph, set)
                     : failed(folder, err.text);
    } else {
        const bool saturating = strcmp(engine, "maddubs") == 0;
        const enum qb_status status = golden_load(folder, !saturating, &golden, &err);
        golden.qgraph.accumulate = saturating ? QB_ACCUMULATE_MADDUBS_KHWC : QB_ACCUMULATE_EXACT;
        result = status == QB_OK ? run(folder, saturating ? "reference" : engine, &golden, NULL, set)
                                 : failed(folder, err.text);
    }
    golden_float_free(&net);
    golden_free(&golden);
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s torch/fbgemm-fused [ENGINE [ISA]]\n", argv[0]);
        return 2;
    }
    const char *const engine = argc > 2 ? argv[2] : "reference";
    struct qb_error err;
    if (argc == 4 && qb_cpu_select(argv[3], &cap, &err) != QB_OK) {
        printf("SKIP: %s\n", err.text);
        return err.status == QB_EUNSUPPORTED ? QBT_SKIP : 2;
    }
    char relative[512];
    snprintf(relative, sizeof relative, "golden/%s", argv[1]);
    if (!qbt_have_shared(relative)) {
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
    const int result = set.count == GOLDEN_IMAGES ? run_case(qbt_shared(relative), engine, &set)
                                                  : failed("test images", "wanted 10,000");
    qb_dataset_free(&set);
    return result;
}
