/* Damaged and hostile ONNX files: an error or, where only numbers changed, a graph; never a crash, never
 * memory or time out of proportion. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/onnx.h"
#include "model/passes.h"
#include "small_net.h"

#define REAL "models/onnx/resnet8_torch.onnx"

/* Imports and canonicalizes an exact copy, so that a sanitizer sees reads behind the end. */
static enum qb_status load(const uint8_t *data, size_t size, struct qb_error *err)
{
    struct qb_blob copy = {malloc(size ? size : 1), size};
    struct qb_graph *graph = NULL;
    assert_non_null(copy.data);
    memcpy(copy.data, data, size);
    enum qb_status status = qb_onnx_import("bad.onnx", &copy, &graph, err);
    if (status == QB_OK) {
        status = qb_graph_canonicalize(graph, err);
        qb_graph_free(graph);
    }
    free(copy.data);
    assert_true(status == QB_OK || (err->text[0] && !strchr(err->text, '\n')));
    return status;
}

static void test_truncated(void **state)
{
    (void)state;
    struct qb_blob file = net_bytes(&(struct net_options){.bn = BN_NODE, .softmax = true});
    struct qb_error err;
    qbt_ok(load(file.data, file.size, &err), &err);
    for (size_t size = 0; size < file.size; size++) {
        if (load(file.data, size, &err) == QB_OK) {
            fail_msg("%zu of %zu bytes were taken for a model", size, file.size);
        }
    }
    qb_blob_free(&file);
}

static void test_truncated_real(void **state)
{
    (void)state;
    qbt_require_shared(REAL);
    struct qb_blob file;
    struct qb_error err;
    qbt_ok(qb_file_read(qbt_shared(REAL), 1 << 24, &file, &err), &err);
    for (size_t i = 0; i < 600; i++) {
        const size_t size = i < 200 ? i * 11 : i < 400 ? file.size * i / 400 : file.size - (i - 399);
        assert_int_not_equal(load(file.data, size, &err), QB_OK);
    }
    qb_blob_free(&file);
}

static int mutate(const struct qb_blob *file, struct qb_rng *rng, int rounds)
{
    struct qb_error err;
    uint8_t *const copy = malloc(file->size);
    int refused = 0;
    assert_non_null(copy);
    for (int i = 0; i < rounds; i++) {
        memcpy(copy, file->data, file->size);
        for (uint32_t k = qb_rng_interval(rng, 4); k < 5; k++) {
            /* every second one where a real file has its nodes, not weights */
            const uint32_t room = k % 2 && file->size > 8192 ? 8192 : (uint32_t)file->size;
            const uint32_t at = qb_rng_interval(rng, room - 1);
            const uint32_t other =
                qb_rng_interval(rng, 1) ? qb_rng_u32(rng) : copy[at] ^ 1U << qb_rng_interval(rng, 7);
            copy[at] = (uint8_t)other;
        }
        refused += load(copy, file->size, &err) != QB_OK;
    }
    free(copy);
    return refused;
}

static void test_mutated(void **state)
{
    (void)state;
    struct qb_rng rng;
    qb_rng_seed(&rng, 23);
    for (int i = 0; i < 40; i++) {
        const struct net_options o = {.nhwc = i & 1,
                                      .typed_data = i >> 1 & 1,
                                      .constant_nodes = i >> 2 & 1,
                                      .bn = (enum net_bn)(i % BN_COUNT),
                                      .pad = (enum net_pad)(i % PAD_COUNT),
                                      .pool = (enum net_pool)(i % POOL_COUNT),
                                      .flat = (enum net_flat)(i % FLAT_COUNT),
                                      .head = (enum net_head)(i % HEAD_COUNT)};
        struct qb_blob file = net_bytes(&o);
        assert_true(mutate(&file, &rng, 100) > 20);
        qb_blob_free(&file);
    }
}

static void test_mutated_real(void **state)
{
    (void)state;
    qbt_require_shared(REAL);
    struct qb_blob file;
    struct qb_error err;
    struct qb_rng rng;
    qb_rng_seed(&rng, 29);
    qbt_ok(qb_file_read(qbt_shared(REAL), 1 << 24, &file, &err), &err);
    const int refused = mutate(&file, &rng, 300);
    print_message("%d of 300 mutated files refused\n", refused);
    assert_true(refused > 60);
    qb_blob_free(&file);
}

/* Writes tag and length in front of `size` bytes that end at `end`; returns the new size. */
static size_t wrap(uint8_t *end, size_t size, unsigned field)
{
    uint8_t head[12];
    size_t length = 0, rest = size;
    head[length++] = (uint8_t)(field << 3 | 2);
    do {
        head[length++] = (uint8_t)(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0);
        rest >>= 7;
    } while (rest);
    memcpy(end - size - length, head, length);
    return size + length;
}

