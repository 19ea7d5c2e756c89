/* configs/NAME.yaml -> struct qb_plan: defaults, rules, and the cross product less its exclusions
 * (docs/configs.md). */
#include "config/plan.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "config/internal.h"
#include "config/plan_schema.h"

struct loading {
    struct qb_yaml doc;
    const struct qb_raw_plan *raw;
    const char *const *scheme_dirs, *const *engines;
    struct qb_plan plan; /* what is built */
    struct qb_error *err;
};

enum { MAX_THREADS = 1024, MAX_BATCH = 4096, PATH_TEXT = 64 };

static const char *entry_path(const char *key, unsigned index, char out[PATH_TEXT])
{
    snprintf(out, PATH_TEXT, "%s[%u]", key, index);
    return out;
}

/* ---- single values ---- */

static enum qb_status take_int(const struct loading *in, const char *path, const int *value, int fallback,
                               int low, int high, int *out)
{
    if (value && (*value < low || *value > high)) {
        return qb_yaml_fail(&in->doc, in->err, path, "%d is out of range, expected %d to %d", *value, low,
                            high);
    }
    *out = value ? *value : fallback;
    return QB_OK;
}

static enum qb_status take_double(const struct loading *in, const char *path, const double *value,
                                  double fallback, double low, double high, double *out)
{
    if (value && !(*value >= low && *value <= high)) {
        return qb_yaml_fail(&in->doc, in->err, path, "%g is out of range, expected %g to %g", *value, low,
                            high);
    }
    *out = value ? *value : fallback;
    return QB_OK;
}

/* NULL stays NULL. */
static enum qb_status take_text(const struct loading *in, const char *value, const char **out)
{
    *out = value ? qb_arena_strdup(in->plan.arena, value) : NULL;
    return value && !*out ? qb_fail_memory(in->err, strlen(value)) : QB_OK;
}

/* A file or folder, as written or beside the experiment; NULL stays NULL. */
static enum qb_status take_path(const struct loading *in, const char *value, const char **out)
{
    QB_TRY(take_text(in, value, out));
    return value ? qb_find_beside(in->doc.file, *out, in->plan.arena, out, in->err) : QB_OK;
}

static enum qb_status take_sampler(const struct loading *in, const char *value, const char **out)
{
    if (!value || strcmp(value, "first") == 0 || strcmp(value, "random") == 0) {
        return take_text(in, value ? value : "first", out);
    }
    QB_TRY(take_path(in, value, out));
    if (!qb_is_file(*out)) {
        char found[QB_YAML_QUOTED];
        return qb_yaml_fail(
            &in->doc, in->err, "calibration.sampler",
            "'%s' is neither first nor random nor a file of training image indices; a file is "
            "looked for as written and beside this one",
            qb_yaml_quote(value, found));
    }
    return QB_OK;
}

static enum qb_status take_repeat(struct loading *in)
{
    struct qb_plan *const plan = &in->plan;
    const char *const written = in->raw->calibration.sampler, *const sampler = written ? written : "first";
    int repeat = 0;
    QB_TRY(take_int(in, "calibration.repeat", in->raw->calibration.repeat, 1, 1, QB_MAX_CALIBRATION_SETS,
                    &repeat));
    plan->calibration.repeat = (unsigned)repeat;
    if (repeat > 1 && strcmp(sampler, "random") != 0) {
        char found[QB_YAML_QUOTED];
        return qb_yaml_fail(&in->doc, in->err, "calibration.repeat",
                            "%d calibration sets need sampler: random, because sampler '%s' always gives the "
                            "same images",
                            repeat, qb_yaml_quote(sampler, found));
    }
    if (plan->calibration.seed > UINT32_MAX - (unsigned)(repeat - 1)) {
        return qb_yaml_fail(&in->doc, in->err, "calibration.seed",
                            "%u and the %d seeds that follow pass 4294967295", plan->calibration.seed,
                            repeat - 1);
    }
    return QB_OK;
}

