/* Calibration and lowering: which tensors are observed, what the integer graph looks like for each fusion,
 * codes in inside form, identity and size, and graphs that have no integer form. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant_testing.h"

/* "input conv+ conv_1+ ..." of the tensors observed; + where it is the ReLU's. */
static void observed(const struct qb_graph *g, unsigned fuse, enum qb_arithmetic arithmetic, const char *want)
{
    struct qb_error err;
    struct qb_scheme scheme = qbt_fbgemm();
    struct qb_calibration *c;
    char got[512] = "";
    scheme.fuse = fuse;
    scheme.arithmetic = arithmetic;
    qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
    for (int i = 0; i < g->count; i++) {
        if (qb_calibration_wants(c, i)) {
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", g->nodes[i].name);
        }
    }
    assert_false(qb_calibration_wants(c, -1) || qb_calibration_wants(c, g->count));
    assert_string_equal(got, want);
    qb_calibration_free(c);
}

static void test_observed_tensors(void **state)
{
    (void)state;
    struct qb_graph *const g = qbt_resnet8();
    observed(g, 0, QB_ARITHMETIC_FBGEMM,
             "input conv conv_1 conv_2 add conv_3 conv_4 conv_5 add_1 conv_6 conv_7 conv_8 add_2 dense ");
    observed(g, QB_FUSE_CONV_RELU, QB_ARITHMETIC_FBGEMM,
             "input relu relu_1 conv_2 add relu_3 conv_4 conv_5 add_1 relu_5 conv_7 conv_8 add_2 dense ");
    observed(
        g, QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU, QB_ARITHMETIC_FBGEMM,
        "input relu relu_1 conv_2 relu_2 relu_3 conv_4 conv_5 relu_4 relu_5 conv_7 conv_8 relu_6 dense ");
    observed(g, QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU | QB_FUSE_CONV_ADD, QB_ARITHMETIC_ONEDNN,
             "input relu relu_1 relu_2 relu_3 conv_5 relu_4 relu_5 conv_8 relu_6 dense ");
    /* A tensor that something else reads too cannot hide behind its ReLU. */
    g->nodes[qbt_node(g, "conv_1")].src[0] = qbt_node(g, "conv");
    observed(g, QB_FUSE_CONV_RELU, QB_ARITHMETIC_FBGEMM,
             "input conv relu_1 conv_2 add relu_3 conv_4 conv_5 add_1 relu_5 conv_7 conv_8 add_2 dense ");
    g->nodes[qbt_node(g, "conv_1")].src[0] = qbt_node(g, "relu");
    g->nodes[qbt_node(g, "relu_4")].src[0] = qbt_node(g, "conv_4"); /* add_1 reads conv_4 first */
    observed(g, QB_FUSE_CONV_RELU, QB_ARITHMETIC_FBGEMM,
             "input relu relu_1 conv_2 add relu_3 conv_4 conv_5 add_1 relu_5 conv_7 conv_8 add_2 dense ");
    qb_arena_destroy(g->arena);
}

static void test_calibration(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = qbt_fbgemm();
    struct qb_calibration *c;
    struct qb_qparams_table table;
    scheme.activations =
        (struct qb_observer_spec){.observer = "minmax", .dtype = QB_QINT8, .reduce_range = true};
    qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
    const float batches[2][3] = {{-1, 0, 2}, {0, 3, 1}}, bad[] = {0, NAN};
    for (int b = 0; b < 2; b++) {
        for (int i = 0; i < g->count; i++) {
            qbt_ok(qb_calibration_observe(c, i, batches[b], 3, &err), &err);
        }
    }
    qbt_ok(qb_calibration_observe(c, qbt_node(g, "conv"), bad, 2, &err), &err); /* not observed: ignored */
    qbt_error(qb_calibration_observe(c, qbt_node(g, "relu"), bad, 2, &err), QB_EINPUT, &err,
              "\"conv\": value 1 of 2 is NaN");
    qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
    for (int i = 0; i < g->count; i++) {
        assert_int_equal(table.set[i], qb_calibration_wants(c, i));
        if (table.set[i]) { /* -64 - rne(-1 / (4/127)) = -32 outside */
            assert_true(table.q[i].scale == 4.0f / 127 && table.q[i].zero_point == -32 + 128);
            assert_true(table.q[i].dtype == QB_QINT8 && table.q[i].quant_min == -64 &&
                        table.q[i].quant_max == 63);
        }
    }
    qb_calibration_free(c);
    qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
    qbt_ok(qb_calibration_observe(c, 0, batches[0], 3, &err), &err);
    qbt_error(qb_calibration_qparams(c, g->arena, &table, &err), QB_EINPUT, &err,
              "\"conv\": the observer has seen no value");
    qb_calibration_free(c);
    qb_calibration_free(NULL);
    qb_arena_destroy(g->arena);
}

