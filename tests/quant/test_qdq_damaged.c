/* QDQ files that are cut short or have bits flipped: never a crash, never another network than the one
 * written. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "golden.h"
#include "model/onnx.h"
#include "model/passes.h"
#include "qdq_testing.h"
#include "quant/qdq.h"
#include "testing.h"

/* What reading the bytes gives, as qb_model_load does it from a file. */
static enum qb_status read_bytes(const struct qb_blob *bytes, struct qb_qgraph **out, struct qb_error *err)
{
    struct qb_graph *graph = NULL;
    enum qb_status status = qb_onnx_import("damaged.onnx", bytes, &graph, err);
    if (status != QB_OK) {
        return status;
    }
    status = qb_graph_canonicalize(graph, err);
    if (status == QB_OK) {
        status = qb_qdq_read(graph, QB_ARITHMETIC_FBGEMM, out, err);
    }
    qb_graph_free(graph);
    return status;
}

static struct qb_blob written(const struct qb_qgraph *graph)
{
    struct qb_error err;
    struct qb_blob bytes;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "q.onnx");
    qbt_ok(qb_qdq_write(graph, path, &err), &err);
    qbt_ok(qb_file_read(path, 1 << 24, &bytes, &err), &err);
    free(path);
    qbt_rmtree(dir);
    return bytes;
}

static void assert_one_sentence(enum qb_status status, const struct qb_error *err)
{
    assert_int_equal(status, err->status);
    assert_true(err->text[0] && !strchr(err->text, '\n'));
    assert_true(status == QB_EINPUT || status == QB_EUNSUPPORTED);
}

/* Everything that the reader takes from a file. */
static void assert_unchanged(const struct qb_qgraph *a, const struct qb_qgraph *b)
{
    char hash_a[QB_HASH64_HEX], hash_b[QB_HASH64_HEX];
    qb_qgraph_hash(a, hash_a);
    qb_qgraph_hash(b, hash_b);
    assert_string_equal(hash_a, hash_b);
    assert_string_equal(a->scheme, b->scheme);
    assert_string_equal(a->model_sha256, b->model_sha256);
    assert_string_equal(a->calibration_hash, b->calibration_hash);
    for (int i = 0; i < a->count; i++) {
        assert_string_equal(a->nodes[i].name, b->nodes[i].name);
        assert_memory_equal(&a->nodes[i].q, &b->nodes[i].q, sizeof a->nodes[i].q);
        assert_true(!a->nodes[i].wei_seen == !b->nodes[i].wei_seen);
        if (a->nodes[i].wei_seen) {
            assert_memory_equal(a->nodes[i].wei_seen, b->nodes[i].wei_seen,
                                2 * (size_t)a->nodes[i].wei_scale_count * sizeof(float));
        }
    }
}

/* Flips bit after bit, `step` bits apart, of a copy that is put right again. The number of flips that are
 * refused. */
static size_t flip_bits(const struct qb_qgraph *graph, struct qb_blob *bytes, size_t step)
{
    size_t refused = 0;
    for (size_t bit = 0; bit < bytes->size * 8; bit += step) {
        struct qb_error err;
        struct qb_qgraph *read = NULL;
        bytes->data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        const enum qb_status status = read_bytes(bytes, &read, &err);
        bytes->data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        if (status == QB_OK) {
            assert_unchanged(graph, read); /* names of tensors, the producer: text that nobody reads */
            qb_qgraph_free(read);
        } else {
            assert_one_sentence(status, &err);
            refused++;
        }
    }
    return refused;
}

static struct qb_qgraph *(*const small_graphs[])(void) = {qbt_odd_qgraph, qbt_ort_qgraph};
enum { SMALL_GRAPHS = sizeof small_graphs / sizeof small_graphs[0] };

static void every_bit_of_a_small_file(void **state)
{
    (void)state;
    for (int g = 0; g < SMALL_GRAPHS; g++) {
        struct qb_qgraph *const graph = small_graphs[g]();
        struct qb_blob bytes = written(graph);
        const size_t refused = flip_bits(graph, &bytes, 1);
        print_message("%zu of %zu flipped bits refused\n", refused, bytes.size * 8);
        assert_true(refused > bytes.size * 8 / 2);
        qb_blob_free(&bytes);
        qb_qgraph_free(graph);
    }
}

static void every_length_of_a_small_file(void **state)
{
    (void)state;
    for (int g = 0; g < SMALL_GRAPHS; g++) {
        struct qb_qgraph *const graph = small_graphs[g]();
        struct qb_blob bytes = written(graph);
        for (size_t size = 0; size < bytes.size; size++) {
            struct qb_error err;
            struct qb_qgraph *read = NULL;
            /* A copy of exactly that size: a sanitizer sees a read behind it. */
            struct qb_blob cut = {malloc(size + 1), size};
            assert_non_null(cut.data);
            memcpy(cut.data, bytes.data, size);
            cut.data[size] = 0;
            assert_one_sentence(read_bytes(&cut, &read, &err), &err);
            free(cut.data);
        }
        qb_blob_free(&bytes);
        qb_qgraph_free(graph);
    }
}

static void weights_of_a_real_file(void **state)
{
    (void)state;
    qbt_require_shared("golden/torch/fbgemm-fused");
    struct golden_case golden;
    struct qb_error err;
    qbt_ok(golden_load(qbt_shared("golden/torch/fbgemm-fused"), false, &golden, &err), &err);
    struct qb_blob bytes = written(&golden.qgraph);
    const size_t step = bytes.size * 8 / 500 | 1;
    const size_t refused = flip_bits(&golden.qgraph, &bytes, step),
                 tried = (bytes.size * 8 + step - 1) / step;
    print_message("%zu of %zu flipped bits refused\n", refused, tried);
    assert_true(refused * 10 > tried * 9); /* most of it is weights */
    qb_blob_free(&bytes);
    golden_free(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_of_a_small_file),
        cmocka_unit_test(every_length_of_a_small_file),
        cmocka_unit_test(weights_of_a_real_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