static enum qb_status take_settings(struct loading *in)
{
    const struct qb_raw_plan *const raw = in->raw;
    struct qb_plan *const plan = &in->plan;
    int images = 0, per_class = 0, batch_size = 0, rounds = 0;
    if (!qb_name_is_valid(raw->name)) {
        char found[QB_YAML_QUOTED];
        return qb_yaml_fail(&in->doc, in->err, "name", "'%s' is not a name, expected " QB_NAME_RULE,
                            qb_yaml_quote(raw->name, found));
    }
    QB_TRY(take_text(in, raw->name, &plan->name));
    QB_TRY(take_text(in, in->doc.file, &plan->path));
    QB_TRY(take_path(in, raw->model, &plan->model));
    QB_TRY(take_path(in, raw->data.dir, &plan->data.dir));
    QB_TRY(take_sampler(in, raw->calibration.sampler, &plan->calibration.sampler));
    QB_TRY(take_text(in, raw->impl ? raw->impl : "default", &plan->impl));
    QB_TRY(take_int(in, "data.images", raw->data.images, 0, 0, 10000000, &images));
    QB_TRY(take_int(in, "calibration.per_class", raw->calibration.per_class, 100, 1, 1000000, &per_class));
    QB_TRY(
        take_int(in, "calibration.batch_size", raw->calibration.batch_size, 32, 1, MAX_BATCH, &batch_size));
    QB_TRY(take_int(in, "measure.rounds", raw->measure.rounds, 60, 6, 100000, &rounds));
    QB_TRY(
        take_double(in, "measure.epoch_ms", raw->measure.epoch_ms, 2, 0.001, 60000, &plan->measure.epoch_ms));
    QB_TRY(take_double(in, "measure.seconds", raw->measure.seconds, 30, 0.1, 86400, &plan->measure.seconds));
    plan->data.images = (size_t)images;
    plan->calibration.per_class = (unsigned)per_class;
    plan->calibration.batch_size = (unsigned)batch_size;
    plan->calibration.seed = raw->calibration.seed ? *raw->calibration.seed : 42;
    plan->measure.rounds = (unsigned)rounds;
    plan->measure.control = !raw->measure.control || *raw->measure.control;
    return take_repeat(in);
}

/* ---- lists ---- */

/* Numbers of a list, each once; absent: the one value `fallback`. */
static enum qb_status take_ints(const struct loading *in, const char *key, const int *values, unsigned count,
                                int fallback, int low, int high, int **out, size_t *out_count)
{
    char path[PATH_TEXT];
    int *const list = qb_arena_array(in->plan.arena, count ? count : 1, sizeof *list);
    if (!list) {
        return qb_fail_memory(in->err, count * sizeof *list);
    }
    list[0] = fallback;
    for (unsigned i = 0; i < count; i++) {
        QB_TRY(take_int(in, entry_path(key, i, path), &values[i], 0, low, high, &list[i]));
        for (unsigned k = 0; k < i; k++) {
            if (list[k] == list[i]) {
                return qb_yaml_fail(&in->doc, in->err, path, "%d is listed twice", list[i]);
            }
        }
    }
    *out = list;
    *out_count = count ? count : 1;
    return QB_OK;
}

/* 1 when `name` is among the NULL-terminated `known`. */
static bool is_known(const char *name, const char *const *known)
{
    while (*known && strcmp(*known, name) != 0) {
        known++;
    }
    return *known != NULL;
}

static enum qb_status check_name(const struct loading *in, const char *path, const char *what,
                                 const char *name, const char *const *known)
{
    if (is_known(name, known)) {
        return QB_OK;
    }
    char text[512] = "", found[QB_YAML_QUOTED];
    for (const char *const *item = known; *item; item++) {
        qb_append_name(text, sizeof text, *item);
    }
    return qb_yaml_fail(&in->doc, in->err, path, "there is no %s '%s', expected one of %s", what,
                        qb_yaml_quote(name, found), text);
}