/* PyTorch's eager mode shows the outputs of ConvReLU2d twice to its observer: half of the way to the new
 * maximum, then half of the rest. Additions with ReLU and convolutions without are seen once; minmax could
 * not tell. */
static void test_seen_twice(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = qbt_fbgemm();
    struct qb_calibration *c;
    struct qb_qparams_table table;
    scheme.activations = (struct qb_observer_spec){
        .observer = "moving_average_minmax", .has_averaging_constant = true, .averaging_constant = 0.5};
    const float batches[2][2] = {{0, 255}, {0, 1275}};
    for (int fused = 0; fused < 2; fused++) {
        scheme.fuse = fused ? QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU : 0u;
        qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
        for (int b = 0; b < 2; b++) {
            for (int i = 0; i < g->count; i++) {
                qbt_ok(qb_calibration_observe(c, i, batches[b], 2, &err), &err);
            }
        }
        qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
        if (fused) {
            assert_true(table.q[qbt_node(g, "relu")].scale == 4 && table.q[qbt_node(g, "relu_5")].scale == 4);
        } else {
            assert_true(table.q[qbt_node(g, "conv")].scale == 3);
        }
        assert_true(table.q[0].scale == 3 && table.q[qbt_node(g, "conv_2")].scale == 3);
        assert_true(table.q[qbt_node(g, fused ? "relu_2" : "add")].scale == 3);
        qb_calibration_free(c);
    }
    qb_arena_destroy(g->arena);
}

static struct qb_qgraph *lower(struct qb_graph *g, const struct qb_scheme *scheme)
{
    struct qb_error err;
    struct qb_qgraph *q;
    const struct qb_qparams_table table = qbt_numbered_qparams(g, scheme);
    qbt_ok(qb_quantize(g, scheme, &table, "calibration", &q, &err), &err);
    return q;
}

/* One word a node: name:op[+relu][+add](sources)@index of the float tensor whose qparams it has, by zero
 * point - 1. */
static void check_structure(struct qb_graph *g, const struct qb_scheme *scheme, const char *const *want,
                            int count)
{
    struct qb_qgraph *const q = lower(g, scheme);
    for (int i = 0; i < q->count && i < count; i++) {
        const struct qb_qnode *const n = &q->nodes[i];
        char got[128];
        const int first = n->src[0], second = n->src[1];
        snprintf(got, sizeof got, "%s:%s%s%s(%s%s%s)@%s", n->name, qb_qop_name(n->op),
                 n->fused_add ? "+add" : "", n->relu ? "+relu" : "", first < 0 ? "" : q->nodes[first].name,
                 second < 0 ? "" : " ", second < 0 ? "" : q->nodes[second].name,
                 g->nodes[n->q.zero_point - 1].name);
        assert_string_equal(got, want[i]);
        assert_true(n->q.scale == 0.0625f * (float)n->q.zero_point);
        const struct qb_shape a = n->dst, b = g->nodes[qbt_node(g, n->name)].dst;
        assert_true(a.h == b.h && a.w == b.w && a.c == b.c);
        assert_int_equal(qb_qgraph_find(q, n->name), i);
    }
    assert_int_equal(q->count, count);
    assert_int_equal(qb_qgraph_logits(q), count - 1);
    assert_int_equal(qb_qgraph_find(q, "softmax"), -1);
    assert_string_equal(q->scheme, "fbgemm");
    assert_string_equal(q->model_sha256, g->sha256);
    assert_string_equal(q->calibration_hash, "calibration");
    assert_int_equal(q->arithmetic, scheme->arithmetic);
    qb_qgraph_free(q);
}

static void test_fused(void **state)
{
    (void)state;
    static const char *const want[] = {
        "input:input()@input",
        "conv:conv+relu(input)@relu",
        "conv_1:conv+relu(conv)@relu_1",
        "conv_2:conv(conv_1)@conv_2",
        "add:add+relu(conv_2 conv)@relu_2",
        "conv_3:conv+relu(add)@relu_3",
        "conv_4:conv(conv_3)@conv_4",
        "conv_5:conv(add)@conv_5",
        "add_1:add+relu(conv_4 conv_5)@relu_4",
        "conv_6:conv+relu(add_1)@relu_5",
        "conv_7:conv(conv_6)@conv_7",
        "conv_8:conv(add_1)@conv_8",
        "add_2:add+relu(conv_7 conv_8)@relu_6",
        "avgpool:avgpool(add_2)@relu_6",
        "dense:dense(avgpool)@dense",
    };
    struct qb_graph *const g = qbt_resnet8();
    const struct qb_scheme scheme = qbt_fbgemm();
    check_structure(g, &scheme, want, sizeof want / sizeof want[0]);
    qb_arena_destroy(g->arena);
}

