/* The main table as data: see table.h. */
#include "report/table.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/stats.h"
#include "report/notes.h"
#include "report/published.h"
#include "report/sets.h"

const char *const table_titles[COLUMNS] = {
    "scheme",
    "weights",
    "activations",
    "observer",
    "top-1 % [95 %]",
    "published %",
    "vs FP32 (p)",
    "calibration sets: mean, SD",
    "vs best (p)",
    "agree %",
    "KB (smaller)",
    "engine isa",
    "us/img min, median [p99]",
    "img/s",
    "% of roof",
    "speed-up",
    "hash",
    "status",
};

static const double significance = 0.05;

static int same_combination(const struct qb_row *a, const struct qb_row *b)
{
    return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->engine, b->engine) == 0 &&
           strcmp(a->isa, b->isa) == 0 && a->threads == b->threads &&
           strcmp(a->model_sha256, b->model_sha256) == 0 && strcmp(a->machine, b->machine) == 0;
}

static size_t merge(const struct qb_row *rows, size_t count, struct table_line *lines)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < n && !same_combination(lines[j].first, &rows[i])) {
            j++;
        }
        if (j == n) {
            lines[n++] = (struct table_line){.first = &rows[i], .largest = &rows[i], .p = NAN};
            continue;
        }
        if (rows[i].batch < lines[j].first->batch) {
            lines[j].first = &rows[i];
        }
        if (rows[i].batch > lines[j].largest->batch) {
            lines[j].largest = &rows[i];
        }
    }
    return n;
}

/* Two schemes that came to one integer network on one engine, on every calibration set. */
static int same_network(const struct qb_row *a, const struct qb_row *b)
{
    return a->status == QB_ROW_OK && b->status == QB_ROW_OK && *a->qgraph_hash &&
           strcmp(a->qgraph_hash, b->qgraph_hash) == 0 && strcmp(a->engine, b->engine) == 0 &&
           strcmp(a->isa, b->isa) == 0 && a->threads == b->threads &&
           strcmp(a->model_sha256, b->model_sha256) == 0 && strcmp(a->machine, b->machine) == 0 &&
           strcmp(a->set_correct, b->set_correct) == 0;
}

/* One line a network: the first scheme stays, the others are counted. */
static size_t collapse(struct table_line *lines, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < n && !same_network(lines[j].first, lines[i].first)) {
            j++;
        }
        if (j == n) {
            lines[n++] = lines[i];
        } else {
            lines[j].twins++;
        }
    }
    return n;
}

static int has_latency(const struct table_line *line)
{
    return line->first->status == QB_ROW_OK && !isnan(line->first->median);
}

static int by_latency(const void *a, const void *b)
{
    const struct table_line *const x = a, *const y = b;
    const int fx = has_latency(x), fy = has_latency(y);
    if (fx != fy) {
        return fy - fx;
    }
    if (fx && x->first->min != y->first->min) {
        return x->first->min < y->first->min ? -1 : 1;
    }
    return x->first < y->first ? -1 : x->first > y->first;
}

/* One test a distinct result: two engines that give the same logits are not two hypotheses. */
static enum qb_status correct_p(struct table *t, struct qb_error *err)
{
    double *const p = calloc(t->count + 1, sizeof *p);
    size_t *const owner = calloc(t->count + 1, sizeof *owner);
    if (!p || !owner) {
        free(p);
        free(owner);
        return qb_fail_memory(err, t->count * sizeof *p);
    }
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct qb_row *const row = t->lines[i].first;
        owner[i] = SIZE_MAX;
        if (isnan(row->p)) {
            continue;
        }
        for (size_t j = 0; j < i && owner[i] == SIZE_MAX; j++) {
            if (owner[j] != SIZE_MAX && strcmp(t->lines[j].first->logits_hash, row->logits_hash) == 0) {
                owner[i] = owner[j];
            }
        }
        if (owner[i] == SIZE_MAX) {
            owner[i] = n;
            p[n++] = row->p;
        }
    }
    qb_holm(p, n);
    for (size_t i = 0; i < t->count; i++) {
        t->lines[i].p = owner[i] == SIZE_MAX ? (double)NAN : p[owner[i]];
    }
    free(owner);
    free(p);
    return QB_OK;
}

static const char *number(struct table *t, double value, int digits, const char *unit)
{
    return isnan(value) ? "-" : qb_arena_printf(t->arena, "%.*f%s", digits, value, unit);
}

static double points(int64_t part, int64_t whole)
{
    return 100.0 * (double)part / (double)whole;
}

static void format_accuracy(struct table *t, struct table_line *line)
{
    const struct qb_row *const r = line->first;
    if (r->images <= 0) {
        line->cells[COL_TOP1] = line->cells[COL_VS_FP32] = line->cells[COL_AGREE] = "-";
        return;
    }
    line->cells[COL_AGREE] = qb_arena_printf(t->arena, "%.2f", points(r->agree, r->images));
    if (r->synthetic) {
        line->cells[COL_TOP1] = "synthetic data";
        line->cells[COL_VS_FP32] = "-";
        return;
    }
    line->cells[COL_TOP1] = qb_arena_printf(t->arena, "%.2f [%.2f, %.2f]", 100 * r->accuracy,
                                            100 * r->wilson_low, 100 * r->wilson_high);
    line->cells[COL_VS_FP32] =
        table_line_is_fp32(line)
            ? "baseline"
            : qb_arena_printf(t->arena, line->p < 0.001 ? "%+.2f (<0.001)" : "%+.2f (%.3f)",
                              points(r->only_this - r->only_fp32, r->images), line->p);
}

