/* The published int8 .tflite file against LiteRT's reference kernels (../shared/golden/tflite):
 * test_golden_tflite IMAGES [ENGINE [ISA]]. Every logit code of the first IMAGES test images, all predictions
 * and their number, and from engines that show tensors every code of every tensor of two images. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "engine/engine.h"
#include "golden.h"
#include "quant/qdq.h"
#include "testing.h"

#define FOLDER "golden/tflite"
#define MODEL "models/mlperf-tiny/pretrainedResnet_quant.tflite"

enum { BATCH = 250, THREADS = 2, TRACED = 2, RIGHT = 8707, LOGITS = 36 };

static int failed(const char *what, const char *text)
{
    fprintf(stderr, "FAILED: %s: %s\n", what, text);
    return 1;
}

/* Which tensor of the file each node is. */
static const struct {
    const char *node;
    int tensor;
} tensors[] = {
    {"input", 0},   {"conv", 22},   {"conv_1", 23}, {"conv_2", 24},  {"add", 25},
    {"conv_3", 26}, {"conv_4", 27}, {"conv_5", 28}, {"add_1", 29},   {"conv_6", 30},
    {"conv_7", 31}, {"conv_8", 32}, {"add_2", 33},  {"avgpool", 34}, {"dense", LOGITS},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };

struct trace {
    const struct qb_qgraph *graph;
    const struct golden_npz *npz;
    size_t compared, differ;
    int tensors;
};

static void compare_tensor(void *ctx, int node, const void *data, size_t count)
{
    struct trace *const t = ctx;
    const uint8_t *const codes = data;
    for (int i = 0; i < TENSORS; i++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "%d:", tensors[i].tensor);
        for (size_t k = 0; strcmp(tensors[i].node, t->graph->nodes[node].name) == 0 && k < t->npz->count;
             k++) {
            if (strncmp(t->npz->names[k], prefix, strlen(prefix)) == 0 && t->npz->arrays[k].count == count) {
                for (size_t n = 0; n < count; n++) {
                    t->differ += codes[n] != qb_npy_int(&t->npz->arrays[k], n) + 128;
                }
                t->compared += count;
                t->tensors++;
            }
        }
    }
}

static int trace(struct qb_engine *engine, const struct qb_qgraph *graph, const struct qb_dataset *set)
{
    struct golden_npz npz;
    struct qb_error err;
    float logits[TRACED * GOLDEN_CLASSES];
    if (golden_npz_read(qbt_shared(FOLDER "/trace_first2_reference.npz"), &npz, &err) != QB_OK) {
        return failed("trace", err.text);
    }
    struct trace t = {.graph = graph, .npz = &npz};
    engine->tap = compare_tensor;
    engine->tap_ctx = &t;
    const enum qb_status status = qb_engine_run(engine, set->images, TRACED, logits, &err);
    engine->tap = NULL;
    golden_npz_free(&npz);
    printf("%d tensors, %zu codes, %zu differ\n", t.tensors, t.compared, t.differ);
    if (status != QB_OK) {
        return failed("trace", err.text);
    }
    return t.tensors == TENSORS && t.differ == 0 ? 0 : failed("trace", "codes differ or are missing");
}

static int largest(const float *logits)
{
    int best = 0;
    for (int k = 1; k < GOLDEN_CLASSES; k++) {
        best = logits[k] > logits[best] ? k : best; /* the lowest index wins a tie */
    }
    return best;
}

static int score(struct qb_engine *engine, const struct qb_qgraph *graph, const struct qb_dataset *set,
                 size_t images)
{
    const struct qb_qparams q = graph->nodes[qb_qgraph_logits(graph)].q;
    struct qb_npy golden;
    struct qb_error err;
    char text[128];
    if (qb_npy_read(qbt_shared(FOLDER "/logit_codes_reference.npy"), &golden, &err) != QB_OK) {
        return failed("logit codes", err.text);
    }
    size_t differ = 0;
    int right = 0;
    for (size_t i = 0; i < images; i += BATCH) {
        float logits[BATCH * GOLDEN_CLASSES];
        if (qb_engine_run(engine, set->images + i * QB_IMAGE_BYTES, BATCH, logits, &err) != QB_OK) {
            qb_npy_free(&golden);
            return failed("run", err.text);
        }
        for (size_t k = 0; k < BATCH * GOLDEN_CLASSES; k++) {
            const int want = (int)qb_npy_int(&golden, i * GOLDEN_CLASSES + k) + 128 - q.zero_point;
            const float value = q.scale * (float)want;
            differ += memcmp(&value, &logits[k], sizeof value) != 0 && logits[k] + 0.0F != value + 0.0F;
        }
        for (size_t k = 0; k < BATCH; k++) {
            right += largest(logits + k * GOLDEN_CLASSES) == set->labels[i + k];
        }
    }
    qb_npy_free(&golden);
    snprintf(text, sizeof text, "%zu images, %d right, %zu logit codes differ", images, right, differ);
    printf("%s: %s\n", engine->implementation, text);
    return differ == 0 && (images < GOLDEN_IMAGES || right == RIGHT) ? 0 : failed("logits", text);
}

static int run(const struct qb_qgraph *graph, const char *name, enum qb_isa isa, const struct qb_dataset *set,
               size_t images)
{
    const struct qb_engine_options options = {.isa = isa, .threads = THREADS, .batch = BATCH};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    if (qb_engine_create(name, NULL, graph, &options, &engine, &err) != QB_OK) {
        return failed(name, err.text);
    }
    const int traced = trace(engine, graph, set), scored = score(engine, graph, set, images);
    qb_engine_free(engine);
    return traced || scored;
}

int main(int argc, char **argv)
{
    enum qb_isa isa = QB_ISA_AMX;
    struct qb_error err;
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s IMAGES [ENGINE [ISA]]\n", argv[0]);
        return 2;
    }
    const size_t images = (size_t)atoi(argv[1]) / BATCH * BATCH;
    if (argc == 4 && qb_cpu_select(argv[3], &isa, &err) != QB_OK) {
        printf("SKIP: %s\n", err.text);
        return err.status == QB_EUNSUPPORTED ? QBT_SKIP : 2;
    }
    char *dir = NULL;
    if (!qbt_have_shared(FOLDER) || !qbt_have_shared(MODEL) || qb_data_locate(NULL, &dir, &err) != QB_OK) {
        printf("SKIP: ../shared/%s, %s or CIFAR-10 is not here\n", FOLDER, MODEL);
        return QBT_SKIP;
    }
    struct qb_dataset set = {0};
    struct qb_graph *graph = NULL;
    struct qb_qgraph *qgraph = NULL;
    enum qb_status status = qb_dataset_load(dir, QB_SPLIT_TEST, &set, &err);
    free(dir);
    if (status == QB_OK) {
        status = qb_model_load(qbt_shared(MODEL), &graph, &err);
    }
    if (status == QB_OK) {
        status = qb_qdq_read(graph, QB_ARITHMETIC_FBGEMM, &qgraph, &err);
    }
    const int result = status != QB_OK ? failed(MODEL, err.text)
                       : set.count != GOLDEN_IMAGES
                           ? failed("test images", "10,000 are expected")
                           : run(qgraph, argc > 2 ? argv[2] : "reference", isa, &set, images);
    qb_qgraph_free(qgraph);
    qb_graph_free(graph);
    qb_dataset_free(&set);
    return result;
}
