/* Guard pages, fills and the command line of the kernels' checks: see checks.h. */
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char command[256];

struct guarded guarded_alloc(size_t bytes, enum guard_side side, struct qb_rng *rng)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (bytes + page - 1) / page * page;
    struct guarded g = {.bytes = bytes, .map_bytes = inside + 2 * page};
    g.map = mmap(NULL, g.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED ||
        (inside && mprotect((char *)g.map + page, inside, PROT_READ | PROT_WRITE) != 0)) {
        perror("mmap");
        exit(1);
    }
    g.data = (uint8_t *)g.map + page + (side == GUARD_AFTER ? inside - bytes : 0);
    for (size_t i = 0; i < bytes; i++) {
        g.data[i] = (uint8_t)qb_rng_u32(rng);
    }
    return g;
}

void guarded_free(struct guarded *g)
{
    munmap(g->map, g->map_bytes);
}

static uint8_t code(enum fill fill, uint32_t r)
{
    const uint8_t any = (uint8_t)(r >> 8), half = r & 16 ? any & 127 : 127;
    switch (fill) {
    case FILL_HIGH: return 255;
    case FILL_LOW: return 0;
    case FILL_EXTREMES: return r & 1 ? 255 : 0;
    case FILL_LOWER: return (r >> 16) % 200 == 0 ? any : half;
    case FILL_UPPER: return (r >> 16) % 200 == 0 ? any : (uint8_t)(half | 128);
    default: return any;
    }
}

static int8_t weight(enum fill fill, uint32_t r)
{
    const int any = (int)(r >> 8 & 255) - 128, extreme = r & 1 ? 127 : -128;
    switch (fill) {
    case FILL_HIGH: return 127;
    case FILL_LOW: return -128;
    case FILL_EXTREMES: return (int8_t)extreme;
    case FILL_LOWER: return (int8_t)(any / 3);
    case FILL_UPPER: return (int8_t)((r >> 16) % 8 == 0 ? extreme : any % 4);
    default: return (int8_t)any;
    }
}

void fill_codes(uint8_t *data, size_t bytes, enum fill fill, struct qb_rng *rng)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = code(fill, qb_rng_u32(rng));
    }
}

void fill_weights(int8_t *data, size_t bytes, enum fill fill, struct qb_rng *rng)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = weight(fill, qb_rng_u32(rng));
    }
}

int draw(struct qb_rng *rng, int low, int high)
{
    return low + (int)qb_rng_interval(rng, (uint32_t)(high - low));
}

int pick(struct qb_rng *rng, const int *from, size_t count)
{
    return from[qb_rng_interval(rng, (uint32_t)count - 1)];
}

enum qb_isa check_arguments(int argc, char **argv, struct qb_rng *rng)
{
    const unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    for (int isa = 0; argc > 1 && isa < QB_ISA_COUNT; isa++) {
        if (strcmp(argv[1], qb_isa_name((enum qb_isa)isa)) != 0) {
            continue;
        }
        if (!qb_cpu_has((enum qb_isa)isa)) {
            printf("SKIP: this CPU lacks %s; it has: %s\n", argv[1], qb_cpu_isas());
            exit(77);
        }
        snprintf(command, sizeof command, "%s %s %lu", argv[0], argv[1], seed);
        printf("%s (the last number is the seed)\n", command);
        qb_rng_seed(rng, (uint32_t)seed);
        return (enum qb_isa)isa;
    }
    fprintf(stderr, "usage: %s ISA [SEED]\n", argv[0]);
    exit(2);
}

int check_failed(const char *what, size_t at, int got, int want)
{
    fprintf(stderr, "FAILED: %s: byte %zu is %d, wanted %d; repeat with: %s\n", what, at, got, want, command);
    return 1;
}
