/* Calibration uncertainty in the table: see sets.h. */
#include "report/sets.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "measure/stats.h"

enum { MAX_SETS = 256 };

static bool has_sets(const struct table_line *line)
{
    return line->first->calibration_sets > 1 && !line->first->synthetic &&
           !isnan(line->first->calibration_mean);
}

/* Right answers of each set; how many there are. */
static size_t parse(const struct qb_row *row, double correct[MAX_SETS])
{
    const char *text = row->set_correct;
    size_t n = 0;
    for (char *end; n < MAX_SETS; text = end, n++) {
        correct[n] = strtod(text, &end);
        if (end == text) {
            break;
        }
    }
    return n;
}

static const struct table_line *find_best(const struct table *t)
{
    const struct table_line *best = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct table_line *const l = &t->lines[i];
        if (has_sets(l) && (!best || l->first->calibration_mean > best->first->calibration_mean)) {
            best = l;
        }
    }
    return best;
}

/* Uncorrected p against the best over the sets that both have; NAN where there is nothing to compare. */
static double compare(const struct qb_row *row, const struct qb_row *best)
{
    double a[MAX_SETS], b[MAX_SETS];
    const size_t m = parse(row, a), n = parse(best, b), both = m < n ? m : n;
    if (both < 2) {
        return NAN;
    }
    for (size_t k = 0; k < both; k++) {
        a[k] -= b[k];
    }
    return qb_paired_t(a, both);
}

/* Lines with the same counts are one hypothesis. */
static enum qb_status correct_p(struct table *t, const struct table_line *best, struct qb_error *err)
{
    double *const p = calloc(t->count, sizeof *p);
    if (!p) {
        return qb_fail_memory(err, t->count * sizeof *p);
    }
    for (size_t i = 0; i < t->count; i++) {
        const struct qb_row *const r = t->lines[i].first;
        p[i] = NAN;
        bool first = has_sets(&t->lines[i]) && strcmp(r->set_correct, best->first->set_correct) != 0;
        for (size_t j = 0; j < i && first; j++) {
            first = strcmp(t->lines[j].first->set_correct, r->set_correct) != 0;
        }
        if (first) {
            p[i] = compare(r, best->first);
        }
    }
    qb_holm(p, t->count);
    for (size_t i = 0; i < t->count; i++) {
        t->lines[i].sets_p = NAN;
        for (size_t j = 0; j <= i && has_sets(&t->lines[i]); j++) {
            if (strcmp(t->lines[j].first->set_correct, t->lines[i].first->set_correct) == 0) {
                t->lines[i].sets_p = p[j];
                break;
            }
        }
    }
    free(p);
    return QB_OK;
}

enum qb_status table_fill_sets(struct table *t, struct qb_error *err)
{
    for (size_t i = 0; i < t->count; i++) {
        t->lines[i].cells[COL_SETS] = t->lines[i].cells[COL_VS_BEST] = "-";
        t->lines[i].sets_p = NAN;
    }
    const struct table_line *const best = find_best(t);
    t->hidden[COL_SETS] = t->hidden[COL_VS_BEST] = best == NULL;
    if (!best) {
        return QB_OK;
    }
    QB_TRY(correct_p(t, best, err));
    for (size_t i = 0; i < t->count; i++) {
        struct table_line *const l = &t->lines[i];
        if (!has_sets(l)) {
            continue;
        }
        l->cells[COL_SETS] = qb_arena_printf(t->arena, "%.2f, SD %.2f", 100 * l->first->calibration_mean,
                                             100 * l->first->calibration_sd);
        const double behind = 100 * (l->first->calibration_mean - best->first->calibration_mean);
        l->cells[COL_VS_BEST] =
            isnan(l->sets_p)
                ? "best"
                : qb_arena_printf(t->arena, l->sets_p < 0.001 ? "%+.2f (<0.001)" : "%+.2f (%.3f)", behind,
                                  l->sets_p);
    }
    return QB_OK;
}

void table_sets_notes(const struct table *t, const char *notes[2])
{
    notes[0] = notes[1] = NULL;
    const struct table_line *const best = find_best(t);
    if (!best) {
        return;
    }
    notes[0] = qb_arena_printf(t->arena,
                               "Calibration sets: the scheme's exact arithmetic on %d other draws of "
                               "calibration images each (the first is "
                               "that of top-1), mean and standard deviation over the draws, in points; the "
                               "interval beside top-1 is about "
                               "the test images.",
                               best->first->calibration_sets);
    char names[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct table_line *const l = &t->lines[i];
        bool lucky = l->sets_p >= 0.05; /* false for NAN */
        for (size_t j = 0; j < i && lucky; j++) {
            lucky = strcmp(t->lines[j].first->scheme, l->first->scheme) != 0;
        }
        if (lucky && used + strlen(l->first->scheme) + 3 < sizeof names) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                                     l->first->scheme);
        }
    }
    notes[1] =
        *names
            ? qb_arena_printf(t->arena,
                              "Over the same calibration sets %s is best; that it is ahead of %s may be luck "
                              "of the draw (paired t-test, Holm, 5 %%).",
                              best->first->scheme, names)
            : qb_arena_printf(t->arena,
                              "Over the same calibration sets %s is best, ahead of every other scheme by "
                              "more than luck of the draw (paired t-test, Holm, 5 %%).",
                              best->first->scheme);
}