/* Names of a list, each known and listed once. */
static enum qb_status take_names(const struct loading *in, const char *key, const char *what,
                                 const char *const *values, unsigned count, const char *const *known,
                                 const char ***out)
{
    char path[PATH_TEXT];
    const char **const list = qb_arena_array(in->plan.arena, count, sizeof *list);
    if (!list) {
        return qb_fail_memory(in->err, count * sizeof *list);
    }
    for (unsigned i = 0; i < count; i++) {
        QB_TRY(check_name(in, entry_path(key, i, path), what, values[i], known));
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(list[k], values[i]) == 0) {
                return qb_yaml_fail(&in->doc, in->err, path, "'%s' is listed twice", values[i]);
            }
        }
        QB_TRY(take_text(in, values[i], &list[i]));
    }
    *out = list;
    return QB_OK;
}

static enum qb_status load_scheme(struct loading *in, unsigned i, struct qb_scheme *out)
{
    char path[PATH_TEXT];
    const char *name = NULL;
    entry_path("schemes", i, path);
    QB_TRY(qb_find_scheme(in->doc.file, in->raw->schemes[i], in->plan.arena, &name, in->err));
    if (qb_scheme_load(name, in->scheme_dirs, in->plan.arena, out, in->err) != QB_OK) {
        const struct qb_yaml_node *const node = qb_yaml_find(&in->doc, path);
        return qb_fail_prefix(in->err, "%s:%u: %s", in->doc.file, node ? node->line : 1, path);
    }
    return QB_OK;
}

/* Adds a scheme made of the i-th of the list. */
static enum qb_status add_scheme(struct loading *in, unsigned i, const struct qb_scheme *scheme)
{
    struct qb_plan *const plan = &in->plan;
    char path[PATH_TEXT];
    entry_path("schemes", i, path);
    for (size_t k = 0; k < plan->scheme_count; k++) {
        if (strcmp(plan->schemes[k].name, scheme->name) == 0) {
            return qb_yaml_fail(&in->doc, in->err, path,
                                "scheme '%s' is listed twice; rows go by scheme name", scheme->name);
        }
    }
    plan->schemes[plan->scheme_count++] = *scheme;
    return QB_OK;
}

/* The bit widths that schemes are crossed with; one 0 where the experiment does not say any. */
struct widths {
    int *weights, *activations;
    size_t weight_count, activation_count;
};

/* One scheme with every pair of widths. */
static enum qb_status cross_widths(struct loading *in, unsigned i, const struct qb_scheme *base,
                                   const struct widths *widths)
{
    for (size_t w = 0; w < widths->weight_count; w++) {
        for (size_t a = 0; a < widths->activation_count; a++) {
            struct qb_scheme scheme;
            const enum qb_status status = qb_scheme_narrow(base, widths->weights[w], widths->activations[a],
                                                           in->plan.arena, &scheme, in->err);
            if (status != QB_OK) {
                char path[PATH_TEXT];
                const struct qb_yaml_node *const node =
                    qb_yaml_find(&in->doc, entry_path("schemes", i, path));
                return qb_fail_prefix(in->err, "%s:%u: %s", in->doc.file, node ? node->line : 1, path);
            }
            QB_TRY(add_scheme(in, i, &scheme));
        }
    }
    return QB_OK;
}

static enum qb_status take_schemes(struct loading *in)
{
    struct qb_plan *const plan = &in->plan;
    const struct qb_raw_bits *const bits = &in->raw->bits;
    struct widths widths;
    QB_TRY(take_ints(in, "bits.weights", bits->weights, bits->weights_count, 0, QB_BITS_MIN, QB_BITS_MAX,
                     &widths.weights, &widths.weight_count));
    QB_TRY(take_ints(in, "bits.activations", bits->activations, bits->activations_count, 0, QB_BITS_MIN,
                     QB_BITS_MAX, &widths.activations, &widths.activation_count));
    const size_t most = in->raw->schemes_count * widths.weight_count * widths.activation_count;
    if (most > QB_MAX_SCHEMES) {
        return qb_yaml_fail(&in->doc, in->err, "bits", "%zu schemes come of it, expected at most %d", most,
                            QB_MAX_SCHEMES);
    }
    plan->crossed = most > in->raw->schemes_count;
    plan->schemes = qb_arena_array(plan->arena, most, sizeof *plan->schemes);
    if (!plan->schemes) {
        return qb_fail_memory(in->err, most * sizeof *plan->schemes);
    }
    for (unsigned i = 0; i < in->raw->schemes_count; i++) {
        struct qb_scheme scheme;
        QB_TRY(load_scheme(in, i, &scheme));
        const bool crossed = !scheme.fp32 && (bits->weights_count || bits->activations_count);
        QB_TRY(crossed ? cross_widths(in, i, &scheme, &widths) : add_scheme(in, i, &scheme));
    }
    return QB_OK;
}

