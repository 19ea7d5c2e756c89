/* Tensors with their data in a file beside the model: the same graph as with the data inside, an identity
 * that covers both files, and refusals. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "model/graph.h"
#include "small_net.h"

/* One model in a folder of its own: model.onnx, and in data/model.onnx.data the tensors one behind the other.
 */
struct files {
    char *dir, *model, *data;
    struct onnx_writer w;
    struct qb_blob blob; /* of the data file */
};

static void set(struct onnx_writer *w, Onnx__TensorProto *t, const char *key, const char *value)
{
    for (size_t i = 0; i < t->n_external_data; i++) {
        if (strcmp(t->external_data[i]->key, key) == 0) {
            t->external_data[i]->value = qb_arena_strdup(w->arena, value);
            return;
        }
    }
    Onnx__StringStringEntryProto *const e = qb_arena_array(w->arena, 1, sizeof *e);
    onnx__string_string_entry_proto__init(e);
    e->key = qb_arena_strdup(w->arena, key);
    e->value = qb_arena_strdup(w->arena, value);
    Onnx__StringStringEntryProto **const list =
        qb_arena_array(w->arena, t->n_external_data + 1, sizeof *list);
    if (t->n_external_data) {
        memcpy(list, t->external_data, t->n_external_data * sizeof *list);
    }
    list[t->n_external_data++] = e;
    t->external_data = list;
}

static void move_out(struct files *f, Onnx__TensorProto *t)
{
    char number[32];
    f->blob.data = realloc(f->blob.data, f->blob.size + t->raw_data.len);
    assert_non_null(f->blob.data);
    memcpy(f->blob.data + f->blob.size, t->raw_data.data, t->raw_data.len);
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->has_raw_data = 0;
    set(&f->w, t, "location", "data/model.onnx.data");
    snprintf(number, sizeof number, "%zu", f->blob.size);
    set(&f->w, t, "offset", number);
    snprintf(number, sizeof number, "%zu", t->raw_data.len);
    set(&f->w, t, "length", number);
    f->blob.size += t->raw_data.len;
}

static void begin(struct files *f)
{
    struct qb_error err;
    *f = (struct files){.dir = qbt_mkdtemp()};
    net_write(&f->w, &(struct net_options){0});
    for (size_t i = 0; i < f->w.graph.n_initializer; i++) {
        move_out(f, f->w.graph.initializer[i]);
    }
    char *const folder = qb_path_join(f->dir, "data");
    f->model = qb_path_join(f->dir, "model.onnx");
    f->data = qb_path_join(folder, "model.onnx.data");
    qbt_ok(qb_make_dirs(folder, &err), &err);
    qbt_ok(qb_file_write(f->data, f->blob.data, f->blob.size, &err), &err);
    free(folder);
}

static struct qb_blob write_model(struct files *f)
{
    struct qb_error err;
    const struct qb_blob file = ow_pack(&f->w);
    qbt_ok(qb_file_write(f->model, file.data, file.size, &err), &err);
    return file;
}

static void end(struct files *f)
{
    ow_free(&f->w);
    qb_blob_free(&f->blob);
    qbt_rmtree(f->dir);
    free(f->model);
    free(f->data);
}

static void test_same_graph(void **state)
{
    (void)state;
    struct files f;
    struct qb_graph *inside = NULL, *outside = NULL;
    struct qb_error err;
    begin(&f);
    struct qb_blob file = write_model(&f);
    qbt_ok(qb_model_load(f.model, &outside, &err), &err);

    struct qb_sha256_stream *const stream = qb_sha256_begin();
    char want[QB_SHA256_HEX];
    qb_sha256_add(stream, file.data, file.size);
    qb_sha256_add(stream, f.blob.data, f.blob.size);
    qb_sha256_end(stream, want);
    assert_string_equal(outside->sha256, want);
    assert_int_equal(outside->file_size, file.size + f.blob.size);
    qb_blob_free(&file);

    file = net_bytes(&(struct net_options){0});
    qbt_ok(qb_file_write(f.model, file.data, file.size, &err), &err);
    qb_blob_free(&file);
    qbt_ok(qb_model_load(f.model, &inside, &err), &err);
    assert_int_equal(inside->count, outside->count);
    for (int i = 0; i < inside->count; i++) {
        const struct qb_node *const a = &inside->nodes[i], *const b = &outside->nodes[i];
        const size_t params = qb_node_params(a);
        assert_string_equal(a->name, b->name);
        assert_int_equal(params, qb_node_params(b));
        if (params > 0) {
            assert_memory_equal(a->wei, b->wei, (params - (size_t)a->oc) * sizeof *a->wei);
            assert_memory_equal(a->bia, b->bia, (size_t)a->oc * sizeof *a->bia);
        }
    }
    qb_graph_free(inside);
    qb_graph_free(outside);
    end(&f);
}

