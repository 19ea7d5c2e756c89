/* The main table as text and as Markdown: see table.h. */
#include "report/table.h"

#include <string.h>

/* The shown columns, in order; how many. */
static int shown(const struct table *table, int columns[COLUMNS])
{
    int n = 0;
    for (int c = 0; c < COLUMNS; c++) {
        if (!table->hidden[c]) {
            columns[n++] = c;
        }
    }
    return n;
}

static void print_padded(FILE *out, const char *text, int width, bool last)
{
    fprintf(out, "%-*s%s", last ? 0 : width, text, last ? "\n" : "  ");
}

static void print_notes(const struct table *table, FILE *out)
{
    for (size_t i = 0; i < table->note_count; i++) {
        fprintf(out, "* %s\n", table->notes[i]);
    }
}

void table_print_text(const struct table *table, FILE *out)
{
    int columns[COLUMNS], width[COLUMNS];
    const int n = shown(table, columns);
    for (int k = 0; k < n; k++) {
        width[k] = (int)strlen(table_titles[columns[k]]);
        for (size_t i = 0; i < table->count; i++) {
            const int length = (int)strlen(table->lines[i].cells[columns[k]]);
            width[k] = length > width[k] ? length : width[k];
        }
    }
    for (int k = 0; k < n; k++) {
        print_padded(out, table_titles[columns[k]], width[k], k + 1 == n);
    }
    for (size_t i = 0; i < table->count; i++) {
        for (int k = 0; k < n; k++) {
            print_padded(out, table->lines[i].cells[columns[k]], width[k], k + 1 == n);
        }
    }
    fprintf(out, "\n%s\n\n", table->headline);
    print_notes(table, out);
    bits_print_text(&table->bits, out);
}

void table_print_markdown(const struct table *table, FILE *out)
{
    int columns[COLUMNS];
    const int n = shown(table, columns);
    for (int k = 0; k < n; k++) {
        fprintf(out, "| %s %s", table_titles[columns[k]], k + 1 < n ? "" : "|\n");
    }
    for (int k = 0; k < n; k++) {
        fprintf(out, "|---%s", k + 1 < n ? "" : "|\n");
    }
    for (size_t i = 0; i < table->count; i++) {
        for (int k = 0; k < n; k++) {
            fprintf(out, "| %s %s", table->lines[i].cells[columns[k]], k + 1 < n ? "" : "|\n");
        }
    }
    fprintf(out, "\n**%s**\n\n", table->headline);
    print_notes(table, out);
    bits_print_markdown(&table->bits, out);
}
