/* MT19937 in numpy's order: see rng.h. */
#include "base/rng.h"

enum { N = 624, M = 397 };

void qb_rng_seed(struct qb_rng *rng, uint32_t seed)
{
    for (unsigned i = 0; i < N; i++) {
        rng->state[i] = seed;
        seed = 1812433253u * (seed ^ (seed >> 30)) + i + 1;
    }
    rng->next = N;
}

static void regenerate(struct qb_rng *rng)
{
    uint32_t *const s = rng->state;
    for (unsigned i = 0; i < N; i++) {
        const uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % N] & 0x7fffffffu);
        s[i] = s[(i + M) % N] ^ (y >> 1) ^ ((y & 1) ? 0x9908b0dfu : 0);
    }
    rng->next = 0;
}

uint32_t qb_rng_u32(struct qb_rng *rng)
{
    if (rng->next == N) {
        regenerate(rng);
    }
    uint32_t y = rng->state[rng->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint32_t qb_rng_interval(struct qb_rng *rng, uint32_t max)
{
    if (max == 0) {
        return 0;
    }
    const uint32_t mask = UINT32_MAX >> __builtin_clz(max);
    uint32_t value;
    do {
        value = qb_rng_u32(rng) & mask;
    } while (value > max);
    return value;
}

double qb_rng_double(struct qb_rng *rng)
{
    const uint32_t a = qb_rng_u32(rng) >> 5, b = qb_rng_u32(rng) >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
}

void qb_rng_shuffle(struct qb_rng *rng, int64_t *values, size_t count)
{
    for (size_t i = count; i-- > 1;) {
        const size_t j = qb_rng_interval(rng, (uint32_t)i);
        const int64_t t = values[i];
        values[i] = values[j];
        values[j] = t;
    }
}
