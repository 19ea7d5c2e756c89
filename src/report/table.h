/* The main table as data: rows of one run merged into one line a combination, with every cell formatted, plus
 * the sentences that belong below it. Text and Markdown differ only in how they print this. */
#ifndef QB_REPORT_TABLE_H
#define QB_REPORT_TABLE_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "report/bits.h"
#include "store/row.h"

enum {
    COL_SCHEME,
    COL_WEIGHTS,
    COL_ACTIVATIONS,
    COL_OBSERVER,
    COL_TOP1,
    COL_PUBLISHED,
    COL_VS_FP32,
    COL_SETS,
    COL_VS_BEST,
    COL_AGREE,
    COL_SIZE,
    COL_ENGINE,
    COL_LATENCY,
    COL_RATE,
    COL_ROOF,
    COL_SPEEDUP,
    COL_HASH,
    COL_STATUS,
    COLUMNS
};
extern const char *const table_titles[COLUMNS];

/* One combination: scheme x engine x isa x threads, over its batch sizes. Schemes that came to one integer
 * network share a line, which shows the first of them; the notes name them all. */
struct table_line {
    const struct qb_row *first;   /* the row of the smallest batch: the latency shown */
    const struct qb_row *largest; /* the row of the largest batch: the throughput shown */
    size_t twins;                 /* other schemes with the same integer network */
    double p;                     /* Holm-corrected over the lines shown; NAN for fp32 */
    double sets_p;                /* against the best over the calibration sets (sets.h); NAN: no such test */
    const char *cells[COLUMNS];
};

struct table {
    struct qb_arena *arena;
    struct table_line *lines; /* sorted by least latency, those without one last */
    size_t count;
    bool hidden[COLUMNS];  /* columns that no line fills */
    const char *headline;  /* the fastest scheme not distinguishable from FP32 */
    struct bits_maps bits; /* bits.h; none without crossed widths */
    const char **notes;    /* sentences */
    size_t note_count;
};

enum qb_status table_build(const struct qb_row *rows, size_t count, struct table *out, struct qb_error *err);
void table_free(struct table *table);

static inline bool table_line_is_fp32(const struct table_line *line)
{
    return strcmp(line->first->scheme, "fp32") == 0;
}

void table_print_text(const struct table *table, FILE *out);
void table_print_markdown(const struct table *table, FILE *out);

/* Indices of the lines on the Pareto front of (least latency, accuracy), fastest first; returns how many.
 * Lines without both values are left out. `indices` holds table->count. */
size_t table_pareto(const struct table *table, size_t *indices);

#endif
