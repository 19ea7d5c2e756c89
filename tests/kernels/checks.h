/* What the checks of kernels share. A check is a program `check_<op> ISA [SEED]`: the table's entry for that
 * ISA against the ref entry, extremes before random. Exit code 77 (SKIP) when this CPU lacks the ISA. */
#ifndef QB_TEST_KERNELS_CHECKS_H
#define QB_TEST_KERNELS_CHECKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "base/rng.h"

/* Bytes between two pages that cannot be touched, and close to one of them: reading or writing beyond
 * crashes. */
enum guard_side { GUARD_AFTER, GUARD_BEFORE };
struct guarded {
    uint8_t *data;
    size_t bytes;
    void *map;
    size_t map_bytes;
};
/* Content is random. GUARD_AFTER: data + bytes is the first forbidden byte, aligned only if bytes is. Ends
 * the program when out of memory. */
struct guarded guarded_alloc(size_t bytes, enum guard_side side, struct qb_rng *rng);
void guarded_free(struct guarded *g);

/* Patterns of codes: extremes first. */
enum fill { FILL_HIGH, FILL_LOW, FILL_EXTREMES, FILL_RANDOM, FILL_LOWER, FILL_UPPER, FILL_COUNT };
/* 0 and 255 for codes; as int8_t weights the same bytes mean 127 (HIGH) and -128 (LOW). LOWER, UPPER: codes
 * of that half of the range, its largest often, and one in 200 from anywhere; weights that are small (LOWER),
 * tiny or an extreme (UPPER). */
void fill_codes(uint8_t *data, size_t bytes, enum fill fill, struct qb_rng *rng);
void fill_weights(int8_t *data, size_t bytes, enum fill fill, struct qb_rng *rng);

/* Both ends included. */
int draw(struct qb_rng *rng, int low, int high);
int pick(struct qb_rng *rng, const int *from, size_t count);
#define PICK(rng, ...)                                                                                       \
    pick((rng), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

/* The command line. Returns the ISA, or ends the program (SKIP, usage). Prints the seed. */
enum qb_isa check_arguments(int argc, char **argv, struct qb_rng *rng);
/* Says what differs and how to repeat it; returns 1. */
int check_failed(const char *what, size_t at, int got, int want);

#endif
