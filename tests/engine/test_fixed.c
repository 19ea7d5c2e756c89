/* The float constants that stand for the integer rules of arithmetic tflite (src/engine/native/fixed.h):
 * every sum in reach, every pair of codes, every sum of a pool and every pixel, against the arithmetic
 * itself. */
#include "testing.h"

#include <stdbool.h>
#include <string.h>

#include "base/rng.h"
#include "engine/native/fixed.h"
#include "kernels/add/add_impls.h"
#include "kernels/tail_ref.h"

enum { CHANNELS = 16, ROUNDS = 60, REACH = 30000, WIDTH = 256 };

static double between(struct qb_rng *rng, double low, double high)
{
    return low + (high - low) * qb_rng_double(rng);
}

static int draw(struct qb_rng *rng, int low, int high)
{
    return low + (int)qb_rng_interval(rng, (uint32_t)(high - low));
}

/* In every tenth round sums reach further and multipliers are smaller: then every step counts, and there are
 * channels that no constants are right for. */
static int32_t reach_of(int round)
{
    return round % 10 == 7 ? 10 * REACH : REACH;
}

/* Multipliers as networks have them, and their extremes: the codes use their range within the reach. */
static void make_requant(struct qb_rng *rng, int round, struct qb_requant *r, int32_t *bia,
                         struct qb_multiplier *multipliers)
{
    *r = (struct qb_requant){.arithmetic = QB_ARITHMETIC_TFLITE,
                             .oc = CHANNELS,
                             .zero_point = round % 3 ? draw(rng, 0, 255) : 0,
                             .bia_codes = bia,
                             .multipliers = multipliers,
                             .once = round % 2 == 0,
                             .low = 0,
                             .high = 255};
    for (int k = 0; k < CHANNELS; k++) {
        bia[k] = draw(rng, -3000, 3000);
        const double real = round % 10 == 9   ? between(rng, 0.3, 0.999)
                            : round % 10 == 7 ? 255.0 / between(rng, 1e5, 3e5)
                                              : 128.0 / between(rng, 3000, 3e5);
        multipliers[k] = qb_quantize_multiplier(round % 10 == 8 ? 1.0 / (1 << draw(rng, 1, 12)) : real);
    }
}

static uint8_t exact(const struct qb_requant *r, int k, int32_t x, int32_t low)
{
    const struct qb_multiplier m = r->multipliers[k];
    const int32_t code = (r->once ? qb_multiply_once(x, m) : qb_multiply_twice(x, m)) + r->zero_point;
    return (uint8_t)(code < low ? low : code > 255 ? 255 : code);
}

static void check_tail(const struct qb_requant *r, const struct qb_tail *t, int32_t reach, int32_t low)
{
    for (int k = 0; k < CHANNELS; k++) {
        for (int32_t acc = -reach; acc <= reach; acc++) {
            const int32_t x = acc + r->bia_codes[k];
            if (qb_tail_ref(t, acc, k, 0) != exact(r, k, x, low)) {
                fail_msg("channel %d, %d * 2^-31 >> %d: sum %d becomes %d, wanted %d", k,
                         r->multipliers[k].mantissa, r->multipliers[k].right, x, qb_tail_ref(t, acc, k, 0),
                         exact(r, k, x, low));
            }
        }
    }
}

static void tails(void **state)
{
    (void)state;
    struct qb_rng rng;
    int integers = 0;
    qb_rng_seed(&rng, 3);
    for (int round = 0; round < ROUNDS; round++) {
        struct qb_arena *const arena = qb_arena_create();
        struct qb_multiplier multipliers[CHANNELS];
        struct qb_requant r;
        struct qb_tail t;
        struct qb_error err;
        int32_t bia[CHANNELS];
        int64_t reach[CHANNELS];
        make_requant(&rng, round, &r, bia, multipliers);
        for (int k = 0; k < CHANNELS; k++) {
            reach[k] = reach_of(round);
        }
        const int32_t low = round % 4 == 1 ? r.zero_point : 0;
        qbt_ok(qb_native_fixed_tail(&r, reach, low, arena, &t, &err), &err);
        check_tail(&r, &t, reach_of(round), low);
        integers += t.rule == QB_TAIL_INTEGER;
        qbt_ok(qb_native_integer_tail(&r, low, arena, &t, &err), &err);
        check_tail(&r, &t, reach_of(round), low);
        qb_arena_destroy(arena);
    }
    print_message("%d of %d tails have no constants\n", integers, ROUNDS);
    assert_in_range(integers, 1, ROUNDS / 5);
}

/* Two sources and their sum, as a graph. */
struct sum {
    struct qb_qnode nodes[3];
    struct qb_qgraph graph;
};

