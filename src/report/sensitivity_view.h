/* Views of a sensitivity study (src/measure/sensitivity.h). */
#ifndef QB_REPORT_SENSITIVITY_VIEW_H
#define QB_REPORT_SENSITIVITY_VIEW_H

#include "measure/sensitivity.h"
#include "report/report.h"

/* malloc'd, NUL-terminated. TEXT and MARKDOWN: one line a layer in execution order, the whole networks, and a
 * sentence that names the layer which costs most. CSV: one line a layer, every column, RFC 4180. JSON:
 * {"schema_version": 1, images, synthetic, scheme, arithmetic, accumulate, networks [{network, hits, agree,
 * logits_sqnr_db, logits_cosine}], worst (a layer's name), worst_by (hits or logits), layers [{the columns of
 * the CSV}]}; what does not apply, and an SQNR without noise, is null. SVG: hits lost and won a layer, and
 * the SQNR of the logits, through gnuplot. */
enum qb_status qb_sensitivity_render(const struct qb_sensitivity *sensitivity, const struct qb_qgraph *graph,
                                     enum qb_report_format format, char **out, struct qb_error *err);

#endif
