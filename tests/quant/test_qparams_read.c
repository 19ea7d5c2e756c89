/* Scales and zero points from JSON: both notations, every field's errors, and files cut and changed at many
 * places. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "quant_testing.h"

/* A small network: input, conv with relu, dense. */
static struct qb_graph *small_graph(void)
{
    struct qb_graph *const g = qbt_resnet8();
    g->nodes[3] = g->nodes[qbt_node(g, "dense")];
    g->nodes[3].src[0] = 2;
    g->count = 4;
    return g;
}

struct fixture {
    char *dir, *path;
    struct qb_graph *graph;
    struct qb_scheme scheme;
    struct qb_qparams_table table;
    struct qb_error err;
};

static void setup(struct fixture *f)
{
    f->dir = qbt_mkdtemp();
    f->path = qb_path_join(f->dir, "q.json");
    f->graph = small_graph();
    f->scheme = qbt_fbgemm();
}

static void teardown(struct fixture *f)
{
    free(f->path);
    qbt_rmtree(f->dir);
    qb_arena_destroy(f->graph->arena);
}

static enum qb_status read_bytes(struct fixture *f, const void *text, size_t size)
{
    FILE *const file = fopen(f->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return qb_qparams_read(f->path, f->graph, &f->scheme, f->graph->arena, &f->table, &f->err);
}

static enum qb_status read_text(struct fixture *f, const char *text)
{
    return read_bytes(f, text, strlen(text));
}

static const char good[] =
    "{\"observers\": {\n"
    " \"input\": {\"scale\": 2.0068936347961426, \"zero_point\": 0},\n"
    " \"conv\": {\"scale\": \"1\", \"scale_hex\": \"0x1.8e3ce20000000p-5\", \"zero_point\": 3,\n"
    "            \"dtype\": \"torch.quint8\", \"qmin\": 0, \"qmax\": 255},\n"
    " \"other\": {\"anything\": 1},\n"
    " \"dense\": {\"scale\": \"0.25\", \"zero_point\": 255, \"dtype\": \"quint8\"}}}";

static void test_good(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    qbt_ok(read_text(&f, good), &f.err);
    const struct qb_qparams *const q = f.table.q;
    assert_true(f.table.set[0] && !f.table.set[1] && f.table.set[2] &&
                f.table.set[3]); /* conv's tensor is the ReLU's */
    assert_true(q[0].scale == 2.0068936347961426f && q[0].zero_point == 0 && q[0].quant_max == 127);
    assert_true(q[2].scale == 0x1.8e3ce2p-5f && q[2].zero_point == 3 && q[2].quant_max == 255);
    assert_true(q[3].scale == 0.25f && q[3].zero_point == 255 && q[3].dtype == QB_QUINT8);
    f.scheme.fuse = 0;
    qbt_ok(read_text(&f, good), &f.err);
    assert_true(f.table.set[0] && f.table.set[1] && !f.table.set[2] && f.table.set[3]);

    f.scheme.activations = (struct qb_observer_spec){.observer = "minmax", .dtype = QB_QINT8};
    qbt_ok(read_text(&f, "{\"observers\": {\"input\": {\"scale\": 1, \"zero_point\": -128},"
                         "\"conv\": {\"scale\": 1, \"zero_point\": 127}, \"dense\": {\"scale\": 1e-3, "
                         "\"zero_point\": 0}}}"),
           &f.err);
    assert_true(f.table.q[0].zero_point == 0 && f.table.q[1].zero_point == 255 &&
                f.table.q[3].zero_point == 128);
    assert_true(f.table.q[0].dtype == QB_QINT8 && f.table.q[0].quant_min == -128);
    teardown(&f);
}

static void test_bad_fields(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to; /* replacement in `good` */
        const char *needle;
    } rows[] = {
        {"\"observers\"", "\"observer\"", "\"observers\" is missing"},
        {"\"input\": {", "\"inptu\": {", "observers.input is missing"},
        {"2.0068936347961426", "0", "observers.input.scale is 0"},
        {"2.0068936347961426", "-1.5", "observers.input.scale is -1.5"},
        {"2.0068936347961426", "1e39", "above 0 is expected"},
        {"2.0068936347961426", "1e-60", "above 0 is expected"},
        {"2.0068936347961426", "null", "observers.input.scale is null"},
        {"\"scale\": 2.0068936347961426, ", "", "observers.input.scale is missing"},
        {"0x1.8e3ce20000000p-5", "0x1.8e3ce20000000p-5 ", "observers.conv.scale_hex"},
        {"0x1.8e3ce20000000p-5", "nan", "observers.conv.scale_hex is \"nan\""},
        {"0x1.8e3ce20000000p-5", "inf", "observers.conv.scale_hex"},
        {"0x1.8e3ce20000000p-5", "", "observers.conv.scale_hex is \"\""},
        {"0x1.8e3ce20000000p-5", "0xp", "observers.conv.scale_hex"},
        {"\"0x1.8e3ce20000000p-5\"", "0.5", "observers.conv.scale_hex is 0.5"},
        {"\"zero_point\": 0", "\"zero_point\": -1",
         "observers.input.zero_point is -1; an integer from 0 to 255"},
        {"\"zero_point\": 255", "\"zero_point\": 256", "observers.dense.zero_point is 256"},
        {"\"zero_point\": 3,", "\"zero_point\": 3.5,", "observers.conv.zero_point is 3.5"},
        {"\"zero_point\": 3,", "\"zero_point\": 99999999999,", "observers.conv.zero_point"},
        {"\"zero_point\": 3,", "", "observers.conv.zero_point is missing"},
        {"\"torch.quint8\"", "\"torch.qint8\"",
         "observers.conv.dtype is \"torch.qint8\"; the scheme's quint8"},
        {"\"torch.quint8\"", "8", "observers.conv.dtype is 8"},
        {"\"qmax\": 255", "\"qmax\": 256", "observers.conv.qmax is 256"},
        {"\"qmin\": 0, ", "", "observers.conv.qmin is missing"},
        {"{\"scale\": \"0.25\", \"zero_point\": 255, \"dtype\": \"quint8\"}", "[1]",
         "observers.dense is of another type"},
        {"\"zero_point\": 3,", "\"zero_point\": 3,\"zero_point\": 3,", "not valid JSON"},
        {"\"zero_point\": 3,", "\"zero_point\": 3;", "line 3, column"},
    };
    struct fixture f;
    setup(&f);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const char *const at = strstr(good, rows[r].from);
        assert_non_null(at);
        char text[1024];
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, rows[r].to,
                 at + strlen(rows[r].from));
        qbt_error(read_text(&f, text), QB_EINPUT, &f.err, rows[r].needle);
        if (!strstr(f.err.text, f.path)) {
            fail_msg("the file is not named: %s", f.err.text);
        }
    }
    qbt_error(read_text(&f, "[]"), QB_EINPUT, &f.err, "\"observers\" is missing");
    qbt_error(read_text(&f, "{\"observers\": 3}"), QB_EINPUT, &f.err, "\"observers\" is of another type");
    remove(f.path);
    qbt_error(qb_qparams_read(f.path, f.graph, &f.scheme, f.graph->arena, &f.table, &f.err), QB_ENOTFOUND,
              &f.err, "no such file");
    teardown(&f);
}

static void test_cut_and_changed(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    const size_t size = strlen(good);
    for (size_t n = 0; n < size; n++) {
        qbt_error(read_bytes(&f, good, n), QB_EINPUT, &f.err, "not valid JSON");
    }
    char text[sizeof good];
    for (size_t n = 0; n < size; n++) { /* may stay valid: no crash, and a table only of legal values */
        static const char changes[] = {0, '"', '}', '9', '-', (char)0xff};
        for (size_t c = 0; c < sizeof changes; c++) {
            memcpy(text, good, sizeof good);
            text[n] = changes[c];
            if (read_bytes(&f, text, size) == QB_OK) {
                for (int i = 0; i < 4; i++) {
                    assert_true(!f.table.set[i] || (f.table.q[i].scale > 0 && f.table.q[i].zero_point >= 0 &&
                                                    f.table.q[i].zero_point <= 255));
                }
            } else {
                assert_non_null(strstr(f.err.text, f.path));
            }
        }
    }
    char deep[5000]; /* nesting does not use up the stack */
    memset(deep, '[', sizeof deep);
    qbt_error(read_bytes(&f, deep, sizeof deep), QB_EINPUT, &f.err, "not valid JSON");
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_cut_and_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
