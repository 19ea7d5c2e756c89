/* One self-contained page: the headline, the plot, the main table (a click on a title sorts it), where the
 * latencies of each line lie, what each class loses, and the notes. Nothing is loaded from elsewhere; without
 * gnuplot the page says in the plot's place what is missing. */
#include "report/views.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "data/dataset.h"

static const char head[] = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";

static const char style[] =
    "<style>\n"
    "body{font:15px/1.45 system-ui,sans-serif;color:#1d2329;max-width:1500px;margin:2em auto;padding:0 1em}\n"
    "h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2em}\n"
    ".headline{font-weight:600;border-left:4px solid #2a7f62;padding:.4em .8em;background:#eef6f2}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px}\n"
    "th,td{padding:.25em .6em;text-align:right;white-space:nowrap;border-bottom:1px solid #dde2e6}\n"
    "th{background:#f3f5f7;position:sticky;top:0}#main th{cursor:pointer}#main th:hover{background:#e2e7eb}\n"
    ".t{text-align:left}tr:hover td{background:#f7f9fa}.FAILED td,.SKIPPED td{color:#9a3324}\n"
    ".front td:first-child{border-left:4px solid #2a7f62}svg{max-width:100%;height:auto}\n"
    "li{margin:.2em 0}.quiet{color:#5b6670}\n"
    "</style>\n";

/* Sorts by the number a cell begins with, else by its text; a second click turns the order round. */
static const char script[] =
    "<script>\n"
    "document.querySelectorAll('#main th').forEach((th,c)=>th.onclick=()=>{\n"
    "  const body=document.querySelector('#main tbody'),up=th.dataset.up!=='1';\n"
    "  document.querySelectorAll('#main th').forEach(x=>delete x.dataset.up);th.dataset.up=up?'1':'0';\n"
    "  const key=r=>{const s=r.cells[c].textContent,v=parseFloat(s.replace(/^</,''));return isNaN(v)?s:v};\n"
    "  const order=(a,b)=>typeof a===typeof b?(a<b?-1:a>b?1:0):typeof a==='number'?-1:1;\n"
    "  [...body.rows].sort((a,b)=>(up?1:-1)*order(key(a),key(b))).forEach(r=>body.append(r));\n"
    "});\n"
    "</script>\n";

static void print_escaped(FILE *out, const char *text)
{
    char *const copy = qb_utf8_copy(text); /* a name may be cut within a character */
    for (const char *p = copy ? copy : ""; *p; p++) {
        switch (*p) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*p, out); break;
        }
    }
    free(copy);
}

static void print_cell(FILE *out, const char *tag, bool left, const char *text)
{
    fprintf(out, left ? "<%s class=\"t\">" : "<%s>", tag);
    print_escaped(out, text);
    fprintf(out, "</%s>", tag);
}

static bool is_text(int column)
{
    return column == COL_SCHEME || column == COL_WEIGHTS || column == COL_ACTIVATIONS ||
           column == COL_OBSERVER || column == COL_ENGINE || column == COL_HASH || column == COL_STATUS;
}

static bool is_timed(const struct table_line *line)
{
    return line->first->status == QB_ROW_OK && !isnan(line->first->median);
}

static void print_main(const struct table *t, const bool *front, FILE *out)
{
    fputs("<h2>Combinations</h2>\n<div class=\"wide\"><table id=\"main\"><thead><tr>", out);
    for (int c = 0; c < COLUMNS; c++) {
        if (!t->hidden[c]) {
            print_cell(out, "th", is_text(c), table_titles[c]);
        }
    }
    fputs("</tr></thead><tbody>\n", out);
    for (size_t i = 0; i < t->count; i++) {
        const enum qb_row_status status = t->lines[i].first->status;
        fprintf(out, "<tr class=\"%s\">",
                status != QB_ROW_OK ? qb_row_status_name(status)
                : front[i]          ? "front"
                                    : "");
        for (int c = 0; c < COLUMNS; c++) {
            if (!t->hidden[c]) {
                print_cell(out, "td", is_text(c), t->lines[i].cells[c]);
            }
        }
        fputs("</tr>\n", out);
    }
    fputs(
        "</tbody></table></div>\n"
        "<p class=\"quiet\">Click a title to sort. A green edge marks the Pareto front of accuracy and least "
        "latency.</p>\n",
        out);
}