static void format_line(struct table *t, struct table_line *line)
{
    const struct qb_row *const r = line->first;
    line->cells[COL_SCHEME] =
        line->twins ? qb_arena_printf(t->arena, "%s (+%zu)", r->scheme, line->twins) : r->scheme;
    line->cells[COL_WEIGHTS] = r->weights;
    line->cells[COL_ACTIVATIONS] = r->activations;
    line->cells[COL_OBSERVER] = r->observer;
    format_accuracy(t, line);
    line->cells[COL_ENGINE] =
        r->threads == 1 ? qb_arena_printf(t->arena, "%s %s", r->engine, r->isa)
                        : qb_arena_printf(t->arena, "%s %s, %d threads", r->engine, r->isa, r->threads);
    line->cells[COL_SIZE] =
        r->bytes > 0 ? qb_arena_printf(t->arena, "%lld (%.1fx)", (long long)(r->bytes + 512) / 1024,
                                       (double)r->fp32_bytes / (double)r->bytes)
                     : "-";
    line->cells[COL_LATENCY] =
        has_latency(line) ? qb_arena_printf(t->arena, "%.1f, %.1f [%.1f]", r->min, r->median, r->p99) : "-";
    line->cells[COL_RATE] = number(t, line->largest->images_per_s, 0, "");
    line->cells[COL_ROOF] = number(t, 100 * r->roof_share, 0, "");
    line->cells[COL_SPEEDUP] = number(t, r->speedup, 2, "x");
    line->cells[COL_HASH] = qb_arena_printf(t->arena, "%.8s", r->logits_hash[0] ? r->logits_hash : "-");
    line->cells[COL_STATUS] = r->status != QB_ROW_OK ? qb_row_status_name(r->status)
                              : r->exact[0] == '~'   ? "ok ~"
                              : r->exact[0] == '='   ? "ok ="
                                                     : "ok";
}

static void make_headline(struct table *t)
{
    const struct table_line *best = NULL;
    for (size_t i = 0; i < t->count && !best; i++) {
        const struct table_line *const l = &t->lines[i];
        if (has_latency(l) && !table_line_is_fp32(l) && !l->first->synthetic && l->p >= significance) {
            best = l;
        }
    }
    const struct qb_row *const any = t->count ? t->lines[0].first : NULL;
    if (best) {
        t->headline = qb_arena_printf(
            t->arena,
            "Fastest scheme not distinguishable from FP32: %s on %s, %.1f us an image at batch %d (%.2f %%, "
            "p = %.3f after Holm's correction).",
            best->first->scheme, best->cells[COL_ENGINE], best->first->min, best->first->batch,
            100 * best->first->accuracy, best->p);
    } else if (any && any->synthetic) {
        t->headline = "Synthetic images: accuracy is unknown, no scheme is recommended.";
    } else {
        t->headline = "No timed scheme is indistinguishable from FP32 at the 5 % level.";
    }
}

static enum qb_status format_lines(struct table *t, struct qb_error *err)
{
    for (size_t i = 0; i < t->count; i++) {
        format_line(t, &t->lines[i]);
        for (int c = 0; c < COLUMNS; c++) {
            if (!t->lines[i].cells[c]) {
                return qb_fail_memory(err, 64);
            }
        }
    }
    return QB_OK;
}

enum qb_status table_build(const struct qb_row *rows, size_t count, struct table *out, struct qb_error *err)
{
    if (!count) {
        return qb_fail(err, QB_EINPUT, "there are no rows to show");
    }
    struct table t = {.arena = qb_arena_create()};
    t.lines = t.arena ? qb_arena_array(t.arena, count, sizeof *t.lines) : NULL;
    if (!t.lines) {
        qb_arena_destroy(t.arena);
        return qb_fail_memory(err, count * sizeof *t.lines);
    }
    t.count = collapse(t.lines, merge(rows, count, t.lines));
    qsort(t.lines, t.count, sizeof *t.lines, by_latency);
    enum qb_status status = correct_p(&t, err);
    if (status == QB_OK) {
        status = table_fill_sets(&t, err);
    }
    table_fill_published(&t);
    if (status == QB_OK) {
        status = format_lines(&t, err);
    }
    if (status == QB_OK) {
        status = bits_maps_make(rows, count, t.arena, &t.bits, err);
    }
    if (status == QB_OK) {
        status = table_make_notes(&t, rows, count, err);
    }
    if (status == QB_OK) {
        make_headline(&t);
        status = t.headline ? QB_OK : qb_fail_memory(err, 256);
    }
    if (status != QB_OK) {
        qb_arena_destroy(t.arena);
        return status;
    }
    *out = t;
    return QB_OK;
}

void table_free(struct table *table)
{
    qb_arena_destroy(table->arena);
    *table = (struct table){0};
}

size_t table_pareto(const struct table *table, size_t *indices)
{
    size_t n = 0;
    double best = -1;
    /* The lines are sorted by latency: whoever is better than all faster ones is on the front. */
    for (size_t i = 0; i < table->count; i++) {
        const struct table_line *const l = &table->lines[i];
        const double value = l->first->synthetic ? (double)l->first->agree : l->first->accuracy;
        if (has_latency(l) && value > best) {
            indices[n++] = i;
            best = value;
        }
    }
    return n;
}
