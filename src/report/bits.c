/* Accuracy by bits: see bits.h. */
#include "report/bits.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "report/gnuplot.h"

/* Length of the scheme's name without the widths that the experiment gave it (qb_scheme_narrow), 0 when it
 * has none. */
static size_t base_length(const struct qb_row *r)
{
    char suffixes[3][16];
    snprintf(suffixes[0], sizeof suffixes[0], "_w%da%d", r->weight_bits, r->activation_bits);
    snprintf(suffixes[1], sizeof suffixes[1], "_w%d", r->weight_bits);
    snprintf(suffixes[2], sizeof suffixes[2], "_a%d", r->activation_bits);
    const size_t length = strlen(r->scheme);
    for (int i = 0; i < 3; i++) {
        const size_t tail = strlen(suffixes[i]);
        if (length > tail && strcmp(r->scheme + length - tail, suffixes[i]) == 0) {
            return length - tail;
        }
    }
    return 0;
}

static bool has_cell(const struct qb_row *r)
{
    return r->status == QB_ROW_OK && r->images > 0 && r->weight_bits >= 1 && r->weight_bits <= BITS_MOST &&
           r->activation_bits >= 1 && r->activation_bits <= BITS_MOST && base_length(r) > 0;
}

static double value_of(const struct qb_row *r)
{
    return 100.0 * (double)(r->synthetic ? r->agree : r->correct) / (double)r->images;
}

static struct bits_map *find(struct bits_maps *maps, const char *name, size_t length)
{
    for (size_t i = 0; i < maps->count; i++) {
        if (strncmp(maps->maps[i].scheme, name, length) == 0 && !maps->maps[i].scheme[length]) {
            return &maps->maps[i];
        }
    }
    return NULL;
}

static enum qb_status add(const struct qb_row *r, struct qb_arena *arena, struct bits_maps *maps,
                          struct qb_error *err)
{
    const size_t length = base_length(r);
    struct bits_map *map = find(maps, r->scheme, length);
    if (!map) {
        map = &maps->maps[maps->count++];
        map->scheme = qb_arena_printf(arena, "%.*s", (int)length, r->scheme);
        if (!map->scheme) {
            return qb_fail_memory(err, length);
        }
        map->synthetic = r->synthetic;
        for (int w = 0; w <= BITS_MOST; w++) {
            for (int a = 0; a <= BITS_MOST; a++) {
                map->value[w][a] = NAN;
            }
        }
    }
    double *const cell = &map->value[r->weight_bits][r->activation_bits];
    if (isnan(*cell)) {
        *cell = value_of(r);
    }
    return QB_OK;
}

static int cells(const struct bits_map *map)
{
    int n = 0;
    for (int w = 0; w <= BITS_MOST; w++) {
        for (int a = 0; a <= BITS_MOST; a++) {
            n += !isnan(map->value[w][a]);
        }
    }
    return n;
}

