/* How the inspect views (src/model/inspect.c, src/quant/inspect.c) write: aligned text tables and JSON
 * values. */
#ifndef QB_MODEL_INSPECT_OUT_H
#define QB_MODEL_INSPECT_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "base/status.h"

/* Cells row by row; columns are as wide as their widest cell, `align` has 'l' or 'r' for each. After a failed
 * allocation every call is harmless and `failed` is set. Start with {.columns = n, .align = "lr.."}. */
struct qb_table {
    int columns;
    const char *align;
    char **cells;
    size_t count, capacity;
    bool failed;
};

/* The next cell. Control characters, which a file's names may hold, become '?'. */
void qb_table_cell(struct qb_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a whole number, with thousands separated by commas. */
void qb_table_number(struct qb_table *table, uint64_t number);
/* malloc'd text of the tables, an empty line between them. */
enum qb_status qb_tables_text(const struct qb_table *const *tables, size_t count, char **out,
                              struct qb_error *err);
void qb_table_free(struct qb_table *table);

/* Sets a key and takes over `value`; NULL (out of memory) makes *failed true. */
void qb_json_put(json_t *object, const char *key, json_t *value, bool *failed);
/* A string, also where the bytes are not UTF-8: those become '?'. */
json_t *qb_json_text(const char *text);
/* null where `value` is not finite. */
json_t *qb_json_real(double value);
/* [a, b, ...] */
json_t *qb_json_ints(const int *values, size_t count);

/* malloc'd text of `root`, which is released, and a newline; floats get the nine digits that identify a
 * float32. */
enum qb_status qb_json_dump(json_t *root, bool failed, char **out, struct qb_error *err);

#endif