static void test_unfused(void **state)
{
    (void)state;
    static const char *const want[] = {
        "input:input()@input",
        "conv:conv(input)@conv",
        "relu:relu(conv)@conv",
        "conv_1:conv(relu)@conv_1",
        "relu_1:relu(conv_1)@conv_1",
        "conv_2:conv(relu_1)@conv_2",
        "add:add(conv_2 relu)@add",
        "relu_2:relu(add)@add",
        "conv_3:conv(relu_2)@conv_3",
        "relu_3:relu(conv_3)@conv_3",
        "conv_4:conv(relu_3)@conv_4",
        "conv_5:conv(relu_2)@conv_5",
        "add_1:add(conv_4 conv_5)@add_1",
        "relu_4:relu(add_1)@add_1",
        "conv_6:conv(relu_4)@conv_6",
        "relu_5:relu(conv_6)@conv_6",
        "conv_7:conv(relu_5)@conv_7",
        "conv_8:conv(relu_4)@conv_8",
        "add_2:add(conv_7 conv_8)@add_2",
        "relu_6:relu(add_2)@add_2",
        "avgpool:avgpool(relu_6)@add_2",
        "dense:dense(avgpool)@dense",
    };
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.fuse = 0;
    check_structure(g, &scheme, want, sizeof want / sizeof want[0]);
    qb_arena_destroy(g->arena);
}

static void test_conv_add(void **state)
{
    (void)state;
    static const char *const want[] = {
        "input:input()@input",
        "conv:conv+relu(input)@relu",
        "conv_1:conv+relu(conv)@relu_1",
        "add:conv+add+relu(conv_1 conv)@relu_2",
        "conv_3:conv+relu(add)@relu_3",
        "conv_5:conv(add)@conv_5",
        "add_1:conv+add+relu(conv_3 conv_5)@relu_4",
        "conv_6:conv+relu(add_1)@relu_5",
        "conv_8:conv(add_1)@conv_8",
        "add_2:conv+add+relu(conv_6 conv_8)@relu_6",
        "avgpool:avgpool(add_2)@relu_6",
        "dense:dense(avgpool)@dense",
    };
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.fuse |= QB_FUSE_CONV_ADD;
    scheme.arithmetic = QB_ARITHMETIC_ONEDNN;
    check_structure(g, &scheme, want, sizeof want / sizeof want[0]);
    /* The merged node has the main branch's convolution, in whatever order the addition lists its operands.
     */
    struct qb_node *const add = &g->nodes[qbt_node(g, "add_1")];
    const int src0 = add->src[0];
    add->src[0] = add->src[1];
    add->src[1] = src0;
    check_structure(g, &scheme, want, sizeof want / sizeof want[0]);
    struct qb_qgraph *const q = lower(g, &scheme);
    const struct qb_qnode *const merged = &q->nodes[qb_qgraph_find(q, "add_1")];
    const struct qb_node *const conv = &g->nodes[qbt_node(g, "conv_4")];
    assert_int_equal(merged->kh, 3);
    assert_true(merged->ic == conv->ic && merged->oc == conv->oc && merged->pad_t == 1);
    assert_memory_equal(merged->bia, conv->bia, (size_t)conv->oc * sizeof(float));
    qb_qgraph_free(q);
    /* Without fused ReLU the merged node requantizes before it. */
    scheme.fuse = QB_FUSE_CONV_ADD;
    struct qb_qgraph *const plain = lower(g, &scheme);
    const int i = qb_qgraph_find(plain, "add_1");
    assert_true(plain->nodes[i].fused_add && !plain->nodes[i].relu);
    assert_int_equal(plain->nodes[qb_qgraph_find(plain, "relu_4")].op, QB_QOP_RELU);
    qb_qgraph_free(plain);
    qb_arena_destroy(g->arena);
}

