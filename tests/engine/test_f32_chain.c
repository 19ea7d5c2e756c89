/* Chains of float sums: every instruction set of this CPU, every number of pixels, bit for bit as one FMA
 * after the other, and nothing beside them read or written. */
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rng.h"
#include "engine/reference/f32_chain.h"
#include "testing.h"

enum { TERMS = 37, STEP = 41, PAGE = 4096 };

/* `bytes` that end where the next page cannot be touched. */
static float *guarded(char *pages, size_t bytes)
{
    assert_int_equal(mprotect(pages + 4 * PAGE, PAGE, PROT_NONE), 0);
    return (float *)(void *)(pages + 4 * PAGE - bytes);
}

static char *map(void)
{
    char *const pages = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    return pages;
}

static void check(const struct qb_chain *chain, int pixels, size_t terms, struct qb_rng *rng)
{
    char *const src_pages = map(), *const wei_pages = map(), *const acc_pages = map();
    const size_t src_count = (size_t)(pixels - 1) * STEP + terms;
    float *const src = guarded(src_pages, src_count * sizeof(float));
    float *const wei = guarded(wei_pages, terms * QB_CHAIN_LANES * sizeof(float));
    qb_lanes *const acc = (qb_lanes *)(void *)guarded(acc_pages, (size_t)pixels * sizeof(qb_lanes));
    float want[QB_CHAIN_PIXELS][QB_CHAIN_LANES];
    for (size_t i = 0; i < src_count; i++) {
        src[i] = (float)(qb_rng_double(rng) - 0.5);
    }
    for (size_t i = 0; i < terms * QB_CHAIN_LANES; i++) {
        wei[i] = (float)(qb_rng_double(rng) - 0.5);
    }
    for (int p = 0; p < pixels; p++) {
        for (int k = 0; k < QB_CHAIN_LANES; k++) {
            acc[p][k] = want[p][k] = (float)(100 * (qb_rng_double(rng) - 0.5));
            for (size_t t = 0; t < terms; t++) {
                want[p][k] = fmaf(src[(size_t)p * STEP + t], wei[t * QB_CHAIN_LANES + (size_t)k], want[p][k]);
            }
        }
    }
    chain->run(src, STEP, wei, terms, pixels, acc);
    assert_memory_equal(acc, want, (size_t)pixels * sizeof *acc);
    munmap(src_pages, 5 * PAGE);
    munmap(wei_pages, 5 * PAGE);
    munmap(acc_pages, 5 * PAGE);
}

static void every_isa_adds_alike(void **state)
{
    (void)state;
    struct qb_rng rng;
    qb_rng_seed(&rng, 1);
    for (int cap = QB_ISA_REF; cap < QB_ISA_COUNT; cap++) {
        const struct qb_chain *const chain = qb_chain_select((enum qb_isa)cap);
        assert_in_range(chain->pixels, 1, QB_CHAIN_PIXELS);
        for (int pixels = 1; pixels <= chain->pixels; pixels++) {
            for (size_t terms = 0; terms <= TERMS; terms++) {
                check(chain, pixels, terms, &rng);
            }
        }
    }
}

static void the_cap_is_kept(void **state)
{
    (void)state;
    const struct qb_chain *const base = qb_chain_select(QB_ISA_REF), *const avx2 =
                                                                         qb_chain_select(QB_ISA_AVX2);
    assert_int_equal(base->pixels, 1);
    assert_int_equal(avx2 != base, qb_cpu_has(QB_ISA_AVX2));
    assert_ptr_equal(qb_chain_select(QB_ISA_AVXVNNI), avx2);
    assert_int_equal(qb_chain_select(QB_ISA_AVX512VNNI) != avx2, qb_cpu_has(QB_ISA_AVX512VNNI));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_isa_adds_alike),
                                       cmocka_unit_test(the_cap_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
