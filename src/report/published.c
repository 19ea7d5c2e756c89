/* Published figures in the table: see published.h. */
#include "report/published.h"

#include <math.h>
#include <string.h>

static bool has_figure(const struct table_line *line)
{
    return !isnan(line->first->published) && line->first->published_source[0];
}

void table_fill_published(struct table *t)
{
    t->hidden[COL_PUBLISHED] = true;
    for (size_t i = 0; i < t->count; i++) {
        struct table_line *const l = &t->lines[i];
        l->cells[COL_PUBLISHED] = "-";
        if (has_figure(l)) {
            l->cells[COL_PUBLISHED] = qb_arena_printf(t->arena, "%.2f", 100 * l->first->published);
            t->hidden[COL_PUBLISHED] = false;
        }
    }
}

const char *table_published_note(const struct table *t, size_t i)
{
    const struct qb_row *const r = t->lines[i].first;
    if (!has_figure(&t->lines[i]) || r->images <= 0 || r->synthetic) {
        return NULL;
    }
    for (size_t j = 0; j < i; j++) {
        if (strcmp(t->lines[j].first->scheme, r->scheme) == 0) {
            return NULL;
        }
    }
    return qb_arena_printf(t->arena, "Published for %s: %.2f %% (%s); here %.2f %%.%s%s", r->scheme,
                           100 * r->published, r->published_source, 100 * r->accuracy,
                           *r->published_why ? " " : "", r->published_why);
}

const char *table_published_warning(const struct table *t)
{
    bool any = false;
    for (size_t i = 0; i < t->count; i++) {
        any |= has_figure(&t->lines[i]);
    }
    for (size_t i = 0; any && i < t->count; i++) {
        const struct qb_row *const r = t->lines[i].first;
        /* Figures have two decimals; of fewer images than all they cannot be met. */
        if (strcmp(r->scheme, "fp32") == 0 && has_figure(&t->lines[i]) && r->images > 0 && !r->synthetic &&
            fabs(r->accuracy - r->published) > 0.5e-4) {
            return qb_arena_printf(
                t->arena,
                "FP32 has %.2f %% here and %.2f %% where the figures were published: another network "
                "or other images, so that they cannot be compared.",
                100 * r->accuracy, 100 * r->published);
        }
    }
    return NULL;
}