static void test_geometry_and_codes(void **state)
{
    (void)state;
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = qbt_fbgemm();
    struct qb_qgraph *const q = lower(g, &scheme);
    const struct qb_qnode *const c3 = &q->nodes[qb_qgraph_find(q, "conv_3")];
    assert_true(c3->kh == 3 && c3->kw == 3 && c3->stride_h == 2 && c3->stride_w == 2);
    assert_true(c3->pad_t == 0 && c3->pad_l == 0 && c3->pad_b == 1 && c3->pad_r == 1 && c3->ic == 16 &&
                c3->oc == 32);
    assert_true(c3->wei_dtype == QB_QINT8 && c3->wei_scale_count == 32);
    const struct qb_qnode *const pool = &q->nodes[qb_qgraph_find(q, "avgpool")];
    assert_true(pool->kh == 8 && pool->kw == 8 && pool->stride_h == 8 && !pool->wei);
    const struct qb_node *const dense = &g->nodes[qbt_node(g, "dense")];
    const struct qb_qnode *const d = &q->nodes[qb_qgraph_find(q, "dense")];
    assert_true(d->ic == 64 && d->oc == 10);
    for (int k = 0; k < 640; k++) { /* half a step; one at the top, where 127.5 is not a code */
        assert_true(fabsf(d->wei_scales[k / 64] * (float)d->wei[k] - dense->wei[k]) <=
                    0.5001f * d->wei_scales[k / 64]);
    }
    assert_true(d->bia != dense->bia); /* a copy: the float graph may go */
    qb_qgraph_free(q);

    scheme.weights.dtype = QB_QUINT8;
    scheme.weights.symmetric = false;
    scheme.weights.observer = "minmax";
    struct qb_qgraph *const u = lower(g, &scheme);
    const struct qb_qnode *const du = &u->nodes[qb_qgraph_find(u, "dense")];
    assert_true(du->wei_dtype == QB_QUINT8 && du->wei_scale_count == 1);
    assert_in_range(du->wei_zero_points[0] + 128, 120, 136); /* weights in -0.5..0.5 */
    for (int k = 0; k < 640; k++) {
        const float back = du->wei_scales[0] * (float)(du->wei[k] - du->wei_zero_points[0]);
        assert_true(fabsf(back - dense->wei[k]) <= 1.001f * du->wei_scales[0]);
    }
    qb_qgraph_free(u);
    qb_arena_destroy(g->arena);
}

static void test_bytes_and_hash(void **state)
{
    (void)state;
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = qbt_fbgemm();
    struct qb_qgraph *const q = lower(g, &scheme), *const again = lower(g, &scheme);
    const size_t weights = 432 + 2304 * 2 + 4608 + 9216 + 512 + 18432 + 36864 + 2048 + 640, channels = 346;
    assert_int_equal(qb_qgraph_bytes(q), weights + channels * 9);
    char hash[QB_HASH64_HEX], other[QB_HASH64_HEX];
    qb_qgraph_hash(q, hash);
    qb_qgraph_hash(again, other);
    assert_int_equal(strlen(hash), 16);
    assert_string_equal(hash, other);
    again->nodes[1].name = "another"; /* names, types outside and ranges give no other results */
    again->nodes[1].q.quant_max = 255;
    again->nodes[1].wei_dtype = QB_QUINT8;
    qb_qgraph_hash(again, other);
    assert_string_equal(hash, other);

    /* Everything else counts. */
    struct qb_qnode *const n = &again->nodes[qb_qgraph_find(again, "conv_3")], saved = *n;
    int8_t wei[4608];
    float bia[32], scales[32];
    int32_t zero_points[32];
    for (int change = 0; change < 15; change++) {
        memcpy(wei, saved.wei, sizeof wei);
        memcpy(bia, saved.bia, sizeof bia);
        memcpy(scales, saved.wei_scales, sizeof scales);
        memcpy(zero_points, saved.wei_zero_points, sizeof zero_points);
        n->wei = wei, n->bia = bia, n->wei_scales = scales, n->wei_zero_points = zero_points;
        qb_qgraph_hash(again, other);
        assert_string_equal(hash, other);
        switch (change) {
        case 0: wei[4607]++; break;
        case 1: bia[31] = nextafterf(bia[31], 9); break;
        case 2: scales[0] = nextafterf(scales[0], 9); break;
        case 3: zero_points[31]++; break;
        case 4: n->q.scale = nextafterf(n->q.scale, 9); break;
        case 5: n->q.zero_point++; break;
        case 6: n->relu = false; break;
        case 7: n->src[0]--; break;
        case 8: n->stride_w = 1; break;
        case 9: n->pad_r = 0; break;
        case 10: n->fused_add = true; break;
        case 11: n->dst.w++; break;
        case 12: n->op = QB_QOP_DENSE; break;
        case 13: again->accumulate = QB_ACCUMULATE_MADDUBS_KHWC; break;
        default: again->arithmetic = QB_ARITHMETIC_ONEDNN; break;
        }
        qb_qgraph_hash(again, other);
        if (strcmp(hash, other) == 0) {
            fail_msg("change %d does not count", change);
        }
        *n = saved;
        again->accumulate = QB_ACCUMULATE_EXACT;
    }
    qb_qgraph_free(q);
    qb_qgraph_free(again);
    qb_qgraph_free(NULL);
    qb_arena_destroy(g->arena);
}

