/* Every column of every row as CSV (RFC 4180) and as JSON: made from the store's column table. */
#include "report/views.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/utf8.h"
#include "store/columns.h"

void view_csv_text(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') {
            fputc('"', out);
        }
        fputc(*text, out);
    }
    fputc('"', out);
}

static const void *field(const struct qb_row *row, const struct qb_column *column)
{
    return (const char *)row + column->offset;
}

static double real_of(const struct qb_row *row, const struct qb_column *column)
{
    double value;
    memcpy(&value, field(row, column), sizeof value);
    return value;
}

static int64_t int_of(const struct qb_row *row, const struct qb_column *column)
{
    int64_t wide;
    int narrow;
    if (column->kind == QB_COLUMN_INT64) {
        memcpy(&wide, field(row, column), sizeof wide);
        return wide;
    }
    memcpy(&narrow, field(row, column), sizeof narrow);
    return narrow;
}

/* Only a count says with -1 that it does not apply: columns.h. */
static bool applies(const struct qb_row *row, const struct qb_column *column)
{
    return column->kind != QB_COLUMN_INT64 || int_of(row, column) != -1;
}

enum qb_status view_csv(const struct qb_row *rows, size_t count, FILE *out, struct qb_error *err)
{
    (void)err;
    for (size_t c = 0; c < qb_column_count; c++) {
        fprintf(out, "%s%s", c ? "," : "", qb_columns[c].name);
    }
    fputs("\r\n", out);
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < qb_column_count; c++) {
            const struct qb_column *const column = &qb_columns[c];
            if (c) {
                fputc(',', out);
            }
            if (column->kind == QB_COLUMN_TEXT) {
                view_csv_text(out, field(&rows[i], column));
            } else if (column->kind == QB_COLUMN_REAL) {
                const double value = real_of(&rows[i], column);
                if (!isnan(value)) {
                    fprintf(out, "%.9g", value);
                }
            } else if (column->name_of) {
                fputs(column->name_of((int)int_of(&rows[i], column)), out);
            } else if (applies(&rows[i], column)) {
                fprintf(out, "%" PRId64, int_of(&rows[i], column));
            }
        }
        fputs("\r\n", out);
    }
    return QB_OK;
}

static json_t *value_of(const struct qb_row *row, const struct qb_column *column)
{
    if (column->kind == QB_COLUMN_TEXT) {
        char *const text = qb_utf8_copy(field(row, column)); /* a name may be cut within a character */
        json_t *const value = text ? json_string(text) : NULL;
        free(text);
        return value;
    }
    if (column->kind == QB_COLUMN_REAL) {
        const double value = real_of(row, column);
        return isnan(value) ? json_null() : json_real(value);
    }
    if (column->name_of) {
        return json_string(column->name_of((int)int_of(row, column)));
    }
    return applies(row, column) ? json_integer((json_int_t)int_of(row, column)) : json_null();
}

enum qb_status view_json(const struct qb_row *rows, size_t count, FILE *out, struct qb_error *err)
{
    json_t *const list = json_array();
    int failed = 0;
    for (size_t i = 0; i < count; i++) {
        json_t *const row = json_object();
        for (size_t c = 0; c < qb_column_count; c++) {
            failed |= json_object_set_new(row, qb_columns[c].name, value_of(&rows[i], &qb_columns[c]));
        }
        failed |= json_array_append_new(list, row);
    }
    json_t *const root = json_pack("{s:i,s:o}", "schema_version", 1, "rows", list);
    const int good = !failed && root && json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0;
    json_decref(root);
    fputc('\n', out);
    return good ? QB_OK : qb_fail_memory(err, count * sizeof *rows);
}