static const struct qb_scheme *find_plan_scheme(const struct qb_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->scheme_count; i++) {
        if (strcmp(plan->schemes[i].name, name) == 0) {
            return &plan->schemes[i];
        }
    }
    return NULL;
}

static enum qb_status take_published(struct loading *in)
{
    struct qb_plan *const plan = &in->plan;
    const unsigned count = in->raw->published_count;
    plan->published = qb_arena_array(plan->arena, count, sizeof *plan->published);
    if (!plan->published) {
        return qb_fail_memory(in->err, count * sizeof *plan->published);
    }
    for (unsigned i = 0; i < count; i++) {
        const struct qb_raw_published *const raw = &in->raw->published[i];
        struct qb_published *const to = &plan->published[i];
        char path[PATH_TEXT], key[PATH_TEXT + 16], found[QB_YAML_QUOTED];
        entry_path("published", i, path);
        const struct qb_scheme *const scheme = find_plan_scheme(plan, raw->scheme);
        if (!scheme) {
            return qb_yaml_fail(&in->doc, in->err, path,
                                "scheme '%s' is not among the schemes of this experiment",
                                qb_yaml_quote(raw->scheme, found));
        }
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(plan->published[k].scheme, scheme->name) == 0) {
                return qb_yaml_fail(&in->doc, in->err, path, "scheme '%s' is listed twice", scheme->name);
            }
        }
        snprintf(key, sizeof key, "%s.accuracy", path);
        QB_TRY(take_double(in, key, &raw->accuracy, 0, 0, 100, &to->accuracy));
        to->accuracy /= 100;
        to->scheme = scheme->name;
        QB_TRY(take_text(in, raw->source, &to->source));
        QB_TRY(take_text(in, raw->why ? raw->why : "", &to->why));
    }
    plan->published_count = count;
    return QB_OK;
}

/* ---- the cross product ---- */

static bool excludes(const struct qb_raw_exclusion *rule, const struct qb_plan_entry *entry)
{
    return (!rule->scheme || strcmp(rule->scheme, entry->scheme->name) == 0) &&
           (!rule->engine || strcmp(rule->engine, entry->engine) == 0) &&
           (!rule->isa || strcmp(rule->isa, entry->isa) == 0) &&
           (!rule->threads || *rule->threads == entry->threads);
}

/* Appends the entry unless a rule takes it out; counts what each rule matches. */
static void add_entry(struct loading *in, const struct qb_plan_entry *entry, unsigned *matches)
{
    bool out = false;
    for (unsigned i = 0; i < in->raw->exclude_count; i++) {
        if (excludes(&in->raw->exclude[i], entry)) {
            matches[i]++;
            out = true;
        }
    }
    if (!out) {
        in->plan.entries[in->plan.entry_count++] = *entry;
    }
}

static enum qb_status check_exclusions(const struct loading *in, const unsigned *matches)
{
    for (unsigned i = 0; i < in->raw->exclude_count; i++) {
        const struct qb_raw_exclusion *const rule = &in->raw->exclude[i];
        char path[PATH_TEXT];
        entry_path("exclude", i, path);
        if (!rule->scheme && !rule->engine && !rule->isa && !rule->threads) {
            return qb_yaml_fail(
                &in->doc, in->err, path,
                "empty, it would exclude everything; expected scheme, engine, isa or threads");
        }
        if (!matches[i]) {
            return qb_yaml_fail(&in->doc, in->err, path,
                                "matches no combination; expected values that the lists above contain");
        }
    }
    return QB_OK;
}