/* Graph in attribute in node in graph ...: deep enough to overflow the stack of a recursive parser. */
static void test_deep_nesting(void **state)
{
    (void)state;
    const size_t room = 8 << 20;
    uint8_t *const bytes = malloc(room);
    struct qb_error err;
    size_t size = 0;
    assert_non_null(bytes);
    for (int i = 0; i < 200000; i++) {
        size = wrap(bytes + room, size, 6); /* AttributeProto.g */
        size = wrap(bytes + room, size, 5); /* NodeProto.attribute */
        size = wrap(bytes + room, size, 1); /* GraphProto.node */
    }
    size = wrap(bytes + room, size, 7);
    qbt_error(load(bytes + room - size, size, &err), QB_EINPUT, &err, "messages are nested too deep");
    free(bytes);
}

/* Two bytes a node in the file, a hundred in memory. */
static void test_many_empty_messages(void **state)
{
    (void)state;
    const size_t room = 32 << 20, payload = 24 << 20;
    uint8_t *const bytes = malloc(room);
    struct qb_error err;
    assert_non_null(bytes);
    for (size_t i = 0; i < payload; i += 2) {
        bytes[room - payload + i] = 1 << 3 | 2;
        bytes[room - payload + i + 1] = 0;
    }
    const size_t size = wrap(bytes + room, payload, 7);
    qbt_error(load(bytes + room - size, size, &err), QB_EINPUT, &err, "cannot be unpacked");
    free(bytes);
}

/* Each repetition of a single message would be merged with all before it. */
static void test_repeated_single_message(void **state)
{
    (void)state;
    uint8_t bytes[4000];
    struct qb_error err;
    for (size_t i = 0; i < sizeof bytes; i += 4) {
        memcpy(bytes + i, "\x3a\x02\x0a\x00", 4); /* graph { node {} } */
    }
    qbt_error(load(bytes, sizeof bytes, &err), QB_EINPUT, &err, "a single field is repeated");
}

/* One initializer, many readers that each would need a copy of their own. */
static void test_shared_weights(void **state)
{
    (void)state;
    struct onnx_writer w;
    struct qb_error err;
    enum { SIDE = 300, LAYERS = 300 };
    float *const values = calloc((size_t)SIDE * SIDE, sizeof *values);
    assert_non_null(values);
    ow_init(&w, 13);
    ow_input(&w, "x", 4, (const int64_t[]){0, SIDE, 1, 1});
    ow_floats(&w, "w", 2, (const int64_t[]){SIDE, SIDE}, values);
    ow_node(&w, "GlobalAveragePool", "p", (const char *[6]){"x"});
    ow_node(&w, "Flatten", "d0", (const char *[6]){"p"});
    for (int i = 0; i < LAYERS; i++) {
        char from[16], to[16];
        snprintf(from, sizeof from, "d%d", i);
        snprintf(to, sizeof to, "d%d", i + 1);
        ow_node(&w, "MatMul", to, (const char *[6]){from, "w"});
    }
    ow_output(&w, "d300");
    struct qb_blob file = ow_pack(&w);
    ow_free(&w);
    free(values);
    qbt_error(load(file.data, file.size, &err), QB_EUNSUPPORTED, &err, "out of proportion to the file's");
    qb_blob_free(&file);
}

static void test_many_nodes(void **state)
{
    (void)state;
    struct onnx_writer w;
    struct qb_error err;
    net_write(&w, &(struct net_options){0});
    Onnx__NodeProto **const nodes = calloc(5000, sizeof(Onnx__NodeProto *));
    assert_non_null(nodes);
    for (size_t i = 0; i < 5000; i++) {
        nodes[i] = w.graph.node[0];
    }
    w.graph.node = nodes;
    w.graph.n_node = 5000;
    struct qb_blob file = ow_pack(&w);
    free(nodes);
    ow_free(&w);
    qbt_error(load(file.data, file.size, &err), QB_EUNSUPPORTED, &err, "5000 nodes; at most 4096");
    qb_blob_free(&file);
}

static void test_other_files(void **state)
{
    (void)state;
    struct qb_error err;
    static const char text[] = "name: fbgemm\nweights: { observer: minmax }\n";
    qbt_error(load((const uint8_t *)"", 0, &err), QB_EINPUT, &err, "the file is empty");
    qbt_error(load((const uint8_t *)text, sizeof text - 1, &err), QB_EINPUT, &err, "not an ONNX model");
    qbt_error(load((const uint8_t *)"\x08\x08", 2, &err), QB_EINPUT, &err, "it has no nodes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_truncated_real),
        cmocka_unit_test(test_mutated),
        cmocka_unit_test(test_mutated_real),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_many_empty_messages),
        cmocka_unit_test(test_repeated_single_message),
        cmocka_unit_test(test_shared_weights),
        cmocka_unit_test(test_many_nodes),
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
