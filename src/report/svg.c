/* The picture: accuracy with its interval against the least latency, the Pareto front as steps. gnuplot draws
 * it. */
#include "report/views.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/gnuplot.h"

static double value_of(const struct qb_row *r)
{
    return r->synthetic ? 100.0 * (double)r->agree / (double)r->images : 100 * r->accuracy;
}

static int is_point(const struct table_line *line)
{
    return !isnan(line->first->median) && line->first->images > 0;
}

/* Index of the first line with the same engine: the series that line i belongs to. */
static size_t series_of(const struct table *t, size_t i)
{
    size_t j = 0;
    while (!is_point(&t->lines[j]) || strcmp(t->lines[j].first->engine, t->lines[i].first->engine) != 0) {
        j++;
    }
    return j;
}

static int is_first_of_scheme(const struct table *t, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (is_point(&t->lines[j]) && strcmp(t->lines[j].first->scheme, t->lines[i].first->scheme) == 0) {
            return 0;
        }
    }
    return 1;
}

/* One data block an engine: minimum, value, ends of the interval. */
static void write_series(const struct table *t, FILE *script)
{
    for (size_t s = 0; s < t->count; s++) {
        if (!is_point(&t->lines[s]) || series_of(t, s) != s) {
            continue;
        }
        fprintf(script, "$series%zu << EOD\n", s);
        for (size_t i = s; i < t->count; i++) {
            const struct qb_row *const r = t->lines[i].first;
            if (is_point(&t->lines[i]) && series_of(t, i) == s) {
                const double y = value_of(r);
                fprintf(script, "%.4f %.4f %.4f %.4f\n", r->min, y, r->synthetic ? y : 100 * r->wilson_low,
                        r->synthetic ? y : 100 * r->wilson_high);
            }
        }
        fputs("EOD\n", script);
    }
}

/* More names than this hide each other. */
enum { READABLE_LABELS = 16 };

struct label {
    const char *text;
    double x, y, at; /* the point, and the height of its label */
};

static int by_height(const void *a, const void *b)
{
    const double x = ((const struct label *)a)->y, y = ((const struct label *)b)->y;
    return (x > y) - (x < y);
}

/* Height of the picture in points of accuracy. */
static double span_of(const struct table *t)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < t->count; i++) {
        if (is_point(&t->lines[i])) {
            const struct qb_row *const r = t->lines[i].first;
            const double value = value_of(r);
            low = fmin(low, r->synthetic ? value : 100 * r->wilson_low);
            high = fmax(high, r->synthetic ? value : 100 * r->wilson_high);
        }
    }
    return high - low;
}

/* Lifts labels, lowest first, until none lies on another. */
static void spread(struct label *labels, size_t count, double span)
{
    const double line = 0.03 * span; /* height of a line of text */
    const double width = 1.8;        /* ratio of latencies that a text spans */
    qsort(labels, count, sizeof *labels, by_height);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            const double ratio = labels[i].x / labels[j].x;
            if (ratio < width && ratio > 1 / width && labels[i].at < labels[j].at + line) {
                labels[i].at = labels[j].at + line;
            }
        }
    }
}

static int is_on_front(const size_t *front, size_t front_count, size_t line)
{
    for (size_t i = 0; i < front_count; i++) {
        if (front[i] == line) {
            return 1;
        }
    }
    return 0;
}

/* A scheme is labelled once, at its fastest engine; where there are too many to read, only the front is. */
static enum qb_status write_labels(const struct table *t, const size_t *front, size_t front_count,
                                   FILE *script, struct qb_error *err)
{
    struct label *const labels = calloc(t->count, sizeof *labels);
    if (!labels) {
        return qb_fail_memory(err, t->count * sizeof *labels);
    }
    size_t schemes = 0, count = 0;
    for (size_t i = 0; i < t->count; i++) {
        schemes += is_point(&t->lines[i]) && is_first_of_scheme(t, i);
    }
    for (size_t i = 0; i < t->count; i++) {
        if (is_point(&t->lines[i]) && is_first_of_scheme(t, i) &&
            (schemes <= READABLE_LABELS || is_on_front(front, front_count, i))) {
            const struct qb_row *const r = t->lines[i].first;
            labels[count++] = (struct label){r->scheme, r->min, value_of(r), value_of(r)};
        }
    }
    spread(labels, count, span_of(t));
    for (size_t i = 0; i < count; i++) {
        fputs("set label \"", script);
        gnuplot_label(script, labels[i].text);
        fprintf(script, "\" at %.4f,%.4f left offset 0.8,0 font ',11'\n", labels[i].x, labels[i].at);
    }
    free(labels);
    return QB_OK;
}

/* What is drawn. */
struct picture {
    const struct table *table;
    const size_t *front; /* indices of the Pareto front's lines */
    size_t front_count;
};

static enum qb_status write_script(const void *ctx, FILE *script, struct qb_error *err)
{
    const struct picture *const p = ctx;
    const struct table *const t = p->table;
    const int synthetic = t->lines[0].first->synthetic;
    fputs("set terminal svg size 900,560 dynamic background rgb 'white' font 'sans-serif,13'\n"
          "set grid lc rgb '#dddddd'\nset key bottom right\nset logscale x 2\n"
          "set offsets graph 0.06, graph 0.2, graph 0.06, graph 0.06\n"
          "set xlabel 'least latency at batch 1, microseconds an image (log scale)'\n",
          script);
    fprintf(script, "set ylabel '%s'\n",
            synthetic ? "agreement with FP32, % (synthetic images)"
                      : "top-1 accuracy, % (Wilson 95 % interval)");
    write_series(t, script);
    QB_TRY(write_labels(t, p->front, p->front_count, script, err));
    fputs("$front << EOD\n", script);
    for (size_t i = 0; i < p->front_count; i++) {
        const struct qb_row *const r = t->lines[p->front[i]].first;
        fprintf(script, "%.4f %.4f\n", r->min, value_of(r));
    }
    fputs("EOD\nplot $front using 1:2 with steps lw 2 lc rgb '#2a7f62' title 'Pareto front'", script);
    static const char *const colours[] = {"#1f4e9c", "#c8553d", "#7b5ea7", "#8a6d1d", "#444444"};
    int colour = 0;
    for (size_t s = 0; s < t->count; s++) {
        if (is_point(&t->lines[s]) && series_of(t, s) == s) {
            fprintf(script,
                    ", \\\n  $series%zu using 1:2:3:4 with yerrorbars pt 7 ps 0.7 lc rgb '%s' title \"", s,
                    colours[colour++ % 5]);
            gnuplot_label(script, t->lines[s].first->engine);
            fputc('"', script);
        }
    }
    fputc('\n', script);
    return QB_OK;
}

enum qb_status view_svg(const struct table *table, FILE *out, struct qb_error *err)
{
    size_t *const front = calloc(table->count, sizeof *front);
    if (!front) {
        return qb_fail_memory(err, table->count * sizeof *front);
    }
    const struct picture picture = {table, front, table_pareto(table, front)};
    const enum qb_status status =
        picture.front_count
            ? gnuplot_draw(write_script, &picture, out, err)
            : qb_fail(err, QB_EINPUT, "no row has both accuracy and latency: there is nothing to plot");
    free(front);
    return status;
}