/* Place of a latency on a logarithmic axis `width` wide. */
struct axis {
    double low, high, width;
};
static double place(const struct axis *a, double us)
{
    return a->width * log(us / a->low) / log(a->high / a->low);
}

static void print_bar(const struct axis *a, const struct qb_row *r, FILE *out)
{
    const double min = place(a, r->min), p10 = place(a, r->p10), median = place(a, r->median),
                 p90 = place(a, r->p90), p99 = place(a, r->p99);
    fprintf(out,
            "<svg width=\"%.0f\" height=\"16\"><path d=\"M%.1f 8H%.1f\" stroke=\"#9aa5ae\"/>"
            "<rect x=\"%.1f\" y=\"4\" width=\"%.1f\" height=\"8\" fill=\"#a9c4e4\"/>"
            "<path d=\"M%.1f 2V14\" stroke=\"#1f4e9c\" stroke-width=\"2\"/>"
            "<circle cx=\"%.1f\" cy=\"8\" r=\"3\" fill=\"#2a7f62\"/></svg>",
            a->width, min, p99, p10, fmax(p90 - p10, 0.5), median, min);
}

/* What was observed, where the table shows the least. */
static void print_latencies(const struct table *t, FILE *out)
{
    struct axis axis = {INFINITY, 0, 520};
    for (size_t i = 0; i < t->count; i++) {
        if (is_timed(&t->lines[i])) {
            axis.low = fmin(axis.low, t->lines[i].first->min);
            axis.high = fmax(axis.high, t->lines[i].first->p99);
        }
    }
    if (!(axis.high > 0)) {
        return;
    }
    axis.low *= 0.95; /* room for the mark of the least */
    axis.high *= 1.05;
    fprintf(out,
            "<h2>Latency, microseconds an image at batch %d</h2>\n<p class=\"quiet\">Dot: least; bar: p10 to "
            "p90; stroke: median; line: to p99. Logarithmic axis.</p>\n"
            "<div class=\"wide\"><table><thead><tr><th class=\"t\">scheme</th><th class=\"t\">engine isa</th>"
            "<th class=\"t\">%.1f to %.1f us</th><th>min</th><th>p10</th><th>median</th><th>p90</th>"
            "<th>p99</th></tr></thead><tbody>\n",
            t->lines[0].first->batch, axis.low, axis.high);
    for (size_t i = 0; i < t->count; i++) {
        const struct qb_row *const r = t->lines[i].first;
        if (!is_timed(&t->lines[i])) {
            continue;
        }
        fputs("<tr>", out);
        print_cell(out, "td", true, t->lines[i].cells[COL_SCHEME]);
        print_cell(out, "td", true, t->lines[i].cells[COL_ENGINE]);
        fputs("<td class=\"t\">", out);
        print_bar(&axis, r, out);
        fprintf(out, "</td><td>%.1f</td><td>%.1f</td><td>%.1f</td><td>%.1f</td><td>%.1f</td></tr>\n", r->min,
                r->p10, r->median, r->p90, r->p99);
    }
    fputs("</tbody></table></div>\n", out);
}

static bool has_classes(const struct qb_row *r)
{
    return r->images > 0 && !r->synthetic && r->class_total[0] > 0;
}

/* The first line with these logits shows them for all. */
static bool is_first_result(const struct table *t, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (strcmp(t->lines[j].first->logits_hash, t->lines[i].first->logits_hash) == 0) {
            return false;
        }
    }
    return true;
}

static double class_points(const struct qb_row *r, int class)
{
    return 100.0 * (double)r->class_correct[class] / (double)r->class_total[class];
}

static const struct qb_row *find_fp32(const struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->lines[i].first->scheme, "fp32") == 0 && has_classes(t->lines[i].first)) {
            return t->lines[i].first;
        }
    }
    return NULL;
}

