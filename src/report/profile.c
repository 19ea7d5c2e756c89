/* Time by layer as text and as JSON: see profile.h. */
#include "report/profile.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "measure/roof.h"

int qb_profile_home(const struct qb_profile_node *nodes, int count, const struct qb_profile *profile,
                    int node)
{
    /* A fused node has one reader, and comes before it. */
    for (int i = node; i < count; i++) {
        if (i != node && nodes[i].src[0] != node && nodes[i].src[1] != node) {
            continue;
        }
        if (!isnan(profile->layers[i].least)) {
            return i;
        }
        node = i;
    }
    return -1;
}

/* MACs of a node and of all that was fused into it. */
static double home_macs(const struct qb_profile_node *nodes, int count, const struct qb_profile *p, int node)
{
    double macs = 0;
    for (int i = 0; i < count; i++) {
        macs += qb_profile_home(nodes, count, p, i) == node ? (double)nodes[i].macs : 0;
    }
    return macs;
}

static double sum_of(const struct qb_profile *p, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += isnan(p->layers[i].least) ? 0 : p->layers[i].least;
    }
    return sum;
}

static double total_macs(const struct qb_profile_node *nodes, int count)
{
    double macs = 0;
    for (int i = 0; i < count; i++) {
        macs += (double)nodes[i].macs;
    }
    return macs;
}

/* NAN without a roof or without MACs. */
static double roof_percent(const struct qb_profile_column *c, double macs, double us)
{
    return macs > 0 ? 100 * qb_roof_share(c->roof_gmacs, macs, us) : (double)NAN;
}

static void print_percent(FILE *out, double value)
{
    if (isnan(value)) {
        fprintf(out, " %5s", "-");
    } else {
        fprintf(out, " %5.0f", value);
    }
}

static void print_cells(const struct qb_profile_node *nodes, int count, const struct qb_profile_column *c,
                        int node, FILE *out)
{
    const struct qb_profile *const p = c->profile;
    const int home = qb_profile_home(nodes, count, p, node);
    if (home != node) {
        char text[64] = "-";
        if (home >= 0) {
            snprintf(text, sizeof text, "in %.20s", nodes[home].name);
        }
        fprintf(out, "  %21s", text);
        return;
    }
    const double us = p->layers[node].least;
    fprintf(out, "  %9.2f %5.1f", us, 100 * us / sum_of(p, count));
    print_percent(out, roof_percent(c, home_macs(nodes, count, p, node), us));
}

/* The same work in both: the same nodes were fused into it. */
static int is_comparable(const struct qb_profile_node *nodes, int count, const struct qb_profile *a,
                         const struct qb_profile *b, int node)
{
    for (int i = 0; i < count; i++) {
        if ((qb_profile_home(nodes, count, a, i) == node) != (qb_profile_home(nodes, count, b, i) == node)) {
            return 0;
        }
    }
    return qb_profile_home(nodes, count, a, node) == node;
}

static void print_ratios(const struct qb_profile_node *nodes, int count, const struct qb_profile_column *c,
                         int columns, int node, FILE *out)
{
    for (int k = 1; k < columns; k++) {
        if (is_comparable(nodes, count, c[0].profile, c[k].profile, node) &&
            c[0].profile->layers[node].least > 0) {
            fprintf(out, " %8.2fx", c[k].profile->layers[node].least / c[0].profile->layers[node].least);
        } else {
            fprintf(out, " %9s", "-");
        }
    }
    fputc('\n', out);
}

static void print_head(const struct qb_profile_column *columns, int column_count, FILE *out)
{
    fprintf(out, "%-12s %-9s %-10s %8s", "", "", "", "");
    for (int k = 0; k < column_count; k++) {
        char title[64];
        snprintf(title, sizeof title, "%.12s %s", columns[k].engine, columns[k].isa);
        fprintf(out, "  %21s", title);
    }
    fprintf(out, "\n%-12s %-9s %-10s %8s", "layer", "op", "dst", "MMAC");
    for (int k = 0; k < column_count; k++) {
        fprintf(out, "  %9s %5s %5s", "least us", "% sum", "%roof");
    }
    for (int k = 1; k < column_count; k++) {
        fprintf(out, " %9s", "ratio");
    }
    fputc('\n', out);
}

