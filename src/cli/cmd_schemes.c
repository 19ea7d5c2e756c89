/* qbench schemes: what is there, everything that each says, what it reproduces and what has been verified.
 * The Markdown form is the table of docs/schemes.md. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/share.h"
#include "config/scheme.h"
#include "quant/describe.h"
#include "quant/qparams.h"
#include "quant/quantize.h"

enum format { TEXT, MARKDOWN, JSON };

static const struct argp_option option_list[] = {
    {"format", 'f', "FORMAT", 0, "text (default), md or json", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    enum format *const format = state->input;
    if (key == 'f') {
        if (strcmp(arg, "text") == 0) {
            *format = TEXT;
        } else if (strcmp(arg, "md") == 0) {
            *format = MARKDOWN;
        } else if (strcmp(arg, "json") == 0) {
            *format = JSON;
        } else {
            argp_error(state, "--format: \"%s\" is not one of text, md, json", arg);
        }
        return 0;
    }
    if (key == ARGP_KEY_ARG) {
        argp_error(state, "\"%s\": no argument is expected", arg);
    }
    return ARGP_ERR_UNKNOWN;
}

static const char *or_dash(const char *text)
{
    return text && text[0] ? text : "-";
}

/* A cell: "|" would end it. */
static void print_cell(const char *text)
{
    fputs("| ", stdout);
    for (; *text; text++) {
        fputs(*text == '|' ? "\\" : "", stdout);
        putchar(*text);
    }
    putchar(' ');
}

/* A scheme's own lines, in words. */
struct words {
    char weights[QB_DESCRIPTION], activations[QB_DESCRIPTION], fuse[48], rule[40], refine[64],
        layers[QB_LAYERS_DESCRIPTION];
    const char *prepare, *arithmetic, *accumulate, *compared; /* rule: arithmetic, and how sums saturate */
};

static void describe(const struct qb_scheme *s, struct words *out)
{
    *out = (struct words){.weights = "float32",
                          .activations = "float32",
                          .fuse = "",
                          .prepare = "",
                          .arithmetic = "float32",
                          .accumulate = "float32",
                          .rule = "float32",
                          .compared = s->fp32 ? "-" : qb_compared_name(s->compared)};
    if (!s->fp32) {
        qb_spec_describe(&s->weights, out->weights);
        qb_spec_describe(&s->activations, out->activations);
        qb_fuse_describe(s->fuse, out->fuse, sizeof out->fuse);
        out->prepare = qb_prepare_name(s->prepare);
        out->arithmetic = qb_arithmetic_name(s->arithmetic);
        out->accumulate = qb_accumulate_name(s->accumulate);
        const bool exact = s->accumulate == QB_ACCUMULATE_EXACT;
        snprintf(out->rule, sizeof out->rule, "%s%s%s", out->arithmetic, exact ? "" : ", ",
                 exact ? "" : out->accumulate);
        qb_refine_names(s->refine, out->refine, sizeof out->refine);
        qb_layers_describe(s, out->layers);
    }
}

static void print_text(const struct qb_scheme *s, const struct words *w)
{
    printf("%s\n    weights      %s\n    activations  %s\n    fuse         %s\n    prepare      %s\n"
           "    arithmetic   %s\n"
           "    refine       %s\n    layers       %s\n    reproduces   %s\n    compared     %s\n    verified "
           "    %s\n",
           s->name, w->weights, w->activations, or_dash(w->fuse), or_dash(w->prepare), w->rule,
           or_dash(w->refine), or_dash(w->layers), or_dash(s->reproduces), w->compared, or_dash(s->verified));
}