static void test_refused(void **state)
{
    static const struct {
        const char *key, *value, *needle;
    } cases[] = {
        {"location", "", "keeps its data in ''; a file in the model's folder is expected"},
        {"location", "/etc/hostname", "keeps its data in '/etc/hostname'; a file in the model's folder"},
        {"location", "../model.onnx.data",
         "keeps its data in '../model.onnx.data'; a file in the model's folder"},
        {"location", "data/../../x", "keeps its data in 'data/../../x'; a file in the model's folder"},
        {"location", "data/..", "keeps its data in 'data/..'; a file in the model's folder"},
        {"location", "missing.data", "keeps its data in another file, which belongs beside the model: "},
        {"location", "data", "keeps its data in another file, which belongs beside the model: "},
        {"offset", "1000000", "keeps its data at offset 1000000, length "},
        {"offset", "-1", "keeps its data at offset -1, length "},
        {"offset", "4x", "keeps its data at offset 4x, length "},
        {"length", "99999999999999999999999", "length 99999999999999999999"},
        {"length", "3", "has 3 bytes of raw_data; its dims say"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct files f;
        struct qb_graph *graph = NULL;
        struct qb_error err = {0};
        begin(&f);
        set(&f.w, ow_find_tensor(&f.w, ow_find(&f.w, "Conv", 0)->input[1]), cases[i].key, cases[i].value);
        struct qb_blob file = write_model(&f);
        qb_blob_free(&file);
        const enum qb_status status = qb_model_load(f.model, &graph, &err);
        if (status == QB_OK || !strstr(err.text, cases[i].needle)) {
            fail_msg("case %zu: '%s' lacks '%s'", i, status == QB_OK ? "" : err.text, cases[i].needle);
        }
        end(&f);
    }
}

/* Constant nodes that all hold the same bytes of the data file: a small file must not ask for memory without
 * end. */
static void test_shared_bytes(void **state)
{
    enum { FLOATS = 1 << 18, ENOUGH = 64 };
    static const float zeros[FLOATS];
    static const int64_t dims[1] = {FLOATS};
    struct files f;
    struct qb_graph *graph = NULL;
    struct qb_error err = {0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        const int copies = i == 0 ? 2 : ENOUGH;
        begin(&f);
        f.w.constant_nodes = true;
        for (int k = 0; k < copies; k++) {
            char name[32];
            snprintf(name, sizeof name, "copy%d", k);
            ow_tensor(&f.w, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 1, dims, zeros);
            Onnx__TensorProto *const t = ow_find_attr(ow_find(&f.w, "Constant", k), "value")->t;
            const size_t start = f.blob.size;
            move_out(&f, t);
            if (k > 0) { /* the first one's bytes once more */
                f.blob.size = start;
                set(&f.w, t, "offset",
                    ow_find_attr(ow_find(&f.w, "Constant", 0), "value")->t->external_data[1]->value);
            }
        }
        qbt_ok(qb_file_write(f.data, f.blob.data, f.blob.size, &err), &err);
        struct qb_blob file = write_model(&f);
        qb_blob_free(&file);
        const enum qb_status status = qb_model_load(f.model, &graph, &err);
        if (copies == 2) {
            qbt_ok(status, &err);
            qb_graph_free(graph);
        } else {
            qbt_error(status, QB_EUNSUPPORTED, &err, "out of proportion to the file's");
        }
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_graph), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_shared_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
