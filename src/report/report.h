/* Views of rows: the main table. Each function appends to a text; the caller writes it (qb_file_write) or
 * prints it. */
#ifndef QB_REPORT_REPORT_H
#define QB_REPORT_REPORT_H

#include <stddef.h>

#include "base/status.h"
#include "store/row.h"

enum qb_report_format {
    QB_REPORT_TEXT,
    QB_REPORT_MARKDOWN,
    QB_REPORT_CSV,
    QB_REPORT_JSON,
    QB_REPORT_SVG,
    QB_REPORT_BITS,
    QB_REPORT_HTML
};
/* "text", "md", "csv", "json", "svg", "bits", "html"; 1 when known. */
int qb_report_format_parse(const char *name, enum qb_report_format *out);

/* malloc'd, NUL-terminated. TEXT and MARKDOWN: the main table (one line a combination, batches merged, sorted
 * by batch-1 latency, failed rows last with their reason), the machine, the headline (fastest scheme not
 * distinguishable from FP32), and the notes that the rows need (synthetic data, ~, minimum detectable
 * difference, control). CSV: every column of every row, header first, RFC 4180. SVG: accuracy against latency
 * with intervals and the Pareto front, through gnuplot; without gnuplot an error naming the package. BITS:
 * heat maps of accuracy by bits, SVG through gnuplot; an error where no scheme was crossed with widths. HTML:
 * all of it in one page (without gnuplot no plot, but the reason). */
enum qb_status qb_report_render(const struct qb_row *rows, size_t count, enum qb_report_format format,
                                char **out, struct qb_error *err);

#endif
