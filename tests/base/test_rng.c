/* MT19937 and its uses, against numbers that numpy 2.4's RandomState(seed) gave. */
#include <string.h>

#include "base/rng.h"
#include "testing.h"

static const struct known {
    uint32_t seed, words[3], word1000;
    double doubles[3];
    int64_t permutation10[10];
    /* permutation(5000): its first five and last three; then permutation(3) from the same generator */
    int64_t first5[5], last3[3], then3[3];
} known[] = {
    {0,
     {2357136044u, 2546248239u, 3071714933u},
     3043451800u,
     {0x1.18fe1565f12a8p-1, 0x1.6e2d4cf608733p-1, 0x1.349d66b6e894bp-1},
     {2, 8, 4, 9, 1, 6, 7, 3, 0, 5},
     {398, 3833, 4836, 4572, 636},
     {1653, 2607, 2732},
     {1, 0, 2}},
    {7,
     {327741615u, 976413892u, 3349725721u},
     3925535521u,
     {0x1.388f0a7465c98p-4, 0x1.8f5184146a0a7p-1, 0x1.c0ee597d36686p-2},
     {8, 5, 0, 2, 1, 9, 7, 3, 6, 4},
     {3406, 757, 3624, 4544, 3235},
     {537, 1220, 4271},
     {1, 2, 0}},
    {42,
     {1608637542u, 3421126067u, 4083286876u},
     1946654618u,
     {0x1.7f8771e5f51ecp-2, 0x1.e6c4068bbd654p-1, 0x1.76c7e8f1e6751p-1},
     {8, 1, 5, 0, 7, 2, 9, 4, 3, 6},
     {1501, 2586, 2653, 1055, 705},
     {3092, 3772, 860},
     {0, 2, 1}},
    {4294967295u,
     {419326371u, 479346978u, 3918654476u},
     2673539693u,
     {0x1.8fe69a3924820p-4, 0x1.d323d824032b1p-1, 0x1.93fc6f61af3f9p-1},
     {6, 9, 5, 1, 8, 0, 7, 4, 2, 3},
     {330, 4899, 4415, 3208, 3186},
     {3084, 290, 2467},
     {0, 1, 2}},
};
enum { KNOWN = sizeof known / sizeof known[0] };

static void words(void **state)
{
    (void)state;
    for (unsigned k = 0; k < KNOWN; k++) {
        struct qb_rng rng;
        uint32_t word = 0;
        qb_rng_seed(&rng, known[k].seed);
        for (unsigned i = 0; i < 1000; i++) {
            word = qb_rng_u32(&rng);
            if (i < 3) {
                assert_true(word == known[k].words[i]);
            }
        }
        assert_true(word == known[k].word1000);
    }
}

static void doubles(void **state)
{
    (void)state;
    for (unsigned k = 0; k < KNOWN; k++) {
        struct qb_rng rng;
        qb_rng_seed(&rng, known[k].seed);
        for (unsigned i = 0; i < 3; i++) {
            const double value = qb_rng_double(&rng);
            assert_memory_equal(&value, &known[k].doubles[i], sizeof value);
        }
    }
}

static void iota(int64_t *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        values[i] = i;
    }
}

static void permutations(void **state)
{
    (void)state;
    for (unsigned k = 0; k < KNOWN; k++) {
        static int64_t values[5000];
        struct qb_rng rng;
        qb_rng_seed(&rng, known[k].seed);
        iota(values, 10);
        qb_rng_shuffle(&rng, values, 10);
        assert_memory_equal(values, known[k].permutation10, sizeof known[k].permutation10);
        qb_rng_seed(&rng, known[k].seed);
        iota(values, 5000);
        qb_rng_shuffle(&rng, values, 5000);
        assert_memory_equal(values, known[k].first5, sizeof known[k].first5);
        assert_memory_equal(values + 4997, known[k].last3, sizeof known[k].last3);
        iota(values, 3);
        qb_rng_shuffle(&rng, values, 3);
        assert_memory_equal(values, known[k].then3, sizeof known[k].then3);
    }
}

static void intervals(void **state)
{
    (void)state;
    struct qb_rng rng, same;
    qb_rng_seed(&rng, 1);
    same = rng;
    assert_int_equal(qb_rng_interval(&rng, 0), 0); /* takes no word */
    assert_memory_equal(&rng, &same, sizeof rng);
    unsigned seen = 0;
    for (unsigned i = 0; i < 1000; i++) {
        const uint32_t value = qb_rng_interval(&rng, 4);
        assert_true(value <= 4);
        seen |= 1u << value;
    }
    assert_int_equal(seen, 31);
    same = rng;
    assert_true(qb_rng_interval(&rng, UINT32_MAX) == qb_rng_u32(&same));
    int64_t one = 5;
    same = rng;
    qb_rng_shuffle(&rng, &one, 1);
    qb_rng_shuffle(&rng, &one, 0);
    assert_int_equal(one, 5);
    assert_memory_equal(&rng, &same, sizeof rng);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(doubles),
        cmocka_unit_test(permutations),
        cmocka_unit_test(intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
