/* The sentences below the main table: the model and the machine, what the test set can tell, roofs, noise,
 * and why lines are approximate, not to be trusted, or not measured. */
#ifndef QB_REPORT_NOTES_H
#define QB_REPORT_NOTES_H

#include "report/table.h"

/* Fills table->notes, whose lines are merged, sorted and formatted. `rows` are those that it was made of. */
enum qb_status table_make_notes(struct table *table, const struct qb_row *rows, size_t count,
                                struct qb_error *err);

#endif
