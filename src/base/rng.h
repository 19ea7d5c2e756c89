/* MT19937 as numpy's RandomState uses it, so that a Python user draws the same images from the same seed.
 * Source: Matsumoto and Nishimura 1998; numpy/random/mtrand (legacy seeding, random_interval, shuffle,
 * choice). */
#ifndef QB_BASE_RNG_H
#define QB_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct qb_rng {
    uint32_t state[624];
    unsigned next; /* index of the next word; 624 = regenerate first */
};

/* numpy.random.RandomState(seed) for an integer seed. */
void qb_rng_seed(struct qb_rng *rng, uint32_t seed);
uint32_t qb_rng_u32(struct qb_rng *rng);
/* Uniform in 0..max, both included, by masked rejection (numpy's random_interval for max < 2^32). */
uint32_t qb_rng_interval(struct qb_rng *rng, uint32_t max);
/* Uniform in [0, 1) with 53 bits (numpy's random_sample). */
double qb_rng_double(struct qb_rng *rng);
/* RandomState.shuffle of an array of int64. */
void qb_rng_shuffle(struct qb_rng *rng, int64_t *values, size_t count);

#endif
