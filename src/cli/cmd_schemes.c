/* qbench schemes: what is there, what each reproduces and what has been verified. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/share.h"
#include "config/scheme.h"
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

static void describe(const struct qb_observer_spec *o, char *out, size_t size)
{
    snprintf(out, size, "%s %s %s%s", o->observer, qb_dtype_name(o->dtype),
             o->symmetric ? "symmetric" : "affine", o->reduce_range ? " 7-bit" : "");
}

static void print_scheme(const struct qb_scheme *s, enum format format, json_t *list)
{
    char weights[96] = "float32", activations[96] = "float32";
    const char *arithmetic = "float32";
    if (!s->fp32) {
        describe(&s->weights, weights, sizeof weights);
        describe(&s->activations, activations, sizeof activations);
        arithmetic = qb_arithmetic_name(s->arithmetic);
    }
    const char *const reproduces = s->reproduces && s->reproduces[0] ? s->reproduces : "-";
    const char *const verified = s->verified && s->verified[0] ? s->verified : "-";
    switch (format) {
    case TEXT:
        printf("%s\n    weights      %s\n    activations  %s\n    arithmetic   %s\n    reproduces   %s\n    "
               "verified     %s\n",
               s->name, weights, activations, arithmetic, reproduces, verified);
        break;
    case MARKDOWN:
        printf("| %s | %s | %s | %s | %s | %s |\n", s->name, weights, activations, arithmetic, reproduces,
               verified);
        break;
    case JSON:
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "name", s->name, "weights",
                                              weights, "activations", activations, "arithmetic", arithmetic,
                                              "reproduces", reproduces, "verified", verified));
        break;
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
        puts("| scheme | weights | activations | arithmetic | reproduces | verified "
             "|\n|---|---|---|---|---|---|");
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
        status = cli_print_json(json_pack("{s:i,s:O}", "schema_version", 1, "schemes", list), 10, &err);
    }
    json_decref(list);
    qb_arena_destroy(arena);
    return status == QB_OK ? 0 : cli_error(&err);
}
