/* Calibration uncertainty in the table: spread of a scheme over its calibration sets, and whether it is worse
 * than the best scheme by more than the luck of the draw. */
#ifndef QB_REPORT_SETS_H
#define QB_REPORT_SETS_H

#include "report/table.h"

/* Fills the two columns of every line, and line->sets_p: paired t-test over the same calibration sets against
 * the best scheme by mean, Holm-corrected over distinct results; NAN for the best and for lines without sets.
 */
enum qb_status table_fill_sets(struct table *table, struct qb_error *err);

/* Sentences for the notes: what the columns are, and which schemes luck alone may have put behind the best.
 * Each NULL when there is nothing to say; in the table's arena. */
void table_sets_notes(const struct table *table, const char *notes[2]);

#endif