static enum qb_status cross(struct loading *in)
{
    const char *isas[QB_ISA_COUNT + 2] = {"best"}, **engines = NULL, **chosen = NULL;
    static const char *const only_best[] = {"best"};
    struct qb_plan *const plan = &in->plan;
    const struct qb_raw_plan *const raw = in->raw;
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        isas[i + 1] = qb_isa_name((enum qb_isa)i);
    }
    const unsigned isa_count = raw->isas_count ? raw->isas_count : 1;
    int *threads = NULL;
    size_t thread_count = 0, most = 0;
    QB_TRY(take_names(in, "engines", "engine", raw->engines, raw->engines_count, in->engines, &engines));
    QB_TRY(take_names(in, "isas", "isa", raw->isas_count ? (const char *const *)raw->isas : only_best,
                      isa_count, isas, &chosen));
    QB_TRY(take_ints(in, "threads", raw->threads, raw->threads_count, 1, 1, MAX_THREADS, &threads,
                     &thread_count));
    QB_TRY(take_ints(in, "batches", raw->batches, raw->batches_count, 1, 1, MAX_BATCH, &plan->measure.batches,
                     &plan->measure.batch_count));
    most = plan->scheme_count * raw->engines_count * isa_count * thread_count; /* short lists: no overflow */
    if (most > QB_MAX_COMBINATIONS) {
        return qb_yaml_fail(&in->doc, in->err, "schemes",
                            "%zu combinations come of the lists, expected at most %d", most,
                            QB_MAX_COMBINATIONS);
    }
    plan->entries = qb_arena_array(plan->arena, most, sizeof *plan->entries);
    unsigned *const matches = qb_arena_array(plan->arena, raw->exclude_count, sizeof *matches);
    if (!plan->entries || !matches) {
        return qb_fail_memory(in->err, most * sizeof *plan->entries);
    }
    for (size_t s = 0; s < plan->scheme_count; s++) {
        for (unsigned e = 0; e < raw->engines_count; e++) {
            for (unsigned i = 0; i < isa_count; i++) {
                for (size_t t = 0; t < thread_count; t++) {
                    const struct qb_plan_entry entry = {&plan->schemes[s], engines[e], chosen[i], threads[t]};
                    add_entry(in, &entry, matches);
                }
            }
        }
    }
    QB_TRY(check_exclusions(in, matches));
    if (!plan->entry_count) {
        return qb_yaml_fail(&in->doc, in->err, "exclude",
                            "every combination is excluded, nothing is left to run");
    }
    return QB_OK;
}

enum qb_status qb_plan_load(const char *path, const char *const *scheme_dirs, const char *const *engines,
                            struct qb_plan *out, struct qb_error *err)
{
    struct loading in = {.scheme_dirs = scheme_dirs, .engines = engines, .err = err};
    in.plan.arena = qb_arena_create();
    if (!in.plan.arena) {
        return qb_fail_memory(err, sizeof in.plan);
    }
    enum qb_status status = qb_yaml_load(path, &qb_plan_schema, &in.doc, err);
    if (status == QB_OK) {
        in.raw = in.doc.data;
        status = take_settings(&in);
    }
    if (status == QB_OK) {
        status = take_schemes(&in);
    }
    if (status == QB_OK) {
        status = take_published(&in);
    }
    if (status == QB_OK) {
        status = cross(&in);
    }
    qb_yaml_free(&in.doc);
    if (status == QB_OK) {
        *out = in.plan;
    } else {
        qb_plan_free(&in.plan);
    }
    return status;
}

void qb_plan_free(struct qb_plan *plan)
{
    qb_arena_destroy(plan->arena);
    *plan = (struct qb_plan){0};
}
