/* What others published, beside what was measured here. */
#ifndef QB_REPORT_PUBLISHED_H
#define QB_REPORT_PUBLISHED_H

#include "report/table.h"

/* The column, hidden when no row has a figure. */
void table_fill_published(struct table *table);

/* "Published for SCHEME: 85.58 % (whose); here 86.65 %. Why." of line i, NULL when it has no figure or an
 * earlier line of the scheme said it. In the table's arena. */
const char *table_published_note(const struct table *table, size_t i);

/* A sentence when FP32 is not what was published for it: then this is another network. NULL else. */
const char *table_published_warning(const struct table *table);

#endif
