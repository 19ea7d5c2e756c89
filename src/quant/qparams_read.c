/* Scales and zero points from a JSON file: see qb_qparams_read in quantize.h. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "quant/qparams.h"
#include "quant/quantize.h"
#include "quant/roles.h"
#include "quant/scheme_check.h"

enum { MAX_FILE = 16 << 20 };

/* One tensor's entry, with what its messages need. */
struct entry {
    const char *path, *tensor;
    const json_t *object;
    const struct qb_observer_spec *spec;
};

static enum qb_status bad(const struct entry *e, const char *field, const char *expected,
                          struct qb_error *err)
{
    const json_t *const value = json_object_get(e->object, field);
    char *const text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    const enum qb_status status =
        qb_fail(err, QB_EINPUT, "%s: observers.%s.%s is %.80s; %s", e->path, e->tensor, field,
                !value ? "missing"
                : text ? text
                       : "unreadable",
                expected);
    free(text);
    return status;
}

/* Decimal or hexadecimal ("0x1.8p-1") text, all of it. */
static bool parse_float(const char *text, float *out)
{
    char *end;
    if (!*text || strspn(text, "0123456789abcdefABCDEFxXpP+-.") != strlen(text)) {
        return false; /* strtof would take spaces, "inf" and "nan" */
    }
    *out = strtof(text, &end);
    return *end == 0;
}

static enum qb_status read_scale(const struct entry *e, float *out, struct qb_error *err)
{
    const char *const field = json_object_get(e->object, "scale_hex") ? "scale_hex" : "scale";
    const json_t *const value = json_object_get(e->object, field);
    float scale = 0;
    if (json_is_string(value)) {
        if (!parse_float(json_string_value(value), &scale)) {
            return bad(e, field, "a number such as 0x1.8p-1 or 0.75 is expected", err);
        }
    } else if (json_is_number(value) && strcmp(field, "scale") == 0) {
        scale = (float)json_number_value(value);
    } else {
        return bad(e, field, "a number, in scale_hex as text such as \"0x1.8p-1\", is expected", err);
    }
    if (!(scale > 0 && scale < INFINITY)) {
        return bad(e, field, "a float32 number above 0 is expected", err);
    }
    *out = scale;
    return QB_OK;
}

static enum qb_status read_int(const struct entry *e, const char *field, int min, int max, int32_t *out,
                               struct qb_error *err)
{
    const json_t *const value = json_object_get(e->object, field);
    const json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < min || number > max) {
        char expected[96];
        snprintf(expected, sizeof expected, "an integer from %d to %d (%s) is expected", min, max,
                 qb_dtype_name(e->spec->dtype));
        return bad(e, field, expected, err);
    }
    *out = (int32_t)number;
    return QB_OK;
}

static enum qb_status read_entry(const struct entry *e, struct qb_qparams *out, struct qb_error *err)
{
    if (!json_is_object(e->object)) {
        return qb_fail(err, QB_EINPUT,
                       "%s: observers.%s is %s; an object with scale and zero_point is expected", e->path,
                       e->tensor, e->object ? "of another type" : "missing");
    }
    struct qb_qparams q = {.dtype = e->spec->dtype};
    int low, high, range_min, range_max;
    qb_dtype_range(q.dtype, &low, &high);
    QB_TRY(read_scale(e, &q.scale, err));
    QB_TRY(read_int(e, "zero_point", low, high, &q.zero_point, err));
    q.zero_point -= qb_activation_shift(q.dtype);
    const json_t *const dtype = json_object_get(e->object, "dtype");
    if (dtype) { /* "torch.quint8" or "quint8" */
        const char *const text = json_is_string(dtype) ? json_string_value(dtype) : "";
        const char *const name = strncmp(text, "torch.", 6) == 0 ? text + 6 : text;
        if (strcmp(name, qb_dtype_name(q.dtype)) != 0) {
            char expected[96];
            snprintf(expected, sizeof expected, "the scheme's %s is expected", qb_dtype_name(q.dtype));
            return bad(e, "dtype", expected, err);
        }
    }
    qb_spec_quant_range(e->spec, &range_min, &range_max);
    q.quant_min = range_min;
    q.quant_max = range_max;
    q.bits = e->spec->bits;
    if (json_object_get(e->object, "qmin") || json_object_get(e->object, "qmax")) {
        QB_TRY(read_int(e, "qmin", low, 0, &q.quant_min, err));
        QB_TRY(read_int(e, "qmax", 1, high, &q.quant_max, err));
    }
    *out = q;
    return QB_OK;
}

static enum qb_status read_all(const char *path, const json_t *root, const struct qb_graph *graph,
                               const struct qb_role *roles, struct qb_qparams_table *table,
                               struct qb_error *err)
{
    const json_t *const observers = json_object_get(root, "observers");
    if (!json_is_object(observers)) {
        return qb_fail(err, QB_EINPUT, "%s: \"observers\" is %s; an object of tensors is expected", path,
                       observers ? "of another type" : "missing");
    }
    for (int i = 0; i < graph->count; i++) {
        if (qb_is_calibrated(&roles[i])) {
            const char *const name = graph->nodes[i].name;
            const struct entry entry = {path, name, json_object_get(observers, name), roles[i].activations};
            QB_TRY(read_entry(&entry, &table->q[roles[i].tensor], err));
            table->set[roles[i].tensor] = true;
        }
        if (roles[i].inner) {
            char name[QB_INNER_NAME];
            qb_inner_name(&graph->nodes[i], roles[i].inner, name);
            const struct entry entry = {path, name, json_object_get(observers, name), roles[i].activations};
            QB_TRY(read_entry(&entry, &table->inner[i], err));
            table->inner_set[i] = true;
        }
    }
    return QB_OK;
}

static enum qb_status parse(const char *path, json_t **out, struct qb_error *err)
{
    struct qb_blob file;
    json_error_t where;
    QB_TRY(qb_file_read(path, MAX_FILE, &file, err));
    json_t *const root = json_loadb((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, &where);
    qb_blob_free(&file);
    if (!root) {
        return qb_fail(err, QB_EINPUT, "%s: line %d, column %d: not valid JSON: %s", path, where.line,
                       where.column, where.text);
    }
    *out = root;
    return QB_OK;
}

enum qb_status qb_qparams_read(const char *path, const struct qb_graph *graph, const struct qb_scheme *scheme,
                               struct qb_arena *arena, struct qb_qparams_table *out, struct qb_error *err)
{
    QB_TRY(qb_scheme_check_integer(scheme, err));
    const size_t count = (size_t)graph->count;
    json_t *root = NULL;
    struct qb_role *const roles = calloc(count + 1, sizeof *roles);
    struct qb_qparams_table table = {0};
    enum qb_status status =
        roles ? qb_qparams_table_make(count, arena, &table, err) : qb_fail_memory(err, count * sizeof *roles);
    if (status == QB_OK) {
        status = qb_roles_plan(graph, scheme, roles, err);
    }
    if (status == QB_OK) {
        status = parse(path, &root, err);
    }
    if (status == QB_OK) {
        status = read_all(path, root, graph, roles, &table, err);
    }
    json_decref(root);
    free(roles);
    if (status == QB_OK) {
        *out = table;
    }
    return status;
}