static void refuse(struct qb_graph *g, const struct qb_qparams_table *table, enum qb_status status,
                   const char *needle)
{
    struct qb_error err;
    struct qb_qgraph *q;
    const struct qb_scheme scheme = qbt_fbgemm();
    qbt_error(qb_quantize(g, &scheme, table, "", &q, &err), status, &err, needle);
}

static void test_refused(void **state)
{
    (void)state;
    struct qb_graph *const g = qbt_resnet8();
    const struct qb_scheme scheme = qbt_fbgemm();
    struct qb_qparams_table table = qbt_numbered_qparams(g, &scheme);
    struct qb_node *const relu = &g->nodes[qbt_node(g, "relu_3")], saved_relu = *relu;
    relu->op = QB_OP_PAD;
    refuse(g, &table, QB_EUNSUPPORTED, "node \"relu_3\" (pad) has no integer form");
    relu->op = QB_OP_SOFTMAX;
    refuse(g, &table, QB_EUNSUPPORTED, "node \"relu_3\" is a softmax inside the network");
    relu->op = QB_OP_INPUT;
    refuse(g, &table, QB_EUNSUPPORTED, "node \"relu_3\" is a second input");
    *relu = saved_relu;
    relu->src[0] = g->count - 1;
    refuse(g, &table, QB_EINPUT, "node \"relu_3\" reads node");
    relu->src[0] = -1;
    refuse(g, &table, QB_EINPUT, "node \"relu_3\" reads node -1");
    *relu = saved_relu;

    struct qb_node *const conv = &g->nodes[qbt_node(g, "conv_7")], saved_conv = *conv;
    float wei[36864], bia[64];
    memcpy(wei, conv->wei, sizeof wei);
    memcpy(bia, conv->bia, sizeof bia);
    conv->wei = wei;
    conv->bia = bia;
    wei[1234] = NAN;
    refuse(g, &table, QB_EINPUT, "weights of node \"conv_7\": value 1234 of 36864 is NaN");
    wei[1234] = INFINITY;
    refuse(g, &table, QB_EINPUT, "weights of node \"conv_7\": the observed range");
    wei[1234] = 0;
    bia[3] = NAN;
    refuse(g, &table, QB_EINPUT, "node \"conv_7\": bias 3 is nan");
    *conv = saved_conv;
    conv->ic = 4000; /* 36,000 products of up to 255 * 255 */
    refuse(g, &table, QB_EUNSUPPORTED, "node \"conv_7\" has 3 x 3 kernel, 4000 inputs");
    conv->ic = INT32_MAX;
    conv->kh = conv->kw = INT32_MAX;
    refuse(g, &table, QB_EUNSUPPORTED, "node \"conv_7\"");
    *conv = saved_conv;

    const int tensor = qbt_node(g, "relu_5");
    table.set[tensor] = false;
    refuse(g, &table, QB_EINPUT, "tensor \"conv_6\" has no scale and zero point");
    table.set[tensor] = true;
    table.q[tensor].zero_point = 256;
    refuse(g, &table, QB_EINPUT, "tensor \"conv_6\" has scale");
    table.q[tensor].zero_point = 0;
    table.q[tensor].scale = NAN;
    refuse(g, &table, QB_EINPUT, "tensor \"conv_6\" has scale");
    table.q[tensor].scale = 1;

    g->quantized = true;
    refuse(g, &table, QB_EINPUT, "quantized already");
    g->quantized = false;
    const int count = g->count;
    g->count = 0;
    refuse(g, &table, QB_EINPUT, "does not start with its input");
    g->count = count;
    qb_arena_destroy(g->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_observed_tensors),
        cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_seen_twice),
        cmocka_unit_test(test_fused),
        cmocka_unit_test(test_unfused),
        cmocka_unit_test(test_conv_add),
        cmocka_unit_test(test_geometry_and_codes),
        cmocka_unit_test(test_bytes_and_hash),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
