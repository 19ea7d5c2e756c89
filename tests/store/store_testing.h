/* Rows whose every field follows from a number, so that a row read back can be checked whole. */
#ifndef QB_STORE_TESTING_H
#define QB_STORE_TESTING_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/columns.h"
#include "testing.h"

/* Row `n` of `run`: texts fill their fields, some numbers are "does not apply". */
static inline struct qb_row make_row(unsigned n, const char *run)
{
    struct qb_row row = {0};
    for (size_t c = 0; c < qb_column_count; c++) {
        const struct qb_column *const column = &qb_columns[c];
        char *const field = (char *)&row + column->offset;
        const unsigned v = n * 1000 + (unsigned)c;
        switch (column->kind) {
        case QB_COLUMN_TEXT:
            if (v % 7) {
                memset(field, 'a' + (int)(v % 26), column->size - 1);
                snprintf(field, column->size, "%u", v);
                field[strlen(field)] = column->size > 24 ? '_' : 0;
            }
            break;
        case QB_COLUMN_INT: memcpy(field, &(int){v % 5 ? (int)v : -1}, sizeof(int)); break;
        case QB_COLUMN_INT64:
            memcpy(field, &(int64_t){v % 5 ? (int64_t)v << 33 : -1}, sizeof(int64_t));
            break;
        case QB_COLUMN_REAL: memcpy(field, &(double){v % 5 ? v / 7.0 : (double)NAN}, sizeof(double)); break;
        }
    }
    memset(row.key, 0, sizeof row.key);
    snprintf(row.key, sizeof row.key, "%032x", n);
    memset(row.run, 0, sizeof row.run);
    snprintf(row.run, sizeof row.run, "%s", run);
    memset(row.experiment, 0, sizeof row.experiment);
    snprintf(row.experiment, sizeof row.experiment, "exp");
    row.status = QB_ROW_OK;
    return row;
}

/* Equal field by field; NAN equals NAN. */
static inline void assert_row(const struct qb_row *got, const struct qb_row *want)
{
    for (size_t c = 0; c < qb_column_count; c++) {
        const struct qb_column *const column = &qb_columns[c];
        const char *const a = (const char *)got + column->offset, *const b =
                                                                      (const char *)want + column->offset;
        double x = 0, y = 0;
        if (column->kind == QB_COLUMN_REAL) {
            memcpy(&x, a, sizeof x);
            memcpy(&y, b, sizeof y);
        }
        const int same = column->kind == QB_COLUMN_TEXT   ? strcmp(a, b) == 0
                         : column->kind == QB_COLUMN_REAL ? x == y || (isnan(x) && isnan(y))
                                                          : memcmp(a, b, column->size) == 0;
        if (!same) {
            fail_msg("column %s differs", column->name);
        }
    }
}

/* Number of files in a folder. */
unsigned count_files(const char *dir);

#endif