static void print_markdown(const struct qb_scheme *s, const struct words *w)
{
    char weights[sizeof w->weights + sizeof w->refine + sizeof w->layers + 4];
    snprintf(weights, sizeof weights, "%s%s%s%s%s", w->weights, *w->refine ? "; " : "", w->refine,
             *w->layers ? "; " : "", w->layers);
    char activations[sizeof w->activations + 32];
    snprintf(activations, sizeof activations, "%s%s", w->activations,
             !s->fp32 && s->prepare == QB_PREPARE_FX ? "; prepare fx" : "");
    const char *const cells[] = {s->name, weights,       activations, or_dash(w->fuse),
                                 w->rule, s->reproduces, w->compared};
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        print_cell(or_dash(cells[i]));
    }
    puts("|");
}

static json_t *half_json(const struct qb_observer_spec *spec)
{
    int low, high;
    qb_spec_quant_range(spec, &low, &high);
    json_t *const half = json_pack("{s:s,s:s,s:b,s:b,s:i,s:i,s:s}", "observer", spec->observer, "dtype",
                                   qb_dtype_name(spec->dtype), "symmetric", spec->symmetric, "reduce_range",
                                   spec->reduce_range, "quant_min", low, "quant_max", high, "scale_rule",
                                   qb_scale_rule_name(spec->scale_rule));
    struct qb_spec_option options[QB_SPEC_OPTIONS];
    const size_t count = qb_spec_options(spec, options);
    for (size_t i = 0; half && i < count; i++) {
        json_object_set_new(half, options[i].key, json_real(options[i].value));
    }
    return half;
}

static json_t *scheme_json(const struct qb_scheme *s, const struct words *w)
{
    return json_pack("{s:s,s:o,s:o,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "name", s->name, "weights",
                     s->fp32 ? json_null() : half_json(&s->weights), "activations",
                     s->fp32 ? json_null() : half_json(&s->activations), "fuse", w->fuse, "prepare",
                     w->prepare, "arithmetic", w->arithmetic, "accumulate", w->accumulate, "refine",
                     w->refine, "layers", w->layers, "reproduces", s->reproduces ? s->reproduces : "",
                     "compared", w->compared, "verified", s->verified ? s->verified : "");
}

static void print_scheme(const struct qb_scheme *s, enum format format, json_t *list)
{
    struct words words;
    describe(s, &words);
    switch (format) {
    case TEXT: print_text(s, &words); break;
    case MARKDOWN: print_markdown(s, &words); break;
    case JSON: json_array_append_new(list, scheme_json(s, &words)); break;
    }
}

int cmd_schemes(int argc, char **argv)
{
    static const struct argp argp = {option_list,
                                     parse,
                                     NULL,
                                     "Lists the schemes that `qbench run` and `qbench quantize` "
                                     "know by name; any other scheme file can be given by its path.",
                                     NULL,
                                     NULL,
                                     NULL};
    enum format format = TEXT;
    cli_parse(&argp, argc, argv, &format);
    struct qb_error err = {0};
    struct qb_arena *const arena = qb_arena_create();
    if (!arena) {
        qb_fail_memory(&err, sizeof(void *));
        return cli_error(&err);
    }
    json_t *const list = json_array();
    const char **names = NULL;
    unsigned count = 0;
    enum qb_status status = qb_scheme_list(share_scheme_dirs(), arena, &names, &count, &err);
    if (status == QB_OK && format == MARKDOWN) {
        puts("| scheme | weights | activations | fuse | arithmetic | reproduces | compared "
             "|\n|---|---|---|---|---|---|---|");
    }
    for (unsigned i = 0; status == QB_OK && i < count; i++) {
        struct qb_scheme scheme = {0};
        status = qb_scheme_load(names[i], share_scheme_dirs(), arena, &scheme, &err);
        if (status == QB_OK && !scheme.fp32) {
            status = qb_scheme_check(&scheme, &err);
        }
        if (status == QB_OK) {
            print_scheme(&scheme, format, list);
        }
    }
    if (status == QB_OK && format == JSON) {
        status = cli_print_json(json_pack("{s:i,s:O}", "schema_version", 2, "schemes", list), 10, &err);
    }
    json_decref(list);
    qb_arena_destroy(arena);
    return status == QB_OK ? 0 : cli_error(&err);
}