enum qb_status bits_maps_make(const struct qb_row *rows, size_t count, struct qb_arena *arena,
                              struct bits_maps *out, struct qb_error *err)
{
    struct bits_maps maps = {.fp32 = NAN};
    maps.maps = qb_arena_array(arena, count, sizeof *maps.maps);
    if (!maps.maps) {
        return qb_fail_memory(err, count * sizeof *maps.maps);
    }
    for (size_t i = 0; i < count; i++) {
        if (isnan(maps.fp32) && rows[i].images > 0 && rows[i].only_fp32 >= 0 && !rows[i].synthetic) {
            const int64_t right = rows[i].correct + rows[i].only_fp32 - rows[i].only_this;
            maps.fp32 = 100.0 * (double)right / (double)rows[i].images;
        }
        if (has_cell(&rows[i])) {
            QB_TRY(add(&rows[i], arena, &maps, err));
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < maps.count; i++) {
        if (cells(&maps.maps[i]) > 1) {
            maps.maps[kept++] = maps.maps[i];
        }
    }
    maps.count = kept;
    *out = maps;
    return QB_OK;
}

/* Widths that occur, most bits first; returns how many. */
static int widths(const struct bits_map *map, bool of_weights, int out[BITS_MOST])
{
    int n = 0;
    for (int x = BITS_MOST; x > 0; x--) {
        bool any = false;
        for (int y = 1; y <= BITS_MOST; y++) {
            any |= !isnan(of_weights ? map->value[x][y] : map->value[y][x]);
        }
        if (any) {
            out[n++] = x;
        }
    }
    return n;
}

static const char *what(const struct bits_map *map)
{
    return map->synthetic ? "agreement with FP32" : "top-1";
}

static void print(const struct bits_maps *maps, bool markdown, FILE *out)
{
    const char *const bar = markdown ? "| " : "", *const end = markdown ? " |\n" : "\n";
    for (size_t m = 0; m < maps->count; m++) {
        const struct bits_map *const map = &maps->maps[m];
        int w[BITS_MOST], a[BITS_MOST];
        const int rows = widths(map, true, w), columns = widths(map, false, a);
        fprintf(out, "\n%s: %s in %% by bits of weights (w) and activations (a)\n\n%s%-3s", map->scheme,
                what(map), bar, "");
        for (int j = 0; j < columns; j++) {
            fprintf(out, " %s%4sa%d", bar, "", a[j]);
        }
        fputs(end, out);
        for (int j = 0; markdown && j <= columns; j++) {
            fprintf(out, "|---%s", j < columns ? "" : "|\n");
        }
        for (int i = 0; i < rows; i++) {
            fprintf(out, "%sw%d ", bar, w[i]);
            for (int j = 0; j < columns; j++) {
                const double value = map->value[w[i]][a[j]];
                if (isnan(value)) {
                    fprintf(out, " %s%6s", bar, "-");
                } else {
                    fprintf(out, " %s%6.2f", bar, value);
                }
            }
            fputs(end, out);
        }
    }
}

void bits_print_text(const struct bits_maps *maps, FILE *out)
{
    print(maps, false, out);
}

void bits_print_markdown(const struct bits_maps *maps, FILE *out)
{
    print(maps, true, out);
}

/* ---- the picture ---- */

enum { PANEL = 380, COLOUR_SPAN = 20 };

/* The colour of the best is FP32's accuracy; COLOUR_SPAN points below it and everything lower is dark. */
static double best_of(const struct bits_maps *maps)
{
    double best = maps->fp32;
    for (size_t m = 0; m < maps->count; m++) {
        for (int w = 1; w <= BITS_MOST; w++) {
            for (int a = 1; a <= BITS_MOST; a++) {
                best = fmax(best, maps->maps[m].value[w][a]); /* fmax(x, NAN) is x */
            }
        }
    }
    return best;
}

static void write_panel(const struct bits_map *map, double best, size_t index, FILE *script)
{
    int w[BITS_MOST], a[BITS_MOST];
    const int rows = widths(map, true, w), columns = widths(map, false, a);
    fprintf(script, "$map%zu << EOD\n", index);
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
            const double value = map->value[w[i]][a[j]];
            if (!isnan(value)) {
                fprintf(script, "%d %d %.4f\n", j, i, value);
            }
        }
    }
    fprintf(script, "EOD\nset xrange [-0.5:%d.5]\nset yrange [%d.5:-0.5]\nset xtics (", columns - 1,
            rows - 1);
    for (int j = 0; j < columns; j++) {
        fprintf(script, "%s'%d' %d", j ? ", " : "", a[j], j);
    }
    fputs(")\nset ytics (", script);
    for (int i = 0; i < rows; i++) {
        fprintf(script, "%s'%d' %d", i ? ", " : "", w[i], i);
    }
    fputs(")\nset title \"", script);
    gnuplot_label(script, map->scheme);
    fprintf(script, "\"\ndark(v) = v < %.4f\n", best - 0.75 * COLOUR_SPAN);
    fprintf(
        script,
        "plot $map%zu using 1:2:(0.5):(0.5):3 with boxxyerror fs solid noborder lc palette notitle, \\\n"
        "  $map%zu using 1:2:(dark($3) ? '' : sprintf('%%.1f', $3)) with labels font ',11' tc rgb '#222222' "
        "notitle, \\\n"
        "  $map%zu using 1:2:(dark($3) ? sprintf('%%.1f', $3) : '') with labels font ',11' tc rgb 'white' "
        "notitle\n",
        index, index, index);
}

static enum qb_status write_script(const void *ctx, FILE *script, struct qb_error *err)
{
    (void)err;
    const struct bits_maps *const maps = ctx;
    const int columns = maps->count < 2 ? 1 : maps->count == 3 ? 3 : 2;
    const int rows = ((int)maps->count + columns - 1) / columns;
    const double best = best_of(maps);
    fprintf(script, "set terminal svg size %d,%d dynamic background rgb 'white' font 'sans-serif,13'\n",
            PANEL * columns, PANEL * rows + 40);
    fputs("set palette defined (0 '#3b1c32', 0.5 '#c8553d', 0.8 '#f2c57c', 0.95 '#bcd8b0', 1 '#2a7f62')\n",
          script);
    fprintf(script, "set cbrange [%.4f:%.4f]\nunset colorbox\nunset key\nset tics out nomirror scale 0\n",
            best - COLOUR_SPAN, best);
    fputs("set xlabel 'activation bits'\nset ylabel 'weight bits'\nset multiplot layout ", script);
    fprintf(script, "%d,%d title \"%s in %% by bits", rows, columns, what(&maps->maps[0]));
    if (!isnan(maps->fp32)) {
        fprintf(script, " (FP32: %.2f)", maps->fp32);
    }
    fputs("\"\n", script);
    for (size_t m = 0; m < maps->count; m++) {
        write_panel(&maps->maps[m], best, m, script);
    }
    fputs("unset multiplot\n", script);
    return QB_OK;
}

enum qb_status bits_draw(const struct bits_maps *maps, FILE *out, struct qb_error *err)
{
    return maps->count
               ? gnuplot_draw(write_script, maps, out, err)
               : qb_fail(err, QB_EINPUT,
                         "no scheme was measured with several bit widths (`bits` of an experiment): there is "
                         "no map");
}