/* Accuracy by class; the colour is the difference from FP32, full at five points. */
static void print_classes(const struct table *t, FILE *out)
{
    const struct qb_row *const fp32 = find_fp32(t);
    if (!fp32) {
        return;
    }
    fputs("<h2>Accuracy by class, %</h2>\n<p class=\"quiet\">One line a distinct set of logits. Red: below "
          "FP32; green: above; full colour at five points.</p>\n"
          "<div class=\"wide\"><table><thead><tr><th class=\"t\">scheme</th><th class=\"t\">engine isa</th>",
          out);
    for (int c = 0; c < QB_CLASSES; c++) {
        print_cell(out, "th", false, qb_class_names[c]);
    }
    fputs("</tr></thead><tbody>\n", out);
    for (size_t i = 0; i < t->count; i++) {
        const struct qb_row *const r = t->lines[i].first;
        if (!has_classes(r) || !is_first_result(t, i)) {
            continue;
        }
        fputs("<tr>", out);
        print_cell(out, "td", true, t->lines[i].cells[COL_SCHEME]);
        print_cell(out, "td", true, t->lines[i].cells[COL_ENGINE]);
        for (int c = 0; c < QB_CLASSES; c++) {
            const double value = class_points(r, c), difference = value - class_points(fp32, c);
            fprintf(out, "<td style=\"background:rgba(%s,%.2f)\" title=\"%+.1f against FP32\">%.1f</td>",
                    difference < 0 ? "200,85,61" : "42,127,98", fmin(fabs(difference) / 5, 1) * 0.6,
                    difference, value);
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

static enum qb_status draw_bits(const struct table *t, FILE *out, struct qb_error *err)
{
    return bits_draw(&t->bits, out, err);
}

/* A picture without its XML declaration; without one the reason. */
static enum qb_status print_plot(const struct table *t, const char *title,
                                 enum qb_status (*draw)(const struct table *, FILE *, struct qb_error *),
                                 FILE *out, struct qb_error *err)
{
    char *svg = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&svg, &size);
    if (!stream) {
        return qb_fail_memory(err, 4096);
    }
    struct qb_error why = {0};
    const enum qb_status drawn = draw(t, stream, &why);
    if (fclose(stream) != 0) {
        free(svg);
        return qb_fail_memory(err, size);
    }
    const char *const start = drawn == QB_OK ? strstr(svg, "<svg") : NULL;
    if (start) {
        fprintf(out, "<h2>%s</h2>\n%s\n", title, start);
    } else {
        fputs("<p class=\"quiet\">No plot: ", out);
        print_escaped(out, why.text);
        fputs(".</p>\n", out);
    }
    free(svg);
    return QB_OK;
}

enum qb_status view_html(const struct table *table, FILE *out, struct qb_error *err)
{
    size_t *const indices = calloc(table->count, sizeof *indices);
    bool *const front = calloc(table->count, sizeof *front);
    if (!indices || !front) {
        free(indices);
        free(front);
        return qb_fail_memory(err, table->count * sizeof *indices);
    }
    const size_t fronts = table_pareto(table, indices);
    for (size_t i = 0; i < fronts; i++) {
        front[indices[i]] = true;
    }
    const struct qb_row *const r = table->lines[0].first;
    fprintf(out, "%s<title>qbench: ", head);
    print_escaped(out, r->experiment);
    fprintf(out, "</title>\n%s</head>\n<body>\n<h1>qbench: ", style);
    print_escaped(out, r->experiment);
    fputs("</h1>\n<p class=\"quiet\">", out);
    print_escaped(out, r->cpu);
    fputs(", ", out);
    print_escaped(out, r->started);
    fputs("</p>\n<p class=\"headline\">", out);
    print_escaped(out, table->headline);
    fputs("</p>\n", out);
    enum qb_status status = print_plot(table, "Accuracy against latency", view_svg, out, err);
    if (status == QB_OK && table->bits.count) {
        status = print_plot(table, "Accuracy by bits", draw_bits, out, err);
    }
    if (status == QB_OK) {
        print_main(table, front, out);
        print_latencies(table, out);
        print_classes(table, out);
        fputs("<h2>Notes</h2>\n<ul>\n", out);
        for (size_t i = 0; i < table->note_count; i++) {
            print_cell(out, "li", false, table->notes[i]);
            fputc('\n', out);
        }
        fprintf(out, "</ul>\n%s</body>\n</html>\n", script);
    }
    free(indices);
    free(front);
    return status;
}
