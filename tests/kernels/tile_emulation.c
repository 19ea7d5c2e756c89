/* The tile instructions in plain C (kernels/conv/tile.h with QB_TILE_EMULATED): the same kernel source runs,
 * with its real AVX512 tails, on CPUs without AMX. Everything that the hardware would answer with a fault
 * ends the program here. Source: Intel SDM vol. 2, LDTILECFG, TILELOADD, TILESTORED, TDPBUSD; vol. 1 ch. 18.
 *
 * Linked with --wrap, so that the CPU seems to have AMX wherever it has AVX512-VNNI. */
#include "tile_emulation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "kernels/conv/tile.h"

enum { LINE = 64 };

struct tile {
    int rows, row_bytes;
    uint8_t data[QB_TILE_ROWS][QB_TILE_BYTES];
};
/* As in the hardware, tiles belong to a thread. */
static _Thread_local struct tile tiles[QB_TILES];
static _Thread_local bool configured;
static _Thread_local struct tile_counts counts;

static void require(bool fine, const char *what)
{
    if (!fine) {
        fprintf(stderr, "tile fault: %s\n", what);
        abort();
    }
}

void qb_tile_config(const struct qb_tile_config *config)
{
    require(config->palette == 1, "palette");
    require(config->start_row == 0, "start row");
    for (size_t i = 0; i < sizeof config->reserved; i++) {
        require(config->reserved[i] == 0, "reserved bytes");
    }
    for (int t = 0; t < 16; t++) {
        const int rows = config->rows[t], bytes = config->row_bytes[t];
        require(t < QB_TILES || (rows == 0 && bytes == 0), "a tile that palette 1 does not have");
        require(rows <= QB_TILE_ROWS && bytes <= QB_TILE_BYTES, "size of a tile");
        require((rows == 0) == (bytes == 0), "a tile of no rows or no bytes");
    }
    memset(tiles, 0, sizeof tiles);
    for (int t = 0; t < QB_TILES; t++) {
        tiles[t].rows = config->rows[t];
        tiles[t].row_bytes = config->row_bytes[t];
    }
    configured = true;
    counts.configs++;
}

void qb_tile_release(void)
{
    configured = false;
}

static struct tile *use(int t)
{
    require(configured, "no configuration");
    require(t >= 0 && t < QB_TILES && tiles[t].rows > 0, "a tile without a size");
    return &tiles[t];
}

void qb_tile_zero(int t)
{
    memset(use(t)->data, 0, sizeof tiles[t].data);
}

void qb_tile_load(int t, const void *from, size_t stride)
{
    struct tile *const tile = use(t);
    memset(tile->data, 0, sizeof tile->data);
    for (int m = 0; m < tile->rows; m++) {
        const uint8_t *const row = (const uint8_t *)from + (size_t)m * stride;
        memcpy(tile->data[m], row, (size_t)tile->row_bytes);
        counts.crossings += (uintptr_t)row / LINE != ((uintptr_t)row + (size_t)tile->row_bytes - 1) / LINE;
    }
    counts.loads++;
}

void qb_tile_store(int t, void *to, size_t stride)
{
    const struct tile *const tile = use(t);
    for (int m = 0; m < tile->rows; m++) {
        memcpy((uint8_t *)to + (size_t)m * stride, tile->data[m], (size_t)tile->row_bytes);
    }
    counts.stores++;
}

void qb_tile_dot(int c, int a, int b)
{
    struct tile *const sum = use(c);
    const struct tile *const u = use(a), *const s = use(b);
    require(c != a && c != b && a != b, "one register twice");
    require(sum->row_bytes % 4 == 0 && u->row_bytes % 4 == 0 && s->row_bytes % 4 == 0,
            "bytes no multiple of 4");
    require(sum->rows == u->rows, "rows of sum and first factor");
    require(u->row_bytes / 4 == s->rows, "depth");
    require(sum->row_bytes == s->row_bytes, "columns of sum and second factor");
    for (int m = 0; m < sum->rows; m++) {
        for (int n = 0; n < sum->row_bytes / 4; n++) {
            uint32_t acc;
            memcpy(&acc, &sum->data[m][4 * n], sizeof acc);
            for (int k = 0; k < u->row_bytes; k++) {
                acc += (uint32_t)(u->data[m][k] * (int8_t)s->data[k / 4][4 * n + k % 4]);
            }
            memcpy(&sum->data[m][4 * n], &acc, sizeof acc);
        }
    }
    counts.dots++;
    counts.short_dots += sum->rows <= 8;
}

struct tile_counts tile_counts_take(void)
{
    const struct tile_counts now = counts;
    memset(&counts, 0, sizeof counts);
    return now;
}

/* Names that the linker's --wrap gives. */
int __real_qb_cpu_has(enum qb_isa isa);
int __wrap_qb_cpu_has(enum qb_isa isa);
enum qb_status __real_qb_cpu_select(const char *name, enum qb_isa *out, struct qb_error *err);
enum qb_status __wrap_qb_cpu_select(const char *name, enum qb_isa *out, struct qb_error *err);

int __wrap_qb_cpu_has(enum qb_isa isa)
{
    return __real_qb_cpu_has(isa == QB_ISA_AMX ? QB_ISA_AVX512VNNI : isa);
}

enum qb_status __wrap_qb_cpu_select(const char *name, enum qb_isa *out, struct qb_error *err)
{
    if (name && strcmp(name, qb_isa_name(QB_ISA_AMX)) == 0 && __wrap_qb_cpu_has(QB_ISA_AMX)) {
        *out = QB_ISA_AMX;
        return QB_OK;
    }
    return __real_qb_cpu_select(name, out, err);
}