static void print_totals(const struct qb_profile_node *nodes, int count,
                         const struct qb_profile_column *columns, int column_count, FILE *out)
{
    const double macs = total_macs(nodes, count);
    fprintf(out, "%-12s %-9s %-10s %8.3f", "sum", "", "", macs / 1e6);
    for (int k = 0; k < column_count; k++) {
        fprintf(out, "  %9.2f %5s", sum_of(columns[k].profile, count), "100");
        print_percent(out, roof_percent(&columns[k], macs, sum_of(columns[k].profile, count)));
    }
    for (int k = 1; k < column_count; k++) {
        fprintf(out, " %8.2fx", sum_of(columns[k].profile, count) / sum_of(columns[0].profile, count));
    }
    fprintf(out, "\n%-12s %-9s %-10s %8s", "whole run", "", "", "");
    for (int k = 0; k < column_count; k++) {
        fprintf(out, "  %9.2f %5s", columns[k].profile->whole.least, "");
        print_percent(out, roof_percent(&columns[k], macs, columns[k].profile->whole.least));
    }
    for (int k = 1; k < column_count; k++) {
        fprintf(out, " %8.2fx", columns[k].profile->whole.least / columns[0].profile->whole.least);
    }
    fputs("\n\n", out);
    for (int k = 0; k < column_count; k++) {
        if (isnan(columns[k].roof_gmacs)) {
            fprintf(out, "* %s: %s\n", columns[k].engine, columns[k].implementation);
        } else {
            fprintf(out, "* %s: roof %.0f GMAC/s, the network takes at least %.1f us; %s\n",
                    columns[k].engine, columns[k].roof_gmacs, qb_roof_bound_us(columns[k].roof_gmacs, macs),
                    columns[k].implementation);
        }
    }
    fprintf(out,
            "* Least of %zu rounds, the engines in turn; the whole run has no clock in it. %%roof counts "
            "products with padding, which a kernel may skip. ratio: times faster the first engine is, where "
            "both do the same work.\n",
            columns[0].profile->rounds);
}

static void print_text(const struct qb_profile_node *nodes, int count,
                       const struct qb_profile_column *columns, int column_count, FILE *out)
{
    print_head(columns, column_count, out);
    for (int i = 0; i < count; i++) {
        char shape[40];
        snprintf(shape, sizeof shape, "%dx%dx%d", nodes[i].dst.h, nodes[i].dst.w, nodes[i].dst.c);
        fprintf(out, "%-12s %-9s %-10s %8.3f", nodes[i].name, nodes[i].op, shape,
                (double)nodes[i].macs / 1e6);
        for (int k = 0; k < column_count; k++) {
            print_cells(nodes, count, &columns[k], i, out);
        }
        print_ratios(nodes, count, columns, column_count, i, out);
    }
    print_totals(nodes, count, columns, column_count, out);
}

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *layer_json(const struct qb_profile_node *nodes, int count, const struct qb_profile_column *c,
                          int node)
{
    const struct qb_profile *const p = c->profile;
    const int home = qb_profile_home(nodes, count, p, node);
    const double us = p->layers[node].least, macs = home_macs(nodes, count, p, node);
    return json_pack("{s:s,s:s,s:[i,i,i],s:I,s:s?,s:o,s:o,s:o}", "name", nodes[node].name, "op",
                     nodes[node].op, "shape", nodes[node].dst.h, nodes[node].dst.w, nodes[node].dst.c, "macs",
                     (json_int_t)nodes[node].macs, "fused_into",
                     home >= 0 && home != node ? nodes[home].name : NULL, "least_us", real(us), "median_us",
                     real(p->layers[node].median), "roof_share", real(roof_percent(c, macs, us) / 100));
}

static json_t *make_json(const struct qb_profile_node *nodes, int count,
                         const struct qb_profile_column *columns, int column_count)
{
    json_t *const engines = json_array();
    for (int k = 0; k < column_count; k++) {
        const struct qb_profile_column *const c = &columns[k];
        json_t *const layers = json_array();
        for (int i = 0; i < count; i++) {
            json_array_append_new(layers, layer_json(nodes, count, c, i));
        }
        json_array_append_new(
            engines, json_pack("{s:s,s:s,s:s,s:o,s:I,s:{s:f,s:f,s:o},s:o}", "engine", c->engine, "isa",
                               c->isa, "implementation", c->implementation, "roof_gmacs", real(c->roof_gmacs),
                               "rounds", (json_int_t)c->profile->rounds, "whole", "least_us",
                               c->profile->whole.least, "median_us", c->profile->whole.median, "roof_share",
                               real(roof_percent(c, total_macs(nodes, count), c->profile->whole.least) / 100),
                               "layers", layers));
    }
    return json_pack("{s:i,s:o}", "schema_version", 1, "engines", engines);
}

enum qb_status qb_profile_render(const struct qb_profile_node *nodes, int count,
                                 const struct qb_profile_column *columns, int column_count, int json,
                                 char **out, struct qb_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&text, &size);
    if (!stream) {
        return qb_fail_memory(err, 4096);
    }
    int failed = 0;
    if (json) {
        json_t *const root = make_json(nodes, count, columns, column_count);
        failed = !root || json_dumpf(root, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0;
        json_decref(root);
        fputc('\n', stream);
    } else {
        print_text(nodes, count, columns, column_count, stream);
    }
    if (fclose(stream) != 0 || failed) {
        free(text);
        return qb_fail_memory(err, size);
    }
    *out = text;
    return QB_OK;
}
