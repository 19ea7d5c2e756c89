/* The main table as data: see table.h. */
#include "report/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/roof.h"
#include "measure/stats.h"
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
/* MACs count the products with padding (5 % of this network, 16 % of its last layers), which a kernel may
 * skip: only a share well above 1 proves that the probe ran at a lower clock than the measurement. */
static const double impossible_share = 1.1;

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

static int is_fp32(const struct table_line *line)
{
    return strcmp(line->first->scheme, "fp32") == 0;
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
        is_fp32(line) ? "baseline"
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
    line->cells[COL_STATUS] = r->status == QB_ROW_FAILED    ? "FAILED"
                              : r->status == QB_ROW_SKIPPED ? "SKIPPED"
                              : r->exact[0] == '~'          ? "ok ~"
                              : r->exact[0] == '='          ? "ok ="
                                                            : "ok";
}

static void note(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct table *t, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *const copy = qb_arena_strdup(t->arena, text);
    if (copy) {
        t->notes[t->note_count++] = copy;
    }
}

static void make_headline(struct table *t)
{
    const struct table_line *best = NULL;
    for (size_t i = 0; i < t->count && !best; i++) {
        const struct table_line *const l = &t->lines[i];
        if (has_latency(l) && !is_fp32(l) && !l->first->synthetic && l->p >= significance) {
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

/* The median share of images on which a scheme and FP32 are right and wrong in turn. */
static double discordance(const struct table *t)
{
    double *const rho = calloc(t->count + 1, sizeof *rho);
    size_t n = 0;
    for (size_t i = 0; rho && i < t->count; i++) {
        const struct qb_row *const r = t->lines[i].first;
        if (r->images > 0 && r->only_fp32 >= 0) {
            rho[n++] = (double)(r->only_fp32 + r->only_this) / (double)r->images;
        }
    }
    double median = NAN;
    if (n) {
        qb_sort_doubles(rho, n);
        median = qb_percentile_sorted(rho, n, 50);
    }
    free(rho);
    return median;
}

/* The first line of the table that was scored, else the first of all. */
static const struct qb_row *scored_row(const struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->lines[i].first->images > 0) {
            return t->lines[i].first;
        }
    }
    return t->lines[0].first;
}

/* Six sentences at most about each row, and some about all. */
static size_t max_notes(size_t rows)
{
    return 6 * rows + 9;
}

/* Names each group of schemes that came to one integer network. */
static void note_networks(struct table *t, const struct qb_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool first = *rows[i].qgraph_hash != 0;
        for (size_t j = 0; j < i && first; j++) {
            first = strcmp(rows[j].qgraph_hash, rows[i].qgraph_hash) != 0;
        }
        char names[512] = "";
        size_t used = 0;
        for (size_t j = i; j < count && first; j++) {
            bool new = strcmp(rows[j].qgraph_hash, rows[i].qgraph_hash) == 0;
            for (size_t k = i; k < j && new; k++) {
                new = strcmp(rows[k].scheme, rows[j].scheme) != 0;
            }
            if (new &&used + strlen(rows[j].scheme) + 4 < sizeof names) {
                used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? " = " : "",
                                         rows[j].scheme);
            }
        }
        if (strchr(names, '=')) {
            note(t, "Identical integer networks, shown in one line: %s.", names);
        }
    }
}

/* A line for every roof that the table's percentages refer to. */
static void note_roofs(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct qb_row *const x = t->lines[i].first;
        bool said = isnan(x->roof_gmacs);
        for (size_t j = 0; j < i && !said; j++) {
            const struct qb_row *const y = t->lines[j].first;
            said = !isnan(y->roof_gmacs) && strcmp(x->isa, y->isa) == 0 && x->threads == y->threads &&
                   is_fp32(&t->lines[i]) == is_fp32(&t->lines[j]);
        }
        if (!said) {
            note(t,
                 "Roof of %s, %d thread%s: %.0f %s GMAC/s, so this network takes at least %.1f us an image.",
                 x->isa, x->threads, x->threads == 1 ? "" : "s", x->roof_gmacs,
                 is_fp32(&t->lines[i]) ? "fp32" : "int8", qb_roof_bound_us(x->roof_gmacs, x->macs));
        }
    }
}

