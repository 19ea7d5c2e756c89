/* Views of rows: see report.h. */
#include "report/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/table.h"
#include "report/views.h"

static const char *const format_names[] = {"text", "md", "csv", "json", "svg", "bits", "html"};

int qb_report_format_parse(const char *name, enum qb_report_format *out)
{
    for (size_t i = 0; i < sizeof format_names / sizeof format_names[0]; i++) {
        if (strcmp(name, format_names[i]) == 0) {
            *out = (enum qb_report_format)i;
            return 1;
        }
    }
    return 0;
}

static enum qb_status render(const struct qb_row *rows, size_t count, enum qb_report_format format, FILE *out,
                             struct qb_error *err)
{
    if (format == QB_REPORT_CSV) {
        return view_csv(rows, count, out, err);
    }
    if (format == QB_REPORT_JSON) {
        return view_json(rows, count, out, err);
    }
    struct table table;
    QB_TRY(table_build(rows, count, &table, err));
    enum qb_status status = QB_OK;
    switch (format) {
    case QB_REPORT_TEXT: table_print_text(&table, out); break;
    case QB_REPORT_MARKDOWN: table_print_markdown(&table, out); break;
    case QB_REPORT_BITS: status = bits_draw(&table.bits, out, err); break;
    case QB_REPORT_HTML: status = view_html(&table, out, err); break;
    default: status = view_svg(&table, out, err); break;
    }
    table_free(&table);
    return status;
}

enum qb_status qb_report_render(const struct qb_row *rows, size_t count, enum qb_report_format format,
                                char **out, struct qb_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&text, &size);
    if (!stream) {
        return qb_fail_memory(err, 4096);
    }
    enum qb_status status = render(rows, count, format, stream, err);
    if (fclose(stream) != 0 && status == QB_OK) {
        status = qb_fail_memory(err, size);
    }
    if (status != QB_OK) {
        free(text);
        return status;
    }
    *out = text;
    return QB_OK;
}