static void make_sum(struct qb_rng *rng, int round, struct sum *s)
{
    *s = (struct sum){.graph = {.arithmetic = QB_ARITHMETIC_TFLITE, .nodes = s->nodes, .count = 3}};
    for (int i = 0; i < 3; i++) {
        s->nodes[i].q = (struct qb_qparams){.scale = (float)between(rng, 0.02, 0.2),
                                            .zero_point = round % 3 ? draw(rng, 0, 255) : 0};
    }
    s->nodes[0].relu = round % 4 == 0;
    s->nodes[2].op = QB_QOP_ADD;
    s->nodes[2].src[1] = 1;
    s->nodes[2].relu = round % 2;
    if (round % 7 == 6) { /* the same scales: ties */
        s->nodes[1].q.scale = s->nodes[0].q.scale;
        s->nodes[2].q.scale = 2.0F * s->nodes[0].q.scale;
    }
}

static void sums(void **state)
{
    (void)state;
    struct qb_rng rng;
    int quick = 0, tables = 0;
    qb_rng_seed(&rng, 4);
    for (int round = 0; round < ROUNDS; round++) {
        struct qb_arena *const arena = qb_arena_create();
        struct sum s;
        struct qb_add add;
        struct qb_addition kernel;
        struct qb_tail t = {0};
        struct qb_error err;
        make_sum(&rng, round, &s);
        qb_add_init(&s.graph, 2, &add);
        qbt_ok(qb_native_fixed_add(&s.graph, 2, arena, &kernel, &err), &err);
        const bool has_quick = qb_native_fixed_add_tail(&s.graph, 2, 0, &t);
        quick += has_quick;
        tables += kernel.table != NULL;
        for (int q = 0; q < 256; q++) {
            uint8_t first[WIDTH], second[WIDTH], want[WIDTH], got[WIDTH];
            memset(first, q, sizeof first);
            for (int i = 0; i < WIDTH; i++) {
                second[i] = (uint8_t)i;
            }
            qb_add_run(&add, first, second, WIDTH, want);
            qb_add_ref.run(&kernel, 1, WIDTH, first, WIDTH, second, WIDTH, got, WIDTH);
            assert_memory_equal(got, want, WIDTH);
            const int y = q - s.nodes[0].q.zero_point; /* the convolution's own code, in its tail */
            for (int i = 0; has_quick && (!s.nodes[0].relu || y >= 0) && i < WIDTH; i++) {
                assert_int_equal(qb_tail_code(qb_tail_quick(&t, (float)y, (uint8_t)i), t.zero_point, t.low),
                                 want[i]);
            }
        }
        qb_arena_destroy(arena);
    }
    print_message("%d of %d sums are quick, %d kernels have tables\n", quick, ROUNDS, tables);
    assert_in_range(quick, ROUNDS * 9 / 10, ROUNDS);
}

/* Windows of all kinds, up to the largest; the next one is refused. */
static void pools(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 2},   {3, 3},     {7, 7},    {8, 8},
                                   {5, 9}, {64, 64}, {128, 128}, {128, 129}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct qb_qnode nodes[2] = {
            {.op = QB_QOP_INPUT, .dst = {sizes[i][0], sizes[i][1], 1}, .q = {.scale = 0.5F, .zero_point = 7}},
            {.op = QB_QOP_AVGPOOL, .dst = {1, 1, 1}, .q = {.scale = 0.5F, .zero_point = 7}}};
        nodes[1].kh = sizes[i][0];
        nodes[1].kw = sizes[i][1];
        const struct qb_qgraph graph = {.arithmetic = QB_ARITHMETIC_TFLITE, .nodes = nodes, .count = 2};
        struct qb_avgpool exact_pool;
        struct qb_pool pool;
        qb_avgpool_init(&graph, 1, &exact_pool);
        const bool found = qb_native_fixed_pool(&graph, 1, &pool);
        assert_int_equal(found, i + 1 < sizeof sizes / sizeof *sizes);
        for (int32_t sum = 0; found && sum <= 255 * nodes[1].kh * nodes[1].kw; sum++) {
            assert_int_equal(qb_tail_code((float)(sum - pool.minus) * pool.inverse, pool.zero_point, 0),
                             qb_avgpool_code(&exact_pool, sum));
        }
    }
}

/* Scales with many halves among them; where no factor is right the table is. */
static void pixels(void **state)
{
    (void)state;
    static const float scales[] = {1.0F,  2.0F, 0.5F, 0.0173F, 255.0F / 127.0F,
                                   1.37F, 4.0F, 0.1F, 512.0F,  1e-6F};
    int found = 0;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        for (int zero_point = 0; zero_point < 256; zero_point += 51) {
            struct qb_qnode node = {.op = QB_QOP_INPUT, .q = {.scale = scales[i], .zero_point = zero_point}};
            const struct qb_qgraph graph = {.arithmetic = QB_ARITHMETIC_TFLITE, .nodes = &node, .count = 1};
            struct qb_quantize quantize;
            uint8_t table[256];
            qb_input_table(graph.arithmetic, &node.q, table);
            found += qb_native_fixed_input(&graph, &quantize);
            assert_memory_equal(quantize.table, table, sizeof table);
        }
    }
    print_message("%d of 60 scales and zero points have a factor\n", found);
    assert_in_range(found, 50, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tails),
        cmocka_unit_test(sums),
        cmocka_unit_test(pools),
        cmocka_unit_test(pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
