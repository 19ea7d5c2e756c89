/* Drawing through gnuplot, a program of its own that need not be there. */
#ifndef QB_REPORT_GNUPLOT_H
#define QB_REPORT_GNUPLOT_H

#include <stdio.h>

#include "base/status.h"

/* Writes commands that draw to standard output. */
typedef enum qb_status gnuplot_script_fn(const void *ctx, FILE *script, struct qb_error *err);
/* Appends the picture to `out`. Without gnuplot an error that names the package. */
enum qb_status gnuplot_draw(gnuplot_script_fn *write, const void *ctx, FILE *out, struct qb_error *err);

/* Text inside a double-quoted string of the script. gnuplot reads _ as a subscript and a quote as the end:
 * neither is wanted in a label. */
void gnuplot_label(FILE *script, const char *text);

#endif
