/* Tables and JSON values of the inspect views: see inspect_out.h. */
#include "model/inspect_out.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void qb_table_cell(struct qb_table *table, const char *format, ...)
{
    char *cell = NULL;
    va_list args;
    va_start(args, format);
    const int length = vasprintf(&cell, format, args);
    va_end(args);
    if (length < 0) {
        table->failed = true;
        return;
    }
    if (table->count == table->capacity) {
        const size_t capacity = table->capacity ? 2 * table->capacity : 256;
        char **const cells = reallocarray(table->cells, capacity, sizeof *cells);
        if (!cells) {
            free(cell);
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    for (char *c = cell; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    table->cells[table->count++] = cell;
}

void qb_table_number(struct qb_table *table, uint64_t number)
{
    char text[32];
    size_t at = sizeof text - 1;
    text[at] = '\0';
    for (int digits = 0; digits == 0 || number; digits++, number /= 10) {
        if (digits && digits % 3 == 0) {
            text[--at] = ',';
        }
        text[--at] = (char)('0' + number % 10);
    }
    qb_table_cell(table, "%s", text + at);
}

/* Characters, not bytes, of UTF-8. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static int column_width(const struct qb_table *table, int column)
{
    int width = 0;
    for (size_t i = (size_t)column; i < table->count; i += (size_t)table->columns) {
        const int w = width_of(table->cells[i]);
        width = w > width ? w : width;
    }
    return width;
}

/* Two spaces between columns; no line ends in spaces. */
static void print_table(const struct qb_table *table, const int *widths, FILE *out)
{
    int pending = 0;
    for (size_t i = 0; i < table->count; i++) {
        const size_t column = i % (size_t)table->columns;
        const int space = widths[column] - width_of(table->cells[i]);
        const int left = table->align[column] == 'r' ? space : 0;
        pending = column == 0 ? left : pending + 2 + left;
        if (table->cells[i][0]) {
            fprintf(out, "%*s%s", pending, "", table->cells[i]);
            pending = 0;
        }
        pending += space - left;
        if (column + 1 == (size_t)table->columns) {
            fputc('\n', out);
        }
    }
}

enum qb_status qb_tables_text(const struct qb_table *const *tables, size_t count, char **out,
                              struct qb_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&text, &size);
    bool failed = !stream;
    for (size_t t = 0; !failed && t < count; t++) {
        int *const widths = calloc((size_t)tables[t]->columns, sizeof *widths);
        failed = !widths || tables[t]->failed;
        if (!failed) {
            for (int c = 0; c < tables[t]->columns; c++) {
                widths[c] = column_width(tables[t], c);
            }
            fputs(t ? "\n" : "", stream);
            print_table(tables[t], widths, stream);
        }
        free(widths);
    }
    failed = failed || ferror(stream);
    if (stream && fclose(stream) != 0) {
        failed = true;
    }
    if (failed) {
        free(text);
        return qb_fail(err, QB_ENOMEM, "out of memory: the table could not be made");
    }
    *out = text;
    return QB_OK;
}

void qb_table_free(struct qb_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct qb_table){0};
}

void qb_json_put(json_t *object, const char *key, json_t *value, bool *failed)
{
    if (json_object_set_new(object, key, value) != 0) {
        *failed = true;
    }
}

json_t *qb_json_text(const char *text)
{
    json_t *value = json_string(text);
    char *const plain = value ? NULL : strdup(text);
    if (plain) {
        for (char *c = plain; *c; c++) {
            *c = (unsigned char)*c < 0x80 ? *c : '?';
        }
        value = json_string(plain);
        free(plain);
    }
    return value;
}

json_t *qb_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *qb_json_ints(const int *values, size_t count)
{
    json_t *const array = json_array();
    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(array, json_integer(values[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

enum qb_status qb_json_dump(json_t *root, bool failed, char **out, struct qb_error *err)
{
    char *const text = failed || !root ? NULL : json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    char *line = NULL;
    json_decref(root);
    if (text && asprintf(&line, "%s\n", text) < 0) {
        line = NULL;
    }
    free(text);
    if (!line) {
        return qb_fail(err, QB_ENOMEM, "out of memory: the JSON text could not be made");
    }
    *out = line;
    return QB_OK;
}
