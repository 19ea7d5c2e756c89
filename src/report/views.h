/* The other views; each appends to a stream. */
#ifndef QB_REPORT_VIEWS_H
#define QB_REPORT_VIEWS_H

#include <stdio.h>

#include "report/table.h"

/* RFC 4180, every column of every row, header first. */
enum qb_status view_csv(const struct qb_row *rows, size_t count, FILE *out, struct qb_error *err);
/* {"schema_version": 1, "rows": [{column: value, ...}]}; what does not apply is null. */
enum qb_status view_json(const struct qb_row *rows, size_t count, FILE *out, struct qb_error *err);
/* Accuracy against latency through gnuplot. */
enum qb_status view_svg(const struct table *table, FILE *out, struct qb_error *err);
/* One page with everything in it. */
enum qb_status view_html(const struct table *table, FILE *out, struct qb_error *err);

#endif
