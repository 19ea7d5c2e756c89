/* The columns of a row: the one table that the SQL schema, the CSV and the JSON are made from. */
#ifndef QB_STORE_COLUMNS_H
#define QB_STORE_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "store/row.h"

enum qb_column_kind {
    QB_COLUMN_TEXT,  /* char[size] */
    QB_COLUMN_INT,   /* int (enums too) */
    QB_COLUMN_INT64, /* int64_t; -1 = does not apply, empty in CSV, null in JSON */
    QB_COLUMN_REAL,  /* double; NAN = does not apply, NULL in SQL, empty in CSV, null in JSON */
};

struct qb_column {
    const char *name; /* arrays are columns of their own: class_correct_0 .. class_correct_9 */
    enum qb_column_kind kind;
    size_t offset, size; /* in struct qb_row */
    bool deterministic;  /* the same bytes on every rerun of the same binary */

    /* Of an enum: what CSV and JSON say of it; SQL holds the number. NULL: no enum. */
    const char *(*name_of)(int value);
};

extern const struct qb_column qb_columns[];
extern const size_t qb_column_count;

#endif
