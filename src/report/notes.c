/* The sentences below the main table: see notes.h. */
#include "report/notes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/roof.h"
#include "measure/stats.h"
#include "report/published.h"
#include "report/sets.h"

/* MACs count the products with padding (5 % of this network, 16 % of its last layers), which a kernel may
 * skip: only a share well above 1 proves that the probe ran at a lower clock than the measurement. */
static const double impossible_share = 1.1;

/* Six sentences at most about each row, and some about all. */
static size_t max_notes(size_t rows)
{
    return 6 * rows + 9;
}

/* `text` is in the arena; NULL, for want of memory, is found at the end. */
static void note(struct table *t, const char *text)
{
    t->notes[t->note_count++] = text;
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
            note(t, qb_arena_printf(t->arena, "Identical integer networks, shown in one line: %s.", names));
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
                   table_line_is_fp32(&t->lines[i]) == table_line_is_fp32(&t->lines[j]);
        }
        if (!said) {
            note(t, qb_arena_printf(t->arena,
                                    "Roof of %s, %d thread%s: %.0f %s GMAC/s, so this network takes at least "
                                    "%.1f us an image.",
                                    x->isa, x->threads, x->threads == 1 ? "" : "s", x->roof_gmacs,
                                    table_line_is_fp32(&t->lines[i]) ? "fp32" : "int8",
                                    qb_roof_bound_us(x->roof_gmacs, x->macs)));
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
        note(t,
             qb_arena_printf(
                 t->arena,
                 "Noise floor (one engine timed twice, interleaved): differences below %.1f %% mean nothing.",
                 100 * largest));
    }
}

/* Why an engine's results are not the scheme's own. */
static const char *reason(const struct qb_row *row)
{
    return strcmp(row->isa, "avx2") == 0
               ? "16-bit sums that saturate without VNNI, and the library's own rounding"
               : "the library's own rounding";
}

static bool is_approximate(const struct table_line *line)
{
    return line->first->exact[0] == '~';
}

/* One sentence an engine, with its schemes. */
static void note_approximate(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const char *const engine = t->lines[i].cells[COL_ENGINE], *schemes = "";
        bool said = !is_approximate(&t->lines[i]);
        for (size_t j = 0; j < i && !said; j++) {
            said = is_approximate(&t->lines[j]) && strcmp(t->lines[j].cells[COL_ENGINE], engine) == 0;
        }
        for (size_t j = i; j < t->count && !said && schemes; j++) {
            const struct qb_row *const r = t->lines[j].first;
            if (is_approximate(&t->lines[j]) && strcmp(t->lines[j].cells[COL_ENGINE], engine) == 0) {
                schemes = qb_arena_printf(t->arena, "%s%s%lld of %s", schemes, *schemes ? ", " : "",
                                          (long long)r->changed, r->scheme);
            }
        }
        if (!said) {
            const struct qb_row *const r = t->lines[i].first;
            note(t, schemes ? qb_arena_printf(t->arena,
                                              "%s: ~ %s; of %lld predictions these differ from the scheme's "
                                              "exact arithmetic: %s.",
                                              engine, reason(r), (long long)r->images, schemes)
                            : NULL);
        }
    }
}

static bool same_failure(const struct qb_row *a, const struct qb_row *b)
{
    return a->status == b->status && strcmp(a->message, b->message) == 0;
}

/* One sentence a reason, with the combinations that it keeps from being measured. */
static void note_failures(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct qb_row *const x = t->lines[i].first;
        const char *names = "";
        bool said = x->status == QB_ROW_OK;
        for (size_t j = 0; j < i && !said; j++) {
            said = same_failure(t->lines[j].first, x);
        }
        for (size_t j = i; j < t->count && !said && names; j++) {
            if (same_failure(t->lines[j].first, x)) {
                names = qb_arena_printf(t->arena, "%s%s%s on %s", names, *names ? ", " : "",
                                        t->lines[j].first->scheme, t->lines[j].cells[COL_ENGINE]);
            }
        }
        if (!said) {
            note(t, names ? qb_arena_printf(t->arena, "%s: %s: %s", names, qb_row_status_name(x->status),
                                            x->message)
                          : NULL);
        }
    }
}

static void note_impossible(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct qb_row *const x = t->lines[i].first;
        if (x->roof_share > impossible_share) {
            note(t, qb_arena_printf(
                        t->arena,
                        "%s on %s: %.0f %% of the roof is impossible; the roof probe was disturbed, do "
                        "not trust this run's percentages.",
                        x->scheme, t->lines[i].cells[COL_ENGINE], 100 * x->roof_share));
        }
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
    note(t,
         qb_arena_printf(t->arena,
                         "Model %s (%.2f million MACs, %lld KB of FP32 parameters); data %s, %s test images.",
                         r->model, r->macs / 1e6, (long long)(r->fp32_bytes + 512) / 1024, r->data, images));
    note(t, qb_arena_printf(t->arena, "%s; %s; oneDNN %s; qbench %s.", r->cpu, r->compiler, r->onednn,
                            r->version));
    if (r->synthetic) {
        note(
            t,
            qb_arena_printf(
                t->arena,
                "The images are SYNTHETIC: agreement with FP32 is meaningful, accuracy is not. `qbench fetch "
                "cifar10` brings "
                "the real ones."));
    } else if (!isnan(rho) && r->images > 0) {
        note(t,
             qb_arena_printf(
                 t->arena,
                 "%s images cannot separate schemes closer than %.2f points (80 %% power at the discordance "
                 "seen, %.1f %%).",
                 images, 100 * qb_minimum_detectable(rho, (uint64_t)r->images), 100 * rho));
    }
    note_networks(t, rows, count);
    const char *sets[2];
    table_sets_notes(t, sets);
    for (int i = 0; i < 2; i++) {
        if (sets[i]) {
            note(t, sets[i]);
        }
    }
    for (size_t i = 0; i < t->count; i++) {
        const char *const published = table_published_note(t, i);
        if (published) {
            note(t, published);
        }
    }
    const char *const other = table_published_warning(t);
    if (other) {
        note(t, other);
    }
    note_roofs(t);
    note_noise(t);
    note_approximate(t);
    note_impossible(t);
    note_failures(t);
    note(t,
         qb_arena_printf(
             t->arena,
             "ok = : equal to the reference engine bit for bit. Latency: batch %d, min, median [p99] in us, "
             "sorted by min; img/s: "
             "median of batch %d. Speed-up: against the fastest FP32 under the same ISA cap and threads.",
             r->batch, t->lines[0].largest->batch));
}

enum qb_status table_make_notes(struct table *t, const struct qb_row *rows, size_t count,
                                struct qb_error *err)
{
    t->notes = qb_arena_array(t->arena, max_notes(count), sizeof *t->notes);
    if (!t->notes) {
        return qb_fail_memory(err, max_notes(count) * sizeof *t->notes);
    }
    make_notes(t, rows, count);
    for (size_t i = 0; i < t->note_count; i++) {
        if (!t->notes[i]) {
            return qb_fail_memory(err, 1024);
        }
    }
    return QB_OK;
}