/* Each instruction set has a control of its own: the largest holds for the table. */
static void note_noise(struct table *t)
{
    double largest = NAN;
    for (size_t i = 0; i < t->count; i++) {
        largest = fmax(largest, t->lines[i].first->noise_floor); /* fmax(NAN, x) is x */
    }
    if (!isnan(largest)) {
        note(t, "Noise floor (one engine timed twice, interleaved): differences below %.1f %% mean nothing.",
             100 * largest);
    }
}

static void note_line(struct table *t, const struct table_line *line)
{
    const struct qb_row *const x = line->first;
    const char *const engine = line->cells[COL_ENGINE];
    if (x->exact[0] == '~') {
        note(t, "%s on %s: ~ %s; %lld of %lld predictions differ from the scheme's exact arithmetic.",
             x->scheme, engine,
             strcmp(x->isa, "avx2") == 0
                 ? "16-bit sums that saturate without VNNI, and the library's own rounding"
                 : "the library's own rounding",
             (long long)x->changed, (long long)x->images);
    }
    if (x->roof_share > impossible_share) {
        note(t,
             "%s on %s: %.0f %% of the roof is impossible; the roof probe was disturbed, do not trust this "
             "run's "
             "percentages.",
             x->scheme, engine, 100 * x->roof_share);
    }
    if (x->status != QB_ROW_OK) {
        note(t, "%s on %s: %s: %s", x->scheme, engine, x->status == QB_ROW_FAILED ? "FAILED" : "SKIPPED",
             x->message);
    }
}

static void make_notes(struct table *t, const struct qb_row *rows, size_t count)
{
    const struct qb_row *const r = scored_row(t);
    const double rho = discordance(t);
    char images[32] = "no";
    if (r->images > 0) {
        snprintf(images, sizeof images, "%lld", (long long)r->images);
    }
    note(t, "Model %s (%.2f million MACs, %lld KB of FP32 parameters); data %s, %s test images.", r->model,
         r->macs / 1e6, (long long)(r->fp32_bytes + 512) / 1024, r->data, images);
    note(t, "%s; %s; oneDNN %s; qbench %s.", r->cpu, r->compiler, r->onednn, r->version);
    if (r->synthetic) {
        note(t, "The images are SYNTHETIC: agreement with FP32 is meaningful, accuracy is not. `qbench fetch "
                "cifar10` brings "
                "the real ones.");
    } else if (!isnan(rho) && r->images > 0) {
        note(t,
             "%s images cannot separate schemes closer than %.2f points (80 %% power at the discordance "
             "seen, %.1f %%).",
             images, 100 * qb_minimum_detectable(rho, (uint64_t)r->images), 100 * rho);
    }
    note_networks(t, rows, count);
    const char *sets[2];
    table_sets_notes(t, sets);
    for (int i = 0; i < 2; i++) {
        if (sets[i]) {
            note(t, "%s", sets[i]);
        }
    }
    for (size_t i = 0; i < t->count; i++) {
        const char *const published = table_published_note(t, i);
        if (published) {
            note(t, "%s", published);
        }
    }
    const char *const other = table_published_warning(t);
    if (other) {
        note(t, "%s", other);
    }
    note_roofs(t);
    note_noise(t);
    for (size_t i = 0; i < t->count; i++) {
        note_line(t, &t->lines[i]);
    }
    note(t,
         "ok = : equal to the reference engine bit for bit. Latency: batch %d, min, median [p99] in us, "
         "sorted by min; img/s: "
         "median of batch %d. Speed-up: against the fastest FP32 under the same ISA cap and threads.",
         r->batch, t->lines[0].largest->batch);
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
    t.notes = t.lines ? qb_arena_array(t.arena, max_notes(count), sizeof *t.notes) : NULL;
    if (!t.notes) {
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
    if (status != QB_OK) {
        qb_arena_destroy(t.arena);
        return status;
    }
    make_headline(&t);
    make_notes(&t, rows, count);
    if (!t.headline) {
        qb_arena_destroy(t.arena);
        return qb_fail_memory(err, 256);
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
