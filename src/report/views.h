/* The other views; each appends to a stream. */
#ifndef QB_REPORT_VIEWS_H
#define QB_REPORT_VIEWS_H

#include <stdio.h>

#include "report/table.h"

/* One field of RFC 4180, in quotes where it needs them. */
void view_csv_text(FILE *out, const char *text);
/* RFC 4180, every column of every row, header first. */
enum qb_status view_csv(const struct qb_row *rows, size_t count, FILE *out, struct qb_error *err);
/* {"schema_version": 1, "rows": [{column: value, ...}]}; what does not apply is null. */
enum qb_status view_json(const struct qb_row *rows, size_t count, FILE *out, struct qb_error *err);
/* Accuracy against latency through gnuplot. */
enum qb_status view_svg(const struct table *table, FILE *out, struct qb_error *err);
/* One page with everything in it. */
enum qb_status view_html(const struct table *table, FILE *out, struct qb_error *err);

#endif
