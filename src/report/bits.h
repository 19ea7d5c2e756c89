/* The accuracy of a scheme by the bits of its weights and activations: a map for each scheme that the
 * experiment crosses with widths, as a small table and as a heat map. */
#ifndef QB_REPORT_BITS_H
#define QB_REPORT_BITS_H

#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "store/row.h"

enum { BITS_MOST = 8 };

struct bits_map {
    const char *scheme; /* without the widths */
    bool synthetic;     /* values are agreement with FP32 */
    /* In per cent, by weight and activation bits; NAN: not measured. */
    double value[BITS_MOST + 1][BITS_MOST + 1];
};

struct bits_maps {
    struct bits_map *maps;
    size_t count;
    double fp32; /* what the rows are compared with; NAN of synthetic images */
};

/* Maps of the rows' schemes that have at least two cells, in order of appearance. The same scheme on another
 * engine has the same cells: the first counts. Memory from `arena`. */
enum qb_status bits_maps_make(const struct qb_row *rows, size_t count, struct qb_arena *arena,
                              struct bits_maps *out, struct qb_error *err);

void bits_print_text(const struct bits_maps *maps, FILE *out);
void bits_print_markdown(const struct bits_maps *maps, FILE *out);
/* Heat maps, one a scheme, through gnuplot. */
enum qb_status bits_draw(const struct bits_maps *maps, FILE *out, struct qb_error *err);

#endif
